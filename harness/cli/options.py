"""What verbs share: exit codes, options and how their values are read."""

import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from harness import catalog
from harness.errors import unknown

if TYPE_CHECKING:
    from harness.plan import Subject
    from harness.suite import Suite
    from harness.workplace import Workplace

Verb = Callable[..., None]
RESULTS = Path("results")
EXIT_PROOF, EXIT_INPUT, EXIT_CELL, EXIT_NOISY, EXIT_TIME, EXIT_INTERRUPTED, EXIT_PIPE = 1, 2, 3, 4, 124, 130, 141
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h


GROUPS = {  # of options, as help shows them
    "Selection": "--results --backends --backend --modes --filter --across-machines --python --device --data-dir",
    "Run": "--seed --slowdown --max-time --out --wait --resume --dry-run",
    "Gates": "--strict --fail-if-slower --fail-if-unproven",
    "Output": "--plot --html --markdown --junit --parquet --tensorboard --open --json --quiet --verbose --help",
}


class Words(click.types.StringParamType):
    """Text, of which a variable holds several as a shell would read them: quoted where there is a space in one."""

    def split_envvar_value(self, rv: str) -> list[str]:
        """The words of a variable."""
        try:
            return shlex.split(rv, posix=os.name == "posix")  # elsewhere a backslash is part of a path
        except ValueError as error:
            raise click.BadParameter(f"{rv!r} are no words of a shell ({error})") from None


class Command(click.Command):
    """A verb whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section a group, in the order of GROUPS."""
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        told = {max(option.opts, key=len): record for option in options if (record := option.get_help_record(ctx))}
        for title, flags in GROUPS.items():
            if rows := [told.pop(flag) for flag in flags.split() if flag in told]:
                with formatter.section(title):
                    formatter.write_dl(rows)


def complete(names: Callable[[], Iterable[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What the shell offers for a value: these names; of several with commas, for the last."""

    def offered(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        before, comma, begun = typed.rpartition(",")
        return [before + comma + name for name in names() if name.startswith(begun)]

    return offered


def split(_context: click.Context, _option: click.Parameter, value: str | None) -> list[str]:
    """A comma-separated option as a list."""
    return [part.strip() for part in (value or "").split(",") if part.strip()]


def names(*flags: str, known: Callable[[], Iterable[str]], told: str) -> Callable[[Verb], Verb]:
    """An option for names with commas between them, which the shell completes."""
    return click.option(*flags, callback=split, shell_complete=complete(known), help=told)


def interpreters(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=PATH options as a mapping."""
    found = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=PATH, for example torch=.venv/bin/python")
        if name in found:
            raise click.BadParameter(f"{name} is named twice: tell interpreters apart by labels, torch@2.9=PATH torch@2.13=PATH")
        catalog.backend(name)
        program = shutil.which(path) or path
        found[name] = str(Path(program).absolute())  # a worker starts in another folder; a venv's link is not followed
    return found


def duration(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A time such as 90s, 10m or 2h in seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|)", value)
    if not found or not float(found[1]):
        raise click.BadParameter(f"{value!r} is not a time, for example 90s, 10m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}[found[2]]


def manner(context: click.Context, option: click.Parameter, value: bool) -> None:
    """Keep for ``asked`` how the verb is to talk; if ``verbose``, let the harness log what it asks of workers."""
    context.meta[option.name] = value
    if option.name == "verbose" and value:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("harness").setLevel(logging.DEBUG)


@dataclass(frozen=True)
class Wanted:
    """The options that several verbs share; a verb has those it names."""

    backends: list[str] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    python: dict[str, str] = field(default_factory=dict)
    data_dir: Path | None = None
    seed: int = 0
    device: str = "cpu"

    @contextmanager
    def workplace(self) -> "Iterator[Workplace]":
        """The place of the workers, gone afterwards."""
        from harness.alone import scratch_folder
        from harness.workplace import Workplace

        with scratch_folder() as scratch:
            yield Workplace(scratch, self.python, self.device, self.seed)

    def subjects(self, suite: "Suite", place: "Workplace") -> "tuple[Subject, ...]":
        """The tasks of a suite, made ready."""
        from harness.plan import subject

        return tuple(subject(j, data_dir=self.data_dir, scratch=place.scratch, seed=self.seed) for j in suite.jobs)


class Folder(click.Path):
    """A path that may begin with ~ where no shell has seen it: in concord.toml, in a variable, after an equals sign."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """The path, with its home."""
        path: Any = super().convert(value, param, context)
        return path.expanduser()


PATH = Folder(path_type=Path, readable=False)  # who opens it says what can be done
SHARED: dict[str, Callable[[Any], Any]] = {
    "backends": names("--backends", "-b", known=catalog.backends, told="Only these, by name: torch,jax. Default: all."),
    "modes": names("--modes", "-m", known=catalog.modes, told="Only these modes, or 'all'. Default: each backend's first."),
    "python": click.option(
        "--python",
        type=Words(),
        multiple=True,
        callback=interpreters,
        help="NAME=PATH: another interpreter for a backend. NAME@LABEL=PATH, twice or more: versions side by side.",
    ),
    "data_dir": click.option(
        "--data-dir", type=PATH, help="Where the data sets are. Default: CONCORD_DATA, then Concord's cache and what ships."
    ),
    "seed": click.option(
        "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of weights, batch order, masks."
    ),
    "device": click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True),
}
wait_option = click.option("--wait", is_flag=True, help="Where another run is measuring on this machine, wait for its end.")
out_option = click.option("--out", type=PATH, help="The run's folder. Default: results/TIME-SUITE.")


def max_time_option(default: str) -> Callable[[Verb], Verb]:
    """How long a run may take, and how long it takes where nobody says."""
    told = f"Of the whole run: 90s, 10m, 2h. Default: {default}."
    return click.option("--max-time", callback=duration, metavar="TIME", help=told)


def talks(verb: Verb) -> Verb:
    """How every verb talks, see ``asked``: whether as JSON, and how much of it on stderr."""
    for *flags, told in (
        ("-v", "--verbose", "Log on stderr what workers are asked, and every record."),
        ("-q", "--quiet", "Show no progress."),
        ("--json", "as_json", "Print a JSON document instead of tables."),
    ):
        verb = click.option(*flags, is_flag=True, expose_value=False, callback=manner, help=told)(verb)
    return verb


def asked(manner: Literal["as_json", "quiet", "verbose"]) -> bool:
    """Whether the verb that runs is to talk like this."""
    return bool(click.get_current_context().meta[manner])


def tell(document: Any, show: Callable[[], None]) -> None:
    """What a verb prints on stdout: one JSON document, if so asked, or what ``show`` prints for people.

    A number that JSON does not have (infinite, none) is null there.
    """
    if not asked("as_json"):
        show()
    else:
        known = json.loads(json.dumps(document, default=str), parse_constant=lambda _name: None)
        click.echo(json.dumps(known, indent=1))


def filters(*keys: str) -> Callable[[Verb], Verb]:
    """Give a verb the option --filter for some of the keys task, backend, mode, phase, as a mapping in its argument ``only``."""

    def read(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        found = dict(value.partition("=")[::2] for value in values)
        if unequal := next((value for value in values if "=" not in value), None):
            raise click.BadParameter(f"{unequal!r} is not KEY=VALUE, for example task=mnist_cnn")
        for key in found:
            if key not in keys:
                raise unknown("filter", key, keys)
        if len(found) < len(values):
            raise click.BadParameter("a key can have one value only")
        return found

    told = f"Only these: {', '.join(keys)}."
    return click.option("--filter", "only", type=Words(), multiple=True, callback=read, metavar="KEY=VALUE", help=told)


def shared(*names: str) -> Callable[[Verb], Verb]:
    """Give a verb these options, together in its argument ``wanted``."""

    def add(verb: Verb) -> Verb:
        @wraps(verb)
        def gathered(**given: Any) -> None:
            verb(wanted=Wanted(**{name: given.pop(name) for name in names}), **given)

        for name in reversed(names):
            gathered = SHARED[name](gathered)
        return gathered

    return add
