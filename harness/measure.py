"""The only reader of a clock: blocks of steps, single calls, first calls, warm-ups, the canary, memory. Runs inside a worker."""

import ctypes
import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness import environment, noise
from harness.protocol import Batch, Handle, Session
from harness.steady import Steady, steady

WARMUP_STEPS, WARMUP_S, WARMUP_CAP_S = 5, 0.25, 30.0
KEPT_STEPS = 2000  # of a warm-up
LOOK_AGAIN = 1.3  # the series grows by this factor before it is judged again
SETTLE_S = 0.01  # of untimed calls ahead of a sample: others have had the CPU's caches, see ``settle``
Call = Callable[[Batch], Handle]
Timed = Callable[[Session, Call, list[Batch], int], list[int]]  # ``block`` or ``calls``


class Sample(NamedTuple):
    """One timed sample: wall time of its block or of each call, the steps of each, CPU time, compilations, what it met."""

    times_ns: list[int]
    steps: int
    cpu_ns: int  # of all threads
    compilations: int
    noise: dict[str, float]


class WarmUp(NamedTuple):
    """Every ``stride``-th call of a warm-up from its first one on, how many there were in all, and what the series is."""

    times_ns: list[int]
    steps: int
    stride: int
    steady: Steady


class Stopwatch:
    """Seconds since it was made: for budgets, progress and one-off phases."""

    def __init__(self) -> None:
        """Start."""
        self.start = time.perf_counter()

    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self.start


def cpu_seconds() -> float:
    """CPU time of this process so far, all threads, children not counted."""
    return time.process_time()


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection inside: what there is is collected before."""
    gc.collect()
    gc.freeze()  # what lives now is looked through once, not before every sample: 0.2 s with a framework's million objects
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def sample(
    session: Session, call: Call, batches: list[Batch], steps: int, *, timed: Timed, stacked: int, settled: bool = False
) -> Sample:
    """Time as many calls, of ``stacked`` steps each, as ``steps`` steps take, after those that ``settle`` makes, if it has not.

    No garbage is collected meanwhile.
    """
    count = -(-steps // stacked)
    with quiet_collector():
        if not settled:
            settle(session, call, batches)
        compiled = session.compilations()
        before, cpu, wall = noise.read(), time.process_time_ns(), time.perf_counter_ns()
        times = timed(session, call, batches, count)
        cpu, wall, after = time.process_time_ns() - cpu, time.perf_counter_ns() - wall, noise.read()
    met = noise.between(before, after, wall_s=wall / 1e9, cpu_s=cpu / 1e9)
    return Sample(times, count * stacked // len(times), cpu, session.compilations() - compiled, met)


def settle(session: Session, call: Call, batches: list[Batch]) -> None:
    """Untimed calls, one at least, until what another process has had meanwhile is this one's again: caches, predicted branches.

    After 64 MiB have gone through the caches the credit MLP's step takes 1.7 times its usual time in PyTorch, 1.5 in TensorFlow,
    and a hundredth more at most from the 15th on, 8 ms later: all of it, 0.9, 2.1 and in JAX 0.4 ms, is 0.3 to 1.4 % of 0.15 s.
    """
    watch = Stopwatch()
    for batch in cycle(batches):
        session.sync(call(batch))
        if watch.seconds() >= SETTLE_S:
            break


def fed_sample(
    session: Session, call: Call, batches: list[Batch], steps: int, *, timed: Timed, stacked: int, per_epoch: int
) -> Sample:
    """A block of steps, settled before, that an input pipeline feeds, at the beginning of an epoch of ``per_epoch`` steps.

    What an epoch costs ahead of its first batch (an iterator to make, a buffer to shuffle) is in no step of a block that is
    shorter. It is what the first call takes beyond one of the block, which is given the share of it that its steps are of an
    epoch: in time, CPU time and energy. A longer block is of whole epochs, which hold it.
    """
    take = partial(sample, session, call, batches, timed=timed, stacked=stacked, settled=True)
    if -(-steps // stacked) * stacked + stacked > per_epoch:
        whole = math.lcm(per_epoch, stacked)
        return take(max(1, round(steps / whole)) * whole)
    first, found = take(stacked), take(steps)

    def with_start(began: float, rest: float) -> float:
        return rest + (began - rest * stacked / found.steps) * found.steps / per_epoch

    times, cpu = [round(with_start(first.times_ns[0], found.times_ns[0]))], round(with_start(first.cpu_ns, found.cpu_ns))
    met = noise.together(first.noise, found.noise)
    if "energy_j" in met:
        met["energy_j"] = with_start(first.noise["energy_j"], found.noise["energy_j"])
    return Sample(times, found.steps, cpu, first.compilations + found.compilations, met)


def block(session: Session, call: Call, batches: list[Batch], steps: int, *, slowdown: float = 0.0) -> list[int]:
    """The wall time in nanoseconds of ``steps`` calls over the placed batches in turn, synchronised after the last.

    Then ``slowdown`` (`concord selfcheck`) keeps the CPU busy for a share of what has passed. A delay in each step is no share of
    it: JAX hides one of 2 us in what it computes meanwhile, and pays 14 us for one of 10.
    """
    count, start = len(batches), time.perf_counter_ns()
    for i in range(steps):
        handle = call(batches[i % count])
    session.sync(handle)
    if slowdown:
        end = time.perf_counter_ns() + int(slowdown * (time.perf_counter_ns() - start))
        while time.perf_counter_ns() < end:
            pass
    return [time.perf_counter_ns() - start]


def calls(session: Session, call: Call, batches: list[Batch], steps: int) -> list[int]:
    """The wall time in nanoseconds of each of ``steps`` calls, synchronised one by one, over the placed batches in turn."""
    times, count = [], len(batches)
    for i in range(steps):
        start = time.perf_counter_ns()
        session.sync(call(batches[i % count]))
        times.append(time.perf_counter_ns() - start)
    return times


def warm_up(session: Session, call: Call, batches: list[Batch]) -> WarmUp:
    """Call, synchronised one by one, until the series of times is steady: at least 5 steps and 0.25 s, 30 s at most.

    Of a long series every second, fourth, ... call is kept, so that all of it is judged. Its end too, when the time is up.
    After 0.25 s nothing falls any more: in 315 warm-ups of quick a call in the quarter of a second after that took by the
    median 1.00 times as long as in the eighth before (half of them 0.99 to 1.01; the others were disturbed, either way).
    """
    times: list[int] = []
    watch, steps, stride, look, looked = Stopwatch(), 0, 1, WARMUP_STEPS, 0
    found = Steady("no steady state", 0)
    while watch.seconds() < WARMUP_CAP_S or steps < 1:
        time_ns = calls(session, call, [batches[steps % len(batches)]], 1)
        times += time_ns if steps % stride == 0 else []
        if len(times) > KEPT_STEPS:
            times, stride = times[::2], 2 * stride
        steps += 1
        if steps >= look and watch.seconds() >= WARMUP_S:
            found, looked = steady(np.array(times) / 1e9), steps
            if found.kind != "no steady state":
                break
            look = max(steps + 1, int(steps * LOOK_AGAIN))
    if steps > looked:
        found = steady(np.array(times) / 1e9)
    return WarmUp(times, steps, stride, Steady(found.kind, found.start * stride))


class Canary:
    """A fixed product and a fixed copy, timed between the samples, so that a machine which becomes slower shows.

    The product is 4 times 384 x 384 in float32 (0.45 GFLOP), the copy 32 MiB there and back (64 MiB moved); on a quiet machine
    they also measure what one CPU can do at most. Each is done twice and the better counts: a hiccup is no slow machine.
    """

    size, products = 384, 4
    flops = 2 * size**3 * products
    moved_bytes = 2 * 2**25

    def __init__(self) -> None:
        """Allocate, and touch every page once."""
        self.a = np.ones((self.size, self.size), np.float32)
        self.out = np.ones_like(self.a)
        self.source = np.ones(self.moved_bytes // 2, np.uint8)
        self.target = self.source.copy()
        self.sing()

    def sing(self) -> dict[str, float]:
        """Seconds of the product and of the copy."""
        return {"product_s": self.best(self.product), "copy_s": self.best(self.copy)}

    def best(self, part: Callable[[], None]) -> float:
        """Seconds of the faster of two."""
        times = []
        for _ in range(2):
            watch = Stopwatch()
            part()
            times.append(watch.seconds())
        return min(times)

    def product(self) -> None:
        """The fixed product."""
        for _ in range(self.products):
            np.matmul(self.a, self.a, out=self.out)

    def copy(self) -> None:
        """The fixed copy."""
        np.copyto(self.target, self.source)


def memory(*, forget: bool = False) -> dict[str, int]:
    """Resident and peak memory of this process in bytes, from /proc; empty where the system has none.

    To ``forget`` lets the peak begin anew at what is resident; none is told where a system cannot (proc_pid_clear_refs(5)).
    What was freed before is given back first (malloc_trim(3)), or it would hide as much of what comes.
    """
    if forget:
        with suppress(AttributeError, OSError, TypeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return {}
    found = ((name, environment.proc("self/status", key)) for name, key in (("resident", "VmRSS"), ("peak", "VmHWM")))
    return {name: int(size.split()[0]) * 1024 for name, size in found if size}  # "123 kB"
