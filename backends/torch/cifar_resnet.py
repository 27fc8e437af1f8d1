"""CIFAR-10 ResNet in PyTorch: see suites/tasks/cifar_resnet.py."""

import torch.nn.functional as F
from torch import Tensor, nn

from backends.torch.layers import Layers
from harness.spec import ModelSpec


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, width: int, channels: int, spec: ModelSpec, layers: Layers) -> None:
        """A block that widens also halves the side."""
        super().__init__()
        self.stride = 1 if width == channels else 2
        self.new_channels = channels - width
        self.conv1 = nn.Conv2d(width, channels, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = layers.batch_norm(channels, spec)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=1, padding=1, bias=False)
        self.norm2 = layers.batch_norm(channels, spec)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, S, S) -> (B, channels, S/stride, S/stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """Option A: every second pixel, new channels of zeros on both sides."""
        if self.stride == 1:
            return x
        half = self.new_channels // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))


class Model(nn.Module):
    """conv, three stages of blocks, mean over the image, dense."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        super().__init__()
        size = spec.sizes
        self.conv = nn.Conv2d(3, size["stage1"], 3, stride=1, padding=1, bias=False)
        self.norm = layers.batch_norm(size["stage1"], spec)
        self.stage1 = self.stage(size["stage1"], size["stage1"], spec, layers)
        self.stage2 = self.stage(size["stage1"], size["stage2"], spec, layers)
        self.stage3 = self.stage(size["stage2"], size["stage3"], spec, layers)
        self.dense = nn.Linear(size["stage3"], size["classes"])

    def stage(self, width: int, channels: int, spec: ModelSpec, layers: Layers) -> nn.Sequential:
        """Blocks of equal width; the first one widens."""
        widths = [width] + [channels] * (spec.sizes["blocks"] - 1)
        return nn.Sequential(*(Block(w, channels, spec, layers) for w in widths))

    def forward(self, x: Tensor, masks: tuple[Tensor | None, ...]) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))  # (B, 16, 32, 32)
        x = self.stage1(x)  # (B, 16, 32, 32)
        x = self.stage2(x)  # (B, 32, 16, 16)
        x = self.stage3(x)  # (B, 64, 8, 8)
        x = x.mean((2, 3))  # (B, 64)
        return self.dense(x)  # (B, 10)
