"""The plots, as SVG text for a page: equal input gives equal bytes, text stays text, ids are unique, no link leaves.

A backend has one colour (Okabe-Ito) and one marker everywhere; a mode is told by how the marker is filled. Ink is
``currentColor``: the page's light or dark setting colours axes and words. Curves that may coincide get thinner upwards.
"""

import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

from harness import stats
from harness.records import Cell, Trial
from harness.report.tables import Findings, ceilings, scored, work
from harness.report.words import digits, listed, name, plural, sized, terms, time_unit
from harness.stats import MARGIN, TIE_BAND, Contest, Proven

INK = "#010203"  # stands for currentColor until the SVG is text
LOOKS = {"torch": ("#d55e00", "o"), "tensorflow": ("#0072b2", "s"), "jax": ("#009e73", "^"), "numpy": (INK, "D")}
SPARE = (("#cc79a7", "v"), ("#e69f00", "P"), ("#56b4e9", "X"), ("#a08600", "p"))  # for backends that came later
FILLS = ("full", "none", "left", "top", "bottom", "right")
EVEN = 0.5  # the probability above which an example is taken for a 1
LABEL = 200  # most characters of one
POINTS = 300  # most points a loss curve is drawn with
PHASES = {
    "train": ("training step", "step"),
    "epoch": ("step with its input", "step"),
    "predict": ("prediction", "batch"),
}
STAGES = {"import": 0.95, "model build": 0.6, "first call": 0.35, "warm-up": 0.15}  # how opaque each is drawn
OUTCOMES = {  # axes of the plots of a binary outcome, and the figure that sums each up
    "ROC curve": ("false positives, share of the 0s", "true positives, share of the 1s", "Dotted: chance. Area under the curve"),
    "Precision and recall": ("recall", "precision", "Average precision"),
    "Calibration": (
        "mean probability of a tenth of the examples",
        "share of 1s among them",
        "Dotted: ideal. Brier score, lower is better",
    ),
}
SCALES = {"batch": "batch size", "threads": "CPUs"}  # what a sweep goes over
STYLE: dict[str, Any] = {
    "figure.figsize": (6.0, 3.2),
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "concord",
    "text.parse_math": False,  # names come from outside: a dollar sign is a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    **dict.fromkeys(("grid.color", "text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
Looks = Mapping[Cell, Mapping[str, Any]]  # how a cell is drawn, in every plot: matplotlib's keywords
Curves = Mapping[Cell, Sequence[tuple[float, float]]]
Drawn = tuple[Any, str]  # a figure, and what it shows in a sentence, for those who do not see it


def looks(proofs: Mapping[Cell, Proven]) -> Looks:
    """The look of every cell of a run; a backend this file does not know gets the next spare one, by name."""
    others = sorted({cell.backend for cell in proofs} - LOOKS.keys())
    known = LOOKS | {backend: SPARE[number % len(SPARE)] for number, backend in enumerate(others)}
    found = {}
    for cell, proof in proofs.items():
        color, marker = known[cell.backend]
        modes = sorted({other.mode for other in proofs if other.backend == cell.backend})
        label = name(cell) + (" (proof failed)" if proof.state == "failed" else "")
        fill = FILLS[modes.index(cell.mode) % len(FILLS)]
        found[cell] = {"color": color, "marker": marker, "fillstyle": fill, "label": label}
    return found


@matplotlib.style.context(["default", STYLE])  # whatever the user's matplotlibrc says
def plots(findings: Findings, task: str, ident: str) -> dict[str, tuple[str, str]]:
    """Every plot of a task by its caption: its SVG, and the same in words. ``ident`` makes the ids unique."""
    styles, fits, goal = looks(findings.proofs), _fits(findings, task), findings.goal(task)
    drawn: dict[str, Drawn] = {}
    if losses := {cell: trial.losses for cell, trial in fits.items() if trial.losses}:
        drawn["Loss curves"] = _losses(losses, styles)
    if curves := {cell: points for cell, trial in fits.items() if (points := _epochs(trial, goal["metric"]))}:
        drawn["Quality over epochs"] = _quality(curves, styles, goal=goal)
    drawn |= _outcomes(fits, styles)
    for phase, (called, _) in PHASES.items():
        contests = findings.contests_of(task, phase)
        for contest in contests:
            caption = f"Time of a {called}" + (terms(contest) if len(contests) > 1 else "")
            if any(a == contest.best for a, _ in contest.ratios):
                drawn[f"{caption}: ratios"] = _ratios(contest, styles)
            drawn[f"{caption}: every sample"] = _samples(contest, styles)
    for phase, over in product(("train", "predict"), SCALES):
        if scaled := _scaling(findings, task, phase, over):
            drawn[f"Throughput over {SCALES[over]}: {PHASES[phase][0]}"] = _throughput(scaled, styles, over=over)
    if costs := _stages(findings, task):
        drawn["Time until steady training"] = _start(costs, styles)
    if achieved := _work_done(findings, task):
        drawn["Roofline of the training step"] = _roofline(achieved, ceilings(findings.run), styles)
    return {
        caption: (_svg(figure, f"{ident}-{number}", title=f"{caption}, {task}", says=says), says)
        for number, (caption, (figure, says)) in enumerate(drawn.items())
    }


def _fits(findings: Findings, task: str) -> dict[Cell, Trial]:
    """The first training of each cell that ended well, the proven ones first."""
    fits = {t.cell: t for t in reversed(findings.run.trials) if (t.phase, t.status, t.cell.task) == ("fit", "ok", task)}
    return dict(sorted(fits.items(), key=lambda fit: (findings.proofs[fit[0]].state != "proven", name(fit[0]))))


def _epochs(trial: Trial, metric: str) -> list[tuple[float, float]]:
    """(epoch, figure) of the first figure whose name ends with the metric: test_accuracy, val_auc."""
    figure = next((key for epoch in trial.epochs for key in epoch if metric and key.endswith(metric)), "")
    return [(epoch["epoch"], epoch[figure]) for epoch in trial.epochs if figure in epoch]


def _losses(curves: Mapping[Cell, Sequence[float]], styles: Looks) -> Drawn:
    """Training loss of all cells over each other, and below how far each is from the first one, on a log axis."""
    first, *others = curves
    losses = pd.DataFrame({cell: pd.Series(values, dtype=float) for cell, values in curves.items()})
    gaps = losses[others].sub(losses[first], axis=0).abs()
    width = -(-len(losses) // POINTS)  # steps a drawn point stands for; five times as many in the lower plot
    means = losses.groupby(losses.index // width * width).mean()
    largest = gaps.groupby(gaps.index // (5 * width) * (5 * width)).max().replace(0, np.nan)
    heights = (3, 2) if others else (3,)
    figure = Figure(figsize=(6.0, 4.6 if others else 3.0))
    axes = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for number, cell in enumerate(curves):
        marks = (len(means) * number // (8 * len(curves)), max(len(means) // 8, 1))  # no two curves on one step
        line = _line(styles[cell], len(others) - number) | {"markersize": 6, "markevery": marks}
        axes[0].plot(means.index, means[cell], **line)
    every = max(len(largest) // 8, 1)
    for cell in others:
        axes[1].plot(largest.index, largest[cell], **_line(styles[cell], 0) | {"label": "_", "markevery": every})
    if others:
        axes[1].set(yscale="log", ylabel=f"|difference|\nto {name(first)}")
        axes[1].yaxis.set_major_formatter(StrMethodFormatter("{x:.0e}"))
        axes[1].yaxis.set_minor_formatter(NullFormatter())
    axes[-1].set_xlabel("training step")
    figure.legend(loc="outside upper left", ncols=3)
    most = {cell: gaps[cell].max() for cell in others}
    far = [f"{name(c)} by up to {digits(gap, 2)} (step {gaps[c].idxmax()})" for c, gap in most.items() if gap > 0]
    says = f"Training loss over {plural(len(losses), 'step')}. "
    says += f"From {name(first)} differ: {listed(far)}; no line where they do not." if far else ""
    says += f" Drawn: means of {width} steps; below, the largest difference in {5 * width}." if width > 1 else ""
    return figure, says


def _quality(curves: Curves, styles: Looks, *, goal: Mapping[str, Any]) -> Drawn:
    """The task's metric over epochs, (epoch, value) by cell; what was published is on the whole data, and so labelled."""
    axes = Figure().subplots()
    for number, (cell, points) in enumerate(curves.items()):
        axes.plot(*zip(*points, strict=True), **_line(styles[cell], len(curves) - 1 - number))
    note = " on the whole data" if any("sample" in cell.data for cell in curves) else ""
    lines = {f"{k}{note}": goal[k] for k in ("target", "published") if isinstance(goal.get(k), int | float)}
    for number, (label, value) in enumerate(lines.items()):
        axes.axhline(value, color=INK, linewidth=1, linestyle=("--", ":")[number])
        side = "bottom" if value == max(lines.values()) else "top"
        axes.annotate(f"{label} {value:g}", (0.01, value), xycoords=("axes fraction", "data"), va=side)
    axes.set(xlabel="epoch", ylabel=goal["metric"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.12)
    axes.figure.legend(loc="outside upper left", ncols=3)
    last = "; ".join(f"{name(cell)} {digits(points[-1][1], 4)}" for cell, points in curves.items())
    return axes.figure, f"{goal['metric']} after the last epoch: {last}."


def _outcomes(fits: Mapping[Cell, Trial], styles: Looks) -> dict[str, Drawn]:
    """ROC, precision-recall and calibration curves of recorded test scores, and the confusion; nothing without scores."""
    found = {cell: np.array(pairs).T for cell, trial in fits.items() if (pairs := scored(trial))}
    outcomes = {cell: pairs for cell, pairs in found.items() if np.ptp(pairs[0])}  # of labels both kinds occur
    if not outcomes:
        return {}
    from sklearn import metrics
    from sklearn.calibration import calibration_curve

    curves: dict[str, dict[Cell, Any]] = {"ROC curve": {}, "Precision and recall": {}, "Calibration": {}}
    figures: dict[str, list[str]] = defaultdict(list)
    for cell, (labels, scores) in outcomes.items():
        precision, recall, _ = metrics.precision_recall_curve(labels, scores, drop_intermediate=True)
        curves["ROC curve"][cell] = metrics.roc_curve(labels, scores)[:2]
        curves["Precision and recall"][cell] = recall, precision
        curves["Calibration"][cell] = calibration_curve(labels, scores, n_bins=10, strategy="quantile")[::-1]
        told = metrics.roc_auc_score, metrics.average_precision_score, metrics.brier_score_loss
        for caption, score in zip(curves, told, strict=True):
            figures[caption].append(f"{name(cell)} {digits(score(labels, scores), 4)}")
    drawn = {}
    for caption, (x, y, summed) in OUTCOMES.items():
        axes = Figure().subplots()
        if caption != "Precision and recall":
            axes.plot((0, 1), (0, 1), color=INK, linewidth=1, linestyle=":")
        for number, (cell, points) in enumerate(curves[caption].items()):
            axes.plot(*points, **_line(styles[cell], len(outcomes) - 1 - number) | {"markevery": 0.15})
        axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        axes.figure.legend(loc="outside upper left", ncols=3)
        drawn[caption] = axes.figure, f"{summed}: {'; '.join(figures[caption])}."
    return {**drawn, f"Confusion at probability {EVEN}": _confusion(outcomes, styles)}


def _confusion(outcomes: Mapping[Cell, np.ndarray], styles: Looks) -> Drawn:
    """Labels of the test examples over what each cell predicts, in counts; the darker the more of that label."""
    columns = min(3, len(outcomes))
    lines, told = -(-len(outcomes) // columns), []
    grid = Figure(figsize=(6.0, 0.4 + 2.0 * lines)).subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(outcomes) :]:
        axes.set_axis_off()
    for axes, (cell, (labels, scores)) in zip(grid.flat, outcomes.items(), strict=False):
        counts = [[int(np.sum((labels == a) & ((scores > EVEN) == b))) for b in (0, 1)] for a in (0, 1)]
        for a, b in product((0, 1), (0, 1)):
            color = (styles[cell]["color"], 0.6 * counts[a][b] / sum(counts[a]))
            axes.axvspan(b - 0.5, b + 0.5, 0.5 - a / 2, 1 - a / 2, facecolor=color, linewidth=0)
            axes.annotate(f"{counts[a][b]:,}", (b, a), ha="center", va="center")
        axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xticks=(0, 1), yticks=(0, 1), xlabel="predicted", ylabel="label")
        axes.set_title(styles[cell]["label"], fontsize="medium")
        axes.grid(visible=False)
        (tn, fp), (fn, tp) = counts
        told.append(f"{name(cell)} {tp:,} true and {fp:,} false positives, {fn:,} false and {tn:,} true negatives")
    return grid[0, 0].figure, f"Test examples at probability {EVEN}: {'; '.join(told)}."


def _ratios(contest: Contest, styles: Looks) -> Drawn:
    """Ratios to the best with their simultaneous intervals and the tie band, on a log axis; who is not ranked says so."""
    pairs = sorted(contest.ratios.items(), key=lambda pair: pair[1].value)
    found = {b: ratio for (a, b), ratio in pairs if a == contest.best}
    labels = [name(b) + ("" if b in contest.ranks or contest.refusal else " (not ranked)") for b in found]
    best = name(contest.best) if contest.best else ""
    axes = Figure(figsize=(6.0, 1.15 + 0.34 * len(found))).subplots()
    axes.axvspan(1 / (1 + TIE_BAND), 1 + TIE_BAND, color=INK, alpha=0.1, linewidth=0)
    axes.axvline(1, color=INK, linewidth=1)
    ends = [0.93, 1.08]
    for height, (cell, ratio) in enumerate(found.items()):
        interval = (ratio.low or ratio.value, ratio.high or ratio.value)
        ends += [*interval, ratio.value]
        axes.plot(interval, (height, height), color=styles[cell]["color"], linewidth=2)
        axes.plot(ratio.value, height, **styles[cell], linestyle="none", markersize=8)
    axes.set(xscale="log", xlim=(min(ends) / 1.02, max(ends) * 1.04), ylim=(len(found) - 0.5, -0.5))
    axes.set_yticks(range(len(found)), labels)
    axes.set_xlabel(f"time relative to {best} (shaded: a tie, within {TIE_BAND:.0%})")
    axes.grid(visible=False, axis="y")
    _plain(axes.xaxis, "{x:g}x")
    told = "; ".join(f"{label} {sized(ratio)}" for label, ratio in zip(labels, found.values(), strict=True))
    return axes.figure, f"Time relative to {best}: {told}. Below {MARGIN} nothing is called slower."


def _samples(contest: Contest, styles: Looks) -> Drawn:
    """Every sample by generation and round, so that drift shows; each generation is one fresh process."""
    found = {cell: stats.samples(blocks) for cell, blocks in contest.blocks.items()}
    values = [value for times in found.values() for value in times.values()]
    factor, unit = time_unit(values)
    rounds = 1 + max(round_ for times in found.values() for _, round_ in times)
    axes = Figure().subplots()
    disturbed = sorted(key for key, bad in contest.rounds.items() if bad)
    for generation, round_ in disturbed:
        left = generation + 0.6 + 0.8 * round_ / rounds
        axes.axvspan(left, left + 0.8 / rounds, color=INK, alpha=0.1, linewidth=0)
    for number, (cell, times) in enumerate(found.items()):
        shift = (number + 0.5) / len(found)  # no two cells on one spot
        x = [generation + 0.6 + 0.8 * (round_ + shift) / rounds for generation, round_ in times]
        axes.plot(x, [value * factor for value in times.values()], **styles[cell], linestyle="none", markersize=5)
    if max(values) > 4 * min(values):
        axes.set_yscale("log")
        _plain(axes.yaxis, "{x:g}")
    else:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("generation (fresh processes), its rounds from left to right")
    axes.set_ylabel(f"{unit} a {PHASES[contest.phase][1]}")
    axes.grid(visible=False, axis="x")
    axes.figure.legend(loc="outside upper left", ncols=3)
    ends = {cell: (min(times.values()) * factor, max(times.values()) * factor) for cell, times in found.items()}
    told = "; ".join(f"{name(cell)} {digits(low)} to {digits(high)} {unit}" for cell, (low, high) in ends.items())
    shaded = f" Shaded: {plural(len(disturbed), 'contended round')}." if disturbed else ""
    return axes.figure, f"{len(values)} samples: {told}.{shaded}"


def _scaling(findings: Findings, task: str, phase: str, over: str) -> Curves:
    """(batch or threads, examples a second) by entry, all else as on the task's main terms; nothing without a sweep."""
    (fixed,) = SCALES.keys() - {over}
    terms_ = {getattr(cell, fixed) for cell in findings.cells_of(task)}
    curves: dict[tuple[str, str], list[tuple[Cell, float]]] = defaultdict(list)
    for cell in findings.rows:
        row = findings.pick(cell, phase, "throughput")
        if row and cell.task == task and getattr(cell, fixed) in terms_ and findings.proofs[cell].state != "failed":
            curves[cell.backend, cell.mode].append((cell, row.figure.value))
    found = {points[0][0]: sorted((getattr(cell, over), rate) for cell, rate in points) for points in curves.values()}
    return {cell: points for cell, points in found.items() if len({at for at, _ in points}) > 1}


def _throughput(curves: Curves, styles: Looks, *, over: str) -> Drawn:
    """Examples a second over batch size or CPUs, both axes logarithmic."""
    axes = Figure().subplots()
    for cell, points in curves.items():
        axes.plot(*zip(*points, strict=True), **_line(styles[cell], 0))
    axes.set(xscale="log", yscale="log", xlabel=SCALES[over], ylabel="examples a second")
    axes.set_xticks(sorted({at for points in curves.values() for at, _ in points}))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    _plain(axes.yaxis, "{x:,.6g}")
    axes.figure.legend(loc="outside upper left", ncols=3)
    told = (f"{name(cell)} {digits(points[0][1])} to {digits(points[-1][1])}" for cell, points in curves.items())
    (first, *_, last) = sorted({at for points in curves.values() for at, _ in points})
    return axes.figure, f"Examples a second, from {first} to {last}: {'; '.join(told)}."


def _stages(findings: Findings, task: str) -> dict[Cell, tuple[list[float], float, float]]:
    """By entry: median seconds of each stage over warm processes, the first call's with a cold cache, and of a steady step."""
    waits: dict[Cell, list[float]] = defaultdict(list)
    for t in findings.run.trials:
        if (t.phase, t.of, t.status, t.cell.task) == ("warmup", "train", "ok", task) and t.times_ns:
            lost = t.steps - len(t.times_ns)  # only the last ones of a long warm-up are kept
            start = 0 if t.facts.get("kind") == "flat" else int(t.facts.get("start") or 0)
            mean = sum(t.times_ns) / len(t.times_ns)
            waits[t.cell].append((min(start, lost) * mean + sum(t.times_ns[: max(start - lost, 0)])) / 1e9)
    found = {}
    for cell in findings.cells_of(task):
        step = findings.pick(cell, "train")
        names = ("import", "build", "train_first_call_warm", "train_first_call_cold")
        rows = (findings.pick(cell, "first_call", name) for name in names)
        imported, built, warm, cold = (row.figure.value if row else None for row in rows)
        if step and cell in waits and imported is not None and built is not None and (first := warm or cold):
            stages = [imported, built, first, float(np.median(waits[cell]))]
            found[cell] = (stages, cold or first, step.figure.value)
    return found


def _start(costs: Mapping[Cell, tuple[list[float], float, float]], styles: Looks) -> Drawn:
    """Stacked bars of the stages, shaded; behind them, dashed, what a cold compile cache adds; in steps beside."""
    axes, told = Figure(figsize=(6.0, 1.4 + 0.42 * len(costs))).subplots(), []
    for height, (cell, (stages, cold, step)) in enumerate(costs.items()):
        color, left = styles[cell]["color"], 0.0
        for seconds, alpha in zip(stages, STAGES.values(), strict=True):
            axes.barh(height, seconds, 0.6, left, facecolor=(color, alpha), edgecolor=color, linewidth=0.6)
            left += seconds
        if (more := cold - stages[2]) > 0.01 * left:
            axes.barh(height, more, 0.6, left, facecolor="none", edgecolor=color, linestyle="--", linewidth=0.9)
        steps = f"{digits(left, 2)} s = {left / step:,.0f} steps"
        beside = steps + (f" ({digits(left + more, 2)} s cold)" if more > 0.01 * left else "")
        axes.annotate(beside, (left + max(more, 0), height), (4, 0), textcoords="offset points", va="center")
        parts = ", ".join(f"{stage} {digits(seconds, 2)}" for stage, seconds in zip(STAGES, stages, strict=True))
        told.append(f"{name(cell)} {steps} of training ({parts}; first call with a cold cache {digits(cold, 2)})")
    for stage, alpha in STAGES.items():
        axes.barh(0, 0, facecolor=(INK, alpha), edgecolor=INK, linewidth=0.6, label=stage)
    axes.barh(0, 0, facecolor="none", edgecolor=INK, linestyle="--", linewidth=0.9, label="more with a cold cache")
    axes.set(xlim=(0, 1.7 * axes.get_xlim()[1]), ylim=(len(costs) - 0.5, -0.5), xlabel="seconds until training is steady")
    axes.set_yticks(range(len(costs)), [styles[cell]["label"] for cell in costs])
    axes.grid(visible=False, axis="y")
    axes.figure.legend(loc="outside upper left", ncols=3)
    return axes.figure, f"Seconds until training is steady, and as many steps: {'; '.join(told)}."


def _work_done(findings: Findings, task: str) -> Curves:
    """(operations a byte, operations a second and CPU) of a training step by entry, over the batches that were timed."""
    curves: dict[tuple[str, str], list[tuple[Cell, float, float]]] = defaultdict(list)
    for cell in findings.rows:
        row, needs = findings.pick(cell, "train"), work(findings.goal(task), cell.batch, "train")
        if row and cell.task == task and cell.threads == 1 and needs.get("bandwidth") and findings.proofs[cell].state != "failed":
            point = (needs["peak"] / needs["bandwidth"], needs["peak"] / row.figure.value)
            curves[cell.backend, cell.mode].append((cell, *point))
    return {points[0][0]: sorted((x, y) for _, x, y in points) for points in curves.values()}


def _roofline(curves: Curves, most: Mapping[str, float], styles: Looks) -> Drawn:
    """What a step achieves below what one CPU can compute and move at most, both axes logarithmic."""
    peak, bandwidth = most["peak"], most["bandwidth"]
    ridge, at = peak / bandwidth, [x for points in curves.values() for x, _ in points]
    axes = Figure().subplots()
    if ridge > 0:
        x = np.geomspace(min(ridge, *at) / 4, max(ridge, *at) * 4, 3)
        x[1] = ridge
        label = f"one CPU at most: {digits(peak / 1e9)} GFLOP/s, {digits(bandwidth / 1e9)} GB/s"
        axes.plot(x, np.minimum(peak, bandwidth * x) / 1e9, color=INK, linewidth=1.5, label=label)
    for cell, found in curves.items():
        axes.plot(*zip(*((x, y / 1e9) for x, y in found), strict=True), **_line(styles[cell], 0) | {"linewidth": 0.8})
    axes.set(xscale="log", yscale="log", xlabel="FLOP per byte that a step must move at least", ylabel="GFLOP/s")
    _plain(axes.xaxis, "{x:g}")
    _plain(axes.yaxis, "{x:g}")
    axes.figure.legend(loc="outside upper left", ncols=2)
    bound = "" if not ridge > 0 else f", where the ceiling is {'the product' if max(at) > ridge else 'the copy'}"
    reached = (
        f"{name(cell)} {digits(y / 1e9)} GFLOP/s" + (f", {y / min(peak, bandwidth * x):.0%} of the ceiling" if ridge > 0 else "")
        for cell, found in curves.items()
        for x, y in found[-1:]
    )
    return axes.figure, f"At {digits(max(at))} FLOP a byte{bound}: {'; '.join(reached)}."


def _line(look: Mapping[str, Any], layer: int) -> dict[str, Any]:
    """The keywords of a line with markers; ``layer`` counts the lines above it, which are thinner."""
    return {**look, "linestyle": "-", "linewidth": 1.2 + 1.6 * layer, "markersize": 5 + 2.5 * layer}


def _plain(axis: Any, form: str) -> None:
    """A log axis with ticks in plain digits."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if high < 5 * low else LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter(form))


def _svg(figure: Any, ident: str, *, title: str, says: str) -> str:
    """SVG text fit for a page: own ids, title and description, page colours and font, nothing that points elsewhere."""
    buffer = io.StringIO()
    for text in figure.findobj(Text):  # of a label that is far too long matplotlib would take minutes to find the width
        text.set_text(text.get_text()[:LABEL])
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    body = buffer.getvalue().partition("<svg")[2]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r' xmlns(:xlink)?="[^"]*"| font-family: [^;"]*;', "", body).replace("xlink:href=", "href=")
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{ident}-", body).replace(INK, "currentColor")
    width, height = figure.get_size_inches() * 72
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{ident}-title {ident}-desc">'
    words = f'<title id="{ident}-title">{escape(title)}</title><desc id="{ident}-desc">{escape(says)}</desc>'
    return head + words + body.partition(">")[2].strip()
