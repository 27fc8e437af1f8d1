"""What the command line prints: a run's verdicts, the proofs of `verify`, the catalogue of `list`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from harness import ledger, standing
from harness.errors import printable
from harness.records import Cell, Proof
from harness.report import answer, words
from harness.report.findings import Findings
from harness.report.words import badge, digits

STYLES = {
    **dict.fromkeys(("faster", badge("proven"), "✓"), "green"),
    **dict.fromkeys(("undecided", badge("not proven")), "yellow"),
    **dict.fromkeys(("slower", badge("failed"), "✗"), "bold red"),
    "!": "bold yellow",
}
PLAIN_WIDTH = 160  # columns where there is no terminal to ask
ASCII = {"✗ failed": "FAILED", "✓": "ok", "✗": "FAILED", "○": "-", "µ": "u", "…": "..."}  # our own signs, where they may not go


def print_run(findings: Findings, only: Sequence[Cell] | None = None) -> None:
    """The table of a run, or of some of its cells, and what is said of their tasks as a whole, on stdout."""
    cells = list(findings.rows) if only is None else only
    tasks = [task for task in findings.tasks if any(cell.task == task for cell in cells)]
    for text in ledger.differences(findings.run):
        print_line(f"NOT FAIR: {text}", "bold red")
    groups = answer.groups(findings)
    for group in groups:
        rows = [(task, *row) for task in tasks for cell, row in answer.table(group, task).items() if cell in cells]
        if rows or not group.title:
            title = ": ".join(filter(None, (findings.run.path.name, group.title)))
            print_table(("task", *answer.HEADS), rows, title=title, left=3)
    leading = groups[0].findings
    for task in tasks:
        for text in answer.missing(findings, task):
            print_line(f"Missing in {task}: {text}", "yellow")
        print_line(
            f"{findings.goal(task)['title']}: {words.sentence(leading, task)} Terms: {words.common(leading, task) or '-'}."
        )
    if only is None:
        for text in words.together(leading):
            print_line(text)


def print_figures(findings: Findings, cells: Sequence[Cell], phase: str) -> None:
    """Every figure of a phase with its interval, of some cells of a run."""
    rows = []
    found = [(cell, row) for cell in cells for row in findings.rows[cell] if row.phase == phase]
    for cell, row in found:
        ratio = f"{digits(row.ratio.value)}x" if row.ratio else ""
        figures = (row.metric, words.amount(row), words.within(row), ratio, row.rank)
        rows.append((cell.task, words.swept(cell, phase), *figures, badge(findings.proofs[cell].state)))
    print_table(("task", "entry", "metric", "value", "95 % interval", "to best", "rank", "proof"), rows)


def print_proofs(proofs: Sequence[Proof]) -> None:
    """A line for each backend and mode: what is proven, its worst difference, or what failed first and where."""
    rows = []
    for task, backend, mode in dict.fromkeys((p.task, p.backend, p.mode) for p in proofs):
        proof = standing.proven(proofs, task=task, backend=backend, mode=mode)
        rows.append((task, f"{backend} {mode}", badge(proof.state), digits(proof.worst, 2), proof.reason))
    print_table(("task", "backend", "proof", "worst", ""), rows)


def print_findings(findings: Sequence[tuple[str, str, str]]) -> None:
    """What `concord doctor` looked at: a line each, with a mark beside the colour."""
    marks = {"good": "✓", "warning": "!", "bad": "✗", "not known": "?"}
    print_table(("", "what", "state"), [(marks[state], what, says) for what, state, says in findings])


def print_catalog(catalog: Mapping[str, Mapping[str, Any]]) -> None:
    """What `concord list` found: a table a part, a line a name."""
    for part, entries in catalog.items():
        print_table(("", ""), [(entry, _described(facts)) for entry, facts in entries.items()], title=part)


def _described(facts: object) -> str:
    """One entry of the catalogue in a line: "title: ...; modes: eager, compile"; what is empty is left out."""
    if isinstance(facts, Mapping):
        parts = {key: _described(value) for key, value in facts.items()}
        return "; ".join(f"{key}: {value}" for key, value in parts.items() if value)
    return ", ".join(map(str, facts)) if isinstance(facts, list | tuple) else str(facts)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", left: int = 99) -> None:
    """A table on stdout, verdicts in colour and void times struck through; columns from ``left`` on stand to the right."""
    to = console()
    bare = simple(to)
    overflow: OverflowMethod = "fold" if bare else "ellipsis"
    lines = box.ASCII if bare else box.HEAVY_HEAD
    found = Table(title=plain(title, bare=bare), title_justify="left", show_header=any(heads), box=lines)
    for number, head in enumerate(heads):
        found.add_column(plain(head, bare=bare), justify="left" if number < left else "right", overflow=overflow)
    for row in rows:
        styles = (
            "strike" if text.startswith(answer.VOID) else STYLES.get(text) or STYLES.get(text.rsplit(" ", 1)[-1], "")
            for text in row
        )
        found.add_row(*(plain(text, style, bare=bare) for text, style in zip(row, styles, strict=True)))
    to.print(found)


def print_line(text: str, style: str = "") -> None:
    """A line on stdout."""
    to = console()
    to.print(plain(text, style, bare=simple(to)))


def plain(text: str, style: str = "", *, bare: bool) -> Text:
    """Text from outside for a terminal: no markup, no control character, and ``bare`` of the signs that are not ASCII."""
    shown = printable(text)
    for sign, word in ASCII.items() if bare else ():
        shown = shown.replace(sign, word)
    return Text(shown, style)


def simple(to: Console) -> bool:
    """Whether we print ASCII alone: in a file or a pipe, which anything may read, and on a terminal that knows no more."""
    return not to.is_terminal or to.options.ascii_only


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for a log."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
