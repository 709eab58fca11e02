"""Power by simulation and by scipy's noncentral t; the number of prompts by trying them all."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nct, norm, t

from glance_bench import stats


def exact_power(effect: float, sd: float, n: int, alpha: float) -> float:
    """Of the one-sided paired t test at level alpha."""
    return float(nct.sf(t.isf(alpha, n - 1), n - 1, effect * math.sqrt(n) / sd))


@pytest.mark.parametrize("sided", [1, 2])
@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize("n", [10, 30, 100, 1000, 3000])
def test_the_minimum_detectable_effect_has_the_power_it_promises(n: int, power: float, sided: int) -> None:
    effect = stats.minimum_detectable(0.3, n, power=power, sided=sided)
    assert exact_power(effect, 0.3, n, 0.05 / sided) == pytest.approx(power, abs=0.007 if n < 30 else 0.003)


@pytest.mark.parametrize("n", [50, 200])
def test_sign_flip_finds_a_minimum_detectable_loss_as_often_as_promised(n: int) -> None:
    rng = np.random.default_rng(n)
    effect = stats.minimum_detectable(0.4, n)
    found = [
        stats.sign_flip(rng.normal(-effect, 0.4, size=n), alternative="less", seed=trial, flips=400) <= 0.05
        for trial in range(600)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)  # three standard errors


def test_the_verdict_fails_beyond_the_margin_as_often_as_promised() -> None:
    """An end of a 95 % interval against a margin: sided=2, and the effect counts from the margin."""
    rng = np.random.default_rng(3)
    n, sd, margin = 150, 0.25, 0.02
    loss = margin + stats.minimum_detectable(sd, n, sided=2)
    fails = 0
    for trial in range(400):
        interval = stats.bootstrap_mean(rng.normal(-loss, sd, size=n), trial, resamples=600)
        fails += stats.verdict(interval.low, interval.high, margin, "higher") == "fail"
    assert fails / 400 == pytest.approx(0.8, abs=0.065)


def test_many_prompts_give_the_textbook_formula() -> None:
    textbook = (norm.ppf(0.95) + norm.ppf(0.8)) * 2.0 / math.sqrt(10_000)
    assert stats.minimum_detectable(2.0, 10_000) == pytest.approx(textbook, rel=1e-4)
    assert stats.minimum_detectable(2.0, 10) > (norm.ppf(0.95) + norm.ppf(0.8)) * 2.0 / math.sqrt(10)


@settings(deadline=None)
@given(st.floats(0.2, 10), st.floats(0.5, 0.99), st.sampled_from([0.9, 0.95, 0.99]), st.sampled_from([1, 2]))
def test_needed_n_is_the_fewest_prompts_that_do(sd: float, power: float, level: float, sided: int) -> None:
    n = stats.needed_n(sd, 1.0, power=power, level=level, sided=sided)
    tried = 2
    while stats.minimum_detectable(sd, tried, power=power, level=level, sided=sided) > 1.0:
        tried += 1
    assert n == tried


@pytest.mark.parametrize("power", [0.06, 0.2, 0.4])
def test_a_power_below_a_half_starts_below_the_answer_too(power: float) -> None:
    for sd in (1.0, 5.0, 40.0):
        n = stats.needed_n(sd, 1.0, power=power)
        enough = [stats.minimum_detectable(sd, m, power=power) <= 1.0 for m in range(2, n + 1)]
        assert enough == [False] * (n - 2) + [True]


@given(st.integers(2, 5000), st.floats(0.001, 10))
def test_more_prompts_show_less_and_units_do_not_matter(n: int, sd: float) -> None:
    effect = stats.minimum_detectable(sd, n)
    assert stats.minimum_detectable(sd, n + 1) < effect
    assert effect == pytest.approx(sd * stats.minimum_detectable(1.0, n))
    assert stats.minimum_detectable(sd, n, sided=2) > effect


def test_an_effect_too_small_to_count_prompts_for_ends() -> None:
    assert stats.needed_n(1.0, 1e-12) == pytest.approx(6.18e24, rel=1e-3)


def test_nothing_varies_or_one_prompt_only() -> None:
    assert stats.minimum_detectable(0.0, 50) == 0.0
    assert stats.needed_n(0.0, 0.01) == 2
    assert stats.minimum_detectable(0.3, 1) == math.inf


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"sd": float("nan")}, "sd"),
        ({"sd": -1.0}, "sd"),
        ({"n": 0}, "n must"),
        ({"power": 1.0}, "power"),
        ({"power": 0.01}, "power"),
        ({"level": 1.0}, "level"),
        ({"sided": 3}, "sided"),
    ],
)
def test_bad_arguments_are_refused(wrong: dict, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        stats.minimum_detectable(**{"sd": 1.0, "n": 10, **wrong})


@pytest.mark.parametrize("effect", [0.0, -0.1, float("nan"), float("inf")])
def test_an_effect_that_is_none_needs_no_number(effect: float) -> None:
    with pytest.raises(ValueError, match="effect"):
        stats.needed_n(1.0, effect)
