"""What every backend is given: draws, weights, optimizer table, batches; and the figures its answers are worth.

Known answers are frozen: a change of one of them changes every run, and is a new schema, not a new expectation.
"""

import hashlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as any_array
from sklearn import metrics as known

from harness import batches, catalog, draws, metrics, weights
from harness.errors import HarnessError
from harness.spec import (
    ONES,
    DataSpec,
    Init,
    ModelSpec,
    OptimizerSpec,
    ParamSpec,
    TaskSpec,
    TrainSpec,
    f32,
    glorot_uniform,
    he_normal,
)

TASKS = catalog.tasks()
DIGESTS = {  # 64 bits of that of the initial and of the unsettled weights under seed 0
    "cifar_resnet": ("fa5126743a95bd78", "a43fe78e997221b1"),
    "mnist_cnn": ("f11c74e0a81c77ec", "ffb5859b23c83e1c"),
    "mnist_mlp": ("aa881e6c2582e984", "3599a672cef56222"),
    "risk_mlp": ("a9a3e81aae469a34", "02bd2e18e3fe35ea"),
}
streams = st.lists(st.integers(0, 9) | st.text("abc/", min_size=1, max_size=3), max_size=3)


def images(spec: TaskSpec, count: int) -> dict[str, np.ndarray]:
    """Made-up training data of a task's form."""
    shape = (count, *spec.data.x_shape)
    size = math.prod(shape)
    if len(spec.data.x_shape) > 1:
        x = draws.integers(1, "pixels", count=size, below=256).astype(np.uint8)
    else:
        x = (draws.integers(1, "features", count=size, below=256) / 100 - 1).astype(np.float32)
    y = draws.integers(1, "labels", count=count, below=spec.data.classes).astype(np.int32)
    return {"x_train": x.reshape(shape), "y_train": y}


# --- draws


def test_bits_are_known() -> None:
    """Philox with the first 16 bytes of the sha256 of the stream's name as its key, for ever."""
    assert draws.bits(0, "order", 0, count=3).tolist() == [
        14_673_504_513_305_535_427,
        18_192_195_793_190_200_546,
        12_445_800_978_129_762_551,
    ]
    key = int.from_bytes(hashlib.sha256(b"7/dropout/1").digest()[:16], "little")
    np.testing.assert_array_equal(draws.bits(7, "dropout", 1, count=5), np.random.Philox(key=key).random_raw(5))


def test_draws_are_known() -> None:
    """The first values of each kind under seed 0."""
    assert draws.permutation(0, "order", 0, count=8).tolist() == [4, 6, 2, 7, 0, 5, 1, 3]
    assert draws.integers(0, "crop", 0, count=8, below=9).tolist() == [1, 3, 4, 0, 8, 6, 6, 3]
    kept = draws.mask(0, "dropout", 0, 0, 0, shape=(2, 5), rate=f32(0.2), scale=1.25)
    assert kept.tolist() == [[1.25, 1.25, 1.25, 1.25, 1.25], [1.25, 1.25, 0.0, 1.25, 1.25]]


@given(st.integers(0, 2**31), streams, st.integers(0, 300))
def test_a_permutation_is_one(seed: int, stream: list[Any], count: int) -> None:
    """Every index once; the same again for the same name."""
    order = draws.permutation(seed, *stream, count=count)
    assert sorted(order.tolist()) == list(range(count))
    np.testing.assert_array_equal(order, draws.permutation(seed, *stream, count=count))


@given(st.integers(0, 2**31), streams, st.integers(1, 256), st.integers(0, 50))
def test_integers_stay_below(seed: int, stream: list[Any], below: int, count: int) -> None:
    """From 0 up, never ``below`` itself."""
    found = draws.integers(seed, *stream, count=count, below=below)
    assert found.shape == (count,)
    assert np.all((found >= 0) & (found < below))


@given(streams, streams)
def test_streams_are_not_shared(one: list[Any], other: list[Any]) -> None:
    """Two names give two sequences: 256 equal bits are no accident."""
    same = "/".join(map(str, one)) == "/".join(map(str, other))
    assert np.array_equal(draws.bits(0, *one, count=4), draws.bits(0, *other, count=4)) == same


def test_a_longer_draw_begins_with_the_shorter() -> None:
    """How much is drawn does not change what comes first."""
    np.testing.assert_array_equal(draws.bits(3, "a", count=100)[:10], draws.bits(3, "a", count=10))


def test_every_permutation_is_as_likely() -> None:
    """All six orders of three, 1,000 times each: chi-square with 5 degrees of freedom, 1 in 1,000 above 20.5."""
    found = [tuple(draws.permutation(0, "law", i, count=3)) for i in range(6000)]
    counts = np.array([found.count(order) for order in set(found)])
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5


def test_integers_are_even() -> None:
    """Crops 0 to 8 alike: chi-square with 8 degrees of freedom, 1 in 1,000 above 26.1."""
    counts = np.bincount(draws.integers(0, "crop", 0, count=90_000, below=9))
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 26.1


@pytest.mark.parametrize("rate", [0.0, 0.1, f32(0.2), 0.5, 0.9])
def test_masks_drop_their_share(rate: float) -> None:
    """Within four standard deviations of the rate, 0 or the scale and nothing else, even where the count is odd."""
    scale = f32(1 / (1 - rate))
    mask = draws.mask(5, "m", shape=(401, 251), rate=rate, scale=scale)
    assert mask.dtype == np.float32
    assert mask.shape == (401, 251)
    assert set(np.unique(mask).tolist()) <= {0.0, scale}
    assert abs(np.mean(mask == 0) - rate) <= 4 * math.sqrt(rate * (1 - rate) / mask.size)


# --- weights


@pytest.mark.parametrize("task", DIGESTS)
def test_weights_are_known(task: str) -> None:
    """Runs that began alike years apart can say so."""
    spec = catalog.task(task)
    found = (weights.initial(spec, 0), weights.unsettled(spec, 0))
    assert tuple(weights.digest(arrays)[:16] for arrays in found) == DIGESTS[task]


@pytest.mark.parametrize("task", TASKS)
def test_weights_fit_the_spec(task: str) -> None:
    """Every tensor once, in order, float32, with the spread that its init says."""
    spec = catalog.task(task)
    found = weights.initial(spec, 3)
    assert list(found) == [t.name for t in spec.model.tensors]
    for t in spec.model.tensors:
        array = found[t.name]
        assert (array.shape, array.dtype) == (t.shape, np.float32)
        if t.init.kind == "constant":
            assert np.all(array == t.init.scale)
        elif t.init.kind == "uniform":
            assert np.max(np.abs(array)) <= f32(t.init.scale)
            assert np.std(array) == pytest.approx(t.init.scale / math.sqrt(3), rel=5 / math.sqrt(array.size))
        else:
            assert np.std(array) == pytest.approx(t.init.scale, rel=5 / math.sqrt(array.size))


@pytest.mark.parametrize("task", TASKS)
def test_unsettled_weights_hide_nothing(task: str) -> None:
    """No bias is 0, no scale is 1, no running variance is negative: a layer that forgets one of them shows."""
    spec = catalog.task(task)
    initial, unsettled = weights.initial(spec, 0), weights.unsettled(spec, 0)
    for t in spec.model.tensors:
        if t.init.kind == "constant":
            assert np.all(unsettled[t.name] != t.init.scale)
            assert np.all(unsettled[t.name] > 0) or not t.name.endswith("/var")
        else:
            np.testing.assert_array_equal(unsettled[t.name], initial[t.name])


def test_weights_have_a_stream_each() -> None:
    """A tensor's draw depends on its name and the seed alone, not on its neighbours."""
    tensors = tuple(ParamSpec(name, "c", (50,), Init("normal", 1.0)) for name in ("a", "b"))
    spec = catalog.task("risk_mlp")
    both = weights.initial(replace(spec, model=ModelSpec(tensors, {})), 0)
    alone = weights.initial(replace(spec, model=ModelSpec(tensors[1:], {})), 0)
    np.testing.assert_array_equal(both["b"], alone["b"])
    assert not np.array_equal(both["a"], both["b"])
    other = weights.initial(replace(spec, model=ModelSpec(tensors, {})), 1)
    assert not np.array_equal(both["a"], other["a"])


def test_digests_see_everything() -> None:
    """Names, shapes and every byte."""
    exact = {"a": np.zeros((2, 3), np.float32)}
    others = [
        {"b": exact["a"]},
        {"a": exact["a"].T},
        {"a": exact["a"] + np.float32(1e-45)},
        {"a": exact["a"].astype(np.float64)},
    ]
    assert len({weights.digest(one) for one in [exact, *others]}) == 5


# --- numbers of the spec


@given(st.floats(allow_nan=False, width=64, min_value=-1e38, max_value=1e38))
def test_f32_is_what_a_cast_gives(value: float) -> None:
    """Casting once more changes nothing, in either direction."""
    assert np.float32(f32(value)) == np.float32(value)
    assert f32(f32(value)) == f32(value)


def test_hyperparameters_are_rounded_once() -> None:
    """So that float64 and float32 run on the same numbers."""
    rule = OptimizerSpec("adamw", lr=0.001, weight_decay=0.01, momentum=0.9, eps=1e-8, beta1=0.9, beta2=0.999)
    model = ModelSpec((), {}, dropout_rate=0.2, batch_norm_momentum=0.1, batch_norm_eps=1e-5)
    for thing, names in (
        (rule, ("lr", "weight_decay", "momentum", "eps", "beta1", "beta2")),
        (model, ("dropout_rate", "batch_norm_momentum", "batch_norm_eps", "keep_scale")),
    ):
        for name in names:
            value = getattr(thing, name)
            assert value == float(np.float32(value)), name
    assert rule.beta2 != 0.999


def test_adam_refuses_a_decay() -> None:
    """Adam's rule has none: a spec that asks for it would be trained without."""
    with pytest.raises(HarnessError, match="adamw"):
        OptimizerSpec("adam", lr=0.1, weight_decay=0.01)


def test_inits_follow_their_papers() -> None:
    """He: sqrt(2/fan in). Glorot: sqrt(6/(fan in + fan out))."""
    assert he_normal(50) == Init("normal", 0.2)
    assert glorot_uniform(20, 4) == Init("uniform", 0.5)


@pytest.mark.parametrize(("axes", "shape"), [("i o", (3,)), ("c", (0,)), ("h w i o", (3, 3, 4))])
def test_shapes_must_fit_their_axes(axes: str, shape: tuple[int, ...]) -> None:
    """A mistake in a task file is told with the tensor's name."""
    with pytest.raises(HarnessError, match="layer/kernel"):
        ParamSpec("layer/kernel", axes, shape, ONES)


def test_tensor_names_are_unique() -> None:
    """Two layers of one path would overwrite each other."""
    with pytest.raises(HarnessError, match="'a/bias'"):
        ModelSpec((ParamSpec("a/bias", "c", (1,), ONES),) * 2, {})


@given(st.sampled_from(["adam", "adamw"]), st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30))
def test_the_table_is_the_formula(kind: Any, lrs: list[float]) -> None:
    """Row t-1: lr, lr / (1 - beta1**t), sqrt(1 - beta2**t), in float64."""
    rule = OptimizerSpec(kind, lr=0.1, beta1=0.8, beta2=0.99)
    table = rule.table(np.array(lrs))
    assert table.shape == (len(lrs), 3)
    assert table.dtype == np.float64
    for t, lr in enumerate(lrs, start=1):
        wanted = (lr, lr / (1 - rule.beta1**t), math.sqrt(1 - rule.beta2**t))
        assert table[t - 1].tolist() == pytest.approx(wanted, rel=1e-14)


def test_the_table_serves_the_documented_rule() -> None:
    """Ten steps of Adam from the table equal ten steps of the textbook's formula, number by number."""
    rule = OptimizerSpec("adam", lr=0.01, eps=1e-3)
    gradients = np.cos(np.arange(10.0)) * 10.0 ** -np.arange(10)
    m = v = p = q = 0.0
    for t, (g, (_lr, step_size, root)) in enumerate(zip(gradients, rule.table(np.full(10, rule.lr)), strict=True), start=1):
        m, v = rule.beta1 * m + (1 - rule.beta1) * g, rule.beta2 * v + (1 - rule.beta2) * g * g
        p -= step_size * m / (math.sqrt(v) / root + rule.eps)
        q -= rule.lr * (m / (1 - rule.beta1**t)) / (math.sqrt(v / (1 - rule.beta2**t)) + rule.eps)
        assert p == pytest.approx(q, rel=1e-12)


def test_the_table_of_sgd_corrects_nothing() -> None:
    """lr, lr, 1."""
    assert OptimizerSpec("sgd", lr=0.1).table(np.array([0.5, 0.25])).tolist() == [[0.5, 0.5, 1], [0.25, 0.25, 1]]


def test_learning_rates_change_at_the_milestone() -> None:
    """The step itself has the new lr, not the one after it."""
    spec = replace(catalog.task("risk_mlp"), train=TrainSpec(batch=1, epochs=1, milestones=(0.5, 0.75)))
    lr = spec.optimizer.lr
    for steps, first, second in ((8, 4, 6), (10, 5, 7), (64_000, 32_000, 48_000)):
        lrs = spec.learning_rates(steps)
        assert lrs.shape == (steps,)
        assert lrs[:first].tolist() == [lr] * first
        assert lrs[first:second] == pytest.approx(lr / 10, rel=1e-12)
        assert lrs[second:] == pytest.approx(lr / 100, rel=1e-12)


def test_learning_rates_are_constant_without_milestones() -> None:
    """Exactly the spec's, not nearly."""
    spec = catalog.task("mnist_cnn")
    assert spec.learning_rates(5).tolist() == [f32(1e-3)] * 5


def test_the_resnet_steps_its_lr_where_the_paper_does() -> None:
    """At half and three quarters: 32,000 and 48,000 of 64,000 steps."""
    lrs = catalog.task("cifar_resnet").learning_rates(64_000)
    assert np.flatnonzero(np.diff(lrs)).tolist() == [31_999, 47_999]


def test_parameter_counts_are_those_of_the_papers() -> None:
    """ResNet-20 has 0.27 M, ResNet-56 0.85 M (He et al. 2015, table 6); the small ones by hand."""
    assert catalog.task("cifar_resnet").model.parameter_count == pytest.approx(0.27e6, rel=0.02)
    assert catalog.task("cifar_resnet:depth=56").model.parameter_count == pytest.approx(0.85e6, rel=0.01)
    assert catalog.task("mnist_cnn").model.parameter_count == 3 * 3 * 32 + 32 + 13 * 13 * 32 * 64 + 64 + 64 * 10 + 10
    assert catalog.task("risk_mlp").model.parameter_count == 61 * 256 + 256 + 256 + 1


# --- batches


@pytest.mark.parametrize("task", TASKS)
def test_batches_are_the_same_for_the_same_seed(task: str) -> None:
    """Bit by bit; another seed or epoch has another order."""
    spec = catalog.task(task)
    held = images(spec, 20)

    def digest(seed: int, epoch: int) -> str:
        total = hashlib.sha256()
        for batch in batches.training(spec, held, batch=6, seed=seed, epoch=epoch):
            for array in (batch.x, batch.y, *batch.masks):
                total.update(array.tobytes())
        return total.hexdigest()

    assert digest(0, 0) == digest(0, 0)
    assert len({digest(0, 0), digest(1, 0), digest(0, 1)}) == 3


@pytest.mark.parametrize("task", TASKS)
def test_batches_have_the_contract_s_form(task: str) -> None:
    """X float32, y int32, masks float32 of the batch's length; the incomplete rest of an epoch is dropped."""
    spec = catalog.task(task)
    found = list(batches.training(spec, images(spec, 20), batch=6, seed=0, epoch=0))
    assert len(found) == 3
    for x, y, masks in found:
        assert (x.shape, x.dtype) == ((6, *spec.data.x_shape), np.float32)
        assert (y.shape, y.dtype) == ((6,), np.int32)
        assert [(m.shape, m.dtype) for m in masks] == [((6, *shape), np.float32) for shape in spec.model.dropout]


def test_an_epoch_sees_each_example_once() -> None:
    """In the order of the epoch's own stream, x and y together."""
    spec = catalog.task("risk_mlp")
    held = {"x_train": np.arange(20, dtype=np.float32)[:, None].repeat(61, 1), "y_train": np.arange(20, dtype=np.int32)}
    found = list(batches.training(spec, held, batch=5, seed=4, epoch=2))
    order = np.concatenate([batch.y for batch in found])
    np.testing.assert_array_equal(order, draws.permutation(4, "order", 2, count=20))
    np.testing.assert_array_equal(np.concatenate([batch.x[:, 0] for batch in found]), order)


def test_masks_differ_by_layer_epoch_and_step() -> None:
    """Each has a stream of its own."""
    spec = catalog.task("risk_mlp")
    found = [m[:, :61] for e, s in ((0, 0), (0, 1), (1, 0)) for m in batches.masks(spec, 0, e, s, 32)]
    assert len({m.tobytes() for m in found}) == 6


def test_a_batch_larger_than_the_data_is_refused() -> None:
    """With both numbers."""
    with pytest.raises(HarnessError, match="batch 21 is not from 1 to the 20"):
        batches.steps_per_epoch(images(catalog.task("risk_mlp"), 20), 21)


def naive_crop_flip(image: np.ndarray, shift: np.ndarray, *, flip: bool) -> np.ndarray:
    """Pad by four, crop, mirror: pixel by pixel."""
    height, width, channels = image.shape
    made = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            source = width - 1 - column if flip else column
            above, left = row + shift[0] - 4, source + shift[1] - 4
            if 0 <= above < height and 0 <= left < width:
                for channel in range(channels):
                    made[row, column, channel] = image[above, left, channel]
    return made


@given(any_array(np.uint8, (2, 6, 5, 3)), any_array(np.int64, (2, 2), elements=st.integers(0, 8)), any_array(np.bool_, 2))
def test_crop_flip_equals_a_loop_over_pixels(x: np.ndarray, shift: np.ndarray, flip: np.ndarray) -> None:
    """For every shift and both directions; the dtype stays."""
    found = batches.crop_flip(x, shift, flip)
    assert found.dtype == np.uint8
    for i in range(2):
        np.testing.assert_array_equal(found[i], naive_crop_flip(x[i], shift[i], flip=bool(flip[i])))


def test_augmentation_belongs_to_the_example() -> None:
    """A batch holds each example's own crop, wherever the order puts it."""
    spec = catalog.task("cifar_resnet")
    held = images(spec, 12)
    shift, flip = batches.augmentation(0, 3, 12)
    assert (shift.shape, shift.min() >= 0, shift.max() <= 8) == ((12, 2), True, True)
    order = draws.permutation(0, "order", 3, count=12)
    first = next(batches.training(spec, held, batch=4, seed=0, epoch=3))
    for i, example in enumerate(order[:4]):
        pixels = naive_crop_flip(held["x_train"][example], shift[example], flip=bool(flip[example]))
        np.testing.assert_array_equal(first.x[i], batches.normalise(spec.data, pixels))


def test_normalise_is_the_float64_formula_rounded_once() -> None:
    """All 256 values of each channel."""
    data = DataSpec("made_up", (1, 1, 3), 10, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))
    x = np.arange(256, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    exact = (x.astype(np.float64) / 255.0 - np.array(data.mean)) / np.array(data.std)
    found = batches.normalise(data, x)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact.astype(np.float32))


def test_normalise_broadcasts_one_mean_and_passes_features() -> None:
    """One figure serves all channels; what is float already is a table's own."""
    plain = DataSpec("made_up", (1, 1, 1), 10)
    x = np.arange(256, dtype=np.uint8)[:, None, None, None]
    np.testing.assert_array_equal(batches.normalise(plain, x), (x / 255.0).astype(np.float32))
    features = np.ones((3, 4), np.float32)
    assert batches.normalise(plain, features) is features


@given(st.integers(1, 40), st.integers(1, 12))
def test_evaluation_pads_the_last_batch(count: int, batch: int) -> None:
    """All rows in file order, every batch of one size, zeros behind the last row."""
    x = np.arange(1, count + 1, dtype=np.float32)[:, None]
    found = list(batches.evaluation(DataSpec("made_up", (1,), 2), x, batch))
    assert all(part.shape == (batch, 1) for part, _ in found)
    assert sum(n for _, n in found) == count
    np.testing.assert_array_equal(np.concatenate([part[:n] for part, n in found]), x)
    assert np.all(found[-1][0][found[-1][1] :] == 0)


# --- metrics


labels = st.lists(st.booleans(), min_size=4, max_size=40).filter(lambda y: 0 < sum(y) < len(y))


@settings(max_examples=40)
@given(labels, st.data(), st.sampled_from([st.sampled_from([-1.0, 0.5, 2.0]), st.floats(-8, 8)]))
def test_binary_figures_are_scikit_learn_s(y: list[bool], data: st.DataObject, scores: st.SearchStrategy[float]) -> None:
    """AUC and average precision with and without ties, log-loss, Brier, accuracy, precision, recall, F1."""
    z = np.array(data.draw(st.lists(scores, min_size=len(y), max_size=len(y))))
    truth = np.array(y, np.int32)
    found = metrics.figures("sigmoid_cross_entropy", z[:, None].astype(np.float32), truth)
    z = z.astype(np.float32).astype(np.float64)
    probability = 1 / (1 + np.exp(-z))
    predicted = z > 0
    expected = {
        "auc": known.roc_auc_score(truth, z),
        "average_precision": known.average_precision_score(truth, z),
        "log_loss": known.log_loss(truth, probability, labels=[0, 1]),
        "brier": known.brier_score_loss(truth, probability),
        "accuracy": known.accuracy_score(truth, predicted),
        "precision": known.precision_score(truth, predicted, zero_division=0),
        "recall": known.recall_score(truth, predicted, zero_division=0),
        "f1": known.f1_score(truth, predicted, zero_division=0),
    }
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_binary_figures_survive_sure_logits() -> None:
    """Probabilities of 0 and 1 neither overflow nor warn."""
    found = metrics.binary(np.array([-1000.0, 1000.0, 1000.0]), np.array([0, 1, 0]))
    assert found["log_loss"] == pytest.approx(1000 / 3)
    assert found["brier"] == pytest.approx(1 / 3)


def test_auc_of_one_class_is_no_number() -> None:
    """There is nothing to rank."""
    assert math.isnan(metrics.auc(np.array([0.1, 0.2]), np.array([1, 1])))


@given(
    any_array(np.float32, (7, 4), elements=st.floats(-50, 50, width=32)),
    any_array(np.int32, 7, elements=st.integers(0, 3)),
)
def test_multiclass_figures_are_scikit_learn_s(logits: np.ndarray, y: np.ndarray) -> None:
    """Log-loss in float64 and accuracy."""
    found = metrics.figures("softmax_cross_entropy", logits, y)
    exact = logits.astype(np.float64)
    log_share = exact - np.logaddexp.reduce(exact, axis=1, keepdims=True)
    assert found["log_loss"] == pytest.approx(-log_share[np.arange(7), y].mean(), rel=1e-9, abs=1e-9)
    assert found["accuracy"] == known.accuracy_score(y, exact.argmax(1))
