"""The verdict table of a task as texts, and what is missing from it: what the terminal and report.md both show."""

from collections.abc import Iterable

from harness import stats
from harness.records import Cell, Proof
from harness.report import words
from harness.report.tables import Findings
from harness.report.words import digits, name

HEADS = ["backend", "proof", "rank", "train step", "train to best", "predict batch", "predict to best", "quality"]
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
    return [f"{label}: {text}" for cell, label in words.labels(findings, task).items() for text in findings.troubles[cell]]


def failed(proofs: Iterable[Proof]) -> list[str]:
    """Which levels of the proof failed, and where."""
    return [f"{name(p)}, {p.level} against {p.against}: {stats.located(p)}" for p in proofs if p.verdict == "failed"]
