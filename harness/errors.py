"""The errors a user can mend, and the words they are told in. Everything else is a defect and keeps its traceback."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class HarnessError(ValueError):
    """One sentence: what is wrong, where, and what to do. The command line prints it and exits with code 2."""


class AbsentError(HarnessError):
    """A framework that was asked for is not installed: nothing wrong was typed, a cell is missing, and the exit code is 3."""


def unknown(kind: str, name: str, known: Iterable[str]) -> HarnessError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(names)}."
    return HarnessError(f"unknown {kind} {name!r}: {hint}")


def misfit(tensor: str, got: object, expected: object) -> HarnessError:
    """The error for a tensor of a backend's model that is not as the spec says; shapes in its own layout, None for none."""
    return HarnessError(
        f"tensor {tensor!r}: the model has {got or 'none'}, expected {expected}: build its layer as the spec says."
    )


@contextmanager
def writing(path: Path, remedy: str = "mend that or name another place") -> Iterator[None]:
    """Whatever the system refuses while ``path`` is written becomes one sentence that ends with the remedy."""
    try:
        yield
    except OSError as error:
        raise HarnessError(f"cannot write {path} ({error.strerror or error}): {remedy}.") from None


def new_folder(folder: Path) -> Path:
    """Make a folder for what ``--out`` names; one that exists is never written into."""
    if folder.exists():
        raise HarnessError(f"{folder} exists: name another folder with --out, or remove it.")
    with writing(folder):
        folder.mkdir(parents=True)
    return folder


def printable(text: str) -> str:
    """Text from outside on one line, without what a terminal would obey."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
