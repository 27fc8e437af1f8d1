"""The verb that writes a run in the forms of other tools: export."""

from collections.abc import Iterable
from pathlib import Path

import click

from harness.cli.options import PATH, as_json_option, print_json
from harness.errors import writing


@click.command()
@click.argument("run_folder", type=PATH)
@click.option("--junit", type=PATH, metavar="FILE", help="The proofs as JUnit XML, for CI.")
@click.option("--parquet", type=PATH, metavar="DIR", help="The tables of the CSV files, typed.")
@click.option("--tensorboard", type=PATH, metavar="DIR", help="Losses and epoch metrics as event files.")
@as_json_option
def export(run_folder: Path, junit: Path | None, parquet: Path | None, tensorboard: Path | None, as_json: bool) -> None:
    """Write a run for other tools, and print what was written.

    \b
    Examples:
      concord export results/RUN --junit proofs.xml
      concord export results/RUN --parquet tables --tensorboard events
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
    tell(files, as_json=as_json)


def tell(files: Iterable[Path], *, as_json: bool) -> None:
    """Name what was written: a line a file, or all of them as JSON."""
    if as_json:
        print_json({"files": list(files)})
        return
    for file in files:
        click.echo(str(file))


VERBS = (export,)
