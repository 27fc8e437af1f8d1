"""MNIST CNN in NumPy: see suites/tasks/mnist_cnn.py."""

import numpy as np

from backends.numpy.layers import Conv, Dense, MaxPool, ReLU
from harness.spec import ModelSpec


class Model:
    """conv, pool, dense, dense."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the layers in forward order; their sizes come with the tensors."""
        self.conv1 = Conv(stride=1, padding=0, bias=True)
        self.relu1 = ReLU()
        self.pool = MaxPool()
        self.dense1 = Dense()
        self.relu2 = ReLU()
        self.dense2 = Dense()

    def forward(self, x: np.ndarray, masks: tuple[np.ndarray | None, ...], *, training: bool) -> np.ndarray:
        x = self.relu1.forward(self.conv1.forward(x))  # (B, 26, 26, 32)
        x = self.pool.forward(x)  # (B, 13, 13, 32)
        self.pooled = x.shape
        x = x.reshape(len(x), -1)  # (B, 5408), channels last
        x = self.relu2.forward(self.dense1.forward(x))  # (B, 64)
        return self.dense2.forward(x)  # (B, 10)

    def backward(self, grad: np.ndarray) -> None:
        """From the gradient by the logits, (B, 10), to that by every parameter, in the layers' ``grads``."""
        grad = self.relu2.backward(self.dense2.backward(grad))  # (B, 64)
        grad = self.dense1.backward(grad)  # (B, 5408)
        grad = self.pool.backward(grad.reshape(self.pooled))  # (B, 26, 26, 32)
        self.conv1.backward(self.relu1.backward(grad))
