"""The judge: do traces say that two backends compute the same thing? Tolerances, the worst value, and where it is.

Float64 separates a semantic difference (1e-6 and more) from rounding (1e-14 and less) by eight orders of magnitude, so that is
where equality is decided. Float32 is then held to its own measured rounding error.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.records import Proof, Verdict
from harness.spec import Arrays, TaskSpec

LOSS_TOLERANCE = 1e-12  # float64, relative
TENSOR_TOLERANCE = 1e-10  # float64, relative to the tensor's largest element
FLOAT32_LOSS_TOLERANCE = 1e-6  # float32, relative, at step 0
FLOAT32_FACTOR = 10.0  # float32 losses may lie this many times their own rounding error apart
FLOAT32_FLOOR = 2.0**-22  # relative: two units in the last place of a float32, below which an error is luck


@dataclass(frozen=True)
class Subject:
    """Whose traces these are."""

    backend: str
    mode: str
    traces: Mapping[str, Arrays]  # by precision


class Difference(NamedTuple):
    """A relative difference and the place where it was found."""

    value: float
    where: str


def judge(spec: TaskSpec, task: str, reference: Subject, subjects: list[Subject], weights: Arrays) -> list[Proof]:
    """Every proof of a task: each subject against the initial weights and the reference, then against each later subject."""
    rows = []
    for i, subject in enumerate(subjects):
        rows += [*round_trip(task, subject, weights), *float64(spec, task, subject, reference)]
        rows.append(first_loss(task, subject, reference))
        for other in subjects[i + 1 :]:
            rows += [*float64(spec, task, subject, other), float32_pair(task, subject, other)]
    return rows


def round_trip(task: str, subject: Subject, weights: Arrays) -> Iterator[Proof]:
    """Weights that were loaded and dumped again must be the same bits."""
    for precision_, found in subject.traces.items():
        wrong = [
            name
            for name, value in weights.items()
            if not same_bits(found.get(f"weights/{name}"), value.astype(precision_))
        ]
        yield row(
            task,
            subject,
            precision_,
            "weights",
            "initial weights",
            Difference(float(len(wrong)), next(iter(wrong), "")),
            0.0,
        )


def same_bits(found: np.ndarray | None, expected: np.ndarray) -> bool:
    """Equal dtype, shape and bytes."""
    return found is not None and found.dtype == expected.dtype and np.array_equal(found, expected)


def float64(spec: TaskSpec, task: str, subject: Subject, other: Subject) -> Iterator[Proof]:
    """The six levels of the float64 proof of one pair."""
    ours, theirs = subject.traces["float64"], other.traces["float64"]
    against = other.backend if other.mode == "reference" else f"{other.backend} {other.mode}"
    names = [t.name for t in spec.model.tensors]
    steps = range(len(theirs["losses"]))
    levels: list[tuple[str, Iterable[tuple[str, str]], float]] = [
        ("logits", [("logits", "logits at step 0")], TENSOR_TOLERANCE),
        ("loss", [("loss", "loss at step 0")], LOSS_TOLERANCE),
        (
            "gradients",
            [(f"grad/{t.name}", f"{t.name} at step 0") for t in reversed(spec.model.parameters)],
            TENSOR_TOLERANCE,
        ),
        (
            "tensors",
            [(f"step/{k}/{name}", f"{name} after step {k}") for k in steps for name in names],
            TENSOR_TOLERANCE,
        ),
        ("eval", [("eval", f"evaluation logits after step {steps[-1]}")], TENSOR_TOLERANCE),
    ]
    for level, places, tolerance in levels:
        found = [Difference(distance(ours.get(key), theirs[key]), where) for key, where in places]
        yield row(task, subject, "float64", level, against, telling(found, tolerance), tolerance)
    pairs = enumerate(zip(ours["losses"], theirs["losses"], strict=True))
    found = [Difference(distance(a, b), f"loss at step {k}") for k, (a, b) in pairs]
    yield row(task, subject, "float64", "steps", against, telling(found, LOSS_TOLERANCE), LOSS_TOLERANCE)


def distance(ours: np.ndarray | None, theirs: np.ndarray) -> float:
    """Largest difference over the largest element of ``theirs``; infinite where ours is missing, mis-shaped or not finite."""
    if ours is None or np.shape(ours) != np.shape(theirs) or not np.all(np.isfinite(ours)):
        return float("inf")
    largest = float(np.max(np.abs(theirs)))
    difference = float(np.max(np.abs(ours - theirs)))
    return difference / largest if largest else difference


def telling(found: list[Difference], tolerance: float) -> Difference:
    """The first difference beyond the tolerance, since later ones follow from it; if there is none, the worst."""
    first = next((d for d in found if not d.value <= tolerance), None)
    return first or max(found, key=lambda d: d.value)


def rounding(subject: Subject) -> np.ndarray:
    """A backend's own float32 error: its relative loss difference to its float64, the largest up to each step, shape (10,)."""
    exact = subject.traces["float64"]["losses"]
    error = np.abs(subject.traces["float32"]["losses"].astype(np.float64) - exact) / np.abs(exact)
    return np.maximum.accumulate(np.maximum(error, FLOAT32_FLOOR))


def first_loss(task: str, subject: Subject, reference: Subject) -> Proof:
    """The float32 loss at step 0 against the reference's float64: a TF32 or bfloat16 product would stand out here."""
    exact = reference.traces["float64"]["losses"][0]
    found = distance(subject.traces["float32"]["losses"][0].astype(np.float64), exact)
    return row(
        task, subject, "float32", "loss", reference.backend, Difference(found, "loss at step 0"), FLOAT32_LOSS_TOLERANCE
    )


def float32_pair(task: str, subject: Subject, other: Subject) -> Proof:
    """Two backends' float32 losses lie no further apart than ten times their own measured rounding error.

    The tolerance grows with the steps; shown is the first step beyond it, or the one nearest to it.
    """
    ours, theirs = (s.traces["float32"]["losses"].astype(np.float64) for s in (subject, other))
    apart = np.abs(ours - theirs) / np.abs(other.traces["float64"]["losses"])
    apart = np.where(np.isfinite(apart), apart, np.inf)
    limit = FLOAT32_FACTOR * np.maximum(rounding(subject), rounding(other))
    beyond = np.flatnonzero(apart > limit)
    step = int(beyond[0]) if len(beyond) else int(np.argmax(apart / limit))
    found = Difference(float(apart[step]), f"loss at step {step}")
    return row(task, subject, "float32", "steps", f"{other.backend} {other.mode}", found, float(limit[step]))


def row(
    task: str, subject: Subject, precision_: str, level: str, against: str, found: Difference, tolerance: float
) -> Proof:
    """A proof record with its verdict; a difference that is no number is recorded as none."""
    finite = np.isfinite(found.value)
    return Proof(
        task=task,
        backend=subject.backend,
        mode=subject.mode,
        precision=precision_,
        level=level,
        against=against,
        worst=found.value if finite else None,
        tolerance=tolerance,
        where=found.where,
        verdict="proven" if found.value <= tolerance else "failed",
        reason="" if finite else "missing, of another shape, or not finite",
    )


def drift(task: str, subject: Subject, reference: Subject) -> Proof:
    """How far the framework's own defaults end up from the spec, in the losses and after training: measured, not judged."""
    ours, exact = subject.traces["float64"], reference.traces["float64"]
    pairs = enumerate(zip(ours["losses"], exact["losses"], strict=True))
    found = [Difference(distance(a, b), f"loss at step {k}") for k, (a, b) in pairs]
    found.append(Difference(distance(ours["eval"], exact["eval"]), "evaluation logits after the last step"))
    worst = max(found, key=lambda d: d.value)
    return Proof(
        task=task,
        backend=subject.backend,
        mode=subject.mode,
        precision="float64",
        level="drift",
        against=reference.backend,
        worst=worst.value,
        tolerance=None,
        where=worst.where,
        verdict="skipped",
        reason="the framework's own defaults are timed beside the spec, not proven: this is their drift from it",
    )


def missing(task: str, backend: str, mode: str, *, verdict: Verdict, reason: str) -> Proof:
    """The row of a backend that gave no trace: failed where it tried, skipped where it is not installed."""
    return Proof(task, backend, mode, "float64", "trace", "", None, None, "", verdict, reason)
