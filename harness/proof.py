"""The judge: do traces say that two backends compute the same thing? Tolerances, the worst value, and where it is.

Float64 separates a semantic difference (1e-6 and more) from rounding (1e-14 and less) by eight orders of magnitude, so that is
where equality is decided. Float32 is then held to its own measured rounding error. A mode that computes in bfloat16 is proven in
float64 too, where it casts nothing: that is what it means. Its own logits, gradients and losses are then held to the rounding of
bfloat16, from above and from below, and its parameters to that of float32.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product

import numpy as np

from harness.records import Proof, Verdict
from harness.spec import Arrays, TaskSpec
from harness.trace import STEPS, UPDATES, learning_rates

LOSS_TOLERANCE = 1e-12  # float64, relative
TENSOR_TOLERANCE = 1e-10  # float64, relative to the tensor's largest element
FLOAT32_LOSS_TOLERANCE = 1e-6  # float32, relative, at step 0
FLOAT32_TENSOR_TOLERANCE = 1e-5  # at step 0; exact float32 stays below 1e-6 in all tasks, TF32 rounds at 5e-4, bfloat16 at 4e-3
FLOAT32_FACTOR = 10.0  # float32 losses may lie this many times their own rounding error apart
FLOAT32_FLOOR = 2.0**-22  # relative: two units in the last place of a float32, below which an error is luck
# Float32, relative to the tensor's largest element: sound updates round to 7e-8, a bfloat16 state to 1e-6.
UPDATE_TOLERANCE = 2.0**-22
COARSE = 0.5  # the share of values that half precision could hold; by chance it is 1e-4
FEW = 8  # values; so many it takes to tell
LOW = "bf16"  # the mode that computes in bfloat16, whose numbers round by 2^-8
# Measured on three backends, five models, three to eight seeds. Logits: at most 1.3e-2 off, 5e-2 and more in float8. Gradients of
# the last kernel: at most 9.9e-3. Losses: 2e-3 at step 0, 1e-2 in ten steps.
LOW_TOLERANCE = 8 * 2.0**-8
LOW_LEAST = 2.0**-8 / 3  # of the logits, root mean square: sound ones are 2.2e-3 off and more, at most 8e-4 in float16


@dataclass(frozen=True)
class Subject:
    """Whose traces these are, and of which task."""

    task: str
    backend: str
    mode: str
    traces: Mapping[str, Arrays]  # by precision


Found = dict[str, float]  # relative differences by the place where they were found, in the order in which they arise


def judge(spec: TaskSpec, reference: Subject, subjects: list[Subject], weights: Arrays) -> Iterator[Proof]:
    """Every proof of a task: each subject against the initial weights and the reference, then against each later subject.

    A bfloat16 mode meets the reference only: it lies further from the others than they from each other.
    """
    for i, subject in enumerate(subjects):
        yield from round_trip(subject, weights)
        if subject.backend != reference.backend:  # the reference is not its own witness
            yield from float64(spec, subject, reference)
        yield from start(spec, subject, reference)
        yield update(spec, subject, reference, weights)
        if subject.mode == LOW:
            yield from bfloat16(subject, reference)
            continue
        yield held(spec, subject, reference)
        for other in subjects[i + 1 :]:
            if other.mode != LOW:
                yield from float64(spec, subject, other)
                yield float32_pair(subject, other)


def round_trip(subject: Subject, weights: Arrays) -> Iterator[Proof]:
    """Weights that were loaded and dumped again must be the same bits."""

    def bits(array: np.ndarray | None) -> object:
        return None if array is None else (array.dtype, array.shape, array.tobytes())

    for precision, found in subject.traces.items():
        wrong = [name for name, value in weights.items() if bits(found.get(f"weights/{name}")) != bits(value.astype(precision))]
        yield row(subject, precision, "weights", "initial weights", {next(iter(wrong), ""): float(len(wrong))}, 0.0)


def float64(spec: TaskSpec, subject: Subject, other: Subject) -> Iterator[Proof]:
    """The six levels of the float64 proof of one pair."""
    ours, theirs = subject.traces["float64"], other.traces["float64"]
    against = other.backend if other.mode == "reference" else f"{other.backend} {other.mode}"
    names = [t.name for t in spec.model.tensors]
    places = {  # by level, what is compared under which key, and how it is called
        "logits": {"logits": "logits at step 0"},
        "loss": {"loss": "loss at step 0", "confident": "loss of confident logits"},
        "gradients": {f"grad/{t.name}": f"{t.name} at step 0" for t in reversed(spec.model.parameters)},
        "tensors": {f"step/{k}/{name}": f"{name} after step {k}" for k in range(STEPS) for name in names},
        "eval": {"eval": f"evaluation logits after step {STEPS - 1}"}
        | {f"after/{name}": f"{name} after the evaluation" for name in names},
    }
    for level, keys in places.items():
        found = {where: distance(ours.get(key), theirs.get(key)) for key, where in keys.items()}
        yield row(subject, "float64", level, against, found, LOSS_TOLERANCE if level == "loss" else TENSOR_TOLERANCE)
    steps = along(losses(subject, "float64"), losses(other, "float64"))
    yield row(subject, "float64", "steps", against, steps, LOSS_TOLERANCE)


def distance(ours: np.ndarray | None, theirs: np.ndarray | None) -> float:
    """Largest difference over the largest element of ``theirs``; infinite where ours is missing, mis-shaped or not finite."""
    if ours is None or theirs is None or np.shape(ours) != np.shape(theirs):
        return float("inf")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    largest = float(np.max(np.abs(theirs)))
    difference = float(np.max(np.abs(ours - theirs)))
    return difference / largest if largest else difference


def losses(subject: Subject, precision: str) -> np.ndarray:
    """The loss of each step in float64, shape (10,); infinite where a backend gave none, or none that is a number."""
    found = subject.traces[precision].get("losses", np.empty(0))
    if np.shape(found) != (STEPS,):
        return np.full(STEPS, np.inf)
    return np.where(np.isfinite(found), found, np.inf).astype(np.float64)


def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Relative differences of losses, (10,); infinite where either is."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    scale = np.where(both & (theirs != 0), np.abs(theirs), 1.0)
    return np.where(both, np.abs(np.where(both, ours, 0) - np.where(both, theirs, 0)) / scale, np.inf)


def along(ours: np.ndarray, theirs: np.ndarray) -> Found:
    """The relative difference of the losses of each step."""
    return {f"loss at step {k}": float(value) for k, value in enumerate(apart(ours, theirs))}


def rounding(subject: Subject) -> np.ndarray:
    """A backend's own float32 error: its relative loss difference to its float64, the largest up to each step, shape (10,)."""
    error = apart(losses(subject, "float32"), losses(subject, "float64"))
    return np.maximum.accumulate(np.maximum(error, FLOAT32_FLOOR))


def start(spec: TaskSpec, subject: Subject, reference: Subject) -> Iterator[Proof]:
    """Float32, or bfloat16, at step 0 against the reference's float64: a product of lower precision would stand out here.

    Of the gradients only the last layer's: below it a pre-activation near zero may round to the other side of its ReLU, and moves
    a tensor by up to 2 % with nothing wrong. The last layer's gradient, like the logits, is continuous; in bfloat16 only the
    kernel's, since a bias's is a sum that may cancel.
    """
    ours, exact = subject.traces["float32"], reference.traces["float64"]
    layer = spec.model.parameters[-1].name.rpartition("/")[0]
    names = [t.name for t in spec.model.parameters if t.name.startswith(f"{layer}/")]
    precision, of_tensor, of_loss = "float32", FLOAT32_TENSOR_TOLERANCE, FLOAT32_LOSS_TOLERANCE
    if subject.mode == LOW:
        precision, of_tensor, of_loss, names = "bfloat16", LOW_TOLERANCE, LOW_TOLERANCE, names[:1]
    logits = {"logits at step 0": distance(ours.get("logits"), exact.get("logits"))}
    loss = {"loss at step 0": float(apart(losses(subject, "float32"), losses(reference, "float64"))[0])}
    grads = {f"{name} at step 0": distance(ours.get(f"grad/{name}"), exact.get(f"grad/{name}")) for name in names}
    yield row(subject, precision, "logits", reference.backend, logits, of_tensor)
    yield row(subject, precision, "loss", reference.backend, loss, of_loss)
    yield row(subject, precision, "gradients", reference.backend, grads, of_tensor)


def update(spec: TaskSpec, subject: Subject, reference: Subject, weights: Arrays) -> Proof:
    """The reference's update rule, in float64 but fed with the backend's own gradients, makes the backend's float32 parameters.

    The losses of ten steps would not show an optimizer that holds its state in less than float32. Where a device does not compute
    the same gradients twice there is nothing to feed the rule with.
    """
    ours = {f"made/-1/{name}": value for name, value in weights.items()} | subject.traces["float32"]
    rule = import_module(f"backends.{reference.backend}.engine").optimizer
    table = spec.optimizer.table(learning_rates(spec)).tolist()
    states: dict[str, Arrays] = {t.name: {} for t in spec.model.parameters}
    found = {}
    for step, t in product(range(UPDATES), spec.model.parameters):
        p, g = (tensor(ours, key, t.shape) for key in (f"made/{step - 1}/{t.name}", f"given/{step}/{t.name}"))
        with np.errstate(invalid="ignore", over="ignore"):
            rule(spec.optimizer, p, g=g, state=states[t.name], row=table[step])
        found[f"{t.name} after step {step}"] = distance(ours.get(f"made/{step}/{t.name}"), p)
    told = row(subject, "float32", "update", reference.backend, found, UPDATE_TOLERANCE)
    again = [distance(ours.get(f"given/0/{t.name}"), ours.get(f"grad/{t.name}")) for t in spec.model.parameters]
    if not 0 < max(again) < np.inf:
        return told
    return replace(told, verdict="skipped", reason="the gradients are not the same bits twice")


def held(spec: TaskSpec, subject: Subject, reference: Subject) -> Proof:
    """No gradient of a float32 step, and no running statistic after it, consists of what half precision could hold.

    The bits tell: by its values one layer's rounded gradient would not stand out from what a ReLU's other side moves.
    """
    ours = subject.traces["float32"]
    places = {f"given/0/{t.name}": f"gradient of {t.name}" for t in spec.model.parameters}
    places |= {f"made/0/{t.name}": f"{t.name} after step 0" for t in spec.model.buffers}
    found = {f"{where}: what half precision could hold": coarse(ours.get(key)) for key, where in places.items()}
    return row(subject, "float32", "rounding", reference.backend, found, COARSE)


def coarse(values: np.ndarray | None) -> float:
    """The share of values, zeros left out, whose float32 ends in 13 zeros, as float16's and bfloat16's do; 0 for a few."""
    if values is None:
        return float("inf")
    bits = values[values != 0].astype(np.float32).view(np.uint32)
    return float(np.mean(bits % 2**13 == 0)) if len(bits) >= FEW else 0.0


def tensor(arrays: Arrays, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """A copy in float64; NaN where there is none of this shape."""
    found = arrays.get(key)
    return np.full(shape, np.nan) if found is None or found.shape != shape else found.astype(np.float64)


def bfloat16(subject: Subject, reference: Subject) -> Iterator[Proof]:
    """A bfloat16 mode really rounds to it, all but its loss, which stays as near the reference's float64 as that allows.

    The level ``rounding`` tells how many times nearer the logits are than bfloat16 puts them at least.
    """
    exact, ours = reference.traces["float64"]["logits"], losses(subject, "float32")
    off = np.linalg.norm(tensor(subject.traces["float32"], "logits", exact.shape) - exact) / np.linalg.norm(exact)
    nearer = {"logits too exact for bfloat16": LOW_LEAST / max(float(off), 2.0**-52)}
    yield row(subject, "bfloat16", "rounding", reference.backend, nearer, 1.0)
    yield row(subject, "float32", "loss", reference.backend, {"losses: what half precision could hold": coarse(ours)}, COARSE)
    yield row(subject, "bfloat16", "steps", reference.backend, along(ours, losses(reference, "float64")), LOW_TOLERANCE)


def float32_pair(subject: Subject, other: Subject) -> Proof:
    """Two backends' float32 losses lie no further apart than ten times their own measured rounding error.

    The tolerance grows with the steps; shown is the first step beyond it, or the one nearest to it.
    """
    found = apart(losses(subject, "float32"), losses(other, "float32"))
    limit = FLOAT32_FACTOR * np.maximum(rounding(subject), rounding(other))
    beyond = np.flatnonzero(~np.isfinite(found) | (found > limit))
    step = int(beyond[0]) if len(beyond) else int(np.argmax(found / limit))
    shown = {f"loss at step {step}": float(found[step])}
    return row(subject, "float32", "steps", f"{other.backend} {other.mode}", shown, float(limit[step]))


def row(subject: Subject, precision: str, level: str, against: str, found: Found, tolerance: float) -> Proof:
    """The proof record of the first difference beyond the tolerance, since later ones follow from it; without one, of the worst.

    A difference that is no number is recorded as none.
    """
    where = next((place for place, value in found.items() if not value <= tolerance), max(found, key=found.__getitem__))
    finite = np.isfinite(found[where])
    worst, allowed = found[where] if finite else None, tolerance if np.isfinite(tolerance) else None
    verdict: Verdict = "proven" if finite and found[where] <= tolerance else "failed"
    reason = "" if finite else "missing, of another shape, or not finite"
    return Proof(subject.task, subject.backend, subject.mode, precision, level, against, worst, allowed, where, verdict, reason)


def drift(subject: Subject, reference: Subject) -> Proof:
    """How far the framework's own defaults end up from the spec, in the losses and after training: measured, not judged."""
    found = along(losses(subject, "float64"), losses(reference, "float64"))
    ours, theirs = (s.traces["float64"].get("eval") for s in (subject, reference))
    found["evaluation logits after the last step"] = distance(ours, theirs)
    reason = "the framework's own defaults are timed beside the spec, not proven: this is their drift from it"
    return replace(row(subject, "float64", "drift", reference.backend, found, np.inf), verdict="skipped", reason=reason)


def missing(task: str, backend: str, mode: str, *, verdict: Verdict, reason: str) -> Proof:
    """The row of a backend that gave no trace: failed where it tried, skipped where it is not installed."""
    return Proof(task, backend, mode, "float64", "trace", "", None, None, "", verdict, reason)
