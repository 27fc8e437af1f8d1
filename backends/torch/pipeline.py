"""PyTorch's own input pipeline: a DataLoader that indexes a TensorDataset a batch at a time.

The loader's default, one item a call and a collation, is 3 times slower on the credit data and 2 times on MNIST (1.1 against
3.4 ms, 30 against 60 ms an epoch of the samples on one CPU); no worker process, since one CPU is granted.
"""

from collections.abc import Callable, Iterator
from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from harness.protocol import Batch
from harness.spec import Arrays, DataSpec


def pipeline(data: DataSpec, arrays: Arrays, *, seed: int, placed: list[Batch]) -> Callable[[], Iterator[Batch]]:
    """See harness.protocol.Engine.pipeline."""
    like, templates = placed[0], cycle(placed)
    mean, std = (torch.tensor(v, dtype=like.x.dtype, device=like.x.device)[:, None, None] for v in (data.mean, data.std))
    x, y = torch.tensor(arrays["x_train"]), torch.tensor(arrays["y_train"], dtype=like.y.dtype)
    channels_first = x.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format) if x.ndim == 4 else x
    last = x.ndim == 4 and like.x.stride(1) == 1  # as a session in that mode places them
    dataset = TensorDataset(channels_first, y)
    generator = torch.Generator().manual_seed(seed)
    sampler = BatchSampler(RandomSampler(dataset, generator=generator), len(like.y), drop_last=True)
    loader = DataLoader(dataset, sampler=sampler, batch_size=None, pin_memory=like.x.is_cuda)

    def epoch() -> Iterator[Batch]:
        for rows, labels in loader:
            images = rows.to(like.x.device, non_blocking=True)
            if data.augment == "pad4_crop_flip":
                images = crop_flip(images, generator)
            fed = normalise(images, mean, std)
            fed = fed.clone(memory_format=torch.channels_last) if last else fed
            yield next(templates)._replace(x=fed, y=labels.to(like.y.device, non_blocking=True))

    return epoch


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, C, S, S) padded by 4, cropped at random, mirrored at random: rows and columns to read."""
    count, channels, side, _ = images.shape
    shift, flip = (torch.randint(top, (n, count, 1), generator=generator) for top, n in ((9, 2), (2, 1)))
    at = torch.arange(side)
    rows, columns = shift[0] + at, shift[1] + torch.where(flip[0] > 0, at.flip(0), at)  # (B, S)
    padded = F.pad(images, (4, 4, 4, 4))
    high = padded.gather(2, rows[:, None, :, None].to(images.device).expand(-1, channels, -1, side + 8))
    return high.gather(3, columns[:, None, None, :].to(images.device).expand(-1, channels, side, -1))


def normalise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Pixels to (pixel/255 - mean)/std by channel, in their precision; features pass."""
    values = x.to(mean.dtype)
    return values.div_(255.0).sub_(mean).div_(std) if x.dtype == torch.uint8 else values
