"""The figures of a run as rows: what the CSV files, the page and the terminal all show."""

import csv
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from io import StringIO
from itertools import chain, product
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness import ledger, noise, ranking, standing, stats
from harness.errors import unknown
from harness.measure import Canary
from harness.ranking import Contest
from harness.records import Cell, Run, Trial, having
from harness.report import warmups
from harness.standing import Proven
from harness.stats import Estimate

COLUMNS = tomllib.loads(Path(__file__).with_name("columns.toml").read_text("utf-8"))
MET = ("external_cpus", "steal", "pressure")  # of the noise of a sample, see harness/noise.py
NAMES = attrgetter("task", "backend", "mode", "device", "data")
TERMS = attrgetter("batch", "threads")
KIND = attrgetter("device", "precision", "data")
SUNG = ("cpu", "float32", 1)  # on what, in what and on how many CPUs the canary computes: of all else it says nothing
TRIAL = ("phase", "of", "status", "seed", "generation", "round", "attempt", "position", "steps", "compilations", "at", "reason")
TRIALS = (*Cell.__dataclass_fields__, *TRIAL, "block", "metric", "unit", "value")
PHASES = ("first_call", "train", "epoch", "predict", "latency", "memory", "fit")
# The time of a phase that is shown; an epoch's is that of a step with its share of the framework's own input pipeline.
SHOWN = {"train": "step_time", "epoch": "step_time", "predict": "batch_time", "latency": "latency_p50"}
LATENCIES = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}
CALLS_FOR_P99 = 500
RANK = re.compile(r"\A(\d+)-(\d+)\Z")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # so begins what a spreadsheet runs
BLOCKS = 20  # of a trial: more are calls
QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def inert(value: Any) -> Any:
    """A value of a CSV file as a spreadsheet leaves it: no formula (OWASP, CSV injection), and no rank "2-3", which is a date."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(FORMULAS) else RANK.sub(r"\1 to \2", value)


def frame(file: str, rows: Sequence[Any]) -> pd.DataFrame:
    """The rows of a CSV file: tuples in the order of its columns, or mappings with them."""
    return pd.DataFrame(rows, columns=COLUMNS[file])


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

    @property
    def summary(self) -> pd.DataFrame:
        """summary.csv: one row a figure. Seconds, examples a second, bytes; intervals are 95 %."""
        first = self.in_first_modes
        led = {(cell, row.phase, row.metric): row for cell, found in first.rows.items() for row in found if first is not self}
        rows = [
            (*NAMES(cell), *row[:3], *astuple(row.figure), best, row.rank, self.proofs[cell].state, *terms, *interval, *own)
            for cell, found in self.rows.items()
            for row in found
            for best, *interval in [_ends(row.ratio)]
            for terms in [TERMS(replace(cell, batch=1) if row.phase == "latency" else cell)]  # its own, not its line's
            for lead in [led.get((cell, row.phase, row.metric), row._replace(ratio=None, rank=""))]
            for own in [(*_ends(lead.ratio), lead.rank)]
        ]
        return frame("summary", rows)

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


def _ends(figure: Estimate | None) -> tuple[float | None, float | None, float | None]:
    """A figure with its interval, if there is one."""
    return (figure.value, figure.low, figure.high) if figure else (None, None, None)


def _timed(contest: Contest) -> Iterator[tuple[Cell, Row]]:
    for cell, times in contest.blocks.items():
        ratio: Estimate | None = contest.ratios.get((contest.best, cell)) if contest.best else None
        if cell == contest.best:
            ratio = Estimate(1.0, None, None, len(times))
        verdict = contest.verdicts.get((contest.best, cell), "") if contest.best and cell in contest.ranks else ""
        place = (ratio, contest.ranks.get(cell, ""), verdict)
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
    most = ceilings(run)
    for trial in [trial for trial in ranking.counted(run.trials)[0] if wanted(trial.cell)]:
        sample = (trial.seed, 0) if trial.phase == "fit" else (trial.generation, trial.round)
        figures = _costs(run, trial, most) if trial.phase in SHOWN and ranking.usable(trial) and trial.cpu_ns else ()
        if trial.phase == "first_call":
            sample = (trial.generation, int(trial.of == "control"))  # a process of its own beside its twin's
        for phase, metric, unit, value in chain(figures, _values(run, trial), _warmed_up(trial)):
            found[trial.cell, phase, metric, unit].setdefault(sample, value)
    for (cell, phase, metric, unit), samples in found.items():
        yield cell, Row(phase, metric, unit, stats.absolute(samples))


def _values(run: Run, trial: Trial) -> Iterator[tuple[str, str, str, float]]:
    """Phase, metric, unit and value of first calls, memory and final quality; of a control its first calls alone."""
    for name, value in trial.values.items() if trial.status == "ok" and trial.phase in PHASES else ():
        metric, unit = _unit(name)
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
    """CPU time, energy and operations a second of a step, and its shares of what one CPU does at ``most``, as _values has them.

    The canary that says how much is most sings in float32 on one CPU: of another device or precision, or of more CPUs, which
    may share what they compute and copy with, it says nothing.
    """
    count = trial.steps * len(trial.times_ns)
    wall = sum(trial.times_ns) / count / 1e9
    yield trial.phase, "cpu_time", "s", trial.cpu_ns / count / 1e9
    if (joules := trial.noise.get("energy_j", 0.0)) > 0:  # a meter that stood still is none
        yield trial.phase, "energy", "J", joules / count
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


def _unit(name: str) -> tuple[str, str]:
    """Metric and unit from a name that ends in its unit; quality figures have the unit 1."""
    for unit in ("s", "bytes"):
        if name.endswith(f"_{unit}"):
            return name.removesuffix(f"_{unit}"), unit
    return name, "1"


def only(findings: Findings, wanted: Mapping[str, str]) -> tuple[list[Cell], pd.DataFrame]:
    """The cells with these values of task, backend and mode, and their rows of the summary, of one phase if that is wanted.

    Raises HarnessError for a value that the run does not have, and where no cell has all of them.
    """
    frame, phase = findings.summary, wanted.get("phase")
    cells = having(findings.rows, {key: value for key, value in wanted.items() if key != "phase"})
    if phase and phase not in set(frame.phase):
        raise unknown("phase", phase, set(frame.phase))
    for key in wanted:
        frame = frame[frame[key].isin({phase} if key == "phase" else {getattr(cell, key) for cell in cells})]
    return cells, frame


def pairs(findings: Findings) -> pd.DataFrame:
    """pairs.csv: each pair of the proven once, ``backend`` slower or equal ``than_``; intervals simultaneous 95 %."""
    rows = []
    for contest in findings.contests:
        for (a, b), r in contest.ratios.items():
            proven = findings.proofs[a].state == findings.proofs[b].state == "proven"
            if proven and (r.value, b.backend, b.mode) > (1.0, a.backend, a.mode):
                names = (b.task, b.device, b.data, contest.phase, b.backend, b.mode, a.backend, a.mode)
                within = stats.within(*(stats.samples(contest.blocks[cell]) for cell in (a, b)), pairs=r.pairs)
                figures = (r.value, r.low, r.high, r.generations, r.n, r.detectable(contest.floor), *(within or (None, None)))
                needed = r.needed(contest.floor) if contest.verdicts[a, b] == "undecided" else None
                rows.append((*names, contest.verdicts[a, b], *figures, needed, *TERMS(b)))
    return frame("pairs", rows).astype({"generations_needed": "Int64"})


def spread(findings: Findings) -> pd.DataFrame:
    """spread.csv: a row an entry and phase: how the times of its rounds lie. To be read, never to rank by."""
    rows = []
    for contest in findings.contests:
        for cell, times in contest.blocks.items():
            figures = stats.samples(times)
            rows.append((*NAMES(cell), contest.phase, len(figures), "s", *stats.spread(figures).values(), *TERMS(cell)))
    return frame("spread", rows)


def overall(findings: Findings) -> pd.DataFrame:
    """overall.csv: a row an entry that all tasks have: the geometric mean over tasks of its time over the best's."""
    held: dict[tuple[str, str, str], dict[str, Contest]] = defaultdict(dict)
    for task, phase in product(findings.tasks, ("train", "epoch", "predict")):
        for contest in findings.contests_of(task, phase):
            cell = next(iter(contest.blocks))
            held[phase, cell.device, cell.precision][task] = contest
    rows = []
    for terms, contests in held.items():
        for entry, (ratio, rank) in ranking.overall([*contests.values()]).items():
            rows.append((*terms, ", ".join(contests), *entry, *_ends(ratio), rank))
    return frame("overall", rows)


def trust(findings: Findings) -> pd.DataFrame:
    """trust.csv: one row a contest. Control: an identical second process over the first; shares of rounds; times over medians."""
    rows, of = [], defaultdict(list)
    for trial in findings.run.trials:
        of[noise.group(trial)[:4]].append(trial)
    for contest in findings.contests:
        terms, control = next(iter(contest.blocks)), contest.control
        met = of[terms.task, terms.batch, terms.threads, contest.phase]
        trials = [t for t in met if t.phase == "canary" or KIND(t.cell) == KIND(terms)]
        songs = [sum(t.values.values()) for t in trials if t.phase == "canary" and t.status == "ok"]
        low, middle, high = np.quantile(songs or [np.nan], (0.05, 0.5, 0.95))
        repeated = {noise.group(t) for t in trials if t.attempt}
        unsteady = sum(t.phase == "warmup" and t.facts.get("kind") == "no steady state" for t in trials)
        interval = (*_ends(control), contest.floor or None)
        seen = [r.detectable(contest.floor) for (a, _), r in contest.ratios.items() if a == contest.best]
        names = (terms.task, contest.phase, terms.device, terms.precision, terms.data, *TERMS(terms))
        generations = len({t.generation for t in trials})
        rounds = (contest.contended, len(repeated), (high - low) / middle if middle > 0 else None, unsteady)
        times = [stats.samples(blocks) for blocks in contest.blocks.values()]
        settled = max(map(stats.last_over_first, times), key=lambda ratio: abs(np.log(ratio)))
        advised = _rounds_advised(contest, trials)
        far = [sum(len(stats.outliers(own, limit=limit)) for own in times) for limit in (noise.MARKED, noise.SEVERE)]
        most = max(filter(None, seen), default=None)
        rows.append((*names, generations, *interval, most, *rounds, *far, settled, advised, contest.refusal))
    return frame("trust", rows).astype({"rounds_advised": "Int64"})


def _rounds_advised(contest: Contest, trials: Sequence[Trial]) -> int | None:
    """See ``stats.best_rounds``, of the widest interval to the best.

    A generation costs its warm-ups; what comes before, and all phases share, is left out.
    """
    width = {b: ratio.half for (a, b), ratio in contest.ratios.items() if a == contest.best and ratio.half}
    if contest.best is None or not width:
        return None
    sides = (stats.samples(contest.blocks[cell]) for cell in (contest.best, max(width, key=lambda cell: width[cell])))
    warmups, timed = ([t for t in trials if t.times_ns and (t.phase == "warmup") == is_one] for is_one in (True, False))
    start_s = sum(t.steps * sum(t.times_ns) / len(t.times_ns) for t in warmups) / 1e9  # of a long one not all calls are kept
    generations, rounds = len({t.generation for t in warmups}), len({(t.generation, t.round, t.attempt) for t in timed})
    round_s = sum(sum(t.times_ns) for t in timed) / 1e9 / rounds
    return stats.best_rounds(*sides, start_s=start_s / max(generations, 1), round_s=round_s)


def fairness(findings: Findings) -> pd.DataFrame:
    """fairness.csv: what must be the same for all, and what each entry's records say of it."""
    lines = ledger.judge(findings.run)
    rows = [
        (line.rule.name, line.precision, line.verdict, *found, line.rule.why) for line in lines for found in line.values.items()
    ]
    return frame("fairness", rows)


def rounds(findings: Findings) -> pd.DataFrame:
    """rounds.csv: a row a round and attempt, in the order of the run: the canary ahead of it, and the most that a sample met."""
    counts = {(noise.group(t), t.attempt) for t in ranking.counted(findings.run.trials)[0] if t.phase in noise.TIMED}
    found: dict[tuple[noise.Group, int], list[Trial]] = defaultdict(list)
    for trial in findings.run.trials:
        if trial.phase in {*noise.TIMED, "canary"} and trial.status == "ok":
            found[noise.group(trial), trial.attempt].append(trial)
    rows = []
    for key, trials in found.items():
        met = [max((t.noise[name] for t in trials if name in t.noise), default=None) for name in MET]
        song = next((t.values for t in trials if t.phase == "canary"), {})
        reasons = findings.contended.get(key, ())
        told = (trials[0].at, key in counts, bool(reasons), "; ".join(reasons))
        rows.append((*key[0], key[1], *told, *met, song.get("product_s"), song.get("copy_s")))
    return frame("rounds", rows)


def proofs(run: Run) -> pd.DataFrame:
    """proofs.csv: every level of every proof, those between two entries too."""
    return frame("proofs", [proof.__dict__ for proof in run.proofs])


def trials(run: Run, shown: Callable[[Any], Any] = inert) -> Iterator[str]:
    """The lines of trials.csv, trial by trial: one a block, figure or epoch (``block`` counts them); a failure has one.

    Of many calls timed one by one, as in a warm-up, the quantiles alone: a line each would be more than a spreadsheet holds.
    As text: a data frame of a long run would take a gigabyte.
    """
    head, text = attrgetter(*(f"cell.{name}" for name in Cell.__dataclass_fields__), *TRIAL), StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(TRIALS)
    for trial in run.trials:
        yield text.getvalue()
        text.truncate(text.seek(0))
        own = tuple(map(shown, head(trial)))
        lines.writerows((*own, *map(shown, part)) for part in _parts(trial))
    yield text.getvalue()


def _parts(trial: Trial) -> list[tuple[int | None, str | None, str | None, float | None]]:
    """Number, metric, unit and value of each block, figure and epoch of a trial; one empty part where there is nothing at all."""
    blocks: list[tuple[int | None, str, str, float]]
    blocks = [(number, "block_time", "s", time / 1e9) for number, time in enumerate(trial.times_ns)]
    if len(blocks) > BLOCKS:
        shares = zip(QUANTILES, np.quantile(trial.times_ns, list(QUANTILES.values())) / 1e9, strict=True)
        blocks = [(None, f"call_time_{name}", "s", float(value)) for name, value in shares]
        blocks.append((None, "calls", "1", float(len(trial.times_ns))))
    figures = [(None, *_unit(name), value) for name, value in trial.values.items()]
    epochs = [(n, *_unit(f"epoch_{name}"), value) for n, epoch in enumerate(trial.epochs) for name, value in epoch.items()]
    return [*blocks, *figures, *epochs] or [(None, None, None, None)]


def losses(run: Run) -> pd.DataFrame:
    """losses.csv: the training loss of every step of every training."""
    return frame("losses", [(*own, n, loss) for own, t in _fits(run) for n, loss in enumerate(t.losses)])


def scores(run: Run) -> pd.DataFrame:
    """scores.csv: the probability that each training of a binary task gives each test example."""
    return frame("scores", [(*own, n, *pair) for own, t in _fits(run) for n, pair in enumerate(scored(t))])


def _fits(run: Run) -> list[tuple[tuple[str, str, str, int], Trial]]:
    """Every training, behind what its rows begin with."""
    return [((t.cell.task, t.cell.backend, t.cell.mode, t.seed), t) for t in run.trials if t.phase == "fit"]


def scored(trial: Trial) -> list[tuple[int, float]]:
    """Label and probability of each test example of a training; empty where the record holds none, or none that make sense."""
    labels, scores = (trial.facts.get(key) for key in ("labels", "scores"))
    if not isinstance(labels, list) or not isinstance(scores, list) or len(labels) != len(scores):
        return []
    sound = all(type(value) in {int, float} and 0 <= value <= 1 for value in (*labels, *scores)) and {*labels} <= {0, 1}
    return [(int(label), float(score)) for label, score in zip(labels, scores, strict=True)] if sound else []
