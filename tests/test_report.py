"""The views of a run: rows, CSV files, plots, words, the page and the terminal, on a run that looks like a real one."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from harness import records, report, stats
from harness.records import Cell, Proof, Trial
from harness.report import charts, csvs, html, tables, terminal, words

PRECISIONS = ("float64", "float32")
AT = "2026-01-02T03:04:05.678+00:00"
STEP_S = {  # task -> backend mode -> seconds a training step
    "mnist_cnn": {
        "torch eager": 5.2e-3,
        "torch stock": 5.15e-3,
        "tensorflow graph": 4.1e-3,
        "jax jit": 4.14e-3,
    },
    "cifar_resnet:depth=20": {"torch eager": 0.31, "tensorflow graph": 0.42, "jax jit": 0.28},
    "risk_mlp": {"torch eager": 0.45e-3, "tensorflow graph": 0.61e-3, "jax jit": 0.19e-3},
}
DATA = {
    "mnist_cnn": "mnist (sample 10,000 of 60,000)",
    "cifar_resnet:depth=20": "cifar10 (sample 4,000 of 50,000)",
    "risk_mlp": "german_credit",
}
BATCH = {"mnist_cnn": 64, "cifar_resnet:depth=20": 128, "risk_mlp": 32}
GOALS = {
    "mnist_cnn": {"title": "MNIST CNN", "metric": "accuracy", "target": 0.98, "published": 0.99},
    "cifar_resnet:depth=20": {
        **{"title": "CIFAR-10 ResNet-20", "metric": "accuracy", "target": 0.9075, "published": 0.9125},
        "published_source": "He et al. 2015, table 6",
    },
    "risk_mlp": {"title": "Credit risk MLP", "metric": "auc", "published": None},
}
JOBS = [
    {"task": "mnist_cnn", "epochs": 0},
    {"task": "cifar_resnet", "epochs": 1, "max_steps": 15},
    {"task": "risk_mlp"},
]
LEVELS = (
    ("logits", 3e-15, 1e-10),
    ("loss", 1e-16, 1e-12),
    ("gradients", 8e-14, 1e-10),
    ("tensors", 6e-14, 1e-10),
)
LEVELS += (("eval", 5.1e-14, 1e-10), ("steps", 4e-16, 1e-12))


def cell(task: str, entry: str) -> Cell:
    """The cell of "torch eager" in a task of the example."""
    backend, mode = entry.split()
    return Cell(task, backend, mode, "cpu", "float32", DATA[task], BATCH[task])


def example_run(folder: Path, *, generations: int = 5, rounds: int = 5, seed: int = 7) -> Path:
    """A run directory with three tasks and three backends; a failed proof, a time-out, a skipped cell, a void block."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    records.write_manifest(folder, manifest(generations, rounds))
    for task, entries in STEP_S.items():
        for entry in entries:
            for proof in proofs(task, entry):
                records.append(folder / "proofs.jsonl", proof)
        for trial in [*timed(task, rng, generations, rounds), *once(task, rng, generations), *holes(task)]:
            records.append(folder / "trials.jsonl", trial)
    return folder


def manifest(generations: int, rounds: int) -> dict[str, object]:
    """A manifest as `concord run` writes it."""
    return {
        **{"created": AT, "finished": AT, "command": "concord run quick --out results/example", "seed": 1},
        "suite": {"name": "quick", "generations": generations, "rounds": rounds, "jobs": JOBS},
        "environment": {
            "machine": {"cpu": "Example CPU @ 2.0 GHz", "cores": 2, "os": "Linux 6.1", "governor": None},
            "workers": {
                "torch": {"python": "3.11.7", "torch": "2.13.0", "threads": 1, "affinity": [0]},
                "tensorflow": {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.14.0", "threads": 1},
                "jax": {"python": "3.11.7", "jax": "0.9.0", "flax": "0.12.1", "optax": "0.2.6"},
            },
        },
        "data": {
            n.split()[0]: {"label": n, "digest": "sha256:" + "ab12" * 16, "where": "shipped"} for n in DATA.values()
        },
        "weights": {task: "sha256:" + "cd34" * 16 for task in DATA},
        "tasks": GOALS,
    }


def proofs(task: str, entry: str) -> list[Proof]:
    """The proof of one entry: jax fails its gradients on the ResNet, stock modes are not proven."""
    backend, mode = entry.split()
    if mode == "stock":
        why = "the framework's own defaults are timed beside the spec, not proven: this is their drift from it"
        return [Proof(task, backend, mode, "float64", "drift", "numpy", 0.02, None, "loss at step 9", "skipped", why)]
    found = [Proof(task, backend, mode, p, "weights", "initial weights", 0.0, 0.0, "", "proven") for p in PRECISIONS]
    found += [Proof(task, backend, mode, "float64", n, "numpy", w, t, "dense1/kernel", "proven") for n, w, t in LEVELS]
    found.append(Proof(task, backend, mode, "float32", "loss", "numpy", 2.2e-7, 1e-6, "loss at step 0", "proven"))
    found.append(
        Proof(
            task,
            backend,
            mode,
            "float32",
            "rounding",
            "numpy float32",
            4e-7,
            4e-6,
            "loss at step 9",
            "proven",
        )
    )
    if backend == "torch":
        found.append(
            Proof(task, backend, mode, "float64", "gradients", "jax jit", 9e-14, 1e-10, "conv1/kernel", "proven")
        )
    if task != "cifar_resnet:depth=20":
        return found
    broken = {"worst": 3.1e-3, "where": "stage2/0/conv1/kernel at step 0", "verdict": "failed"}
    wrong = {"jax": "numpy", "torch": "jax jit"}.get(backend)
    return [replace(p, **broken) if (p.level, p.against) == ("gradients", wrong) else p for p in found]


def timed(task: str, rng: np.random.Generator, generations: int, rounds: int) -> list[Trial]:
    """Train, predict and latency trials with drift of the machine, offsets of processes and noise of rounds."""
    found = []
    for generation in range(generations):
        offset = {entry: rng.normal(0, 0.008) for entry in STEP_S[task]}
        for turn in range(rounds):
            drift = 0.1 * np.sin((generation * rounds + turn) / 4)
            for position, (entry, step_s) in enumerate(STEP_S[task].items()):
                time = step_s * np.exp(drift + offset[entry] + rng.normal(0, 0.02))
                place = {"generation": generation, "round": turn, "position": position, "at": AT}
                found += blocks(cell(task, entry), time, place, rng)
    return found


def blocks(where: Cell, step_s: float, place: dict[str, int], rng: np.random.Generator) -> list[Trial]:
    """One round of one cell: a block of training, a block of prediction, forty single calls."""
    steps = max(1, round(0.25 / step_s))
    calls = tuple(int(step_s * 2e8 * np.exp(x)) for x in rng.normal(0, 0.1, 40))
    return [
        Trial(where, "train", "ok", steps=steps, times_ns=(int(step_s * steps * 1e9),), cpu_ns=1, **place),
        Trial(
            where,
            "predict",
            "ok",
            steps=steps,
            times_ns=(int(step_s * steps * rng.normal(3e8, 6e6)),),
            **place,
        ),
        Trial(replace(where, batch=1), "latency", "ok", steps=1, times_ns=calls, **place),
    ]


def once(task: str, rng: np.random.Generator, generations: int) -> list[Trial]:
    """First calls and memory of each generation, and one training to the end."""
    found = []
    for entry, step_s in STEP_S[task].items():
        where = cell(task, entry)
        for generation in range(generations):
            first = {"import_s": rng.normal(2, 0.1), "build_s": 0.2, "train_first_call_s": 60 * step_s}
            found.append(Trial(where, "first_call", "ok", generation, values=first, compilations=1, at=AT))
        found.append(fit(where, np.random.default_rng(11), 1e-7 * np.abs(rng.normal(0, 1, 600))))
    return found


def fit(where: Cell, rng: np.random.Generator, wobble: np.ndarray) -> Trial:
    """A training whose curve all backends share up to a growing rounding error."""
    steps = np.arange(600)
    curve = 0.1 + 2.2 * np.exp(-steps / 90) + rng.normal(0, 0.04, 600) * np.exp(-steps / 300)
    losses = tuple(float(x) for x in curve + wobble * (1 + steps))
    metric = GOALS[where.task]["metric"]
    kind = "val_auc" if metric == "auc" else "test_accuracy"
    reached = [0.9, 0.955, 0.97, 0.976, 0.979] if metric == "accuracy" else [0.7, 0.75, 0.77, 0.78, 0.781]
    rows = tuple(
        {"epoch": e + 1, "train_loss": losses[120 * e + 119], kind: v, "seconds": 1.5} for e, v in enumerate(reached)
    )
    more = {"log_loss": 0.51, "brier": 0.17, "f1": 0.55} if metric == "auc" else {}
    values = {metric: reached[-1] + float(wobble[5]), **more, "peak_bytes": 2.5e8}
    return Trial(where, "fit", "ok", values=values, losses=losses, epochs=rows, at=AT)


def holes(task: str) -> list[Trial]:
    """What did not run in the example."""
    if task == "mnist_cnn":
        xla = replace(cell(task, "torch eager"), backend="tensorflow", mode="xla")
        return [Trial(xla, "train", "timeout", reason="no answer within 120 s: worker ended", log="...", at=AT)]
    if task == "risk_mlp":
        void = cell(task, "torch eager")
        compiled = Trial(void, "train", "ok", 0, 9, steps=9, times_ns=(9,), compilations=2, at=AT)
        gone = replace(void, backend="mxnet", mode="default")
        return [compiled, Trial(gone, "train", "skipped", reason="mxnet is not installed", at=AT)]
    return []


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example run with its report."""
    folder = example_run(tmp_path_factory.mktemp("runs") / "example")
    assert report.build(folder) == folder / "report.html"
    return folder
