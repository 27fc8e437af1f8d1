"""A run with everything that is computed from it, once: what the tables, the page and the terminal all show."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import pandas as pd

from harness import noise, ranking, standing, stats
from harness.measure import Canary
from harness.ranking import Contest
from harness.records import Cell, Run, Trial
from harness.report import warmups
from harness.standing import Proven
from harness.stats import Estimate

TERMS = attrgetter("batch", "threads")
SUNG = ("cpu", "float32", 1)  # on what, in what and on how many CPUs the canary computes: of all else it says nothing
PHASES = ("first_call", "train", "epoch", "predict", "latency", "memory", "fit")
# The time of a phase that is shown; an epoch's is that of a step with its share of the framework's own input pipeline.
SHOWN = {"train": "step_time", "epoch": "step_time", "predict": "batch_time", "latency": "latency_p50"}
LATENCIES = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}
CALLS_FOR_P99 = 500


class Row(NamedTuple):
    """One figure of one cell. ``ratio`` is its value over the best's, paired where times are, and ``verdict`` what it says."""

    phase: str
    metric: str
    unit: str
    figure: Estimate
    ratio: Estimate | None = None
    rank: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Findings:
    """A run with everything that was computed from it, once."""

    run: Run
    tasks: Sequence[str]  # their keys, in the manifest's order
    proofs: Mapping[Cell, Proven]
    contests: Sequence[Contest]
    rows: Mapping[Cell, Sequence[Row]]  # by task, then by name
    troubles: Mapping[Cell, Sequence[str]]  # what did not end well, each once: phase, status, reason
    contended: Mapping[tuple[noise.Group, int], Sequence[str]]  # why a round was disturbed, by round and attempt

    @cached_property
    def in_first_modes(self) -> "Findings":
        """The same of each backend's first mode alone, ranked among themselves; all of it where there is no more to a run."""
        first = ranking.first_modes(self.run)
        if len(first) <= 1 or first >= {*map(ranking.entry, self.rows)}:
            return self
        held = [ranking.among(contest, first) for contest in self.contests]
        return _found(self.run, [contest for contest in held if contest.blocks], lambda cell: ranking.entry(cell) in first)

    @property
    def metered(self) -> bool:
        """Whether some meter told of energy."""
        return any(row.metric == "energy" for rows in self.rows.values() for row in rows)

    def cells_of(self, task: str) -> list[Cell]:
        """The cells of a task on its main terms, the best training time first, what was not ranked after it, holes last.

        The main terms are the batch that the manifest names and one CPU; what else was timed is a sweep.
        """
        own = [cell for cell in self.rows if cell.task == task]
        main = [cell for cell in own if TERMS(cell) == (self.goal(task).get("batch"), 1)] or own

        def place(cell: Cell) -> tuple[int, bool, bool, float]:
            row = self.pick(cell, "train")
            state = ("proven", "not proven", "failed").index(self.proofs[cell].state)
            if not row:
                return 3, False, False, 0.0
            return state, cell.precision != "float32", not row.ratio, (row.ratio or row.figure).value

        return sorted(main, key=place)

    def sweep_of(self, task: str) -> list[Cell]:
        """The cells of a task on other terms, by threads and batch."""
        main = self.cells_of(task)
        others = (cell for cell in self.rows if cell.task == task and cell not in main)
        return sorted(others, key=lambda cell: (cell.threads, cell.batch, cell.backend, cell.mode))

    def pick(self, cell: Cell, phase: str, metric: str | None = None) -> Row | None:
        """The row of one figure, if it was measured; of a timed phase the time that is shown."""
        wanted = (phase, SHOWN[phase] if metric is None else metric)
        return next((row for row in self.rows[cell] if (row.phase, row.metric) == wanted), None)

    def value(self, cell: Cell, phase: str, metric: str | None = None) -> float | None:
        """The figure alone of that row."""
        row = self.pick(cell, phase, metric)
        return row.figure.value if row else None

    def trials_of(self, task: str, wanted: Callable[[Trial], bool]) -> dict[Cell, list[Trial]]:
        """The trials that are ``wanted`` by cell, in the order of the task's cells, of those that have any."""
        found = {cell: list[Trial]() for cell in self.cells_of(task)}
        for trial in self.run.trials:
            if trial.cell in found and wanted(trial):
                found[trial.cell].append(trial)
        return {cell: trials for cell, trials in found.items() if trials}

    def quality(self, cell: Cell) -> Row | None:
        """What the task's metric came to after training."""
        return self.pick(cell, "fit", self.goal(cell.task)["metric"])

    def contests_of(self, task: str, phase: str) -> list[Contest]:
        """The comparisons of one phase of one task on its main terms: one for each device, data set and precision."""
        main = {replace(cell, batch=1) if phase == "latency" else cell for cell in self.cells_of(task)}
        return [c for c in self.contests if c.phase == phase and main & c.blocks.keys()]

    def goal(self, task: str) -> dict[str, Any]:
        """What the manifest says of a task, harness/run.py task_facts; title and metric at least."""
        return {"title": task, "metric": "", **self.run.part("tasks", task)}


def find(run: Run) -> Findings:
    """Everything the views show, computed from a run."""
    return _found(run, ranking.contests(run), lambda _cell: True)


def _found(run: Run, contests: Sequence[Contest], wanted: Callable[[Cell], bool]) -> Findings:
    """What the views show of the cells that are ``wanted``."""
    proofs = {cell: proof for cell, proof in standing.statuses(run).items() if wanted(cell)}
    batched = dict.fromkeys(t.cell for t in run.trials if "latency" not in (t.phase, t.of) and t.phase != "canary")
    singles: dict[Cell, Cell] = {}
    for cell in sorted(batched, key=lambda cell: cell.batch != run.at("tasks", cell.task, "batch")):
        singles.setdefault(replace(cell, batch=1), cell)  # of a sweep the main terms

    def home(cell: Cell, phase: str = "") -> Cell:
        """The line of a figure: single calls have a batch of one, and stand with the training they belong to."""
        return singles.get(cell, cell) if phase == "latency" or cell not in batched else cell

    known = [*run.part("tasks"), *(cell.task for cell in proofs), *(p.task for p in run.proofs)]
    tasks = list(dict.fromkeys(known))
    cells = sorted(set(map(home, proofs)), key=lambda cell: (tasks.index(cell.task), astuple(cell)))
    rows: dict[Cell, list[Row]] = {cell: [] for cell in cells}
    every = [*chain.from_iterable(map(_timed, contests)), *_single(run, wanted)]
    for cell, row in sorted(every, key=lambda found: PHASES.index(found[1].phase)):
        rows[home(cell, row.phase)].append(row)
    bad = [
        (home(t.cell, t.of or t.phase), f"{t.phase} {t.status}: {t.reason or '?'}")
        for t in run.trials
        if t.status != "ok" and t.cell in proofs
    ]
    troubles = {cell: [text for where, text in dict.fromkeys(bad) if where == cell] for cell in cells}
    return Findings(run, tasks, proofs, contests, rows, troubles, noise.contended(run.trials))


def _timed(contest: Contest) -> Iterator[tuple[Cell, Row]]:
    best = contest.best
    for cell, times in contest.blocks.items():
        ratio: Estimate | None = contest.ratios.get((best, cell)) if best else None
        word = contest.told(best, cell) if best and ratio and cell in contest.proven else ""
        if cell == best:
            ratio = Estimate(1.0, None, None, len(times))
        place = (ratio, contest.ranks.get(cell, ""), word if word != "indicative" else "")  # of which the sentence tells
        if contest.phase == "latency":
            for metric, share in LATENCIES.items():
                figure = stats.quantile(times, share)
                if metric != "latency_p99" or figure.n >= CALLS_FOR_P99:
                    yield cell, Row("latency", metric, "s", figure, *(place if metric == SHOWN["latency"] else ()))
        else:
            time = stats.absolute(stats.samples(times))
            yield cell, Row(contest.phase, SHOWN[contest.phase], "s", time, *place)
            rate, inverse = _inverse(time, cell.batch), ratio and _inverse(ratio, 1)
            yield cell, Row(contest.phase, "throughput", "examples/s", rate, inverse, place[1])


def _inverse(figure: Estimate, amount: int) -> Estimate:
    """``amount`` over a figure: the ends of the interval change sides."""
    low, high = (None if end is None else amount / end for end in (figure.high, figure.low))
    return Estimate(amount / figure.value, low, high, figure.n)


def _single(run: Run, wanted: Callable[[Cell], bool]) -> Iterator[tuple[Cell, Row]]:
    """The rows of figures that are not paired and carry no rank, from a sample of each round, or of each seed of a training."""
    found: dict[tuple[Cell, str, str, str], dict[stats.Key, float]] = defaultdict(dict)
    metered: dict[tuple[Cell, str], dict[int, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    most = ceilings(run)
    for trial in [trial for trial in ranking.counted(run.whole)[0] if wanted(trial.cell)]:
        sample = (trial.seed, 0) if trial.phase == "fit" else (trial.generation, trial.round)
        figures = _costs(run, trial, most) if trial.phase in SHOWN and ranking.usable(trial) and trial.cpu_ns else ()
        if trial.phase == "first_call":
            sample = (trial.generation, int(trial.of == "control"))  # a process of its own beside its twin's
        for phase, metric, unit, value in chain(figures, _values(run, trial), _warmed_up(trial)):
            found[trial.cell, phase, metric, unit].setdefault(sample, value)
        if figures and "energy_j" in trial.noise:
            metered[trial.cell, trial.phase][trial.generation].append(trial)
    for (cell, phase), generations in metered.items():
        if joules := {(g, 0): _joules(trials) for g, trials in generations.items() if _joules(trials)}:
            found[cell, phase, "energy", "J"] = joules  # a meter that stood still all the time is none
    for (cell, phase, metric, unit), samples in found.items():
        yield cell, Row(phase, metric, unit, stats.absolute(samples))


def _joules(trials: Sequence[Trial]) -> float:
    """Of a step, over all samples of a process: a GPU's meter moves on a few times a second, and stands still in most of them."""
    return sum(t.noise["energy_j"] for t in trials) / sum(t.steps * len(t.times_ns) for t in trials)


def _values(run: Run, trial: Trial) -> Iterator[tuple[str, str, str, float]]:
    """Phase, metric, unit and value of first calls, memory and final quality; of a control its first calls alone."""
    for name, value in trial.values.items() if trial.status == "ok" and trial.phase in PHASES else ():
        metric, unit = unit_of(name)
        if name.endswith("_first_call_s"):  # the processes of the first generation after a start find their compile caches empty
            metric += "_cold" if trial.generation in run.progress["starts"] else "_warm"
        if name.endswith("_first_call_s") or not trial.of:
            yield "memory" if unit == "bytes" else trial.phase, metric, unit, float(value)


def _warmed_up(trial: Trial) -> Iterator[tuple[str, str, str, float]]:
    """The calls and seconds, the first call left out, that a warm-up took until it was steady, as _values has them."""
    ended = (trial.phase, trial.status) == ("warmup", "ok") and trial.of in SHOWN
    if ended and (start := warmups.steady(trial)) is not None:
        yield trial.of, "calls_to_steady_state", "1", float(start)
        if trial.times_ns:
            yield trial.of, "warm_up", "s", warmups.waited(trial)


def _costs(run: Run, trial: Trial, most: Mapping[str, float]) -> Iterator[tuple[str, str, str, float]]:
    """CPU time and operations a second of a step, and its shares of what one CPU does at ``most``, as _values has them.

    The canary that says how much is most sings in float32 on one CPU: of another device or precision, or of more CPUs, which
    may share what they compute and copy with, it says nothing.
    """
    count = trial.steps * len(trial.times_ns)
    wall = sum(trial.times_ns) / count / 1e9
    yield trial.phase, "cpu_time", "s", trial.cpu_ns / count / 1e9
    alike = (trial.cell.device, trial.cell.precision, trial.cell.threads) == SUNG
    for name, amount in work(run.part("tasks", trial.cell.task), trial.cell.batch, trial.phase).items():
        if name == "peak":
            yield trial.phase, "flop_rate", "FLOP/s", amount / wall
        if alike and most[name] > 0:  # not where no canary sang
            yield trial.phase, f"share_of_{name}", "1", amount / wall / most[name]


def ceilings(run: Run) -> dict[str, float]:
    """What one CPU did at most in this run: operations and bytes a second, by the canary's median; NaN where none sang."""
    songs = pd.DataFrame([t.values for t in run.trials if t.phase == "canary"], columns=["product_s", "copy_s"], dtype=float)
    middle = songs[songs > 0].median()
    return {"peak": Canary.flops / middle.product_s, "bandwidth": Canary.moved_bytes / middle.copy_s}


def work(goal: Mapping[str, Any], batch: int, phase: str) -> dict[str, float]:
    """Operations of a step, and the bytes that a training step must move at least, as far as the manifest knows them."""
    if not {"forward_flops", "training_flops", "step_bytes", "example_bytes"} <= goal.keys():
        return {}
    if phase not in {"train", "epoch"}:
        return {"peak": goal["forward_flops"] * batch}
    moved = goal["step_bytes"] + goal["example_bytes"] * batch
    return {"peak": goal["training_flops"] * batch, "bandwidth": moved}


def unit_of(name: str) -> tuple[str, str]:
    """Metric and unit from a name that ends in its unit; quality figures have the unit 1."""
    for unit in ("s", "bytes"):
        if name.endswith(f"_{unit}"):
            return name.removesuffix(f"_{unit}"), unit
    return name, "1"
