"""The verb about data sets: fetch."""

from functools import partial
from typing import TYPE_CHECKING

import click

from harness.cli.options import Wanted, as_json_option, options, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@click.group(name="data")
def data() -> None:
    """Fetch the official data sets."""


@data.command()
@click.argument("names", nargs=-1)
@options("data_dir")
@as_json_option
def fetch(names: tuple[str, ...], wanted: Wanted, as_json: bool) -> None:
    """Download data sets from their official mirrors into the cache, or into --data-dir, checked by content."""
    from rich.console import Console
    from rich.progress import Progress

    from harness import download

    console, found = Console(stderr=True), {}
    for name in names or download.SOURCES:
        with Progress(console=console, disable=not console.is_terminal or click.get_current_context().meta["quiet"]) as bars:
            show = partial(bar, bars, bars.add_task(name))
            found[name] = download.fetch(name, show, data_dir=wanted.data_dir)
        if not as_json:
            click.echo(f"{name}: {found[name]}")
    if as_json:
        print_json(found)


def bar(bars: "Progress", task: "TaskID", file: str, done: int, total: int | None) -> None:
    """Move the progress bar of one data set on."""
    bars.update(task, description=file, completed=done, total=total)
