"""Quality over seeds as the views show it: targets, published figures, equivalence; from made-up trainings."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness import records
from harness.records import Cell, Run, Trial
from harness.report import learning
from harness.report.findings import find

CELL = Cell("mnist_cnn", "torch", "eager", "cpu", "float32", "mnist (60,000)", 64)
GOAL = {"title": "MNIST CNN", "metric": "accuracy", "target": 0.98, "published": 0.99, "margin": 0.005}


def training(backend, seed, *figures, cell=CELL):
    """A training with the test accuracy of each epoch, ten seconds each."""
    epochs = tuple({"epoch": n, "train_s": 10.0, "test_accuracy": value} for n, value in enumerate(figures, start=1))
    return Trial(replace(cell, backend=backend), "fit", "ok", seed=seed, values={"accuracy": figures[-1]}, epochs=epochs)


def findings(*trials, **goal):
    """A run of these trainings."""
    return find(Run(Path("run"), {"schema": records.SCHEMA, "tasks": {"mnist_cnn": {**GOAL, **goal}}}, trials, ()))


FITS = (
    *(training("torch", seed, 0.97, 0.981, 0.985 + seed / 1e4) for seed in range(5)),
    *(training("jax", seed, 0.97, 0.975, 0.9852 + seed / 9e3) for seed in range(5)),
)


def test_time_to_target_and_the_published_figure():
    """By entry: seeds that arrived, median epochs and seconds until then, and where the published figure lies."""
    found = learning.reached(findings(*FITS)).set_index("backend")
    assert found.loc["torch", ["seeds", "reached_target", "epochs_to_target", "seconds_to_target"]].tolist() == [
        5,
        "5 of 5",
        2,
        20,
    ]
    assert found.loc["jax", ["epochs_low", "epochs_to_target", "epochs_high"]].tolist() == [3, 3, 3]
    assert set(found["published_is"]) == {"not reproduced"}
    assert found.loc["torch", "ci_low"] < found.loc["torch", "mean"] < found.loc["torch", "ci_high"] < 0.99


def test_nobody_arrived():
    """Censored runs are no fast ones."""
    found = learning.reached(findings(*FITS, target=0.999))
    assert set(found["reached_target"]) == {"0 of 5"}
    assert found[["epochs_to_target", "epochs_low", "epochs_high", "seconds_high"]].isna().all(axis=None)


@pytest.mark.parametrize(("arrived", "epochs"), [((3, 4, None), 4), ((3, 3, 5, None), 4), ((5, 5, None, None, None), None)])
def test_most_runs_must_arrive(arrived, epochs):
    """A training that ended early without arriving is no quick one: it stands behind all that did."""
    fits = [training("torch", seed, *[0.9] * ((at or 3) - 1), 0.99 if at else 0.9) for seed, at in enumerate(arrived)]
    (row,) = learning.reached(findings(*fits)).to_dict("records")
    assert row["reached_target"] == f"{len(arrived) - arrived.count(None)} of {len(arrived)}"
    assert (row["epochs_to_target"], row["seconds_to_target"]) == (epochs, epochs and 10.0 * epochs)
    assert (row["epochs_low"], row["epochs_high"]) == (min(filter(None, arrived)), None)


@pytest.mark.parametrize("short", [{"epochs": 1}, {"max_steps": 20}, "sample"])
def test_a_sample_or_a_short_training_reproduces_nothing(short):
    """However near its figure comes."""
    cell = replace(CELL, data="mnist (sample 10,000 of 60,000)") if short == "sample" else CELL
    fits = [training("torch", seed, 0.99 + seed / 1e5, cell=cell) for seed in range(5)]
    found = learning.reached(findings(*fits, **(short if isinstance(short, dict) else {})))
    assert found["published_is"].tolist() == ["not run"]
    assert learning.reached(findings(*[training("torch", s, 0.99 + s / 1e5) for s in range(5)])).published_is[0] == "exceeded"


def test_pairs_are_equivalent_within_the_margin():
    """Told once a pair, with the margin of the spec; too few seeds tell nothing."""
    (row,) = learning.equality(findings(*FITS)).to_dict("records")
    assert (row["verdict"], row["margin"], row["seeds"]) == ("equivalent", 0.005, 5)
    assert abs(row["difference"]) < 0.001
    (row,) = learning.equality(findings(*FITS, margin=1e-5)).to_dict("records")
    assert row["verdict"] == "different"
    assert learning.equality(findings(*FITS, max_steps=60)).verdict.tolist() == ["not run"]
    few = [fit for fit in FITS if fit.seed < 2]
    assert learning.equality(findings(*few)).verdict.tolist() == ["too few seeds"]


def test_a_lost_training_is_no_seed():
    """Of the final figure. But it has reached the target before it was lost, or never: to leave it out would flatter."""
    cut, dead = replace(FITS[0], status="timeout"), replace(FITS[1], status="failed", epochs=(), values={})
    never = replace(FITS[2], status="skipped", epochs=(), values={})
    (row,) = learning.reached(findings(cut, dead, never, *FITS[3:5])).to_dict("records")
    assert (row["seeds"], row["reached_target"], row["epochs_to_target"], row["epochs_high"]) == (2, "3 of 4", 2, None)
    (row,) = learning.reached(findings(replace(cut, epochs=cut.epochs[:1]), *FITS[3:5])).to_dict("records")
    assert row["reached_target"] == "2 of 3"


def test_what_was_published_and_never_trained_to_its_end_is_not_run():
    """A finding, too: it has a row, without a figure of ours."""
    found = learning.reached(findings(replace(FITS[0], status="timeout")))
    assert found.seeds.tolist() == [0]
    assert found.published_is.tolist() == ["not run"]
    assert found["mean"].isna().all()
    assert learning.reached(findings(replace(FITS[0], status="timeout"), published=None)).empty
