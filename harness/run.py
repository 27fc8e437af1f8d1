"""One run from plan to report: proof, training, timing, views. Every record is on disk before the next one begins."""

import random
import shlex
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import catalog, data, environment, launch, proof, records, sanity, verify, weights
from harness.data import Dataset
from harness.launch import Worker, WorkerError
from harness.records import Cell, Trial
from harness.spec import Arrays, TaskSpec
from harness.suite import Job, Suite
from harness.verify import Say
from harness.workplace import Installed, Workplace

MIN_STEPS, MAX_STEPS, MAX_CALLS = 1, 5000, 200  # of one sample
CALIBRATION_STEPS = 3


@dataclass(frozen=True)
class Subject:
    """One task of the suite with all that its workers are given."""

    job: Job
    task: str  # with its parameters
    spec: TaskSpec
    dataset: Dataset
    file: Path  # the dataset as workers read it
    weights: Arrays

    @property
    def batch(self) -> int:
        """The batch of the timed steps."""
        return self.job.batch or self.spec.train.batch


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before the first worker starts."""

    name: str
    suite: Suite
    subjects: tuple[Subject, ...]
    chosen: Mapping[str, tuple[str, ...]]  # backend -> modes
    skipped: Mapping[str, str]  # backend -> why it does not run
    installed: Mapping[str, Installed]
    workplace: Workplace

    def cell(self, subject: Subject, backend: str, mode: str) -> Cell:
        """The key of one measurement."""
        return Cell(
            task=subject.task,
            backend=backend,
            mode=mode,
            device=self.workplace.device,
            precision="float32",
            data=subject.dataset.label,
            batch=subject.batch,
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Every backend with each of its modes."""
        return [(backend, mode) for backend, modes in self.chosen.items() for mode in modes]


def subject(job: Job, *, data_dir: Path | None, scratch: Path, seed: int) -> Subject:
    """A task made ready: its data found and checked, its weights drawn."""
    spec = catalog.task(job.task)
    dataset = data.find(spec.data.name, data_dir=data_dir)
    return Subject(job, catalog.key(spec), spec, dataset, data.save(dataset, scratch), weights.initial(spec, seed))


def run(plan: Plan, folder: Path, say: Say) -> None:
    """Carry the plan out; ``folder`` is new and empty. Views are made by the caller, from what is on disk."""
    manifest = describe(plan)
    records.write_manifest(folder, manifest)
    for backend, reason in plan.skipped.items():
        skip(plan, folder, backend, reason)
    prove(plan, folder, say)
    train(plan, folder, say)
    order = random.Random(plan.workplace.seed)  # noqa: S311 - the order of turns is no secret
    steps: dict[tuple[str, str, str, str], int] = {}
    for generation in range(plan.suite.generations):
        Generation(plan, folder, say, generation, order, steps).measure()
    records.write_manifest(folder, {**manifest, "finished": records.now()})


def describe(plan: Plan) -> dict[str, Any]:
    """The manifest: what is run, with what, where."""
    return {
        "created": records.now(),
        "finished": None,
        "command": shlex.join(["concord", *sys.argv[1:]]),
        "seed": plan.workplace.seed,
        "suite": {"name": plan.name, **asdict(plan.suite)},
        "environment": {
            "machine": environment.machine(),
            "device": plan.workplace.device,
            "workers": {name: asdict(found) for name, found in plan.installed.items()},
        },
        "tasks": {s.task: task_facts(s) for s in plan.subjects},
        "data": {
            s.dataset.name: {"label": s.dataset.label, "digest": s.dataset.digest, "where": str(s.dataset.where)}
            for s in plan.subjects
        },
        "weights": {s.task: weights.digest(s.weights) for s in plan.subjects},
        "code": verify.code_digest(catalog.ROOT),
    }


def task_facts(subject: Subject) -> dict[str, Any]:
    """What views need to know of a task."""
    spec = subject.spec
    return {
        "title": spec.title,
        "batch": subject.batch,
        "epochs": subject.job.epochs,
        "max_steps": subject.job.max_steps,
        "loss": spec.loss,
        "parameters": spec.model.parameter_count,
        "baseline": sanity.logistic_regression(spec, subject.dataset),
        **asdict(spec.quality),
    }


def skip(plan: Plan, folder: Path, backend: str, reason: str) -> None:
    """A backend that cannot run is a record with its reason."""
    for s in plan.subjects:
        cell = plan.cell(s, backend, catalog.backend(backend).MODES[0])
        row = proof.missing(s.task, backend, cell.mode, verdict="skipped", reason=reason)
        records.append(folder / "proofs.jsonl", row)
        records.append(folder / "trials.jsonl", Trial(cell=cell, phase="train", status="skipped", reason=reason))


def prove(plan: Plan, folder: Path, say: Say) -> None:
    """Write down every proof of every task."""
    exhibits = [verify.exhibit(s.spec, s.dataset.arrays, plan.workplace.seed) for s in plan.subjects]
    for row in verify.verify(exhibits, plan.chosen, plan.workplace, say):
        records.append(folder / "proofs.jsonl", row)
        if row.verdict == "failed":
            say(f"proof   {row.task}  {row.backend} {row.mode}: FAILED at {row.level}: {row.where or row.reason}")


def train(plan: Plan, folder: Path, say: Say) -> None:
    """Train every cell in a process of its own, as many at once as there are CPUs: quality and memory, not time."""
    with plan.workplace.pool() as pool:
        jobs = [pool.submit(fit, plan, s, backend, mode, say) for s in plan.subjects for backend, mode in plan.pairs()]
        for job in jobs:
            records.append(folder / "trials.jsonl", job.result())


def fit(plan: Plan, subject: Subject, backend: str, mode: str, say: Say) -> Trial:
    """One training as a record, whatever becomes of it."""
    cell, place, train_spec = plan.cell(subject, backend, mode), plan.workplace, subject.spec.train
    message = {
        "op": "fit",
        "task": subject.task,
        "mode": mode,
        "precision": "float32",
        "data": str(subject.file),
        "seed": place.seed,
        "epochs": subject.job.epochs or train_spec.epochs,
        "max_steps": subject.job.max_steps,
    }
    try:
        with place.cpu() as cpu, place.worker(backend, cpu, f"fit-{subject.spec.name}-{backend}-{mode}") as worker:
            reply, _ = worker.ask(message, launch.weights_message(subject.weights), timeout_s=3600.0)
    except WorkerError as error:
        say(f"train   {subject.task}  {backend} {mode}: {error.reason}")
        return Trial(cell=cell, phase="fit", status=error.status, reason=error.reason, log=error.log)
    figure = reply["values"].get(subject.spec.quality.metric, float("nan"))
    say(
        f"train   {subject.task}  {backend} {mode}: {subject.spec.quality.metric} {figure:.4f} after {len(reply['losses'])} steps"
    )
    return Trial(
        cell=cell,
        phase="fit",
        status="ok",
        steps=len(reply["losses"]),
        values=reply["values"],
        losses=tuple(reply["losses"]),
        epochs=tuple(reply["epochs"]),
    )


class Generation:
    """One fresh process a backend, then rounds in which every cell has one turn, in rotated order, the others stopped."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        say: Say,
        number: int,
        order: random.Random,
        steps: dict[tuple[str, str, str, str], int],
    ) -> None:
        """``steps`` holds the calibrated length of each cell's sample; the first generation fills it."""
        self.plan, self.folder, self.say, self.number = plan, folder, say, number
        self.order, self.steps = order, steps
        self.title = f"generation {number + 1}/{plan.suite.generations}"
        self.workers: dict[str, Worker] = {}
        self.gone: dict[tuple[str, str, str], WorkerError] = {}  # (task, backend, mode) -> why it is not timed

    def measure(self) -> None:
        """Start, open, go round, bury."""
        cpus = self.plan.workplace.cpus
        cpu = cpus[self.number % len(cpus)]
        backends = list(self.plan.chosen)
        self.order.shuffle(backends)
        with ExitStack() as stack:
            for backend in backends:
                self.open_backend(stack, backend, cpu)
            for round_ in range(self.plan.suite.rounds):
                self.round(round_)
                self.say(f"time    {self.title}, round {round_ + 1}/{self.plan.suite.rounds}")

    def open_backend(self, stack: ExitStack, backend: str, cpu: int) -> None:
        """Start one backend's worker, open all its cells, stop it."""
        self.say(f"time    {self.title}: {backend} starts")
        modes = self.plan.chosen[backend]
        try:
            worker = stack.enter_context(self.plan.workplace.worker(backend, cpu, f"time-{self.number}-{backend}"))
        except WorkerError as error:
            for s in self.plan.subjects:
                for mode in modes:
                    self.lost(s, backend, mode, "first_call", error)
            return
        self.workers[backend] = worker
        for s in self.plan.subjects:
            for mode in modes:
                self.open_cell(worker, s, mode)
        worker.pause()

    def open_cell(self, worker: Worker, subject: Subject, mode: str) -> None:
        """First calls and warm-up of one cell."""
        message = {
            "op": "open",
            "cell": f"{subject.task} {mode}",
            "task": subject.task,
            "mode": mode,
            "precision": "float32",
            "batch": subject.batch,
            "data": str(subject.file),
            "seed": self.plan.workplace.seed,
            "phases": list(subject.job.phases),
        }
        try:
            reply, _ = worker.ask(message, launch.weights_message(subject.weights))
        except WorkerError as error:
            self.lost(subject, worker.backend, mode, "first_call", error)
            return
        values = {"import_s": worker.facts["import_s"], **reply["values"]}
        self.keep(
            Trial(cell=self.plan.cell(subject, worker.backend, mode), phase="first_call", status="ok", values=values)
        )

    def round(self, round_: int) -> None:
        """One sample of every cell and phase; the backends take turns within each, the first one rotates."""
        for s in self.plan.subjects:
            for phase in s.job.phases:
                turns = self.plan.pairs()
                shift = (round_ + self.number) % len(turns)
                turns = turns[shift:] + turns[:shift]
                for position, (backend, mode) in enumerate(turns):
                    if (s.task, backend, mode) not in self.gone:
                        self.sample(s, backend, mode, phase, round_, position)

    def sample(self, subject: Subject, backend: str, mode: str, phase: str, round_: int, position: int) -> None:
        """One turn: the worker runs, is timed, and is stopped again."""
        worker = self.workers[backend]
        message = {"op": "sample", "cell": f"{subject.task} {mode}", "phase": phase}
        try:
            steps = self.sample_steps(worker, subject, mode, message)
            reply, _ = worker.ask({**message, "steps": steps})
        except WorkerError as error:
            self.lost(subject, backend, mode, phase, error)
            return
        finally:
            worker.pause()
        cell = self.plan.cell(subject, backend, mode)
        if phase == "latency":
            cell, steps = Cell(**{**asdict(cell), "batch": 1}), 1
        self.keep(
            Trial(
                cell=cell,
                phase=phase,
                status="ok",
                round=round_,
                position=position,
                steps=steps,
                times_ns=tuple(reply["times_ns"]),
                cpu_ns=reply["cpu_ns"],
                compilations=reply["compilations"],
            )
        )

    def sample_steps(self, worker: Worker, subject: Subject, mode: str, message: dict[str, Any]) -> int:
        """How many steps last about ``sample_s``: measured once, then the same in every round and generation."""
        key = (subject.task, worker.backend, mode, message["phase"])
        if key not in self.steps:
            reply, _ = worker.ask({**message, "steps": CALIBRATION_STEPS})
            calls = CALIBRATION_STEPS if len(reply["times_ns"]) == 1 else 1
            step_s = min(reply["times_ns"]) / 1e9 / calls
            most = MAX_CALLS if message["phase"] == "latency" else MAX_STEPS
            self.steps[key] = min(most, max(MIN_STEPS, round(self.plan.suite.sample_s / step_s)))
        return self.steps[key]

    def lost(self, subject: Subject, backend: str, mode: str, phase: str, error: WorkerError) -> None:
        """A failure is a record, and the end of this cell's turns in this generation."""
        self.gone[subject.task, backend, mode] = error
        cell = self.plan.cell(subject, backend, mode)
        self.keep(Trial(cell=cell, phase=phase, status=error.status, reason=error.reason, log=error.log))
        self.say(f"time    {subject.task}  {backend} {mode}: {error.reason}")

    def keep(self, trial: Trial) -> None:
        """Write a record of this generation down."""
        records.append(self.folder / "trials.jsonl", Trial(**{**vars(trial), "generation": self.number}))


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Where workers keep logs, caches and prepared data; gone after the run."""
    return tempfile.TemporaryDirectory(prefix="concord-", ignore_cleanup_errors=True)
