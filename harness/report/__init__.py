"""Views of a run: tables, CSV files, plots, an HTML page, a Markdown file. Built from its records alone, as often as wanted."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from harness.report.tables import Findings


def frames(found: "Findings") -> "dict[str, pd.DataFrame]":
    """The tables of a run by the name of their file."""
    from harness.report import learning, tables

    return {
        "summary": found.summary,
        "pairs": tables.pairs(found),
        "trials": tables.trials(found.run),
        "losses": tables.losses(found.run),
        "trust": tables.trust(found),
        "fairness": tables.fairness(found),
        "quality": learning.reached(found),
        "equality": learning.equality(found),
    }


def build(run_dir: Path) -> Path:
    """Write the CSV files (UTF-8, one header row, full precision), report.html and report.md beside them; the page's path."""
    from harness import records
    from harness.report import html, markdown, tables

    found = tables.find(records.read(run_dir))
    texts = {f"{name}.csv": frame.to_csv(index=False, lineterminator="\n") for name, frame in frames(found).items()}
    for name, text in {**texts, "report.html": html.render(found), "report.md": markdown.render(found)}.items():
        draft = run_dir / f"{name}.part"  # whoever reads sees the old file or the new one, whole
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(run_dir / name)
    return run_dir / "report.html"
