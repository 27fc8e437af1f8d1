"""Credit-risk MLP in NumPy: see suites/tasks/risk_mlp.py."""

import numpy as np

from backends.numpy.layers import Dense, MaskDropout, ReLU
from harness.spec import ModelSpec


class Model:
    """dropout, dense, dropout, dense."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the layers in forward order; their sizes come with the tensors."""
        self.dropout1 = MaskDropout()
        self.dense1 = Dense()
        self.relu = ReLU()
        self.dropout2 = MaskDropout()
        self.dense2 = Dense()

    def forward(self, x: np.ndarray, masks: tuple[np.ndarray | None, ...], *, training: bool) -> np.ndarray:
        x = self.dropout1.forward(x, masks[0], training=training)  # (B, features)
        x = self.relu.forward(self.dense1.forward(x))  # (B, 256)
        x = self.dropout2.forward(x, masks[1], training=training)  # (B, 256)
        return self.dense2.forward(x)  # (B, 1)

    def backward(self, grad: np.ndarray) -> None:
        """From the gradient by the logits, (B, 1), to that by every parameter, in the layers' ``grads``."""
        grad = self.dropout2.backward(self.dense2.backward(grad))  # (B, 256)
        self.dense1.backward(self.relu.backward(grad))
