"""`concord init` in a copy of the sources: the tests of symmetry find what is new, and say what is missing until it is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import catalog

SKIPPED = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a new backend and a new task."""
    root = tmp_path_factory.mktemp("house")
    for name in ("harness", "backends", "suites", "tests"):
        shutil.copytree(catalog.ROOT / name, root / name, ignore=SKIPPED)
    shutil.copy(catalog.ROOT / "pyproject.toml", root)
    for kind, name in (("backend", "mxnet"), ("task", "imdb_lstm")):
        done = typed(root, "-m", "harness", "init", kind, name)
        assert (done.returncode, "tests/test_symmetry.py" in done.stderr) == (0, True), done.stderr
        assert all(Path(line).is_relative_to(root) and Path(line).is_file() for line in done.stdout.splitlines())
    return root


def typed(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What Python says to these arguments in a copy of the sources."""
    env = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "PATH": ""}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_every_file_of_the_contract_is_there(house: Path) -> None:
    """A backend has the files of the others, a task its spec and a model in every backend; all of them are Python."""
    wanted = {"__init__.py", "engine.py", "layers.py", "pipeline.py", *(f"{task}.py" for task in catalog.tasks())}
    assert {path.name for path in (house / "backends" / "mxnet").glob("*.py")} == wanted | {"imdb_lstm.py"}
    for backend in catalog.backends():
        text = (house / "backends" / backend / "imdb_lstm.py").read_text(encoding="utf-8")
        assert text.startswith(f'"""imdb_lstm in {catalog.backend(backend).TITLE}: see suites/tasks/imdb_lstm.py."""')
        compile(text, backend, "exec")
        assert '""""""' not in text, "what has no docstring gets none"
    assert "backends.numpy" not in (house / "backends" / "mxnet" / "engine.py").read_text(encoding="utf-8")


def test_symmetry_finds_the_new_and_says_what_is_missing(house: Path) -> None:
    """Files, functions and their order are right from the start; missing are the layers of every model and the spec."""
    done = typed(house, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_symmetry.py", "-k", "mxnet or imdb")
    failed = set(re.findall(r"^FAILED tests/test_symmetry.py::(\S+)", done.stdout, re.MULTILINE))
    layers = "test_models_name_their_layers_as_the_spec_does"
    wanted = {f"{layers}[mxnet-{task}]" for task in catalog.tasks()} | {"test_layouts_are_invertible[mxnet]"}
    assert failed == wanted | {f"{layers}[{backend}-imdb_lstm]" for backend in [*catalog.backends(), "mxnet"]}
    assert "NotImplementedError: suites/tasks/imdb_lstm.py: write make(), as suites/tasks/mnist_mlp.py does." in done.stdout
    assert "['dense1', 'dense2']" in done.stdout


def test_the_proof_says_what_to_write_first(house: Path) -> None:
    """With its framework installed, which is played by NumPy here, the new backend gives no numbers, for want of a function."""
    door = house / "backends" / "mxnet" / "__init__.py"
    text = door.read_text(encoding="utf-8")
    door.write_text(re.sub(r'(IMPORT|DISTRIBUTIONS)( = \(?)"mxnet"', r'\1\2"numpy"', text), encoding="utf-8")
    done = typed(house, "-m", "harness", "verify", "mnist_mlp", "--backends", "mxnet", "--json")
    assert done.returncode == 3, done.stderr
    assert "NotImplementedError: backends/mxnet/engine.py: write configure(), as backends/numpy/engine.py does." in done.stdout


def test_a_task_without_a_spec_is_told_in_a_sentence(house: Path) -> None:
    """Not as a defect of Concord."""
    done = typed(house, "-m", "harness", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "concord: suites/tasks/imdb_lstm.py: write make(), as suites/tasks/mnist_mlp.py does.\n"


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("backend", "mxnet", "exists"),
        ("task", "imdb_lstm", "exists"),
        ("task", "engine", "exists"),  # every backend has a file of this name
        ("task", "__init__", "exists"),
        ("backend", "my-framework", "take a Python identifier"),
        ("backend", "class", "take a Python identifier"),
        ("task", "../escape", "take a Python identifier"),
        ("task", "", "take a Python identifier"),
    ],
)
def test_nothing_is_written_over_and_no_name_accepted_that_cannot_be_one(house: Path, kind: str, name: str, words: str) -> None:
    """One sentence, exit code 2, and every file as it was."""
    before = {path: path.read_bytes() for path in house.rglob("*.py")}
    done = typed(house, "-m", "harness", "init", kind, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("concord: ")
    assert words in done.stderr
    assert {path: path.read_bytes() for path in house.rglob("*.py")} == before


def test_nothing_is_written_where_concord_is_installed(tmp_path: Path) -> None:
    """As by pip, without tests beside the packages: one sentence, exit code 2, and no new file in what pip looks after."""
    for name in ("harness", "backends", "suites"):
        shutil.copytree(catalog.ROOT / name, tmp_path / name, ignore=SKIPPED)
    before = {*tmp_path.rglob("*")}
    for kind, name in (("backend", "mxnet"), ("task", "imdb_lstm")):
        done = typed(tmp_path, "-m", "harness", "init", kind, name)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"concord: {tmp_path} is no source checkout")
        assert done.stderr.endswith(f"run it from a source checkout, in its folder, as python -m harness init {kind} {name}.\n")
    assert {*tmp_path.rglob("*")} == before
