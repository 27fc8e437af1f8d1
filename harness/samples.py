"""Makes the samples of suites/samples from the whole data sets: class-balanced, lossless, always the same."""

import hashlib
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness import data, draws
from harness.errors import HarnessError

COUNTS = {
    "mnist": (10_000, 2_000),
    "cifar10": (4_000, 1_000),
}  # images of the training and of the test sample
SEED = 0
NOTE = "LICENCE.md"


def make(data_dir: Path, out: Path) -> dict[str, str]:
    """Write every sample below ``out``; the sha256 of what each file unpacks to, by path below ``out``."""
    digests = {}
    for name, files in (
        ("mnist", mnist(data_dir)),
        ("cifar10", cifar(data_dir)),
        ("german_credit", german(data_dir)),
    ):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content, stored in files:
            (folder / file).write_bytes(stored)
            digests[f"{name}/{file}"] = hashlib.sha256(content).hexdigest()
        if out.resolve() != data.SAMPLES:
            shutil.copyfile(data.SAMPLES / name / NOTE, folder / NOTE)
    return digests


def mnist(data_dir: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """The files of the MNIST sample, in the official format: name, content, gzipped content."""
    contents = whole("mnist", data_dir)
    for part, count, images, labels in zip(
        ("train", "t10k"), COUNTS["mnist"], contents[::2], contents[1::2], strict=True
    ):
        kinds = np.frombuffer(labels, np.uint8, offset=8)
        rows = choose(kinds, count, stream=("mnist", part))
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[rows]
        for name, header, array in (
            (f"sample-{part}-images-idx3-ubyte", data.idx_header(count, 28, 28), pixels),
            (f"sample-{part}-labels-idx1-ubyte", data.idx_header(count), kinds[rows]),
        ):
            content = header + array.tobytes()
            yield f"{name}.gz", content, gzipped(content)


def cifar(data_dir: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """The files of the CIFAR-10 sample: name, content in the official binary format, gzipped differences."""
    contents = whole("cifar10", data_dir)
    for part, count, batches in zip(("train", "test"), COUNTS["cifar10"], (contents[:-1], contents[-1:]), strict=True):
        images = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, data.CIFAR_ROW)
        content = images[choose(images[:, 0], count, stream=("cifar10", part))].tobytes()
        # Differences hold no repeats for LZ77 to find: bare Huffman coding is the smallest and fastest.
        yield f"sample-{part}.bin.delta.gz", content, gzipped(delta(content), zlib.Z_HUFFMAN_ONLY)


def german(data_dir: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """The whole of the German credit data."""
    content = whole("german_credit", data_dir)[0]
    yield "germancredit.csv.gz", content, gzipped(content)


def whole(name: str, data_dir: Path) -> list[bytes]:
    """The contents of a complete data set."""
    hit, contents = data.load(name, data_dir)
    if not hit.edition.whole:
        raise HarnessError(f"samples are drawn from the whole of {name}, which is not in {data_dir}: fetch it first.")
    return contents


def choose(labels: np.ndarray, count: int, *, stream: tuple[str, str]) -> np.ndarray:
    """Row numbers, ascending: the same number of rows of each of the ten classes."""
    chosen = []
    for label in range(10):
        members = np.flatnonzero(labels == label)
        chosen.append(members[draws.permutation(SEED, "sample", *stream, label, count=len(members))[: count // 10]])
    return np.sort(np.concatenate(chosen))


def delta(content: bytes) -> bytes:
    """Official CIFAR-10 rows, arranged to compress well: labels, then green, red - green, blue - green.

    Of each plane the differences along both axes are kept, modulo 256: ``data.undelta`` loses nothing.
    """
    rows = np.frombuffer(content, np.uint8).reshape(-1, data.CIFAR_ROW)
    planes = rows[:, 1:].reshape(-1, 3, 32, 32).swapaxes(0, 1)[[1, 0, 2]]  # (3, N, 32, 32)
    planes[1:] -= planes[0]
    for axis in (2, 3):
        planes = np.diff(planes, axis=axis, prepend=np.uint8(0))
    return rows[:, 0].tobytes() + planes.tobytes()


def gzipped(content: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """A gzip file without name or time, so that the same content gives the same file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31, 9, strategy)
    return packer.compress(content) + packer.flush()
