"""The verdict table of a task as texts, and what is missing from it: what the terminal and report.md both show."""

from harness.records import Cell
from harness.report import words
from harness.report.tables import Findings
from harness.report.words import digits, name

HEADS = ["backend", "proof", "rank", "train step", "to best", "predict batch", "to best", "quality"]
VOID = "void: "  # so begins a time whose proof failed


def table(findings: Findings, task: str) -> dict[Cell, list[str]]:
    """A row for each cell on the task's main terms; a text is empty where nothing is known."""
    units, metric = words.units(findings, task), findings.goal(task)["metric"]
    rows = {}
    for cell in findings.cells_of(task):
        state, train, quality = findings.proofs[cell].state, findings.pick(cell, "train"), findings.quality(cell)
        row = [name(cell), words.badge(state), train.rank if train else ""]
        for phase in ("train", "predict"):
            if found := findings.pick(cell, phase):
                time = (VOID if state == "failed" else "") + words.sized(found.figure, *units[phase])
                row += [time, words.sized(found.ratio) if found.ratio else ""]
            else:
                row += ["not timed", ""]
        rows[cell] = [*row, f"{metric} {digits(quality.figure.value, 4)}" if quality else ""]
    return rows


def missing(findings: Findings, task: str) -> list[str]:
    """What did not end well, sweeps included, an entry and its reason each."""
    labels = {cell: name(cell) for cell in findings.cells_of(task)} | {c: words.swept(c) for c in findings.sweep_of(task)}
    return [f"{label}: {text}" for cell, label in labels.items() for text in findings.troubles[cell]]
