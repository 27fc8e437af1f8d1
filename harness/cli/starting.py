"""The verbs that lay down the files of something new: init backend, init task."""

from pathlib import Path

import click


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
def backend(name: str) -> None:
    """Write backends/NAME: door, engine, layers, input pipeline and a model a task, after the reference's."""
    from harness import scaffold

    tell(scaffold.backend(name))


@init.command()
@click.argument("name")
def task(name: str) -> None:
    """Write suites/tasks/NAME.py and the model's file in every backend."""
    from harness import scaffold

    tell(scaffold.task(name))


def tell(files: list[Path]) -> None:
    """Name the new files, and what says how far they are."""
    for file in files:
        click.echo(str(file))
    click.echo("What is missing: python -m pytest tests/test_symmetry.py, then tests/test_conformance.py", err=True)
