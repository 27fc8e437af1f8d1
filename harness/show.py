"""What the command line prints: proofs, a run's table, the catalog. For people; machines ask for --json."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.records import Proof, Run
from harness.report import terminal

DIGITS = ".1e"


def console() -> Console:
    """A console on stdout; wide enough for a table where there is no terminal to say."""
    found = Console()
    return found if found.is_terminal else Console(width=160)


def run(found: Run) -> None:
    """The table of a run and its answer, a sentence a task."""
    out = console()
    out.print(terminal.table(found))
    for sentence in terminal.sentences(found):
        out.print(sentence, markup=False, highlight=False)


def proofs(rows: list[Proof]) -> None:
    """One line a task, backend and mode: its worst float64 figures; a failed one says where it first differs."""
    table = Table("task", "backend", "mode", "verdict", title="float64 and float32 proof", title_justify="left")
    for heading in ("loss", "tensors", "first difference"):
        table.add_column(heading, overflow="fold")
    keys = dict.fromkeys((row.task, row.backend, row.mode) for row in rows)
    for key in keys:
        own = [row for row in rows if (row.task, row.backend, row.mode) == key]
        table.add_row(*key, *summary(own))
    console().print(table)


def summary(rows: list[Proof]) -> tuple[str, str, str, str]:
    """Verdict, worst relative loss difference, worst tensor difference, and the first failure of one backend and mode."""
    losses = worst(rows, {"loss", "steps"})
    tensors = worst(rows, {"logits", "gradients", "tensors", "eval"})
    failed = next((row for row in rows if row.verdict == "failed"), None)
    if failed:
        figure = "" if failed.worst is None else f" is {failed.worst:{DIGITS}}, allowed {failed.tolerance:{DIGITS}}"
        where = f"{failed.level}: {failed.where}{figure}" if failed.where else ""
        return "FAILED", losses, tensors, " ".join(filter(None, (where, f"against {failed.against}", failed.reason)))
    drift = next((row for row in rows if row.verdict == "skipped"), None)
    if drift:
        return "not proven", losses, tensors, f"{drift.reason}: {drift.worst:{DIGITS}}"
    return "proven", losses, tensors, ""


def worst(rows: list[Proof], levels: set[str]) -> str:
    """The largest float64 difference of some levels."""
    found = [row.worst for row in rows if row.precision == "float64" and row.level in levels and row.worst is not None]
    return f"{max(found):{DIGITS}}" if found else ""


def catalog(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Tasks, suites, backends and data sets."""
    out = console()
    for kind in ("tasks", "suites"):
        out.print(listing(kind, [(name, title) for name, title in found[kind].items()]))
    rows = [(name, ", ".join(f["modes"]), f["missing"] or versions(f)) for name, f in found["backends"].items()]
    out.print(listing("backends", rows))
    out.print(listing("data", [(name, f["found"], f["where"]) for name, f in found["data"].items()]))


def versions(facts: Mapping[str, Any]) -> str:
    """The packages of one backend."""
    return ", ".join([f"{name} {version}" for name, version in facts["versions"].items()] + [f"Python {facts['python']}"])


def listing(title: str, rows: list[tuple[str, ...]]) -> Table:
    """A plain table without headings."""
    table = Table(title=title, show_header=False, title_justify="left", box=None, padding=(0, 2))
    for row in rows:
        table.add_row(*row)
    return table
