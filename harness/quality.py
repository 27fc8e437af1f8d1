"""What training reaches, over several seeds: equivalence, time to a target, and the published figure. Pure functions.

A seed means the same weights and batches in every backend, so that two backends are compared seed by seed. Higher is better in
every figure here: accuracy and AUC. Sources: Schuirmann 1987 and Lakens 2017 (two one-sided tests).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from harness.stats import ALPHA, Estimate

SEEDS = 3  # fewer say nothing
SAME = 1e-12  # differences this close are rounding: no accuracy or AUC moves in steps so small
Equality = Literal["equivalent", "different", "not shown", "too few seeds"]
Reproduction = Literal["reproduced", "not reproduced", "exceeded", "not shown", "not run"]


@dataclass(frozen=True)
class Equivalence:
    """The mean of b - a with its 90 % interval (none without variance); p of a difference of the margin or more."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Equality
    seeds: int


def equivalent(a: Mapping[int, float], b: Mapping[int, float], margin: float) -> Equivalence:
    """Two one-sided paired t tests of the figures by seed, on the seeds that both have.

    ``equivalent``: p < 0.05, that is, the 90 % interval lies within +-margin. ``different``: not so, and the 95 % interval
    excludes 0. Equal differences would make the t test certain of anything; there the sign test decides: K of them on one side
    of a bound have p = 2^-K, which is equivalent from five seeds, different from six.
    """
    differences = np.array([b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())])
    seeds, mean = len(differences), float(differences.sum() / max(len(differences), 1))
    if seeds < SEEDS:
        return Equivalence(mean, None, None, None, "too few seeds", seeds)
    if np.ptp(differences) <= SAME:
        low, high, p = None, None, 0.5**seeds if abs(mean) < margin else 1.0
        differs = abs(mean) > SAME and 2 * 0.5**seeds < ALPHA
    else:
        error = float(np.std(differences, ddof=1)) / seeds**0.5
        one_sided, two_sided = stdtrit(seeds - 1, (1 - ALPHA, 1 - ALPHA / 2)) * error
        low, high = mean - float(one_sided), mean + float(one_sided)
        p = float(stdtr(seeds - 1, (abs(mean) - margin) / error))  # the larger of the two
        differs = bool(abs(mean) > two_sided)
    verdict: Equality = "equivalent" if p < ALPHA else "different" if differs else "not shown"
    return Equivalence(mean, low, high, p, verdict, seeds)


def to_target(epochs: Sequence[Mapping[str, float]], target: float, metric: str) -> tuple[float, float]:
    """Epochs and seconds of training to the first epoch whose ``metric`` (``val_auc``) is at the target; infinite without one."""
    for number, figures in enumerate(epochs, start=1):
        if figures[metric] >= target:
            return number, sum(each["train_s"] for each in epochs[:number])
    return math.inf, math.inf


def reproduced(values: Sequence[float], published: float, margin: float) -> tuple[Estimate, Reproduction]:
    """The mean over seeds with its 95 % t interval, and the published figure's place: within, above or below it.

    Within is ``reproduced`` if the interval is no wider than ``margin`` to either side, else ``not shown``: the noisier, the more
    it would hold. Above it is ``not reproduced``, below it ``exceeded``. Equal values make a point of it: the mean decides.
    """
    seeds, mean = len(values), sum(values) / len(values) if values else math.nan
    if seeds < SEEDS:
        return Estimate(mean, None, None, seeds), "not run"
    half = float(stdtrit(seeds - 1, 1 - ALPHA / 2) * np.std(values, ddof=1)) / seeds**0.5
    outside: Reproduction = "exceeded" if mean > published else "not reproduced"
    inside: Reproduction = "reproduced" if half <= margin else "not shown"
    verdict = outside if abs(mean - published) > half + SAME else inside
    return Estimate(mean, mean - half, mean + half, seeds), verdict
