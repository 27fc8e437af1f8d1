"""The verbs that lay down the files of something new: init backend, init task."""

from pathlib import Path

import click

from harness.cli.exporting import tell
from harness.cli.options import as_json_option


@click.group(name="init")
def init() -> None:
    """Lay down the files of a new backend or task, the contract in place. Its tests fail until they are filled.

    \b
    Examples:
      concord init backend mxnet
      concord init task imdb_lstm
    """


@init.command()
@click.argument("name")
@as_json_option
def backend(name: str, as_json: bool) -> None:
    """Write backends/NAME: door, engine, layers, input pipeline and a model a task, after the reference's."""
    from harness import scaffold

    lay(scaffold.backend(name), as_json=as_json)


@init.command()
@click.argument("name")
@as_json_option
def task(name: str, as_json: bool) -> None:
    """Write suites/tasks/NAME.py and the model's file in every backend."""
    from harness import scaffold

    lay(scaffold.task(name), as_json=as_json)


def lay(files: list[Path], *, as_json: bool) -> None:
    """Name the new files, and what says how far they are."""
    tell(files, as_json=as_json)
    click.echo("What is missing: python -m pytest tests/test_symmetry.py, then tests/test_conformance.py", err=True)
