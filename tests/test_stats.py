"""The rules that turn times into verdicts: against brute force, against scipy, and against simulated machines."""

import math
import time
from collections import Counter
from dataclasses import replace
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness import catalog, ledger, noise, ranking, run, standing, stats
from harness.records import Cell, Proof, Run, Trial
from harness.stats import Ratio

settings.register_profile("stats", max_examples=30, deadline=None)
settings.load_profile("stats")
CELL = Cell("mnist_cnn", "torch", "eager", "cpu", "float32", "mnist", 64)
KEYS = st.tuples(st.integers(0, 4), st.integers(0, 4))
TIMES = st.floats(1e-6, 1e3)
PAIRED = st.dictionaries(KEYS, st.tuples(TIMES, TIMES), min_size=1, max_size=25)


def trial(generation=0, round_=0, *, times=(1_000_000,), steps=1, phase="train", **more):
    """A trial of CELL."""
    settings = {"status": "ok", "generation": generation, "round": round_, "steps": steps, "times_ns": times}
    return Trial(more.pop("cell", CELL), phase, **{**settings, **more})


def machine(rng, *, effect=0.0, offset=0.0, noise=0.04, generations=5, rounds=5):
    """Two backends' samples: process offsets of sd ``offset`` each, a shared drift, noise of a round."""
    a, b = {}, {}
    for generation in range(generations):
        ours, theirs = rng.normal(0, offset, 2)
        for turn in range(rounds):
            drift = 0.3 * math.sin(generation + turn / 3)
            a[generation, turn] = math.exp(drift + ours + rng.normal(0, noise))
            b[generation, turn] = math.exp(drift + theirs + effect + rng.normal(0, noise))
    return a, b


def simulate(times, **settings):
    """The paired ratios of that many simulated runs."""
    rng = np.random.default_rng(3)
    return [stats.paired(*machine(rng, **settings)) for _ in range(times)]


# Samples


def test_a_sample_is_the_median_time_of_a_step():
    """Seconds a step, from nanoseconds a block."""
    found = ranking.blocks([trial(1, 2, times=(40, 10, 20), steps=10)])
    assert stats.samples(found) == {(1, 2): pytest.approx(2e-9)}


def test_what_failed_or_compiled_is_not_used_but_counted():
    """A void trial leaves no trace in the samples; the count tells why."""
    void = [trial(0), trial(1, compilations=1), trial(2, status="timeout")]
    void += [trial(3, times=()), trial(4, times=(0,)), trial(5, steps=0)]
    assert list(ranking.blocks(void)) == [(0, 0)]
    assert ranking.unused(void)["compiled inside a block"] == 1
    assert ranking.unused(void)["timeout"] == 1
    assert sum(ranking.unused([*void, trial(phase="fit", status="failed")]).values()) == 5


def test_of_a_repeated_round_the_first_usable_trial_counts():
    """By rule, not by value."""
    found = ranking.blocks([trial(compilations=1), trial(times=(7,)), trial(times=(5,))])
    assert stats.samples(found) == {(0, 0): pytest.approx(7e-9)}


# Absolute times


def test_one_sample_has_no_interval():
    """Nothing is known of its spread."""
    assert stats.absolute({(0, 0): 2.0}) == stats.Estimate(2.0, None, None, 1)


def test_bootstrap_agrees_with_scipy_where_there_is_one_level_only():
    """One generation: the hierarchical bootstrap is the ordinary one."""
    values = np.random.default_rng(5).lognormal(0, 0.2, 30)
    found = stats.absolute({(0, turn): value for turn, value in enumerate(values)})
    theirs = scipy.stats.bootstrap((values,), np.median, method="percentile", n_resamples=10_000, rng=1)
    assert found.value == np.median(values)
    assert found.low == pytest.approx(theirs.confidence_interval.low, rel=0.01)
    assert found.high == pytest.approx(theirs.confidence_interval.high, rel=0.01)


def test_resamples_draw_generations_first():
    """Every draw holds as many generations as there are, and whole ones: unequal rounds are no exception."""
    drawn = stats.resamples((3, 1, 2))
    assert drawn.shape == (stats.DRAWS, 6)
    assert drawn.mean(0) == pytest.approx([1, 1, 1, 1, 1, 1], abs=0.05)
    assert set(drawn[:, 3]) == {0, 1, 2, 3}
    assert (drawn[:, :3].sum(1) % 3 == 0).all()
    assert (drawn[:, 4:].sum(1) % 2 == 0).all()


def test_bootstrap_sees_the_offsets_of_processes():
    """Same values, but in clusters: the interval must widen."""
    values = np.repeat([1.0, 1.1, 1.2, 1.3, 1.4], 5) + np.tile(np.linspace(0, 0.01, 5), 5)
    clustered = stats.absolute({(i // 5, i % 5): v for i, v in enumerate(values)})
    flat = stats.absolute({(0, i): v for i, v in enumerate(values)})
    assert clustered.high - clustered.low > 1.3 * (flat.high - flat.low)


@given(st.dictionaries(KEYS, TIMES, min_size=1, max_size=25))
def test_the_interval_lies_among_the_samples(figures):
    """A percentile bootstrap of a median cannot leave them; of three samples and fewer it would be from the first to the last."""
    found = stats.absolute(figures)
    if len(figures) < stats.FEWEST:
        assert (found.low, found.high) == (None, None)
    else:
        assert min(figures.values()) <= found.low <= found.high <= max(figures.values())
    assert found.n == len(figures)


def test_a_quantile_of_many_calls_is_numpys():
    """p99 of 5,000 calls, with an interval that holds the true one."""
    rng = np.random.default_rng(2)
    calls = {(g, r): rng.exponential(1.0, 200) for g in range(5) for r in range(5)}
    found = stats.quantile(calls, 0.99)
    assert found.value == np.quantile(np.concatenate(list(calls.values())), 0.99)
    assert found.n == 5000
    assert found.low < -math.log(0.01) < found.high


# Ratios


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_walsh_averages_are_those_of_all_pairs(values):
    """Against the definition, written out."""
    averages = [(a + b) / 2 for a, b in combinations_with_replacement(values, 2)]
    assert stats.walsh(np.array(values)) == pytest.approx(sorted(averages))


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=14, unique=True), st.floats(-2, 2))
def test_the_interval_within_processes_is_the_exact_signed_rank_test_the_other_way_round(logs, truth):
    """It holds just the ratios that scipy's test does not reject; where differences tie, its p is no exact one."""
    found = stats.within({(0, n): 1.0 for n in range(len(logs))}, {(0, n): math.exp(log) for n, log in enumerate(logs)})
    off = np.array(logs) - truth
    assume(len(set(np.round(abs(off), 9))) == len(off) and min(abs(off)) > 1e-9)
    kept = scipy.stats.wilcoxon(off, method="exact").pvalue > 0.05
    assert (math.log(found[0]) < truth < math.log(found[1])) == kept


def test_too_few_rounds_have_no_interval_within():
    """Of five, not even that all have one sign is rarer than 1 in 32."""
    rounds = {(0, n): 1.0 + n / 100 for n in range(5)}
    assert stats.within(rounds, rounds) is None
    assert stats.within({}, rounds) is None


def test_of_many_rounds_the_interval_within_is_that_of_the_normal_distribution():
    """Where both are there they agree; and many thousands of rounds take no minute."""
    rng = np.random.default_rng(8)
    for count, tolerance in ((stats.EXACT, 1e-9), (stats.EXACT + 1, 2e-3)):
        logs = rng.normal(0.1, 0.05, count)
        found = stats.within({(0, n): 1.0 for n in range(count)}, {(0, n): math.exp(log) for n, log in enumerate(logs)})
        least = int(np.searchsorted(stats.signed_rank(count), 0.025))
        averages = np.exp(stats.walsh(logs))
        assert found == pytest.approx((averages[least - 1], averages[-least]), rel=tolerance)


def test_rounds_that_pay():
    """Kalibera and Jones: sqrt(start/round * variance within / between); nothing where generations do not differ on their own."""
    rng = np.random.default_rng(6)
    a, b = machine(rng, offset=0.05, noise=0.1, generations=400, rounds=10)  # of a ratio the variances are twice as large
    found = stats.best_rounds(a, b, start_s=16.0, round_s=1.0)
    assert found == pytest.approx(math.sqrt(16) * 0.1 / 0.05, abs=1)
    assert stats.best_rounds(a, b, start_s=0.0, round_s=1.0) == 1
    same = {(g, r): 1.0 + 0.1 * (r % 2) for g in range(5) for r in range(5)}
    assert stats.best_rounds(same, dict.fromkeys(same, 1.0), start_s=16.0, round_s=1.0) is None
    assert stats.best_rounds(a, {key: b[key] for key in b if key[0] == 0}, start_s=1.0, round_s=1.0) is None


def test_the_interval_is_the_t_interval_on_generation_medians():
    """Against scipy, at the level that three pairs leave: t = 3.96 from five generations."""
    a, b = machine(np.random.default_rng(1), effect=0.1, offset=0.02)
    medians = [np.median([math.log(b[g, r] / a[g, r]) for r in range(5)]) for g in range(5)]
    low, high = scipy.stats.t.interval(1 - 0.05 / 3, 4, np.mean(medians), scipy.stats.sem(medians))
    found = stats.paired(a, b, pairs=3)
    assert (found.low, found.high) == (pytest.approx(math.exp(low)), pytest.approx(math.exp(high)))
    assert stats.t_quantile(5, 3) == pytest.approx(3.96, abs=0.005)
    assert stats.t_quantile(10, 3) == pytest.approx(2.93, abs=0.005)


def test_an_interval_that_says_nothing_has_ends():
    """Two generations, many pairs: t is over a thousand, and exp of it no float. What judges a run must survive that."""
    times = {(generation, 0): 1.0 for generation in range(2)}
    found = stats.paired(times, {(0, 0): 1.0, (1, 0): 20.0}, pairs=104)
    assert stats.t_quantile(2, 104) > 1300
    assert found.half == pytest.approx(stats.WIDEST)
    assert 0 < found.low < found.value < found.high < math.inf
    assert found.detectable() > 0
    assert 7 <= found.needed() <= stats.PATIENCE
    assert stats.verdict(found) == "indicative"
    mean = stats.mean_ratio([(np.arange(2), np.array([0.0, 3.0]))] * 2, pairs=104)
    assert (mean.low, mean.high) == (pytest.approx(found.low, rel=0.1), pytest.approx(found.high, rel=0.1))


def test_smallest_visible_difference():
    """The margin, and 1.24 half-widths at five generations, 1.30 at ten (80 % power)."""
    for generations, factor in ((5, 1.24), (10, 1.30)):
        found = Ratio(1.0, math.exp(-0.1), math.exp(0.1), 25, generations, 3).detectable()
        assert (math.log1p(found) - math.log(stats.MARGIN)) / 0.1 == pytest.approx(factor, abs=0.006)
    assert Ratio(1.0, None, None, 5, 1, 3).detectable() is None


def test_the_named_effect_is_seen_four_times_out_of_five():
    """The median effect size that undecided runs name, planted in as many new ones, is found in about 80 %."""
    named = [found.detectable() for found in simulate(300, offset=0.02) if stats.verdict(found) == "undecided"]
    seen = [stats.verdict(found) == "slower" for found in simulate(300, offset=0.02, effect=math.log1p(np.median(named)))]
    assert len(named) > 100
    assert np.mean(seen) == pytest.approx(0.8, abs=0.08)


def test_generations_needed():
    """Of an interval 3.99 times too wide t falls, too, and 33 generations do, not 80; never fewer than 7; none without one."""
    size = math.log(1.10)
    wide = Ratio(1.10, math.exp(size - 3.99 * (size - math.log(stats.MARGIN))), 1.5, 25, 5, 3)
    wide = Ratio(1.10, wide.low, math.exp(2 * size - math.log(wide.low)), 25, 5, 3)
    width = {n: scipy.stats.t.ppf(1 - 0.025 / 3, n - 1) / math.sqrt(n) for n in (5, 32, 33)}
    assert width[33] <= width[5] / 3.99 < width[32]
    assert wide.needed() == 33
    assert replace(wide, value=1.03).needed() == 33  # the interval is centred elsewhere
    assert Ratio(2.0, 1.99, 2.01, 25, 5, 3).needed() == 7
    assert Ratio(2.0, 1.99, 2.01, 50, 10, 3).needed() == 11
    assert Ratio(1.0, None, None, 5, 1, 3).needed() is None
    assert Ratio(1.0201, 1.01, 1.03, 25, 5, 3).needed() is None  # holds the margin for as long as anybody would wait
    assert Ratio(1.06, 1.05, 1.07, 50, 10, 3).needed(0.04) == 11
    assert Ratio(1.06, 1.05, 1.07, 50, 10, 3).needed(0.08) is None  # equals differ by more
    assert Ratio(1.01, 0.93, 1.01**2 / 0.93, 25, 5, 3).needed() == 12  # a tie within 5 %, as long as it holds 1
    assert Ratio(1.015, 1.004, 1.015**2 / 1.004, 25, 5, 3).needed() == 13  # does not hold 1: within 2 % only
    assert Ratio(1.024, math.exp(0.024 - 0.0602), math.exp(0.024 + 0.0602), 25, 5, 3).needed() is None  # 15 would exclude 1


@given(st.floats(-0.2, 0.2), st.floats(1e-3, 0.2), st.floats(-1, 1))
def test_generations_needed_hang_on_the_interval_alone(centre, half, skew):
    """It narrows about its centre, wherever in it the point may lie."""
    points, ends = (centre, centre + skew * half), (math.exp(centre - half), math.exp(centre + half))
    assert len({Ratio(math.exp(point), *ends, 25, 5, 3).needed() for point in points}) == 1


@given(PAIRED)
def test_the_ratio_the_other_way_round_is_the_reciprocal(both):
    """A/B = 1/(B/A), ends of the interval included."""
    a, b = ({key: pair[side] for key, pair in both.items()} for side in (0, 1))
    one, other = stats.paired(a, b, pairs=3), stats.paired(b, a, pairs=3)
    assert one.value == pytest.approx(1 / other.value)
    if one.low is not None:
        assert one.low == pytest.approx(1 / other.high, rel=1e-6)


@pytest.mark.parametrize(("count", "ranks"), [(5, None), (6, (1, 6)), (10, (2, 9)), (25, (8, 18)), (100, (40, 61))])
def test_order_statistics(count, ranks):
    """The ranks of the tables of the sign test at two-sided 5 %; the quantiles are NumPy's."""
    values = np.arange(1.0, count + 1)
    found = stats.spread({(0, i): value for i, value in enumerate(values)})
    assert (found["within_low"], found["within_high"]) == (ranks or (None, None))
    assert (found["minimum"], found["median"], found["p95"]) == (1.0, np.median(values), np.quantile(values, 0.95))
    assert found["mad"] == np.median(abs(values - np.median(values)))


def test_order_statistics_cover():
    """At least 95 of 100, whatever the distribution: of skewed times here, whose median is 1."""
    rng = np.random.default_rng(0)
    drawn = [
        stats.spread({(0, i): float(v) for i, v in enumerate(np.exp(rng.exponential(size=12) - math.log(2)))})
        for _ in range(2000)
    ]
    assert 0.945 < np.mean([found["within_low"] <= 1 <= found["within_high"] for found in drawn]) < 0.975


@given(PAIRED, st.randoms(use_true_random=False))
def test_the_order_of_records_changes_nothing(both, random):
    """Bit for bit."""
    shuffled = list(both.items())
    random.shuffle(shuffled)
    sides = [[{key: pair[side] for key, pair in items} for side in (0, 1)] for items in (both.items(), shuffled)]
    assert stats.paired(*sides[0]) == stats.paired(*sides[1])
    assert stats.absolute(sides[0][0]) == stats.absolute(sides[1][0])


@given(PAIRED, st.floats(1e-3, 1e3))
def test_a_faster_machine_changes_no_ratio(both, speed):
    """Only the ratio of times counts."""
    a, b = ({key: pair[side] for key, pair in both.items()} for side in (0, 1))
    scaled = [{key: value * speed for key, value in side.items()} for side in (a, b)]
    assert stats.paired(*scaled).value == pytest.approx(stats.paired(a, b).value)


def test_only_rounds_that_both_have_are_paired():
    """And without any there is no ratio."""
    found = stats.paired({(0, 0): 1.0, (0, 1): 1.0}, {(0, 1): 3.0, (1, 0): 5.0})
    assert (found.value, found.n, found.low) == (pytest.approx(3.0), 1, None)
    assert stats.paired({(0, 0): 1.0}, {(1, 0): 1.0}) is None


# How often the rules are right


def test_coverage_of_the_t_rule():
    """95 % of the intervals hold the true ratio, although processes differ by 2 %."""
    found = simulate(1000, effect=0.07, offset=0.02)
    held = np.mean([ratio.low <= math.exp(0.07) <= ratio.high for ratio in found])
    assert 0.93 <= held <= 0.98


def test_identical_backends_are_not_told_apart():
    """A/A: of 1,000 runs with process offsets fewer than 2 % claim a difference."""
    found = Counter(stats.verdict(ratio) for ratio in simulate(1000, offset=0.02))
    assert (found["faster"] + found["slower"]) / 1000 < 0.02


def test_a_real_difference_is_found():
    """20 % is seen nearly always, and always with the right sign."""
    found = Counter(stats.verdict(ratio) for ratio in simulate(500, effect=0.2, offset=0.01))
    assert found["slower"] / 500 > 0.95
    assert found["faster"] == 0


# Verdicts and ranks


def ratio(low, high, generations=5):
    """A ratio with that interval."""
    return Ratio(math.sqrt(low * high), low, high, 25, generations, 1)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ratio(0.96, 1.04), "tie"),
        (ratio(0.981, 0.999), "tie"),  # a difference, but none that is worth a word
        (ratio(1.005, 1.045), "undecided"),  # a difference, and perhaps one worth a word
        (ratio(1.03, 1.045), "slower"),
        (ratio(1.03, 1.2), "slower"),
        (ratio(1.01, 1.2), "undecided"),  # beyond 1, but not by more than is worth a word
        (ratio(0.5, 0.97), "faster"),
        (ratio(0.9, 1.1), "undecided"),
        (ratio(1.5, 1.6, generations=4), "indicative"),
        (Ratio(2.0, None, None, 5, 1, 1), "indicative"),
    ],
)
def test_verdicts(found, expected):
    """In the order of the rule."""
    assert stats.verdict(found) == expected


@given(st.dictionaries(KEYS, TIMES, min_size=2, max_size=25), st.data())
def test_a_ratio_lies_in_its_own_interval(times, data):
    """Also where steps are fast or slow by turns, and the median over all rounds is one that no generation's median is."""
    ratio = stats.paired(dict.fromkeys(times, 1.0), {key: data.draw(st.sampled_from([1.0, 1.1])) for key in times})
    assert ratio.low is None or ratio.low * (1 - 1e-12) <= ratio.value <= ratio.high * (1 + 1e-12)


@pytest.mark.parametrize(("pairs", "generations", "most"), [(3, 5, 0.014), (3, 10, 0.025), (1, 5, 0.036), (1, 10, 0.051)])
@pytest.mark.parametrize("half", [0.01, 0.02, 0.024, 0.03, 0.05])
def test_two_runs_do_not_contradict_each_other(half, pairs, generations, most):
    """Tie in one and slower in the other: as seldom as the README says, where truth and noise lie worst."""
    rng = np.random.default_rng(0)
    spread = half / stats.t_quantile(generations, pairs) * math.sqrt(generations)
    for truth in np.arange(0.0, 0.08, 0.01):
        runs = rng.normal(truth, spread, size=(600, generations))
        told = [stats.verdict(stats.over_generations(dict(enumerate(run)), 25, pairs)) for run in runs]
        shares = {word: told.count(word) / len(told) for word in ("tie", "slower", "faster")}
        assert 2 * shares["tie"] * shares["slower"] < most + 0.015, truth  # 600 runs tell it no better
        assert shares["faster"] < 0.03
        if truth < math.log(stats.MARGIN):  # a planted 1 % is not ranked
            assert shares["slower"] < 0.03
        if truth == 0 and half <= 0.02:
            assert shares["tie"] > 0.9


@pytest.mark.parametrize("centre", [0.0, 0.02, 0.5])
@pytest.mark.parametrize(("half", "more"), [(0.029, False), (0.031, True), (None, True)])
def test_generations_are_added_for_width_alone(centre, half, more):
    """Until every interval of the proven is as narrow as the suite says, whatever it tells: a tie, nothing, or a winner."""
    a, b, c = (replace(CELL, backend=name) for name in ("torch", "jax", "tensorflow"))
    ends = (None, None) if half is None else (math.exp(centre - half), math.exp(centre + half))
    narrow, wide = Ratio(math.exp(centre), *ends, 25, 5, 1), Ratio(1.0, 0.5, 2.0, 25, 5, 1)
    ratios = {(a, b): narrow, (a, c): wide}
    verdicts = {pair: stats.verdict(found) for pair, found in ratios.items()}
    held = ranking.Contest("train", {}, ratios, verdicts, [a, b], a, {}, "", None, {})  # c is not proven: nobody waits for it
    suite = SimpleNamespace(generations=5, narrow=0.03, budget_s=60.0)
    plan = SimpleNamespace(suite=suite)
    assert run.wanted(plan, 5, (held,)) is more
    assert run.wanted(SimpleNamespace(suite=SimpleNamespace(generations=5, narrow=0.01, budget_s=60.0)), 5, (held,))
    assert run.wanted(plan, 4, (held,))
    assert not run.wanted(plan, 5, ())
    suite.budget_s = 0.0
    assert not run.wanted(plan, 5, (held,))


@pytest.mark.parametrize("suite", ["quick", "rigorous"])
@pytest.mark.parametrize("wider", [0.8, 1.0, 1.5, 3.0])
def test_to_stop_where_it_is_narrow_costs_little_coverage(suite, wider):
    """A run stops sooner where its spread came out small. Noise is 0.8 to 3 times what leaves the least number narrow.

    Of 98.33 % it leaves 97.0 (quick, 3 times, 18 generations) to 98.4 %, by 40,000 draws; three deviations of 20,000 are 0.4.
    """
    least, narrow, most = catalog.suite(suite).generations, catalog.suite(suite).narrow, 40
    t = np.array([math.nan, *(stats.t_quantile(count, 3) for count in range(2, most + 1))])
    noise = np.random.default_rng(0).normal(0, wider * narrow * math.sqrt(least) / t[least - 1], (20_000, most))
    counts = np.arange(1, most + 1)
    means = noise.cumsum(axis=1) / counts
    with np.errstate(invalid="ignore", divide="ignore"):
        halves = t * np.sqrt(((noise**2).cumsum(axis=1) - counts * means**2) / (counts - 1) / counts)
    stops = (counts >= least) & ((halves <= narrow) | (counts == most))
    at = np.arange(len(noise)), stops.argmax(axis=1)
    assert np.mean(abs(means[at]) <= halves[at]) > 0.97 - 0.004


def table(**slower):
    """Verdicts among a, b, c from "ab"="slower" (b is slower than a); the rest are ties."""
    turned = {"slower": "faster", "faster": "slower"}
    found = {(x, y): "tie" for x in "abc" for y in "abc" if x != y}
    for (x, y), word in slower.items():
        found[x, y], found[y, x] = word, turned.get(word, word)
    return found


def test_ranks_are_groups():
    """Who is not told apart shares a place, also where it is not transitive."""
    assert stats.ranks("abc", table(ab="slower", ac="slower")) == {"a": "1", "b": "2-3", "c": "2-3"}
    assert stats.ranks("abc", table(ab="slower", ac="slower", bc="slower")) == {"a": "1", "b": "2", "c": "3"}
    assert stats.ranks("abc", table(ac="slower")) == {"a": "1-2", "b": "1-3", "c": "2-3"}
    assert stats.ranks("abc", table()) == dict.fromkeys("abc", "1-3")


def contest(states, *, generations=5, speeds=(1.0, 2.0, 3.0), more=(), **settings):
    """A contest of torch, tensorflow, jax with these proofs, each ``speeds`` slow; ``more`` makes further trials of a cell."""
    rng = np.random.default_rng(4)
    trials, proofs = [], {}
    for backend, state, speed in zip(("torch", "tensorflow", "jax"), states, speeds, strict=True):
        cell = Cell("mnist_cnn", backend, "default", "cpu", "float32", "mnist", 64)
        for key in [(g, r) for g in range(generations) for r in range(5)]:
            time = int(1e9 * speed * math.exp(rng.normal(0, 0.01)))
            trials.append(trial(*key, cell=cell, times=(time,), cpu_ns=settings.get("cpu", time)))
        trials += [make(cell, generation) for make in more for generation in range(generations)]
        proofs[cell] = standing.Proven(state)
    share = settings.get("contended", 0.0)
    rounds = {(0, n): n < 100 * share for n in range(100)}
    said = [trial(cell=cell, phase="first_call", facts=settings.get(cell.backend, {})) for cell in proofs]
    return ranking.contest("train", trials, proofs, rounds, (), ranking.computed(said))


def places(found):
    """Ranks by backend."""
    return {cell.backend: rank for cell, rank in found.ranks.items()}


def test_what_failed_its_proof_is_neither_best_nor_ranked_nor_compared():
    """A faster wrong answer is not faster; the pairs that remain are fewer, and so is the correction."""
    found = contest(["failed", "proven", "proven"])
    assert found.best.backend == "tensorflow"
    assert places(found) == {"tensorflow": "1", "jax": "2"}
    assert not any("torch" in (a.backend, b.backend) for a, b in found.ratios)
    assert {ratio.pairs for ratio in found.ratios.values()} == {1}


def test_what_is_not_proven_is_compared_but_not_ranked():
    """The stock mode: its ratio to the best is worth knowing."""
    found = contest(["not proven", "proven", "proven"])
    stock = next(cell for cell in found.blocks if cell.backend == "torch")
    assert found.ratios[found.best, stock].value == pytest.approx(0.5, rel=0.02)
    assert places(found) == {"tensorflow": "1", "jax": "2"}


@pytest.mark.parametrize(
    ("states", "generations", "why"),
    [
        (["not proven"] * 3, 5, "nothing is proven"),
        (["proven", "failed", "not proven"], 5, "only one is proven"),
        (["proven"] * 3, 4, "4 of the 5 generations"),
        (["proven"] * 3, 1, "1 of the 5 generations"),
    ],
)
def test_no_ranks_without_grounds(states, generations, why):
    """And the reason is told."""
    found = contest(states, generations=generations)
    assert why in found.refusal
    assert found.ranks == {}


@pytest.mark.parametrize(("fact", "other"), [("dtype", "bfloat16"), ("device", "gpu")])
def test_what_computes_otherwise_is_not_ranked(fact, other):
    """In another dtype, or elsewhere than it was asked to; who does not say is not suspected."""
    usual = {"dtype": "float32", "device": "cpu"}
    found = contest(["proven"] * 3, torch=usual, tensorflow=usual, jax=usual | {fact: other})
    assert found.refusal.startswith("not computed alike: jax default in ")
    assert (other in found.refusal, found.noisy, found.ranks) == (True, "", {})
    assert contest(["proven"] * 3, torch=usual, tensorflow=usual).refusal == ""


def test_over_all_tasks_the_geometric_mean_of_ratios_counts():
    """A backend three times as fast in one task and twice as slow in another leads by sqrt(3 / 2)."""
    held = [contest(["proven"] * 3, speeds=speeds) for speeds in ((1.0, 3.0, 9.0), (2.0, 1.0, 9.0))]
    found = ranking.overall(held)
    assert list(found) == [("torch", "default"), ("tensorflow", "default"), ("jax", "default")]
    (best, _), (second, rank), (last, _) = found.values()
    assert (best.value, best.low) == (1.0, None)
    assert second.low < second.value < second.high
    assert (second.value, last.value) == (pytest.approx(math.sqrt(1.5), rel=0.01), pytest.approx(math.sqrt(40.5), rel=0.01))
    assert (rank, second.pairs, second.generations) == ("2", 3, 5)


def test_the_mean_over_tasks_is_paired_by_generation():
    """Its interval is Student's t over each generation's mean of log-ratios."""
    rng = np.random.default_rng(7)
    tasks = [machine(rng, effect=effect, offset=0.03) for effect in (0.1, -0.2)]
    found = stats.mean_ratio([stats.paired_logs(*task) for task in tasks], pairs=1)
    each = [[np.median([math.log(b[g, r] / a[g, r]) for r in range(5)]) for g in range(5)] for a, b in tasks]
    means = np.mean(each, axis=0)
    low, high = scipy.stats.t.interval(0.95, 4, np.mean(means), scipy.stats.sem(means))
    assert (found.low, found.high) == (pytest.approx(math.exp(low)), pytest.approx(math.exp(high)))


@pytest.mark.parametrize(
    "held",
    [
        [{}],
        [{}, {"generations": 4}],
        [{}, {"contended": 0.4}],
        [{}, {"states": ["proven", "failed", "failed"]}],
        [{"states": ["proven", "proven", "failed"]}, {"states": ["failed", "proven", "proven"]}],
    ],
    ids=["one task", "few generations", "a task that is not ranked", "one entry", "one entry in common"],
)
def test_without_two_ranked_tasks_and_two_entries_in_both_there_is_no_mean(held):
    """It would stand for something that was not measured."""
    assert ranking.overall([contest(**{"states": ["proven"] * 3, **settings}) for settings in held]) == {}
    assert ranking.overall([]) == {}


def test_a_mean_needs_five_generations_in_common():
    """Each task has five of six; both have four."""
    held = [contest(["proven"] * 3, generations=6) for _ in range(2)]
    assert ranking.overall(held)
    for gone, found in enumerate(held):
        kept = {cell: {key: v for key, v in times.items() if key[0] != gone} for cell, times in found.blocks.items()}
        held[gone] = replace(found, blocks=kept)
        assert held[gone].refusal == ""
    assert ranking.overall(held) == {}


def warmup(cell, generation, kind="no steady state"):
    """A warm-up of a generation."""
    return trial(generation, cell=cell, phase="warmup", of="train", facts={"kind": kind, "start": 0})


def twin(ratio):
    """Makes the control of a generation: its process takes ``ratio`` times as long as the first one, in torch alone."""

    def make(cell, generation):
        phase = "control" if cell.backend == "torch" else "canary"
        time = int(1e9 * ratio * (1 + generation / 1000))
        return trial(generation, cell=cell, phase=phase, of="train", times=(time,))

    return make


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"more": (warmup,)}, "jax default reached no steady state in 5 generations"),
        ({"contended": 0.31}, "31% of the rounds were contended"),
        ({"cpu": 10**10}, "jax default used 3.3"),
        ({"more": (twin(1.1),)}, "the A/A control excludes 1: two processes of one backend differ by 1.1"),
    ],
)
def test_disturbed_times_carry_no_verdict(settings, why):
    """However far apart they are."""
    found = contest(["proven"] * 3, **settings)
    assert why in found.refusal
    assert found.ranks == {}
    assert bool(found.noisy) is ("cpu" not in settings)  # another budget is no noise


def test_first_modes_have_half_of_the_level():
    """Three of eight entries: their pairs are told apart as if there were six, all others as if there were fifty."""
    first = [(name, "first") for name in "abc"]
    able = [*first, *((name, f"mode {i}") for name in "abc" for i in range(2))][:8]
    counts = {(x, y): ranking.simultaneous({x, y}, able, first) for x, y in combinations(able, 2)}
    assert Counter(counts.values()) == {6: 3, 50: 25}
    assert sum(1 / count for count in counts.values()) == pytest.approx(1)  # of the level, in all
    assert ranking.simultaneous({*first[:2]}, first, first) == ranking.simultaneous({*first[:2]}, first, ()) == 3
    assert ranking.simultaneous({able[0], able[3]}, [able[0], able[3]], first) == 1  # one backend against itself


def test_a_little_disturbance_is_borne():
    """One unsteady generation, under a third of contended rounds, a control that holds 1."""
    once = lambda cell, g: warmup(cell, g, "flat" if g else "no steady state")  # noqa: E731 - a maker of trials
    found = contest(["proven"] * 3, more=(once, twin(1.0)), contended=0.3, cpu=10**9)
    assert found.refusal == ""
    assert places(found) == {"torch": "1", "tensorflow": "2", "jax": "3"}
    assert found.control.value == pytest.approx(1, rel=0.02)
    assert 0 < found.floor < 0.05


@pytest.mark.parametrize("usable", range(6))
def test_a_control_of_too_few_generations_protects_nobody(usable):
    """Where twins died there is no noise floor, nor a control that could exclude 1: nothing is ranked, rather than without."""

    def make(cell, generation):
        made = twin(1.0)(cell, generation)
        return made if generation < usable else replace(made, status="failed")

    found = contest(["proven"] * 3, more=(make,))
    told = "" if usable >= 3 else f"the A/A control has {usable} of the 3 generations that a noise floor needs"
    assert (found.refusal, found.noisy, bool(found.ranks), found.floor > 0) == (told, told, usable >= 3, usable >= 3)
    assert contest(["proven"] * 3).refusal == ""  # a suite that never had a control
    assert contest(["proven"] * 3, generations=4, more=(make,)).refusal.startswith("4 of the 5 generations a verdict needs")


def test_twins_that_did_not_even_start_are_missed_in_every_phase():
    """Their record is of none of them."""
    cells = [replace(CELL, task="t", backend=name) for name in ("torch", "jax")]
    turns = [(number, cell, key) for number, cell in enumerate(cells) for key in product(range(5), range(2))]
    trials = [trial(*key, cell=cell, times=(10**6 * (1 + number),)) for number, cell, key in turns]
    trials += [replace(t, phase="latency", cell=replace(t.cell, batch=1)) for t in trials]
    run = Run(Path(), {}, tuple(trials), (*proofs("torch eager"), *proofs("jax eager")))
    assert {c.phase: c.refusal for c in ranking.contests(run)} == {"train": "", "latency": ""}
    dead = [trial(generation, cell=cells[0], phase="control", status="failed", times=()) for generation in range(5)]
    told = {c.phase: c.refusal for c in ranking.contests(replace(run, trials=(*trials, *dead)))}
    assert told == dict.fromkeys(("train", "latency"), "the A/A control has 0 of the 3 generations that a noise floor needs")
    elsewhere = [replace(t, cell=replace(t.cell, threads=2)) for t in dead]
    assert {c.refusal for c in ranking.contests(replace(run, trials=(*trials, *elsewhere)))} == {""}


def test_a_control_that_is_off_by_less_than_a_verdict_raises_the_floor_alone():
    """One control in twenty excludes 1 by chance: what no verdict would rank must not take a 2x with it."""
    found = contest(["proven"] * 3, more=(twin(1.017),))
    assert found.control.low > 1
    assert (found.refusal, found.floor) == ("", pytest.approx(found.control.high - 1))
    assert stats.noise_floor(Ratio(0.97, 0.95, 0.99, 25, 5, 1)) == pytest.approx(1 / 0.95 - 1)
    assert stats.noise_floor(Ratio(1.0, 0.5, 2.0, 10, 2, 1)) == 0.0  # of two generations: with it nothing would be ranked


def test_what_lies_within_the_noise_floor_is_not_ranked():
    """What the control cannot tell apart, no verdict does, and no tie is made of noise."""
    ratio = Ratio(1.06, 1.05, 1.07, 25, 5, 3)
    assert [stats.verdict(ratio, floor=floor) for floor in (0.0, 0.04, 0.06, 0.08)] == [
        "slower",
        "slower",
        "undecided",
        "undecided",
    ]
    assert ratio.detectable(0.08) > ratio.detectable(0.03) > ratio.detectable() == ratio.detectable(0.02)


@given(st.floats(0.9, 1.1), st.floats(1e-3, 0.05), st.floats(0.1, 1), st.floats(0, 0.1))
def test_what_is_found_is_not_lost_by_knowing_more(centre, half, share, floor):
    """A narrower interval within one that shows a difference shows it, too, whatever the noise floor."""
    wide, narrow = (Ratio(centre, centre * math.exp(-h), centre * math.exp(h), 25, 5, 3) for h in (half, half * share))
    found = stats.verdict(wide, floor=floor)
    assert found not in {"slower", "faster"} or stats.verdict(narrow, floor=floor) == found


def canary(generation, round_, *, slow=1.0, attempt=0):
    """The canary ahead of a round of training."""
    values = {"product_s": 0.01 * slow, "copy_s": 0.005}
    return trial(generation, round_, phase="canary", of="train", values=values, attempt=attempt)


def quiet(round_, *, cpu=1.0, **met):
    """A sample of a cell's usual kind; ``cpu`` is the share of its CPU that it had."""
    usual = {"external_cpus": 0.02, "steal": 0.0, "pressure": 0.3, "switches": 1000.0}
    return trial(0, round_, times=(10**9,), cpu_ns=int(cpu * 10**9), steps=1000, noise={**usual, **met})


@pytest.mark.parametrize(
    ("met", "why"),
    [
        ({"external_cpus": 0.2}, "others used the CPUs"),
        ({"steal": 0.03}, "time was stolen"),
        ({"pressure": 0.45, "cpu": 0.9}, "tasks waited for a CPU"),
        ({"switches": 6000.0}, "the process was pushed off its CPU"),
        ({"throttled_s": 0.01}, "the process was throttled"),
    ],
)
def test_a_disturbed_round_is_told_from_a_cells_own_baseline(met, why):
    """A thousand switches and a third of the time under pressure are normal for some; twice that is not."""
    trials = [quiet(r) for r in range(6)] + [quiet(6, **met)]
    told = {((CELL.task, CELL.batch, CELL.threads, "train", 0, 6), 0): [why]}
    assert noise.contended(trials) == told
    assert noise.contended([replace(t, phase="control", of="train") for t in trials]) == told  # the twin's turn is one, too


def test_pressure_that_a_process_puts_on_itself_disturbs_nothing():
    """JAX's two threads wait for each other for 0.5 to 0.9 of the time, on their one CPU, all of which they have meanwhile.

    Others' tasks are to blame for what a process waits beyond its usual, and has less of its CPU.
    """
    jax, torch = (0.55, 0.62, 0.59, 0.73, 0.64, 0.80, 0.57, 0.69, 0.9), (0.0, 0.001, 0.0, 0.002, 0.0, 0.0, 0.001, 0.0, 0.12)

    def disturbed(shares, last_cpu):
        trials = [quiet(r, pressure=share, cpu=last_cpu if share == shares[-1] else 1.0) for r, share in enumerate(shares)]
        return [key.round for key, _ in noise.contended(trials)]

    assert [disturbed(shares, 1.0) for shares in (jax, torch)] == [[], []]
    assert [disturbed(shares, 0.9) for shares in (jax, torch)] == [[], [8]]


def test_what_is_too_little_for_a_sample_shows_in_a_round():
    """0.4 CPUs of others are less than the ticks of 0.05 s can tell, but not of five such samples; nor are a few ticks."""

    def short(round_, backend, used):
        one = quiet(round_, external_cpus=used)
        return replace(one, cell=replace(CELL, backend=backend), times_ns=(5 * 10**7,), cpu_ns=5 * 10**7)

    for used, rounds in ((0.4, [5]), (0.25, [])):
        trials = [short(r, name, used if r == 5 else 0.02) for name in "abcde" for r in range(6)]
        assert [key.round for key, _ in noise.contended(trials)] == rounds
        assert noise.contended([t for t in trials if t.cell.backend == "a"]) == {}


def test_of_many_cpus_others_may_use_more():
    """0.15 of two; who takes the worker's own is found by other signs."""
    for cpus, used, reasons in ((2, 0.2, 1), (1, 0.2, 1), (64, 0.2, 0), (64, 4.0, 0), (64, 6.0, 1)):
        trials = [quiet(r, cpus=cpus) for r in range(6)] + [quiet(6, cpus=cpus, external_cpus=used)]
        assert len(noise.contended(trials)) == reasons, (cpus, used)


def test_a_slow_canary_and_a_starved_process_spoil_a_round():
    """The canary for all of the round, a process without its CPU for its partners too."""
    trials = [quiet(r) for r in range(6)] + [canary(0, r, slow=1.2 if r == 2 else 1.0) for r in range(6)]
    trials[4] = replace(trials[4], cpu_ns=7 * 10**8)
    found = {key[0].round: reasons for key, reasons in noise.contended(trials).items()}
    assert found == {2: ["the canary was slow"], 4: ["the process did not get its CPU"]}


def test_a_canary_is_slow_by_what_the_run_is_used_to():
    """Where it varies by a tenth all the time, the intervals know; a song twice as long is still another machine."""
    songs = [1.0, 1.2, 0.95, 1.1, 0.9, 1.0, 1.15, 1.05, 2.0]
    found = noise.contended([canary(0, r, slow=slow) for r, slow in enumerate(songs)])
    assert [key[0].round for key in found] == [8]


def test_a_tick_at_either_end_of_a_short_sample_is_nobody_elses():
    """CPU time is counted in ticks of 10 ms: in a sample of 20 ms one of our own may look like half a CPU of others."""
    short = [replace(quiet(r), times_ns=(2 * 10**7,), cpu_ns=2 * 10**7) for r in range(6)]
    rounded = replace(short[5], noise={**short[5].noise, "external_cpus": 0.5})
    taken = replace(short[4], noise={**short[4].noise, "external_cpus": 1.5})
    stolen = replace(short[3], noise={**short[3].noise, "steal": 0.5})
    assert noise.contended([*short[:3], stolen, short[4], rounded]) == {}
    assert [key.round for key, _ in noise.contended([*short[:4], taken, rounded])] == [4]


def test_energy_is_metered_but_for_a_counter_that_starts_again(tmp_path, monkeypatch):
    """Joules of all packages, each once: psys holds them, cores are in them. What wraps within a sample is not known."""
    monkeypatch.setattr(noise, "RAPL", tmp_path)
    assert noise.energy() == {}
    zones = (("intel-rapl:0", "package-0", 900), ("intel-rapl:1", "package-1", 100), ("intel-rapl:2", "psys", 0))
    for folder, name, start in (*zones, ("intel-rapl:0:0", "core", 0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "energy_uj").write_text(f"{start}000000")
    before = noise.energy()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1020000000")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("130000000")
    for counted_already in ("intel-rapl:2", "intel-rapl:0:0"):
        (tmp_path / counted_already / "energy_uj").write_text("999000000")
    assert noise.between(before, noise.energy(), wall_s=1.0, cpu_s=1.0) == {"wall_s": 1.0, "energy_j": pytest.approx(120 + 30)}
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("20000000")
    assert noise.between(before, noise.energy(), wall_s=1.0, cpu_s=1.0) == {"wall_s": 1.0}


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that is there and does not answer")
def test_a_counter_that_does_not_answer_is_left_out(monkeypatch):
    """As that of the kernel's pressure, on a system booted without it."""
    monkeypatch.setattr(noise, "PRESSED", Path("/proc/self/mem"))
    found = noise.read()
    assert "pressure_s" not in found
    assert "busy_s" in found


def test_what_a_system_does_not_count_disturbs_nothing():
    """Without /proc there is no reason to doubt a round, and none to trust it more."""
    assert noise.contended([trial(0, r, times=(10**9,)) for r in range(6)]) == {}
    assert noise.between({}, {}, wall_s=1.0, cpu_s=1.0) == {"wall_s": 1.0}


def test_of_a_repeated_round_a_rule_chooses():
    """The second where only the first was disturbed; otherwise the first: never by what the times are."""
    bad = {"external_cpus": 0.5}
    trials = [quiet(0), quiet(1, **bad), quiet(2, **bad), quiet(3), quiet(4)]
    again = [replace(quiet(1), attempt=1), replace(quiet(2, **bad), attempt=1), replace(quiet(3), attempt=1)]
    chosen, disturbed = ranking.counted([*trials, *again])
    assert [(t.round, t.attempt) for t in chosen] == [(0, 0), (2, 0), (3, 0), (4, 0), (1, 1)]
    assert {group.round for group, bad in disturbed.items() if bad} == {2}
    lost = replace(quiet(4), attempt=1, status="failed")
    told = {"of rounds of which the other attempt counts": 3, "failed": 1}  # of round 1 the first, of 2 and 3 the second
    assert ranking.unused([*trials, *again, lost]) == told
    assert ranking.unused(trials) == {}


@pytest.mark.parametrize("lacking", [None, "torch", "jax", "the control"])
def test_a_second_attempt_counts_only_if_it_is_whole(lacking):
    """An interruption in the middle of it, or an entrant that died before its turn, must not lose what the first attempt has."""
    jax = replace(CELL, backend="jax")
    twin = {"phase": "control", "of": "train"}
    rounds = [t for own in map(quiet, range(4)) for t in (own, replace(own, cell=jax), replace(own, **twin))]
    void = replace(quiet(3), cell=replace(CELL, backend="tensorflow"), compilations=1)  # no sample, so none to lose
    who = {"torch": rounds[9], "jax": rounds[10], "the control": rounds[11]}
    met = [replace(t, noise={**t.noise, "external_cpus": 0.5}) if t.round == 3 else t for t in rounds]
    again = [replace(t, attempt=1) for name, t in who.items() if name != lacking]
    chosen, disturbed = ranking.counted([*met, void, *again, replace(void, attempt=1, status="failed")])
    counts = {(t.cell.backend, t.phase, t.attempt) for t in chosen if t.round == 3 and ranking.usable(t)}
    assert counts == {(t.cell.backend, t.phase, int(lacking is None)) for t in who.values()}
    assert disturbed[noise.group(who["torch"])] is (lacking is not None)
    broken = [replace(t, status="failed" if name == lacking else "ok", attempt=1) for name, t in who.items()]
    assert {t.attempt for t in ranking.counted([*met, *broken])[0] if t.round == 3} == {int(lacking is None)}


def test_a_warm_up_counts_whatever_round_was_repeated():
    """It is of a process, and of no round: else two unsteady generations were one, and the entry were ranked."""
    rounds = [quiet(0, external_cpus=0.5), *map(quiet, range(1, 5)), replace(quiet(0), attempt=1)]
    begun = trial(0, phase="warmup", of="train", facts={"kind": "no steady state", "start": 0})
    chosen, _ = ranking.counted([begun, *rounds])
    assert begun in chosen
    assert [(t.round, t.attempt) for t in chosen if t.phase == "train"] == [(1, 0), (2, 0), (3, 0), (4, 0), (0, 1)]


def test_a_generation_that_was_cut_short_is_not_judged():
    """A round of it would weigh as much as a whole one: four are indicative, as long as a fifth is not whole."""
    trials = tuple(trial(g, r, cell=replace(CELL, backend=name)) for g in range(5) for r in range(5) for name in ("torch", "jax"))
    cut = tuple(t for t in trials if t.generation < 4 or not t.round)
    for complete, held, count in (([0, 1, 2, 3], cut, 4), ([], cut[:4], 1), ([], (), 0), ([0, 1, 2, 3, 4], trials, 5)):
        run = Run(Path(), {"progress": {"complete": complete}}, held, ())
        assert {len({g for g, _ in times}) for c in ranking.contests(run) for times in c.blocks.values()} == {count} - {0}


def test_what_lies_far_off_is_counted_and_what_settles_late_is_seen():
    """Neither leaves anything out."""
    rng = np.random.default_rng(6)
    times = {(g, r): math.exp(rng.normal(0, 0.01)) for g in range(5) for r in range(5)}
    assert stats.outliers(times) == set()
    assert stats.outliers({**times, (2, 3): 1.05, (4, 4): 3.0}) == {(2, 3), (4, 4)}
    assert stats.outliers({**times, (2, 3): 1.05, (4, 4): 3.0}, limit=noise.SEVERE) == {(4, 4)}
    assert stats.outliers(dict.fromkeys(times, 1.0)) == set()
    late = {key: time * (1.5 if key[1] == 0 else 1.0) for key, time in times.items()}
    assert stats.last_over_first(late) == pytest.approx(1 / 1.5, rel=0.03)
    assert stats.last_over_first(times) == pytest.approx(1, rel=0.03)
    many = {(g, r): (1.5 if r < slow else 1.0) for g in range(3) for r in range(20) for slow in [1 + 3 * (g > 0)]}
    assert stats.last_over_first(many) == pytest.approx(1 / 1.5)  # of most generations the first four of twenty
    assert stats.last_over_first({(g, r): (1.5 if r == 0 else 1.0) for g, r in many}) == 1  # the first alone


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="this system counts nothing")
def test_a_busy_process_is_seen_by_the_others():
    """Of real counters: what this process burns is somebody else's CPU to a worker that used none, and its own is taken off."""
    before, end = noise.read(), time.process_time() + 0.3
    while time.process_time() < end:
        pass
    after = noise.read()
    assert noise.between(before, after, wall_s=0.3, cpu_s=0.0)["external_cpus"] > 0.8
    mine = noise.between(before, after, wall_s=0.3, cpu_s=0.3)
    assert mine["external_cpus"] < noise.between(before, after, wall_s=0.3, cpu_s=0.0)["external_cpus"]
    assert min(mine.values()) >= 0


# Proofs


def proofs(entry="torch eager", *, against=standing.REFERENCE, levels=standing.LEVELS, **change):
    """The rows of a whole float64 proof; ``change`` maps a level to its verdict."""
    backend, mode = entry.split()
    return [
        Proof("t", backend, mode, "float64", level, against, 1e-14, 1e-10, "fc/bias", change.get(level, "proven"))
        for level in levels
    ]


def state(rows, entry="torch eager"):
    """What the rows prove of an entry."""
    backend, mode = entry.split()
    return standing.proven(rows, task="t", backend=backend, mode=mode)


def test_proven_needs_every_level():
    """A proof that broke off half way proves nothing."""
    assert state(proofs()) == standing.Proven("proven", "", 1e-14)
    for level in standing.LEVELS:
        found = state([row for row in proofs() if row.level != level])
        assert (found.state, found.reason) == ("not proven", f"no proof of {level}")


def test_levels_against_another_backend_do_not_replace_the_reference():
    """Two backends can be wrong together."""
    rows = proofs(against="jax jit")
    assert state(rows).state == "not proven"


def test_one_failed_row_fails_and_is_located():
    """The reason names level, place and size."""
    found = state(proofs(gradients="failed"))
    assert found.state == "failed"
    assert "gradients against numpy: fc/bias" in found.reason


def test_a_failed_pair_is_the_fault_of_who_fails_on_its_own():
    """The reference arbitrates: a broken jax must not take torch with it; without a culprit both fail."""
    pair = proofs(against="jax jit", levels=["loss"], loss="failed")
    sound, broken = proofs(), proofs("jax jit", loss="failed")
    assert state([*sound, *broken, *pair]).state == "proven"
    assert state([*sound, *broken, *pair], "jax jit").state == "failed"
    both = [*sound, *proofs("jax jit"), *pair]
    assert state(both).state == state(both, "jax jit").state == "failed"


def test_skipped_and_absent_proofs_say_why():
    """Stock modes are timed, not proven; the reference needs no proof."""
    stock = Proof("t", "torch", "stock", "float64", "drift", "numpy", 0.1, None, "", "skipped", "timed, not proven")
    assert state([stock], "torch stock") == standing.Proven("not proven", "timed, not proven, 0.1", None)
    assert state([]).reason == "no proof in this run"
    assert state([], "numpy reference").state == "proven"


# The fairness ledger


def entry(backend, **facts):
    """The trials of an entry: what its worker said of itself, and one timed block."""
    cell = replace(CELL, backend=backend)
    said = {"dtype": "float32", "numerics": {"tf32": False}, "device": "cpu", "cpus": [0], "autograd": False}
    said |= {"batches": "8 of 64: 5f3a09c1", "python": "3.11.9", "numpy": "2.4", **facts}
    return [trial(cell=cell, phase="first_call", facts=said), trial(cell=cell, cpu_ns=facts.pop("cpu_ns", 10**6))]


def judged(*entries):
    """The sentences on what differs."""
    return ledger.differences(Run(Path(), {}, tuple(t for own in entries for t in own), ()))


def test_equal_terms_are_fair():
    """Whatever else workers say of themselves."""
    assert judged(entry("torch", gpus=[]), entry("jax", gpus=["another"])) == []


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"numerics": {"tf32": True}}, "TF32 differs: torch eager False, jax eager True"),
        ({"dtype": "bfloat16"}, "dtype of the logits differs: torch eager float32, jax eager bfloat16"),
        ({"device": "gpu"}, "device in use differs: torch eager cpu, jax eager gpu"),
        ({"cpus": [0, 1]}, "CPUs by generation differs: torch eager 0, jax eager 0,1"),
        ({"autograd": True}, "gradients recorded at inference differs: torch eager False, jax eager True"),
        ({"batches": "8 of 64: 5f3a09c2"}, "batches placed differs: torch eager 8 of 64: 5f3a09c1, jax eager 8 of 64: 5f3a09c2"),
        ({"python": "3.12.0"}, "Python differs: torch eager 3.11.9, jax eager 3.12.0"),
        ({"cpu_ns": 1_570_000}, "threads running for each granted differs: torch eager at most 1.1, jax eager 1.57"),
        ({"threads": 4}, "threads in its pool differs: torch eager no other size, jax eager 4 where 1 was granted"),
    ],
)
def test_what_differs_is_told(facts, told):
    """By rule, entry and value."""
    assert judged(entry("torch"), entry("jax", **facts)) == [told]


def test_a_pool_is_held_to_what_was_granted():
    """On more CPUs too; a framework that says nothing of its pool, as JAX, hides nobody else's."""
    for granted, own in ((1, 1), (4, 4)):
        cell = replace(CELL, threads=granted)
        said = [replace(t, cell=cell) for t in entry("torch", threads=own)]
        silent = [replace(t, cell=replace(cell, backend="jax")) for t in entry("jax")]
        assert judged(said, silent) == []
        wrong = [replace(t, facts={**t.facts, "threads": 2}) for t in said]
        assert judged(wrong, silent) == [
            f"threads in its pool differs: torch eager 2 where {granted} was granted, jax eager no other size"
        ]


def test_what_modes_are_named_after_may_differ():
    """It is told by entry, and on top of no report."""
    run = Run(Path(), {}, (*entry("torch", compiled=False), *entry("jax", compiled=True)), ())
    (line,) = [line for line in ledger.judge(run) if line.rule.name == "compiled"]
    assert (line.verdict, dict(line.values)) == ("by mode", {"torch eager": "False", "jax eager": "True"})
    assert ledger.differences(run) == []


def test_a_crash_is_not_unfair():
    """Who failed in a generation was on no CPU in it; where both were there, their CPUs must be the same."""
    both = [
        [replace(t, generation=g, facts={**t.facts, "cpus": [g]}) for g in (0, 1) for t in entry(who)] for who in ("torch", "jax")
    ]
    assert judged(both[0], both[1][:2]) == []
    moved = [replace(t, facts={**t.facts, "cpus": [3]}) for t in both[1]]
    assert judged(both[0], moved) == ["CPUs by generation differs: torch eager 0; 1, jax eager 3; 3"]


def test_a_task_that_failed_is_not_unfair():
    """Who has no times of a task is not said to have been given other data."""
    other = replace(CELL, task="cifar_resnet", data="cifar10")
    torch, jax = entry("torch", numpy="2"), entry("jax", numpy="2")
    more = [trial(cell=replace(other, backend="torch"), cpu_ns=1_000_000)]
    assert not ledger.differences(Run(Path(), {}, (*torch, *more, *jax), ()))
    assert not ledger.differences(Run(Path(), {}, (*more, *jax), ()))  # nothing in common: nothing is compared


def test_those_who_alone_were_in_a_sweep_are_judged_among_themselves():
    """Beside modes that were not: what differs there is told of those who were, and what does not is told once."""
    sweep = replace(CELL, batch=512)

    def placed(who, digest):
        cell = replace(sweep, backend=who)
        return [trial(cell=cell, phase="first_call", facts={"batches": digest}), trial(cell=cell)]

    stock = [replace(t, cell=replace(t.cell, mode="stock")) for t in entry("torch")]
    main = [*entry("torch"), *entry("jax"), *stock]
    assert judged(main, placed("torch", "aa"), placed("jax", "aa")) == []
    assert judged(main, placed("torch", "aa"), placed("jax", "bb")) == ["batches placed differs: torch eager aa, jax eager bb"]
    found = ledger.judge(Run(Path(), {}, (*main, *placed("torch", "aa"), *placed("jax", "aa")), ()))
    assert [line.rule for line in found] == [*ledger.RULES]
    assert {*found[0].values} == {"torch eager", "jax eager", "torch stock"}


@pytest.mark.parametrize("lacking", [1, 512])
def test_a_batch_that_failed_is_not_unfair(lacking):
    """Who ran out of memory at one batch was given none of it; of the others both must have had the same."""

    def swept(who, sizes, seed):
        cells = {size: replace(CELL, backend=who, batch=size) for size in sizes}
        first = [trial(cell=c, phase="first_call", facts={"batches": f"8 of {n}: {seed}"}) for n, c in cells.items()]
        single = [trial(cell=replace(c, batch=1), phase="latency") for c in cells.values()]  # stands with the batch of its own
        return [*first, *single, *(trial(cell=c) for c in cells.values())]

    sizes = [1, 64, 512]
    whole, some = swept("torch", sizes, "aa"), [size for size in sizes if size != lacking]
    assert judged(whole, swept("jax", some, "aa")) == []
    (told,) = judged(whole, swept("jax", some, "bb"))
    assert told.startswith("batches placed differs: ")
    assert f"of {lacking}:" not in told


def test_bfloat16_is_held_to_its_own_kind():
    """It is never ranked with float32, so that its dtype is no unfairness to it."""
    low = [replace(t, cell=replace(t.cell, precision="bfloat16", mode="bf16")) for t in entry("jax", dtype="bfloat16")]
    assert judged(entry("torch"), low) == []
    assert len(ledger.judge(Run(Path(), {}, (*entry("torch"), *low), ()))) == 2 * len(ledger.RULES)


def test_what_nobody_said_is_not_known():
    """Neither equal nor a difference: an old worker, or a system that does not count."""
    run = Run(Path(), {}, (trial(phase="first_call"), trial()), ())
    assert {line.rule.name: line.verdict for line in ledger.judge(run)}["TF32"] == "not known"
    assert ledger.differences(run) == []


def test_who_says_nothing_hides_no_difference_of_others():
    """Two that differ, differ, whatever the third is."""
    silent = [replace(t, facts={}) for t in entry("tensorflow")]
    assert judged(entry("torch"), entry("jax"), silent) == []
    (told,) = judged(entry("torch", in_place=True), entry("jax", in_place=False), silent)
    assert {*told.removeprefix("parameters written in place differs: ").split(", ")} == {
        "torch eager True",
        "jax eager False",
        "tensorflow eager not known",
    }
