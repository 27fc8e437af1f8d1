"""The plots of a run that a page shows: of a task what was learned and how long it takes, of all of it what its rounds met."""

import textwrap
from collections import defaultdict
from collections.abc import Callable
from itertools import accumulate, chain, product
from string import ascii_lowercase
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from harness import noise, ranking, stats
from harness.ranking import Contest
from harness.records import Cell
from harness.report import learning, outcomes, warmups
from harness.report.drawing import INK, ROW, STYLE, WIDTH, Curves, Drawn, Looks, line, looks, plain, stacked, svg
from harness.report.findings import SUNG, Findings, ceilings, work
from harness.report.words import bounds, digits, name, plural, sized, terms, time_unit
from harness.stats import MARGIN, TIE_BAND

PHASES = {
    "train": ("training step", "step"),
    "epoch": ("step with its input", "step with its input"),
    "predict": ("prediction", "batch"),
    "latency": ("single prediction", "call"),
}
STEADY = 1000  # steps that a start is set beside
STAGES = {  # how opaque
    "import": 0.95, "model build": 0.75, "first call": 0.55, "warm-up": 0.35, f"{STEADY:,} steady steps": 0.15,
    "more with a cold cache": 0,
}  # fmt: skip
FED = {"with batches in place": 0.7, "more with its own input": 0.2}
MEMORY = {"predicting": 0.7, "more in training": 0.2}
SCALES = {"batch": "batch size", "threads": "CPUs"}  # what a sweep goes over
CROWDED = 5  # places of a sweep: of more the labels stand aslant
FADED = 0.3
REFUSED = 120  # letters of a refusal below a plot
BINS = 60  # points that a warm-up is drawn with: medians of more and more steps


@matplotlib.style.context(["default", STYLE])  # whatever the user's matplotlibrc says
def plots(findings: Findings, task: str, ident: str) -> dict[str, tuple[str, str]]:
    """Every plot of a task by its caption: its SVG, and the same in words. ``ident`` makes the ids unique."""
    styles = looks(findings.proofs)
    drawn = chain(
        outcomes.plots(learning.fits(findings, task), findings.goal(task), styles, ranking.first_modes(findings.run)),
        *(_timed(findings, task, styles, phase) for phase in PHASES),
        *(_sweep(findings, task, styles, *of) for of in product(("train", "predict"), SCALES)),
        *(draw(findings, task, styles) for draw in (_input, _warming, _start, _memory, _roofline)),
    )
    idents = (f"{ident}{first}{last}" for first, last in product(("", *ascii_lowercase), ascii_lowercase))
    return {
        caption: (svg(figure, own, title=f"{caption}, {task}", says=says), says)
        for own, (caption, figure, says) in zip(idents, drawn, strict=False)
    }


def _timed(findings: Findings, task: str, styles: Looks, phase: str) -> Drawn:
    """Ratios and samples of a phase that is compared."""
    contests = findings.contests_of(task, phase)
    for contest in contests:
        caption = f"Time of a {PHASES[phase][0]}{terms(contest, contests)}"
        if any(a == contest.best for a, _ in contest.ratios):
            yield f"{caption}: ratios", *_ratios(contest, styles)
        yield f"{caption}: every sample", *_samples(findings, contest, styles)


def _ratios(contest: Contest, styles: Looks) -> tuple[Any, str]:
    """Ratios to the best with their simultaneous intervals and the tie band, on a log axis; who is not ranked says so."""
    pairs = sorted(contest.ratios.items(), key=lambda pair: pair[1].value)
    found = {b: ratio for (a, b), ratio in pairs if a == contest.best}
    labels = [name(b) + ("" if b in contest.ranks or contest.refusal else " (not ranked)") for b in found]
    best, what = name(contest.best) if contest.best else "", f"time of a {PHASES[contest.phase][0]}"
    refused = textwrap.wrap(f"not ranked: {contest.refusal}"[:REFUSED], 52) if contest.refusal else []
    axes = Figure(figsize=(WIDTH, 1.35 + 0.34 * len(found) + ROW * len(refused))).subplots()
    band = 1 + TIE_BAND
    axes.axvspan(1 / band, band, color=INK, alpha=0.1, linewidth=0)
    axes.axvline(1, color=INK, linewidth=1)
    ends = [0.98 / band, 1.02 * band]
    for height, (cell, ratio) in enumerate(found.items()):
        interval = bounds(ratio) or (ratio.value, ratio.value)
        ends += [*interval, ratio.value]
        axes.plot(interval, (height, height), color=styles[cell]["color"], linewidth=2)
        axes.plot(ratio.value, height, **{**styles[cell], "label": "_"}, linestyle="none", markersize=8)
    axes.set(xscale="log", xlim=(min(ends) / 1.02, max(ends) * 1.04), ylim=(len(found) - 0.5, -0.5))
    axes.set_yticks(range(len(found)), labels)
    axes.set_xlabel("\n".join([f"relative to {best}", f"(shaded: within {TIE_BAND:.0%})", *refused]))
    axes.grid(visible=False, axis="y")
    plain(axes.xaxis, "{x:g}x")
    told = "; ".join(f"{label} {sized(ratio)}" for label, ratio in zip(labels, found.values(), strict=True))
    rule = f"Below {MARGIN} nothing is called slower; what lies in the shade and holds 1 is a tie."
    rule = f"Nothing is ranked: {contest.refusal}." if contest.refusal else rule
    return axes.figure, f"{what.capitalize()}, relative to {best}: {told}. {rule}"


def _samples(findings: Findings, contest: Contest, styles: Looks) -> tuple[Any, str]:
    """Every block by generation and round, so that drift shows; what others disturbed, or what is void, is faded and crossed."""
    trials = [t for t in findings.run.trials if t.phase == contest.phase and t.cell in contest.blocks and t.times_ns]
    factor, unit = time_unit(min(t.times_ns) / max(t.steps, 1) / 1e9 for t in trials)
    rounds, cells = 1 + max(t.round for t in trials), list(contest.blocks)
    found: dict[tuple[Cell, bool], list[tuple[float, float]]] = defaultdict(list)
    outliers = {cell: stats.outliers(stats.samples(times)) for cell, times in contest.blocks.items()}
    values: dict[Cell, list[float]] = {cell: [] for cell in cells}
    far: list[tuple[float, float]] = []
    for t in trials:
        x = t.generation + 0.6 + 0.8 * (t.round + (cells.index(t.cell) + 0.5) / len(cells)) / rounds  # no two cells on one spot
        times = t.times_ns if t.phase != "latency" else [float(np.median(t.times_ns))]  # of hundreds of calls a sample
        own = [time / max(t.steps, 1) / 1e9 * factor for time in times]
        flagged = not ranking.usable(t) or (noise.group(t), t.attempt) in findings.contended
        found[t.cell, flagged] += [(x, y) for y in own]
        far += [(x, y) for y in own] if ranking.usable(t) and (t.generation, t.round) in outliers[t.cell] else []
        values[t.cell] += own
    axes = Figure().subplots()
    crossed = [point for (_, flagged), points in found.items() if flagged for point in points]
    cross = {"marker": "x", "markersize": 4.5, "linestyle": "none", "color": INK, "label": "crossed: contended or void"}
    axes.plot(*np.array(crossed).reshape(-1, 2).T, **(cross if crossed else {"label": "_"}), zorder=3)
    for cell, flagged in product(cells, (True, False)):
        look = {**styles[cell], **({"label": "_", "alpha": FADED} if flagged else {"alpha": 1})}
        axes.plot(*np.array(found[cell, flagged]).reshape(-1, 2).T, **look, linestyle="none", markersize=5)
    ring = {"marker": "o", "markersize": 11, "linestyle": "none", "mfc": "none", "label": "ringed: far from the median"}
    axes.plot(*np.array(far).reshape(-1, 2).T, color=INK, **(ring if far else {"label": "_"}))
    every = [*chain.from_iterable(values.values())]
    if max(every) > 4 * min(every):
        axes.set_yscale("log")
        plain(axes.yaxis, "{x:,g}")
    else:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="generation (fresh processes), its rounds from left to right", ylabel=f"{unit} a {PHASES[contest.phase][1]}")
    axes.grid(visible=False, axis="x")
    told = "; ".join(f"{name(cell)} {digits(min(own))} to {digits(max(own))} {unit}" for cell, own in values.items())
    marked = f"{len(crossed):,} of them contended or void, {len(far):,} far from their median"
    says = f"{plural(len(every), 'sample')}, {marked}: {told}."
    return axes.figure, says


def _curves(findings: Findings, task: str, point: Callable[[Cell], tuple[float, float] | None]) -> Curves:
    """What ``point`` says of the cells of a task, sorted, by the first cell of each entry; none of those whose proof failed."""
    found: dict[str, list[tuple[Cell, tuple[float, float]]]] = defaultdict(list)
    for cell in findings.rows:
        if cell.task == task and findings.proofs[cell].state != "failed" and (at := point(cell)):
            found[name(cell)].append((cell, at))
    return {points[0][0]: sorted(at for _, at in points) for points in found.values()}


def _sweep(findings: Findings, task: str, styles: Looks, phase: str, over: str) -> Drawn:
    """Time of a step and examples a second over batch size or CPUs, all axes logarithmic, all else as on the main terms."""
    (fixed,) = SCALES.keys() - {over}
    main = {getattr(cell, fixed) for cell in findings.cells_of(task)}

    def point(cell: Cell) -> tuple[float, float] | None:
        rate = findings.value(cell, phase, "throughput")
        return (getattr(cell, over), rate) if rate and getattr(cell, fixed) in main else None

    curves = {cell: points for cell, points in _curves(findings, task, point).items() if len(dict(points)) > 1}
    if not curves:
        return
    times = {cell: [(at if over == "batch" else cell.batch) / rate for at, rate in points] for cell, points in curves.items()}
    factor, unit = time_unit(min(found) for found in times.values())
    left, right = Figure().subplots(1, 2)
    for cell, points in curves.items():
        at, rates = zip(*points, strict=True)
        left.plot(at, [time * factor for time in times[cell]], **line(styles[cell]))
        right.plot(at, rates, **line(styles[cell]) | {"label": "_"})
    places = sorted({at for points in curves.values() for at, _ in points})
    for axes, label in ((left, f"{unit} a {PHASES[phase][1]}"), (right, "examples a second")):
        axes.set(xscale="log", yscale="log", xlabel=SCALES[over], ylabel=label)
        axes.set_xticks(places, [f"{at:g}" for at in places], rotation=45 if len(places) > CROWDED else 0)
        axes.xaxis.set_minor_locator(NullLocator())
        plain(axes.yaxis, "{x:,.6g}")
    told = "; ".join(f"{name(cell)} {digits(points[0][1])} to {digits(points[-1][1])}" for cell, points in curves.items())
    says = f"Examples a second, from {places[0]} to {places[-1]} {SCALES[over]}: {told}."
    yield f"Time and throughput over {SCALES[over]}: {PHASES[phase][0]}", left.figure, says


def _input(findings: Findings, task: str, styles: Looks) -> Drawn:
    """What a training step's own input pipeline costs beside the step with its batches in place."""
    steps = {
        cell: (placed, fed)
        for cell in findings.cells_of(task)
        if (placed := findings.value(cell, "train")) and (fed := findings.value(cell, "epoch"))
    }
    if not steps:
        return
    factor, unit = time_unit(map(min, steps.values()))
    bars = {cell: (placed * factor, fed * factor) for cell, (placed, fed) in steps.items()}
    beside = [f"{digits(fed * factor)} {unit} ({digits(fed / placed)}x)" for placed, fed in steps.values()]
    told = "; ".join(f"{name(cell)} {text}" for cell, text in zip(steps, beside, strict=True))
    says = f"A step that its framework's own input pipeline feeds, over one with its batches in place: {told}."
    figure = stacked(bars, styles, FED, beside=beside, xlabel=f"{unit} a step")
    yield "A training step with and without its input", figure, says


def _warming(findings: Findings, task: str, styles: Looks) -> Drawn:
    """The times of the steps of one process an entry, both axes logarithmic, with the first step that is steady."""
    wanted = ("warmup", "train", "ok")
    found = findings.trials_of(task, lambda t: (t.phase, t.of, t.status) == wanted and bool(t.times_ns))  # a process each
    if not found:
        return
    factor, unit = time_unit(min(trials[0].times_ns) / 1e9 for trials in found.values())
    axes, told = Figure().subplots(), []
    for cell, trials in found.items():
        first = warmups.steady(trials[0])
        steps = 1 + np.array(warmups.kept(trials[0]))
        bins = np.floor(np.log(steps) * BINS / np.log(steps[-1] + 1))
        times = pd.DataFrame({"at": steps, "time": np.array(trials[0].times_ns) / 1e9 * factor}).groupby(bins).median()
        axes.plot(times["at"], times["time"], color=styles[cell]["color"], linewidth=1)
        mark = np.array([] if first is None else [np.clip(first + 1, steps[0], steps[-1])])
        axes.plot(mark, np.interp(mark, times["at"], times["time"]), **styles[cell], linestyle="none", markersize=9)
        starts = sorted(start for trial in trials if (start := warmups.steady(trial)) is not None)
        ends = " to ".join(f"{end:,}" for end in dict.fromkeys((starts[0], starts[-1]))) if starts else "none"
        told.append(f"{name(cell)} {ends}" + f" ({len(trials) - len(starts)} never steady)" * (len(starts) < len(trials)))
    axes.set(xscale="log", yscale="log", xlabel="call of the training step, the very first left out", ylabel=f"{unit} a call")
    plain(axes.xaxis, "{x:,g}")
    plain(axes.yaxis, "{x:,g}")
    says = f"Calls of the first process, marked where steady. Calls before that, of all processes: {'; '.join(told)}."
    yield "Warm-up of the training step", axes.figure, says


def _start(findings: Findings, task: str, styles: Looks) -> Drawn:
    """Seconds from nothing to so many steady steps, medians of the stages, as stacked bars; hollow: what a cold cache adds.

    Of the first task alone: others are opened in processes that have done once what a framework does once (PyTorch: a second).
    """
    if task != findings.tasks[0]:
        return
    bars, beside, told = {}, [], []
    for cell in findings.cells_of(task):
        names = ("import", "build", "train_first_call_warm", "train_first_call_cold")
        imported, built, warm, cold = (findings.value(cell, "first_call", name) for name in names)
        warm_up, step, first = findings.value(cell, "train", "warm_up"), findings.value(cell, "train"), warm or cold
        if not step or None in (imported, built, warm_up) or not first:
            continue
        stages = [imported or 0.0, built or 0.0, first, warm_up or 0.0]
        total, added = sum(stages), (cold or first) - first
        bars[cell] = [*accumulate([*stages, STEADY * step, added])]
        steps = f"{digits(total, 2)} s = {total / step:,.0f} steps"
        beside.append(steps + (f" ({digits(total + added, 2)} s cold)" if added > 0.01 * total else "" if warm else ", cold"))
        parts = ", ".join(f"{stage} {digits(seconds, 2)}" for stage, seconds in zip(STAGES, stages, strict=False))
        told.append(f"{name(cell)} {steps} of training ({parts}; first call with a cold cache {digits(cold or first, 2)})")
    if bars:
        figure = stacked(bars, styles, STAGES, beside=beside, xlabel="seconds from an empty process on")
        says = f"Seconds until training is steady, and as many steps: {'; '.join(told)}."
        yield f"Time until steady training, and of {STEADY:,} steps", figure, says


def _memory(findings: Findings, task: str, styles: Looks) -> Drawn:
    """Peak memory of a prediction and of training, above that before the model was built."""
    peaks = {
        cell: ((findings.value(cell, "memory", "predict_peak") or 0.0) / 2**20, peak / 2**20)
        for cell in findings.cells_of(task)
        if (peak := findings.value(cell, "memory", "peak")) is not None
    }
    if not peaks:
        return
    beside = [f"{digits(training)} MiB" for _, training in peaks.values()]
    told = "; ".join(f"{name(cell)} {digits(low)} and {digits(high)} MiB" for cell, (low, high) in peaks.items())
    says = f"Resident memory at most, above that before the model was built, predicting and training: {told}."
    yield "Peak memory", stacked(peaks, styles, MEMORY, beside=beside, xlabel="MiB at most, above that before the model"), says


def _roofline(findings: Findings, task: str, styles: Looks) -> Drawn:
    """What a training step achieves below what one CPU can compute and move at most in float32, both axes logarithmic."""

    def point(cell: Cell) -> tuple[float, float] | None:
        """Operations a byte, and operations a second and CPU."""
        step, needs = findings.value(cell, "train"), work(findings.goal(task), cell.batch, "train")
        if not step or not needs.get("bandwidth") or (cell.device, cell.precision, cell.threads) != SUNG:
            return None
        return needs["peak"] / needs["bandwidth"], needs["peak"] / step

    curves = _curves(findings, task, point)
    if not curves:
        return
    peak, bandwidth = ceilings(findings.run).values()
    ridge, at = peak / bandwidth, [x for points in curves.values() for x, _ in points]
    axes, bound = Figure().subplots(), ""
    if ridge > 0:
        places = np.array([min(ridge, *at) / 4, ridge, max(ridge, *at) * 4])
        label = f"one CPU: {digits(peak / 1e9)} GFLOP/s, {digits(bandwidth / 1e9)} GB/s"
        axes.plot(places, np.minimum(peak, bandwidth * places) / 1e9, color=INK, linewidth=1.5, label=label)
        bound = f", where the ceiling is {'the product' if max(at) > ridge else 'the copy'}"
    told = []
    for cell, points in curves.items():
        axes.plot(*(np.array(points) / (1, 1e9)).T, **line(styles[cell]) | {"linewidth": 0.8})
        x, y = points[-1]
        share = f", {y / min(peak, bandwidth * x):.0%} of the ceiling" if ridge > 0 else ""
        told.append(f"{name(cell)} {digits(y / 1e9)} GFLOP/s{share}")
    axes.set(xscale="log", yscale="log", xlabel="FLOP per byte that a step must move at least", ylabel="GFLOP/s")
    plain(axes.xaxis, "{x:g}")
    plain(axes.yaxis, "{x:g}")
    says = f"At {digits(max(at))} FLOP a byte{bound}: {'; '.join(told)}."
    yield "Roofline of the training step", axes.figure, says


@matplotlib.style.context(["default", STYLE])
def weather(rounds: pd.DataFrame) -> tuple[str, str]:
    """What the rounds of a run met, in their order: the canary over its median, and what others used and waited for."""
    figure = Figure(figsize=(1.6 * WIDTH, 3.6))
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    at = np.arange(len(rounds))
    for song, style in (("product_s", "-"), ("copy_s", ":")):
        label = f"above: canary's {song.removesuffix('_s')}"
        sung = rounds[song].astype(float)
        sung = sung[sung > 0]
        upper.plot(sung.index, sung / sung.median(), color=INK, linestyle=style, linewidth=1, label=label)
    for met, style in (("external_cpus", "-"), ("pressure", ":")):
        label = {"external_cpus": "CPUs that others used", "pressure": "share of time some waited for a CPU"}[met]
        lower.plot(at, rounds[met].astype(float), color=INK, linestyle=style, linewidth=1, label=f"below: {label}")
    spells = (rounds.contended != rounds.contended.shift()).cumsum()
    shade = {"color": INK, "alpha": 0.12, "linewidth": 0}
    upper.fill_between([], [], [], **shade, label="contended")
    for axes in (upper, lower):
        for _, spell in rounds[rounds.contended].groupby(spells):
            axes.axvspan(spell.index[0] - 0.5, spell.index[-1] + 0.5, **shade)
        for begin in at[rounds.generation.diff() > 0]:
            axes.axvline(begin - 0.5, color=INK, linewidth=0.6, linestyle=":")
    upper.set_ylabel("time over\nmedian")
    lower.set(xlabel="rounds in their order; a dotted line begins a generation", ylabel="CPUs, or\nshare of time")
    reasons = rounds.reason.str.split("; ").explode()
    told = "; ".join(f"{reason} in {count:,}" for reason, count in reasons[reasons != ""].value_counts().items())
    says = f"{int(rounds.contended.sum()):,} of {len(rounds):,} rounds contended" + (f": {told}." if told else ".")
    return svg(figure, "weather", title="The canary, and what others used of the machine, round by round", says=says), says
