"""The verb about data sets: fetch."""

from functools import partial
from typing import TYPE_CHECKING

import click

from harness.cli.options import Wanted, options

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@click.group(name="data")
def data() -> None:
    """Fetch the official data sets."""


@data.command()
@click.argument("names", nargs=-1)
@options("data_dir")
def fetch(names: tuple[str, ...], wanted: Wanted) -> None:
    """Download data sets from their official mirrors into the cache, or into --data-dir, checked by content."""
    from rich.console import Console
    from rich.progress import Progress

    from harness import download

    for name in names or download.SOURCES:
        with Progress(console=Console(stderr=True)) as bars:
            show = partial(bar, bars, bars.add_task(name))
            where = download.fetch(name, show, data_dir=wanted.data_dir)
        click.echo(f"{name}: {where}")


def bar(bars: "Progress", task: "TaskID", file: str, done: int, total: int | None) -> None:
    """Move the progress bar of one data set on."""
    bars.update(task, description=file, completed=done, total=total)
