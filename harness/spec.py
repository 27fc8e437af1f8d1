"""What a task is, down to the last number: shapes, initial weights, optimizer, schedule, loss, data. Knows no framework.

A spec owns the semantics, a backend owns the idiom. Every hyperparameter is rounded to float32 once, here, so that the
float64 proof and the float32 timing run on identical numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np

from harness.errors import HarnessError

Arrays = dict[str, np.ndarray]
Loss = Literal["softmax_cross_entropy", "sigmoid_cross_entropy"]


def f32(value: float) -> float:
    """The double that equals ``value`` rounded to float32, so that a cast in any framework changes nothing."""
    return float(np.float32(value))


def settle(owner: object, *names: str, below: float = 1e38) -> None:
    """Round these constants of a frozen spec; HarnessError where one is not from 0 to ``below``, or no longer is once rounded."""
    for name in names:
        value = getattr(owner, name)
        if not (0 <= value < below and f32(value) < below):
            raise HarnessError(f"{type(owner).__name__}: {name} is {value}: choose one from 0 to below {below:g}.")
        object.__setattr__(owner, name, f32(value))


@dataclass(frozen=True)
class Init:
    """How an initial tensor is drawn: ``normal`` (scale = standard deviation), ``uniform`` (+-scale), ``constant``."""

    kind: Literal["normal", "uniform", "constant"]
    scale: float


def he_normal(fan_in: int) -> Init:
    """N(0, 2/fan_in), untruncated: He et al. 2015, arXiv 1502.01852, eq. 10."""
    return Init("normal", math.sqrt(2.0 / fan_in))


def glorot_uniform(fan_in: int, fan_out: int) -> Init:
    """U(+-sqrt(6/(fan_in+fan_out))): Glorot and Bengio 2010, eq. 16."""
    return Init("uniform", math.sqrt(6.0 / (fan_in + fan_out)))


ZEROS, ONES = Init("constant", 0.0), Init("constant", 1.0)


@dataclass(frozen=True)
class ParamSpec:
    """One named tensor of a model.

    ``name`` is the path of the tensor in every backend's model, parts joined by "/" (``stage2/0/conv1/kernel``).
    ``axes`` names the axes in the spec's own order: convolutions "h w i o", dense "i o", the dense layer behind a flatten
    "h w c o", vectors "c". A trained tensor is a parameter; one that is not (``trained=False``) is a BatchNorm buffer.
    ``positions`` is at how many places of its output a convolution applies its kernel: height x width; 1 for a dense layer.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    init: Init
    trained: bool = True
    positions: int = 1

    def __post_init__(self) -> None:
        """Refuse a shape that does not fit its axes."""
        if len(self.axes.split()) != len(self.shape) or min(self.shape, default=0) < 1:
            raise HarnessError(f"parameter {self.name!r}: shape {self.shape} does not fit axes {self.axes!r}.")


def layer(path: str, axes: str, shape: tuple[int, ...], init: Init, *, positions: int = 1) -> tuple[ParamSpec, ParamSpec]:
    """The kernel of a layer, and its bias, which begins at zero."""
    kernel = ParamSpec(f"{path}/kernel", axes, shape, init, positions=positions)
    return kernel, ParamSpec(f"{path}/bias", "c", shape[-1:], ZEROS)


@dataclass(frozen=True)
class ModelSpec:
    """A model's numbers: every named tensor in forward order, and the constants its layers use (``sizes``)."""

    tensors: tuple[ParamSpec, ...]
    sizes: Mapping[str, int]
    dropout: tuple[tuple[int, ...], ...] = ()  # the shape, without the batch axis, of each dropout mask
    dropout_rate: float = 0.0
    batch_norm_momentum: float = 0.0  # share of the new batch in a running statistic: r = (1-momentum)*r + momentum*batch
    batch_norm_eps: float = 0.0

    def __post_init__(self) -> None:
        """Round to float32 and freeze."""
        names = [t.name for t in self.tensors]
        if len(set(names)) != len(names):
            raise HarnessError(f"the model names a tensor twice: {sorted({n for n in names if names.count(n) > 1})}.")
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))
        settle(self, "dropout_rate", "batch_norm_momentum", "batch_norm_eps", below=1)

    @property
    def keep_scale(self) -> float:
        """What a kept activation is multiplied by: 1/(1-rate), rounded to float32 (inverted dropout)."""
        return f32(1.0 / (1.0 - self.dropout_rate))

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """The tensors that training changes by gradient."""
        return tuple(t for t in self.tensors if t.trained)

    @property
    def buffers(self) -> tuple[ParamSpec, ...]:
        """The BatchNorm running statistics."""
        return tuple(t for t in self.tensors if not t.trained)

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return sum(math.prod(t.shape) for t in self.parameters)


@dataclass(frozen=True)
class OptimizerSpec:
    """The update rule, in the form that PyTorch documents; g is the gradient of the reduced loss, lr that of the step.

    ``sgd``    g += weight_decay*p;  b = momentum*b + g (b starts at 0);  p -= lr*b
    ``adam``   m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g*g;
               p -= lr/(1-beta1**t) * m / (sqrt(v)/sqrt(1-beta2**t) + eps),  t = 1, 2, ...
    ``adamw``  p *= 1 - lr*weight_decay first, then as adam

    Weight decay touches every parameter, biases and BatchNorm's included. The velocity of sgd holds no lr. The bias
    corrections are computed in float64 once a run (``table``): in float32 1-beta2**t is off by 1.3e-5 at t=1.
    """

    kind: Literal["sgd", "adam", "adamw"]
    lr: float
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a decay that the rule would leave out; round to float32."""
        if self.kind == "adam" and self.weight_decay:
            raise HarnessError('optimizer "adam" has no weight decay: take "adamw", or set weight_decay to 0.')
        settle(self, "lr", "eps", "weight_decay")
        settle(self, "momentum", "beta1", "beta2", below=1)

    def table(self, lrs: np.ndarray) -> np.ndarray:
        """The scalars of each step, shape (steps, 3), float64: lr, lr/(1-beta1**t), sqrt(1-beta2**t).

        ``lrs`` has shape (steps,). A step beyond the last row uses the last row. For sgd the last two columns equal lr and 1.
        """
        lrs = np.asarray(lrs, np.float64)
        if self.kind == "sgd":
            return np.stack([lrs, lrs, np.ones_like(lrs)], axis=1)
        t = np.arange(1, len(lrs) + 1, dtype=np.float64)
        return np.stack([lrs, lrs / (1 - self.beta1**t), np.sqrt(1 - self.beta2**t)], axis=1)


@dataclass(frozen=True)
class DataSpec:
    """Which data, what one example looks like, and how it becomes the model's input."""

    name: str  # mnist, cifar10, german_credit, credit_default
    x_shape: tuple[int, ...]  # one example, channels last
    classes: int  # 2 for a binary task
    mean: tuple[float, ...] = (0.0,)  # a channel: x = (pixel/255 - mean) / std, computed once in NumPy
    std: tuple[float, ...] = (1.0,)
    augment: Literal["none", "pad4_crop_flip"] = "none"  # training batches only


@dataclass(frozen=True)
class TrainSpec:
    """How long and how a task is trained."""

    batch: int
    epochs: int
    milestones: tuple[float, ...] = ()  # shares of all steps at which lr is divided by 10: the step itself has the new lr
    monitor: Literal["", "auc"] = ""  # validation metric for early stopping; the best epoch's weights are kept
    patience: int = 0  # epochs without a better value before training stops


@dataclass(frozen=True)
class Quality:
    """What a trained model is measured by, and what others published for this recipe."""

    metric: str  # accuracy, auc
    target: float  # a run on the full data below this is a finding against us
    margin: float  # trained models whose metric differs by less are as good as each other to who uses them
    published: float | None = None
    published_source: str = ""


@dataclass(frozen=True)
class TaskSpec:
    """One task, complete. ``params`` are the choices that made this spec (``depth=20``), shown wherever it is named."""

    name: str
    title: str
    model: ModelSpec
    data: DataSpec
    loss: Loss
    optimizer: OptimizerSpec
    train: TrainSpec
    quality: Quality
    proof_batch: int = 32  # batch of the proof: small, since the float64 reference convolves by hand
    proof_lr: float = 1.0  # share of the lr that the proof's ten steps begin with; less where training itself is chaotic
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Logits an example: one for a binary task."""
        return 1 if self.loss == "sigmoid_cross_entropy" else self.data.classes

    def learning_rates(self, steps: int) -> np.ndarray:
        """The lr of each of ``steps`` training steps, float64, shape (steps,): stepped at ``train.milestones``."""
        begins = np.floor(np.clip(self.train.milestones, 0, 1) * steps)
        return self.optimizer.lr * 0.1 ** np.sum(np.arange(steps)[:, None] >= begins, axis=1)
