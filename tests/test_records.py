"""Records as they are read back: what a later Concord wrote beside is kept, and what is no record is told."""

import json
import math
import os
import resource
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness import disk, records
from harness.errors import HarnessError
from harness.records import Cell, Proof, Trial

CELL = Cell("task", "left", "plain", "cpu", "float32", "data", 8)
TRIAL = Trial(cell=CELL, phase="train", status="ok", times_ns=(7, 8), steps=2)
PROOF = Proof("task", "left", "plain", "float64", "loss", "numpy", 0.0, 1e-12, "", "proven")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one trial and one proof."""
    records.write_manifest(tmp_path, {})
    records.append(tmp_path / "trials.jsonl", TRIAL)
    records.append(tmp_path / "proofs.jsonl", PROOF)
    return tmp_path


@pytest.mark.parametrize(("name", "record"), [("trials", TRIAL), ("proofs", PROOF)])
def test_unknown_fields_survive(run: Path, name: str, record: Trial | Proof) -> None:
    """Read, and written again as they came; the rest of the record is as ever."""
    path = run / f"{name}.jsonl"
    row = {**records.row(record), "colour": {"of": ["the", "case"]}}
    path.write_text(json.dumps(row) + "\n")
    (found,) = getattr(records.read(run), name)
    assert {**asdict(found), "unknown": {}} == asdict(record)
    assert json.dumps(records.row(found)) == json.dumps(row)
    assert "unknown" not in records.row(found)


COUNTS = st.integers(0, 2**63 - 1)
FIGURES = st.text().filter(lambda name: not name.endswith(("_s", "_bytes")))
TRIALS = st.builds(
    Trial,
    cell=st.builds(Cell, *[st.text()] * 6, batch=st.integers(1, 2**63 - 1), threads=st.integers(1, 2**63 - 1)),
    phase=st.text(),
    status=st.sampled_from(get_args(records.Status)),
    times_ns=st.lists(COUNTS, max_size=9).map(tuple),
    values=st.dictionaries(FIGURES, st.floats()),
    facts=st.dictionaries(st.text(min_size=5), st.recursive(st.none() | st.floats() | st.text(), st.lists)),
    losses=st.lists(st.floats()).map(tuple),
    epochs=st.lists(st.dictionaries(FIGURES, st.floats(), max_size=3), max_size=3).map(tuple),
    reason=st.text(),
    log=st.text(),
    at=st.text(),
)


@given(TRIALS)
@example(trial=replace(TRIAL, values={"auc": math.nan, "log_loss": math.inf, "import_s": 0.0, "peak_bytes": -4096.0}))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_recorded_is_read(tmp_path: Path, trial: Trial) -> None:
    """Whatever it holds: numbers that are none, any text, to the last bit."""
    path = tmp_path / "trials.jsonl"
    path.write_text(json.dumps(records.row(trial)) + "\n")
    (found,) = records.each(path, records.trial)
    assert repr(found) == repr(trial)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"phase": "train"', "is no record"),
        (b"\xff\xfe", "is no record"),
        (b"[" * 100_000, "is no record"),
        (b"[1]", r"is no record \(it is not a JSON object\)"),
        (b'{"phase": "train"}', "is no record"),
        (json.dumps({**records.row(TRIAL), "cell": {**asdict(CELL), "nodes": 2}}).encode(), "is no record"),
        (json.dumps({**records.row(TRIAL), "cell": {**asdict(CELL), "threads": 0}}).encode(), "is no record"),
        (json.dumps({**records.row(TRIAL), "cell": 5}).encode(), "is no record"),
    ],
    ids=["cut", "no text", "deep", "list", "empty", "another kind of cell", "a cell without a CPU", "no cell"],
)
def test_a_line_that_is_no_record(run: Path, line: bytes, words: str) -> None:
    """Its file and number, in one sentence; a cell with more in it is another measurement, and never taken for ours."""
    with (run / "trials.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(HarnessError, match=f"trials.jsonl line 2 {words}"):
        records.read(run)


@pytest.mark.parametrize(
    ("place", "figures"),
    [
        ("values", {"import_s": math.nan}),
        ("values", {"import_s": -0.5}),
        ("values", {"train_first_call_s": math.inf}),
        ("values", {"peak_bytes": math.inf}),
        ("values", {"peak_bytes": math.nan}),
        ("epochs", {"train_s": math.nan}),
    ],
)
def test_what_no_clock_and_no_meter_says(run: Path, place: str, figures: dict[str, float]) -> None:
    """JSON can hold it, and no view can draw it: told with the file, the line and the name."""
    row = {**records.row(TRIAL), place: [figures] if place == "epochs" else figures}
    with (run / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    ((name, value),) = figures.items()
    with pytest.raises(HarnessError, match=rf"trials.jsonl line 2 is no record \('{name}' is {value}\): restore it"):
        records.read(run)


def test_brackets_without_end(run: Path) -> None:
    """A manifest that no page could follow is told as one that no parser can."""
    for times in (60, 90_000):
        facts = {**json.loads((run / "run.json").read_text("utf-8")), "environment": "HERE"}
        (run / "run.json").write_text(json.dumps(facts).replace('"HERE"', '{"a":' * times + "1" + "}" * times), "utf-8")
        with pytest.raises(HarnessError, match=r"run.json is no record \("):
            records.read(run)


def test_drafts_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    """By whoever writes the file next; not those of one that is alive, nor of another file, nor what somebody named so."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    others = [f"a.csv.{os.getppid()}.part", f"b.csv.{gone.pid}.part", "a.csv.mine.part", "a.csv.part"]
    for name in (f"a.csv.{gone.pid}.part", *others):
        (tmp_path / name).touch()
    disk.put(tmp_path / "a.csv", ["whole"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.csv", *others])


@pytest.mark.parametrize("schema", [1, 99, None])
def test_another_schema_names_who_can_read_it(run: Path, schema: int | None) -> None:
    """Older or newer: the version of Concord that wrote it."""
    (run / "run.json").write_text(json.dumps({"schema": schema, "concord": "7.8.9"}))
    with pytest.raises(HarnessError, match=rf"schema {schema}, .* reads {records.SCHEMA}: .* \(version: 7.8.9\)"):
        records.read(run)


def journey(folder: Path, written: list[str]) -> None:
    """What a run writes, from wherever an earlier start of it came to; what has been written is noted."""
    for name, record in (("proofs", PROOF), ("trials", TRIAL), ("trials", replace(TRIAL, log="x" * 900))):
        records.write_manifest(folder, {"so far": written})
        path = folder / f"{name}.jsonl"
        disk.mend(path)
        line = json.dumps(records.row(record))
        if line not in written:
            records.append(path, record)
            written.append(line)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_disk_that_is_full_at_any_byte(tmp_path: Path) -> None:
    """A sentence, wherever a file cannot grow beyond; what was written before is whole, and the rest can be made good."""
    limits, told = resource.getrlimit(resource.RLIMIT_FSIZE), 0
    for size in range(0, 3000, 59):
        folder, written = tmp_path / str(size), list[str]()
        folder.mkdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            journey(folder, written)
        except HarnessError as error:
            told += "(File too large): free space" in str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        kept = [json.dumps(row) for name in ("proofs", "trials") for row in records.each(folder / f"{name}.jsonl", dict)]
        assert kept == written
        if (folder / "run.json").is_file():
            assert len(records.read(folder).trials) == len(written[1:])
        assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []
        journey(folder, written)
        assert len(records.read(folder).trials) == 2
        assert len(written) == 3
    assert told > 30


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_records_kept_together_are_whole_one_by_one(tmp_path: Path) -> None:
    """Wherever a disk is full: those before the torn one stay, and what is added later begins a line of its own."""
    records.Journal(tmp_path).keep()
    assert list(tmp_path.iterdir()) == []  # no line for no record
    turn, lengths = [replace(TRIAL, position=k, log="x" * 200) for k in range(3)], set[int]()
    records.append(tmp_path / "whole", *turn)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in range(0, (tmp_path / "whole").stat().st_size, 59):
        journal = records.Journal(tmp_path / str(size))
        journal.folder.mkdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(HarnessError, match="File too large"):
                journal.keep(*turn)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        path = journal.folder / "trials.jsonl"
        kept = list(records.each(path, records.trial))
        assert kept == turn[: len(kept)]
        lengths.add(len(kept))
        disk.mend(path)
        records.append(path, *turn[len(kept) :])
        assert list(records.each(path, records.trial)) == turn
    assert lengths == {0, 1, 2}


def test_a_torn_line_is_moved_away_once(run: Path) -> None:
    """What was whole stays byte by byte, the next record has a line of its own, and nothing is thrown away."""
    path, torn = run / "trials.jsonl", run / "trials.jsonl.torn"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-9])
    for _ in range(2):
        disk.mend(path)
        assert path.read_bytes() == whole
        assert torn.read_bytes() == whole[:-9] + b"\n"
    records.append(path, TRIAL)
    assert records.read(run).trials == (TRIAL, TRIAL)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks /proc which file a descriptor is")
def test_names_are_on_disk_too(tmp_path: Path, on_disk: list[str]) -> None:
    """A new file's folder is synced after the file, that of a replaced one after the replacement, and no folder without need."""
    folder = tmp_path / "run"
    folder.mkdir()
    records.write_manifest(folder, {})
    assert on_disk == [f"run.json.{os.getpid()}.part", "-> run.json", "run", tmp_path.name]
    on_disk.clear()
    records.append(folder / "trials.jsonl", TRIAL)
    records.append(folder / "trials.jsonl", TRIAL)
    assert on_disk == ["trials.jsonl", "run", "trials.jsonl"]


def test_a_system_that_syncs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows, which opens none: records are written all the same."""
    opened = os.open

    def refuse(path: Path, *rest: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    records.write_manifest(tmp_path, {})
    records.append(tmp_path / "trials.jsonl", TRIAL)
    assert records.read(tmp_path).trials == (TRIAL,)
