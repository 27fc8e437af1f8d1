"""What somebody else sent or lent, and what nobody else may see: a run's folder, an interpreter, the caller's secrets."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from matplotlib import font_manager

from harness import catalog, data, records, report
from harness.cli import main, options
from harness.records import Cell, Proof, Trial
from harness.report import terminal
from harness.report.findings import find
from tests.test_report import EVIL, example_run
from tests.test_run import build

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes links and pipes")
FILES = ("run.json", "trials.jsonl", "proofs.jsonl")
SECRET = "hunter2-that-nobody-told"  # noqa: S105 - nobody's


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """A run as somebody could send it."""
    return example_run(tmp_path / "sent", generations=2, rounds=1, tasks=["risk_mlp"])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one's own."""
    return example_run(tmp_path_factory.mktemp("good") / "good", generations=2, rounds=1, tasks=["risk_mlp"])


# --- a run's folder


def private(path: Path) -> None:
    """A link to a file that its sender could not read."""
    outside = path.parents[1] / "private"
    outside.write_text(f"{SECRET}\n")
    path.symlink_to(outside)


def vast(path: Path) -> None:
    """Ten gigabytes of nothing."""
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


@contextmanager
def bounded(*, seconds: int = 20, memory: int = 2**30) -> Iterator[None]:
    """End what hangs, and what takes more memory than that."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"it takes more than {seconds} s")

    used = psutil.Process().memory_info().vms
    before, limits = signal.signal(signal.SIGALRM, ring), resource.getrlimit(resource.RLIMIT_AS)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fake", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), private, vast])
def test_a_record_that_is_no_record(sent: Path, good: Path, fake: Callable[[Path], object], name: str) -> None:
    """A pipe, a folder, a device, a file of somebody else's, one without end: refused in a sentence that tells nothing of it."""
    (sent / name).unlink()
    fake(sent / name)
    before = sorted(sent.iterdir())
    for typed in (["report", sent], ["compare", sent, good], ["compare", good, sent], ["show", sent]):
        with bounded():
            done = CliRunner().invoke(main, list(map(str, typed)))
        assert done.exit_code == options.EXIT_INPUT, typed
        assert done.stderr.startswith("concord: ")
        assert str(sent) in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert SECRET not in done.output
    assert sorted(sent.iterdir()) == before


def test_links_laid_where_views_are_written(sent: Path, tmp_path: Path) -> None:
    """To a file outside, under the names of views and of their drafts: replaced, and never followed."""
    report.write(find(records.read(sent)))
    views = sorted(path for path in sent.iterdir() if path.name not in FILES)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    for view in views:
        view.unlink()
        for name in (view.name, f"{view.name}.{os.getpid()}.part"):
            (sent / name).symlink_to(outside)
    report.write(find(records.read(sent)))
    assert outside.read_text() == "mine"
    assert sorted(path for path in sent.iterdir() if path.name not in FILES) == views
    assert [view for view in views if view.is_symlink()] == []


WATCH = """
import os, sys
seen = []
RUNS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pickle.find_class"}
def watch(event, arguments):
    if event in RUNS:
        seen.append(event)
    elif event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append(os.path.realpath(os.fsdecode(arguments[0])))
    elif event == "compile" and "concord-mark" in str(arguments[0]):
        seen.append("compile")
    elif event == "os.mkdir" and os.path.exists(arguments[0]):
        pass
    elif event in {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}:
        seen.append(os.path.realpath(os.fsdecode(arguments[-3] if event == "os.rename" else arguments[0])))
sys.addaudithook(watch)
from harness.cli import main
try:
    main()
finally:
    print("SEEN", *seen, sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize("verb", ["report", "compare"])
def test_a_folder_from_elsewhere_executes_nothing(sent: Path, good: Path, verb: str) -> None:
    """From within it, with modules, settings and start-up files planted there: no process, no pickle, no file but the views."""
    for name in ("numpy.py", "pandas.py", "sitecustomize.py", "usercustomize.py", "jinja2.py"):
        (sent / name).write_text("open('sprung', 'w')")
    (sent / "matplotlibrc").write_text("backend: module://numpy")
    (sent / "concord.toml").write_text(f'[{verb}]\nopen = true\n[compare]\nhtml = "{sent.parent / "outside"}"\n')
    with (sent / "trials.jsonl").open("a") as file:
        found = json.loads((sent / "trials.jsonl").read_text().splitlines()[0])
        file.write(
            json.dumps(
                found | {"status": "failed", "reason": "{{ ''.__class__ }} # concord-mark", "log": "cos\nsystem\n(S'ls'\ntR."}
            )
            + "\n"
        )
    assert font_manager.fontManager  # whose cache is written by whoever comes first
    typed = [sys.executable, "-P", "-c", WATCH, verb, ".", *([good] if verb == "compare" else [])]
    env = {**os.environ, "PYTHONPATH": str(catalog.ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(typed, cwd=sent, env=env, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = set(done.stderr.split("SEEN\n")[1].splitlines()) - {os.devnull}
    assert {path for path in seen if Path(path).parent != sent} == set()
    assert not seen if verb == "compare" else seen
    assert not (sent / "sprung").exists()
    assert not (sent.parent / "outside").exists()


CONTROL = "".join(map(chr, [*range(32), 127, 0x9B, 0x202E])) + "\x1b]0;owned\x07\x1b[2J"
OBEYED = {char for char in CONTROL if not char.isprintable()}


def printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Every view of a run made, and what the terminal shows of it."""
    found = find(records.read(folder))
    report.write(found)
    terminal.print_run(found)
    terminal.print_proofs(found.run.proofs)
    return capsys.readouterr().out


def test_a_terminal_obeys_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in names and reasons are spaces there, and in the sentence that refuses a folder."""
    records.write_manifest(tmp_path, {"tasks": {CONTROL: {"title": CONTROL, "metric": CONTROL}}})
    cell = Cell(CONTROL, CONTROL, CONTROL, "cpu", "float32", CONTROL, 8)
    records.append(tmp_path / "trials.jsonl", Trial(cell, "train", "failed", reason=CONTROL, log=CONTROL))
    records.append(
        tmp_path / "proofs.jsonl", Proof(CONTROL, CONTROL, CONTROL, "float64", "loss", "numpy", 1, 0, CONTROL, "failed")
    )
    assert set(printed(tmp_path, capsys)) & OBEYED == {"\n"}
    (tmp_path / "run.json").write_text(json.dumps({"schema": CONTROL, "concord": CONTROL}))
    told = CliRunner().invoke(main, ["report", str(tmp_path)]).stderr
    assert set(told) & OBEYED == {"\n"}


def test_texts_of_ten_megabytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As names, reasons and keys: every view is made, in seconds, and shows their beginning; the records stay as they are."""
    long = EVIL * (10_000_000 // len(EVIL))
    cell = Cell("task", long, "mode", "cpu", "float32", "data", 8)
    records.write_manifest(tmp_path, {"tasks": {"task": {"title": long, "metric": long}}, "command": long})
    records.append(tmp_path / "trials.jsonl", Trial(cell, "train", "failed", reason=long))
    records.append(tmp_path / "trials.jsonl", Trial(cell, "fit", "ok", values={long: 1.0}, losses=(1.0, 0.5)))
    records.append(tmp_path / "proofs.jsonl", Proof("task", long, "mode", "float64", "loss", "numpy", 1.0, 0.1, long, "failed"))
    before = [((tmp_path / name).stat().st_mtime_ns, (tmp_path / name).stat().st_size) for name in FILES]
    begun = time.process_time()
    assert "<script>alert('x')</script>" in printed(tmp_path, capsys)
    assert time.process_time() - begun < 30
    assert [((tmp_path / name).stat().st_mtime_ns, (tmp_path / name).stat().st_size) for name in FILES] == before
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert len(page) < 50_000_000


# --- an interpreter, and secrets


@pytest.fixture
def lent(tmp_path: Path) -> Path:
    """Another user's interpreter: of an environment with NumPy and einops alone; it tells what it is given, and then runs."""
    home = tmp_path / "lent"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=60)
    site = next(home.glob("lib/python*/site-packages"))
    for name in ("numpy", "einops"):
        (folder,) = find_spec(name).submodule_search_locations
        for part in Path(folder).parent.glob(f"{name}*"):  # with its libraries and its version
            (site / part.name).symlink_to(part)
    program = home / "python"
    program.write_text(f'#!/bin/sh\nenv >> {tmp_path}/given\nexec {home}/bin/python "$@"\n')
    program.chmod(0o755)
    if os.getuid() == 0:  # who else could give a file away?
        os.chown(program, 12345, -1)
    return program


ALONE = """
import importlib.util
found = [name for name in ("pandas", "psutil", "click", "planted") if importlib.util.find_spec(name)]
if found:
    raise ImportError(f"these are not its own: {found}")
"""


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("env"), reason="asks env")
def test_a_lent_interpreter_and_secrets(tmp_path: Path, lent: Path) -> None:
    """It has the allow-list and its own packages; of the caller's secrets nothing is in its environment or the run's files."""
    house, out = build(tmp_path / "house", {"left": ALONE}), tmp_path / "out"
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "planted.py").touch()
    secrets = dict.fromkeys(("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "CONCORD_TOKEN", "PYTHONUSERBASE", "PIP_INDEX_URL"), SECRET)
    env = {**os.environ, **secrets, "PYTHONPATH": f"{house}:{tmp_path / 'planted'}", "CONCORD_RUN_PYTHON": f"left={lent}"}
    typed = [sys.executable, "-m", "harness", "run", "tiny", "-v", "--backends", "left", "--out", out, "--data-dir", data.SAMPLES]
    done = subprocess.run(typed, cwd=house, env=env, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    given = (tmp_path / "given").read_text()
    assert given.count("PATH=") > 2  # asked what it has, and run as a worker
    assert SECRET not in given
    assert str(tmp_path / "planted") not in given
    assert given.count("PYTHONNOUSERSITE=1") == given.count("PYTHONNOUSERSITE") >= 2  # nor the caller's packages at home
    assert {trial.status for trial in records.read(out).trials} == {"ok"}
    for path in out.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path
