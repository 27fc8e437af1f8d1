"""The judge on made-up traces: what it calls equal, what it does not, and where it says the difference is."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness import proof
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
Change = Callable[[dict[str, Arrays]], None]


def trace(precision: str) -> Arrays:
    """What a backend that computes exactly would answer."""
    shapes = {t.name: t.shape for t in SPEC.model.tensors}
    made: Arrays = {f"weights/{name}": value.astype(precision) for name, value in WEIGHTS.items()}
    made["logits"] = made["eval"] = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
    made["loss"] = made["confident"] = np.array(1.5)
    made["losses"] = np.linspace(1.5, 0.5, STEPS)
    made |= {f"grad/{t.name}": np.full(t.shape, 0.25) for t in SPEC.model.parameters}
    if precision == "float64":
        made |= {
            f"step/{k}/{name}": np.linspace(1, 2 + k, math.prod(s)).reshape(s) for k in range(STEPS) for name, s in shapes.items()
        }
        made |= {f"after/{name}": made[f"step/{STEPS - 1}/{name}"] for name in shapes}
    else:
        made |= {f"given/{k}/{t.name}": made[f"grad/{t.name}"] for k in range(2) for t in SPEC.model.parameters}
        moved = np.cumsum(learning_rates(SPEC)) * 0.25
        made |= {f"made/{k}/{t.name}": WEIGHTS[t.name] - moved[k] for k in range(2) for t in SPEC.model.parameters}
        made |= {f"made/{k}/{t.name}": np.linspace(1, 2, 3) for k in range(2) for t in SPEC.model.buffers}
    return {name: np.array(value, precision) for name, value in made.items()}


def subject(backend: str, mode: str = "eager", change: Change = lambda _traces: None) -> Subject:
    """A backend that computes exactly, but for a change."""
    traces = {precision: trace(precision) for precision in ("float64", "float32")}
    change(traces)
    return Subject("made_up", backend, mode, traces)


REFERENCE = subject("numpy", "reference")


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
    assert {row.worst for row in rows if row.level != "update"} == {0.0}
    for backend, against in (("torch", "numpy"), ("jax", "numpy"), ("torch", "jax jit")):
        found = {row.level for row in rows if (row.backend, row.against, row.precision) == (backend, against, "float64")}
        assert found == set(LEVELS[1:])
    assert sorted(r.precision for r in rows if r.backend == "jax" and r.level == "weights") == ["float32", "float64"]
    single = [(row.backend, row.against, row.level) for row in rows if row.precision == "float32" and row.level != "weights"]
    start = ("logits", "loss", "gradients", "update", "rounding")
    assert single == [
        *(("torch", "numpy", level) for level in start),
        ("torch", "jax jit", "steps"),
        *(("jax", "numpy", level) for level in start),
    ]


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
    assert bad[precision, "jax jit"] == "loss at step 5"
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
    """Float32 losses that are off by shares of themselves, in a dtype that can hold them."""

    def change(traces: dict[str, Arrays]) -> None:
        exact = traces["float64"]["losses"]
        traces["float32"]["losses"] = exact * (1 + np.array([*errors] + [0.0] * (STEPS - len(errors))))

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


def pair(ours: Change, theirs: Change) -> Proof:
    """The float32 row of two backends."""
    rows = judged(subject("torch", change=ours), subject("jax", "jit", theirs))
    return next(row for row in rows if row.precision == "float32" and row.level == "steps")


def test_float32_is_held_to_ten_times_its_own_error() -> None:
    """The error is each backend's own against its own float64; the larger of the two counts, the largest so far."""
    row = pair(float32_losses(0, 1e-5, 0), float32_losses(0, -1e-5, 0))
    assert row.verdict == "proven"
    assert row.worst == pytest.approx(2e-5, rel=1e-4)
    assert row.tolerance == pytest.approx(1e-4)
    assert row.where == "loss at step 1"


def test_float32_may_not_differ_by_more_than_rounding_explains() -> None:
    """A backend whose float32 and float64 agree with each other, but not with the others, is no rounding error."""

    def change(traces: dict[str, Arrays]) -> None:
        for precision in ("float64", "float32"):
            traces[precision]["losses"] = traces[precision]["losses"].astype(np.float64) * (1 + 1e-5 * (np.arange(STEPS) > 2))

    row = pair(float32_losses(), change)
    assert (row.verdict, row.where) == ("failed", "loss at step 3")
    assert row.worst == pytest.approx(1e-5, rel=1e-2)
    assert row.tolerance == pytest.approx(proof.FLOAT32_FACTOR * proof.FLOAT32_FLOOR)


def test_float32_errors_below_the_floor_are_luck() -> None:
    """Losses that happen to be exact do not forbid others to round."""
    limit = proof.FLOAT32_FACTOR * proof.FLOAT32_FLOOR
    assert pair(float32_losses(), float32_losses(0, 0.9 * limit)).verdict == "proven"


def test_the_float32_tolerance_never_shrinks() -> None:
    """An error once made is carried on: a later step that is right by chance does not narrow the limit."""

    def change(traces: dict[str, Arrays]) -> None:
        for precision in ("float64", "float32"):
            traces[precision]["losses"] = traces[precision]["losses"] * (1 + 5e-5 * (np.arange(STEPS) == 3))

    assert pair(float32_losses(0, 1e-5), change).verdict == "proven"
    assert pair(float32_losses(0, 0, 0, 0, 1e-5), change).where == "loss at step 3"


@pytest.mark.parametrize("step", [0, 1])
def test_updates_are_held_to_float32(step: int) -> None:
    """A parameter off by two units in the last place of a float32 is an optimizer that holds something in less."""
    for error, bad in ((2.0**-23, False), (2.0**-21, True)):
        rows = failed(shifted(f"made/{step}/first/kernel", error, "float32"))
        assert [row.where for row in rows.values()] == [f"first/kernel after step {step}"] * bad
        assert set(rows) <= {"float32 update"}


@pytest.mark.parametrize("key", ["given/1/last/bias", "made/0/norm/gamma"])
@pytest.mark.parametrize("value", [None, np.ones(7), np.full(3, np.inf)], ids=["missing", "mis-shaped", "infinite"])
def test_updates_that_are_no_numbers_fail(key: str, value: np.ndarray | None) -> None:
    """With nothing to compare there is nothing proven."""
    assert list(failed(set_to(key, value, "float32"))) == ["float32 update"]


def test_updates_need_gradients_that_come_twice() -> None:
    """A device that adds in another order each time gives the rule nothing to be fed with: said, not judged."""
    rows = judged(subject("torch", change=shifted("given/0/first/kernel", 2.0**-20, "float32")))
    (row,) = (row for row in rows if row.level == "update")
    assert (row.verdict, row.reason) == ("skipped", "the gradients are not the same bits twice")


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
        assert [(row.precision, row.level) for row in rows if row.verdict != "proven"] == [found]


def test_a_bfloat16_mode_keeps_a_float32_loss() -> None:
    """Ten losses that all happen to be numbers of bfloat16 are no accident."""

    def change(traces: dict[str, Arrays]) -> None:
        rounded("logits", 0.004)(traces)
        bits = traces["float32"]["losses"].view(np.uint32)
        traces["float32"]["losses"] = (bits & 0xFFFF0000).view(np.float32)

    (row,) = (row for row in judged(subject("torch", "bf16", change)) if row.verdict == "failed")
    assert (row.precision, row.level, row.worst) == ("float32", "loss", 1.0)


@pytest.mark.parametrize("low_bits", [13, 16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("key", ["given/0/last/bias", "made/0/norm/var"])
def test_float32_holds_no_half_precision(key: str, low_bits: int) -> None:
    """A tensor all of whose values end in zeros was rounded on its way; by their size nobody would know."""

    def change(traces: dict[str, Arrays]) -> None:
        exact = np.linspace(1, 2, 60, dtype=np.float32).reshape(10, 6)
        traces["float32"][key] = (exact.view(np.uint32) >> low_bits << low_bits).view(np.float32)

    rows = [row for row in judged(subject("torch", "eager", change)) if row.level == "rounding"]
    assert [(row.precision, row.verdict, row.worst) for row in rows] == [("float32", "failed", 1.0)]


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


def test_a_reference_that_is_not_finite_proves_nothing() -> None:
    """Nothing is near a NaN, whoever computed it."""
    sick = replace(REFERENCE, traces={**REFERENCE.traces, "float64": {**trace("float64"), "logits": np.full((4, 3), np.nan)}})
    rows = proof.judge(SPEC, sick, [subject("torch")], WEIGHTS)
    assert [(row.precision, row.level) for row in rows if row.verdict == "failed"] == [
        ("float64", "logits"),
        ("float32", "logits"),
    ]
