"""Credit-risk MLP in PyTorch: see suites/tasks/risk_mlp.py."""

import torch.nn.functional as F
from torch import Tensor, nn

from backends.torch.layers import Layers
from harness.spec import ModelSpec


class Model(nn.Module):
    """dropout, dense, dropout, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.dropout1 = layers.dropout(spec)
        self.dense1 = nn.Linear(size["features"], size["hidden"])
        self.dropout2 = layers.dropout(spec)
        self.dense2 = nn.Linear(size["hidden"], 1)

    def forward(self, x: Tensor, masks: tuple[Tensor | None, ...]) -> Tensor:
        x = self.dropout1(x, masks[0])  # (B, features)
        x = F.relu(self.dense1(x))  # (B, 256)
        x = self.dropout2(x, masks[1])  # (B, 256)
        return self.dense2(x)  # (B, 1)
