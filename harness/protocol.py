"""What a backend must provide, as Protocols. A backend never reads a clock and never logs.

It draws no number but where the framework's own are wanted: in the stock mode and in an input pipeline.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from harness.spec import Arrays, DataSpec, TaskSpec

Precision = Literal["float32", "float64"]
Handle = Any  # a result that may not have been computed yet


class Batch(NamedTuple):
    """A placed batch: the backend's own tensors, in its own layout."""

    x: Any
    y: Any
    masks: tuple[Any, ...]


class Session(Protocol):
    """One model with its optimizer, in one mode and precision, on one device. Arrays cross in the spec's layout."""

    def load(self, tensors: Arrays) -> None:
        """Set every parameter and buffer; the optimizer state and the step counter start again at zero."""

    def dump(self) -> Arrays:
        """Every parameter and buffer, as NumPy arrays of the session's precision."""

    def put(self, x: np.ndarray, y: np.ndarray, masks: tuple[np.ndarray, ...] = ()) -> Batch:
        """Place a batch: x (B, *x_shape) float, channels last; y (B,) int32; masks (B, ...) 0 or 1/(1-rate)."""

    def train_step(self, batch: Batch) -> Handle:
        """One optimizer step; a handle of the mean loss before it, a scalar. Does not wait for the device."""

    def predict(self, batch: Batch) -> Handle:
        """Logits (B, outputs) in evaluation mode, without a gradient tape. Does not wait for the device."""

    def gradients(self, batch: Batch) -> tuple[Handle, Arrays]:
        """The mean training loss and its gradient by every parameter; changes no parameter, may move the buffers."""

    def sync(self, handle: Handle) -> None:
        """Return when the handle, and everything the session has begun, is computed."""

    def fetch(self, handle: Handle) -> np.ndarray:
        """The handle's value on the host."""

    def compilations(self) -> int:
        """How often the framework has compiled or traced for this session so far; 0 where it never does."""

    def facts(self, batch: Batch) -> dict[str, Any]:
        """What shows after one more step.

        ``device`` (cpu, gpu) and ``dtype`` of the logits; ``autograd``, whether a tape recorded them; ``in_place``, whether
        the step took no new memory for the parameters, None where that cannot be seen.
        """


@runtime_checkable
class Stacking(Session, Protocol):
    """A session that can also take several steps in one call."""

    def stack(self, batches: Sequence[Batch]) -> Batch:
        """Place batches of one shape as one, for ``train_step`` alone: a step on each, in order; its handle is of all losses."""


class Engine(Protocol):
    """The module backends/NAME/engine.py."""

    LAYOUT: Mapping[str, str]

    def configure(self, *, threads: int, seed: int) -> None:
        """Set threads and numerics (TF32 off) before the first operation; ``seed`` serves only the stock mode."""

    def describe(self) -> dict[str, Any]:
        """Versions, GPUs and numeric settings that this process really has."""

    def device_peak(self) -> int | None:
        """Bytes of the GPU's memory that this process used at most so far; None without a GPU."""

    def open_session(self, spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> Session:
        """Build the task's model and optimizer; ``table`` is ``spec.optimizer.table(lrs)``. Weights come by ``load``."""

    def pipeline(self, data: DataSpec, arrays: Arrays, *, seed: int, placed: list[Batch]) -> Callable[[], Iterator[Batch]]:
        """Build the framework's own way from ``x_train``, ``y_train`` in memory to its steps; each call is one epoch of batches.

        An epoch shuffles, augments, normalises and places, and drops the rest; what is built once is built here. Size, dtype,
        device and dropout masks are those of ``placed``, batches of a session, in turn: a user of the framework would draw
        masks inside the model, so that drawing and placing them is no part of feeding it. Order and augmentation are the
        framework's own draws, no part of the proof.
        """
