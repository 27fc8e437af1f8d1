"""What a session costs beside a loop written by hand: `python tests/overhead.py BACKEND [TASK...]`.

Both train the same architecture on one CPU, in turns of about 0.25 s, in several fresh processes: where two equal loops of one
process happen to put their tensors makes 3 % already. Printed is the paired ratio session/bare with its 95 % interval over the
processes, by the rules of harness/stats.py. The bare loops use each framework's own layers and optimizer, as its documentation
would write them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parent.parent))

from importlib import import_module
from typing import Any

import numpy as np

from harness import batches, catalog, data, environment, measure, stats, weights
from harness.spec import TaskSpec

PROCESSES, TURNS, TURN_S = 8, 10, 0.25
LR = 1e-12  # the weights stay where they are: thousands of steps on one batch would end in denormal numbers, which are slow


def torch_loop(spec: TaskSpec, batch: batches.HostBatch) -> Callable[[], Any]:
    """A training step in plain PyTorch."""
    import torch
    from torch import nn

    class Times(nn.Module):
        """Dropout with a mask that is given."""

        def __init__(self, mask: torch.Tensor) -> None:
            super().__init__()
            self.mask = mask

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.mask

    masks = [torch.tensor(mask) for mask in batch.masks]
    if spec.name == "mnist_cnn":
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(5408, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
        criterion: nn.Module = nn.CrossEntropyLoss()
        x, y = torch.tensor(batch.x.transpose(0, 3, 1, 2).copy()), torch.tensor(batch.y).long()
    else:
        model = nn.Sequential(nn.Linear(61, 256), nn.ReLU(), Times(masks[1]), nn.Linear(256, 1), nn.Flatten(0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
        criterion = nn.BCEWithLogitsLoss()
        x, y = torch.tensor(batch.x), torch.tensor(batch.y).float()
        model = nn.Sequential(Times(masks[0]), *model)

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def tensorflow_loop(spec: TaskSpec, batch: batches.HostBatch) -> Callable[[], Any]:
    """A training step in plain Keras under tf.function."""
    import keras
    import tensorflow as tf

    image = keras.Input(spec.data.x_shape)
    masks = [tf.constant(mask) for mask in batch.masks]
    keep = [keras.Input(mask.shape[1:]) for mask in masks]
    if spec.name == "mnist_cnn":
        out = keras.layers.Conv2D(32, 3, activation="relu")(image)
        out = keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(out))
        out = keras.layers.Dense(10)(keras.layers.Dense(64, activation="relu")(out))
        optimizer: Any = keras.optimizers.Adam(LR)
        criterion: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        out = keras.layers.Dense(256, activation="relu")(image * keep[0])
        out = keras.layers.Dense(1)(out * keep[1])
        optimizer, criterion = keras.optimizers.AdamW(LR), keras.losses.BinaryCrossentropy(from_logits=True)
    model = keras.Model([image, *keep], out)
    optimizer.build(model.trainable_variables)
    x, y = tf.constant(batch.x), tf.constant(batch.y.reshape(-1, 1))

    @tf.function
    def train(x: Any, y: Any, masks: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = criterion(y, model([x, *masks], training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return lambda: train(x, y, masks)


def jax_loop(spec: TaskSpec, batch: batches.HostBatch) -> Callable[[], Any]:
    """A training step in plain flax.nnx and optax under one jit, the module split once."""
    import jax
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            if spec.name == "mnist_cnn":
                self.conv = nnx.Conv(1, 32, (3, 3), padding="VALID", rngs=rngs)
                self.hidden, self.out = nnx.Linear(5408, 64, rngs=rngs), nnx.Linear(64, 10, rngs=rngs)
            else:
                self.hidden, self.out = nnx.Linear(61, 256, rngs=rngs), nnx.Linear(256, 1, rngs=rngs)

        def __call__(self, x: Any, masks: Any) -> Any:
            if spec.name == "mnist_cnn":
                x = nnx.max_pool(nnx.relu(self.conv(x)), (2, 2), strides=(2, 2)).reshape(len(x), -1)
                return self.out(nnx.relu(self.hidden(x)))
            return self.out(nnx.relu(self.hidden(x * masks[0])) * masks[1])

    graph, state = nnx.split(Net(nnx.Rngs(0)), nnx.Param)
    params = nnx.to_pure_dict(state)
    optimizer = optax.adam(LR) if spec.name == "mnist_cnn" else optax.adamw(LR)
    x, y = jax.numpy.asarray(batch.x), jax.numpy.asarray(batch.y)

    def loss_of(params: Any, x: Any, y: Any, masks: Any) -> Any:
        logits = nnx.merge(graph, params)(x, masks)
        if spec.name == "mnist_cnn":
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], y).mean()

    @jax.jit(donate_argnums=(0, 1))
    def train(params: Any, state: Any, x: Any, y: Any, masks: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y, masks)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    held, masks = [params, optimizer.init(params)], [jax.numpy.asarray(mask) for mask in batch.masks]

    def step() -> Any:
        *held[:], loss = train(*held, x, y, masks)
        return loss

    return step


def turns(name: str, task: str, process: int) -> dict[str, list[float]]:
    """Seconds a step of both sides, turn by turn; who goes first alternates."""
    environment.settle_allocator()
    engine = import_module(f"backends.{name}.engine")
    engine.configure(threads=1, seed=0)
    spec = catalog.task(task)
    batch = next(batches.training(spec, data.find(spec.data.name).arrays, batch=spec.train.batch, seed=0, epoch=0))
    table = spec.optimizer.table(np.full(1000, LR))
    device = {"mode": catalog.backend(name).MODES[0], "precision": "float32", "device": "cpu"}
    loop = {"torch": torch_loop, "tensorflow": tensorflow_loop, "jax": jax_loop}[name]
    first = loop(spec, batch) if process % 2 else None  # who is built first lies elsewhere in memory: that alternates too
    session = engine.open_session(spec, table=table, **device)
    session.load(weights.initial(spec, 0))
    placed = session.put(*batch)
    sides = {"session": lambda: session.train_step(placed), "bare": first or loop(spec, batch)}
    steps = {side: calibrate(session, call) for side, call in sides.items()}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(TURNS):
        for side in list(sides)[:: 1 if (turn + process) % 2 else -1]:
            times[side].append(seconds(session, sides[side], steps[side]))
    return times


def compare(name: str, task: str) -> str:
    """One line: the ratio session/bare of a training step, from fresh processes."""
    found: dict[str, dict[stats.Key, float]] = {"session": {}, "bare": {}}
    for process in range(PROCESSES):
        command = [sys.executable, __file__, name, task, "--process", str(process)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for side, times in json.loads(told.splitlines()[-1]).items():
            found[side] |= {(process, turn): time for turn, time in enumerate(times)}
    ratio = stats.paired(found["bare"], found["session"])
    if ratio is None or ratio.low is None or ratio.high is None:
        return f"{name} {task}: no interval"
    step = float(np.median(list(found["session"].values()))) * 1e3
    interval = f"{ratio.low:.3f} to {ratio.high:.3f}"
    return f"{name} {task}: session/bare {ratio.value:.3f} ({interval}), {step:.3f} ms a step"


def calibrate(session: Any, call: Callable[[], Any]) -> int:
    """Steps that last about a turn, after a warm-up."""
    seconds(session, call, 20)
    return max(1, round(TURN_S / seconds(session, call, 10)))


def seconds(session: Any, call: Callable[[], Any], steps: int) -> float:
    """Seconds a step over ``steps`` steps with one synchronisation."""
    with measure.quiet_collector():
        watch = measure.Stopwatch()
        for _ in range(steps):
            handle = call()
        session.sync(handle)
        return watch.seconds() / steps


if __name__ == "__main__":
    if "--process" in sys.argv:
        print(json.dumps(turns(sys.argv[1], sys.argv[2], int(sys.argv[-1]))))  # noqa: T201 - for the parent
    else:
        for each in sys.argv[2:] or ["mnist_cnn", "risk_mlp"]:
            print(compare(sys.argv[1], each), flush=True)  # noqa: T201 - its purpose
