"""NumPy's own input pipeline: a permutation an epoch, rows gathered by it, all arithmetic on the whole batch."""

from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np

from harness.protocol import Batch
from harness.spec import Arrays, DataSpec


def pipeline(data: DataSpec, arrays: Arrays, *, seed: int, placed: list[Batch]) -> Callable[[], Iterator[Batch]]:
    """See harness.protocol.Engine.pipeline."""
    like, templates = placed[0], cycle(placed)
    mean, std = (np.array(v, like.x.dtype) for v in (data.mean, data.std))
    x, y = arrays["x_train"], arrays["y_train"].astype(like.y.dtype)
    rng, batch = np.random.default_rng(seed), len(like.y)

    def epoch() -> Iterator[Batch]:
        for rows in rng.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch):
            images = crop_flip(x[rows], rng) if data.augment == "pad4_crop_flip" else x[rows]
            yield next(templates)._replace(x=normalise(images, mean, std), y=y[rows])

    return epoch


def crop_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images (B, S, S, C) padded by 4, cropped at random, mirrored at random: rows and columns to read."""
    count, side = images.shape[:2]
    shift, flip, at = rng.integers(0, 9, (2, count, 1)), rng.integers(0, 2, (count, 1)), np.arange(side)
    rows, columns = shift[0] + at, shift[1] + np.where(flip, at[::-1], at)  # (B, S)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Pixels to (pixel/255 - mean)/std by channel, in their precision; features pass."""
    values = x.astype(mean.dtype)
    return (values / 255.0 - mean) / std if x.dtype == np.uint8 else values
