"""Runs against each other, over time and alone: what is called slower, which gate fires, and what is refused."""

import json
import math
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner, Result

from harness import compare, environment, machines, records, sides, standing, stats
from harness.cli import main, viewing
from harness.errors import HarnessError
from harness.records import Cell, Proof, Trial
from harness.report import comparison

STEPS = {"torch": 4.8e-3, "tensorflow": 4e-3, "jax": 8e-3}  # seconds a training step
CELLS = {name: Cell("mnist_cnn", name, "eager", "cpu", "float32", "mnist (60,000)", 64) for name in STEPS}
MACHINE = {"cpu": "Example CPU", "cpus": 2, "cpus_available": [0, 1], "affinity": "set", "memory_bytes": 8_000_000_000}
MACHINE |= {"governor": "performance"}  # another one makes no other machine
EVIL = "<script>alert('x')</script>\"&{{ 7*7 }}[b]|`\x1b[31m\n# @you"


def manifest(**machine: Any) -> dict[str, Any]:
    """A manifest as `concord run` writes it, of this machine."""
    variables = environment.variables("number of CPUs", "cpu")
    workers = {name: {"python": "3.11.7", "versions": {name: "1.0"}, "variables": dict(variables)} for name in STEPS}
    return {
        "created": "2026-01-02T03:04:05+00:00",
        "environment": {"machine": MACHINE | machine, "device": "cpu", "workers": workers},
        "tasks": {"mnist_cnn": {"title": "MNIST CNN", "batch": 64, "metric": "accuracy"}},
        "data": {"mnist": {"label": "mnist (60,000)", "digest": "ab12"}},
    }


def save(folder: Path, facts: dict[str, Any], trials: list[Trial], proofs: list[Proof]) -> Path:
    """A run's folder."""
    folder.mkdir(parents=True)
    records.write_manifest(folder, facts)
    for name, rows in (("trials", trials), ("proofs", proofs)):
        text = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def made(folder: Path, *, seed: int = 1, generations: int = 8, speed: float = 1.0, **slower: float) -> Path:
    """A run of three proven backends with 1 % noise; ``speed`` is the machine's, ``slower`` multiplies a backend's times."""
    rng = np.random.default_rng(seed)
    trials = [
        Trial(cell, "train", "ok", generation, turn, steps=10, times_ns=(int(seconds * 1e10),), at="")
        for generation in range(generations)
        for turn in range(5)
        for name, cell in CELLS.items()
        for seconds in [STEPS[name] * speed * slower.get(name, 1.0) * math.exp(rng.normal(0, 0.01))]
    ]
    proofs = [
        Proof("mnist_cnn", name, "eager", "float64", level, "numpy", 1e-15, 1e-10, "", "proven")
        for name in STEPS
        for level in standing.LEVELS
    ]
    return save(folder, manifest(), trials, proofs)


def changed(folder: Path, source: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a run whose manifest was changed."""
    shutil.copytree(source, folder)
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(facts)
    records.write_manifest(folder, facts)
    return folder


def slowed(folder: Path, source: Path, backend: str, factor: float) -> Path:
    """A copy of a run in which every time of one backend was multiplied."""
    run = records.read(source)
    trials = [
        replace(t, times_ns=tuple(int(ns * factor) for ns in t.times_ns)) if t.cell.backend == backend else t for t in run.trials
    ]
    return save(folder, dict(run.manifest), trials, list(run.proofs))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight generations."""
    return made(tmp_path_factory.mktemp("runs") / "base")


@pytest.fixture
def concord() -> Iterator[Callable[..., Result]]:
    """The command; what it does not catch is an error of the test."""
    handler = signal.getsignal(signal.SIGTERM)
    yield lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    signal.signal(signal.SIGTERM, handler)


def held(a: Path, b: Path, **settings: Any) -> compare.Comparison:
    """Two folders compared."""
    return compare.compare(*sides.pair(a, b), **settings)


def ratios(found: compare.Comparison) -> dict[str, float]:
    """NEW over BASE by backend."""
    return {line.cell.backend: line.ratio.value for line in found.lines}


def verdicts(found: compare.Comparison) -> dict[str, str]:
    """By backend."""
    return {line.cell.backend: line.verdict for line in found.lines}


# Verdicts and gates


def test_a_run_against_itself(base, concord):
    """Nothing is slower or faster, and no gate fires."""
    assert set(verdicts(held(base, base)).values()) <= {"tie", "undecided"}
    said = concord("compare", base, base, "--fail-if-slower", "3%", "--fail-if-unproven")
    assert said.exit_code == 0, said.output
    assert "3 lines compared: 3 tie. Gates: 6 held." in said.output  # of three times and three proofs


@pytest.mark.parametrize(("factor", "code", "verdict"), [(1.05, 1, "slower"), (1.01, 0, "tie"), (0.9, 0, "faster")])
def test_a_planted_slowdown(tmp_path, base, concord, factor, code, verdict):
    """5 % in one backend is found and fires a gate at 3 %, 1 % is not; the others stay what they were."""
    new = slowed(tmp_path / "new", base, "torch", factor)
    said = concord("compare", base, new, "--fail-if-slower", "3%", "--json")
    assert said.exit_code == code
    found = json.loads(said.output)
    torch = next(line for line in found["lines"] if line["backend"] == "torch")
    assert torch["verdict"] == verdict
    assert torch["ci_low"] < torch["ratio"] < torch["ci_high"]
    assert torch["ratio"] == pytest.approx(factor, rel=1e-4)
    assert len(found["gates"]) == code
    assert Counter(check["verdict"] for check in found["checks"]) == Counter({"held": 3 - code} | ({"fired": 1} if code else {}))
    assert all(0.03 < check["sees"] < 0.06 for check in found["checks"])
    assert {line["verdict"] for line in found["lines"] if line["backend"] != "torch"} == {"tie"}


def in_many_tasks(folder: Path, *, seed: int, torch: float, tasks: int = 12) -> Path:
    """A run of so many tasks, in each of which a generation has luck of its own, 4 % of it; PyTorch's times are multiplied."""
    once, rng, trials, proofs = records.read(made(folder / "once", torch=torch)), np.random.default_rng(seed), [], []
    for task in [f"mnist_cnn:copy={number}" for number in range(tasks)]:
        luck = np.exp(rng.normal(0, 0.04, size=8))
        for t in once.trials:
            times = tuple(int(ns * luck[t.generation]) for ns in t.times_ns)
            trials.append(replace(t, cell=replace(t.cell, task=task), times_ns=times))
        proofs += [replace(proof, task=task) for proof in once.proofs]
    return save(folder / "run", dict(once.manifest), trials, proofs)


def test_an_entry_as_a_whole(tmp_path, concord):
    """5 % in all its lines, hardly one of which can say so, show in their mean and fire the gate; no other entry's mean does."""
    both = [in_many_tasks(tmp_path / "base", seed=0, torch=1.0), in_many_tasks(tmp_path / "new", seed=1, torch=1.05)]
    found = held(*both).judged(slower=0.01)
    torch, *others = sorted(found.means, key=lambda mean: mean.cell.backend != "torch")
    assert (torch.count, torch.verdict) == (12, "slower")
    assert torch.ratio.value == pytest.approx(1.05, rel=0.03)
    assert {mean.verdict for mean in others} <= {"tie", "undecided"}
    assert sum(line.verdict == "slower" for line in found.lines) <= 2  # of 36, as luck will have it
    assert [gate for gate in found.gates if gate.startswith("all lines torch eager (cpu, float32, geometric mean of 12 lines): ")]
    said = concord("compare", *both, "--fail-if-slower", "1%", "--json")
    assert said.exit_code == 1
    assert {each["backend"]: each["verdict"] for each in json.loads(said.stdout)["means"]}["torch"] == "slower"
    assert "Each entry as a whole" in concord("compare", *both).stdout
    assert "Each entry as a whole" in comparison.page(found)


def test_means_that_hold_are_no_pass_for_blind_lines(tmp_path, concord):
    """Where no line can be judged the exit code says so, whatever holds on the whole; the means are cases of their own."""
    both = [in_many_tasks(tmp_path / name, seed=seed, torch=1.0, tasks=30) for seed, name in enumerate(("base", "new"))]
    found = held(*both).judged(slower=0.05)
    assert {check.verdict for check in found.checks if check.cell.task == compare.WHOLE} == {"held"}
    assert not found.blind
    blind = replace(found, checks=[c if c.cell.task == compare.WHOLE else replace(c, verdict="blind") for c in found.checks])
    assert blind.blind
    assert viewing.gate_code(blind) == 4
    said = concord("compare", *both, "--fail-if-slower", "5%", "--junit", tmp_path / "gates.xml")
    assert said.exit_code == 0
    assert f'name="{compare.WHOLE}"' in (tmp_path / "gates.xml").read_text(encoding="utf-8")


def test_the_slowdown_is_found_between_runs_of_their_own(tmp_path):
    """Noise of their own: 5 % fires a gate at 3 % in at least 9 of 10, 1 % in none."""
    fired = Counter()
    for seed in range(10):
        one = made(tmp_path / f"{seed}", seed=seed)
        for slower in (1.05, 1.01):
            new = made(tmp_path / f"{seed}-{slower}", seed=100 + seed, torch=slower)
            fired[slower] += len(held(one, new).judged(slower=0.03).gates)
    assert fired[1.05] >= 9
    assert fired[1.01] == 0


@pytest.mark.parametrize(("generations", "noise"), [(5, 0.02), (8, 0.02), (5, 0.2), (8, 0.2)])
def test_equals_are_rarely_told_apart(generations, noise):
    """Of 1,000 comparisons of equals, three lines each: no more than 5 % with a false verdict, and intervals that miss 1."""
    drawn = np.random.default_rng(5).normal(0, noise, (1000, 3, 2, generations))
    ratios = [[compare.welch(*line, pairs=3) for line in lines] for lines in drawn]
    wrong = sum(any(stats.verdict(r) in {"faster", "slower"} for r in found) for found in ratios)
    missed = sum(any(not r.low <= 1 <= r.high for r in found) for found in ratios)
    assert wrong / 1000 <= 0.05
    assert 0.02 < missed / 1000 < 0.07


def test_the_interval_is_welchs():
    """By the formula of Welch and Satterthwaite; no spread, no width; one generation, no interval."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 0.1, 6), rng.normal(0.2, 0.3, 9)
    found = compare.welch(a, b, pairs=4)
    u, v = a.var(ddof=1) / 6, b.var(ddof=1) / 9
    freedom = (u + v) ** 2 / (u**2 / 5 + v**2 / 8)
    half = scipy.stats.t.ppf(1 - 0.05 / 4 / 2, freedom) * math.sqrt(u + v)
    ends = [math.exp(b.mean() - a.mean() + side * half) for side in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(ends)
    assert (found.generations, found.n) == (6, 15)
    still = compare.welch(np.zeros(5), np.ones(5))
    assert still.low == still.high == pytest.approx(math.e)
    assert compare.welch(a[:1], b).low is None


def line(low: float | None, high: float | None, *, generations: int = 8, floor: float = 0.0) -> compare.Line:
    """A line with this interval."""
    ratio = stats.Ratio(1.32, low, high, 2 * generations, generations, 1)
    return compare.Line(CELLS["torch"], "train", 1.0, 1.32, ratio, floor)


@pytest.mark.parametrize(
    ("found", "fires"),
    [
        (line(1.04, 1.6), True),
        (line(0.99, 1.76), False),  # +32 % as a point, and not to be relied on
        (line(1.02, 1.6), False),  # surely slower, not surely by 3 %
        (line(1.031, 1.045), True),  # a tie to a reader, but who asks for 3 % means it
        (line(1.04, 1.08, floor=0.1), False),  # two equal processes differed by as much
        (line(1.04, 1.6, generations=4), False),
        (line(None, None, generations=1), False),
    ],
)
def test_a_gate_asks_for_the_whole_interval(base, found, fires):
    """Never for a point, nor beyond what equals differ by."""
    assert bool(replace(held(base, base), lines=[found]).judged(slower=0.03).gates) is fires


def test_a_gate_says_what_it_cannot_see(tmp_path, base):
    """Three generations judge nothing, which must not pass for a proof of absence."""
    found = held(base, made(tmp_path / "new", generations=3, torch=1.3)).judged(slower=0.03)
    assert set(verdicts(found).values()) == {"indicative"}
    assert not found.gates
    assert "3 of 3 lines: fewer than 5 generations judge nothing" in found.warnings


def test_a_gate_says_what_it_would_have_seen(base):
    """What it needs to fire, where it can neither show nor exclude what it was asked for."""
    found = replace(held(base, base), lines=[line(0.97, 1.06), line(0.96, 1.09)]).judged(slower=0.03)
    told = "2 of 2 lines: neither shows nor excludes a slowdown beyond 1.03: more generations would tell"
    assert found.warnings[-1] == f"{told} (here 9.5% to 12.4% would show)"


def test_a_gate_that_sees_nothing_is_no_pass(tmp_path, base, concord):
    """Where it can judge no line the machine was too noisy; without a gate nobody asked."""
    new = made(tmp_path / "new", generations=3, torch=1.3)
    asked = ["compare", base, new, "--filter", "backend=torch"]
    assert concord(*asked, "--fail-if-slower", "3%").exit_code == 4
    assert concord(*asked).exit_code == 0


def test_a_gate_on_times_without_a_line_is_no_pass(base):
    """And one on proofs alone has judged, whatever was timed."""
    nothing = replace(held(base, base), lines=[], means=[])
    assert nothing.judged(slower=0.03).blind
    assert nothing.judged(slower=0.03).warnings[-1].startswith("no times are compared")
    assert not nothing.judged(unproven=True).blind
    assert not nothing.judged().blind


def beside(folder: Path, source: Path, task: str = "mnist_cnn") -> Path:
    """A copy of a run in which somebody else used two CPUs through every sample of a task."""
    run = records.read(source)
    trials = [replace(t, noise={"external_cpus": 2.0}) if t.cell.task == task else t for t in run.trials]
    return save(folder, dict(run.manifest), trials, list(run.proofs))


def test_a_gate_judges_nothing_that_a_run_was_too_noisy_to_rank(tmp_path, base, concord):
    """Neither run may refuse a ranking for noise: 30 % more beside a neighbour are no slowdown, and no pass."""
    slow = slowed(tmp_path / "slow", base, "torch", 1.3)
    for name, one, other in (("NEW", base, beside(tmp_path / "new", slow)), ("BASE", beside(tmp_path / "base", base), slow)):
        said = concord("compare", one, other, "--fail-if-slower", "3%", "--json")
        found = json.loads(said.stdout)
        assert (said.exit_code, found["gates"]) == (4, [])
        assert {line["verdict"] for line in found["lines"]} == {"not ranked"}
        assert "3 lines compared: 3 not ranked." in concord("compare", one, other).stdout
        assert f"3 of 3 lines: {name} ranks nothing there, 100% of the rounds were contended" in found["warnings"]
    assert concord("compare", base, slow, "--fail-if-slower", "3%").exit_code == 1


def test_what_is_not_ranked_for_another_reason_is_judged(tmp_path, base):
    """With one proven entry there is nothing to rank, however quiet the machine was."""
    run = records.read(base)
    alone = save(tmp_path / "alone", dict(run.manifest), list(run.trials), [p for p in run.proofs if p.backend == "torch"])
    found = held(alone, slowed(tmp_path / "new", alone, "torch", 1.3)).judged(slower=0.03)
    assert len(found.gates) == 1
    assert any(text.startswith("NEW ranks nothing in") and text.endswith("only one is proven") for text in found.warnings)
    assert not [check for check in found.checks if "ranks nothing" in check.says]
    loud = held(alone, beside(tmp_path / "loud", tmp_path / "new")).judged(slower=0.03)  # but where it was not quiet
    assert (loud.gates, loud.blind) == ([], True)
    assert {check.says for check in loud.checks} == {"NEW ranks nothing there, 100% of the rounds were contended"}


def test_a_mean_leaves_out_what_a_run_was_too_noisy_to_rank(tmp_path):
    """One loud contest neither moves an entry's mean nor keeps a gate from judging it."""
    both = [in_many_tasks(tmp_path / name, seed=seed, torch=1.0, tasks=4) for seed, name in enumerate(("base", "new"))]
    found = held(both[0], beside(tmp_path / "loud", both[1], "mnist_cnn:copy=0"))
    assert {line.cell.task for line in found.lines if line.noisy} == {"mnist_cnn:copy=0"}
    assert {mean.count for mean in found.means} == {3}
    assert not any(mean.noisy for mean in found.means)


def test_slower_within_the_noise_floor_is_told_as_such(base):
    """It does show a slowdown, which two equals may have."""
    found = replace(held(base, base), lines=[line(1.04, 1.08, floor=0.1)]).judged(slower=0.03)
    assert "1 of 1 lines: slower than 1.03, but not surely by more than the noise floor (here 12.9% would show)" in found.warnings
    assert not found.gates


def test_what_is_lost_is_no_pass(tmp_path, base, concord):
    """A backend that has crashed in NEW, or failed its proof, cannot be slower: exit code 3, and a failed case for CI."""
    run, file = records.read(base), tmp_path / "gates.xml"
    gone = save(tmp_path / "gone", dict(run.manifest), [t for t in run.trials if t.cell.backend != "torch"], list(run.proofs))
    wrong = [replace(p, verdict="failed") if p.backend == "torch" else p for p in run.proofs]
    void = save(tmp_path / "void", dict(run.manifest), list(run.trials), wrong)
    for new in (gone, void):
        assert concord("compare", base, new, "--fail-if-slower", "3%", "--junit", file).exit_code == 3
        failures = [case.get("message") for case in ET.parse(file).iter("failure")]  # noqa: S314 - our own
        assert failures == [f"{compare.told(CELLS['torch'], 'train')}: {compare.LOST}"]
        assert concord("compare", base, new).exit_code == 0
    assert concord("compare", gone, base, "--fail-if-slower", "3%").exit_code == 0


# What may be compared


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"cpu": "Another CPU"}, "machine.cpu: Example CPU in BASE, Another CPU in NEW"),
        ({"cpus": 4}, "machine.cpus: 2 in BASE, 4 in NEW"),
        ({"cpus_available": [0]}, "machine.cpus_available: [0, 1] in BASE, [0] in NEW"),
        ({"memory_bytes": 16_000_000_000}, "machine.memory_bytes: 8000000000 in BASE"),
    ],
)
def test_another_machine_is_refused(tmp_path, base, concord, other, told):
    """One sentence that names the difference, exit code 2."""
    new = changed(tmp_path / "new", base, lambda facts: facts["environment"]["machine"].update(other))
    said = concord("compare", base, new)
    assert (said.exit_code, said.stdout) == (2, "")
    assert told in said.stderr
    assert "--across-machines" in said.stderr


def test_the_same_machine_may_have_another_name_and_free_memory(tmp_path, base):
    """Neither says anything of its speed."""
    facts = {"host": "b", "mhz": 1200, "memory_bytes": 7_990_000_000}
    new = changed(tmp_path / "new", base, lambda run: run["environment"]["machine"].update(facts))
    assert machines.differences(records.read(base), records.read(new)) == []


def test_across_machines_only_ratios_within_a_run_are_compared(tmp_path, base):
    """A machine of half the speed changes nothing; what became slower than the others there is found."""
    for factor, verdict in ((1.0, "tie"), (1.1, "slower")):
        there = made(tmp_path / f"there{factor}", seed=9, speed=2.0, jax=factor)
        new = changed(tmp_path / f"new{factor}", there, lambda run: run["environment"]["machine"].update(cpu="Other"))
        found = held(base, new, across=True)
        assert verdicts(found) == {"torch": "tie", "jax": verdict}
        assert {found.against.backend for found in found.lines} == {"tensorflow"}  # the fastest
        assert any("Other" in text for text in found.warnings)
    assert {line.cell.backend: round(line.base, 1) for line in found.lines} == {"torch": 1.2, "jax": 2.0}


def test_across_machines_what_has_nothing_proven_beside_it_is_told(tmp_path, base):
    """Or a gate would pass on the other task alone, without a word."""
    run = records.read(base)
    other = [replace(t, cell=replace(t.cell, task="risk_mlp")) for t in run.trials]  # no proof of it
    two = save(tmp_path / "two", dict(run.manifest), [*run.trials, *other], list(run.proofs))
    found = held(two, two, across=True)
    assert {line.cell.task for line in found.lines} == {"mnist_cnn"}
    assert {text.split(" (")[0] for text in found.missing} == {f"risk_mlp {name} eager train" for name in CELLS}
    assert all(text.endswith("nothing beside it is proven in both") for text in found.missing)


def test_another_way_to_take_samples_is_named(tmp_path, base):
    """A run of quick beside one of rigorous is no like beside like."""
    runs = [changed(tmp_path / str(s), base, lambda f, s=s: f.update(suite={"rounds": 5, "sample_s": s})) for s in (0.15, 0.05)]
    assert held(*runs).changes == ["suite.sample_s: 0.15 in BASE, 0.05 in NEW"]


def test_what_differs_beside_the_machine_is_named(tmp_path, base):
    """Versions, data, and what only one run has; another data label is another cell."""
    new = made(tmp_path / "made")
    lines = (new / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    text = "\n".join(row.replace("60,000", "sample") if '"backend": "jax"' in row else row for row in lines) + "\n"
    (new / "trials.jsonl").write_text(text, encoding="utf-8")

    def change(facts):
        facts["environment"]["machine"]["governor"] = "powersave"
        facts["environment"]["workers"]["torch"]["versions"]["torch"] = "2.0"
        facts["environment"]["workers"]["jax"]["variables"]["NVIDIA_TF32_OVERRIDE"] = "1"
        facts["data"]["mnist"]["digest"] = "cd34"
        facts["finished"] = None

    found = held(base, changed(tmp_path / "new", new, change))
    assert "environment.workers.torch.versions.torch: 1.0 in BASE, 2.0 in NEW" in found.changes
    assert "environment.workers.jax.variables.NVIDIA_TF32_OVERRIDE: 0 in BASE, 1 in NEW" in found.changes
    assert "environment.machine.governor: performance in BASE, powersave in NEW" in found.changes
    assert "data.mnist.digest: ab12 in BASE, cd34 in NEW" in found.changes
    assert len(found.changes) == 4
    assert any("NEW did not finish" in text for text in found.warnings)
    assert set(verdicts(found)) == {"torch", "tensorflow"}
    assert [text.rpartition(": ")[2] for text in found.missing] == ["only in BASE", "only in NEW"]


def sung(folder: Path, source: Path, *, numpy: str = "2.4", **values: float) -> Path:
    """A copy of a run with a canary ahead of every round, and the NumPy that sang."""
    run = records.read(source)
    songs = [Trial(CELLS["jax"], "canary", "ok", g, turn, of="train", values=values) for g in range(8) for turn in range(5)]
    facts = json.loads(json.dumps(run.manifest))
    facts["environment"]["machine"]["packages"] = {"numpy": numpy}
    return save(folder, facts, [*run.trials, *songs], list(run.proofs))


@pytest.mark.parametrize(("song", "what"), [("product_s", "product took 1.20"), ("copy_s", "copy took 0.80")])
def test_another_state_of_the_machine_is_judged_by_nobody(tmp_path, base, concord, song, what):
    """The fixed product or copy took another time: no line has a verdict, no gate fires, whatever the times are."""
    songs = {"product_s": 0.010, "copy_s": 0.010}
    a = sung(tmp_path / "a", base, **songs)
    b = sung(tmp_path / "b", slowed(tmp_path / "slow", base, "torch", 1.3), **{**songs, song: float(what.split()[-1]) / 100})
    found = held(a, b).judged(slower=0.03)
    assert {line.told for line in found.lines} == {"not ranked"}
    assert {check.verdict for check in found.checks} == {"blind"}
    assert not found.gates
    assert found.means == []
    told = f"the machine was not in one state (the canary's {what} times as long in NEW as in BASE): "
    assert held(a, b).warnings == [f"{told}measure both anew, or beside one another in one run"]
    assert [text.partition(": ")[0] for text in found.warnings] == ["3 of 3 lines"]  # of which it is told once
    said = concord("compare", a, b, "--fail-if-slower", "3%")
    assert said.exit_code == 4, said.output


@pytest.mark.parametrize(
    "other",
    [
        {"product_s": 0.0105, "copy_s": 0.0095},
        {"product_s": 0.02, "copy_s": 0.01, "numpy": "2.5"},  # which may multiply at another speed
        {"product_s": 0.0, "copy_s": 0.0},  # a record from elsewhere says anything
        {},
    ],
)
def test_a_canary_that_says_nothing_of_the_machine(tmp_path, base, other):
    """Within a tenth, of another program, or of none: lines are judged as they are."""
    a = sung(tmp_path / "a", base, product_s=0.01, copy_s=0.01)
    found = held(a, sung(tmp_path / "b", slowed(tmp_path / "slow", base, "torch", 1.3), **other))
    assert verdicts(found) == {"jax": "tie", "tensorflow": "tie", "torch": "slower"}
    assert found.warnings == []
    assert not any(line.noisy for line in found.lines)


def test_a_device_of_its_own_is_judged(tmp_path, base):
    """The canary sings on the CPU: that this was slower is a warning, no word on what a GPU computes."""
    runs = [
        records.read(sung(tmp_path / name, base, product_s=seconds, copy_s=0.01)) for name, seconds in (("a", 0.01), ("b", 0.02))
    ]
    moved = [
        replace(
            run,
            trials=tuple(replace(t, cell=replace(t.cell, device="cuda")) for t in run.trials),
            manifest=run.manifest | {"environment": run.manifest["environment"] | {"device": "cuda"}},
        )
        for run in runs
    ]
    found = compare.compare(*map(sides.whole, moved))
    assert found.warnings[0].startswith("the machine was not in one state")
    assert not any(line.noisy for line in found.lines)


def side_by_side(
    folder: Path,
    *,
    slower: float = 1.0,
    labels: tuple[str, str] = ("@main", "@branch"),
    generations: int = 8,
    seed: int = 3,
    **branch: Any,
) -> Path:
    """A run of two versions of PyTorch, and JAX, on a machine whose pace changes by half from round to round; two tasks.

    The ``branch`` has other proofs or first calls than the rest: ``verdict``, ``dtype``.
    """
    rng, cells = np.random.default_rng(seed), [replace(CELLS["torch"], backend=f"torch{name}") for name in labels]
    seconds = {cells[0]: 5e-3, cells[1]: 5e-3 * slower, CELLS["jax"]: 8e-3}
    both = ("mnist_cnn", "mnist_mlp")
    trials = [
        Trial(replace(cell, task=task), "train", "ok", generation, turn, steps=10, times_ns=(int(own * pace * luck * 1e10),))
        for generation in range(generations)
        for turn in range(5)
        for task in both
        for pace in [math.exp(rng.normal(0, 0.5))]
        for cell, own in seconds.items()
        for luck in [math.exp(rng.normal(0, 0.005))]
    ]
    for cell in seconds:
        facts = {"dtype": branch.get("dtype", "float32") if cell == cells[1] else "float32", "device": "cpu"}
        trials += [Trial(replace(cell, task=task), "first_call", "ok", facts=facts) for task in both]
    proofs = [
        Proof(task, cell.backend, "eager", "float64", level, "numpy", 1e-15, 1e-10, "", verdict)
        for task in both
        for cell in seconds
        for level in standing.LEVELS
        for verdict in [branch.get("verdict", "proven") if cell == cells[1] else "proven"]
    ]
    about = manifest()
    workers = about["environment"]["workers"]
    about["environment"]["workers"] = {c.backend: json.loads(json.dumps(workers[c.backend.partition("@")[0]])) for c in seconds}
    about["environment"]["workers"][cells[1].backend]["versions"]["torch"] = "2.0"
    return save(folder, about, trials, proofs)


def test_two_versions_in_one_run(tmp_path, concord):
    """They are paired round by round: 5 % is found where two runs do not tell 20, and what has another label is left alone."""
    run = side_by_side(tmp_path / "run", slower=1.05)
    found = held(Path(f"{run}@main"), Path(f"{run}@branch")).judged(slower=0.03, unproven=True)
    assert {(line.cell.backend, line.verdict) for line in found.lines} == {("torch", "slower")}
    times = [
        {(t.generation, t.round): t.times_ns[0] / 1e10 for t in records.read(run).trials if t.phase == "train" and t.cell == cell}
        for cell in (replace(CELLS["torch"], backend="torch@main"), replace(CELLS["torch"], backend="torch@branch"))
    ]
    own = stats.paired(*times, pairs=4)  # two lines have half of the level
    assert (found.lines[0].ratio.low, found.lines[0].ratio.high) == pytest.approx((own.low, own.high))
    (mean,) = found.means
    assert (mean.count, mean.verdict, round(mean.ratio.value, 2)) == (2, "slower", 1.05)
    assert found.changes == ["environment.workers.torch.versions.torch: 1.0 in BASE, 2.0 in NEW"]
    assert (found.missing, found.lost) == ([], [])
    assert Counter(check.verdict for check in found.checks) == {"fired": 3, "held": 2}
    assert "in the same round of one run" in comparison.method(found)
    assert comparison.title(found) == "run@branch compared with run@main"
    assert concord("compare", f"{run}@main", f"{run}@branch", "--fail-if-slower", "3%").exit_code == 1
    others = held(Path(f"{run}@main"), Path(f"{side_by_side(tmp_path / 'other', slower=1.2, seed=4)}@branch"))
    assert {line.verdict for line in others.lines} == {"undecided"}  # of two runs nothing is paired


def test_a_version_beside_the_installed_one(tmp_path, concord):
    """The run itself stands for what has no label, and what the label has nothing of is not lost."""
    run = side_by_side(tmp_path / "run", labels=("", "@branch"))
    found = held(run, Path(f"{run}@branch")).judged(slower=0.03)
    assert verdicts(found) == {"torch": "tie"}
    assert (found.missing, found.lost, found.gates) == ([], [], [])
    assert concord("compare", run, f"{run}@branch", "--fail-if-slower", "3%").exit_code == 0


def test_versions_of_few_generations(tmp_path):
    """No verdict, and no gate."""
    run = side_by_side(tmp_path / "run", slower=1.5, generations=3)
    found = held(Path(f"{run}@main"), Path(f"{run}@branch")).judged(slower=0.03)
    assert set(verdicts(found).values()) == {"indicative"}
    assert found.blind


def test_versions_on_unequal_terms(tmp_path):
    """What the run refuses to rank for what the two computed in, no gate judges."""
    run = side_by_side(tmp_path / "run", slower=1.5, dtype="float16")
    found = held(Path(f"{run}@main"), Path(f"{run}@branch")).judged(slower=0.03)
    assert {line.told for line in found.lines} == {"not ranked"}
    assert found.blind
    assert all("not computed alike" in line.noisy for line in found.lines)


def test_a_version_that_computes_something_else(tmp_path, concord):
    """It has no valid time: that is the gate on proofs, not an error."""
    run = side_by_side(tmp_path / "run", verdict="failed")
    said = concord("compare", f"{run}@main", f"{run}@branch", "--fail-if-unproven", "--html", tmp_path / "page.html")
    assert said.exit_code == 1, said.output
    assert "mnist_cnn torch eager is failed in NEW" in said.output
    assert "0 lines compared" in said.output
    assert concord("compare", f"{run}@main", f"{run}@branch").exit_code == 0
    assert concord("compare", f"{run}@main", f"{run}@branch", "--fail-if-slower", "3%").exit_code == 3


def test_versions_of_two_sittings(tmp_path):
    """The canary has no label, and is heard."""
    one = sung(tmp_path / "one", side_by_side(tmp_path / "a"), product_s=0.01, copy_s=0.01)
    two = sung(tmp_path / "two", side_by_side(tmp_path / "b"), product_s=0.01, copy_s=0.02)
    assert {line.told for line in held(Path(f"{one}@main"), Path(f"{two}@branch")).lines} == {"not ranked"}
    assert {line.told for line in held(Path(f"{two}@main"), Path(f"{two}@branch")).lines} == {"tie"}


def test_labels_across_machines(tmp_path, concord):
    """A ratio to what runs beside needs the whole run."""
    run = side_by_side(tmp_path / "run")
    said = concord("compare", f"{run}@main", f"{run}@branch", "--across-machines")
    assert said.exit_code == 2
    assert said.stderr.endswith("are not both whole runs: leave out --across-machines, or the label.\n")


def test_a_folder_may_hold_an_at(tmp_path, base):
    """Then it is no label."""
    named = shutil.copytree(base, tmp_path / "run@main")
    assert len(held(base, named).lines) == 3


def test_the_folder_where_one_is(tmp_path, monkeypatch):
    """It is called by a dot."""
    monkeypatch.chdir(side_by_side(tmp_path / "run"))
    assert {line.told for line in held(Path(".@main"), Path(".@branch")).lines} == {"tie"}


def test_a_label_that_is_none(tmp_path, base, concord):
    """The labels that there are, or the folder that is none."""
    said = concord("compare", base, f"{base}@main")
    assert (said.exit_code, said.stderr) == (2, f"concord: {base} has no entries with a label: name the folder alone.\n")
    run = side_by_side(tmp_path / "run")
    said = concord("compare", f"{run}@main", f"{run}@brunch")
    assert (said.exit_code, said.stderr) == (2, "concord: unknown label 'brunch': did you mean 'branch'?\n")
    said = concord("compare", f"{run}@main", tmp_path / "none@main")
    assert said.exit_code == 2
    assert said.stderr.startswith(f"concord: {tmp_path / 'none'} holds no run.json")


def test_nothing_in_common_is_an_error(tmp_path, base):
    """An empty table would look like good news."""
    run = records.read(base)
    trials = [replace(t, cell=replace(t.cell, batch=8)) for t in run.trials]
    with pytest.raises(HarnessError, match="have no valid time of one cell in common"):
        held(base, save(tmp_path / "new", dict(run.manifest), trials, list(run.proofs)))


def test_a_failed_proof_voids_its_times_and_fires_its_gate(tmp_path, base, concord):
    """Also a fast one; what only shows its drift has nothing to prove."""
    run = records.read(base)
    proofs = [
        replace(p, verdict="failed", where="conv1/kernel") if (p.backend, p.level) == ("torch", "loss") else p for p in run.proofs
    ]
    stock = replace(CELLS["jax"], mode="stock")
    proofs.append(Proof("mnist_cnn", "jax", "stock", "float64", "drift", "numpy", 0.1, None, "", "skipped"))
    trials = [*run.trials, *(replace(t, cell=stock) for t in run.trials if t.cell == CELLS["jax"])]
    new = save(tmp_path / "new", dict(run.manifest), trials, proofs)
    said = concord("compare", base, new, "--fail-if-unproven", "--json")
    found = json.loads(said.output)
    assert said.exit_code == 1
    assert {line["backend"] for line in found["lines"]} == {"tensorflow", "jax"}
    (gate,) = found["gates"]
    assert gate.startswith("mnist_cnn torch eager is failed in NEW: loss against numpy")
    assert any("its proof failed in NEW" in text for text in found["missing"])
    assert concord("compare", base, new).exit_code == 0


@pytest.mark.parametrize("arguments", [["--fail-if-slower", "fast"], ["--fail-if-slower", "-3%"], ["--fail-if-slower", "0.03"]])
def test_a_threshold_is_a_percentage(base, concord, arguments):
    """Anything else is bad usage."""
    assert concord("compare", base, base, *arguments).exit_code == 2


# Records that somebody else sent


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note it."""
        self.found.append((tag, attrs))


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A folder of runs in which every text is an attack."""
    cell = Cell(*[EVIL] * 6, batch=1)
    trials = [Trial(cell, "train", "ok", g, steps=1, times_ns=(1000 + g,), reason=EVIL) for g in range(6)]
    proofs = [Proof(*[EVIL] * 6, 1.0, 0.1, EVIL, "proven", EVIL)]
    for number in range(2):
        facts = dict.fromkeys(("created", "code", "seed", "data", "weights", "tasks", "finished"), f"{EVIL}{number}")
        workers = {EVIL: {"versions": {EVIL: f"{EVIL}{number}"}}}
        facts["environment"] = {"machine": {"cpu": EVIL, "packages": EVIL}, "workers": workers}
        facts["tasks"] = {EVIL: {"title": EVIL, "metric": EVIL}}
        save(tmp_path / "evil" / f"<b>{number}", facts, trials, proofs)
    return tmp_path / "evil"


def test_hostile_records_stay_text(evil, tmp_path, concord):
    """Nothing of them becomes markup, is evaluated, or commands the terminal."""
    runs = sorted(evil.iterdir())
    page, comment = tmp_path / "views" / "page.html", tmp_path / "new" / "comment.md"  # in folders that are made
    said = concord("compare", *runs, "--html", page, "--markdown", comment, "--fail-if-unproven")
    assert said.exit_code == 1
    assert "\x1b" not in said.output
    text = page.read_text(encoding="utf-8")
    tags = Tags(text).found
    ours = [tag for tag, attrs in tags if tag in {"script", "b"} or any(key.startswith("on") for key, _ in attrs)]
    assert ours == ["script"]
    assert "{{" in text
    assert "http" not in text
    lines = comment.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "<script" in line or "@you" in line]
    assert len({line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}) == 1
    assert concord("history", "--results", evil, "--plot", tmp_path / "x.svg").exit_code == 0
    assert not list(ET.parse(tmp_path / "x.svg").getroot().iter("script"))  # noqa: S314 - our own
    other = changed(tmp_path / "other", runs[0], lambda facts: facts["environment"]["machine"].update(cpu=EVIL * 2))
    for arguments in (["show", runs[0]], ["show", runs[0], "--filter", "phase=train"], ["compare", runs[0], other]):
        said = concord(*arguments)
        assert "\x1b" not in said.output
        assert said.exit_code == 0 or said.output.count("\n") == 1


def test_a_view_that_cannot_be_written(tmp_path, base, concord):
    """A full disk and a file where its folder should be: which file, why, and what to do."""
    results = tmp_path / "results"
    shutil.copytree(base, results / "one")
    for path, fact in (("/dev/full", "No space left"), (base / "run.json" / "file", "File exists")):
        for arguments in (
            ["compare", base, base, "--html", path],
            ["compare", base, base, "--markdown", path],
            ["history", "--results", results, "--plot", path],
        ):
            said = concord(*arguments)
            assert (said.exit_code, said.stdout) == (2, "")
            assert said.stderr.startswith(f"concord: cannot write {path} ({fact}")
            assert said.stderr.endswith("mend that or name another place.\n")


# History and one run


def test_history_tells_what_changed_and_skips_what_it_cannot_read(tmp_path, base, concord):
    """By date, a version and a machine marked; a folder that holds something else is told on stderr."""

    def later(facts):
        facts["created"] = "2026-02-02T00:00:00"
        facts["environment"]["workers"]["jax"]["versions"]["jax"] = "1.1"
        facts["environment"]["machine"]["python"] = "3.12.1"
        facts["code"] = "ab12cd34" * 8

    def elsewhere(facts):
        later(facts)
        facts["created"] = "2026-03-02T00:00:00"
        facts["environment"]["machine"]["cpu"] = "Other"

    results = tmp_path / "results"
    for name, change in (("c", dict), ("b", later), ("a", elsewhere)):
        changed(results / name, base, change)
    (results / "broken").mkdir()
    (results / "broken" / "run.json").write_text("{", encoding="utf-8")
    plot = tmp_path / "trend.svg"
    said = concord("history", "mnist_cnn", "--results", results, "--plot", plot, "--json")
    assert said.exit_code == 0
    assert said.stderr.count("\n") == 1
    assert "broken" in said.stderr
    found = [row for row in json.loads(said.stdout) if row["backend"] == "torch"]
    assert [Path(row["run"]).name for row in found] == ["c", "b", "a"]
    assert [row["changes"] for row in found[1:]] == [
        ["jax 1.1", "Python 3.12.1", "Concord's code ab12cd34"],
        ["another machine"],
    ]
    assert found[0]["ci_low"] < found[0]["step_time_s"] == pytest.approx(4.8e-3, rel=0.01)
    root = ET.parse(plot).getroot()  # noqa: S314 - our own
    texts, parts = "".join(root.itertext()), {part.tag.rpartition("}")[2]: part.text for part in root}
    assert parts["title"] == "Time of a training step, run by run"
    assert "of up to 3 runs, by date: mnist_cnn, training step: cpu, float32, batch 64." in parts["desc"]
    assert "jax 1.1" in texts
    assert "another machine" in texts
    shown = concord("history", "--results", results).stdout
    assert shown.index("2026-01-02 03:04") < shown.index("2026-02-02") < shown.index("2026-03-02")


def test_history_tells_another_state_of_the_machine(tmp_path, base, concord):
    """Which no version explains: what the canary says of it stands beside the run."""
    results = tmp_path / "results"
    for name, copy in (("a", 0.01), ("b", 0.0105), ("c", 0.02)):
        sung(results / name, base, product_s=0.01, copy_s=copy)
    found = json.loads(concord("history", "--results", results, "--json").stdout)
    changes = {Path(row["run"]).name: row["changes"] for row in found}
    assert (changes["b"], changes["c"]) == ([], ["the machine: canary's copy took 1.90 times as long"])


def test_a_history_of_nothing_is_an_error(tmp_path, base, concord):
    """No folder, or no run of that task; a selfcheck, whose entries are copies of one backend, is none."""
    shutil.copytree(base, tmp_path / "results" / "one")
    changed(tmp_path / "checks" / "one", base, lambda facts: facts.update(suite={"name": "selfcheck"}))
    for arguments, told in (
        (["--results", tmp_path / "nowhere"], "nowhere"),
        (["mnist_cn", "--results", tmp_path / "results"], "cnn'?"),
        (["--results", tmp_path / "checks"], "holds no timed run"),
    ):
        said = concord("history", *arguments)
        assert (said.exit_code, said.stdout) == (2, "")
        assert told in said.stderr


def test_show_filters(base, concord):
    """By task, backend and mode the verdicts, by phase every figure; JSON has the rows of the summary."""
    said = concord("show", base, "--filter", "backend=jax").stdout
    assert "jax eager" in said.partition("MNIST CNN:")[0]
    assert "torch eager" not in said.partition("MNIST CNN:")[0]
    assert "throughput" in concord("show", base, "--filter", "phase=train").stdout
    rows = json.loads(concord("show", base, "--filter", "mode=eager", "--filter", "backend=torch", "--json").stdout)["figures"]
    assert {row["metric"] for row in rows} >= {"step_time", "throughput"}
    assert {row["backend"] for row in rows} == {"torch"}


def test_compare_and_history_filter(tmp_path, base, concord):
    """Only these lines are compared, so only they fire a gate; only these times are told."""
    new = tmp_path / "results" / "new"
    slowed(new, base, "torch", 1.05)
    for only, code in (("backend=torch", 1), ("backend=jax", 0), ("task=mnist_cnn", 1)):
        said = concord("compare", base, new, "--fail-if-slower", "3%", "--filter", only, "--json")
        lines = json.loads(said.stdout)["lines"]
        assert (said.exit_code, len(lines)) == (code, 1 if "backend" in only else 3)
        assert all(line[only.partition("=")[0]] == only.partition("=")[2] for line in lines)
    rows = json.loads(concord("history", "--results", new.parent, "--filter", "backend=jax", "--json").stdout)
    assert [row["backend"] for row in rows] == ["jax"]


def test_one_phase_alone_is_told_more_sharply(tmp_path, concord):
    """The intervals are simultaneous over what was asked for: half as many lines have narrower ones."""
    runs = [records.read(made(tmp_path / f"one{seed}", seed=seed)) for seed in (1, 2)]
    both = [[*run.trials, *(replace(trial, phase="predict") for trial in run.trials)] for run in runs]
    base, new = (
        save(tmp_path / run.path.name[-1], dict(run.manifest), t, [*run.proofs]) for run, t in zip(runs, both, strict=True)
    )
    told = [
        json.loads(concord("compare", base, new, "--json", *more).stdout)["lines"] for more in ([], ["--filter", "phase=train"])
    ]
    every, trained = told
    assert [line for line in every if line["phase"] == "train"] != trained
    assert (len(every), {line["phase"] for line in trained}, len(trained)) == (6, {"train"}, 3)
    widths = [{line["backend"]: line["ci_high"] / line["ci_low"] for line in lines if line["phase"] == "train"} for lines in told]
    assert all(widths[1][backend] < width for backend, width in widths[0].items())


def test_an_unproven_cell_beside_the_filter_fires_no_gate(tmp_path, base, concord):
    """It is not compared."""
    run = records.read(base)
    new = save(tmp_path / "new", dict(run.manifest), list(run.trials), [p for p in run.proofs if p.backend != "torch"])
    for only, code in (("backend=torch", 1), ("backend=jax", 0)):
        assert concord("compare", base, new, "--fail-if-unproven", "--filter", only).exit_code == code


def test_a_framework_that_is_not_installed_fires_no_gate(tmp_path, base, concord):
    """It is missing, which is exit code 3 elsewhere, and here where BASE had it."""
    run = records.read(base)
    gone = [replace(p, level="trace", verdict="skipped") for p in run.proofs if p.backend == "jax"][:1]
    kept = [record for record in (*run.trials, *run.proofs) if getattr(record, "cell", record).backend != "jax"]
    trials, proofs = [r for r in kept if isinstance(r, Trial)], [r for r in kept if isinstance(r, Proof)]
    trials.append(Trial(CELLS["jax"], "train", "skipped", reason="JAX is not installed"))
    runs = [save(tmp_path / name, dict(run.manifest), trials, [*proofs, *gone]) for name in ("base", "new")]
    assert concord("compare", *runs, "--fail-if-unproven").exit_code == 0
    assert concord("compare", base, runs[1], "--fail-if-unproven").exit_code == 3


def test_what_differs_is_told_in_one_order(base):
    """That of the manifest, and not that of a set, which each process has its own of."""
    names = list(machines.facts(records.read(base)))
    assert [n for n in names if n.startswith("environment.machine")] == [f"environment.machine.{key}" for key in MACHINE]


@pytest.mark.parametrize(
    ("verb", "given", "told"),
    [
        ("show", "backend=torhc", "did you mean 'torch'?"),
        ("show", "phase=predict", "unknown phase 'predict'"),
        ("show", "color=red", "unknown filter 'color'"),
        ("show", "torch", "is not KEY=VALUE"),
        ("compare", "task=mnist_cn", "did you mean 'mnist_cnn'?"),
        ("compare", "phase=predict", "unknown phase 'predict'"),
        ("history", "phase=train", "unknown filter 'phase'"),
        ("history", "backend=torhc", "did you mean 'torch'?"),
    ],
)
def test_a_filter_that_nothing_meets(tmp_path, base, concord, verb, given, told):
    """The nearest that there is."""
    shutil.copytree(base, tmp_path / "results" / "one")
    where = {"show": [base], "compare": [base, base], "history": ["--results", tmp_path / "results"]}
    said = concord(verb, *where[verb], "--filter", given)
    assert (said.exit_code, said.stdout) == (2, "")
    assert told in said.stderr


def test_the_page_shows_the_figures_of_the_table(tmp_path, base):
    """Both come from the same lines."""
    found = held(base, slowed(tmp_path / "new", base, "torch", 1.05)).judged(slower=0.03)
    text, rows = comparison.page(found), comparison.table(found)
    for row in rows.to_dict("records"):
        assert row["interval"].replace(" ", "\u00a0") in text
    assert "A gate fired." in text
    assert comparison.markdown(found).count("\n| ") == len(rows) + 2


def test_a_comment_holds_what_matters_most(tmp_path, base):
    """GitHub takes 65,536 characters: what is decided comes first, whole rows are left out, and it is said how many."""
    found = held(base, slowed(tmp_path / "new", base, "torch", 1.05)).judged(slower=0.03)
    every = [(replace(line.cell, task=f"task{number}"), line) for number in range(300) for line in found.lines]
    proofs = {cell: found.new_proofs[line.cell] for cell, line in every}
    lines = [replace(line, cell=cell) for cell, line in every]
    text = comparison.markdown(replace(found, lines=lines, base_proofs=proofs, new_proofs=proofs))
    _, _, *rows = [row for row in text.splitlines() if row.startswith("| ")]
    assert 50_000 < len(text) < 65_536
    assert ["| slower |" in row for row in rows] == [True] * 300 + [False] * (len(rows) - 300)
    assert len({row.count("|") for row in rows}) == 1
    assert text.endswith(f"\n\nLeft out here for its length, and whole with `--html` and `--json`: {900 - len(rows)} rows.\n")
    assert text.index("**A gate fired**") < text.index("| entry |")


def test_gates_are_junit_cases(tmp_path, base, concord):
    """A case a line and a case a cell: the one that fires has its interval, those that cannot be judged are skipped."""
    new, file = slowed(tmp_path / "new", base, "torch", 1.05), tmp_path / "ci" / "gates.xml"
    said = concord("compare", base, new, "--fail-if-slower", "3%", "--fail-if-unproven", "--junit", file)
    assert said.exit_code == 1
    found = held(base, new).judged(slower=0.03, unproven=True)
    cases = list(ET.parse(file).iter("testcase"))  # noqa: S314 - our own
    assert len(cases) == len(found.checks) > len(found.lines)
    failed = {case.get("classname"): case.find("failure").get("message") for case in cases if case.find("failure") is not None}
    assert list(failed) == ["mnist_cnn.torch eager"]
    assert [*failed.values()] == [*found.gates]
    skipped = [case for case in cases if case.find("skipped") is not None]
    assert len(skipped) == sum(check.verdict == "blind" for check in found.checks)
    assert concord("compare", base, new, "--junit", file).exit_code == 2
