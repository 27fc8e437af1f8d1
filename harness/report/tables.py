"""The figures of a run as rows: what the CSV files, the page and the terminal all show."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from harness import stats
from harness.records import Cell, Run, Trial
from harness.stats import Contest, Estimate, Proven, Ratio

COLUMNS = (
    *("task", "backend", "mode", "device", "data", "phase", "metric", "unit"),
    *("value", "ci_low", "ci_high", "n", "ratio_to_best", "rank", "proof"),
)
PAIR_COLUMNS = (
    *("task", "device", "data", "phase", "backend", "mode", "than_backend", "than_mode", "verdict"),
    *("ratio", "ci_low", "ci_high", "generations", "rounds", "smallest_visible"),
)
PHASES = ("first_call", "train", "predict", "latency", "memory", "fit")
STEPS = {"train": "step_time", "predict": "batch_time"}
LATENCIES = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}
CALLS_FOR_P99 = 500
GIVEN = ("target", "published")  # figures a fit repeats from the spec: not measured


@dataclass(frozen=True)
class Row:
    """One line of summary.csv. ``ratio_to_best`` is this value over the best's: paired where times are."""

    task: str
    backend: str
    mode: str
    device: str
    data: str
    phase: str
    metric: str
    unit: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    ratio_to_best: float | None
    rank: str
    proof: str


@dataclass(frozen=True)
class Findings:
    """A run with everything that was computed from it, once."""

    run: Run
    homes: Mapping[Cell, Cell]  # for every measured cell the one under which it is listed
    cells: tuple[Cell, ...]  # those, by task in the manifest's order, then by name
    proofs: Mapping[Cell, Proven]
    contests: tuple[Contest, ...]
    rows: Mapping[Cell, tuple[Row, ...]]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The keys of the tasks, in order; a task that has proofs only comes last."""
        return tuple(dict.fromkeys([*(c.task for c in self.cells), *(p.task for p in self.run.proofs)]))

    def cells_of(self, task: str) -> tuple[Cell, ...]:
        """The cells of a task, the best training time first, what was not ranked after it, holes last."""
        return tuple(sorted((c for c in self.cells if c.task == task), key=self.place))

    def place(self, cell: Cell) -> tuple[int, float]:
        """The sort key of a cell in a table."""
        time = self.pick(cell, "train", "step_time")
        if time is None:
            return 3, 0.0
        return ("proven", "not proven", "failed").index(time.proof), time.ratio_to_best or time.value

    def pick(self, cell: Cell, phase: str, metric: str) -> Row | None:
        """The row of one figure, if it was measured."""
        return next((r for r in self.rows.get(cell, ()) if (r.phase, r.metric) == (phase, metric)), None)

    def contests_of(self, task: str, phase: str) -> tuple[Contest, ...]:
        """The comparisons of one phase of one task: one for each device, data set, precision and batch size."""
        return tuple(c for c in self.contests if c.phase == phase and next(iter(c.blocks)).task == task)

    def ratio(self, cell: Cell, phase: str) -> Ratio | None:
        """The paired ratio to the best of the contest that the cell took part in; none for the best itself."""
        for contest in self.contests_of(cell.task, phase):
            for member in contest.blocks:
                if self.homes[member] == cell and contest.best:
                    return contest.ratios.get((contest.best, member))
        return None

    def goal(self, task: str) -> Mapping[str, Any]:
        """What the manifest says of a task: title, metric, target, published, published_source, batch, loss."""
        measured = (row.metric for c in self.cells if c.task == task for row in self.rows[c] if row.phase == "fit")
        stated = next((t.values for t in self.run.trials if t.cell.task == task and t.phase == "fit"), {})
        fallback = {"title": task, "metric": next((m for m in measured if m in ("accuracy", "auc")), "")}
        given = {key: stated[key] for key in GIVEN if key in stated}
        return {**fallback, **given, **known(known(self.run.manifest, "tasks"), task)}

    def troubles(self, cell: Cell) -> list[str]:
        """What did not end well in a cell, in words, each once: phase, status, reason."""
        bad = [t for t in self.run.trials if t.status != "ok" and self.homes[t.cell] == cell]
        return list(dict.fromkeys(" ".join(filter(None, (t.phase, t.status))) + f": {t.reason or '?'}" for t in bad))


def find(run: Run) -> Findings:
    """Everything the views show, computed from a run."""
    order = [*known(run.manifest, "tasks"), *(trial.cell.task for trial in run.trials)]
    position = {task: number for number, task in reversed(list(enumerate(order)))}
    proofs, contests, listed = stats.statuses(run), stats.contests(run), homes(run.trials)
    cells = sorted(
        set(listed.values()),
        key=lambda c: (position[c.task], c.device, c.precision, c.data, c.batch, c.backend, c.mode),
    )
    rows: dict[Cell, list[Row]] = defaultdict(list)
    for cell, row in [*timed_rows(contests, proofs), *value_rows(run, proofs)]:
        rows[listed[cell]].append(row)
    ordered = {c: tuple(sorted(rows[c], key=lambda row: PHASES.index(row.phase))) for c in cells}
    return Findings(run, listed, tuple(cells), proofs, contests, ordered)


def homes(trials: Iterable[Trial]) -> dict[Cell, Cell]:
    """Where each cell is listed: single calls have a batch of one, and stand with the training they belong to."""
    trials = tuple(trials)
    batched = dict.fromkeys(trial.cell for trial in trials if trial.phase != "latency")
    first = {replace(cell, batch=0): cell for cell in reversed(batched)}
    alone = {trial.cell for trial in trials} - batched.keys()
    return {**{c: c for c in batched}, **{c: first.get(replace(c, batch=0), c) for c in alone}}


def known(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping of the manifest, empty where it has none of that name."""
    value = manifest.get(name)
    return value if isinstance(value, Mapping) else {}


def make_row(cell: Cell, proof: Proven, what: tuple[str, str, str], figure: Estimate, **place: Any) -> Row:
    """A row from a figure; ``what`` is its phase, metric and unit, ``place`` its ratio_to_best and rank."""
    names = (cell.task, cell.backend, cell.mode, cell.device, cell.data)
    ratio, rank = place.get("ratio"), place.get("rank", "")
    return Row(*names, *what, figure.value, figure.low, figure.high, figure.n, ratio, rank, proof.state)


def timed_rows(contests: Iterable[Contest], proofs: Mapping[Cell, Proven]) -> Iterator[tuple[Cell, Row]]:
    """The rows of all timed phases."""
    for contest in contests:
        for cell, times in contest.blocks.items():
            place = {"ratio": ratio_to_best(contest, cell), "rank": contest.ranks.get(cell, "")}
            for what, figure, placed in timed_figures(contest.phase, cell, times, place):
                yield cell, make_row(cell, proofs[cell], (contest.phase, *what), figure, **placed)


def ratio_to_best(contest: Contest, cell: Cell) -> float | None:
    """The cell's time over the best's; 1 for the best, none where the proof failed or nothing is proven."""
    if contest.best is None or cell == contest.best:
        return None if contest.best is None else 1.0
    ratio = contest.ratios.get((contest.best, cell))
    return ratio.point if ratio else None


def timed_figures(
    phase: str, cell: Cell, times: stats.Blocks, place: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, str], Estimate, Mapping[str, Any]]]:
    """(metric, unit), figure and place of everything one cell's times say."""
    if phase == "latency":
        for metric, share in LATENCIES.items():
            figure = stats.quantile(times, share)
            if metric != "latency_p99" or figure.n >= CALLS_FOR_P99:
                yield (metric, "s"), figure, place if metric == "latency_p50" else {}
        return
    time = stats.absolute(stats.samples(times))
    yield (STEPS[phase], "s"), time, place
    inverse = None if place["ratio"] is None else 1 / place["ratio"]
    yield ("throughput", "examples/s"), rate(time, cell.batch), {**place, "ratio": inverse}


def rate(time: Estimate, batch: int) -> Estimate:
    """Examples a second from seconds a batch: the ends of the interval change sides."""
    low, high = (None if end is None else batch / end for end in (time.high, time.low))
    return Estimate(batch / time.value, low, high, time.n)


def value_rows(run: Run, proofs: Mapping[Cell, Proven]) -> Iterator[tuple[Cell, Row]]:
    """The rows of single figures: first calls, memory, final quality. They are not paired and carry no rank."""
    figures: dict[tuple[Cell, str, str], dict[stats.Key, float]] = defaultdict(dict)
    for trial in run.trials:
        if trial.status == "ok" and trial.phase in PHASES:
            for name, value in trial.values.items():
                if name not in GIVEN:
                    phase = "memory" if name.endswith("_bytes") else trial.phase
                    figures[trial.cell, phase, name].setdefault((trial.generation, trial.round), float(value))
    for (cell, phase, name), found in figures.items():
        yield cell, make_row(cell, proofs[cell], (phase, *metric(name)), stats.absolute(found))


def metric(name: str) -> tuple[str, str]:
    """Metric and unit from a name that ends in its unit; quality figures have the unit 1."""
    for suffix, unit in (("_s", "s"), ("_bytes", "bytes")):
        if name.endswith(suffix):
            return name.removesuffix(suffix), unit
    return name, "1"


def summary(run: Run) -> pd.DataFrame:
    """summary.csv: one row a figure. Seconds, examples a second, bytes; intervals are 95 %."""
    return frame_of(find(run))


def frame_of(findings: Findings) -> pd.DataFrame:
    """The rows of summary.csv, as computed."""
    rows = [asdict(row) for cell in findings.cells for row in findings.rows[cell]]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def pairs(findings: Findings) -> pd.DataFrame:
    """pairs.csv: each pair of the proven once, ``backend`` slower or equal ``than_``; intervals simultaneous 95 %."""
    rows = [row for contest in findings.contests for row in pair_rows(contest, findings.proofs)]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def pair_rows(contest: Contest, proofs: Mapping[Cell, Proven]) -> Iterator[dict[str, Any]]:
    """The pairs of one contest, each in the direction whose ratio is at least 1."""
    for (a, b), ratio in contest.ratios.items():
        turned = ratio.point < 1 or (ratio.point == 1 and (a.backend, a.mode) > (b.backend, b.mode))
        if turned or {proofs[a].state, proofs[b].state} != {"proven"}:
            continue
        names = (a.task, a.device, a.data, contest.phase, b.backend, b.mode, a.backend, a.mode)
        figures = (ratio.point, ratio.low, ratio.high, ratio.generations, ratio.rounds, ratio.detectable)
        yield dict(zip(PAIR_COLUMNS, (*names, contest.verdicts[a, b], *figures), strict=True))


def trials(run: Run) -> pd.DataFrame:
    """trials.csv: one row a block, figure or epoch (``block`` counts them); a failure has one row."""
    rows = [{**head(trial), **part} for trial in run.trials for part in parts(trial)]
    frame = pd.DataFrame(rows, columns=[*head_columns(), "block", "metric", "unit", "value"])
    return frame.astype({"block": "Int64"})


def head_columns() -> list[str]:
    """The columns that all rows of one trial share."""
    kept = ("phase", "status", "generation", "round", "position", "steps", "compilations", "at", "reason")
    return [*Cell.__dataclass_fields__, *kept]


def head(trial: Trial) -> dict[str, Any]:
    """What all rows of one trial share."""
    flat = {**vars(trial.cell), **vars(trial)}
    return {name: flat[name] for name in head_columns()}


def parts(trial: Trial) -> Iterator[dict[str, Any]]:
    """The blocks, figures and epochs of one trial; one empty part where there is none."""
    found: list[tuple[str | None, str | None, int | None, float | None]]
    found = [("block_time", "s", number, time / 1e9) for number, time in enumerate(trial.times_ns)]
    found += [(*metric(name), None, value) for name, value in trial.values.items()]
    for number, epoch in enumerate(trial.epochs):
        found += [(f"epoch_{metric(name)[0]}", metric(name)[1], number, value) for name, value in epoch.items()]
    for name, unit, block, value in found or [(None, None, None, None)]:
        yield {"metric": name, "unit": unit, "block": block, "value": value}


def losses(run: Run) -> pd.DataFrame:
    """losses.csv: the training loss of every step of every fit; ``generation`` tells repeated fits apart."""
    fits = [t for t in run.trials if t.phase == "fit" and t.losses]
    frames = [
        pd.DataFrame(
            {"step": np.arange(len(t.losses)), "loss": np.array(t.losses, float), "generation": t.generation}
        ).assign(task=t.cell.task, backend=t.cell.backend, mode=t.cell.mode)
        for t in fits
    ]
    columns = ["task", "backend", "mode", "step", "loss", "generation"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)
