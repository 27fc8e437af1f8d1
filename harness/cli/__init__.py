"""The command line: parses, calls, prints. Imports nothing heavy before it knows the verb.

Exit codes: 0 done; 1 a proof or a gate failed, equals were ranked, or quick could not run (doctor); 2 usage or input; 3 some cell
failed or is missing, a framework that is not installed too; 4 too noisy; 70 a bug of Concord's; 124 out of time before the
least number of generations; 130 interrupted; 141 nobody reads.
"""

import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from harness.cli import files, measuring, settings, viewing
from harness.cli.options import EXIT_BUG, EXIT_CELL, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_PIPE
from harness.environment import version
from harness.errors import AbsentError, HarnessError, printable


@contextmanager
def usable() -> Iterator[None]:
    """End in a sentence where the system refuses a file, also what is printed; quietly if its reader, as `head`, had enough."""
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end what could not be written
        if isinstance(error, BrokenPipeError):
            sys.exit(EXIT_PIPE)
        fact = error.strerror or error
        what = f"cannot use {error.filename} ({fact})" if error.filename else fact
        with suppress(OSError):  # stderr may lie on the same disk
            click.echo(f"concord: {printable(f'{what}: mend that or name another place.')}", err=True)
        sys.exit(EXIT_INPUT)


class Concord(click.Group):
    """All verbs: errors that a user can mend become a sentence and exit code 2, 3 for what is absent; Ctrl-C is 130, a bug 70."""

    def main(self, *args: Any, **more: Any) -> Any:
        """Begin; a character that the encoding of an output lacks is escaped there from now on, and ends nothing."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **more)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **more: Any) -> click.Context:
        """Take the defaults of the folder's own file, unless a shell completes a line or help is wanted; help is printed here."""
        wanted = not more.get("resilient_parsing") and not {"-h", "--help", "--version"} & {*args}
        more.setdefault("default_map", settings.defaults(self) if wanted else {})
        with usable():
            return super().make_context(info_name, args, parent, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends a run as Ctrl-C does
        try:
            with usable():
                return super().invoke(ctx)
        except (HarnessError, NotImplementedError) as error:  # the latter from files of `concord init` not filled yet
            click.echo(f"concord: {printable(str(error))}", err=True)
            sys.exit(EXIT_CELL if isinstance(error, AbsentError) else EXIT_INPUT)
        except KeyboardInterrupt as interrupt:
            hint = "".join(f" {words}" for words in interrupt.args)
            click.echo(f"concord: interrupted; what was measured so far is kept.{hint}", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:  # noqa: BLE001 - or Python would end with 1, as if a proof had failed
            traceback.print_exc()
            click.echo("concord: this is a bug of Concord's, not yours: report it with the lines above.", err=True)
            sys.exit(EXIT_BUG)


@click.group(cls=Concord, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("concord-bench"), prog_name="concord")
def main() -> None:
    """Prove that TensorFlow, PyTorch and JAX compute the same thing, then time them.

    \b
    Examples:
      concord run quick
      concord verify mnist_cnn --backends torch,jax
      concord run full --python torch=.venv-torch/bin/python --data-dir ~/data
    """


def variables(verb: click.Command, prefix: str) -> None:
    """Give every option its variable, CONCORD_VERB_OPTION, and say so in its help."""
    for name, sub in verb.commands.items() if isinstance(verb, click.Group) else ():
        variables(sub, f"{prefix}_{name.upper()}")
    for option in verb.params:
        if isinstance(option, click.Option):
            option.envvar, option.show_envvar = f"{prefix}_{settings.long(option).upper().replace('-', '_')}", True


for verb in (*measuring.VERBS, *viewing.VERBS, *files.VERBS):
    main.add_command(verb)
    variables(verb, f"CONCORD_{verb.name}".upper())
