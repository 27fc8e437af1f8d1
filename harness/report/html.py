"""The page: one self-contained HTML file that needs no network. Everything from outside is escaped.

Its one script, tables.js, sorts and filters; nothing is missing without it.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from harness import ledger, noise, stats
from harness.records import Cell, Proof
from harness.report import charts, tables, words
from harness.report.tables import Findings
from harness.report.words import digits, name
from harness.stats import Proven

HEADS = {"train": "Train step", "predict": "Predict batch", "latency": "Latency"}


def render(findings: Findings, files: Mapping[str, pd.DataFrame]) -> str:
    """The whole page as text, with the frames of the CSV files by name; equal findings give equal text."""
    proofs = pd.DataFrame(list(findings.run.proofs), columns=list(Proof.__dataclass_fields__))
    proofs = proofs.drop(columns=["schema", "unknown"])
    frames = {"figures": files["summary"], "reached": files["quality"], "proofs": proofs}
    frames |= {name: files[name] for name in ("pairs", "equality")}
    tasks = [_task(findings, task, f"task{number}", frames) for number, task in enumerate(findings.tasks, start=1)]
    trust = files["trust"].astype(object)
    csv: dict[str, Iterable[str]] = {**{name: frame.columns for name, frame in files.items()}, "trials": tables.TRIALS}
    terms, columns = dictionary(csv)
    lines = ledger.judge(findings.run)
    return template("report.html.j2").render(
        title=findings.run.path.name,
        terms=terms,
        csv=csv,
        columns=columns,
        findings=findings,
        tasks=tasks,
        colours=colours(findings.proofs),
        design=_design(findings),
        trust=trust.where(trust.notna(), None),
        unfair=[line.told() for line in lines if line.verdict == "differs"],
        fairness=_fairness(lines),
        metered=any(row.metric == "energy" for rows in findings.rows.values() for row in rows),
    )


def dictionary(csv: Mapping[str, Iterable[str]]) -> tuple[Mapping[str, str], pd.DataFrame]:
    """What the page's own words mean; and what each column of these files holds, a row a column."""
    told = tomllib.loads((Path(__file__).parent / "dictionary.toml").read_text("utf-8"))
    rows = [(f"{file}.csv", column, {**told["every"], **told[file]}[column]) for file in csv for column in csv[file]]
    return told["terms"], pd.DataFrame(rows, columns=["file", "column", "what it holds"])


def template(file: str) -> Template:
    """A template of this folder with what all pages share; what is put into it is escaped."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader)
    environment.filters |= {"digits": digits, "span": words.span, "name": name, "text": _text}
    marks = {mark: state for state, mark in words.MARKS.items()}
    environment.globals |= {"stats": stats, "noise": noise, "words": words, "marks": marks}
    return environment.get_template(file)


def colours(proofs: Mapping[Cell, Proven]) -> dict[str, str]:
    """The colour of every backend, for a page."""
    looks = charts.looks(proofs)
    return {cell.backend: look["color"].replace(charts.INK, "currentColor") for cell, look in looks.items()}


def _fairness(lines: Sequence[ledger.Line]) -> pd.DataFrame:
    """A rule a row: its verdict, then the value of each entry."""
    rows = [{"rule": line.rule.name, "verdict": line.verdict, **line.values, "why": line.rule.why} for line in lines]
    return pd.DataFrame(rows).astype(object).fillna("-")


def _text(value: object) -> str:
    """One value of a table: floats with four digits, verdicts of proofs with their mark."""
    if value is None or isinstance(value, float):
        return digits(value, 4)
    return words.badge(str(value)) if value in words.MARKS else str(value)


def _design(findings: Findings) -> str:
    """How often everything was measured, in words."""
    keys = {key for contest in findings.contests for blocks in contest.blocks.values() for key in blocks}
    if not keys:
        return "Nothing was timed."
    generations, rounds = (len(set(numbers)) for numbers in zip(*keys, strict=True))
    per = words.plural(rounds, "round")
    return f"{words.plural(generations, 'generation')} of fresh processes with up to {per} each."


def _task(findings: Findings, task: str, ident: str, frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """All that the page says of one task; ``ident`` is for anchors and the ids of plots."""
    cells, goal, units = findings.cells_of(task), findings.goal(task), words.units(findings, task)
    proofs = [proof for proof in findings.run.proofs if proof.task == task]
    failed = [p for p in proofs if p.verdict == "failed"]
    measured = {name(cell): row.figure.value for cell in cells if (row := findings.quality(cell))}
    return {
        "key": task,
        "ident": ident,
        "title": goal["title"],
        "metric": goal["metric"] or "quality",
        "units": units,
        "heads": {phase: f"{head}\n{units[phase][1]}" for phase, head in HEADS.items() if phase in units},
        "cells": cells,
        "troubles": [f"{name(cell)}: {text}" for cell in cells for text in findings.troubles[cell]]
        + [f"{words.swept(cell)}: {text}" for cell in findings.sweep_of(task) for text in findings.troubles[cell]],
        "failed": [f"{p.backend} {p.mode}, {p.level} against {p.against}: {stats.located(p)}" for p in failed],
        "levels": _levels(proofs),
        "plots": charts.plots(findings, task, ident),
        "note": words.quality_note(goal, measured, data="; ".join(dict.fromkeys(cell.data for cell in cells))),
        "quality": _grid(findings, cells, "fit"),
        "costs": _grid(findings, cells, "first_call", "memory"),
        "sweep": _sweep(findings, task),
        "code": {backend: text.splitlines() for backend, text in (goal.get("code") or {}).items()},
        **{part: _part(frame, task) for part, frame in frames.items()},
    }


def _part(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of a task, the entry first; None where nothing is known."""
    part = frame[frame.task == task].drop(columns="task")
    part.insert(0, "backend", part.pop("backend") + " " + part.pop("mode"))
    return part.astype(object).where(part.notna(), None)


def _levels(proofs: Sequence[Proof]) -> pd.DataFrame:
    """Each entry's worst differences that do not pair it with another entry, a column a level."""
    entries = {f"{p.backend} {p.mode}" for p in proofs}
    lines: dict[str, dict[str, str]] = {}
    for p in proofs:
        if p.against not in entries:
            level = p.level if p.precision == "float64" else f"{p.level}\n{p.precision}"
            worst = p.verdict if p.worst is None else digits(p.worst, 2)
            within = "" if p.tolerance is None else f"\nof {digits(p.tolerance, 1)}"
            line = lines.setdefault(f"{p.backend} {p.mode}", {})
            line.setdefault(level, f"{words.MARKS.get(p.verdict, '')} {worst}{within}")
    corner = f"difference from {stats.REFERENCE}"
    return pd.DataFrame([{corner: label, **line} for label, line in lines.items()]).fillna("-")


def _sweep(findings: Findings, task: str) -> pd.DataFrame:
    """What was timed on other batches and CPUs: times, their ratio to the best on the same terms, throughput."""
    lines = []
    for cell in findings.sweep_of(task):
        line = {"backend": words.swept(cell)}
        for phase in ("train", "predict"):
            if (time := findings.pick(cell, phase)) and (rate := findings.pick(cell, phase, "throughput")):
                best = f"{digits(time.ratio.value)}x" if time.ratio else "-"
                line |= {
                    phase: words.amount(time),
                    f"{phase} to best": best,
                    f"{phase}, examples/s": digits(rate.figure.value),
                }
        lines.append(line)
    return pd.DataFrame(lines).fillna("-")


def _grid(findings: Findings, cells: Sequence[Cell], *phases: str) -> pd.DataFrame:
    """The figures of some phases, a column a metric; how the warm-up went is left to the table of every figure."""
    lines: dict[str, dict[str, str]] = {}
    for cell in cells:
        for row in findings.rows[cell]:
            if row.metric == "energy" or (row.phase in phases and "warmup" not in row.metric):
                head = row.metric.replace("_", " ") + " memory" * (row.unit == "bytes")
                head += f" a {row.phase} step" * (row.metric == "energy")
                lines.setdefault(name(cell), {})[head] = words.amount(row)
    return pd.DataFrame([{"backend": label, **line} for label, line in lines.items()]).fillna("-")
