"""The verb that writes a run in the forms of other tools: export."""

from pathlib import Path

import click

from harness.cli.options import PATH


@click.command()
@click.argument("run_folder", type=PATH)
@click.option("--junit", type=PATH, metavar="FILE", help="The proofs as JUnit XML, for CI.")
@click.option("--parquet", type=PATH, metavar="DIR", help="The tables of the CSV files, typed.")
@click.option("--tensorboard", type=PATH, metavar="DIR", help="Losses and epoch metrics as event files.")
def export(run_folder: Path, junit: Path | None, parquet: Path | None, tensorboard: Path | None) -> None:
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

    found = records.read(run_folder)
    if junit:
        job.junit(found, junit)
        click.echo(str(junit))
    for path in job.parquet(found, parquet) if parquet else ():
        click.echo(str(path))
    for path in job.tensorboard(found, tensorboard) if tensorboard else ():
        click.echo(str(path))


VERBS = (export,)
