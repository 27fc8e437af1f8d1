"""The judge on made-up traces: what it calls equal, what it does not, and where it says the difference is."""

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness import proof
from harness.catalog import ROOT
from harness.proof import Subject
from harness.records import Proof
from harness.spec import (
    ONES,
    ZEROS,
    Arrays,
    DataSpec,
    Init,
    ModelSpec,
    OptimizerSpec,
    ParamSpec,
    Quality,
    TaskSpec,
    TrainSpec,
)
from harness.trace import learning_rates

STEPS = 10
PARTS = [*(f"step/{k}" for k in range(STEPS)), "confident", "after"]  # what a float64 trace holds of every tensor
SPEC = TaskSpec(
    name="made_up",
    title="Made up",
    model=ModelSpec(
        tensors=(
            ParamSpec("first/kernel", "i o", (2, 3), Init("normal", 1.0)),
            ParamSpec("norm/gamma", "c", (3,), ONES),
            ParamSpec("norm/var", "c", (3,), ONES, trained=False),
            ParamSpec("last/bias", "c", (3,), ZEROS),
        ),
        sizes={},
    ),
    data=DataSpec("mnist", (2,), 3),
    loss="softmax_cross_entropy",
    optimizer=OptimizerSpec("sgd", lr=0.1),
    train=TrainSpec(batch=4, epochs=1),
    quality=Quality("accuracy", target=0.5, margin=0.01),
)
WEIGHTS = {t.name: np.linspace(-1, 1, math.prod(t.shape)).reshape(t.shape).astype(np.float32) for t in SPEC.model.tensors}
LEVELS = ("weights", "logits", "loss", "gradients", "tensors", "eval", "steps")
AT_ONCE = ("logits", "loss", "gradients", "rounding")
FLOAT32_LEVELS = (*AT_ONCE, "statistics", "open", "offset", "tensors", "steps", "update", "length")
Change = Callable[[dict[str, Arrays]], None]


def trace(name: str) -> Arrays:
    """What a backend that computes exactly would answer; only its float32 logits are rounded."""
    precision = str(np.dtype(proof.DTYPES[name]))
    shapes = {t.name: t.shape for t in SPEC.model.tensors}
    made: Arrays = {f"weights/{name}": value.astype(precision) for name, value in WEIGHTS.items()}
    made["logits"] = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
    made["losses"] = np.linspace(1.5, 0.5, STEPS)
    made |= {f"grad/{t.name}": np.full(t.shape, 0.25) for t in SPEC.model.parameters}
    if name == "float64":
        made["loss"] = made["confident"] = np.array(1.5)
        made["later"] = np.linspace(0.5, 0.25, STEPS)
        made["eval"] = made["seen/0"] = made["seen/1"] = made["loaded"] = made["logits"]
        made |= {f"{at}/{t.name}": np.full(t.shape, 0.5) for at in ("tied", "alone") for t in SPEC.model.parameters}
        made |= {f"{part}/{name}": linear(s, 2 + k) for k, part in enumerate(PARTS) for name, s in shapes.items()}
    else:
        made |= {f"after/{name}": linear(s, 2) for name, s in shapes.items()}
        made["lifted/first/kernel"] = made["offset/first/kernel"] = linear((2, 3), 3)
        made["first/norm/var"] = linear((3,), 4)
        made |= {f"given/{k}/{t.name}": made[f"grad/{t.name}"] for k in range(2) for t in SPEC.model.parameters}
        moved = np.cumsum(learning_rates(SPEC)) * 0.25
        made |= {f"made/{k}/{t.name}": WEIGHTS[t.name] - moved[k] for k in range(2) for t in SPEC.model.parameters}
        made |= {f"made/{k}/{t.name}": linear((3,), 2) for k in range(2) for t in SPEC.model.buffers}
    if name == "float32":
        made["logits"] = np.nextafter(made["logits"], np.float32(9))
    made["single"] = made["logits"][:1]
    return {name: np.array(value, precision) for name, value in made.items()}


def test_every_level_is_explained_on_the_page() -> None:
    """And none that there is not."""
    told = tomllib.loads((ROOT / "harness" / "report" / "dictionary.toml").read_text("utf-8"))["levels"]
    assert set(told) == {*LEVELS, *FLOAT32_LEVELS, "drift", "trace"}


def linear(shape: tuple[int, ...], end: float) -> np.ndarray:
    """Numbers from 1 to an end, none of them 0."""
    return np.linspace(1, end, math.prod(shape)).reshape(shape)


def subject(backend: str, mode: str = "eager", change: Change = lambda _traces: None) -> Subject:
    """A backend that computes exactly, but for a change."""
    traces = {name: trace(name) for name in ("float64", "float32")}
    change(traces)
    return Subject("made_up", backend, mode, traces)


REFERENCE = Subject("made_up", "numpy", "reference", {name: trace(name) for name in proof.DTYPES})


def judged(*subjects: Subject) -> list[Proof]:
    """All proofs of the made-up task."""
    return list(proof.judge(SPEC, REFERENCE, list(subjects), WEIGHTS))


def failed(change: Change) -> dict[str, Proof]:
    """The failed rows of a backend with a change, by precision and level."""
    return {f"{row.precision} {row.level}": row for row in judged(subject("torch", change=change)) if row.verdict == "failed"}


def shifted(key: str, by: float, precision: str = "float64") -> Change:
    """The largest element of one tensor moved by a share of itself."""

    def change(traces: dict[str, Arrays]) -> None:
        array = traces[precision][key].copy()
        at = np.unravel_index(np.argmax(np.abs(array)), array.shape)
        array[at] *= 1 + by
        traces[precision][key] = array

    return change


def set_to(key: str, value: np.ndarray | None, precision: str = "float64") -> Change:
    """One tensor replaced, or left out."""

    def change(traces: dict[str, Arrays]) -> None:
        traces[precision].pop(key)
        if value is not None:
            traces[precision][key] = value

    return change


def test_equal_traces_are_proven_on_every_level() -> None:
    """Each against the reference in both precisions, and each pair once."""
    rows = judged(subject("torch"), subject("jax", "jit"))
    assert {row.verdict for row in rows} == {"proven"}
    assert {row.worst for row in rows if row.precision == "float64"} == {0.0}
    for backend, against in (("torch", "numpy"), ("jax", "numpy"), ("torch", "jax jit")):
        found = {row.level for row in rows if (row.backend, row.against, row.precision) == (backend, against, "float64")}
        assert found == set(LEVELS[1:])
    assert sorted(r.precision for r in rows if r.backend == "jax" and r.level == "weights") == ["float32", "float64"]
    single = [(row.backend, row.against, row.level) for row in rows if row.precision == "float32" and row.level != "weights"]
    assert single == [(backend, "numpy", level) for backend in ("torch", "jax") for level in FLOAT32_LEVELS]


def test_nothing_is_judged_without_subjects() -> None:
    """The reference alone proves nothing."""
    assert judged() == []


@pytest.mark.parametrize(
    ("key", "level", "tolerance"),
    [
        ("logits", "logits", 1e-10),
        ("loss", "loss", 1e-12),
        ("grad/norm/gamma", "gradients", 1e-10),
        ("step/4/norm/var", "tensors", 1e-10),
        ("eval", "eval", 1e-10),
        ("losses", "steps", 1e-12),
    ],
)
def test_tolerances_at_their_edge(key: str, level: str, tolerance: float) -> None:
    """Half of it passes, twice of it fails, and only on its own level; the row carries the figure and the tolerance."""
    assert failed(shifted(key, tolerance / 2)) == {}
    rows = failed(shifted(key, 2 * tolerance))
    first = {"losses": ["float64 steps"]}.get(key, [f"float64 {level}"])
    assert list(rows) == first
    row = rows[first[0]]
    assert row.tolerance == tolerance
    assert row.worst == pytest.approx(2 * tolerance, rel=1e-3)
    assert (row.task, row.backend, row.mode, row.against) == ("made_up", "torch", "eager", "numpy")


def test_a_difference_on_the_tolerance_is_allowed() -> None:
    """The tolerance itself belongs to what is equal; the next number does not."""
    for value, verdict in ((1e-10, "proven"), (math.nextafter(1e-10, 1), "failed")):
        row = proof.row(REFERENCE, "float64", "logits", "numpy", {"here": value}, 1e-10)
        assert row.verdict == verdict


def test_the_first_difference_is_named_not_the_largest() -> None:
    """Of tensors that all differ the row tells the earliest step and, within it, the first in forward order."""

    def change(traces: dict[str, Arrays]) -> None:
        for step, name, by in ((3, "norm/var", 1e-8), (3, "last/bias", 1e-3), (7, "first/kernel", 1.0)):
            shifted(f"step/{step}/{name}", by)(traces)

    rows = failed(change)
    assert rows["float64 tensors"].where == "norm/var after step 3"
    assert rows["float64 tensors"].worst == pytest.approx(1e-8, rel=1e-3)


def test_gradients_are_told_from_the_loss_backwards() -> None:
    """A wrong layer spoils the gradients of all before it: the last one in forward order is where it began."""

    def change(traces: dict[str, Arrays]) -> None:
        for name in ("first/kernel", "norm/gamma"):
            shifted(f"grad/{name}", 1e-3)(traces)

    assert failed(change)["float64 gradients"].where == "norm/gamma at step 0"


def test_losses_name_their_step() -> None:
    """The first step beyond the tolerance, in either precision."""
    array = trace("float64")["losses"]
    array[[4, 8]] *= 1 + 1e-9
    row = failed(set_to("losses", array))["float64 steps"]
    assert row.where == "loss at step 4"


def test_proven_rows_name_their_worst() -> None:
    """Where nothing is beyond the tolerance the row tells what came closest to it."""
    rows = judged(subject("torch", change=shifted("step/6/first/kernel", 3e-12)))
    row = next(row for row in rows if row.level == "tensors")
    assert (row.verdict, row.where) == ("proven", "first/kernel after step 6")
    assert row.worst == pytest.approx(3e-12, rel=1e-3)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["logits", "loss", "grad/first/kernel", "step/0/norm/gamma", "eval"])
def test_what_is_not_finite_fails(key: str, poison: float) -> None:
    """A NaN compares false with everything: it must not slip through. JSON gets null, not NaN."""
    array = trace("float64")[key]
    array[(0,) * array.ndim] = poison
    (row,) = failed(set_to(key, array)).values()
    assert row.worst is None
    assert row.reason
    json.dumps(asdict(row), allow_nan=False)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_losses_that_are_not_finite_fail(poison: float, precision: str) -> None:
    """At the step where they cease to be numbers; the rows are JSON all the same, and a healthy backend is not touched."""
    array = trace(precision)["losses"]
    array[5] = poison
    rows = judged(subject("torch", change=set_to("losses", array, precision)), subject("jax", "jit"))
    bad = {(row.precision, row.against): row.where for row in rows if row.verdict == "failed"}
    assert bad[precision, "numpy"] == "loss at step 5"
    assert {row.verdict for row in rows if row.backend == "jax"} == {"proven"}
    json.dumps([asdict(row) for row in rows], allow_nan=False)


@pytest.mark.parametrize("key", ["logits", "loss", "grad/last/bias", "step/9/last/bias", "eval", "after/last/bias"])
@pytest.mark.parametrize("value", [None, np.ones((1, 1, 7)), np.ones(())], ids=["missing", "mis-shaped", "scalar"])
def test_what_is_missing_or_mis_shaped_fails(key: str, value: np.ndarray | None) -> None:
    """Even where broadcasting would find it equal."""
    if value is not None and value.shape == trace("float64")[key].shape:
        value = np.ones(2)
    (row,) = failed(set_to(key, value)).values()
    assert (row.worst, row.verdict) == (None, "failed")
    assert "missing" in row.reason


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(STEPS, 4), (STEPS - 1,), ()], ids=str)
def test_losses_of_another_shape_fail(shape: tuple[int, ...], precision: str) -> None:
    """A backend that forgets to reduce, or answers too little, has failed; the proof of the others goes on."""
    rows = judged(subject("torch", change=set_to("losses", np.ones(shape, precision), precision)), subject("jax", "jit"))
    assert [row for row in rows if row.backend == "torch" and row.precision == precision and row.verdict == "failed"]
    assert {row.verdict for row in rows if row.backend == "jax"} == {"proven"}


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_weights_come_back_bit_by_bit(precision: str) -> None:
    """One bit in the last place is a failure; so are another dtype, a missing tensor and the sign of a zero."""
    key, exact = "weights/first/kernel", trace(precision)["weights/first/kernel"]
    one_bit = exact.copy()
    one_bit[1, 2] = np.nextafter(one_bit[1, 2], np.array(9, precision))
    negative_zero = trace(precision)["weights/norm/gamma"]
    assert negative_zero[1] == 0
    negative_zero[1] = -0.0
    other = {"float64": "float32", "float32": "float64"}[precision]
    for name, value in ((key, one_bit), (key, exact.astype(other)), (key, None), ("weights/norm/gamma", negative_zero)):
        rows = failed(set_to(name, value, precision))
        row = rows[f"{precision} weights"]
        assert (row.worst, row.tolerance, row.where, row.against) == (
            1.0,
            0.0,
            name.removeprefix("weights/"),
            "initial weights",
        )


def test_weights_count_what_is_wrong() -> None:
    """The figure is how many tensors differ, the place is the first of them."""

    def change(traces: dict[str, Arrays]) -> None:
        for name in ("norm/var", "last/bias"):
            traces["float64"][f"weights/{name}"] += 1

    row = failed(change)["float64 weights"]
    assert (row.worst, row.where) == (2.0, "norm/var")


def float32_losses(*errors: float) -> Change:
    """Float32 losses that are off by shares of themselves."""

    def change(traces: dict[str, Arrays]) -> None:
        exact = trace("exact")["losses"]
        traces["float32"]["losses"] = (exact * (1 + np.array([*errors] + [0.0] * (STEPS - len(errors))))).astype(np.float32)

    return change


@pytest.mark.parametrize(("key", "level"), [("logits", "logits"), ("grad/last/bias", "gradients")])
def test_float32_tensors_are_held_to_1e_5(key: str, level: str) -> None:
    """A product in bfloat16 or TF32 rounds to 2**-9 or 2**-11, a sound one to 2**-24."""
    for error, bad in ((0.9e-5, False), (1.1e-5, True), (2.0**-11, True)):
        off = trace("float32")[key] * (1 + np.float32(error))
        assert (f"float32 {level}" in failed(set_to(key, off, "float32"))) == bad


def test_the_first_float32_loss_is_held_to_1e_6() -> None:
    """TF32 rounds to 2**-11: it would stand out a thousandfold."""
    for error, bad in ((0.9e-6, False), (1.1e-6, True), (2.0**-11, True)):
        assert ("float32 loss" in failed(float32_losses(error))) == bad


def steps(ours: Change, own: Change = lambda _traces: None) -> Proof:
    """The row of the float32 losses of a backend, and of a reference whose own are off."""
    traces = {name: trace(name) for name in proof.DTYPES}
    own(traces)
    rows = proof.judge(SPEC, replace(REFERENCE, traces=traces), [subject("torch", change=ours)], WEIGHTS)
    return next(row for row in rows if (row.precision, row.level) == ("float32", "steps"))


def test_float32_losses_are_held_to_ten_times_the_reference_s_own_error() -> None:
    """The error of its float32 against its float64, the largest of ten steps."""
    for error, verdict in ((4.9e-3, "proven"), (5.1e-3, "failed")):
        row = steps(float32_losses(0, error), float32_losses(0, 0, 0, 5e-4))
        assert (row.verdict, row.where) == (verdict, "loss at step 1")
        assert row.worst == pytest.approx(error, rel=1e-2)
        assert row.tolerance == pytest.approx(5e-3, rel=1e-2)


def test_a_backend_s_own_float32_error_excuses_nothing() -> None:
    """One that is wrong in float32 alone is as far from its own float64 as from all others."""
    row = steps(float32_losses(0, 0, 0, 2e-3, 3e-3))
    assert (row.verdict, row.where, row.tolerance) == ("failed", "loss at step 3", proof.FLOAT32_LOSSES_FLOOR)


@pytest.mark.parametrize(
    ("key", "level", "times"),
    [("lifted/first/kernel", "open", 30), ("offset/first/kernel", "offset", 1000), ("after/norm/var", "tensors", 100)],
)
def test_typical_elements_are_held_to_what_the_reference_rounds(key: str, level: str, times: float) -> None:
    """One element of many may go another way, most may not; never nearer than a floor."""
    exact = trace("exact")[key]
    one, all_but_one = exact.copy(), exact * (1 + 1e-3)
    one.flat[0] *= 2
    all_but_one.flat[0] = exact.flat[0]
    assert failed(set_to(key, one.astype(np.float32), "float32")) == {}
    row = failed(set_to(key, all_but_one.astype(np.float32), "float32"))[f"float32 {level}"]
    assert row.where.startswith(key.partition("/")[2])
    own = {**trace("float32"), key: (exact * (1 + 1e-4)).astype(np.float32)}
    reference = replace(REFERENCE, traces={**REFERENCE.traces, "float32": own})
    rows = proof.judge(SPEC, reference, [subject("torch", change=set_to(key, one, "float32"))], WEIGHTS)
    assert 3e-5 < next(r.tolerance or 0 for r in rows if (r.precision, r.level) == ("float32", level)) / times < 2e-4


@pytest.mark.parametrize("step", [0, 1])
def test_updates_are_held_to_float32(step: int) -> None:
    """A parameter off by two units in the last place of a float32 is an optimizer that holds something in less."""
    for error, bad in ((2.0**-23, False), (2.0**-21, True)):
        rows = failed(shifted(f"made/{step}/first/kernel", error, "float32"))
        assert ("float32 update" in rows) == bad
        assert {row.where for row in rows.values()} <= {f"first/kernel after step {step}", f"all parameters in step {step}"}


@pytest.mark.parametrize("key", ["given/1/last/bias", "made/0/norm/gamma"])
@pytest.mark.parametrize("value", [None, np.ones(7), np.full(3, np.inf)], ids=["missing", "mis-shaped", "infinite"])
def test_updates_that_are_no_numbers_fail(key: str, value: np.ndarray | None) -> None:
    """With nothing to compare there is nothing proven."""
    assert list(failed(set_to(key, value, "float32"))) == ["float32 update", "float32 length"]


@pytest.mark.parametrize(("by", "bad"), [(1e-6, False), (3e-6, True)])
def test_all_updates_together_are_held_to_less_than_each(by: float, bad: bool) -> None:
    """What no element shows, since it is rounded to more, all show."""

    def change(traces: dict[str, Arrays]) -> None:
        for t in SPEC.model.parameters:
            before, after = traces["float32"][f"made/0/{t.name}"], trace("float32")[f"made/1/{t.name}"]
            traces["float32"][f"made/1/{t.name}"] = after + (after - before) * np.float32(by)

    assert list(failed(change)) == ["float32 length"] * bad


def test_updates_need_gradients_that_come_twice() -> None:
    """A device that adds in another order each time gives the rule nothing to be fed with: said, not judged."""
    rows = judged(subject("torch", change=shifted("given/0/first/kernel", 2.0**-20, "float32")))
    told = [(row.level, row.verdict, row.reason) for row in rows if row.verdict != "proven"]
    assert told == [(level, "skipped", "the gradients are not the same bits twice") for level in ("update", "length")]


def test_gradients_that_come_twice_differently_are_no_excuse() -> None:
    """More than rounding is no order of adding: what such gradients make is judged."""
    assert "float32 update" in failed(shifted("given/0/first/kernel", 2.0**-9, "float32"))


def rounded(key: str, by: float) -> Change:
    """Every element of a float32 tensor off by a share of itself, up and down in turn."""

    def change(traces: dict[str, Arrays]) -> None:
        array = traces["float32"][key]
        signs = (-1.0) ** np.arange(array.size).reshape(array.shape)
        traces["float32"][key] = (array * (1 + by * signs)).astype(np.float32)

    return change


def low(logits: float, key: str = "losses", by: float = 0.0) -> list[Proof]:
    """The failed rows of a bfloat16 mode whose logits, and another tensor, are off."""

    def change(traces: dict[str, Arrays]) -> None:
        rounded("logits", logits)(traces)
        rounded(key, by)(traces)

    return [row for row in judged(subject("torch", "bf16", change)) if row.verdict == "failed"]


def test_bfloat16_is_held_to_its_rounding() -> None:
    """Not further off than it explains, in logits, gradients and losses; and not nearer, or it is something else."""
    assert low(2.0**-8) == []
    for logits, level in ((2.0**-24, "rounding"), (2.0**-11, "rounding"), (2.0**-4, "logits")):
        assert [(row.precision, row.level) for row in low(logits)] == [("bfloat16", level)]
    for key, level in (("losses", "loss"), ("grad/last/bias", "gradients")):
        assert low(2.0**-8, key, 0.017) == []
        assert ("bfloat16", level) in [(row.precision, row.level) for row in low(2.0**-8, key, 0.07)]


def test_bfloat16_is_exact_in_float64_and_in_its_parameters() -> None:
    """Where it casts nothing it is any other mode; what the optimizer makes is float32."""
    for change, found in (
        (shifted("step/4/norm/var", 1e-9), ("float64", "tensors")),
        (shifted("made/1/norm/gamma", 2.0**-9, "float32"), ("float32", "update")),
    ):
        rows = judged(subject("torch", "bf16", lambda traces, change=change: (rounded("logits", 0.004)(traces), change(traces))))
        assert next((row.precision, row.level) for row in rows if row.verdict != "proven") == found


def test_a_bfloat16_mode_keeps_a_float32_loss() -> None:
    """Ten losses that all happen to be numbers of bfloat16 are no accident."""

    def change(traces: dict[str, Arrays]) -> None:
        rounded("logits", 0.004)(traces)
        bits = traces["float32"]["losses"].view(np.uint32)
        traces["float32"]["losses"] = (bits & 0xFFFF0000).view(np.float32)

    (row,) = (row for row in judged(subject("torch", "bf16", change)) if row.verdict == "failed")
    assert (row.precision, row.level, row.worst) == ("float32", "rounding", 1.0)


@pytest.mark.parametrize("low_bits", [13, 16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("key", "mode"), [("given/0/last/bias", "eager"), ("made/0/norm/var", "eager"), ("made/0/norm/var", "bf16")]
)
def test_float32_holds_no_half_precision(key: str, mode: str, low_bits: int) -> None:
    """A tensor all of whose values end in zeros was rounded on its way; by their size nobody would know."""

    def change(traces: dict[str, Arrays]) -> None:
        exact = np.linspace(1, 2, 60, dtype=np.float32).reshape(10, 6)
        traces["float32"][key] = (exact.view(np.uint32) >> low_bits << low_bits).view(np.float32)

    rows = [row for row in judged(subject("torch", mode, change)) if (row.precision, row.level) == ("float32", "rounding")]
    assert [(row.verdict, row.worst) for row in rows] == [("failed", 1.0)]


def test_float32_is_not_float64_rounded() -> None:
    """Logits that are all the nearest to the exact ones were computed in more than was asked for."""
    row = failed(set_to("logits", trace("exact")["logits"].astype(np.float32), "float32"))["float32 rounding"]
    assert (row.worst, row.where) == (1.0, "logits: what float64 rounds to")


@pytest.mark.parametrize(("values", "share"), [([], 0.0), ([0.0] * 20, 0.0), ([0.5] * 7, 0.0), ([0.5] * 8, 1.0)])
def test_a_few_values_say_nothing_of_their_precision(values: list[float], share: float) -> None:
    """Zeros belong to every precision, and seven halves may be chance."""
    assert proof.coarse(np.array(values, np.float32)) == share


def test_bfloat16_meets_the_reference_only() -> None:
    """No pair with another mode, from either side."""
    rows = judged(subject("torch"), subject("torch", "bf16", rounded("logits", 0.004)), subject("jax", "jit"))
    assert {row.against for row in rows if row.mode == "bf16"} == {"initial weights", "numpy"}
    assert {row.against for row in rows if row.mode == "eager"} == {"initial weights", "numpy", "jax jit"}
    assert {row.verdict for row in rows} == {"proven"}


def test_a_backend_without_a_trace_has_failed() -> None:
    """With the reason that the worker gave."""
    row = proof.missing("made_up", "torch", "eager", verdict="failed", reason="the worker died (signal SIGKILL)")
    assert (row.verdict, row.level, row.worst, row.reason) == (
        "failed",
        "trace",
        None,
        "the worker died (signal SIGKILL)",
    )


def test_drift_is_measured_and_not_judged() -> None:
    """The largest distance of the stock losses or evaluation from the reference's, and where; neither proven nor failed."""
    row = proof.drift(subject("torch", "stock", shifted("losses", 0.02)), REFERENCE)
    assert (row.verdict, row.level, row.tolerance) == ("skipped", "drift", None)
    assert (row.mode, row.against, row.where) == ("stock", "numpy", "loss at step 0")
    assert row.worst == pytest.approx(0.02)
    row = proof.drift(subject("torch", "stock", shifted("eval", 0.5)), REFERENCE)
    assert row.where.startswith("evaluation")
    assert row.worst == pytest.approx(0.5)


@pytest.mark.parametrize(
    "value", [np.full(STEPS, np.nan), np.full((STEPS, 4), 1.0), np.full(STEPS, np.inf)], ids=["nan", "shape", "inf"]
)
def test_drift_of_what_is_no_number(value: np.ndarray) -> None:
    """Stock defaults that diverge are a row without a figure, which is JSON."""
    row = proof.drift(subject("torch", "stock", set_to("losses", value)), REFERENCE)
    assert row.worst is None
    assert row.reason
    json.dumps(asdict(row), allow_nan=False)


finite = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: x if abs(x) > 1e-6 else 1.0)
pairs = array_shapes(max_dims=3, max_side=4).flatmap(lambda shape: st.tuples(*[arrays(np.float64, shape, elements=finite)] * 2))


@given(pairs)
def test_distance_is_symmetric_but_for_its_unit(both: tuple[np.ndarray, np.ndarray]) -> None:
    """It is the largest difference, in units of the largest element of the second."""
    a, b = both
    there, back = proof.distance(a, b) * np.max(np.abs(b)), proof.distance(b, a) * np.max(np.abs(a))
    assert there == pytest.approx(back, rel=1e-12)
    assert there == pytest.approx(np.max(np.abs(a - b)), rel=1e-12)


@given(pairs, st.integers(-40, 40))
def test_distance_knows_no_scale(both: tuple[np.ndarray, np.ndarray], power: int) -> None:
    """Small tensors are held to the same relative tolerance as large ones."""
    a, b = both
    assert proof.distance(a * 2.0**power, b * 2.0**power) == proof.distance(a, b)


@given(pairs)
def test_distance_is_zero_for_equals_alone(both: tuple[np.ndarray, np.ndarray]) -> None:
    """Nothing else is nearest."""
    a, b = both
    assert proof.distance(a, a) == 0.0
    assert (proof.distance(a, b) == 0.0) == np.array_equal(a, b)


def test_distance_from_zero_is_absolute() -> None:
    """A tensor that must be all zero has no largest element to measure by."""
    assert proof.distance(np.array([0.0, 3e-11]), np.zeros(2)) == 3e-11
    assert proof.distance(np.zeros(2), np.zeros(2)) == 0.0


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *product(("float64", "exact"), ("logits", "losses", "grad/last/bias")),
        *product(("float32", "exact"), ("after/norm/var", "lifted/first/kernel")),
        ("exact", "first/norm/var"),
        ("float32", "losses"),
    ],
)
def test_a_reference_that_is_not_finite_proves_nothing(name: str, key: str) -> None:
    """Nothing is near a NaN, whoever computed it, and no tolerance that comes of one allows anything."""
    sick = replace(REFERENCE, traces={**REFERENCE.traces, name: {**trace(name), key: trace(name)[key] * np.nan}})
    rows = proof.judge(SPEC, sick, [subject("torch")], WEIGHTS)
    assert {row.precision for row in rows if row.verdict == "failed"} == {"float64" if name == "float64" else "float32"}


# In float32 these are looked at in part: whether a gradient comes twice, the bits of a first running statistic.
PARTLY = {"grad/first/kernel", "grad/norm/gamma", "made/0/norm/var", "made/1/norm/var"}
EVERYTHING = [(name, key) for name in ("float64", "float32") for key in trace(name) if name == "float64" or key not in PARTLY]
SPOILT: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "missing": lambda _: None,
    "not a number": lambda array: array * np.nan,
    "of more axes": lambda array: array[None],
    "of less precision": lambda array: array.astype(np.float16),
    "of another precision": lambda array: array.astype({4: np.float64, 8: np.float32}[array.itemsize]),
    "complex": lambda array: array.astype(complex),
    "text": lambda array: array.astype(str),
    "true or false": lambda array: array.astype(bool),
    "empty": lambda array: array[..., None][..., :0],
    "moved": lambda array: array + array.dtype.type(0.01),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(("name", "key"), EVERYTHING)
def test_whatever_is_spoilt_fails(name: str, key: str, how: str) -> None:
    """Every array that is judged counts; none can break the judge; the healthy stay proven, and the rows are JSON."""
    value = SPOILT[how](trace(name)[key])
    rows = judged(subject("torch", change=set_to(key, value, name)), subject("jax", "jit"))
    json.dumps([asdict(row) for row in rows], allow_nan=False)
    assert {row.verdict for row in rows if row.backend == "jax"} == {"proven"}
    assert [row for row in rows if row.backend == "torch" and row.precision == name and row.verdict == "failed"]
