"""The verbs about data sets: fetch, sample."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import PATH, Wanted, options

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@click.group(name="data")
def data() -> None:
    """Fetch the official data sets, or make the samples that ship."""


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


@data.command()
@click.option("--data-dir", type=PATH, required=True, help="Where the full data sets are.")
@click.option("--out", type=PATH, default=Path("suites/samples"), show_default=True)
def sample(data_dir: Path, out: Path) -> None:
    """Make the small class-balanced samples that ship with Concord."""
    from harness import samples

    for path in samples.make(data_dir, out):
        click.echo(str(path))
