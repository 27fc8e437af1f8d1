"""MNIST CNN in JAX: see suites/tasks/mnist_cnn.py."""

from flax import nnx
from jax import Array

from backends.jax.layers import Layers, New
from harness.spec import ModelSpec


class Model(nnx.Module):
    """conv, pool, dense, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers, new: New) -> None:
        size = spec.sizes
        self.conv1 = nnx.Conv(1, size["channels"], (3, 3), padding=0, **new)
        self.dense1 = nnx.Linear(size["flat"], size["hidden"], **new)
        self.dense2 = nnx.Linear(size["hidden"], size["classes"], **new)

    def __call__(self, x: Array, masks: tuple[Array | None, ...], *, training: bool) -> Array:
        x = nnx.relu(self.conv1(x))  # (B, 26, 26, 32)
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))  # (B, 13, 13, 32)
        x = x.reshape(len(x), -1)  # (B, 5408), channels last
        x = nnx.relu(self.dense1(x))  # (B, 64)
        return self.dense2(x)  # (B, 10)
