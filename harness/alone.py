"""One timing at a time on a machine: a lock of the system's own, which a process that dies in any way gives back."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from harness.errors import HarnessError

NAME = "concord-timing.lock"  # in the system's folder for temporary files, which all users of a machine share


@contextmanager
def alone(*, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Hold this machine; where another run holds it, ``wait`` until it ends, or raise the HarnessError that names it."""
    path = Path(tempfile.gettempdir(), NAME).resolve()
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        other = f"another run, {holder(path)}, is measuring on this machine"
        if not wait:
            raise HarnessError(f"{other}: wait until it ends, or give --wait.") from None
        say(f"waits   {other}")
        lock.acquire(poll_interval=0.5)
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> str:
    """The process that has the lock file open, as far as the system tells."""
    for process in psutil.process_iter(["open_files"]):
        if any(file.path == str(path) for file in process.info["open_files"] or ()):
            return f"process {process.pid}"
    return "a process of another user"
