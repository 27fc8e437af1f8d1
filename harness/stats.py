"""From samples to verdicts: intervals, paired ratios, ties, ranks. Pure functions of numbers.

A sample is one cell's median time a step in one round; the unit of inference is the generation, a fresh process, since
rounds within one share its luck. Ratios come from pairs of the same generation and round, so that drift cancels.
Sources: Hodges and Lehmann 1963 (the point), Kalibera and Jones 2013 (levels of repetition), Bonferroni (simultaneity).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from scipy.special import bdtr, ndtri, stdtrit

from harness import draws
from harness.noise import MARKED

TIE_BAND = 0.05  # where no difference is found and none beyond this is possible, two times are one to a reader
MARGIN = 1.02  # faster and slower begin here, not at 1: what is smaller is not worth a verdict
GENERATIONS = 5  # fewer carry no verdict: the t interval has no power and the process offset no estimate
TWINS = 3  # generations of an A/A control: of two its interval is so wide that all would lie within it; some may have died
ALPHA = 0.05  # over all pairs of one contest together
DRAWS, SEED = 10_000, 20_260
PATIENCE = 200  # generations; where more are needed, it is not said how many
WIDEST = 300.0  # half-width of a log-ratio's interval; beyond 709 exp overflows, and of two generations and 104 pairs t is 1,324
EXACT = 200  # rounds up to which a signed-rank interval is exact; the normal distribution differs by less than 1 % of W there
FEWEST_DRAWS, LOOKS = 1_000, 4_000_000  # of large samples fewer draws are made: as many looks at a value in all
FEWEST = 4  # samples of a bootstrap: that of two is from the one to the other, which holds their median half of the time

Key = tuple[int, int]  # generation, round
Blocks = Mapping[Key, np.ndarray]  # seconds a step (or a call) of each block
Samples = Mapping[Key, float]
Verdict = Literal["tie", "faster", "slower", "undecided", "indicative"]
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; no interval of fewer than four samples, or of a ratio in one generation only."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Ratio(Estimate):
    """How many times A's time B takes, from ``n`` rounds; the interval is simultaneous over ``pairs`` pairs."""

    generations: int
    pairs: int

    @property
    def half(self) -> float | None:
        """Half the width of the interval of the log-ratio."""
        return None if self.low is None or self.high is None else (math.log(self.high) - math.log(self.low)) / 2

    def detectable(self, floor: float = 0.0) -> float | None:
        """The smallest true difference, as a share, that such a run finds four times out of five (80 % power)."""
        return self.beyond(beginning(floor))

    def beyond(self, limit: float) -> float | None:
        """The smallest true ratio, less 1, whose whole interval lies beyond a ratio four times out of five (80 % power)."""
        if self.half is None:
            return None
        t, power = t_quantile(self.generations, self.pairs), float(stdtrit(self.generations - 1, 0.8))
        return math.expm1(math.log(limit) + self.half + self.half * power / t)

    def needed(self, floor: float = 0.0) -> int | None:
        """How many generations in all would leave this ratio undecided no longer, if noise stays as it is.

        The half-width falls as Student's t over sqrt(generations) about the interval's centre, not the point, until there is
        a verdict. At least 7, below which no exact test of three pairs can reach the level, and one more than there are; None
        where it is more than anybody would wait for.
        """
        if self.low is None or self.high is None or self.half is None:
            return None
        centre, now = (math.log(self.low) + math.log(self.high)) / 2, t_quantile(self.generations, self.pairs)
        for count in range(max(7, self.generations + 1), PATIENCE + 1):
            half = self.half * t_quantile(count, self.pairs) / now * math.sqrt(self.generations / count)
            then = Ratio(self.value, math.exp(centre - half), math.exp(centre + half), self.n, count, self.pairs)
            if verdict(then, floor=floor) != "undecided":
                return count
        return None


def samples(times: Blocks) -> dict[Key, float]:
    """Seconds a step of each round: the median over its blocks."""
    return {key: float(np.median(values) if len(values) > 1 else values[0]) for key, values in times.items()}


def outliers(figures: Samples, *, limit: float = MARKED) -> set[Key]:
    """Which of an entry's samples lie far from its median, by so many median absolute deviations of logs: none is left out."""
    logs = np.log([*figures.values()])
    off = abs(logs - np.median(logs))
    return {key for key, far in zip(figures, off, strict=True) if far > limit * np.median(off)}


def last_over_first(figures: Samples) -> float:
    """The time of a generation's last rounds over its first ones', median over generations: 1 where the warm-up was enough.

    Of either end the median of a fifth of the rounds: one alone may have met anything.
    """
    series = defaultdict[int, list[float]](list)
    for generation, round_ in sorted(figures):
        series[generation].append(figures[generation, round_])
    fifths = [np.array_split(own, min(len(own), 5)) for own in series.values()]
    return math.exp(float(np.median([math.log(np.median(own[-1]) / np.median(own[0])) for own in fifths])))


@lru_cache(maxsize=8)
def resamples(rounds: tuple[int, ...], times: int = DRAWS) -> np.ndarray:
    """How often each sample is drawn, shape (times, sum(rounds)): generations first, then rounds within each drawn one.

    ``rounds`` holds the number of rounds of each generation.
    """
    size, most = np.array(rounds), max(rounds)
    start, total = np.cumsum(size) - size, int(np.sum(size))
    words = draws.bits(SEED, "bootstrap", count=times * len(size) * (1 + most))
    uniform = (words >> np.uint64(11)) * 2.0**-53
    generations, within = np.split(uniform, [times * len(size)])
    drawn = (generations.reshape(times, -1, 1) * len(size)).astype(int)  # (times, generation, 1)
    picked = start[drawn] + (within.reshape(times, -1, most) * size[drawn]).astype(int)
    picked += np.arange(times)[:, None, None] * total
    counts = np.bincount(picked[np.arange(most) < size[drawn]], minlength=times * total)
    return counts.reshape(times, total).astype(np.int32)


def quantile(times: Blocks, share: float) -> Estimate:
    """A quantile over all blocks, with the percentile interval of the hierarchical bootstrap."""
    keys = sorted(times)
    values = np.concatenate([times[key] for key in keys])
    order = np.argsort(values)
    pool, value = values[order], float(np.quantile(values, share))
    if len(keys) < FEWEST:
        return Estimate(value, None, None, len(pool))
    owner = np.repeat(np.arange(len(keys)), [len(times[key]) for key in keys])[order]
    count = min(DRAWS, max(FEWEST_DRAWS, LOOKS // len(pool)))
    counts, found = resamples(tuple(Counter(generation for generation, _ in keys).values()), count), []
    for part in np.array_split(counts, math.ceil(count * len(pool) / LOOKS)):  # so that memory stays small
        below = np.cumsum(np.take(part, owner, axis=1), axis=1, dtype=np.int32)  # the values up to each place of a draw
        wanted = share * below[:, -1:]
        needs = (np.ceil(wanted), np.floor(wanted) + 1)
        lower, upper = ((below >= need.astype(np.int32)).argmax(axis=1) for need in needs)
        found.append((pool[lower] + pool[upper]) / 2)
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(pool))


def absolute(figures: Samples) -> Estimate:
    """The median over rounds, with its bootstrap interval: to be read, never to rank by."""
    return quantile({key: np.array([value]) for key, value in figures.items()}, 0.5)


def spread(figures: Samples) -> dict[str, float | None]:
    """How the samples lie, and the exact interval of their median by order statistics: right if processes differed by nothing.

    That is the k-th smallest to the k-th largest, where fewer than k of n lie below a median with a chance of at most 2.5 %;
    none where n is too small for one (fewer than six).
    """
    values = np.sort([*figures.values()])
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
    mad = np.median(abs(values - median))
    k = int(np.sum(bdtr(np.arange(len(values)), len(values), 0.5) <= ALPHA / 2))
    ends = (float(values[k - 1]), float(values[-k])) if k else (None, None)
    named = {"minimum": values[0], "p5": low, "median": median, "p95": high, "mad": mad}
    return {name: float(value) for name, value in named.items()} | dict(zip(("within_low", "within_high"), ends, strict=True))


def walsh(differences: np.ndarray) -> np.ndarray:
    """The Walsh averages (d_i + d_j) / 2, i <= j, sorted; Hodges and Lehmann's point is their median."""
    first, second = np.triu_indices(len(differences))
    return np.sort((differences[first] + differences[second]) / 2)


@lru_cache(maxsize=8)
def signed_rank(count: int) -> np.ndarray:
    """P(W <= w) for Wilcoxon's signed-rank statistic of ``count`` differences, w = 0 .. count (count + 1) / 2."""
    chances = np.ones(1)
    for rank in range(1, count + 1):  # it counts or it does not, with equal chance
        none = np.zeros(rank)
        chances = (np.append(chances, none) + np.append(none, chances)) / 2
    return np.cumsum(chances)


def within(a: Samples, b: Samples, *, pairs: int = 1) -> tuple[float, float] | None:
    """The exact signed-rank interval of B's time over A's, at ALPHA / pairs: right if processes differed by nothing.

    None where the rounds are too few for one at that level.
    """
    _, logs = paired_logs(a, b)
    n, share = len(logs), ALPHA / pairs / 2
    if n <= EXACT:
        least = int(np.searchsorted(signed_rank(n), share))  # of W: below that has less chance
    else:
        least = math.floor(n * (n + 1) / 4 + float(ndtri(share)) * math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    averages = np.exp(walsh(logs))
    return (float(averages[least - 1]), float(averages[-least])) if least else None


def t_quantile(generations: int, pairs: int) -> float:
    """Student's t for a two-sided interval at ALPHA / pairs: 3.96 for three pairs from five generations."""
    return float(stdtrit(generations - 1, 1 - ALPHA / pairs / 2))


def paired(a: Samples, b: Samples, *, pairs: int = 1) -> Ratio | None:
    """B's time over A's from the rounds both have, by the median of each generation."""
    owner, logs = paired_logs(a, b)
    return over_generations(medians(owner, logs), len(logs), pairs) if len(logs) else None


def paired_logs(a: Samples, b: Samples) -> tuple[np.ndarray, np.ndarray]:
    """The generation and the log-ratio of B's time over A's of each round that both have, in order."""
    keys = sorted(a.keys() & b.keys())
    logs = np.log([b[key] for key in keys]) - np.log([a[key] for key in keys])
    return np.array([generation for generation, _ in keys]), logs


def medians(owner: np.ndarray, logs: np.ndarray) -> dict[int, float]:
    """The median of each generation's log-ratios."""
    return {int(generation): float(np.median(logs[owner == generation])) for generation in np.unique(owner)}


def over_generations(by_generation: Mapping[int, float], rounds: int, pairs: int) -> Ratio:
    """A ratio from the log-ratios of generations: their Hodges-Lehmann median, and Student's t interval; none of a single one.

    The median over all rounds may lie outside of that interval, where steps are fast or slow by turns.
    """
    logs, count = np.array([*by_generation.values()]), len(by_generation)
    point = math.exp(float(np.median(walsh(logs))))
    if count <= 1:
        return Ratio(point, None, None, rounds, count, pairs)
    centre = float(np.mean(logs))
    half = min(t_quantile(count, pairs) * float(np.std(logs, ddof=1)) / math.sqrt(count), WIDEST)
    return Ratio(point, math.exp(centre - half), math.exp(centre + half), rounds, count, pairs)


def mean_ratio(found: Sequence[tuple[np.ndarray, np.ndarray]], *, pairs: int) -> Ratio:
    """The geometric mean of a pair's ratios over tasks, from the log-ratios of each task's rounds."""
    each = [medians(*task) for task in found]
    means = {g: float(np.mean([task[g] for task in each])) for g in sorted(set(each[0]).intersection(*each[1:]))}
    return over_generations(means, sum(len(logs) for _, logs in found), pairs)


def best_rounds(a: Samples, b: Samples, *, start_s: float, round_s: float) -> int | None:
    """Rounds a generation that narrow the interval of a ratio most in a given time (Kalibera and Jones 2013, section 6).

    A generation costs ``start_s`` before its first round, and each round ``round_s``. None where generations differ by no more
    than their rounds explain, or there is one only: then nothing speaks against more rounds, or for them.
    """
    owner, logs = paired_logs(a, b)
    groups = [logs[owner == generation] for generation in np.unique(owner)]
    if len(groups) <= 1 or min(map(len, groups)) <= 1 or round_s <= 0:
        return None
    inner = float(np.mean([np.var(group, ddof=1) for group in groups]))
    outer = float(np.var([np.mean(group) for group in groups], ddof=1)) - inner / (len(logs) / len(groups))
    return max(1, math.ceil(math.sqrt(start_s / round_s * inner / outer))) if outer > 0 else None


def noise_floor(control: Ratio | None) -> float:
    """How far from 1 the interval of an A/A control reaches, as a share; 0 where there is none, or of too few generations."""
    if not control or control.low is None or control.high is None or control.generations < TWINS:
        return 0.0
    return math.expm1(max(abs(math.log(control.low)), abs(math.log(control.high))))


def mean_floor(floors: Iterable[float]) -> float:
    """The noise floor of a geometric mean of ratios: as if the noise of all went up and down together."""
    return math.expm1(float(np.mean([math.log1p(floor) for floor in floors])))


def beginning(floor: float) -> float:
    """The ratio at which a difference begins: the margin, or the noise floor where that is larger."""
    return max(MARGIN, 1 + floor)


def verdict(ratio: Ratio, *, floor: float = 0.0) -> Verdict:
    """What the ratio of B to A says about B; slower or faster is what lies beyond the margin and the noise ``floor``, a share.

    A tie is no difference found (the interval holds 1) and none beyond the tie band possible, or none beyond the margin. Were a
    tie all that lies within the band, 1.04 would be a tie or slower by chance alone: of two equal runs half would contradict.
    """
    if ratio.low is None or ratio.high is None or ratio.generations < GENERATIONS:
        return "indicative"
    reach = max(ratio.high, 1 / ratio.low) if ratio.low > 0 else math.inf  # how far from 1 it may be, either way
    if reach <= MARGIN or (ratio.low <= 1 <= ratio.high and reach <= 1 + TIE_BAND):
        return "tie"
    if ratio.low > beginning(floor):
        return "slower"
    return "faster" if ratio.high < 1 / beginning(floor) else "undecided"


def ranks(names: Sequence[Name], verdicts: Mapping[tuple[Name, Name], Verdict]) -> dict[Name, str]:
    """The places each could hold, "1" or "2-3": behind what is surely faster, before what is surely slower."""
    places = {}
    for name in names:
        about = Counter(verdicts[other, name] for other in names if other != name)
        first, last = 1 + about["slower"], len(names) - about["faster"]
        places[name] = str(first) if first == last else f"{first}-{last}"
    return places
