"""What the command line prints: a run's verdicts, the proofs of `verify`, the catalogue of `list`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import ledger, stats
from harness.errors import printable
from harness.records import Cell, Proof
from harness.report import words
from harness.report.tables import Findings
from harness.report.words import digits, name

STYLES = {"proven": "green", "failed": "bold red", "not proven": "yellow"}
PLAIN_WIDTH = 160  # columns where there is no terminal to ask


def print_run(findings: Findings, only: Sequence[Cell] | None = None) -> None:
    """The table of a run, or of some of its cells, and what is said of their tasks as a whole, on stdout."""
    cells = list(findings.rows) if only is None else only
    out, named = console(), {cell.task for cell in cells}
    for text in ledger.differences(findings.run):
        out.print(plain(f"NOT FAIR: {text}", "bold red"))
    out.print(_table(findings, cells))
    for task in findings.tasks:
        if task in named:
            out.print(plain(f"{findings.goal(task)['title']}: {words.sentence(findings, task)}"))


def print_figures(findings: Findings, cells: Sequence[Cell], phase: str) -> None:
    """Every figure of a phase with its interval, of some cells of a run."""
    shown = Table("task", "entry", "metric", "value", "95 % interval", "to best", "rank", "proof")
    for cell in cells:
        for row in findings.rows[cell]:
            if row.phase == phase:
                factor, unit = words.scale(row)
                ratio = f"{digits(row.ratio.value)}x" if row.ratio else ""
                value = f"{digits(row.figure.value * factor)} {unit}"
                figures = (row.metric, value, words.span(row.figure, factor), ratio, row.rank)
                shown.add_row(*map(plain, (cell.task, words.swept(cell), *figures, findings.proofs[cell].state)))
    console().print(shown)


def print_proofs(proofs: Sequence[Proof]) -> None:
    """A line for each backend and mode: what is proven, its worst difference, or what failed first and where."""
    found = Table("task", "backend", "proof", "worst", "")
    for task, backend, mode in dict.fromkeys((p.task, p.backend, p.mode) for p in proofs):
        proof = stats.proven(proofs, task=task, backend=backend, mode=mode)
        state = plain(words.badge(proof.state), STYLES[proof.state])
        found.add_row(plain(task), plain(f"{backend} {mode}"), state, digits(proof.worst, 2), plain(proof.reason))
    console().print(found)


def print_findings(findings: Sequence[tuple[str, str, str]]) -> None:
    """What `concord doctor` looked at: a line each, with a mark beside the colour."""
    marks = {"good": ("✓", "green"), "warning": ("!", "bold yellow"), "not known": ("?", "")}
    found = Table("", "what", "state")
    for what, state, says in findings:
        mark, style = marks[state]
        found.add_row(plain(mark, style), what, plain(says))
    console().print(found)


def print_catalog(catalog: Mapping[str, Mapping[str, Any]]) -> None:
    """What `concord list` found: a table a part, a line a name."""
    for part, entries in catalog.items():
        found = Table(title=part, title_justify="left", show_header=False)
        for entry, facts in entries.items():
            found.add_row(plain(entry, "bold"), plain(_described(facts)))
        console().print(found)


def _described(facts: object) -> str:
    """One entry of the catalogue in a line: "title: ...; modes: eager, compile"; what is empty is left out."""
    if isinstance(facts, Mapping):
        parts = {key: _described(value) for key, value in facts.items()}
        return "; ".join(f"{key}: {value}" for key, value in parts.items() if value)
    return ", ".join(map(str, facts)) if isinstance(facts, list | tuple) else str(facts)


def plain(text: str, style: str = "") -> Text:
    """Text from outside for a terminal: no markup, no control character."""
    return Text(printable(text), style)


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for a log."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _table(findings: Findings, cells: Sequence[Cell]) -> Table:
    found = Table("task", "backend", "proof", title=plain(findings.run.path.name))
    for heading in ("rank", "train step", "to best", "predict batch", "to best", "quality"):
        found.add_column(heading, justify="right")
    for task in findings.tasks:
        units, metric = words.units(findings, task), findings.goal(task)["metric"]
        for number, cell in enumerate(cell for cell in findings.cells_of(task) if cell in cells):
            train, quality = findings.pick(cell, "train"), findings.quality(cell)
            reached = f"{metric} {digits(quality.figure.value, 4)}" if quality else ""
            state = findings.proofs[cell].state
            head = (plain("" if number else task), plain(name(cell)), plain(words.badge(state), STYLES[state]))
            times = [text for phase in ("train", "predict") for text in _time(findings, cell, phase, units)]
            found.add_row(*head, train.rank if train else "", *times, plain(reached))
        found.add_section()
    return found


def _time(findings: Findings, cell: Cell, phase: str, units: Mapping[str, tuple[float, str]]) -> tuple[Text, str]:
    """Time and ratio of one phase; struck through where the proof failed, a hole with its reason in its place."""
    row = findings.pick(cell, phase)
    if row is None:
        return plain(words.hole(findings, cell) if phase == "train" else ""), ""
    text = words.sized(row.figure, *units[phase])
    void = findings.proofs[cell].state == "failed"
    ratio = f"{digits(row.ratio.value)}x" if row.ratio else ""
    return (plain(f"void: {text}", "strike") if void else plain(text)), ratio
