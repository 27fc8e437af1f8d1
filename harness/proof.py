"""The judge: do traces say that two backends compute the same thing? Tolerances, the worst value, and where it is.

Float64 separates a semantic difference (1e-6 and more) from rounding (1e-14 and less) by eight orders of magnitude, so that is
where equality is decided. Float32, on batches of another size, is then held to the reference's float64 of them (``exact``), by
what the reference's own float32 is off. A mode that computes in bfloat16 is proven in float64 too, where it casts nothing: that
is what it means. Its own logits, gradients and losses are then held to the rounding of bfloat16, from above and from below, and
its parameters to that of float32.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from harness.records import Proof, Verdict
from harness.spec import Arrays, TaskSpec
from harness.trace import SEEN, STEPS, UPDATES, learning_rates

LOSS_TOLERANCE = 1e-12  # float64, relative
TENSOR_TOLERANCE = 1e-10  # float64, relative to the tensor's largest element
FLOAT32_LOSS_TOLERANCE = 1e-6  # float32, relative, at step 0
FLOAT32_TENSOR_TOLERANCE = 1e-5  # at step 0; exact float32 stays below 1.4e-6 in all tasks, TF32 rounds at 5e-4, bfloat16 at 4e-3
FLOAT32_FACTOR = 10.0  # float32 losses may be off by so many times what the reference's are
FLOAT32_LOSSES_FLOOR = 1e-3  # a pre-activation that rounds to the other side of its ReLU moves losses: by 9e-5 at 20 layers
FLOAT32_FLOOR = 1e-4  # of typical elements after ten steps
TYPICAL_FACTOR = 100.0  # the same of typical elements: sums over 16,000 numbers one by one round 30 times as much as in pairs
# The same of gradients with all ReLUs open: on eight seeds sound ones were at most 2.7e-7 off, or 7.1 times the reference's.
OPEN_TOLERANCE, OPEN_FACTOR = 2e-6, 30.0
OFFSET_FACTOR = 1000.0  # and with means large against their variation: of 15 seeds a ResNet-8 needed 103 in one, below 67 in 14
# Float32, relative to the tensor's largest element: sound updates round to 7e-8, a bfloat16 state to 1e-6.
UPDATE_TOLERANCE = 2.0**-22
# Of all updates of a step together: rounding averages out to 1e-6; bias corrections made in float32 are off by 3.4e-6 at step 1.
LENGTH_TOLERANCE = 2.0**-19
ULPS = 3.0  # and where updates are short against parameters, what it comes to if every parameter is off by three ulps, either way
COARSE = 0.9  # the share of values that half precision could hold, by chance 1e-4, or that are float64's, by chance up to 0.4
FEW = 8  # values; so many it takes to tell
LOW = "bf16"  # the mode that computes in bfloat16, whose numbers round by 2^-8
# Measured on three backends, five models, three to eight seeds. Logits: at most 1.3e-2 off, 5e-2 and more in float8. Gradients of
# the last kernel: at most 9.9e-3. Losses: 2e-3 at step 0, 1e-2 in ten steps.
LOW_TOLERANCE = 8 * 2.0**-8
LOW_LEAST = 2.0**-8 / 3  # of the logits, root mean square: sound ones are 2.2e-3 off and more, at most 8e-4 in float16
DTYPES = {"float64": np.float64, "float32": np.float32, "exact": np.float64}  # by trace, see verify.Exhibit.asked
Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Subject:
    """Whose traces these are, and of which task."""

    task: str
    backend: str
    mode: str
    traces: Mapping[str, Arrays]  # by the keys of DTYPES

    def array(self, trace: str, key: str) -> np.ndarray | None:
        """One array of a trace; none where it is missing or of another dtype than was asked for."""
        found = self.traces[trace].get(key)
        return found if found is not None and found.dtype == DTYPES[trace] else None


Found = dict[str, float]  # relative differences by the place where they were found, in the order in which they arise


def judge(spec: TaskSpec, reference: Subject, subjects: list[Subject], weights: Arrays) -> Iterator[Proof]:
    """Every proof of a task: each subject against the initial weights and the reference, then against each later subject.

    Pairs meet in float64: float32 that is near to the reference is near to each other. Modes in bfloat16 have no pairs.
    """
    for i, subject in enumerate(subjects):
        yield from round_trip(subject, weights)
        if subject.backend != reference.backend:  # the reference is not its own witness
            yield from float64(spec, subject, reference)
        yield from start(spec, subject, reference)
        yield held(spec, subject, reference)
        yield from bfloat16(subject, reference) if subject.mode == LOW else float32(spec, subject, reference)
        yield from update(spec, subject, reference, weights)
        for other in subjects[i + 1 :]:
            if LOW not in {subject.mode, other.mode}:
                yield from float64(spec, subject, other)


def round_trip(subject: Subject, weights: Arrays) -> Iterator[Proof]:
    """Weights that were loaded and dumped again must be the same bits."""

    def bits(array: np.ndarray | None) -> object:
        return None if array is None else (array.dtype, array.shape, array.tobytes())

    for precision, found in subject.traces.items():
        if precision == "exact":  # asked of the reference alone, which is loaded twice already
            continue
        wrong = [name for name, value in weights.items() if bits(found.get(f"weights/{name}")) != bits(value.astype(precision))]
        yield row(subject, precision, "weights", "initial weights", {next(iter(wrong), ""): float(len(wrong))}, 0.0)


def float64(spec: TaskSpec, subject: Subject, other: Subject) -> Iterator[Proof]:
    """The six levels of the float64 proof of one pair."""
    against = other.backend if other.mode == "reference" else f"{other.backend} {other.mode}"
    names = [t.name for t in spec.model.tensors]
    levels = {  # by level, what is compared under which key, and how it is called
        "logits": {"logits": "logits at step 0"},
        "loss": {"loss": "loss at step 0", "confident": "loss of confident logits"},
        "gradients": {f"grad/{t.name}": f"{t.name} at step 0" for t in reversed(spec.model.parameters)}
        | {f"tied/{t.name}": f"{t.name} at biases of 0" for t in reversed(spec.model.parameters)}
        | {f"alone/{t.name}": f"{t.name} from one example" for t in reversed(spec.model.parameters)},
        "tensors": {f"step/{k}/{name}": f"{name} after step {k}" for k in range(STEPS) for name in names}
        | {f"confident/{name}": f"{name} after two steps from certain logits" for name in names},
        "eval": {"single": "evaluation logits of one example", "loaded": "evaluation logits of weights just loaded"}
        | {f"seen/{k}": f"evaluation logits after step {k}" for k in range(SEEN)}
        | {"eval": f"evaluation logits after step {STEPS - 1}"}
        | {f"after/{name}": f"{name} after the evaluation" for name in names},
    }
    for level, places in levels.items():
        found = differences(distance, places, (subject, "float64"), (other, "float64"))
        yield row(subject, "float64", level, against, found, LOSS_TOLERANCE if level == "loss" else TENSOR_TOLERANCE)
    steps = along(losses(subject, "float64"), losses(other, "float64"))
    steps |= along(losses(subject, "float64", "later"), losses(other, "float64", "later"), first=STEPS)
    yield row(subject, "float64", "steps", against, steps, LOSS_TOLERANCE)


def differences(measure: Measure, places: Mapping[str, str], ours: tuple[Subject, str], theirs: tuple[Subject, str]) -> Found:
    """The measure at each place of two subjects' traces."""
    (us, our_trace), (them, their_trace) = ours, theirs
    pairs = {where: (us.array(our_trace, key), them.array(their_trace, key)) for key, where in places.items()}
    return {where: compare(measure, *pair) for where, pair in pairs.items()}


def compare(measure: Measure, ours: np.ndarray | None, theirs: np.ndarray | None) -> float:
    """The measure; infinite where one is missing, of another shape, or not finite."""
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return float("inf")
    return measure(ours, theirs) if np.isfinite(ours).all() and np.isfinite(theirs).all() else float("inf")


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over the largest element of ``theirs``."""
    scale, difference = largest(theirs), largest(ours - theirs)
    return difference / scale if scale else difference


def largest(values: np.ndarray) -> float:
    """The largest absolute value: for 200,000 elements, of which np.abs would make a copy, in a tenth of the time."""
    return max(float(values.max()), -float(values.min()))


def beside(ours: tuple[Subject, str], theirs: tuple[Subject, str]) -> float:
    """Largest difference of one example's logits over the largest of its batch's: its own may all be near 0."""
    (us, our_trace), (them, their_trace) = ours, theirs
    one, exact, whole = us.array(our_trace, "single"), them.array(their_trace, "single"), them.array(their_trace, "logits")
    scale = np.nan if whole is None else largest(whole)
    return compare(lambda a, b: largest(a - b) / scale, one, exact)


def typical(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The median difference, of where ``theirs`` is not 0, over the largest element: a few may have gone another way."""
    some = theirs != 0
    return float(np.median(np.abs(ours - theirs)[some]) / largest(theirs)) if some.any() else distance(ours, theirs)


def losses(subject: Subject, trace: str, key: str = "losses") -> np.ndarray:
    """The loss of each step in float64, shape (10,); infinite where a backend gave none, or none that is a number."""
    found = subject.array(trace, key)
    if found is None or found.shape != (STEPS,):
        return np.full(STEPS, np.inf)
    return np.where(np.isfinite(found), found, np.inf).astype(np.float64)


def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Relative differences of losses, (10,); infinite where either is."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    scale = np.where(both & (theirs != 0), np.abs(theirs), 1.0)
    return np.where(both, np.abs(np.where(both, ours, 0) - np.where(both, theirs, 0)) / scale, np.inf)


def along(ours: np.ndarray, theirs: np.ndarray, first: int = 0) -> Found:
    """The relative difference of the losses of each step, from the ``first``."""
    return {f"loss at step {k}": float(value) for k, value in enumerate(apart(ours, theirs), start=first)}


def start(spec: TaskSpec, subject: Subject, reference: Subject) -> Iterator[Proof]:
    """Float32, or bfloat16, at step 0 against the reference's float64: a product of lower precision would stand out here.

    Of the gradients only the last layer's: below it a pre-activation near zero may round to the other side of its ReLU, and moves
    a tensor by up to 2 % with nothing wrong. The last layer's gradient, like the logits, is continuous; in bfloat16 only the
    kernel's, since a bias's is a sum that may cancel.
    """
    layer = spec.model.parameters[-1].name.rpartition("/")[0]
    names = [t.name for t in spec.model.parameters if t.name.startswith(f"{layer}/")]
    precision, of_tensor, of_loss = "float32", FLOAT32_TENSOR_TOLERANCE, FLOAT32_LOSS_TOLERANCE
    if subject.mode == LOW:
        precision, of_tensor, of_loss, names = "bfloat16", LOW_TOLERANCE, LOW_TOLERANCE, names[:1]
    both = (subject, "float32"), (reference, "exact")
    logits = differences(distance, {"logits": "logits at step 0"}, *both)
    logits["logits of one example"] = beside(*both)
    loss = {"loss at step 0": float(apart(losses(subject, "float32"), losses(reference, "exact"))[0])}
    grads = differences(distance, {f"grad/{name}": f"{name} at step 0" for name in names}, *both)
    yield row(subject, precision, "logits", reference.backend, logits, of_tensor)
    yield row(subject, precision, "loss", reference.backend, loss, of_loss)
    yield row(subject, precision, "gradients", reference.backend, grads, of_tensor)


def float32(spec: TaskSpec, subject: Subject, reference: Subject) -> Iterator[Proof]:
    """Float32 off by no more than the reference's own explains: gradients where they are continuous, and after ten steps."""
    kernels = [t.name for t in spec.model.parameters if t.name.endswith("/kernel")]
    levels = {
        "open": (OPEN_TOLERANCE, OPEN_FACTOR, {f"lifted/{name}": f"{name}, all ReLUs open" for name in kernels}),
        "offset": (FLOAT32_TENSOR_TOLERANCE, OFFSET_FACTOR, {f"offset/{name}": f"{name}, means far from 0" for name in kernels}),
        "tensors": (
            FLOAT32_FLOOR,
            TYPICAL_FACTOR,
            {f"after/{t.name}": f"{t.name} after step {STEPS - 1}" for t in spec.model.tensors},
        ),
    }
    if moved := {f"first/{t.name}": f"{t.name} after step 0" for t in spec.model.buffers}:
        found = differences(distance, moved, (subject, "float32"), (reference, "exact"))
        yield row(subject, "float32", "statistics", reference.backend, found, FLOAT32_TENSOR_TOLERANCE)
    for level, (least, factor, places) in levels.items():
        ours, own = (differences(typical, places, (who, "float32"), (reference, "exact")) for who in (subject, reference))
        limit = max(least, factor * max(own.values()))  # of all places: by luck one place is off by a tenth of that
        yield row(subject, "float32", level, reference.backend, ours, limit)
    exact = losses(reference, "exact")
    limit = max(FLOAT32_LOSSES_FLOOR, FLOAT32_FACTOR * float(apart(losses(reference, "float32"), exact).max()))
    yield row(subject, "float32", "steps", reference.backend, along(losses(subject, "float32"), exact), limit)


def update(spec: TaskSpec, subject: Subject, reference: Subject, weights: Arrays) -> Iterator[Proof]:
    """The reference's update rule, in float64 but fed with the backend's own gradients, makes the backend's float32 parameters.

    The losses of ten steps would not show an optimizer that holds its state in less than float32, and no single element that
    all steps are too long by less than it is rounded: ``length`` is of all of them together. Where a device does not compute the
    same gradients twice there is nothing to feed the rule with.
    """
    made = list(remade(spec, subject, reference, weights))
    found = {f"{name} after step {step}": compare(distance, ours, p) for step, name, _, p, ours in made}
    lengths, longest = {}, LENGTH_TOLERANCE
    for step in range(UPDATES):
        moves = [
            (p - before, ours - before, np.spacing(abs(p).astype(np.float32))) for k, _, before, p, ours in made if k == step
        ]
        square = sum(np.vdot(a, a) for a, _, _ in moves)
        lengths[f"all parameters in step {step}"] = float(abs(sum(np.vdot(a, b) for a, b, _ in moves) / square - 1))
        chance = float(np.sqrt(sum(np.vdot(a * ulp, a * ulp) for a, _, ulp in moves)) / square)  # if each is off by an ulp
        longest = max(longest, ULPS * chance)
    twice = [[subject.array("float32", f"{first}/{t.name}") for first in ("given/0", "grad")] for t in spec.model.parameters]
    unsure = 0 < max(compare(distance, *pair) for pair in twice) <= FLOAT32_TENSOR_TOLERANCE
    for level, places, tolerance in (("update", found, UPDATE_TOLERANCE), ("length", lengths, longest)):
        told = row(subject, "float32", level, reference.backend, places, tolerance)
        yield replace(told, verdict="skipped", reason="the gradients are not the same bits twice") if unsure else told


def remade(
    spec: TaskSpec, subject: Subject, reference: Subject, weights: Arrays
) -> Iterator[tuple[int, str, np.ndarray, np.ndarray, np.ndarray]]:
    """Step, name, and in float64: a parameter before the step, what the rule makes of it, what the backend made; NaN for none."""
    rule = import_module(f"backends.{reference.backend}.engine").optimizer
    table = spec.optimizer.table(learning_rates(spec)).tolist()
    for t in spec.model.parameters:
        before, state = weights[t.name].astype(np.float64), Arrays()
        for step in range(UPDATES):
            given, made = (subject.array("float32", f"{which}/{step}/{t.name}") for which in ("given", "made"))
            g, ours = (np.full(t.shape, np.nan) if v is None or v.shape != t.shape else v.astype(float) for v in (given, made))
            p = before.copy()
            with np.errstate(invalid="ignore", over="ignore"):
                rule(spec.optimizer, p, g=g, state=state, row=table[step])
            yield step, t.name, before, p, ours
            before = ours


def held(spec: TaskSpec, subject: Subject, reference: Subject) -> Proof:
    """No running statistic after a float32 step, and no gradient, consists of what half precision could hold.

    The bits tell: by its values one layer's rounded gradient would not stand out from what a ReLU's other side moves. Nor are
    float32 logits those of float64, rounded. In a bfloat16 mode the losses take the place of the gradients.
    """
    gradients = {f"given/0/{t.name}": f"gradient of {t.name}" for t in spec.model.parameters}
    places = {"losses": "losses"} if subject.mode == LOW else gradients
    places |= {f"made/0/{t.name}": f"{t.name} after step 0" for t in spec.model.buffers}
    places = {key: f"{where}: what half precision could hold" for key, where in places.items()}
    found = differences(lambda ours, _: coarse(ours), places, (subject, "float32"), (subject, "float32"))
    if subject.mode != LOW:
        found |= differences(finer, {"logits": "logits: what float64 rounds to"}, (subject, "float32"), (reference, "exact"))
    return row(subject, "float32", "rounding", reference.backend, found, COARSE)


def coarse(values: np.ndarray) -> float:
    """The share of values, zeros left out, whose float32 ends in 13 zeros, as float16's and bfloat16's do; 0 for a few."""
    bits = values[values != 0].astype(np.float32).view(np.uint32)
    return float(np.mean(bits % 2**13 == 0)) if len(bits) >= FEW else 0.0


def finer(ours: np.ndarray, exact: np.ndarray) -> float:
    """The share of float32 values that are the exact ones, rounded; 0 for a few."""
    return float(np.mean(ours == exact.astype(np.float32))) if ours.size >= FEW else 0.0


def bfloat16(subject: Subject, reference: Subject) -> Iterator[Proof]:
    """A bfloat16 mode really rounds to it, and its losses stay as near the reference's float64 as that allows.

    The level ``rounding`` tells how many times nearer the logits are than bfloat16 puts them at least.
    """
    places = {"logits": "logits too exact for bfloat16"}
    nearer = differences(nearness, places, (subject, "float32"), (reference, "exact"))
    steps = along(losses(subject, "float32"), losses(reference, "exact"))
    yield row(subject, "bfloat16", "rounding", reference.backend, nearer, 1.0)
    yield row(subject, "bfloat16", "steps", reference.backend, steps, LOW_TOLERANCE)


def nearness(ours: np.ndarray, exact: np.ndarray) -> float:
    """How many times nearer than LOW_LEAST, in root mean square."""
    return LOW_LEAST / max(float(np.linalg.norm(ours - exact) / np.linalg.norm(exact)), 2.0**-52)


def row(subject: Subject, precision: str, level: str, against: str, found: Found, tolerance: float) -> Proof:
    """The proof record of the first difference beyond the tolerance, since later ones follow from it; without one, of the worst.

    A difference that is no number is recorded as none.
    """
    where = next((place for place, value in found.items() if not value <= tolerance), max(found, key=found.__getitem__))
    finite = np.isfinite(found[where])
    worst, allowed = found[where] if finite else None, tolerance if np.isfinite(tolerance) else None
    verdict: Verdict = "proven" if found[where] <= tolerance < np.inf else "failed"
    reason = "" if finite else "missing, of another shape or dtype, or not finite"
    return Proof(subject.task, subject.backend, subject.mode, precision, level, against, worst, allowed, where, verdict, reason)


def drift(subject: Subject, reference: Subject) -> Proof:
    """How far the framework's own defaults end up from the spec, in the losses and after training: measured, not judged."""
    found = along(losses(subject, "float64"), losses(reference, "float64"))
    found |= differences(
        distance, {"eval": "evaluation logits after the last step"}, (subject, "float64"), (reference, "float64")
    )
    reason = "the framework's own defaults are timed beside the spec, not proven: this is their drift from it"
    return replace(row(subject, "float64", "drift", reference.backend, found, np.inf), verdict="skipped", reason=reason)


def missing(task: str, backend: str, mode: str, *, verdict: Verdict, reason: str) -> Proof:
    """The row of a backend that gave no trace: failed where it tried, skipped where it is not installed."""
    return Proof(task, backend, mode, "float64", "trace", "", None, None, "", verdict, reason)
