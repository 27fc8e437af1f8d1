"""The two sides of a comparison: runs, or the entries of one label in a run (``torch@main``), then called without it."""

from dataclasses import dataclass, replace
from pathlib import Path

from harness import ranking, records
from harness.errors import HarnessError, unknown
from harness.ranking import Contest
from harness.records import Cell, Run
from harness.standing import Proven, statuses


@dataclass(frozen=True)
class Side:
    """A run, the proof of every cell, its contests; of a ``label`` its entries alone, as judged among all in ``folder``."""

    run: Run
    states: dict[Cell, Proven]
    contests: tuple[Contest, ...]
    folder: Path
    label: str = ""


def pair(base: Path, new: Path) -> tuple[Side, Side]:
    """Two places, each ``RUN`` or ``RUN@LABEL``; beside a label, RUN stands for those of its backends that the label has.

    Raises HarnessError for what is no run, and for a label that a run does not have.
    """
    ours, theirs = side(base), side(new)
    if bool(ours.label) is bool(theirs.label):
        return ours, theirs
    if ours.label:
        return ours, beside(theirs, ours)
    return beside(ours, theirs), theirs


def side(place: Path) -> Side:
    """What a place names."""
    folder, label = split(place)
    found = whole(records.read(folder))
    return labelled(found, label) if label else found


def split(place: Path) -> tuple[Path, str]:
    """The folder and the label, "" if there is none: the name of a folder that exists may hold an @."""
    folder, _, label = place.name.rpartition("@")
    return (place.parent / folder, label) if folder and label and not place.exists() else (place, "")


def whole(run: Run) -> Side:
    """A run as it is."""
    return Side(run, statuses(run), ranking.contests(run), run.path.resolve())


def beside(side: Side, label: Side) -> Side:
    """A run's entries of the backends that a label has: the others are none of its concern."""
    names = {cell.backend for cell in label.states}
    states = {cell: state for cell, state in side.states.items() if cell.backend in names}
    contests = (replace(c, blocks={cell: v for cell, v in c.blocks.items() if cell.backend in names}) for c in side.contests)
    return replace(side, states=states, contests=tuple(c for c in contests if c.blocks))


def labelled(side: Side, label: str) -> Side:
    """The entries of a label alone, and the canary's."""
    run, known = side.run, {parts(cell.backend)[1] for cell in side.states} - {""}
    if not known:
        raise HarnessError(f"{run.path} has no entries with a label: name the folder alone.")
    if label not in known:
        raise unknown("label", label, known)

    def own(backend: str) -> bool:
        return parts(backend)[1] == label

    def plain(cell: Cell) -> Cell:
        return replace(cell, backend=parts(cell.backend)[0])

    workers = {parts(name)[0]: facts for name, facts in run.part("environment", "workers").items() if own(name)}
    alone = Run(
        path=run.path.with_name(f"{run.path.name}@{label}"),
        manifest={**run.manifest, "environment": {**run.part("environment"), "workers": workers}},
        trials=tuple(replace(t, cell=plain(t.cell)) for t in run.trials if own(t.cell.backend) or t.phase == "canary"),
        proofs=tuple(replace(p, backend=parts(p.backend)[0]) for p in run.proofs if own(p.backend)),
    )
    states = {plain(cell): state for cell, state in side.states.items() if own(cell.backend)}
    contests = (replace(c, blocks={plain(cell): v for cell, v in c.blocks.items() if own(cell.backend)}) for c in side.contests)
    return Side(alone, states, tuple(c for c in contests if c.blocks), side.folder, label)


def parts(backend: str) -> tuple[str, str]:
    """A backend's own name and its label."""
    name, _, label = backend.partition("@")
    return name, label
