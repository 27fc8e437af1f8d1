"""Findings in words: what a sentence names, and in which order."""

import pytest

from harness.report import tables, words


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
