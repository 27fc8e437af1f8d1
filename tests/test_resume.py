"""Runs of the real command that are refused, interrupted or killed: what is on disk stays whole and is gone on with."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest
from filelock import FileLock

from harness import alone, data, records, report
from harness.alone import SCRATCH
from harness.cli import options
from harness.errors import HarnessError
from harness.report import html, markdown
from harness.report.findings import find
from tests.test_run import DYING, PATIENCE_S, build, command, of, text, workers

FLOODING = DYING.replace("os._exit(9)", "[os.write(2, b'x' * 2**20) for _ in range(1024)]")
RECORDS = ("run.json", "trials.jsonl", "proofs.jsonl")
pytestmark = [pytest.mark.processes, pytest.mark.skipif(os.name == "nt", reason="sends signals")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stand-ins; the tiny suite has two generations of two rounds, another one goes on until it is ended."""
    root = build(tmp_path_factory.mktemp("resume") / "house", {"left": "", "right": ""}, rounds=2)
    tiny = root / "suites" / "tiny.py"
    tiny.write_text(tiny.read_text("utf-8").replace("generations=1", "generations=2"), encoding="utf-8")
    (root / "suites" / "endless.py").write_text(tiny.read_text("utf-8").replace("rounds=2", "rounds=10_000"), encoding="utf-8")
    return root


def begun(house: Path, out: Path, *arguments: str | Path, suite: str = "tiny") -> subprocess.Popen[str]:
    """A run of a suite, begun."""
    return command(house, "run", suite, "--out", out, "--data-dir", data.SAMPLES, *arguments)


def wait_for(path: Path, words: str) -> None:
    """Until a file holds some words."""
    end = time.monotonic() + PATIENCE_S
    while words not in text(path):
        assert time.monotonic() < end, f"{words} never came"
        time.sleep(0.02)


# --- two at once


def test_two_runs_never_time_at_once(house: Path, tmp_path: Path) -> None:
    """The second names the first and leaves no folder, or waits for it; a run that is killed leaves no lock behind."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    with begun(house, first) as holder:
        wait_for(first / "run.json", "created")
        holder.send_signal(signal.SIGSTOP)  # as slow as a run can be
        with begun(house, second) as refused:
            told = refused.communicate(timeout=PATIENCE_S)[1]
        assert refused.returncode == options.EXIT_INPUT
        assert f"process {holder.pid}, is measuring on this machine" in told.splitlines()[-1]
        assert "--wait" in told.splitlines()[-1]
        assert not second.exists()
        with begun(house, third, "--wait") as waiting:
            line = waiting.stderr.readline()
            assert f"process {holder.pid}" in line
            time.sleep(1.0)
            assert not third.exists()
            holder.kill()
            waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 0
    assert (third / "report.html").is_file()


def test_a_temporary_folder_of_one_s_own_does_not_hide_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CONCORD_LOCK the file is one for all who share the machine."""
    monkeypatch.delenv("CONCORD_LOCK")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert alone.machine() == alone.SHARED.resolve() / alone.NAME
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONCORD_LOCK", "own.lock")
    assert alone.machine() == tmp_path.resolve() / "own.lock"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=lambda number: number.name)
def test_no_worker_survives_the_harness(house: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Not the one that computes, nor those that are stopped, where the harness had no time for anything."""
    out = tmp_path / "out"
    with begun(house, out, suite="endless") as process:
        wait_for(out / "trials.jsonl", '"phase": "predict"')
        alive = workers(psutil.Process(process.pid))
        process.send_signal(number)
        process.wait(PATIENCE_S)
    assert len(alive) == 4  # two, the twin, the canary
    assert psutil.wait_procs(alive, timeout=PATIENCE_S)[1] == []


def test_what_a_killed_harness_left_is_removed(house: Path, tmp_path: Path) -> None:
    """By whoever starts next; but not the folder of one that is alive, one whose lock is held, or that of another user."""
    place, outs = Path(tempfile.gettempdir()), [tmp_path / name for name in ("killed", "alive")]

    def left(pid: int) -> list[Path]:
        return list(place.glob(f"{SCRATCH}-{pid}-*"))

    with begun(house, outs[0], suite="endless") as killed:
        wait_for(outs[0] / "trials.jsonl", '"phase": "predict"')
        killed.kill()
    (folder,) = left(killed.pid)
    assert list(folder.glob("*/worker.log"))
    held, foreign = (place / f"{SCRATCH}-{killed.pid}-{name}" for name in ("held", "foreign"))
    held.mkdir()
    foreign.mkdir()
    if os.getuid() == 0:  # who else could give a folder away?
        os.chown(foreign, 12345, -1)
    with FileLock(held / "lock"), begun(house, outs[1]) as alive:
        wait_for(outs[1] / "run.json", "created")
        alive.send_signal(signal.SIGSTOP)
        with command(house, "run", "tiny", "--dry-run", "--data-dir", data.SAMPLES) as planning:
            assert planning.wait(PATIENCE_S) == 0
        assert left(planning.pid) == []
        assert set(left(killed.pid)) == {held, foreign} if os.getuid() == 0 else {held}
        assert len(left(alive.pid)) == 1
        alive.kill()
    foreign.rmdir()
    with command(house, "run", "tiny", "--dry-run", "--data-dir", data.SAMPLES) as planning:
        assert planning.wait(PATIENCE_S) == 0
    assert [*left(killed.pid), *left(alive.pid)] == []


# --- a disk that is full


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit of another process")
def test_a_disk_that_fills_up(house: Path, tmp_path: Path) -> None:
    """In the middle of a line: one sentence names the file, what was written before is whole, and the run can go on."""
    out = tmp_path / "out"
    with begun(house, out) as process:
        wait_for(out / "trials.jsonl", '"phase": "predict"')
        process.send_signal(signal.SIGSTOP)
        before = complete_lines(out)
        full = len(text(out / "trials.jsonl")) + 100  # no file of this process may grow beyond
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (full, full))
        process.send_signal(signal.SIGCONT)
        told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == options.EXIT_INPUT, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith(f"concord: cannot write {out / 'trials.jsonl'} (File too large): free space")
    assert (out / "trials.jsonl").stat().st_size == full
    assert complete_lines(out) == before
    resumed(house, out)
    whole(out)


def views(folder: Path) -> dict[str, bytes]:
    """The files of a run but for its records."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in RECORDS}


def test_a_view_that_does_not_fit(house: Path, interrupted: Path, tmp_path: Path) -> None:
    """Told by the command in one sentence."""
    out = shutil.copytree(interrupted, tmp_path / "run")
    before = views(out)
    view = max(before, key=lambda name: len(before[name]))
    limit = len(before[view]) - 1000
    code = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({limit}, {limit})); from harness.cli import main; main()"
    typed = [sys.executable, "-c", code, "report", str(out)]
    done = subprocess.run(typed, cwd=house, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == options.EXIT_INPUT
    assert "Traceback" not in done.stderr
    assert f"cannot write {out / view} (File too large): free space" in done.stderr.splitlines()[-1]
    assert views(out) == before


def test_no_view_that_does_not_fit_replaces_one(interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever size the disk is full: every file is the old one or the new one, whole, and nothing half made lies about."""
    out = shutil.copytree(interrupted, tmp_path / "run")
    found = find(records.read(out))
    page, short = 99 * html.render(found, report.frames(found)), markdown.render(found)
    monkeypatch.setattr(html, "render", lambda *_: page)  # the largest of all, and made but once
    monkeypatch.setattr(markdown, "render", lambda *_: short)
    report.write(found)
    new, limits, told = views(out), resource.getrlimit(resource.RLIMIT_FSIZE), list[str]()
    for size in sorted({max(len(view) - less, 0) for view in new.values() for less in (1, len(view) // 2, len(view))}):
        for name in new:
            (out / name).write_bytes(b"old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            report.write(found)
        except HarnessError as error:
            told.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        after = views(out)
        assert after.keys() == new.keys()
        assert [name for name in new if after[name] not in {b"old", new[name]}] == []
    assert all("(File too large): free space" in text for text in told)
    assert {"report.html", "trials.csv", "summary.csv"} <= {Path(text.split()[2]).name for text in told}


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk")
@pytest.mark.parametrize("step", [4000, *(pytest.param(kib, marks=pytest.mark.thorough) for kib in (300, 1000))])
def test_a_disk_that_is_full_again_and_again(house: Path, small_disk: Callable[[int], Path], step: int) -> None:
    """A real one, larger by some KiB each time the run is gone on with: a sentence each time, until all fits and is whole.

    By more than a generation writes, which begins anew each time: by less it would never end.
    """
    size, code, kept = 60, options.EXIT_INPUT, Counter[str]()
    while code:
        out = small_disk(size) / "run"
        with command(house, "run", "--resume", out) if (out / "run.json").is_file() else begun(house, out) as process:
            told = process.communicate(timeout=120)[1]
        code = process.returncode
        assert code in {0, options.EXIT_INPUT}, told
        assert "Traceback" not in told
        assert not code or "No space left on device" in told.splitlines()[-1]
        lines = Counter(complete_lines(out))
        assert not kept - lines
        kept = lines
        if not kept:
            shutil.rmtree(out, ignore_errors=True)  # nothing was begun
        size += step
        finished = (out / "run.json").is_file() and records.read(out).manifest["finished"]
        if code and finished:  # all but the views
            while code:
                size += step
                small_disk(size)
                with command(house, "report", out) as process:
                    code = process.wait(60)
    whole(out)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk")
def test_no_room_for_temporary_files(
    house: Path, small_disk: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, with the place; nothing is begun and nothing is left there."""
    monkeypatch.setenv("TMPDIR", str(small_disk(60)))
    with begun(house, tmp_path / "out") as process:
        told = process.communicate(timeout=PATIENCE_S)[1]
    (line,) = told.splitlines()[-1:]
    assert (process.returncode, len(line) < 400) == (options.EXIT_INPUT, True), told
    assert "No space left on device" in line
    assert "set TMPDIR" in line
    assert not (tmp_path / "out").exists()
    assert [path for path in Path(os.environ["TMPDIR"]).iterdir() if path.name.startswith(SCRATCH)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk")
def test_a_gigabyte_of_log(small_disk: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written, where 64 MiB are left: a record of it, and the other's rounds go on."""
    monkeypatch.setenv("TMPDIR", str(small_disk(2**16)))
    root = build(tmp_path / "house", {"flooding": FLOODING, "sound": ""}, rounds=2)
    with begun(root, tmp_path / "out") as process:
        told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == options.EXIT_CELL, told
    found = records.read(tmp_path / "out")
    assert {t.status for t in of(found, backend="sound")} == {"ok"}
    lost = of(found, backend="flooding", status="failed")
    assert lost
    assert all("No space left on device" in t.reason and t.log.endswith("x" * 100) for t in lost)


# --- two reports at once


STOPPING = """
import os, signal, sys
def stop(event, arguments):
    if event == "os.rename" and os.fspath(arguments[1]).endswith("trials.csv"):
        os.kill(os.getpid(), signal.SIGSTOP)
sys.addaudithook(stop)
from harness.cli import main
main()
"""


def waits_for_a_lock(pid: int) -> bool:
    """Whether a process stands in the system's queue for one."""
    return any("->" in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


@pytest.mark.skipif(not Path("/proc/locks").is_file(), reason="asks /proc who waits")
def test_two_reports_do_not_mix(house: Path, interrupted: Path, tmp_path: Path) -> None:
    """One stops in the middle of its files, another begins when there is one record more: all files are the later one's."""
    out = shutil.copytree(interrupted, tmp_path / "run")
    for name in views(out):
        (out / name).unlink()
    env = {**os.environ, "PYTHONPATH": str(house)}
    with subprocess.Popen([sys.executable, "-c", STOPPING, "report", out], cwd=house, env=env) as first:
        wait_for(out / "summary.csv", "task")
        while psutil.Process(first.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.02)
        kept = records.read(out).trials[-1]
        records.append(out / "trials.jsonl", replace(kept, status="failed", reason="one record more"))
        with command(house, "report", out) as second:
            while second.poll() is None and not waits_for_a_lock(second.pid):
                time.sleep(0.02)
            first.send_signal(signal.SIGCONT)
            assert [first.wait(60), second.wait(60)] == [0, 0]
    for name in ("trials.csv", "report.html", "report.md"):
        assert "one record more" in text(out / name)


# --- interrupted and gone on with


def whole(out: Path) -> None:
    """The run is finished: every cell proven and trained once, two complete generations of every turn, views of them."""
    found = records.read(out)
    assert found.manifest["finished"]
    aside, complete = found.progress["aside"], found.progress["complete"]
    assert len(complete) == 2
    assert sorted(aside + complete) == list(range(len(aside + complete)))
    levels = Counter(map(records.same, found.proofs))
    assert set(levels.values()) == {1}
    assert {row.verdict for row in found.proofs} == {"proven"}
    assert {trial.status for trial in found.trials} == {"ok"}
    for name in ("left", "right"):
        assert len(of(found, backend=name, phase="fit")) == 1
        assert [t.generation for t in of(found, backend=name, phase="first_call")] == complete
        for phase in ("train", "predict", "latency"):
            turns = [(t.generation, t.round) for t in of(found, backend=name, phase=phase)]
            assert turns == [(generation, round_) for generation in complete for round_ in range(2)]
    summary = pd.read_csv(out / "summary.csv")
    cold = summary[(summary["backend"] == "left") & (summary["metric"] == "train_first_call_cold")]["n"].sum()
    begun = {*complete} & {*found.progress["starts"]}
    controls = [t.generation for t in of(found, backend="left", phase="first_call", of="control")]
    assert cold == len(begun) + len(begun.intersection(controls))
    assert (out / "report.html").is_file()


def complete_lines(out: Path) -> list[str]:
    """Every record that is on disk whole."""
    return [line for name in ("proofs.jsonl", "trials.jsonl") for line in text(out / name).split("\n")[:-1]]


def resumed(house: Path, out: Path) -> str:
    """The run, gone on with to its end; what it said. No record that was whole is lost or changed."""
    before = complete_lines(out)
    with command(house, "run", "--resume", out) as process:
        told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, told
    after = complete_lines(out)
    assert not Counter(before) - Counter(after)
    return told


@pytest.fixture(scope="module")
def interrupted(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that Ctrl-C ended in its second generation: exit code 130, views, and the words with which to go on."""
    out = tmp_path_factory.mktemp("interrupted") / "run"
    with begun(house, out) as process:
        wait_for(out / "trials.jsonl", '"generation": 1')
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == options.EXIT_INTERRUPTED, told
    assert told.splitlines()[-1].endswith(f"go on with: concord run --resume {out}")
    assert (out / "report.html").is_file()
    return out


def test_an_interrupted_run_is_finished(house: Path, interrupted: Path, tmp_path: Path) -> None:
    """Neither proof nor training is repeated; half of a generation is set aside, and so is a line that is half there."""
    out = shutil.copytree(interrupted, tmp_path / "run")
    trials = out / "trials.jsonl"
    half = text(trials).splitlines()[-1][:-20]
    with trials.open("a") as file:
        file.write(half)
    told = resumed(house, out)
    assert "proof " not in told
    assert "train " not in told
    whole(out)
    progress = records.read(out).progress
    assert (progress["complete"], progress["aside"], progress["starts"]) == ([0, 2], [1], [0, 2])
    assert text(out / "trials.jsonl.torn") == half + "\n"
    assert "1" not in {str(generation) for generation in pd.read_csv(out / "trials.csv")["generation"]}
    assert "cut short, and that were measured again: 1." in text(out / "report.html")
    lengths = {(t.cell.backend, t.steps) for t in of(records.read(out), phase="train")}
    assert len(lengths) == 2, "samples of one cell have one length, before and after"
    with command(house, "run", "--resume", out) as process:
        assert "is finished" in process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == options.EXIT_INPUT


@pytest.mark.parametrize(
    "where",
    [("code",), ("data", "german_credit", "digest"), ("environment", "workers", "left", "versions", "numpy")],
    ids=lambda where: where[0],
)
def test_what_has_changed_is_refused(house: Path, interrupted: Path, tmp_path: Path, where: tuple[str, ...]) -> None:
    """Two halves of different things are no run: one sentence names what differs, and nothing is touched."""
    out = shutil.copytree(interrupted, tmp_path / "run")
    manifest = json.loads(text(out / "run.json"))
    *path, last = where
    inner = manifest
    for name in path:
        inner = inner[name]
    inner[last] = "another"
    (out / "run.json").write_text(json.dumps(manifest))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with command(house, "run", "--resume", out) as process:
        told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == options.EXIT_INPUT
    assert f"was begun with another {'.'.join(where)}: " in told.splitlines()[-1]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_reboot_may_move_what_the_kernel_keeps(house: Path, interrupted: Path, tmp_path: Path) -> None:
    """A little of the machine's memory more or less is the same machine."""
    out = shutil.copytree(interrupted, tmp_path / "run")
    manifest = json.loads(text(out / "run.json"))
    manifest["environment"]["machine"]["memory_bytes"] += 4096
    (out / "run.json").write_text(json.dumps(manifest))
    resumed(house, out)
    whole(out)


@pytest.mark.parametrize("more", [("--seed", "3"), ("full",), ("--out", "elsewhere")], ids=" ".join)
def test_a_run_is_gone_on_with_as_it_was_begun(house: Path, interrupted: Path, more: tuple[str, ...]) -> None:
    """Another option beside --resume would be ignored, so it is refused."""
    with command(house, "run", "--resume", interrupted, *more) as process:
        told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == options.EXIT_INPUT
    assert "--resume takes everything from the run" in told


def killed(process: subprocess.Popen[str], out: Path, records_more: int, delay_s: float) -> int:
    """SIGKILL after so many records more and a moment, unless it has ended before; its exit code."""
    wanted = len(complete_lines(out)) + records_more
    with process:
        while len(complete_lines(out)) < wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay_s)
        process.kill()
        told = process.communicate()[1]
    assert process.returncode in {0, -signal.SIGKILL}, told
    return process.returncode


@pytest.mark.parametrize("kills", [5, pytest.param(200, marks=pytest.mark.thorough)])
def test_a_run_is_killed_again_and_again(house: Path, tmp_path: Path, kills: int) -> None:
    """SIGKILL at random moments, each time the rest of the run goes on: nothing whole is lost, nothing is there twice."""
    luck = random.Random(kills)
    done, out, kept = 0, tmp_path / "0", Counter[str]()
    while done < kills:
        going_on = (out / "run.json").is_file()
        process = command(house, "run", "--resume", out) if going_on else begun(house, out)
        code = killed(process, out, luck.randrange(30), luck.uniform(0, 0.5))
        done += code != 0
        now = Counter(complete_lines(out))
        assert not kept - now
        kept = now
        finished = (out / "run.json").is_file() and records.read(out).manifest["finished"]
        if finished:
            with command(house, "report", out) as process:  # it may have been killed as it made its views
                assert process.wait(PATIENCE_S) == 0
            whole(out)
        if finished or not (out / "run.json").is_file():
            out, kept = tmp_path / f"after {done}", Counter[str]()
    if (out / "run.json").is_file():
        resumed(house, out)
        whole(out)
