"""MNIST MLP in NumPy: see suites/tasks/mnist_mlp.py."""

import numpy as np

from backends.numpy.layers import Dense, ReLU
from harness.spec import ModelSpec


class Model:
    """dense, dense."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the layers in forward order; their sizes come with the tensors."""
        self.dense1 = Dense()
        self.relu = ReLU()
        self.dense2 = Dense()

    def forward(self, x: np.ndarray, masks: tuple[np.ndarray | None, ...], *, training: bool) -> np.ndarray:
        x = x.reshape(len(x), -1)  # (B, 784), one channel
        x = self.relu.forward(self.dense1.forward(x))  # (B, 128)
        return self.dense2.forward(x)  # (B, 10)

    def backward(self, grad: np.ndarray) -> None:
        """From the gradient by the logits, (B, 10), to that by every parameter, in the layers' ``grads``."""
        grad = self.relu.backward(self.dense2.backward(grad))  # (B, 128)
        self.dense1.backward(grad)
