"""Sessions that take several steps in one call: how they are timed and proven, shown on NumPy sessions that only loop."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends.numpy import engine
from harness import jobs, launch, proof
from harness.protocol import Stacking
from harness.spec import Arrays
from harness.trace import trace
from harness.verify import Exhibit

TASK = "risk_mlp"
Exhibits = Callable[[str], Exhibit]


class Stack(engine.Session):
    """Steps over a list of batches, one by one."""

    taken = 0

    def stack(self, batches: Sequence[Any]) -> list[Any]:
        """A list."""
        return list(batches)

    def train_step(self, batch: Any) -> np.ndarray:
        """The losses of a list, or the loss of one."""
        if isinstance(batch, list):
            return np.array([self.train_step(one) for one in batch])
        self.taken += 1
        return super().train_step(batch)


class Backwards(Stack):
    """From the last batch to the first."""

    def stack(self, batches: Sequence[Any]) -> list[Any]:
        """A list, turned round."""
        return super().stack(batches)[::-1]


class Forgetful(Stack):
    """The optimizer's state of the beginning at every step of a stack."""

    def train_step(self, batch: Any) -> np.ndarray:
        """Of a list, all steps but the first forget it."""
        if not isinstance(batch, list):
            return super().train_step(batch)
        losses = []
        for one in batch:
            losses.append(super().train_step(one))
            self.state = {name: {} for name in self.state}
        return np.array(losses)


def traced(ex: Exhibit, kind: type[engine.Session]) -> dict[str, Arrays]:
    """The traces of a kind of session, by precision."""
    table = ex.spec.optimizer.table(np.array(ex.lrs))
    found: dict[str, Arrays] = {}
    for name, (precision, arrays) in ex.asked("numpy").items():
        weights = {tensor: array.astype(precision) for tensor, array in ex.weights.items()}
        session = kind(ex.spec, precision=precision, table=table)
        found[name] = trace(session, weights, arrays, tensors=name == "float64")
    return found


def test_only_a_session_that_stacks_is_one() -> None:
    """Nothing else tells the two apart."""
    assert issubclass(Stack, Stacking)
    assert not issubclass(engine.Session, Stacking)


@pytest.mark.parametrize("kind", [Stack, Backwards, Forgetful])
def test_the_stack_itself_is_proven(kind: type[Stack], exhibit: Exhibits) -> None:
    """Ten steps of one call: what goes wrong between them only is found in the losses, and in what they leave behind."""
    ex = exhibit(TASK)
    reference = proof.Subject(ex.task, "numpy", "reference", traced(ex, engine.Session))
    rows = proof.judge(ex.spec, reference, [proof.Subject(ex.task, "another", "scan", traced(ex, kind))], ex.weights)
    failed = [(row.level, row.where) for row in rows if row.verdict == "failed" and row.precision == "float64"]
    wrong = {Backwards: "loss at step 0", Forgetful: "loss at step 2"}
    assert failed == ([] if kind is Stack else [("eval", "evaluation logits after step 9"), ("steps", wrong[kind])])


@pytest.mark.parametrize(("flops", "calls"), [(1e12, [8]), (3.5, [3, 3]), (1.0, [1] * 8), (0.0, [1] * 8)])
def test_a_sample_is_a_whole_number_of_calls(
    flops: float, calls: list[int], small_data: Callable[[str], Path], exhibit: Exhibits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of at least the steps that were asked for, all of which are counted; large steps are stacked less high, or not at all."""
    ex, steps = exhibit(TASK), calls[0]
    each = jobs.roofline.training_flops(ex.spec.model) * 8
    monkeypatch.setattr(jobs, "STACK_FLOPS", flops * each)
    worker = jobs.Worker(lambda *_: None)
    opened: Callable[..., Stack] = lambda spec, *, precision, table, **_: Stack(spec, precision=precision, table=table)  # noqa: E731
    held: Any = SimpleNamespace(open_session=opened, describe=dict, pipeline=engine.pipeline)
    worker.engine = held
    message = {"op": "open", "cell": "a", "task": TASK, "mode": "scan", "precision": "float32", "batch": 8, "seed": 0}
    message |= {"data": str(small_data(TASK)), "phases": ["train", "epoch", "predict"], "slowdown": 0.0}
    monkeypatch.setattr(jobs.measure, "WARMUP_S", 0.01)
    monkeypatch.setattr(jobs.measure, "SETTLE_S", 0.0)  # one call
    reply, _ = worker.open(message, launch.weights_message(ex.weights))
    assert reply["facts"]["steps_a_call"] == steps
    session, cell = worker.cells["a"].session, worker.cells["a"]
    assert isinstance(session, Stack)
    assert [len(group) for group in cell.trained] == calls
    assert [id(one) for group in cell.trained for one in group] == [id(one) for one in cell.placed[: sum(calls)]]
    for phase, wanted in (("train", 20), ("epoch", 20), ("train", 1)):
        before = session.taken
        told, _ = worker.sample({"cell": "a", "phase": phase, "steps": wanted}, {})
        assert told["steps"] == (math.lcm(20, steps) if phase == "epoch" else -(-wanted // steps) * steps)  # of 20 in an epoch
        assert session.taken - before == told["steps"] + steps
        assert len(told["times_ns"]) == 1
    assert worker.sample({"cell": "a", "phase": "predict", "steps": 20}, {})[0]["steps"] == 20
