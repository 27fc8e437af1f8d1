"""MNIST CNN in TensorFlow: see suites/tasks/mnist_cnn.py."""

import keras
import tensorflow as tf

from backends.tensorflow.layers import Layers
from harness.spec import ModelSpec


class Model(keras.Model):
    """conv, pool, dense, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.conv1 = keras.layers.Conv2D(size["channels"], 3, padding="valid")
        self.dense1 = keras.layers.Dense(size["hidden"])
        self.dense2 = keras.layers.Dense(size["classes"])

    def call(self, x: tf.Tensor, masks: tuple[tf.Tensor | None, ...], *, training: bool) -> tf.Tensor:
        x = tf.nn.relu(self.conv1(x))  # (B, 26, 26, 32)
        x = tf.nn.max_pool2d(x, 2, strides=2, padding="VALID")  # (B, 13, 13, 32)
        x = tf.reshape(x, (x.shape[0], -1))  # (B, 5408), channels last
        x = tf.nn.relu(self.dense1(x))  # (B, 64)
        return self.dense2(x)  # (B, 10)
