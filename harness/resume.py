"""Going on with a run that was interrupted or killed: its plan made again from run.json, and its records made ready.

What is complete is kept. The generation that was cut short is measured again under a new number, and the old one set aside:
half of a set of fresh processes is no unit of inference, and must not count beside its second attempt.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import catalog, disk, machines, records, verify, workplace
from harness.errors import HarnessError
from harness.plan import Entrant, Plan, clock, subject
from harness.records import Run
from harness.run import describe
from harness.suite import Job, Suite
from harness.workplace import Workplace

# Of the manifest, beside the code: or the two halves would be of different things.
UNCHANGED = ("data", "weights", "environment")


def unfinished(folder: Path, budget_s: float | None) -> Run:
    """The interrupted run in a folder, with another budget if one is given.

    HarnessError where there is none to go on with, or the code is another.
    """
    run = records.read(folder)
    if run.manifest.get("finished"):
        raise HarnessError(f"{folder} is finished, there is nothing to go on with: `concord report` makes its views.")
    if "plan" not in run.manifest:
        raise HarnessError(f"{folder} was made by a Concord that kept no plan: begin a new run.")
    if run.manifest.get("code") != verify.code_digest(catalog.ROOT):
        raise HarnessError(f"{folder} was begun with another code: restore it, or begin a new run.")
    suite = {**run.part("suite"), **({"budget_s": budget_s, "hard": True} if budget_s else {})}
    budget, least = suite.get("budget_s") or 0.0, suite.get("generations") or 0
    trainings = least and len(run.progress["complete"]) >= least and any(map(records.cut_short, run.trials))
    left = budget / 2 if trainings else budget  # of a run in which they alone are left: as harness/run.py gives them
    if budget and (suite.get("hard") or not least) and run.progress["used_s"] >= left:
        raise HarnessError(f"{folder} has used up its {clock(budget)}: give it more in all with --max-time.")
    return replace(run, manifest={**run.manifest, "suite": suite})


def plan(manifest: Mapping[str, Any], place: Workplace) -> Plan:
    """The plan that a manifest holds, on the data and interpreters of now."""
    told, suite = manifest["plan"], dict(manifest["suite"])
    name, jobs = suite.pop("name"), [Job(**{**job, "phases": tuple(job["phases"])}) for job in suite.pop("jobs")]
    chosen = {backend: tuple(modes) for backend, modes in told["chosen"].items()}
    data_dir = told["data_dir"] and Path(told["data_dir"])
    return Plan(
        name,
        Suite(jobs=tuple(jobs), **suite),
        tuple(subject(job, data_dir=data_dir, scratch=place.scratch, seed=place.seed) for job in jobs),
        chosen,
        told["skipped"],
        {backend: workplace.probe(backend, place.interpreters.get(backend, sys.executable)) for backend in chosen},
        place,
        tuple(Entrant(**entrant) for entrant in told["entrants"]),
        data_dir,
    )


def ready(earlier: Run, again: Plan) -> Run:
    """The run as it can be gone on with: torn lines moved away, a generation that was cut short set aside.

    HarnessError, and nothing is touched, where data, versions or the machine are no longer what they were.
    """
    folder, now = earlier.path, json.loads(json.dumps(describe(again)))
    before, after = ({k: v for part in UNCHANGED for k, v in machines.leaves(m[part], part)} for m in (earlier.manifest, now))
    after = machines.levelled(before, after)
    if changed := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        raise HarnessError(f"{folder} was begun with another {', '.join(changed)}: restore it, or begin a new run.")
    for name in ("trials.jsonl", "proofs.jsonl"):
        disk.mend(folder / name)
    progress = earlier.progress
    cut = len(progress["complete"]) + len(progress["aside"])
    if any(records.in_generation(trial) and trial.generation == cut for trial in earlier.trials):
        progress["aside"] = [*progress["aside"], cut]
    progress["starts"] = [*dict.fromkeys([*progress["starts"], len(progress["complete"]) + len(progress["aside"])])]
    records.write_manifest(folder, {**earlier.manifest, "progress": progress})
    return records.read(folder)
