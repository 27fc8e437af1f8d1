"""The proof as a job: gathers a trace from every backend and mode in processes of their own, then lets proof.py judge."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from harness import batches, catalog, launch, proof, trace, weights
from harness.progress import Progress
from harness.records import Proof
from harness.spec import Arrays, TaskSpec
from harness.workplace import Workplace

Traces = dict[tuple[str, str, str], dict[str, Arrays] | str]  # (task, backend, mode) -> by name, or why there is none


@dataclass(frozen=True)
class Exhibit:
    """One task's proof inputs: the same bytes for every backend."""

    task: str  # with its parameters
    spec: TaskSpec
    weights: Arrays
    arrays: Arrays
    larger: Arrays  # batches of twice the size: what is right for one size only is found out
    lrs: list[float]

    def asked(self, backend: str) -> dict[str, tuple[str, Arrays]]:
        """Precision and inputs of each trace; only the reference tells what float32 comes near to: ``exact``."""
        found = {"float64": ("float64", self.arrays), "float32": ("float32", self.larger)}
        return found | ({"exact": ("float64", self.larger)} if catalog.backend(backend).REFERENCE else {})


def exhibit(spec: TaskSpec, data: Mapping[str, np.ndarray], seed: int) -> Exhibit:
    """Ten training batches of each size as training draws them, unsettled weights, and an lr that changes at every step."""

    def drawn(batch: int) -> Arrays:
        return trace.inputs(list(islice(batches.endless(spec, data, batch=batch, seed=seed), trace.STEPS)))

    lrs = trace.learning_rates(spec).tolist()
    sizes = drawn(spec.proof_batch), drawn(2 * spec.proof_batch)
    return Exhibit(catalog.key(spec), spec, weights.unsettled(spec, seed), *sizes, lrs)


def verify(
    exhibits: list[Exhibit], chosen: Mapping[str, tuple[str, ...]], workplace: Workplace, progress: Progress
) -> list[Proof]:
    """Prove every chosen backend and mode, by name, on every task; as many backends at once as there are CPUs."""
    with workplace.pool() as pool:
        return conclude(begin(pool, exhibits, chosen, workplace, progress), exhibits, chosen)


def begin(
    pool: Executor, exhibits: list[Exhibit], chosen: Mapping[str, tuple[str, ...]], workplace: Workplace, progress: Progress
) -> list[Future[Traces]]:
    """Let every chosen backend, and the reference, trace every task."""
    reference = catalog.reference()
    everyone = {reference: catalog.backend(reference).MODES, **{n: m for n, m in chosen.items() if n != reference}}
    return [pool.submit(gather, name, modes, exhibits, workplace, progress) for name, modes in everyone.items()]


def conclude(jobs: list[Future[Traces]], exhibits: list[Exhibit], chosen: Mapping[str, tuple[str, ...]]) -> list[Proof]:
    """The proofs, once all traces are there."""
    traces: Traces = {}
    for job in jobs:
        traces |= job.result()
    return [row for ex in exhibits for row in judge_task(ex, traces, chosen)]


def gather(name: str, modes: tuple[str, ...], exhibits: list[Exhibit], workplace: Workplace, progress: Progress) -> Traces:
    """All traces of one backend, in one process that is begun again if it dies."""
    found: Traces = {}
    waiting = [(ex, mode) for ex in exhibits for mode in modes]
    with progress.doing(f"proof: {name}"), workplace.cpu() as cpu:
        while waiting:
            try:
                with workplace.worker(name, [cpu], f"verify-{name}-{len(waiting)}") as worker:
                    while waiting:
                        ex, mode = waiting.pop(0)
                        found[ex.task, name, mode] = ask(worker, ex, mode, progress)
                        if worker not in launch.ALIVE:  # it died, or hung and was killed
                            break
            except launch.WorkerError as error:
                return found | {(ex.task, name, mode): error.reason for ex, mode in waiting}
    return found


def ask(worker: launch.Worker, ex: Exhibit, mode: str, progress: Progress) -> dict[str, Arrays] | str:
    """One backend's traces of one task in one mode, or why there are none."""
    try:
        found = {name: traced(worker, ex, mode, name=name, progress=progress) for name in ex.asked(worker.backend)}
    except launch.WorkerError as error:
        progress.say(f"proof   {ex.task}  {worker.backend} {mode}: {error.reason}")
        return error.reason
    progress.say(f"proof   {ex.task}  {worker.backend} {mode}: traced")
    return found


def traced(worker: launch.Worker, ex: Exhibit, mode: str, *, name: str, progress: Progress) -> Arrays:
    """One trace, by its name in ``Exhibit.asked``."""
    precision, arrays = ex.asked(worker.backend)[name]
    message = {"op": "trace", "task": ex.task, "mode": mode, "precision": precision, "lrs": ex.lrs, "tensors": name == "float64"}
    with progress.doing(f"proof of {ex.task} in {precision}: {worker.backend} {mode}"):
        return worker.ask(message, launch.weights_message(ex.weights) | arrays)[1]


def judge_task(ex: Exhibit, traces: Traces, chosen: Mapping[str, tuple[str, ...]]) -> list[Proof]:
    """The proofs of one task from all its traces; a backend without a trace has failed."""
    name = catalog.reference()
    mode = catalog.backend(name).MODES[0]
    witness = traces[ex.task, name, mode]
    reference = None if isinstance(witness, str) else proof.Subject(ex.task, name, mode, witness)
    rows, subjects = [], []
    for backend, m in ((backend, m) for backend, modes in chosen.items() for m in modes):
        found = traces[ex.task, backend, m]
        if isinstance(found, str) or reference is None:
            reason = found if isinstance(found, str) else f"the {name} reference gave no trace: {witness}"
            rows.append(proof.missing(ex.task, backend, m, verdict="failed", reason=reason))
        elif backend != name and m == "stock":
            rows.append(proof.drift(proof.Subject(ex.task, backend, m, found), reference))
        else:
            subjects.append(proof.Subject(ex.task, backend, m, found))
    return [*(proof.judge(ex.spec, reference, subjects, ex.weights) if reference else ()), *rows]


def judged(row: Proof) -> bool:
    """Whether there were numbers to compare; of a backend whose worker raised, hung or died there are none."""
    return row.level != "trace"


def code_digest(root: Path) -> str:
    """sha256 over the source that was proven and timed."""
    total = hashlib.sha256()
    for folder in ("harness", "backends", "suites"):
        for path in sorted((root / folder).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
