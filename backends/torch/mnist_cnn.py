"""MNIST CNN in PyTorch: see suites/tasks/mnist_cnn.py."""

import torch.nn.functional as F
from torch import Tensor, nn

from backends.torch.layers import Layers
from harness.spec import ModelSpec


class Model(nn.Module):
    """conv, pool, dense, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.conv1 = nn.Conv2d(1, size["channels"], 3, padding=0)
        self.dense1 = nn.Linear(size["flat"], size["hidden"])
        self.dense2 = nn.Linear(size["hidden"], size["classes"])

    def forward(self, x: Tensor, masks: tuple[Tensor | None, ...]) -> Tensor:
        x = F.relu(self.conv1(x))  # (B, 32, 26, 26)
        x = F.max_pool2d(x, 2, stride=2)  # (B, 32, 13, 13)
        x = x.flatten(1)  # (B, 5408), channels first
        x = F.relu(self.dense1(x))  # (B, 64)
        return self.dense2(x)  # (B, 10)
