"""The page: one self-contained HTML file that needs no network. Everything from outside is escaped.

Its one script, tables.js, sorts and filters; nothing is missing without it.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from harness import catalog, ledger, noise, ranking, standing, stats
from harness.errors import HarnessError
from harness.records import Cell, Proof, Run
from harness.report import answer, charts, drawing, tables, words
from harness.report.findings import CALLS_FOR_P99, Findings
from harness.report.words import digits, name
from harness.standing import Proven

TERMS = ("device", "precision", "data", "batch", "threads")  # said once where they are the same for a whole table
PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.+-]+", re.ASCII)
WHOLE = 1e4  # from here on a float that is a whole number counts something
FIGURES = {  # a table a phase
    "fit": "Quality after training",
    "first_call": "Before the steady state: import, build, first calls",
    "memory": "Memory",
    "train": "Training step",
    "epoch": "Training step with its own input",
    "predict": "Prediction of a batch",
    "latency": "Single predictions",
}
FOLDED = ("pairs", "spread", "quality", "equality", "proofs")  # the files of which each task shows its rows
HEADS = {"train": ("Train step", "train"), "predict": ("Predict batch", "predict"), "latency": ("Latency", "latency")}


def render(findings: Findings, files: Mapping[str, pd.DataFrame]) -> str:
    """The whole page as text, with the frames of the CSV files by name; equal findings give equal text."""
    csv: dict[str, Iterable[Any]] = {**files, "trials": tables.TRIALS}
    (told, columns), rounds, lines = dictionary(csv), files["rounds"], ledger.judge(findings.run)
    groups = answer.groups(findings)
    return template("report.html.j2").render(
        title=findings.run.path.name,
        groups=groups,
        leading=groups[0].findings,
        terms=told["terms"],
        levels=told["levels"],
        csv=csv,
        columns=columns,
        metrics=told["metrics"],
        findings=findings,
        commands=commands(findings.run),
        together=words.together(groups[0].findings),
        overall=_entries(files["overall"]),
        tasks=[_task(findings, task, f"t{number}", files) for number, task in enumerate(findings.tasks, start=1)],
        colours=colours(findings.proofs),
        design=_design(findings),
        trust=_shown(files["trust"]),
        unsettled=_unsettled(files["trust"]),
        weather=charts.weather(rounds) if rounds[["product_s", "external_cpus"]].notna().any(axis=None) else None,
        workers={name(t.cell): t.facts for t in reversed(findings.run.trials) if t.phase == "first_call" and not t.of},
        unfair=ledger.differences(findings.run),
        fairness=_fairness(lines),
    )


def commands(run: Run) -> list[str]:
    """What makes such a run again, as far as its record says: the packages of each worker; suite, seed and entrants.

    Nothing that a shell or pip might take for more than a name, and no suite, backend or mode that Concord does not have.
    """
    lines = []
    for worker in run.part("environment", "workers"):
        versions = run.part("environment", "workers", worker, "versions")
        packages = [
            f"{package}=={str(version).partition('+')[0]}" for package, version in versions.items()
        ]  # no index has 2.13+cpu
        if packages and all(map(PACKAGE.fullmatch, packages)):
            lines.append(f"pip install {' '.join(packages)}")
    suite, seed, chosen = run.at("suite", "name"), run.at("seed"), run.part("plan", "chosen")
    told = suite in catalog.suites() and type(seed) is int and all(isinstance(modes, list) and modes for modes in chosen.values())
    with suppress(HarnessError):
        has = {backend: catalog.backend(backend).MODES for backend in chosen if told}
        own = {backend: [mode for mode in modes if mode in chosen[backend]] for backend, modes in has.items()}
        if own and own == chosen:
            usual = run.at("suite", "modes") != "all" and all(own[backend] == [modes[0]] for backend, modes in has.items())
            asked = "" if usual else f" --modes {','.join(dict.fromkeys(chain.from_iterable(own.values())))}"
            lent = "".join(f" --python {backend}=PATH" for backend in own if "@" in backend)
            lines.append(f"concord run {suite} --seed {seed} --backends {','.join(own)}{asked}{lent}")
    return lines


def dictionary(csv: Mapping[str, Iterable[Any]]) -> tuple[Mapping[str, Mapping[str, str]], pd.DataFrame]:
    """What the page's own words and the levels of the proof mean; and what each column of these files holds, a row a column."""
    told = tomllib.loads((Path(__file__).parent / "dictionary.toml").read_text("utf-8"))
    rows = [(f"{file}.csv", column, {**told["every"], **told[file]}[column]) for file in csv for column in csv[file]]
    return told, pd.DataFrame(rows, columns=["file", "column", "what it holds"])


def template(file: str) -> Template:
    """A template of this folder with what all pages share; what is put into it is escaped."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader)
    environment.filters |= {"digits": digits, "span": words.span, "name": name, "text": _text, "numeric": _numeric}
    environment.globals |= {"noise": noise, "ranking": ranking, "standing": standing, "stats": stats}
    environment.globals |= {"words": words, "marks": {mark: state for state, mark in words.MARKS.items()}}
    return environment.get_template(file)


def colours(proofs: Mapping[Cell, Proven]) -> dict[str, str]:
    """The colour of every backend, for a page."""
    looks = drawing.looks(proofs)
    return {cell.backend: look["color"].replace(drawing.INK, "currentColor") for cell, look in looks.items()}


def _fairness(lines: Sequence[ledger.Line]) -> pd.DataFrame:
    """A rule and precision a row: its verdict, then the value of each entry."""
    rows = [
        {"rule": line.rule.name, "precision": line.precision, "verdict": line.verdict, **line.values, "why": line.rule.why}
        for line in lines
    ]
    return pd.DataFrame(rows).astype(object).fillna("-")


def _text(value: object) -> str:
    """One value of a table: floats with four digits, verdicts of proofs with their mark."""
    if isinstance(value, float) and value.is_integer() and abs(value) >= WHOLE:
        return f"{value:,.0f}"
    if value is None or isinstance(value, float):
        return digits(value, 4)
    return words.badge(str(value)) if value in words.MARKS else str(value)


def _unsettled(trust: pd.DataFrame) -> list[str]:
    """Where the last rounds of a generation took much longer or shorter than its first: by contest, the entry farthest off."""
    found = []
    for row in trust.to_dict("records"):
        if abs(np.log(row["last_over_first"])) > np.log(1 + stats.TIE_BAND):
            terms = f"{row['precision']}, batch {row['batch']}, {words.plural(row['threads'], 'CPU')}"
            found.append(f"{row['task']} {row['phase']} ({terms}) {row['last_over_first']:.3f}x")
    return found


def _design(findings: Findings) -> str:
    """How often everything was measured, in words."""
    keys = {key for contest in findings.contests for blocks in contest.blocks.values() for key in blocks}
    if not keys:
        return "Nothing was timed."
    generations, rounds = (len(set(numbers)) for numbers in zip(*keys, strict=True))
    per = words.plural(rounds, "round")
    return f"{words.plural(generations, 'generation')} of fresh processes with up to {per} each."


def _task(findings: Findings, task: str, ident: str, files: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """All that the page says of one task; ``ident`` is for anchors and the ids of plots."""
    cells, goal, units = findings.cells_of(task), findings.goal(task), words.units(findings, task)
    proofs = [proof for proof in findings.run.proofs if proof.task == task]
    troubles: dict[str, list[str]] = defaultdict(list)  # what did not end well, and whom it befell
    for cell, label in words.labels(findings, task).items():
        for text in findings.troubles[cell]:
            troubles[text].append(label)
    measured = {name(cell): row.figure.value for cell in cells if (row := findings.quality(cell))}
    return {
        "key": task,
        "ident": ident,
        "title": goal["title"],
        "metric": goal["metric"] or "quality",
        "units": units,
        "heads": {
            phase: (f"{head}\n{units[phase][1]}", f"{short} to best") for phase, (head, short) in HEADS.items() if phase in units
        },
        "troubles": [f"{', '.join(who)}: {text}" for text, who in troubles.items()],
        "failed": answer.failed(proofs),
        "levels": _levels(proofs),
        "plots": charts.plots(findings, task, ident),
        "seeds": max((row.figure.n for cell in cells if (row := findings.quality(cell))), default=0),
        "note": words.quality_note(goal, measured, data="; ".join(dict.fromkeys(cell.data for cell in cells))),
        "figures": {head: found for phase, head in FIGURES.items() if len(found := _figures(findings, task, phase))},
        "code": {backend: text.splitlines() for backend, text in (goal.get("code") or {}).items()},
        "files": {file: _entries(files[file][files[file].task == task]) for file in FOLDED},
    }


def _entries(frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Rows of entries as they are shown, the entry first; of one task without its name."""
    part = frame.drop(columns="task", errors="ignore")
    part.insert(0, "backend", part.pop("backend") + " " + part.pop("mode"))
    if "than_mode" in part:
        part.insert(1, "than", part.pop("than_backend") + " " + part.pop("than_mode"))
    return _shown(part)


def _shown(frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Which terms are the same in all rows, in words, and the rows without them; None where nothing is known."""
    found = frame.astype(object).where(frame.notna() & (frame != ""), None)
    same = [term for term in TERMS if len(found) > 1 and term in found and len(set(found[term])) == 1]
    told = "; ".join(f"{term} {found[term].iloc[0]}" for term in same)
    return told, found.drop(columns=same).dropna(axis="columns", how="all")


def _numeric(frame: pd.DataFrame) -> set[Hashable]:
    """The columns that hold numbers."""
    return {head for head in frame if any(isinstance(value, int | float) for value in frame[head])}


def _levels(proofs: Sequence[Proof]) -> pd.DataFrame:
    """Each entry's worst differences that do not pair it with another entry, a column a level."""
    lines: dict[str, dict[str, str]] = {}
    for p in proofs:
        if p.against not in map(name, proofs):
            line = lines.setdefault(name(p), {f"difference from {standing.REFERENCE}": name(p)})
            line.setdefault(p.level if p.precision == "float64" else f"{p.level}\n{p.precision}", words.judged(p, "\n"))
    return pd.DataFrame(lines.values()).fillna("-")


def _figures(findings: Findings, task: str, phase: str) -> pd.DataFrame:
    """Every figure of a phase with its interval below: an entry a row, those of sweeps too, a metric a column."""
    lines = []
    for cell, label in words.labels(findings, task, phase).items():
        rows, line = [row for row in findings.rows[cell] if row.phase == phase], {"backend": label}
        for row in rows:
            metric = row.metric.replace("_", " ")
            few = f"\nn={row.figure.n:,}" if row.figure.n < max(other.figure.n for other in rows) else ""
            line[metric] = f"{words.amount(row)}\n{words.within(row)}".strip() + few
            if row.ratio:
                line[f"{metric} to best"] = f"{digits(row.ratio.value)}x\n{words.span(row.ratio)}".strip()
        if "latency p50" in line and "latency p99" not in line:
            line["latency p99"] = f"n too small\nfewer than {CALLS_FOR_P99} calls"
        if rows:
            lines.append(line | {"rank": max(row.rank for row in rows), "n": f"{max(row.figure.n for row in rows):,}"})
    return pd.DataFrame(lines).replace("", np.nan).dropna(axis="columns", how="all").fillna("-")
