"""What a sample is made of, on calls that a test times itself: epochs and their beginning, long warm-ups, very many calls."""

import gc
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import measure, noise, plan, timing
from harness.plan import Entrant
from harness.records import Cell, Trial
from harness.steady import Steady

CELL = Cell("mnist_cnn", "torch", "eager", "cpu", "float32", "mnist", 1)
STEP, START = 10, 500  # nanoseconds of a step, and of an epoch ahead of its first one


def pipeline(per_epoch: int, taken: list[int]) -> measure.Timed:
    """Calls that cost a step each, and START more where an epoch begins; ``taken`` notes how many there were."""

    def timed(_session: Any, call: Callable[[Any], Any], batches: list[Any], count: int) -> list[int]:
        return [sum(call(batches[0]) for _ in range(count))]

    def call(_batch: Any) -> int:
        taken.append(STEP + START * (len(taken) % per_epoch == 0))
        return taken[-1]

    return lambda session, _call, batches, count: timed(session, call, batches, count)


@pytest.mark.parametrize("steps", [1, 7, 99, 100, 150, 1000])
def test_a_step_that_is_fed_holds_its_share_of_an_epochs_beginning(steps: int) -> None:
    """However few of an epoch's steps the block has: what all of them cost, over their number."""
    session: Any = SimpleNamespace(sync=lambda _: None, compilations=lambda: 0)
    taken: list[int] = []
    timed = pipeline(100, taken)
    call: Any = lambda batch: timed(session, None, [batch], 1)[0]  # noqa: E731
    found = measure.fed_sample(session, call, [None], steps, timed=timed, stacked=1, per_epoch=100)
    assert found.times_ns[0] / found.steps == pytest.approx(STEP + START / 100, rel=0.06)
    assert found.steps == (steps if steps <= 99 else max(1, round(steps / 100)) * 100)


def test_what_the_beginning_of_an_epoch_met_is_met_by_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share of the energy, as of the time; a neighbour who came in the first call alone; no tick is taken for one."""
    session: Any = SimpleNamespace(sync=lambda _: None, compilations=lambda: 0)
    usual = {"steal": 0.0, "pressure": 0.2, "switches": 3.0, "energy_j": 2.0}

    def fed(first: dict[str, float], rest: dict[str, float]) -> dict[str, float]:
        met = iter([usual | first, usual | rest])
        monkeypatch.setattr(noise, "between", lambda *_counters, **_passed: next(met))
        wall: measure.Timed = lambda *a: [1_000_000 * a[3]]  # noqa: E731 - a step is a millisecond
        return measure.fed_sample(session, lambda _: 0, [None], 20, timed=wall, stacked=1, per_epoch=100).noise

    def marked(found: dict[str, float]) -> list[str]:
        trials = [Trial(CELL, "epoch", "ok", 0, n, steps=20, times_ns=(2 * 10**8,), noise=found) for n in range(2)]
        return [reason for reasons in noise.contended(trials).values() for reason in reasons]

    quiet = {"wall_s": 0.2, "external_cpus": 0.0}
    found = fed({"wall_s": 0.2, "external_cpus": 1.0, "energy_j": 1.1, "pressure": 0.6}, quiet)
    assert found["energy_j"] == pytest.approx(2.0 + (1.1 - 2.0 / 20) * 20 / 100)
    assert found["external_cpus"] == pytest.approx(0.5)
    assert (found["pressure"], found["switches"], found["wall_s"]) == (pytest.approx(0.4), 6.0, pytest.approx(0.4))
    assert {*marked(found)} == {"others used the CPUs"}
    assert marked(fed({"wall_s": 0.001, "external_cpus": 10.0}, quiet)) == []  # a tick
    assert marked(fed({"wall_s": 0.001, "external_cpus": 0.0}, {"wall_s": 0.2, "external_cpus": 1.0})) != []


@pytest.mark.parametrize(
    ("steps", "per_epoch", "expected"), [(1, 40, 8), (12, 40, 16), (17, 20, 40), (90, 20, 80), (17, 32, 24), (17, 31, 248)]
)
def test_stacks_are_fed_whole_too(steps: int, per_epoch: int, expected: int) -> None:
    """Calls of eight steps: within an epoch, one of them before, or of as many epochs as are whole calls."""
    session: Any = SimpleNamespace(sync=lambda _: None, compilations=lambda: 0)
    taken: list[int] = []
    timed: measure.Timed = lambda *a: [taken.append(8 * a[3]) or 80 * a[3]]  # type: ignore[func-returns-value]  # noqa: E731
    found = measure.fed_sample(session, lambda _: None, [None], steps, timed=timed, stacked=8, per_epoch=per_epoch)
    assert found.steps == expected
    assert sum(taken) <= per_epoch or taken == [math.lcm(8, per_epoch) * round(expected / math.lcm(8, per_epoch))]


def test_a_long_warm_up_is_kept_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second, fourth, ... call; where it is steady is counted in calls."""
    clock = iter(range(10**9))
    monkeypatch.setattr(measure, "calls", lambda *_: [10_000 if next(clock) < 6_000 else 1_000 + next(clock) % 7])
    seconds = iter([0.0] * 20_000)
    watch = SimpleNamespace(seconds=lambda: next(seconds, 1.0))
    monkeypatch.setattr(measure, "Stopwatch", lambda: watch)
    found = measure.warm_up(SimpleNamespace(), lambda _: None, [None])  # type: ignore[arg-type]
    assert len(found.times_ns) == math.ceil(found.steps / found.stride) <= measure.KEPT_STEPS
    assert found.stride > 1
    assert found.steady.kind == "warm-up"
    assert found.steady.start == pytest.approx(6_000, abs=5 * found.stride)


@pytest.mark.parametrize(("again", "last"), [(1.3, [23, 29, 30]), (1.0, [28, 29, 30])], ids=["after the last look", "at it"])
def test_a_warm_up_is_judged_to_its_end(monkeypatch: pytest.MonkeyPatch, again: float, last: list[int]) -> None:
    """On a clock by which a call takes a second: what settles between the last look and the cap is seen, and nothing twice."""
    taken: list[int] = []
    looks: list[int] = []

    def judge(times: np.ndarray) -> Steady:
        looks.append(len(times))
        return Steady("warm-up", 3) if len(times) == measure.WARMUP_CAP_S else Steady("no steady state", len(times))

    monkeypatch.setattr(measure, "LOOK_AGAIN", again)
    monkeypatch.setattr(measure, "steady", judge)
    monkeypatch.setattr(measure, "calls", lambda *_: [taken.append(1) or 10**9])
    monkeypatch.setattr(measure, "Stopwatch", lambda: SimpleNamespace(seconds=lambda: float(len(taken))))
    found = measure.warm_up(SimpleNamespace(), lambda _: None, [None])  # type: ignore[arg-type]
    assert looks[-3:] == last
    assert len({*looks}) == len(looks)
    assert (found.steps, found.steady) == (30, Steady("warm-up", 3))


def test_of_very_many_calls_some_are_kept_with_their_share() -> None:
    """Spread over all of them; CPU time and energy are of those that are kept. Few, and a block, stay as they are."""
    calls = {"steps": 1, "times_ns": [*range(1, 10_001)], "cpu_ns": 50_000, "noise": {"energy_j": 2.0}}
    kept = timing.thinned(calls)
    assert kept["times_ns"] == tuple(range(1, 10_001, 20))
    assert (kept["cpu_ns"], kept["noise"]["energy_j"]) == (2_500, pytest.approx(0.1))
    assert timing.taken(Trial(CELL, "latency", "ok", **kept)) == 10_000  # as many again in a run that goes on
    for count in (1, 500):
        few = {**calls, "times_ns": [7] * count}
        assert timing.thinned(few) == {**few, "times_ns": (7,) * count}
        assert timing.taken(Trial(CELL, "latency", "ok", **timing.thinned(few))) == count


@pytest.mark.parametrize(
    ("step_s", "disturbed", "phase", "expected", "asked"),
    [
        (1e-4, {}, "train", 2500, 6),
        (1e-4, {0: 0.1}, "train", 2500, 3),  # four steps with a tenth of a second in between: ten of them were a sample
        (1e-4, {5: 0.4}, "train", 2500, 7),  # in the block that is looked at again
        (1.0, {}, "train", 1, 2),
        (1e-7, {}, "train", timing.MAX_STEPS, 8),
        (1e-4, {0: 0.1}, "latency", 500, 3),
    ],
)
def test_a_sample_has_its_length_whoever_disturbed_a_block(
    step_s: float, disturbed: dict[int, float], phase: str, expected: int, asked: int
) -> None:
    """A quarter of a second, of the blocks by which it is found one was disturbed; few blocks more, and none of long steps."""
    blocks: list[int] = []

    def ask(message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        seconds = message["steps"] * step_s + disturbed.get(len(blocks), 0.0)
        blocks.append(message["steps"])
        return {"times_ns": [round(seconds * 1e9)], "steps": message["steps"]}, {}

    worker: Any = SimpleNamespace(ask=ask)
    found = timing.calibrated(worker, {"op": "sample", "phase": phase}, 0.25)
    assert (found, len(blocks)) == (pytest.approx(expected, rel=0.01), asked)


@pytest.mark.parametrize(("copies", "generation", "expected"), [(0, 0, "jax jit"), (0, 1, "torch eager"), (3, 0, "jax jit")])
def test_each_precision_has_a_control(copies: int, generation: int, expected: str) -> None:
    """Of its first modes, in turn; a process that no entrant is."""
    chosen = {"jax": ("jit", "bf16"), "torch": ("eager", "compile"), "tensorflow": ("bf16",)}
    entrants = tuple(Entrant(backend, mode, copies) for backend, modes in chosen.items() for mode in modes)
    pairs = [(backend, mode) for backend, modes in chosen.items() for mode in modes]
    held: Any = SimpleNamespace(entrants=entrants, pairs=lambda: pairs)
    first, low = plan.Plan.control(held, generation)
    assert f"{first.backend} {first.mode}" == expected
    assert (low.mode, low.backend) == ("bf16", ("jax", "tensorflow")[generation])
    assert not {first, low} & {*entrants}


# What is inside a block


class Asynchronous:
    """A session that only begins: ``sync`` waits for what was begun, on a clock of its own; every third call compiles."""

    def __init__(self) -> None:
        self.now_ns, self.begun, self.syncs, self.made = 0, 0, 0, 0
        self.collecting: list[bool] = []

    def call(self, _batch: Any) -> int:
        """A nanosecond to begin; a microsecond that ``sync`` waits for."""
        self.now_ns += 1
        self.begun += 1
        self.made += 1
        self.collecting.append(gc.isenabled())
        return self.made

    def sync(self, handle: int) -> None:
        """The last handle waits for all that was begun."""
        assert handle == self.made
        self.now_ns += 1000 * self.begun
        self.begun = 0
        self.syncs += 1

    def compilations(self) -> int:
        """One for each third call."""
        return self.made // 3


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Such a session, whose clock is the only one."""
    found = Asynchronous()
    clock = SimpleNamespace(perf_counter_ns=lambda: found.now_ns, process_time_ns=lambda: found.now_ns // 2)
    clock.perf_counter = lambda: found.now_ns / 1e9
    monkeypatch.setattr(measure, "time", clock)
    monkeypatch.setattr(measure, "SETTLE_S", 0.0)  # one call
    return found


@pytest.mark.parametrize("steps", [1, 7])
def test_a_block_waits_for_what_it_has_begun_and_once(session: Any, steps: int) -> None:
    """The wait is inside of its time, at its end: one a block, and one for each single call."""
    assert measure.block(session, session.call, [None], steps) == [1001 * steps]
    assert session.syncs == 1
    assert measure.calls(session, session.call, [None], steps) == [1001] * steps
    assert session.syncs == 1 + steps


def test_what_is_compiled_inside_a_block_is_counted(session: Any) -> None:
    """And not what the untimed call ahead of it compiled; the CPU time is the block's, too."""
    session.made = 2  # so that the third is the one ahead
    found = measure.sample(session, session.call, [None], 6, timed=measure.block, stacked=1)
    assert (found.compilations, found.steps, found.times_ns) == (2, 6, [6006])
    assert found.cpu_ns == pytest.approx(3003, abs=1)
    assert session.syncs == 2
    assert measure.sample(session, session.call, [None], 1, timed=measure.block, stacked=1).compilations == 0


@pytest.mark.parametrize(("settle_s", "calls"), [(0.0, 1), (2.5e-6, 3), (1e-5, 10)])
def test_a_block_begins_when_the_process_has_its_caches_again(
    session: Any, monkeypatch: pytest.MonkeyPatch, settle_s: float, calls: int
) -> None:
    """Untimed calls, over the batches in turn, each waited for: one at least, and as many as last so long."""
    monkeypatch.setattr(measure, "SETTLE_S", settle_s)
    taken: list[int] = []
    call: Any = lambda batch: (taken.append(batch), session.call(batch))[1]  # noqa: E731
    found = measure.sample(session, call, [0, 1], 4, timed=measure.block, stacked=1)  # type: ignore[list-item]
    assert taken == [n % 2 for n in range(calls)] + [0, 1, 0, 1]
    assert (found.times_ns, session.syncs) == ([4004], calls + 1)
    measure.sample(session, call, [0], 4, timed=measure.block, stacked=1, settled=True)  # type: ignore[list-item]
    assert len(taken) == calls + 8


def test_no_garbage_is_collected_inside_a_block(session: Any) -> None:
    """What there was is collected before; afterwards it goes on as ever, after an error too."""
    assert gc.isenabled()
    measure.sample(session, session.call, [None], 4, timed=measure.block, stacked=1)
    assert session.collecting == [False] * 5  # the one ahead of it, too
    assert gc.isenabled()

    def broken(*_: Any) -> list[int]:
        raise RuntimeError("out of patience")

    with pytest.raises(RuntimeError):
        measure.sample(session, session.call, [None], 4, timed=broken, stacked=1)
    assert gc.isenabled()
