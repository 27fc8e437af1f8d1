"""The NumPy session: one model, its optimizer, backward by hand. Deviations from the spec: none.

Scalars stay Python floats, which take the precision of the array they meet: float32 is float32 throughout.
"""

from importlib import import_module
from typing import Any

import numpy as np

from backends.numpy import MODES
from backends.numpy.pipeline import pipeline  # noqa: F401 - the engine's own
from harness.errors import HarnessError, unknown
from harness.protocol import Batch, Precision
from harness.spec import Arrays, OptimizerSpec, TaskSpec

# The spec's axes -> ours: the same. The layer behind a flatten reads its kernel as a matrix where it uses it.
LAYOUT = {"h w i o": "h w i o", "i o": "i o", "h w c o": "h w c o", "c": "c"}


def configure(*, threads: int, seed: int) -> None:
    """Nothing is left to set: BLAS took its threads from the environment and the CPU affinity at import."""


def describe() -> dict[str, Any]:
    return {"versions": {"numpy": np.__version__}, "gpus": [], "numerics": {"tf32": False}}


def device_peak() -> int | None:
    """NumPy knows no GPU."""
    return None


def loss(kind: str, logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the batch of each example's loss, from logits (B, K) and labels (B,); its gradient."""
    cross_entropy = softmax_cross_entropy if kind == "softmax_cross_entropy" else sigmoid_cross_entropy
    values, grad = cross_entropy(logits, y)
    return values.mean(), grad / len(values)


def softmax_cross_entropy(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log(sum(exp(z))) - z[y] of each example, (B,), and its gradient softmax(z) - onehot(y), (B, K)."""
    z = logits - logits.max(axis=1, keepdims=True)  # cancels in the difference; now exp cannot overflow
    exp, rows = np.exp(z), np.arange(len(y))
    total = exp.sum(axis=1)  # (B,)
    grad = exp / total[:, None]
    grad[rows, y] -= 1.0
    return np.log(total) - z[rows, y], grad


def sigmoid_cross_entropy(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """max(z, 0) - z*y + log(1 + exp(-|z|)) of each example, (B,), and its gradient sigmoid(z) - y, (B, 1)."""
    z = logits[:, 0]
    exp = np.exp(-np.abs(z))  # in (0, 1]: cannot overflow
    sigmoid = np.where(z >= 0, 1.0, exp) / (1.0 + exp)
    return np.maximum(z, 0) - z * y + np.log1p(exp), (sigmoid - y)[:, None]


def optimizer(spec: OptimizerSpec, p: np.ndarray, *, g: np.ndarray, state: Arrays, row: list[float]) -> None:
    """The spec's update rule for one parameter, in place, in the spec's letters; ``row`` is of the table."""
    lr, step_size, root = row
    if spec.kind == "sgd":
        b = state.setdefault("b", np.zeros_like(p))  # empty before the first step
        b *= spec.momentum
        b += g + spec.weight_decay * p
        p -= lr * b
        return
    m, v = state.setdefault("m", np.zeros_like(p)), state.setdefault("v", np.zeros_like(p))
    if spec.kind == "adamw":
        p *= 1.0 - lr * spec.weight_decay
    m *= spec.beta1
    m += (1.0 - spec.beta1) * g
    v *= spec.beta2
    v += (1.0 - spec.beta2) * g * g
    p -= step_size * m / (np.sqrt(v) / root + spec.eps)


def open_session(spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> "Session":
    if mode not in MODES:
        raise unknown("mode of numpy", mode, MODES)
    if device != "cpu":
        raise unknown("device of numpy", device, ["cpu"])
    return Session(spec, precision=precision, table=table)


class Session:
    """See harness.protocol.Session."""

    def __init__(self, spec: TaskSpec, *, precision: Precision, table: np.ndarray) -> None:
        """Build the model; it has no weights until ``load``."""
        self.spec = spec
        self.dtype = np.dtype(precision)
        self.table: list[list[float]] = np.asarray(table, np.float64).tolist()
        self.model = import_module(f"backends.numpy.{spec.name}").Model(spec.model)
        self.no_masks = (None,) * len(spec.model.dropout)
        self.reset()

    def reset(self) -> None:
        self.step = 0
        self.state: dict[str, Arrays] = {t.name: {} for t in self.spec.model.parameters}

    def layer(self, name: str) -> tuple[Any, str]:
        """The layer that holds the tensor of a spec's name, and the tensor's name there."""
        *path, last = name.split("/")
        at: Any = self.model
        for part in path:
            at = at[int(part)] if part.isdigit() else getattr(at, part)
        return at, last

    def tensor(self, name: str) -> np.ndarray:
        """The model's own tensor of a spec's name."""
        return getattr(*self.layer(name))

    def load(self, tensors: Arrays) -> None:
        check(self.spec, tensors)
        for name, array in tensors.items():
            setattr(*self.layer(name), array.astype(self.dtype))
        self.reset()

    def dump(self) -> Arrays:
        return {t.name: self.tensor(t.name).copy() for t in self.spec.model.tensors}

    def put(self, x: np.ndarray, y: np.ndarray, masks: tuple[np.ndarray, ...] = ()) -> Batch:
        """Copy a batch in the session's precision."""
        labels = np.dtype(np.int64) if self.spec.outputs > 1 else self.dtype
        placed = tuple(m.astype(self.dtype) for m in masks) or self.no_masks
        return Batch(x.astype(self.dtype), y.astype(labels), placed)

    def train_step(self, batch: Batch) -> np.ndarray:
        row = self.table[min(self.step, len(self.table) - 1)]
        value, grads = self.gradients(batch)
        for name, g in grads.items():
            optimizer(self.spec.optimizer, self.tensor(name), g=g, state=self.state[name], row=row)
        self.step += 1
        return value

    def predict(self, batch: Batch) -> np.ndarray:
        return self.model.forward(batch.x, self.no_masks, training=False)

    def gradients(self, batch: Batch) -> tuple[np.ndarray, Arrays]:
        value, grad = loss(self.spec.loss, self.model.forward(batch.x, batch.masks, training=True), batch.y)
        self.model.backward(grad)
        layers = {t.name: self.layer(t.name) for t in self.spec.model.parameters}
        return value, {name: layer.grads[last] for name, (layer, last) in layers.items()}

    def sync(self, handle: np.ndarray) -> None:
        """Nothing is ever pending."""

    def fetch(self, handle: np.ndarray) -> np.ndarray:
        return np.asarray(handle)

    def compilations(self) -> int:
        return 0

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Dtype of the logits, which keep nothing for a backward pass; whether a step leaves the parameters where they were."""
        before = [id(self.tensor(t.name)) for t in self.spec.model.parameters]
        self.train_step(batch)
        in_place = before == [id(self.tensor(t.name)) for t in self.spec.model.parameters]
        return {"device": "cpu", "dtype": str(self.predict(batch).dtype), "autograd": False, "in_place": in_place}


def check(spec: TaskSpec, tensors: Arrays) -> None:
    """Refuse tensors that are not exactly the spec's."""
    expected, found = {t.name: t.shape for t in spec.model.tensors}, {name: array.shape for name, array in tensors.items()}
    for name in expected | found:
        got, want = found.get(name, "nothing"), expected.get(name, "nothing")
        if got != want:
            message = f"numpy/{spec.name}: tensor {name!r}: got {got}, expected {want}"
            raise HarnessError(f"{message}; load weights that were made for {spec.title}.")
