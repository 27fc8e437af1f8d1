"""Starts, asks, pauses, times out and buries workers. One process, one backend, one private pipe, one log."""

import atexit
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

import psutil

from harness import channel
from harness.catalog import ROOT
from harness.channel import Message
from harness.environment import worker_environment
from harness.records import Status
from harness.spec import Arrays
from harness.undertaker import MARK, end

LOG = logging.getLogger(__name__)
LOG_TAIL = 4000  # characters of a worker's log that a record keeps
Event = Callable[[Message], None]


class WorkerError(Exception):
    """A worker that failed, hung or died: the status of the record it becomes, one sentence, the log's last lines."""

    def __init__(self, status: Status, reason: str, log: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.log = status, reason, log


STOPPING = threading.Event()  # set once the harness itself is going down: no worker starts any more
GROUPS = hasattr(os, "killpg")
PIPE = 2**18  # bytes, where a system (Linux) lets choose: a proof's 100 MB take 0.1 s of CPU for 0.16 with its usual 64 KiB
ALIVE: "weakref.WeakSet[Worker]" = weakref.WeakSet()
NOTES = threading.Lock()  # of who tells the undertaker


@cache
def undertaker() -> "subprocess.Popen[bytes]":
    """Who ends the workers if this process has no time for it, see harness/undertaker.py; in a session that no Ctrl-C reaches."""
    command, quiet = [sys.executable, "-I", "-S", str(Path(__file__).with_name("undertaker.py"))], subprocess.DEVNULL
    process = subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True, cwd=os.path.sep
    )
    atexit.register(process.communicate)  # ends it, and waits for that
    return process


def note(told: str) -> None:
    """Tell the undertaker that a worker and its group begin, or have been ended, where the system has groups."""
    if GROUPS:
        with NOTES, suppress(BrokenPipeError):  # it was killed, too: then a worker goes when it finds its pipe closed
            cast("IO[bytes]", undertaker().stdin).write(f"{told}\n".encode())


def stop_all() -> None:
    """Kill every worker, whichever thread waits for it, and let no other start."""
    STOPPING.set()
    for worker in list(ALIVE):
        worker.kill()


class Worker(AbstractContextManager["Worker"]):
    """A running worker, as a context manager: whatever happens, none outlives its block, nor the harness."""

    def __init__(
        self,
        backend: str,
        *,
        scratch: Path,
        cache: Path | None = None,
        cpus: list[int],
        interpreter: str = sys.executable,
        device: str = "cpu",
        seed: int = 0,
        timeout_s: float = 300.0,
        root: Path = ROOT,
    ) -> None:
        """Start the process and its backend; ``facts`` then holds what it said of itself."""
        if STOPPING.is_set():
            raise WorkerError("failed", "the run was interrupted", "")
        self.backend, self.timeout_s = backend, timeout_s
        self.log = scratch / "worker.log"
        self.replies: queue.SimpleQueue[tuple[Message, Arrays] | None] = queue.SimpleQueue()
        self.mark = uuid.uuid4().hex
        env = worker_environment(
            root=root, cpus=cpus, device=device, scratch=scratch, cache=cache or scratch, interpreter=interpreter
        )
        env |= {MARK: self.mark}
        command, pipe, group = [interpreter, "-m", "harness.worker"], subprocess.PIPE, 0 if GROUPS else -1  # 0: one of its own
        how: dict[str, Any] = {"cwd": root, "env": env, "stdin": pipe, "stdout": pipe, "process_group": group, "pipesize": PIPE}
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(command, stderr=log, **how)
        except OSError as error:  # a disk that another worker has filled, an interpreter that went away
            raise WorkerError("failed", f"it cannot be started ({error.strerror}: {error.filename})", "") from None
        self.outgoing, self.incoming = cast("IO[bytes]", self.process.stdin), cast("IO[bytes]", self.process.stdout)
        ALIVE.add(self)
        threading.Thread(target=self.listen, daemon=True).start()
        try:
            note(f"+{self.process.pid} {self.mark}")
            if STOPPING.is_set():  # since we looked: who stopped all may not have seen this one
                self.kill()
            request = {"op": "start", "backend": backend, "threads": len(cpus), "seed": seed, "device": device}
            self.facts, _ = self.ask(request)
        except BaseException:
            self.close()
            raise

    def listen(self) -> None:
        """Hand every message of the worker on; None when it has closed the pipe."""
        with suppress(Exception):  # what is broken may send anything, and is not listened to any longer
            while True:
                self.replies.put(channel.receive(self.incoming))
        self.replies.put(None)

    def ask(
        self,
        message: Message,
        arrays: Arrays | None = None,
        *,
        timeout_s: float | None = None,
        on_event: Event = lambda _event: None,
    ) -> tuple[Message, Arrays]:
        """Send a request and wait for its answer, at most ``timeout_s`` from one message to the next."""
        allowed_s = timeout_s or self.timeout_s
        LOG.debug("%s, process %d, is asked %s", self.backend, self.process.pid, message)
        self.resume()
        late = threading.Event()
        try:
            with self.unread(allowed_s, late) if arrays else nullcontext():
                channel.send(self.outgoing, message, arrays)
        except OSError:
            raise (self.overdue(allowed_s) if late.is_set() else self.death()) from None
        try:
            while (reply := self.replies.get(timeout=allowed_s)) and "event" in reply[0]:
                on_event(reply[0])
        except queue.Empty:
            raise self.overdue(allowed_s) from None
        if not reply:
            raise self.overdue(allowed_s) if late.is_set() else self.death()
        if "error" in reply[0]:
            raise WorkerError("failed", reply[0]["error"], self.tail())
        return reply

    @contextmanager
    def unread(self, allowed_s: float, late: threading.Event) -> Iterator[None]:
        """End the process if the block lasts too long: who is stopped reads nothing, and arrays fill a pipe, as words do not."""
        timer = threading.Timer(allowed_s, self.give_up, [late])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def give_up(self, late: threading.Event) -> None:
        """Say that it is too late, and end the process: whoever writes to it wakes up."""
        late.set()
        self.kill()

    def overdue(self, allowed_s: float) -> WorkerError:
        """What to say of a worker that took too long, and is ended."""
        self.kill()
        return WorkerError("timeout", f"no answer within {allowed_s:.0f} s", self.tail())

    def death(self) -> WorkerError:
        """What to say of a worker that is gone."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return WorkerError("failed", "the worker closed its pipe", self.tail())
        finally:
            self.kill()
        known = {member.value: member.name for member in signal.Signals}  # real-time signals have numbers only
        cause = f"signal {known.get(-code, -code)}" if code < 0 else f"exit code {code}"
        return WorkerError("failed", f"the worker died ({cause})", self.tail())

    def tail(self) -> str:
        """The last lines of the log, however much a framework has written."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL))
            return log.read(LOG_TAIL).decode("utf-8", "replace")

    def pause(self) -> None:
        """Stop the process and its group: pools that spin while idle would disturb the one that is timed."""
        self.halt(stop=True)

    def resume(self) -> None:
        """Let a paused process go on, and its group; nothing happens to one that runs or is gone."""
        self.halt(stop=False)

    def halt(self, *, stop: bool) -> None:
        """Stop the process, or let it go on: with all of its group, where there are groups. Never after ``kill``, which see."""
        if self not in ALIVE:
            return
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):  # the next request will find it gone
            if GROUPS:
                os.killpg(self.process.pid, signal.SIGSTOP if stop else signal.SIGCONT)
            elif stop:
                psutil.Process(self.process.pid).suspend()
            else:
                psutil.Process(self.process.pid).resume()

    def kill(self) -> None:
        """End the process, paused or not, and whatever it has started; once, since later its number may be another's."""
        if self in ALIVE:
            ALIVE.discard(self)
            end({self.process.pid: self.mark}) if GROUPS else self.process.kill()
            note(f"-{self.process.pid}")

    def close(self) -> None:
        """End the process and collect it."""
        self.kill()
        with suppress(OSError), self.process:  # closes the pipes and waits; what was not sent is lost with the worker
            pass

    def __exit__(self, *_: object) -> None:
        self.close()


def weights_message(weights: Mapping[str, Any]) -> Arrays:
    """Weights as arrays of a request."""
    return {f"weight/{name}": array for name, array in weights.items()}
