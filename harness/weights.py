"""Initial weights: drawn once a run, in the harness, and handed to every worker. Philox, one named stream a tensor."""

import hashlib

import numpy as np
from numpy.random import Generator

from harness import draws
from harness.spec import Arrays, ParamSpec, TaskSpec


def initial(spec: TaskSpec, seed: int) -> Arrays:
    """The spec's initial weights, float32, by tensor name."""
    return {t.name: draw(t, Generator(draws.philox(seed, "init", t.name))) for t in spec.model.tensors}


def unsettled(spec: TaskSpec, seed: int) -> Arrays:
    """Weights for the proof, float32: the initial ones moved so that no bias, scale or running statistic is 0 or 1.

    A bias of zero or a scale of one would hide a layer that forgets it.
    """
    weights = initial(spec, seed)
    for t in spec.model.tensors:
        noise = Generator(draws.philox(seed, "unsettled", t.name)).normal(0.0, 0.1, t.shape)
        if t.init.kind == "constant":
            weights[t.name] = (t.init.scale + (abs(noise) if t.name.endswith("/var") else noise)).astype(np.float32)
    return weights


def draw(tensor: ParamSpec, random: Generator) -> np.ndarray:
    """One tensor as its ``init`` says, rounded once to float32."""
    scale = tensor.init.scale
    if tensor.init.kind == "normal":
        values = random.normal(0.0, scale, tensor.shape)
    elif tensor.init.kind == "uniform":
        values = random.uniform(-scale, scale, tensor.shape)
    else:
        values = np.full(tensor.shape, scale)
    return values.astype(np.float32)


def digest(weights: Arrays) -> str:
    """sha256 over names, shapes and bytes: two runs with one digest began alike."""
    total = hashlib.sha256()
    for name, array in weights.items():
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
