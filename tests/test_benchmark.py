"""pytest-benchmark of a backend's train step and predict, through the session that Concord times.

In the tests' own process, so of one framework at a time: nox's session `backend(torch)` gives it the environment of a worker;
what `pytest tests/test_benchmark.py --benchmark-enable --backend torch` lacks of that is told beside its times. Good for watching
one backend from commit to commit; comparing frameworks is what `concord run` is for.
"""

import importlib.util
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness import batches, catalog, data, environment, standing, verify, weights
from harness.progress import Progress
from harness.protocol import Batch, Handle, Session
from harness.spec import Arrays, TaskSpec
from harness.workplace import Workplace

LARGEST = 32  # examples of a batch: the spec's 128 images take seconds a step on one core
ROUNDS, WARMUP_ROUNDS, ITERATIONS = 5, 2, 3


class Opened(NamedTuple):
    """A session with weights, and a batch in its place; ``proof`` says whether what is timed was proven."""

    spec: TaskSpec
    mode: str
    proof: str
    session: Session
    batch: Batch


@pytest.fixture(scope="module")
def cpus(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many CPUs this process has: one when it measures, as in a run, where the system can. XLA asks for no other number."""
    own = environment.available_cpus()
    if not measuring(request) or not hasattr(os, "sched_setaffinity"):
        yield len(own)
        return
    os.sched_setaffinity(0, own[:1])
    yield 1
    os.sched_setaffinity(0, own)


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, backend: str, cpus: int) -> Any:
    """The backend's engine in this process: one framework, named by --backend; the reference always."""
    if not catalog.backend(backend).REFERENCE and request.config.getoption("--backend") != [backend]:
        pytest.skip("two frameworks in one process disturb each other: name one with --backend")
    found = import_module(f"backends.{backend}.engine")
    found.configure(threads=1, seed=0)
    return found


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, engine: Any, backend: str, task: str) -> Opened:
    """The task in the backend's default mode, float32, on the data that ship."""
    spec, mode = catalog.task(task), catalog.backend(backend).MODES[0]
    arrays = data.find(spec.data.name, data_dir=data.SAMPLES).arrays
    size = min(spec.train.batch, LARGEST)
    (host,) = islice(batches.training(spec, arrays, batch=size, seed=0, epoch=0), 1)
    table = spec.optimizer.table(spec.learning_rates(1000))
    session = engine.open_session(spec, mode=mode, precision="float32", device="cpu", table=table)
    session.load(weights.initial(spec, 0))
    return Opened(spec, mode, proven(spec, backend, mode, arrays) if measuring(request) else "", session, session.put(*host))


def measuring(request: pytest.FixtureRequest) -> bool:
    """Whether this is the benchmark and not a test of it: then a proof, in workers, is worth its seconds."""
    return bool(request.config.getoption("--benchmark-enable"))


def proven(spec: TaskSpec, backend: str, mode: str, arrays: Arrays) -> str:
    """The state of the proof, made now."""
    exhibit = verify.exhibit(spec, arrays, 0)
    with TemporaryDirectory() as scratch:
        rows = verify.verify([exhibit], {backend: (mode,)}, Workplace(Path(scratch)), Progress())
    return standing.proven(rows, task=exhibit.task, backend=backend, mode=mode).state


def measured(benchmark: BenchmarkFixture, at: Opened, call: Callable[[Batch], Handle], *, backend: str, phase: str) -> Any:
    """Synchronised calls, a few rounds of them; the last one's value."""
    benchmark.group = f"{catalog.key(at.spec)} {phase}"
    benchmark.extra_info.update(
        task=catalog.key(at.spec), phase=phase, backend=backend, mode=at.mode, batch=len(at.batch.y), proof=at.proof
    )
    benchmark.extra_info["cpus"] = len(environment.available_cpus())
    usual = environment.variables("1", "cpu")
    benchmark.extra_info["unlike_a_worker"] = [name for name, value in usual.items() if os.environ.get(name) != value]

    def run() -> Handle:
        handle = call(at.batch)
        at.session.sync(handle)
        return handle

    return at.session.fetch(benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=WARMUP_ROUNDS, iterations=ITERATIONS))


def test_train_step(benchmark: BenchmarkFixture, opened: Opened, backend: str) -> None:
    """One optimizer step, waited for."""
    loss = measured(benchmark, opened, opened.session.train_step, backend=backend, phase="train")
    assert loss.shape == ()
    assert loss > 0


def test_predict(benchmark: BenchmarkFixture, opened: Opened, backend: str) -> None:
    """One prediction of a batch, waited for."""
    logits = measured(benchmark, opened, opened.session.predict, backend=backend, phase="predict")
    assert logits.shape == (len(opened.batch.y), opened.spec.outputs)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The noxfile, read without nox."""
    fake: Any = ModuleType("nox")
    fake.options, fake.Session, fake.session = SimpleNamespace(), object, lambda function: function
    fake.parametrize = lambda *_names, **_ids: lambda function: function
    fake.project = SimpleNamespace(load_toml=lambda path: tomllib.loads(Path(path).read_text("utf-8")))
    monkeypatch.setitem(sys.modules, "nox", fake)
    monkeypatch.chdir(catalog.ROOT)
    spec: Any = importlib.util.spec_from_file_location("sessions", "noxfile.py")
    found: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_versions_that_were_replaced_are_installed_again(sessions: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A branch with another pin shares the environment: back on main, main's versions must be what runs."""
    installed = []

    def run(*command: str, **_how: object) -> None:
        if "pip" in command:
            installed.append([word for word in command if word.startswith(("torch==", "pytest"))])

    session = SimpleNamespace(virtualenv=SimpleNamespace(location=str(tmp_path / "quick")), run=run, log=lambda _told: None)
    (tmp_path / "framework-torch").mkdir()
    for pin, more in (("1", ()), ("1", ()), ("1", ("pytest",)), ("1", ()), ("2", ()), ("1", ()), ("1", ("pytest",))):
        monkeypatch.setitem(sessions.EXTRAS, "torch", [f"torch=={pin}"])
        sessions.framework_python(session, "torch", *more)
    assert installed == [["torch==1"], ["torch==1", "pytest"], ["torch==2"], ["torch==1"], ["torch==1", "pytest"]]


def test_benchmarks_have_the_environment_of_workers(sessions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before their process starts, since a heap is chosen then: without it a JAX step takes 11 or 28 ms, by luck."""
    monkeypatch.setattr(sessions, "framework_python", lambda *_: sys.executable)
    ran = []

    def run(*command: str, **how: Any) -> str:
        ran.append((command, how))
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout if how.get("silent") else ""

    sessions.backend(SimpleNamespace(posargs=[], run=run), "jax")
    (command, how), wanted = ran[-1], environment.variables("1", "cpu")
    assert {"tests/test_benchmark.py", "--benchmark-enable", "--backend=jax"} <= {*command}
    assert how["env"] == wanted
    assert wanted.items() >= environment.HEAP.items()
