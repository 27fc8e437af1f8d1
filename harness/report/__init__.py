"""Views of a run: tables, CSV files, plots, one HTML page. Built from its records alone, as often as wanted."""

from pathlib import Path


def build(run_dir: Path) -> Path:
    """Write the CSV files and report.html into the run's folder; the page's path."""
    from harness import records
    from harness.report import csvs, html
    from harness.report.tables import find

    findings = find(records.read(run_dir))
    csvs.write(findings)
    return csvs.replace(run_dir / "report.html", html.render(findings))
