"""Views of a run: tables, CSV files, plots, an HTML page, a Markdown file. Built from its records alone, as often as wanted."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from harness.report.findings import Findings


def frames(found: "Findings") -> "dict[str, pd.DataFrame]":
    """The tables of a run by the name of their file; trials.csv is written line by line."""
    from harness.report import learning, tables

    return {
        "summary": tables.summary(found),
        "pairs": tables.pairs(found),
        "spread": tables.spread(found),
        "overall": tables.overall(found),
        "losses": tables.losses(found.run),
        "scores": tables.scores(found.run),
        "trust": tables.trust(found),
        "rounds": tables.rounds(found),
        "proofs": tables.proofs(found.run),
        "fairness": tables.fairness(found),
        "quality": learning.reached(found),
        "equality": learning.equality(found),
    }


def write(found: "Findings") -> Path:
    """Write the CSV files (UTF-8, one header row, full precision), report.html and report.md; the page's path."""
    from harness import disk
    from harness.report import html, markdown, tables

    folder, parts = found.run.path, frames(found)
    for name, frame in parts.items():
        disk.put(folder / f"{name}.csv", [frame.map(tables.inert).to_csv(index=False, lineterminator="\n")])
    disk.put(folder / "trials.csv", tables.trials(found.run))
    disk.put(folder / "report.md", [markdown.render(found)])
    disk.put(folder / "report.html", [html.render(found, parts)])
    return folder / "report.html"
