"""Findings in words: what a sentence names, and in which order."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness import stats
from harness.records import Cell
from harness.report import tables, words
from harness.report.findings import Row


def test_the_sentence_over_all_tasks_names_no_more_than_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many the fastest of each backend, by their times, and how many more there are; of a few all."""
    entries = [("a", "x"), ("b", "x"), ("c", "x"), ("c", "y"), ("b", "y"), ("a", "y")]
    times = [1 + number / 4 for number in range(6)]
    rows = [
        ("train", "cpu", "float32", "one, two", *entry, time, time - 0.1, time + 0.1, str(rank))
        for rank, (entry, time) in enumerate(zip(entries, times, strict=True), start=1)
    ]
    monkeypatch.setattr(words, "overall", lambda found: tables.frame("overall", rows[:found]))
    (said,) = words.together(6)
    assert said == (
        "Training over one and two together (cpu, float32), a x takes least: b x takes 1.25x (1.15 to 1.35); "
        "c x takes 1.50x (1.40 to 1.60); a y takes 2.25x (2.15 to 2.35); overall.csv has 2 more."
    )
    (said,) = words.together(4)
    assert said.endswith("b x takes 1.25x (1.15 to 1.35); c x takes 1.50x (1.40 to 1.60); c y takes 1.75x (1.65 to 1.85).")


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (1.005, 1.06, "and 13 generations in all might decide"),
        (1.01, 1.03, f"and more than {stats.PATIENCE} generations would be needed"),
    ],
)
def test_an_undecided_pair_says_what_it_would_take(low: float, high: float, told: str) -> None:
    """Generations in all, not more of them; and that there is a number, where nobody would wait for so many."""
    best, b = (Cell("mnist_cnn", name, "eager", "cpu", "float32", "mnist", 64) for name in ("torch", "jax"))
    ratio = stats.Ratio(1.02, low, high, 25, 5, 3)
    assert stats.verdict(ratio) == "undecided"
    contest: Any = SimpleNamespace(ratios={(best, b): ratio}, verdicts={(best, b): "undecided"}, floor=0.0)
    said = words._behind(contest, best, b)
    assert said.startswith("JAX eager is undecided, at 1.02x (")
    assert said.endswith(f" and more, {told}")


@pytest.mark.parametrize(
    ("unit", "value", "ends", "told"),
    [("1", 7.0, (0.0, 14.0), "0 to 14"), ("1", 1.0, (1.0, 1.0), "1.00 to 1.00"), ("s", 2.0, (1.0, 3.0), "1.00 to 3.00")],
)
def test_counts_have_whole_limits(unit: str, value: float, ends: tuple[float, float], told: str) -> None:
    """But shares have digits, and times."""
    assert words.within(Row("train", "what", unit, stats.Estimate(value, *ends, 5))) == told
