"""The timed part of a run: generations of fresh processes, rounds in rotated order, canaries, controls, repeated rounds."""

import random
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import product
from typing import Any

from harness import catalog, launch, noise
from harness.channel import Message
from harness.launch import Worker, WorkerError
from harness.plan import Entrant, Plan, Subject
from harness.progress import Progress
from harness.records import Cell, Journal, Status, Trial
from harness.suite import Phase

MIN_STEPS, MAX_STEPS = 1, 20_000  # of one sample
KEPT_CALLS, CALLS_S = 500, 0.05  # of a sample of single calls: the most that are kept, and how long more of them go on
CHECKS = 2  # of the length of a sample, by as many blocks more

Place = tuple[str, int, Entrant]  # a task, a batch, and who computes it


def session(subject: Subject, entrant: Entrant) -> str:
    """How a worker calls what it has opened."""
    return f"{subject.task} {entrant.mode} {subject.batch}"


class Timing:
    """What all generations share: the records, the calibrated lengths of samples."""

    def __init__(self, plan: Plan, journal: Journal, progress: Progress, first: int) -> None:
        """``steps`` holds the length of each cell's sample: as in the records, or else the first generation fills it.

        ``first`` is that one's number: it finds empty compile caches.
        """
        self.plan, self.journal, self.progress, self.first = plan, journal, progress, first
        modes = {entrant.name: entrant.mode for entrant in plan.entrants}
        self.steps: dict[tuple[Cell, str], int] = {
            (replace(t.cell, mode=modes[t.cell.mode]), t.phase): taken(t)
            for t in journal.trials
            if t.phase in noise.TIMED and t.status == "ok"
        }


class Generation:
    """One fresh process an entrant, then rounds in which each has one turn, the others stopped."""

    def __init__(self, timing: Timing, number: int, threads: int) -> None:
        """Nothing is started yet; each worker is going to have ``threads`` CPUs."""
        self.timing, self.plan, self.number, self.threads = timing, timing.plan, number, threads
        self.title = f"generation {number + 1} of at least {self.plan.suite.generations}"
        self.title += f" on {threads} CPUs" if threads > 1 else ""
        self.folder = f"time-{number}-{threads}"
        self.subjects = self.plan.timed(threads)
        self.contests = [(s, phase) for s in self.subjects for phase in s.job.phases]
        self.entrants = [*self.plan.entrants, *self.plan.control(number)]
        self.workers: dict[Entrant, Worker] = {}
        self.bird: Worker | None = None  # the canary's process
        self.gone: set[Place] = set()

    def measure(self) -> None:
        """Start, open, go round, repeat what was disturbed, bury."""
        place = self.plan.workplace
        cpus = place.quietest(self.threads, turn=self.number)
        entrants = [entrant for entrant in self.entrants if self.subjects_of(entrant)]
        random.Random(f"{place.seed} {self.number}").shuffle(entrants)  # noqa: S311 - who starts first is no secret
        with ExitStack() as stack:
            with suppress(WorkerError):  # a run goes on without its canary, and shows that none sang
                self.bird = stack.enter_context(place.worker(catalog.reference(), cpus[:1], f"{self.folder}-canary"))
            for entrant in entrants:
                self.open_process(stack, entrant, cpus)
            turns = list(product(range(self.plan.suite.rounds), self.contests))
            following = [f"{s.task} {phase}" for _, (s, phase) in turns[1:]]
            for (round_, (s, phase)), then in zip(turns, [*following, "contended rounds again"], strict=False):
                self.turns(s, phase, round_, attempt=0, then=then)
            self.repeat()

    def repeat(self) -> None:
        """Run every contended round again, once; both are kept, and which one counts is a rule of harness/ranking.py."""
        disturbed = {key for key, _ in noise.contended(self.timing.journal.trials) if key.generation == self.number}
        again = 0
        for (s, phase), round_ in product(self.contests, range(self.plan.suite.rounds)):
            batch = self.cell(s, self.plan.entrants[0], phase).batch
            if noise.Group(s.task, batch, self.threads, phase, self.number, round_) in disturbed:
                self.turns(s, phase, round_, attempt=1, then="the rest of the contended rounds")
                again += 1
        if again:
            self.timing.progress.say(f"time    {self.title}: {again} contended rounds run again")

    def open_process(self, stack: ExitStack, entrant: Entrant, cpus: list[int]) -> None:
        """Start one process, open all its cells, stop it."""
        self.timing.progress.at(self.title, now=f"{entrant.backend} {entrant.name} starts", then="round 1")
        try:
            label = f"{self.folder}-{entrant.backend}-{entrant.mode}-{entrant.copy}"
            process = self.plan.workplace.worker(entrant.backend, cpus, label, cache=self.cache(entrant))
            worker = self.workers[entrant] = stack.enter_context(process)
        except WorkerError as error:
            self.timing.journal.keep(*(self.lost(s, entrant, "first_call", error) for s in self.subjects_of(entrant)))
            return
        for s in self.subjects_of(entrant):
            self.open_cell(worker, s, entrant)
        worker.pause()

    def subjects_of(self, entrant: Entrant) -> list[Subject]:
        """What an entrant is timed on."""
        return [s for s in self.subjects if self.plan.takes_part(entrant, s, self.threads)]

    def cache(self, entrant: Entrant) -> str:
        """The compile cache of a process: what it compiled in earlier generations on as many CPUs.

        A control finds in it what its twin does, for JAX is not as fast where it has compiled as where it has loaded: nothing in
        the first generation after a start, the twin's own programs in later ones.
        """
        copy = 0 if self.is_control(entrant) and self.number != self.timing.first else entrant.copy
        return f"time-{entrant.backend}-{entrant.mode}-{copy}-{self.threads}"

    def open_cell(self, worker: Worker, subject: Subject, entrant: Entrant) -> None:
        """First calls and warm-ups of one cell."""
        opened = {"cell": session(subject, entrant), "phases": list(subject.job.phases), "batch": subject.batch}
        more = {"seed": self.plan.workplace.seed, "slowdown": entrant.slowdown}
        message = subject.message("open", entrant.mode, **opened, **more)
        now = f"first calls and warm-up of {subject.task}: {entrant.backend} {entrant.name}"
        self.timing.progress.at(self.title, now=now, then="round 1")
        try:
            reply, _ = worker.ask(message, launch.weights_message(subject.weights))
        except WorkerError as error:
            self.timing.journal.keep(self.lost(subject, entrant, "first_call", error))
            return
        values = {"import_s": worker.facts["import_s"], **reply["values"]}
        of = "control" if self.is_control(entrant) else ""
        trials = [self.trial(self.cell(subject, entrant), "first_call", of=of, values=values, facts=reply["facts"])]
        for phase, found in reply["warmups"].items() if not of else ():
            cell, facts = self.cell(subject, entrant, phase), {name: found[name] for name in ("kind", "start", "stride")}
            times_ns = tuple(found["times_ns"])
            trials.append(self.trial(cell, "warmup", of=phase, steps=found["steps"], times_ns=times_ns, facts=facts))
        self.timing.journal.keep(*trials)

    def turns(self, subject: Subject, phase: Phase, round_: int, *, attempt: int, then: str) -> None:
        """The canary, then one sample of every entrant; recorded together, whatever ends the turns. ``then`` is what follows.

        The first one rotates, and after each whole rotation the way round changes: nobody always follows the same one.
        """
        common: dict[str, Any] = {"round": round_, "attempt": attempt}
        members = [entrant for entrant in self.entrants if self.plan.takes_part(entrant, subject, self.threads)]
        rotation, shift = divmod(self.number * self.plan.suite.rounds + round_, len(members))
        order = (members[shift:] + members[:shift])[:: -1 if rotation % 2 else 1]
        where = f"{self.title}, round {round_ + 1} of {self.plan.suite.rounds}" + " again" * attempt
        names = [f"{entrant.backend} {entrant.name}" for entrant in order]
        trials: list[Trial] = []
        try:
            if self.bird:
                trials.append(self.sing(self.bird, subject, phase, common))
            for position, entrant in enumerate(order):
                if (subject.task, subject.batch, entrant) not in self.gone:
                    rest = ", ".join(names[position + 1 :]) or then
                    self.timing.progress.at(where, now=f"{subject.task} {phase}: {names[position]}", then=rest, often=True)
                    trials.append(self.sample(subject, entrant, phase, {**common, "position": position}))
        finally:
            self.timing.journal.keep(*trials)

    def sing(self, bird: Worker, subject: Subject, phase: Phase, common: dict[str, Any]) -> Trial:
        """Time the canary; without one a generation goes on, and its rounds are judged by the rest of what they met."""
        cell = replace(self.cell(subject, self.plan.entrants[0], phase), backend=bird.backend, mode="canary", device="cpu")
        common = {**common, "of": phase}
        try:
            reply, _ = bird.ask({"op": "canary"})
            bird.pause()
        except WorkerError as error:
            self.bird = None
            return self.trial(cell, "canary", error.status, reason=error.reason, log=error.log, **common)
        return self.trial(cell, "canary", values=reply["values"], **common)

    def sample(self, subject: Subject, entrant: Entrant, phase: Phase, common: dict[str, Any]) -> Trial:
        """One turn: the worker runs, is timed, and is stopped again."""
        worker, cell = self.workers[entrant], self.cell(subject, entrant, phase)
        message = {"op": "sample", "cell": session(subject, entrant), "phase": phase}
        try:
            steps = self.sample_steps(worker, replace(cell, mode=entrant.mode), message)
            reply, _ = worker.ask({**message, "steps": steps})
        except WorkerError as error:
            return self.lost(subject, entrant, phase, error, **common)
        finally:
            worker.pause()
        what, of = ("control", phase) if self.is_control(entrant) else (phase, "")
        return self.trial(cell, what, of=of, **common, **thinned(reply))

    def sample_steps(self, worker: Worker, cell: Cell, message: dict[str, Any]) -> int:
        """How many steps last about ``sample_s``: measured once, then the same in every round, generation and copy.

        A worker may take a few more, where one call of it is several steps.
        """
        key = (cell, message["phase"])
        if key not in self.timing.steps:
            self.timing.steps[key] = calibrated(worker, message, self.plan.suite.sample_s)
        return self.timing.steps[key]

    def is_control(self, entrant: Entrant) -> bool:
        """Whether an entrant is this generation's A/A control."""
        return entrant not in self.plan.entrants

    def cell(self, subject: Subject, entrant: Entrant, phase: str = "") -> Cell:
        """The key of an entrant's measurement; a control's is that of its twin, and latency has a batch of one."""
        mode = entrant.mode if self.is_control(entrant) else entrant.name
        found = self.plan.cell(subject, entrant.backend, mode, self.threads)
        return replace(found, batch=1) if phase == "latency" else found

    def lost(self, subject: Subject, entrant: Entrant, phase: str, error: WorkerError, **common: Any) -> Trial:
        """A failure is a record, with what the samples of its round have in ``common``, and the cell's end in this generation."""
        self.gone.add((subject.task, subject.batch, entrant))
        cell, what = self.cell(subject, entrant, phase), "control" if self.is_control(entrant) else phase
        return self.trial(cell, what, error.status, reason=error.reason, log=error.log, **common)

    def trial(self, cell: Cell, phase: str, status: Status = "ok", **found: Any) -> Trial:
        """A record of this generation."""
        return Trial(cell, phase, status, self.number, **found)


def calibrated(worker: Worker, message: dict[str, Any], wanted_s: float) -> int:
    """How many steps last about ``wanted_s``; of single calls no more than are kept, or go on for CALLS_S.

    So many are timed, too, and counted anew, twice at most, where they take less than half or more than double of that: else
    one short block that somebody disturbed left a cell with a few steps a sample for the whole run.
    """

    def take(steps: int) -> tuple[float, int]:
        reply, _ = worker.ask({**message, "steps": steps})
        return sum(reply["times_ns"]) / 1e9, reply["steps"] * len(reply["times_ns"])

    steps, seconds = 1, 0.0
    while seconds < wanted_s / 4 and steps < MAX_STEPS:  # a few steps alone tell little: what one sync costs, is theirs
        steps = min(MAX_STEPS, steps * 4)
        seconds, taken = take(steps)
    for _ in range(CHECKS):
        before, steps = steps, fitting(taken * wanted_s / seconds)
        if steps == before:
            break
        seconds, taken = take(steps)
        if wanted_s / 2 <= seconds <= wanted_s * 2:
            break
    else:
        steps = fitting(taken * wanted_s / seconds)
    enough = max(KEPT_CALLS, round(taken * CALLS_S / seconds))
    return min(steps, enough) if message["phase"] == "latency" else steps


def fitting(steps: float) -> int:
    """A whole number of steps within the limits of a sample."""
    return min(MAX_STEPS, max(MIN_STEPS, round(steps)))


def taken(trial: Trial) -> int:
    """How many steps or calls a recorded sample took, of which it may hold a part."""
    calls = trial.facts.get("calls")
    return trial.steps * (calls if isinstance(calls, int) else len(trial.times_ns))


def thinned(reply: Message) -> Message:
    """Of very many single calls every second, third, ... one, with their share of CPU time and energy: all would fill a disk."""
    times, met = reply["times_ns"], reply["noise"]
    kept = tuple(times[:: -(-len(times) // KEPT_CALLS)])
    share = len(kept) / len(times)
    if "energy_j" in met:
        met = {**met, "energy_j": met["energy_j"] * share}
    found = {**reply, "times_ns": kept, "cpu_ns": round(reply["cpu_ns"] * share), "noise": met}
    return found if share == 1 else {**found, "facts": {"calls": len(times)}}
