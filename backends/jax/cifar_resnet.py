"""CIFAR-10 ResNet in JAX: see suites/tasks/cifar_resnet.py."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from backends.jax.layers import Layers, New
from harness.spec import ModelSpec


class Block(nnx.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, width: int, channels: int, spec: ModelSpec, layers: Layers, new: New) -> None:
        """A block that widens also halves the side."""
        self.stride = 1 if width == channels else 2
        self.new_channels = channels - width
        self.conv1 = nnx.Conv(width, channels, (3, 3), strides=self.stride, padding=1, use_bias=False, **new)
        self.norm1 = layers.batch_norm(channels, spec, new)
        self.conv2 = nnx.Conv(channels, channels, (3, 3), strides=1, padding=1, use_bias=False, **new)
        self.norm2 = layers.batch_norm(channels, spec, new)

    def __call__(self, x: Array, *, training: bool) -> Array:
        """(B, S, S, width) -> (B, S/stride, S/stride, channels)."""
        y = nnx.relu(self.norm1(self.conv1(x), training=training))
        y = self.norm2(self.conv2(y), training=training)
        return nnx.relu(y + self.shortcut(x))

    def shortcut(self, x: Array) -> Array:
        """Option A: every second pixel, new channels of zeros on both sides."""
        if self.stride == 1:
            return x
        half = self.new_channels // 2
        return jnp.pad(x[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), (half, half)))


class Model(nnx.Module):
    """conv, three stages of blocks, mean over the image, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers, new: New) -> None:
        size = spec.sizes
        self.conv = nnx.Conv(3, size["stage1"], (3, 3), strides=1, padding=1, use_bias=False, **new)
        self.norm = layers.batch_norm(size["stage1"], spec, new)
        self.stage1 = self.stage(size["stage1"], size["stage1"], spec, layers, new)
        self.stage2 = self.stage(size["stage1"], size["stage2"], spec, layers, new)
        self.stage3 = self.stage(size["stage2"], size["stage3"], spec, layers, new)
        self.dense = nnx.Linear(size["stage3"], size["classes"], **new)

    def stage(self, width: int, channels: int, spec: ModelSpec, layers: Layers, new: New) -> nnx.List:
        """Blocks of equal width; the first one widens."""
        widths = [width] + [channels] * (spec.sizes["blocks"] - 1)
        return nnx.List([Block(w, channels, spec, layers, new) for w in widths])

    def __call__(self, x: Array, masks: tuple[Array | None, ...], *, training: bool) -> Array:
        x = nnx.relu(self.norm(self.conv(x), training=training))  # (B, 32, 32, 16)
        for block in [*self.stage1, *self.stage2, *self.stage3]:
            x = block(x, training=training)  # (B, 8, 8, 64) after the last
        x = x.mean((1, 2))  # (B, 64)
        return self.dense(x)  # (B, 10)
