"""The real data: finding it, unpacking and checking it, and the arrays it becomes. It downloads nothing.

Nothing is ever unpickled, and no file is unpacked further than the size it must have.
"""

import gzip
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from harness.editions import EDITIONS, FOLDERS, KERAS, NAMES, TABLE, Edition, File, official
from harness.errors import HarnessError, writing

SAMPLES = Path(__file__).resolve().parents[1] / "suites" / "samples"
CIFAR_ROW = 3073  # bytes an image in the official binary files: label, 1024 red, 1024 green, 1024 blue
_KERAS_ARCHIVE = "mnist.npz"
# The sha256 of the numbers of TABLE, which goes round in several spellings (1.00E+05, 100000).
_TABLE_DIGEST = "3dc06541724af1b3af028c4af2dbeb45fd986f96554e3df75cbc8e34a165dbd5"


class DamagedError(Exception):
    """A short fact about a file that cannot be used or had; the callers here make a sentence of it."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Edition):
    """An edition of a data set, checked. Images are uint8 (N, H, W, C), tables float32 (N, F), labels int32 (N,)."""

    where: Path
    arrays: Mapping[str, np.ndarray]  # x_train, y_train, x_test, y_test; tables also x_val, y_val


def find(name: str, *, data_dir: Path | None = None) -> Dataset:
    """The data set from the first place that has it, decoded and checked."""
    edition, folder, contents = load(name, data_dir)
    arrays = _decoded(name, contents)
    for array in arrays.values():
        array.setflags(write=False)
    return Dataset(**vars(edition), where=folder, arrays=arrays)


def load(name: str, data_dir: Path | None, *, unread: bool = False) -> tuple[Edition, Path, list[bytes]]:
    """What ``find`` finds, in which folder, and the checked content of its files; ``unread``: as far as names tell."""
    first = official(name).files[0].name
    editions = [edition for edition in EDITIONS if edition.name == name]
    for title, root in _places(data_dir):
        lacking = ""
        for edition, below in product(editions, FOLDERS[name]):
            folder = root / below
            paths = stored(folder, edition.files, title)
            if missing := [file.name for file in edition.files if file not in paths]:
                lacking = lacking or (f"{folder} lacks {missing[0]}" if paths else "")
                continue
            try:
                return edition, folder, [] if unread else [read(path, file) for file, path in paths.items()]
            except DamagedError as fact:
                if title:
                    raise _unusable(name, title, str(fact)) from None
        if title and lacking:
            raise _unusable(name, title, lacking)
    raise HarnessError(
        f"{name} is not on this machine: download it with `concord data fetch {name}`, or put "
        f"{first} into DIR/{FOLDERS[name][0]} and give --data-dir DIR."
    )


def locate_all(data_dir: Path | None = None, *, unread: bool = True) -> dict[str, tuple[str, Path | None]]:
    """For each data set its label and folder, or the reason and None. For ``unread`` see ``load``."""
    list(_places(data_dir))  # a folder that does not exist is the caller's error, not one of every data set
    found: dict[str, tuple[str, Path | None]] = {}
    for name in NAMES:
        try:
            edition, folder, _ = load(name, data_dir, unread=unread)
            found[name] = (edition.label, folder)
        except HarnessError as error:
            found[name] = (str(error), None)
    return found


def save(dataset: Dataset, folder: Path) -> Path:
    """The arrays as an uncompressed .npz in a run's own folder, for its workers."""
    target = folder / f"{dataset.name}-{dataset.digest[:16]}.npz"
    with writing(target):
        np.savez(target, **dataset.arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
    return target


def cache() -> Path:
    """The data folder that Concord fetches into."""
    return user_cache_path("concord") / "data"


def stored(folder: Path, files: Sequence[File], title: str) -> dict[File, Path]:
    """The paths of those files that a folder has: plain, packed or within Keras' archive. For ``title`` see ``_places``."""
    names, paths = _names(folder, title), {}
    for file in files:
        forms = (file.name, f"{file.name}.gz", f"{file.name}.delta.gz", _KERAS_ARCHIVE if file.name in KERAS else "")
        if present := [form for form in forms if form in names]:
            paths[file] = folder / present[0]
    return paths


def read(path: Path, file: File) -> bytes:
    """The unpacked content of a file, checked."""
    try:
        return checked(_unpacked(path, file), path, file=file)
    except EOFError:
        raise DamagedError(f"{path} is truncated") from None
    except (OSError, zlib.error, zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise DamagedError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _unpacked(path: Path, file: File) -> bytes:
    """The unpacked content; of one that is too long, only so much that it shows."""
    if path.name == _KERAS_ARCHIVE:  # an .npy has the bytes of the IDX file after a header, which is not parsed
        header = idx_header(file.size // 784, 28, 28) if "images" in file.name else idx_header(file.size - 8)
        with zipfile.ZipFile(path) as archive, archive.open(KERAS[file.name]) as stream:
            return header + stream.read(file.size + 4096)[len(header) - file.size :]
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        content = stream.read(file.size * (2 if file.name == TABLE else 1) + 1)
    return _undelta(content) if path.name.endswith(".delta.gz") and len(content) == file.size else content


def checked(content: bytes, path: Path, *, file: File) -> bytes:
    """The content, if it is what the file must contain."""
    if hashlib.sha256(content).hexdigest() == file.sha256:
        return content
    if file.name == TABLE:
        from harness import credit  # and with it pandas, which images do not need

        if credit.digest(content) == _TABLE_DIGEST:
            return content
    excess = len(content) - file.size
    what = "truncated" if excess < 0 else "too long" if excess else "altered"
    raise DamagedError(f"{path} is {what}: it should unpack to {file.size:,} bytes of sha256 {file.sha256[:12]}...")


def idx_header(*shape: int) -> bytes:
    """The header of an IDX file of unsigned bytes."""
    return np.array([0x800 + len(shape), *shape], ">u4").tobytes()


def _undelta(content: bytes) -> bytes:
    """Official CIFAR-10 rows from the form that the sample is stored in, that of harness/samples.py."""
    count = len(content) // CIFAR_ROW
    labels, steps = np.split(np.frombuffer(content, np.uint8), [count])
    planes = steps.reshape(3, count, 32, 32).cumsum(axis=2, dtype=np.uint8).cumsum(axis=3, dtype=np.uint8)
    planes[1:] += planes[0]  # stored: green, red - green, blue - green
    rows = planes[[1, 0, 2]].swapaxes(0, 1).reshape(count, CIFAR_ROW - 1)
    return np.concatenate([labels[:, None], rows], axis=1).tobytes()


def _places(data_dir: Path | None) -> Iterator[tuple[str, Path]]:
    """The folders to look in, in order. Damaged files are an error in one with a title and passed over in the others."""
    for title, named in (("--data-dir", data_dir), ("CONCORD_DATA", os.environ.get("CONCORD_DATA"))):
        if named:
            root = Path(named).expanduser()
            if not _names(root, title):
                raise HarnessError(f"{title}: there is no folder {root} with data; name another one.")
            yield title, root
    yield "Concord's cache", cache()
    yield "", Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    yield "", Path("data")  # here torchvision's tutorials put what they download
    yield "", Path("..") / "data"  # and here its examples
    yield "the shipped samples", SAMPLES


def _names(folder: Path, title: str) -> set[str]:
    """The names in a folder, none if there is no such folder."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError as error:
        if not title or isinstance(error, FileNotFoundError | NotADirectoryError):
            return set()
        raise HarnessError(f"{title}: cannot read {folder} ({error.strerror}): allow it or name another one.") from None


def _unusable(name: str, title: str, fact: str) -> HarnessError:
    return HarnessError(f"{name} in {title}: {fact}; take it away, or get the official files with `concord data fetch {name}`.")


def _decoded(name: str, contents: Sequence[bytes]) -> dict[str, np.ndarray]:
    if name in {"german_credit", "credit_default"}:
        from harness import credit

        return credit.arrays(contents[0], name)
    if name == "mnist":
        x = [np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1) for images in contents[::2]]
        y = [np.frombuffer(labels, np.uint8, offset=8) for labels in contents[1::2]]
    else:
        files = (b"".join(contents[:-1]), contents[-1])
        rows = [np.frombuffer(content, np.uint8).reshape(-1, CIFAR_ROW) for content in files]
        x = [np.ascontiguousarray(part[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)) for part in rows]
        y = [part[:, 0] for part in rows]
    return {"x_train": x[0], "y_train": y[0].astype(np.int32), "x_test": x[1], "y_test": y[1].astype(np.int32)}
