"""The child process: the only importer of a backend's engine. Started by harness/launch.py, speaks over a private pipe.

Before anything is imported it takes the pipe for itself, so that nothing a framework prints can reach it, and moves to its CPUs,
since thread pools size themselves by them.
"""

import os
from contextlib import suppress
from typing import BinaryIO


def private_channel() -> tuple[BinaryIO, BinaryIO]:
    """The pipe, moved away from stdin and stdout: whoever prints now prints into the log."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return incoming, outgoing


def settle() -> None:
    """Move to the CPUs of CONCORD_CPUS, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, map(int, os.environ["CONCORD_CPUS"].split(",")))


def main() -> None:
    """Answer requests until the harness closes the pipe."""
    incoming, outgoing = private_channel()
    settle()
    from harness import channel, jobs  # only now: numpy must see the CPUs we just moved to

    worker = jobs.Worker(lambda message, arrays=None: channel.send(outgoing, message, arrays))
    with suppress(EOFError):
        while True:
            worker.answer(*channel.receive(incoming))


if __name__ == "__main__":
    main()
