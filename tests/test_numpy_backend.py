"""The NumPy reference against first principles: finite differences, formulas again, loops over pixels."""

import importlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.numpy import engine
from backends.numpy.layers import BatchNorm, Conv, MaxPool, ReLU
from harness import draws
from harness.errors import HarnessError
from harness.protocol import Precision
from harness.spec import Arrays, ModelSpec, OptimizerSpec, TaskSpec

ROOT = Path(__file__).parent.parent
SMALL = {"cifar_resnet": {"depth": 8}}  # what makes a task small enough for seconds; the rest is as it is
TASKS = sorted(path.stem for path in (ROOT / "suites/tasks").glob("[a-z]*.py"))
BATCH = 3


@pytest.fixture(params=TASKS)
def spec(request: pytest.FixtureRequest) -> TaskSpec:
    """Every task, small."""
    return small(request.param)


def small(name: str) -> TaskSpec:
    """One task, small."""
    return importlib.import_module(f"suites.tasks.{name}").make(**SMALL.get(name, {}))


def with_optimizer(spec: TaskSpec, kind: str) -> TaskSpec:
    """The task under another update rule, no constant that it reads at its default."""
    rule: Any = {"kind": kind, "lr": 0.05, "momentum": 0.8, "beta1": 0.7, "beta2": 0.95, "eps": 1e-3}
    return replace(spec, optimizer=OptimizerSpec(**rule, weight_decay=0.0 if kind == "adam" else 0.1))


def session(spec: TaskSpec, precision: Precision = "float64", steps: int = 3) -> engine.Session:
    """An open session with another lr at each step."""
    table = spec.optimizer.table(spec.optimizer.lr / np.arange(1.0, steps + 1))
    return engine.open_session(spec, mode="reference", precision=precision, device="cpu", table=table)


def uniform(*stream: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of mean 0 and variance 1 that no version of NumPy changes, float64."""
    words = draws.bits(7, *stream, count=math.prod(shape))
    return (words / 2.0**63 - 1).reshape(shape) * math.sqrt(3)


def tensors(spec: TaskSpec, precision: Precision = "float64") -> Arrays:
    """Values that hide nothing: no bias, beta or mean is 0, no gamma or var is 1; activations stay near 1."""
    made = {}
    for t in spec.model.tensors:
        array = uniform(t.name, shape=t.shape)
        positive = t.name.endswith(("gamma", "var"))  # from 0.56 to 1.94
        array = 1.25 + 0.4 * array if positive else array / math.sqrt(math.prod(t.shape[:-1]))
        made[t.name] = array.astype(precision)
    return made


def batch(spec: TaskSpec, step: int = 0) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """One batch as the harness hands it over: x float32, y int32, masks float32."""
    x = uniform("x", step, shape=(BATCH, *spec.data.x_shape)).astype(np.float32)
    y = ((np.arange(BATCH) + step) % spec.data.classes).astype(np.int32)
    rate, scale = spec.model.dropout_rate, spec.model.keep_scale
    shapes = [(BATCH, *shape) for shape in spec.model.dropout]
    masks = (draws.mask(7, i, step, shape=shape, rate=rate, scale=scale) for i, shape in enumerate(shapes))
    return x, y, tuple(masks)


def arrays_in(thing: Any) -> Iterator[np.ndarray]:
    """Every array that an object holds, however deep."""
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, dict):
        yield from (array for value in thing.values() for array in arrays_in(value))
    elif isinstance(thing, list | tuple):
        yield from (array for value in thing for array in arrays_in(value))
    elif type(thing).__module__.startswith("backends.numpy"):
        yield from arrays_in(vars(thing))


# Gradients


def test_every_gradient_is_the_slope_of_the_loss(spec: TaskSpec) -> None:
    """Central differences in float64, at entries of every parameter and along a direction through it all."""
    running, weights = session(spec), tensors(spec)
    placed = running.put(*batch(spec))

    def loss_at(name: str, shift: np.ndarray) -> float:
        running.load(weights | {name: weights[name] + shift})
        logits = running.model.forward(placed.x, placed.masks, training=True)
        return float(engine.loss(spec.loss, logits, placed.y)[0])

    def slopes(name: str, direction: np.ndarray) -> Iterator[float]:
        for h in (1e-6, 1e-7, 1e-5):  # where a ReLU switches within one step, another step is free of it
            yield (loss_at(name, h * direction) - loss_at(name, -h * direction)) / (2 * h)

    running.load(weights)
    grads = running.gradients(placed)[1]
    rng = np.random.default_rng(5)
    assert list(grads) == [t.name for t in spec.model.parameters]
    for t in spec.model.parameters:
        assert grads[t.name].shape == t.shape
        largest = np.unravel_index(np.abs(grads[t.name]).argmax(), t.shape)
        directions = [
            rng.normal(size=t.shape) / math.sqrt(math.prod(t.shape)),
            np.zeros(t.shape),
            np.zeros(t.shape),
        ]
        directions[1][largest] = directions[2][tuple(rng.integers(t.shape))] = 1.0
        for direction in directions:
            expected = pytest.approx((grads[t.name] * direction).sum(), rel=1e-5, abs=1e-8)
            assert any(slope == expected for slope in slopes(t.name, direction)), t.name


def test_gradients_change_no_parameter(spec: TaskSpec) -> None:
    """Only the buffers move, and they do."""
    running, weights = session(spec), tensors(spec)
    running.load(weights)
    running.gradients(running.put(*batch(spec)))
    after = running.dump()
    for t in spec.model.tensors:
        assert np.array_equal(after[t.name], weights[t.name]) == t.trained, t.name


# Layers


@pytest.mark.parametrize(("stride", "padding", "side"), [(1, 0, 5), (1, 1, 5), (2, 1, 6), (2, 1, 7)])
def test_convolution_is_a_sum_over_windows(stride: int, padding: int, side: int) -> None:
    """Against loops over pixels; at stride 2 an even side shows one-sided padding, which an odd one hides."""
    rng = np.random.default_rng(0)
    layer = Conv(stride=stride, padding=padding, bias=True)
    layer.kernel, layer.bias = rng.normal(size=(3, 3, 2, 4)), rng.normal(size=4)
    x = rng.normal(size=(2, side, side, 2))
    padded = np.zeros((2, side + 2 * padding, side + 2 * padding, 2))
    padded[:, padding : padding + side, padding : padding + side] = x
    out = (side + 2 * padding - 3) // stride + 1
    expected = np.empty((2, out, out, 4))
    for b, p, q, o in np.ndindex(*expected.shape):
        window = padded[b, p * stride : p * stride + 3, q * stride : q * stride + 3]
        expected[b, p, q, o] = (window * layer.kernel[..., o]).sum() + layer.bias[o]
    assert np.allclose(layer.forward(x), expected, rtol=1e-13, atol=1e-13)


def test_pool_takes_the_first_of_equals() -> None:
    """The gradient of a tie goes to the upper left pixel; an odd last row and column get none."""
    pool = MaxPool()
    x = np.array([[1, 1, 0, 5, 9], [1, 1, 7, 7, 9], [9, 9, 9, 9, 9]], float).reshape(1, 3, 5, 1)
    assert pool.forward(x).tolist() == [[[[1.0], [7.0]]]]
    expected = np.array([[2, 0, 0, 0, 0], [0, 0, 3, 0, 0], [0, 0, 0, 0, 0]], float)
    assert np.array_equal(pool.backward(np.array([2.0, 3.0]).reshape(1, 1, 2, 1))[0, :, :, 0], expected)


def test_relu_has_no_slope_at_zero() -> None:
    """As in every framework: dead units of a zero bias stay dead."""
    relu = ReLU()
    assert relu.forward(np.array([-1.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 2.0]
    assert relu.backward(np.ones(3)).tolist() == [0.0, 0.0, 1.0]


def test_batch_norm_normalises_by_the_biased_and_stores_the_unbiased_variance() -> None:
    """Output and buffers of a training batch, then the output of an evaluation, by formula."""
    layer = BatchNorm(ModelSpec((), {}, batch_norm_momentum=0.25, batch_norm_eps=0.5))
    layer.gamma, layer.beta = np.array([2.0, 3.0]), np.array([-1.0, 1.0])
    layer.mean, layer.var = np.array([0.5, 0.0]), np.array([4.0, 2.0])
    x = np.random.default_rng(0).normal(5, 3, size=(2, 3, 2, 2))
    rows = x.reshape(-1, 2)  # 12 numbers a channel
    expected = (x - rows.mean(0)) / np.sqrt(rows.var(0, ddof=0) + 0.5) * [2.0, 3.0] + [-1.0, 1.0]
    assert np.allclose(layer.forward(x, training=True), expected, rtol=1e-13)
    assert np.allclose(layer.mean, 0.75 * np.array([0.5, 0.0]) + 0.25 * rows.mean(0), rtol=1e-13)
    assert np.allclose(layer.var, 0.75 * np.array([4.0, 2.0]) + 0.25 * rows.var(0, ddof=1), rtol=1e-13)
    mean, var = layer.mean.copy(), layer.var.copy()
    expected = (x - mean) / np.sqrt(var + 0.5) * [2.0, 3.0] + [-1.0, 1.0]
    assert np.allclose(layer.forward(x, training=False), expected, rtol=1e-13)
    assert np.array_equal(layer.mean, mean)
    assert np.array_equal(layer.var, var)


def test_batch_norm_survives_a_large_mean_in_float32() -> None:
    """Mean 100, deviation 0.1: E[x*x] - E[x]**2 is off by 0.8 here."""
    layer = BatchNorm(ModelSpec((), {}, batch_norm_momentum=0.1, batch_norm_eps=1e-5))
    layer.gamma, layer.beta, layer.mean, layer.var = (np.full(1, v, np.float32) for v in (1, 0, 0, 1))
    x = np.random.default_rng(0).normal(100, 0.1, size=(8, 16, 16, 1)).astype(np.float32)
    exact = (x - x.mean(dtype=np.float64)) / np.sqrt(x.var(dtype=np.float64) + 1e-5)
    assert np.abs(layer.forward(x, training=True) - exact).max() < 1e-3


def test_shortcut_subsamples_and_pads_channels_on_both_sides() -> None:
    """Option A: the new channels' zeros, half before and half after; at equal width, the input itself."""
    model = session(small("cifar_resnet")).model
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16))
    y = model.stage2[0].shortcut(x)
    assert y.shape == (2, 4, 4, 32)
    assert np.array_equal(y[..., 8:24], x[:, ::2, ::2])
    assert not y[..., :8].any()
    assert not y[..., 24:].any()
    assert model.stage1[0].shortcut(x) is x


# Losses


def test_softmax_cross_entropy_by_definition_and_at_large_logits() -> None:
    """The mean of -log(p[y]); a logit of 1000 neither overflows nor is clipped."""
    logits, y = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 2, 1, 1])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    value, grad = engine.loss("softmax_cross_entropy", logits, y)
    assert value == pytest.approx(-np.log(p[np.arange(4), y]).mean(), rel=1e-13)
    assert np.allclose(grad, (p - np.eye(3)[y]) / 4, rtol=1e-13)
    assert engine.loss("softmax_cross_entropy", np.array([[1000.0, 0.0]]), np.array([1]))[0] == 1000.0


def test_sigmoid_cross_entropy_by_definition_and_at_large_logits() -> None:
    """The mean of -y*log(p) - (1-y)*log(1-p); a logit of +-1000 neither overflows nor is clipped."""
    logits, y = np.random.default_rng(0).normal(size=(4, 1)), np.array([0.0, 1.0, 1.0, 0.0])
    p = 1 / (1 + np.exp(-logits[:, 0]))
    value, grad = engine.loss("sigmoid_cross_entropy", logits, y)
    assert value == pytest.approx(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), rel=1e-13)
    assert np.allclose(grad[:, 0], (p - y) / 4, rtol=1e-13)
    value, grad = engine.loss("sigmoid_cross_entropy", np.array([[1000.0], [-1000.0]]), np.array([0.0, 1.0]))
    assert value == 1000.0
    assert grad.tolist() == [[0.5], [-0.5]]


# Optimizers


def trained(spec: TaskSpec, steps: int) -> tuple[engine.Session, list[Arrays]]:
    """A session after some steps of its own, and the gradients that each step saw."""
    running, shadow = session(spec), session(spec)
    running.load(tensors(spec))
    seen = []
    for step in range(steps):
        shadow.load(running.dump())
        seen.append(shadow.gradients(shadow.put(*batch(spec, step)))[1])
        running.train_step(running.put(*batch(spec, step)))
    return running, seen


STEPS = 5  # two beyond the table, which has three rows
LRS = [0.05, 0.05 / 2, 0.05 / 3, 0.05 / 3, 0.05 / 3]
CORRECTED = [0, 1, 2, 2, 2]  # the row, and with it t-1, that each step uses


def test_sgd_step_by_step(spec: TaskSpec) -> None:
    """Coupled weight decay on every parameter, momentum without lr, the table's last row for later steps."""
    spec = with_optimizer(spec, "sgd")
    running, seen = trained(spec, STEPS)
    momentum, decay = float(np.float32(0.8)), float(np.float32(0.1))
    for name in seen[0]:
        p, b = tensors(spec)[name], 0.0
        for lr, grads in zip(LRS, seen, strict=True):
            b = momentum * b + (grads[name] + decay * p)
            p = p - lr * b
        assert np.allclose(running.dump()[name], p, rtol=1e-6, atol=1e-9), name  # lr is rounded to float32
        assert not np.allclose(running.dump()[name], tensors(spec)[name], rtol=1e-3), name


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_adam_step_by_step(spec: TaskSpec, kind: str) -> None:
    """Epsilon outside the corrected root; adamw shrinks every parameter first, adam none."""
    spec = with_optimizer(spec, kind)
    running, seen = trained(spec, STEPS)
    beta1, beta2, eps, decay = (float(np.float32(v)) for v in (0.7, 0.95, 1e-3, 0.1 * (kind == "adamw")))
    for name in seen[0]:
        p, m, v = tensors(spec)[name], 0.0, 0.0
        for lr, row, grads in zip(LRS, CORRECTED, seen, strict=True):
            m = beta1 * m + (1 - beta1) * grads[name]
            v = beta2 * v + (1 - beta2) * grads[name] ** 2
            m_hat, v_hat = m / (1 - beta1 ** (row + 1)), v / (1 - beta2 ** (row + 1))
            p = p - lr * decay * p - lr * m_hat / (np.sqrt(v_hat) + eps)
        assert np.allclose(running.dump()[name], p, rtol=1e-6, atol=1e-8), name


def test_adams_first_step_at_a_small_gradient() -> None:
    """With lr 1, eps 1e-8 and g 1e-5 it is 0.9990; with epsilon inside the correction it would be 0.9693."""
    spec = OptimizerSpec("adam", 1.0)
    p = np.zeros(1)
    engine.optimizer(spec, p, g=np.full(1, 1e-5), state={}, row=spec.table(np.ones(1))[0].tolist())
    assert -p[0] == pytest.approx(0.9990, abs=5e-5)


def test_load_forgets_what_training_left(spec: TaskSpec) -> None:
    """Weights, optimizer state and step counter start again: the same losses and weights to the last bit."""
    spec = with_optimizer(spec, "adam")
    running, runs = session(spec), []
    for _ in range(2):
        running.load(tensors(spec))
        losses = [float(running.train_step(running.put(*batch(spec, step)))) for step in range(3)]
        runs.append((losses, running.dump()))
    assert runs[0][0] == runs[1][0]
    assert len(set(runs[0][0])) == 3
    for name, array in runs[0][1].items():
        assert np.array_equal(array, runs[1][1][name]), name


# The session

KNOWN = {  # by PyTorch 2.13.0 in float64: the losses of three steps, then a weighted sum of the logits
    "cifar_resnet": [1.53066420652, 2.42170549433, 4.22412924232, -44.5199386734],
    "mnist_cnn": [2.41677737572, 2.36136750887, 2.61050704147, -325.339828165],
    "risk_mlp": [1.10621783919, 0.916821888656, 0.343229795387, 1.32525575764],
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_framework_once_computed_the_same(name: str) -> None:
    """Whole models through three steps of training; parity repeats it wherever a framework is installed."""
    spec = small(name)
    running = session(spec)
    running.load(tensors(spec))
    losses = [float(running.train_step(running.put(*batch(spec, step)))) for step in range(3)]
    weighted = running.predict(running.put(*batch(spec))) * np.arange(1, spec.outputs + 1)
    assert [*losses, weighted.sum()] == pytest.approx(KNOWN[name], rel=1e-10)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_weights_round_trip_to_the_bit(spec: TaskSpec, precision: Precision) -> None:
    """What was loaded is dumped, in the spec's order and the session's precision; both sides hold copies."""
    running, weights = session(spec, precision), tensors(spec, precision)
    running.load(weights)
    for array in running.dump().values():
        array[...] = 0
    dumped = running.dump()
    assert list(dumped) == [t.name for t in spec.model.tensors]
    for name, array in weights.items():
        assert dumped[name].dtype == precision
        assert np.array_equal(dumped[name], array), name
    running.train_step(running.put(*batch(spec)))
    assert all(np.array_equal(array, tensors(spec, precision)[name]) for name, array in weights.items())


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_one_precision_throughout(spec: TaskSpec, precision: Precision, kind: str) -> None:
    """Results, weights, optimizer state and all that is kept for backward have the session's precision."""
    running = session(with_optimizer(spec, kind), precision)
    running.load(tensors(spec))
    placed = running.put(*batch(spec))
    loss = running.fetch(running.train_step(placed))
    logits = running.fetch(running.predict(placed))
    assert loss.shape == ()
    assert logits.shape == (BATCH, spec.outputs)
    held = [*arrays_in(running), *arrays_in(running.gradients(placed)), loss, logits]
    assert len(held) > 3 * len(spec.model.tensors)
    assert {str(array.dtype) for array in held} <= {precision, "bool", "int64"}  # ReLU's signs, pool's choice


def test_float32_is_close_to_float64(spec: TaskSpec) -> None:
    """The same formulas in both precisions."""
    losses = []
    for precision in ("float32", "float64"):
        running = session(spec, precision)
        running.load(tensors(spec))
        losses.append(float(running.train_step(running.put(*batch(spec)))))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != losses[1]


def test_evaluation_uses_running_statistics_and_no_mask(spec: TaskSpec) -> None:
    """An example's logits depend neither on its batch nor on masks, and evaluating changes nothing."""
    running, weights = session(spec), tensors(spec)
    running.load(weights)
    x, y, masks = batch(spec)
    together = running.fetch(running.predict(running.put(x, y, masks)))
    alone = running.fetch(running.predict(running.put(x[:1], y[:1])))
    assert np.allclose(alone[0], together[0], rtol=1e-12)
    assert all(np.array_equal(array, weights[name]) for name, array in running.dump().items())


def test_training_uses_batch_statistics_and_masks(spec: TaskSpec) -> None:
    """The training loss differs from that of the evaluated logits only with BatchNorm or dropout."""
    running = session(spec)
    running.load(tensors(spec))
    placed = running.put(*batch(spec))
    evaluated, _ = engine.loss(spec.loss, running.predict(placed), placed.y)
    differs = bool(spec.model.buffers or spec.model.dropout)
    assert (abs(float(running.gradients(placed)[0]) - float(evaluated)) > 1e-3) == differs


def test_a_masked_unit_is_silent() -> None:
    """A zero mask on the hidden layer leaves the last bias as the logit, and no gradient before it."""
    spec = small("risk_mlp")
    running = session(spec)
    running.load(tensors(spec))
    x, y, masks = batch(spec)
    value, grads = running.gradients(running.put(x, y, (masks[0], np.zeros_like(masks[1]))))
    bias = tensors(spec)["dense2/bias"][0]
    assert float(value) == pytest.approx(np.mean(np.log1p(np.exp(bias)) - y * bias), rel=1e-12)
    assert not grads["dense1/kernel"].any()
    assert grads["dense2/bias"].any()


def test_a_batch_is_a_copy(spec: TaskSpec) -> None:
    """What the harness does to its arrays after ``put`` cannot reach the session."""
    running = session(spec, "float32")
    x, y, masks = batch(spec)
    placed = running.put(x, y, masks)
    for array in (x, y, *masks):
        array[...] = 0
    assert all(array.any() for array in (placed.x, placed.y, *placed.masks) if array is not None)


# Errors


def test_load_names_the_tensor_that_does_not_fit(spec: TaskSpec) -> None:
    """A missing, a misshapen and an extra tensor: name, what came, what was expected; nothing is loaded."""
    running, weights = session(spec), tensors(spec)
    running.load(weights)
    name, shape = spec.model.tensors[-1].name, spec.model.tensors[-1].shape
    others = {key: array + 1 for key, array in weights.items() if key != name}
    wrong = {
        f"tensor '{name}': got nothing, expected {shape}": others,
        f"tensor '{name}': got (7,), expected {shape}": others | {name: np.ones(7)},
        "tensor 'extra/kernel': got (2, 2), expected nothing": weights | {"extra/kernel": np.ones((2, 2))},
    }
    for message, loaded in wrong.items():
        with pytest.raises(HarnessError) as caught:
            running.load(loaded)
        assert str(caught.value).startswith(f"numpy/{spec.name}: {message}; ")
    assert all(np.array_equal(array, weights[key]) for key, array in running.dump().items())


@pytest.mark.parametrize(("option", "value"), [("mode", "referense"), ("device", "gpu")])
def test_unknown_mode_and_device_are_refused(option: str, value: str) -> None:
    """With the nearest name that exists."""
    spec = small("risk_mlp")
    options: dict[str, Any] = {"mode": "reference", "device": "cpu"}
    with pytest.raises(HarnessError, match=f"unknown {option} of numpy '{value}': .*{options[option]}"):
        engine.open_session(spec, **{**options, option: value}, precision="float64", table=spec.optimizer.table(np.ones(1)))


def test_the_engine_describes_itself() -> None:
    """Versions and GPUs; every layout the specs use; nothing is ever compiled."""
    engine.configure(threads=1, seed=0)
    described = engine.describe()
    assert described["versions"]["numpy"] == np.__version__
    assert described["gpus"] == []
    assert {t.axes for name in TASKS for t in small(name).model.tensors} <= set(engine.LAYOUT)
    running = session(small("risk_mlp"))
    running.sync(np.empty(0))
    assert running.compilations() == 0
