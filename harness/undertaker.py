"""Kills the workers that outlive the harness, with all that they have started. A process of its own, begun by harness/launch.py.

Each line of its stdin names a process group, as ``+123 MARK`` when it begins and as ``-123`` when it has been ended. The last one
is read when the harness is gone, however it ended: what is left then is killed, stopped or not.
"""

import os
import signal
import sys
import time
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
    end(left)


def end(workers: dict[int, str]) -> None:
    """Kill the process groups of workers; where there is /proc, also what carries their marks and has left the group."""
    for group in workers:
        with suppress(ProcessLookupError, PermissionError):  # a group of zombies alone is, on macOS, another's
            os.killpg(group, signal.SIGKILL)
    marks = {f"{MARK}={mark}".encode() for mark in workers.values()}
    for _ in range(LOOKS):
        if not sum(killed(process, marks) for process in Path("/proc").glob("[0-9]*")):
            return
        time.sleep(0.01)


def killed(process: Path, marks: set[bytes]) -> bool:
    """Kill a process that carries one of the marks; whether it did. One that is dead has no environment any more."""
    with suppress(OSError):
        if not marks.isdisjoint((process / "environ").read_bytes().split(b"\0")):
            os.kill(int(process.name), signal.SIGKILL)
            return True
    return False


if __name__ == "__main__":
    main()
