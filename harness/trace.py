"""What one backend computes on the proof's inputs, step by step. Runs inside a worker; judged by harness/proof.py."""

import numpy as np

from harness.batches import HostBatch
from harness.protocol import Batch, Session, Stacking
from harness.spec import Arrays, TaskSpec

STEPS = 10
SEEN = 2  # steps after which the second run predicts
UPDATES = 2  # steps whose update is proven in float32: the first makes the optimizer's state, the second reads it
CONFIDENT = 1024  # the last layer's weights times this: logits and gradients so large that whatever clips them shows
CERTAIN = 16384  # added to its biases, another multiple to each: every probability is then exactly 0 or 1
LIFT, OFFSET = 16, 256  # added to all biases but the last


def learning_rates(spec: TaskSpec) -> np.ndarray:
    """The lr of each step, (20,): another at every step.

    A constant lr would hide a schedule that is one step off, or a velocity that holds the lr.
    """
    return spec.proof_lr * spec.optimizer.lr * 0.9 ** np.arange(2 * STEPS)


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

    ``weights/T`` after a round trip; ``logits``, ``loss`` and ``grad/T`` at step 0; ``single``, the logits of one example; what
    ``boldly`` finds; ``losses`` (10,) of ``run``; ``eval``, the logits after the last; ``after/T``, each parameter and buffer
    after this evaluation, which must move nothing. With ``tensors`` also ``later``, the losses of ten steps more, and what
    ``singly`` finds; else what ``rounding`` does.
    """
    x, y, masks = batch_of(arrays, 0)
    alone = session.put(x[:1], y[:1], tuple(mask[:1] for mask in masks))
    batches = [session.put(*batch_of(arrays, i)) for i in range(STEPS)]
    session.load(weights)
    found = {f"weights/{name}": value for name, value in session.dump().items()}
    found["logits"] = session.fetch(session.predict(batches[0]))
    found["single"] = session.fetch(session.predict(alone))
    loss, grads = session.gradients(batches[0])
    found["loss"] = session.fetch(loss)
    found |= {f"grad/{name}": value for name, value in grads.items()}
    found |= boldly(session, weights, batches)
    session.load(weights)
    found["losses"] = run(session, batches)
    found["eval"] = session.fetch(session.predict(batches[0]))
    found |= {f"after/{name}": value for name, value in session.dump().items()}
    if not tensors:
        return found | rounding(session, weights, batches)
    found["later"] = run(session, batches)
    return found | singly(session, weights, batches, alone)


def run(session: Session, batches: list[Batch]) -> np.ndarray:
    """The loss of a step on each batch, as they are timed: begun one after the other, or in one call where a session can."""
    if isinstance(session, Stacking):
        return session.fetch(session.train_step(session.stack(batches)))
    handles = [session.train_step(batch) for batch in batches]
    return np.array([session.fetch(handle) for handle in handles])


def boldly(session: Session, weights: Arrays, batches: list[Batch]) -> Arrays:
    """``confident``, the loss of a step from large logits; ``confident/T``, what two make whose probabilities are 0 and 1.

    ``loaded``, logits of weights just loaded: a prediction that keeps other ones shows.

    Both, since a probability that is nearly 1 has a gradient near Adam's epsilon with the rounding of one near 1, and Adam makes
    that rounding a thousand times and more as large: sound backends would be up to 2.4e-10 apart in what the first step makes.
    Two steps, since Adam's first one hides how large a gradient was, and so what clips it.
    """
    *_, kernel, bias = (name for name in weights if name.endswith(("/kernel", "/bias")))
    confident = {**weights, kernel: weights[kernel] * CONFIDENT}
    session.load(confident)
    found = {"loaded": session.fetch(session.predict(batches[0]))}
    found["confident"] = session.fetch(session.train_step(batches[0]))
    session.load({**confident, bias: weights[bias] + CERTAIN * np.arange(1, len(weights[bias]) + 1)})
    for batch in batches[:2]:
        session.sync(session.train_step(batch))
    return found | {f"confident/{name}": value for name, value in session.dump().items()}


def singly(session: Session, weights: Arrays, batches: list[Batch], alone: Batch) -> Arrays:
    """``step/K/T``, each tensor after step K of another run; ``seen/K``, logits after its first.

    ``tied/T``, the gradients at biases of 0, as training begins: there a ReLU may be given exactly 0. ``alone/T``, those of one
    example: `full` times training at batch 1.
    """
    session.load({name: value * (not name.endswith(("/bias", "/beta"))) for name, value in weights.items()})
    found = {f"tied/{name}": value for name, value in session.gradients(batches[0])[1].items()}
    session.load(weights)  # after ten steps: a load which leaves optimizer state behind is found out
    found |= {f"alone/{name}": value for name, value in session.gradients(alone)[1].items()}
    session.load(weights)
    session.sync(session.predict(alone))  # a prediction before the first step must leave no trace in it
    for step, batch in enumerate(batches):
        session.sync(session.train_step(batch))
        found |= {f"step/{step}/{name}": value for name, value in session.dump().items()}
        if step < SEEN:  # a prediction that counts as a step, or is remembered, shows in what follows
            found[f"seen/{step}"] = session.fetch(session.predict(batches[0]))
    return found


def rounding(session: Session, weights: Arrays, batches: list[Batch]) -> Arrays:
    """What float32 is proven by.

    ``lifted/T`` and ``offset/T``, the gradients at the weights of these; ``given/K/T``, those of each of the first steps, and
    ``made/K/T``, the parameters and buffers after it; ``first/T``, each running statistic after a first step alone: gradients
    may move them.
    """
    found: Arrays = {}
    for which, opened in (("lifted", lifted(weights, LIFT)), ("offset", offset(weights))):
        session.load(opened)
        found |= {f"{which}/{name}": value for name, value in session.gradients(batches[0])[1].items()}
    session.load(weights)
    for step in range(UPDATES):
        found |= {f"given/{step}/{name}": value for name, value in session.gradients(batches[step])[1].items()}
        session.sync(session.train_step(batches[step]))
        found |= {f"made/{step}/{name}": value for name, value in session.dump().items()}
    session.load(weights)
    session.sync(session.train_step(batches[0]))
    return found | {f"first/{name}": value for name, value in session.dump().items() if name.endswith(("/mean", "/var"))}


def lifted(weights: Arrays, lift: float) -> Arrays:
    """Weights whose biases, but the last, are so large that ReLUs pass what they are given: gradients are continuous there.

    So they show any rounding: a ResNet-8 whose convolutions are given gradients in bfloat16 is 4,300 times as wrong as float32
    and more at 16, at 256 50 times.
    """
    *others, _last = weights
    return {**weights, **{name: weights[name] + lift for name in others if name.endswith(("/bias", "/beta"))}}


def offset(weights: Arrays) -> Arrays:
    """The same with means large against what varies around them, where a variance that is a difference of squares is lost.

    Of a convolution's kernel the centre remains, or the zeros around an image would vary.
    """
    raised, around = lifted(weights, OFFSET), ((1, 1), (1, 1), (0, 0), (0, 0))
    return {name: np.pad(v[1:2, 1:2], around) if v.shape[:2] == (3, 3) else v for name, v in raised.items()}
