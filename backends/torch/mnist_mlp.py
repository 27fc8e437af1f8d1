"""MNIST MLP in PyTorch: see suites/tasks/mnist_mlp.py."""

import torch.nn.functional as F
from torch import Tensor, nn

from backends.torch.layers import Layers
from harness.spec import ModelSpec


class Model(nn.Module):
    """dense, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.dense1 = nn.Linear(size["flat"], size["hidden"])
        self.dense2 = nn.Linear(size["hidden"], size["classes"])

    def forward(self, x: Tensor, masks: tuple[Tensor | None, ...]) -> Tensor:
        x = x.flatten(1)  # (B, 784), one channel
        x = F.relu(self.dense1(x))  # (B, 128)
        return self.dense2(x)  # (B, 10)
