"""What changed from one run to another: each cell's time in NEW over that in BASE, its verdict, and the gates. Pure functions.

Two runs have no rounds in common, so nothing is paired: a sample is a generation's median, the interval is Welch's t on
their logs, simultaneous (Bonferroni). Two labels of one run have, and their interval is as that of any pair in it. An entry's
geometric mean over its lines is taken in each generation, and judged alike: what slows a framework as a whole shows there first.
Lines and means share the level, half for each. A gate asks for the whole interval, never for a point. What no interval knows is
how two sittings at one machine differ: where the canary took another time in them, nothing is judged.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from harness import machines, stats
from harness.errors import HarnessError, unknown
from harness.ranking import Contest
from harness.records import Cell, Run, having
from harness.sides import Side
from harness.standing import Proven
from harness.stats import Blocks, Ratio, Verdict

LOST = "BASE has a valid time of it, NEW has none"

Place = tuple[Cell, str]  # a cell and a timed phase
Samples = Sequence["pd.Series[float]"]  # by generation the logs of BASE and those of NEW; where they are paired, of NEW over BASE
WHOLE = "all lines"  # in the place of a task: an entry's geometric mean over them


@dataclass(frozen=True)
class Line:
    """One cell and phase that both runs have.

    ``base`` and ``new`` are seconds a step (or a call), the geometric mean over generations; with ``against``, which is
    for runs of two machines, they are times that cell's own time in the same run. ``floor`` is the larger noise floor.
    With a ``count`` it is an entry's mean over so many lines, of no phase; its times are in those of BASE.
    ``noisy`` says why there is no verdict: the machine was not in one state, or a run itself ranks nothing in its contest for
    noise, or, of two labels, for unequal terms. No gate judges such a line.
    """

    cell: Cell
    phase: str
    base: float
    new: float
    ratio: Ratio
    floor: float
    against: Cell | None = None
    count: int = 0
    noisy: str = ""

    @property
    def terms(self) -> str:
        """On what terms it was measured."""
        kind = f"{self.cell.device}, {self.cell.precision}"
        return f"{kind}, geometric mean of {self.count} lines" if self.count else terms(self.cell)

    @property
    def verdict(self) -> Verdict:
        """What the ratio says of NEW, by the rule within a run."""
        return stats.verdict(self.ratio, floor=self.floor)

    @property
    def told(self) -> str:
        """The same in a word; ``not ranked`` where the machine was too noisy to say."""
        return "not ranked" if self.noisy and self.verdict != "indicative" else self.verdict


@dataclass(frozen=True)
class Check:
    """A gate on a cell, or an entry as a whole: whether it held, fired, was blind, or has lost what it should judge; and why.

    ``sees`` is the smallest slowdown, as a share, at which one that judges times fires four times out of five.
    """

    cell: Cell
    gate: str  # "train not slower than 1.03x"
    verdict: Literal["held", "fired", "blind", "lost"]
    says: str = ""
    terms: str = ""
    sees: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two runs, line by line; ``warnings``, ``changes``, ``missing`` and ``gates`` are sentences."""

    base: Run
    new: Run
    lines: Sequence[Line]
    means: Sequence[Line]  # of entries with several lines
    base_proofs: Mapping[Cell, Proven]
    new_proofs: Mapping[Cell, Proven]
    warnings: Sequence[str]  # why the lines may mislead
    changes: Sequence[str]  # versions and other terms that are not the same
    missing: Sequence[str]  # what is not compared, and why
    lost: Sequence[Place] = ()  # what has a valid time in BASE and none in NEW
    paired: bool = False  # two labels of one run
    gates: Sequence[str] = ()  # that fired
    checks: Sequence[Check] = ()  # every gate on every cell
    timed: bool = False  # whether a gate judges times

    def judged(self, *, slower: float | None = None, unproven: bool = False) -> "Comparison":
        """The same with its gates: on a slowdown beyond a share (0.03), and on what NEW has not proven.

        What the first one cannot see is a warning. With either, what NEW has lost is no pass.
        """
        checks = [*([] if slower is None else self._slower(slower)), *(self._unproven() if unproven else ())]
        blind = defaultdict[str, list[Check]](list)
        for check in checks:
            if check.verdict == "blind":
                blind[check.says].append(check)
        warnings = [text for text in self.warnings if text not in blind]  # those are told with what they count for
        judged = f"{len(self.lines)} lines" + (f" and {len(self.means)} means over them" if self.means else "")
        warnings += [f"{len(those)} of {judged}: {says}{_seen(those)}" for says, those in blind.items()]
        if slower is not None and not self.lines:
            warnings.append("no times are compared: there is nothing that their gate could judge")
        if slower is not None or unproven:
            checks += [
                Check(cell, f"{phase} measured", "lost", f"{told(cell, phase)}: {LOST}", terms(cell)) for cell, phase in self.lost
            ]
        gates = list(dict.fromkeys(check.says for check in checks if check.verdict == "fired"))
        return replace(self, gates=gates, warnings=warnings, checks=checks, timed=slower is not None)

    @property
    def blind(self) -> bool:
        """Whether a gate on times could judge no line; that the means could is no pass for these."""
        verdicts = [check.verdict for check in self.checks if check.cell.task != WHOLE]
        return self.timed and verdicts.count("blind") == len(self.lines)

    def _slower(self, threshold: float) -> Iterator[Check]:
        """Each line: it is too noisy to judge, or fires, or its interval reaches beyond the threshold, or it is not slower."""
        most = 1 + threshold
        for line in [*self.lines, *self.means]:
            gate = f"{line.phase} not slower than {most:g}x".strip()  # a mean is of no phase
            low, high = line.ratio.low or 0.0, line.ratio.high or math.inf
            beyond = low > most
            verdict: Literal["held", "fired", "blind"] = "blind"
            if line.noisy:
                says = line.noisy
            elif line.verdict == "indicative":
                says = f"fewer than {stats.GENERATIONS} generations judge nothing"
            elif beyond and low > 1 + line.floor:
                verdict, within = "fired", f"{line.ratio.value:.3f}x ({low:.3f} to {high:.3f})"
                says = f"{told(line.cell, line.phase, line.terms)}: {within}, all of it beyond {most:g}"
            elif beyond:
                says = f"slower than {most:g}, but not surely by more than the noise floor"
            elif high > most:
                says = f"neither shows nor excludes a slowdown beyond {most:g}: more generations would tell"
            else:
                verdict, says = "held", ""
            sees = None if line.noisy or line.verdict == "indicative" else line.ratio.beyond(1 + max(threshold, line.floor))
            yield Check(line.cell, gate, verdict, says, line.terms, sees)

    def _unproven(self) -> Iterator[Check]:
        """What NEW has not proven, with the reason; who only shows a drift (stock) or is not installed has nothing to prove."""
        skipped = [p for p in self.new.proofs if p.level in {"drift", "trace"} and p.verdict == "skipped"]
        aside = {(p.task, p.backend, p.mode) for p in skipped}
        for cell, proof in self.new_proofs.items():
            if (cell.task, cell.backend, cell.mode) not in aside:
                says = f"{cell.task} {cell.backend} {cell.mode} is {proof.state} in NEW: {proof.reason}"
                yield Check(cell, "proven", "held" if proof.state == "proven" else "fired", says, terms(cell))


def _seen(blind: Sequence[Check]) -> str:
    """What gates that could not judge would have seen."""
    seen = sorted(check.sees for check in blind if check.sees is not None)
    return f" (here {' to '.join(dict.fromkeys(f'{share:.1%}' for share in (seen[0], seen[-1])))} would show)" if seen else ""


def compare(base: Side, new: Side, *, across: bool = False, wanted: Mapping[str, str] | None = None) -> Comparison:
    """NEW over BASE. Runs of two machines are refused, unless ``across``: then ratios within each run are compared.

    ``wanted`` chooses cells, see ``having``, and a phase: the fewer lines, the narrower their simultaneous intervals.
    Raises HarnessError for two machines, and where nothing was timed in both.
    """
    runs, paired = (base.run, new.run), base.folder == new.folder and base.label != new.label
    if across and (base.label or new.label):
        raise HarnessError(
            f"{runs[0].path} and {runs[1].path} are not both whole runs: leave out --across-machines, or the label."
        )
    if (other := [] if paired else machines.differences(*runs)) and not across:
        raise HarnessError(
            f"the two runs are of different machines ({'; '.join(other)}): compare runs of one, or give --across-machines."
        )
    wanted = {"phase": "", **(wanted or {})}
    chosen = set(having(base.states | new.states, {key: value for key, value in wanted.items() if key != "phase"}))
    proofs = [{cell: proof for cell, proof in side.states.items() if cell in chosen} for side in (base, new)]
    contests = _in_phase([[c for c in side.contests if c.blocks.keys() & chosen] for side in (base, new)], wanted["phase"])
    timed = [{(cell, c.phase): c for c in held for cell in c.blocks if cell in chosen} for held in contests]
    both, missing = _common(timed, proofs)
    lost = [p for p in timed[0] if p not in both and proofs[0][p[0]].state != "failed"]
    if not timed[0].keys() & timed[1].keys():
        raise HarnessError(
            f"{runs[0].path} and {runs[1].path} have no valid time of one cell in common: compare runs of one suite."
        )
    against = dict(references(both, contests[0], proofs)) if across else None
    if against is not None:
        missing += [f"{told(*place)}: nothing beside it is proven in both" for place in both if place not in against]
    state = _state(*runs) if not across else ""
    samples = dict(_lines(both, timed, against, state, paired=paired))
    lines = list(samples)
    if across and not lines:
        raise HarnessError(f"{runs[0].path} and {runs[1].path} have no two proven cells of one contest in common to compare.")
    warnings = [f"another machine: {text}" for text in other]
    if across:
        warnings.append("each time is in times of one entry of the same run: if that one changed, all others seem to")
    warnings += [*filter(None, [state]), *_unfinished(runs, paired=paired), *_unranked(contests, paired=paired)]
    changes = machines.changes(*runs)
    return Comparison(*runs, lines, list(_means(samples)), proofs[0], proofs[1], warnings, changes, missing, lost, paired)


def _common(timed: Sequence[Mapping[Place, Contest]], proofs: Sequence[Mapping[Cell, Proven]]) -> tuple[list[Place], list[str]]:
    """What both timed and neither proof voids; and sentences about the rest."""
    both = [place for place in timed[0] if place in timed[1]]
    missing = [f"{told(*p)}: only in {name}" for name, run in _sides(timed) for p in run if p not in both]
    for name, proven in _sides(proofs):
        void = [p for p in both if proven[p[0]].state == "failed"]
        missing += [f"{told(*p)}: its proof failed in {name}, its times are void" for p in void]
        both = [p for p in both if p not in void]
    return both, missing


def _in_phase(contests: Sequence[Sequence[Contest]], wanted: str) -> list[list[Contest]]:
    """The contests of both runs in one phase, in all of them if it is ""; HarnessError where neither run timed it."""
    known = {c.phase for held in contests for c in held}
    if wanted and wanted not in known:
        raise unknown("phase", wanted, known)
    return [[c for c in held if wanted in {"", c.phase}] for held in contests]


def _sides(pair: Sequence[Any], *, paired: bool = False) -> Iterator[tuple[str, Any]]:
    """Both with their names; of two labels, what is of their run."""
    yield from [("the run", pair[1])] if paired else zip(("BASE", "NEW"), pair, strict=True)


def terms(cell: Cell) -> str:
    """What beside task, backend and mode makes a cell."""
    return f"{cell.device}, {cell.precision}, {cell.data}, batch {cell.batch}, threads {cell.threads}"


def told(cell: Cell, phase: str, on: str = "") -> str:
    """A cell and phase with all its terms, or ``on`` others."""
    return f"{' '.join(filter(None, (cell.task, cell.backend, cell.mode, phase)))} ({on or terms(cell)})"


def _lines(
    both: Sequence[Place],
    timed: Sequence[Mapping[Place, Contest]],
    against: Mapping[Place, Cell] | None,
    state: str,
    *,
    paired: bool,
) -> Iterator[tuple[Line, Samples]]:
    """A line a place, and what it is judged by: with ``against`` in that cell's time, if it is beside; ``paired`` round by round.

    A ``state`` says how the machine's CPUs were not what they had been.
    """
    places = [place for place in both if against is None or against.get(place, place[0]) != place[0]]
    shares = 1 if len({entry(cell) for cell, _ in places}) == len(places) else 2  # of the level: see _means
    for cell, phase in places:
        other = against[cell, phase] if against is not None else None
        held = [run[cell, phase] for run in timed]
        times = [logs(c.blocks[cell], c.blocks[other] if other else None) for c in held]
        if not all(map(len, times)):
            continue
        base, new = (math.exp(own.mean()) for own in times)
        floor = max(c.floor for c in held)
        samples = [logs(*(c.blocks[cell] for c in reversed(held)))] if paired else times
        if not all(map(len, samples)):
            continue
        ratio = interval(samples, pairs=len(places) * shares)
        against_it = [(name, c.noisy or (c.unequal if paired else "")) for name, c in _sides(held, paired=paired)]
        reasons = [f"{name} ranks nothing there, {reason}" for name, reason in against_it if reason]
        noisy = "; ".join([state] if state and cell.device == "cpu" else reasons)
        yield Line(cell, phase, base, new, ratio, floor, other, noisy=noisy), samples


def _means(samples: Mapping[Line, Samples]) -> Iterator[Line]:
    """A line an entry that has several, noisy ones aside: their geometric mean in each generation that all of them have."""
    groups: dict[Cell, list[Line]] = defaultdict(list)
    for line in samples:
        if not line.noisy:
            groups[entry(line.cell)].append(line)
    groups = {cell: own for cell, own in groups.items() if len(own) > 1}
    for cell, own in groups.items():
        sides = zip(*(samples[line] for line in own), strict=True)
        means = [pd.concat(side, axis=1, join="inner").mean(axis=1) for side in sides]
        if all(map(len, means)):
            ratio = interval(means, pairs=2 * len(groups))
            yield Line(cell, "", 1.0, ratio.value, ratio, stats.mean_floor(line.floor for line in own), count=len(own))


def entry(cell: Cell) -> Cell:
    """The entry that a cell is a line of."""
    return replace(cell, task=WHOLE, data="", batch=0, threads=0)


def references(
    both: Sequence[Place], contests: Sequence[Contest], proofs: Sequence[Mapping[Cell, Proven]]
) -> Iterator[tuple[Place, Cell]]:
    """For each place the fastest of those in its contest that are proven in both runs, by the times of BASE."""
    proven = {place for place in both if all(states[place[0]].state == "proven" for states in proofs)}
    for held in contests:
        if means := {cell: logs(times).mean() for cell, times in held.blocks.items() if (cell, held.phase) in proven}:
            best = min(means, key=means.__getitem__)
            yield from (((cell, held.phase), best) for cell in held.blocks)


def logs(times: Blocks, against: Blocks | None = None) -> pd.Series:
    """The log of each generation's median time, in seconds, by generation; over ``against``, round by round, if it is given."""
    found = pd.Series(stats.samples(times))
    if against is not None:
        found = (found / pd.Series(stats.samples(against))).dropna()  # what only one of them has is not compared
    return found.map(math.log).groupby(level=0).median()


def interval(samples: Samples, *, pairs: int) -> Ratio:
    """NEW over BASE from the logs of both, or of what is paired. ``n`` counts what it is from, generations."""
    if len(samples) > 1:
        return welch(*samples, pairs=pairs)
    return stats.over_generations({int(str(g)): log for g, log in samples[0].items()}, len(samples[0]), pairs)


def welch(base: "pd.Series[float] | np.ndarray", new: "pd.Series[float] | np.ndarray", *, pairs: int = 1) -> Ratio:
    """NEW over BASE from the logs of two independent samples, with Welch's t interval at ALPHA / pairs.

    No interval from a sample of one. ``n`` counts both samples, ``generations`` is the smaller one.
    """
    centre, sizes = float(new.mean() - base.mean()), (len(base), len(new))
    if min(sizes) == 1:
        return Ratio(math.exp(centre), None, None, sum(sizes), 1, pairs)
    low = high = centre
    if base.std() or new.std():
        found = ttest_ind(new, base, equal_var=False).confidence_interval(1 - stats.ALPHA / pairs)
        low, high = max(float(found.low), centre - stats.WIDEST), min(float(found.high), centre + stats.WIDEST)
    return Ratio(math.exp(centre), math.exp(low), math.exp(high), sum(sizes), min(sizes), pairs)


def _state(base: Run, new: Run) -> str:
    """How the machine was in another state in NEW than in BASE; "" if it was not."""
    took = machines.strayed(base, new)
    said = f"the machine was not in one state (the canary's {took} in NEW as in BASE)"
    return took and f"{said}: measure both anew, or beside one another in one run"


def _unfinished(runs: Sequence[Run], *, paired: bool) -> Iterator[str]:
    """Which run was not made to its end."""
    for name, run in _sides(runs, paired=paired):
        if "finished" in run.manifest and not run.manifest["finished"]:
            yield f"{name} did not finish: what was recorded until then is compared"


def _unranked(contests: Sequence[Sequence[Contest]], *, paired: bool) -> Iterator[str]:
    """Contests in which a run itself ranks nothing, with its reason."""
    for name, held in _sides(contests, paired=paired):
        for contest in held:
            if contest.refusal:
                cell = next(iter(contest.blocks))
                yield f"{name} ranks nothing in {cell.task} {contest.phase}, batch {cell.batch}: {contest.refusal}"
