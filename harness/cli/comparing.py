"""The verbs that read finished runs: compare, history, show."""

import re
import sys
from pathlib import Path

import click

from harness import catalog
from harness.cli.measuring import RESULTS
from harness.cli.options import EXIT_PROOF, PATH, as_json_option, complete, filter_option, print_json
from harness.errors import HarnessError, writing


def share(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A percentage such as 3% or 2.5 as a share."""
    if value is None:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?%?", value):
        raise click.BadParameter(f"{value!r} is not a percentage, for example 3%")
    return float(value.removesuffix("%")) / 100


@click.command()
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
    "--fail-if-unproven", "unproven", is_flag=True, help="Exit code 1 if NEW has not proven a cell (stock modes aside)."
)
@click.option("--across-machines", "across", is_flag=True, help="Compare only ratios to the fastest proven entry in each run.")
@filter_option("task", "backend", "mode")
@as_json_option
@click.option("--markdown", type=PATH, help="Write it for a pull request's comment, too.")
@click.option("--html", type=PATH, help="Write it as a page, too.")
@click.option("--junit", type=PATH, metavar="FILE", help="Write the gates as JUnit XML, for CI.")
def compare(
    base: Path,
    new: Path,
    slower: float | None,
    unproven: bool,
    across: bool,
    only: dict[str, str],
    as_json: bool,
    markdown: Path | None,
    html: Path | None,
    junit: Path | None,
) -> None:
    """Say what became slower or faster from run BASE to run NEW, two folders. Exit code 1 if a gate fires.

    \b
    Examples:
      concord compare results/yesterday results/today --filter task=mnist_cnn
      concord compare results/main results/branch --fail-if-slower 3% --fail-if-unproven --markdown comment.md
    """
    if junit and slower is None and not unproven:
        raise click.UsageError("--junit writes gates: give --fail-if-slower or --fail-if-unproven, too")
    from harness import compare as job
    from harness import export, records
    from harness.report import comparison

    found = job.compare(records.read(base), records.read(new), across=across, wanted=only).judged(
        slower=slower, unproven=unproven
    )
    for path, view in ((markdown, comparison.markdown), (html, comparison.page)):
        if path:
            with writing(path):
                path.write_text(view(found), encoding="utf-8")
    if junit:
        export.junit_of_gates(found, junit)
    if as_json:
        print_json(comparison.document(found))
    else:
        comparison.show(found)
    sys.exit(EXIT_PROOF if found.gates else 0)


@click.command()
@click.argument("task", default="", shell_complete=complete(catalog.tasks))
@click.option("--results", type=PATH, default=RESULTS, show_default=True, help="The folder of runs.")
@click.option("--plot", type=PATH, metavar="FILE.svg", help="Draw it, too.")
@filter_option("task", "backend", "mode")
@as_json_option
def history(task: str, results: Path, plot: Path | None, only: dict[str, str], as_json: bool) -> None:
    """Show how long a training step took in every run, with what changed in between.

    \b
    Examples:
      concord history
      concord history mnist_cnn --filter backend=jax --plot mnist.svg
    """
    from harness.report import history as job

    wanted = {"task": task} if task else {}
    trends = job.trends(job.read_all(results, lambda text: click.echo(f"concord: skipped {text}", err=True)), only | wanted)
    if not trends:
        raise HarnessError(f"{results} holds no timed run: name another folder with --results.")
    if plot:
        with writing(plot):
            plot.write_text(job.plot(trends), encoding="utf-8")
    if as_json:
        print_json(job.document(trends))
    else:
        job.show(trends)


@click.command()
@click.argument("run_folder", type=PATH)
@filter_option("task", "backend", "mode", "phase")
@as_json_option
def show(run_folder: Path, only: dict[str, str], as_json: bool) -> None:
    """Print the table and the sentences of a finished run. With a phase: every figure of it.

    \b
    Examples:
      concord show results/RUN --filter task=mnist_cnn
      concord show results/RUN --filter backend=jax --filter phase=latency --json
    """
    from harness import records
    from harness.report import tables, terminal

    found = tables.find(records.read(run_folder))
    cells, figures = tables.only(found, only)
    if as_json:
        click.echo(figures.to_json(orient="records"))
    elif "phase" in only:
        terminal.print_figures(found, cells, only["phase"])
    else:
        terminal.print_run(found, cells)


VERBS = (compare, history, show)
