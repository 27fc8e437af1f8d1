"""All runs of a folder by time: how long a training step took in each, and what changed from one to the next."""

import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from harness import machines, ranking, records, standing, stats
from harness.errors import HarnessError, printable
from harness.records import Cell, Run, having
from harness.report import words
from harness.report.terminal import print_table
from harness.report.words import name
from harness.standing import Proven
from harness.stats import Estimate

LABEL = 80  # most characters of a label in the plot


@dataclass(frozen=True)
class Point:
    """The training steps of one run on one set of terms; in seconds, with 95 % intervals. ``changes`` since the run before."""

    run: Run
    date: str
    times: Mapping[Cell, Estimate]
    proofs: Mapping[Cell, Proven]
    changes: Sequence[str]
    moved: bool  # to another machine: what came before does not compare

    def valid(self) -> dict[str, Estimate]:
        """The times by entry, without those whose proof failed."""
        return {name(cell): time for cell, time in self.times.items() if self.proofs[cell].state != "failed"}


Trends = Mapping[str, Sequence[Point]]  # by terms, as they are told


def read_all(results: Path, skipped: Callable[[str], None]) -> list[Run]:
    """Every run in a folder by the time it began; what cannot be read is told to ``skipped`` in a line.

    None of `concord selfcheck`: its entries are copies of one backend, one of them slowed down.
    """
    found = []
    for path in sorted(results.glob("*/run.json")):
        try:
            found.append(records.read(path.parent))
        except (HarnessError, OSError) as error:
            skipped(printable(str(error)))
    return sorted((run for run in found if run.at("suite", "name") != "selfcheck"), key=lambda run: str(run.at("created")))


def trends(runs: Sequence[Run], wanted: Mapping[str, str] | None = None) -> Trends:
    """The runs of every task, each with what is not as it was when last seen; of cells with ``wanted`` values, see ``having``."""
    chosen = set(having({t.cell for run in runs for t in run.trials if t.phase == "train"}, wanted or {}))
    found: dict[str, list[Point]] = defaultdict(list)
    seen: dict[str, dict[str, str]] = defaultdict(dict)
    for run in runs:
        proofs, versions, steps = standing.statuses(run), _versions(run), defaultdict[str, dict[Cell, Estimate]](dict)
        for contest in (c for c in ranking.contests(run) if c.phase == "train"):
            for cell, blocks in contest.blocks.items():
                main = (cell.batch, cell.threads) == (run.at("tasks", cell.task, "batch") or cell.batch, 1)
                if main and cell in chosen:
                    terms = f"{cell.task}, training step: {cell.device}, {cell.precision}, batch {cell.batch}"
                    steps[terms][cell] = stats.absolute(stats.samples(blocks))
        for terms, times in steps.items():
            before = found[terms][-1].run if found[terms] else run
            moved, strayed = bool(machines.differences(before, run)), machines.strayed(before, run)
            changes = [f"{package} {version}" for package, version in versions.items() if seen[terms].get(package) != version]
            seen[terms] |= versions
            date = words.dated(run)
            another = ["another machine"] if moved else [f"the machine: canary's {strayed}"] if strayed else []
            found[terms].append(Point(run, date, times, proofs, [*changes, *another], moved))
    return found


def _versions(run: Run) -> dict[str, str]:
    """What may make a step longer or shorter: frameworks, and Python, NumPy and Concord's own code, as far as a record says."""
    machine, code = run.part("environment", "machine"), run.at("code")
    own = {"Python": machine.get("python"), "NumPy": run.at("environment", "machine", "packages", "numpy")}
    own |= {"Concord": run.at("concord"), "Concord's code": code[:8] if isinstance(code, str) else None}
    return machines.versions(run) | {what: str(value) for what, value in own.items() if value}


def document(found: Trends) -> list[dict[str, Any]]:
    """One object a time, for JSON."""
    return [
        {"run": str(point.run.path), "created": point.run.at("created"), **asdict(cell)}
        | {"step_time_s": time.value, "ci_low": time.low, "ci_high": time.high, "proof": point.proofs[cell].state}
        | {"versions": machines.versions(point.run), "changes": point.changes}
        for points in found.values()
        for point in points
        for cell, time in point.times.items()
    ]


def show(found: Trends) -> None:
    """A table a task, a line a run, on stdout."""
    for terms, points in found.items():
        entries, unit = sorted({name(cell) for point in points for cell in point.times}), _unit(points)
        rows = []
        for point in points:
            texts = {name(cell): "void: its proof failed" for cell in point.times}
            texts |= {entry: words.sized(time, *unit) for entry, time in point.valid().items()}
            rows.append((point.run.path.name, point.date, ", ".join(point.changes), *(texts.get(e, "-") for e in entries)))
        print_table(("run", "date", "changed", *entries), rows, title=terms, left=3)


def _unit(points: Sequence[Point]) -> tuple[float, str]:
    return words.time_unit(time.value for point in points for time in point.times.values())


def plot(found: Trends) -> str:
    """All tables as one SVG file: times with intervals over the runs, a line where a version or the machine changed."""
    import matplotlib.style
    from matplotlib.figure import Figure

    from harness.report import drawing

    buffer, most = io.StringIO(), max(map(len, found.values()))
    with matplotlib.style.context(["default", drawing.STYLE]):
        figure = Figure(figsize=(max(9.0, 0.6 * most), 4.2 * len(found)))
        for axes, (terms, points) in zip(figure.subplots(len(found), squeeze=False)[:, 0], found.items(), strict=True):
            looks = drawing.looks({cell: point.proofs[cell] for point in points for cell in point.times})
            _draw(axes, points, {name(cell): {**look, "label": _label(name(cell))} for cell, look in looks.items()})
            axes.set_title(_label(terms), loc="left")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": "Time of a training step, run by run"})
    says = f"Medians with 95 % intervals of up to {words.plural(most, 'run')}, by date: {'; '.join(map(_label, found))}."
    return buffer.getvalue().replace("</title>", f"</title><desc>{escape(says)}</desc>", 1)  # matplotlib writes no such element


def _draw(axes: Any, points: Sequence[Point], looks: Mapping[str, Mapping[str, Any]]) -> None:
    """One task: a line an entry, broken where another machine begins; what failed its proof is left out."""
    factor, unit = _unit(points)
    for number, (entry, look) in enumerate(looks.items()):
        aside = 0.2 * ((number + 0.5) / len(looks) - 0.5)  # no two intervals on one spot
        found: list[tuple[float, ...]] = []
        for at, point in enumerate(points):
            found += [(at, np.nan, np.nan, np.nan)] * point.moved  # the line breaks here
            if time := point.valid().get(entry):
                found.append((at + aside, time.value, time.low or time.value, time.high or time.value))
        place, value, low, high = np.array(found).reshape(-1, 4).T
        axes.errorbar(place, value * factor, yerr=np.maximum([value - low, high - value], 0) * factor, capsize=3, **look)
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
