"""What a run leaves behind: run.json, proofs.jsonl, trials.jsonl. Written the moment it exists; records are never rewritten.

Statistics, CSV and HTML are views of these three files. run.json is replaced as a run gets on, and says how far it is:
``progress`` holds whether all is ``proven``, which generations are ``complete``, which were cut short and are set ``aside``
(their trials stay on disk, and no view counts them), with which ones the harness was started (``starts``), and the seconds
that were ``used_s``. Schema history, newest first:
2  what a sample met (``noise``), repeated rounds (``attempt``), controls, canaries, warm-ups, seeds and threads.
1  first version.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.disk import add, put, sync
from harness.errors import HarnessError, unknown
from harness.parsing import DEEPEST, LIMIT, depth, parse, sound, typed

SCHEMA = 2
BEGUN = {"proven": False, "complete": [], "aside": [], "starts": [0], "used_s": 0.0}  # the progress of a new run
Status = Literal["ok", "failed", "timeout", "skipped"]
Verdict = Literal["proven", "failed", "skipped"]
Record = TypeVar("Record")
# What views rely on beside the fields of a record: in the facts of a trial, and in run.json, of each task and as a whole.
FACTS = {"cpus": tuple[int, ...], "gpus": tuple[str, ...]}
TASK = {
    **dict.fromkeys(("title", "metric", "published_source"), str),
    **dict.fromkeys(("target", "margin", "published"), float | None),
    **dict.fromkeys(("batch", "epochs", "max_steps", "forward_flops", "training_flops", "step_bytes", "example_bytes"), int),
    "baseline": Mapping[str, float],
    "code": Mapping[str, str],
}
PROGRESS = {**dict.fromkeys(("complete", "aside", "starts"), tuple[int, ...]), "used_s": float}
MANIFEST = {"tasks": {...: TASK}, "progress": PROGRESS}


def now() -> str:
    """The time of day as ISO 8601 in UTC: a label in a record, never a measurement."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Cell:
    """What is measured: one place in the table of a report. ``task`` carries its parameters: ``cifar_resnet:depth=20``."""

    task: str
    backend: str
    mode: str
    device: str  # cpu, gpu
    precision: str
    data: str  # "mnist (sample 10,000 of 60,000)": never just the name of a set that is not whole
    batch: int
    threads: int = 1  # CPUs of the worker


def means(task: str, wanted: str) -> bool:
    """Whether a task is the one that was asked for, with its parameters or without; "" asks for all."""
    return wanted in {"", task, task.partition(":")[0]}


def having(cells: Iterable[Cell], wanted: Mapping[str, str]) -> list[Cell]:
    """The cells with these values of task (with its parameters or without), backend and mode.

    Raises HarnessError for a value that none of them has, and where none has all.
    """
    known = found = list(cells)
    for key, value in wanted.items() if known else ():
        values = {getattr(cell, key) for cell in known}
        meant = {each for each in values if each == value or (key == "task" and means(each, value))}
        if not meant:
            raise unknown(key, value, values)
        found = [cell for cell in found if getattr(cell, key) in meant]
    if known and not found:
        told = ", ".join(f"{key}={value}" for key, value in wanted.items())
        raise HarnessError(f"nothing has {told}: leave one of them out.")
    return found


@dataclass(frozen=True)
class Trial:
    """One measurement of one cell.

    phase     ``first_call``; ``warmup``; ``train``, ``predict`` (timed blocks); ``epoch`` (as train, fed by the framework's
              own input pipeline); ``latency`` (batch 1, a time a call); ``fit`` (training to the end);
              ``control``, a second process of the same backend; ``canary``, a fixed product and a fixed copy
    of        the timed phase that a warm-up, a control or a canary belongs to; ``control`` of a control's first call
    times_ns  wall time of each block of ``steps`` steps, or of each call (latency, warmup), in nanoseconds
    values    single figures, the unit in the name: ``train_first_call_s``, ``peak_bytes``, ``predict_peak_bytes``, ``accuracy``
    facts     first_call: what the worker says of itself: versions, devices, threads, CPUs;  warmup: what its series is;
              latency: how many ``calls`` there were, where not all are kept;
              fit of a binary task: ``scores`` and ``labels`` of the test examples
    noise     what the sample met, see harness/noise.py; what a system does not count is missing
    losses    fit: the training loss of every step;  epochs: one mapping of figures an epoch
    """

    cell: Cell
    phase: str
    status: Status
    generation: int = 0  # which fresh process of this backend, from 0
    round: int = 0  # which rotation through all cells within the generation
    attempt: int = 0  # 1 where a contended round was run again
    position: int = 0  # whose turn it was within the round
    of: str = ""
    seed: int = 0
    steps: int = 0
    times_ns: tuple[int, ...] = ()
    cpu_ns: int = 0  # CPU time of the whole worker over the same blocks
    compilations: int = 0  # inside the timed blocks: anything but 0 voids them
    values: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    epochs: tuple[Mapping[str, float], ...] = ()
    reason: str = ""
    log: str = ""  # the last lines of the worker's log, where something went wrong
    at: str = field(default_factory=now)
    schema: int = SCHEMA
    unknown: Mapping[str, Any] = field(default_factory=dict)  # what a later Concord wrote beside


@dataclass(frozen=True)
class Proof:
    """One level of the proof of one backend and mode, against ``against``: ``numpy``, or another backend."""

    task: str
    backend: str
    mode: str
    precision: str
    level: str  # see harness/proof.py; drift; trace where there is none
    against: str
    worst: float | None
    tolerance: float | None
    where: str  # "stage1/0/conv1/kernel at step 3"
    verdict: Verdict
    reason: str = ""
    schema: int = SCHEMA
    unknown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run directory, read back."""

    path: Path
    manifest: Mapping[str, Any]  # run.json: schema, created, command, plan, suite, environment, data, weights, progress
    trials: tuple[Trial, ...]  # all that count: those of a generation that is set aside are left on disk
    proofs: tuple[Proof, ...]

    def at(self, *path: str) -> Any:
        """A value of the manifest; None where it, or the way to it, is missing."""
        found: Any = self.manifest
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def part(self, *path: str) -> Mapping[str, Any]:
        """A mapping of the manifest; empty where there is none."""
        found = self.at(*path)
        return found if isinstance(found, Mapping) else {}

    @property
    def whole(self) -> tuple[Trial, ...]:
        """The trials that are judged: not those of a generation that was cut short, unless none was completed."""
        complete = self.progress["complete"]
        return tuple(t for t in self.trials if not complete or not in_generation(t) or t.generation in complete)

    @property
    def progress(self) -> dict[str, Any]:
        """How far it came; of a run that does not say, as if it had been started once."""
        return {**BEGUN, **self.part("progress")}


def row(record: Trial | Proof) -> dict[str, Any]:
    """A record as a JSON object. Nothing is copied: a line takes 0.02 ms of CPU time to make, with `asdict` 0.13."""
    found = {**vars(record), **record.unknown}
    found.pop("unknown")
    return found | {"cell": vars(record.cell)} if isinstance(record, Trial) else found


def append(path: Path, *added: Trial | Proof) -> None:
    """Add each record as a line, on disk when this returns."""
    lines = [json.dumps(row(record), allow_nan=True) for record in added]
    add(path, "\n".join(lines).encode("ascii"))  # a log may hold what UTF-8 cannot


@dataclass
class Journal:
    """The records of a run as they come: on disk when ``keep`` returns, and at hand for what depends on them.

    ``kept`` hears of each trial.
    """

    folder: Path
    trials: list[Trial] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    kept: Callable[[Trial], None] = lambda _trial: None

    def keep(self, *trials: Trial) -> None:
        """Add trials: together, since between two samples to write and to sync costs 0.3 ms of CPU time, however much it is."""
        if trials:
            append(self.folder / "trials.jsonl", *trials)
        self.trials += trials
        for trial in trials:
            self.kept(trial)

    def once(self, record: Trial | Proof) -> None:
        """Add one record unless its like is there: an interrupted run may have come so far."""
        if same(record) in map(same, self.trials if isinstance(record, Trial) else self.proofs):
            return
        if isinstance(record, Trial):
            self.keep(record)
        else:
            append(self.folder / "proofs.jsonl", record)
            self.proofs.append(record)

    def run(self, manifest: Mapping[str, Any]) -> Run:
        """The run so far."""
        return Run(self.folder, manifest, tuple(self.trials), tuple(self.proofs))


def same(record: Trial | Proof) -> tuple[Hashable, ...]:
    """What two records have in common that say the same thing."""
    if isinstance(record, Trial):
        return (record.cell, record.phase, record.generation, record.seed)
    return (record.task, record.backend, record.mode, record.precision, record.level, record.against)


def in_generation(trial: Trial) -> bool:
    """Whether a trial was taken in a generation: trainings, and what was never begun, are no part of one."""
    return trial.phase != "fit" and trial.status != "skipped"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace run.json."""
    put(folder / "run.json", [json.dumps({"schema": SCHEMA, **manifest}, indent=2)])
    sync(folder.parent)  # the folder may be new itself


def cut_short(trial: Trial) -> bool:
    """Whether it is a training that the run's time alone left undone: with more of it, it is done again."""
    return trial.phase == "fit" and (trial.status == "skipped" or (trial.status == "timeout" and bool(trial.values)))


def latest(trials: Iterable[Trial]) -> list[Trial]:
    """All but the trainings that were cut short and then begun again."""
    held = list(trials)
    last = {(t.cell, t.seed): t for t in held if t.phase == "fit"}
    return [t for t in held if not cut_short(t) or last[t.cell, t.seed] is t]


def read(folder: Path) -> Run:
    """A run from its directory, without what was done again. A torn last line is set aside; all else must parse."""
    manifest_path = folder / "run.json"
    if not manifest_path.is_file():
        raise HarnessError(f"{folder} holds no run.json: name a folder that `concord run` made.")
    with manifest_path.open("rb") as file, sound(manifest_path):
        manifest = parse(file.read(LIMIT + 1))
    if (found := manifest.get("schema")) != SCHEMA:
        writer = f"the one that wrote it (version: {manifest.get('concord', 'not known')})"
        raise HarnessError(f"{manifest_path} has schema {found!r}, this Concord reads {SCHEMA}: use {writer}.")
    with sound(manifest_path):
        typed(manifest, MANIFEST)
        if depth(manifest) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} objects and lists within each other")
    proofs = tuple(each(folder / "proofs.jsonl", partial(build, Proof)))
    named = folder if folder.name.strip(".") else folder.resolve()  # views call a run by its folder, which "." does not name
    run = Run(named, manifest, tuple(each(folder / "trials.jsonl", trial)), proofs)
    aside = run.progress["aside"]
    return replace(run, trials=tuple(latest(t for t in run.trials if not (in_generation(t) and t.generation in aside))))


def each(path: Path, made: Callable[[dict[str, Any]], Record]) -> Iterator[Record]:
    """The records of a JSON-lines file, in order; none if it does not exist. A torn last line is not looked at."""
    if not path.exists():
        return
    if not path.is_file():  # to open a pipe would be to wait
        raise HarnessError(f"{path} is no file: restore it or remove the run.")
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, LIMIT + 1), b""), start=1):
            if line.endswith(b"\n") or len(line) > LIMIT:  # or it is torn
                with sound(f"{path} line {number}"):
                    record = made(parse(line))
                yield record


def trial(found: dict[str, Any]) -> Trial:
    """A trial from its JSON object. A cell has no unknown fields: what differs in one would be taken for the same."""
    sequences = {name: tuple(found[name]) for name in ("times_ns", "losses", "epochs")}
    made = build(Trial, {**found, **sequences, "cell": cell(**found["cell"])})
    typed(made.facts, FACTS)
    for figures in (made.values, *made.epochs):
        measured(figures)
    return made


def measured(figures: Mapping[str, float]) -> None:
    """Refuse, with a ValueError, a time or a size that no clock and no meter says; other figures may be any number, or none."""
    for name, value in figures.items():
        least = 0 if name.endswith("_s") else -(2**63)  # kernels count roughly: a peak may lie below what was held before
        if name.endswith(("_s", "_bytes")) and not least <= value < 2**63:
            raise ValueError(f"{name!r} is {value}")


@cache
def cell(**found: Any) -> Cell:
    """A cell from its JSON object: one for all of its trials, since a run has hundreds of thousands."""
    if found.get("threads") == 0:
        raise TypeError("'threads' is 0")
    return Cell(**typed(found, Cell.__annotations__))


def build(kind: type[Record], found: dict[str, Any]) -> Record:
    """A record from its JSON object; the fields that it does not have are kept under ``unknown``, and break nothing."""
    own = kind.__annotations__
    unknown = {name: value for name, value in found.items() if name not in own}
    return kind(**typed({name: value for name, value in found.items() if name in own} | {"unknown": unknown}, own))
