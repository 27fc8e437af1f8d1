"""From the records of a run to ranked contests: which trials count, who meets whom, and who may be ranked. Pure functions."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

import numpy as np

from harness import noise, stats
from harness.noise import TIMED, Group
from harness.records import Cell, Run, Trial
from harness.standing import Proven, statuses
from harness.stats import GENERATIONS, TWINS, Blocks, Estimate, Key, Ratio, Verdict

CONTENDED = 0.3  # share of the rounds beyond which nothing is ranked
OVERDRAWN = 1.1  # CPU time over wall time, a thread: more is another budget than the others'

Entry = tuple[str, str]  # backend and mode
Why = Literal["few", "terms", "noise"]  # what kind of reason speaks against a ranking


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
    noisy: str = ""  # what the machine's noise says against a ranking, and so against judging a later run by this one
    unequal: str = ""  # on what terms they did not meet: what says nothing of one entry alone, in another run

    @property
    def contended(self) -> float:
        """How many of the rounds were contended, as a share."""
        return sum(self.rounds.values()) / max(len(self.rounds), 1)

    @property
    def floor(self) -> float:
        """See ``stats.noise_floor``."""
        return stats.noise_floor(self.control)

    def told(self, a: Cell, b: Cell) -> str:
        """The verdict on ``b`` in a word; ``not ranked`` where nothing is, whatever the interval says: see ``refusal``."""
        verdict = self.verdicts[a, b]
        return "not ranked" if self.refusal and verdict != "indicative" else verdict

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


def first_modes(run: Run) -> set[Entry]:
    """Each backend in its first mode, as the plan has them; empty where a record does not say."""
    chosen = run.part("plan", "chosen").items()
    return {(backend, modes[0]) for backend, modes in chosen if isinstance(modes, list) and str in map(type, modes[:1])}


def contests(run: Run) -> tuple[Contest, ...]:
    """Every phase of a task in which something was timed; cells meet on equal device, precision, data, batch and threads."""
    first = first_modes(run)
    chosen, disturbed = counted(run.whole)
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
    times = {cell: stats.samples(members[cell]) for cell in members if proofs[cell].state != "failed"}
    pairs = {(a, b): simultaneous({entry(a), entry(b)}, [*map(entry, able)], first) for a, b in permutations(times, 2)}
    ratios = {(a, b): r for (a, b), count in pairs.items() if (r := stats.paired(times[a], times[b], pairs=count))}
    control = controlled(members, [t for t in trials if t.phase == "control"])
    verdicts = {pair: stats.verdict(ratio, floor=stats.noise_floor(control)) for pair, ratio in ratios.items()}
    found = Contest(phase, members, ratios, verdicts, able, fastest(able, ratios), {}, "", control, rounds)
    reasons = list(_refusals(found, own, trials, seen))
    refusal = reasons[0][0] if reasons else ""
    enough = len({generation for times in members.values() for generation, _ in times}) >= GENERATIONS
    noisy, unequal = (next((reason for reason, why in reasons if why == kind and enough), "") for kind in ("noise", "terms"))
    return replace(found, refusal=refusal, noisy=noisy, unequal=unequal, ranks={} if refusal else stats.ranks(able, verdicts))


def among(contest: Contest, wanted: Collection[Entry]) -> Contest:
    """The same contest between some entries alone: their intervals and verdicts stay, the best and the ranks are their own."""
    held = {cell: times for cell, times in contest.blocks.items() if entry(cell) in wanted}
    able = [cell for cell in contest.proven if cell in held]
    refusal = contest.refusal or unrivalled(able)
    places = {} if refusal else stats.ranks(able, contest.verdicts)
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
    sides = [{entry(cell): stats.samples(contest.blocks[cell]) for cell in contest.proven} for contest in contests]
    names = [name for name in sides[0] if all(name in side for side in sides)] if len(sides) > 1 else []
    if len(names) <= 1 or any(contest.refusal for contest in contests):
        return {}
    shares = [{(entry(a), entry(b)): ratio.pairs for (a, b), ratio in contest.ratios.items()} for contest in contests]
    ratios = {}
    for a, b in permutations(names, 2):
        level = max(share[a, b] for share in shares)  # also where the contests are between first modes alone
        ratios[a, b] = stats.mean_ratio([stats.paired_logs(side[a], side[b]) for side in sides], pairs=level)
    if min(ratio.generations for ratio in ratios.values()) < GENERATIONS:  # each task has enough, but not in common
        return {}
    verdicts = {pair: stats.verdict(ratio, floor=stats.mean_floor(c.floor for c in contests)) for pair, ratio in ratios.items()}
    best = min(names, key=lambda b: sum(math.log(ratios[a, b].value) for a in names if a != b))
    places, itself = stats.ranks(names, verdicts), Estimate(1.0, None, None, len(contests))
    figures = {name: ratios.get((best, name), itself) for name in names}
    return {name: (figures[name], places[name]) for name in sorted(names, key=lambda name: (name != best, figures[name].value))}


def controlled(members: Mapping[Cell, Blocks], twins: Sequence[Trial]) -> Ratio | None:
    """The A/A control: in each generation the second process of one backend over its first one."""
    owner = {t.generation: t.cell for t in twins if usable(t)}
    times = {cell: stats.samples(members.get(cell, {})) for cell in {*owner.values()}}
    first = {key: v for cell, own in times.items() for key, v in own.items() if owner.get(key[0]) == cell}
    return stats.paired(first, stats.samples(blocks(twins)))


def _refusals(
    found: Contest, own: Mapping[Cell, Sequence[Trial]], trials: Sequence[Trial], seen: Mapping[Cell, str]
) -> Iterator[tuple[str, Why]]:
    """Why nothing is ranked, the chief reason first, each with its kind: too few, unequal terms, or the machine's noise."""
    pairs = list(permutations(found.proven, 2))
    if alone := unrivalled(found.proven):
        yield alone, "few"
    if any(pair not in found.ratios for pair in pairs):
        yield "some have no round in common", "few"
    least = min((found.ratios[pair].generations for pair in pairs if pair in found.ratios), default=GENERATIONS)
    if least < GENERATIONS:
        yield f"{least} of the {GENERATIONS} generations a verdict needs: indicative", "few"
    kinds = {entry(cell): kind for cell in found.proven if (kind := seen.get(replace(cell, batch=0)))}
    if len({*kinds.values()}) > 1:
        yield "not computed alike: " + ", ".join(f"{' '.join(who)} in {kind}" for who, kind in kinds.items()), "terms"
    never = {(t.cell, t.generation) for t in trials if t.phase == "warmup" and t.facts.get("kind") == "no steady state"}
    unsteady = Counter(cell for cell, _ in never)
    for cell in found.proven:
        if unsteady[cell] > 1:
            yield f"{cell.backend} {cell.mode} reached no steady state in {unsteady[cell]} generations", "noise"
        used = float(np.median([t.cpu_ns / sum(t.times_ns) for t in own[cell]])) / cell.threads
        if used > OVERDRAWN:
            yield (
                f"{cell.backend} {cell.mode} used {used:.2f} CPUs for each of its threads: another budget than the others'",
                "terms",
            )
    if found.contended > CONTENDED:
        yield f"{found.contended:.0%} of the rounds were contended", "noise"
    yield from _doubtful(found.control, trials)


def _doubtful(control: Ratio | None, trials: Sequence[Trial]) -> Iterator[tuple[str, Why]]:
    """What an A/A control says against ranking anything: it died in some generations, or would be ranked itself."""
    twins = control.generations if control else 0
    if twins < TWINS and any(t.phase == "control" for t in trials):  # or the floor were gone, and nobody knew
        yield f"the A/A control has {twins} of the {TWINS} generations that a noise floor needs", "noise"
    if control and stats.verdict(control) in {"faster", "slower"}:
        yield f"the A/A control excludes 1: two processes of one backend differ by {control.value:.3f}x", "noise"
