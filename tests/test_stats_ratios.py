"""Ratios of means, of jackknifed statistics and of latencies, and the line read at an infinite number."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from glance_bench import stats
from glance_bench.stats import Jackknife

NAN = float("nan")


def fieller(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Fieller's interval of mean(a)/mean(b): all r for which mean(a - r b) is not significantly different from 0."""
    n = len(a)
    (vaa, vab), (_, vbb) = np.cov(a, b) / n
    q = t.ppf((1 + level) / 2, n - 1) ** 2
    roots = np.roots([b.mean() ** 2 - q * vbb, -2 * (a.mean() * b.mean() - q * vab), a.mean() ** 2 - q * vaa])
    return tuple(sorted(roots.real))


@pytest.mark.parametrize(("n", "noise"), [(60, 0.1), (200, 0.1), (200, 0.3), (1000, 0.3)])
def test_retention_agrees_with_fieller(n: int, noise: float) -> None:
    rng = np.random.default_rng(n)
    teacher = rng.beta(5, 2, size=n)
    student = 0.93 * teacher + noise * rng.normal(size=n)
    ours = stats.ratio_of_means(student, teacher, resamples=20_000)
    low, high = fieller(student, teacher)
    assert ours.value == pytest.approx(student.mean() / teacher.mean())
    assert ours.n == n
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_retention_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(400):
        teacher = rng.gamma(4.0, size=80)
        student = teacher * rng.beta(8, 2, size=80)  # keeps 0.8 on average, whatever the teacher's score
        ratio = stats.ratio_of_means(student, teacher, trial, resamples=600)
        hits += ratio.low <= 0.8 <= ratio.high
    assert 0.91 <= hits / 400 <= 0.98


def test_retention_resamples_prompts_in_pairs() -> None:
    """A student that keeps just nine tenths of every prompt: a known ratio, however the prompts differ."""
    teacher = np.random.default_rng(2).random(300)
    ratio = stats.ratio_of_means(0.9 * teacher, teacher)
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((0.9, 0.9, 0.9))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)), min_size=2, max_size=30), st.floats(0.5, 100)
)
def test_retention_lies_between_the_prompts_and_has_no_unit(pairs: list, unit: float) -> None:
    student, teacher = np.array(pairs).T
    ratio = stats.ratio_of_means(student, teacher, resamples=100)
    each = student / teacher
    for value in (ratio.low, ratio.value, ratio.high):
        assert each.min() * (1 - 1e-9) <= value <= each.max() * (1 + 1e-9)
    other = stats.ratio_of_means(unit * student, unit * teacher, resamples=100)
    assert (other.low, other.value, other.high) == pytest.approx((ratio.low, ratio.value, ratio.high))


def test_retention_without_a_bounded_interval() -> None:
    one = stats.ratio_of_means([0.4], [0.5])
    assert one.value == pytest.approx(0.8) and np.isnan([one.low, one.high]).all() and one.n == 1
    nothing = stats.ratio_of_means([0.0, 0.1], [0.0, 0.0])
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    rare = np.zeros(50)
    rare[:2] = 1.0  # one resample in eight misses both
    ratio = stats.ratio_of_means(rare, rare)
    assert ratio.value == 1.0 and np.isnan([ratio.low, ratio.high]).all()
    either = np.random.default_rng(0).normal(0.01, 1, size=50)
    assert np.isnan(stats.ratio_of_means(either + 1, either).low)
    below_zero = -np.random.default_rng(0).random(50) - 1
    assert stats.ratio_of_means(0.5 * below_zero, below_zero).low == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("a", "b"), [([], []), ([1.0, 2.0], [1.0]), ([1.0, NAN], [1.0, 1.0]), ([1.0], [NAN])]
)
def test_retention_of_bad_input_is_refused(a: list, b: list) -> None:
    with pytest.raises(ValueError):
        stats.ratio_of_means(a, b)


def test_retention_of_three_thousand_prompts_is_quick() -> None:
    teacher = np.random.default_rng(0).random(3000)
    start = time.process_time()
    stats.ratio_of_means(teacher**2, teacher)
    assert time.process_time() - start < 1.0  # 0.09 s on an idle core


def test_jackknife_ratio_of_means_is_the_linearised_error() -> None:
    """With one value a group, the error of mean(a)/mean(b) tends to sd(a - r b) / (mean(b) sqrt(N))."""
    rng = np.random.default_rng(3)
    b = rng.gamma(9.0, size=400)
    a = 0.7 * b + rng.normal(size=400)
    out = [np.arange(400) != i for i in range(400)]
    above, below = (Jackknife(x.mean(), np.array([x[k].mean() for k in out])) for x in (a, b))
    ratio = stats.jackknife_ratio(above, below)
    error = (a - ratio.value * b).std(ddof=1) / b.mean() / 20
    assert ratio.value == pytest.approx(a.mean() / b.mean())
    assert ratio.n == 400
    assert (ratio.high - ratio.low) / 2 == pytest.approx(error * t.ppf(0.975, 399), rel=0.01)


def test_jackknife_ratio_where_b_is_known_is_the_interval_of_a_divided() -> None:
    a = np.random.default_rng(4).normal(5, 1, size=20)
    ratio = stats.jackknife_ratio(Jackknife(5.0, a), Jackknife(2.0, np.full(20, 2.0)))
    interval = Jackknife(5.0, a).interval()
    assert (ratio.low, ratio.high) == pytest.approx((interval.low / 2, interval.high / 2))


def test_jackknife_ratio_of_proportional_statistics_has_no_width() -> None:
    b = np.random.default_rng(5).random(20) + 1
    ratio = stats.jackknife_ratio(Jackknife(0.6, 0.5 * b), Jackknife(1.2, b))
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


def test_jackknife_ratio_without_an_interval() -> None:
    assert math.isnan(_ratio(1.0, [1.0], 2.0, [2.0]).low)
    assert math.isnan(_ratio(1.0, [1.0, 1.1], 0.0, [0.1, 0.2]).value)
    crossing = _ratio(1.0, [1.0, 1.1], 0.1, [0.2, -0.1])
    assert crossing.value == pytest.approx(10) and math.isnan(crossing.low) and math.isnan(crossing.high)
    for bad in (
        (1.0, [1.0], 1.0, [1.0, 1.0]),
        (1.0, [], 1.0, []),
        (NAN, [1.0, 1.0], 1.0, [1.0, 1.0]),
        (1.0, [1.0, NAN], 1.0, [1.0, 1.0]),
    ):
        with pytest.raises(ValueError):
            _ratio(*bad)


def _ratio(a: float, without_a: list[float], b: float, without_b: list[float]) -> stats.Ratio:
    return stats.jackknife_ratio(Jackknife(a, np.array(without_a)), Jackknife(b, np.array(without_b)))


def blocks(rng: np.random.Generator, n: int, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of a slow and a fast sampler on a machine that slows to a third while it is timed, with interruptions."""
    machine = np.linspace(1, 3, n) * np.exp(0.05 * np.sin(np.arange(n)))
    slow, fast = ratio * machine * rng.lognormal(0, 0.02, n), machine * rng.lognormal(0, 0.02, n)
    slow[rng.random(n) < 0.05] *= 8
    fast[rng.random(n) < 0.05] *= 8
    return slow, fast


def test_a_speed_up_is_found_though_the_machine_drifts() -> None:
    rng = np.random.default_rng(6)
    hits, widths, of_means = 0, [], []
    for trial in range(300):
        slow, fast = blocks(rng, 60, 5.0)
        ratio = stats.log_ratio(slow, fast, trial, resamples=600)
        hits += ratio.low <= 5.0 <= ratio.high
        widths.append(ratio.high / ratio.low - 1)
        of_means.append(slow.mean() / fast.mean())
    assert 0.91 <= hits / 300 <= 0.99
    assert np.median(widths) < 0.025
    assert np.std(of_means) / 5 > 0.1  # what the ratio of mean seconds would have been worth


def test_a_speed_up_is_the_median_block() -> None:
    slow, fast = blocks(np.random.default_rng(10), 61, 5.0)
    ratio = stats.log_ratio(slow, fast)
    assert ratio.ratio == pytest.approx(np.median(slow / fast))
    assert ratio.low < ratio.ratio < ratio.high and ratio.n == 61


@pytest.mark.parametrize(
    ("n", "level", "enough"), [(2, 0.95, 0), (5, 0.95, 0), (6, 0.95, 1), (5, 0.9, 1), (7, 0.99, 0)]
)
def test_too_few_blocks_have_no_interval(n: int, level: float, enough: int) -> None:
    """Even from the fastest to the slowest block, five hold the median of all blocks in 15 of 16 cases only."""
    logs = np.linspace(-0.1, 0.1, n)
    for ratio in (
        stats.log_ratio(np.exp(logs), np.ones(n), level=level),
        stats.log_ratio_difference(logs, np.zeros(40), level=level),
    ):
        assert ratio.ratio == pytest.approx(1.0)
        assert bool(np.isfinite([ratio.low, ratio.high]).all()) == bool(enough)


def test_six_blocks_cover_the_truth_nearly_as_often_as_they_say() -> None:
    rng = np.random.default_rng(12)
    hits = 0
    for trial in range(500):
        ratio = stats.log_ratio(rng.lognormal(0, 0.02, 6), np.ones(6), trial, resamples=400)
        hits += ratio.low <= 1.0 <= ratio.high
    assert 0.90 <= hits / 500 <= 0.98


def test_turning_a_ratio_round_inverts_it() -> None:
    slow, fast = blocks(np.random.default_rng(8), 41, 3.0)
    here, turned = stats.log_ratio(slow, fast), stats.log_ratio(fast, slow)
    expected = (1 / here.ratio, 1 / here.high, 1 / here.low)
    assert (turned.ratio, turned.low, turned.high) == pytest.approx(expected)


def test_block_bootstrap_is_the_bootstrap_of_the_median() -> None:
    slow, fast = blocks(np.random.default_rng(9), 25, 2.0)
    logs = np.log(slow / fast)
    draws = np.random.default_rng(5).integers(0, 25, size=(20_000, 25))
    low, high = np.exp(np.quantile([np.median(logs[row]) for row in draws], [0.05, 0.95]))
    ours = stats.log_ratio(slow, fast, 3, resamples=20_000, level=0.9)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=2e-3)


def test_two_speed_ups_measured_apart_are_compared() -> None:
    """The candidate lost 5 % of its speed-up, on a machine four times as slow as the baseline's."""
    before, after = (blocks(np.random.default_rng(seed), 80, r) for seed, r in ((1, 5.0), (2, 4.75)))
    first, second = np.log(4 * after[0]) - np.log(4 * after[1]), np.log(before[0]) - np.log(before[1])
    change = stats.log_ratio_difference(first, second)
    assert change.low < 0.95 < change.high < 1.0
    assert change.n == 80
    same = stats.log_ratio_difference(first, first)
    assert same.ratio == 1.0 and same.low < 1.0 < same.high  # sessions of their own, so not paired
    one = stats.log_ratio(np.exp(first), np.ones(80))  # two equal variances: wider by the root of two
    assert math.log(same.high / same.low) / math.log(one.high / one.low) == pytest.approx(
        math.sqrt(2), abs=0.15
    )
    fixed = stats.log_ratio_difference(first, np.full(30, math.log(2)))
    alone = stats.log_ratio(np.exp(first), np.full(80, 2.0))
    assert fixed.n == 30
    assert (fixed.ratio, fixed.low, fixed.high) == pytest.approx((alone.ratio, alone.low, alone.high))


def test_latency_of_one_block_of_equal_blocks_and_of_bad_ones() -> None:
    one = stats.log_ratio([3.0], [2.0])
    assert one.ratio == pytest.approx(1.5) and math.isnan(one.low) and math.isnan(one.high) and one.n == 1
    assert math.isnan(stats.log_ratio_difference([0.1, 0.2], [0.1]).low)
    equal = stats.log_ratio(np.full(9, 2.0), np.full(9, 2.0))
    assert (equal.ratio, equal.low, equal.high) == (1.0, 1.0, 1.0)
    for bad in (([], []), ([1.0], [1.0, 1.0]), ([1.0, 0.0], [1.0, 1.0]), ([1.0], [-1.0]), ([NAN], [1.0])):
        with pytest.raises(ValueError):
            stats.log_ratio(*bad)
    for first, second in (([], [0.1]), ([0.1], [NAN])):
        with pytest.raises(ValueError):
            stats.log_ratio_difference(first, second)


@given(
    st.floats(-5, 50),
    st.floats(-1000, 1000),
    st.lists(st.integers(50, 5000), min_size=2, max_size=15, unique=True),
)
def test_infinity_reads_a_line_over_one_over_n_at_zero(limit: float, slope: float, sizes: list[int]) -> None:
    n = np.array(sizes)
    scale = 1 + abs(limit) + abs(slope)
    if n.max() >= 1.5 * n.min():  # closer sizes leave rounding to extrapolate
        assert stats.infinity(n, limit + slope / n) == pytest.approx(limit, abs=1e-9 * scale)


def test_infinity_by_least_squares() -> None:
    n, values = np.array([100, 150, 200, 400]), np.array([5.0, 4.1, 3.8, 3.0])
    x = 1 / n
    slope = ((x - x.mean()) * (values - values.mean())).sum() / ((x - x.mean()) ** 2).sum()
    assert stats.infinity(n, values) == pytest.approx(values.mean() - slope * x.mean())


@pytest.mark.parametrize(
    ("sizes", "values"),
    [
        ([], []),
        ([100], [1.0]),
        ([100, 100], [1.0, 2.0]),
        ([0, 100], [1.0, 2.0]),
        ([100, 200], [1.0]),
        ([100, 200], [1.0, NAN]),
    ],
)
def test_infinity_needs_a_line(sizes: list, values: list) -> None:
    with pytest.raises(ValueError):
        stats.infinity(sizes, values)
