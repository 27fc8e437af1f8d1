"""The verdict tables of a task as texts, and what is missing from them: what the terminal and report.md both show."""

from collections.abc import Iterable
from typing import NamedTuple

from harness import standing
from harness.records import Cell, Proof
from harness.report import words
from harness.report.findings import Findings
from harness.report.words import digits, name

HEADS = ["backend", "proof", "rank", "train step", "train to best", "predict batch", "predict to best", "quality"]
VOID = "void: "  # so begins a time whose proof failed


class Group(NamedTuple):
    """What stands in one table and is ranked together: what that is, the findings that rank it, and which cells of them."""

    title: str
    findings: Findings
    precision: str = ""  # "" for any

    def cells_of(self, task: str) -> list[Cell]:
        """Its cells of a task on the main terms."""
        return [cell for cell in self.findings.cells_of(task) if self.precision in {"", cell.precision}]


def groups(findings: Findings) -> list[Group]:
    """Each backend's first mode, of which the answer speaks; then, of a run with more, all modes of a precision together."""
    first = findings.in_first_modes
    precisions = sorted({cell.precision for cell in findings.rows}, key=lambda precision: (precision != "float32", precision))
    if first is findings and len(precisions) <= 1:
        return [Group("", findings)]
    leading = [] if first is findings else [Group("each backend in its first mode", first)]
    return leading + [Group(f"all modes in {precision}", findings, precision) for precision in precisions]


def table(group: Group, task: str) -> dict[Cell, list[str]]:
    """A row for each cell of a group on the task's main terms; a text is empty where nothing is known."""
    findings = group.findings
    units, metric = words.units(findings, task), findings.goal(task)["metric"]
    rows = {}
    for cell in group.cells_of(task):
        state, train, quality = findings.proofs[cell].state, findings.pick(cell, "train"), findings.quality(cell)
        row = [name(cell), words.badge(state), train.rank if train else ""]
        for phase in ("train", "predict"):
            if found := findings.pick(cell, phase):
                time = (VOID if state == "failed" else "") + words.sized(found.figure, *units[phase])
                row += [time, f"{words.sized(found.ratio)} {found.verdict}".strip() if found.ratio else ""]
            else:
                row += ["not timed", ""]
        rows[cell] = [*row, f"{metric} {digits(quality.figure.value, 4)}" if quality else ""]
    return rows


def missing(findings: Findings, task: str) -> list[str]:
    """What did not end well, sweeps included, an entry and its reason each."""
    return [f"{label}: {text}" for cell, label in words.labels(findings, task).items() for text in findings.troubles[cell]]


def failed(proofs: Iterable[Proof]) -> list[str]:
    """Which levels of the proof failed, and where."""
    return [f"{name(p)}, {p.level} against {p.against}: {standing.located(p)}" for p in proofs if p.verdict == "failed"]
