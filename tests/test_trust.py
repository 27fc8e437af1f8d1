"""What the figures behind "How far to trust it" count, on selfchecks that nobody runs."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from harness import selfcheck
from harness.stats import Ratio, Verdict
from tests import trust

NEVER = [(2, ""), (2, "concord: another run, process 7, is measuring on this machine"), (70, "Traceback"), (130, "")]


def said(equals: Verdict | None, *, code: int = 0, refusal: str = "") -> tuple[int, str]:
    """Exit code and stdout of a selfcheck: a table, the page's path, its sentence; ``equals`` is None if nothing was timed."""
    ratio = Ratio(1.01, 0.99, 1.03, 25, 5, 3)
    names = {("eager", "eager copy 1"): (ratio, equals)} if equals else {}
    told = selfcheck.Finding(names, {"eager": (ratio, "slower")} if equals else {}, 0.1, refusal).told()
    return code, f"| torch eager | contended |\nresults/RUN/report.html\n{told}\n"


def given(monkeypatch: pytest.MonkeyPatch, folder: Path, outcomes: list[tuple[int, str]]) -> int:
    """Have selfchecks come out so, one after the other, kept in a folder; how many there are."""
    each = iter(outcomes)
    monkeypatch.setattr(trust, "KEPT", folder)
    monkeypatch.setattr(trust, "run", lambda *_: (*next(each), 1.0))
    monkeypatch.setattr(trust, "neighbour", nullcontext)
    return len(outcomes)


def test_a_selfcheck_that_never_ran_is_no_evidence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refused, broken, or with nothing timed: neither without a false winner, nor one that missed its delay."""
    idle = [*NEVER, said(None, code=3, refusal="nothing was timed")]
    refused = said("undecided", code=4, refusal="40% of the rounds were contended")
    count = given(monkeypatch, tmp_path, [*idle, said("tie"), refused, said("slower", code=1)])
    assert trust.equals(count) == (
        "a false winner in 1 of 3 selfchecks (8 begun) beside a neighbour; 1 refused a ranking as contended"
    )
    count = given(monkeypatch, tmp_path, [*idle, said("tie"), refused, said("slower", code=1)])
    assert trust.power(count) == "a planted 10 % found in 1 of 3 selfchecks (8 begun); 1 false winners"


def test_selfchecks_of_which_none_ran_are_no_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An error with the exit codes, and no zero of zero."""
    count = given(monkeypatch, tmp_path, NEVER)
    with pytest.raises(RuntimeError, match=r"none of 4 selfchecks came to a finding; .*2: 2"):
        trust.equals(count)


def test_a_selfcheck_that_is_kept_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only those that are missing, or came to nothing: hours of them can be had in several sittings."""
    given(monkeypatch, tmp_path, [said("tie"), NEVER[0], said("tie")])
    assert trust.power(3) == "a planted 10 % found in 2 of 2 selfchecks (3 begun); 0 false winners"
    given(monkeypatch, tmp_path, [said("slower", code=1)])  # one more, and no other
    assert trust.power(3) == "a planted 10 % found in 2 of 3 selfchecks (3 begun); 1 false winners"
