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
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

from harness import stats
from harness.records import Cell, Trial
from harness.report.tables import Findings
from harness.report.words import digits, listed, name, plural, sized, terms, time_unit
from harness.stats import MARGIN, TIE_BAND, Contest, Proven

INK = "#010203"  # stands for currentColor until the SVG is text
LOOKS = {"torch": ("#d55e00", "o"), "tensorflow": ("#0072b2", "s"), "jax": ("#009e73", "^"), "numpy": (INK, "D")}
SPARE = (("#cc79a7", "v"), ("#e69f00", "P"), ("#56b4e9", "X"), ("#a08600", "p"))  # for backends that came later
FILLS = ("full", "none", "left", "top", "bottom", "right")
POINTS = 300  # most points a loss curve is drawn with
PHASES = {
    "train": ("training step", "step"),
    "epoch": ("step with its input", "step"),
    "predict": ("prediction", "batch"),
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
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    body = buffer.getvalue().partition("<svg")[2]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r' xmlns(:xlink)?="[^"]*"| font-family: [^;"]*;', "", body).replace("xlink:href=", "href=")
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{ident}-", body).replace(INK, "currentColor")
    width, height = figure.get_size_inches() * 72
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{ident}-title {ident}-desc">'
    words = f'<title id="{ident}-title">{escape(title)}</title><desc id="{ident}-desc">{escape(says)}</desc>'
    return head + words + body.partition(">")[2].strip()
