"""A session on another device than the framework's first: where no GPU is, XLA's forced host devices show the same mistakes."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import catalog, environment

SEEN = """
import jax, numpy as np
from backends.jax import engine
from harness import batches, catalog, data, weights

spec = catalog.task("mnist_cnn")
arrays = data.find("mnist", data_dir=data.SAMPLES).arrays
batch = next(batches.training(spec, arrays, batch=4, seed=0, epoch=0))
engine.configure(threads=1, seed=0)
table = spec.optimizer.table(np.full(3, 0.1))
session = engine.open_session(spec, mode="jit", precision="float32", device="cpu", table=table)
first, second = jax.devices()
session.device = second
session.load(weights.initial(spec, 0))
placed = session.put(*batch)
seen = [session.train_step(placed), session.train_step(placed), session.predict(placed), placed, session.state]
assert {device for leaf in jax.tree.leaves(seen) for device in leaf.devices()} == {second}
assert session.compilations() == 2, session.compilations()
"""


@pytest.mark.frameworks
@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_everything_is_where_the_session_is(tmp_path: Path) -> None:
    """Weights, batches, losses, logits and optimizer state are on the session's own device; none went by the default one."""
    env = environment.worker_environment(root=catalog.ROOT, cpus=[0], device="cpu", scratch=tmp_path, cache=tmp_path)
    env["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    done = subprocess.run([sys.executable, "-c", SEEN], env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
