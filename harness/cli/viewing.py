"""The verbs that read records and the catalogue: report, show, compare, history, list."""

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import catalog
from harness.cli import options
from harness.cli.options import PATH, Command, Wanted, asked, complete, filters, shared, talks, tell
from harness.errors import HarnessError, writing

if TYPE_CHECKING:
    import pandas as pd

    from harness.compare import Comparison
    from harness.workplace import Installed


def finish(folder: Path, *, table: bool = True) -> None:
    """Make the views of what there is, and print the table and the path of the report; or the path alone, on stderr."""
    from harness import records, report
    from harness.alone import held
    from harness.report import tables, terminal
    from harness.report.findings import find

    with held(folder):
        found = find(records.read(folder))
        page = report.write(found)
    if table:
        tell(document(folder, tables.summary(found)), lambda: terminal.print_run(found))
    click.echo(str(page), err=asked("as_json") or not table)


def document(folder: Path, figures: "pd.DataFrame") -> dict[str, Any]:
    """Figures of a run for JSON, as rows with the columns of summary.csv and all digits; and its page, if it has one."""
    page = folder / "report.html"
    return {"run": folder, "report": page if page.is_file() else None, "figures": figures.to_dict("records")}


def open_page(page: Path) -> None:
    """Open a page in the browser, or say that there is none."""
    screen = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not screen or click.launch(str(page)):
        click.echo(f"concord: no browser to open {page} in.", err=True)


def exit_code(folder: Path, *, strict: bool = False) -> int:
    """1 if a proof failed or, ``strict``, it is not fair; 3 if a cell failed; 124 if time was up; 3 if one is missing; or 0.

    A cell failed, too, where its proof had nothing to judge. ``strict``: 4 where all this is well, and noise refuses a ranking.
    """
    from harness import ledger, ranking, records, verify

    found = records.read(folder)
    failed = [row for row in found.proofs if row.verdict == "failed"]
    if any(map(verify.judged, failed)) or (strict and ledger.differences(found)):
        return options.EXIT_PROOF
    states = {trial.status for trial in found.trials} | {row.verdict for row in failed}
    least = found.at("suite", "generations") or 0
    short = len(found.progress["complete"]) < least or any(map(records.cut_short, found.trials))
    if short and (found.at("suite", "hard") or not least) and "failed" not in states:
        return options.EXIT_TIME
    if states - {"ok"}:
        return options.EXIT_CELL
    return options.EXIT_NOISY if strict and any(contest.noisy for contest in ranking.contests(found)) else 0


@click.command(cls=Command)
@click.argument("run_folder", type=PATH)
@talks
def report(run_folder: Path) -> None:
    """Make all views of a run anew from its records.

    \b
    Examples:
      concord report results/RUN
      concord report results/RUN --json
    """
    finish(run_folder)


def share(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A percentage such as 3% or 2.5 as a share."""
    if value is None:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?%?", value):
        raise click.BadParameter(f"{value!r} is not a percentage, for example 3%")
    if not value.endswith("%") and 0 < float(value) < 1:
        raise click.BadParameter(f"{value!r} may be {float(value):g} % or {100 * float(value):g} %: write the sign, too")
    return float(value.removesuffix("%")) / 100


@click.command(cls=Command)
@click.argument("base", type=PATH)
@click.argument("new", type=PATH)
@click.option(
    "--fail-if-slower",
    "slower",
    callback=share,
    metavar="PERCENT",
    help="Exit code 1 if the whole interval of some cell lies beyond this. Default: no such gate.",
)
@click.option(
    "--fail-if-unproven",
    "unproven",
    is_flag=True,
    help="Exit code 1 if NEW has not proven a cell; stock modes, and what is not installed, aside.",
)
@click.option(
    "--across-machines", "across", is_flag=True, help="Compare only ratios to one entry: BASE's fastest proven in both."
)
@filters("task", "backend", "mode", "phase")
@talks
@click.option("--markdown", type=PATH, help="Write it for a pull request's comment, too.")
@click.option("--html", type=PATH, help="Write it as a page, too.")
@click.option("--junit", type=PATH, metavar="FILE", help="Write the gates as JUnit XML, for CI.")
def compare(
    base: Path, new: Path, slower: float | None, unproven: bool, across: bool, only: dict[str, str], **files: Path | None
) -> None:
    """Say what became slower or faster from BASE to NEW: two runs, or two versions that ran in one, as RUN@LABEL.

    Exit code 1 if a gate fires, 3 if it finds no time in NEW of what BASE has, 4 if it can judge no line.

    \b
    Examples:
      concord compare results/yesterday results/today --filter task=mnist_cnn
      concord compare results/main results/branch --fail-if-slower 3% --fail-if-unproven --markdown comment.md
      concord compare results/RUN@main results/RUN@branch --fail-if-slower 3%
    """
    if files["junit"] and slower is None and not unproven:
        raise click.UsageError("--junit writes gates: give --fail-if-slower or --fail-if-unproven, too")
    from harness import compare as job
    from harness import export, sides
    from harness.report import comparison

    found = job.compare(*sides.pair(base, new), across=across, wanted=only)
    found = found.judged(slower=slower, unproven=unproven)
    for path, view in ((files["markdown"], comparison.markdown), (files["html"], comparison.page)):
        if path:
            write(path, view(found))
    if files["junit"]:
        export.junit_of_gates(found, files["junit"])
    tell(comparison.document(found), lambda: comparison.show(found))
    sys.exit(gate_code(found))


def write(path: Path, text: str) -> None:
    """A file where somebody wants it, in a folder that need not exist."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def gate_code(found: "Comparison") -> int:
    """1 if a gate fired; 3 if it has nothing to judge in NEW of what BASE has; 4 if it could judge no line; or 0."""
    if found.gates:
        return options.EXIT_PROOF
    if any(check.verdict == "lost" for check in found.checks):
        return options.EXIT_CELL
    return options.EXIT_NOISY if found.blind else 0


@click.command(cls=Command)
@click.argument("task", default="", shell_complete=complete(catalog.tasks))
@click.option("--results", type=PATH, default=options.RESULTS, show_default=True, help="The folder of runs.")
@click.option("--plot", type=PATH, metavar="FILE.svg", help="Draw it, too.")
@filters("task", "backend", "mode")
@talks
def history(task: str, results: Path, plot: Path | None, only: dict[str, str]) -> None:
    """Show how long a training step took in every run, with what changed in between.

    \b
    Examples:
      concord history
      concord history --results ~/results --json
      concord history mnist_cnn --filter backend=jax --plot mnist.svg
    """
    from harness.report import history as job

    wanted = {"task": task} if task else {}
    trends = job.trends(job.read_all(results, lambda text: click.echo(f"concord: skipped {text}", err=True)), only | wanted)
    if not trends:
        raise HarnessError(f"{results} holds no timed run: name another folder with --results.")
    if plot:
        write(plot, job.plot(trends))
    tell(job.document(trends), lambda: job.show(trends))


@click.command(cls=Command)
@click.argument("run_folder", type=PATH)
@filters("task", "backend", "mode", "phase")
@talks
def show(run_folder: Path, only: dict[str, str]) -> None:
    """Print the table and the sentences of a finished run. With a phase: every figure of it.

    \b
    Examples:
      concord show results/RUN
      concord show results/RUN --filter task=mnist_cnn
      concord show results/RUN --filter backend=jax --filter phase=latency --json
    """
    from harness import records
    from harness.report import tables, terminal
    from harness.report.findings import find

    found = find(records.read(run_folder))
    cells, figures = tables.only(found, only)
    printed = partial(terminal.print_figures, phase=only["phase"]) if "phase" in only else terminal.print_run
    tell(document(run_folder, figures), lambda: printed(found, cells))


@click.command(name="list", cls=Command)
@shared("python", "data_dir")
@talks
def list_(wanted: Wanted) -> None:
    """Name the tasks, backends, modes, suites and data sets, and where each was found.

    \b
    Examples:
      concord list
      concord list --json
      concord list --python torch=.venv-torch/bin/python --data-dir ~/data
    """
    from harness import data, workplace
    from harness.report import terminal

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
    tell(found, lambda: terminal.print_catalog(found))


def backend_facts(found: "Installed", name: str) -> dict[str, Any]:
    """One backend for `concord list`."""
    return {
        "title": catalog.backend(name).TITLE,
        "modes": list(catalog.backend(name).MODES),
        "versions": dict(found.versions),
        "python": found.python,
        "missing": found.advice(name) if found.missing else "",
    }


VERBS = (report, show, compare, history, list_)
