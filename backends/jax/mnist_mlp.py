"""MNIST MLP in JAX: see suites/tasks/mnist_mlp.py."""

from flax import nnx
from jax import Array

from backends.jax.layers import Layers, New
from harness.spec import ModelSpec


class Model(nnx.Module):
    """dense, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers, new: New) -> None:
        size = spec.sizes
        self.dense1 = nnx.Linear(size["flat"], size["hidden"], **new)
        self.dense2 = nnx.Linear(size["hidden"], size["classes"], **new)

    def __call__(self, x: Array, masks: tuple[Array | None, ...], *, training: bool) -> Array:
        x = x.reshape(len(x), -1)  # (B, 784), one channel
        x = nnx.relu(self.dense1(x))  # (B, 128)
        return self.dense2(x)  # (B, 10)
