"""MNIST MLP in TensorFlow: see suites/tasks/mnist_mlp.py."""

import keras
import tensorflow as tf

from backends.tensorflow.layers import Layers
from harness.spec import ModelSpec


class Model(keras.Model):
    """dense, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.dense1 = keras.layers.Dense(size["hidden"])
        self.dense2 = keras.layers.Dense(size["classes"])

    def call(self, x: tf.Tensor, masks: tuple[tf.Tensor | None, ...], *, training: bool) -> tf.Tensor:
        x = tf.reshape(x, (x.shape[0], -1))  # (B, 784), one channel
        x = tf.nn.relu(self.dense1(x))  # (B, 128)
        return self.dense2(x)  # (B, 10)
