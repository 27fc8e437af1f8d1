"""When has a warm-up ended? Change points in the step times, and the classes of Barrett et al. 2017. Pure functions.

Sources: Jackson et al. 2005 (optimal partitioning; PELT, Killick et al. 2012, finds the same optimum); Barrett et al. OOPSLA
2017, arXiv 1602.00602 (classes, penalty 15 ln n); BenchmarkDotNet for short series: no steady state before four turns.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

SHORT, TURNS = 40, 4  # in fewer steps a trend may hide between change points, so that turns are asked for as well
SHORTEST = 5  # steps of a segment
LEAST_SHARE = 0.25  # of the series that must be steady at its end
FLOOR = 1e-3  # standard deviation of log times that no clock resolves: keeps a constant series from splitting for ever
WINDOW = 200  # steps among which a time may be an outlier

Kind = Literal["flat", "warm-up", "slowdown", "no steady state"]


@dataclass(frozen=True)
class Steady:
    """What a series of step times is, and the index of its first steady step; its length where there is none."""

    kind: Kind
    start: int


def steady(times: np.ndarray) -> Steady:
    """Judge a series of step times, shape (n,), all positive, in any unit.

    Segments are alike if their bands, P10 to P90, overlap. Steady are the last segment and those before it without a gap that
    are alike to it, unless their own first and last quarter are not. What came before is a slowdown if any of it was faster.
    """
    n, rises = len(times), np.diff(times)
    turns = np.count_nonzero(rises[1:] * rises[:-1] <= 0)  # where it does not go on falling, or rising
    if n < SHORT and turns < TURNS:
        return Steady("no steady state", n)
    starts = [0, *changes(without_outliers(np.log(times)))]
    sides = [side(part, times[starts[-1] :]) for part in np.split(times, starts[1:])]
    first = max((index + 1 for index, unlike in enumerate(sides) if unlike), default=0)
    start, quarter = starts[first], (n - starts[first]) // 4
    drifts = quarter >= 2 * SHORTEST and side(times[start : start + quarter], times[-quarter:])
    if drifts or n - start < LEAST_SHARE * n:
        return Steady("no steady state", n)
    return Steady("slowdown" if -1 in sides[:first] else "warm-up" if start else "flat", start)


def side(a: np.ndarray, b: np.ndarray) -> int:
    """1 if all of a's band is above b's, -1 if all of it is below, 0 if they overlap."""
    (a_low, a_high), (b_low, b_high) = (np.quantile(part, (0.1, 0.9)) for part in (a, b))
    return int(a_low > b_high) - int(a_high < b_low)


def without_outliers(values: np.ndarray) -> np.ndarray:
    """The values with those beyond median +- 3 (P90 - P10) of their window put back to that limit: for detection only."""
    kept = []
    for window in np.array_split(values, max(1, len(values) // WINDOW)):
        low, middle, high = np.quantile(window, (0.1, 0.5, 0.9))
        kept.append(np.clip(window, middle - 3 * (high - low), middle + 3 * (high - low)))
    return np.concatenate(kept)


def changes(values: np.ndarray) -> list[int]:
    """The indices at which mean or variance of a series change: the exact optimum for a Gaussian cost.

    Minimises the sum over segments of length * ln(variance), which is -2 log likelihood but for a constant, plus 15 ln n a
    change. ``best[end]`` is that minimum for the first ``end`` values, ``before[end]`` where its last segment begins.
    """
    n = len(values)
    centred = values - values.mean()  # or the difference of squares below would lose digits
    sums, squares = (np.concatenate([[0.0], np.cumsum(series)]) for series in (centred, centred**2))
    best, before = np.full(n + 1, np.inf), np.zeros(n + 1, int)
    best[0] = 0.0
    for end in range(SHORTEST, n + 1):
        begins = slice(0, end - SHORTEST + 1)
        length = np.arange(end, SHORTEST - 1, -1)
        mean = (sums[end] - sums[begins]) / length
        variance = np.maximum((squares[end] - squares[begins]) / length - mean**2, 0.0) + FLOOR**2
        total = best[begins] + length * np.log(variance)
        before[end] = np.argmin(total)
        best[end] = total[before[end]] + 15 * math.log(n)
    found, end = [], int(before[n])
    while end:
        found.append(end)
        end = int(before[end])
    return found[::-1]
