"""The verbs that start workers: verify, run, selfcheck, doctor."""

import shlex
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from harness import catalog
from harness.cli import options
from harness.cli.choice import check_device, choose
from harness.cli.options import (
    PATH,
    Command,
    Wanted,
    asked,
    complete,
    filters,
    max_time_option,
    out_option,
    shared,
    talks,
    tell,
    wait_option,
)
from harness.cli.viewing import exit_code, finish, open_page
from harness.errors import HarnessError, new_folder, unknown

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.records import Run
    from harness.suite import Suite


@click.command(cls=Command)
@click.argument("tasks", nargs=-1, shell_complete=complete(catalog.tasks))
@shared("backends", "modes", "python", "data_dir", "seed", "device")
@talks
def verify(tasks: tuple[str, ...], wanted: Wanted) -> None:
    """Prove that backends compute the same thing.

    Exit code 1 if one does not, 3 if one gave nothing to judge, or is not installed.

    \b
    Examples:
      concord verify
      concord verify mnist_cnn risk_mlp --backends torch,jax
      concord verify cifar_resnet:depth=32 --backends jax --modes all
    """
    from harness import data, proof, records
    from harness import verify as job
    from harness.cli.live import progress
    from harness.report import terminal

    specs = [catalog.task(name) for name in tasks or catalog.tasks()]
    chosen, skipped, _ = choose(wanted)
    told = progress()
    for reason in skipped.values():
        told.say(f"skipped {reason}")
    exhibits = [job.exhibit(spec, data.find(spec.data.name, data_dir=wanted.data_dir).arrays, wanted.seed) for spec in specs]
    with wanted.workplace() as place:
        check_device(place, chosen)
        rows = job.verify(exhibits, chosen, place, told)
    for name, reason in skipped.items():
        mode = catalog.backend(name).MODES[0]
        rows += [proof.missing(ex.task, name, mode, verdict="skipped", reason=reason) for ex in exhibits]
    tell([records.row(row) for row in rows], lambda: terminal.print_proofs(rows))
    failed = [row for row in rows if row.verdict == "failed"]
    sys.exit(options.EXIT_PROOF if any(map(job.judged, failed)) else options.EXIT_CELL if failed or skipped else 0)


@click.command(cls=Command)
@click.argument("suite", default="quick", shell_complete=complete(catalog.suites))
@shared("backends", "modes", "python", "data_dir", "seed", "device")
@filters("task")
@talks
@out_option
@wait_option
@max_time_option("the suite's")
@click.option("--dry-run", is_flag=True, help="Print the plan and how long it takes, and stop.")
@click.option(
    "--strict", is_flag=True, help="Exit code 1 if a rule of the fairness ledger is broken, 4 if noise refuses a ranking."
)
@click.option("--open", "browse", is_flag=True, help="Open the report in the browser when the run is done.")
@click.option(
    "--resume",
    type=PATH,
    metavar="RUN",
    help="Go on with a run of yours that was interrupted or out of time, as it was begun.",
)
def run(
    suite: str,
    wanted: Wanted,
    only: dict[str, str],
    out: Path | None,
    wait: bool,
    max_time: float | None,
    dry_run: bool,
    strict: bool,
    browse: bool,
    resume: Path | None,
) -> None:
    """Run a suite: prove, train, time, report.

    \b
    Examples:
      concord run quick
      concord run smoke --backends torch,jax --out results/mine
      concord run --resume results/mine
    """
    from harness.plan import Entrant, Plan

    if resume:
        refuse_all_but("resume", "max_time", "as_json", "quiet", "verbose", "wait", "strict", "browse")
        typed = click.get_current_context().get_parameter_source("max_time") is ParameterSource.COMMANDLINE
        go_on(resume, max_time if typed else None, wait=wait)  # a file or a variable means runs that begin
        done(resume, strict=strict, browse=browse)
    recipe = catalog.suite(suite)
    recipe = replace(recipe, budget_s=max_time, hard=True) if max_time else recipe
    recipe = narrowed(recipe, only.get("task", ""))
    everything = recipe.modes == "all" and not wanted.modes
    chosen, skipped, installed = choose(replace(wanted, modes=["all"]) if everything else wanted)
    with wanted.workplace() as place:
        check_device(place, chosen)
        entrants = tuple(Entrant(name, mode) for name, own in chosen.items() for mode in own)
        subjects = wanted.subjects(recipe, place)
        plan = Plan(suite, recipe, subjects, chosen, skipped, installed, place, entrants, wanted.data_dir)
        if dry_run:
            told = {"says": plan.told(), "seconds": plan.seconds(), "suite": {"name": suite, **asdict(recipe)}}
            tell({**told, **plan.written()}, lambda: click.echo(plan.told()))
            return
        folder = carry_out(plan, out, wait=wait)
    done(folder, strict=strict, browse=browse)


@click.command(cls=Command)
@click.argument("suite", default="quick", shell_complete=complete(catalog.suites))
@click.option(
    "--backend",
    "-b",
    default="",
    shell_complete=complete(catalog.backends),
    help="Which one runs against itself. Default: the first that is installed.",
)
@click.option("--slowdown", type=click.FloatRange(0.01, 1), default=0.1, show_default=True, help="Planted in one process.")
@shared("python", "seed", "data_dir", "device")
@talks
@out_option
@wait_option
@max_time_option("the suite's least number of generations")
def selfcheck(
    suite: str, wanted: Wanted, backend: str, slowdown: float, out: Path | None, wait: bool, max_time: float | None
) -> None:
    """Run one backend against itself, as often as SUITE does: equals must not be ranked, a planted delay must be found.

    A delay below 2 % must stay unranked: verdicts begin there. With --max-time generations are added until all is narrow.

    Exit code 1 if an equal won or the proof failed, 3 if a process failed, 4 if the machine is too noisy to find the delay, 124
    if --max-time was too short for the least number of generations.

    \b
    Examples:
      concord selfcheck
      concord selfcheck --wait --out results/check
      concord selfcheck rigorous --backend jax --slowdown 0.05 --max-time 15m
    """
    from harness import records, selfcheck
    from harness.plan import Plan

    chosen, _, installed = choose(replace(wanted, backends=[backend] if backend else []))
    name, (mode, *_) = next(iter(chosen.items()))
    recipe, entrants = selfcheck.suite(suite, max_time), selfcheck.entrants(name, mode, slowdown)
    with wanted.workplace() as place:
        check_device(place, {name: (mode,)})
        subjects = wanted.subjects(recipe, place)
        plan = Plan("selfcheck", recipe, subjects, {name: (mode,)}, {}, installed, place, entrants, wanted.data_dir)
        folder = carry_out(plan, out, wait=wait, table=not asked("as_json"))
    finding = selfcheck.judge(plan, records.read(folder))
    tell({"run": folder, **finding.document()}, lambda: click.echo(finding.told()))
    code = options.EXIT_PROOF if finding.winners else exit_code(folder)
    sys.exit(code or (0 if finding.found else options.EXIT_NOISY))


@click.command(cls=Command)
@shared("python", "data_dir")
@talks
def doctor(wanted: Wanted) -> None:
    """Say whether `concord run quick` could run here, how fit the machine is to measure, and what to do about each.

    Exit code 1 if quick could not run, 4 if the machine is too noisy now.

    \b
    Examples:
      concord doctor
      concord doctor --json
      concord doctor --python torch=.venv-torch/bin/python --data-dir ~/data
    """
    from harness import doctor as job
    from harness.cli.live import progress
    from harness.report import terminal

    progress().say("reads the data sets, starts every backend once, times a fixed product")
    found = list(job.examine(wanted.python, wanted.data_dir, options.RESULTS))
    document = {"findings": [finding._asdict() for finding in found], "gpu_checks": job.GPU_CHECKS}
    tell(document, lambda: terminal.print_findings(found))
    if not asked("as_json"):
        click.echo("\n  - ".join(["A first run on a GPU must check:", *job.GPU_CHECKS]))
    noisy = any(finding.state == "warning" for finding in found if finding.what in {"noise", "load"})
    sys.exit(options.EXIT_PROOF if any(finding.state == "bad" for finding in found) else options.EXIT_NOISY if noisy else 0)


def narrowed(recipe: "Suite", task: str) -> "Suite":
    """A suite with the jobs of one task, with its parameters or without; "" asks for all."""
    from harness import records

    names = [catalog.key(catalog.task(job.task)) for job in recipe.jobs]
    jobs = tuple(job for name, job in zip(names, recipe.jobs, strict=True) if records.means(name, task))
    if not jobs:
        raise unknown("task of this suite", task, names)
    return replace(recipe, jobs=jobs)


def refuse_all_but(*allowed: str) -> None:
    """A usage error for any other option of this verb that was given: a run is gone on with as it was begun."""
    context = click.get_current_context()
    for option in context.command.params:
        typed = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if typed and option.name not in allowed:
            raise click.UsageError(f"--resume takes everything from the run: leave out {option.opts[0]}.")


def carry_out(plan: "Plan", out: Path | None, *, wait: bool, table: bool = True) -> Path:
    """Run a plan in a new folder, once nobody else measures."""
    from harness.alone import alone
    from harness.cli.live import progress
    from harness.records import now

    with alone(wait=wait, say=progress().say):
        time = now()[:19].replace("-", "").replace(":", "").replace("T", "-")
        folder = new_folder(out or options.RESULTS / f"{time}-{plan.name}")
        measure(plan, folder, None, table=table)
    return folder


def go_on(folder: Path, max_time: float | None, *, wait: bool) -> None:
    """Finish an interrupted run, once nobody else measures: it may be that very run that still does."""
    from harness import resume
    from harness.alone import alone
    from harness.cli.live import progress

    with alone(wait=wait, say=progress().say):
        earlier = resume.unfinished(folder, max_time)
        seed, device = earlier.manifest["seed"], earlier.manifest["environment"]["device"]
        with Wanted(python=earlier.manifest["plan"]["python"], seed=seed, device=device).workplace() as place:
            plan = resume.plan(earlier.manifest, place)
            check_device(place, dict(plan.chosen))
            measure(plan, folder, resume.ready(earlier, plan))


def measure(plan: "Plan", folder: Path, earlier: "Run | None", *, table: bool = True) -> None:
    """Carry a plan out and show what came of it, as far as it came; of an interrupted one, how to go on."""
    from harness import run
    from harness.cli.live import watching

    try:
        with watching(plan, earlier) as progress:
            progress.say(f"plan    {plan.told()}")
            run.run(plan, folder, progress, earlier)
    except BaseException as end:
        with suppress(HarnessError):  # what ended the run is what must be told
            finish(folder, table=table)
        if isinstance(end, KeyboardInterrupt) and (folder / "run.json").is_file():
            raise KeyboardInterrupt(f"go on with: concord run --resume {shlex.quote(str(folder))}") from None
        raise
    finish(folder, table=table)


def done(folder: Path, *, strict: bool, browse: bool) -> None:
    """The end of a run that was not interrupted."""
    if browse:
        open_page(folder / "report.html")
    code = exit_code(folder, strict=strict)
    if code == options.EXIT_TIME:
        more = f"concord run --resume {shlex.quote(str(folder))} --max-time TIME"
        click.echo(f"concord: the time is up; with more of it in all go on by: {more}", err=True)
    sys.exit(code)


VERBS = (verify, run, selfcheck, doctor)
