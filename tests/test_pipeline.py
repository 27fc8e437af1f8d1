"""The frameworks' own input pipelines: whole epochs of each example once, the spec's pixels, batches that compile nothing.

Run as a script (``python tests/test_pipeline.py torch OUT mnist_cnn``) this file writes the batches that one backend feeds, since
the tests' own process never loads a framework.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from harness import batches, catalog, data, environment, weights
from harness.errors import HarnessError
from harness.spec import TaskSpec

BATCH, ROWS = 8, 45  # 5 batches and a rest of 5
CODED = 1024  # images whose pixels tell where they are
RARE = 1e-6  # seeds are fixed: a chance that is smaller is no chance
WAYS = (9, 9, 2)  # where a crop begins, down and right, and whether it is mirrored
Seen = Callable[[str], dict[str, np.ndarray]]


def rows(spec: TaskSpec) -> dict[str, np.ndarray]:
    """The first examples of a data set, told apart by their content."""
    held = data.find(spec.data.name, data_dir=data.SAMPLES).arrays
    return {name: held[name][:ROWS] for name in ("x_train", "y_train")}


@pytest.fixture(scope="module")
def seen(backend: str, tasks: list[str], cpu: int, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What a fresh process of a backend is fed, by task."""
    folder = tmp_path_factory.mktemp("fed")
    env = environment.worker_environment(root=catalog.ROOT, cpus=[cpu], device="cpu", scratch=folder, cache=folder)
    command = [sys.executable, __file__, backend, str(folder), *tasks]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=catalog.ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    @cache
    def read(task: str) -> dict[str, np.ndarray]:
        with np.load(folder / f"{task.replace(':', ' ')}.npz") as held:
            return dict(held)

    return read


@cache
def makings(task: str) -> np.ndarray:
    """All that a pipeline may make of each example, flat: the 162 crops and mirrors, or the one there is, (N, 162 or 1, ...)."""
    spec = catalog.task(task)
    x = rows(spec)["x_train"]
    if spec.data.augment == "none":
        return batches.normalise(spec.data, x).reshape(ROWS, 1, -1)
    ways = [(np.tile((down, right), (ROWS, 1)), np.full(ROWS, flip > 0)) for down, right, flip in np.ndindex(WAYS)]
    made = [batches.normalise(spec.data, batches.crop_flip(x, *way)) for way in ways]
    return np.stack(made, axis=1).reshape(ROWS, len(ways), -1)


def originals(task: str, fed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which example each input is, and in which of the ways: the nearest on 30 of its values, which must then equal all of it."""
    made, flat = makings(task), fed.reshape(len(fed), -1)
    some = slice(None, None, max(1, flat.shape[1] // 30))
    nearest = [np.abs(made[..., some] - one[some]).max(axis=2).argmin() for one in flat]
    example, way = np.unravel_index(nearest, made.shape[:2])
    assert np.abs(made[example, way] - flat).max() <= 1e-6  # float32 rounding below 4
    return example, way


def test_an_epoch_is_every_example_at_most_once(seen: Seen, task: str) -> None:
    """As the spec would normalise it, cropped and flipped if that is the task's; with its own label; only the rest is dropped."""
    spec, fed = catalog.task(task), seen(task)
    for epoch in ("0", "1"):
        assert fed[f"x{epoch}"].shape == (ROWS // BATCH, BATCH, *spec.data.x_shape)
        which, _ = originals(task, np.concatenate(fed[f"x{epoch}"]))
        assert len(set(which)) == ROWS // BATCH * BATCH
        assert np.array_equal(np.concatenate(fed[f"y{epoch}"]), rows(spec)["y_train"][which])


def test_epochs_are_shuffled(seen: Seen, task: str) -> None:
    """Anew each time, and from the file's order; the same seed begins with the same epoch."""
    fed = seen(task)
    first, second, again = (np.concatenate(fed[name]) for name in ("x0", "x1", "again"))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again)
    assert not np.array_equal(originals(task, first)[0], np.arange(len(first)))
    if catalog.task(task).data.augment != "none":  # by other crops and mirrors, too
        assert not np.array_equal(originals(task, first)[1], originals(task, second)[1])


@pytest.fixture(scope="module")
def drawn(seen: Seen) -> np.ndarray:
    """Of an epoch of images that tell their own rows and columns: the crop's row and column, mirrored or not, example: (N, 4)."""
    told = seen("cifar_resnet:depth=8")
    spec = catalog.task("cifar_resnet")
    x = np.concatenate(told["coded_x"]) * spec.data.std + spec.data.mean  # back to pixels / 255
    row, column = np.rint(x[..., :2] * 255 / 8).astype(int).transpose(3, 0, 1, 2)
    mirrored = column[:, 16, 12] > column[:, 16, 20]
    across = np.where(mirrored, column[:, 16, 15], column[:, 16, 16])  # of 32 columns 15 is the mirror image of 16
    return np.stack([row[:, 16, 16] - 12, across - 12, mirrored, np.concatenate(told["coded_y"])], axis=1)


def test_crops_and_mirrors_are_even_and_independent(drawn: np.ndarray) -> None:
    """Nine rows, nine columns, two ways round, each as often as any other, none tied to another, nor to the place in a batch."""
    down, right, flip, _ = drawn.T
    place = np.arange(len(drawn)) % BATCH
    for part, ways in zip((down, right, flip), WAYS, strict=True):
        assert scipy.stats.chisquare(np.bincount(part, minlength=ways)).pvalue > RARE
    for a, b in combinations((down, right, flip, place), 2):
        table = np.array([[np.sum((a == i) & (b == j)) for j in np.unique(b)] for i in np.unique(a)])
        assert scipy.stats.chi2_contingency(table).pvalue > RARE
    assert len({(*way[:3],) for way in drawn.tolist()}) > 0.99 * np.prod(WAYS)


def test_an_epoch_is_shuffled_as_a_whole(drawn: np.ndarray) -> None:
    """Not within a window of it, nor by whole batches; every example once, the last batch of a number that divides too."""
    order = drawn[:, 3]
    assert sorted(order) == list(range(CODED))
    assert scipy.stats.spearmanr(order, np.arange(CODED)).pvalue > RARE
    assert np.sum(np.diff(order) == 1) < CODED // BATCH // 4


def test_batches_are_as_if_placed_by_the_session(seen: Seen, task: str) -> None:
    """The same class, shapes, dtypes, devices and masks, in turn; nothing more is compiled after two steps."""
    told = seen(task)
    assert [name for name in ("alike", "alike in all modes", "in turn", "compiled once", "trains") if not told[name]] == []


def test_batches_go_on_with_the_next_epoch():
    """A small data set fills as many as are wanted, each epoch in its own order."""
    spec = catalog.task("risk_mlp")
    arrays = {"x_train": np.arange(60, dtype=np.float32)[:, None], "y_train": np.zeros(60, np.int32)}
    found = list(islice(batches.endless(spec, arrays, batch=40, seed=0), 3))
    assert all(len(np.unique(batch.x)) == 40 for batch in found)
    assert len({batch.x.tobytes() for batch in found}) == 3
    with pytest.raises(HarnessError, match="batch 61"):
        next(batches.endless(spec, arrays, batch=61, seed=0))


# --- inside a backend's process


def main(backend: str, folder: str, *tasks: str) -> None:
    """Write what a backend feeds for some tasks."""
    engine = import_module(f"backends.{backend}.engine")
    engine.configure(threads=1, seed=0)
    first, *others = catalog.backend(backend).MODES
    for task in tasks:
        told = fed(engine, first, task) | {"alike in all modes": all(alike(engine, mode, task) for mode in others)}
        np.savez(Path(folder) / f"{task.replace(':', ' ')}.npz", **told)


def alike(engine: Any, mode: str, task: str) -> bool:
    """Whether what is fed in a mode is as its session places it."""
    spec = catalog.task(task)
    table = spec.optimizer.table(spec.learning_rates(100))
    session = engine.open_session(spec, mode=mode, precision="float32", device="cpu", table=table)
    placed = session.put(*next(batches.training(spec, rows(spec), batch=BATCH, seed=0, epoch=0)))
    return form(next(engine.pipeline(spec.data, rows(spec), seed=1, placed=[placed])())) == form(placed)


def fed(engine: Any, mode: str, task: str) -> dict[str, Any]:
    """Two epochs, the first of an equal pipeline, and how a session takes them."""
    spec = catalog.task(task)
    table = spec.optimizer.table(spec.learning_rates(100))
    session = engine.open_session(spec, mode=mode, precision="float32", device="cpu", table=table)
    session.load(weights.initial(spec, 0))
    host = islice(batches.training(spec, rows(spec), batch=BATCH, seed=0, epoch=0), 3)
    placed = [session.put(*batch) for batch in host]
    epochs = engine.pipeline(spec.data, rows(spec), seed=1, placed=placed)
    losses, compilations, found, forms = [], [], {}, []
    for epoch in ("0", "1"):
        taken = list(epochs())
        for batch in taken:
            losses.append(float(session.fetch(session.train_step(batch))))
            compilations.append(session.compilations())
        found |= {f"x{epoch}": arrays(batch.x for batch in taken), f"y{epoch}": arrays(batch.y for batch in taken)}
        forms += taken
    again = engine.pipeline(spec.data, rows(spec), seed=1, placed=placed)
    if spec.data.augment != "none":
        epoch = list(engine.pipeline(spec.data, coded(), seed=2, placed=placed)())
        found |= {"coded_x": arrays(batch.x for batch in epoch), "coded_y": arrays(batch.y for batch in epoch)}
    return found | {
        "again": arrays(batch.x for batch in again()),
        "alike": all(form(batch) == form(placed[0]) for batch in forms),
        "in turn": all(batch.masks is placed[i % 3].masks for i, batch in enumerate(forms)),
        "compiled once": compilations[1:] == compilations[1:2] * len(compilations[1:]),
        "trains": bool(np.isfinite(losses).all()),
    }


def coded() -> dict[str, np.ndarray]:
    """Images (CODED, 32, 32, 3) with 8 times the row and 8 times the column as colours, and their numbers as labels."""
    row, column = np.indices((32, 32), np.uint8) * np.uint8(8)
    image = np.stack([row, column, np.zeros_like(row)], axis=-1)
    return {"x_train": np.tile(image, (CODED, 1, 1, 1)), "y_train": np.arange(CODED, dtype=np.int32)}


def arrays(tensors: Any) -> np.ndarray:
    """Tensors of any framework as one array, channels last."""
    stacked = np.stack([np.asarray(tensor) for tensor in tensors])
    first = stacked.ndim == 5 and stacked.shape[2] in (1, 3)
    return stacked.transpose(0, 1, 3, 4, 2) if first else stacked


def form(batch: Any) -> list[Any]:
    """What must be equal for a step to be the same program."""
    strides = getattr(batch.x, "stride", tuple)()  # only PyTorch's may lie in another order
    return [type(batch), strides, *((tuple(t.shape), t.dtype, getattr(t, "device", None)) for t in (batch.x, batch.y))]


if __name__ == "__main__":
    main(*sys.argv[1:])
