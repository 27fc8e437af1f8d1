"""The PyTorch session: one model, its optimizer, in one of MODES. Deviations from the spec's layout: see __init__.py."""

from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any

import einops
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backends.torch import MODES, layers
from backends.torch.pipeline import pipeline  # noqa: F401 - the engine's own
from harness.errors import misfit, unknown
from harness.protocol import Batch, Precision
from harness.spec import Arrays, OptimizerSpec, ParamSpec, TaskSpec

# The spec's axes -> ours. Swap the sides to come back.
LAYOUT = {"h w i o": "o i h w", "i o": "o i", "h w c o": "o (c h w)", "c": "c"}
# The spec's last name of a tensor -> the attribute of the layer that holds it.
ATTRIBUTES = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}


def configure(*, threads: int, seed: int) -> None:
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(seed)


def describe() -> dict[str, Any]:
    tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    return {
        "versions": {"torch": torch.__version__},
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
        "numerics": {"tf32": tf32, "mkldnn": torch.backends.mkldnn.is_available()},
    }


def device_peak() -> int | None:
    """The most that PyTorch's allocator held on the GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def loss(kind: str, logits: Tensor, y: Tensor) -> Tensor:
    """The mean over the batch of the loss of each example, from logits (B, K) and labels (B,)."""
    if kind == "softmax_cross_entropy":
        return F.cross_entropy(logits, y, reduction="mean")
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), y, reduction="mean")


def optimizer(spec: OptimizerSpec, parameters: list[nn.Parameter], *, stock: bool) -> torch.optim.Optimizer:
    """The spec's update rule, which is PyTorch's own; ``stock`` leaves PyTorch its default constants and kernels."""
    betas = {} if stock else {"betas": (spec.beta1, spec.beta2), "eps": spec.eps, "fused": True}
    if spec.kind == "sgd":
        fused = {} if stock else {"fused": True}
        return torch.optim.SGD(parameters, lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay, **fused)
    if spec.kind == "adam":
        return torch.optim.Adam(parameters, lr=spec.lr, **betas)
    return torch.optim.AdamW(parameters, lr=spec.lr, weight_decay=spec.weight_decay, **betas)


def compiled(model: nn.Module) -> Callable[..., Tensor]:
    """A program a shape, as jax.jit and tf.function have, however many sessions of a process share a model's code.

    By default the second size of batch makes one program for all sizes to come, and after the eighth no more are compiled.
    """
    import torch._dynamo.config  # only this mode must pay for it

    torch._dynamo.config.recompile_limit = 64
    return torch.compile(model, dynamic=False)


def open_session(spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> "Session":
    if mode not in MODES:
        raise unknown("mode of torch", mode, MODES)
    return Session(spec, mode=mode, precision=precision, device=device, table=table)


class Session:
    """See harness.protocol.Session."""

    def __init__(self, spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> None:
        """Build the model; its weights are whatever PyTorch draws until ``load``."""
        self.spec = spec
        self.stock = mode == "stock"
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.device = torch.device("cuda" if device == "gpu" else "cpu")
        self.memory_format = torch.channels_last if mode == "channels_last" else torch.contiguous_format
        self.lrs = table[:, 0].tolist()
        library = import_module(f"backends.torch.{spec.name}")
        self.model: nn.Module = library.Model(spec.model, layers.STOCK if self.stock else layers.EXACT)
        self.model.to(self.device, self.dtype, memory_format=self.memory_format)
        self.forward: Callable[..., Tensor] = compiled(self.model) if mode == "compile" else self.model
        if mode == "bf16":
            self.forward = self.autocast_forward
        self.compiles = mode == "compile"
        self.no_masks = (None,) * len(spec.model.dropout)
        self.reset()

    def reset(self) -> None:
        self.step = 0
        self.optimizer = optimizer(self.spec.optimizer, list(self.model.parameters()), stock=self.stock)

    def autocast_forward(self, x: Tensor, masks: tuple[Tensor | None, ...]) -> Tensor:
        """Logits in the session's precision, of layers that compute in bfloat16."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.model(x, masks).to(self.dtype)

    def tensor(self, name: str) -> Tensor:
        """The model's own tensor of a spec's name."""
        *path, last = name.split("/")
        layer = reduce(lambda at, part: at[int(part)] if part.isdigit() else getattr(at, part), path, self.model)
        return getattr(layer, ATTRIBUTES[last])

    def load(self, tensors: Arrays) -> None:
        with torch.no_grad():
            for t in self.spec.model.tensors:
                ours = einops.rearrange(tensors[t.name], f"{t.axes} -> {LAYOUT[t.axes]}")
                own = self.tensor(t.name)
                if own is None or own.shape != ours.shape:
                    raise misfit(t.name, own if own is None else tuple(own.shape), ours.shape)
                own.copy_(torch.from_numpy(np.ascontiguousarray(ours)))
        self.reset()

    def dump(self) -> Arrays:
        return {t.name: self.to_spec(t, self.tensor(t.name)) for t in self.spec.model.tensors}

    def to_spec(self, t: ParamSpec, value: Tensor) -> np.ndarray:
        """One tensor, or its gradient, as an array in the spec's layout."""
        sizes = dict(zip(t.axes.split(), t.shape, strict=True))
        ours = value.detach().cpu().numpy()
        return np.array(einops.rearrange(ours, f"{LAYOUT[t.axes]} -> {t.axes}", **sizes))

    def put(self, x: np.ndarray, y: np.ndarray, masks: tuple[np.ndarray, ...] = ()) -> Batch:
        """Place a batch on the device; images become channels first."""
        labels = torch.int64 if self.spec.outputs > 1 else self.dtype
        place = lambda array, dtype: torch.tensor(array, dtype=dtype, device=self.device)  # noqa: E731
        images = place(x, self.dtype)
        # Cloned, not contiguous(): one channel lies right in either format, so that would keep the permuted strides, and PyTorch
        # would take them for channels last and compute so.
        if x.ndim == 4:
            images = images.permute(0, 3, 1, 2).clone(memory_format=self.memory_format)
        placed = tuple(place(m, self.dtype) for m in masks) or self.no_masks
        return Batch(images, place(y, labels), placed)

    def train_step(self, batch: Batch) -> Tensor:
        lr = self.lrs[min(self.step, len(self.lrs) - 1)]
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        value = self.backward(batch)
        self.optimizer.step()
        self.step += 1
        return value

    def backward(self, batch: Batch) -> Tensor:
        """The mean training loss; every parameter's gradient is in its ``grad``."""
        self.set_training(True)
        value = loss(self.spec.loss, self.forward(batch.x, batch.masks), batch.y)
        value.backward()
        return value

    def set_training(self, training: bool) -> None:
        """Switch the layers, which walks them all, only where it changes anything."""
        if self.model.training != training:
            self.model.train(training)

    def predict(self, batch: Batch) -> Tensor:
        self.set_training(False)
        with torch.inference_mode():
            return self.forward(batch.x, self.no_masks)

    def gradients(self, batch: Batch) -> tuple[Tensor, Arrays]:
        self.optimizer.zero_grad()
        value = self.backward(batch)
        grads = {t.name: self.to_spec(t, self.tensor(t.name).grad) for t in self.spec.model.parameters}
        return value, grads

    def sync(self, handle: Tensor) -> None:
        """Wait for the device; the CPU has nothing left to wait for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def fetch(self, handle: Tensor) -> np.ndarray:
        return handle.detach().cpu().numpy()

    def compilations(self) -> int:
        """Graphs that torch.compile has built in this process; in other modes it has none to build."""
        if not self.compiles:
            return 0
        from torch._dynamo.utils import counters  # loads the compiler, so not where this file is imported

        return int(counters["stats"]["unique_graphs"])

    def facts(self, batch: Batch) -> dict[str, Any]:
        before = [p.data_ptr() for p in self.model.parameters()]
        self.train_step(batch)
        logits = self.predict(batch)
        return {
            "device": "gpu" if logits.is_cuda else logits.device.type,
            "dtype": str(logits.dtype).removeprefix("torch."),
            "autograd": logits.requires_grad,
            "in_place": before == [p.data_ptr() for p in self.model.parameters()],
        }
