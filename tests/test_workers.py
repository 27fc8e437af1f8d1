"""Real worker processes with the NumPy backend, and whatever can befall them: none may hang, none may outlive its block."""

import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness import catalog, channel, environment, launch, ledger, measure, records, undertaker
from harness.launch import Worker, WorkerError
from harness.verify import Exhibit
from harness.workplace import Workplace

pytestmark = pytest.mark.processes
ROOT = catalog.ROOT
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
SLEEP = "import time; time.sleep(60)"
Root = Callable[..., Path]
Start = Callable[..., Worker]
Exhibits = Callable[[str], Exhibit]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A copy of the house whose NumPy engine ends with some more lines; ``site`` is run as Python starts."""

    def make(engine: str = "", *, site: str = "") -> Path:
        copy = tmp_path / "root"
        copy.mkdir()
        for name in ("harness", "suites"):
            (copy / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "backends", copy / "backends", ignore=shutil.ignore_patterns("__pycache__"))
        with (copy / "backends" / "numpy" / "engine.py").open("a", encoding="utf-8") as file:
            file.write("\nimport os, signal, sys\n" + textwrap.dedent(engine))
        if site:
            (copy / "sitecustomize.py").write_text(textwrap.dedent(site), encoding="utf-8")
        return copy

    return make


@pytest.fixture
def start(tmp_path: Path, cpu: int) -> Iterator[Start]:
    """Start a worker; at the end of the test every process that it left would be found and ended."""
    workers = []

    def make(**options: Any) -> Worker:
        worker = Worker(
            options.pop("backend", "numpy"), **{"scratch": tmp_path / "scratch", "cpus": [cpu], "timeout_s": 30.0, **options}
        )
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        worker.close()


def in_method(name: str, line: str) -> str:
    """A line put into a method of the engine's session."""
    return f"""
    def patched(self, *_args):
        {line}
    Session.{name} = patched
    """


def gone(pid: int) -> bool:
    """There is no such process, or nothing of it but the entry that nobody has collected."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def wait_until(true: Callable[[], bool]) -> None:
    """Look again and again, since a signal takes a moment to arrive."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def workers_alive() -> list[int]:
    """The workers among the children of this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if child.status() != psutil.STATUS_ZOMBIE and "harness.worker" in child.cmdline():
                found.append(child.pid)
    return found


def trace(worker: Worker, exhibit: Callable[[str], Exhibit], **options: Any) -> Any:
    """Ask for the float32 trace of a small task."""
    ex = exhibit("risk_mlp")
    message = {
        "op": "trace",
        "task": ex.task,
        "mode": "reference",
        "precision": "float32",
        "lrs": ex.lrs,
        "tensors": False,
    }
    return worker.ask({**message, **options.pop("change", {})}, launch.weights_message(ex.weights) | ex.arrays, **options)


def test_a_worker_answers_and_is_gone(start: Start, exhibit: Callable[[str], Exhibit]) -> None:
    """The way it should be: facts, an answer, an end."""
    with start() as worker:
        assert worker.facts["describe"]["versions"] == {"numpy": np.__version__}
        assert worker.facts["import_s"] > 0
        _, arrays = trace(worker, exhibit)
        assert arrays["losses"].shape == (10,)
        pid = worker.process.pid
        assert pid in workers_alive()
    assert gone(pid)
    assert worker.process.returncode is not None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGRTMIN + 1])
def test_killed_while_idle(start: Start, exhibit: Callable[[str], Exhibit], number: int) -> None:
    """As the system does when memory is short: told by name, once more for every further request."""
    worker = start()
    os.kill(worker.process.pid, number)
    wait_until(lambda: gone(worker.process.pid))
    wanted = signal.Signals(number).name if number in signal.Signals.__members__.values() else str(int(number))
    for _ in range(2):
        with pytest.raises(WorkerError, match=f"the worker died .*{wanted}") as caught:
            trace(worker, exhibit)
        assert caught.value.status == "failed"


def test_killed_while_paused(start: Start, exhibit: Callable[[str], Exhibit]) -> None:
    """A stopped process dies too, and pausing what is dead is no accident of its own."""
    worker = start()
    worker.pause()
    worker.process.kill()
    with pytest.raises(WorkerError, match="SIGKILL"):
        trace(worker, exhibit)
    worker.pause()
    worker.resume()


def test_killed_during_a_request(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """Told at once, not when the time is up."""
    worker = start(root=root(in_method("predict", SLEEP)), timeout_s=60.0)
    threading.Timer(0.3, worker.process.kill).start()
    begin = time.monotonic()
    with pytest.raises(WorkerError, match=r"the worker died \(signal SIGKILL\)") as caught:
        trace(worker, exhibit)
    assert caught.value.status == "failed"
    assert time.monotonic() - begin < 30  # of the 60 that it had
    assert gone(worker.process.pid)


@pytest.mark.parametrize("line", ["os._exit(7)", "sys.exit(7)"])
def test_exit_during_a_request(start: Start, root: Root, exhibit: Callable[[str], Exhibit], line: str) -> None:
    """A framework that calls exit, politely or not."""
    worker = start(root=root(in_method("predict", f"print('last words', flush=True); {line}")))
    with pytest.raises(WorkerError, match=r"the worker died \(exit code 7\)") as caught:
        trace(worker, exhibit)
    assert "last words" in caught.value.log
    assert gone(worker.process.pid)


def test_a_crash_during_a_request(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """A fault in a framework's C: the signal is told, with what was printed before."""
    crash = "print('last words', flush=True); import ctypes; ctypes.string_at(0)"
    with pytest.raises(WorkerError, match=r"the worker died \(signal SIGSEGV\)") as caught:
        trace(start(root=root(in_method("predict", crash))), exhibit)
    assert (caught.value.status, caught.value.log) == ("failed", "last words\n")


def framed(header: bytes) -> bytes:
    """The beginning of a message."""
    return channel.MAGIC + struct.pack("<Q", len(header)) + header


HALF = """
from harness import channel
def half(pipe, message, arrays=None):
    pipe.write({sent!r})
    pipe.flush()
    {then}
channel.send = half
"""


@pytest.mark.parametrize(
    ("sent", "then", "told"),
    [
        (channel.MAGIC + struct.pack("<Q", 900) + b'{"message": {"imp', "os._exit(3)", "exit code 3"),
        (channel.MAGIC[:3], "os._exit(3)", "exit code 3"),
        (framed(b"[]"), "", "closed its pipe"),
        (framed(b'{"message": {}, "arrays": [["a", "zz", [1]]]}'), "", "closed its pipe"),
    ],
    ids=["in the header", "in the first word", "no header", "no such dtype"],
)
def test_half_a_message(start: Start, root: Root, sent: bytes, then: str, told: str) -> None:
    """Gone in the middle of it, or sending what is none: told at once, not when the time is up, and none is left."""
    with pytest.raises(WorkerError, match=told):
        start(root=root(HALF.format(sent=sent, then=then or "pass")))
    assert workers_alive() == []


LIMITED = """
import resource
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
"""


GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
LIMITS = ("memory.limit_in_bytes", "memory.max")  # of the first version of control groups and the second


@pytest.fixture
def cage() -> Iterator[Path]:
    """A control group that may hold 512 MiB, where this machine lets us make one."""
    for home, limit in zip(GROUPS, LIMITS, strict=True):
        folder = home / f"concord-test-{os.getpid()}"
        with suppress(OSError):
            folder.mkdir()
            if (folder / limit).is_file():
                (folder / limit).write_text(str(2**29))
                yield folder
                wait_until(lambda: not (folder / "cgroup.procs").read_text())  # noqa: B023 - of this one
                folder.rmdir()
                return
            folder.rmdir()
    pytest.skip("this machine lets us make no control group that limits memory")


@LINUX
def test_killed_for_its_memory(start: Start, root: Root, cage: Path, exhibit: Callable[[str], Exhibit]) -> None:
    """By the system's own OOM killer, beyond a limit set on the child: told by its signal, with what it printed before."""
    greedy = "print('last words', flush=True); return np.ones(2**28)"
    worker = start(root=root(in_method("predict", greedy)))
    (cage / "cgroup.procs").write_text(str(worker.process.pid))
    with pytest.raises(WorkerError, match=r"the worker died \(signal SIGKILL\)") as caught:
        trace(worker, exhibit)
    assert (caught.value.status, caught.value.log) == ("failed", "last words\n")


@LINUX
def test_memory_that_runs_out(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """Against a limit of the process's own: an answer with what was asked for."""
    greedy = in_method("predict", "return np.ones(2**28)")
    worker = start(root=root(LIMITED + textwrap.dedent(greedy)))
    with pytest.raises(WorkerError, match=r"MemoryError: Unable to allocate 2.00 GiB"):
        trace(worker, exhibit)


@pytest.mark.parametrize("line", ["os.kill(os.getpid(), signal.SIGSTOP)", SLEEP], ids=["stopped", "asleep"])
def test_a_hang_ends_with_the_time_allowed(start: Start, root: Root, exhibit: Callable[[str], Exhibit], line: str) -> None:
    """A timeout of its own status with its last words; it does not go on behind our back, further requests fail at once."""
    worker = start(root=root(in_method("predict", f"print('last words', flush=True); {line}")))
    begin = time.monotonic()
    with pytest.raises(WorkerError, match="no answer within 1 s") as caught:
        trace(worker, exhibit, timeout_s=1.0)
    assert (caught.value.status, caught.value.log) == ("timeout", "last words\n")
    assert 0.9 < time.monotonic() - begin < 20  # of the 30 that it had without
    wait_until(lambda: gone(worker.process.pid))
    with pytest.raises(WorkerError, match="the worker died"):
        trace(worker, exhibit)


def test_a_hang_while_starting(start: Start, root: Root) -> None:
    """An import that never returns: there is no worker to close, and none is left."""
    with pytest.raises(WorkerError, match="no answer within 1 s"):
        start(root=root(SLEEP), timeout_s=1.0)
    assert workers_alive() == []


def test_an_import_that_fails(start: Start, root: Root) -> None:
    """The reason is the import's own; the log has the traceback; no process is left."""
    with pytest.raises(WorkerError, match=r"ImportError: libfoo\.so\.1: cannot open") as caught:
        start(root=root("raise ImportError('libfoo.so.1: cannot open')"))
    assert caught.value.status == "failed"
    assert "Traceback" in caught.value.log
    assert workers_alive() == []


@pytest.mark.frameworks
def test_a_compiler_that_fails(start: Start, exhibit: Callable[[str], Exhibit], monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that is not there: the error is told, with the compiler's name in it, and other modes are still served."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[torch]'")
    monkeypatch.setenv("CXX", "/nowhere/c++")
    worker = start(backend="torch", timeout_s=300.0)
    with pytest.raises(WorkerError, match=r"InvalidCxxCompiler.*nowhere") as caught:
        trace(worker, exhibit, change={"mode": "compile"})
    assert caught.value.status == "failed"
    trace(worker, exhibit, change={"mode": "eager"})


def test_a_worker_that_closes_its_pipe_and_lives(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """It can never answer again: that is a death, and it is made one."""
    worker = start(root=root(in_method("predict", f"os.closerange(3, 256); {SLEEP}")))
    begin = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        trace(worker, exhibit)
    assert caught.value.status == "failed"
    assert time.monotonic() - begin < 25  # of the 30 that it had
    wait_until(lambda: gone(worker.process.pid))


def test_a_worker_that_is_stopped_and_reads_nothing(start: Start, exhibit: Callable[[str], Exhibit]) -> None:
    """Weights are more than a pipe holds: sending them ends with the time allowed, too."""
    worker = start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "resume", lambda: None)  # stopped by somebody else, right after it was resumed
        worker.pause()
        with pytest.raises(WorkerError, match="no answer within 1 s") as caught:
            trace(worker, exhibit, change={"padding": "x" * 2**20}, timeout_s=1.0)
    assert caught.value.status == "timeout"
    wait_until(lambda: gone(worker.process.pid))


def test_an_error_in_a_handler_is_an_answer(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """Type and text in the reason, the traceback in the log, and the worker still serves the other cells."""
    worker = start(root=root(in_method("predict", "raise RuntimeError('no kernel for float32')")))
    for _ in range(2):
        with pytest.raises(WorkerError, match="RuntimeError: no kernel for float32") as caught:
            trace(worker, exhibit)
        assert caught.value.status == "failed"
        assert "Traceback" in caught.value.log
    assert worker.process.poll() is None


def test_errors_that_a_user_can_mend_are_plain(start: Start, exhibit: Callable[[str], Exhibit]) -> None:
    """One sentence without the name of a Python class; a request nobody knows is told as well."""
    worker = start()
    with pytest.raises(WorkerError, match=r"^unknown mode of numpy 'refrence': did you mean 'reference'\?$"):
        trace(worker, exhibit, change={"mode": "refrence"})
    with pytest.raises(WorkerError, match="dance"):
        worker.ask({"op": "dance"})
    trace(worker, exhibit)


PRINTING = r"""
import os, subprocess, sys
print("hello from stdout")
print("hello from stderr", file=sys.stderr)
sys.stdout.buffer.write(b"\x93CONC" * 3 + b"\xff\x00\x93")
sys.stdout.flush()
os.write(1, b"straight to the descriptor\n")
subprocess.run([sys.executable, "-S", "-c", "print('from a child')"], env={})
"""


def test_a_framework_may_print(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """At import and in a request, from C, from children: it lands in the log, and no message is disturbed."""
    line = "print('in a request'); os.write(1, b'from C in a request\\n'); return np.zeros(1)"
    worker = start(root=root(PRINTING + textwrap.dedent(in_method("predict", line))))
    _, arrays = trace(worker, exhibit)
    assert arrays["losses"].shape == (10,)
    told = worker.tail()
    for text in ("from stdout", "from stderr", "straight to", "from a child", "in a request", "from C in a request"):
        assert text in told


def test_python_may_print_before_us(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """What a sitecustomize prints goes into the pipe before the worker takes it away: it is skipped."""
    _, arrays = trace(start(root=root(site=PRINTING)), exhibit)
    assert arrays["losses"].shape == (10,)


def test_reading_stdin_ends_at_once(start: Start, root: Root) -> None:
    """A framework that asks a question cannot eat our requests."""
    worker = start(root=root("print('read', repr(sys.stdin.read()), flush=True)"))
    assert "read ''" in worker.tail()


def test_the_log_s_end_is_kept(start: Start, root: Root) -> None:
    """The last lines are those that tell; a record need not hold megabytes."""
    worker = start(root=root("print('x' * 100_000, 'the end', flush=True)"))
    assert len(worker.tail()) == launch.LOG_TAIL
    assert worker.tail().endswith("the end\n")


def test_a_log_of_gigabytes(start: Start, root: Root) -> None:
    """Its end is read, and nothing else of it: here it has a hole, so that no disk is filled."""
    worker = start(root=root("os.ftruncate(2, 2**32); print('the end', flush=True)"))
    assert worker.log.stat().st_size > 2**32
    tracemalloc.start()
    try:
        assert worker.tail().endswith("the end\n")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


FIT = {"op": "fit", "task": "risk_mlp", "mode": "reference", "precision": "float32", "seed": 0, "epochs": 3}
DIVERGING = """
step = Session.train_step
def diverge(self, batch):
    loss = step(self, batch)
    return loss * np.float32("nan") if self.step == 3 else loss
Session.train_step = diverge
"""


def test_a_loss_that_is_no_number(
    start: Start, root: Root, small_data: Callable[[str], Path], exhibit: Callable[[str], Exhibit]
) -> None:
    """A training that diverges has failed, at a step that is named; its figures would look like those of one that learned."""
    weights = launch.weights_message(exhibit("risk_mlp").weights)
    message = {**FIT, "data": str(small_data("risk_mlp")), "max_steps": 0, "seconds": None}
    with pytest.raises(WorkerError, match="the loss is nan at step 2"):
        start(root=root(DIVERGING)).ask(message, weights)


SCHEDULED = """
step = Session.train_step
Session.train_step = lambda self, batch: step(self, batch) * 0 + len(self.table)
"""


@pytest.mark.parametrize(("most", "steps"), [(0, 15), (6, 6), (60, 15)])
def test_a_schedule_is_laid_over_the_steps_that_are_taken(
    start: Start,
    root: Root,
    small_data: Callable[[str], Path],
    exhibit: Callable[[str], Exhibit],
    most: int,
    steps: int,
) -> None:
    """All of them, or no more than asked for, or than there are: milestones are shares of what training takes."""
    message = {**FIT, "data": str(small_data("risk_mlp")), "max_steps": most, "seconds": None}
    reply, _ = start(root=root(SCHEDULED)).ask(message, launch.weights_message(exhibit("risk_mlp").weights))
    assert reply["losses"] == [steps] * steps


SPENDING = """
def spending(function, size):
    def spend(*given, **named):
        bytearray(size)[::4096] = bytes(size // 4096)
        return function(*given, **named)
    return spend
configure, MiB = spending(configure, 2**28), 2**20
Session.predict = spending(Session.predict, 48 * MiB)
Session.train_step = spending(Session.train_step, 96 * MiB)
"""


@LINUX
def test_peaks_of_memory(start: Start, root: Root, small_data: Callable[[str], Path], exhibit: Callable[[str], Exhibit]) -> None:
    """A prediction's before any training, and training's; what came before them, here 256 MiB, counts in neither."""
    message = {**FIT, "data": str(small_data("risk_mlp")), "max_steps": 0, "seconds": None}
    reply, _ = start(root=root(SPENDING)).ask(message, launch.weights_message(exhibit("risk_mlp").weights))
    peaks = [reply["values"][name] / 2**20 for name in ("predict_peak_bytes", "peak_bytes")]
    assert peaks == [pytest.approx(48, abs=24), pytest.approx(96, abs=24)]


def test_a_peak_that_cannot_be_forgotten_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather no figure than one of something that came before."""
    monkeypatch.setattr(Path, "write_text", lambda *_: Path("/nowhere").read_text())
    assert measure.memory(forget=True) == {}


def test_events_come_before_the_answer(
    start: Start, small_data: Callable[[str], Path], exhibit: Callable[[str], Exhibit]
) -> None:
    """One an epoch, with its figures; the time allowed counts from one message to the next."""
    message = {**FIT, "max_steps": 0, "seconds": 3600.0}
    events: list[dict[str, Any]] = []
    weights = launch.weights_message(exhibit("risk_mlp").weights)
    reply, _ = start().ask({**message, "data": str(small_data("risk_mlp"))}, weights, on_event=events.append)
    assert [event["epoch"] for event in events] == [1, 2, 3]
    assert events[-1]["val_auc"] == reply["epochs"][-1]["val_auc"]


@pytest.mark.parametrize("paused", [False, True])
def test_none_outlives_its_block(start: Start, *, paused: bool) -> None:
    """Paused or not, and when the block ends with an error; closing twice is allowed."""
    worker = start()
    if paused:
        worker.pause()
        wait_until(lambda: psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED)
    with pytest.raises(KeyboardInterrupt), worker:
        raise KeyboardInterrupt
    assert gone(worker.process.pid)
    worker.close()
    assert workers_alive() == []


HELPED = """
import subprocess
helper = subprocess.Popen(["sleep", "600"])
print("helper", helper.pid, flush=True)
"""
LEFT = HELPED.replace('"600"]', '"600"], start_new_session=True')  # as a daemon begins one


def helper(log: str) -> int:
    """The process that a worker has started."""
    return int(log.split("helper ")[1].split(maxsplit=1)[0])


@pytest.mark.skipif(os.name == "nt", reason="has no groups of processes")
@pytest.mark.parametrize("end", ["close", "death", "timeout", "stop_all"])
@pytest.mark.parametrize("helped", [HELPED, pytest.param(LEFT, marks=LINUX)], ids=["group", "session"])
def test_what_a_worker_started_ends_with_it(
    start: Start, root: Root, exhibit: Callable[[str], Exhibit], helped: str, end: str
) -> None:
    """A compiler's pool, a loader's processes: a framework may start its own, which hold its CPU, and nobody else knows them."""
    worker = start(root=root(helped + textwrap.dedent(in_method("predict", SLEEP))))
    started = helper(worker.tail())
    assert not gone(started)
    if end == "close":
        worker.close()
    elif end == "stop_all":
        launch.stop_all()
        launch.STOPPING.clear()
    else:
        if end == "death":
            worker.process.kill()
        with pytest.raises(WorkerError):
            trace(worker, exhibit, timeout_s=1.0)
    wait_until(lambda: gone(started))


def test_pause_and_resume(start: Start, exhibit: Callable[[str], Exhibit]) -> None:
    """A paused worker uses no CPU, and goes on when it is asked."""
    worker = start()
    trace(worker, exhibit)
    worker.pause()
    process = psutil.Process(worker.process.pid)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
    before = process.cpu_times()
    time.sleep(0.1)
    assert process.cpu_times() == before
    trace(worker, exhibit)
    assert process.status() != psutil.STATUS_STOPPED


@pytest.mark.skipif(os.name == "nt", reason="has no groups of processes")
def test_what_a_worker_started_is_paused_with_it(start: Start, root: Root, exhibit: Callable[[str], Exhibit]) -> None:
    """A pool in processes of its own would use the CPU of the one that is timed; what was ended is sent nothing more."""
    worker = start(root=root(HELPED))
    started = psutil.Process(helper(worker.tail()))
    worker.pause()
    wait_until(lambda: started.status() == psutil.STATUS_STOPPED)
    trace(worker, exhibit)
    wait_until(lambda: started.status() != psutil.STATUS_STOPPED)
    worker.close()
    sent: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "killpg", lambda _group, number: sent.append(number))
        worker.pause()
        worker.resume()
    assert sent == []


PARENT = """
import sys, time
from pathlib import Path
from harness.launch import Worker
worker = Worker("numpy", scratch=Path(sys.argv[1]), cpus=[int(sys.argv[2])], root=Path(sys.argv[3]))
if sys.argv[4] == "paused":
    worker.pause()
print(worker.process.pid, flush=True)
if sys.argv[4] == "busy":
    worker.ask({"op": "start", "backend": "numpy", "threads": 1, "seed": 0, "device": "cpu"})
time.sleep(60)
"""
BUSY = """
def configure(*, threads, seed):
    if os.path.exists("started"):
        while True: pass
    open("started", "w").close()
"""


@pytest.mark.skipif(os.name == "nt", reason="has no groups of processes")
@pytest.mark.parametrize("state", ["idle", "paused", "busy"])
@pytest.mark.parametrize("helped", [HELPED, pytest.param(LEFT, marks=LINUX)], ids=["group", "session"])
def test_a_worker_dies_with_its_parent(tmp_path: Path, root: Root, cpu: int, helped: str, state: str) -> None:
    """Even where the harness had no time to say so: idle, stopped, or in the middle of a computation; and what it has started."""
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(cpu), str(root(helped + BUSY)), state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()), helper((tmp_path / "worker.log").read_text())]
        assert not any(map(gone, pids))
        if state == "busy":
            time.sleep(0.3)
        parent.kill()
        parent.wait()
    try:
        wait_until(lambda: all(map(gone, pids)))
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="has no groups of processes")
def test_what_was_ended_is_left_alone() -> None:
    """The number of a group that was ended may be another's by now: the undertaker kills none but those that are left."""
    sleep = [sys.executable, "-c", SLEEP]
    with subprocess.Popen(sleep, process_group=0) as ended, subprocess.Popen(sleep, process_group=0) as left:
        told = f"+{ended.pid} one\n+{left.pid} other\n-{ended.pid}\n"
        subprocess.run([sys.executable, undertaker.__file__], input=told, text=True, check=True, timeout=60)
        assert left.wait(60) == -signal.SIGKILL
        assert ended.poll() is None
        ended.kill()


@LINUX
def test_secrets_stay_at_home(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker inherits what it takes to run and no more."""
    for name in ("FOO_SECRET", "AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP", "TF_XLA_FLAGS", "XLA_FLAGS", "CONCORD_DATA"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    worker = start()
    text = Path(f"/proc/{worker.process.pid}/environ").read_bytes().decode()
    found = dict(pair.split("=", 1) for pair in text.split("\0") if pair)
    assert "hunter2" not in text
    assert found["OMP_NUM_THREADS"] == "1"
    mine = environment.worker_environment(root=ROOT, cpus=[0], device="cpu", scratch=Path(), cache=Path())
    assert set(found) <= {undertaker.MARK, *mine}
    assert found.items() >= environment.variables("1", "cpu").items()


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_what_is_recorded_of_the_environment(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is the same for every worker, wherever it runs, and the GPU chosen: no path; and that is what workers get."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    recorded = environment.variables("number of CPUs", device)
    made = [
        environment.worker_environment(
            root=tmp_path / name, cpus=cpus, device=device, scratch=tmp_path / name, cache=tmp_path / name
        )
        for name, cpus in (("a", [0]), ("b", [1, 2]))
    ]
    equal = {name for name in made[0] if made[0][name] == made[1].get(name)} - {*environment.INHERITED} - {"PYTHONNOUSERSITE"}
    assert {name: made[0][name] for name in equal} == {
        name: value for name, value in recorded.items() if name not in {*environment.POOLS, *environment.INHERITED}
    }
    assert [{each[name] for name in environment.POOLS} for each in made] == [{"1"}, {"2"}]
    assert {recorded[name] for name in environment.POOLS} == {"number of CPUs"}
    assert recorded["CUDA_VISIBLE_DEVICES"] == ("-1" if device == "cpu" else "2")  # which GPU it was is part of the record


def test_the_environment_is_the_same_for_every_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads by the number of CPUs, caches and temporary files in the scratch folder, no GPU unless it was asked for."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    made = environment.worker_environment(root=ROOT, cpus=[2, 5], device="cpu", scratch=tmp_path, cache=tmp_path)
    assert made["CONCORD_CPUS"] == "2,5"
    assert {made[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")} == {"2"}
    assert (made["CUDA_VISIBLE_DEVICES"], made["JAX_PLATFORMS"]) == ("-1", "cpu")
    own = ("KERAS_HOME", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "CUDA_CACHE_PATH", "TMPDIR")
    assert all(str(tmp_path) in made[name] for name in own)
    gpu = environment.worker_environment(root=ROOT, cpus=[0], device="gpu", scratch=tmp_path, cache=tmp_path)
    assert not {"CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"} & set(gpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    for device, visible, order in (("gpu", "2", "PCI_BUS_ID"), ("any", "2", "PCI_BUS_ID"), ("cpu", "-1", None)):
        made = environment.worker_environment(root=ROOT, cpus=[0], device=device, scratch=tmp_path, cache=tmp_path)
        assert (made["CUDA_VISIBLE_DEVICES"], made.get("CUDA_DEVICE_ORDER")) == (visible, order)


def opened(worker: Worker, ex: Exhibit, file: Path, **how: Any) -> dict[str, Any]:
    """What a worker says of itself once it has opened a cell."""
    message = {"op": "open", "cell": "c", "task": "risk_mlp", "mode": "reference", "seed": 0, "precision": "float32", "batch": 8}
    message |= {"data": str(file), "phases": ["predict"], "slowdown": 0.0, **how}
    return worker.ask(message, launch.weights_message(ex.weights))[0]["facts"]


@LINUX
def test_a_pool_is_not_all_threads(root: Root, start: Start, exhibit: Exhibits, small_data: Callable[[str], Path]) -> None:
    """The number that a framework says of its pool stands in the record beside the system's of all threads."""
    worker = start(root=root("described = describe\ndef describe():\n    return {**described(), 'threads': 99}"))
    facts = opened(worker, exhibit("risk_mlp"), small_data("risk_mlp"))
    assert facts["threads"] == worker.facts["describe"]["threads"] == 99
    assert 1 <= facts["os_threads"] < 99


def test_a_worker_says_what_batches_it_placed(start: Start, exhibit: Exhibits, small_data: Callable[[str], Path]) -> None:
    """By their content: equal in two processes, of another seed another digest; and the ledger tells who had others."""
    ex, file = exhibit("risk_mlp"), small_data("risk_mlp")
    first, second = start(), start()
    mine = opened(first, ex, file)
    assert re.fullmatch("8 of 8: [0-9a-f]{8}", mine["batches"])
    assert opened(second, ex, file)["batches"] == mine["batches"]
    cell = records.Cell("risk_mlp", "torch", "eager", "cpu", "float32", "data", 8)
    for how in ({"seed": 1}, {"batch": 4}):
        other = opened(second, ex, file, **how)
        assert other["batches"] != mine["batches"]
        calls = zip((cell, replace(cell, backend="jax")), (mine, other), strict=True)
        trials = tuple(records.Trial(c, "first_call", "ok", facts={"batches": facts["batches"]}) for c, facts in calls)
        (told,) = ledger.differences(records.Run(Path(), {}, trials, ()))
        assert told == f"batches placed differs: torch eager {mine['batches']}, jax eager {other['batches']}"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
@pytest.mark.parametrize("count", [1, 2])
def test_affinity_is_what_was_asked(start: Start, count: int) -> None:
    """Of every thread of the worker."""
    cpus = environment.available_cpus()[:count]
    worker = start(cpus=cpus)
    threads = psutil.Process(worker.process.pid).threads()
    assert threads
    for thread in threads:
        assert sorted(os.sched_getaffinity(thread.id)) == cpus


WATCHING = """
import os, sys
def watch(event, arguments):
    if event == "import" and arguments[0] == "numpy" and not os.path.exists("affinity"):
        with open("affinity", "w") as file:
            file.write(repr(sorted(os.sched_getaffinity(0))))
sys.addaudithook(watch)
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_affinity_is_set_before_numpy_is_imported(start: Start, root: Root, cpu: int) -> None:
    """Thread pools size themselves by it, once, as they are made."""
    place = root(site=WATCHING)
    start(root=place)
    assert (place / "affinity").read_text() == repr([cpu])


STEPS = """
import resource, threading
import numpy as np

def steps():
    for number in range(25):
        if number == 5:
            begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [np.ones(size, np.float32) for size in (12_000_000, 1_400_000, 1_400_000)]
        del held
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)

thread = threading.Thread(target=steps)  # as XLA and others compute
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps its memory in another way")
def test_a_heap_gives_nothing_back_between_steps(tmp_path: Path) -> None:
    """Arrays of 48 and 5.6 MB a step in a thread: fetched anew from the system every time by default, once in a worker."""
    clean = {"PATH": os.environ["PATH"]}
    ours = environment.worker_environment(root=ROOT, cpus=[0], device="cpu", scratch=tmp_path, cache=tmp_path)
    found = []
    for env in (clean, ours):
        done = subprocess.run([sys.executable, "-c", STEPS], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        found.append(int(done.stdout))
    assert found[0] > 20 * 100  # of 4 KiB, or of 2 MiB
    assert found[1] < 100


def test_a_system_without_affinity_or_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS and Windows: what cannot be set is told to be missing, and nothing fails for it."""
    from backends.numpy import engine

    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert environment.available_cpus() == list(range(os.cpu_count() or 1))
    assert environment.machine()["affinity"] == "not available on this system"
    assert engine.describe()["versions"]


LEAVES = """
import os, threading
from harness import environment

everywhere, free = os.sched_getaffinity(0), threading.Event()
os.sched_setaffinity(0, {min(everywhere)})
print(environment.process()["cpus"] == [min(everywhere)])


def leave():
    os.sched_setaffinity(0, everywhere)  # of this thread alone
    free.wait()


thread = threading.Thread(target=leave)
thread.start()
while len(os.sched_getaffinity(thread.native_id)) < len(everywhere):
    pass
print(environment.process()["cpus"] == sorted(everywhere), environment.process()["os_threads"])
free.set()
"""


@LINUX
def test_a_thread_that_leaves_its_cpus_is_seen() -> None:
    """A pool that pins its own threads: what the main thread may use is not all that the process may."""
    done = subprocess.run([sys.executable, "-c", LEAVES], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "2"]


def test_the_quietest_cpu_is_chosen_and_of_equals_another_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a CPU is the least that counts; where rows and numbers of CPUs do not agree it is simply the next one's turn."""
    place = Workplace(tmp_path)
    place.cpus = [0, 1, 2, 3]
    busy = [80.0, 2.0, 0.0, 1.0]
    monkeypatch.setattr("psutil.cpu_percent", lambda **_how: busy)
    assert [place.quietest(1, turn=turn) for turn in range(4)] == [[1], [1], [2], [3]]
    assert place.quietest(2, turn=2) == [2, 3]
    assert place.quietest(4, turn=0) == [1, 2, 3, 0]
    place.cpus = [0, 2, 4]
    assert [place.quietest(1, turn=turn) for turn in range(3)] == [[0], [2], [4]]
