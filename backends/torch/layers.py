"""The layers whose stock form differs from the spec, as two sets that a model is built from."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from harness.spec import ModelSpec


class MaskDropout(nn.Module):
    """Dropout by a mask drawn outside: 0, or 1/(1-rate)."""

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """X (B, C), keep (B, C)."""
        return x * keep if self.training else x


class StockDropout(nn.Dropout):
    """PyTorch's own dropout; ignores the mask."""

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """X (B, C)."""
        return super().forward(x)


class Layers(NamedTuple):
    """What a model takes from here."""

    batch_norm: Callable[[int, ModelSpec], nn.Module]  # channels
    dropout: Callable[[ModelSpec], nn.Module]


EXACT = Layers(
    batch_norm=lambda channels, spec: nn.BatchNorm2d(channels, eps=spec.batch_norm_eps, momentum=spec.batch_norm_momentum),
    dropout=lambda spec: MaskDropout(),
)
STOCK = Layers(
    batch_norm=lambda channels, spec: nn.BatchNorm2d(channels),
    dropout=lambda spec: StockDropout(spec.dropout_rate),
)
