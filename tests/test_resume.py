"""Runs of the real command that are refused, interrupted or killed: what is on disk stays whole and is gone on with."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import data
from harness.cli import options
from tests.test_run import build, command, text

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends signals")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stand-ins and the tiny suite: two generations of two rounds."""
    root = build(tmp_path_factory.mktemp("resume") / "house", {"left": "", "right": ""}, rounds=2)
    tiny = root / "suites" / "tiny.py"
    tiny.write_text(tiny.read_text("utf-8").replace("generations=1", "generations=2"), encoding="utf-8")
    return root


def begun(house: Path, out: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """A run of the tiny suite, begun."""
    return command(house, "run", "tiny", "--out", out, "--data-dir", data.SAMPLES, *arguments)


def wait_for(path: Path, words: str) -> None:
    """Until a file holds some words."""
    end = time.monotonic() + 60
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
            told = refused.communicate(timeout=60)[1]
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
            waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert (third / "report.html").is_file()
