"""What training reaches: the rules against scipy, by law, and on simulated seeds."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.quality import equivalent, reproduced, to_target

settings.register_profile("quality", max_examples=60, deadline=None)
settings.load_profile("quality")
FIGURES = st.floats(0, 1).map(lambda value: round(value, 4))  # an accuracy on 10,000 examples
PAIRS = st.lists(st.tuples(FIGURES, FIGURES), max_size=12)
MARGINS = st.sampled_from([0.001, 0.005, 0.05])


def by_seed(values):
    """The figures, keyed by a seed each."""
    return dict(enumerate(values))


def seeds(rng, *, effect, spread, count=5):
    """Two backends' figures: what a seed does to both, and what differs."""
    shared = rng.normal(0.98, 0.01, count)
    return by_seed(shared), by_seed(shared + rng.normal(effect, spread, count))


# Equivalence


@given(PAIRS, MARGINS)
def test_equivalence_is_what_scipy_says(pairs, margin):
    """The p is the larger of two one-sided paired t tests; equivalent is the interval within the margin."""
    a, b = np.array(pairs).reshape(-1, 2).T
    assume(len(pairs) > 2 and np.ptp(b - a) > 1e-9)
    found = equivalent(by_seed(a), by_seed(b), margin)
    tests = [scipy.stats.ttest_rel(b, a + side * margin, alternative=way) for side, way in ((1, "less"), (-1, "greater"))]
    assert found.p == pytest.approx(max(test.pvalue for test in tests), abs=1e-9)
    interval = scipy.stats.ttest_rel(b, a).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    within = -margin < found.low and found.high < margin
    assert (found.verdict == "equivalent") == within
    if not within:
        assert (found.verdict == "different") == (scipy.stats.ttest_rel(b, a).pvalue < 0.05)


@given(PAIRS, MARGINS)
def test_equivalence_has_no_side(pairs, margin):
    """B against A is A against B with the sign turned."""
    a, b = ({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1))
    one, other = equivalent(a, b, margin), equivalent(b, a, margin)
    assert (one.verdict, one.p, one.seeds) == (other.verdict, other.p, other.seeds)
    assert one.difference == -other.difference
    assert (one.low, one.high) == (other.high and -other.high, other.low and -other.low)


@given(PAIRS, MARGINS, st.integers(-3, 3))
def test_equivalence_has_no_unit(pairs, margin, power):
    """Percent or shares: the margin in the same unit gives the same verdict."""
    factor = 2.0**power
    one = equivalent(by_seed(a for a, _ in pairs), by_seed(b for _, b in pairs), margin)
    other = equivalent(by_seed(a * factor for a, _ in pairs), by_seed(b * factor for _, b in pairs), margin * factor)
    assert (one.verdict, one.p) == (other.verdict, other.p)


@given(PAIRS, MARGINS, st.randoms())
def test_the_order_of_seeds_does_not_matter(pairs, margin, random):
    """Each seed keeps its pair, and one that only one side has is left out."""
    a, b = by_seed(a for a, _ in pairs), by_seed(b for _, b in pairs)
    shuffled = list(b.items())
    random.shuffle(shuffled)
    assert equivalent(a, {**dict(shuffled), 99: 0.5}, margin) == equivalent(a, b, margin)


@given(PAIRS, FIGURES, st.integers(0, 12))
def test_a_wider_margin_never_takes_equivalence_away(pairs, margin, factor):
    """The p falls as the margin grows."""
    a, b = by_seed(a for a, _ in pairs), by_seed(b for _, b in pairs)
    narrow, wide = equivalent(a, b, margin), equivalent(a, b, margin * (1 + factor))
    assert narrow.p is None or wide.p <= narrow.p


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_seeds_are_too_few(count):
    """No p and no interval, however alike."""
    found = equivalent(by_seed([0.9] * count), by_seed([0.9] * count), 0.1)
    assert (found.verdict, found.low, found.p, found.seeds) == ("too few seeds", None, None, count)


@pytest.mark.parametrize(
    ("count", "shift", "verdict"),
    [
        (3, 0.0, "not shown"),
        (4, 0.0, "not shown"),
        (5, 0.0, "equivalent"),
        (5, 0.001, "equivalent"),
        (5, 0.02, "not shown"),
        (6, 0.02, "different"),
    ],
)
def test_without_variance_the_sign_test_decides(count, shift, verdict):
    """Equal differences, to rounding, are not certainty: 2^-K is all that K seeds can say."""
    a = {seed: 0.9 + 0.01 * seed for seed in range(count)}
    found = equivalent(a, {seed: value + shift for seed, value in a.items()}, 0.005)
    assert (found.verdict, found.low, found.high) == (verdict, None, None)
    assert found.p == (1.0 if shift == 0.02 else 0.5**count)


def test_a_training_that_failed_shows_nothing():
    """Not a number is neither alike nor different."""
    assert equivalent(by_seed([0.9, 0.8, math.nan]), by_seed([0.9, 0.81, 0.7]), 0.1).verdict == "not shown"


@pytest.mark.parametrize("spread", [0.0005, 0.005])
@pytest.mark.parametrize("effect", [0.005, -0.005])
def test_equivalence_is_claimed_wrongly_in_five_of_a_hundred(spread, effect):
    """A true difference of just the margin; 0.010 is three standard errors of the simulation."""
    rng = np.random.default_rng(1)
    wrong = [equivalent(*seeds(rng, effect=effect, spread=spread), 0.005).verdict == "equivalent" for _ in range(4000)]
    assert np.mean(wrong) <= 0.05 + 0.010


def test_small_differences_are_found_equivalent():
    """The test has power: no true difference, a spread of a quarter of the margin, five seeds."""
    rng = np.random.default_rng(2)
    verdicts = [equivalent(*seeds(rng, effect=0, spread=0.00125), 0.005).verdict for _ in range(500)]
    assert verdicts.count("equivalent") > 475


def test_difference_is_claimed_wrongly_in_five_of_a_hundred():
    """No true difference, a spread that the margin cannot cover."""
    rng = np.random.default_rng(3)
    verdicts = [equivalent(*seeds(rng, effect=0, spread=0.02), 0.005).verdict for _ in range(4000)]
    assert verdicts.count("different") / 4000 <= 0.05 + 0.010


# Time to a target


def epochs(*scores):
    """Epochs of one, two, three ... seconds."""
    return [{"train_s": float(s), "val_auc": score} for s, score in enumerate(scores, start=1)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.7, 0.8, 0.9), (2, 3.0)),  # the target itself counts
        ((0.9, 0.1), (1, 1.0)),  # the first time, not the last
        ((0.7, math.nan, 0.79), (math.inf, math.inf)),
        ((), (math.inf, math.inf)),
    ],
)
def test_the_first_epoch_at_the_target_counts(scores, expected):
    """With the training seconds up to its end; a training that did not arrive is slower than any that did."""
    assert to_target(epochs(*scores), 0.8, "val_auc") == expected


# The published figure


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.912, 0.914, 0.9115], "reproduced"),
        ([0.90, 0.901, 0.902], "not reproduced"),
        ([0.92, 0.921, 0.922], "exceeded"),
        ([0.9125, 0.9125, 0.9125], "reproduced"),
        ([0.91, 0.91, 0.91], "not reproduced"),
        ([0.80, 0.92, 0.99], "not shown"),
        ([0.5, 0.6], "not run"),
        ([], "not run"),
    ],
)
def test_a_published_figure_is_reproduced_or_not(values, verdict):
    """Against ResNet-20's 0.9125."""
    assert reproduced(values, 0.9125, 0.005)[1] == verdict


@given(st.lists(FIGURES, min_size=3, max_size=9), FIGURES)
def test_the_verdict_is_that_of_a_t_test(values, published):
    """Reproduced is p >= 0.05 of the one-sample test, and the interval is scipy's."""
    assume(np.ptp(values) > 0)
    estimate, verdict = reproduced(values, published, math.inf)
    test = scipy.stats.ttest_1samp(values, published)
    interval = test.confidence_interval(0.95)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert (verdict == "reproduced") == (test.pvalue >= 0.05)
    assert verdict != "exceeded" or estimate.low > published
