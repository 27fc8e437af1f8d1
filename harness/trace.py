"""What one backend computes on the proof's inputs, step by step. Runs inside a worker; judged by harness/proof.py."""

import numpy as np

from harness.batches import HostBatch
from harness.protocol import Batch, Session, Stacking
from harness.spec import Arrays, TaskSpec

STEPS = 10
UPDATES = 2  # steps whose update is proven in float32: the first makes the optimizer's state, the second reads it
CONFIDENT = 1024  # the last layer's weights times this: logits so large that a loss which clips probabilities shows


def learning_rates(spec: TaskSpec) -> np.ndarray:
    """The lr of each step, (10,): another at every step.

    A constant lr would hide a schedule that is one step off, or a velocity that holds the lr.
    """
    return spec.proof_lr * spec.optimizer.lr * 0.9 ** np.arange(STEPS)


def inputs(batches: list[HostBatch]) -> Arrays:
    """The proof's batches as arrays for the channel."""
    arrays: Arrays = {}
    for i, batch in enumerate(batches):
        arrays |= {f"x/{i}": batch.x, f"y/{i}": batch.y}
        arrays |= {f"mask/{i}/{layer}": mask for layer, mask in enumerate(batch.masks)}
    return arrays


def batch_of(arrays: Arrays, i: int) -> HostBatch:
    """Batch ``i`` of ``inputs``."""
    masks = [name for name in arrays if name.startswith(f"mask/{i}/")]
    return HostBatch(arrays[f"x/{i}"], arrays[f"y/{i}"], tuple(arrays[name] for name in sorted(masks)))


def trace(session: Session, weights: Arrays, arrays: Arrays, *, tensors: bool) -> Arrays:
    """Everything the proof compares, by name.

    ``weights/T`` after a round trip; ``logits``, ``loss``, ``confident`` (the loss of much larger logits) and ``grad/T`` at step
    0; ``losses`` (10,) of steps as they are timed: begun one after the other, or in one call where a session can stack batches;
    ``eval``, the logits after the last. With ``tensors`` also ``after/T``, each parameter and buffer after this evaluation, which
    must move nothing, and ``step/K/T``, each after step K of a second run, step by step; else what ``updates`` finds.
    """
    batches = [session.put(*batch_of(arrays, i)) for i in range(STEPS)]
    session.load(weights)
    found = {f"weights/{name}": value for name, value in session.dump().items()}
    found["logits"] = session.fetch(session.predict(batches[0]))
    loss, grads = session.gradients(batches[0])
    found["loss"] = session.fetch(loss)
    found |= {f"grad/{name}": value for name, value in grads.items()}
    last = [name for name in weights if name.endswith("/kernel")][-1]
    session.load({**weights, last: weights[last] * CONFIDENT})
    found["confident"] = session.fetch(session.gradients(batches[0])[0])
    session.load(weights)
    if isinstance(session, Stacking):
        found["losses"] = session.fetch(session.train_step(session.stack(batches)))
    else:
        handles = [session.train_step(batch) for batch in batches]
        found["losses"] = np.array([session.fetch(handle) for handle in handles])
    found["eval"] = session.fetch(session.predict(batches[0]))
    if tensors:
        found |= {f"after/{name}": value for name, value in session.dump().items()}
    session.load(weights)  # after ten steps: a load which leaves optimizer state behind is found out
    if not tensors:
        return found | updates(session, batches)
    for step, batch in enumerate(batches):
        session.sync(session.train_step(batch))
        found |= {f"step/{step}/{name}": value for name, value in session.dump().items()}
    return found


def updates(session: Session, batches: list[Batch]) -> Arrays:
    """``given/K/T``, the gradients of each of the first steps, and ``made/K/T``, the parameters and buffers after it."""
    found: Arrays = {}
    for step in range(UPDATES):
        found |= {f"given/{step}/{name}": value for name, value in session.gradients(batches[step])[1].items()}
        session.sync(session.train_step(batches[step]))
        found |= {f"made/{step}/{name}": value for name, value in session.dump().items()}
    return found
