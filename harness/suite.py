"""What a suite says: which tasks, how they are trained and timed, how often."""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["train", "predict", "latency", "epoch"]


@dataclass(frozen=True)
class Job:
    """One task of a suite. Zero means: as the task's spec says."""

    task: str
    batch: int = 0  # of the timed steps
    epochs: int = 0  # of the training
    max_steps: int = 0  # of the training; 0 for no limit
    train: bool = True  # to the end, for its quality; a sweep over batches does so once
    scale: bool = False  # timed on 2, 4, ... CPUs too, as many as there are
    phases: tuple[Phase, ...] = ("train", "predict", "latency")


@dataclass(frozen=True)
class Suite:
    """What `concord run` does.

    A generation is one fresh process a backend; a round is one sample of every cell, in rotated order; a sample is a block of
    steps that lasts about ``sample_s``. Ranks need at least 5 generations: the generation is the unit of inference. More are
    added until every interval is narrow, or ``budget_s`` is used up; whether a difference is significant is never looked at.
    """

    title: str
    jobs: tuple[Job, ...]
    modes: Literal["default", "all"] = "default"
    generations: int = 5  # at least; 0 for no timing
    rounds: int = 5
    sample_s: float = 0.25
    seeds: int = 1  # trainings of each task
    budget_s: float = 0.0  # of the whole run, proof and training included; 0 for the least number of generations
    hard: bool = False  # the budget ends the run even before the least number: it came from --max-time
