"""Batches: order, augmentation, dropout masks, normalisation. Pure NumPy, the same bytes for every backend."""

from collections.abc import Iterator, Mapping
from itertools import chain, count
from typing import NamedTuple

import numpy as np

from harness import draws
from harness.errors import HarnessError
from harness.spec import DataSpec, TaskSpec


class HostBatch(NamedTuple):
    """One batch on the host: x (B, *x_shape) float32, y (B,) int32, masks (B, ...) float32."""

    x: np.ndarray
    y: np.ndarray
    masks: tuple[np.ndarray, ...] = ()


def steps_per_epoch(arrays: Mapping[str, np.ndarray], batch: int) -> int:
    """Whole training batches; the rest of an epoch's order is dropped, since a smaller batch would compile anew."""
    steps = len(arrays["x_train"]) // batch if batch > 0 else 0
    if not steps:
        raise HarnessError(f"batch {batch} is not from 1 to the {len(arrays['x_train'])} training examples: choose such a one.")
    return steps


def training(spec: TaskSpec, arrays: Mapping[str, np.ndarray], *, batch: int, seed: int, epoch: int) -> Iterator[HostBatch]:
    """The batches of one epoch, in the order of its own stream."""
    x, y = arrays["x_train"], arrays["y_train"]
    order = draws.permutation(seed, "order", epoch, count=len(x))
    shift, flip = augmentation(seed, epoch, len(x))
    for step in range(steps_per_epoch(arrays, batch)):
        chosen = order[step * batch : (step + 1) * batch]
        images = x[chosen]
        if spec.data.augment == "pad4_crop_flip":
            images = crop_flip(images, shift[chosen], flip[chosen])
        yield HostBatch(normalise(spec.data, images), y[chosen], masks(spec, seed, epoch, step, batch))


def endless(spec: TaskSpec, arrays: Mapping[str, np.ndarray], *, batch: int, seed: int) -> Iterator[HostBatch]:
    """The batches of all epochs, one after the other."""
    return chain.from_iterable(training(spec, arrays, batch=batch, seed=seed, epoch=epoch) for epoch in count())


def masks(spec: TaskSpec, seed: int, epoch: int, step: int, batch: int) -> tuple[np.ndarray, ...]:
    """The dropout masks of one step: values 0 or 1/(1-rate)."""
    rate, scale = spec.model.dropout_rate, spec.model.keep_scale
    return tuple(
        draws.mask(seed, "dropout", layer, epoch, step, shape=(batch, *shape), rate=rate, scale=scale)
        for layer, shape in enumerate(spec.model.dropout)
    )


def augmentation(seed: int, epoch: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The draws of one epoch, by example: where the crop begins, (N, 2) in 0..8, and whether it is flipped, (N,)."""
    shift = draws.integers(seed, "crop", epoch, count=2 * count, below=9).reshape(count, 2)
    return shift, draws.integers(seed, "flip", epoch, count=count, below=2).astype(bool)


def crop_flip(images: np.ndarray, shift: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Images (B, H, W, C), padded by 4 black pixels, cropped back at ``shift``, mirrored where ``flip``."""
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))  # (B, 9, 9, C, H, W)
    cropped = windows[np.arange(len(images)), shift[:, 0], shift[:, 1]].transpose(0, 2, 3, 1)
    return np.where(flip[:, None, None, None], cropped[:, :, ::-1], cropped)


def normalise(data: DataSpec, x: np.ndarray) -> np.ndarray:
    """Pixels (uint8) to (pixel/255 - mean)/std by channel, in float64, rounded once to float32; features pass."""
    if x.dtype != np.uint8:
        return x
    table = (np.arange(256)[:, None] / 255.0 - np.array(data.mean)) / np.array(data.std)  # (256, C or 1)
    table = np.broadcast_to(table, (256, x.shape[-1])).astype(np.float32)
    return table[x, np.arange(x.shape[-1])]


def evaluation(data: DataSpec, x: np.ndarray, batch: int) -> Iterator[tuple[np.ndarray, int]]:
    """Inputs (batch, *x_shape) in file order with the count of true examples: the last one is padded with zeros."""
    for start in range(0, len(x), batch):
        part = normalise(data, x[start : start + batch])
        lacking = batch - len(part)
        yield np.pad(part, [(0, lacking), *[(0, 0)] * (part.ndim - 1)]), len(part)
