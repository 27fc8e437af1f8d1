"""Credit-risk MLP in JAX: see suites/tasks/risk_mlp.py."""

from flax import nnx
from jax import Array

from backends.jax.layers import Layers, New
from harness.spec import ModelSpec


class Model(nnx.Module):
    """dropout, dense, dropout, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers, new: New) -> None:
        size = spec.sizes
        self.dropout1 = layers.dropout(spec)
        self.dense1 = nnx.Linear(size["features"], size["hidden"], **new)
        self.dropout2 = layers.dropout(spec)
        self.dense2 = nnx.Linear(size["hidden"], 1, **new)

    def __call__(self, x: Array, masks: tuple[Array | None, ...], *, training: bool) -> Array:
        x = self.dropout1(x, masks[0], training=training)  # (B, features)
        x = nnx.relu(self.dense1(x))  # (B, 256)
        x = self.dropout2(x, masks[1], training=training)  # (B, 256)
        return self.dense2(x)  # (B, 1)
