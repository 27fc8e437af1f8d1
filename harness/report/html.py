"""The page: one self-contained HTML file that needs no network and no scripts. Everything from outside is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from harness import stats
from harness.records import Cell, Proof, Trial
from harness.report import charts, words
from harness.report.charts import Chart, Look
from harness.report.tables import Findings, Row, pairs
from harness.report.words import Line, digits

RECORD = (
    "suite",
    "environment",
    "data",
    "weights",
    "code",
)  # parts of the manifest that are shown as they are
PHASES = {"train": "training step", "predict": "prediction"}


@dataclass(frozen=True)
class Grid:
    """A table of figures: a heading a metric, a line of texts a cell."""

    headings: Sequence[str]
    lines: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class TaskView:
    """All that the page says of one task."""

    key: str
    ident: str  # for anchors and the ids of plots
    title: str
    answer: str
    units: Mapping[str, tuple[float, str]]
    metric: str
    lines: Sequence[Line]
    troubles: Sequence[str]
    proofs: Sequence[Proof]
    levels: Mapping[tuple[str, str], Mapping[str, Proof]]  # those that do not pair two entries, by entry and level
    pairs: Sequence[Mapping[str, Any]]
    plots: Mapping[str, Chart]  # by caption
    failed: Sequence[str]  # the failed proofs, in words
    quality: Grid
    costs: Grid
    quality_note: str
    rows: Sequence[Row]


def render(findings: Findings) -> str:
    """The whole page as text; equal findings give equal text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"digits": digits, "svg": Markup, "span": words.interval}
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    manifest = findings.run.manifest
    return template.render(
        run=findings.run.path.name,
        manifest=manifest,
        tasks=task_views(findings),
        backends=sorted({cell.backend for cell in findings.cells}),
        colours=colours(findings),
        marks=words.MARKS,
        reference=stats.REFERENCE,
        record={name: manifest[name] for name in RECORD if name in manifest},
        unused=stats.unused(findings.run.trials),
        design=design(findings),
        least_generations=stats.GENERATIONS,
        tie_band=f"{stats.TIE_BAND:.0%}",
        margin=stats.MARGIN,
    )


def colours(findings: Findings) -> dict[str, str]:
    """The colour of each backend, as the plots use it."""
    looks = charts.looks(findings.proofs)
    return {cell.backend: look.color.replace(charts.INK, "currentColor") for cell, look in looks.items()}


def design(findings: Findings) -> str:
    """How often everything was measured, in words."""
    keys = {key for contest in findings.contests for blocks in contest.blocks.values() for key in blocks}
    if not keys:
        return "Nothing was timed."
    generations = len({generation for generation, _ in keys})
    rounds = words.plural(len(keys) // generations, "round")
    return f"{words.plural(generations, 'generation')} of fresh processes with up to {rounds} each."


def task_views(findings: Findings) -> list[TaskView]:
    """One view a task, in order."""
    frame = pairs(findings).astype(object)
    rows = frame.where(frame.notna(), None).to_dict("records")
    answers, looks = words.sentences(findings), charts.looks(findings.proofs)
    return [
        task_view(findings, task, ident=f"task{number}", answer=answers[task], looks=looks, pair_rows=rows)
        for number, task in enumerate(findings.tasks, start=1)
    ]


def task_view(
    findings: Findings,
    task: str,
    *,
    ident: str,
    answer: str,
    looks: Mapping[Cell, Look],
    pair_rows: Sequence[Mapping[Any, Any]],
) -> TaskView:
    """Gather one task."""
    cells, goal = findings.cells_of(task), findings.goal(task)
    proofs = [proof for proof in findings.run.proofs if proof.task == task]
    measured = {words.name(c): row.value for c in cells if (row := findings.pick(c, "fit", str(goal["metric"])))}
    data = "; ".join(dict.fromkeys(cell.data for cell in cells))
    return TaskView(
        key=task,
        ident=ident,
        title=str(goal["title"]),
        answer=answer,
        units=words.units(findings, task),
        metric=str(goal["metric"]),
        lines=words.lines(findings, task),
        troubles=[f"{words.name(cell)}: {text}" for cell in cells for text in findings.troubles(cell)],
        proofs=proofs,
        levels=by_level(proofs),
        failed=[
            f"{p.backend} {p.mode}, {p.level} against {p.against}: {stats.located(p)}"
            for p in proofs
            if p.verdict == "failed"
        ],
        pairs=[row for row in pair_rows if row["task"] == task],
        plots=plots(findings, task, ident, looks),
        quality=grid(findings, cells, ("fit",)),
        costs=grid(findings, cells, ("first_call", "memory")),
        quality_note=words.quality_note(goal, measured, data=data, limit=words.cut_short(findings, task)),
        rows=[row for cell in cells for row in findings.rows[cell]],
    )


def by_level(proofs: Sequence[Proof]) -> dict[tuple[str, str], dict[str, Proof]]:
    """Each entry's rows that do not pair it with another entry, by level."""
    entries = {f"{proof.backend} {proof.mode}" for proof in proofs}
    found: dict[tuple[str, str], dict[str, Proof]] = {}
    for proof in proofs:
        if proof.against not in entries:
            level = proof.level if proof.precision == "float64" else f"{proof.level} {proof.precision}"
            found.setdefault((proof.backend, proof.mode), {}).setdefault(level, proof)
    return found


def grid(findings: Findings, cells: Sequence[Cell], phases: Sequence[str]) -> Grid:
    """The figures of some phases, a column a metric; how the warm-up went is left to the table of every figure."""
    found = {
        cell: {row.metric: row for row in findings.rows[cell] if row.phase in phases and "warmup" not in row.metric}
        for cell in cells
    }
    units = {metric: row.unit for rows in found.values() for metric, row in rows.items()}
    lines = {
        words.name(cell): [words.amount(rows[metric]) if metric in rows else "-" for metric in units]
        for cell, rows in found.items()
        if rows
    }
    headings = [m.replace("_", " ") + " memory" * (unit == "bytes") for m, unit in units.items()]
    return Grid(headings, lines)


def plots(findings: Findings, task: str, ident: str, looks: Mapping[Cell, Look]) -> dict[str, Chart]:
    """Every plot of a task by its caption: loss curves, quality, then ratios and samples of each contest."""
    found: dict[str, Chart | None] = {}
    trained = fits(findings, task)
    losses = {cell: trial.losses for cell, trial in trained.items() if trial.losses}
    if losses:
        found["Loss curves"] = charts.loss_curves(losses, looks, ident=f"{ident}-loss", title=f"Loss curves of {task}")
    found["Quality over epochs"] = quality_plot(findings, task, f"{ident}-quality", looks)
    for phase, called in PHASES.items():
        contests = findings.contests_of(task, phase)
        for number, contest in enumerate(contests):
            place = {"ident": f"{ident}-{phase}{number}", "title": f"{called}, {task}"}
            caption = f"Time of a {called}" + (words.terms(contest) if len(contests) > 1 else "")
            found[f"{caption}: ratios"] = charts.forest(contest, looks, **place)
            found[f"{caption}: every sample"] = charts.strip(contest, looks, **place | {"ident": place["ident"] + "s"})
    return {caption: chart for caption, chart in found.items() if chart}


def fits(findings: Findings, task: str) -> dict[Cell, Trial]:
    """The first training of each cell that ended well, in the order in which the proof ranks them."""
    found: dict[Cell, Trial] = {}
    for trial in findings.run.trials:
        if trial.phase == "fit" and trial.status == "ok" and trial.cell.task == task:
            found.setdefault(trial.cell, trial)
    return {
        cell: found[cell]
        for cell in sorted(found, key=lambda c: (findings.proofs[c].state != "proven", c.backend, c.mode))
    }


def quality_plot(findings: Findings, task: str, ident: str, looks: Mapping[Cell, Look]) -> Chart | None:
    """The task's metric over epochs, if the fits tell it; what was published is on the whole data, and so labelled."""
    goal = findings.goal(task)
    trained = fits(findings, task)
    curves = {cell: epochs(trial, str(goal["metric"])) for cell, trial in trained.items()}
    curves = {cell: points for cell, points in curves.items() if points}
    if not curves:
        return None
    note = " on the whole data" if any("sample" in cell.data for cell in curves) else ""
    lines = {f"{k}{note}": goal[k] for k in ("target", "published") if isinstance(goal.get(k), int | float)}
    return charts.quality(curves, looks, ident=ident, metric=str(goal["metric"]), lines=lines)


def epochs(trial: Trial, metric: str) -> list[tuple[float, float]]:
    """(epoch, figure) of the first figure whose name ends with the metric: test_accuracy, val_auc."""
    names = [name for epoch in trial.epochs for name in epoch if metric and name.endswith(metric)]
    return [(e.get("epoch", n + 1), e[names[0]]) for n, e in enumerate(trial.epochs) if names and names[0] in e]
