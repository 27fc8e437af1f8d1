"""Training steps as a good user of each framework writes them by hand, for tests/overhead.py: nothing of backends/ is used.

Each loop takes a task's spec for its name, its input shape and its depth, and one host batch; it gives back a function that takes
one optimizer step and returns the loss, not synchronised. Layers and optimizers are the framework's own, with their own
constants, as its documentation would write them. Dropout masks are given, as they are to the session beside it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from harness import weights
from harness.batches import HostBatch
from harness.spec import TaskSpec

LR = 1e-12  # the weights stay where they are: thousands of steps on one batch would end in denormal numbers, which are slow
Step = Callable[[], Any]


def begin(model: Any, spec: TaskSpec) -> None:
    """Give the MNIST CNN in PyTorch the session's weights: from its own draw the same loop takes 2 % less."""
    import torch

    kernel, bias, dense, *rest = map(torch.tensor, weights.initial(spec, 0).values())
    drawn = [kernel.permute(3, 2, 0, 1), bias, dense.permute(3, 2, 0, 1).flatten(1), *(value.t() for value in rest)]
    for own, value in zip(model.parameters(), drawn, strict=True):
        own.data.copy_(value)


def begin_keras(model: Any, spec: TaskSpec) -> None:
    """The same in Keras, where it takes 2.5 % less; models of other tasks keep what they drew."""
    if spec.name == "mnist_cnn":
        drawn = zip(weights.initial(spec, 0).values(), model.get_weights(), strict=True)
        model.set_weights([new.reshape(old.shape) for new, old in drawn])


def torch_loop(spec: TaskSpec, batch: HostBatch) -> Step:
    """A training step in plain PyTorch."""
    import torch
    import torch.nn.functional as F  # noqa: N812 - as all its users do
    from torch import nn

    class Times(nn.Module):
        """Dropout with a mask that is given."""

        def __init__(self, mask: torch.Tensor) -> None:
            super().__init__()
            self.mask = mask

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.mask

    class Block(nn.Module):
        def __init__(self, width: int, channels: int) -> None:
            super().__init__()
            self.stride, self.half = (1, 0) if width == channels else (2, (channels - width) // 2)
            self.conv1 = nn.Conv2d(width, channels, 3, self.stride, padding=1, bias=False)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
            if self.half:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.half, self.half))
            return F.relu(x + y)

    masks = [torch.tensor(mask) for mask in batch.masks]
    if spec.name == "mnist_cnn":
        model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        model.extend([nn.Linear(5408, 64), nn.ReLU(), nn.Linear(64, 10)])
        begin(model, spec)
    elif spec.name == "mnist_mlp":
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    elif spec.name == "risk_mlp":
        model = nn.Sequential(Times(masks[0]), nn.Linear(spec.data.x_shape[0], 256), nn.ReLU(), Times(masks[1]))
        model.extend([nn.Linear(256, 1), nn.Flatten(0)])
    else:
        widths = widths_of(spec)
        model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        model.extend([Block(*pair) for pair in widths])
        model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)])
    parameters = model.parameters()
    optimizer: torch.optim.Optimizer = {
        "adam": lambda: torch.optim.Adam(parameters, lr=LR, fused=True),
        "adamw": lambda: torch.optim.AdamW(parameters, lr=LR, fused=True),
        "sgd": lambda: torch.optim.SGD(parameters, lr=LR, momentum=0.9, weight_decay=1e-4, fused=True),
    }[spec.optimizer.kind]()
    binary = spec.outputs == 1
    criterion: nn.Module = nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss()
    x = torch.tensor(batch.x.transpose(0, 3, 1, 2).copy() if batch.x.ndim == 4 else batch.x)
    y = torch.tensor(batch.y).float() if binary else torch.tensor(batch.y).long()

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def tensorflow_fused_loop(spec: TaskSpec, batch: HostBatch) -> Step:
    """The same with TensorFlow's own losses and its fused updates, a kernel a parameter: Keras's have operations of their own."""
    return tensorflow_loop(spec, batch, fused=True)


def own_loss(y: Any, logits: Any) -> Any:
    """The mean loss of TensorFlow itself: of labels (B, 1) that are probabilities, or of classes (B,)."""
    import tensorflow as tf

    if y.dtype.is_floating:
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))


def fused_momentum(variables: list[Any]) -> Callable[[list[Any]], None]:
    """SGD with momentum and decay, by a fused kernel a parameter."""
    import tensorflow as tf

    velocities = [tf.Variable(tf.zeros_like(v.value)) for v in variables]

    def apply(grads: list[Any]) -> None:
        for v, g, velocity in zip(variables, grads, velocities, strict=True):
            decayed = g + 1e-4 * v.value
            tf.raw_ops.ResourceApplyMomentum(var=v.value.handle, accum=velocity.handle, lr=LR, grad=decayed, momentum=0.9)

    return apply


def fused_adam(variables: list[Any], decay: float) -> Callable[[list[Any]], None]:
    """Adam or AdamW at Keras's defaults, by a fused kernel a parameter, which reads the powers of both betas once a step."""
    import tensorflow as tf

    first, second = ([tf.Variable(tf.zeros_like(v.value)) for v in variables] for _ in range(2))
    powers = [tf.Variable(tf.constant(beta)) for beta in (0.9, 0.999)]

    def apply(grads: list[Any]) -> None:
        one, two = (power.read_value() for power in powers)
        rates = {"lr": LR, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7, "beta1_power": one, "beta2_power": two}
        for v, g, m, square in zip(variables, grads, first, second, strict=True):
            if decay:
                v.value.assign_sub(LR * decay * v.value)
            tf.raw_ops.ResourceApplyAdam(var=v.value.handle, m=m.handle, v=square.handle, grad=g, **rates)
        powers[0].assign(one * 0.9)
        powers[1].assign(two * 0.999)

    return apply


def fused_update(kind: str, variables: list[Any]) -> Callable[[list[Any]], None]:
    """The updates of an optimizer by fused kernels."""
    return fused_momentum(variables) if kind == "sgd" else fused_adam(variables, decay=0.004 if kind == "adamw" else 0.0)


def tensorflow_loop(spec: TaskSpec, batch: HostBatch, *, fused: bool = False) -> Step:
    """A training step in plain Keras under tf.function."""
    import keras
    import tensorflow as tf
    from keras import layers

    def norm(x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    def block(x: Any, width: int, channels: int) -> Any:
        half = (channels - width) // 2
        y = layers.ZeroPadding2D(1)(x) if half else x
        first = layers.Conv2D(channels, 3, strides=2 if half else 1, padding="valid" if half else "same", use_bias=False)
        y = keras.ops.relu(norm(first(y)))
        y = norm(layers.Conv2D(channels, 3, padding="same", use_bias=False)(y))
        if half:
            x = keras.ops.pad(x[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), (half, half)))
        return keras.ops.relu(x + y)

    image = keras.Input(spec.data.x_shape)
    masks = [tf.constant(mask) for mask in batch.masks]
    keep = [keras.Input(mask.shape[1:]) for mask in masks]
    if spec.name == "mnist_cnn":
        out = layers.Flatten()(layers.MaxPooling2D(2)(layers.Conv2D(32, 3, activation="relu")(image)))
        out = layers.Dense(10)(layers.Dense(64, activation="relu")(out))
    elif spec.name == "mnist_mlp":
        out = layers.Dense(10)(layers.Dense(128, activation="relu")(layers.Flatten()(image)))
    elif spec.name == "risk_mlp":
        out = layers.Dense(1)(layers.Dense(256, activation="relu")(image * keep[0]) * keep[1])
    else:
        out = keras.ops.relu(norm(layers.Conv2D(16, 3, padding="same", use_bias=False)(image)))
        for pair in widths_of(spec):
            out = block(out, *pair)
        out = layers.Dense(10)(layers.GlobalAveragePooling2D()(out))
    model = keras.Model([image, *keep], out)
    begin_keras(model, spec)
    optimizer: Any = {
        "adam": lambda: keras.optimizers.Adam(LR),
        "adamw": lambda: keras.optimizers.AdamW(LR),
        "sgd": lambda: keras.optimizers.SGD(LR, momentum=0.9, weight_decay=1e-4),
    }[spec.optimizer.kind]()
    losses = keras.losses
    binary = spec.outputs == 1
    criterion: Any = own_loss
    if not fused:
        criterion = (losses.BinaryCrossentropy if binary else losses.SparseCategoricalCrossentropy)(from_logits=True)
    optimizer.build(model.trainable_variables)
    update = fused_update(spec.optimizer.kind, model.trainable_variables) if fused else optimizer.apply
    x, y = tf.constant(batch.x), tf.constant(batch.y.reshape(-1, 1).astype("float32") if binary else batch.y)

    @tf.function
    def train(x: Any, y: Any, masks: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = criterion(y, model([x, *masks], training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        with tf.control_dependencies(grads):  # or a parameter that is still being read is copied first
            update(grads)
        return loss

    return lambda: train(x, y, masks)


def jax_net(spec: TaskSpec) -> Any:
    """The model of a task in plain flax.nnx, called with inputs and dropout masks."""
    import jax.numpy as jnp
    from flax import nnx

    rngs = nnx.Rngs(0)

    # the variance from two passes, as the other two frameworks take it; flax's default, E[x^2] - E[x]^2, is 2 % faster
    norm = partial(nnx.BatchNorm, momentum=0.9, use_fast_variance=False, rngs=rngs)

    class Block(nnx.Module):
        def __init__(self, width: int, channels: int) -> None:
            self.half = (channels - width) // 2
            stride = 2 if self.half else 1
            self.conv1 = nnx.Conv(width, channels, (3, 3), stride, padding=1, use_bias=False, rngs=rngs)
            self.conv2 = nnx.Conv(channels, channels, (3, 3), padding=1, use_bias=False, rngs=rngs)
            self.norm1, self.norm2 = (norm(channels) for _ in range(2))

        def __call__(self, x: Any) -> Any:
            y = self.norm2(self.conv2(nnx.relu(self.norm1(self.conv1(x)))))
            if self.half:
                x = jnp.pad(x[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), (self.half, self.half)))
            return nnx.relu(x + y)

    class ResNet(nnx.Module):
        def __init__(self) -> None:
            self.conv = nnx.Conv(3, 16, (3, 3), padding=1, use_bias=False, rngs=rngs)
            self.norm = norm(16)
            self.blocks = nnx.Sequential(*[Block(*pair) for pair in widths_of(spec)])
            self.out = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x: Any, _masks: Any) -> Any:
            x = self.blocks(nnx.relu(self.norm(self.conv(x))))
            return self.out(x.mean((1, 2)))

    class Perceptron(nnx.Module):
        def __init__(self, wide: int, hidden: int, out: int) -> None:
            self.conv = nnx.Conv(1, 32, (3, 3), padding="VALID", rngs=rngs) if spec.name == "mnist_cnn" else None
            self.hidden, self.out = nnx.Linear(wide, hidden, rngs=rngs), nnx.Linear(hidden, out, rngs=rngs)

        def __call__(self, x: Any, masks: Any) -> Any:
            if self.conv:
                x = nnx.max_pool(nnx.relu(self.conv(x)), (2, 2), strides=(2, 2))
            x = x.reshape(len(x), -1)
            before, after = masks or (1, 1)
            return self.out(nnx.relu(self.hidden(x * before)) * after)

    if spec.name == "cifar_resnet":
        return ResNet()
    return Perceptron(*{"mnist_cnn": (5408, 64, 10), "mnist_mlp": (784, 128, 10), "risk_mlp": (61, 256, 1)}[spec.name])


def jax_loop(spec: TaskSpec, batch: HostBatch) -> Step:
    """A training step in plain flax.nnx and optax under one jit, the module split once, into dicts: States cost 30 us a call."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    graph, *states = nnx.split(jax_net(spec), nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, states)
    if spec.name == "mnist_cnn":  # the session's weights: what the gradient of XLA's max-pooling takes hangs on them, by 2 %
        names, drawn = {"conv": "conv1", "hidden": "dense1", "out": "dense2"}, weights.initial(spec, 0)
        for layer, name in names.items():
            held = params[layer].items()
            params[layer] = {part: jnp.asarray(drawn[f"{name}/{part}"].reshape(old.shape)) for part, old in held}
    optimizer = {
        "adam": lambda: optax.adam(LR),
        "adamw": lambda: optax.adamw(LR),
        "sgd": lambda: optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(LR, momentum=0.9)),
    }[spec.optimizer.kind]()
    x, y = jnp.asarray(batch.x), jnp.asarray(batch.y)

    def loss_of(params: Any, rest: Any, x: Any, y: Any, masks: Any) -> Any:
        net = nnx.merge(graph, params, rest, copy=True)
        logits = net(x, masks)
        if spec.outputs == 1:
            loss = optax.sigmoid_binary_cross_entropy(logits[:, 0], y).mean()
        else:
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss, nnx.to_pure_dict(nnx.split(net, nnx.Param, ...)[2])

    @jax.jit(donate_argnums=(0, 1, 2))
    def train(params: Any, rest: Any, state: Any, x: Any, y: Any, masks: Any) -> Any:
        (loss, rest), grads = jax.value_and_grad(loss_of, has_aux=True)(params, rest, x, y, masks)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), rest, state, loss

    held, masks = [params, rest, optimizer.init(params)], [jnp.asarray(mask) for mask in batch.masks]

    def step() -> Any:
        *held[:], loss = train(*held, x, y, masks)
        return loss

    return step


def widths_of(spec: TaskSpec) -> list[tuple[int, int]]:
    """The channels into and out of each block of a ResNet."""
    channels = [width for width in (16, 32, 64) for _ in range(spec.model.sizes["blocks"])]
    return list(zip([16, *channels[:-1]], channels, strict=True))
