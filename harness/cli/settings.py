"""concord.toml, in the folder where a command is typed: a project's own defaults, below CONCORD_* variables and options."""

import tomllib
from pathlib import Path
from typing import Any

import click

from harness.errors import printable, unknown

FILE = "concord.toml"


def defaults(verbs: click.Group) -> dict[str, Any]:
    """What the file says, by verb and parameter as click's default_map wants it; nothing where there is none.

    A table a verb, a key an option by its long name: ``[run]``, ``max-time = "20m"``. Raises UsageError, in one sentence. Nothing
    is read beside a run.json: whoever sent that folder must not choose what is executed or written here.
    """
    path = Path(FILE)
    try:
        if not path.is_file() or path.with_name("run.json").exists():
            return {}
        return known(verbs, tomllib.loads(path.read_text("utf-8")), FILE)
    except (OSError, ValueError, RecursionError) as error:  # no TOML, no UTF-8, or brackets without end
        raise click.UsageError(printable(f"{FILE} cannot be read ({error}): mend it or take it away.")) from None


def known(command: click.Command, found: dict[str, Any], where: str) -> dict[str, Any]:
    """A table of the file with the names of parameters for those of options, and values as if they were typed."""
    verbs = command.commands if isinstance(command, click.Group) else {}
    options = {long(option): option for option in command.params if isinstance(option, click.Option) and not verbs}
    named: dict[str, Any] = {}
    for key, value in found.items():
        if key not in {*verbs, *options}:
            told = unknown(f"{'table' if verbs else 'option'} in {where}", key, [*verbs, *options])
            raise click.UsageError(printable(str(told)))
        if (key in verbs) != isinstance(value, dict):
            raise click.UsageError(
                f"{where}: {key} {'is a table of options' if verbs else 'takes a value'}, as in [run] strict = true"
            )
        if key in verbs:
            named[key] = known(verbs[key], value, f"{where} [{key}]")
        else:
            typed = [str(part) for part in (value if isinstance(value, list) else [value])]
            named[str(options[key].name)] = typed if options[key].multiple else ",".join(typed)
    return named


def long(option: click.Option) -> str:
    """The long name of an option without its dashes: max-time."""
    return max(option.opts, key=len).removeprefix("--")
