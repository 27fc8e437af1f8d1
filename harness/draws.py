"""Every random number of a run, from raw Philox bits: batch order, dropout masks, augmentation draws.

Only the bit generator is used, whose stream NumPy promises never to change; the methods of numpy.random.Generator carry no
such promise, and workers may run under different NumPy versions. Initial weights are drawn once, in harness/weights.py.
"""

import hashlib
from collections.abc import Hashable

import numpy as np


def philox(seed: int, *stream: Hashable) -> np.random.Philox:
    """The bit generator of the stream named by ``stream`` under ``seed``: one named stream a use, none shared."""
    name = "/".join(str(part) for part in (seed, *stream)).encode()
    return np.random.Philox(key=np.frombuffer(hashlib.sha256(name).digest()[:16], "<u8"))


def bits(seed: int, *stream: Hashable, count: int) -> np.ndarray:
    """``count`` uint64 words of a stream."""
    return philox(seed, *stream).random_raw(count)


def permutation(seed: int, *stream: Hashable, count: int) -> np.ndarray:
    """A permutation of range(count), int64, shape (count,): the order of random 64-bit keys."""
    return np.argsort(bits(seed, *stream, count=count), kind="stable")


def integers(seed: int, *stream: Hashable, count: int, below: int) -> np.ndarray:
    """``count`` integers in [0, below), int64; the bias of the modulus is below 2**-56 for ``below`` <= 256."""
    return (bits(seed, *stream, count=count) % np.uint64(below)).astype(np.int64)


def mask(seed: int, *stream: Hashable, shape: tuple[int, ...], rate: float, scale: float) -> np.ndarray:
    """A dropout mask, float32, of ``shape``: 0 with probability ``rate`` (to 2**-32), otherwise ``scale``."""
    count = int(np.prod(shape))
    words = bits(seed, *stream, count=(count + 1) // 2).view(np.uint32)[:count]
    return np.where(words >= np.uint32(round(rate * 2**32)), np.float32(scale), np.float32(0)).reshape(shape)
