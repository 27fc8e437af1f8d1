"""The verbs about data sets: fetch, sample."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.exporting import tell
from harness.cli.options import PATH, Wanted, as_json_option, complete, options, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@click.group(name="data")
def data() -> None:
    """Fetch the official data sets, or draw samples of them.

    \b
    Examples:
      concord data fetch mnist cifar10
      concord data sample mnist --out samples
    """


@data.command()
@click.argument("names", nargs=-1, shell_complete=complete(lambda: import_module("harness.download").SOURCES))
@click.option("--data-dir", type=PATH, help="Where they go. Default: Concord's cache.")
@as_json_option
def fetch(names: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Download data sets from their official mirrors into the cache, or into --data-dir, checked by content.

    \b
    Examples:
      concord data fetch
      concord data fetch mnist --data-dir ~/data
    """
    from rich.console import Console
    from rich.progress import Progress

    from harness import download, editions

    console, found = Console(stderr=True), {}
    for name in names or editions.SOURCES:
        with Progress(console=console, disable=not console.is_terminal or click.get_current_context().meta["quiet"]) as bars:
            show = partial(bar, bars, bars.add_task(name))
            found[name] = download.fetch(name, show, data_dir=data_dir)
        if not as_json:
            click.echo(f"{name}: {found[name]}")
    if as_json:
        print_json(found)


def bar(bars: "Progress", task: "TaskID", file: str, done: int, total: int | None) -> None:
    """Move the progress bar of one data set on."""
    bars.update(task, description=file, completed=done, total=total)


@data.command()
@click.argument("names", nargs=-1, shell_complete=complete(lambda: import_module("harness.samples").MAKERS))
@click.option("--out", type=PATH, required=True, help="The folder for them; each gets a new one of its name in it.")
@options("data_dir")
@as_json_option
def sample(names: tuple[str, ...], out: Path, wanted: Wanted, as_json: bool) -> None:
    """Draw the samples that ship with Concord from the whole data sets anew: always the same files.

    \b
    Examples:
      concord data sample --out samples --data-dir ~/data
      concord data sample mnist --out samples
    """
    from harness import samples

    made = [file for name in names or samples.MAKERS for file in samples.make(name, wanted.data_dir, out)]
    tell(made, as_json=as_json)
