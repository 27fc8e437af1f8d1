"""The run's tables as CSV files beside its records: UTF-8, one header row, full precision, replaced in one step."""

import os
from pathlib import Path

import pandas as pd

from harness.report import tables
from harness.report.tables import Findings


def write(findings: Findings) -> tuple[Path, ...]:
    """Write summary.csv, pairs.csv, trials.csv and losses.csv into the run's folder; their paths."""
    run = findings.run
    frames = {
        "summary.csv": tables.frame_of(findings),
        "pairs.csv": tables.pairs(findings),
        "trials.csv": tables.trials(run),
        "losses.csv": tables.losses(run),
    }
    return tuple(replace(run.path / name, csv(frame)) for name, frame in frames.items())


def csv(frame: pd.DataFrame) -> str:
    """The text of a CSV file: floats as the shortest text that reads back the same, nothing where nothing is known."""
    return frame.to_csv(index=False, lineterminator="\n")


def replace(path: Path, text: str) -> Path:
    """Put ``text`` at ``path`` in one step: whoever reads sees the old file or the new one, whole."""
    draft = path.with_name(path.name + ".part")
    with draft.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path
