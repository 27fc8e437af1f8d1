"""Runs in other tools' forms, read back by those tools' own readers: JUnit XML, Parquet, TensorBoard's event files."""

import math
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from click.testing import CliRunner

from harness import catalog, export, records, report
from harness.cli import main
from harness.records import Cell, Proof, Run, Trial
from harness.report import tables
from harness.report.findings import find

CELL = Cell("cifar_resnet:depth=20", "torch", "eager", "cpu", "float32", "cifar10", 8)
EVIL = "../../\x00\x1b[31m<script>]]>\udc80\ufffe"
PROVEN = Proof(CELL.task, "torch", "eager", "float64", "loss", "numpy", 2e-16, 1e-12, "loss at step 0", "proven")
AT = "2026-01-02T03:04:05.678+00:00"
SECONDS = 1767323045.678  # the same moment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with a proof of every verdict and two trainings, everything of one of them an attack."""
    records.write_manifest(tmp_path, {"created": AT})
    epochs = ({"epoch": 1, "test_accuracy": 0.25}, {"epoch": 2, "test_accuracy": 0.5})
    lost = Trial(CELL, "train", "failed", reason="NA")
    fit = Trial(CELL, "fit", "ok", seed=3, losses=(2.0, float("nan"), 0.5), epochs=epochs, at=AT)
    evil = replace(CELL, task=EVIL, backend="..", mode=EVIL)
    for trial in (fit, lost, Trial(evil, "fit", "ok", losses=(1.0,), epochs=({EVIL: 0.5},), at=EVIL)):
        records.append(tmp_path / "trials.jsonl", trial)
    failed = replace(PROVEN, level="gradients", worst=0.1, where="conv1/kernel at step 0", verdict="failed")
    skipped = replace(PROVEN, backend="jax", mode="jit", worst=None, verdict="skipped", reason="jax is not installed")
    for proof in (PROVEN, failed, skipped, Proof(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, 1.0, 0.1, EVIL, "failed", EVIL)):
        records.append(tmp_path / "proofs.jsonl", proof)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """That run, read."""
    return records.read(folder)


def needs(package: str) -> pytest.MarkDecorator:
    """The mark of a test that an environment without an extra cannot run."""
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


def concord(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; what it does not catch is a traceback."""
    done = CliRunner().invoke(main, list(map(str, arguments)))
    return done.exit_code, done.stdout, done.stderr


def test_junit_has_a_case_a_level(folder: Path) -> None:
    """What failed says how far off and where, what was skipped why; whatever the records hold, the XML can be read."""
    file = folder / "ci" / "proofs.xml"
    assert concord("export", folder, "--junit", file) == (0, f"{file}\n", "")
    first, evil = ET.parse(file).getroot()  # noqa: S314 - our own
    assert dict(first.attrib) == {"name": CELL.task, "tests": "4", "failures": "2", "skipped": "1", "errors": "0"}
    proven, failed, skipped, lost = first
    assert proven.attrib == {"classname": f"{CELL.task}.torch eager", "name": "loss float64 against numpy"}
    assert list(proven) == []
    assert failed[0].tag == "failure"
    assert failed[0].get("message") == "conv1/kernel at step 0, 0.1 > 1e-12"
    assert (skipped[0].tag, skipped[0].get("message")) == ("skipped", "jax is not installed")
    assert (lost.get("name"), lost[0].tag, lost[0].get("message")) == (
        "train in generation 0 (batch 8, threads 1, seed 0, round 0, attempt 0)",
        "failure",
        "NA",
    )
    assert evil.get("name") == "../../\ufffd\ufffd[31m<script>]]>?\ufffd"
    assert [case[0].tag for case in evil] == ["failure"]


@needs("pyarrow")
def test_parquet_reads_back_as_the_frames_of_the_csv_files(folder: Path, run: Run) -> None:
    """Value for value; what a CSV file loses, the type, is kept."""
    code, out, err = concord("export", folder, "--parquet", folder / "tables")
    assert (code, err) == (0, "")
    wanted = report.frames(find(run))
    assert out.splitlines() == [str(folder / "tables" / f"{name}.parquet") for name in [*wanted, "trials"]]
    for name, frame in wanted.items():
        found = pd.read_parquet(folder / "tables" / f"{name}.parquet")
        pd.testing.assert_frame_equal(found, frame, check_dtype=False)
    assert len(wanted["losses"]) == 4
    trials = pd.read_parquet(folder / "tables" / "trials.parquet")
    assert trials.block.dtype == "Int64"
    assert set(trials.reason.dropna()) == {"NA"}
    assert len(trials) == "".join(tables.trials(run)).count("\n") - 1


@needs("pyarrow")
@pytest.mark.parametrize("reason", ["-9 received", "-9", "=1+1", "NA"])
def test_parquet_holds_a_text_as_it_is(tmp_path: Path, reason: str) -> None:
    """No apostrophe, which is for spreadsheets, and no number where a text looks like one."""
    records.write_manifest(tmp_path, {})
    records.append(tmp_path / "trials.jsonl", Trial(CELL, "train", "failed", reason=reason))
    export.parquet(records.read(tmp_path), tmp_path / "tables")
    assert [*pd.read_parquet(tmp_path / "tables" / "trials.parquet").reason] == [reason]


def events(folder: Path) -> list[tuple[str, int, float, float]]:
    """Tag, step, value and time of every scalar in the one event file of a folder, read and checked by TensorBoard."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.errors import OutOfRangeError
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    (file,) = folder.iterdir()
    reader, found = PyRecordReader_New(str(file)), []
    while True:
        try:
            reader.GetNext()  # checks the sums of every record
        except OutOfRangeError:
            return found
        event = Event.FromString(reader.record())
        found += [(value.tag, event.step, value.simple_value, event.wall_time) for value in event.summary.value]


@needs("tensorboard")
def test_event_files_hold_every_loss_and_metric(folder: Path) -> None:
    """One folder a training, below the one that was named whatever the records hold."""
    out = folder / "events"
    code, told, err = concord("export", folder, "--tensorboard", out)
    assert (code, err) == (0, "")
    places = [Path(line) for line in told.splitlines()]
    assert [place.parent for place in places] == [out, out]
    assert sorted(out.iterdir()) == sorted(places)
    assert places[0].name == "cifar_resnet depth=20 torch eager seed 3"
    first, broken, *rest = events(places[0])
    assert first == ("loss", 0, 2.0, SECONDS)
    assert math.isnan(broken[2])
    metric = "epoch/test_accuracy"
    assert rest == [("loss", 2, 0.5, SECONDS), (metric, 1, 0.25, SECONDS), (metric, 2, 0.5, SECONDS)]
    assert [value for _, _, value, _ in events(places[1])] == [1.0, 0.5]
    code, told, err = concord("export", folder, "--tensorboard", out)
    assert (code, told) == (2, "")
    assert err == f"concord: {places[0]} exists: name another folder, or remove it.\n"


@needs("tensorboard")
def test_exporting_events_loads_no_framework(folder: Path) -> None:
    """Not even where one is installed: TensorBoard would take TensorFlow if it were asked for its files."""
    code = "import sys; from harness.cli import main; main(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    command = [sys.executable, "-c", code, "export", str(folder), "--tensorboard", str(folder / "events")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=catalog.ROOT)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "tensorboard" in loaded
    assert not loaded & {"torch", "tensorflow", "keras", "jax", "grpc"}


@pytest.mark.parametrize(("option", "package"), [("--parquet", "pyarrow"), ("--tensorboard", "tensorboard")])
def test_a_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, option: str, package: str) -> None:
    """One sentence that says what to install, exit code 2, and nothing written."""
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = concord("export", folder, option, folder / "out")
    assert (code, out) == (2, "")
    assert err == f"concord: {package} is not installed: {catalog.install(option.strip('-'))}.\n"
    assert not (folder / "out").exists()


def test_what_to_write_must_be_said(folder: Path) -> None:
    """And the run must be one."""
    code, _, err = concord("export", folder)
    assert (code, "name at least one of --junit" in err) == (2, True)
    code, _, err = concord("export", folder / "nowhere", "--junit", folder / "x.xml")
    assert (code, "nowhere holds no run.json" in err) == (2, True)
    assert not (folder / "x.xml").exists()


@pytest.mark.parametrize("option", ["--junit", "--parquet", "--tensorboard"])
def test_what_cannot_be_written_is_named(folder: Path, tmp_path: Path, option: str) -> None:
    """The place that was asked for, why not, and what to do."""
    if option != "--junit":
        pytest.importorskip({"--parquet": "pyarrow"}.get(option, "tensorboard"))
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" if option != "--junit" else Path("/dev/full")
    code, out, err = concord("export", folder, option, place)
    assert (code, out) == (2, "")
    assert err.startswith(f"concord: cannot write {place} (")
    assert err.endswith("): mend that or name another place.\n")


def test_a_record_without_a_time_is_dated_at_the_beginning() -> None:
    """Time zones count; what is no time does not stop the export."""
    assert (export.moment(AT), export.moment(""), export.moment(EVIL)) == (SECONDS, 0.0, 0.0)
