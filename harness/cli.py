"""The command line: parses, calls, prints. Imports nothing heavy before it knows the verb.

Exit codes: 0 done; 1 a proof failed, or equals were ranked; 2 usage or input; 3 some cell failed or is missing; 4 too noisy;
130 interrupted.
"""

import json
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial, wraps
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import catalog
from harness.errors import HarnessError, unknown

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from harness.plan import Plan, Subject
    from harness.records import Proof
    from harness.suite import Suite
    from harness.verify import Say
    from harness.workplace import Installed, Workplace

EXIT_PROOF, EXIT_INPUT, EXIT_CELL, EXIT_NOISY, EXIT_INTERRUPTED = 1, 2, 3, 4, 130
RESULTS = Path("results")


def version() -> str:
    """Concord's own version."""
    try:
        return metadata.version("concord-bench")
    except metadata.PackageNotFoundError:
        return "not installed, run from source"


def say_errors(verb: Callable[..., None]) -> Callable[..., None]:
    """Errors a user can mend become one sentence and exit code 2; Ctrl-C becomes 130."""

    @wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends a run as Ctrl-C does
        try:
            verb(*args, **kwargs)
        except HarnessError as error:
            click.echo(f"concord: {error}", err=True)
            sys.exit(EXIT_INPUT)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            click.echo(f"concord: {error.strerror or error}{where}: free the place or choose another.", err=True)
            sys.exit(EXIT_INPUT)
        except KeyboardInterrupt:
            click.echo("concord: interrupted; what was measured so far is kept.", err=True)
            sys.exit(EXIT_INTERRUPTED)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CONCORD"})
@click.version_option(version(), prog_name="concord")
def main() -> None:
    """Prove that TensorFlow, PyTorch and JAX compute the same thing, then time them.

    \b
    Examples:
      concord run quick
      concord verify mnist_cnn --backends torch,jax
      concord run full --python torch=.venv-torch/bin/python --data-dir ~/data
    """


def split(_context: click.Context, _option: click.Parameter, value: str | None) -> list[str]:
    """A comma-separated option as a list."""
    return [part.strip() for part in (value or "").split(",") if part.strip()]


def interpreters(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=PATH options as a mapping."""
    found = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=PATH, for example torch=.venv/bin/python")
        program = shutil.which(path) or path
        found[name] = str(Path(program).absolute())  # a worker starts in another folder; a venv's link is not followed
    return found


def duration(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A time such as 90s, 10m or 2h in seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value)
    if not found or not float(found[1]):
        raise click.BadParameter(f"{value!r} is not a time, for example 90s, 10m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


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
        from harness.run import scratch_folder
        from harness.workplace import Workplace

        with scratch_folder() as scratch:
            yield Workplace(Path(scratch), self.python, self.device, self.seed)

    def subjects(self, suite: "Suite", place: "Workplace") -> "tuple[Subject, ...]":
        """The tasks of a suite, made ready."""
        from harness.plan import subject

        return tuple(subject(j, data_dir=self.data_dir, scratch=place.scratch, seed=self.seed) for j in suite.jobs)


PATH = click.Path(path_type=Path)
SHARED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "backends": (["-b"], {"callback": split, "help": "Only these, by name: torch,jax. Default: all."}),
    "modes": (["-m"], {"callback": split, "help": "Only these modes, or 'all'. Default: each backend's first."}),
    "python": (
        [],
        {"multiple": True, "callback": interpreters, "help": "NAME=PATH: another interpreter for a backend."},
    ),
    "data_dir": ([], {"type": PATH, "help": "Where the data sets are."}),
    "seed": ([], {"type": int, "default": 0, "show_default": True, "help": "Of weights, batch order, masks."}),
    "device": ([], {"type": click.Choice(["cpu", "gpu"]), "default": "cpu", "show_default": True}),
}
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON document instead of tables.")
out_option = click.option("--out", type=PATH, help="The run's folder. Default: results/TIME-SUITE.")


def options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb these options, together in its argument ``wanted``."""

    def add(verb: Callable[..., None]) -> Callable[..., None]:
        @wraps(verb)
        def gathered(**given: Any) -> None:
            verb(wanted=Wanted(**{name: given.pop(name) for name in names}), **given)

        for name in reversed(names):
            short, settings = SHARED[name]
            gathered = click.option(f"--{name.replace('_', '-')}", *short, **settings)(gathered)
        return gathered

    return add


def progress() -> "Say":
    """A plain line with the time passed, on stderr."""
    from harness.measure import Stopwatch

    watch = Stopwatch()
    return lambda text: click.echo(f"[{watch.seconds():6.1f} s] {text}", err=True)


def choose(wanted: Wanted) -> tuple[dict[str, tuple[str, ...]], dict[str, str], dict[str, "Installed"]]:
    """Backends with their modes; why some are skipped; what each interpreter has.

    A backend asked for by name must be there; one that is not asked for may be missing, and is then skipped with its reason.
    """
    from harness import workplace

    names, modes = wanted.backends, wanted.modes
    for name in [*names, *wanted.python]:
        catalog.backend(name)
    chosen, skipped, installed = {}, {}, {}
    for name in names or catalog.frameworks():
        found = workplace.probe(name, wanted.python.get(name, sys.executable))
        if not found.missing:
            chosen[name], installed[name] = pick_modes(name, modes), found
        elif names:
            raise HarnessError(found.advice(name))
        else:
            skipped[name] = found.advice(name)
    if not chosen:
        raise HarnessError(
            "no framework is installed: pip install 'concord-bench[all]', or name interpreters with --python."
        )
    able = {name: own for name, own in chosen.items() if own}
    if not able:
        raise HarnessError(f"none of {', '.join(chosen)} has the mode {', '.join(modes)}: see `concord list`.")
    return able, skipped, installed


def check_device(place: "Workplace", chosen: dict[str, tuple[str, ...]]) -> None:
    """Ask every backend for the GPU before anything is begun."""
    from harness import launch

    for name in chosen if place.device == "gpu" else ():
        try:
            place.worker(name, place.cpus[0], f"check-{name}").close()
        except launch.WorkerError as error:
            raise HarnessError(error.reason) from None


def pick_modes(name: str, modes: list[str]) -> tuple[str, ...]:
    """The modes of a backend that were asked for; a mode that no backend has is an error."""
    everywhere = {mode for other in catalog.backends() for mode in catalog.backend(other).MODES}
    for mode in modes:
        if mode not in everywhere | {"all"}:
            raise unknown("mode", mode, everywhere | {"all"})
    own = catalog.backend(name).MODES
    if "all" in modes:
        return tuple(own)
    return tuple(mode for mode in own if mode in modes) if modes else own[:1]


@main.command()
@click.argument("tasks", nargs=-1)
@options("backends", "modes", "python", "data_dir", "seed", "device")
@as_json_option
@say_errors
def verify(tasks: tuple[str, ...], wanted: Wanted, as_json: bool) -> None:
    """Prove that backends compute the same thing. Exit code 1 if one does not.

    \b
    Examples:
      concord verify
      concord verify cifar_resnet:depth=32 --backends jax --modes all
    """
    from harness import data, proof
    from harness import verify as job

    specs = [catalog.task(name) for name in tasks or catalog.tasks()]
    chosen, skipped, _ = choose(wanted)
    say = progress()
    for reason in skipped.values():
        say(f"skipped {reason}")
    exhibits = [
        job.exhibit(spec, data.find(spec.data.name, data_dir=wanted.data_dir).arrays, wanted.seed) for spec in specs
    ]
    with wanted.workplace() as place:
        check_device(place, chosen)
        rows = job.verify(exhibits, chosen, place, say)
    for name, reason in skipped.items():
        mode = catalog.backend(name).MODES[0]
        rows += [proof.missing(ex.task, name, mode, verdict="skipped", reason=reason) for ex in exhibits]
    print_proofs(rows, as_json=as_json)
    sys.exit(EXIT_PROOF if any(row.verdict == "failed" for row in rows) else 0)


def print_proofs(rows: "list[Proof]", *, as_json: bool) -> None:
    """Every row as JSON, or a table of what is decisive with the first failure of each backend spelt out."""
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    from harness.report import terminal

    terminal.print_proofs(rows)


@main.command()
@click.argument("suite", default="quick")
@options("backends", "modes", "python", "data_dir", "seed", "device")
@as_json_option
@out_option
@click.option(
    "--max-time", callback=duration, metavar="TIME", help="Of the whole run: 90s, 10m, 2h. Default: the suite's."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and how long it takes, and stop.")
@click.option("--strict", is_flag=True, help="Exit code 1 if a rule of the fairness ledger is broken.")
@say_errors
def run(
    suite: str, wanted: Wanted, as_json: bool, out: Path | None, max_time: float | None, dry_run: bool, strict: bool
) -> None:
    """Run a suite: prove, train, time, report.

    \b
    Examples:
      concord run quick
      concord run smoke --backends torch,jax --out results/mine
    """
    from harness.plan import Entrant, Plan

    recipe = catalog.suite(suite)
    recipe = replace(recipe, budget_s=max_time, hard=True) if max_time else recipe
    everything = recipe.modes == "all" and not wanted.modes
    chosen, skipped, installed = choose(replace(wanted, modes=["all"]) if everything else wanted)
    with wanted.workplace() as place:
        check_device(place, chosen)
        entrants = tuple(Entrant(name, mode) for name, own in chosen.items() for mode in own)
        plan = Plan(suite, recipe, wanted.subjects(recipe, place), chosen, skipped, installed, place, entrants)
        if dry_run:
            click.echo(plan.told())
            return
        folder = carry_out(plan, out, as_json=as_json)
    sys.exit(exit_code(folder, strict=strict))


@main.command()
@click.option(
    "--backend", "-b", default="", help="Which one runs against itself. Default: the first that is installed."
)
@click.option(
    "--slowdown", type=click.FloatRange(0.01, 1), default=0.1, show_default=True, help="Planted in one process."
)
@options("python", "seed", "data_dir")
@out_option
@say_errors
def selfcheck(wanted: Wanted, backend: str, slowdown: float, out: Path | None) -> None:
    """Run one backend against itself: equals must not be ranked, a planted delay must be found.

    Exit code 1 if an equal won, 4 if the machine is too noisy to find the delay.
    """
    from harness import records, selfcheck
    from harness.plan import Plan

    chosen, _, installed = choose(replace(wanted, backends=[backend] if backend else []))
    name, (mode, *_) = next(iter(chosen.items()))
    suite, entrants = selfcheck.SUITE, selfcheck.entrants(name, mode, slowdown)
    with wanted.workplace() as place:
        subjects = wanted.subjects(suite, place)
        plan = Plan("selfcheck", suite, subjects, {name: (mode,)}, {}, installed, place, entrants)
        folder = carry_out(plan, out, as_json=False)
    finding = selfcheck.judge(plan, records.read(folder))
    click.echo(finding.told())
    sys.exit(EXIT_PROOF if finding.winners else 0 if finding.found else EXIT_NOISY)


@main.command()
@say_errors
def doctor() -> None:
    """Say whether this machine is fit to measure, and what a first run on a GPU must check. Exit code 4 if it is too noisy."""
    from harness import doctor as job
    from harness.report import terminal

    with Wanted().workplace() as place:
        found = list(job.examine(place))
    terminal.print_findings(found)
    click.echo("A first run on a GPU must check:")
    for check in job.GPU_CHECKS:
        click.echo(f"  - {check}")
    noisy = any(finding.state == "warning" for finding in found if finding.what in {"noise", "load"})
    sys.exit(EXIT_NOISY if noisy else 0)


def new_folder(out: Path | None, suite: str) -> Path:
    """The run's own new folder; one that exists is never written into."""
    from harness.records import now

    folder = out or RESULTS / f"{now()[:19].replace('-', '').replace(':', '').replace('T', '-')}-{suite}"
    if folder.exists():
        raise HarnessError(f"{folder} exists: name another folder with --out, or remove it.")
    folder.mkdir(parents=True)
    return folder


def carry_out(plan: "Plan", out: Path | None, *, as_json: bool) -> Path:
    """Run a plan in a new folder and show it, as far as it came."""
    from harness import run

    folder, say = new_folder(out, plan.name), progress()
    say(f"plan    {plan.told()}")
    try:
        run.run(plan, folder, say)
    finally:
        finish(folder, as_json=as_json)
    return folder


def finish(folder: Path, *, as_json: bool) -> None:
    """Make the views of what there is, and print the table and the path of the report."""
    from harness import records, report
    from harness.report import tables, terminal

    if not (folder / "run.json").is_file():
        return
    page = report.build(folder)
    found = records.read(folder)
    if as_json:
        click.echo(tables.summary(found).to_json(orient="records"))
    else:
        terminal.print_run(found)
    click.echo(str(page), err=as_json)


def exit_code(folder: Path, *, strict: bool = False) -> int:
    """1 if a proof failed or, with ``strict``, the comparison is not fair; 3 if a cell failed or is missing; otherwise 0."""
    from harness import ledger, records

    found = records.read(folder)
    if any(row.verdict == "failed" for row in found.proofs) or (strict and ledger.differences(found)):
        return EXIT_PROOF
    return EXIT_CELL if any(trial.status != "ok" for trial in found.trials) else 0


@main.command()
@click.argument("run_folder", type=click.Path(path_type=Path))
@as_json_option
@say_errors
def report(run_folder: Path, as_json: bool) -> None:
    """Make all views of a run anew from its records."""
    from harness import records

    records.read(run_folder)
    finish(run_folder, as_json=as_json)


@main.command(name="list")
@options("python", "data_dir")
@as_json_option
@say_errors
def list_(wanted: Wanted, as_json: bool) -> None:
    """Name the tasks, backends, modes, suites and data sets, and where each was found."""
    from harness import data, workplace

    found: dict[str, dict[str, Any]] = {
        "tasks": {name: catalog.task(name).title for name in catalog.tasks()},
        "suites": {name: catalog.suite(name).title for name in catalog.suites()},
        "backends": {
            name: backend_facts(workplace.probe(name, wanted.python.get(name, sys.executable)), name)
            for name in catalog.backends()
        },
        "data": {
            name: {"found": label, "where": str(where or "")}
            for name, (label, where) in data.locate_all(wanted.data_dir).items()
        },
    }
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    from harness.report import terminal

    terminal.print_catalog(found)


def backend_facts(found: "Installed", name: str) -> dict[str, Any]:
    """One backend for `concord list`."""
    return {
        "title": catalog.backend(name).TITLE,
        "modes": list(catalog.backend(name).MODES),
        "versions": dict(found.versions),
        "python": found.python,
        "missing": found.advice(name) if found.missing else "",
    }


@main.group(name="data")
def data_group() -> None:
    """Fetch the official data sets, or make the samples that ship."""


@data_group.command()
@click.argument("names", nargs=-1)
@options("data_dir")
@say_errors
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


@data_group.command()
@click.option("--data-dir", type=click.Path(path_type=Path), required=True, help="Where the full data sets are.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("suites/samples"), show_default=True)
@say_errors
def sample(data_dir: Path, out: Path) -> None:
    """Make the small class-balanced samples that ship with Concord."""
    from harness import samples

    for path in samples.make(data_dir, out):
        click.echo(str(path))
