"""Credit-risk MLP in TensorFlow: see suites/tasks/risk_mlp.py."""

import keras
import tensorflow as tf

from backends.tensorflow.layers import Layers
from harness.spec import ModelSpec


class Model(keras.Model):
    """dropout, dense, dropout, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.dropout1 = layers.dropout(spec)
        self.dense1 = keras.layers.Dense(size["hidden"])
        self.dropout2 = layers.dropout(spec)
        self.dense2 = keras.layers.Dense(1)

    def call(self, x: tf.Tensor, masks: tuple[tf.Tensor | None, ...], *, training: bool) -> tf.Tensor:
        x = self.dropout1(x, masks[0], training=training)  # (B, features)
        x = tf.nn.relu(self.dense1(x))  # (B, 256)
        x = self.dropout2(x, masks[1], training=training)  # (B, 256)
        return self.dense2(x)  # (B, 1)
