"""The forms in which the data sets are distributed, as datasets.toml lists them."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from harness.errors import unknown


@dataclass(frozen=True)
class File:
    """One file of a data set: what it is called unpacked, and what its unpacked content must be."""

    sha256: str
    size: int  # bytes
    name: str


@dataclass(frozen=True)
class Edition:
    """A form in which a data set is distributed: the whole of it, or a sample."""

    name: str
    label: str  # for records and reports: says when it is a sample
    files: tuple[File, ...]
    whole: bool = True

    @property
    def digest(self) -> str:
        """The sha256 of what ``sha256sum`` prints for the unpacked files."""
        return hashlib.sha256("".join(f"{f.sha256}  {f.name}\n" for f in self.files).encode()).hexdigest()


def official(name: str) -> Edition:
    """The whole of a data set, as it is distributed."""
    if name not in NAMES:
        raise unknown("data set", name, NAMES)
    return next(edition for edition in EDITIONS if edition.name == name and edition.whole)


def _files(text: str) -> tuple[File, ...]:
    rows = (line.split() for line in text.strip().splitlines())
    return tuple(File(sha256, int(size), name) for sha256, size, name in rows)


_SETS = tomllib.loads(Path(__file__).with_name("datasets.toml").read_text("utf-8"))
NAMES = tuple(_SETS)
EDITIONS = tuple(
    Edition(name, label, _files(text), whole="sample" not in label)
    for name, facts in _SETS.items()
    for label, text in facts["editions"].items()
)
FOLDERS: dict[str, list[str]] = {name: facts["folders"] for name, facts in _SETS.items()}
SOURCES: dict[str, tuple[list[str], list[str]]] = {n: (f["mirrors"], f["remotes"]) for n, f in _SETS.items() if "mirrors" in f}
KERAS: dict[str, str] = _SETS["mnist"]["keras"]
TABLE = "default_of_credit_card_clients.csv"  # known by its numbers, too: see harness/credit.py
