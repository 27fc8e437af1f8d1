"""`concord doctor`: what it finds, what it says to do about it, and its exit code, on machines fit and unfit."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from harness import catalog, data, doctor, environment
from harness.cli import main, options
from harness.doctor import Finding
from harness.launch import WorkerError
from tests.test_run import at_home, build

pytestmark = pytest.mark.processes
REFERENCE = catalog.reference()


class Told(NamedTuple):
    """The findings by name, and the exit code."""

    found: dict[str, Finding]
    code: int


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The reference, a framework that works and one whose library is missing."""
    root = build(tmp_path_factory.mktemp("doctor") / "house", {"sound": "", "torn": "raise ImportError('libcudart.so')"})
    with at_home(root):
        yield root


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, on a machine that has no data but what ships."""
    for name in ("HOME", "XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("CONCORD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def typed(*arguments: str) -> Result:
    """The verb in this process; an exception that it does not catch is a failure."""
    return CliRunner().invoke(main, ["doctor", *arguments], catch_exceptions=False)


def examined(*arguments: str) -> Told:
    """What it says as JSON."""
    done = typed("--json", *arguments)
    return Told({each["what"]: Finding(**each) for each in json.loads(done.stdout)["findings"]}, done.exit_code)


def test_a_machine_that_can_run_quick(house: Path) -> None:
    """0 or, where it is not quiet, 4: one framework is enough, and every part of the machine is told with its state."""
    found, code = examined()
    assert code in {0, options.EXIT_NOISY}, found
    assert {"CPUs", "load", "governor", "memory", "results", "data mnist", "temporary files", "noise"} <= found.keys()
    assert {each.state for each in found.values()} <= {"good", "warning", "not known"}
    assert code == (options.EXIT_NOISY if "warning" in {found["load"].state, found["noise"].state} else 0)
    sound = found["backend sound"]
    assert sound.state == found[f"backend {REFERENCE}"].state == "good"
    for fact in ("numpy ", "on Python 3.", "threads on one CPU: ", "GPUs: none"):
        assert fact in sound.says
    assert found["backend torn"].state == "warning"
    assert "ImportError: libcudart.so" in found["backend torn"].says
    assert "install it anew" in found["backend torn"].says
    assert found["data mnist"].says == f"mnist (sample 10,000 of 60,000) in {data.SAMPLES / 'mnist'}"
    assert found["data credit_default"].state == "warning"  # quick does without
    assert "concord data fetch credit_default" in found["data credit_default"].says
    assert str(Path.cwd()) in found["results"].says


def test_a_machine_that_cannot(house: Path, bare_python: Path) -> None:
    """1: a damaged file, no room for results, no framework. Each with what to do, none hides another."""
    damaged = Path(shutil.copytree(data.SAMPLES, "mine"))
    (damaged / "mnist" / "sample-t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    Path("results").write_text("a file")
    pythons = [f"--python={name}={bare_python}" for name in ("sound", "torn")]
    found, code = examined("--data-dir", "mine", *pythons)
    assert code == 1
    bad = {what for what, each in found.items() if each.state == "bad"}
    assert bad == {"results", "data mnist", "frameworks"}
    assert "--out" in found["results"].says
    assert "sample-t10k-labels" in found["data mnist"].says
    assert "concord data fetch mnist" in found["data mnist"].says
    assert "-m pip install 'concord-bench[all]'" in found["frameworks"].says
    for name in ("sound", "torn"):
        assert found[f"backend {name}"].state == "warning"
        assert f"{bare_python} -m pip install 'concord-bench[{name}]'" in found[f"backend {name}"].says


@pytest.mark.parametrize("path", ["nothing", "sound"])
def test_an_interpreter_that_run_would_refuse(house: Path, bare_python: Path, path: str) -> None:
    """One that is no Python, or has a label and not the framework: named by hand, so not skipped."""
    name = "sound" if path == "nothing" else "sound@2"
    found, code = examined(f"--python={name}={path if path == 'nothing' else bare_python}")
    assert (code, found[f"backend {name}"].state) == (1, "bad")


def test_the_governor_is_told_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the examination and in the record of a run, from one file; where the system has none, the record has none."""
    monkeypatch.setattr(environment, "GOVERNOR", tmp_path / "scaling_governor")
    assert "governor" not in environment.machine()
    environment.GOVERNOR.write_text("powersave\n")
    assert environment.machine()["governor"] == "powersave"
    (told,) = (finding for finding in doctor.machine() if finding.what == "governor")
    assert (told.state, told.says.partition(";")[0]) == ("warning", "powersave")


def test_the_load_is_the_whole_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CPUs, also where one alone is ours: what runs on the others shares memory and caches with it."""
    monkeypatch.setattr(environment, "available_cpus", lambda: [0])
    monkeypatch.setattr("psutil.cpu_percent", lambda *_given, **_more: [0.0, 100.0, 20.0, 0.0])
    (told,) = (finding for finding in doctor.machine() if finding.what == "load")
    assert (told.state, told.says.partition(":")[0]) == ("warning", "1.20 CPUs are busy with something else")


def test_the_load_that_counts_grows_with_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixtieth of many CPUs is no neighbour."""
    monkeypatch.setattr("psutil.cpu_count", lambda: 64)
    monkeypatch.setattr("psutil.cpu_percent", lambda *_given, **_more: [2.0] * 63 + [0.0])
    (told,) = (finding for finding in doctor.machine() if finding.what == "load")
    assert (told.state, told.says) == ("good", "1.26 CPUs are busy with something else")


@pytest.mark.parametrize(("plugged", "state"), [(True, "good"), (False, "warning"), (None, "good")])
def test_a_battery(monkeypatch: pytest.MonkeyPatch, plugged: bool | None, state: str) -> None:
    """Told where it is known to be what the machine runs on."""
    monkeypatch.setattr("psutil.sensors_battery", lambda: SimpleNamespace(power_plugged=plugged), raising=False)
    (told,) = (finding for finding in doctor.machine() if finding.what == "power")
    assert told.state == state


def test_a_data_folder_that_does_not_exist(house: Path) -> None:
    """Told once and not of every data set; the rest is still examined."""
    found, code = examined("--data-dir", "nowhere")
    assert (code, found["data"].state) == (1, "bad")
    assert "nowhere" in found["data"].says
    assert "data mnist" not in found
    assert found["backend sound"].state == "good"


def test_a_canary_that_dies(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning, no traceback: quick itself goes on without one, too."""
    monkeypatch.setattr(doctor, "probe", lambda _place: (_ for _ in ()).throw(WorkerError("failed", "it was killed", "")))
    found, code = examined()
    assert (found["noise"].state, code) == ("warning", options.EXIT_NOISY)
    assert "it was killed" in found["noise"].says


def test_no_place_for_temporary_files(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one no worker can start: said, with the variable that names another."""
    monkeypatch.setattr(tempfile, "tempdir", "nowhere")
    found, code = examined()
    assert (code, found["temporary files"].state) == (1, "bad")
    assert "TMPDIR" in found["temporary files"].says
    assert "noise" not in found


def test_for_people(house: Path) -> None:
    """The same in a table with a mark beside the colour, and what a first run on a GPU must check."""
    told = typed().stdout
    for text in ("| ok |", "| !  |", "backend sound", "A first run on a GPU must check:"):
        assert text in told


def test_room(tmp_path: Path) -> None:
    """Enough and too little, for a folder that is there and one that is not yet."""
    for folder in (tmp_path, tmp_path / "not" / "yet"):
        assert doctor.room("results", folder, 1, "go").state == "good"
        lacking = doctor.room("results", folder, 1e18, "go")
        assert lacking.state == "bad"
        assert lacking.says.endswith("quick needs 1000000000.00 GB: free space, or go")


@pytest.mark.parametrize(
    ("text", "state", "says"),
    [
        ("max 100000\n", "good", "max"),
        ("150000 100000\n", "warning", "150000; steadier is max: mend"),
        (None, "not known", "path"),
        ("", "not known", "path"),
        ("a folder", "not known", "path"),
    ],
)
def test_a_setting(tmp_path: Path, text: str | None, state: str, says: str) -> None:
    """By its first word; what the system does not show, or does not answer to, is not known."""
    path = tmp_path / "path"
    if text == "a folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    found = doctor.setting("CPU quota", str(path), good="max", do="mend")
    assert found.state == state
    assert says in found.says
