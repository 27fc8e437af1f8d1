"""Training to the end: epochs, early stopping, figures on held-out data. Runs inside a worker."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from harness import batches, metrics
from harness.measure import Stopwatch
from harness.protocol import Session
from harness.spec import Arrays, TaskSpec

Report = Callable[[dict[str, float]], None]


@dataclass
class Fit:
    """What came of it: the loss of every step, figures of every epoch, figures of the weights kept; whether time cut it short."""

    losses: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)
    cut: bool = False
    facts: dict[str, list[float]] = field(default_factory=dict)  # of a binary task: scores and labels of the test examples


def fit(
    session: Session,
    spec: TaskSpec,
    arrays: Mapping[str, np.ndarray],
    *,
    weights: Arrays,
    seed: int,
    epochs: int,
    max_steps: int,
    seconds: float | None,
    report: Report,
) -> Fit:
    """Train for ``epochs``, or ``max_steps`` steps if that is not 0; stop early where the spec monitors a metric.

    No epoch begins once ``seconds`` have passed, if they are given.
    ``report`` is called after each epoch with its figures.
    """
    session.load(weights)
    split = "val" if spec.train.monitor else "test"
    result, best, best_weights, waited, whole = Fit(), -np.inf, weights, 0, Stopwatch()
    for epoch in range(epochs):
        if seconds is not None and whole.seconds() > seconds:
            result.cut = True
            break
        watch = Stopwatch()
        left = max_steps - len(result.losses) if max_steps else None
        losses = train(session, batches.training(spec, arrays, batch=spec.train.batch, seed=seed, epoch=epoch), left)
        result.losses += losses
        bad = np.flatnonzero(~np.isfinite(result.losses))
        if len(bad):  # what follows is no training, though its figures would look like those of one
            raise FloatingPointError(f"the loss is {result.losses[bad[0]]} at step {bad[0]}")
        figures = {"epoch": float(epoch + 1), "train_s": watch.seconds(), "train_loss": float(np.mean(losses))}
        logits, y = evaluate(session, spec, arrays, split)
        figures |= {f"{split}_{name}": value for name, value in metrics.figures(spec.loss, logits, y).items()}
        result.epochs.append(figures)
        report(figures)
        if spec.train.monitor:
            score = figures[f"val_{spec.train.monitor}"]
            best, best_weights, waited = (score, session.dump(), 0) if score > best else (best, best_weights, waited + 1)
        if (spec.train.monitor and waited >= spec.train.patience) or 0 < max_steps <= len(result.losses):
            break
    if spec.train.monitor:
        session.load(best_weights)
    if spec.train.monitor or not result.epochs:  # else the last epoch's are these
        logits, y = evaluate(session, spec, arrays, "test")
    result.final, result.facts = metrics.figures(spec.loss, logits, y), metrics.scores(spec.loss, logits, y)
    return result


def train(session: Session, stream: Iterator[batches.HostBatch], steps: int | None) -> list[float]:
    """Take a step on each batch of an epoch, at most so many; their losses, fetched at the end so that no step waits."""
    handles = [session.train_step(session.put(*batch)) for batch in islice(stream, steps)]
    return [float(session.fetch(handle)) for handle in handles]


def evaluate(session: Session, spec: TaskSpec, arrays: Mapping[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) and labels (N,) of one split, by whole batches; the padding of the last one is cut off."""
    x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
    batch = min(len(x), 256)
    blank = np.zeros(batch, np.int32)
    logits = [
        session.fetch(session.predict(session.put(part, blank)))[:count]
        for part, count in batches.evaluation(spec.data, x, batch)
    ]
    return np.concatenate(logits), y
