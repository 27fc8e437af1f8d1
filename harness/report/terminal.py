"""What the command line prints: a run's verdicts, the proofs of `verify`, the catalogue of `list`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import stats
from harness.records import Proof, Run
from harness.report import words
from harness.report.tables import Findings, find
from harness.report.words import Line

STYLES = {"proven": "green", "failed": "bold red", "not proven": "yellow"}
PLAIN_WIDTH = 160  # columns where there is no terminal to ask


def table(run: Run) -> Table:
    """Per task, backend and mode: proof, training step, prediction and quality; times with their 95 % intervals."""
    return table_of(find(run))


def sentences(run: Run) -> list[str]:
    """The answer, one sentence a task."""
    return sentences_of(find(run))


def print_run(run: Run) -> None:
    """The table and the sentences of a run, on stdout."""
    findings, out = find(run), console()
    out.print(table_of(findings))
    for text in sentences_of(findings):
        out.print(Text(text))


def print_proofs(proofs: Sequence[Proof]) -> None:
    """A line for each backend and mode: what is proven, its worst difference, or what failed first and where."""
    found = Table("task", "backend", "proof", "worst", "")
    for task, backend, mode in dict.fromkeys((p.task, p.backend, p.mode) for p in proofs):
        proof = stats.proven(proofs, task=task, backend=backend, mode=mode)
        name = f"{backend} {mode}"
        found.add_row(Text(task), Text(name), badge(proof.state), words.digits(proof.worst, 2), Text(proof.reason))
    console().print(found)


def print_catalog(catalog: Mapping[str, Mapping[str, Any]]) -> None:
    """What `concord list` found: a table a part, a line a name."""
    for part, entries in catalog.items():
        found = Table(title=part, title_justify="left", show_header=False)
        for name, facts in entries.items():
            found.add_row(Text(name, "bold"), Text(described(facts)))
        console().print(found)


def described(facts: object) -> str:
    """One entry of the catalogue in a line: "title: ...; modes: eager, compile"; what is empty is left out."""
    if isinstance(facts, Mapping):
        parts = {key: described(value) for key, value in facts.items()}
        return "; ".join(f"{key}: {value}" for key, value in parts.items() if value)
    return ", ".join(map(str, facts)) if isinstance(facts, list | tuple) else str(facts)


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for a log."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def badge(state: str) -> Text:
    """A proof's state with its mark, so that colour is not the only sign."""
    return Text(f"{words.MARKS[state]} {state}", STYLES[state])


def sentences_of(findings: Findings) -> list[str]:
    """The answer, one sentence a task, with its title."""
    return [f"{findings.goal(task)['title']}: {text}" for task, text in words.sentences(findings).items()]


def table_of(findings: Findings) -> Table:
    """The verdict table."""
    found = Table("task", "backend", "proof", title=Text(findings.run.path.name))
    for heading in ("rank", "train step", "to best", "predict batch", "to best", "quality"):
        found.add_column(heading, justify="right")
    for task in findings.tasks:
        add_task(found, findings, task)
    return found


def add_task(found: Table, findings: Findings, task: str) -> None:
    """The lines of one task; its name stands in the first of them."""
    units, metric = words.units(findings, task), findings.goal(task)["metric"]
    for number, line in enumerate(words.lines(findings, task)):
        train = line.figures.get("train")
        times = [text for phase in ("train", "predict") for text in time_cells(line, phase, units)]
        texts = [train.rank if train else "", *times, f"{metric} {line.quality}" if line.quality else ""]
        head = [Text(task if number == 0 else ""), Text(line.name), badge(line.proof.state)]
        found.add_row(*head, *(text if isinstance(text, Text) else Text(text) for text in texts))
    found.add_section()


def time_cells(line: Line, phase: str, units: Mapping[str, tuple[float, str]]) -> list[str | Text]:
    """Time and ratio of one phase; struck through where the proof failed, a hole with its reason in its place."""
    figure = line.figures.get(phase)
    if figure is None:
        return [line.hole if phase == "train" else "", ""]
    span = f" ({figure.interval})" if figure.interval else ""
    text = f"{figure.value} {units[phase][1]}{span}"
    return [Text(f"void: {text}", "strike") if line.proof.state == "failed" else text, figure.ratio]
