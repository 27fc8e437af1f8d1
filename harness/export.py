"""Runs in the forms that other tools read: JUnit XML for CI, Parquet for data frames, event files for TensorBoard."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pandas as pd

from harness import catalog, report, standing
from harness.compare import Comparison
from harness.errors import HarnessError, writing
from harness.records import Cell, Run, Trial
from harness.report import tables
from harness.report.findings import find

NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no way to say


def need(package: str, extra: str) -> None:
    """Refuse to go on without the package of an extra of Concord."""
    if find_spec(package) is None:
        raise HarnessError(f"{package} is not installed: {catalog.install(extra)}.")


def junit(run: Run, file: Path) -> list[Path]:
    """The proofs as JUnit XML: a suite a task, a case a backend, mode and level; what failed says how far off, and where.

    What was to be measured and was not is a case, too.
    """
    cases = []
    for proof in run.proofs:
        level = f"{proof.level} {proof.precision} against {proof.against}"
        says = standing.located(proof) if proof.verdict == "failed" else proof.reason or "no reason was recorded"
        cases.append(Case(proof.task, f"{proof.backend} {proof.mode}", level, proof.verdict, says))
    cases += [_lost(trial) for trial in run.trials if trial.status != "ok"]
    return write_cases(cases, file)


def _lost(trial: Trial) -> "Case":
    """A trial that gave nothing; its name tells it from others of its entry and phase."""
    cell, ended = trial.cell, "skipped" if trial.status == "skipped" else "failed"
    terms = f"batch {cell.batch}, threads {cell.threads}, seed {trial.seed}, round {trial.round}, attempt {trial.attempt}"
    name = f"{trial.phase} in generation {trial.generation} ({terms})"
    return Case(cell.task, f"{cell.backend} {cell.mode}", name, ended, trial.reason or trial.status)


def junit_of_gates(found: Comparison, file: Path) -> list[Path]:
    """The gates of a comparison as JUnit XML: a suite a task, a case a gate and cell; what could not be judged is skipped.

    What NEW has lost has failed.
    """
    verdicts = {"held": "proven", "fired": "failed", "blind": "skipped", "lost": "failed"}
    cases = []
    for check in found.checks:
        cell = check.cell
        name = f"{check.gate} ({check.terms})"
        cases.append(Case(cell.task, f"{cell.backend} {cell.mode}", name, verdicts[check.verdict], check.says))
    return write_cases(cases, file)


class Case(NamedTuple):
    """A case of JUnit: its suite, the entry, its name, whether it is proven, failed or skipped, and what is said of that."""

    suite: str
    entry: str
    name: str
    verdict: str
    says: str


def write_cases(cases: Sequence[Case], file: Path) -> list[Path]:
    """JUnit XML with a suite for each that the cases name; the path."""
    root = ET.Element("testsuites", name="concord")
    for name in dict.fromkeys(case.suite for case in cases):
        own = [case for case in cases if case.suite == name]
        verdicts = [case.verdict for case in own]
        counts = {"failures": verdicts.count("failed"), "skipped": verdicts.count("skipped"), "errors": 0}
        suite = element(root, "testsuite", name=name, tests=len(own), **counts)
        for case in own:
            made = element(suite, "testcase", classname=f"{name}.{case.entry}", name=case.name)
            if case.verdict != "proven":
                element(made, "failure" if case.verdict == "failed" else "skipped", message=case.says)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    return [file]


def element(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    """A child with these attributes, whatever they hold."""
    return ET.SubElement(parent, tag, {key: NO_XML.sub("\ufffd", str(value)) for key, value in attributes.items()})


def parquet(run: Run, folder: Path) -> list[Path]:
    """The tables of the CSV files as Parquet, with their types; the paths. Needs pyarrow."""
    need("pyarrow", "parquet")
    folder.mkdir(parents=True, exist_ok=True)
    found = find(run)
    missing = {column: [""] for column in tables.TRIALS} | {"value": ["", "nan"]}  # a reason may read NA
    numbers = {name for name, kind in (Cell.__annotations__ | Trial.__annotations__).items() if kind is int} | {"block", "value"}
    text, kinds = "".join(tables.trials(run, shown=lambda value: value)), dict.fromkeys({*tables.TRIALS} - numbers, "string")
    trials = pd.read_csv(StringIO(text), keep_default_na=False, na_values=missing, dtype=kinds).convert_dtypes()
    frames = {folder / f"{name}.parquet": frame for name, frame in {**report.frames(found), "trials": trials}.items()}
    for path, frame in frames.items():
        frame.to_parquet(path, engine="pyarrow", index=False)
    return list(frames)


def tensorboard(run: Run, folder: Path) -> list[Path]:
    """Losses and epoch metrics as event files, a new folder a task, backend, mode and seed; the folders. Needs tensorboard."""
    need("tensorboard", "tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    fits: dict[Path, Trial] = {}
    for trial in run.trials:
        if trial.phase == "fit" and trial.status == "ok":
            fits.setdefault(folder / entry(trial), trial)
    for place in fits:
        if place.exists():
            raise HarnessError(f"{place} exists: name another folder, or remove it.")
    for place, trial in fits.items():
        place.mkdir(parents=True)
        when = moment(trial.at)
        with (place / f"events.out.tfevents.{when:.0f}.concord").open("wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=when, file_version="brain.Event:2").SerializeToString())
            for tag, step, value in scalars(trial):
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                writer.write(Event(wall_time=when, step=step, summary=summary).SerializeToString())
    return list(fits)


def entry(trial: Trial) -> str:
    """The name of a training's folder, which TensorBoard shows: no separator of paths is left in it."""
    cell = trial.cell
    return quote(f"{cell.task} {cell.backend} {cell.mode} seed {trial.seed}".replace(":", " "), safe=" =,@")


def moment(at: str) -> float:
    """Seconds since 1970; 0 where the record holds no time."""
    with suppress(ValueError):
        return datetime.fromisoformat(at).timestamp()
    return 0.0


def scalars(trial: Trial) -> Iterator[tuple[str, int, float]]:
    """Tag, step and value: the loss of every step, and every figure of an epoch at the epoch's number."""
    for step, loss in enumerate(trial.losses):
        yield "loss", step, loss
    for number, epoch in enumerate(trial.epochs, start=1):
        for name, value in epoch.items():
            if name != "epoch":
                yield f"epoch/{name}", number, value
