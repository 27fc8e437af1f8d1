"""How much neighbouring blocks of steps differ, by their length: `python tests/blocks.py BACKEND [TASK]`; why samples are short.

One process trains for a minute on one CPU. Printed for each length: the standard deviation of the log-ratios of two neighbours,
plain and by their median absolute deviation, and that of the median of as many pairs as 4 s have room for (each block with the
15 ms of its turn).
"""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from harness import batches, catalog, data, measure, weights

LENGTHS_S = (0.005, 0.01, 0.02, 0.03, 0.04, 0.08, 0.15, 0.3, 0.6)
SECONDS, TURN_S, BUDGET_S, DRAWS = 60.0, 0.015, 4.0, 400


def steps(name: str, task: str) -> np.ndarray:
    """Seconds of each training step of a minute, synchronised one by one, after some that warm up."""
    engine, spec = import_module(f"backends.{name}.engine"), catalog.task(task)
    engine.configure(threads=1, seed=0)
    batch = next(batches.training(spec, data.find(spec.data.name).arrays, batch=spec.train.batch, seed=0, epoch=0))
    table = spec.optimizer.table(np.full(1000, 1e-12))  # see tests/bare.py
    session = engine.open_session(spec, table=table, mode=catalog.backend(name).MODES[0], precision="float32", device="cpu")
    session.load(weights.initial(spec, 0))
    placed, times = session.put(*batch), list[int]()
    measure.calls(session, session.train_step, [placed], 500)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        times += measure.calls(session, session.train_step, [placed], 100)
    return np.array(times) / 1e9


def told(times: np.ndarray, length_s: float) -> str:
    """A line about blocks of one length."""
    each = max(1, round(length_s / times.mean()))
    blocks = np.log(times[: len(times) // each * each].reshape(-1, each).mean(axis=1))
    pairs, rng = np.diff(blocks)[::2], np.random.default_rng(0)
    robust = 1.4826 * np.median(abs(pairs - np.median(pairs)))
    count = int(BUDGET_S / 2 / (length_s + TURN_S))
    medians = np.std([np.median(rng.choice(pairs, count)) for _ in range(DRAWS)])
    return f"{length_s:5.3f} s: {pairs.std():.1%}, robust {robust:.1%}; median of {count} pairs {medians:.2%}"


if __name__ == "__main__":
    found = steps(sys.argv[1], *sys.argv[2:] or ["risk_mlp"])
    print(f"{len(found)} steps, median {np.median(found) * 1e6:.1f} us")  # noqa: T201 - its purpose
    for length in LENGTHS_S:
        print(told(found, length))  # noqa: T201
