"""The views of a run: rows, CSV files, plots, words, the page and the terminal, on a run that looks like a real one."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, replace
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from itertools import combinations, product
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from harness import catalog, compare, ledger, metrics, records, report, sides, stats
from harness.cli import viewing
from harness.records import Cell, Proof, Trial
from harness.report import answer, charts, comparison, drawing, markdown, outcomes, tables, terminal, warmups, words
from harness.report import html as page
from harness.report.findings import SHOWN, find

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
        "title": "CIFAR-10 ResNet-20",
        "metric": "accuracy",
        "target": 0.9075,
        "published": 0.9125,
        "published_source": "He et al. 2015, table 6",
        "epochs": 1,
        "max_steps": 15,
    },
    "risk_mlp": {"title": "Credit risk MLP", "metric": "auc", "published": None},
}
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


def example_run(folder: Path, *, generations: int = 5, rounds: int = 5, tasks: Iterable[str] = STEP_S) -> Path:
    """A run directory with three tasks and three backends; a failed proof, a time-out, a skipped cell, a void block."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    records.write_manifest(folder, manifest(generations, rounds))
    write(folder / "proofs.jsonl", [row for task in tasks for entry in STEP_S[task] for row in proofs(task, entry)])
    trials = []
    for task in tasks:
        trials += [*timed(task, rng, generations, rounds), *once(task, rng, generations), *holes(task)]
    write(folder / "trials.jsonl", trials)
    return folder


def write(path: Path, rows: list[Trial] | list[Proof]) -> None:
    """What `records.append` writes, without its wait for the disk after every line."""
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")


def manifest(generations: int, rounds: int) -> dict[str, object]:
    """A manifest as `concord run` writes it."""
    return {
        "created": AT,
        "finished": AT,
        "command": "concord run quick --out results/example",
        "seed": 1,
        "suite": {"name": "quick", "generations": generations, "rounds": rounds, "jobs": [{"task": "mnist_cnn"}]},
        "environment": {
            "machine": {"cpu": "Example CPU @ 2.0 GHz", "cores": 2, "os": "Linux 6.1", "governor": None},
            "workers": {
                "torch": {"python": "3.11.7", "torch": "2.13.0", "threads": 1, "affinity": [0]},
                "tensorflow": {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.14.0", "threads": 1},
                "jax": {"python": "3.11.7", "jax": "0.9.0", "flax": "0.12.1", "optax": "0.2.6"},
            },
        },
        "data": {n.split()[0]: {"label": n, "digest": "sha256:" + "ab12" * 16, "where": "shipped"} for n in DATA.values()},
        "weights": dict.fromkeys(DATA, "sha256:" + "cd34" * 16),
        "tasks": dict(GOALS),
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
        found.append(Proof(task, backend, mode, "float64", "gradients", "jax jit", 9e-14, 1e-10, "conv1/kernel", "proven"))
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
    rows = tuple({"epoch": e + 1, "train_loss": losses[120 * e + 119], kind: v, "seconds": 1.5} for e, v in enumerate(reached))
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
    assert report.write(find(records.read(folder))) == folder / "report.html"
    return folder


@pytest.fixture(scope="session")
def run(built):
    """The example run, read back."""
    return records.read(built)


@pytest.fixture(scope="session")
def findings(run):
    """What the views are made from."""
    return find(run)


@pytest.fixture(scope="session")
def summary(findings):
    """The rows of summary.csv."""
    return tables.summary(findings)


@pytest.fixture(scope="session")
def text(built):
    """The page."""
    return (built / "report.html").read_text(encoding="utf-8")


def rows(frame, **wanted):
    """The rows of a frame that have these values."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


class Page(HTMLParser):
    """Tags and attributes of a page; complains of what is not closed."""

    VOID = ("meta", "br", "path", "rect", "use", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Note a tag; what is not void must be closed."""
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Note a tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Hold tags to their order."""
        if tag not in self.VOID:
            assert self.open.pop() == tag, tag

    def every(self, tag):
        """The attributes of every such tag."""
        return [attrs for name, attrs in self.tags if name == tag]


def printed(found, capsys):
    """What the command line shows of a run."""
    terminal.print_run(find(found))
    return capsys.readouterr().out


# Tables


def test_summary_has_the_promised_columns(summary):
    """Exactly these, in this order."""
    assert ",".join(summary.columns) == (
        "task,backend,mode,device,data,phase,metric,unit,value,ci_low,ci_high,n,ratio_to_best,rank,proof,batch,threads,"
        "ratio_low,ratio_high,first_ratio,first_low,first_high,first_rank"
    )


def test_step_times_throughput_and_their_ratios(summary):
    """Throughput is the batch over the step time, its interval and ratio turned round."""
    found = rows(summary, task="mnist_cnn", backend="torch", mode="eager", phase="train")
    time, rate = (rows(found, metric=name).iloc[0] for name in ("step_time", "throughput"))
    assert time.value == pytest.approx(5.2e-3, rel=0.1)
    assert (time.unit, rate.unit, time.n) == ("s", "examples/s", 25)
    assert rate.value == pytest.approx(64 / time.value)
    assert (rate.ci_low, rate.ci_high) == (pytest.approx(64 / time.ci_high), pytest.approx(64 / time.ci_low))
    assert time.ratio_to_best * rate.ratio_to_best == pytest.approx(1)
    assert (time["rank"], time.proof) == ("3", "proven")


def test_the_best_has_ratio_one_and_the_failed_none(summary):
    """Nothing is set against a wrong answer, and a wrong answer against nothing."""
    found = rows(summary, task="cifar_resnet:depth=20", metric="step_time").set_index("backend")
    assert found.ratio_to_best["torch"] == 1
    assert found["rank"]["torch"] == "1"
    assert found.proof["jax"] == "failed"
    assert np.isnan(found.ratio_to_best["jax"])
    assert found["rank"]["jax"] == ""


def test_latency_of_single_calls_stands_with_its_training(findings):
    """Its batch is one, its line is the same; p99 needs 500 calls, and here are 1,000."""
    where = cell("risk_mlp", "jax jit")
    metrics = [row.metric for row in findings.rows[where] if row.phase == "latency"]
    assert metrics == ["latency_p50", "latency_p90", "latency_p99"]
    assert findings.pick(where, "latency").figure.n == 1000
    assert findings.pick(cell("risk_mlp", "torch eager"), "latency").ratio.value > 2


def test_single_calls_are_named_after_their_own_batch(run):
    """In a sweep too: a call is of one example, whatever the training it stands with."""
    where = replace(cell("risk_mlp", "jax jit"), threads=2)
    swept = [Trial(where, "train", "ok", steps=9, times_ns=(9,)), Trial(replace(where, batch=1), "latency", "ok", times_ns=(9,))]
    goals = run.manifest["tasks"] | {where.task: GOALS[where.task] | {"batch": where.batch}}
    found = find(replace(run, manifest={**run.manifest, "tasks": goals}, trials=(*run.trials, *swept)))
    named = {phase: words.labels(found, where.task, phase)[where] for phase in ("train", "latency")}
    assert named == {"train": f"jax jit, batch {where.batch}, 2 CPUs", "latency": "jax jit, batch 1, 2 CPUs"}


def test_what_is_not_ranked_has_no_verdict(run, findings):
    """Neither in pairs.csv nor beside a ratio, whatever the interval says: here all rounds were contended."""
    loud = find(replace(run, trials=tuple(replace(t, noise={"throttled_s": 1.0}) for t in run.trials)))
    assert "slower" in {*tables.pairs(findings).verdict}
    assert {*tables.pairs(loud).verdict} == {"not ranked"}
    assert tables.pairs(loud).generations_needed.isna().all()
    assert {row.verdict for rows in loud.rows.values() for row in rows} == {"", "not ranked"}


def test_first_calls_are_cold_or_warm(run):
    """Cold in the processes that began with an empty cache, a control's among them, which is told beside its twin's."""
    where = cell("mnist_cnn", "torch eager")
    later = replace(where, mode="compile")
    calls = [
        Trial(c, "first_call", "ok", g, of=of, values={"import_s": 1.0 + 9 * bool(of), "train_first_call_s": seconds}, at=AT)
        for c, g, of, seconds in (
            *((where, 0, "control", 21.0), (where, 0, "", 20.0), (where, 1, "", 2.0), (where, 2, "control", 2.4)),
            *((where, 2, "", 2.2), (later, 0, "", 7.0), (later, 1, "", 4.0)),
        )
    ]
    chosen = {"plan": {"chosen": {"torch": ["eager", "compile"]}}, "progress": {"starts": [0]}}
    found = find(replace(run, manifest={**run.manifest, **chosen}, trials=tuple(calls)))
    told = {(c.mode, row.metric): (row.figure.value, row.figure.n) for c, rows in found.rows.items() for row in rows}
    assert told == {
        ("eager", "import"): (1.0, 3),
        ("eager", "train_first_call_cold"): (20.5, 2),
        ("eager", "train_first_call_warm"): (2.2, 3),
        ("compile", "import"): (1.0, 2),
        ("compile", "train_first_call_cold"): (7.0, 1),
        ("compile", "train_first_call_warm"): (4.0, 1),
    }


def test_too_few_calls_have_no_p99(tmp_path):
    """One generation of two rounds: 80 calls."""
    found = tables.summary(find(records.read(example_run(tmp_path, generations=1, rounds=2, tasks=["risk_mlp"]))))
    assert set(found[found.phase == "latency"].metric) == {"latency_p50", "latency_p90"}


def test_figures_of_a_repeated_round_are_those_that_count(tmp_path, run):
    """CPU time, energy and shares too come from the second attempt where only the first was contended."""
    first = next(t for t in run.trials if t.phase == "train" and t.cell.task == "mnist_cnn")
    lost = replace(first, cpu_ns=2 * first.cpu_ns, noise={"throttled_s": 1.0})
    again = replace(first, attempt=1, cpu_ns=5 * first.cpu_ns)
    found = find(replace(run, trials=(lost, again)))
    count = first.steps * len(first.times_ns)
    assert found.value(first.cell, "train", "cpu_time") == pytest.approx(5 * first.cpu_ns / count / 1e9)


def test_energy_is_of_all_samples_of_a_process(run):
    """A GPU's meter moves on in few of them: what most met is 0, and what some met is of the others, too."""
    own = [t for t in run.trials if t.phase == "train" and t.cell == cell("mnist_cnn", "torch eager")]
    counts = [sum(t.steps * len(t.times_ns) for t in own if t.generation == g) for g in range(5)]

    def joules(*told):
        met = [replace(t, noise={"energy_j": told[t.round]}) for t in own]
        return find(replace(run, trials=tuple(met))).pick(own[0].cell, "train", "energy")

    assert joules(0.0, 0.0, 10.0, 0.0, 0.0).figure.value == pytest.approx(10 / np.median(counts))
    assert joules(1.0, 2.0, 3.0, 4.0, 5.0).figure.value == pytest.approx(15 / np.median(counts))
    assert joules(0.0, 0.0, 0.0, 0.0, 0.0) is None


def test_what_has_no_ratio_stands_behind_what_has_one(run):
    """Seconds are no ratio: what has no round in common with the best would stand above it."""
    train = [t for t in run.trials if (t.phase, t.cell.task) in {("train", "mnist_cnn"), ("first_call", "mnist_cnn")}]
    alone = [replace(t, round=t.round + 9) if t.cell.backend == "jax" else t for t in train]
    found = find(replace(run, trials=tuple(alone)))
    states = [(found.proofs[cell].state, cell.backend) for cell in found.cells_of("mnist_cnn")]
    proven = [backend for state, backend in states if state == "proven"]
    assert proven[-1] == "jax"


def test_single_figures_carry_their_unit(summary):
    """First calls in seconds, memory in bytes, quality as it is; target and published are not measured."""
    found = rows(summary, task="risk_mlp", backend="torch").set_index("metric")
    assert found.unit["train_first_call_cold"] == "s"
    assert (found.unit["peak"], found.phase["peak"]) == ("bytes", "memory")
    assert (found.unit["auc"], found.phase["auc"]) == ("1", "fit")
    assert not {"target", "published"} & set(found.index)


def test_pairs_are_told_once_and_from_the_slower_one(findings):
    """Each pair of the proven, ratio at least 1."""
    found = rows(tables.pairs(findings), task="risk_mlp", phase="train")
    assert len(found) == 3
    assert (found.ratio >= 1).all()
    assert set(found.verdict) == {"slower"}
    assert set(rows(tables.pairs(findings), task="mnist_cnn", phase="train")["mode"]) == {"eager", "jit"}


def test_holes_say_why(findings):
    """Status and reason of what is missing."""
    last = findings.cells_of("mnist_cnn")[-1]
    assert last.mode == "xla"
    assert words.hole(findings, last) == "train timeout: no answer within 120 s: worker ended"
    assert words.hole(findings, cell("mnist_cnn", "jax jit")) == ""


def test_a_task_that_has_only_proofs_is_told(tmp_path):
    """A run that broke off after the proof still has a report."""
    records.write_manifest(tmp_path, {})
    records.append(tmp_path / "proofs.jsonl", proofs("mnist_cnn", "jax jit")[0])
    found = find(records.read(tmp_path))
    assert found.tasks == ["mnist_cnn"]
    assert words.sentence(found, "mnist_cnn") == "No training step was timed; nothing proven."
    assert "initial weights" in page.render(found, report.frames(found))


def test_a_suite_that_times_nothing_tells_proof_and_quality(tmp_path, run, capsys):
    """The accuracy suite has no generations: no times, no ranks, but what was reached."""
    records.write_manifest(tmp_path, {**run.manifest, "tasks": {"risk_mlp": GOALS["risk_mlp"]}})
    write(tmp_path / "proofs.jsonl", [proof for proof in run.proofs if proof.task == "risk_mlp"])
    write(tmp_path / "trials.jsonl", [t for t in run.trials if (t.phase, t.cell.task) == ("fit", "risk_mlp")])
    text = report.write(find(records.read(tmp_path))).read_text(encoding="utf-8")
    found = find(records.read(tmp_path))
    told = words.sentence(found, "risk_mlp")
    assert told.startswith("No training step was timed; auc after training: JAX jit 0.78")
    assert told.endswith("; all three proven equal to 9e-14.")
    assert re.search(r'class="hole">not timed</td>\s*<td class="num" data-label="auc">0\.78\d\d</td>', text)
    assert "Nothing was timed." in text
    assert "Quality over epochs" in text
    assert "every sample" not in text
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    report.write(find(records.read(tmp_path)))
    assert len(files) == 18
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files  # same records, same bytes
    assert re.search(
        r"torch eager +\| ok proven +\| +\| +not timed \| +\| +not timed \| +\| +auc 0\.78", printed(found.run, capsys)
    )


def test_an_empty_run_has_a_page_and_headed_files(tmp_path):
    """A manifest without anything else."""
    records.write_manifest(tmp_path, {"finished": None})
    assert "did not finish" in report.write(find(records.read(tmp_path))).read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "losses.csv").columns.tolist() == tables.COLUMNS["losses"]
    assert len(pd.read_csv(tmp_path / "summary.csv")) == 0


# CSV


def test_csv_files_read_back_to_the_last_bit(built, run, summary):
    """UTF-8, one header row, floats in full."""
    found, made = pd.read_csv(built / "summary.csv"), summary
    assert found.value.tolist() == made.value.tolist()
    assert found.ci_high.isna().tolist() == made.ci_high.isna().tolist()
    with (built / "losses.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert float(first["loss"]) in run.trials[-1].losses + tuple(t.losses[0] for t in run.trials if t.losses)


def test_every_block_and_figure_is_a_row_of_trials_csv(built, run):
    """Nothing is left out, and calls alone are summed up; a failure is a row too."""
    found = pd.read_csv(built / "trials.csv")
    times = [trial.times_ns for trial in run.trials if len(trial.times_ns) <= tables.BLOCKS]
    assert (found.metric == "block_time").sum() == sum(map(len, times))
    assert found[found.metric == "block_time"].value.sum() == pytest.approx(sum(map(sum, times)) / 1e9)
    calls = [np.array(trial.times_ns) for trial in run.trials if len(trial.times_ns) > tables.BLOCKS]
    assert found[found.metric == "calls"].value.tolist() == list(map(len, calls))
    assert found[found.metric == "call_time_p90"].value.tolist() == pytest.approx(
        [np.quantile(each, 0.9) / 1e9 for each in calls]
    )
    assert calls
    assert found[found.status == "timeout"].reason.tolist() == ["no answer within 120 s: worker ended"]
    assert (found.metric == "epoch_val_auc").sum() == 15


def test_every_column_of_every_file_is_explained(built, findings, text):
    """On the page, by its file; and nothing is explained that no file has."""
    held = {path.stem: path.read_text("utf-8").split("\n", 1)[0].split(",") for path in built.glob("*.csv")}
    assert held.keys() == {*report.frames(findings), "trials"}
    _, columns = page.dictionary(held)
    assert [*zip(columns["file"], columns["column"], strict=True)] == [(f"{f}.csv", c) for f in held for c in held[f]]
    assert all(f">{told}</td>" in unescape(text) for told in columns.iloc[:, 2])
    told = tomllib.loads(Path(page.__file__).with_name("dictionary.toml").read_text("utf-8"))
    own = {(file, column) for file in told.keys() - {"terms", "levels", "every", "metrics"} for column in told[file]}
    assert own <= {(file, column) for file in held for column in held[file]}
    assert set(told["every"]) <= {c for file in held for c in held[file] if (file, c) not in own}
    with pytest.raises(KeyError, match="mood"):
        page.dictionary({"losses": ["task", "mood"]})


def test_every_metric_is_explained(built, text):
    """On the page: of this run, and of the one that is kept, which has what `quick` measures."""
    told = tomllib.loads(Path(page.__file__).with_name("dictionary.toml").read_text("utf-8"))["metrics"]
    for folder in (built, catalog.ROOT / "results" / "example"):
        assert set(pd.read_csv(folder / "summary.csv").metric) <= told.keys()
    assert all(f"<dt>{metric}</dt><dd>{meaning}" in unescape(text) for metric, meaning in told.items())


def test_the_example_has_the_columns_of_today():
    """The run that the README shows is built again when one comes or goes: `concord report results/example`."""
    for name, columns in {**tables.COLUMNS, "trials": tables.TRIALS}.items():
        file = catalog.ROOT / "results" / "example" / f"{name}.csv"
        assert file.read_text(encoding="utf-8").partition("\n")[0] == ",".join(columns), name


def test_no_draft_is_left(built):
    """Files appear whole."""
    assert not list(built.glob("*.part"))


# Words


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0041234, "0.00412"), (1234.5, "1,234"), (1.0, "1.00"), (3e-14, "3.00e-14"), (0, "0"), (None, "-")],
)
def test_digits(value, told):
    """Three that count."""
    assert words.digits(value) == told


def test_digits_of_what_is_not_a_number():
    """Said as it is."""
    assert words.digits(float("nan")) == "nan"
    assert words.digits(float("inf")) == "inf"


def test_units_follow_the_shortest_time():
    """One unit a column."""
    assert words.time_unit([2.0, 1.0]) == (1.0, "s")
    assert words.time_unit([2.0, 0.004]) == (1e3, "ms")
    assert words.time_unit([4e-5, 1.0]) == (1e6, "µs")


def test_the_answer_is_one_sentence_a_task(findings):
    """Speed with intervals first, then who is proven, never a rank for what failed."""
    told = {task: words.sentence(findings, task) for task in findings.tasks}
    assert list(told) == list(STEP_S)
    assert "JAX jit FAILED its proof (gradients against numpy" in told["cifar_resnet:depth=20"]
    assert re.match(r"On this machine PyTorch eager trains cifar_resnet 1\.\d\dx \(1", told["cifar_resnet:depth=20"])
    first = r"On this machine JAX jit trains risk_mlp 2\.\d\dx \(2\.\d\d to 2\.\d\d\) faster than PyTorch eager; "
    assert re.match(first + r"TensorFlow graph is 3\.\d\dx \(3\.\d\d to 3\.\d\d\) slower; JAX jit,", told["risk_mlp"])
    assert "TensorFlow graph leads in training mnist_cnn, though not alone: JAX jit ties with it within 5%" in told["mnist_cnn"]
    assert "stock" not in told["mnist_cnn"]


def test_one_generation_is_indicative_only(tmp_path):
    """No verdict, no rank, and the sentence says so."""
    found = find(records.read(example_run(tmp_path, generations=1, tasks=["risk_mlp"])))
    assert "No ranking (1 of the 5 generations a verdict needs: indicative)" in words.sentence(found, "risk_mlp")
    assert {row.rank for rows_ in found.rows.values() for row in rows_} == {""}
    assert set(tables.pairs(found).verdict) == {"indicative"}
    assert tables.pairs(found).ci_low.isna().all()


def test_published_figures_are_claimed_for_whole_data_and_training_only(findings):
    """A sample says so; so does a training that the suite cut short, which the manifest tells of each task."""
    goal = {
        "metric": "accuracy",
        "target": 0.98,
        "published": 0.99,
        "published_source": "X",
        "epochs": 0,
        "max_steps": 0,
    }
    measured = {"torch eager": 0.985, "jax jit": 0.97}
    note = words.quality_note(goal, measured, data="mnist (sample 10 of 60)")
    assert "neither the target nor the published figure applies" in note
    assert "missed" not in note
    note = words.quality_note({**findings.goal("cifar_resnet:depth=20"), "published": None}, measured, data="cifar10")
    assert note == "Trained for 1 epoch or 15 steps at most: the target does not apply."
    note = words.quality_note(goal, measured, data="mnist")
    assert note == "Published accuracy: 0.99 (X). Target 0.98: missed by jax jit, on mnist."
    note = words.quality_note({**goal, "baseline": {"accuracy": 0.9}}, {"jax jit": 0.99}, data="mnist")
    assert "Logistic regression on the same split: accuracy 0.9000. Target 0.98: met by it" in note
    assert words.quality_note(goal, {}, data="mnist") == "Published accuracy: 0.99 (X). Target 0.98: no training ended."


def test_single_figures_in_words(findings):
    """Bytes as MiB, short times in their unit, counts whole."""
    row = findings.pick(cell("risk_mlp", "jax jit"), "memory", "peak")
    assert words.amount(row) == "238 MiB"
    for unit, value, told in (("s", 3.2e-5, "32.0 µs"), ("1", 3660.0, "3,660"), ("1", 0.9, "0.9000")):
        assert words.amount(row._replace(unit=unit, figure=replace(row.figure, value=value))) == told


def test_what_is_not_fair_or_too_noisy_is_told_first(tmp_path, run):
    """Unfair terms stand above the answer on the page; with --strict they are exit code 1, and mere noise is 4."""
    sound = [t for t in run.trials if t.cell.task == "mnist_cnn" and t.status == "ok"]
    biased = [replace(t, facts={"python": t.cell.backend}) for t in sound]
    more = {"steps": 200, "times_ns": tuple(range(10**6, 10**6 - 200, -1)), "facts": {"kind": "no steady state", "start": 200}}
    unsteady = [Trial(cell("mnist_cnn", "jax jit"), "warmup", "ok", g, of="train", **more) for g in range(2)]
    cases = {"fair": (sound, 0), "unfair": (biased, 1), "noisy": ([*sound, *unsteady], 4), "both": ([*biased, *unsteady], 1)}
    pages = {}
    for name, (trials, code) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        records.write_manifest(folder, {**run.manifest, "tasks": {"mnist_cnn": GOALS["mnist_cnn"]}})
        write(folder / "trials.jsonl", trials)
        write(folder / "proofs.jsonl", [p for p in run.proofs if p.task == "mnist_cnn"])
        assert (viewing.exit_code(folder), viewing.exit_code(folder, strict=True)) == (0, code), name
        found = find(records.read(folder))
        pages[name] = page.render(found, report.frames(found))
    alert, told, answer_ = "This comparison is not fair.", "Python differs: torch eager torch, ", '<section id="answer"'
    assert pages["unfair"].index(alert) < pages["unfair"].index(told) < pages["unfair"].index(answer_)
    assert not [name for name in ("fair", "noisy") if alert in pages[name]]
    assert "No ranking (jax jit reached no steady state in 2 generations)" in pages["noisy"]


# Charts


def test_plots_are_svg_with_title_description_and_text(text):
    """They parse, tell what they show, keep words as words, and carry no colour of their own for ink."""
    plots = re.findall(r"(<svg.*?</svg>)</div>\s*<p class=\"says\">(.*?)</p>", text, re.DOTALL)
    assert len(plots) == 27
    for svg, says in plots:
        root = ET.fromstring(svg)  # noqa: S314 - our own
        assert root.get("role") == "img"
        assert root[0].tag == "title"
        assert root[1].text == unescape(says)
        assert f"{root[0].get('id')} {root[1].get('id')}" == root.get("aria-labelledby")
        assert list(root.iter("text"))
        assert "currentColor" in svg
        assert drawing.INK not in svg


def test_a_sweep_is_told_beside_the_main_terms(tmp_path, run):
    """Other batches and CPUs have their table and their curves; the answer and single calls stay with the task's own terms."""
    trials = [t for t in run.trials if t.cell.task == "mnist_cnn" and t.status == "ok" and not t.compilations]
    terms = ({"batch": 1}, {"batch": 8}, {"batch": 512}, {"threads": 2})
    steps = [t for t in trials if t.phase != "fit"]
    swept = [replace(t, cell=replace(t.cell, **m)) for m in terms for t in steps if "threads" in m or t.phase != "latency"]
    goals = {"mnist_cnn": GOALS["mnist_cnn"] | {"batch": 64}}
    records.write_manifest(tmp_path, manifest(5, 5) | {"tasks": goals})
    write(tmp_path / "trials.jsonl", [*trials, *swept])
    write(tmp_path / "proofs.jsonl", [p for p in run.proofs if p.task == "mnist_cnn"])
    found = find(records.read(tmp_path))
    assert {(c.batch, c.threads) for c in found.cells_of("mnist_cnn")} == {(64, 1)}
    assert {(c.batch, c.threads) for c in found.sweep_of("mnist_cnn")} == {(1, 1), (8, 1), (512, 1), (64, 2)}
    assert {(c.batch, c.threads) for c in found.rows if found.pick(c, "latency")} == {(64, 1), (64, 2)}
    summary = tables.summary(found)
    shown = summary[summary.metric.isin(SHOWN.values())]
    keys = ["task", "backend", "mode", "device", "data", "phase", "batch", "threads"]
    assert len(tables.spread(found).merge(shown, on=[*keys, "unit"], validate="1:1")) == len(shown) == len(tables.spread(found))
    assert len(found.contests_of("mnist_cnn", "train")) == 1
    plots = charts.plots(found, "mnist_cnn", "x")
    over = [caption for caption in plots if caption.startswith("Time and throughput over")]
    assert len(over) == 4
    assert "from 1 to 512 batch size: " in plots["Time and throughput over batch size: training step"][1]
    assert "- Other batches and numbers of CPUs stand in report.html." in markdown.render(found)
    text = page.render(found, report.frames(found))
    assert "torch eager, batch 512, 1 CPU" in text
    assert "torch eager, batch 64, 2 CPUs" in text
    (verdicts,) = [lines for caption, lines in Tables(text).found.items() if caption.startswith("MNIST CNN: times with")]
    assert all(re.match(r"[\d.]+\n", line["Latency\nms"]) for line in verdicts)


def measured(run, kind="warm-up"):
    """The run's MNIST CNN with warm-ups of 3,000 steps, every second kept, canaries, and the work of a step."""
    goal = GOALS["mnist_cnn"] | {"forward_flops": 1e6, "training_flops": 3e6, "step_bytes": 1e7, "example_bytes": 3e3}
    trials = [t for t in run.trials if t.cell.task == "mnist_cnn" and t.status == "ok"]
    where = cell("mnist_cnn", "torch eager")
    facts = {"kind": kind, "start": 1100, "stride": 2}
    warmups = [Trial(where, "warmup", "ok", g, of="train", steps=3000, times_ns=(10**6,) * 1500, facts=facts) for g in range(5)]
    songs = [Trial(where, "canary", "ok", values={"product_s": 5.66231e-3, "copy_s": 6.7108864e-3}, of="train")]
    manifest_ = {**run.manifest, "tasks": {"mnist_cnn": goal}, "progress": {"starts": [0]}}
    cold = [
        replace(t, values=t.values | {"train_first_call_s": 9.0}) if t.phase == "first_call" and not t.generation else t
        for t in trials
    ]
    return find(replace(run, manifest=manifest_, trials=(*cold, *warmups, *songs)))


def test_the_time_until_steady_training_is_told_in_steps_too(run):
    """Stages as summary.csv has them, the warm-up up to its first steady step, and a cold cache apart."""
    found = measured(run)
    caption = "Time until steady training, and of 1,000 steps"
    svg, says = charts.plots(found, "mnist_cnn", "x")[caption]
    entry = cell("mnist_cnn", "torch eager")
    parts = [found.pick(entry, "first_call", name).figure.value for name in ("import", "build", "train_first_call_warm")]
    total = sum(parts) + 1.1
    steps = f"{total / found.pick(entry, 'train').figure.value:,.0f} steps"
    assert f"torch eager {words.digits(total, 2)} s = {steps} of training (import {words.digits(parts[0], 2)}" in says
    assert "first call 0.31, warm-up 1.1; first call with a cold cache 9.0)" in says
    assert f"= {steps} ({words.digits(total + 9 - parts[2], 2)} s cold)" in svg
    assert found.pick(entry, "train", "warm_up").figure.value == pytest.approx(1.1)
    assert "warm-up 0;" in charts.plots(measured(run, "flat"), "mnist_cnn", "x")[caption][1]
    assert "jax" not in says  # it has no warm-up on record
    assert caption not in charts.plots(replace(found, tasks=["risk_mlp", "mnist_cnn"]), "mnist_cnn", "x")  # opened second


@pytest.mark.parametrize(
    ("stride", "slow", "fast", "waited_s"), [(2, 500, 1000, 2.1), (None, 0, 2000, 1.1), (7, 500, 1500, 1.45)]
)
def test_the_wait_until_calls_are_steady_is_of_all_of_them(stride, slow, fast, waited_s):
    """Of 3,000 calls 1,100 are waited for: every second is kept, or the last ones are, as where a record makes no sense."""
    times, facts = (2 * 10**6,) * slow + (10**6,) * fast, {"kind": "warm-up", "start": 1100, "stride": stride}
    trial = Trial(cell("mnist_cnn", "jax jit"), "warmup", "ok", of="train", steps=3000, times_ns=times, facts=facts)
    assert warmups.waited(trial) == pytest.approx(waited_s)
    assert len(warmups.kept(trial)) == len(times)


def test_the_roofline_is_what_summary_csv_says_of_it(run):
    """Each entry's point over operations a byte; its share of the ceiling is its share of the canary's product."""
    found = measured(run)
    svg, says = charts.plots(found, "mnist_cnn", "x")["Roofline of the training step"]
    assert says.startswith("At 18.8 FLOP a byte, where the ceiling is the product: ")
    assert "one CPU: 80.0 GFLOP/s, 10.0 GB/s" in svg
    entry = cell("mnist_cnn", "torch eager")
    rate = 3e6 * 64 / found.pick(entry, "train").figure.value
    assert f"torch eager {words.digits(rate / 1e9)} GFLOP/s, {rate / 80e9:.0%} of the ceiling" in says
    assert rate / 80e9 == pytest.approx(found.pick(entry, "train", "share_of_peak").figure.value, rel=1e-3)
    mute = replace(found.run, trials=tuple(t for t in found.run.trials if t.phase != "canary"))
    assert "ceiling" not in charts.plots(find(mute), "mnist_cnn", "x")["Roofline of the training step"][1]


@pytest.mark.parametrize(
    ("terms", "told"),
    [({}, True), *(({key: other}, False) for key, other in (("precision", "bfloat16"), ("device", "gpu"), ("threads", 2)))],
)
def test_shares_are_of_what_the_canary_sings(run, terms, told):
    """Which is float32 on one CPU: a GPU, bfloat16, or two CPUs have another ceiling that nobody has measured."""
    found = measured(run)
    moved = [
        replace(t, cell=replace(t.cell, **terms)) if t.cell.backend == "torch" and t.phase != "canary" else t
        for t in found.run.trials
    ]
    where = replace(cell("mnist_cnn", "torch eager"), **terms)
    found = find(replace(found.run, trials=tuple(moved)))
    metrics = {row.metric for row in found.rows[where] if row.phase == "train"}
    assert {"share_of_peak", "share_of_bandwidth"} <= metrics if told else not {"share_of_peak", "share_of_bandwidth"} & metrics
    assert "cpu_time" in metrics
    ((_, _, says),) = charts._roofline(found, "mnist_cnn", drawing.looks(found.proofs))
    assert ("jax jit" in says, "torch" in says) == (True, told)


def test_trust_tells_of_one_precision_at_a_time(run):
    """Warm-ups of modes in bfloat16 that never were steady are no fault of float32."""
    where = replace(cell("mnist_cnn", "torch eager"), mode="bf16", precision="bfloat16")
    never = [Trial(where, "warmup", "ok", g, of="train", facts={"kind": "no steady state"}) for g in range(3)]
    found = tables.trust(find(replace(run, trials=(*run.trials, *never))))
    assert rows(found, task="mnist_cnn", phase="train").unsteady_warmups.tolist() == [0]
    mine = [replace(t, cell=replace(where, mode="eager", precision="float32")) for t in never]
    found = tables.trust(find(replace(run, trials=(*run.trials, *mine))))
    assert rows(found, task="mnist_cnn", phase="train").unsteady_warmups.tolist() == [3]


def scored(run, **facts):
    """The run's credit MLP with these facts in every training: by default 40 examples, the probabilities a little apart."""
    where = ["torch eager", "tensorflow graph", "jax jit"]
    labels = [0, 0, 1, 0, 1, 1, 0, 1] * 5
    scores = {entry: [round(0.1 + 0.5 * y + 0.02 * n % 0.3, 6) for n, y in enumerate(labels, k)] for k, entry in enumerate(where)}
    fits = [
        replace(t, facts={"scores": scores[f"{t.cell.backend} {t.cell.mode}"], "labels": labels} | facts)
        for t in run.trials
        if t.phase == "fit" and t.cell.task == "risk_mlp"
    ]
    return find(replace(run, trials=tuple(fits)))


def test_a_binary_outcome_has_its_curves_and_every_score_in_a_file(run):
    """What the plots say follows from scores.csv alone."""
    found = scored(run)
    file, drawn = tables.scores(found.run), charts.plots(found, "risk_mlp", "x")
    assert len(file) == 120
    assert file.columns.tolist() == tables.COLUMNS["scores"]
    for entry in ("torch eager", "jax jit"):
        own = rows(file, backend=entry.split()[0])
        area = metrics.auc(own.score.to_numpy(), own.label.to_numpy())
        assert f"{entry} {words.digits(area, 4)}" in drawn["ROC curve"][1]
        assert f"{entry} {words.digits(((own.score - own.label) ** 2).mean(), 4)}" in drawn["Calibration"][1]
        said = own.score > 0.5
        true, false = (said & (own.label == 1)).sum(), (said & (own.label == 0)).sum()
        missed, right = (~said & (own.label == 1)).sum(), (~said & (own.label == 0)).sum()
        told = f"{entry} {true} true and {false} false positives, {missed} false and {right} true negatives"
        assert told in drawn["Confusion at probability 0.5"][1]
    assert drawn["Precision and recall"][1].startswith("Average precision: jax jit ")
    assert drawing.LOOKS["jax"][0] in drawn["ROC curve"][0]
    assert not {"ROC curve", "Calibration"} & charts.plots(found, "mnist_cnn", "x").keys()


def test_plots_say_what_they_are_of(run):
    """The phase on the axis, and that of several seeds one is drawn: the lowest, whichever ended first."""
    drawn = charts.plots(measured(run), "mnist_cnn", "x")
    for what in ("training step", "prediction"):
        caption = f"Time of a {what}: ratios"
        texts = re.findall(r"<text[^>]*>([^<]+)</text>", drawn[caption][0])
        assert {f"{caption}, mnist_cnn", "relative to tensorflow graph"} <= set(texts)
    assert "call of the training step, the very first left out" in drawn["Warm-up of the training step"][0]
    found = scored(run)
    later = [replace(t, seed=1, facts=t.facts | {"scores": t.facts["scores"][::-1]}) for t in found.run.trials]
    both = find(replace(found.run, trials=(*later, *found.run.trials)))
    one, both = (charts.plots(each, "risk_mlp", "x") for each in (found, both))
    for caption in ("ROC curve", "Precision and recall", "Calibration", "Confusion at probability 0.5"):
        assert both[f"{caption}, first seed"][1] == one[caption][1]


@pytest.mark.parametrize(
    "facts",
    [
        {"scores": "0.5" * 40},
        {"scores": [0.5] * 39},
        {"scores": ["0.5"] * 40},
        {"scores": [float("nan")] * 40},
        {"scores": [10**400] * 40},
        {"scores": [[0.5]] * 40},
        {"scores": [None] * 40, "labels": None},
        {"labels": [0.5] * 40},
        {"labels": [{}] * 40},
        {"labels": [], "scores": []},
    ],
    ids=lambda facts: ascii(facts)[:40],
)
def test_scores_that_make_no_sense_are_left_out(run, facts):
    """Whatever a record holds: no plot, no line of the file."""
    found = scored(run, **facts)
    assert tables.scores(found.run).empty
    assert "ROC curve" not in charts.plots(found, "risk_mlp", "x")


def test_labels_of_one_kind_have_no_curves(run):
    """There is no rate of what does not occur; the scores are kept."""
    found = scored(run, labels=[1] * 40)
    assert len(tables.scores(found.run)) == 120
    assert "ROC curve" not in charts.plots(found, "risk_mlp", "x")


def test_the_code_stands_side_by_side(run):
    """Each backend's own lines, numbered and escaped, as the manifest kept them."""
    code = {"torch": "class Model:\n    x = '<b>'\n", "jax": "def model():\n    return 1\n"}
    told = manifest(5, 5) | {"tasks": {"mnist_cnn": GOALS["mnist_cnn"] | {"code": code}}}
    found = find(replace(run, manifest=told))
    text = page.render(found, report.frames(found))
    assert "<li>    x = &#39;&lt;b&gt;&#39;</li>" in text
    assert text.count('<pre tabindex="0"><ol>') == 2
    assert "this model in 2 idioms" in text


def test_a_backend_has_one_colour_everywhere_and_modes_differ_by_filling(findings):
    """Also one nobody has thought of yet."""
    looks = drawing.looks(findings.proofs)
    assert {look["color"] for where, look in looks.items() if where.backend == "torch"} == {drawing.LOOKS["torch"][0]}
    fills = {where.mode: look["fillstyle"] for where, look in looks.items() if where.backend == "torch"}
    assert len(set(fills.values())) == 2
    assert {look["color"] for where, look in looks.items() if where.backend == "mxnet"} == {drawing.SPARE[0][0]}
    failed = [look["label"] for where, look in looks.items() if "cifar" in where.task and where.backend == "jax"]
    assert set(failed) == {"jax jit (proof failed)"}


def test_versions_side_by_side_have_their_framework_s_colour(findings):
    """Each its own marker, by name, whatever the order; what nobody has thought of has versions, too."""
    (where, *_), (proof, *_) = findings.proofs, findings.proofs.values()
    named = {name: replace(where, backend=name) for name in ("torch@2.9", "mxnet@2", "torch@2.13", "jax", "mxnet@1")}
    looks = drawing.looks(dict.fromkeys(named.values(), proof))
    assert looks == drawing.looks(dict.fromkeys(reversed(named.values()), proof))
    told = {name: (looks[where]["color"], looks[where]["marker"]) for name, where in named.items()}
    torch, spare = drawing.LOOKS["torch"], drawing.SPARE[0]
    assert (told["jax"], told["torch@2.13"], told["mxnet@1"]) == (drawing.LOOKS["jax"], torch, spare)
    assert (told["torch@2.9"], told["mxnet@2"]) == ((torch[0], drawing.VERSIONS[0]), (spare[0], drawing.VERSIONS[0]))


def loss_curves(folder, curves):
    """The plot of the losses of these cells, from records."""
    records.write_manifest(folder, {})
    write(folder / "trials.jsonl", [Trial(where, "fit", "ok", losses=tuple(values)) for where, values in curves.items()])
    found = find(records.read(folder))
    return charts.plots(found, found.tasks[0], "x")["Loss curves"]


def test_names_in_plots_are_text_not_markup(tmp_path):
    """Neither XML nor formulas."""
    where = replace(cell("mnist_cnn", "torch eager"), task="</title><script>", backend="<script>$x^", mode="$&")
    svg, _ = loss_curves(tmp_path, {where: [3.0, 2.0, 1.0]})
    assert "<script" not in svg
    assert "&lt;script&gt;$x^ $&amp;" in svg


def test_long_curves_are_thinned_and_say_so(tmp_path):
    """16,000 steps must not weigh megabytes; the largest difference is not smoothed away."""
    curve = np.linspace(2, 0.1, 16_000)
    bumped = curve.copy()
    bumped[10_000] += 0.5
    curves = {cell("mnist_cnn", "torch eager"): bumped.tolist(), cell("mnist_cnn", "jax jit"): curve.tolist()}
    svg, says = loss_curves(tmp_path, curves)
    assert len(svg) < 60_000
    assert "From jax jit differ: torch eager by up to 0.50 (step 10000)" in says
    assert "means of 54 steps" in says


def test_curves_may_end_early_or_break(tmp_path):
    """Early stopping, and a loss that is not a number."""
    entries = {"jax jit": [1.0, 0.5, 0.3], "tensorflow graph": [1.0, 0.75], "torch eager": [float("nan")] * 3}
    svg, says = loss_curves(tmp_path, {cell("risk_mlp", entry): losses for entry, losses in entries.items()})
    assert "torch eager" in svg
    assert "From jax jit differ: tensorflow graph by up to 0.25 (step 1); no line where they do not. Of what is proven in" in says


def test_an_epoch_without_its_number_stands_in_its_place():
    """The records of others need not count them."""
    trial = Trial(cell("mnist_cnn", "jax jit"), "fit", "ok", epochs=({"test_accuracy": 0.5}, {}, {"test_accuracy": 0.75}))
    figure = outcomes._monitored({trial.cell: [trial]}, "accuracy")
    assert (figure, outcomes._epochs(trial, figure)) == ("test_accuracy", [(1, 0.5), (3, 0.75)])


# Modes


@pytest.fixture(scope="module")
def in_modes(tmp_path_factory):
    """The MNIST CNN with a second mode of PyTorch, half as long a step, and one of bfloat16."""
    folder = example_run(tmp_path_factory.mktemp("modes") / "run", tasks=["mnist_cnn"])
    run = records.read(folder)
    chosen = {"torch": ["eager", "compile", "bf16"], "tensorflow": ["graph"], "jax": ["jit"]}
    records.write_manifest(folder, {**run.manifest, "plan": {"chosen": chosen}})
    trials = list(run.trials)
    for mode, precision in (("compile", "float32"), ("bf16", "bfloat16")):
        for t in [t for t in run.trials if t.cell.backend == "torch"]:
            times = tuple(ns // 2 for ns in t.times_ns)
            trials.append(replace(t, cell=replace(t.cell, mode=mode, precision=precision), times_ns=times))
    write(folder / "trials.jsonl", trials)
    entries = ("torch compile", "torch bf16", *STEP_S["mnist_cnn"])
    write(folder / "proofs.jsonl", [row for entry in entries for row in proofs("mnist_cnn", entry)])
    report.write(find(records.read(folder)))
    return folder


def test_first_modes_are_ranked_among_themselves(in_modes):
    """The answer and its table know no second mode; all modes of a precision follow, each in a table of its own."""
    found = find(records.read(in_modes))
    groups = answer.groups(found)
    assert [group.title for group in groups] == [
        "each backend in its first mode",
        "all modes in float32",
        "all modes in bfloat16",
    ]
    first, every, low = ({words.name(c): row for c, row in answer.table(group, "mnist_cnn").items()} for group in groups)
    assert {*first} == {"torch eager", "tensorflow graph", "jax jit"}
    assert {"torch compile", *first} < {*every}
    assert [*low] == ["torch bf16"]
    assert (every["torch compile"][2], first["torch eager"][2]) == ("1", "3")  # the fastest of all, and the slowest of the first
    assert "compile" not in words.sentence(groups[0].findings, "mnist_cnn")
    assert "PyTorch compile" in words.sentence(found, "mnist_cnn")


def test_all_tasks_together_are_told_of_first_modes(run, capsys):
    """In every view, as the answer to each task is; overall.csv has all modes."""
    eager = [t for t in run.trials if (t.cell.backend, t.cell.mode) == ("torch", "eager")]
    half = [replace(t, cell=replace(t.cell, mode="compile"), times_ns=tuple(ns // 2 for ns in t.times_ns)) for t in eager]
    same = [replace(p, mode="compile") for p in run.proofs if (p.backend, p.mode) == ("torch", "eager")]
    chosen = {"torch": ["eager", "compile"], "tensorflow": ["graph"], "jax": ["jit"]}
    told = run.manifest | {"plan": {"chosen": chosen}}
    found = find(replace(run, manifest=told, trials=(*run.trials, *half), proofs=(*run.proofs, *same)))
    (every,), (first,) = words.together(found), words.together(answer.groups(found)[0].findings)
    assert "PyTorch compile" in every
    assert "PyTorch eager" in first
    assert "compile" not in first
    terminal.print_run(found)
    assert first in " ".join(capsys.readouterr().out.split())
    assert markdown.plain(first) in markdown.render(found)
    text = page.render(found, report.frames(found))
    assert f'<p class="lead">{first}</p>' in text
    assert "of other tasks another. The table ranks all modes." in text


def test_a_first_mode_that_is_not_proven_ranks_nobody_alone(in_modes, tmp_path, capsys):
    """Where one of the first modes alone is proven nobody is its rival; all modes are ranked, and every view can be made."""
    run = records.read(in_modes)
    records.write_manifest(tmp_path, run.manifest)
    wrong = {"tensorflow graph", "jax jit"}
    write(
        tmp_path / "proofs.jsonl", [replace(p, verdict="failed") if f"{p.backend} {p.mode}" in wrong else p for p in run.proofs]
    )
    write(tmp_path / "trials.jsonl", list(run.trials))
    found = find(records.read(tmp_path))
    report.write(found)
    terminal.print_run(found)
    assert "No ranking (only one is proven)" in capsys.readouterr().out
    first, every, _low = (answer.table(group, "mnist_cnn") for group in answer.groups(found))
    assert {row[2] for row in first.values()} == {""}
    assert {row[2] for row in every.values()} == {"", "1", "2"}


def test_a_verdict_is_of_what_is_ranked(in_modes):
    """What is not proven has a ratio, and no word beside it."""
    every = {words.name(c): row for c, row in answer.table(answer.groups(find(records.read(in_modes)))[1], "mnist_cnn").items()}
    assert every["torch stock"][4].endswith(")")
    assert every["torch eager"][4].endswith(") slower")


def test_what_lies_far_off_is_ringed(run):
    """A ring around the sample, whatever the mode's sign; the text counts it."""
    trials = list(run.trials)
    at = next(i for i, t in enumerate(trials) if (t.phase, t.cell.task, t.generation, t.round) == ("train", "mnist_cnn", 2, 2))
    trials[at] = replace(trials[at], times_ns=tuple(5 * ns for ns in trials[at].times_ns))
    found = find(replace(run, trials=tuple(trials)))
    _svg, says = charts.plots(found, "mnist_cnn", "t1")["Time of a training step: every sample"]
    assert ", 1 far from their median: " in says
    assert tables.summary(found).metric.eq("calls_to_steady_state").sum() == 0  # nobody warmed up here
    assert tables.trust(found).severe_outliers.max() == 1


def test_every_table_of_modes_says_what_it_ranks(in_modes):
    """On the page and in Markdown; the terminal leaves out a table without rows."""
    page_, text = ((in_modes / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    for title in ("each backend in its first mode", "all modes in float32", "all modes in bfloat16"):
        assert f"This table ranks {title}." in page_
        assert f"This table ranks {title}." in text


# The page


def test_the_page_needs_nothing_from_elsewhere(text):
    """No network, one script, our own, links only to files beside it."""
    found = Page(text)
    assert found.open == []
    assert "http" not in text
    assert found.every("script") == [{}]
    assert re.findall("<script>\n(.*?)</script>", text, re.DOTALL) == [SCRIPT]
    assert not found.every("link")
    hrefs = {attrs["href"] for attrs in found.every("a")}
    assert {href for href in hrefs if not href.startswith("#")} == {
        *(
            "summary.csv",
            "pairs.csv",
            "spread.csv",
            "overall.csv",
            "trials.csv",
            "losses.csv",
            "trust.csv",
            "rounds.csv",
            "proofs.csv",
            "fairness.csv",
            "quality.csv",
            "scores.csv",
        ),
        *("equality.csv", "report.md", "run.json", "trials.jsonl", "proofs.jsonl"),
    }
    assert len(text) < 1_500_000


def test_ids_are_unique_and_anchors_lead_somewhere(text):
    """Twelve plots in one page must not share a clip path."""
    found = Page(text)
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"][1:] for tag in ("a", "use") for attrs in found.every(tag) if attrs["href"][0] == "#"}
    targets |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert targets <= set(ids)


def test_the_page_is_accessible_by_its_bones(text):
    """Language, landmarks, one h1, scoped headers, named regions."""
    found = Page(text)
    assert found.every("html")[0]["lang"] == "en"
    assert len(found.every("h1")) == len(found.every("main")) == len(found.every("nav")) == 1
    assert all("scope" in attrs for attrs in found.every("th"))
    assert all("aria-label" in attrs for _, attrs in found.tags if attrs.get("role") == "group")
    assert "color-scheme: light dark" in text


def luminance(colour):
    """The relative luminance of #rrggbb, as WCAG 2.2 defines it."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.dot([0.2126, 0.7152, 0.0722], [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares])


def test_colours_stand_out_on_light_and_on_dark(text):
    """WCAG 2.2: words 4.5 to 1 on page and card, what plots draw 3 to 1."""
    pairs = dict(re.findall(r"--(\w+): (light-dark\([^)]*\))", text))
    paired = {name: re.findall("#\\w{6}", pair) for name, pair in pairs.items()}

    def contrast(colour, paper):
        low, high = sorted((luminance(colour), luminance(paper)))
        return (high + 0.05) / (low + 0.05)

    for scheme in (0, 1):
        inks = [paired[name][scheme] for name in ("ink", "soft", "good", "bad", "warn", "link")]
        assert min(contrast(ink, paired[paper][scheme]) for ink in inks for paper in ("page", "card")) >= 4.5
        drawn = [colour for colour, _ in (*drawing.LOOKS.values(), *drawing.SPARE) if colour != drawing.INK]
        assert min(contrast(colour, paired["page"][scheme]) for colour in drawn) >= 3
    assert len({*drawn}) == len(drawn)


def test_what_failed_is_struck_through_and_named(text):
    """Never a bare number, and it is said without colour too."""
    struck = re.findall(r"<s>([^<]+)</s><span class=\"unseen\"> \(void: the proof failed\)", text)
    assert len(struck) == 3
    assert len(re.findall("A proof failed.", text)) == 1
    assert "jax jit, gradients against numpy: stage2/0/conv1/kernel at step 0, 0.0031 &gt; 1e-10" in text
    assert "tensorflow xla: train timeout: no answer within 120 s: worker ended" in text
    assert "1 timed trial: compiled inside a block" in text


def test_numbers_of_the_verdict_table_are_in_summary_csv(built, findings, text):
    """Each shown time is a rounded value of the file."""
    found = pd.read_csv(built / "summary.csv")
    label = re.findall(r'data-label="Train step\n(\S+)">(?:<s>)?([\d.,]+)<', text)
    shown = {(unit, value) for unit, value in label}
    wanted = set()
    for task in findings.tasks:
        factor, unit = words.units(findings, task)["train"]
        wanted |= {(unit, words.digits(v * factor)) for v in rows(found, task=task, metric="step_time").value}
    assert shown == wanted


class Tables(HTMLParser):
    """Every table of a page by its caption: heads, rows of texts; and what stands before it of all its rows."""

    def __init__(self, text):
        super().__init__()
        self.found, self.said, self.cell, self.paragraph = {}, {}, None, ""
        self.feed(text)

    def handle_starttag(self, tag, _attrs):
        """Begin a table, a row or a cell."""
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td", "caption", "p"):
            self.cell = ""
        elif tag == "small":
            self.cell += "\n"

    def handle_data(self, data):
        """Words of a cell."""
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        """Keep a cell, a caption or a whole table."""
        if tag in ("th", "td"):
            self.rows[-1].append(self.cell.strip())
        elif tag == "caption":
            self.caption = self.cell
        elif tag == "p":
            self.paragraph = self.cell
        elif tag == "table":
            heads, *rows_ = self.rows
            self.found[self.caption] = [dict(zip(heads, row, strict=False)) for row in rows_]
            self.said[self.caption], self.paragraph = self.paragraph, ""
        if tag in ("th", "td", "caption", "p"):
            self.cell = None


def same(value, text):
    """Whether a value of a CSV file is what a table shows of it, to the digits that are shown."""
    if pd.isna(value):
        return text == "-"
    if isinstance(value, str):
        return value == text.lstrip("✓✗○ ")
    return float(text.replace(",", "")) == pytest.approx(value, rel=6e-4)


def numbers(text):
    """The numbers of a cell."""
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*\.?\d*(?:e[-+]\d+)?", text)]


def near(*values):
    """Those of these numbers that are known, to three digits."""
    return pytest.approx([value for value in values if pd.notna(value)], rel=6e-3)


def columns_of(row):
    """The columns of a row of a CSV file as a table names them."""
    found = row._asdict()
    for what, backend, mode in (("backend", "backend", "mode"), ("than", "than_backend", "than_mode")):
        if mode in found:
            found[what] = f"{found.pop(backend)} {found.pop(mode)}"
    return {head.replace("_", " "): value for head, value in found.items()}


@pytest.mark.parametrize("file", ["pairs", "spread", "overall", "proofs", "quality", "equality", "trust"])
def test_every_row_of_these_files_is_a_row_of_a_table_and_the_other_way_round(built, findings, text, file):
    """Cell by cell, also what is said once for all rows; a column that is not shown holds nothing."""
    page_, frame = Tables(text), pd.read_csv(built / f"{file}.csv")
    for task in findings.tasks if file not in {"trust", "overall"} else [None]:
        own = frame if task is None else rows(frame, task=task).drop(columns="task")
        title = "" if task is None else f", {findings.goal(task)['title']}"
        captions = [caption for caption in page_.found if f"{file}.csv" in caption and caption.endswith(title)]
        assert len(captions) == (len(own) > 0)
        for caption in captions:
            lines, said = page_.found[caption], page_.said[caption]
            assert len(lines) == len(own)
            for line, row in zip(lines, own.itertuples(index=False), strict=True):
                for head, value in columns_of(row).items():
                    hidden = pd.isna(value) or f"{head} {value}" in said
                    assert same(value, line.pop(head)) if head in line else hidden, (caption, head, value)
                assert not line  # nothing is shown that the file does not have


def test_every_figure_of_summary_csv_is_in_a_table_and_the_other_way_round(built, findings, text):
    """Value, both ends of its interval, ratio with both of its own, and rank: in the unit that is shown."""
    page_, frame = Tables(text), pd.read_csv(built / "summary.csv", keep_default_na=False, na_values=[""])
    shown = {}
    for phase, head in page.FIGURES.items():
        for task in findings.tasks:
            for line in page_.found.get(f"{head}, {findings.goal(task)['title']}", ()):
                shown[task, line.pop("backend"), phase] = line
    for row in frame.itertuples(index=False):
        line, metric = shown[row.task, f"{row.backend} {row.mode}", row.phase], row.metric.replace("_", " ")
        value, few, n = line.pop(metric).partition("n=")
        assert n.replace(",", "") == (f"{row.n}" if few else "")
        assert few or f"{row.n:,}" == line["n"]
        factors = {"µs": 1e6, "ms": 1e3, "MiB": 2**-20, "GFLOP/s": 1e-9}
        factor = factors.get((re.findall("|".join(factors), value) or [""])[0], 1)
        assert numbers(value) == near(row.value * factor, row.ci_low * factor, row.ci_high * factor)
        if pd.notna(row.ratio_to_best):
            assert numbers(line.pop(f"{metric} to best")) == near(row.ratio_to_best, row.ratio_low, row.ratio_high)
        assert pd.isna(row.rank) or line["rank"].replace("-", " to ") == row.rank
    left = {value for line in shown.values() for head, value in line.items() if head not in ("rank", "n")}
    assert {value.replace("\n", " ") for value in left} <= {"-", "n too small fewer than 500 calls"}


def test_every_number_of_the_first_tables_is_in_summary_csv(built, findings, text):
    """Of the verdicts and of the proofs by level: each cell, with its task and entry."""
    page_, frame = Tables(text), pd.read_csv(built / "summary.csv")
    levels = pd.read_csv(built / "proofs.csv")
    for task in findings.tasks:
        title, own = findings.goal(task)["title"], rows(frame, task=task)
        verdicts = page_.found[f"{title}: times with 95 % intervals, ratios to the best, ranks, proof"]
        grid = page_.found[f"Worst difference from numpy by level, {title}"]
        for line in (*verdicts, *grid):
            backend, mode = (line.get("Backend") or line["difference from numpy"]).split()
            known = rows(own, backend=backend, mode=mode)[
                ["value", "ci_low", "ci_high", "ratio_to_best", "ratio_low", "ratio_high"]
            ]
            proof = rows(rows(levels, task=task), backend=backend, mode=mode)[["worst", "tolerance"]]
            allowed = np.concatenate([*((known.to_numpy() * f).ravel() for f in (1, 1e3, 1e6)), proof.to_numpy().ravel()])
            for head, cell_ in line.items():
                if head not in ("Backend", "Proof", "Rank", "difference from numpy"):
                    for number in numbers(cell_.replace("void: the proof failed", "")):
                        assert np.isclose(number, allowed, rtol=6e-2 if line in grid else 6e-3, atol=0).any(), (
                            title,
                            head,
                            cell_,
                        )


def test_every_number_of_the_table_of_first_modes_is_in_summary_csv(in_modes, summary):
    """Ratios and ranks among themselves stand in columns of their own, which are empty where there are no other modes."""
    page_ = Tables((in_modes / "report.html").read_text(encoding="utf-8"))
    (lines,) = [found for caption, found in page_.found.items() if "each backend in its first mode: times" in caption]
    frame = pd.read_csv(in_modes / "summary.csv", dtype={"first_rank": str})
    held = frame[frame.first_ratio.notna()]
    shown = {line["Backend"] for line in lines}
    assert shown == {*held.backend + " " + held["mode"]} == {"torch eager", "tensorflow graph", "jax jit"}
    assert (held.first_ratio != held.ratio_to_best).any()
    for line in lines:
        backend, mode = line["Backend"].split()
        for phase in ("train", "predict", "latency"):
            (row,) = rows(held, backend=backend, mode=mode, metric=SHOWN[phase]).itertuples()
            assert numbers(line[f"{phase} to best"]) == near(row.first_ratio, row.first_low, row.first_high)
            assert phase != "train" or line["Rank"].replace("-", " to ") == row.first_rank
    assert summary[["first_ratio", "first_low", "first_high"]].isna().all(axis=None)
    assert set(summary.first_rank) == {""}


def test_every_value_of_fairness_csv_is_in_its_table(built, in_modes):
    """The table has a column an entry, and a row a rule and precision."""
    for folder in (built, in_modes):
        page_ = Tables((folder / "report.html").read_text(encoding="utf-8"))
        (table,) = [found for caption, found in page_.found.items() if "fairness.csv" in caption]
        lines = {(line["rule"], line["precision"]): line for line in table}
        assert len(lines) == len(table)
        for row in pd.read_csv(folder / "fairness.csv", dtype=str).itertuples(index=False):
            line = lines[row.rule, row.precision]
            assert (line["verdict"], line["why"]) == (row.verdict, row.why)
            assert line[row.entry] == ("-" if pd.isna(row.value) else row.value)


def seen(text, folder, does, width=1280):
    """What a browser's page says after these statements of script, which write into ``told``; skips without Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed, which runs the page's script")
    ends = f"<pre id=told></pre><script>const told = []; {does}; document.getElementById('told').append(JSON.stringify(told))"
    (folder / "scripted.html").write_text(text.replace("</body>", f"{ends}</script></body>"), encoding="utf-8")
    head = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={width},900",
        f"--user-data-dir={folder / 'browser'}",
        "--dump-dom",
    ]
    page_ = (folder / "scripted.html").as_uri()
    out = subprocess.run([*head, page_], capture_output=True, text=True, check=True, timeout=120).stdout
    return json.loads(unescape(re.findall('<pre id="told">(.*?)</pre>', out, re.DOTALL)[0]))


FIGURES = """
const table = [...document.querySelectorAll("summary")].find((s) => s.textContent.includes("levels of the proof")).parentNode;
const heads = [...table.querySelectorAll("thead button")], column = (name) => heads.findIndex((h) => h.textContent === name);
const read = (name) => [...table.querySelectorAll("tbody tr:not([hidden])")].map((r) => r.cells[column(name)].textContent);
"""


@pytest.mark.processes
def test_a_head_sorts_its_table_and_a_field_filters_it(text, run, tmp_path):
    """Numbers by their size, words as words, both ways round, what is missing last; aria-sort and the count say so."""
    does = f"""{FIGURES} for (const name of ["worst", "worst", "level", "reason"]) {{
      heads[column(name)].click();
      told.push([table.querySelectorAll("[aria-sort]").length, heads[column(name)].parentNode.ariaSort, read(name)]);
    }}
    const field = table.querySelector("input"); field.value = "TORCH eager"; field.dispatchEvent(new Event("input"));
    told.push([table.querySelector("output").textContent, read("backend")])"""
    up, down, words_, reasons, (count, kept) = seen(text, tmp_path, does)
    assert [(sorted_, way) for sorted_, way, _ in (up, down, words_)] == [(1, "ascending"), (1, "descending"), (1, "ascending")]
    shown = rows(tables.proofs(run), task="mnist_cnn")
    assert up[2] == [words.digits(value, 4) for value in sorted(shown.worst)]
    assert down[2] == up[2][::-1]
    assert words_[2] == sorted(shown.level)
    said = [*filter(None, shown.reason)]
    assert reasons[2] == [*said, *["-"] * (len(shown) - len(said))]
    assert set(kept) == {"torch eager"}
    assert count == f"{len(rows(shown, backend='torch', mode='eager'))} of {len(shown)}"


@pytest.mark.processes
def test_a_table_is_saved_as_it_is_shown(text, tmp_path):
    """The rows that the filter leaves, and no formula; a number below zero is none."""
    does = f"""{FIGURES} window.Blob = class {{ constructor(parts) {{ told.push(...parts); }} }}; URL.createObjectURL = () => "#";
    HTMLAnchorElement.prototype.click = function () {{ told.push(this.download); }};
    const field = table.querySelector("input"); field.value = "TORCH eager"; field.dispatchEvent(new Event("input"));
    const cells = table.querySelector("tbody tr:not([hidden])").cells;
    cells[1].textContent = '=1+"1"'; cells[2].textContent = "-0.5"; cells[3].textContent = "-"; cells[4].textContent = "-1+cmd";
    cells[5].textContent = "2-3";
    [...table.querySelectorAll("button")].find((b) => b.textContent === "Save as CSV").click();
    told.push(read("backend").length)"""
    saved, file, shown = seen(text, tmp_path, does)
    assert saved[0] == "\ufeff"
    head, first, *rest = csv.reader(saved[1:].splitlines())
    assert head[:2] == ["backend", "precision"]
    assert first[:6] == ["torch eager", '\'=1+"1"', "-0.5", "-", "'-1+cmd", "2 to 3"]
    assert {line[0] for line in rest} <= {"torch eager"}
    assert len(rest) + 1 == shown
    assert file.startswith("All-levels-of-the-proof")
    assert file.endswith(".csv")


VERDICTS = """
window.Blob = class { constructor(parts) { told.push(...parts); } }; URL.createObjectURL = () => "#";
HTMLAnchorElement.prototype.click = () => {};
const table = document.querySelector("table.verdict"), heads = [...table.querySelectorAll("thead button")];
const sorted = (name) => {
  heads.find((head) => head.textContent.startsWith(name)).click();
  return [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
};
told.push(sorted("Train step"), sorted("accuracy"), sorted("Predict batch"));
table.parentNode.previousElementSibling.click();
"""


@pytest.mark.processes
def test_a_head_sorts_the_verdicts_and_a_long_table_is_saved(run, tmp_path):
    """By times alone, whether an interval stands below or not; what has no times comes last, and has its quality all the same."""
    task = "cifar_resnet:depth=20"
    graph = cell(task, "tensorflow graph")
    kept = [t for t in run.trials if (t.cell, t.phase) != (graph, "train") or t.generation + t.round == 0]
    lost = [Trial(replace(graph, mode=mode), "train", "timeout", at=AT) for mode in ("a", "b", "c", "d", "e", "xla")]
    learned = Trial(lost[-1].cell, "fit", "ok", values={"accuracy": 0.5}, at=AT)
    own = [t for t in (*kept, *lost, learned) if t.cell.task == task]
    goals = run.manifest | {"tasks": {task: GOALS[task]}}
    found = find(replace(run, manifest=goals, trials=tuple(own), proofs=tuple(p for p in run.proofs if p.task == task)))
    times, quality, again, saved = seen(page.render(found, report.frames(found)), tmp_path, VERDICTS)
    assert times[:3] == again[:3] == ["jax jit", "torch eager", "tensorflow graph"]
    assert quality[:4] == ["tensorflow xla", *times[:3]]
    head, *lines = csv.reader(saved.removeprefix("\ufeff").splitlines())
    assert saved[0] == "\ufeff"
    assert len(lines) == len(times) == 9
    assert {len(line) for line in lines} == {len(head)}
    assert re.fullmatch(r"[\d.]+x [\d.]+ to [\d.]+|[\d.]+x", lines[1][4]), lines[1]


@pytest.mark.processes
def test_a_long_table_in_the_open_has_a_field_too(text, tmp_path):
    """Just ahead of it, and what it says of how many rows are left."""
    does = """const table = [...document.querySelectorAll("table")].find((t) => t.caption.textContent.includes("fairness.csv"));
    const save = table.parentNode.previousElementSibling, count = save.previousElementSibling;
    const field = count.previousElementSibling;
    field.value = "tf32"; field.dispatchEvent(new Event("input")); told.push(save.textContent, count.textContent)"""
    assert seen(text, tmp_path, does) == ["Save as CSV", f"1 of {len(ledger.RULES)}"]


@pytest.mark.processes
def test_the_page_of_a_comparison_sorts_too(run, tmp_path):
    """By the same script, though this page has no sections to lead to."""
    does = 'const head = document.querySelector("thead button"); head.click(); told.push(head.parentNode.ariaSort)'
    assert seen(comparison.page(compare.compare(sides.whole(run), sides.whole(run))), tmp_path, does) == ["ascending"]


@pytest.mark.processes
def test_a_button_switches_between_light_and_dark(text, tmp_path):
    """There and back, whatever the reader's setting is; plots and tables take the page's ink."""
    does = """const button = document.querySelector("nav button"), paper = () => getComputedStyle(document.body).backgroundColor;
    for (const _ of [1, 2, 3]) { told.push(paper()); button.click(); }"""
    first, second, third = seen(text, tmp_path, does)
    assert first == third
    assert {first, second} == {"rgb(255, 255, 255)", "rgb(20, 23, 28)"}


@pytest.mark.processes
def test_a_narrow_page_scrolls_only_its_tables(run, tmp_path):
    """Nothing sticks out to the right, not even a digest, with everything unfolded."""
    found = find(replace(run, manifest={**run.manifest, "code": "d9146a3d" * 8}))
    does = """document.querySelectorAll("details").forEach((d) => { d.open = true; });
    told.push(document.documentElement.scrollWidth <= innerWidth, innerWidth)"""
    assert seen(page.render(found, report.frames(found)), tmp_path, does, width=500) == [True, 500]


@pytest.mark.processes
def test_what_is_sorted_stays_text(tmp_path):
    """The script makes no markup of what records hold."""
    text = report.write(find(records.read(evil_run(tmp_path / "run")))).read_text(encoding="utf-8")
    does = """for (const head of document.querySelectorAll("thead button")) { head.click(); head.click(); }
    told.push(document.querySelectorAll("script").length, document.body.textContent.includes("{{ 7*7 }}"))"""
    assert seen(text, tmp_path, does) == [2, True]


VERSIONS = {"jax": {"versions": {"jax": "0.10.2", "flax": "0.12.8"}}, "torch": {"versions": {"torch": "2.13.0+cpu"}}}
AGAIN = {
    "seed": 3,
    "suite": {"name": "full", "modes": "all"},
    "plan": {"chosen": {"jax": ["jit"], "torch": ["eager", "compile"]}},
    "environment": {"workers": VERSIONS},
}
INSTALLED = ["pip install jax==0.10.2 flax==0.12.8", "pip install torch==2.13.0"]


@pytest.mark.parametrize(
    ("chosen", "suite", "told"),
    [
        (AGAIN["plan"]["chosen"], "full", "concord run full --seed 3 --backends jax,torch --modes jit,eager,compile"),
        ({"jax": ["jit"], "torch": ["eager"]}, "quick", "concord run quick --seed 3 --backends jax,torch"),
        ({"torch": ["compile"]}, "quick", "concord run quick --seed 3 --backends torch --modes compile"),
        (
            {"torch@2.9": ["eager"], "torch@2.13": ["eager"]},
            "quick",
            "concord run quick --seed 3 --backends torch@2.9,torch@2.13 --python torch@2.9=PATH --python torch@2.13=PATH",
        ),
    ],
)
def test_the_page_says_what_makes_such_a_run_again(chosen, suite, told):
    """The packages of each worker, then the same entrants of the same suite."""
    more = {"suite": {"name": suite, "modes": "all" if suite == "full" else "default"}, "plan": {"chosen": chosen}}
    found = find(records.Run(Path("run"), AGAIN | more, (), ()))
    assert "<pre>{}</pre>".format("\n".join([*INSTALLED, told])) in page.render(found, report.frames(found))


@pytest.mark.parametrize(
    "more",
    [
        *({"seed": None}, {"seed": "3"}, {"suite": None}, {"suite": {"name": "selfcheck"}}, {"suite": {"name": "full; x"}}),
        *({"plan": {}}, {"plan": {"chosen": {"torch": 5}}}, {"plan": {"chosen": {"torch": []}}}),
        {"plan": {"chosen": {"torch": ["eager; x"]}}},
        *({"plan": {"chosen": {"torch@$(x)": ["eager"]}}}, {"plan": {"chosen": {"mxnet": ["default"]}}}),
        {"environment": {"workers": VERSIONS | {"a": {"versions": {"--index-url": "x"}}, "b": {"versions": {"torch": "2 & x"}}}}},
        {"environment": {"workers": VERSIONS | {"a": {"versions": ["torch"]}, "b": "torch", "c": {"versions": {"torch": {}}}}}},
    ],
    ids=ascii,
)
def test_a_command_that_a_record_does_not_tell_or_bends_is_left_out(more):
    """Whoever copies it runs it: no option, no second command, nothing that Concord does not have."""
    found = page.commands(records.Run(Path("run"), AGAIN | more, (), ()))
    assert [line for line in found if line.startswith("pip ")] == INSTALLED
    assert len(found) == len(INSTALLED) + ("environment" in more)


SCRIPT = Path(page.__file__).with_name("tables.js").read_text("utf-8").rstrip()
EVIL = "<script>alert('x')</script>\"&{{ 7*7 }}[b]"


def evil_run(folder):
    """Every text of a run is an attack."""
    folder.mkdir()
    evil = Cell(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, 1)
    losses = {"losses": (1.0, 0.5), "values": {EVIL: 1.0, "accuracy": 0.5}, "epochs": ({"epoch": 1, "accuracy": 0.5},)}
    for found in (
        Trial(evil, "train", "ok", steps=1, times_ns=(10,), reason=EVIL),
        Trial(evil, "predict", "failed", reason=EVIL, log=EVIL),
        Trial(evil, "fit", "ok", **losses),
    ):
        records.append(folder / "trials.jsonl", found)
    records.append(folder / "proofs.jsonl", Proof(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, 1.0, 0.1, EVIL, "failed", EVIL))
    goal = {"title": EVIL, "metric": "accuracy", "published": 0.9, "published_source": EVIL, "target": 0.9}
    part = {EVIL: {EVIL: [EVIL, {EVIL: EVIL}]}}
    records.write_manifest(
        folder,
        {
            **dict.fromkeys(("environment", "data", "weights", "suite"), part),
            "tasks": {EVIL: goal},
            "command": EVIL,
            "created": EVIL,
            "seed": EVIL,
        },
    )
    return folder


def test_hostile_records_stay_text(tmp_path, capsys):
    """Names, paths, reasons, versions: nothing of them becomes markup, nothing is evaluated."""
    text = report.write(find(records.read(evil_run(tmp_path / "run")))).read_text(encoding="utf-8")
    found = Page(text)
    assert found.open == []
    assert text.count("<script") == 1
    assert f"<script>\n{SCRIPT}</script>\n</body>" in text
    assert "&lt;script&gt;" in text
    assert "{{ 7*7 }}" in text
    assert "[b]" in printed(records.read(tmp_path / "run"), capsys)
    assert not [attrs for _, attrs in found.tags if any(name.startswith("on") for name in attrs)]


@pytest.mark.parametrize("begin", tables.FORMULAS)
def test_no_text_is_a_formula_of_a_spreadsheet(tmp_path, monkeypatch, begin):
    """Whatever a record holds; and all of it is still to be read."""
    evil = f'{begin}HYPERLINK("http://x.example")'
    monkeypatch.setitem(globals(), "EVIL", evil)
    report.write(find(records.read(evil_run(tmp_path / "run"))))
    files = {file.name: list(csv.reader(StringIO(file.read_bytes().decode()))) for file in (tmp_path / "run").glob("*.csv")}
    for name, lines in files.items():
        texts = [text for line in lines for text in line]
        assert not [text for text in texts if text.startswith(tables.FORMULAS) and not re.fullmatch(r"-[\d.e+-]+", text)], name
    assert any(f"'{evil}" in line for line in files["trials.csv"])


def test_a_manifest_may_lack_everything(tmp_path):
    """Hand-made runs have names instead of titles, and no goals."""
    example_run(tmp_path, generations=2, rounds=2, tasks=["risk_mlp"])
    records.write_manifest(tmp_path, {})
    found = find(records.read(tmp_path))
    assert found.goal("risk_mlp") == {"title": "risk_mlp", "metric": ""}
    assert words.sentence(found, "risk_mlp").startswith("No ranking (2 of the 5 ")


def test_importing_the_report_is_cheap():
    """`concord --help` must not load pandas or matplotlib."""
    code = "import sys, json, harness.report; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"pandas", "matplotlib", "scipy", "numpy", "jinja2"} & set(json.loads(out))


NOISE = {"external_cpus": 0.03125, "steal": 0.0, "pressure": 0.0123, "switches": 3, "page_faults": 12, "throttled_s": 0.0}


# In a process between, since the kernel counts the memory of the process that starts another as the other's too.
USED = """
import json, resource, subprocess, sys
subprocess.run([sys.executable, "-m", "harness", "report", sys.argv[1]], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)]))
"""


@pytest.mark.skipif(os.name == "nt", reason="asks the system what a process took")
@pytest.mark.processes
@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.thorough)])
def test_a_run_of_many_trials(tmp_path, count):
    """`concord report` takes less than 60 s of CPU time and 1 GB for 100,000, however busy the machine is."""
    folder = example_run(tmp_path / "run", generations=20, rounds=count // 600 + 1)
    trials = folder / "trials.jsonl"
    text = trials.read_text("utf-8").replace('"noise": {}', f'"noise": {json.dumps(NOISE)}')
    trials.write_text(text, encoding="utf-8")
    assert count < text.count("\n") < 1.1 * count
    command = [sys.executable, "-c", USED, str(folder)]
    seconds, peak = json.loads(subprocess.run(command, cwd=catalog.ROOT, text=True, capture_output=True, check=True).stdout)
    assert seconds < 10 + 50 * count / 100_000
    assert peak < 10**9


def full_proofs(task, entries):
    """As many as of a sound run: 18 an entry, six a pair; bfloat16 has no pairs, and stock modes drift."""
    exact = [level for level, *_ in LEVELS]
    low = ("logits", "loss", "gradients", "tensors", "open", "offset", "statistics", "update", "length", "rounding")
    kinds = [(precision, "weights", "initial weights") for precision in PRECISIONS]
    kinds += [("float64", level, "numpy") for level in exact] + [("float32", level, "numpy") for level in low]
    told = [(entry, *kind) for entry in entries if "stock" not in entry for kind in kinds]
    whole = [entry for entry in entries if not entry.endswith(("stock", "bf16"))]
    told += [(entry, "float64", level, against) for entry, against in combinations(whole, 2) for level in exact]
    where = "stage2/0/conv1/kernel after step 9"
    found = [Proof(task, *entry.split(), *kind, 8.25e-14, 1e-10, where, "proven") for entry, *kind in told]
    return found + [row for entry in entries if "stock" in entry for row in proofs(task, entry)]


def full_times(where, phases, step_s, rng):
    """First calls, warm-ups, and a block a round of each phase; the canaries of whoever is first."""
    values = {"import_s": 2.0, "build_s": 0.2, **{f"{phase}_first_call_s": 0.5 for phase in phases}}
    facts = {"dtype": "float32", "device": "cpu", "threads": 1, "python": "3.11.7", "numpy": "2.4.6", "cpus": [0], "gpus": []}
    for generation in range(5):
        yield Trial(where, "first_call", "ok", generation, values=values, facts=facts, at=AT)
        for phase in phases:
            own = replace(where, batch=1) if phase == "latency" else where
            more = {"steps": 200, "times_ns": tuple(range(10**6, 10**6 - 200, -1)), "facts": {"kind": "warm-up", "start": 20}}
            yield Trial(own, "warmup", "ok", generation, of=phase, **more, at=AT)
            for turn in range(5):
                times = (int(step_s * 1e9 * np.exp(rng.normal(0, 0.02))),) * (20 if phase == "latency" else 1)
                place = {"generation": generation, "round": turn, "noise": NOISE, "at": AT}
                yield Trial(own, phase, "ok", steps=1, times_ns=times, cpu_ns=sum(times), **place)
                if where.mode == "jit":
                    song = {"product_s": rng.normal(2e-3, 2e-5), "copy_s": rng.normal(1e-3, 1e-5)}
                    yield Trial(replace(own, backend="numpy", mode="canary"), "canary", "ok", of=phase, values=song, **place)


def full_fit(where, metric, seed, rng):
    """A training of three hundred steps and five epochs, of a binary task with the scores of two hundred examples."""
    losses = 0.1 + 2.2 * np.exp(-np.arange(300) / 90) + rng.normal(0, 1e-3, 300)
    epochs = tuple({"epoch": n, "train_s": 1.5, f"test_{metric}": 0.9 + n / 100} for n in range(1, 6))
    facts = {"labels": [0, 1] * 100, "scores": [round(x, 6) for x in rng.uniform(0, 1, 200)]} if metric == "auc" else {}
    values = {metric: rng.normal(0.95, 1e-3), "log_loss": 0.3, "peak_bytes": 2e8, "predict_peak_bytes": 1e8}
    return Trial(where, "fit", "ok", seed=seed, values=values, losses=tuple(losses.tolist()), epochs=epochs, facts=facts, at=AT)


def full_run():
    """A run shaped like `concord run full` on two CPUs: its jobs in every mode, five generations of five rounds, five seeds."""
    rng, names = np.random.default_rng(3), catalog.frameworks()
    chosen = {name: [*catalog.backend(name).MODES] for name in names}
    entries = [f"{name} {mode}" for name, modes in chosen.items() for mode in modes]
    goals, found, proven = {}, [], []
    for job in catalog.suite("full").jobs:
        spec = catalog.task(job.task)
        task = catalog.key(spec)
        if job.train:
            code = {name: (catalog.ROOT / "backends" / name / f"{spec.name}.py").read_text("utf-8") for name in names}
            does = {"forward_flops": 10**6, "training_flops": 3 * 10**6, "step_bytes": 10**7, "example_bytes": 3000}
            goals[task] = {"title": spec.title, "batch": spec.train.batch, **asdict(spec.quality), **does, "code": code}
            proven += full_proofs(task, entries)
        for threads, (number, entry) in product((1, 2) if job.scale else (1,), enumerate(entries)):
            name, mode = entry.split()
            if (threads > 1 or job.sweep) and mode != chosen[name][0]:
                continue
            precision = "bfloat16" if mode == "bf16" else "float32"
            where = Cell(task, name, mode, "cpu", precision, spec.data.name, job.batch or spec.train.batch, threads)
            found += full_times(where, job.phases, 1e-3 + number * 1e-4, rng)
            found += [full_fit(where, spec.quality.metric, seed, rng) for seed in range(5) if job.train and threads == 1]
    told = manifest(5, 5) | {"tasks": goals, "plan": {"chosen": chosen}}
    return records.Run(Path("full"), told, tuple(found), tuple(proven))


@pytest.mark.processes
def test_the_page_of_a_full_run_has_less_than_three_megabytes(monkeypatch):
    """With every plot and table: 14 entries in four tasks, three in each sweep. Fewer draws give other digits, and no fewer."""
    monkeypatch.setattr(stats, "LOOKS", 25_000)
    found = find(full_run())
    assert len(found.rows) == 14 * 4 + 3 * (3 + 9)
    assert {contest.refusal for contest in found.contests} == {""}
    assert len(page.render(found, report.frames(found)).encode()) < 3_000_000


# Markdown


def shown(text):
    """What a renderer makes of the Markdown, as a page whose tags all close."""
    found = Page(MarkdownIt().enable(["table", "strikethrough"]).render(text))
    assert found.open == []
    return found


def test_the_markdown_has_the_sentences_tables_and_folded_proofs(built, findings):
    """A table of verdicts and one of proofs a task, every cell in its column; what failed is struck through and located."""
    text = (built / "report.md").read_text(encoding="utf-8")
    page_ = shown(text)
    assert len(page_.every("table")) == 2 * len(STEP_S)
    assert len(page_.every("details")) == len(page_.every("summary")) == len(STEP_S)
    for task in findings.tasks:
        assert markdown.plain(words.sentence(findings, task), 4000) in text
    assert re.search(
        r"\| torch eager \| ✓ proven \| 2 \| 0\.\d+ ms \(0\.\d+ to 0\.\d+\) \| 2\.\d+x \(2\.\d+ to 2\.\d+\) slower \|", text
    )
    assert f"Made: {AT[:19].replace('T', ' ')} UTC; Example CPU @&#8203; 2.0 GHz" in text
    assert "Energy: not measured, this system shows no meter." in text
    assert len(page_.every("s")) == 2
    assert "- Failed: jax jit, gradients against numpy: stage2/0/conv1/kernel at step 0, 0.0031 > 1e-10" in unescape(text)
    assert "✗ 0.0031 of 1e-10" in text
    assert "- Missing: tensorflow xla: train timeout: no answer within 120 s: worker ended" in text
    assert "Rounds of training steps that were contended: mnist\\_cnn 0%" in text


def test_unfair_terms_stand_above_the_answer_in_markdown(tmp_path, run):
    """Two versions of Python in one comparison."""
    trials = [replace(t, facts={"python": t.cell.backend}) for t in run.trials if t.cell.task == "risk_mlp"]
    records.write_manifest(tmp_path, {**run.manifest, "finished": None})
    write(tmp_path / "trials.jsonl", trials)
    text = markdown.render(find(records.read(tmp_path)))
    assert "did not finish" in text
    assert "<details>" not in text  # nothing was proven, so nothing is folded
    assert text.index("- Rule: Python differs: torch eager torch, ") < text.index("**Credit risk MLP.**")


HOSTILE = (
    *(
        "a|b\\",
        "`x`",
        "**b**",
        "<img src=x onerror=y>",
        "[l](http://e.x)",
        "line\nbreak\r\n# head",
        "- list",
        "$x$",
        "&lt;b&gt;",
    ),
    *("@team", "#1", "http://e.x www.e.x", "~~s~~", "</details>", "\u202egnp", "\udc80", "\x00", "x" * 1_000_000),
)


@pytest.mark.parametrize("hostile", [EVIL, *HOSTILE], ids=lambda text: ascii(text[:20]))
def test_hostile_records_stay_text_in_markdown(tmp_path, monkeypatch, hostile):
    """No tag but ours, no column more, no link, nobody mentioned, no line broken, whatever the records hold."""
    counts = []
    for number, evil in enumerate(("plain", hostile)):
        monkeypatch.setitem(globals(), "EVIL", evil)
        folder = evil_run(tmp_path / str(number))
        text = markdown.render(find(records.read(folder)))
        counts.append([tag for tag, _ in shown(text).tags])
        assert len(text) < markdown.ROOM
    assert counts[0] == counts[1]
    assert {"table", "details"} <= set(counts[1])
    read = unescape(MarkdownIt().renderInline(f"- {markdown.plain(hostile)}")).replace("\u200b", "")
    assert read == "- " + " ".join(re.sub(r"[\x00\u202e]", " ", hostile).split())[:400] + "…" * (len(hostile) > 400)
    assert not re.search(r"@\w|(?<!&)#\d|http://|www\.|[\x00-\x09\u202e]", text)


def test_markdown_that_is_too_long_loses_whole_blocks(tmp_path, run):
    """From the end: the answers of eighty tasks leave no room for all their proofs, and what is cut is said."""
    tasks = [f"task{number}" for number in range(80)]
    records.write_manifest(tmp_path, {})
    some = [p for p in run.proofs if p.task == "risk_mlp"]
    write(tmp_path / "proofs.jsonl", [replace(p, task=task) for task in tasks for p in some])
    text = markdown.render(find(records.read(tmp_path)))
    page_ = shown(text)
    assert markdown.ROOM * 0.9 < len(text) < markdown.ROOM
    assert 0 < len(page_.every("details")) == len(page_.every("table")) < len(tasks)
    assert all(f"**{task}.**" in text for task in tasks)
    assert text.endswith(f"\n\n{markdown.CUT}\n")


def test_half_a_character_in_a_record_breaks_no_view(tmp_path):
    """JSON may hold a lone surrogate, which UTF-8 cannot."""
    records.write_manifest(tmp_path, {"environment": {"workers": ["none"], "machine": "none"}})
    records.append(tmp_path / "trials.jsonl", Trial(cell("risk_mlp", "jax jit"), "train", "failed", reason="\udc80 \U0001f600"))
    report.write(find(records.read(tmp_path)))
    assert "train failed: ? \U0001f600" in (tmp_path / "report.md").read_text(encoding="utf-8")


# The terminal


def test_printing_a_run_its_proofs_and_the_catalogue(run, capsys):
    """Plain text without a terminal: the same figures as on the page."""
    shown = printed(run, capsys)
    assert re.search(r"risk_mlp +\| jax jit +\| ok proven +\| +1 \| +0\.\d+ ms", shown)
    assert shown.isascii()
    assert "| FAILED " in shown
    assert "void: 2" in shown
    assert "mxnet" in shown
    assert "MNIST CNN: On this machine TensorFlow graph leads in training mnist_cnn" in shown
    terminal.print_proofs(run.proofs)
    facts = {"modes": ["eager"], "versions": {"torch": "2.13.0"}, "missing": ""}
    terminal.print_catalog({"backends": {"torch": facts}})
    shown += capsys.readouterr().out
    assert "\x1b[" not in shown
    assert "stage2/0/conv1/kernel" in shown
    assert "modes: eager; versions: torch: 2.13.0" in shown
