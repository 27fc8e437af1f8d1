"""What a session costs beside a loop written by hand: `python tests/overhead.py BACKEND [TASK...]`.

`tensorflow+fused` is TensorFlow beside a loop with its own losses and fused updates, in the place of Keras's.

Both train the same architecture on one CPU, in turns of about 0.25 s, in several fresh processes: where two equal loops of one
process happen to put their tensors makes 3 % already. Printed is the paired ratio session/bare with its 95 % interval over the
processes, by the rules of harness/stats.py. The bare loops stand in tests/bare.py.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parent.parent))

from importlib import import_module
from typing import Any

import numpy as np

from harness import batches, catalog, data, environment, measure, stats, weights
from tests import bare

PROCESSES, TURNS, TURN_S = 8, 10, 0.25
BATCH = {"cifar_resnet": 8}  # elsewhere the spec's: at 128 a step takes a second and more


def turns(name: str, task: str, process: int) -> dict[str, list[float]]:
    """Seconds a step of both sides, turn by turn; who goes first alternates."""
    loop = getattr(bare, f"{name.replace('+', '_')}_loop")
    name = name.partition("+")[0]
    engine = import_module(f"backends.{name}.engine")
    engine.configure(threads=1, seed=0)
    spec = catalog.task(task)
    batch = next(
        batches.training(spec, data.find(spec.data.name).arrays, batch=BATCH.get(task, spec.train.batch), seed=0, epoch=0)
    )
    table = spec.optimizer.table(np.full(1000, bare.LR))
    device = {"mode": catalog.backend(name).MODES[0], "precision": "float32", "device": "cpu"}
    first = loop(spec, batch) if process % 2 else None  # who is built first lies elsewhere in memory: that alternates too
    session = engine.open_session(spec, table=table, **device)
    session.load(weights.initial(spec, 0))
    placed = session.put(*batch)
    sides = {"session": lambda: session.train_step(placed), "bare": first or loop(spec, batch)}
    steps = {side: calibrate(session, call) for side, call in sides.items()}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(TURNS):
        for side in list(sides)[:: 1 if (turn + process) % 2 else -1]:
            times[side].append(seconds(session, sides[side], steps[side]))
    return times


def compare(name: str, task: str) -> str:
    """One line: the ratio session/bare of a training step, from fresh processes."""
    found: dict[str, dict[stats.Key, float]] = {"session": {}, "bare": {}}
    for process in range(PROCESSES):
        command = [sys.executable, __file__, name, task, "--process", str(process)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment.HEAP).stdout
        for side, times in json.loads(told.splitlines()[-1]).items():
            found[side] |= {(process, turn): time for turn, time in enumerate(times)}
    ratio = stats.paired(found["bare"], found["session"])
    if ratio is None or ratio.low is None or ratio.high is None:
        return f"{name} {task}: no interval"
    step = float(np.median(list(found["session"].values()))) * 1e3
    interval = f"{ratio.low:.3f} to {ratio.high:.3f}"
    return f"{name} {task}: session/bare {ratio.value:.3f} ({interval}), {step:.3f} ms a step"


def calibrate(session: Any, call: Callable[[], Any]) -> int:
    """Steps that last about a turn, after a warm-up."""
    seconds(session, call, 20)
    return max(1, round(TURN_S / seconds(session, call, 10)))


def seconds(session: Any, call: Callable[[], Any], steps: int) -> float:
    """Seconds a step over ``steps`` steps with one synchronisation."""
    with measure.quiet_collector():
        watch = measure.Stopwatch()
        for _ in range(steps):
            handle = call()
        session.sync(handle)
        return watch.seconds() / steps


if __name__ == "__main__":
    if "--process" in sys.argv:
        print(json.dumps(turns(sys.argv[1], sys.argv[2], int(sys.argv[-1]))))  # noqa: T201 - for the parent
    else:
        for each in sys.argv[2:] or catalog.tasks():
            print(compare(sys.argv[1], each), flush=True)  # noqa: T201 - its purpose
