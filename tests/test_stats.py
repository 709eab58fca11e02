"""Intervals against simulated data whose truth is known, and against scipy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, ttest_1samp

from glance_bench import stats
from glance_bench.stats import intervals

ROOT = Path(__file__).resolve().parent.parent


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=120)
    ours = stats.bootstrap_mean(values, seed=1, resamples=20_000)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=5).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(400):
        interval = stats.bootstrap_mean(rng.beta(5, 2, size=60), seed=trial, resamples=800)
        hits += interval.low <= 5 / 7 <= interval.high
    assert 0.91 <= hits / 400 <= 0.98


def test_bootstrap_is_reproducible_and_seeded() -> None:
    values = np.random.default_rng(1).random(500)
    assert stats.bootstrap_mean(values, 4) == stats.bootstrap_mean(values.copy(), 4)
    assert stats.bootstrap_mean(values, 4) != stats.bootstrap_mean(values, 5)


def test_bootstrap_in_chunks_draws_the_same_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).random(64)
    whole = stats.bootstrap_mean(values, 7)
    monkeypatch.setattr(intervals, "_CHUNK", 1000)
    assert stats.bootstrap_mean(values, 7) == whole


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_bootstrap_stays_within_the_data(values: list[float]) -> None:
    interval = stats.bootstrap_mean(values, resamples=200)
    slack = 1e-9 * max(1.0, max(map(abs, values)))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack


def test_one_value_has_no_interval_and_bad_values_are_refused() -> None:
    assert np.isnan(stats.bootstrap_mean([0.5]).low)
    for bad in ([], [[1.0, 2.0]], [1.0, float("nan")]):
        with pytest.raises(ValueError):
            stats.bootstrap_mean(bad)


def test_a_difference_of_normal_values_has_students_interval() -> None:
    for n in (8, 40, 400):
        deltas = np.random.default_rng(n).normal(0.3, 1.0, size=n)
        theirs = ttest_1samp(deltas, 0).confidence_interval(0.95)
        ours = stats.difference_interval(deltas, resamples=40_000)
        assert ours.low == pytest.approx(theirs.low, abs=0.05 * (theirs.high - theirs.low))
        assert ours.high == pytest.approx(theirs.high, abs=0.05 * (theirs.high - theirs.low))
        assert ours.high + ours.low == pytest.approx(2 * deltas.mean())


def test_rare_large_changes_are_covered_by_the_symmetric_interval() -> None:
    """Nine in ten prompts hardly change, one in ten changes far, up or down: where percentile intervals miss."""
    rng = np.random.default_rng(5)
    held = {"symmetric": 0, "percentile": 0}
    for trial in range(600):
        deltas = np.where(rng.random(40) < 0.1, rng.laplace(0, 1.0, 40), rng.normal(0, 0.05, 40))
        for name, make in (("symmetric", stats.difference_interval), ("percentile", stats.bootstrap_mean)):
            interval = make(deltas, trial, resamples=500)
            held[name] += interval.low <= 0 <= interval.high
    assert held["percentile"] < 0.93 * 600 <= held["symmetric"]


def test_equal_differences_have_an_interval_of_no_width() -> None:
    interval = stats.difference_interval(np.full(9, 0.1))
    assert interval.low == interval.high == pytest.approx(0.1)
    assert np.isnan(stats.difference_interval([0.5]).low)


def test_pairing_narrows_the_interval_when_samplers_agree_by_prompt() -> None:
    rng = np.random.default_rng(8)
    difficulty = rng.normal(size=200)
    a, b = difficulty + 0.1 + 0.05 * rng.normal(size=200), difficulty + 0.05 * rng.normal(size=200)
    paired = stats.paired_bootstrap(a, b)
    unpaired = stats.bootstrap_mean(a)
    assert paired.n == 200
    assert paired.difference == pytest.approx(float(np.mean(a - b)))
    assert 0 < paired.low < 0.1 < paired.high
    assert (paired.high - paired.low) * 5 < unpaired.high - unpaired.low
    with pytest.raises(ValueError, match="paired"):
        stats.paired_bootstrap(a, b[:-1])


def test_wilson_agrees_with_scipy_and_keeps_a_width_at_zero() -> None:
    for successes, n in ((0, 48), (1, 48), (24, 48), (48, 48)):
        theirs = binomtest(successes, n).proportion_ci(method="wilson")
        ours = stats.wilson(successes, n)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0.05 < stats.wilson(0, 48).high < 0.1
    with pytest.raises(ValueError):
        stats.wilson(3, 2)


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.5), (3, 0.0), (5, 2.0)])
def test_crossed_interval_covers_new_seeds_and_new_prompts(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(7)
    hits = blind = 0
    for _ in range(600):
        values = rng.normal(size=(seeds, 40)) + rng.normal(size=40) + spread * rng.normal(size=(seeds, 1))
        interval = stats.crossed_interval(values)
        hits += interval.low <= 0 <= interval.high
        pooled = stats.crossed_interval(values.mean(axis=0)[None])
        blind += pooled.low <= 0 <= pooled.high
    assert 0.92 <= hits / 600 <= 0.995
    if spread:
        assert blind < 0.85 * hits  # an interval over prompts alone does not know that seeds differ


def test_crossed_interval_of_one_seed_is_the_t_interval_of_its_prompts() -> None:
    values = np.random.default_rng(2).random((1, 30))
    theirs = ttest_1samp(values[0], 0).confidence_interval(0.95)
    ours = stats.crossed_interval(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_crossed_interval_of_constants_and_of_too_little() -> None:
    assert stats.crossed_interval(np.full((3, 4), 0.5)) == stats.Interval(0.5, 0.5)
    assert np.isnan(stats.crossed_interval(np.ones((3, 1))).low)
    for bad in (np.ones(4), np.full((2, 2), np.nan), np.ones((0, 3))):
        with pytest.raises(ValueError, match="finite and of shape"):
            stats.crossed_interval(bad)


@pytest.mark.parametrize("chunk", [1, 1000, 1 << 22])
def test_bootstrap_is_bit_for_bit_the_draws_it_always_made(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Results carry a digest, so how draws are held in memory must not show."""
    monkeypatch.setattr(intervals, "_CHUNK", chunk)
    values = np.random.default_rng(5).random(300)
    draws = np.random.default_rng(0).integers(0, 300, size=(4000, 300))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    assert stats.bootstrap_mean(values) == stats.Interval(low, high)


def test_importing_it_loads_neither_scipy_stats_nor_anything_heavier() -> None:
    heavy = ("scipy.stats", "scipy.optimize", "scipy.linalg", "pandas", "torch")
    code = f"import sys, glance_bench.stats; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
