"""How figures and findings are put into words: units, digits, names, and the one sentence a task."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from harness import catalog
from harness.errors import HarnessError
from harness.ranking import Contest
from harness.records import Cell, Proof, Run
from harness.report.findings import SHOWN, Findings, Row
from harness.report.tables import overall
from harness.standing import Proven
from harness.stats import PATIENCE, TIE_BAND, Estimate

MARKS = {"proven": "✓", "failed": "✗", "not proven": "○", "skipped": "○"}
PLAIN = range(-4, 7)  # powers of ten that are written without an exponent
TIMES = ((1.0, 1.0, "s"), (1e-4, 1e3, "ms"), (0.0, 1e6, "µs"))  # from this many seconds, factor, unit
OTHERS = {"bytes": (2**-20, "MiB"), "FLOP/s": (1e-9, "GFLOP/s")}  # units that are shown in another one
ALL = {2: "both", 3: "all three", 4: "all four"}
MANY = 4  # entries that a sentence can name
NOTHING = 1e4  # from limit to limit: an interval of two generations and 78 pairs, which says no more than none


def digits(value: float | None, count: int = 3) -> str:
    """A number with ``count`` significant digits and no exponent between 1e-4 and 1e7."""
    if value is None or not math.isfinite(value):
        return "-" if value is None else str(value)
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    return f"{value:.{count - 1}e}" if size not in PLAIN else f"{value:,.{max(0, count - 1 - size)}f}"


def time_unit(seconds: Iterable[float]) -> tuple[float, str]:
    """The factor and name of the unit in which the shortest of some times reads well."""
    shortest = min(seconds, default=1.0)
    return next((factor, unit) for least, factor, unit in TIMES if shortest >= least)


def bounds(figure: Estimate | None) -> tuple[float, float] | None:
    """The interval of a figure; None where there is none, or it says nothing."""
    if figure is None or figure.low is None or figure.high is None:
        return None
    return None if figure.low > 0 and figure.high / figure.low > NOTHING else (figure.low, figure.high)


def span(figure: Estimate | None, factor: float = 1.0) -> str:
    """The interval of a figure, "1.22 to 1.31"; nothing where there is none, "no limits" where it says nothing."""
    if ends := bounds(figure):
        return f"{digits(ends[0] * factor)} to {digits(ends[1] * factor)}"
    return "no limits" if figure and figure.low is not None and figure.high is not None else ""


def within(row: Row) -> str:
    """The interval of a figure in the unit in which it is shown, of a count in whole numbers."""
    ends = bounds(row.figure)
    if ends and row.unit == "1" and row.figure.value > 1 and all(map(float.is_integer, ends)):
        return f"{ends[0]:,.0f} to {ends[1]:,.0f}"
    return span(row.figure, scale(row)[0])


def badge(state: str) -> str:
    """A proof's state with its mark, so that colour is not the only sign."""
    return f"{MARKS.get(state, '-')} {state}"


def sized(figure: Estimate, factor: float = 1.0, unit: str = "") -> str:
    """A figure in its unit, or a ratio, with its interval if it has one: "1.31x (1.22 to 1.4)"."""
    within, value = span(figure, factor), digits(figure.value * factor)
    return (f"{value} {unit}" if unit else f"{value}x") + (f" ({within})" if within else "")


def scale(row: Row) -> tuple[float, str]:
    """The factor and name of the unit in which a figure is shown."""
    if row.unit == "s":
        return time_unit([row.figure.value])
    return OTHERS.get(row.unit, (1.0, row.unit.removeprefix("1")))


def amount(row: Row) -> str:
    """A single figure with its unit: times in the unit that suits them, bytes as MiB, counts whole."""
    value, (factor, unit) = row.figure.value, scale(row)
    if unit:
        return f"{digits(value * factor)} {unit}"
    return f"{value:,.0f}" if value > 1 and value.is_integer() else digits(value, 4)


def name(entry: Cell | Proof) -> str:
    """How an entry is called within its task."""
    return f"{entry.backend} {entry.mode}"


def swept(cell: Cell, phase: str = "") -> str:
    """A cell's name with the terms of a sweep, of its single calls if that is the phase."""
    batch = 1 if phase == "latency" else cell.batch
    return f"{name(cell)}, batch {batch}, {plural(cell.threads, 'CPU')}"


def labels(findings: Findings, task: str, phase: str = "") -> dict[Cell, str]:
    """How each cell of a task is called, in order: those on its main terms by name, those of sweeps with their terms."""
    sweep = {cell: swept(cell, phase) for cell in findings.sweep_of(task)}
    return {cell: name(cell) for cell in findings.cells_of(task)} | sweep


def judged(proof: Proof, between: str = " ") -> str:
    """One level of a proof: mark, worst difference, what is allowed."""
    found = proof.verdict if proof.worst is None else digits(proof.worst, 2)
    within = "" if proof.tolerance is None else f"{between}of {proof.tolerance:.2g}"
    return f"{MARKS.get(proof.verdict, '')} {found}{within}"


def plural(count: int, what: str) -> str:
    """A count of things: "1 step", "1,200 steps"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def listed(parts: Iterable[str]) -> str:
    """Words joined as in a sentence: "a, b and c"."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def units(findings: Findings, task: str) -> dict[str, tuple[float, str]]:
    """For each phase that was timed, the factor and unit that all cells of a task share."""
    rows = {phase: [findings.pick(cell, phase) for cell in findings.cells_of(task)] for phase in SHOWN}
    return {phase: time_unit(row.figure.value for row in found if row) for phase, found in rows.items() if any(found)}


def hole(findings: Findings, cell: Cell) -> str:
    """Why a cell has no times at all; nothing where it has some."""
    timed = any(findings.pick(cell, phase) for phase in SHOWN)
    return "" if timed else "; ".join(findings.troubles[cell]) or "not timed"


def terms(contest: Contest, contests: Sequence[Contest]) -> str:
    """On which terms a contest was held, as far as they are not those of all contests."""
    own, *others = (next(iter(c.blocks)) for c in (contest, *contests))
    differing = [term for term in ("device", "precision", "data") if {getattr(o, term) for o in others} != {getattr(own, term)}]
    return f" ({', '.join(getattr(own, term) for term in differing)})" if differing else ""


def common(findings: Findings, task: str) -> str:
    """On which terms a task was run, "batch 64, 1 CPU, float32, mnist (60,000)"; of a term that differs, every value."""
    cells = findings.cells_of(task)
    parts = ([f"batch {cell.batch}", plural(cell.threads, "CPU"), cell.precision, cell.data] for cell in cells)
    return ", ".join(" or ".join(dict.fromkeys(values)) for values in zip(*parts, strict=True))


def made(findings: Findings) -> list[str]:
    """When, where and of what the run was made, as far as it says."""
    run = findings.run
    workers = run.part("environment", "workers")
    versions = [f"{p} {v}" for worker in workers for p, v in run.part("environment", "workers", worker, "versions").items()]
    machine = run.part("environment", "machine")
    memory, cpus = machine.get("memory_bytes"), machine.get("cpus")
    size = [plural(cpus, "CPU")] if type(cpus) is int and 0 < cpus < 2**60 else []
    size += [f"{memory / 2**30:.0f} GiB"] if type(memory) is int and 0 < memory < 2**60 else []
    where = ", ".join(str(text) for text in (machine.get("cpu"), *size, machine.get("system")) if text)
    return [str(text) for text in (dated(run), where, ", ".join(versions)) if text]


def dated(run: Run) -> str:
    """When a run was begun, as far as it says."""
    created = str(run.at("created") or "")
    return created[:19].replace("T", " ") + " UTC" * created.endswith(("+00:00", "Z"))


def title(cell: Cell) -> str:
    """How a cell is called in a sentence, "PyTorch eager"."""
    return titled(cell.backend, cell.mode)


def titled(backend: str, mode: str) -> str:
    """How an entry is called in a sentence; a backend that this Concord does not have goes by its name."""
    code, at, label = backend.partition("@")
    with suppress(HarnessError):
        code = catalog.backend(code).TITLE
    return f"{code}{at}{label} {mode}"


def sentence(findings: Findings, task: str) -> str:
    """The answer for one task: who is faster and how sure that is, or how well they learned; then what is proven."""
    cells, contests = findings.cells_of(task), findings.contests_of(task, "train")
    clauses = [*dict.fromkeys(map(_speed, contests))]
    if len(clauses) > 1:
        clauses = [_speed(contest) + terms(contest, contests) for contest in contests]
    if not contests:
        rows = {title(cell): findings.quality(cell) for cell in cells}
        reached = [f"{label} {digits(row.figure.value, 4)}" for label, row in rows.items() if row]
        clauses = ["No training step was timed"]
        clauses += [f"{findings.goal(task)['metric']} after training: {listed(reached)}"] if reached else []
    return "; ".join([*clauses, *_proven({cell: findings.proofs[cell] for cell in cells})]) + "."


def together(findings: Findings) -> list[str]:
    """Who trains fastest over all tasks, a sentence for each device and precision, as overall.csv has it."""
    found, said = overall(findings), []
    lines: list[dict[Any, Any]] = found[found.phase == "train"].to_dict("records")
    for (device, precision, tasks), rows in groupby(lines, itemgetter("device", "precision", "tasks")):
        best, *others = rows
        lead = "takes least" if best["rank"] == "1" else "leads, though not alone"
        shown = _few(others, itemgetter("backend"))
        told = [(r, Estimate(r["ratio_to_best"], r["ci_low"], r["ci_high"], 0)) for r in shown]
        behind = [f"{titled(r['backend'], r['mode'])} takes {sized(ratio)}" for r, ratio in told]
        behind += [f"overall.csv has {len(others) - len(shown)} more"] if len(shown) < len(others) else []
        over = f"Training over {listed(tasks.split(', '))} together ({device}, {precision})"
        said.append(f"{over}, {titled(best['backend'], best['mode'])} {lead}: {'; '.join(behind)}.")
    return said


def _few(behind: Sequence[Any], backend: Callable[[Any], str]) -> list[Any]:
    """Those that a sentence names: all, or the first of each backend where they are many."""
    first = {backend(one): one for one in reversed(behind)}
    return [one for one in behind if len(behind) < MANY or one is first[backend(one)]]


def _proven(proofs: Mapping[Cell, Proven]) -> Iterator[str]:
    """Who is proven, up to which difference, and whose proof failed."""
    good = [cell for cell, proof in proofs.items() if proof.state == "proven"]
    worst = max((proofs[cell].worst or 0.0 for cell in good), default=0.0)
    if len(good) == len(proofs) > 1:
        who = ALL.get(len(good), f"all {len(good)}")
    elif len(good) > MANY:
        who = f"{len(good)} of {len(proofs)} entries"
    else:
        who = listed(map(title, good)) if good else "nothing"
    yield f"{who} proven" + (f" equal to {worst:.0e}" if worst else "")
    yield from (f"{title(cell)} FAILED its proof ({p.reason})" for cell, p in proofs.items() if p.state == "failed")


def _speed(contest: Contest) -> str:
    """Who trains fastest, and how far behind the others are; of many the best of each backend."""
    best = contest.best
    if best is None or contest.refusal:
        return f"No ranking ({contest.refusal})" if best else "No speed is claimed"
    behind = sorted(set(contest.ranks) - {best}, key=lambda b: contest.ratios[best, b].value)
    shown = _few(behind, attrgetter("backend"))
    task, against = best.task.partition(":")[0], [_behind(contest, best, b) for b in shown]
    lead = f"leads in training {task}, though not alone: "
    if contest.ranks[best] == "1":
        second = shown.pop(0)
        lead, against[0] = f"trains {task} ", f"{sized(contest.ratios[best, second])} faster than {title(second)}"
    more = [f"{len(behind) - len(against)} more stand in the table"] if len(against) < len(behind) else []
    return f"On this machine {title(best)} {lead}{'; '.join([*against, *more])}"


def _behind(contest: Contest, best: Cell, b: Cell) -> str:
    """How far an entry is behind the best, or what an undecided pair would have needed."""
    ratio, verdict = contest.ratios[best, b], contest.verdicts[best, b]
    if verdict in {"slower", "faster"}:
        return f"{title(b)} is {sized(ratio)} {verdict}"
    if verdict == "tie":
        return f"{title(b)} ties with it within {TIE_BAND:.0%}, at {sized(ratio)}"
    needed, seen = ratio.needed(contest.floor), ratio.detectable(contest.floor) or math.nan
    more = f"{needed} generations in all might decide" if needed else f"more than {PATIENCE} generations would be needed"
    return f"{title(b)} is undecided, at {sized(ratio)}: this run sees {seen:.1%} and more, and {more}"


def quality_note(goal: Mapping[str, Any], measured: Mapping[str, float], *, data: str) -> str:
    """Target and published figure beside what was measured: claimed only for whole data and a whole training."""
    metric, published, baseline = goal["metric"], goal.get("published"), goal.get("baseline") or {}
    source = f" ({goal['published_source']})" if goal.get("published_source") else ""
    stated = f"Published {metric}: {published}{source}. " if isinstance(published, int | float) else ""
    if metric in baseline:
        stated += f"Logistic regression on the same split: {metric} {baseline[metric]:.4f}. "
    limits = {"epoch": goal.get("epochs"), "step": goal.get("max_steps")}  # 0: as the spec says
    limit = " or ".join(plural(count, what) for what, count in limits.items() if count)
    reasons = [f"on {data}"] * ("sample" in data) + [f"for {limit} at most"] * bool(limit)
    if reasons:
        void = "neither the target nor the published figure applies" if published else "the target does not apply"
        return f"{stated}Trained {listed(reasons)}: {void}."
    if not isinstance(target := goal.get("target"), int | float):
        return stated
    if not measured:
        return f"{stated}Target {target}: no training ended."
    short = [label for label, value in measured.items() if not value >= target]
    met = f"missed by {listed(short)}" if short else f"met by {'all' if len(measured) > 1 else 'it'}"
    return f"{stated}Target {target}: {met}, on {data}."
