"""The TensorFlow session: a Keras model, one tf.function for the step, in one of MODES. Deviations: see __init__.py."""

from functools import partial, reduce
from importlib import import_module
from typing import Any

import einops
import keras
import numpy as np
import tensorflow as tf

from backends.tensorflow import MODES, layers
from backends.tensorflow.pipeline import pipeline  # noqa: F401 - the engine's own
from harness.errors import misfit, unknown
from harness.protocol import Batch, Precision
from harness.spec import Arrays, OptimizerSpec, ParamSpec, TaskSpec

# The spec's axes -> ours. Swap the sides to come back.
LAYOUT = {"h w i o": "h w i o", "i o": "i o", "h w c o": "(h w c) o", "c": "c"}
# The spec's last name of a tensor -> the attribute of the layer that holds it.
ATTRIBUTES = {
    "kernel": "kernel",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "mean": "moving_mean",
    "var": "moving_variance",
}


def configure(*, threads: int, seed: int) -> None:
    """Set threads and numerics before the first operation: no TF32 anywhere, memory taken as needed."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    keras.config.set_image_data_format("channels_last")
    tf.random.set_seed(seed)


def describe() -> dict[str, Any]:
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "gpus": [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in gpus],
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "numerics": {"tf32": tf.config.experimental.tensor_float_32_execution_enabled()},
    }


def device_peak() -> int | None:
    """The most that TensorFlow's allocator held on the GPU."""
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] if tf.config.list_physical_devices("GPU") else None


def loss(kind: str, logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The mean over the batch of the loss of each example, from logits (B, K) and labels (B,)."""
    if kind == "softmax_cross_entropy":
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=tf.squeeze(logits, 1)))


class TableSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The spec's lr of each step, for Keras's own optimizers."""

    def __init__(self, table: tf.Tensor) -> None:
        """Table (steps, 3): the first column is the lr."""
        self.table = table

    def __call__(self, step: Any) -> tf.Tensor:
        """The lr of a step from 0."""
        return table_row(self.table, step)[0]


def table_row(table: tf.Tensor, step: Any) -> tf.Tensor:
    """The spec's scalars of a step from 0, (3,). A gather: XLA compiles a slice anew for every value of its index."""
    return tf.gather(table, tf.minimum(tf.cast(step, tf.int32), len(table) - 1))


def optimizer(spec: OptimizerSpec, table: tf.Tensor, variables: list[keras.Variable], *, stock: bool) -> Any:
    """The spec's update rule on TensorFlow's fused kernels; ``stock`` is Keras's own with its default constants."""
    if not stock:
        return (Momentum if spec.kind == "sgd" else Adam)(spec, table, variables)
    lr = TableSchedule(table)
    if spec.kind == "sgd":
        rule = keras.optimizers.SGD(lr, momentum=spec.momentum, weight_decay=spec.weight_decay)
    elif spec.kind == "adam":
        rule = keras.optimizers.Adam(lr)
    else:
        rule = keras.optimizers.AdamW(lr, weight_decay=spec.weight_decay)
    rule.build(variables)
    return rule


class Momentum:
    """SGD with a velocity that holds no lr; Keras's velocity does."""

    def __init__(self, spec: OptimizerSpec, table: tf.Tensor, variables: list[keras.Variable]) -> None:
        self.spec, self.table = spec, table
        self.iterations = tf.Variable(0, dtype=tf.int32)
        self.velocities = [tf.Variable(tf.zeros_like(p.value)) for p in variables]
        self.variables = [self.iterations, *self.velocities]

    def apply(self, grads: list[tf.Tensor], variables: list[keras.Variable]) -> None:
        lr, _step_size, _root = tf.unstack(table_row(self.table, self.iterations))
        momentum = tf.constant(self.spec.momentum, lr.dtype)
        for g, p, velocity in zip(grads, variables, self.velocities, strict=True):
            tf.raw_ops.ResourceApplyMomentum(
                var=p.value.handle,
                accum=velocity.handle,
                lr=lr,
                grad=g + self.spec.weight_decay * p.value,
                momentum=momentum,
            )
        self.iterations.assign_add(1)


class Adam:
    """Adam and AdamW with the bias corrections of the spec's table.

    The kernel computes lr*sqrt(1-power2)/(1-power1) * m/(sqrt(v)+epsilon): with powers of zero, and lr and epsilon scaled by
    sqrt(1-beta2**t), it is the spec's formula.
    """

    def __init__(self, spec: OptimizerSpec, table: tf.Tensor, variables: list[keras.Variable]) -> None:
        self.spec, self.table = spec, table
        self.iterations = tf.Variable(0, dtype=tf.int32)
        self.means = [tf.Variable(tf.zeros_like(p.value)) for p in variables]
        self.squares = [tf.Variable(tf.zeros_like(p.value)) for p in variables]
        self.variables = [self.iterations, *self.means, *self.squares]

    def apply(self, grads: list[tf.Tensor], variables: list[keras.Variable]) -> None:
        lr, step_size, root = tf.unstack(table_row(self.table, self.iterations))
        decay, zero = lr * self.spec.weight_decay, tf.zeros((), lr.dtype)
        update = partial(
            tf.raw_ops.ResourceApplyAdam,
            beta1_power=zero,
            beta2_power=zero,
            lr=step_size * root,
            beta1=tf.constant(self.spec.beta1, lr.dtype),
            beta2=tf.constant(self.spec.beta2, lr.dtype),
            epsilon=self.spec.eps * root,
        )
        for g, p, mean, square in zip(grads, variables, self.means, self.squares, strict=True):
            if self.spec.weight_decay:
                p.value.assign_sub(decay * p.value)
            update(var=p.value.handle, m=mean.handle, v=square.handle, grad=g)
        self.iterations.assign_add(1)


def open_session(spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> "Session":
    if mode not in MODES:
        raise unknown("mode of tensorflow", mode, MODES)
    keras.config.set_dtype_policy("mixed_bfloat16" if (mode, precision) == ("bf16", "float32") else precision)
    return Session(spec, mode=mode, precision=precision, device=device, table=table)


class Session:
    """See harness.protocol.Session."""

    def __init__(self, spec: TaskSpec, *, mode: str, precision: Precision, device: str, table: np.ndarray) -> None:
        """Build the model; its weights are whatever Keras draws until ``load``."""
        self.spec = spec
        self.stock = mode == "stock"
        self.dtype = tf.as_dtype(precision)
        self.device = f"/{device.upper()}:0"
        library = import_module(f"backends.tensorflow.{spec.name}")
        with tf.device(self.device):
            self.table = tf.constant(table, self.dtype)
            self.model = library.Model(spec.model, layers.STOCK if self.stock else layers.EXACT)
            self.no_masks = (None,) * len(spec.model.dropout)
            self.model(tf.zeros((1, *spec.data.x_shape), self.dtype), self.no_masks, training=False)
        # No step branches on a tensor, so AutoGraph has nothing to convert: without it ResNet-20 is traced in 3.4 s, not 4.1.
        graph = (lambda f: f) if mode == "eager" else partial(tf.function, jit_compile=mode == "xla", autograph=False)
        self.graph_train = graph(self.traced_train_step)
        self.graph_predict = graph(self.traced_predict)
        self.graph_gradients = graph(self.traced_gradients)
        self.eager = mode == "eager"
        self.variables = [self.tensor(t.name) for t in spec.model.parameters]
        with tf.device(self.device):
            self.optimizer = optimizer(spec.optimizer, self.table, self.variables, stock=self.stock)

    def tensor(self, name: str) -> keras.Variable:
        """The model's own tensor of a spec's name."""
        *path, last = name.split("/")
        layer = reduce(lambda at, part: at[int(part)] if part.isdigit() else getattr(at, part), path, self.model)
        return getattr(layer, ATTRIBUTES[last])

    def load(self, tensors: Arrays) -> None:
        for t in self.spec.model.tensors:
            ours = einops.rearrange(tensors[t.name], f"{t.axes} -> {LAYOUT[t.axes]}")
            own = self.tensor(t.name)
            if own is None or own.shape != ours.shape:
                raise misfit(t.name, own if own is None else tuple(own.shape), ours.shape)
            own.assign(ours)
        for slot in self.optimizer.variables:
            slot.assign(np.zeros(slot.shape))

    def dump(self) -> Arrays:
        return {t.name: self.to_spec(t, self.tensor(t.name).value) for t in self.spec.model.tensors}

    def to_spec(self, t: ParamSpec, value: Any) -> np.ndarray:
        """One tensor, or its gradient, as an array in the spec's layout."""
        sizes = dict(zip(t.axes.split(), t.shape, strict=True))
        return np.array(einops.rearrange(value.numpy(), f"{LAYOUT[t.axes]} -> {t.axes}", **sizes))

    def put(self, x: np.ndarray, y: np.ndarray, masks: tuple[np.ndarray, ...] = ()) -> Batch:
        labels = tf.int32 if self.spec.outputs > 1 else self.dtype
        with tf.device(self.device):
            placed = tuple(tf.constant(m, self.dtype) for m in masks) or self.no_masks
            return Batch(tf.constant(x, self.dtype), tf.constant(y, labels), placed)

    def train_step(self, batch: Batch) -> tf.Tensor:
        return self.graph_train(batch)

    def traced_train_step(self, batch: Batch) -> tf.Tensor:
        """The step, for tf.function."""
        value, grads = self.traced_gradients(batch)
        with tf.control_dependencies(grads):  # while a parameter is still being read, a write to it would copy it
            self.optimizer.apply(grads, self.variables)
        return value

    def traced_gradients(self, batch: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The mean training loss and its gradient by every parameter, for tf.function."""
        with tf.GradientTape() as tape:
            logits = tf.cast(self.model(batch.x, batch.masks, training=True), self.dtype)
            value = loss(self.spec.loss, logits, batch.y)
        return value, tape.gradient(value, [p.value for p in self.variables])

    def predict(self, batch: Batch) -> tf.Tensor:
        return self.graph_predict(batch.x)

    def traced_predict(self, x: tf.Tensor) -> tf.Tensor:
        """The evaluation, for tf.function."""
        return tf.cast(self.model(x, self.no_masks, training=False), self.dtype)

    def gradients(self, batch: Batch) -> tuple[tf.Tensor, Arrays]:
        value, grads = self.graph_gradients(batch)
        pairs = zip(self.spec.model.parameters, grads, strict=True)
        return value, {t.name: self.to_spec(t, g) for t, g in pairs}

    def sync(self, handle: tf.Tensor) -> None:
        """Wait for the device; the CPU has nothing left to wait for."""
        if "GPU" in self.device:
            tf.test.experimental.sync_devices()

    def fetch(self, handle: tf.Tensor) -> np.ndarray:
        return handle.numpy()

    def compilations(self) -> int:
        """Graphs that tf.function has traced for this session. What XLA compiles anew of one graph, no Python can count."""
        functions = () if self.eager else (self.graph_train, self.graph_predict, self.graph_gradients)
        return sum(f.experimental_get_tracing_count() for f in functions)

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Device and dtype of the logits, which no tape records; whether a step left the parameters where they were."""
        where = lambda: [np.asarray(memoryview(v.value.read_value())).ctypes.data for v in self.variables]  # noqa: E731
        self.train_step(batch)  # the first one after ``load`` makes room
        before = where() if "CPU" in self.device else None  # what is on a GPU has no address here
        self.train_step(batch)
        logits = self.predict(batch)
        return {
            "device": tf.DeviceSpec.from_string(logits.device).device_type.lower(),
            "dtype": logits.dtype.name,
            "autograd": False,
            "in_place": None if before is None else where() == before,
        }
