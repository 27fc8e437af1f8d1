"""What is shown of a run while it goes on: a view on a real terminal, plain lines where there is none."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness import data, environment, ranking, records
from harness.cli import live, options
from harness.cli.live import EVERY_S, Log, View, standing, told
from harness.report.words import sized
from tests.test_report import example_run
from tests.test_run import build, command, planned

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")
# The terminal becomes the controlling one, so that what is typed there reaches the command, and its workers, as signals.
pytestmark = pytest.mark.processes
ENTER = (
    "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.executable, [sys.executable, '-m', 'harness', *sys.argv[2:]])"
)
ERASED = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")  # how a view takes back what it has drawn
CODES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
KEY = "risk_mlp:data=german_credit"


class Terminal:
    """A run of the tiny suite in a terminal of its own."""

    def __init__(self, house: Path, out: Path, *options: str, **variables: str) -> None:
        """Begin it; what it draws is read from now on."""
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 120))
        unwanted = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "DISPLAY", "WAYLAND_DISPLAY"}
        env = {name: value for name, value in os.environ.items() if name not in unwanted}
        env |= {"PYTHONPATH": str(house), "TERM": "xterm-256color", **variables}
        typed = ["run", "tiny", "--out", str(out), "--data-dir", str(data.SAMPLES), *options]
        line = [sys.executable, "-c", ENTER, str(theirs), *typed]
        self.process = subprocess.Popen(line, cwd=house, env=env, pass_fds=[theirs])
        os.close(theirs)
        self.raw = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        """Take in all that is drawn, until nobody holds the terminal any more."""
        with suppress(OSError):
            while True:
                self.raw += os.read(self.ours, 65536).decode("utf-8", "replace")

    def until(self, words: str) -> None:
        """Wait until some words are drawn."""
        end = time.monotonic() + 120
        while words not in self.raw:
            assert time.monotonic() < end, f"{words} never came: {self.raw[-2000:]}"
            time.sleep(0.02)

    def end(self) -> int:
        """Wait for it; the exit code."""
        code = self.process.wait(240)
        self.reader.join(10)
        os.close(self.ours)
        return code

    def frames(self) -> list[str]:
        """What was drawn, one picture after the other, each below the lines printed with it; no codes."""
        return [re.sub(r" *\r\n", "\n", CODES.sub("", frame)) for frame in ERASED.split(self.raw)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stand-ins; one round of one generation."""
    return build(tmp_path_factory.mktemp("live") / "house", {"left": "", "right": ""})


def longer(root: Path, numbers: str) -> Path:
    """A house whose tiny suite has other numbers."""
    house = build(root / "house", {"left": "", "right": ""})
    tiny = house / "suites" / "tiny.py"
    tiny.write_text(tiny.read_text("utf-8").replace("generations=1, rounds=1", numbers), encoding="utf-8")
    return house


# --- on a terminal


def test_a_run_is_watched(tmp_path: Path) -> None:
    """Proof, training and turns, what is next, the time and the verdicts so far; then the table, and the terminal as it was."""
    rounds = 40
    house, out = longer(tmp_path, f"generations=3, rounds={rounds}, budget_s=1"), tmp_path / "out"
    terminal = Terminal(house, out)
    assert terminal.end() == 0, terminal.raw
    frames = terminal.frames()

    def shown(pattern: str) -> list[str]:
        return [frame for frame in frames if re.search(pattern, frame)]

    assert shown(rf"phase  proof and training\nnow    (.*\n +)?proof of {KEY} in float64: left plain\n(.*\n)?next   timing\n")
    assert shown(rf"training of {KEY}: right plain, seed 0")
    if len(environment.available_cpus()) > 1:
        assert shown(r"now    (proof|training).*\n       (proof|training).*\nnext")
    assert shown(r"phase  generation 1 of at least 3\nnow    (left|right) plain( copy 1)? starts\nnext   round 1\n")
    turn = rf"now    {KEY} (train|predict|latency): (left|right) plain( copy 1)?\nnext   (left|right|{KEY}|contended|the rest)"
    turns = shown(rf"phase  generation \d of at least 3, round \d+ of {rounds}( again)?\n{turn}")
    assert turns
    assert all(re.search(r"time   \d.* of 1 s\n", frame) for frame in turns)
    assert shown(r"generation 1 .*\n.*\n.*\nno verdict before the first generation ends")
    pair = r"(left|right) plain; (left|right) plain \d+\.\d\dx"
    assert shown(rf"generation 2 (.*\n)+so far:\n{KEY} train, batch 8: {pair} indicative")
    limits = r"(no limits|[\d.,e-]+ to [\d.,e+]+)"
    assert shown(rf"generation 3 (.*\n)+so far:\n{KEY} train, batch 8: {pair} \({limits}\) indicative")
    used, lines = records.read(out).progress["used_s"], [line for line in terminal.raw.split("\r\n") if " s] time " in line]
    assert len(turns) <= used / EVERY_S + len(lines)  # beside what is printed, one a second at most
    assert terminal.raw.count(HIDE) == 1
    after = terminal.raw[terminal.raw.rindex(SHOW) :]
    assert "next" not in after
    assert str(out / "report.html") in after.replace("\r\n", "")


@pytest.mark.parametrize("typed", [True, False], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("words", ["proof of", ", round "])
def test_an_interrupt_leaves_the_terminal_as_it_was(tmp_path: Path, words: str, typed: bool) -> None:
    """Typed in the terminal, or sent: the view is gone, the cursor is back, and all else is as without a terminal."""
    terminal = Terminal(longer(tmp_path, "generations=1, rounds=10_000"), tmp_path / "out")
    terminal.until(words)
    settings = termios.tcgetattr(terminal.ours)
    if typed:
        os.write(terminal.ours, b"\x03")
    else:
        terminal.process.send_signal(signal.SIGTERM)
    terminal.process.wait(120)
    assert termios.tcgetattr(terminal.ours) == settings
    assert terminal.end() == options.EXIT_INTERRUPTED
    assert "Traceback" not in terminal.raw
    after = terminal.raw[terminal.raw.rindex(SHOW) :]
    assert terminal.raw.rindex(HIDE) < terminal.raw.rindex(SHOW)
    assert "next" not in after
    assert "report.html" in after
    assert after.rstrip().endswith(f"concord run --resume {tmp_path / 'out'}")


@pytest.mark.parametrize(
    ("option", "variables", "every", "lines"),
    [("--strict", {"TERM": "dumb"}, False, True), ("-v", {}, True, True), ("-q", {}, False, False)],
    ids=["a dumb terminal", "verbose", "quiet"],
)
def test_who_gets_no_view(house: Path, tmp_path: Path, option: str, variables: dict[str, str], every: bool, lines: bool) -> None:
    """Lines where a terminal cannot redraw, or records and requests are told one by one; nothing with -q."""
    terminal = Terminal(house, tmp_path / "out", option, **variables)
    terminal.end()
    assert HIDE not in terminal.raw
    assert (", generation 1, round 1: " in terminal.raw) == every
    assert ("] plan " in terminal.raw) == lines


def test_a_view_without_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is heeded; nothing is meant by colour alone."""
    told = {}
    for silent in ("", "1"):
        monkeypatch.setenv("NO_COLOR", silent)
        view, drawn = drawing(tmp_path / f"run{silent}")
        with view.live:
            view.at("a phase")
        told[silent] = drawn.getvalue()
    assert CODES.sub("", told[""]) == CODES.sub("", told["1"])
    assert not re.search(r"\x1b\[(3|4|9)\d", told["1"])


def drawing(folder: Path) -> tuple[View, StringIO]:
    """A view of a tiny run, and what it draws."""
    drawn = StringIO()
    console = Console(file=drawn, force_terminal=True, width=100, height=30, color_system="standard")
    return View(console, planned(folder, ()), 60.0), drawn


def test_a_view_never_draws_by_itself(tmp_path: Path) -> None:
    """No thread, no clock: what is told often within a second is drawn once, and nothing in between."""
    view, drawn = drawing(tmp_path)
    before = threading.active_count()
    with view.live:
        assert threading.active_count() == before
        view.at("opening")
        for turn in range(100):
            view.at("turns", now=f"turn {turn}", often=True)
        told = drawn.getvalue()
        assert "opening" in told
        assert "turns" not in told
        time.sleep(EVERY_S + 0.1)
        assert drawn.getvalue() == told
        view.at("turns", now="turn 100", often=True)
    assert "turn 100" in drawn.getvalue()
    assert "time   1 min 1 s" in CODES.sub("", drawn.getvalue())


# --- what it says


def test_verdicts_so_far(tmp_path: Path) -> None:
    """Those of the report, and no other, a line a contest: its best, the ratios to it with their intervals, and words."""
    contests = ranking.contests(records.read(example_run(tmp_path / "run")))
    lines = [standing(contest) for contest in contests]
    assert lines[0] == (
        "mnist_cnn train, batch 64: tensorflow graph; jax jit 1.01x (0.968 to 1.05) tie; torch eager 1.27x (1.24 to 1.30) slower"
    )
    for contest, line in zip(contests, lines, strict=True):
        pairs = {pair: ratio for pair, ratio in contest.ratios.items() if pair[0] == contest.best and pair[1] in contest.proven}
        words = Counter(contest.verdicts[pair] for pair in pairs)
        assert Counter(re.findall(r"\) (\w+)", line)) == words
        for (_, b), ratio in pairs.items():
            assert f"{b.backend} {b.mode} {sized(ratio)} " in line
    assert not any("jax" in line for line in lines if "cifar_resnet" in line)  # its proof failed there


def test_what_is_not_ranked_is_not_called_slower(tmp_path: Path) -> None:
    """A refusal says so in place of every word; too few generations are indicative."""
    (contest, *_) = ranking.contests(records.read(example_run(tmp_path / "run")))
    line = standing(replace(contest, refusal="42% of the rounds were contended"))
    assert line.count("not ranked") == 2
    assert line.endswith("; 42% of the rounds were contended")
    assert "slower" not in line
    (contest, *_) = ranking.contests(records.read(example_run(tmp_path / "short", generations=2)))
    assert standing(contest).count("indicative") == 2
    (contest, *_) = ranking.contests(replace(records.read(tmp_path / "run"), proofs=()))
    assert standing(contest) == "mnist_cnn train, batch 64: nothing is proven"


# --- where there is no terminal


def test_a_plain_line_for_what_lasts(house: Path, tmp_path: Path) -> None:
    """Each phase, each training, and that rounds were run again; of what is timed thousands of times none."""
    with command(house, "run", "tiny", "--out", tmp_path / "out", "--data-dir", data.SAMPLES) as process:
        said = process.communicate(timeout=240)[1]
    assert process.returncode == 0, said
    lines = [line.partition(" s] ")[2] for line in said.splitlines()]
    begun = [line for line in lines if line.startswith("begin ")]
    assert begun == ["begin   proof and training", "begin   generation 1 of at least 1"]
    rest = [line for line in lines if line.startswith(("train ", "time "))]
    again = [line for line in rest if re.fullmatch(r"time    generation 1 of .*: \d+ contended rounds run again", line)]
    fits = [told(t) for t in records.read(tmp_path / "out").trials if t.phase == "fit"]
    (ended,) = (line for line in rest if line.startswith("time    1 generation in "))
    assert rest == [*fits, *again, ended]


def test_a_plain_line_per_trial(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -v, in the order of the records; no code, even where colour is forced, and no browser without a screen."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    out = tmp_path / "out"
    with command(house, "run", "tiny", "-v", "--open", "--json", "--out", out, "--data-dir", data.SAMPLES) as process:
        said = process.communicate(timeout=240)[1]
    assert process.returncode == 0, said
    assert "\x1b" not in said
    lines = [line.partition(" s] ")[2] for line in said.splitlines()]
    trials = records.read(out).trials
    assert len(trials) >= 20  # more where a round was run again
    assert [line for line in lines if line in {*map(told, trials)}] == [*map(told, trials)]
    for words in (
        r"train   .* left plain, seed 0: auc 0\.\d{4} after 6 steps",
        r"time    .* right plain, train, batch 8, generation 1, round 1: [\d.]+ ms each",
        r"time    .* left plain, first_call, batch 8, generation 1: import_s .*, train_first_call_s .*",
        r"time    .* numpy canary, canary of latency, batch 1, generation 1, round 1: product_s .*, copy_s .*",
        r"time    .* left plain, control of train, batch 8, generation 1, round 1: [\d.]+ ms each",
    ):
        assert [line for line in lines if re.fullmatch(words, line)], words
    if sys.platform == "linux":
        assert f"no browser to open {out / 'report.html'} in" in said


def test_a_long_silence_is_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run is, though that is told often: of a minute's rounds the first that comes, once."""
    log = Log()
    for silence, told_of in ((3600.0, ""), (0.0, "begin   round 2\n")):
        monkeypatch.setattr(live, "QUIET_S", silence)
        for turn in range(3):
            log.at("round 2", now=f"turn {turn}", often=True)
        assert capsys.readouterr().err.endswith(told_of)
        assert bool(told_of) == (log.phase == "round 2")


def test_a_line_is_a_line(tmp_path: Path) -> None:
    """Whatever a framework says of its failure."""
    (trial,) = (t for t in records.read(example_run(tmp_path / "run")).trials if t.status == "skipped")
    view, drawn = drawing(tmp_path / "place")
    view.kept(replace(trial, reason="first\nsecond\x1b[2J \u202e"))
    assert drawn.getvalue().count("\n") == 1
    assert "first second [2J" in drawn.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system opens files by other commands")
def test_the_report_is_opened(house: Path, tmp_path: Path) -> None:
    """In whatever the desktop opens files with."""
    opened, programs = tmp_path / "opened", tmp_path / "programs"
    programs.mkdir()
    (programs / "xdg-open").write_text(f'#!/bin/sh\necho "$1" > {opened}\n', encoding="utf-8")
    (programs / "xdg-open").chmod(0o755)
    terminal = Terminal(house, tmp_path / "out", "--open", DISPLAY=":0", PATH=f"{programs}:{os.environ['PATH']}")
    assert terminal.end() == 0, terminal.raw
    end = time.monotonic() + 10
    while time.monotonic() < end and not opened.is_file():
        time.sleep(0.02)
    assert opened.read_text(encoding="utf-8") == f"{tmp_path / 'out' / 'report.html'}\n"
