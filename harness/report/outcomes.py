"""The plots of what was learned: losses and quality of every seed, and of a binary task what its test scores amount to."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness import ranking
from harness.records import Cell, Trial
from harness.report.drawing import INK, WIDTH, Drawn, Looks, line, plain
from harness.report.tables import scored
from harness.report.words import digits, listed, name, plural

EVEN = 0.5  # the probability above which an example is taken for a 1
POINTS, FEWEST, ALL = 300, 30, 2000  # most points a loss curve is drawn with, least, and about as many as all of a plot have
WHY = "Of what is proven in float64 this is rounding, which grows step by step; bfloat16 and stock modes compute otherwise."
Points = Sequence[tuple[float, float]]
Fits = Mapping[Cell, Sequence[Trial]]  # the trainings of each cell that ended well, a seed each


def plots(fits: Fits, goal: Mapping[str, Any], styles: Looks, leads: Collection[ranking.Entry]) -> Drawn:
    """Every plot of the trainings of a task; none without trainings. ``leads``: the backends' first modes."""
    fits = {cell: sorted(trials, key=attrgetter("seed")) for cell, trials in fits.items()}  # they ended in any order
    if losses := {cell: found for cell, trials in fits.items() if (found := [t for t in trials if t.losses])}:
        yield "Loss curves", *_losses(losses, styles, leads)
    figure = _monitored(fits, goal["metric"])
    curves = {cell: [points for t in trials if (points := _epochs(t, figure))] for cell, trials in fits.items()}
    reached = {cell: found for cell, found in curves.items() if found}
    if any(len(points) > 1 for seeds in reached.values() for points in seeds):  # one epoch is no curve: a table tells it
        what = figure.replace("val_", "validation ").replace("_", " ")
        yield "Quality over epochs", *_quality(reached, styles, what, goal=goal)
    scores = {cell: np.array(pairs).T for cell, trials in fits.items() if (pairs := scored(trials[0]))}
    if outcomes := {cell: pairs for cell, pairs in scores.items() if np.ptp(pairs[0])}:  # of labels both kinds occur
        one = ", first seed" * any(len(trials) > 1 for trials in fits.values())
        for caption, figure, says in _outcomes(outcomes, styles):
            yield caption + one, figure, says
        yield f"Confusion at probability {EVEN}{one}", *_confusion(outcomes, styles)


def _losses(fits: Fits, styles: Looks, leads: Collection[ranking.Entry]) -> tuple[Any, str]:
    """Training loss of all cells and seeds over each other; below how far each is from one of them, on a log axis.

    That is the first by name of those that ``leads`` names: the same in every task.
    """
    losses = {cell: pd.DataFrame({t.seed: pd.Series(t.losses, dtype=float) for t in trials}) for cell, trials in fits.items()}
    first = min(losses, key=lambda cell: (ranking.entry(cell) not in leads, name(cell)))
    others = [cell for cell in losses if cell != first]
    gaps = pd.DataFrame({cell: losses[cell].sub(losses[first]).abs().max(axis=1) for cell in others})
    apart = {cell: gap for cell in others if (gap := gaps[cell]).max() > 0}
    steps, count = max(map(len, losses.values())), sum(map(len, fits.values()))
    width = -(-steps // min(POINTS, max(FEWEST, ALL // count)))  # steps a drawn point stands for; below five times as many
    heights = (3, 2) if apart else (3,)
    figure = Figure(figsize=(WIDTH, 4.2 if apart else 2.6))
    axes = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for number, (cell, values) in enumerate(losses.items()):
        means = values.groupby(values.index // width * width).mean()
        marks = (len(means) * number // (8 * len(losses)), max(len(means) // 8, 1))  # no two curves on one step
        for seed in reversed(means.columns):
            own = line(styles[cell], 1 - (number + 1) / len(losses)) | {"markersize": 6, "markevery": marks}
            other = {"color": styles[cell]["color"], "linewidth": 0.8, "alpha": 0.5}
            axes[0].plot(means.index, means[seed], **(own if seed == means.columns[0] else other))
    for cell, gap in apart.items():
        largest = gap.groupby(gap.index // (5 * width) * (5 * width)).max().replace(0, np.nan)
        axes[1].plot(largest.index, largest, **line(styles[cell]) | {"label": "_", "markevery": max(len(largest) // 8, 1)})
    if apart:
        axes[1].set(yscale="log", ylabel=f"|difference|\nto {name(first)}")
        plain(axes[1].yaxis, "{x:.0e}")
    axes[0].set_ylabel("training loss")
    axes[-1].set_xlabel("training step")
    seeds = max(map(len, fits.values()))
    says = f"Training loss over {plural(steps, 'step')}" + (f", {seeds} seeds" if seeds > 1 else "") + ". "
    far = [f"{name(c)} by up to {digits(gap.max(), 2)} (step {gap.idxmax()})" for c, gap in apart.items()]
    says += f"From {name(first)} differ: {listed(far)}; no line where they do not. {WHY}" if far else ""
    says += f" Drawn: means of {width} steps; below, the largest difference in {5 * width}." if width > 1 else ""
    return figure, says


def _monitored(fits: Fits, metric: str) -> str:
    """What the records tell of the metric epoch by epoch: test_accuracy, val_auc, or "" where they tell nothing."""
    keys = (key for trials in fits.values() for trial in trials for epoch in trial.epochs for key in epoch)
    return next((key for key in keys if metric and key.endswith(metric)), "")


def _epochs(trial: Trial, figure: str) -> Points:
    """(epoch, figure); an epoch without a number goes by its place."""
    return [(epoch.get("epoch", n), epoch[figure]) for n, epoch in enumerate(trial.epochs, start=1) if figure in epoch]


def _quality(curves: Mapping[Cell, Sequence[Points]], styles: Looks, what: str, *, goal: Mapping[str, Any]) -> tuple[Any, str]:
    """``what`` over epochs, (epoch, value) by cell and seed; what was published is on the whole data: so labelled."""
    axes = Figure().subplots()
    if margin := float(goal.get("margin") or 0):
        epochs, middle = np.array(next(iter(curves.values()))[0]).T
        axes.fill_between(epochs, middle - margin, middle + margin, color=INK, alpha=0.1, linewidth=0)
    for number, (cell, seeds) in enumerate(curves.items()):
        for points in seeds[1:]:
            axes.plot(*zip(*points, strict=True), color=styles[cell]["color"], linewidth=0.8, alpha=0.5)
        marks = {"markevery": max(len(seeds[0]) // 8, 1)}
        axes.plot(*zip(*seeds[0], strict=True), **line(styles[cell], 1 - (number + 1) / len(curves)) | marks)
    note = " on the whole data" if any("sample" in cell.data for cell in curves) else ""
    lines = {f"{k}{note}": goal[k] for k in ("target", "published") if isinstance(goal.get(k), int | float)}
    for number, (label, value) in enumerate(lines.items()):
        axes.axhline(value, color=INK, linewidth=1, linestyle=("--", ":")[number])
        side = "bottom" if value == max(lines.values()) else "top"
        axes.annotate(f"{label} {value:g}", (0.01, value), xycoords=("axes fraction", "data"), va=side)
    axes.set(xlabel="epoch", ylabel=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.12)
    last = "; ".join(f"{name(cell)} {digits(seeds[0][-1][1], 4)}" for cell, seeds in curves.items())
    first = " (first seed)" * any(len(seeds) > 1 for seeds in curves.values())
    band = f" Shaded: within {margin:g} of {name(next(iter(curves)))}, the margin of the task's spec." if margin else ""
    return axes.figure, f"{what.capitalize()} after the last epoch{first}: {last}.{band}"


def _outcomes(outcomes: Mapping[Cell, np.ndarray], styles: Looks) -> Drawn:
    """ROC, precision-recall and calibration curves of labels and scores of test examples, with the figure that sums each up."""
    from sklearn import metrics
    from sklearn.calibration import calibration_curve

    def recalled(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        precision, recall, _ = metrics.precision_recall_curve(labels, scores, drop_intermediate=True)
        return recall, precision

    def calibrated(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return calibration_curve(labels, scores, n_bins=10, strategy="quantile")[::-1]

    rates = ("false positives, share of the 0s", "true positives, share of the 1s")
    tenths = ("mean probability of a tenth of the examples", "share of 1s among them")
    for caption, (x, y), points, score, summed in (
        ("ROC curve", rates, metrics.roc_curve, metrics.roc_auc_score, "Dotted: chance. Area under the curve"),
        ("Precision and recall", ("recall", "precision"), recalled, metrics.average_precision_score, "Average precision"),
        ("Calibration", tenths, calibrated, metrics.brier_score_loss, "Dotted: ideal. Brier score, lower is better"),
    ):
        axes, told = Figure().subplots(), []
        if summed.startswith("Dotted"):
            axes.plot((0, 1), (0, 1), color=INK, linewidth=1, linestyle=":")
        for number, (cell, (labels, scores)) in enumerate(outcomes.items()):
            look = line(styles[cell], 1 - (number + 1) / len(outcomes)) | {"markevery": 0.15}
            axes.plot(*points(labels, scores)[:2], **look)
            told.append(f"{name(cell)} {digits(score(labels, scores), 4)}")
        axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        yield caption, axes.figure, f"{summed}: {'; '.join(told)}."


def _confusion(outcomes: Mapping[Cell, np.ndarray], styles: Looks) -> tuple[Any, str]:
    """Labels of the test examples over what each cell predicts, in counts; the darker the more of that label."""
    columns = min(3, len(outcomes))
    lines, told = -(-len(outcomes) // columns), []
    figure = Figure(figsize=(WIDTH, 0.4 + 2.1 * lines))
    grid = figure.subplots(lines, columns, squeeze=False)
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
    return figure, f"Test examples at probability {EVEN}: {'; '.join(told)}."
