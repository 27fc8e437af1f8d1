"""CIFAR-10 ResNet in NumPy: see suites/tasks/cifar_resnet.py."""

import numpy as np

from backends.numpy.layers import BatchNorm, Conv, Dense, ReLU
from harness.spec import ModelSpec


class Block:
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, width: int, channels: int, spec: ModelSpec) -> None:
        """A block that widens also halves the side."""
        self.stride = 1 if width == channels else 2
        self.new_channels = channels - width
        self.conv1 = Conv(stride=self.stride, padding=1, bias=False)
        self.norm1 = BatchNorm(spec)
        self.relu1 = ReLU()
        self.conv2 = Conv(stride=1, padding=1, bias=False)
        self.norm2 = BatchNorm(spec)
        self.relu2 = ReLU()

    def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
        """(B, S, S, width) -> (B, S/stride, S/stride, channels)."""
        y = self.relu1.forward(self.norm1.forward(self.conv1.forward(x), training=training))
        y = self.norm2.forward(self.conv2.forward(y), training=training)
        return self.relu2.forward(y + self.shortcut(x))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """(B, S/stride, S/stride, channels) -> (B, S, S, width)."""
        dy = self.relu2.backward(dy)
        dx = self.relu1.backward(self.conv2.backward(self.norm2.backward(dy)))
        dx = self.conv1.backward(self.norm1.backward(dx))
        half = self.new_channels // 2  # the shortcut's gradient: what fell on the channels of x
        dx[:, :: self.stride, :: self.stride] += dy[..., half : dy.shape[-1] - half]
        return dx

    def shortcut(self, x: np.ndarray) -> np.ndarray:
        """Option A: every second pixel, new channels of zeros on both sides."""
        if self.stride == 1:
            return x
        half = self.new_channels // 2
        return np.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (half, half)))


class Model:
    """conv, three stages of blocks, mean over the image, dense."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the layers in forward order; their sizes come with the tensors."""
        size = spec.sizes
        self.conv = Conv(stride=1, padding=1, bias=False)
        self.norm = BatchNorm(spec)
        self.relu = ReLU()
        self.stage1 = self.stage(size["stage1"], size["stage1"], spec)
        self.stage2 = self.stage(size["stage1"], size["stage2"], spec)
        self.stage3 = self.stage(size["stage2"], size["stage3"], spec)
        self.dense = Dense()

    def stage(self, width: int, channels: int, spec: ModelSpec) -> list[Block]:
        """Blocks of equal width; the first one widens."""
        widths = [width] + [channels] * (spec.sizes["blocks"] - 1)
        return [Block(w, channels, spec) for w in widths]

    def forward(self, x: np.ndarray, masks: tuple[np.ndarray | None, ...], *, training: bool) -> np.ndarray:
        x = self.relu.forward(self.norm.forward(self.conv.forward(x), training=training))  # (B, 32, 32, 16)
        for block in [*self.stage1, *self.stage2, *self.stage3]:
            x = block.forward(x, training=training)  # (B, 8, 8, 64) after the last
        self.last = x.shape
        x = x.mean(axis=(1, 2))  # (B, 64)
        return self.dense.forward(x)  # (B, 10)

    def backward(self, grad: np.ndarray) -> None:
        """From the gradient by the logits, (B, 10), to that by every parameter, in the layers' ``grads``."""
        grad = self.dense.backward(grad)  # (B, 64)
        pixels = self.last[1] * self.last[2]
        grad = np.broadcast_to(grad[:, None, None] / pixels, self.last)  # (B, 8, 8, 64), equal shares
        for block in reversed([*self.stage1, *self.stage2, *self.stage3]):
            grad = block.backward(grad)  # (B, 32, 32, 16) after the last
        self.conv.backward(self.norm.backward(self.relu.backward(grad)))
