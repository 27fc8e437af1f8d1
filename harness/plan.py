"""What a run is going to do, settled before its first worker starts: subjects, entrants, budget, and how it is told."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import catalog, data, proof, weights
from harness.data import Dataset
from harness.records import Cell
from harness.roofline import training_flops
from harness.spec import Arrays, TaskSpec
from harness.suite import Job, Suite
from harness.workplace import Installed, Workplace

# Rough, for the first estimate alone, which was 5 min 38 s for a run of quick of 4 min 45 s: seconds of CPU to prove an entrant
# on a task and to open a task in a fresh process; the time of a round over that of its samples, canaries and repeats included;
# and what training takes: seconds a step, operations a second.
PROVE_S, OPEN_S, OVERHEAD = 12.0, 2.0, 1.4
STEP_S, FLOPS = 5e-4, 2e10


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

    @property
    def steps(self) -> int:
        """How many a training takes, unless it is stopped early."""
        batch, epochs = self.spec.train.batch, self.job.epochs or self.spec.train.epochs
        steps = epochs * (len(self.dataset.arrays["x_train"]) // batch)
        return min(steps, self.job.max_steps or steps)

    def message(self, op: str, mode: str, **more: Any) -> dict[str, Any]:
        """What a worker is told of the task, before what an operation needs beside."""
        return {"op": op, "task": self.task, "mode": mode, "precision": "float32", "data": str(self.file), **more}


@dataclass(frozen=True)
class Entrant:
    """Who takes turns: a backend in a mode, in a process of its own if it is a ``copy``; ``slowdown`` is planted (selfcheck)."""

    backend: str
    mode: str
    copy: int = 0
    slowdown: float = 0.0

    @property
    def name(self) -> str:
        """The mode as records call it."""
        return self.mode + (f" copy {self.copy}" if self.copy else "") + (f" +{percent(self.slowdown)}" if self.slowdown else "")


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before the first worker starts."""

    name: str
    suite: Suite
    subjects: tuple[Subject, ...]
    chosen: Mapping[str, tuple[str, ...]]  # backend -> modes: what is proven and trained
    skipped: Mapping[str, str]  # backend -> why it does not run
    installed: Mapping[str, Installed]
    workplace: Workplace
    entrants: tuple[Entrant, ...]  # what is timed
    data_dir: Path | None = None

    @property
    def threads(self) -> list[int]:
        """How many CPUs a worker has, in turn: one, and the powers of two if a task is to be scaled."""
        most = len(self.workplace.cpus) if any(s.job.scale for s in self.subjects) else 1
        return [2**power for power in range(most.bit_length())]

    def timed(self, threads: int) -> list[Subject]:
        """What is timed on so many CPUs."""
        return [s for s in self.subjects if s.job.scale or threads == 1]

    def takes_part(self, entrant: Entrant, subject: Subject, threads: int) -> bool:
        """Whether it is timed on these terms: in a sweep, over batches or CPUs, a backend is in its first mode alone."""
        return (threads == 1 and not subject.job.sweep) or entrant.mode == self.chosen[entrant.backend][0]

    def cell(self, subject: Subject, backend: str, mode: str, threads: int = 1) -> Cell:
        """The key of one measurement."""
        precision = "bfloat16" if mode == proof.LOW else "float32"  # never ranked together
        device, label = self.workplace.device, subject.dataset.label
        return Cell(subject.task, backend, mode, device, precision, label, subject.batch, threads)

    @property
    def trainings(self) -> list[tuple[Subject, str, str, int]]:
        """Whatever is trained: the task, backend and mode, and the seed, counted from the run's."""
        trained = [s for s in self.subjects if s.job.train]
        return [(s, *pair, seed) for s in trained for seed in range(self.suite.seeds) for pair in self.pairs()]

    def tasks(self) -> dict[str, Subject]:
        """Every task once, in order: of several jobs the first."""
        found: dict[str, Subject] = {}
        for s in self.subjects:
            found.setdefault(s.task, s)
        return found

    def control(self, generation: int) -> list[Entrant]:
        """A second process of one backend for each precision, of another one in turn: what differs between the two is noise."""
        first: dict[bool, dict[str, str]] = {}
        for backend, mode in self.pairs():
            first.setdefault(mode == proof.LOW, {}).setdefault(backend, mode)
        copy = 1 + max((entrant.copy for entrant in self.entrants), default=0)
        chosen = (list(modes.items())[generation % len(modes)] for modes in first.values())
        return [Entrant(backend, mode, copy) for backend, mode in chosen]

    def pairs(self) -> list[tuple[str, str]]:
        """Every backend with each of its modes."""
        return [(backend, mode) for backend, modes in self.chosen.items() for mode in modes]

    def written(self) -> dict[str, Any]:
        """What the manifest must hold, beside suite, seed and device, for this plan to be made again: see harness/resume.py."""
        told = {"chosen": dict(self.chosen), "skipped": dict(self.skipped), "python": dict(self.workplace.interpreters)}
        data_dir = None if self.data_dir is None else str(self.data_dir.absolute())
        return {**told, "entrants": [asdict(entrant) for entrant in self.entrants], "data_dir": data_dir}

    def seconds(self) -> float:
        """A first estimate: proof, training and the least number of generations, with their controls."""
        suite, entrants = self.suite, [*self.entrants, *self.control(0)]
        terms = [(s, threads) for threads in self.threads for s in self.timed(threads)]
        cells = [s for s, threads in terms for entrant in entrants if self.takes_part(entrant, s, threads)]
        samples = sum(len(s.job.phases) for s in cells) * suite.rounds * suite.sample_s
        generation = len(cells) * OPEN_S + OVERHEAD * samples
        training = sum(s.steps * (STEP_S + s.spec.train.batch * training_flops(s.spec.model) / FLOPS) for s, *_ in self.trainings)
        return (PROVE_S * len(self.tasks()) * len(self.pairs()) + training) / len(
            self.workplace.cpus
        ) + suite.generations * generation

    def told(self) -> str:
        """The plan in a sentence."""
        suite = self.suite
        batches: dict[str, list[str]] = {}
        for s in self.subjects:
            batches.setdefault(f"{s.task} on {s.dataset.label}", []).append(str(s.batch))
        tasks = ", ".join(f"{task}, batches of {' '.join(of)}" if of[1:] else task for task, of in batches.items())
        turns = f"{suite.generations} or more generations of {suite.rounds} rounds" if suite.generations else "no timing"
        limit = "at most" if suite.hard or not suite.generations else "more generations within"
        most = f", {limit} {clock(suite.budget_s)}" if suite.budget_s else ""
        return f"{len(self.entrants)} entrants; {tasks}: proof, training, {turns}; about {clock(self.seconds())}{most}"


def percent(share: float) -> str:
    """A share in percent, whole or not: "10%", "1.5%"."""
    return f"{100 * share:g}%"


def clock(seconds: float) -> str:
    """A duration in words: "6 min 10 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def subject(job: Job, *, data_dir: Path | None, scratch: Path, seed: int) -> Subject:
    """A task made ready: its data found and checked, its weights drawn."""
    spec = catalog.task(job.task)
    dataset = data.find(spec.data.name, data_dir=data_dir)
    return Subject(job, catalog.key(spec), spec, dataset, data.save(dataset, scratch), weights.initial(spec, seed))
