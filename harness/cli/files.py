"""The verbs that lay down files: data fetch, data sample; export, in the forms of other tools; init backend, init task."""

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import PATH, Command, Wanted, asked, complete, shared, talks, tell
from harness.errors import writing

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@click.group(name="data")
def data() -> None:
    """Fetch the official data sets, or draw samples of them.

    \b
    Examples:
      concord data fetch
      concord data fetch mnist cifar10
      concord data sample mnist --out samples
    """


@data.command(cls=Command)
@click.argument("names", nargs=-1, shell_complete=complete(lambda: import_module("harness.download").SOURCES))
@click.option("--data-dir", type=PATH, help="Where they go. Default: Concord's cache.")
@talks
def fetch(names: tuple[str, ...], data_dir: Path | None) -> None:
    """Download data sets from their official mirrors into the cache, or into --data-dir, checked by content.

    \b
    Examples:
      concord data fetch
      concord data fetch mnist cifar10
      concord data fetch credit_default --data-dir ~/data
    """
    from rich.console import Console
    from rich.progress import Progress

    from harness import download, editions

    console, found = Console(stderr=True), {}
    for name in names or editions.SOURCES:
        with Progress(console=console, disable=not console.is_terminal or asked("quiet")) as bars:
            found[name] = download.fetch(name, partial(bar, bars, bars.add_task(name)), data_dir=data_dir)
        if not asked("as_json"):
            click.echo(f"{name}: {found[name]}")
    tell(found, lambda: None)


def bar(bars: "Progress", task: "TaskID", file: str, done: int, total: int | None) -> None:
    """Move the progress bar of one data set on."""
    bars.update(task, description=file, completed=done, total=total)


@data.command(cls=Command)
@click.argument("names", nargs=-1, shell_complete=complete(lambda: import_module("harness.samples").MAKERS))
@click.option("--out", type=PATH, required=True, help="The folder for them; each gets a new one of its name in it.")
@shared("data_dir")
@talks
def sample(names: tuple[str, ...], out: Path, wanted: Wanted) -> None:
    """Draw the samples that ship with Concord from the whole data sets anew: always the same files.

    \b
    Examples:
      concord data sample --out samples --data-dir ~/data
      concord data sample mnist --out samples
      concord data sample mnist cifar10 --out samples --json
    """
    from harness import samples

    written(file for name in names or samples.MAKERS for file in samples.make(name, wanted.data_dir, out))


@click.command(cls=Command)
@click.argument("run_folder", type=PATH)
@click.option("--junit", type=PATH, metavar="FILE", help="The proofs, and what failed, as JUnit XML, for CI.")
@click.option("--parquet", type=PATH, metavar="DIR", help="The tables of the CSV files, typed.")
@click.option("--tensorboard", type=PATH, metavar="DIR", help="Losses and epoch metrics as event files.")
@talks
def export(run_folder: Path, junit: Path | None, parquet: Path | None, tensorboard: Path | None) -> None:
    """Write a run for other tools, and print what was written.

    \b
    Examples:
      concord export results/RUN --junit proofs.xml
      concord export results/RUN --parquet tables
      concord export results/RUN --tensorboard events
    """
    if not (junit or parquet or tensorboard):
        raise click.UsageError("name at least one of --junit, --parquet, --tensorboard")
    from harness import export as job
    from harness import records

    found, files = records.read(run_folder), list[Path]()
    for place, write in ((junit, job.junit), (parquet, job.parquet), (tensorboard, job.tensorboard)):
        if place:
            with writing(place):
                files += write(found, place)
    written(files)


@click.group(name="init")
def init() -> None:
    """Lay down the files of a new backend or task, the contract in place. Its tests fail until they are filled.

    In a checkout of the sources alone: where Concord is installed it is refused.

    \b
    Examples:
      concord init backend mxnet
      concord init task imdb_lstm
    """


@init.command(cls=Command)
@click.argument("name")
@talks
def backend(name: str) -> None:
    """Write backends/NAME: door, engine, layers, input pipeline and a model a task, after the reference's.

    \b
    Examples:
      concord init backend mxnet
      concord init backend mxnet --json
    """
    from harness import scaffold

    lay(scaffold.backend(name))


@init.command(cls=Command)
@click.argument("name")
@talks
def task(name: str) -> None:
    """Write suites/tasks/NAME.py and the model's file in every backend.

    \b
    Examples:
      concord init task imdb_lstm
      concord init task imdb_lstm --json
    """
    from harness import scaffold

    lay(scaffold.task(name))


def lay(files: list[Path]) -> None:
    """Name the new files, and what says how far they are."""
    written(files)
    click.echo("What is missing: python -m pytest tests/test_symmetry.py, then tests/test_conformance.py", err=True)


def written(files: Iterable[Path]) -> None:
    """Name what was written: a line a file, or all of them as JSON."""
    names = list(map(str, files))
    tell({"files": names}, lambda: click.echo("".join(f"{name}\n" for name in names), nl=False))


VERBS = (data, export, init)
