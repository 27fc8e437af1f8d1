"""The only reader of a clock: blocks of steps, single calls, first calls, memory. Runs inside a worker."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.protocol import Batch, Handle, Session

WARMUP_STEPS, WARMUP_S, WARMUP_CAP_S = 5, 0.5, 30.0


class Block(NamedTuple):
    """One timed block: wall and CPU time (all threads of the process), compilations meanwhile."""

    wall_ns: int
    cpu_ns: int
    compilations: int


class Stopwatch:
    """Seconds since it was made: for budgets, progress and one-off phases."""

    def __init__(self) -> None:
        """Start."""
        self.start = time.perf_counter()

    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self.start


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection inside: what there is is collected before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def block(session: Session, call: Callable[[Batch], Handle], batches: list[Batch], steps: int) -> Block:
    """Time ``steps`` calls over the placed batches in turn: synchronised before the first and after the last, one call ahead."""
    count = len(batches)
    session.sync(call(batches[0]))
    compiled = session.compilations()
    with quiet_collector():
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        for i in range(steps):
            handle = call(batches[i % count])
        session.sync(handle)
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    return Block(wall, cpu, session.compilations() - compiled)


def calls(session: Session, call: Callable[[Batch], Handle], batch: Batch, count: int) -> list[int]:
    """The wall time of each of ``count`` calls, synchronised one by one, in nanoseconds."""
    times = []
    session.sync(call(batch))
    with quiet_collector():
        for _ in range(count):
            start = time.perf_counter_ns()
            session.sync(call(batch))
            times.append(time.perf_counter_ns() - start)
    return times


def first_call(session: Session, call: Callable[[Batch], Handle], batch: Batch) -> float:
    """Seconds of one synchronised call: tracing and compilation included where this is the first."""
    watch = Stopwatch()
    session.sync(call(batch))
    return watch.seconds()


def warm_up(session: Session, call: Callable[[Batch], Handle], batches: list[Batch]) -> tuple[int, float]:
    """Step until at least 5 steps and 0.5 s have passed, 30 s at most: (steps, seconds)."""
    watch, steps = Stopwatch(), 0
    while (steps < WARMUP_STEPS or watch.seconds() < WARMUP_S) and (steps < 1 or watch.seconds() < WARMUP_CAP_S):
        session.sync(call(batches[steps % len(batches)]))
        steps += 1
    return steps, watch.seconds()


def memory() -> dict[str, int]:
    """Resident and peak memory of this process in bytes, from /proc; empty where the system has none."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return {}
    fields = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
    return {name: int(fields[key].split()[0]) * 1024 for name, key in (("resident", "VmRSS"), ("peak", "VmHWM"))}
