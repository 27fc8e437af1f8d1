"""All runs of a folder by time: how long a training step took in each, and what changed from one to the next."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from harness import compare, records, stats
from harness.errors import HarnessError, printable
from harness.records import Cell, Run
from harness.report import tables, words
from harness.report.terminal import console, plain
from harness.report.words import name
from harness.stats import Estimate, Proven

LABEL = 80  # most characters of a label in the plot
WHOLE_DATE = 16  # 2026-11-22T07:50


@dataclass(frozen=True)
class Point:
    """The training steps of one run on one set of terms; in seconds, with 95 % intervals. ``changes`` since the run before."""

    run: Run
    times: Mapping[Cell, Estimate]
    proofs: Mapping[Cell, Proven]
    changes: Sequence[str] = ()
    moved: bool = False  # to another machine: what came before does not compare

    @property
    def date(self) -> str:
        """When the run began."""
        return str(self.run.at("created") or "")[:WHOLE_DATE].replace("T", " ")


Trends = Mapping[Cell, Sequence[Point]]  # by terms: a cell without backend, mode and data


def read_all(results: Path, skipped: Callable[[str], None]) -> list[Point]:
    """Every run in a folder by the time it began; what cannot be read is told to ``skipped`` in a line."""
    found = []
    for path in sorted(results.glob("*/run.json")):
        try:
            run = records.read(path.parent)
            found.append(Point(run, _steps(run), stats.statuses(run)))
        except HarnessError as error:
            skipped(printable(str(error)))
        except OSError as error:
            skipped(printable(f"{path.parent}, which cannot be read ({error})"))
    return sorted(found, key=lambda point: str(point.run.at("created")))


def _steps(run: Run) -> dict[Cell, Estimate]:
    """A training step of every cell on its task's main terms."""
    contests = (c for c in stats.contests(run) if c.phase == "train")
    times = {cell: stats.absolute(stats.samples(blocks)) for c in contests for cell, blocks in c.blocks.items()}
    return {c: t for c, t in times.items() if (c.batch, 1) == (run.at("tasks", c.task, "batch") or c.batch, c.threads)}


def trends(points: Sequence[Point], task: str = "") -> Trends:
    """The runs of every task, or of one (with or without its parameters), with what changed from each to the next."""
    terms = dict.fromkeys(_terms(cell) for point in points for cell in point.times if tables.means(cell.task, task))
    return {key: list(_followed(points, key)) for key in terms}


def _terms(cell: Cell) -> Cell:
    return replace(cell, backend="", mode="", data="")


def _followed(points: Sequence[Point], terms: Cell) -> Iterator[Point]:
    """The runs on some terms, each with what is not as it was when last seen."""
    seen: dict[str, str] = {}
    before: Point | None = None
    for point in points:
        if times := {cell: time for cell, time in point.times.items() if _terms(cell) == terms}:
            versions = compare.frameworks(point.run)
            moved = bool(before and compare.machine_differences(before.run, point.run))
            changes = [f"{package} {version}" for package, version in versions.items() if seen.get(package) != version]
            seen |= versions
            before = replace(point, times=times, changes=[*changes, *["another machine"] * moved], moved=moved)
            yield before


def document(found: Trends) -> list[dict[str, Any]]:
    """One object a time, for JSON."""
    return [
        {"run": str(point.run.path), "created": point.run.at("created"), **asdict(cell)}
        | {"step_time_s": time.value, "ci_low": time.low, "ci_high": time.high, "proof": point.proofs[cell].state}
        | {"versions": compare.frameworks(point.run), "changes": point.changes}
        for points in found.values()
        for point in points
        for cell, time in point.times.items()
    ]


def show(found: Trends) -> None:
    """A table a task, a line a run, on stdout."""
    for terms, points in found.items():
        entries, unit = sorted({name(cell) for point in points for cell in point.times}), _unit(points)
        shown = Table("run", "date", "changed", title=plain(_called(terms)), title_justify="left")
        for entry in entries:
            shown.add_column(plain(entry), justify="right")
        for point in points:
            times = {name(cell): words.sized(time, *unit) for cell, time in point.times.items()}
            times |= {name(cell): "void: its proof failed" for cell in point.times if not _valid(point, cell)}
            texts = (point.run.path.name, point.date, ", ".join(point.changes))
            shown.add_row(*map(plain, texts), *(plain(times.get(entry, "-")) for entry in entries))
        console().print(shown)


def _unit(points: Sequence[Point]) -> tuple[float, str]:
    return words.time_unit(time.value for point in points for time in point.times.values())


def _called(terms: Cell) -> str:
    return f"{terms.task}, training step: {terms.device}, {terms.precision}, batch {terms.batch}"


def plot(found: Trends) -> str:
    """All tables as one SVG file: times with intervals over the runs, a line where a version or the machine changed."""
    import matplotlib.style
    from matplotlib.figure import Figure

    from harness.report import charts

    buffer, most = io.StringIO(), max(map(len, found.values()))
    with matplotlib.style.context(["default", charts.STYLE]):
        figure = Figure(figsize=(max(9.0, 0.6 * most), 4.2 * len(found)))
        for axes, (terms, points) in zip(figure.subplots(len(found), squeeze=False)[:, 0], found.items(), strict=True):
            looks = charts.looks({cell: p.proofs[cell] for p in points for cell in p.times})
            _draw(axes, points, {name(cell): {**look, "label": name(cell)} for cell, look in looks.items()})
            axes.set_title(_label(_called(terms)), loc="left")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _draw(axes: Any, points: Sequence[Point], looks: Mapping[str, Mapping[str, Any]]) -> None:
    """One task: a line an entry, broken where another machine begins; what failed its proof is left out."""
    factor, unit = _unit(points)
    for number, (entry, look) in enumerate(looks.items()):
        found: list[tuple[float, ...]] = []
        for at, point in enumerate(points):
            found += [(at, np.nan, np.nan, np.nan)] * point.moved  # the line breaks here
            times = [t for cell, t in point.times.items() if name(cell) == entry and _valid(point, cell)]
            found += [(at, t.value, t.low or t.value, t.high or t.value) for t in times]
        if len(found) > sum(point.moved for point in points):
            place, value, low, high = np.array(found).T
            aside = 0.2 * ((number + 0.5) / len(looks) - 0.5)  # no two intervals on one spot
            error = np.maximum([value - low, high - value], 0) * factor
            axes.errorbar(place + aside, value * factor, yerr=error, capsize=3, **{**look, "label": _label(entry)})
    for at, point in enumerate(points):
        if at and point.changes:
            axes.axvline(at - 0.5, color="black", linewidth=1, linestyle="-" if point.moved else ":")
            where = {"xy": (at - 0.5, 1), "xycoords": ("data", "axes fraction"), "va": "top", "ha": "right"}
            axes.annotate(_label(", ".join(point.changes)), **where, rotation=90, fontsize="small")
    labels = [_label(f"{p.run.path.name}, {p.date}") for p in points]
    axes.set_xticks(range(len(points)), labels, rotation=30, ha="right")
    axes.set_ylabel(f"{unit} a step")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _label(text: str) -> str:
    """What a plot has room for."""
    return printable(text)[:LABEL]


def _valid(point: Point, cell: Cell) -> bool:
    return point.proofs[cell].state != "failed"
