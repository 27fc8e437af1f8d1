"""The fairness ledger: what must be the same for all who are compared, as data, checked on the records of every run."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness import noise
from harness.ranking import OVERDRAWN, usable
from harness.records import Run, Trial

Trials = Sequence[Trial]


@dataclass(frozen=True)
class Rule:
    """One thing that must not differ, or only as its modes say: ``value`` reads it from an entry's trials, None if none does."""

    name: str
    why: str
    value: Callable[[Trials], object]
    by_mode: bool = False


@dataclass(frozen=True)
class Line:
    """A rule on the entries of one precision: the value of each ("torch eager"), and whether they are the same."""

    precision: str
    rule: Rule
    values: Mapping[str, object]

    @property
    def verdict(self) -> Literal["equal", "differs", "by mode", "not known"]:
        """``by mode``: what differs is what the entries are named after; ``not known``: who says nothing might differ."""
        said = {*self.values.values()} - {None}
        if len(said) > 1:
            return "by mode" if self.rule.by_mode else "differs"
        return "not known" if None in self.values.values() else "equal"

    def told(self) -> str:
        """What differs, in a sentence."""
        return f"{self.rule.name} differs: " + ", ".join(
            f"{entry} {'not known' if value is None else value}" for entry, value in self.values.items()
        )


def fact(*path: str) -> Callable[[Trials], object]:
    """A value that workers said of themselves, as text; all of them where generations differ."""

    def value(trials: Trials) -> object:
        found = set()
        for trial in trials:
            at: object = trial.facts
            for part in path:
                at = at.get(part) if isinstance(at, Mapping) else None
            if at is not None:
                found.add(str(at))
        return ", ".join(sorted(found)) or None

    return value


def affinity(trials: Trials) -> object:
    """The CPUs of each generation."""
    found = sorted({(t.generation, tuple(t.facts["cpus"])) for t in trials if "cpus" in t.facts})
    return "; ".join(",".join(map(str, cpus)) for _, cpus in found) or None


def pool(trials: Trials) -> object:
    """The sizes that a framework says its pool has, where they are not what was granted; who says none is not suspected."""
    said = {(str(t.facts["threads"]), str(t.cell.threads)) for t in trials if "threads" in t.facts}
    others = sorted(f"{size} where {granted} was granted" for size, granted in said if size != granted)
    return ", ".join(others) or "no other size"


def budget(trials: Trials) -> object:
    """Whether the CPU time of the timed blocks fits the threads that were granted, and by how much not in the worst contest."""
    used: dict[tuple[str, int, int, str], list[float]] = defaultdict(list)
    for t in trials:
        if t.phase in noise.TIMED and usable(t) and t.cpu_ns:
            used[t.cell.task, t.cell.batch, t.cell.threads, t.phase].append(t.cpu_ns / sum(t.times_ns) / t.cell.threads)
    if not used:
        return None
    share = max(float(np.median(shares)) for shares in used.values())
    return f"at most {OVERDRAWN}" if share <= OVERDRAWN else f"{share:.2f}"


RULES = (
    Rule("dtype of the logits", "what is asked for and what is computed may differ: then nothing is ranked", fact("dtype")),
    Rule("TF32", "it keeps 10 of float32's 23 mantissa bits", fact("numerics", "tf32")),
    Rule("device", "where it was asked to run", lambda ts: ts[0].cell.device),
    Rule("device in use", "where its parameters are", fact("device")),
    Rule("threads granted", "one budget for all", lambda ts: str(ts[0].cell.threads)),
    Rule("threads in its pool", "a pool of another size is another budget", pool),
    Rule("CPUs by generation", "equal affinity is the only common budget: pools read it, XLA ignores OMP_NUM_THREADS", affinity),
    Rule("threads running for each granted", "CPU time over wall time: what the budget came to", budget),
    Rule("data", "the same examples", lambda ts: "; ".join(sorted({t.cell.data for t in ts}))),
    Rule("batches placed", "the same examples, in the same order", fact("batches")),
    Rule("gradients recorded at inference", "a tape costs time that inference does not need", fact("autograd")),
    Rule("parameters written in place", "a step that copies them moves more memory: donated buffers", fact("in_place")),
    Rule("compiled", "a ratio of two modes is one of how they run, too: every table names them", fact("compiled"), by_mode=True),
    Rule("meters of energy", "joules of the processor alone are no joules of a GPU", fact("meters")),
    Rule("Python", "its interpreter is part of every step", fact("python")),
    Rule("NumPy", "it draws and hands over the batches", fact("numpy")),
)


def judge(run: Run) -> list[Line]:
    """Every rule on the entries that were timed; those in bfloat16 among themselves, since they are compared so.

    Who failed in a generation was on no CPU in it, who failed in a task had no data of it, who ran out of memory at a batch was
    given none of that size, and in sweeps are first modes alone: holes, and not unfair. So each set of entries is judged on where
    just these were: the largest in full, of smaller ones what differs.
    """
    entries: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in run.trials:
        if trial.status == "ok" and trial.phase in {*noise.TIMED, "first_call"} and not trial.of:
            entries[trial.cell.precision][f"{trial.cell.backend} {trial.cell.mode}"].append(trial)
    lines = []
    for precision, group in entries.items():
        there: dict[tuple[object, ...], set[str]] = defaultdict(set)
        for entry, trials in group.items():
            for trial in trials:
                there[noise.group(trial)[:5]].add(entry)
        sets = {tuple(sorted(those)) for those in there.values() if len(those) > 1 or len(group) == 1}  # who is compared
        for number, those in enumerate(sorted(sets, key=lambda those: (-len(those), those))):
            shared = {
                entry: [t for t in group[entry] if there[noise.group(t)[:5]] == {*those}] for entry in group if entry in those
            }
            found = [Line(precision, rule, {entry: rule.value(trials) for entry, trials in shared.items()}) for rule in RULES]
            lines += [line for line in found if not number or line.verdict == "differs"]
    return lines


def differences(run: Run) -> list[str]:
    """What was not the same for all, in sentences; nothing where the comparison was fair."""
    return [line.told() for line in judge(run) if line.verdict == "differs"]
