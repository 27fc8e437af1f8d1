"""What a suite says: which tasks, how they are trained and timed, how often."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

from harness.errors import HarnessError

MOST = 10**9  # of anything that is counted, and of seconds
MEASURES = {"sample_s": 0.001, "narrow": 0.001, "budget_s": 0}  # what need not be whole, and the least of it
Phase = Literal["train", "predict", "latency", "epoch"]
Modes = Literal["default", "all"]


@dataclass(frozen=True)
class Job:
    """One task of a suite. Zero means: as the task's spec says."""

    task: str
    batch: int = 0  # of the timed steps
    epochs: int = 0  # of the training
    max_steps: int = 0  # of the training; 0 for no limit
    train: bool = True  # to the end, for its quality; a sweep over batches does so once
    sweep: bool = False  # timed in each backend's first mode alone, as on more CPUs
    scale: bool = False  # timed on 2, 4, ... CPUs too, as many as there are
    phases: tuple[Phase, ...] = ("train", "predict", "latency")

    def __post_init__(self) -> None:
        """Refuse what cannot be run: a HarnessError names it."""
        for name in ("batch", "epochs", "max_steps"):
            _least(f"job {self.task}", name, getattr(self, name), 0)
        _known(f"job {self.task}", "phases", self.phases, get_args(Phase))


@dataclass(frozen=True)
class Suite:
    """What `concord run` does.

    A generation is one fresh process a backend; a round is one sample of every cell, in rotated order; a sample is a block of
    steps that lasts about ``sample_s``. Ranks need at least 5 generations: the generation is the unit of inference. More are
    added until every interval is ``narrow``, or ``budget_s`` is used up; whether a difference is significant is never looked at.
    """

    title: str
    jobs: tuple[Job, ...]
    modes: Modes = "default"
    generations: int = 5  # at least; 0 for no timing
    rounds: int = 5
    sample_s: float = 0.25
    seeds: int = 1  # trainings of each task
    narrow: float = 0.03  # half-width of a log-ratio's interval
    budget_s: float = 0.0  # of the whole run, proof and training included; 0 for the least number of generations
    hard: bool = False  # the budget ends the run even before the least number: it came from --max-time

    def __post_init__(self) -> None:
        """Refuse what cannot be run: a HarnessError names it."""
        for name, least in {"generations": 0, "rounds": 1, "seeds": 1, **MEASURES}.items():
            _least(f"suite {self.title!r}", name, getattr(self, name), least)
        _known(f"suite {self.title!r}", "modes", [self.modes], get_args(Modes))
        if not self.jobs:
            raise HarnessError(f"suite {self.title!r} has no jobs: give it one.")


def _least(where: str, name: str, value: Any, least: float) -> None:
    """Refuse what is no number, or too small a one; of what is counted, what is not whole."""
    kind, called = (int | float, "a number") if name in MEASURES else (int, "a whole number")
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= MOST:
        raise HarnessError(f"{where}: {name} is {value!r}: make it {called} from {least:g} to {MOST:,}.")


def _known(where: str, name: str, values: Any, known: Collection[str]) -> None:
    """Refuse a name that means nothing, and what holds no names."""
    if odd := [value for value in values if value not in known] if isinstance(values, Collection) else [values]:
        raise HarnessError(f"{where}: {name} holds {odd[0]!r}: choose from {', '.join(known)}.")
