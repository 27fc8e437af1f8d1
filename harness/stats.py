"""From records to verdicts: samples, intervals, paired ratios, ties, ranks, and what counts as proven. Pure functions.

A sample is one cell's median time a step in one round; the unit of inference is the generation, a fresh process, since
rounds within one share its luck. Ratios come from pairs of the same generation and round, so that drift cancels.
Sources: Hodges and Lehmann 1963 (the point), Kalibera and Jones 2013 (levels of repetition), Bonferroni (simultaneity).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import Literal, TypeVar

import numpy as np
from scipy.special import bdtr, ndtri, stdtrit

from harness import draws, noise
from harness.noise import TIMED, Group
from harness.records import Cell, Proof, Run, Trial

REFERENCE = "numpy"  # the backend that arbitrates proofs
LEVELS = ("weights", "logits", "loss", "gradients", "tensors", "eval", "steps")  # "proven" needs each of them
TIE_BAND = 0.05  # where no difference is found and none beyond this is possible, two times are one to a reader
MARGIN = 1.02  # faster and slower begin here, not at 1: what is smaller is not worth a verdict
GENERATIONS = 5  # fewer carry no verdict: the t interval has no power and the process offset no estimate
TWINS = 3  # generations of an A/A control: of two its interval is so wide that all would lie within it; some may have died
ALPHA = 0.05  # over all pairs of one contest together
CONTENDED = 0.3  # share of the rounds beyond which nothing is ranked
OVERDRAWN = 1.1  # CPU time over wall time, a thread: more is another budget than the others'
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
Entry = tuple[str, str]  # backend and mode


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
        if self.half is None:
            return None
        t, power = t_quantile(self.generations, self.pairs), float(stdtrit(self.generations - 1, 0.8))
        return math.expm1(max(math.log(MARGIN) + self.half, math.log1p(floor) - self.half) + self.half * power / t)

    def needed(self, floor: float = 0.0) -> int | None:
        """How many generations in all would leave this ratio undecided no longer, if noise stays as it is.

        The half-width falls as 1/sqrt(generations) about the interval's centre, which is not the point, until the interval lies
        within the margin, or within the tie band while it still holds 1, or beyond the margin and the floor: whichever is first.
        At least 7, below which no exact test can reach the level, and one more than there are; None where it is more than
        anybody would wait for.
        """
        if self.low is None or self.high is None or self.half is None:
            return None
        size, margin, band = abs(math.log(self.low) + math.log(self.high)) / 2, math.log(MARGIN), math.log1p(TIE_BAND)
        tie = band - size if size <= min(self.half, band / 2) else margin - size
        enough = max(tie, size - margin if size > math.log1p(floor) else 0.0)
        if self.half > enough * math.sqrt(PATIENCE / self.generations):
            return None
        return max(7, self.generations + 1, math.ceil(self.generations * (self.half / enough) ** 2))


@dataclass(frozen=True)
class Proven:
    """What the proof says of one backend and mode; ``worst`` is its largest float64 difference from any other."""

    state: Literal["proven", "failed", "not proven"]
    reason: str = ""
    worst: float | None = None


@dataclass(frozen=True)
class Contest:
    """One phase of one task on equal terms: who took part, every pair that may be compared, and who may be ranked.

    ``ratios`` and ``verdicts`` are keyed (A, B): B's time over A's, and what it says about B.
    """

    phase: str
    blocks: Mapping[Cell, Blocks]
    ratios: Mapping[tuple[Cell, Cell], Ratio]
    verdicts: Mapping[tuple[Cell, Cell], Verdict]
    proven: Sequence[Cell]
    best: Cell | None  # the fastest of the proven
    ranks: Mapping[Cell, str]
    refusal: str  # why nothing is ranked
    control: Ratio | None  # second processes over first ones of the same backends: 1, but for noise
    rounds: Mapping[Key, bool]  # whether each was contended
    noisy: bool = False  # whether it is the machine's noise that refuses a ranking

    @property
    def contended(self) -> float:
        """How many of the rounds were contended, as a share."""
        return sum(self.rounds.values()) / max(len(self.rounds), 1)

    @property
    def floor(self) -> float:
        """See ``noise_floor``."""
        return noise_floor(self.control)

    def half_widths(self) -> list[float]:
        """Those of the proven pairs' intervals; infinite where there is none yet."""
        pairs = (ratio for pair, ratio in self.ratios.items() if set(pair) <= set(self.proven))
        return [math.inf if ratio.half is None else ratio.half for ratio in pairs]


def usable(trial: Trial) -> bool:
    """Whether the trial's times may be used: it ended well, nothing was compiled in between, every time is of some steps."""
    sound = trial.status == "ok" and not trial.compilations and trial.steps > 0
    return sound and bool(trial.times_ns) and min(trial.times_ns) > 0


def unused(trials: Sequence[Trial]) -> Counter[str]:
    """How many timed trials are left out of every estimate, by reason."""
    timed, chosen = [t for t in trials if t.phase in TIMED], {id(t) for t in counted(trials)[0]}
    void = [t for t in timed if not usable(t)]
    found: Counter[str] = Counter("compiled inside a block" if t.status == "ok" and t.compilations else t.status for t in void)
    if others := sum(usable(t) and id(t) not in chosen for t in timed):
        found["of rounds of which the other attempt counts"] = others
    return found


def blocks(trials: Iterable[Trial]) -> dict[Key, np.ndarray]:
    """Seconds a step of each block, by generation and round; of several usable trials of a round the first counts."""
    found: dict[Key, np.ndarray] = {}
    for trial in filter(usable, trials):
        found.setdefault((trial.generation, trial.round), np.array(trial.times_ns) / trial.steps / 1e9)
    return found


def counted(trials: Sequence[Trial]) -> tuple[list[Trial], Mapping[Group, bool]]:
    """The trials that count, and whether each round is contended: of a repeated round the second, if only the first was.

    And if the second is whole. A rule on what the round met and who was there, never on the times it gave.
    """
    disturbed, placed = noise.contended(trials), [(noise.group(t), t) for t in trials]
    again = {group for group, t in placed if t.attempt}
    second = {group for group in again if (group, 0) in disturbed and (group, 1) not in disturbed}
    second -= torn((group, t) for group, t in placed if group in second)
    chosen = [t for group, t in placed if t.phase == "warmup" or t.attempt == (group in second)]  # a warm-up is of no round
    rounds = {group for group, t in placed if t.phase in TIMED and t.status == "ok"}
    return chosen, {group: (group, int(group in second)) in disturbed for group in rounds}


def torn(placed: Iterable[tuple[Group, Trial]]) -> set[Group]:
    """The rounds whose second attempt lacks a sample that the first has: interrupted, or an entrant died before its turn."""
    had: dict[tuple[Group, int], set[tuple[Cell, str]]] = defaultdict(set)
    for group, trial in placed:
        if (trial.phase in TIMED or trial.phase == "control") and usable(trial):
            had[group, trial.attempt].add((trial.cell, trial.phase))
    return {group for (group, attempt), those in had.items() if attempt == 0 and not those <= had.get((group, 1), set())}


def samples(times: Blocks) -> dict[Key, float]:
    """Seconds a step of each round: the median over its blocks."""
    return {key: float(np.median(values) if len(values) > 1 else values[0]) for key, values in times.items()}


def outliers(figures: Samples, *, limit: float = noise.MARKED) -> set[Key]:
    """Which of an entry's samples lie far from its median, by so many median absolute deviations of logs: none is left out."""
    logs = np.log([*figures.values()])
    off = abs(logs - np.median(logs))
    return {key for key, far in zip(figures, off, strict=True) if far > limit * np.median(off)}


def last_over_first(figures: Samples) -> float:
    """The time of a generation's last round over its first one's, median over generations: 1 where the warm-up was enough."""
    last = {generation: figures[generation, round_] for generation, round_ in sorted(figures)}
    first = {generation: figures[generation, round_] for generation, round_ in sorted(figures, reverse=True)}
    return math.exp(float(np.median([math.log(last[g] / first[g]) for g in first])))


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


def verdict(ratio: Ratio, *, floor: float = 0.0) -> Verdict:
    """What the ratio of B to A says about B; ``floor`` is the noise floor, as a share: within it nothing is faster or slower.

    A tie is no difference found (the interval holds 1) and none beyond the tie band possible, or none beyond the margin. Were a
    tie all that lies within the band, 1.04 would be a tie or slower by chance alone: of two equal runs half would contradict.
    """
    if ratio.low is None or ratio.high is None or ratio.generations < GENERATIONS:
        return "indicative"
    reach = max(ratio.high, 1 / ratio.low) if ratio.low > 0 else math.inf  # how far from 1 it may be, either way
    if reach <= MARGIN or (ratio.low <= 1 <= ratio.high and reach <= 1 + TIE_BAND):
        return "tie"
    if reach <= 1 + floor:
        return "undecided"
    if ratio.low > MARGIN:
        return "slower"
    return "faster" if ratio.high < 1 / MARGIN else "undecided"


def ranks(names: Sequence[Name], verdicts: Mapping[tuple[Name, Name], Verdict]) -> dict[Name, str]:
    """The places each could hold, "1" or "2-3": behind what is surely faster, before what is surely slower."""
    places = {}
    for name in names:
        about = Counter(verdicts[other, name] for other in names if other != name)
        first, last = 1 + about["slower"], len(names) - about["faster"]
        places[name] = str(first) if first == last else f"{first}-{last}"
    return places


def proven(proofs: Sequence[Proof], *, task: str, backend: str, mode: str) -> Proven:
    """Proven: every float64 level against the reference holds, and no row failed that this entry must answer for."""
    rows = [p for p in proofs if (p.task, p.backend, p.mode) == (task, backend, mode)]
    exact = [p for p in rows if (p.against, p.precision) == (REFERENCE, "float64") or p.level == "weights"]
    exact = [p for p in exact if p.verdict == "proven"]  # a round trip of the weights needs no reference
    entry = f"{backend} {mode}"
    met = [p for p in proofs if p.task == task and entry in {f"{p.backend} {p.mode}", p.against}]
    worst = max((p.worst for p in met if p.worst is not None and (p.precision, p.verdict) == ("float64", "proven")), default=None)
    if failed := _failures([p for p in proofs if p.task == task], entry):
        return Proven("failed", f"{failed[0].level} against {failed[0].against or '?'}: {located(failed[0])}", worst)
    if not rows and backend == REFERENCE:
        return Proven("proven", "the reference itself", 0.0)
    missing = [level for level in LEVELS if level not in {p.level for p in exact}]
    if not missing:
        return Proven("proven", "", worst)
    skipped = [located(p) for p in rows if p.verdict == "skipped"]
    absent = f"no proof of {', '.join(missing)}" if rows else "no proof in this run"
    return Proven("not proven", skipped[0] if skipped else absent, worst)


def _failures(proofs: Sequence[Proof], entry: str) -> list[Proof]:
    """The failed rows of a task that ``entry`` ("torch eager") must answer for, its very own first.

    Also those between it and another entry, on either side: unless that other one has failed on its own. The reference
    is the arbiter, and a broken backend must not take the sound ones with it.
    """
    entries = {f"{p.backend} {p.mode}" for p in proofs}
    failed = [({f"{p.backend} {p.mode}", p.against} & entries, p) for p in proofs if p.verdict == "failed"]
    guilty = {name for parties, _ in failed if len(parties) == 1 for name in parties}
    ours = [(parties, p) for parties, p in failed if entry in parties and not (parties - {entry}) & guilty]
    return [p for _, p in sorted(ours, key=lambda found: len(found[0]))]


def located(proof: Proof) -> str:
    """Where the worst value is, how large, and the reason if there is one."""
    beyond = "" if proof.tolerance is None else f" > {proof.tolerance:.2g}"
    size = "" if proof.worst is None else f"{proof.worst:.2g}{beyond}"
    return ", ".join(part for part in (proof.reason, proof.where, size) if part)


def statuses(run: Run) -> dict[Cell, Proven]:
    """The proof of every cell that the run's trials name."""
    cells = dict.fromkeys(trial.cell for trial in run.trials if trial.phase != "canary")
    return {c: proven(run.proofs, task=c.task, backend=c.backend, mode=c.mode) for c in cells}


def first_modes(run: Run) -> set[Entry]:
    """Each backend in its first mode, as the plan has them; empty where a record does not say."""
    chosen = run.part("plan", "chosen").items()
    return {(backend, modes[0]) for backend, modes in chosen if isinstance(modes, list) and str in map(type, modes[:1])}


def contests(run: Run) -> tuple[Contest, ...]:
    """Every phase of a task in which something was timed; cells meet on equal device, precision, data, batch and threads."""
    first = first_modes(run)
    chosen, disturbed = counted(run.trials)
    found: dict[tuple[str, Cell], list[Trial]] = defaultdict(list)
    for trial in chosen:
        found[trial.of or trial.phase, replace(trial.cell, backend="", mode="")].append(trial)
    proofs, seen = statuses(run), computed(chosen)
    dead = [t for t in chosen if t.phase == "control" and not t.of]  # twins: such a record is of no phase, and of each
    held = []
    for (phase, terms), trials in found.items():
        own = [t for t in trials if t.phase == phase and usable(t)]
        if phase in TIMED and own:
            ours = (terms.task, terms.batch, terms.threads, phase)
            rounds = {group[4:]: bad for group, bad in disturbed.items() if group[:4] == ours}
            lost = [t for t in dead if replace(t.cell, backend="", mode="", batch=terms.batch) == terms]
            held.append(contest(phase, [*trials, *lost], proofs, rounds, first, seen))
    return tuple(held)


def computed(trials: Sequence[Trial]) -> dict[Cell, str]:
    """The dtype and the device in which each entry computed, as its workers saw it, at whatever batch (here 0)."""
    found: dict[Cell, set[str]] = defaultdict(set)
    for trial in trials:
        if trial.phase == "first_call" and {"dtype", "device"} <= trial.facts.keys():
            found[replace(trial.cell, batch=0)].add(f"{trial.facts['dtype']} on {trial.facts['device']}")
    return {cell: " and ".join(sorted(kinds)) for cell, kinds in found.items()}


def contest(
    phase: str,
    trials: Sequence[Trial],
    proofs: Mapping[Cell, Proven],
    rounds: Mapping[Key, bool],
    first: Collection[Entry],
    seen: Mapping[Cell, str],
) -> Contest:
    """Compare all that did not fail their proof; choose the best and the ranks among the proven alone.

    ``rounds`` says which were contended, ``first`` is for ``simultaneous``, ``seen`` is from ``computed``.
    """
    own: dict[Cell, list[Trial]] = defaultdict(list)
    for trial in sorted(trials, key=lambda t: (t.cell.backend, t.cell.mode)):
        if trial.phase == phase and usable(trial):
            own[trial.cell].append(trial)
    members = {cell: blocks(group) for cell, group in own.items()}
    able = [cell for cell in members if proofs[cell].state == "proven"]
    times = {cell: samples(members[cell]) for cell in members if proofs[cell].state != "failed"}
    pairs = {(a, b): simultaneous({entry(a), entry(b)}, [*map(entry, able)], first) for a, b in permutations(times, 2)}
    ratios = {(a, b): r for (a, b), count in pairs.items() if (r := paired(times[a], times[b], pairs=count))}
    control = controlled(members, [t for t in trials if t.phase == "control"])
    verdicts = {pair: verdict(ratio, floor=noise_floor(control)) for pair, ratio in ratios.items()}
    found = Contest(phase, members, ratios, verdicts, able, fastest(able, ratios), {}, "", control, rounds)
    refusal, noisy = next(_refusals(found, own, trials, seen), ("", False))
    return replace(found, refusal=refusal, noisy=noisy, ranks={} if refusal else ranks(able, verdicts))


def among(contest: Contest, wanted: Collection[Entry]) -> Contest:
    """The same contest between some entries alone: their intervals and verdicts stay, the best and the ranks are their own."""
    held = {cell: times for cell, times in contest.blocks.items() if entry(cell) in wanted}
    able = [cell for cell in contest.proven if cell in held]
    refusal = contest.refusal or unrivalled(able)
    places = {} if refusal else ranks(able, contest.verdicts)
    return replace(contest, blocks=held, proven=able, best=fastest(able, contest.ratios), ranks=places, refusal=refusal)


def unrivalled(able: Sequence[Cell]) -> str:
    """Why these cannot be ranked, however they were timed: there is no second one; "" where there is."""
    return "" if len(able) > 1 else "only one is proven" if able else "nothing is proven"


def fastest(able: Sequence[Cell], ratios: Mapping[tuple[Cell, Cell], Ratio]) -> Cell | None:
    """The one whose ratios to the others are smallest on the whole."""
    lead = {b: sum(math.log(ratios[a, b].value) for a in able if (a, b) in ratios) for b in able}
    return min(able, key=lead.__getitem__, default=None)


def entry(cell: Cell) -> Entry:
    """Its backend and mode."""
    return cell.backend, cell.mode


def simultaneous(pair: set[Entry], able: Sequence[Entry], first: Collection[Entry]) -> int:
    """By how many the level of a pair's interval is divided (Bonferroni).

    All pairs of those that are ``able`` to be ranked share it. Where backends have several modes each, the pairs of their
    ``first`` ones, of which the answer speaks, have half of it and all others the other half.
    """
    every, main = math.comb(len(able), 2), math.comb(len({*able}.intersection(first)), 2)
    if main in {0, every}:
        return max(every, 1)
    return 2 * (main if pair <= {*first} else every - main)


def overall(contests: Sequence[Contest]) -> dict[Entry, tuple[Estimate, str]]:
    """Each entry's time over the best's as the geometric mean over several tasks, and its rank; the best first.

    A ratio's mean is taken in each generation, and its interval is that of a single ratio. Of the entries that are proven in
    every contest; empty with fewer than two contests or entries, with fewer than five generations in common, and where a contest
    is not ranked.
    """
    sides = [{entry(cell): samples(contest.blocks[cell]) for cell in contest.proven} for contest in contests]
    names = [name for name in sides[0] if all(name in side for side in sides)] if len(sides) > 1 else []
    if len(names) <= 1 or any(contest.refusal for contest in contests):
        return {}
    shares = [{(entry(a), entry(b)): ratio.pairs for (a, b), ratio in contest.ratios.items()} for contest in contests]
    ratios = {}
    for a, b in permutations(names, 2):
        level = max(share[a, b] for share in shares)  # also where the contests are between first modes alone
        ratios[a, b] = mean_ratio([paired_logs(side[a], side[b]) for side in sides], pairs=level)
    if min(ratio.generations for ratio in ratios.values()) < GENERATIONS:  # each task has enough, but not in common
        return {}
    verdicts = {pair: verdict(ratio, floor=mean_floor(c.floor for c in contests)) for pair, ratio in ratios.items()}
    best = min(names, key=lambda b: sum(math.log(ratios[a, b].value) for a in names if a != b))
    places, itself = ranks(names, verdicts), Estimate(1.0, None, None, len(contests))
    figures = {name: ratios.get((best, name), itself) for name in names}
    return {name: (figures[name], places[name]) for name in sorted(names, key=lambda name: (name != best, figures[name].value))}


def mean_ratio(found: Sequence[tuple[np.ndarray, np.ndarray]], *, pairs: int) -> Ratio:
    """The geometric mean of a pair's ratios over tasks, from the log-ratios of each task's rounds."""
    each = [medians(*task) for task in found]
    means = {g: float(np.mean([task[g] for task in each])) for g in sorted(set(each[0]).intersection(*each[1:]))}
    return over_generations(means, sum(len(logs) for _, logs in found), pairs)


def controlled(members: Mapping[Cell, Blocks], twins: Sequence[Trial]) -> Ratio | None:
    """The A/A control: in each generation the second process of one backend over its first one."""
    owner = {t.generation: t.cell for t in twins if usable(t)}
    times = {cell: samples(members.get(cell, {})) for cell in {*owner.values()}}
    first = {key: v for cell, own in times.items() for key, v in own.items() if owner.get(key[0]) == cell}
    return paired(first, samples(blocks(twins)))


def _refusals(
    found: Contest, own: Mapping[Cell, Sequence[Trial]], trials: Sequence[Trial], seen: Mapping[Cell, str]
) -> Iterator[tuple[str, bool]]:
    """Why nothing is ranked, and whether a quieter machine would rank it; each supposes that none before it holds."""
    pairs = list(permutations(found.proven, 2))
    if alone := unrivalled(found.proven):
        yield alone, False
    if any(pair not in found.ratios for pair in pairs):
        yield "some have no round in common", False
    if (least := min(found.ratios[pair].generations for pair in pairs)) < GENERATIONS:
        yield f"{least} of the {GENERATIONS} generations a verdict needs: indicative", False
    kinds = {entry(cell): kind for cell in found.proven if (kind := seen.get(replace(cell, batch=0)))}
    if len({*kinds.values()}) > 1:
        yield "not computed alike: " + ", ".join(f"{' '.join(who)} in {kind}" for who, kind in kinds.items()), False
    unsteady = Counter(t.cell for t in trials if t.phase == "warmup" and t.facts.get("kind") == "no steady state")
    for cell in found.proven:
        if unsteady[cell] > 1:
            yield f"{cell.backend} {cell.mode} reached no steady state in {unsteady[cell]} generations", True
        used = float(np.median([t.cpu_ns / sum(t.times_ns) for t in own[cell]])) / cell.threads
        if used > OVERDRAWN:
            yield (
                f"{cell.backend} {cell.mode} used {used:.2f} CPUs for each of its threads: another budget than the others'",
                False,
            )
    if found.contended > CONTENDED:
        yield f"{found.contended:.0%} of the rounds were contended", True
    yield from _doubtful(found.control, trials)


def _doubtful(control: Ratio | None, trials: Sequence[Trial]) -> Iterator[tuple[str, bool]]:
    """What an A/A control says against ranking anything: it died in some generations, or would be ranked itself."""
    twins = control.generations if control else 0
    if twins < TWINS and any(t.phase == "control" for t in trials):  # or the floor were gone, and nobody knew
        yield f"the A/A control has {twins} of the {TWINS} generations that a noise floor needs", True
    if control and verdict(control) in {"faster", "slower"}:
        yield f"the A/A control excludes 1: two processes of one backend differ by {control.value:.3f}x", True
