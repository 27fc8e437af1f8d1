"""Whatever is typed, read or specified: it works, or is refused in one sentence. Drawn by Hypothesis, the same at every run."""

import contextlib
import io
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import batches, catalog, compare, download, export, records, report, scaffold, sides, weights, workplace
from harness.cli import main, options
from harness.errors import HarnessError
from harness.plan import Plan, subject
from harness.report import comparison, history, terminal
from harness.report.findings import find
from harness.spec import ModelSpec, OptimizerSpec, ParamSpec, TrainSpec, glorot_uniform
from harness.suite import Job, Suite
from tests.test_run import at_home, build, carried_out, planned

FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
FILES = ("run.json", "trials.jsonl", "proofs.jsonl")
SCRIPT = "<script>alert(1)</script>"
EVIL = [
    None, True, -1, 0, 2**63, 10**400, 1e308, -0.5, float("nan"), float("inf"), "", "nan", "../../etc/passwd", "a\0b\x1b[2J\r\n",
    "\ud800", SCRIPT, "{{ 7 * 7 }}", "|" * 3, "x" * 1_000_000, [], {}, [[]], [None], ["a"], {"a": None}, {"": {}}, [0], [{}],
]  # fmt: skip
anything = st.sampled_from(EVIL) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


# --- records


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two stand-ins, two generations."""
    home = tmp_path_factory.mktemp("fuzz")
    with at_home(build(home / "house", {"left": "", "right": ""})):
        plan = planned(home / "scratch", ("left", "right"), rounds=1, phases=("train", "latency"))
        return carried_out(plan, home / "run").path


def places(value: Any, *way: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a JSON value; of a list the first and the last only."""
    keys = list(value) if isinstance(value, dict) else sorted({0, len(value) - 1}) if isinstance(value, list) and value else []
    for key in keys:
        yield (*way, key)
        yield from places(value[key], *way, key)


def changed(folder: Path, draw: Callable[[Any], Any]) -> None:
    """One to three values somewhere in a run deleted, or replaced by anything, in one line or in all that have them."""
    for _ in range(draw(st.integers(1, 3))):
        path = folder / draw(st.sampled_from(FILES))
        rows = (
            [json.loads(path.read_text())]
            if path.suffix == ".json"
            else [json.loads(row) for row in path.read_text().splitlines()]
        )
        row = draw(st.sampled_from(rows))
        *way, last = draw(st.sampled_from(list(places(row))))
        value, everywhere = draw(st.just(KeyError) | anything), draw(st.booleans())
        for inner in rows if everywhere else [row]:
            with contextlib.suppress(LookupError, TypeError):  # where this one has no such place
                for key in way:
                    inner = inner[key]  # noqa: PLW2901 - the way down
                if value is KeyError:
                    del inner[last]
                else:
                    inner[last] = value
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def every_view(folder: Path, other: Path) -> None:
    """Every view of a run, as text."""
    found = find(records.read(folder))
    report.write(found)
    pages = [(folder / name).read_text() for name in ("report.html", "report.md")]
    terminal.print_run(found)
    export.junit(found.run, folder / "proofs.xml")
    with contextlib.suppress(HarnessError):
        pages.append(comparison.page(compare.compare(sides.whole(found.run), sides.whole(records.read(other)))))
    history.show(history.trends(history.read_all(folder.parent, list[str]().append)))
    assert not any(SCRIPT in page for page in pages)


@pytest.mark.processes
@given(st.data())
@settings(max_examples=40, suppress_health_check=FIXTURES)
def test_records(small: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Changed records are told, or every view of them can be made."""
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in FILES:
        shutil.copy(small / name, folder)
    changed(folder, data.draw)
    with contextlib.suppress(HarnessError), contextlib.redirect_stdout(io.StringIO()):
        every_view(folder, small)


# --- what is typed

TYPED = """
risk_mlp mnist_cnn:x=1 cifar_resnet:depth=9 smoke quick mnist torch numpy,jax all plain,, torch=python =,= 0 -1 1e999 3% 90s 0m 10
gpu cpu task=risk_mlp phase=latency phase= nowhere run empty file new/folder file/below --help -h --json -- ''
"""
WORDS = st.text(st.characters(exclude_characters="\0/.~\\"), max_size=12) | st.sampled_from(re.findall(r"\S+", TYPED))


def verbs(command: click.Command, *path: str) -> Iterator[tuple[list[str], list[str]]]:
    """Every verb with its options."""
    if not isinstance(command, click.Group):
        yield list(path), [opt for option in command.params if isinstance(option, click.Option) for opt in option.opts]
        return
    for name, below in command.commands.items():
        yield from verbs(below, *path, name)


@pytest.fixture
def idle(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a run, an empty one and a file; where work or a download would begin, an error a user could mend."""

    def refuse(*_args: object, **_options: object) -> None:
        raise HarnessError("this would be work.")

    monkeypatch.setattr(options.Wanted, "workplace", refuse)
    monkeypatch.setattr(download, "fetch", refuse)
    monkeypatch.setattr(scaffold, "write", refuse)
    monkeypatch.setattr(workplace, "probe", cache(workplace.probe))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small, "run")
    Path("empty").mkdir()
    Path("file").touch()
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.processes
@given(st.sampled_from(sorted(verbs(main))), st.data())
@settings(max_examples=250, suppress_health_check=FIXTURES)
def test_commands(idle: None, verb: tuple[list[str], list[str]], data: st.DataObject) -> None:
    """Whatever is typed ends with an exit code that is documented, and where it is 2 with a sentence or the usage."""
    path, known = verb
    typed = data.draw(st.lists(WORDS | st.sampled_from([*known, "--no-such"]), max_size=6))
    done = CliRunner().invoke(main, [*path, *typed])
    assert done.exception is None or isinstance(done.exception, SystemExit), (path, typed)
    assert done.exit_code in {0, 1, 2, 3, 4, 130}
    if done.exit_code == options.EXIT_INPUT:
        assert re.search("^(concord|Error): ", done.stderr, re.MULTILINE)


# --- what is specified

NUMBERS = st.sampled_from([0.0, 0.5, 1.0, 0.99999999999, -0.1, 2.0, 1e39, 1e-46, float("nan"), float("inf")]) | st.floats()


@given(st.sampled_from(["sgd", "adam", "adamw"]), st.lists(NUMBERS, min_size=9, max_size=9), st.integers(-3, 20))
@settings(max_examples=300)
def test_constants_of_a_task(kind: Any, numbers: list[float], steps: int) -> None:
    """Refused, or every scalar that is computed from them is a number."""
    names = ("lr", "momentum", "beta1", "beta2", "eps", "weight_decay")
    with contextlib.suppress(HarnessError):
        rule = OptimizerSpec(kind, **dict(zip(names, numbers, strict=False)))
        assert np.isfinite(rule.table(np.full(5, rule.lr))).all()
    with contextlib.suppress(HarnessError):
        assert np.isfinite(ModelSpec((), {}, dropout_rate=numbers[6], batch_norm_momentum=numbers[7]).keep_scale)
    with contextlib.suppress(HarnessError):
        spec = replace(catalog.task("risk_mlp"), train=TrainSpec(batch=steps, epochs=steps, milestones=tuple(numbers[:2])))
        lrs = spec.learning_rates(10)
        assert np.all(np.diff(lrs) <= 0)
        assert lrs.shape == (10,)


@given(st.lists(st.sampled_from("hwcio"), max_size=4), st.lists(st.integers(-1, 5), max_size=4))
def test_tensors(axes: list[str], shape: list[int]) -> None:
    """Refused, or drawn in their shape."""
    with contextlib.suppress(HarnessError):
        tensor = ParamSpec("layer/kernel", " ".join(axes), tuple(shape), glorot_uniform(3, 4))
        spec = replace(catalog.task("risk_mlp"), model=ModelSpec((tensor,), {}))
        assert weights.initial(spec, 0)["layer/kernel"].shape == tuple(shape)


NUMBERS = {"generations": 0, "rounds": 1, "sample_s": 0.001, "seeds": 1, "narrow": 0.001, "budget_s": 0}  # and the least


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """One that nobody takes part in."""
    return planned(tmp_path_factory.mktemp("plan"), ())


@given(st.dictionaries(st.sampled_from([*NUMBERS, "modes", "phases"]), anything | st.integers(0, 9), max_size=2))
@settings(max_examples=300, suppress_health_check=FIXTURES)
def test_suites(plan: Plan, drawn: dict[str, Any]) -> None:
    """A suite's values are refused by name, or can be planned with."""
    rest, refused = dict(drawn), ""
    try:
        job = Job("risk_mlp", **{"phases": rest.pop("phases")} if "phases" in rest else {})
        plan = replace(plan, suite=Suite("drawn", (job,), **rest))
    except HarnessError as error:
        refused = str(error)
    if refused:
        assert any(name in refused for name in drawn)
        assert refused.endswith(".")
        assert "\n" not in refused
    else:
        assert all(getattr(plan.suite, name) >= least for name, least in NUMBERS.items())
        assert plan.seconds() >= 0
        assert plan.told()


def test_a_suite_of_nothing() -> None:
    """It is not run for nothing."""
    with pytest.raises(HarnessError, match="no jobs: give it one"):
        Suite("nothing", ())


COUNTS = st.integers(-3, 40) | st.sampled_from([160, 161, 2**40])


@given(WORDS | st.sampled_from(["risk_mlp", "risk_mlp:data=german_credit"]), COUNTS, COUNTS)
@settings(max_examples=150, suppress_health_check=FIXTURES)
def test_jobs(tmp_path: Path, task: str, batch: int, epochs: int) -> None:
    """Refused, or its first batch has the batch's length."""
    with contextlib.suppress(HarnessError):
        job = Job(task, batch=batch, epochs=epochs)
        ready = subject(job, data_dir=None, scratch=tmp_path, seed=0)
        first = next(batches.training(ready.spec, ready.dataset.arrays, batch=ready.batch, seed=0, epoch=0))
        assert len(first.x) == ready.batch > 0
