"""p-values against enumeration, scipy and what a test promises when nothing is to be found."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test, ttest_1samp

from glance_bench import stats

SIDES = ("less", "greater", "two-sided")
FEW = st.lists(st.integers(-20, 20).map(lambda i: i / 8), min_size=1, max_size=9)
MANY = st.lists(st.integers(-100, 100).map(lambda i: i / 8), min_size=16, max_size=60)


def enumerated(deltas: list[float], shift: float, side: str) -> float:
    """The definition: all 2^N signs of deltas - shift, those as extreme as what was seen. Eighths add up exactly."""
    d = [delta - shift for delta in deltas]
    sums = [
        sum(s * x for s, x in zip(signs, d, strict=True))
        for signs in itertools.product((1, -1), repeat=len(d))
    ]
    seen = sum(d)
    extreme = {
        "less": [s <= seen for s in sums],
        "greater": [s >= seen for s in sums],
        "two-sided": [abs(s) >= abs(seen) for s in sums],
    }
    return sum(extreme[side]) / len(sums)


@given(FEW, st.sampled_from([0.0, -0.25, 1.5]), st.sampled_from(SIDES))
def test_sign_flip_of_few_values_is_the_full_enumeration(
    deltas: list[float], shift: float, side: str
) -> None:
    assert stats.sign_flip(deltas, shift=shift, alternative=side) == enumerated(deltas, shift, side)


@pytest.mark.parametrize("n", [12, 13])
def test_sign_flip_is_exact_up_to_thirteen_values(n: int) -> None:
    deltas = np.random.default_rng(n).normal(0.4, 1, size=n)
    theirs = permutation_test((deltas,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert stats.sign_flip(deltas) == pytest.approx(theirs, abs=1e-12)
    assert stats.sign_flip(deltas, seed=1, flips=1) == stats.sign_flip(deltas)  # nothing random


def test_prompts_without_a_difference_do_not_cost_exactness() -> None:
    """Dropping zeros halves both the extreme and all sign choices: 300 prompts, of which 10 moved, are enumerated."""
    moved = np.random.default_rng(1).normal(0.5, 1, size=10)
    assert stats.sign_flip([*moved, *np.zeros(290)], flips=1) == stats.sign_flip(moved)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("n", [14, 17, 200])
def test_sign_flip_by_chance_agrees_with_scipy(n: int, side: str) -> None:
    deltas = np.random.default_rng(n).gamma(1.0, size=n) - 0.95
    ours = stats.sign_flip(deltas, shift=-0.1, alternative=side, flips=40_000)
    theirs = permutation_test(
        (deltas + 0.1,), np.mean, permutation_type="samples", alternative=side, n_resamples=20_000, rng=4
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.015)
    assert ours == pytest.approx(ttest_1samp(deltas, -0.1, alternative=side).pvalue, abs=0.03)


def test_random_signs_never_give_zero() -> None:
    assert stats.sign_flip(np.full(50, 1.0), flips=999) == 1 / 1000
    assert stats.sign_flip(np.full(50, 1.0), flips=999, alternative="less") == 1.0


@pytest.mark.parametrize("values", [np.zeros(1), np.zeros(5), np.zeros(400)])
@pytest.mark.parametrize("side", SIDES)
def test_all_ties_show_nothing(values: np.ndarray, side: str) -> None:
    assert stats.sign_flip(values, alternative=side) == 1.0
    assert stats.sign_flip(values - 0.05, shift=-0.05, alternative=side) == 1.0


def test_values_at_the_shift_but_for_rounding_are_ties() -> None:
    loss = np.full(300, 0.85) - 0.9  # -0.050000000000000044
    assert (loss < -0.05).all()
    assert stats.sign_flip(loss, shift=-0.05, alternative="less") == 1.0


def test_one_prompt_shows_next_to_nothing() -> None:
    assert stats.sign_flip([-3.0]) == 1.0
    assert stats.sign_flip([-3.0], alternative="less") == 0.5
    assert stats.sign_flip([-3.0], alternative="greater") == 1.0


@settings(max_examples=40, deadline=None)
@given(st.one_of(FEW, MANY), st.randoms(use_true_random=False), st.sampled_from(SIDES))
def test_sign_flip_does_not_depend_on_order(deltas: list[float], random, side: str) -> None:
    shuffled = random.sample(deltas, len(deltas))
    a, b = (stats.sign_flip(values, alternative=side, flips=500) for values in (deltas, shuffled))
    assert a == b


@settings(max_examples=40, deadline=None)
@given(st.one_of(FEW, MANY), st.sampled_from([0.0, 0.5]))
def test_sign_flip_looks_the_same_from_the_other_side(deltas: list[float], shift: float) -> None:
    turned = [-delta for delta in deltas]
    other = {"less": "greater", "greater": "less", "two-sided": "two-sided"}
    for side in SIDES:
        here = stats.sign_flip(deltas, shift=shift, alternative=side, flips=500)
        assert here == stats.sign_flip(turned, shift=-shift, alternative=other[side], flips=500)


@settings(max_examples=40, deadline=None)
@given(FEW, st.floats(0, 10))
def test_a_loss_beyond_a_margin_is_never_easier_to_show_than_a_loss(
    deltas: list[float], margin: float
) -> None:
    at = stats.sign_flip(deltas, shift=0.0, alternative="less")
    beyond = stats.sign_flip(deltas, shift=-margin, alternative="less")
    assert at <= beyond


def test_false_alarms_on_zero_inflated_differences_keep_to_their_level() -> None:
    """Most prompts equal, a few moved: where a bootstrap interval gives false alarms too often."""
    rng = np.random.default_rng(11)
    alarms = 0
    for trial in range(500):
        moved = rng.random(50) < 0.2
        deltas = np.where(moved, rng.choice([-1.0, -0.5, 0.5, 1.0], size=50), 0.0)
        alarms += stats.sign_flip(deltas, alternative="less", seed=trial, flips=500) <= 0.05
    assert alarms / 500 <= 0.07


def test_sign_flip_of_three_thousand_prompts_is_quick() -> None:
    deltas = np.random.default_rng(0).normal(size=3000)
    stats.sign_flip(deltas)
    fastest = min(_seconds(lambda: stats.sign_flip(deltas)) for _ in range(3))
    assert fastest < 0.3  # 0.015 s on an idle core


def _seconds(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@pytest.mark.parametrize("bad", [[], [[1.0]], [1.0, float("nan")], [float("inf")]])
def test_sign_flip_refuses_what_is_no_list_of_numbers(bad: list) -> None:
    with pytest.raises(ValueError):
        stats.sign_flip(bad)


def test_sign_flip_refuses_arguments_it_does_not_know() -> None:
    for wrong in ({"alternative": "lower"}, {"flips": 0}, {"shift": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            stats.sign_flip([1.0, 2.0], **wrong)


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from(SIDES))
def test_mcnemar_is_the_binomial_test_of_discordant_pairs(a: int, b: int, side: str) -> None:
    theirs = binomtest(a, a + b, 0.5, alternative=side).pvalue if a + b else 1.0
    assert stats.mcnemar(a, b, side) == pytest.approx(theirs, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    assert stats.mcnemar(0, 0) == 1.0
    assert stats.mcnemar(4, 0) == 2 / 16
    assert stats.mcnemar(4, 0, "greater") == 1 / 16
    assert stats.mcnemar(4, 0, "less") == 1.0
    assert stats.mcnemar(2, 1, "greater") == 4 / 8
    for a, b in ((-1, 3), (3, -1)):
        with pytest.raises(ValueError, match="negative"):
            stats.mcnemar(a, b)


def test_holm_by_hand() -> None:
    """Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, and the last may not fall below the one before."""
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    adjusted = stats.holm(p)
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert stats.holm({}) == {}
    assert stats.holm({("fid", 3): 0.2}) == {("fid", 3): 0.2}
    assert stats.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


PS = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(PS, st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p: list[float], alpha: float) -> None:
    adjusted = stats.holm(dict(enumerate(p)))
    order = sorted(range(len(p)), key=lambda i: p[i])
    rejected = set()
    for rank, i in enumerate(order):
        if p[i] * (len(p) - rank) > alpha:
            break
        rejected.add(i)
    assert {i for i, value in adjusted.items() if value <= alpha} == rejected


@given(PS, st.randoms(use_true_random=False))
def test_holm_keeps_the_order_of_p_and_lies_between_p_and_bonferroni(p: list[float], random) -> None:
    adjusted = stats.holm(dict(enumerate(p)))
    for i, j in itertools.combinations(range(len(p)), 2):
        assert (p[i] >= p[j] or adjusted[i] <= adjusted[j]) and (p[i] != p[j] or adjusted[i] == adjusted[j])
    for i, value in enumerate(p):
        assert value <= adjusted[i] <= min(1.0, len(p) * value)
    shuffled = random.sample(range(len(p)), len(p))
    assert stats.holm({i: p[i] for i in shuffled}) == adjusted


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_probability(bad: float) -> None:
    with pytest.raises(ValueError, match="fid"):
        stats.holm({"clip": 0.5, "fid": bad})
