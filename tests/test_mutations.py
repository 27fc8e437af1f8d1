"""The proof must be able to fail: every trap of mutations.py, put back into a backend, is caught and located.

A mutated backend runs in a worker on a private copy of the source; its traces are judged, by the code that judges every run,
against the reference of the source as it is. All workers that the chosen tests need run in a pool, one to a CPU.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import catalog, data, launch, verify
from harness.records import Proof
from harness.workplace import Workplace
from tests.mutations import MUTATIONS, Edit, Mutation

BACKENDS = catalog.frameworks()
TASKS = tuple(dict.fromkeys(mutation.task for mutation in MUTATIONS))
AT_LEAST = 7  # mutations a backend
Said = list[str]


def installed(backend: str) -> bool:
    """Whether this environment has the framework; nothing is imported."""
    return find_spec(catalog.backend(backend).IMPORT) is not None


def needing(backend: str) -> tuple[pytest.MarkDecorator, ...]:
    """The marks of a test that needs the framework."""
    skip = pytest.mark.skipif(not installed(backend), reason=f"{backend} is not installed")
    return pytest.mark.frameworks, skip


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


class Court:
    """Runs what is to be judged, each job in a worker of its own."""

    def __init__(self, pool: ThreadPoolExecutor, scratch: Path, tasks: Iterable[str]) -> None:
        """The reference's traces are the first jobs, so that no other waits for one that has no thread."""
        self.pool, self.scratch = pool, scratch
        self.workplace = Workplace(scratch)
        self.jobs: dict[str, Future[list[Proof]]] = {}
        name = catalog.reference()
        self.witnesses = {task: pool.submit(self.traces, name, (task,), (), f"reference-{task}") for task in tasks}

    def summon(self, name: str, backend: str, tasks: tuple[str, ...], edits: tuple[Edit, ...]) -> None:
        """Begin a job."""
        self.jobs[name] = self.pool.submit(self.judged, backend, tasks, edits, f"job-{len(self.jobs)}")

    def judged(self, backend: str, tasks: tuple[str, ...], edits: tuple[Edit, ...], folder: str) -> list[Proof]:
        """The proof of a backend with these edits, in the order in which the proof looks."""
        found, rows = self.traces(backend, tasks, edits, folder), []
        for task in tasks:
            chosen = {name: catalog.backend(name).MODES[:1] for name in (catalog.reference(), backend)}
            rows += verify.judge_task(exhibit(task), found | self.witnesses[task].result(), chosen)
        return rows

    def traces(self, backend: str, tasks: tuple[str, ...], edits: tuple[Edit, ...], folder: str) -> verify.Traces:
        """What a worker on a copy of the source, with these edits, computes in the backend's first mode."""
        root, mode = self.scratch / folder, catalog.backend(backend).MODES[0]
        for part in ("harness", "backends", "suites"):
            unwanted = shutil.ignore_patterns("__pycache__", "samples")
            shutil.copytree(catalog.ROOT / part, root / part, ignore=unwanted)
        for path, source in mutated(edits, root / "backends" / backend).items():
            path.write_text(source, encoding="utf-8")
        said: Said = []
        with (
            self.workplace.cpu() as cpu,
            launch.Worker(backend, scratch=root / "scratch", cpus=[cpu], root=root) as worker,
        ):
            return {(exhibit(t).task, backend, mode): verify.ask(worker, exhibit(t), mode, said.append) for t in tasks}


@pytest.fixture(scope="session")
def court(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """A court with the jobs of all chosen tests under way."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    mutations = [m for item in items if (m := item.callspec.params.get("mutation")) and installed(m.backend)]
    controls = [b for item in items if (b := item.callspec.params.get("sound")) and installed(b)]
    pool = ThreadPoolExecutor(len(Workplace(Path()).cpus))
    try:
        tasks = TASKS if controls else sorted({mutation.task for mutation in mutations})
        sitting = Court(pool, tmp_path_factory.mktemp("court"), tasks)
        for backend in controls:
            sitting.summon(backend, backend, TASKS, ())
        for m in mutations:
            sitting.summon(label(m), m.backend, (m.task,), m.edits)
        yield sitting
    finally:
        pool.shutdown(cancel_futures=True)


def label(mutation: Mutation) -> str:
    """The mutation's name among all."""
    return f"{mutation.backend}: {mutation.name}"


def test_table_covers_every_framework():
    """At least seven mutations each, no two of one name."""
    assert min(Counter(m.backend for m in MUTATIONS)[backend] for backend in BACKENDS) >= AT_LEAST
    assert len({label(m) for m in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("edited", MUTATIONS, ids=label)
def test_mutation_fits_the_source(edited: Mutation):
    """Each edit has exactly one place, and what it makes is Python: a refactoring cannot silently disable a mutation."""
    for path, source in mutated(edited.edits, catalog.ROOT / "backends" / edited.backend).items():
        assert source != path.read_text(encoding="utf-8")
        compile(source, path.name, "exec")


@pytest.mark.parametrize("sound", [pytest.param(b, marks=needing(b)) for b in BACKENDS])
def test_unmutated_backend_is_proven(sound: str, court: Court):
    """The control: the same machinery, without an edit, proves the backend on every task."""
    rows = court.jobs[sound].result()
    assert {row.task for row in rows} == {catalog.key(catalog.task(task)) for task in TASKS}
    assert [row for row in rows if row.verdict != "proven"] == []


@pytest.mark.parametrize("mutation", [pytest.param(m, id=label(m), marks=needing(m.backend)) for m in MUTATIONS])
def test_mutation_is_caught(mutation: Mutation, court: Court, record_property):
    """The proof fails, and its first failed row is at the place where the mutation is first seen."""
    record_property("mutation", label(mutation))  # conftest.py prints the score
    failed = [row for row in court.jobs[label(mutation)].result() if row.verdict == "failed"]
    assert failed, "the mutation survives: the proof has a hole"
    first = failed[0]
    assert (first.precision, first.level, first.where) == (mutation.precision, mutation.level, mutation.where)
