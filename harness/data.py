"""The real data: finding it, unpacking and checking it, and the arrays it becomes. It downloads nothing.

Nothing is ever unpickled, and no file is unpacked further than the size it must have.
"""

import csv
import gzip
import hashlib
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from harness import credit
from harness.editions import EDITIONS, FIGURES, FOLDERS, KERAS, NAMES, Edition, File, official
from harness.errors import HarnessError

SAMPLES = Path(__file__).resolve().parents[1] / "suites" / "samples"
KERAS_ARCHIVE = "mnist.npz"
CIFAR_ROW = 3073  # bytes an image in the official binary files: label, 1024 red, 1024 green, 1024 blue
UNPACKING = (
    gzip.BadGzipFile,
    zlib.error,
    zipfile.BadZipFile,
    KeyError,
    RuntimeError,
)  # what bad packing raises


class DamagedError(Exception):
    """A short fact about a file that is there and cannot be used; the callers here make a sentence of it."""


@dataclass(frozen=True)
class Dataset:
    """One data set, checked. Images are uint8 (N, H, W, C), tables float32 (N, F), labels int32 (N,)."""

    name: str
    label: str  # for records and reports: says when it is a sample
    whole: bool
    where: Path
    digest: str  # of the unpacked files: see ``Edition.digest``
    arrays: Mapping[str, np.ndarray]  # x_train, y_train, x_test, y_test; tables also x_val, y_val


@dataclass(frozen=True)
class Place:
    """A folder to look in. Damaged files are an error in a ``strict`` one and passed over in the others."""

    title: str
    root: Path
    strict: bool = False


@dataclass(frozen=True)
class Hit:
    """An edition whose files, by name, all lie in one folder."""

    place: Place
    edition: Edition
    folder: Path
    paths: tuple[Path, ...]


def find(name: str, *, data_dir: Path | None = None) -> Dataset:
    """The data set from the first place that has it, decoded and checked."""
    hit, contents = load(name, data_dir)
    arrays = DECODERS[name](contents)
    for array in arrays.values():
        array.setflags(write=False)
    edition = hit.edition
    return Dataset(name, edition.label, edition.whole, hit.folder, edition.digest, MappingProxyType(arrays))


def load(name: str, data_dir: Path | None) -> tuple[Hit, list[bytes]]:
    """Where ``find`` finds the data set, and the checked content of its files."""
    for hit in hits(name, data_dir):
        try:
            return hit, [read(path, file) for path, file in zip(hit.paths, hit.edition.files, strict=True)]
        except DamagedError as fact:
            if hit.place.strict:
                told = f"{name} in {hit.place.title}: {fact}; {remedy(hit.place, name)}."
                raise HarnessError(told) from None
    raise HarnessError(absent(name))


def locate_all(data_dir: Path | None = None) -> dict[str, tuple[str, Path | None]]:
    """For each data set its label and folder, or the reason and None. Looks at names and decodes nothing."""
    list(places(data_dir))  # a folder that does not exist is the caller's error, not one of every data set
    found: dict[str, tuple[str, Path | None]] = {}
    for name in NAMES:
        try:
            hit = next(hits(name, data_dir), None)
            found[name] = (hit.edition.label, hit.folder) if hit else (absent(name), None)
        except HarnessError as error:
            found[name] = (str(error), None)
    return found


def save(dataset: Dataset, folder: Path) -> Path:
    """The arrays as an uncompressed .npz for the workers, moved into place only when it is whole."""
    target = folder / f"{dataset.name}-{dataset.digest[:16]}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
            whole = Path(part) / target.name
            arrays: Mapping[str, Any] = dataset.arrays
            np.savez(whole, **arrays)
            whole.replace(target)
    except OSError as error:
        fact = f"cannot write {target} ({error.strerror})"
        raise HarnessError(f"{fact}: free some space or name another folder.") from None
    return target


def cache() -> Path:
    """The data folder that Concord fetches into."""
    return user_cache_path("concord") / "data"


def places(data_dir: Path | None) -> Iterator[Place]:
    """Every place to look in, in order."""
    for title, folder in (("--data-dir", data_dir), ("CONCORD_DATA", os.environ.get("CONCORD_DATA"))):
        if folder:
            place = Place(title, Path(folder).expanduser(), strict=True)
            if not names_in(place.root, place):
                raise HarnessError(f"{title}: there is no folder {place.root} with data; name another one.")
            yield place
    yield Place("Concord's cache", cache(), strict=True)
    yield Place("Keras' cache", Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets")
    # where torchvision's tutorials and its examples put what they download
    yield Place("torchvision's folder", Path("data"))
    yield Place("torchvision's folder", Path("..") / "data")
    yield Place("the shipped samples", SAMPLES, strict=True)


def hits(name: str, data_dir: Path | None) -> Iterator[Hit]:
    """Where all files of an edition of ``name`` lie, judged by their names, best first."""
    official(name)  # refuses an unknown name
    for place in places(data_dir):
        yield from hits_in(place, name)


def hits_in(place: Place, name: str) -> list[Hit]:
    """The hits of one place; a strict place that has only some of a set's files is an error."""
    found: list[Hit] = []
    partly: list[str] = []
    for below in FOLDERS[name]:
        folder = place.root / below
        names = names_in(folder, place)
        for edition in (edition for edition in EDITIONS if edition.name == name):
            paths = [stored(folder, file, names) for file in edition.files]
            if all(paths):
                found.append(Hit(place, edition, folder, tuple(path for path in paths if path)))
            elif any(paths):
                partly.append(f"{folder} lacks {edition.files[paths.index(None)].name}")
    if partly and not found and place.strict:
        raise HarnessError(f"{name} in {place.title}: {partly[0]}; {remedy(place, name)}.")
    return sorted(found, key=lambda hit: not hit.edition.whole)


def names_in(folder: Path, place: Place) -> set[str]:
    """The names in a folder of ``place``; where it cannot be read, an error in a strict place, else none."""
    try:
        return listing(folder)
    except OSError as error:
        if not place.strict:
            return set()
        fact = f"{place.title}: cannot read the folder {folder} ({error.strerror})"
        raise HarnessError(f"{fact}; change its permissions or name another one.") from None


def listing(folder: Path) -> set[str]:
    """The names in a folder; none when it does not exist."""
    try:
        return {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def stored(folder: Path, file: File, names: set[str]) -> Path | None:
    """Where ``folder``, which holds ``names``, has the file: plain, packed or within Keras' archive."""
    archive = KERAS_ARCHIVE if file.name in KERAS else ""
    for packed in (file.name, f"{file.name}.gz", f"{file.name}.delta.gz", archive):
        if packed in names:
            return folder / packed
    return None


def remedy(place: Place, name: str) -> str:
    """What to do about damaged or missing files."""
    if place.root == SAMPLES:
        return "install Concord again"
    if name == "german_credit":
        return "replace the file or take it away: Concord ships a copy"
    return f"get the official files with `concord data fetch {name}`, or take these away"


def absent(name: str) -> str:
    """What to say when no place has the data set."""
    edition = official(name)
    return (
        f"{name} is not on this machine: download it with `concord data fetch {name}`, or put "
        f"{edition.files[0].name} into DIR/{edition.folder} and give --data-dir DIR."
    )


def read(path: Path, file: File) -> bytes:
    """The unpacked content of a file, checked."""
    try:
        return checked(unpacked(path, file), path, file=file)
    except EOFError:
        raise DamagedError(f"{path} is truncated") from None
    except UNPACKING as error:
        raise DamagedError(f"{path} cannot be unpacked ({error})") from None
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror})") from None


def unpacked(path: Path, file: File) -> bytes:
    """The unpacked content; of one that is too long, only so much that it shows."""
    if path.name == KERAS_ARCHIVE:
        return from_keras(path, file)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        content = stream.read(file.size * (2 if file.name in FIGURES else 1) + 1)
    return undelta(content) if path.name.endswith(".delta.gz") and len(content) == file.size else content


def from_keras(path: Path, file: File) -> bytes:
    """The IDX file whose bytes Keras keeps as an .npy: a header, which is not parsed, and then the array."""
    member, shape = KERAS[file.name]
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        return idx_header(*shape) + stream.read(file.size + 4096)[-math.prod(shape) :]


def checked(content: bytes, path: Path, *, file: File) -> bytes:
    """The content, if it is what the file must contain."""
    sha256 = hashlib.sha256(content).hexdigest()
    table, figures = FIGURES.get(file.name, (None, ""))
    if sha256 == file.sha256 or (table and figures_digest(content, table) == figures):
        return content
    if len(content) != file.size and not table:
        what = "truncated" if len(content) < file.size else "too long"
        raise DamagedError(f"{path} is {what}: its content should have {file.size:,} bytes")
    raise DamagedError(f"{path} is altered: its content has sha256 {sha256[:12]}…, not {file.sha256[:12]}…")


def figures_digest(content: bytes, table: credit.Table) -> str:
    """The sha256 of a table's numbers, however they are written; "" if it is no such table."""
    try:
        return hashlib.sha256(b"".join(credit.figures(content, table))).hexdigest()
    except (HarnessError, ValueError, csv.Error):
        return ""


def idx_header(*shape: int) -> bytes:
    """The header of an IDX file of unsigned bytes."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)


def undelta(content: bytes) -> bytes:
    """Official CIFAR-10 rows from the form that the sample is stored in, ``samples.delta``."""
    count = len(content) // CIFAR_ROW
    labels, steps = np.split(np.frombuffer(content, np.uint8), [count])
    planes = steps.reshape(3, count, 32, 32).cumsum(axis=2, dtype=np.uint8).cumsum(axis=3, dtype=np.uint8)
    planes[1:] += planes[0]  # stored: green, red - green, blue - green
    rows = planes[[1, 0, 2]].swapaxes(0, 1).reshape(count, CIFAR_ROW - 1)
    return np.concatenate([labels[:, None], rows], axis=1).tobytes()


def decode_mnist(contents: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Images and labels of both parts."""
    images = [np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28, 1) for content in contents[::2]]
    labels = [np.frombuffer(content, np.uint8, offset=8).astype(np.int32) for content in contents[1::2]]
    return {"x_train": images[0], "y_train": labels[0], "x_test": images[1], "y_test": labels[1]}


def decode_cifar(contents: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Images and labels; the last file is the test set."""
    arrays = {}
    for part, batches in (("train", contents[:-1]), ("test", contents[-1:])):
        rows = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, CIFAR_ROW)
        arrays[f"x_{part}"] = np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        arrays[f"y_{part}"] = rows[:, 0].astype(np.int32)
    return arrays


DECODERS: Mapping[str, Callable[[Sequence[bytes]], dict[str, np.ndarray]]] = {
    "mnist": decode_mnist,
    "cifar10": decode_cifar,
    "german_credit": lambda contents: credit.arrays(contents[0], credit.GERMAN),
    "credit_default": lambda contents: credit.arrays(contents[0], credit.DEFAULT),
}
