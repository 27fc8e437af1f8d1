"""The verbs that read records and the catalogue: report, list."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import catalog
from harness.cli.options import EXIT_CELL, EXIT_PROOF, EXIT_TIME, PATH, Wanted, as_json_option, options, print_json

if TYPE_CHECKING:
    from harness.workplace import Installed


def finish(folder: Path, *, as_json: bool | None) -> None:
    """Make the views of what there is, and print the table and the path of the report. Of None: the path alone, on stderr."""
    from harness import records, report
    from harness.alone import held
    from harness.report import tables, terminal

    with held(folder):
        found = tables.find(records.read(folder))
        page = report.write(found)
    if as_json:
        click.echo(found.summary.to_json(orient="records"))
    elif as_json is not None:
        terminal.print_run(found)
    click.echo(str(page), err=as_json is not False)


def open_page(page: Path) -> None:
    """Open a page in the browser, or say that there is none."""
    screen = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not screen or click.launch(str(page)):
        click.echo(f"concord: no browser to open {page} in.", err=True)


def exit_code(folder: Path, *, strict: bool = False) -> int:
    """1 if a proof failed or, ``strict``, it is not fair; 3 if a cell failed; 124 if time was up; 3 if one is missing; or 0."""
    from harness import ledger, records

    found = records.read(folder)
    if any(row.verdict == "failed" for row in found.proofs) or (strict and ledger.differences(found)):
        return EXIT_PROOF
    states = {trial.status for trial in found.trials}
    cut = found.at("suite", "hard") and len(found.progress["complete"]) < found.at("suite", "generations")
    if cut and "failed" not in states:
        return EXIT_TIME
    return EXIT_CELL if states - {"ok"} else 0


@click.command()
@click.argument("run_folder", type=PATH)
@as_json_option
def report(run_folder: Path, as_json: bool) -> None:
    """Make all views of a run anew from its records."""
    finish(run_folder, as_json=as_json)


@click.command(name="list")
@options("python", "data_dir")
@as_json_option
def list_(wanted: Wanted, as_json: bool) -> None:
    """Name the tasks, backends, modes, suites and data sets, and where each was found."""
    from harness import data, workplace

    found: dict[str, dict[str, Any]] = {
        "tasks": {name: catalog.task(name).title for name in catalog.tasks()},
        "suites": {name: catalog.suite(name).title for name in catalog.suites()},
        "backends": {
            name: backend_facts(workplace.probe(name, wanted.python.get(name, sys.executable)), name)
            for name in catalog.labelled(catalog.backends(), wanted.python)
        },
        "data": {
            name: {"found": label, "where": str(where or "")} for name, (label, where) in data.locate_all(wanted.data_dir).items()
        },
    }
    if as_json:
        print_json(found)
        return
    from harness.report import terminal

    terminal.print_catalog(found)


def backend_facts(found: "Installed", name: str) -> dict[str, Any]:
    """One backend for `concord list`."""
    return {
        "title": catalog.backend(name).TITLE,
        "modes": list(catalog.backend(name).MODES),
        "versions": dict(found.versions),
        "python": found.python,
        "missing": found.advice(name) if found.missing else "",
    }


VERBS = (report, list_)
