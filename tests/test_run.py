"""Whole runs with real worker processes: copies of the NumPy backend stand in for frameworks, on a small real task.

The stand-ins are folders beside the reference in a copy of the house, and the tiny suite is a file there: nothing else is told
of them. Only the warm-up is cut short.
"""

import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.stats

import backends
from harness import (
    catalog,
    data,
    environment,
    launch,
    metrics,
    noise,
    ranking,
    records,
    report,
    run,
    selfcheck,
    standing,
    workplace,
)
from harness.cli import options, viewing
from harness.launch import WorkerError
from harness.plan import Entrant, Plan, subject
from harness.progress import Progress
from harness.records import Cell, Proof, Run, Trial
from harness.report import history, tables
from harness.report.findings import find
from harness.stats import Ratio
from harness.suite import Job, Suite
from harness.timing import Generation, Timing
from harness.workplace import Workplace

pytestmark = pytest.mark.processes
ROOT = catalog.ROOT
PATIENCE_S = 600  # a process that takes longer hangs, however busy the machine is
PHASES = ("train", "predict", "latency", "epoch")
NOTHING: Mapping[str, str] = MappingProxyType({})
TINY = """
from harness.suite import Job, Suite
SUITE = Suite("tiny", jobs=(Job("risk_mlp", batch=8, epochs=1, max_steps=6),), generations=1, rounds={rounds}, sample_s=0.002)
"""
ABSENT = "not installed: pip install it"
DYING = """
load, train_step = Session.load, Session.train_step
def counted(self, tensors):
    self.loads = getattr(self, "loads", 0) + 1
    load(self, tensors)
def last(self, batch):
    if self.loads > 1 and self.step > 0 and len(self.table) > 100:  # in a timed block: proofs and trainings have short tables
        os._exit(9)
    return train_step(self, batch)
Session.load, Session.train_step = counted, last
"""
RAISING = DYING.replace("os._exit(9)", "raise RuntimeError('out of patience')")
SEEING = """
described, opened = describe, open_session
def describe():
    return {**described(), "gpus": ["a GPU that is none"]}
def open_session(spec, *, mode, precision, device, table):
    assert device == "gpu"
    return opened(spec, mode=mode, precision=precision, device="cpu", table=table)
def device_peak():
    return 3 * 2**20
"""
THERE = (
    SEEING
    + """
facts = Session.facts
Session.facts = lambda self, batch: {**facts(self, batch), "device": "gpu"}
"""
)
METERED = (
    THERE
    + """
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
nvml = sys.modules["pynvml"] = ModuleType("pynvml")
nvml.__spec__ = ModuleSpec("pynvml", None)
nvml.NVMLError = RuntimeError
nvml.nvmlInit = lambda: None
nvml.nvmlDeviceGetHandleByIndex = lambda number: number
joules = iter(range(0, 10**9, 500))
nvml.nvmlDeviceGetTotalEnergyConsumption = lambda gpu: next(joules)
processes = [SimpleNamespace(pid=1, usedGpuMemory=2**30), SimpleNamespace(pid=os.getpid(), usedGpuMemory=5 * 2**20)]
nvml.nvmlDeviceGetComputeRunningProcesses = lambda gpu: processes
"""
)
CACHING = """
from pathlib import Path
described, opened = describe, open_session
COMPILED = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]) / "compiled"
FOUND = COMPILED.exists()
def describe():
    return {**described(), "compiled before": FOUND}
def open_session(spec, **how):
    COMPILED.parent.mkdir(parents=True, exist_ok=True)
    COMPILED.touch()
    return opened(spec, **how)
"""
WRONG = """
original = Session.predict
Session.predict = lambda self, batch: original(self, batch) * (1 + 1e-6)
"""


def build(root: Path, engines: Mapping[str, str], *, rounds: int = 1) -> Path:
    """A copy of the source with stand-ins by name, whose engines end with some more lines, and a tiny suite."""
    for part in ("harness", "suites"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("samples", "__pycache__"))
    (root / "suites" / "samples").symlink_to(data.SAMPLES)
    tiny = TINY.format(rounds=rounds)
    for name, suite in {"tiny": tiny, "five": tiny.replace("generations=1", "generations=5")}.items():
        (root / "suites" / f"{name}.py").write_text(suite, encoding="utf-8")
    shorten(root)
    (root / "backends").mkdir()
    shutil.copy(ROOT / "backends" / "__init__.py", root / "backends")
    reference = catalog.reference()
    shutil.copytree(ROOT / "backends" / reference, root / "backends" / reference)
    for name, lines in engines.items():
        stand_in(root / "backends" / name, reference, lines)
    return root


def shorten(root: Path) -> None:
    """Cut the warm-up of a copy short."""
    measure = root / "harness" / "measure.py"
    short = re.sub(r"(?m)^(WARMUP_STEPS, WARMUP_S, .*=).*$", r"\1 2, 0.01, 1.0", measure.read_text(encoding="utf-8"))
    measure.write_text(short, encoding="utf-8")


def stand_in(folder: Path, reference: str, lines: str) -> None:
    """A copy of the reference that is no reference, in the mode ``plain``."""
    shutil.copytree(ROOT / "backends" / reference, folder, ignore=shutil.ignore_patterns("__pycache__"))
    words = {f"backends.{reference}": f"backends.{folder.name}", "REFERENCE = True": "REFERENCE = False"}
    words |= {'("reference",)': '("plain",)', 'TITLE = "': f'TITLE = "{folder.name} '}
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for old, new in words.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    with (folder / "engine.py").open("a", encoding="utf-8") as file:
        file.write("\nimport os\n" + textwrap.dedent(lines))


@contextmanager
def at_home(root: Path) -> Iterator[pytest.MonkeyPatch]:
    """Take the copy for this process's own house."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "ROOT", root)
        patch.setattr(backends, "__path__", [str(root / "backends")])
        catalog.backend.cache_clear()
        known = set(sys.modules)
        try:
            yield patch
        finally:
            for name in set(sys.modules) - known:
                if name.startswith("backends."):
                    del sys.modules[name]
            catalog.backend.cache_clear()
            launch.STOPPING.clear()


def planned(scratch: Path, able: tuple[str, ...], *, skipped: tuple[str, ...] = (), **suite: Any) -> Plan:
    """The plan of a tiny suite, as the command line would make it."""
    scale, phases = suite.pop("scale", False), suite.pop("phases", PHASES)
    job = Job("risk_mlp", batch=8, epochs=1, max_steps=6, phases=phases, scale=scale)
    place = Workplace(scratch)
    only = subject(job, data_dir=data.SAMPLES, scratch=scratch, seed=0)
    installed = {name: workplace.probe(name, sys.executable) for name in able}
    recipe = Suite("tiny", (job,), **{"generations": 2, "rounds": 2, "sample_s": 0.002, **suite})
    chosen, absent = dict.fromkeys(able, ("plain",)), dict.fromkeys(skipped, ABSENT)
    entrants = tuple(Entrant(name, "plain") for name in able)
    return Plan("tiny", recipe, (only,), chosen, absent, installed, place, entrants)


def carried_out(plan: Plan, folder: Path, progress: Progress | None = None) -> Run:
    """The run, carried out and read back with its views made; no worker is left."""
    folder.mkdir()
    run.run(plan, folder, progress or Progress())
    assert workers() == []
    report.write(find(records.read(folder)))
    return records.read(folder)


def workers(process: psutil.Process | None = None) -> list[psutil.Process]:
    """The workers below a process, this one by default."""
    found = []
    for child in (process or psutil.Process()).children(recursive=True):
        with suppress(psutil.Error):
            if child.status() != psutil.STATUS_ZOMBIE and "harness.worker" in child.cmdline():
                found.append(child)
    return found


def of(found: Run, **wanted: Any) -> list[Trial]:
    """The trials with these attributes; ``backend`` is the cell's. Of repeated rounds the first; controls only if asked for."""
    backend = wanted.pop("backend", None)
    trials = [t for t in found.trials if backend in (None, t.cell.backend) and not t.attempt]
    trials = [t for t in trials if t.phase != "control" or "phase" in wanted]
    trials = [t for t in trials if (t.phase, t.of) != ("first_call", "control") or "of" in wanted]
    return [t for t in trials if all(getattr(t, name) == value for name, value in wanted.items())]


# --- a run in which nothing goes wrong


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two stand-ins, two generations, two rounds."""
    home = tmp_path_factory.mktemp("sound")
    with at_home(build(home / "house", {"left": "", "right": ""})):
        return carried_out(planned(home / "scratch", ("left", "right")), home / "run")


def test_a_run_leaves_everything(sound: Run) -> None:
    """Records and views; every cell has one training, a first call a generation, and every turn of every round."""
    for name in ("run.json", "proofs.jsonl", "trials.jsonl", "summary.csv", "trials.csv", "losses.csv", "report.html"):
        assert (sound.path / name).stat().st_size > 0, name
    assert {trial.status for trial in sound.trials} == {"ok"}
    first = [t for t in sound.trials if t.phase in PHASES and not t.attempt]
    turns = Counter((t.cell.backend, t.phase, t.generation, t.round) for t in first)
    assert turns == {(b, p, g, r): 1 for b in ("left", "right") for p in PHASES for g in range(2) for r in range(2)}
    for name in ("left", "right"):
        assert len(of(sound, backend=name, phase="fit")) == 1
        assert [t.generation for t in of(sound, backend=name, phase="first_call")] == [0, 1]


def test_stand_ins_are_proven(sound: Run) -> None:
    """Against the reference and against each other: a new backend is a folder, and no list is edited."""
    assert {row.verdict for row in sound.proofs} == {"proven"}
    pairs = {(row.backend, row.against) for row in sound.proofs}
    assert pairs >= {("left", "numpy"), ("right", "numpy"), ("left", "right plain")}


def test_every_trial_has_its_cell(sound: Run) -> None:
    """The same one for all that is measured of a backend and mode; calls one by one have a batch of one."""
    key = catalog.key(catalog.task("risk_mlp"))
    for trial in sound.trials:
        cell = trial.cell
        mode = "canary" if trial.phase == "canary" else "plain"
        assert (cell.task, cell.mode, cell.device, cell.precision) == (key, mode, "cpu", "float32")
        assert cell.data == "german_credit (1,000)"
        assert cell.batch == (1 if "latency" in (trial.phase, trial.of) else 8)


def test_a_call_that_was_lost_has_the_batch_of_a_call(tmp_path: Path) -> None:
    """One, as those that were measured have."""
    with at_home(build(tmp_path / "house", {"left": ""})):
        plan, journal = planned(tmp_path / "scratch", ("left",)), records.Journal(tmp_path)
    lost = Generation(Timing(plan, journal, Progress(), 0), 0, 1).lost
    error = WorkerError("failed", "it died", "")
    found = [lost(plan.subjects[0], plan.entrants[0], phase, error, round=1) for phase in ("train", "latency")]
    assert [(t.phase, t.cell.batch, t.round) for t in found] == [("train", 8, 1), ("latency", 1, 1)]


def test_the_time_until_an_interrupt_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a run that goes on would take longer than it was allowed."""

    def interrupted(*_: object) -> None:
        time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "prepare", interrupted)
    (out := tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run.run(planned(tmp_path / "scratch", ()), out, Progress())
    assert json.loads((out / "run.json").read_text("utf-8"))["progress"]["used_s"] >= 0.1


def test_what_a_turn_measured_is_kept_whatever_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples of a turn are written together: an interrupt in the middle of one loses none that was taken."""
    sampled, ask = set[str](), launch.Worker.ask

    def interrupted(worker: launch.Worker, message: dict[str, Any], *more: Any, **settings: Any) -> Any:
        if message["op"] == "sample":
            sampled.add(worker.backend)
        if len(sampled) == 2:
            raise KeyboardInterrupt
        return ask(worker, message, *more, **settings)

    monkeypatch.setattr(launch.Worker, "ask", interrupted)
    with at_home(build(tmp_path / "house", {"left": "", "right": ""})), pytest.raises(KeyboardInterrupt):
        carried_out(planned(tmp_path / "scratch", ("left", "right")), tmp_path / "out")
    assert [t.phase for t in records.read(tmp_path / "out").trials][-2:] == ["canary", "train"]


def test_trials_say_what_was_measured(sound: Run) -> None:
    """Positive times, no compilation, one length of samples a cell, losses of every step, first calls by phase."""
    for trial in sound.trials:
        assert trial.compilations == 0
        assert all(isinstance(ns, int) and ns > 0 for ns in trial.times_ns)
        assert trial.cpu_ns > 0 or trial.phase not in ("train", "predict")
    for name in ("left", "right"):
        for phase in PHASES:
            assert len({(t.steps, len(t.times_ns)) for t in of(sound, backend=name, phase=phase)}) == 1
        (fit,) = of(sound, backend=name, phase="fit")
        assert len(fit.losses) == fit.steps == 6
        assert {"auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1"} <= set(fit.values)
        labels, scores = pd.DataFrame(tables.scored(fit)).to_numpy().T
        assert len(scores) == 200
        assert metrics.auc(scores, labels) == pytest.approx(fit.values["auc"], abs=1e-4)
        assert ((scores - labels) ** 2).mean() == pytest.approx(fit.values["brier"], abs=1e-5)
        for first in of(sound, backend=name, phase="first_call"):
            assert {f"{phase}_first_call_s" for phase in PHASES} | {"import_s"} <= set(first.values)
    left, right = (of(sound, backend=name, phase="fit")[0].losses for name in ("left", "right"))
    assert left == right


def test_turns_rotate(sound: Run) -> None:
    """No backend is always first, and none always follows the same: the start moves by one, then the way round changes."""
    for phase in PHASES:
        samples = [t for t in sound.trials if phase in (t.phase, t.of) and t.phase in {phase, "control"} and not t.attempt]
        first = {(t.generation, t.round): (t.cell.backend, t.phase) for t in samples if t.position == 0}
        *begun, again = (first[key] for key in sorted(first))
        assert len(begun) == len({*begun}) == 3  # two backends and the control
        assert again == begun[-1]  # the first of the way back


@pytest.mark.skipif(len(environment.available_cpus()) < 2, reason="one CPU cannot be swept over")
def test_a_scaled_task_is_timed_on_more_cpus_too(tmp_path: Path) -> None:
    """Each number of CPUs in processes of its own, granted before anything is imported, and compared with its like alone."""
    with at_home(build(tmp_path / "house", {"left": "", "right": ""})):
        plan = planned(tmp_path / "scratch", ("left", "right"), scale=True, generations=1, rounds=1, phases=("train",))
        found = carried_out(plan, tmp_path / "run")
    assert plan.threads[:2] == [1, 2]
    granted = {(t.cell.threads, len(t.facts["cpus"])) for t in of(found, phase="first_call")}
    assert granted == {(count, count) for count in plan.threads}
    assert {t.cell.threads for t in of(found, phase="train")} == set(plan.threads)
    terms = {cell.threads for contest in find(found).contests for cell in contest.blocks}
    assert terms == set(plan.threads)
    assert len(find(found).contests) == len(plan.threads)


def test_the_manifest_tells_what_was_run(sound: Run) -> None:
    """Schema, suite, environment, digests of data, weights and code, and that it came to its end."""
    manifest = sound.manifest
    assert manifest["schema"] == records.SCHEMA
    assert manifest["created"] <= manifest["finished"]
    assert manifest["suite"]["name"] == "tiny"
    assert set(manifest["environment"]["workers"]) == {"left", "right"}
    assert manifest["environment"]["machine"]["cpus_available"]
    variables = manifest["environment"]["workers"]["left"]["variables"]
    assert variables.items() >= {**environment.HEAP, "NVIDIA_TF32_OVERRIDE": "0", "OMP_NUM_THREADS": "number of CPUs"}.items()
    key = catalog.key(catalog.task("risk_mlp"))
    assert set(manifest["tasks"]) == set(manifest["weights"]) == {key}
    assert len(manifest["data"]["german_credit"]["digest"]) == len(manifest["code"]) == 64


def test_views_are_rebuilt_from_the_records(sound: Run, tmp_path: Path) -> None:
    """`concord report` makes the same CSV files, byte by byte, where nothing but the records is left."""
    folder = tmp_path / "moved"
    folder.mkdir()
    for name in ("run.json", "proofs.jsonl", "trials.jsonl"):
        shutil.copy(sound.path / name, folder)
    typed = [sys.executable, "-m", "harness", "report", str(folder)]
    done = subprocess.run(typed, capture_output=True, text=True, check=False, cwd=ROOT, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    views = {path.name: path.read_bytes() for path in sound.path.glob("*.csv")}
    assert views
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == views
    for name in ("run.json", "proofs.jsonl", "trials.jsonl"):
        assert (folder / name).read_bytes() == (sound.path / name).read_bytes()
    assert (folder / "report.html").is_file()


def test_every_round_has_its_canary(sound: Run) -> None:
    """Ahead of it, with two positive times; and every phase of every generation has its warm-up, with a class."""
    rounds = {(t.phase, t.generation, t.round, t.attempt) for t in sound.trials if t.phase in PHASES}
    birds = [t for t in sound.trials if t.phase == "canary"]
    assert {(t.of, t.generation, t.round, t.attempt) for t in birds} == rounds
    assert all(t.values["product_s"] > 0 and t.values["copy_s"] > 0 for t in birds)
    warm = Counter((t.cell.backend, t.of, t.generation) for t in of(sound, phase="warmup"))
    assert warm == {(b, p, g): 1 for b in ("left", "right") for p in PHASES for g in range(2)}
    assert {t.facts["kind"] for t in of(sound, phase="warmup")} <= {"flat", "warm-up", "slowdown", "no steady state"}


def test_a_twin_controls_every_generation(sound: Run) -> None:
    """A second process of one backend, another one in each generation, in every round of every phase."""
    twins = of(sound, phase="control")
    assert Counter((t.cell.backend, t.of, t.generation, t.round) for t in twins) == {
        (name, phase, generation, round_): 1
        for generation, name in enumerate(("left", "right"))
        for phase in PHASES
        for round_ in range(2)
    }


def test_a_contended_round_runs_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entrant, the twin and the canary once again, at the generation's end; the first attempt stays on disk."""

    def disturbed(trials: Iterable[Trial]) -> dict[tuple[noise.Group, int], list[str]]:
        rounds = {noise.group(t) for t in trials if (t.phase, t.generation, t.round) == ("train", 0, 1)}
        return {(group, 0): ["so the test says"] for group in rounds}

    monkeypatch.setattr(noise, "contended", disturbed)
    with at_home(build(tmp_path / "house", {"left": "", "right": ""})):
        plan = planned(tmp_path / "scratch", ("left", "right"), phases=("train", "predict"))
        found = carried_out(plan, tmp_path / "run")
    turns = Counter((t.phase, t.cell.backend, t.of, t.generation, t.round, t.attempt) for t in found.trials if t.attempt)
    who = (("train", "left", ""), ("train", "right", ""), ("control", "left", "train"), ("canary", "numpy", "train"))
    assert turns == {(*each, 0, 1, 1): 1 for each in who}
    first = Counter((t.phase, t.cell.backend, t.of, t.generation, t.round, t.attempt) for t in found.trials)
    assert [first[*each, 0, 1, 0] for each in who] == [1] * len(who)
    order = [(t.phase, t.attempt) for t in found.trials if t.generation == 0 and t.phase in {"train", "predict"}]
    assert order[-2:] == [("train", 1)] * 2
    chosen, contended = ranking.counted(found.trials)
    assert {t.attempt for t in chosen if "train" in (t.phase, t.of) and (t.generation, t.round) == (0, 1)} == {1}
    assert not any(contended.values())


@pytest.mark.skipif(len(environment.available_cpus()) < 2, reason="one CPU cannot be swept over")
def test_a_cold_first_call_found_nothing(tmp_path: Path) -> None:
    """On each number of CPUs in the first generation, by its control too, though the twin has compiled; and in none after it."""
    with at_home(build(tmp_path / "house", {"left": CACHING, "right": CACHING})):
        plan = planned(tmp_path / "scratch", ("left", "right"), scale=True, generations=3, rounds=1, phases=("train",))
        found = carried_out(plan, tmp_path / "run")
    calls = [t for t in found.trials if t.phase == "first_call"]
    assert len(calls) == 3 * 3 * len(plan.threads)
    for trial in calls:
        assert trial.facts["compiled before"] is (trial.generation > 0), trial
    assert Counter((t.cell.backend, t.generation) for t in calls if t.of) == dict.fromkeys(
        (("left", 0), ("right", 1), ("left", 2)), len(plan.threads)
    )
    summary = pd.read_csv(tmp_path / "run" / "summary.csv").query("backend == 'left' and threads == 1").set_index("metric")
    assert summary.n[["train_first_call_cold", "train_first_call_warm", "import"]].to_list() == [2, 3, 3]
    assert {t.of for t in of(found, phase="warmup")} == {"train"}


# --- a run in which much goes wrong


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One dies in a timed block, one raises there, one cannot be imported, one computes something else, one is absent."""
    home = tmp_path_factory.mktemp("troubled")
    engines = {
        "raising": RAISING,
        "dying": DYING,
        "broken": "raise ImportError('libfoo.so.1: cannot open')",
        "wrong": WRONG,
        "absent": "",
        "sound": "",
    }
    with at_home(build(home / "house", engines)):
        plan = planned(home / "scratch", ("dying", "raising", "broken", "wrong", "sound"), skipped=("absent",), phases=("train",))
        return carried_out(plan, home / "run")


def test_the_sound_go_on(troubled: Run) -> None:
    """Whatever becomes of the others, a backend is proven, trained and timed in every turn; the run ends with its views."""
    own = of(troubled, backend="sound")
    assert {trial.status for trial in own} == {"ok"}
    assert Counter(trial.phase for trial in own) == {"fit": 1, "first_call": 2, "warmup": 2, "train": 4}
    assert {row.verdict for row in troubled.proofs if row.backend == "sound"} == {"proven"}
    assert troubled.manifest["finished"]
    for name in ("summary.csv", "report.html"):
        assert (troubled.path / name).stat().st_size > 0


def test_dying_in_the_middle_of_a_block(troubled: Run) -> None:
    """A failed record with the exit code in every generation; proof and training, which are shorter, stand."""
    lost = of(troubled, backend="dying", status="failed")
    assert [trial.generation for trial in lost] == [0, 1]
    assert [trial.position > 0 for trial in lost] == [False, True]  # first in the first turn, which rotates
    assert {trial.reason for trial in lost} == {"the worker died (exit code 9)"}
    assert [trial.status for trial in of(troubled, backend="dying", phase="fit")] == ["ok"]
    assert {row.verdict for row in troubled.proofs if row.backend == "dying" and row.against == "numpy"} == {"proven"}


def test_an_error_in_a_timed_block(troubled: Run) -> None:
    """A failed record with the error in every generation."""
    lost = of(troubled, backend="raising", status="failed")
    assert [trial.generation for trial in lost] == [0, 1]
    assert {trial.reason for trial in lost} == {"RuntimeError: out of patience"}
    assert all("Traceback" in trial.log for trial in lost)


def test_a_backend_that_cannot_even_start(troubled: Run) -> None:
    """Every cell of it is a record with the reason and the log; its proof has failed."""
    own = of(troubled, backend="broken")
    assert [trial.phase for trial in own] == ["fit", "first_call", "first_call"]
    assert {(trial.status, trial.reason) for trial in own} == {("failed", "ImportError: libfoo.so.1: cannot open")}
    assert all("Traceback" in trial.log for trial in own)
    (row,) = (row for row in troubled.proofs if row.backend == "broken")
    assert (row.level, row.verdict, row.reason) == ("trace", "failed", "ImportError: libfoo.so.1: cannot open")


def test_a_backend_that_computes_something_else(troubled: Run) -> None:
    """It is named by its first difference, timed all the same, and never ranked."""
    failed = [row for row in troubled.proofs if row.backend == "wrong" and row.verdict == "failed"]
    assert (failed[0].level, failed[0].where) == ("logits", "logits at step 0")
    assert len(of(troubled, backend="wrong", phase="train", status="ok")) == 4
    summary = pd.read_csv(troubled.path / "summary.csv", dtype=str, keep_default_na=False)
    own = summary[summary["backend"] == "wrong"]
    assert set(own["rank"]) == {""}
    assert set(own["proof"]) == {"failed"}


def test_what_is_not_installed_is_a_record(troubled: Run) -> None:
    """With its reason, in trials and in proofs."""
    (trial,) = of(troubled, backend="absent")
    assert (trial.status, trial.reason) == ("skipped", ABSENT)
    (row,) = (row for row in troubled.proofs if row.backend == "absent")
    assert (row.verdict, row.reason) == ("skipped", ABSENT)


def test_a_failed_proof_decides_the_exit_code(troubled: Run, sound: Run) -> None:
    """1 before 3; 0 where all is well."""
    assert viewing.exit_code(troubled.path) == options.EXIT_PROOF
    assert viewing.exit_code(sound.path) == 0


LIMITED = """
import resource, sys
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
"""
TEARING = """
from harness import channel
def half(pipe, *_):
    pipe.write(channel.MAGIC + b"half a")
    pipe.flush()
    os._exit(9)
def tear():
    channel.send = half
"""
DIVERGING = """
step = Session.train_step
def diverge(self, batch):
    loss = step(self, batch)
    return loss * np.float32("nan") if len(self.table) == 6 and self.step == 3 else loss  # in the training alone
Session.train_step = diverge
"""
IDLING = """
import signal
step = Session.train_step
def idle(self, batch):
    if len(self.table) == 6 and self.step == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
    return step(self, batch)
Session.train_step = idle
"""
SHOUTING = """
step = Session.train_step
def shout(self, batch):
    os.write(1, b"\\x93CONCORD\\xff\\x00" * 99)
    os.write(2, b"\\x1b[2J\\x93CONCORD" * 99)
    return step(self, batch)
Session.train_step = shout
"""
ONCE = "if not os.path.exists('stopped'):\n            open('stopped', 'w').close()\n            os.kill(os.getpid(), 19)"
FAULTS = {  # the engine's lines, then what its record says: phase, status, reason, generations
    "crashing": (DYING.replace("os._exit(9)", "import ctypes; ctypes.string_at(0)"), "train", "failed", "signal SIGSEGV", [0, 1]),
    "stopping": (DYING.replace("os._exit(9)", ONCE), "train", "timeout", "no answer within 8 s", [0]),
    "greedy": (
        LIMITED + DYING.replace("os._exit(9)", "np.ones(2**30)"),
        "train",
        "failed",
        "Unable to allocate 8.00 GiB",
        [0, 1],
    ),
    "tearing": (TEARING + DYING.replace("os._exit(9)", "tear()"), "train", "failed", "exit code 9", [0, 1]),
    "idling": (IDLING, "fit", "timeout", "no answer within 8 s", [0]),
    "diverging": (DIVERGING, "fit", "failed", "the loss is nan at step 2", [0]),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fault each, in a timed block or in training; one that shouts into every pipe, and one that is sound."""
    home = tmp_path_factory.mktemp("faulty")
    engines = {name: fault[0] for name, fault in FAULTS.items()} | {"shouting": SHOUTING, "sound": ""}
    with at_home(build(home / "house", engines)) as patch:
        patch.setattr(workplace, "TIMEOUT_S", 8.0)
        patch.setattr(run, "EPOCH_S", 8.0)
        return carried_out(planned(home / "scratch", tuple(engines), phases=("train",)), home / "run")


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit of a process, and stops another")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_record(faulty: Run, name: str) -> None:
    """Status, reason and the log's end, in every generation that had it; the hole is on the page."""
    _, phase, status, reason, generations = FAULTS[name]
    lost = [trial for trial in of(faulty, backend=name) if trial.status != "ok"]
    assert [(t.phase, t.status, t.generation) for t in lost] == [(phase, status, number) for number in generations]
    assert all(reason in trial.reason for trial in lost)
    assert reason in (faulty.path / "report.html").read_text(encoding="utf-8")
    assert {row.verdict for row in faulty.proofs if row.backend == name} == {"proven"}


@pytest.mark.parametrize("name", ["shouting", "sound"])
def test_the_others_go_on(faulty: Run, name: str) -> None:
    """Every turn of every round of those who have no fault, whatever they print; exit code 3."""
    own = of(faulty, backend=name)
    assert {trial.status for trial in own} == {"ok"}
    assert Counter(trial.phase for trial in own) == {"fit": 1, "first_call": 2, "warmup": 2, "train": 4}
    assert viewing.exit_code(faulty.path) == options.EXIT_CELL


def test_killed_workers_are_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it waits for its turn, and killed while it opens: each costs one generation, the third is whole again."""
    original = Generation.open_cell

    def open_cell(self: Generation, worker: launch.Worker, *rest: Any) -> None:
        if (worker.backend, self.number) == ("left", 1):  # the twin of that generation is the other one
            worker.process.kill()
        original(self, worker, *rest)

    class Killing(Progress):
        def kept(self, trial: Trial) -> None:
            if (trial.phase, trial.generation, trial.round, trial.attempt) == ("canary", 0, 0, 0):  # kept as its turn ends
                (left,) = (w for w in workers() if "time-0-1-left-plain-0" in w.environ()["KERAS_HOME"])
                left.kill()

    monkeypatch.setattr(Generation, "open_cell", open_cell)
    with at_home(build(tmp_path / "house", {"left": "", "right": ""})):
        plan = planned(tmp_path / "scratch", ("left", "right"), phases=("train",), generations=3)
        found = carried_out(plan, tmp_path / "run", Killing())
    lost = of(found, status="failed")
    assert [(t.cell.backend, t.generation, t.phase) for t in lost] == [("left", 0, "train"), ("left", 1, "first_call")]
    assert {trial.reason for trial in lost} == {"the worker died (signal SIGKILL)"}
    rounds = {
        name: Counter(t.generation for t in of(found, backend=name, phase="train", status="ok")) for name in ("left", "right")
    }
    assert rounds == {"left": {0: 1, 2: 2}, "right": {0: 2, 1: 2, 2: 2}}
    assert viewing.exit_code(found.path) == options.EXIT_CELL
    assert "SIGKILL" in (found.path / "report.html").read_text(encoding="utf-8")


def test_a_run_goes_on_without_its_canary(tmp_path: Path) -> None:
    """Killed in the first round: one failed record, every sample of the others, the report, and exit code 3."""

    class Killing(Progress):
        def kept(self, trial: Trial) -> None:
            if (trial.phase, trial.status, trial.generation) == ("canary", "ok", 0):
                (bird,) = (w for w in workers() if "canary" in w.environ()["KERAS_HOME"])
                bird.kill()

    with at_home(build(tmp_path / "house", {"left": "", "right": ""})):
        plan = planned(tmp_path / "scratch", ("left", "right"), phases=("train",), generations=2)
        found = carried_out(plan, tmp_path / "run", Killing())
    (lost,) = of(found, status="failed")
    assert (lost.phase, lost.generation, lost.reason) == ("canary", 0, "the worker died (signal SIGKILL)")
    assert len(of(found, phase="canary", status="ok", generation=1)) == 2
    assert len(of(found, phase="train", status="ok")) == 8
    assert viewing.exit_code(found.path) == options.EXIT_CELL


def test_idle_workers_are_stopped(tmp_path: Path) -> None:
    """All of them ahead of every turn, the one that has just failed too: nothing disturbs what is timed."""
    seen: list[list[str]] = []

    class Looking(Progress):
        def at(self, phase: str, **_more: Any) -> None:
            end = time.monotonic() + 30
            while ", round" in phase:
                states = [worker.status() for worker in workers()]
                if set(states) == {psutil.STATUS_STOPPED} or time.monotonic() > end:  # a signal takes a moment to arrive
                    seen.append(states)
                    break
                time.sleep(0.02)

    with at_home(build(tmp_path / "house", {"raising": RAISING, "sound": ""})):
        plan = planned(tmp_path / "scratch", ("raising", "sound"), phases=("train",), generations=1)
        carried_out(plan, tmp_path / "run", Looking())
    assert len(seen) >= 4  # turns: two fail once, one goes on, and contended rounds run again
    assert {*map(tuple, seen)} == {(psutil.STATUS_STOPPED,) * 4}  # two, the twin, the canary


def test_records_hold_any_text(tmp_path: Path) -> None:
    """What a framework prints ends no line of ours early, and need not be a character at all: read back it is one."""
    path = tmp_path / "trials.jsonl"
    cell = Cell("task", "left", "plain", "cpu", "float32", "data", 8)
    log = "line\nnext\r\n\x0b\x0c\x1c\x1e\x85\u2028\u2029\udc80 end"
    trials = [Trial(cell=cell, phase="fit", status="failed", reason=log, log=log) for _ in range(2)]
    for trial in trials:
        records.append(path, trial)
    whole = log.replace("\udc80", "?")
    assert list(records.each(path, records.trial)) == [replace(t, reason=whole, log=whole) for t in trials]
    path.write_text("", encoding="utf-8")
    assert list(records.each(path, records.trial)) == []


# --- the command itself


def command(root: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command line in a house, begun."""
    env = {**os.environ, "PYTHONPATH": str(root)}
    typed = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.Popen(typed, cwd=root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_command_line_runs_a_suite(tmp_path: Path) -> None:
    """From a suite's name to its report: exit code 0, progress on stderr, the rows of summary.csv as JSON on stdout."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": "", "right": ""})
    with command(house, "run", "tiny", "--json", "--out", out, "--data-dir", data.SAMPLES) as process:
        told, progress = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, progress
    rows = json.loads(told)["figures"]
    assert len(rows) == len(pd.read_csv(out / "summary.csv"))
    keys = ["task", "backend", "mode", "device", "data", "phase", "metric", "unit", "value", "ci_low", "ci_high", "n"]
    keys += ["ratio_to_best", "rank", "proof", "batch", "threads", "ratio_low", "ratio_high"]
    assert list(rows[0]) == [*keys, "first_ratio", "first_low", "first_high", "first_rank"]
    assert {row["backend"] for row in rows} == {"left", "right"}
    assert {row["proof"] for row in rows} == {"proven"}
    assert "begin   generation 1 of at least 1" in progress


def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    """One sentence before anything has begun; no folder is left."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": ""})
    with command(house, "run", "tiny", "--device", "gpu", "--out", out, "--data-dir", data.SAMPLES) as process:
        told, progress = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, told) == (2, "")
    assert "left sees no GPU" in progress.splitlines()[-1]
    assert not out.exists()


def test_the_reference_needs_no_gpu(tmp_path: Path) -> None:
    """A backend on a GPU is proven against the reference, which has only ever run on a CPU."""
    house = build(tmp_path / "house", {"left": SEEING})
    with command(house, "verify", "risk_mlp", "--device", "gpu", "--json", "--data-dir", data.SAMPLES) as process:
        told, progress = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, progress
    assert {(row["backend"], row["verdict"]) for row in json.loads(told)} == {("left", "proven")}


def test_a_gpu_is_in_every_record(tmp_path: Path) -> None:
    """Of a backend that sees one: cells, memory and energy of the device, threads of the host; the canary stays on the CPU."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": METERED})
    with command(house, "run", "tiny", "--device", "gpu", "--out", out, "--data-dir", data.SAMPLES) as process:
        _told, progress = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, progress
    found = records.read(out)
    assert {t.cell.device for t in of(found, backend="left")} == {"gpu"}
    assert {t.cell.device for t in found.trials if t.phase == "canary"} == {"cpu"}
    (trained,) = of(found, phase="fit")
    assert [trained.values[f"device_{what}_bytes"] for what in ("peak", "held")] == [3 * 2**20, 5 * 2**20]
    assert {"device_peak", "device_held"} <= set(pd.read_csv(out / "summary.csv").metric)
    assert all(t.noise["energy_j"] >= 0.5 for t in of(found, phase="train"))


def test_a_gpu_that_is_not_used_is_no_gpu(tmp_path: Path) -> None:
    """A framework that silently falls back to the CPU is a failed cell, not a slow GPU."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": SEEING})
    with command(house, "run", "tiny", "--device", "gpu", "--out", out, "--data-dir", data.SAMPLES) as process:
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == options.EXIT_CELL
    (lost,) = of(records.read(out), phase="first_call")
    assert (lost.status, lost.reason) == ("failed", "asked for the gpu, it computes on the cpu: see concord doctor.")


def test_a_selfcheck_on_a_gpu_that_is_not_used_finds_nothing(tmp_path: Path) -> None:
    """Though it only trains: or a first run on a GPU would be told of no false winner by a CPU."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": SEEING})
    options_ = ("five", "-b", "left", "--device", "gpu", "--out", out, "--data-dir", data.SAMPLES)
    with command(house, "selfcheck", *options_) as process:
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == options.EXIT_CELL
    lost = of(records.read(out), phase="first_call")
    assert {trial.reason for trial in lost} == {"asked for the gpu, it computes on the cpu: see concord doctor."}


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 130, every finished record on disk, views of them, and no process left behind."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": "", "right": ""}, rounds=10_000)
    with command(house, "run", "tiny", "--out", out, "--data-dir", data.SAMPLES) as process:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and '"phase": "predict"' not in text(out / "trials.jsonl"):
            time.sleep(0.05)
        alive = workers(psutil.Process(process.pid))
        process.send_signal(number)
        told, progress = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == options.EXIT_INTERRUPTED, progress
    assert "Traceback" not in progress
    assert f"concord run --resume {out}" in progress.splitlines()[-1]
    assert len(alive) == 4  # two, the twin, the canary
    assert [worker for worker in alive if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE] == []
    found = records.read(out)
    assert found.manifest["finished"] is None
    assert of(found, phase="predict")
    assert (out / "report.html").is_file()
    assert "report.html" in told


def text(path: Path) -> str:
    """A file's text; nothing where there is none yet."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@pytest.mark.frameworks
def test_the_frameworks_run_smoke(installed: list[str], tmp_path: Path) -> None:
    """Everything that is installed, proven, trained, timed and reported by the real command."""
    out = tmp_path / "out"
    arguments = ["run", "smoke", "--backends", ",".join(installed), "--out", out, "--data-dir", data.SAMPLES, "--json"]
    with command(ROOT, *arguments) as process:
        told, progress = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, progress
    rows = json.loads(told)["figures"]
    assert {row["backend"] for row in rows} == set(installed)
    assert {row["proof"] for row in rows} == {"proven"}
    found = records.read(out)
    assert {trial.status for trial in found.trials} == {"ok"}
    assert {trial.compilations for trial in found.trials} == {0}
    assert {trial.values["auc"] > 0.6 for trial in of(found, phase="fit")} == {True}


def test_a_dry_run_prints_the_plan_alone(tmp_path: Path) -> None:
    """What would run and how long it takes; nothing is left."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": "", "right": ""})
    arguments = ["run", "tiny", "--dry-run", "--max-time", "2m", "--out", out, "--data-dir", data.SAMPLES]
    with command(house, *arguments) as process:
        told, progress = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, progress) == (0, "")
    assert "2 entrants; risk_mlp:data=german_credit on german_credit (1,000)" in told
    assert "1 or more generations of 1 rounds" in told
    assert "at most 2 min 0 s" in told
    assert not out.exists()


def test_a_budget_adds_whole_generations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fit, on a clock by which each lasts 10 s: three in 35 s, however wide their intervals still are."""
    measured: list[int] = []
    original = Generation.measure

    def measure(self: Generation) -> None:
        original(self)
        measured.append(self.number)

    monkeypatch.setattr(Generation, "measure", measure)
    monkeypatch.setattr(run, "Stopwatch", lambda: SimpleNamespace(seconds=lambda: 10.0 * len(measured)))
    with at_home(build(tmp_path / "house", {"left": "", "right": ""})):
        plan = planned(
            tmp_path / "scratch", ("left", "right"), rounds=1, phases=("train",), generations=1, narrow=0.001, budget_s=35.0
        )
        found = carried_out(plan, tmp_path / "run")
    assert (found.progress["complete"], found.progress["used_s"]) == ([0, 1, 2], 30.0)
    assert Counter(t.generation for t in of(found, backend="left", phase="train")) == {0: 1, 1: 1, 2: 1}


def test_a_manifest_names_those_alone_that_take_part(tmp_path: Path) -> None:
    """Whoever else is installed, but has none of the modes asked for, is not looked for when the run is gone on with."""
    with at_home(build(tmp_path / "house", {"left": "", "right": ""})):
        plan = planned(tmp_path / "scratch", ("left", "right"))
        facts = run.describe(replace(plan, chosen={"left": ("plain",)}))
    assert [*facts["environment"]["workers"]] == ["left"]


def test_trainings_of_one_spec_with_other_parameters_share_no_folder() -> None:
    """They run at once: what one prints must not stand in the other's log, nor its temporary files beside the other's."""
    labels: list[str] = []

    def worker(_backend: str, _cpus: list[int], label: str, **_how: Any) -> launch.Worker:
        labels.append(label)
        raise launch.WorkerError("failed", "none here", "")

    where = Cell("risk_mlp", "left", "plain", "cpu", "float32", "data", 8)
    suite = SimpleNamespace(generations=1, hard=False, budget_s=0.0)
    place = SimpleNamespace(seed=0, cpu=lambda: nullcontext(0), worker=worker)
    plan: Any = SimpleNamespace(cell=lambda *_: where, workplace=place, suite=suite)
    for task, batch in (("risk_mlp", 8), ("risk_mlp", 16), ("risk_mlp:data=credit_default", 8)):
        job, spec = SimpleNamespace(epochs=1, max_steps=1), catalog.task("risk_mlp")
        what: Any = SimpleNamespace(task=task, batch=batch, spec=spec, job=job, weights={}, message=lambda *_, **more: more)
        assert run.fit(plan, what, "left", "plain", 0, lambda: 0.0, Progress()).reason == "none here"
    assert len({*labels}) == 3
    assert all(re.fullmatch(r"fit-[\w.-]+", label) for label in labels)


@pytest.mark.parametrize(
    ("slowdown", "planted", "refusal", "found", "winners"),
    [
        (0.1, "slower slower", "", True, 0),
        (0.1, "slower tie", "", False, 0),
        (0.1, "slower slower", "contended", False, 0),
        (0.1, "", "nothing was timed", False, 0),
        (0.01, "tie undecided", "", True, 0),
        (0.01, "tie slower", "", False, 1),
        (0.01, "tie faster", "", False, 1),
        (0.01, "undecided undecided", "", False, 0),
        (0.01, "tie tie", "contended", False, 0),
    ],
)
def test_what_a_selfcheck_must_find(slowdown: float, planted: str, refusal: str, *, found: bool, winners: int) -> None:
    """A delay that verdicts are made for, and none below: who calls that slower has called an equal slower."""
    ratio = Ratio(1 + slowdown, 1.0, 1.5 if planted.startswith("undecided") else 1.05, 25, 5, 3)
    equals = {("plain", "plain copy 1"): (ratio, "tie")}
    told = selfcheck.Finding(
        equals, {f"copy {i}": (ratio, verdict) for i, verdict in enumerate(planted.split())}, slowdown, refusal
    )
    assert (told.found, len(told.winners)) == (found, winners)
    assert ("NOT" in told.told()) is not found
    assert ("FALSE WINNER" in told.told()) is bool(winners)


def test_a_selfcheck_that_timed_nothing_found_no_equals() -> None:
    """It says so, and not that there was no false winner."""
    told = selfcheck.Finding({}, {}, 0.1, "nothing was timed")
    assert told.told() == "One backend under 3 names: nothing to judge (nothing was timed)."
    assert not told.found


def test_a_selfcheck_lasts_as_long_as_it_is_given() -> None:
    """The suite's least number of generations, or with --max-time what its suite adds within it."""
    (least, given), like = (selfcheck.suite("rigorous", time) for time in (None, 900.0)), catalog.suite("rigorous")
    assert (least.budget_s, least.hard, given.budget_s, given.hard) == (0.0, False, 900.0, True)
    assert {(s.generations, s.rounds, s.sample_s) for s in (least, given, like)} == {(10, 60, 0.03)}
    three, four = (scipy.stats.t.ppf(1 - 0.025 / pairs, 9) for pairs in (3, 6))  # of a run's contest and of what is judged
    assert given.narrow * three / four == pytest.approx(like.narrow) == 0.015


def selfchecked(slowdown: float, truth: float, seed: int) -> selfcheck.Finding:
    """What a selfcheck says of times with 1 % noise a process and 1 % a round, where the last process takes 1 + ``truth``."""
    rng, trials, proofs = np.random.default_rng(seed), [], []
    plan: Any = SimpleNamespace(entrants=selfcheck.entrants("left", "plain", slowdown))
    suite = selfcheck.suite("quick", None)
    for entrant in plan.entrants:
        where = Cell("risk_mlp", "left", entrant.name, "cpu", "float32", "data", 32)
        proofs += [Proof("risk_mlp", "left", where.mode, "float64", n, "numpy", 0.0, 1.0, "", "proven") for n in standing.LEVELS]
        for generation in range(suite.generations):
            step_s = 1e-3 * (1 + truth * bool(entrant.slowdown)) * np.exp(rng.normal(0, 0.01))
            for turn, luck in enumerate(rng.normal(0, 0.01, suite.rounds)):
                times = (int(step_s * np.exp(luck) * 100 * 1e9),)
                trials.append(Trial(where, "train", "ok", generation, turn, steps=100, times_ns=times))
    return selfcheck.judge(plan, Run(Path(), {}, tuple(trials), tuple(proofs)))


@pytest.mark.parametrize(("slowdown", "truth", "share"), [(0.1, 0.1, 1.0), (0.01, 0.01, 0.9), (0.1, 0.0, 0.0), (0.01, 0.1, 0.0)])
def test_what_a_selfcheck_makes_of_known_times(slowdown: float, truth: float, share: float) -> None:
    """+10 % is found each time, +1 % left unranked; what is not as it was planted is said to be not found. No equal ever wins."""
    told = [selfchecked(slowdown, truth, seed) for seed in range(20)]
    found = sum(finding.found for finding in told) / len(told)
    assert found >= share if share else found == 0
    assert {finding.refusal for finding in told} == {""}
    assert {verdict for finding in told for _, verdict in finding.names.values()} <= {"tie", "undecided"}
    assert all(math.isclose(r.value, 1 + truth, rel_tol=0.04) for finding in told for r, _ in finding.planted.values())


def test_selfcheck_finds_a_planted_delay(tmp_path: Path) -> None:
    """Equals under three names, and one process whose every step takes as long again; all of it is a run like any other."""
    out, house = tmp_path / "out", build(tmp_path / "house", {"left": ""})
    arguments = ["selfcheck", "--backend", "left", "--slowdown", "1", "--out", out, "--data-dir", data.SAMPLES]
    with command(house, *arguments) as process:
        told, progress = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in progress
    assert "One backend under 3 names" in told
    found = records.read(out)
    modes = Counter(t.cell.mode for t in of(found, phase="train"))
    quick = catalog.suite("quick")
    names = ("plain", "plain copy 1", "plain copy 2", "plain copy 3 +100%")
    assert modes == dict.fromkeys(names, quick.generations * quick.rounds)
    times = {(t.cell.mode, t.generation, t.round): t.times_ns[0] / t.steps for t in of(found, phase="train")}
    slow, equal = "plain copy 3 +100%", "plain"
    pairs = [times[slow, *key] / times[equal, *key] for mode, *key in times if mode == slow]  # what a round met, both met
    assert statistics.median(pairs) > 1.5
    assert history.read_all(tmp_path, pytest.fail) == [], "copies of one backend have no history"
    assert process.returncode in {0, options.EXIT_NOISY}, told  # a machine that runs tests may be too noisy to say so
