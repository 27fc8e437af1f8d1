"""CIFAR-10 ResNet in TensorFlow: see suites/tasks/cifar_resnet.py."""

import keras
import tensorflow as tf

from backends.tensorflow.layers import Layers
from harness.spec import ModelSpec


class Block(keras.layers.Layer):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, width: int, channels: int, spec: ModelSpec, layers: Layers) -> None:
        """A block that widens also halves the side."""
        super().__init__()
        self.stride = 1 if width == channels else 2
        self.new_channels = channels - width
        padding = "valid" if self.stride == 2 else "same"  # at stride 2 "same" would pad 0 before and 1 after: see ``pad``
        self.conv1 = keras.layers.Conv2D(channels, 3, strides=self.stride, padding=padding, use_bias=False)
        self.norm1 = layers.batch_norm(channels, spec)
        self.conv2 = keras.layers.Conv2D(channels, 3, strides=1, padding="same", use_bias=False)
        self.norm2 = layers.batch_norm(channels, spec)

    def call(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:
        """(B, S, S, width) -> (B, S/stride, S/stride, channels)."""
        y = tf.nn.relu(self.norm1(self.conv1(self.pad(x)), training=training))
        y = self.norm2(self.conv2(y), training=training)
        return tf.nn.relu(y + self.shortcut(x))

    def pad(self, x: tf.Tensor) -> tf.Tensor:
        """What the first convolution does not pad by itself."""
        return x if self.stride == 1 else tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def shortcut(self, x: tf.Tensor) -> tf.Tensor:
        """Option A: every second pixel, new channels of zeros on both sides."""
        if self.stride == 1:
            return x
        half = self.new_channels // 2
        return tf.pad(x[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), (half, half)))


class Model(keras.Model):
    """conv, three stages of blocks, mean over the image, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.conv = keras.layers.Conv2D(size["stage1"], 3, strides=1, padding="same", use_bias=False)
        self.norm = layers.batch_norm(size["stage1"], spec)
        self.stage1 = self.stage(size["stage1"], size["stage1"], spec, layers)
        self.stage2 = self.stage(size["stage1"], size["stage2"], spec, layers)
        self.stage3 = self.stage(size["stage2"], size["stage3"], spec, layers)
        self.dense = keras.layers.Dense(size["classes"])

    def stage(self, width: int, channels: int, spec: ModelSpec, layers: Layers) -> list[Block]:
        """Blocks of equal width; the first one widens."""
        widths = [width] + [channels] * (spec.sizes["blocks"] - 1)
        return [Block(w, channels, spec, layers) for w in widths]

    def call(self, x: tf.Tensor, masks: tuple[tf.Tensor | None, ...], *, training: bool) -> tf.Tensor:
        x = tf.nn.relu(self.norm(self.conv(x), training=training))  # (B, 32, 32, 16)
        for block in [*self.stage1, *self.stage2, *self.stage3]:
            x = block(x, training=training)  # (B, 8, 8, 64) after the last
        x = tf.reduce_mean(x, (1, 2))  # (B, 64)
        return self.dense(x)  # (B, 10)
