"""What the tests share: their options, skips, fixtures. Backends and tasks are the files that exist: no list is kept."""

# ruff: noqa: E402 - NumPy must find the environment set
import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported: the same sums on every machine, and a core left for the workers

import importlib.util
import signal
import subprocess
import tempfile
import venv
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
from harness.progress import Progress
from harness.verify import Exhibit

SMALLER = {"cifar_resnet": "cifar_resnet:depth=8"}  # where the default takes minutes in float64 NumPy
SEED = 0
LONGEST = ("test_mutations", "test_conformance", "test_run", "test_resume", "test_cli", "test_pipeline", "test_workers")
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it, and so would what tests start
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # likewise under nohup

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
    """The options --backend and --thorough."""
    told = "Test this backend only, and insist that it is installed. Repeat for several."
    parser.addoption("--backend", action="append", default=[], metavar="NAME", help=told)
    told = "Do what takes an hour, too: kill a run 200 times, fill disks of many sizes, report 100,000 trials."
    parser.addoption("--thorough", action="store_true", help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a backend that does not exist or is asked for by name and not installed: silence would look like success."""
    for name in config.getoption("--backend"):
        try:
            door = catalog.backend(name)
        except HarnessError as error:
            raise pytest.UsageError(f"--backend: {error}") from None
        if importlib.util.find_spec(door.IMPORT) is None:
            raise pytest.UsageError(f"--backend: {door.TITLE} is not installed here: pip install -e '.[{name}]'")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the order that costs least; without backends that --backend does not name, without the long ones unless --thorough."""
    items.sort(key=turn)
    chosen, short = set(config.getoption("--backend")), not config.getoption("--thorough")
    left_out = [i for i in items if (chosen and not subjects(i) <= chosen) or (short and i.get_closest_marker("thorough"))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def params(item: pytest.Item) -> Mapping[str, Any]:
    """The parameters of a test."""
    return getattr(getattr(item, "callspec", None), "params", {})


def turn(item: pytest.Item) -> tuple[int, str, str]:
    """What tests are sorted by: the files that take longest first, and in each a backend's together, so that it starts once."""
    name = item.path.stem
    return LONGEST.index(name) if name in LONGEST else len(LONGEST), name, params(item).get("backend", "")


def subjects(item: pytest.Item) -> set[str]:
    """The backends that a test is about, by its parameters."""
    given = params(item)
    found = {given.get(key) for key in ("backend", "sound")} | {getattr(given.get("mutation"), "backend", None)}
    return {name for name in found if name}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The score of the mutation suite, from the tests that recorded the property ``mutation``."""
    caught, survived = (
        [value for report in terminalreporter.getreports(outcome) for key, value in report.user_properties if key == "mutation"]
        for outcome in ("passed", "failed")
    )
    if caught or survived:
        terminalreporter.write_line(f"mutations caught: {len(caught)} of {len(caught) + len(survived)}")
    for name in survived:
        terminalreporter.write_line(f"  not caught: {name}")


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A temporary folder of the tests' own: a run that measures on this machine neither refuses them nor is refused."""
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("temporary"))
    os.environ["CONCORD_LOCK"] = str(tmp_path_factory.mktemp("lock") / "timing.lock")
    tempfile.tempdir = None


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with nothing installed."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture(scope="module", params=[parameter(name) for name in catalog.backends()])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend, the reference too."""
    return request.param


@pytest.fixture(scope="module", params=[SMALLER.get(name, name) for name in catalog.tasks()])
def task(request: pytest.FixtureRequest) -> str:
    """Every task, small enough for seconds, as the command line would name it."""
    return request.param


@pytest.fixture(scope="session")
def tasks() -> list[str]:
    """All tasks, as ``task`` names them."""
    return [SMALLER.get(name, name) for name in catalog.tasks()]


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
    """The CPU of every worker that a test starts: one, as in a run; another for each process that runs tests."""
    cpus = environment.available_cpus()
    return cpus[-1 - int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(cpus)]


@pytest.fixture(scope="module")
def worker(backend: str, cpu: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker a backend for all tests of a file, since importing a framework takes seconds."""
    with Worker(backend, scratch=tmp_path_factory.mktemp(f"worker-{backend}"), cpus=[cpu], seed=SEED) as started:
        yield started


@cache
def dataset(name: str) -> data.Dataset:
    """A data set as it ships, wherever else this machine may have it."""
    return data.find(name, data_dir=data.SAMPLES)


@pytest.fixture(scope="session")
def exhibit() -> Callable[..., Exhibit]:
    """The proof's inputs of a task and a seed, on the data that ship."""

    @cache
    def make(task: str, seed: int = SEED) -> Exhibit:
        spec = catalog.task(task)
        return verify.exhibit(spec, dataset(spec.data.name).arrays, seed)

    return make


@pytest.fixture(scope="session")
def witness(exhibit: Callable[..., Exhibit], cpu: int, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The reference's traces of a task and a seed, by precision, made once."""

    @cache
    def make(task: str, seed: int = SEED) -> Any:
        name = catalog.reference()
        with Worker(name, scratch=tmp_path_factory.mktemp("witness"), cpus=[cpu]) as reference:
            return verify.ask(reference, exhibit(task, seed), catalog.backend(name).MODES[0], Progress())

    return make


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file with the first rows of a task's data, as workers read it: 160 to train on, 40 to validate and to test on."""
    folder = tmp_path_factory.mktemp("data")

    @cache
    def make(task: str) -> Path:
        name = catalog.task(task).data.name
        rows = {key: array[: 160 if key.endswith("train") else 40] for key, array in dataset(name).arrays.items()}
        path = folder / f"{name}.npz"
        save(path, rows)
        return path

    return make


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as an .npz file."""
    named: Any = dict(arrays)
    np.savez(path, **named)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many KiB, or the same one made larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(kib: int) -> Path:
        mounted = place.is_mount()
        typed = ["mount", "-t", "tmpfs", "-o", f"{'remount,' if mounted else ''}size={kib}k", "tmpfs", place]
        if subprocess.run(typed, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a disk")
        return place

    yield sized
    if place.is_mount():
        subprocess.run(["umount", place], check=True)  # noqa: S607 - the system's own


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced, and "-> NAME" for what gets a name, in the order in which it happens."""
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def replaced(path: Path, target: Path) -> Path:
        order.append(f"-> {Path(target).name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    return order
