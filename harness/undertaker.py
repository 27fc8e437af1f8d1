"""Kills the workers that outlive the harness, with all that they have started. A process of its own, begun by harness/launch.py.

Each line of its stdin names a process group, as ``+123`` when it begins and as ``-123`` when it has been ended. The last one is
read when the harness is gone, however it ended: what is left then is killed, stopped or not.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Wait for the end."""
    left: set[int] = set()
    for line in sys.stdin:
        (left.add if line.startswith("+") else left.discard)(int(line[1:]))
    for group in left:
        with suppress(ProcessLookupError, PermissionError):  # a group of zombies alone is, on macOS, another's
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
