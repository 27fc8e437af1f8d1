"""What a run's proofs say of each backend and mode: proven, failed, or not proven, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.records import Cell, Proof, Run

REFERENCE = "numpy"  # the backend that arbitrates proofs
LEVELS = ("weights", "logits", "loss", "gradients", "tensors", "eval", "steps")  # "proven" needs each of them


@dataclass(frozen=True)
class Proven:
    """What the proof says of one backend and mode; ``worst`` is its largest float64 difference from any other."""

    state: Literal["proven", "failed", "not proven"]
    reason: str = ""
    worst: float | None = None


def proven(proofs: Sequence[Proof], *, task: str, backend: str, mode: str) -> Proven:
    """Proven: every float64 level against the reference holds, and no row failed that this entry must answer for."""
    rows = [p for p in proofs if (p.task, p.backend, p.mode) == (task, backend, mode)]
    exact = [p for p in rows if (p.against, p.precision) == (REFERENCE, "float64") or p.level == "weights"]
    exact = [p for p in exact if p.verdict == "proven"]  # a round trip of the weights needs no reference
    entry = f"{backend} {mode}"
    met = [p for p in proofs if p.task == task and entry in {f"{p.backend} {p.mode}", p.against}]
    worst = max((p.worst for p in met if p.worst is not None and (p.precision, p.verdict) == ("float64", "proven")), default=None)
    if failed := _failures([p for p in proofs if p.task == task], entry):
        return Proven("failed", f"{failed[0].level} against {failed[0].against or '?'}: {located(failed[0])}", worst)
    if not rows and backend == REFERENCE:
        return Proven("proven", "the reference itself", 0.0)
    missing = [level for level in LEVELS if level not in {p.level for p in exact}]
    if not missing:
        return Proven("proven", "", worst)
    skipped = [located(p) for p in rows if p.verdict == "skipped"]
    absent = f"no proof of {', '.join(missing)}" if rows else "no proof in this run"
    return Proven("not proven", skipped[0] if skipped else absent, worst)


def _failures(proofs: Sequence[Proof], entry: str) -> list[Proof]:
    """The failed rows of a task that ``entry`` ("torch eager") must answer for, its very own first.

    Also those between it and another entry, on either side: unless that other one has failed on its own. The reference
    is the arbiter, and a broken backend must not take the sound ones with it.
    """
    entries = {f"{p.backend} {p.mode}" for p in proofs}
    failed = [({f"{p.backend} {p.mode}", p.against} & entries, p) for p in proofs if p.verdict == "failed"]
    guilty = {name for parties, _ in failed if len(parties) == 1 for name in parties}
    ours = [(parties, p) for parties, p in failed if entry in parties and not (parties - {entry}) & guilty]
    return [p for _, p in sorted(ours, key=lambda found: len(found[0]))]


def located(proof: Proof) -> str:
    """Where the worst value is, how large, and the reason if there is one."""
    beyond = "" if proof.tolerance is None else f" > {proof.tolerance:.2g}"
    size = "" if proof.worst is None else f"{proof.worst:.2g}{beyond}"
    return ", ".join(part for part in (proof.reason, proof.where, size) if part)


def statuses(run: Run) -> dict[Cell, Proven]:
    """The proof of every cell that the run's trials name."""
    cells = dict.fromkeys(trial.cell for trial in run.trials if trial.phase != "canary")
    return {c: proven(run.proofs, task=c.task, backend=c.backend, mode=c.mode) for c in cells}
