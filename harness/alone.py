"""One timing at a time on a machine, one report of a run, a scratch folder a harness: locks that end with their process."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from harness.errors import HarnessError

SHARED = Path("/tmp")  # noqa: S108 - where all users of a machine meet; TMPDIR may be each one's own
NAME = "concord-timing.lock"
SCRATCH = "concord-scratch"


@contextmanager
def alone(*, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Hold this machine; where another run holds it, ``wait`` until it ends, or raise the HarnessError that names it."""
    path = machine()

    def taken() -> None:
        other = f"another run, {holder(path)}, is measuring on this machine"
        if not wait:
            raise HarnessError(f"{other}: wait until it ends, or give --wait.") from None
        say(f"waits   {other}")

    with locked(path, taken):
        yield


def machine() -> Path:
    """The file by which runs know each other: CONCORD_LOCK, which containers can share; without it one that all users share."""
    place = SHARED if os.access(SHARED, os.W_OK) else Path(tempfile.gettempdir())
    named = Path(os.environ.get("CONCORD_LOCK") or place / NAME)
    return named.parent.resolve() / named.name  # a link of that name is not ours to follow


@contextmanager
def locked(path: Path, taken: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file; where another process holds it, wait for its end, unless ``taken``, which is called first, raises."""
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        taken()
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
    return "a process that cannot be seen from here"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder, where the system can lock one: of two that make its views at once, all files are the later one's."""
    if os.name == "nt" or not folder.is_dir():
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Where workers keep logs, caches and prepared data: gone after the run, or at the next one's start if it was killed."""
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}-{os.getpid()}-", ignore_cleanup_errors=True) as name:
        own = Path(name)
        with FileLock(own / "lock"):
            for other in own.parent.glob(f"{SCRATCH}-*-*"):
                with suppress(OSError, ValueError, Timeout):  # it went in the meantime, is not one of ours, is in use
                    gone = not psutil.pid_exists(int(other.name.split("-")[2]))  # its lock alone is taken a moment too late
                    if gone and other.lstat().st_uid == own.stat().st_uid:
                        with FileLock(other / "lock", timeout=0):
                            shutil.rmtree(other, ignore_errors=True)
            yield own
