"""Views of a run: tables, CSV files, plots, one HTML page. Built from its records alone, as often as wanted."""

from pathlib import Path


def build(run_dir: Path) -> Path:
    """Write the CSV files (UTF-8, one header row, full precision) and report.html into the run's folder; the page's path."""
    from harness import records
    from harness.report import html, learning, tables

    run = records.read(run_dir)
    found = tables.find(run)
    frames = {"summary": found.summary, "pairs": tables.pairs(found)}
    frames |= {"trials": tables.trials(run), "losses": tables.losses(run)}
    frames |= {"trust": tables.trust(found), "fairness": tables.fairness(found)}
    frames |= {"quality": learning.reached(found), "equality": learning.equality(found)}
    texts = {f"{name}.csv": frame.to_csv(index=False, lineterminator="\n") for name, frame in frames.items()}
    for name, text in {**texts, "report.html": html.render(found)}.items():
        draft = run_dir / f"{name}.part"  # whoever reads sees the old file or the new one, whole
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(run_dir / name)
    return run_dir / "report.html"
