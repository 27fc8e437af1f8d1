"""Makes the samples that ship (suites/samples) from the whole data sets: class-balanced, lossless, always the same bytes."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from harness import data, draws
from harness.errors import HarnessError, new_folder, unknown, writing

NOTE = "LICENCE.md"
_SEED = 0


def make(name: str, data_dir: Path | None, out: Path) -> list[Path]:
    """Write the sample of a data set and its licence note into ``out``/``name``, a new folder; the files."""
    if name not in MAKERS:
        raise unknown("sample", name, MAKERS)
    edition, where, contents = data.load(name, data_dir)
    if not edition.whole:
        how = f"fetch the whole with `concord data fetch {name}`, or give --data-dir"
        raise HarnessError(f"only {edition.label} was found, in {where}: {how}.")
    folder = new_folder(out / name)
    with writing(folder):
        for file, content in [(NOTE, (data.SAMPLES / name / NOTE).read_bytes()), *MAKERS[name](contents)]:
            (folder / file).write_bytes(content)
    return sorted(folder.iterdir())


def _mnist(contents: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    parts = zip(("train", "t10k"), (10_000, 2_000), contents[::2], contents[1::2], strict=True)
    for part, count, images, labels in parts:
        kinds = np.frombuffer(labels, np.uint8, offset=8)
        rows = _choose(kinds, count, stream=("mnist", part))
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[rows]
        yield f"sample-{part}-images-idx3-ubyte.gz", _gzipped(data.idx_header(count, 28, 28) + pixels.tobytes())
        yield f"sample-{part}-labels-idx1-ubyte.gz", _gzipped(data.idx_header(count) + kinds[rows].tobytes())


def _cifar(contents: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    for part, count, batches in zip(("train", "test"), (4_000, 1_000), (contents[:-1], contents[-1:]), strict=True):
        images = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, data.CIFAR_ROW)
        content = images[_choose(images[:, 0], count, stream=("cifar10", part))].tobytes()
        # Differences hold no repeats for LZ77 to find: bare Huffman coding is the smallest and fastest.
        yield f"sample-{part}.bin.delta.gz", _gzipped(delta(content), zlib.Z_HUFFMAN_ONLY)


def _german(contents: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    yield "germancredit.csv.gz", _gzipped(contents[0])


MAKERS = {"mnist": _mnist, "cifar10": _cifar, "german_credit": _german}


def _choose(labels: np.ndarray, count: int, *, stream: tuple[str, str]) -> np.ndarray:
    """Row numbers, ascending: the same number of rows of each of the ten classes."""
    chosen = []
    for label in range(10):
        members = np.flatnonzero(labels == label)
        chosen.append(members[draws.permutation(_SEED, "sample", *stream, label, count=len(members))[: count // 10]])
    return np.sort(np.concatenate(chosen))


def delta(content: bytes) -> bytes:
    """Official CIFAR-10 rows as differences along both axes, modulo 256: labels, then green, red - green, blue - green."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, data.CIFAR_ROW)
    planes = rows[:, 1:].reshape(-1, 3, 32, 32).swapaxes(0, 1)[[1, 0, 2]]  # (3, N, 32, 32)
    planes[1:] -= planes[0]
    for axis in (2, 3):
        planes = np.diff(planes, axis=axis, prepend=np.uint8(0))
    return rows[:, 0].tobytes() + planes.tobytes()


def _gzipped(content: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """A gzip file without name or time, so that the same content gives the same file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31, 9, strategy)
    return packer.compress(content) + packer.flush()
