"""One run from plan to report: proof, training, timing, views. What a turn of all entrants found is on disk before the next."""

import gc
import re
import shlex
import sys
from collections.abc import Callable
from concurrent.futures import Future, as_completed
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness import catalog, environment, launch, proof, ranking, records, roofline, sanity, verify, weights
from harness.errors import HarnessError
from harness.launch import WorkerError
from harness.measure import Stopwatch, cpu_seconds
from harness.plan import Plan, Subject, clock
from harness.progress import Progress
from harness.ranking import Contest
from harness.records import Journal, Proof, Run, Trial
from harness.suite import Suite
from harness.timing import Generation, Timing

EPOCH_S = 3600.0  # of one epoch of a training: one that takes longer hangs
UNSAFE = re.compile(r"[^\w.-]+")  # in the name of a folder: a task's key has its parameters, "risk_mlp:data=credit_default"


def run(plan: Plan, folder: Path, progress: Progress, earlier: Run | None = None) -> None:
    """Carry the plan out in a new and empty folder, or go on with an ``earlier`` run of it there, its records mended.

    Views are made by the caller, from what is on disk.
    """
    state = State(folder, dict(earlier.manifest) if earlier else describe(plan))
    trials, proofs = (list(earlier.trials), list(earlier.proofs)) if earlier else ([], [])
    journal = Journal(folder, trials, proofs, progress.kept)
    state.save()
    for backend, reason in plan.skipped.items():
        skip(plan, journal, backend, reason)
    try:
        prepare(plan, journal, state, progress)
        short = generations(plan, journal, state, progress)
    except BaseException:
        with suppress(HarnessError):  # a disk that is full: what ended the run is told, not that
            state.save()  # the time that it used counts
        raise
    state.save(finished=None if short else records.now())  # what the time cut short can be given more


def generations(plan: Plan, journal: Journal, state: "State", progress: Progress) -> bool:
    """Time whole generations until there are enough or the time is used up; whether it left something undone."""
    begun, complete, aside = state.used(), state.progress["complete"], state.progress["aside"]
    first = len(complete)
    timing = Timing(plan, journal, progress, first + len(aside))
    gc.freeze()  # or all that was imported is looked through again and again, 0.1 s of CPU time each, while samples come in
    while wanted(plan, len(complete), judge(journal.run(state.manifest), progress)):
        number = len(complete) + len(aside)  # one that was cut short has used its number up
        for threads in plan.threads:
            Generation(timing, number, threads).measure()
        complete.append(number)
        state.save()
        used = state.used()
        each, least = (used - begun) / (len(complete) - first), plan.suite.generations - len(complete)
        ahead = f", about {clock(least * each)} to go" if least > 0 else ""
        progress.say(f"time    {len(complete)} generation{'s' * (len(complete) != 1)} in {clock(used)}{ahead}")
        if 0 < plan.suite.budget_s < used + each and (plan.suite.hard or least <= 0):
            break
    return len(complete) < plan.suite.generations or any(map(records.cut_short, records.latest(journal.trials)))


class State:
    """How far a run is, kept in its manifest: what a later `--resume` goes by."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Time and CPU time count on from those of an earlier start."""
        self.folder, self.manifest, self.watch = folder, manifest, Stopwatch()
        self.progress = manifest["progress"]
        self.earlier_s, self.earlier_cpu_s = self.progress["used_s"], manifest["harness_cpu_s"]

    def used(self) -> float:
        """Seconds of the whole run so far."""
        return self.earlier_s + self.watch.seconds()

    def save(self, *, finished: str | None = None) -> None:
        """Write the manifest as it is now."""
        self.progress["used_s"] = self.used()
        self.manifest |= {"finished": finished, "harness_cpu_s": self.earlier_cpu_s + cpu_seconds()}
        records.write_manifest(self.folder, self.manifest)


def judge(so_far: Run, progress: Progress) -> tuple[Contest, ...]:
    """What the records so far say, told to who watches."""
    contests = ranking.contests(so_far)
    progress.judged(contests)
    return contests


def wanted(plan: Plan, done: int, contests: tuple[Contest, ...]) -> bool:
    """Whether one more generation is due: the least number is not reached, or an interval is still wide.

    Only the width is looked at. Stopping when a difference is significant would find one in 7.5 % of runs without any.
    """
    if done < plan.suite.generations or not plan.suite.budget_s:
        return done < plan.suite.generations
    return any(half > plan.suite.narrow for contest in contests for half in contest.half_widths())


def describe(plan: Plan) -> dict[str, Any]:
    """The manifest: what is run, with what, where."""
    variables = environment.variables("number of CPUs", plan.workplace.device)
    return {
        "created": records.now(),
        "concord": environment.version("concord-bench"),
        "finished": None,
        "command": shlex.join(["concord", *sys.argv[1:]]),
        "seed": plan.workplace.seed,
        "plan": plan.written(),
        "suite": {"name": plan.name, **asdict(plan.suite)},
        "environment": {
            "machine": environment.machine(),
            "device": plan.workplace.device,
            "workers": {name: {**asdict(plan.installed[name]), "variables": variables} for name in plan.chosen},
        },
        "tasks": {task: task_facts(s, sorted(plan.chosen)) for task, s in plan.tasks().items()},
        "data": {
            s.dataset.name: {"label": s.dataset.label, "digest": s.dataset.digest, "where": str(s.dataset.where)}
            for s in plan.subjects
        },
        "weights": {s.task: weights.digest(s.weights) for s in plan.subjects},
        "code": verify.code_digest(catalog.ROOT),
        "progress": deepcopy(records.BEGUN),
        "harness_cpu_s": 0.0,
    }


def task_facts(subject: Subject, backends: list[str]) -> dict[str, Any]:
    """What views need to know of a task, and the model as each backend writes it."""
    spec, folder = subject.spec, catalog.ROOT / "backends"
    return {
        "title": spec.title,
        "batch": subject.batch,
        "epochs": subject.job.epochs,
        "max_steps": subject.job.max_steps,
        "loss": spec.loss,
        "parameters": spec.model.parameter_count,
        "forward_flops": roofline.forward_flops(spec.model),
        "training_flops": roofline.training_flops(spec.model),
        "step_bytes": roofline.training_bytes(spec, 0),  # and each example of its batch:
        "example_bytes": roofline.training_bytes(spec, 1) - roofline.training_bytes(spec, 0),
        "baseline": sanity.logistic_regression(spec, subject.dataset),
        **asdict(spec.quality),
        "code": {name: (folder / catalog.code(name) / f"{spec.name}.py").read_text("utf-8") for name in backends},
    }


def skip(plan: Plan, journal: Journal, backend: str, reason: str) -> None:
    """A backend that cannot run is a record with its reason."""
    for s in plan.subjects:
        cell = plan.cell(s, backend, catalog.backend(backend).MODES[0])
        row = proof.missing(s.task, backend, cell.mode, verdict="skipped", reason=reason)
        journal.once(row)
        journal.once(Trial(cell=cell, phase="train", status="skipped", reason=reason))


def prepare(plan: Plan, journal: Journal, state: State, progress: Progress) -> None:
    """Prove every task; train every cell with every seed, for its quality: in processes of their own, one a CPU, not timed.

    What an earlier start of the run has done is not done again, but what its time cut short, if there is more of that now.
    """
    exhibits = [verify.exhibit(s.spec, s.dataset.arrays, plan.workplace.seed) for s in plan.tasks().values()]
    allowed_s = training_s(plan.suite)
    more = allowed_s is None or state.used() < allowed_s
    done = {(t.cell, t.seed) for t in journal.trials if t.phase == "fit" and not (more and records.cut_short(t))}
    fits = [what for what in plan.trainings if (plan.cell(*what[:3]), plan.workplace.seed + what[3]) not in done]
    if fits or not state.progress["proven"]:
        progress.at("proof and training", then="timing" if plan.suite.generations else "the report")
    with plan.workplace.pool() as pool:
        proven = state.progress["proven"]
        traces = [] if proven else verify.begin(pool, exhibits, plan.chosen, plan.workplace, progress)
        trainings = [pool.submit(fit, plan, *what, state.used, progress) for what in fits]
        jobs: list[Future[Any]] = [*traces, *trainings]
        for job in as_completed(jobs):
            if isinstance(found := job.result(), Trial):
                journal.keep(found)
            elif all(trace.done() for trace in traces) and not state.progress["proven"]:
                keep_proofs(plan, journal, verify.conclude(traces, exhibits, plan.chosen), progress)
                state.progress["proven"] = True
            state.save()


def keep_proofs(plan: Plan, journal: Journal, rows: list[Proof], progress: Progress) -> None:
    """Write down every proof."""
    for row in rows:
        names = [e.name for e in plan.entrants if (e.backend, e.mode) == (row.backend, row.mode)] or [row.mode]
        for name in names:  # copies are the same code
            journal.once(replace(row, mode=name))
        if row.verdict == "failed":
            progress.say(f"proof   {row.task}  {row.backend} {row.mode}: FAILED at {row.level}: {row.where or row.reason}")


def training_s(suite: Suite) -> float | None:
    """When training ends, in seconds from the beginning: all of the budget if nothing is timed, half of a hard one otherwise."""
    if suite.generations:
        return suite.budget_s / 2 if suite.hard else None
    return suite.budget_s or None


def fit(plan: Plan, subject: Subject, backend: str, mode: str, seed: int, used: Callable[[], float], progress: Progress) -> Trial:
    """One training as a record, whatever becomes of it; ``seed`` counts from the run's own."""
    cell, place = plan.cell(subject, backend, mode), plan.workplace
    trial = Trial(cell=cell, phase="fit", status="ok", seed=place.seed + seed)
    allowed_s = training_s(plan.suite)
    left = None if allowed_s is None else allowed_s - used()
    if left is not None and left <= 0:
        return replace(trial, status="skipped", reason=f"the time for training, {clock(allowed_s or 0)}, was used up")
    initial = subject.weights if not seed else weights.initial(subject.spec, trial.seed)
    limits = {"epochs": subject.job.epochs or subject.spec.train.epochs, "max_steps": subject.job.max_steps, "seconds": left}
    message = subject.message("fit", mode, seed=trial.seed, **limits)
    try:
        label = f"fit-{UNSAFE.sub('-', subject.task)}-{subject.batch}-{backend}-{mode}-{seed}"
        with (
            progress.doing(f"training of {subject.task}: {backend} {mode}, seed {trial.seed}") as hear,
            place.cpu() as cpu,
            place.worker(backend, [cpu], label, cache=f"fit-{backend}-{mode}") as worker,
        ):
            reply, _ = worker.ask(message, launch.weights_message(initial), timeout_s=EPOCH_S, on_event=hear)
    except WorkerError as error:
        return replace(trial, status=error.status, reason=error.reason, log=error.log)
    last = [f" at {k} {v:.4f}" for k, v in (reply["epochs"] or [{}])[-1].items() if k.endswith(subject.spec.quality.metric)]
    cut = f"the run's time ended training after {len(reply['epochs'])} epochs{''.join(last)}" if reply["cut"] else ""
    found = {name: reply[name] for name in ("values", "facts")} | {name: tuple(reply[name]) for name in ("losses", "epochs")}
    return replace(trial, status="timeout" if cut else "ok", reason=cut, steps=len(reply["losses"]), **found)
