"""Kills the workers that outlive the harness, with all that they have started. A process of its own, begun by harness/launch.py.

Each line of its stdin names a process group, as ``+123 MARK`` when it begins and as ``-123`` when it has been ended. The last one
is read when the harness is gone, however it ended: what is left then is killed, stopped or not.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

MARK = "CONCORD_WORKER"  # a variable of each worker, which all that it starts inherits
LOOKS = 100  # at most: what is killed may start another before it ends, and the system may take its time


def main() -> None:
    """Wait for the end."""
    left: dict[int, str] = {}
    for line in sys.stdin:
        group, _, mark = line[1:].strip().partition(" ")
        if line.startswith("+"):
            left[int(group)] = mark
        else:
            left.pop(int(group), None)
    for number, mark in left.items():
        end(number, mark)


def end(group: int, mark: str) -> None:
    """Kill a worker's process group; where there is /proc, also what has left the group for a session of its own."""
    with suppress(ProcessLookupError, PermissionError):  # a group of zombies alone is, on macOS, another's
        os.killpg(group, signal.SIGKILL)
    for _ in range(LOOKS):
        if not sum(killed(path, f"{MARK}={mark}".encode()) for path in Path("/proc").glob("[0-9]*/environ")):
            return


def killed(environ: Path, mark: bytes) -> bool:
    """Kill a process that carries the mark; whether it did. One that is dead has no environment any more."""
    with suppress(OSError):
        if mark in environ.read_bytes().split(b"\0"):
            os.kill(int(environ.parent.name), signal.SIGKILL)
            return True
    return False


if __name__ == "__main__":
    main()
