"""Two runs side by side, as harness/compare.py found them: for the terminal, as Markdown, as a page, as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any

import pandas as pd

from harness.compare import Comparison, Line
from harness.report import terminal, words
from harness.report.markdown import ROOM
from harness.report.markdown import plain as quoted
from harness.report.markdown import table as markdown_table
from harness.report.words import digits, name

HEADS = {"gates": "A gate fired", "warnings": "Read with care", "changes": "What is not the same", "missing": "Not compared"}
COLUMNS = ["entry", "task", "phase", "NEW / BASE", "interval", "verdict", "BASE", "NEW", "terms", "proof"]
CHECK = ("gate", "verdict", "says", "sees")  # of a gate on a cell, for JSON
GATES: dict[str, str] = {"fired": "fired", "held": "held", "blind": "could not judge", "lost": "lost what they should judge"}
HEAD = "Each entry as a whole: the geometric mean of its lines, but those that a run was too noisy to rank"


def document(found: Comparison) -> dict[str, Any]:
    """All of it for JSON. Times in seconds a step (or a call), or, across machines, times that of ``against``."""
    lines = []
    for line in found.lines:
        times = {"base": line.base, "new": line.new, "against": line.against and name(line.against)}
        proofs = {"base_proof": found.base_proofs[line.cell].state, "new_proof": found.new_proofs[line.cell].state}
        lines.append(asdict(line.cell) | {"phase": line.phase} | times | _ratio(line) | proofs)
    entry = ("backend", "mode", "device", "precision")
    means = [{key: getattr(mean.cell, key) for key in entry} | {"lines": mean.count} | _ratio(mean) for mean in found.means]
    checks = [{"entry": name(c.cell), **asdict(c.cell)} | {key: getattr(c, key) for key in CHECK} for c in found.checks]
    told = {"base": str(found.base.path), "new": str(found.new.path), **notes(found)}
    return told | {"checks": checks, "means": means, "lines": lines}


def _ratio(line: Line) -> dict[str, Any]:
    """A line's ratio and verdict, for JSON."""
    ratio = line.ratio
    told = {"ratio": ratio.value, "ci_low": ratio.low, "ci_high": ratio.high, "generations": ratio.generations}
    return {"verdict": line.told, "noise_floor": line.floor} | told


def notes(found: Comparison) -> dict[str, Sequence[str]]:
    """What stands above the table: sentences by kind."""
    return {kind: getattr(found, kind) for kind in HEADS}


def table(found: Comparison) -> pd.DataFrame:
    """What is shown of every line, as text, the entry first."""
    rows = []
    for line in found.lines:
        factor, unit = (1.0, "x") if line.against else words.time_unit([line.base, line.new])
        terms = f"batch {line.cell.batch}, {words.plural(line.cell.threads, 'CPU')}"
        proofs = [words.badge(states[line.cell].state) for states in (found.base_proofs, found.new_proofs)]
        row = {
            "entry": name(line.cell),
            "task": line.cell.task,
            "phase": line.phase,
            "NEW / BASE": f"{digits(line.ratio.value, 4)}x",
            "interval": words.span(line.ratio) or "-",
            "verdict": line.told,
            "BASE": f"{digits(line.base * factor)} {unit}",
            "NEW": f"{digits(line.new * factor)} {unit}",
            "terms": terms + (f", to {name(line.against)}" if line.against else ""),
            "proof": f"{proofs[0]} in both" if proofs[0] == proofs[1] else ", now ".join(proofs),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def means(found: Comparison) -> pd.DataFrame:
    """What is shown of every entry as a whole, as text."""
    rows = [
        (name(mean.cell), mean.count, f"{digits(mean.ratio.value, 4)}x", words.span(mean.ratio) or "-", mean.verdict)
        for mean in found.means
    ]
    return pd.DataFrame(rows, columns=["entry", "lines", "NEW / BASE", "interval", "verdict"], dtype=str)


def method(found: Comparison) -> str:
    """How the ratios came about, and what they cannot know."""
    time = "time, in times of the entry it is set beside," if any(line.against for line in found.lines) else "time"
    if found.paired:
        return (
            f"Each ratio is the {time} in NEW over that in BASE in the same round of one run, the median of each generation"
            " (a fresh process of either): Student's t, simultaneous 95 % for all lines and means."
        )
    return (
        f"Each ratio is the {time} in NEW over that in BASE, from the medians of generations (fresh processes) of two runs that"
        " share no round: Welch's t, simultaneous 95 % for all lines and means."
        " It does not know how two sittings at one machine differ."
    )


def summed(found: Comparison) -> str:
    """How many lines have which verdict, and how many gates came out how."""
    counts = Counter(line.told for line in found.lines)
    told = words.listed(f"{count} {verdict}" for verdict, count in counts.most_common()) if counts else "nothing is left to judge"
    gates = Counter[str](check.verdict for check in found.checks)
    ended = [f"{gates[verdict]} {word}" for verdict, word in GATES.items() if gates[verdict]]
    return f"{words.plural(len(found.lines), 'line')} compared: {told}." + (f" Gates: {words.listed(ended)}." if ended else "")


def show(found: Comparison) -> None:
    """Warnings, the table, what was left out and which gate fired, on stdout."""
    kinds, rows = notes(found), table(found)

    def told(kind: str, style: str = "") -> None:
        for text in kinds[kind]:
            terminal.print_line(f"{HEADS[kind]}: {text}", style)

    told("warnings", "yellow")
    told("changes")
    if found.means:
        terminal.print_line(HEAD)
        terminal.print_table([*map(str, means(found))], means(found).to_numpy().tolist())
    terminal.print_table([*map(str, rows)], rows.to_numpy().tolist())
    terminal.print_line(summed(found))
    terminal.print_line(method(found))
    told("missing")
    told("gates", "bold red")


def markdown(found: Comparison) -> str:
    """The same for a pull request's comment (GitHub's Markdown): what matters most first, cut by whole rows to its size."""
    found = replace(found, lines=sorted(found.lines, key=lambda line: line.told not in {"slower", "faster"}))
    parts = [f"## {quoted(title(found))}", quoted(summed(found)), *_noted(found, "gates"), *_noted(found, "warnings")]
    if found.means:
        parts += [f"{HEAD}.", markdown_table(map(str, means(found)), means(found).to_numpy().tolist())]
    rows = table(found)
    parts += [*_noted(found, "changes"), method(found), markdown_table(map(str, rows), rows.to_numpy().tolist())]
    lines = "\n\n".join([*parts, *_noted(found, "missing")]).split("\n")
    ends = accumulate(len(line) + 1 for line in lines)
    kept = [line for line, end in zip(lines, ends, strict=True) if end <= ROOM]
    rest = lines[len(kept) :]
    if left := sum(line.startswith(("| ", "- ")) for line in rest) - 2 * sum(line.startswith("| --- |") for line in rest):
        kept.append(f"\nLeft out here for its length, and whole with `--html` and `--json`: {words.plural(left, 'row')}.")
    return "\n".join(kept) + "\n"


def _noted(found: Comparison, kind: str) -> list[str]:
    """The sentences of a kind as a list below its head, if there are any."""
    texts = notes(found)[kind]
    return [f"**{HEADS[kind]}**", "\n".join(f"- {quoted(text)}" for text in texts)] if texts else []


def title(found: Comparison) -> str:
    """Which two runs."""
    return f"{found.new.path.name} compared with {found.base.path.name}"


def page(found: Comparison) -> str:
    """The same as one self-contained page."""
    from harness.report import html  # and with it matplotlib, which knows the colours

    rows = table(found)
    rest = rows.columns.drop("entry")
    rows[rest] = rows[rest].map(lambda text: text.replace(" ", "\u00a0"))  # a narrow column must not break figures
    return html.template("comparison.html.j2").render(
        title=title(found),
        found=found,
        kinds={HEADS[kind]: texts for kind, texts in notes(found).items() if texts},
        summed=summed(found),
        method=method(found),
        head=HEAD,
        means=means(found),
        table=rows,
        colours=html.colours(found.new_proofs),
    )
