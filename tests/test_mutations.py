"""The proof must be able to fail: every trap of mutations.py, put back into a backend, is caught and located.

A mutated backend runs in a worker on a private copy of the source; its traces are judged, by the code that judges every run,
against the reference of the source as it is. The workers of all chosen tests are begun at once, and run one to a CPU.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import catalog, data, launch, proof, verify
from harness.progress import Progress
from harness.records import Proof
from harness.spec import Arrays
from harness.workplace import Workplace
from tests.mutations import MUTATIONS, Edit, Mutation

BACKENDS = catalog.frameworks()
TASKS = tuple(dict.fromkeys(mutation.task for mutation in MUTATIONS))
AT_LEAST = 7  # mutations a backend
SOURCE = ("harness", "backends", "suites")
Record = Callable[[str, object], None]  # pytest's record_property


def installed(backend: str) -> bool:
    """Whether this environment has the framework; nothing is imported."""
    return find_spec(catalog.backend(backend).IMPORT) is not None


def needing(backend: str) -> tuple[pytest.MarkDecorator, ...]:
    """The marks of a test that needs the framework."""
    return pytest.mark.frameworks, pytest.mark.skipif(not installed(backend), reason=f"{backend} is not installed")


def label(mutation: Mutation) -> str:
    """The mutation's name among all."""
    return f"{mutation.backend}: {mutation.name}"


def mutated(edits: Iterable[Edit], folder: Path) -> dict[Path, str]:
    """The files below ``folder`` that the edits change, with their new source; an edit has exactly one place."""
    sources: dict[Path, str] = {}
    for edit in edits:
        path = folder / edit.file
        source = sources.get(path) or path.read_text(encoding="utf-8")
        places = source.count(edit.old)
        assert places == 1, f"{path.name} has {places} places like {edit.old!r}: bring the mutation up to date"
        sources[path] = source.replace(edit.old, edit.new)
    return sources


@cache
def exhibit(task: str) -> verify.Exhibit:
    """The proof's inputs, from the shipped sample."""
    spec = catalog.task(task)
    return verify.exhibit(spec, data.find(spec.data.name, data_dir=data.SAMPLES).arrays, 0)


@dataclass(frozen=True)
class Case:
    """What one worker is to compute: the tasks of one backend, with these edits; in both precisions or in float64 alone."""

    backend: str
    tasks: tuple[str, ...]
    whole: bool = True
    edits: tuple[Edit, ...] = ()
    chosen: str = ""

    @property
    def mode(self) -> str:
        """The one chosen, or the backend's first."""
        return self.chosen or catalog.backend(self.backend).MODES[0]


class Court:
    """Tries cases, each in a worker of its own."""

    def __init__(self, pool: ThreadPoolExecutor, workplace: Workplace, tasks: Iterable[str]) -> None:
        """The reference is the first to be traced, so that no case waits for one that has no thread."""
        self.pool, self.workplace = pool, workplace
        witness = Case(catalog.reference(), tuple(tasks))
        self.witness = pool.submit(self.subjects, witness, workplace.scratch / "reference")
        self.trials: dict[str, Future[list[Proof]]] = {}

    def open(self, name: str, case: Case) -> None:
        """Begin a trial."""
        self.trials[name] = self.pool.submit(self.judged, case, self.workplace.scratch / f"case-{len(self.trials)}")

    def judged(self, case: Case, root: Path) -> list[Proof]:
        """The proof of a case, in the order in which the proof looks; without float32 traces, its float64 part."""
        subjects, rows = self.subjects(case, root), []
        for task, subject in subjects.items():
            ex, reference = exhibit(task), self.witness.result()[task]
            if case.whole:
                rows += proof.judge(ex.spec, reference, [subject], ex.weights)
            else:
                rows += proof.round_trip(subject, ex.weights)
                rows += proof.float64(ex.spec, subject, reference)
        return rows

    def subjects(self, case: Case, root: Path) -> dict[str, proof.Subject]:
        """The traces of a worker on a copy of the source, by task; what an edit leaves alone is compiled once for all."""
        for part in SOURCE:
            unwanted = shutil.ignore_patterns("__pycache__", "samples")
            shutil.copytree(catalog.ROOT / part, root / part, ignore=unwanted)
        for path, source in mutated(case.edits, root / "backends" / case.backend).items():
            path.write_text(source, encoding="utf-8")
        scratch = root / "scratch"
        with (
            self.workplace.cpu() as cpu,
            launch.Worker(case.backend, scratch=scratch, cache=self.workplace.scratch / "cache", cpus=[cpu], root=root) as worker,
        ):
            found = {task: traces(worker, exhibit(task), case) for task in case.tasks}
        return {task: proof.Subject(exhibit(task).task, case.backend, case.mode, each) for task, each in found.items()}


def traces(worker: launch.Worker, ex: verify.Exhibit, case: Case) -> dict[str, Arrays]:
    """As `concord verify` asks for them."""
    names = ex.asked(case.backend) if case.whole else ["float64"]
    return {name: verify.traced(worker, ex, case.mode, name=name, progress=Progress()) for name in names}


@pytest.fixture(scope="session")
def court(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """A court with the cases of all chosen tests under way."""
    chosen = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    sound = [params["sound"] for params in chosen if "sound" in params and installed(params["sound"])]
    mutations = [params["mutation"] for params in chosen if "mutation" in params]
    mutations = [mutation for mutation in mutations if installed(mutation.backend)]
    workplace = Workplace(tmp_path_factory.mktemp("court"))
    pool = ThreadPoolExecutor(len(workplace.cpus))
    try:
        tasks = [task for task in TASKS if sound or task in {mutation.task for mutation in mutations}]
        for task in tasks:
            exhibit(task)  # here, since an error of the data is not one of every case
        sitting = Court(pool, workplace, tasks)
        for backend in sound:
            sitting.open(backend, Case(backend, TASKS))
        for m in mutations:
            sitting.open(label(m), Case(m.backend, (m.task,), m.precision != "float64", m.edits, m.mode))
        yield sitting
    finally:
        pool.shutdown(cancel_futures=True)


def test_table_covers_every_framework() -> None:
    """At least seven mutations each, no two of one name."""
    assert min(Counter(m.backend for m in MUTATIONS)[backend] for backend in BACKENDS) >= AT_LEAST
    assert len({label(m) for m in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("edited", MUTATIONS, ids=label)
def test_mutation_fits_the_source(edited: Mutation) -> None:
    """Each edit has exactly one place, and what it makes is Python: a refactoring cannot silently disable a mutation."""
    for path, source in mutated(edited.edits, catalog.ROOT / "backends" / edited.backend).items():
        compile(source, path.name, "exec")


@pytest.mark.parametrize("sound", [pytest.param(b, marks=needing(b)) for b in BACKENDS])
def test_unmutated_backend_is_proven(sound: str, court: Court) -> None:
    """The control: the same machinery, without an edit, proves the backend on every task."""
    rows = court.trials[sound].result()
    assert {row.task for row in rows} == {exhibit(task).task for task in TASKS}
    assert [row for row in rows if row.verdict != "proven"] == []


@pytest.mark.parametrize("mutation", [pytest.param(m, id=label(m), marks=needing(m.backend)) for m in MUTATIONS])
def test_mutation_is_caught(mutation: Mutation, court: Court, record_property: Record) -> None:
    """The proof fails, and its first failed row is at the place where the mutation is first seen."""
    record_property("mutation", label(mutation))  # for the score that conftest.py prints
    failed = [row for row in court.trials[label(mutation)].result() if row.verdict == "failed"]
    assert failed, "the mutation survives: the proof has a hole"
    first = failed[0]
    assert (first.precision, first.level, first.where) == (mutation.precision, mutation.level, mutation.where)
