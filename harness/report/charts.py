"""The plots, as SVG text for a page: equal input gives equal bytes, text stays text, ids are unique, no link leaves.

A backend has one colour (Okabe-Ito) and one marker everywhere; a mode is told by how the marker is filled. Ink is
``currentColor``: the page's light or dark setting colours axes and words. Curves that may coincide get thinner upwards.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from harness import stats
from harness.records import Cell
from harness.report.words import digits, listed, name, plural, sized, time_unit
from harness.stats import MARGIN, TIE_BAND, Contest, Proven

INK = "#010203"  # stands for currentColor until the SVG is text
COLOURS = {"torch": "#d55e00", "tensorflow": "#0072b2", "jax": "#009e73", "numpy": INK}
SPARE = ("#cc79a7", "#e69f00", "#56b4e9", "#a08600")  # for backends that came later
MARKERS = {"torch": "o", "tensorflow": "s", "jax": "^", "numpy": "D"}
SPARE_MARKERS = ("v", "P", "X", "p")
FILLS = ("full", "none", "left", "top", "bottom", "right")
POINTS = 300  # most points a loss curve is drawn with
NICE = tuple(
    b * t for b in (1, 2, 5, 3, 1.5, 1.2, 1.1, 1.3, 7, 1.05) for t in (1, 10, 0.1, 100, 0.01, 1000)
)  # best first
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "concord",
    "text.parse_math": False,  # names come from outside: a dollar sign is a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.2,
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "legend.frameon": False,
    "legend.handlelength": 2.5,
    **dict.fromkeys(("grid.color", "text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class Look:
    """How one cell is drawn, in every plot."""

    label: str
    color: str
    marker: str
    fillstyle: str

    def line(self, layer: int = 0, **more: Any) -> dict[str, Any]:
        """The keywords of a line with markers; ``layer`` counts the lines above it, which are thinner."""
        size = {"linewidth": 1.2 + 1.6 * layer, "markersize": 5 + 2.5 * layer}
        return {**self.dots(), "linestyle": "-", **size, **more}

    def dots(self) -> dict[str, Any]:
        """The keywords of markers without a line."""
        look = {"color": self.color, "marker": self.marker, "fillstyle": self.fillstyle}
        return {**look, "linestyle": "none", "label": self.label}


@dataclass(frozen=True)
class Chart:
    """A finished plot: its SVG, and the same in a sentence, for those who do not see it."""

    svg: str
    says: str


def looks(proofs: Mapping[Cell, Proven]) -> dict[Cell, Look]:
    """The look of every cell of a run; a backend this file does not know gets the next spare colour, by name."""
    ordered = sorted(proofs, key=lambda cell: (cell.backend, cell.mode))
    others = sorted({cell.backend for cell in ordered} - COLOURS.keys())
    modes = {b: sorted({c.mode for c in ordered if c.backend == b}) for b in {c.backend for c in ordered}}

    def look(cell: Cell) -> Look:
        spare = others.index(cell.backend) % len(SPARE) if cell.backend in others else 0
        color, marker = (
            COLOURS.get(cell.backend, SPARE[spare]),
            MARKERS.get(cell.backend, SPARE_MARKERS[spare]),
        )
        fill = FILLS[modes[cell.backend].index(cell.mode) % len(FILLS)]
        failed = " (proof failed)" if proofs[cell].state == "failed" else ""
        return Look(name(cell) + failed, color, marker, fill)

    return {cell: look(cell) for cell in ordered}


@contextmanager
def canvas(height: float, rows: Sequence[float] = (1,)) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure 6 inches wide with axes one above the other, in this page's style whatever the user's matplotlibrc."""
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(6.0, height), layout="constrained")
        axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=list(rows))
        yield figure, list(axes[:, 0])


def chart(figure: Figure, ident: str, title: str, says: str) -> Chart:
    """The figure as SVG to be put into a page: call inside ``canvas``."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Chart(inline(buffer.getvalue(), ident, title, says), says)


def inline(svg: str, ident: str, title: str, says: str) -> str:
    """SVG text fit for a page: own ids, title and description, page colours and font, nothing that points elsewhere."""
    body = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL
    )
    body = re.sub(r' xmlns(:xlink)?="[^"]*"', "", body).replace("xlink:href=", "href=")
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{ident}-", body)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = body.replace(INK, "currentColor")
    box = re.search(r'viewBox="[^"]*"', body)
    head = f'<svg {box.group() if box else ""} role="img" aria-labelledby="{ident}-title {ident}-desc">'
    words = f'<title id="{ident}-title">{escape(title)}</title><desc id="{ident}-desc">{escape(says)}</desc>'
    return head + words + body[body.index(">") + 1 :].strip()


def legend(figure: Figure, axes: Axes) -> None:
    """One legend above all axes."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 3))


def plain(axis: Any, low: float, high: float, *, suffix: str = "") -> None:
    """A log axis with round ticks in plain digits, as many as have room."""
    kept: list[float] = []
    for tick in NICE:
        if low <= tick <= high and all(abs(np.log(tick / other)) > np.log(high / low) / 7 for other in kept):
            kept.append(tick)
    axis.set_ticks(kept)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{suffix}"))


def thin(values: np.ndarray, reduce: np.ufunc, points: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` (step, value): runs of equal length, each reduced to one value at its first step."""
    width = -(-len(values) // points)
    starts = np.arange(0, len(values), width)
    reduced = reduce.reduceat(values, starts)
    return starts, reduced / np.diff([*starts, len(values)]) if reduce is np.add else reduced


def loss_curves(
    curves: Mapping[Cell, Sequence[float]], styles: Mapping[Cell, Look], *, ident: str, title: str
) -> Chart:
    """Training loss of all cells over each other, and below how far each is from the first one, on a log axis."""
    found = {cell: np.array(values, float) for cell, values in curves.items()}
    first, *others = found
    gaps = {cell: gap(found[first], found[cell]) for cell in others}
    with canvas(4.6 if others else 3.0, (3, 2) if others else (1,)) as (figure, axes):
        for number, (cell, values) in enumerate(found.items()):
            steps, means = thin(values, np.add, POINTS)
            marks = (
                len(steps) * number // (8 * len(found)),
                max(len(steps) // 8, 1),
            )  # no two curves on one step
            style = styles[cell].line(len(found) - 1 - number, markevery=marks)
            axes[0].plot(steps, means, **style | {"markersize": 6})
        for cell, values in gaps.items():
            steps, largest = thin(values, np.maximum, POINTS // 5)
            axes[1].plot(
                steps,
                np.where(largest > 0, largest, np.nan),
                **styles[cell].line(markevery=max(len(steps) // 8, 1)),
            )
        if others:
            axes[1].set(yscale="log", ylabel=f"|difference|\nto {name(first)}")
            axes[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
            axes[1].yaxis.set_minor_formatter(NullFormatter())
        axes[-1].set_xlabel("training step")
        legend(figure, axes[0])
        return chart(figure, ident, title, loss_words(first, gaps, len(found[first])))


def gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| over the steps both have."""
    count = min(len(a), len(b))
    return np.asarray(np.abs(a[:count] - b[:count]))


def loss_words(first: Cell, gaps: Mapping[Cell, np.ndarray], steps: int) -> str:
    """What the loss curves show."""
    width = -(-steps // POINTS)
    each = f" Drawn: means of {width} steps; below, the largest difference in {5 * width}." if width > 1 else ""
    told = {cell: np.nan_to_num(distance, nan=-1.0) for cell, distance in gaps.items()}
    far = [
        f"{name(c)} by up to {digits(float(d.max()), 2)} (step {int(d.argmax())})"
        for c, d in told.items()
        if max(d) >= 0
    ]
    return (
        f"Training loss over {plural(steps, 'step')}. "
        + (f"From {name(first)} differ: {listed(far)}; no line where they do not." if far else "")
        + each
    )


def forest(contest: Contest, styles: Mapping[Cell, Look], *, ident: str, title: str) -> Chart | None:
    """Ratios to the best with their simultaneous intervals and the tie band, on a log axis."""
    best = contest.best
    if best is None or not (found := {b: r for (a, b), r in contest.ratios.items() if a == best}):
        return None
    rows = sorted(found, key=lambda cell: found[cell].point)
    with canvas(1.15 + 0.34 * len(rows)) as (figure, (axes,)):
        axes.axvspan(1 / (1 + TIE_BAND), 1 + TIE_BAND, color=INK, alpha=0.1, linewidth=0)
        axes.axvline(1, color=INK, linewidth=1)
        for height, cell in enumerate(rows):
            ratio = found[cell]
            low, high = ratio.low or ratio.point, ratio.high or ratio.point
            axes.plot([low, high], [height, height], color=styles[cell].color, linewidth=2)
            axes.plot([ratio.point], [height], **styles[cell].dots(), markersize=8)
        ends = [end for r in found.values() for end in (r.point, r.low or r.point, r.high or r.point)]
        span = (min(0.93, *ends) / 1.02, max(1.08, *ends) * 1.04)
        axes.set(xscale="log", xlim=span, ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [forest_label(contest, cell) for cell in rows])
        axes.set_xlabel(f"time relative to {name(best)} (shaded: a tie, within {TIE_BAND:.0%})")
        axes.grid(visible=False, axis="y")
        plain(axes.xaxis, *span, suffix="x")
        told = "; ".join(f"{forest_label(contest, cell)} {sized(found[cell])}" for cell in rows)
        says = f"Time relative to {name(best)}: {told}. Below {MARGIN} nothing is called slower."
        return chart(figure, ident, title, says)


def forest_label(contest: Contest, cell: Cell) -> str:
    """A row's name; what is not ranked says so."""
    ranked = cell in contest.ranks or contest.refusal
    return name(cell) if ranked else f"{name(cell)} (not ranked)"


def strip(contest: Contest, styles: Mapping[Cell, Look], *, ident: str, title: str) -> Chart:
    """Every sample by generation and round, so that drift shows; each generation is one fresh process."""
    times = {cell: stats.samples(values) for cell, values in contest.blocks.items()}
    keys = sorted({key for found in times.values() for key in found})
    generations = sorted({generation for generation, _ in keys})
    place = {key: number + 1.5 * generations.index(key[0]) for number, key in enumerate(keys)}
    values = [value for found in times.values() for value in found.values()]
    factor, unit = time_unit(values)
    with canvas(3.2) as (figure, (axes,)):
        for number, (cell, found) in enumerate(times.items()):
            shift = 0.5 * ((number + 0.5) / len(times) - 0.5)
            x = [place[key] + shift for key in found]
            axes.plot(x, [value * factor for value in found.values()], **styles[cell].dots(), markersize=5)
        if max(values) > 4 * min(values):
            axes.set_yscale("log")
            plain(axes.yaxis, *axes.get_ylim())
        else:
            axes.set_ylim(bottom=0)
        axes.set_ylabel(
            f"{unit} a {'step' if contest.phase == 'train' else 'call' if contest.phase == 'latency' else 'batch'}"
        )
        middles = [np.mean([place[key] for key in keys if key[0] == generation]) for generation in generations]
        axes.set_xticks(middles, [str(generation + 1) for generation in generations])
        axes.set_xlabel("generation (fresh processes), its rounds from left to right")
        axes.grid(visible=False, axis="x")
        legend(figure, axes)
        return chart(figure, ident, title, f"{len(values)} samples: {strip_words(times, factor, unit)}.")


def strip_words(times: Mapping[Cell, stats.Samples], factor: float, unit: str) -> str:
    """The range of each cell's samples."""
    ends = {cell: (min(found.values()) * factor, max(found.values()) * factor) for cell, found in times.items()}
    return "; ".join(f"{name(c)} {digits(low)} to {digits(high)} {unit}" for c, (low, high) in ends.items())


def quality(
    curves: Mapping[Cell, Sequence[tuple[float, float]]],
    styles: Mapping[Cell, Look],
    *,
    ident: str,
    metric: str,
    lines: Mapping[str, float],
) -> Chart:
    """A quality figure over epochs, (epoch, value) by cell, with named horizontal lines (target, published)."""
    with canvas(3.2) as (figure, (axes,)):
        for number, (cell, points) in enumerate(curves.items()):
            x, y = zip(*points, strict=True)
            axes.plot(x, y, **styles[cell].line(len(curves) - 1 - number))
        for number, (label, value) in enumerate(lines.items()):
            axes.axhline(value, color=INK, linewidth=1, linestyle=("--", ":")[number % 2])
            side = "bottom" if value == max(lines.values()) else "top"
            axes.annotate(f"{label} {value:g}", (0.01, value), xycoords=("axes fraction", "data"), va=side)
        axes.set(xlabel="epoch", ylabel=metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.12)
        legend(figure, axes)
        last = "; ".join(f"{name(cell)} {digits(points[-1][1], 4)}" for cell, points in curves.items())
        return chart(figure, ident, f"{metric} over epochs", f"{metric} after the last epoch: {last}.")
