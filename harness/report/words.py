"""How figures and findings are put into words: units, digits, names, and the one sentence a task."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.records import Cell
from harness.report.tables import Findings, Row, known
from harness.stats import TIE_BAND, Contest, Estimate, Proven, Ratio

MARKS = {"proven": "✓", "failed": "✗", "not proven": "○"}
PLAIN = range(-4, 7)  # powers of ten that are written without an exponent
TIMES = ((1.0, 1.0, "s"), (1e-4, 1e3, "ms"), (0.0, 1e6, "µs"))  # from this many seconds, factor, unit


FIGURES = (("train", "step_time"), ("predict", "batch_time"), ("latency", "latency_p50"))


@dataclass(frozen=True)
class Figure:
    """One measured time as the tables show it, in the unit of its column."""

    value: str
    interval: str
    ratio: str
    ratio_interval: str
    rank: str


@dataclass(frozen=True)
class Line:
    """One cell's line in the verdict table; ``hole`` says why it has no times at all."""

    cell: Cell
    name: str
    proof: Proven
    figures: Mapping[str, Figure]  # by phase; a phase that was not measured is absent
    quality: str
    hole: str


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


def interval(figure: Estimate | Row | Ratio, factor: float = 1.0) -> str:
    """The interval of a figure, "1.22 to 1.31"; nothing where there is none."""
    low, high = (figure.ci_low, figure.ci_high) if isinstance(figure, Row) else (figure.low, figure.high)
    return "" if low is None or high is None else f"{digits(low * factor)} to {digits(high * factor)}"


def name(cell: Cell) -> str:
    """How a cell is called within its task."""
    return f"{cell.backend} {cell.mode}".strip()


def units(findings: Findings, task: str) -> dict[str, tuple[float, str]]:
    """For each timed phase, the factor and unit that all cells of a task share."""
    rows = {phase: [findings.pick(c, phase, m) for c in findings.cells_of(task)] for phase, m in FIGURES}
    return {phase: time_unit(row.value for row in found if row) for phase, found in rows.items() if any(found)}


def lines(findings: Findings, task: str) -> list[Line]:
    """The verdict table of a task, best first."""
    factors, metric = units(findings, task), findings.goal(task)["metric"]
    return [line(findings, cell, factors, metric) for cell in findings.cells_of(task)]


def line(findings: Findings, cell: Cell, factors: Mapping[str, tuple[float, str]], metric: str) -> Line:
    """One cell's figures in words."""
    rows = {phase: findings.pick(cell, phase, name) for phase, name in FIGURES}
    figures = {p: figure(row, factors[p][0], findings.ratio(cell, p)) for p, row in rows.items() if row}
    quality = findings.pick(cell, "fit", metric)
    hole = "" if figures else "; ".join(findings.troubles(cell)) or "not timed"
    return Line(cell, name(cell), findings.proofs[cell], figures, digits(quality.value, 4) if quality else "", hole)


def figure(row: Row, factor: float, ratio: Ratio | None) -> Figure:
    """One time in the unit of its column, beside its paired ratio to the best."""
    size = "" if row.ratio_to_best is None else f"{digits(row.ratio_to_best)}x"
    within = interval(ratio) if ratio and row.proof != "failed" else ""
    return Figure(digits(row.value * factor), interval(row, factor), size, within, row.rank)


def sized(ratio: Ratio) -> str:
    """A ratio with its interval, if it has one."""
    within = interval(ratio)
    return f"{digits(ratio.point)}x" + (f" ({within})" if within else "")


def plural(count: int, what: str) -> str:
    """A count of things: "1 step", "1,200 steps"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def amount(row: Row) -> str:
    """A single figure with its unit: times in the unit that suits them, bytes as MiB, counts whole."""
    if row.unit == "s":
        factor, unit = time_unit([row.value])
        return f"{digits(row.value * factor)} {unit}"
    if row.unit == "bytes":
        return f"{digits(row.value / 2**20)} MiB"
    return f"{row.value:,.0f}" if row.value > 1 and row.value.is_integer() else digits(row.value, 4)


def listed(parts: Iterable[str]) -> str:
    """Words joined as in a sentence: "a, b and c"."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def sentences(findings: Findings) -> dict[str, str]:
    """For each task, one sentence: what is proven, then who is faster and how sure that is."""
    return {task: sentence(findings, task) for task in findings.tasks}


def sentence(findings: Findings, task: str) -> str:
    """The answer for one task."""
    cells = findings.cells_of(task)
    proof = proof_clause({name(cell): findings.proofs[cell] for cell in cells})
    contests = findings.contests_of(task, "train")
    speed = [speed_clause(contest) + (terms(contest) if len(contests) > 1 else "") for contest in contests]
    return f"{proof}; {'; '.join(speed) or 'nothing was timed'}."


def terms(contest: Contest) -> str:
    """On which terms a contest was held, where a task has several."""
    cell = next(iter(contest.blocks))
    return f" ({cell.device}, {cell.precision}, batch {cell.batch}, {cell.data})"


def proof_clause(proofs: Mapping[str, Proven]) -> str:
    """What is proven equal and what failed."""
    good = [label for label, proof in proofs.items() if proof.state == "proven"]
    clauses = [f"{label} FAILED its proof ({p.reason})" for label, p in proofs.items() if p.state == "failed"]
    if good:
        worst = max(proofs[label].worst or 0.0 for label in good)
        clauses.insert(0, f"{listed(good)} proven equal to {worst:.0e}" if worst else f"{listed(good)} proven")
    return "; ".join(clauses) or "nothing is proven"


def speed_clause(contest: Contest) -> str:
    """Who trains fastest and how long the other proven ones take."""
    best = contest.best
    if best is None:
        return "so no speed is claimed"
    others = sorted(((b, r) for (a, b), r in contest.ratios.items() if a == best), key=lambda pair: pair[1].point)
    against = [f"{name(b)} {against_best(r, contest.verdicts[best, b])}" for b, r in others if b in contest.ranks]
    if contest.refusal:
        return f"no ranking ({contest.refusal})"
    first = "trains fastest" if contest.ranks[best] == "1" else "leads, though not alone"
    return f"on this machine {name(best)} {first}; {', '.join(against)}"


def against_best(ratio: Ratio, verdict: str) -> str:
    """One pair in words."""
    size = sized(ratio)
    if verdict == "tie":
        return f"ties with it within {TIE_BAND:.0%}, at {size}"
    return f"takes {size} as long" if verdict in ("slower", "faster") else f"is undecided, at {size}"


def cut_short(findings: Findings, task: str) -> str:
    """How the suite's job shortened the training of a task, in words; nothing where it ran as its spec says."""
    for job in known(findings.run.manifest, "suite").get("jobs") or ():
        if str(job.get("task")).partition(":")[0] == task.partition(":")[0]:
            limits = {"epoch": job.get("epochs"), "step": job.get("max_steps")}
            told = [plural(count, what) for what, count in limits.items() if count]
            return f"{' or '.join(told)} at most" if told else ""
    return ""


def quality_note(goal: Mapping[str, Any], measured: Mapping[str, float], *, data: str, limit: str) -> str:
    """Target and published figure beside what was measured: claimed only for whole data and a whole training."""
    source = f" ({goal['published_source']})" if goal.get("published_source") else ""
    published = goal.get("published")
    stated = f"Published {goal['metric']}: {published}{source}. " if isinstance(published, int | float) else ""
    baseline = goal.get("baseline") or {}
    if goal["metric"] in baseline:
        stated += f"Logistic regression on the same split: {goal['metric']} {baseline[goal['metric']]:.4f}. "
    reasons = [f"on {data}"] * ("sample" in data) + [f"for {limit}"] * bool(limit)
    if reasons:
        void = "neither the target nor the published figure applies" if published else "the target does not apply"
        return f"{stated}Trained {listed(reasons)}: {void}."
    if not isinstance(target := goal.get("target"), int | float):
        return stated
    short = [label for label, value in measured.items() if not value >= target]
    met = f"missed by {listed(short)}" if short else f"met by {'all' if len(measured) > 1 else 'it'}"
    return f"{stated}Target {target}: {met}, on {data}."
