"""The JAX session: a flax.nnx model, its optax optimizer, one jit for the step. Deviations: see __init__.py."""

from collections.abc import Sequence
from functools import reduce
from importlib import import_module
from typing import Any, NamedTuple

import einops
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from backends.jax import MODES, layers
from backends.jax.pipeline import pipeline  # noqa: F401 - the engine's own
from harness.errors import misfit, unknown
from harness.protocol import Batch, Precision
from harness.spec import Arrays, OptimizerSpec, ParamSpec, TaskSpec

# The spec's axes -> ours. Swap the sides to come back.
LAYOUT = {"h w i o": "h w i o", "i o": "i o", "h w c o": "(h w c) o", "c": "c"}
# The spec's last name of a tensor -> the attribute of the layer that holds it.
ATTRIBUTES = {"kernel": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias", "mean": "mean", "var": "var"}


def configure(*, threads: int, seed: int) -> None:
    """Set numerics before the first operation: no TF32 anywhere. Threads follow the CPUs the process may use."""
    jax.config.update("jax_default_matmul_precision", "highest")
    layers.SEED = seed


def describe() -> dict[str, Any]:
    return {
        "versions": {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__},
        "gpus": [d.device_kind for d in jax.devices() if d.platform == "gpu"],
        "numerics": {"tf32": jax.config.jax_default_matmul_precision != "highest"},
    }


def device_peak() -> int | None:
    """The most that JAX's allocator held on the GPU."""
    device = jax.devices()[0]
    return (device.memory_stats() or {}).get("peak_bytes_in_use") if device.platform == "gpu" else None


def loss(kind: str, logits: Array, y: Array) -> Array:
    """The mean over the batch of the loss of each example, from logits (B, K) and labels (B,)."""
    if kind == "softmax_cross_entropy":
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    return optax.sigmoid_binary_cross_entropy(logits.squeeze(1), y).mean()


def table_row(table: Array, step: Array) -> Array:
    """The spec's scalars of a step from 0, (3,)."""
    return table[jnp.minimum(step, len(table) - 1)]


def optimizer(spec: OptimizerSpec, table: Array, *, stock: bool) -> optax.GradientTransformation:
    """The spec's update rule on optax; ``stock`` leaves optax its default constants and bias corrections."""

    def lr(step: Array) -> Array:
        return table_row(table, step)[0]

    if spec.kind == "sgd":
        return optax.chain(optax.add_decayed_weights(spec.weight_decay), optax.sgd(lr, momentum=spec.momentum))
    if not stock:
        return adam(spec, table)
    if spec.kind == "adam":
        return optax.adam(lr)
    return optax.adamw(lr, weight_decay=spec.weight_decay)


def adam(spec: OptimizerSpec, table: Array) -> optax.GradientTransformation:
    """Adam and AdamW with the bias corrections of the spec's table, exact in float32 too."""

    def init(params: Any) -> optax.ScaleByAdamState:
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))  # two, since both are donated
        return optax.ScaleByAdamState(count=jnp.zeros((), jnp.int32), mu=mu, nu=nu)

    def update(grads: Any, state: optax.ScaleByAdamState, params: Any) -> tuple[Any, optax.ScaleByAdamState]:
        lr, step_size, root = table_row(table, state.count)
        mu = jax.tree.map(lambda m, g: spec.beta1 * m + (1 - spec.beta1) * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: spec.beta2 * v + (1 - spec.beta2) * g * g, state.nu, grads)
        updates = jax.tree.map(lambda m, v: -step_size * m / (jnp.sqrt(v) / root + spec.eps), mu, nu)
        if spec.weight_decay:
            updates = jax.tree.map(lambda u, p: u - lr * spec.weight_decay * p, updates, params)
        return updates, optax.ScaleByAdamState(count=state.count + 1, mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


class State(NamedTuple):
    """All that a step changes; donated to it."""

    params: Any
    stats: Any  # BatchNorm running statistics
    optimizer: Any
    step: Array | None  # for the keys of the stock dropout; None where masks are given


def open_session(spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> "Session":
    if mode not in MODES:
        raise unknown("mode of jax", mode, MODES)
    jax.config.update("jax_enable_x64", precision == "float64")
    kind = Scan if mode == "scan" else Session
    return kind(spec, mode=mode, precision=precision, device=device, table=table)


class Session:
    """See harness.protocol.Session."""

    def __init__(self, spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> None:
        """Build the model's structure; it has no weights until ``load``."""
        self.spec = spec
        self.stock = mode == "stock"
        self.dtype = jnp.float64 if precision == "float64" else jnp.float32
        self.device = jax.devices(device)[0]
        library = import_module(f"backends.jax.{spec.name}")
        compute = jnp.bfloat16 if (mode, precision) == ("bf16", "float32") else self.dtype
        chosen = layers.STOCK if self.stock else layers.EXACT
        self.no_masks = (None,) * len(spec.model.dropout)

        def build() -> nnx.Module:
            return library.Model(spec.model, chosen, {"dtype": compute, "param_dtype": self.dtype, "rngs": nnx.Rngs(0)})

        # Only the structure: drawing initial weights would compile one kernel a shape, 15 s for a ResNet-20.
        self.graph, params, stats = nnx.split(nnx.eval_shape(build), nnx.Param, nnx.BatchStat)
        self.shapes = {True: nnx.to_pure_dict(params), False: nnx.to_pure_dict(stats)}  # by whether they are trained
        self.optimizer = optimizer(spec.optimizer, jnp.asarray(table, self.dtype), stock=self.stock)
        self.jit_train = jax.jit(self.traced_train_step, donate_argnums=0)
        self.jit_predict = jax.jit(self.traced_predict)
        self.jit_gradients = jax.jit(self.traced_gradients)

    def tensor(self, name: str, tree: Any) -> Any:
        """What a tree of the model's own holds under a spec's name; None where it has no such place."""
        return reduce(lambda at, part: at and at.get(part), self.path(name), tree)

    def load(self, tensors: Arrays) -> None:
        params: dict[Any, Any] = {}
        stats: dict[Any, Any] = {}
        for t in self.spec.model.tensors:
            *path, last = self.path(t.name)
            ours = einops.rearrange(tensors[t.name], f"{t.axes} -> {LAYOUT[t.axes]}")
            own = self.tensor(t.name, self.shapes[t.trained])
            if own is None or own.shape != ours.shape:
                raise misfit(t.name, own if own is None else own.shape, ours.shape)
            at = reduce(lambda tree, part: tree.setdefault(part, {}), path, params if t.trained else stats)
            at[last] = jnp.array(np.array(ours), self.dtype)  # JAX copies later: by then the caller may have written
        step = jnp.zeros((), jnp.int32) if self.stock else None
        state = State(params, stats, self.optimizer.init(params), step)
        self.state = jax.device_put(state, self.device)  # all committed, or the second step compiles again
        self.pending = True

    def path(self, name: str) -> list[Any]:
        """The model's own path of a spec's name."""
        *path, last = name.split("/")
        return [*(int(part) if part.isdigit() else part for part in path), ATTRIBUTES[last]]

    def dump(self) -> Arrays:
        trees = {True: self.state.params, False: self.state.stats}
        return {t.name: self.to_spec(t, trees[t.trained]) for t in self.spec.model.tensors}

    def to_spec(self, t: ParamSpec, tree: Any) -> np.ndarray:
        """One tensor of a tree of parameters, buffers or gradients, as an array in the spec's layout."""
        sizes = dict(zip(t.axes.split(), t.shape, strict=True))
        ours = np.asarray(self.tensor(t.name, tree))
        return np.array(einops.rearrange(ours, f"{LAYOUT[t.axes]} -> {t.axes}", **sizes))

    def put(self, x: np.ndarray, y: np.ndarray, masks: tuple[np.ndarray, ...] = ()) -> Batch:
        labels = jnp.int32 if self.spec.outputs > 1 else self.dtype
        placed = tuple(np.array(m, self.dtype) for m in masks) or self.no_masks
        batch = Batch(np.array(x, self.dtype), np.array(y, labels), placed)  # copies: JAX reads them later
        return jax.device_put(batch, self.device, may_alias=False)  # one call: four of jnp.array took three times as long

    def train_step(self, batch: Batch) -> Array:
        self.state, value = self.jit_train(self.state, batch)
        self.pending = True
        return value

    def traced_train_step(self, state: State, batch: Batch) -> tuple[State, Array]:
        """The step as a function of the state, for jit."""
        value, stats, grads = self.traced_gradients(state, batch)
        updates, optimizer_state = self.optimizer.update(grads, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        step = None if state.step is None else state.step + 1
        return State(params, stats, optimizer_state, step), value

    def traced_gradients(self, state: State, batch: Batch) -> tuple[Array, Any, Any]:
        """The mean training loss, the new running statistics, and the loss's gradient by every parameter."""
        masks = batch.masks if state.step is None else layers.keys(state.step, self.spec.model)

        def objective(params: Any) -> tuple[Array, Any]:
            model = nnx.merge(self.graph, params, state.stats)
            logits = model(batch.x, masks, training=True).astype(self.dtype)
            value = loss(self.spec.loss, logits, batch.y)
            return value, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

        (value, stats), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        return value, stats, grads

    def predict(self, batch: Batch) -> Array:
        return self.jit_predict(self.state.params, self.state.stats, batch.x)

    def traced_predict(self, params: Any, stats: Any, x: Array) -> Array:
        """The evaluation as a function of the state, for jit."""
        model = nnx.merge(self.graph, params, stats)
        return model(x, self.no_masks, training=False).astype(self.dtype)

    def gradients(self, batch: Batch) -> tuple[Array, Arrays]:
        value, _stats, grads = self.jit_gradients(self.state, batch)
        return value, {t.name: self.to_spec(t, grads) for t in self.spec.model.parameters}

    def sync(self, handle: Array) -> None:
        """Wait for the handle and, once, for the state that a step or a load left.

        A prediction leaves none: to look through the whole state after each was 8 us of 36 for a single call of the credit MLP.
        """
        handle.block_until_ready()
        if self.pending:
            jax.block_until_ready(self.state)
            self.pending = False

    def fetch(self, handle: Array) -> np.ndarray:
        return np.asarray(handle)

    def compilations(self) -> int:
        return sum(f._cache_size() for f in (self.jit_train, self.jit_predict, self.jit_gradients))

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Device and dtype of the logits, gradients being another function; whether a step took over the parameters' memory."""
        before = jax.tree.leaves(self.state.params)
        self.train_step(batch)
        logits = self.predict(batch)
        return {
            "device": next(iter(logits.devices())).platform,
            "dtype": str(logits.dtype),
            "autograd": False,
            "in_place": all(p.is_deleted() for p in before),
        }


class Scan(Session):
    """Mode scan, see harness.protocol.Stacking: the steps of a stack are one program."""

    def __init__(self, spec: TaskSpec, **settings: Any) -> None:
        super().__init__(spec, **settings)
        self.jit_stack = jax.jit(lambda *batches: jax.tree.map(lambda *parts: jnp.stack(parts), *batches))

    def stack(self, batches: Sequence[Batch]) -> Batch:
        return self.jit_stack(*batches)

    def traced_train_step(self, state: State, batch: Batch) -> tuple[State, Array]:
        """The steps of a stack, or of one batch, as a function of the state, for jit.

        Unrolled: in a loop, XLA computes a convolution's gradient 4 to 90 times slower on a CPU (jax-ml/jax#12868). A scan of one
        stays a loop whatever is asked for, so it is none here.
        """
        step, one = super().traced_train_step, batch.y.ndim == 1
        if one:
            return step(state, batch)
        if len(batch.y) == 1:
            state, value = step(state, jax.tree.map(lambda part: part[0], batch))
            return state, value[None]
        return jax.lax.scan(step, state, batch, unroll=True)

    def compilations(self) -> int:
        return super().compilations() + self.jit_stack._cache_size()
