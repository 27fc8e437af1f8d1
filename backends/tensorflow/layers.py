"""The layers whose stock form differs from the spec, as two sets that a model is built from."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import keras
import tensorflow as tf

from harness.spec import ModelSpec


class MaskDropout(keras.layers.Layer):
    """Dropout by a mask drawn outside: 0, or 1/(1-rate)."""

    def call(self, x: tf.Tensor, keep: tf.Tensor | None, *, training: bool) -> tf.Tensor:
        """X (B, C), keep (B, C)."""
        return x * keep if training else x


class StockDropout(keras.layers.Dropout):
    """Keras's own dropout; ignores the mask."""

    def call(self, x: tf.Tensor, keep: tf.Tensor | None, *, training: bool) -> tf.Tensor:
        """X (B, C)."""
        return super().call(x, training=training)


class BatchNorm(keras.layers.Layer):
    """Normalise by the biased batch variance, keep the unbiased one: Keras keeps the biased."""

    def __init__(self, channels: int, spec: ModelSpec) -> None:
        """Parameters and running statistics, (C,) each."""
        super().__init__()
        self.eps, self.momentum = spec.batch_norm_eps, spec.batch_norm_momentum
        new = partial(self.add_weight, shape=(channels,), autocast=False)  # float32 in bf16 mode too
        self.gamma = new(initializer="ones")
        self.beta = new(initializer="zeros")
        self.moving_mean = new(initializer="zeros", trainable=False)
        self.moving_variance = new(initializer="ones", trainable=False)

    def call(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:
        """X (B, S, S, C)."""
        x = tf.cast(x, self.variable_dtype)
        if training:
            mean, var = tf.nn.moments(x, (0, 1, 2))
            n = x.shape[:-1].num_elements()
            self.moving_mean.assign((1 - self.momentum) * self.moving_mean.value + self.momentum * mean)
            self.moving_variance.assign((1 - self.momentum) * self.moving_variance.value + self.momentum * (n / (n - 1)) * var)
        else:
            mean, var = self.moving_mean.value, self.moving_variance.value
        y = tf.nn.batch_normalization(x, mean, var, self.beta.value, self.gamma.value, self.eps)
        return tf.cast(y, self.compute_dtype)


class Layers(NamedTuple):
    """What a model takes from here."""

    batch_norm: Callable[[int, ModelSpec], keras.layers.Layer]  # channels
    dropout: Callable[[ModelSpec], keras.layers.Layer]


EXACT = Layers(batch_norm=BatchNorm, dropout=lambda spec: MaskDropout())
STOCK = Layers(
    batch_norm=lambda channels, spec: keras.layers.BatchNormalization(),
    dropout=lambda spec: StockDropout(spec.dropout_rate),
)
