"""Quality over seeds as tables: what each entry reached, how soon, beside what was published; and who is as good as whom."""

from itertools import combinations

import numpy as np
import pandas as pd

from harness import quality
from harness.records import Cell, Trial
from harness.report.findings import Findings
from harness.report.tables import frame


def fits(findings: Findings, task: str) -> dict[Cell, list[Trial]]:
    """The whole trainings of a task by cell, in the order of its cells."""
    return findings.trials_of(task, lambda trial: (trial.phase, trial.status) == ("fit", "ok"))


def begun(findings: Findings, task: str) -> dict[Cell, list[Trial]]:
    """Its trainings that began, by cell, also those that failed or were cut by the time."""
    return findings.trials_of(task, lambda trial: trial.phase == "fit" and trial.status != "skipped")


def reached(findings: Findings) -> pd.DataFrame:
    """quality.csv: a row an entry. Seconds are of training alone; a published figure is judged on whole data and recipe only.

    An entry of which no training ended has a row where something was published: that it was not run is a finding, too.
    """
    rows = []
    for task in findings.tasks:
        goal = findings.goal(task)
        metric, target, published = goal["metric"], goal.get("target"), goal.get("published")
        ended, tried, margin = fits(findings, task), begun(findings, task), float(goal.get("margin") or 0)
        for cell in findings.trials_of(task, lambda trial: trial.phase == "fit"):
            trials = ended.get(cell, [])
            values = [t.values[metric] for t in trials if metric in t.values]
            whole = "sample" not in cell.data and not goal.get("epochs") and not goal.get("max_steps")
            mean, verdict = quality.reproduced(values, published or 0.0, margin)
            told = (published, (verdict if whole else "not run") if published else None, target)
            if values or published:
                names = (task, cell.backend, cell.mode, cell.data, metric, len(values))
                rows.append((*names, mean.value, mean.low, mean.high, *told, *_to_target(tried[cell], metric, target)))
    return frame("quality", rows)


def _to_target(trials: list[Trial], metric: str, target: float | None) -> tuple[str | float | None, ...]:
    """How many seeds arrived; the median epochs until then, fewest and most; the same of seconds. None for what has no end.

    One that failed or was cut by the time has arrived if it did so before, and else never: to leave it out would flatter.
    To take the end of a training as a lower bound (Kaplan and Meier) would suppose that it might have arrived later: one that
    early stopping ended would not have, and must not make the others look quick. The extremes are the distribution-free interval
    of the median (Thompson 1936): all K seeds lie on one side of it with a chance of 2^(1-K).
    """
    monitored = any(f"val_{metric}" in epoch for t in trials for epoch in t.epochs)
    key = f"{'val' if monitored else 'test'}_{metric}"
    timed = [t for t in trials if all({key, "train_s"} <= epoch.keys() for epoch in t.epochs)]
    if target is None or not any(t.epochs for t in timed):
        return (None,) * 7
    found = np.array([quality.to_target(t.epochs, target, key) for t in timed])  # (seeds, 2)
    ends = np.array([np.median(found, axis=0), found.min(axis=0), found.max(axis=0)])  # (3, 2)
    return f"{np.isfinite(found[:, 0]).sum()} of {len(timed)}", *(float(end) if np.isfinite(end) else None for end in ends.T.flat)


def equality(findings: Findings) -> pd.DataFrame:
    """equality.csv: each pair of a task once, as ``quality.equivalent`` judges it; not where training was cut to some steps."""
    rows = []
    for task in findings.tasks:
        goal = findings.goal(task)
        metric, margin = goal["metric"], float(goal.get("margin") or 0)
        found = {
            cell: {t.seed: t.values[metric] for t in trials if metric in t.values}
            for cell, trials in fits(findings, task).items()
        }
        for a, b in combinations(found, 2) if margin else ():
            if a.data == b.data:
                e = quality.equivalent(found[a], found[b], margin)
                names = (task, b.backend, b.mode, a.backend, a.mode, a.data, metric, margin)
                verdict = "not run" if goal.get("max_steps") else e.verdict
                rows.append((*names, e.difference, e.low, e.high, e.p, verdict, e.seeds))
    return frame("equality", rows)
