"""What the tests share: the option --backend, skips, fixtures. Backends and tasks are the files that exist: no list is kept."""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported: the same sums on every machine, and a core left for the workers

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from harness import catalog, data, environment, verify
from harness.errors import HarnessError
from harness.launch import Worker
from harness.verify import Exhibit

MUTATIONS = pytest.StashKey[list[tuple[str, bool]]]()  # name of a mutation, and whether the proof caught it
SMALLER = {"cifar_resnet": "cifar_resnet:depth=8"}  # where the default takes minutes in float64 NumPy
SEED = 0

settings.register_profile("concord", deadline=None, derandomize=True)  # a busy machine is no defect, nor is bad luck
settings.load_profile("concord")


def parameter(name: str) -> Any:
    """A backend as a test's parameter: a framework is marked, and skipped where it is not installed."""
    door = catalog.backend(name)
    if door.REFERENCE:
        return pytest.param(name)
    absent = importlib.util.find_spec(door.IMPORT) is None
    reason = f"{door.TITLE} is not installed: pip install -e '.[{name}]'"
    return pytest.param(name, marks=[pytest.mark.frameworks, pytest.mark.skipif(absent, reason=reason)])


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option --backend."""
    told = "Test this backend only, and insist that it is installed. Repeat for several."
    parser.addoption("--backend", action="append", default=[], metavar="NAME", help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a backend that does not exist or is asked for by name and not installed: silence would look like success."""
    for name in config.getoption("--backend"):
        try:
            door = catalog.backend(name)
        except HarnessError as error:
            raise pytest.UsageError(f"--backend: {error}") from None
        if importlib.util.find_spec(door.IMPORT) is None:
            raise pytest.UsageError(f"--backend: {door.TITLE} is not installed here: pip install -e '.[{name}]'")
    config.stash[MUTATIONS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of backends that --backend does not name."""
    chosen = config.getoption("--backend")
    if not chosen:
        return
    params = {item: getattr(getattr(item, "callspec", None), "params", {}) for item in items}
    wanted = [item for item in items if {params[item].get(key, chosen[0]) for key in ("backend", "framework")} <= {*chosen}]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The score of the mutation suite: what was not caught stands below it by name."""
    found = config.stash.get(MUTATIONS, [])
    if found:
        terminalreporter.write_line(f"mutations caught: {sum(caught for _, caught in found)} of {len(found)}")
    for name in (name for name, caught in found if not caught):
        terminalreporter.write_line(f"  not caught: {name}")


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> list[tuple[str, bool]]:
    """Where the mutation suite writes (name, caught), for the score at the end of the session."""
    return request.config.stash[MUTATIONS]


@pytest.fixture(scope="session", params=[parameter(name) for name in catalog.backends()])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend, the reference too."""
    return request.param


@pytest.fixture(scope="session", params=[parameter(name) for name in catalog.frameworks()])
def framework(request: pytest.FixtureRequest) -> str:
    """Every backend that is compared."""
    return request.param


@pytest.fixture(scope="session", params=[SMALLER.get(name, name) for name in catalog.tasks()])
def task(request: pytest.FixtureRequest) -> str:
    """Every task, small enough for seconds, as the command line would name it."""
    return request.param


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> list[str]:
    """The frameworks of this environment, or those of them that --backend names; skips where there is none."""
    chosen = request.config.getoption("--backend") or catalog.frameworks()
    found = [name for name in chosen if importlib.util.find_spec(catalog.backend(name).IMPORT)]
    if not found:
        pytest.skip("no framework is installed: pip install -e '.[all]'")
    return found


@pytest.fixture(scope="session")
def cpu() -> int:
    """The CPU of every worker that a test starts: one, as in a run."""
    return environment.available_cpus()[-1]


@pytest.fixture(scope="session")
def worker(backend: str, cpu: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker a backend for the whole session, since importing a framework takes seconds."""
    with Worker(backend, scratch=tmp_path_factory.mktemp(f"worker-{backend}"), cpus=[cpu], seed=SEED) as started:
        yield started


@cache
def dataset(name: str) -> data.Dataset:
    """A data set as it ships, wherever else this machine may have it."""
    return data.find(name, data_dir=data.SAMPLES)


@pytest.fixture(scope="session")
def exhibit() -> Callable[[str], Exhibit]:
    """The proof's inputs of a task, on the data that ship."""

    @cache
    def make(task: str) -> Exhibit:
        spec = catalog.task(task)
        return verify.exhibit(spec, dataset(spec.data.name).arrays, SEED)

    return make


@pytest.fixture(scope="session")
def witness(exhibit: Callable[[str], Exhibit], cpu: int, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The reference's traces of a task, by precision, made once."""

    @cache
    def make(task: str) -> Any:
        name = catalog.reference()
        with Worker(name, scratch=tmp_path_factory.mktemp("witness"), cpus=[cpu]) as reference:
            return verify.ask(reference, exhibit(task), catalog.backend(name).MODES[0], lambda _text: None)

    return make


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file with the first rows of a task's data, as workers read it: 160 to train on, 96 to validate and to test on."""
    folder = tmp_path_factory.mktemp("data")

    @cache
    def make(task: str) -> Path:
        name = catalog.task(task).data.name
        rows = {key: array[: 160 if key.endswith("train") else 96] for key, array in dataset(name).arrays.items()}
        path = folder / f"{name}.npz"
        save(path, rows)
        return path

    return make


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as an .npz file."""
    named: Any = dict(arrays)
    np.savez(path, **named)
