"""The layers of the reference: forward, and backward by hand. Owns the formulas; knows no task, no optimizer.

A layer holds its tensors as attributes that ``load`` sets, the gradients of its parameters in ``grads``, and
what backward needs of the last forward. ``backward`` answers a forward in training: it sets ``grads`` and
turns dy, the gradient of the loss by the output, into dx, that by the input. Axes: B batch, H and W height
and width, P and Q those of the output, I, O and C channels in, out and both. Channels last.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness.spec import Arrays, ModelSpec


class Dense:
    """y = x @ kernel + bias;  dkernel = x.T @ dy,  dbias = sum of dy over B,  dx = dy @ kernel.T.

    A kernel "h w c o", the one behind a flatten, is the same matrix with its rows written as three axes.
    """

    kernel: np.ndarray  # (I, O), or (H, W, C, O) with H*W*C = I
    bias: np.ndarray  # (O,)
    grads: Arrays

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(B, I) -> (B, O)."""
        self.x = x
        return x @ matrix(self.kernel) + self.bias

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """(B, O) -> (B, I)."""
        self.grads = {"kernel": (self.x.T @ dy).reshape(self.kernel.shape), "bias": dy.sum(axis=0)}
        return dy @ matrix(self.kernel).T


class Conv:
    """y[b,p,q,o] = sum over h,w,i of x[b, p*stride + h, q*stride + w, i] * kernel[h,w,i,o], + bias[o].

    A cross-correlation, as in every framework. Each window of x becomes a row of a matrix, and the rest is a
    dense layer on B*P*Q rows; on the way back each window adds its gradient to the pixels that it came from.
    """

    kernel: np.ndarray  # (KH, KW, I, O)
    bias: np.ndarray  # (O,), if there is one
    grads: Arrays

    def __init__(self, *, stride: int, padding: int, bias: bool) -> None:
        """Pad by ``padding`` zeros on all four sides: never one-sided, which "same" means at stride 2."""
        self.stride, self.padding, self.has_bias = stride, padding, bias

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(B, H, W, I) -> (B, P, Q, O)."""
        pad = (self.padding, self.padding)
        self.x = np.pad(x, ((0, 0), pad, pad, (0, 0)))  # kept, unlike the rows, which are nine times as large
        windows = self.windows()
        rows = windows.reshape(-1, len(matrix(self.kernel)))  # (B*P*Q, KH*KW*I), the only copy
        y = rows @ matrix(self.kernel)  # (B*P*Q, O)
        if self.has_bias:
            y += self.bias
        return y.reshape(*windows.shape[:3], -1)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """(B, P, Q, O) -> (B, H, W, I)."""
        dy = dy.reshape(-1, dy.shape[-1])  # (B*P*Q, O)
        windows = self.windows()
        rows = windows.reshape(-1, len(matrix(self.kernel)))  # (B*P*Q, KH*KW*I)
        self.grads = {"kernel": (rows.T @ dy).reshape(self.kernel.shape)}
        if self.has_bias:
            self.grads["bias"] = dy.sum(axis=0)
        return self.scatter((dy @ matrix(self.kernel).T).reshape(windows.shape))

    def windows(self) -> np.ndarray:
        """Every window of the padded input, (B, P, Q, KH, KW, I): a view."""
        view = sliding_window_view(self.x, self.kernel.shape[:2], axis=(1, 2))
        return view[:, :: self.stride, :: self.stride].transpose(0, 1, 2, 4, 5, 3)

    def scatter(self, windows: np.ndarray) -> np.ndarray:
        """The sum at each pixel of what the windows (B, P, Q, KH, KW, I) hold for it, (B, H, W, I)."""
        x, s, pad = np.zeros_like(self.x), self.stride, self.padding
        _, p, q, height, width, _ = windows.shape
        for h in range(height):
            for w in range(width):
                x[:, h : h + s * p : s, w : w + s * q : s] += windows[:, :, :, h, w]
        return x[:, pad : x.shape[1] - pad, pad : x.shape[2] - pad]


class BatchNorm:
    """y = gamma*z + beta with z = (x - m) / sqrt(v + eps), channel by channel, each of n = B*H*W numbers.

    In training m and v are the batch's mean and *biased* variance, and the buffers r follow as
    r = (1-momentum)*r + momentum*batch, with the batch's *unbiased* variance, v*n/(n-1). In evaluation m and
    v are the buffers. On the way back dgamma = sum of dy*z, dbeta = sum of dy, and as m and v depend on x too
    dx = gamma/sqrt(v + eps) * (dy - dbeta/n - z*dgamma/n).
    """

    gamma: np.ndarray  # (C,)
    beta: np.ndarray  # (C,)
    mean: np.ndarray  # (C,), a buffer
    var: np.ndarray  # (C,), a buffer
    grads: Arrays

    def __init__(self, spec: ModelSpec) -> None:
        self.momentum, self.eps = spec.batch_norm_momentum, spec.batch_norm_eps

    def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
        """(B, H, W, C) -> (B, H, W, C)."""
        mean, var = self.moments(x) if training else (self.mean, self.var)
        self.scale = 1.0 / np.sqrt(var + self.eps)
        self.z = (x - mean) * self.scale
        return self.gamma * self.z + self.beta

    def moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The batch's mean and biased variance, both (C,); the buffers follow, in place."""
        n = count(x)
        mean = channel_sum(x) / n
        var = channel_sum(np.square(x - mean)) / n  # never E[x*x] - E[x]**2, which cancels in float32
        for buffer, batch in ((self.mean, mean), (self.var, var * (n / (n - 1)))):
            buffer[:] = (1.0 - self.momentum) * buffer + self.momentum * batch
        return mean, var

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """(B, H, W, C) -> (B, H, W, C)."""
        dgamma, dbeta, n = channel_sum(dy * self.z), channel_sum(dy), count(dy)
        self.grads = {"gamma": dgamma, "beta": dbeta}
        return self.gamma * self.scale * (dy - dbeta / n - self.z * (dgamma / n))


class ReLU:
    """y = max(x, 0);  dx = dy where x > 0 and 0 elsewhere, at x = 0 too."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Any shape."""
        self.positive = x > 0
        return np.maximum(x, 0)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Any shape."""
        return dy * self.positive


class MaskDropout:
    """Dropout by a mask drawn outside, 0 or 1/(1-rate): y = x*mask, dx = dy*mask; in evaluation y = x."""

    def forward(self, x: np.ndarray, mask: np.ndarray | None, *, training: bool) -> np.ndarray:
        """(B, C) and a mask (B, C) -> (B, C)."""
        self.mask = mask
        return x * mask if training else x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """(B, C) -> (B, C)."""
        return dy * self.mask


class MaxPool:
    """The largest of each 2x2 window, stride 2, without an odd last row or column.

    The gradient goes to the largest pixel of the window, to the first of equals in the order h, then w.
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(B, H, W, C) -> (B, P, Q, C)."""
        self.shape, windows = x.shape, tiles(x)
        values = windows.reshape(*windows.shape[:4], 4)
        self.first = values.argmax(axis=-1, keepdims=True)
        return np.take_along_axis(values, self.first, axis=-1)[..., 0]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """(B, P, Q, C) -> (B, H, W, C)."""
        values = np.zeros((*dy.shape, 4), dy.dtype)
        np.put_along_axis(values, self.first, dy[..., None], axis=-1)
        dx = np.zeros(self.shape, dy.dtype)
        tiles(dx)[...] = values.reshape(*dy.shape, 2, 2)
        return dx


def tiles(x: np.ndarray) -> np.ndarray:
    """The 2x2 windows of x (B, H, W, C) that do not overlap, (B, P, Q, C, 2, 2): a view, through which x can be set."""
    return sliding_window_view(x, (2, 2), axis=(1, 2), writeable=True)[:, ::2, ::2]


def matrix(kernel: np.ndarray) -> np.ndarray:
    """A kernel as a matrix, (..., O) -> (I, O): a view."""
    return kernel.reshape(-1, kernel.shape[-1])


def count(x: np.ndarray) -> int:
    """How many numbers each channel of x (B, H, W, C) has."""
    return x.size // x.shape[-1]


def channel_sum(x: np.ndarray) -> np.ndarray:
    """The sum of each channel, (B, H, W, C) -> (C,); axis by axis, since float32 loses less in short sums."""
    return x.sum(axis=2).sum(axis=1).sum(axis=0)
