"""Every backend on every task, in a worker of its own: proven against the reference, and as good as its word as a session.

Run as a script (``python tests/test_conformance.py torch eager mnist_cnn``) this file prints what it sees of a session as JSON:
the process that the tests of sessions start, since the tests' own never loads a framework.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness import batches, catalog, data, environment, launch, proof, verify, weights
from harness.errors import HarnessError
from harness.launch import Worker, WorkerError
from harness.measure import Stopwatch
from harness.progress import Progress
from harness.protocol import Session, Stacking
from harness.records import Proof
from harness.spec import Arrays, TaskSpec
from harness.verify import Exhibit

LEVELS = {"weights", "logits", "loss", "gradients", "open", "offset", "tensors", "steps", "eval", "update", "length", "rounding"}
STACKING = {("jax", "scan")}  # modes that take several steps in one call
EAGER = {"reference", "eager", "channels_last"}
NEEDS = {"compile": "g++"}  # a mode's tool that is no Python package
SHOWN = {"channels_last": "mnist_cnn"}  # the task that shows what a mode does, where the smallest does not
Exhibits = Callable[..., Exhibit]
Files = Callable[[str], Path]


@pytest.fixture(scope="module")
def traces(worker: Worker, exhibit: Exhibits) -> Callable[..., Any]:
    """The worker's traces of a task in a mode, by precision, made once."""

    @cache
    def make(task: str, mode: str = catalog.backend(worker.backend).MODES[0], *seed: int) -> Any:
        found = verify.ask(worker, exhibit(task, *seed), mode, Progress())
        assert not isinstance(found, str), found
        return found

    return make


@pytest.fixture(scope="module")
def fit(worker: Worker, small_data: Files, exhibit: Exhibits) -> Callable[..., dict[str, Any]]:
    """What two epochs on a few rows come to, made once."""

    @cache
    def make(task: str, *, seed: int = 1, again: bool = False) -> dict[str, Any]:
        message = {"op": "fit", "task": task, "mode": catalog.backend(worker.backend).MODES[0], "precision": "float32"}
        settings = {"data": str(small_data(task)), "seed": seed, "epochs": 2, "max_steps": 0, "seconds": 3600.0}
        reply, _ = worker.ask(message | settings, launch.weights_message(exhibit(task).weights))
        return reply

    return make


def judged(ex: Exhibit, backend: str, mode: str, *, found: dict[str, Arrays], witness: dict[str, Arrays]) -> list[Proof]:
    """All proofs of one mode against the reference."""
    reference = proof.Subject(ex.task, catalog.reference(), "reference", witness)
    name = f"{backend}, another process" if backend == catalog.reference() else backend  # no one is his own witness
    return list(proof.judge(ex.spec, reference, [proof.Subject(ex.task, name, mode, found)], ex.weights))


def modes(wanted: Callable[[str, str], bool]) -> list[Any]:
    """The modes but the first of every framework that are wanted, as parameters."""
    found = []
    for name in catalog.frameworks():
        for mode in catalog.backend(name).MODES[1:]:
            tool = NEEDS.get(mode)
            absent = tool is not None and shutil.which(tool) is None
            marks = [pytest.mark.frameworks, pytest.mark.skipif(absent, reason=f"{name} {mode} needs {tool}")]
            if wanted(name, mode):
                found.append(pytest.param(name, mode, marks=marks))
    return found


def test_the_default_mode_is_proven(backend: str, task: str, traces: Any, exhibit: Exhibits, witness: Any) -> None:
    """Every level against the reference, in float64 and float32."""
    mode = catalog.backend(backend).MODES[0]
    rows = judged(exhibit(task), backend, mode, found=traces(task), witness=witness(task))
    assert [row for row in rows if row.verdict != "proven"] == []
    assert {row.level for row in rows} == LEVELS | ({"statistics"} if exhibit(task).spec.model.buffers else set())
    assert {(row.precision, row.level) for row in rows} >= {("float32", "weights"), ("float32", "loss")}


@pytest.mark.parametrize("seed", [2, 3])
def test_other_seeds_are_proven(backend: str, seed: int, traces: Any, exhibit: Exhibits, witness: Any) -> None:
    """No bad luck: of these seeds some gradients lie near Adam's epsilon where the logits are confident."""
    task, mode = "risk_mlp", catalog.backend(backend).MODES[0]
    rows = judged(exhibit(task, seed), backend, mode, found=traces(task, mode, seed), witness=witness(task, seed))
    assert [row for row in rows if row.verdict != "proven"] == []


def test_two_trainings_with_one_seed_are_equal(task: str, fit: Any) -> None:
    """Every loss and every figure, to the last bit."""
    first, second = fit(task), fit(task, again=True)
    untimed = [[{k: v for k, v in epoch.items() if k != "train_s"} for epoch in reply["epochs"]] for reply in (first, second)]
    assert untimed[0] == untimed[1]
    assert first["losses"] == second["losses"]
    assert first["final"] == second["final"]
    assert all(math.isfinite(loss) for loss in first["losses"])
    assert catalog.task(task).quality.metric in first["values"]


def test_evaluation_leaves_no_trace(tasks: list[str], fit: Any) -> None:
    """Evaluated twice without a step between, running statistics included, a model is worth the same to the last bit."""
    for task in (name for name in tasks if not catalog.task(name).train.monitor):  # which keeps other weights in the end
        last = fit(task)["epochs"][-1]
        assert {key: last[f"test_{key}"] for key in fit(task)["final"]} == fit(task)["final"]


@pytest.fixture(scope="module")
def opened(worker: Worker, small_data: Files, exhibit: Exhibits) -> Callable[..., dict[str, Any]]:
    """Open a cell of batch 8 for timing, named after its mode; what the worker answers."""

    def make(task: str, mode: str, phases: list[str]) -> dict[str, Any]:
        message = {"op": "open", "cell": mode, "task": task, "mode": mode, "seed": 0, "precision": "float32", "batch": 8}
        message |= {"data": str(small_data(task)), "phases": phases, "slowdown": 0.0}
        return worker.ask(message, launch.weights_message(exhibit(task).weights))[0]

    return make


def test_samples_compile_nothing(worker: Worker, task: str, opened: Any) -> None:
    """After the first calls and the warm-up a timed block runs what is there, in every phase, time and again."""
    phases, mode = ["train", "predict", "latency"], catalog.backend(worker.backend).MODES[0]
    reply = opened(task, mode, phases)
    assert {f"{phase}_first_call_s" for phase in phases} <= set(reply["values"])
    assert reply["facts"]["compiled"] == (mode not in EAGER)
    for phase in [*phases, *phases]:
        told, _ = worker.ask({"op": "sample", "cell": mode, "phase": phase, "steps": 3})
        assert told["compilations"] == 0, phase
        assert (len(told["times_ns"]), told["steps"]) == ((3, 1) if phase == "latency" else (1, 3))
        assert min(told["times_ns"]) > 0
        assert told["cpu_ns"] >= 0


@pytest.mark.parametrize(("backend", "mode"), modes(lambda *which: which in STACKING), indirect=["backend"])
def test_samples_are_whole_calls(worker: Worker, mode: str, opened: Any) -> None:
    """Of several steps each, whatever was asked for: nothing is compiled for the rest, in place as single steps are."""
    facts = opened("risk_mlp", mode, ["train", "epoch", "predict"])["facts"]
    assert (facts["steps_a_call"], facts["in_place"]) == (8, True)
    for phase, steps, taken in (("train", 3, 8), ("epoch", 17, 40), ("predict", 3, 3), ("train", 16, 16), ("epoch", 1, 8)):
        told, _ = worker.ask({"op": "sample", "cell": mode, "phase": phase, "steps": steps})
        assert (told["steps"], told["compilations"], len(told["times_ns"])) == (taken, 0, 1)


def test_what_cannot_be_opened_is_told(worker: Worker, exhibit: Exhibits) -> None:
    """An unknown mode is a sentence with the nearest one, and the worker lives."""
    ex, mode = exhibit("risk_mlp"), catalog.backend(worker.backend).MODES[0]
    message = {
        "op": "trace",
        "task": ex.task,
        "mode": f"{mode}x",
        "precision": "float32",
        "lrs": ex.lrs,
        "tensors": False,
    }
    with pytest.raises(WorkerError, match=f"^unknown mode of {worker.backend} '{mode}x': did you mean '{mode}'"):
        worker.ask(message, launch.weights_message(ex.weights) | ex.arrays)
    assert worker.process.poll() is None


def test_workers_have_one_cpu(worker: Worker, cpu: int) -> None:
    """The same budget for every framework: all threads on one CPU, and the framework says no other number."""
    facts = worker.facts["describe"]
    assert facts["versions"]
    assert facts.get("threads", 1) == 1
    if hasattr(os, "sched_getaffinity"):
        assert {tuple(os.sched_getaffinity(t.id)) for t in psutil.Process(worker.process.pid).threads()} == {(cpu,)}


@pytest.mark.parametrize(("backend", "mode"), modes(lambda _, mode: mode != "stock"), indirect=["backend"])
def test_other_modes_are_proven(backend: str, mode: str, traces: Any, exhibit: Exhibits, witness: Any) -> None:
    """What a user may choose between computes the same."""
    task = SHOWN.get(mode, "risk_mlp")
    rows = judged(exhibit(task), backend, mode, found=traces(task, mode), witness=witness(task))
    assert [row for row in rows if row.verdict != "proven"] == []
    assert {row.level for row in rows} == LEVELS - ({"open", "offset"} if mode == proof.LOW else set())


@pytest.mark.parametrize(("backend", "mode"), modes(lambda _, mode: mode == "stock"), indirect=["backend"])
def test_stock_drift_is_shown(worker: Worker, mode: str, task: str, *, exhibit: Exhibits, witness: Any) -> None:
    """The frameworks' own defaults run, and their distance from the spec is a finite figure: no proof, no failure."""
    ex, name = exhibit(task), catalog.reference()
    message = {"op": "trace", "task": ex.task, "mode": mode, "precision": "float64", "lrs": ex.lrs, "tensors": False}
    _, found = worker.ask(message, launch.weights_message(ex.weights) | ex.arrays)
    traces = {(ex.task, name, "reference"): witness(task), (ex.task, worker.backend, mode): {"float64": found}}
    rows = verify.judge_task(ex, traces, {name: ("reference",), worker.backend: (mode,)})
    (row,) = (row for row in rows if row.backend == worker.backend)
    assert (row.level, row.verdict, row.mode) == ("drift", "skipped", mode)
    assert row.worst is not None
    assert 0 <= row.worst < 10


# --- a session, seen from inside its process


@pytest.fixture(scope="module")
def seen(backend: str, tasks: list[str], cpu: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bool]]:
    """What a fresh process sees of a backend's sessions, by task."""
    return look(backend, catalog.backend(backend).MODES[0], tasks, cpu, tmp_path_factory.mktemp("seen"))


def look(backend: str, mode: str, names: list[str], cpu: int, scratch: Path) -> dict[str, dict[str, bool]]:
    """The same in a mode; see ``main``."""
    env = environment.worker_environment(root=catalog.ROOT, cpus=[cpu], device="cpu", scratch=scratch, cache=scratch)
    command = [sys.executable, __file__, backend, mode, *names]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=catalog.ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_sessions_keep_their_word(seen: dict[str, dict[str, bool]], task: str) -> None:
    """Loading, dumping, stepping, predicting: each does what the protocol says and nothing else."""
    assert [name for name, true in seen[task].items() if not true] == []


@pytest.mark.parametrize(("backend", "mode"), modes(lambda *which: which in STACKING), indirect=["backend"])
def test_sessions_that_stack_keep_their_word(backend: str, mode: str, cpu: int, tmp_path: Path) -> None:
    """The same, one batch at a time and several."""
    seen = look(backend, mode, ["risk_mlp"], cpu, tmp_path)["risk_mlp"]
    assert "a stack trains as its batches do" in seen
    assert [name for name, true in seen.items() if not true] == []


def test_a_mode_that_compiles_does(backend: str, cpu: int, tmp_path: Path) -> None:
    """Training and prediction each, with every mode's own name for it; those that run operation by operation compile nothing."""
    modes_ = [mode for mode in catalog.backend(backend).MODES if shutil.which(NEEDS.get(mode, sys.executable))]
    seen = look(backend, "", modes_, cpu, tmp_path)
    eager = EAGER | ({"stock", "bf16"} if backend == "torch" else set())
    wanted = {mode: {"a step compiles": mode not in eager, "a prediction compiles": mode not in eager} for mode in modes_}
    assert seen == wanted


class Probe:
    """Looks at what a float32 session of one task does; opens as few as it can, since each compiles anew."""

    def __init__(self, engine: Any, mode: str, task: str) -> None:
        """The same weights and batches for every session; a table that ends before the last step."""
        self.engine, self.mode = engine, mode
        self.spec: TaskSpec = catalog.task(task)
        held = data.find(self.spec.data.name, data_dir=data.SAMPLES).arrays
        self.host = list(islice(batches.training(self.spec, held, batch=4, seed=0, epoch=0), 4))
        self.weights = weights.unsettled(self.spec, 0)
        self.lrs = self.spec.optimizer.lr * 0.1 * 0.9 ** np.arange(2)
        self.session = self.open(self.spec.optimizer.table(self.lrs))
        self.placed = [self.session.put(*batch) for batch in self.host]

    def open(self, table: np.ndarray) -> Session:
        """A session without weights."""
        return self.engine.open_session(self.spec, mode=self.mode, precision="float32", device="cpu", table=table)

    def train(self) -> Arrays:
        """The tensors after some steps, and their losses."""
        losses = [self.fetched(self.session.train_step(batch)) for batch in self.placed]
        return {**self.session.dump(), "losses": np.array(losses)}

    def logits(self, batch: Any = None) -> np.ndarray:
        """The prediction of the first batch, or of another."""
        return self.fetched(self.session.predict(self.placed[0] if batch is None else batch))

    def fetched(self, handle: Any) -> np.ndarray:
        """A copy of a handle's value."""
        return np.array(self.session.fetch(handle))

    def facts(self) -> dict[str, bool]:
        """All that must be true."""
        self.session.load(self.weights)
        fresh, logits = self.session.dump(), self.logits()
        found = self.forms(fresh, logits)
        found["loading and dumping gives the same bits"] = alike(fresh, self.weights)
        found["predicting changes nothing"] = alike(self.session.dump(), fresh)
        found |= self.gradients(fresh)
        self.session.load(self.weights)
        trained = self.train()
        found["training changes every tensor"] = not any(np.array_equal(trained[name], fresh[name]) for name in fresh)
        found["a dump is a copy"] = alike(fresh, self.weights)
        self.session.load(self.weights)
        found["loading resets parameters and buffers"] = np.array_equal(self.logits(), logits)
        found["loading resets the optimizer and its steps"] = alike(self.train(), trained)
        found |= self.handles(trained) | self.stacks(trained) | self.misfits()
        return (
            found
            | self.single(logits)
            | self.copies(logits, trained)
            | self.compilations()
            | self.neighbours(trained)
            | self.waits()
            | self.steps_beyond_the_table(trained)
        )

    def forms(self, fresh: Arrays, logits: np.ndarray) -> dict[str, bool]:
        """Shapes, dtypes and order of what comes back."""
        loss = self.fetched(self.session.train_step(self.placed[0]))
        seen = self.session.facts(self.placed[0])
        self.session.load(self.weights)
        fair = {"device": "cpu", "dtype": "float32", "autograd": False, "in_place": True}
        return {
            "its facts are those of a fair comparison": seen == fair,
            "the loss is a float32 scalar": (loss.shape, loss.dtype) == ((), np.float32),
            "logits are (B, outputs) float32": (logits.shape, logits.dtype) == ((4, self.spec.outputs), np.float32),
            "a dump has the spec's tensors in the spec's order": [*fresh] == [t.name for t in self.spec.model.tensors],
            "a batch lies in memory as one that was made in its order": self.lies(),
        }

    def lies(self) -> bool:
        """Where a framework has strides: PyTorch takes images of one channel for channels last by them, and computes so."""
        x = self.placed[0].x
        made = np.array(np.empty(x.shape).strides) // 8
        return not callable(getattr(x, "stride", None)) or tuple(made) == x.stride()

    def misfits(self) -> dict[str, bool]:
        """A tensor of another shape than its layer's is refused by name: nothing is broadcast, and no layer is rebuilt to fit."""
        found = {}
        for t in self.spec.model.tensors:
            wrong = {**self.weights, t.name: np.zeros([size + 1 for size in t.shape], np.float32)}
            with pytest.raises(HarnessError, match=re.escape(f"tensor {t.name!r}")):
                self.session.load(wrong)
            found[f"{t.name} must fit"] = True
        self.session.load(self.weights)
        return found

    def gradients(self, fresh: Arrays) -> dict[str, bool]:
        """One for every parameter, none of which it changes."""
        loss, grads = self.session.gradients(self.placed[0])
        told, after = self.fetched(loss), self.session.dump()
        self.session.load(self.weights)
        stepped = self.fetched(self.session.train_step(self.placed[0]))
        names = [t.name for t in self.spec.model.parameters]
        return {
            "gradients are the spec's parameters, in order": [*grads] == names,
            "gradients change no parameter": all(np.array_equal(after[name], fresh[name]) for name in names),
            "gradients tell the loss of the step": np.allclose(told, stepped, rtol=1e-6),
        }

    def handles(self, trained: Arrays) -> dict[str, bool]:
        """Losses may be fetched after later steps; nothing must be waited for in between."""
        self.session.load(self.weights)
        waiting = [self.session.train_step(batch) for batch in self.placed]
        self.session.sync(waiting[-1])
        late = np.array([self.fetched(handle) for handle in waiting])
        return {"handles outlive later steps": np.array_equal(late, trained["losses"])}

    def stacks(self, trained: Arrays) -> dict[str, bool]:
        """Several steps in one call are those steps, and take over the state as each of them does."""
        if not isinstance(self.session, Stacking):
            return {}
        self.session.load(self.weights)
        stack, state = self.session.stack(self.placed), getattr(self.session, "state", ())
        losses = self.fetched(self.session.train_step(stack))
        found = {**self.session.dump(), "losses": losses}
        again = self.fetched(self.session.train_step(stack))
        self.session.load(self.weights)
        alone = self.fetched(self.session.train_step(self.session.stack(self.placed[:1])))
        return {
            "a stack of one is a step": alone.shape == (1,) and np.allclose(alone, trained["losses"][:1], rtol=1e-6),
            "a stack trains as its batches do": all(np.allclose(found[k], trained[k], rtol=1e-4, atol=1e-6) for k in trained),
            "a stack is of all losses": losses.shape == (len(self.placed),) and losses.dtype == np.float32,
            "a stack may be taken again": not np.array_equal(again, losses),
            "a stack's steps donate": all(array.is_deleted() for part in state[:1] for array in leaves(part)),
        }

    def single(self, logits: np.ndarray) -> dict[str, bool]:
        """Evaluation looks at each example by itself: no statistics of the batch."""
        self.session.load(self.weights)
        x, y, masks = self.host[0]
        one = self.logits(self.session.put(x[:1], y[:1], tuple(mask[:1] for mask in masks)))
        return {"an example alone is predicted as in a batch": np.allclose(one, logits[:1], rtol=1e-4, atol=1e-5)}

    def copies(self, logits: np.ndarray, trained: Arrays) -> dict[str, bool]:
        """What the host does to its arrays afterwards does not matter."""
        given = {name: array.copy() for name, array in self.weights.items()}
        x, y, masks = self.host[0].x.copy(), self.host[0].y.copy(), tuple(mask.copy() for mask in self.host[0].masks)
        self.session.load(given)
        batch = self.session.put(x, y, masks)
        for array in (x, y, *masks, *given.values()):
            array[...] = 1
        same = np.array_equal(self.logits(batch), logits)
        loss = self.fetched(self.session.train_step(batch))
        return {"what is loaded and placed is copied": same and loss == trained["losses"][0]}

    def compilations(self) -> dict[str, bool]:
        """New batches of the same shapes, and weights loaded anew, are nothing new to a compiler."""
        before = self.session.compilations()
        self.session.load(self.weights)
        self.placed = [self.session.put(*batch) for batch in self.host]
        self.train()
        self.logits()
        return {"the same shapes are compiled once": self.session.compilations() == before}

    def waits(self) -> dict[str, bool]:
        """What was synchronised is done: to fetch it takes a small part of the steps' time, in the quietest of three turns."""
        shares = []
        for _ in range(3):
            watch = Stopwatch()
            for _ in range(20):
                handle = self.session.train_step(self.placed[0])
            self.session.sync(handle)
            waited = watch.seconds()
            self.fetched(handle)
            shares.append(watch.seconds() / waited - 1)
        return {"what is synchronised is done": min(shares) < 0.2}

    def neighbours(self, trained: Arrays) -> dict[str, bool]:
        """A session has a table and weights of its own, whatever another one in the process is given."""
        other = self.open(self.spec.optimizer.table(self.lrs * 10))
        self.session.load(self.weights)
        other.load({name: array + 1 for name, array in self.weights.items()})
        return {"sessions share nothing": alike(self.train(), trained)}

    def steps_beyond_the_table(self, trained: Arrays) -> dict[str, bool]:
        """A step beyond the last row uses the last row."""
        table = self.spec.optimizer.table(self.lrs)
        self.session = self.open(np.concatenate([table, table[[-1, -1]]]))
        self.session.load(self.weights)
        return {"a step beyond the table uses its last row": alike(self.train(), trained)}


def leaves(tree: Any) -> Any:
    """What a tree of dictionaries holds."""
    return [leaf for part in tree.values() for leaf in leaves(part)] if isinstance(tree, dict) else [tree]


def alike(some: Arrays, others: Arrays) -> bool:
    """The same bits under the same names."""
    return set(some) == set(others) and all(np.array_equal(some[name], others[name]) for name in others)


def compiling(engine: Any, mode: str) -> dict[str, bool]:
    """Whether a first step and a first prediction compile something."""
    probe = Probe(engine, mode, "risk_mlp")
    counts = [probe.session.compilations()]
    probe.session.load(probe.weights)
    for call in (probe.session.train_step, probe.session.predict):
        probe.session.sync(call(probe.placed[0]))
        counts.append(probe.session.compilations())
    return dict(zip(("a step compiles", "a prediction compiles"), np.diff(counts) > 0, strict=True))


def main(backend: str, mode: str, *names: str) -> None:
    """Print what is seen of the sessions of some tasks, or, without a mode, of some modes."""
    engine = import_module(f"backends.{backend}.engine")
    engine.configure(threads=1, seed=0)
    seen = {name: Probe(engine, mode, name).facts() if mode else compiling(engine, name) for name in names}
    found = {name: {what: bool(true) for what, true in facts.items()} for name, facts in seen.items()}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
