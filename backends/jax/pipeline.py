"""JAX's own input pipeline, which is NumPy's: JAX loads no data, and flax's examples index arrays by a permutation an epoch.

Raw rows are handed to one jit, which places them and makes them the model's input. With jax.device_put before it an epoch of the
credit data took twice as long, cropping in NumPy one of CIFAR-10. Neither tf.data nor grain, which its users also take, is used:
they would be another framework's figure, or another dependency.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from harness.protocol import Batch
from harness.spec import Arrays, DataSpec


def pipeline(data: DataSpec, arrays: Arrays, *, seed: int, placed: list[Batch]) -> Callable[[], Iterator[Batch]]:
    """See harness.protocol.Engine.pipeline."""
    like, templates = placed[0], cycle(placed)
    mean, std = (np.array(v, like.x.dtype) for v in (data.mean, data.std))
    x, y = arrays["x_train"], arrays["y_train"].astype(like.y.dtype)
    rng, batch = np.random.default_rng(seed), len(like.y)

    @partial(jax.jit, out_shardings=like.x.sharding)
    def prepare(images: Array, labels: Array, draw: Array) -> tuple[Array, Array]:
        if data.augment == "pad4_crop_flip":
            images = crop_flip(images, jax.random.key(draw))
        return normalise(images, mean, std), labels

    def epoch() -> Iterator[Batch]:
        for rows in rng.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch):
            images, labels = prepare(x[rows], y[rows], rng.integers(2**31))
            yield next(templates)._replace(x=images, y=labels)

    return epoch


def crop_flip(images: Array, key: Array) -> Array:
    """Images (B, S, S, C) padded by 4, cropped at random, mirrored at random: rows and columns to read."""
    count, side = images.shape[:2]
    draws = zip(jax.random.split(key), (9, 2), (2, 1), strict=True)
    shift, flip = (jax.random.randint(k, (n, count, 1), 0, top) for k, top, n in draws)
    at = jnp.arange(side)
    rows, columns = shift[0] + at, shift[1] + jnp.where(flip[0] > 0, at[::-1], at)  # (B, S)
    padded = jnp.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    return padded[jnp.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(x: Array, mean: np.ndarray, std: np.ndarray) -> Array:
    """Pixels to (pixel/255 - mean)/std by channel, in their precision; features pass."""
    values = x.astype(mean.dtype)
    return (values / 255.0 - mean) / std if x.dtype == jnp.uint8 else values
