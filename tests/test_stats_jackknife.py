"""The jackknife against textbook errors, and against statistics whose variance is known."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from glance_bench import stats
from glance_bench.stats import Jackknife

SIDES = ("two-sided", "less", "greater")
NAN = float("nan")


def test_groups_depend_on_the_keys_only_and_are_balanced() -> None:
    keys = [f"p{i}" for i in range(50)]
    labels = dict(zip(keys, stats.group_labels(keys), strict=True))
    backwards = dict(zip(keys[::-1], stats.group_labels(keys[::-1]), strict=True))
    assert labels == backwards
    assert sorted(np.bincount(list(labels.values()))) == [2] * 10 + [3] * 10
    twice = stats.group_labels(keys + keys)
    assert (twice[:50] == twice[50:]).all()
    assert len(set(stats.group_labels(["a", "b", "c"]))) == 3


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(4).normal(size=40)
    labels = np.arange(40)
    result = stats.group_jackknife(lambda keep: float(values[keep].mean()), labels)
    error = values.std(ddof=1) / np.sqrt(40)
    assert result.value == pytest.approx(values.mean())
    assert len(result.pairs) == 20 and result.error == pytest.approx(error, rel=1e-9)
    interval = result.interval()
    assert (interval.high - interval.low) / 2 == pytest.approx(error * 2.0226909, rel=1e-6)


def test_jackknife_covers_a_variance() -> None:
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(300):
        values = rng.normal(size=100)
        labels = stats.group_labels([str(i) for i in range(100)])
        interval = stats.group_jackknife(lambda keep, v=values: float(v[keep].var(ddof=1)), labels).interval()
        hits += interval.low <= 1.0 <= interval.high
    assert 0.88 <= hits / 300 <= 0.99


def test_jackknife_of_a_paired_difference_from_stored_replicates() -> None:
    rng = np.random.default_rng(9)
    common = rng.normal(size=60)
    labels = stats.group_labels([str(i) for i in range(60)])
    a = stats.group_jackknife(lambda keep: float((common[keep] + 1).var()), labels)
    b = stats.group_jackknife(lambda keep: float(common[keep].var()), labels)
    interval = (a - b).interval()
    assert interval.low == pytest.approx(0, abs=1e-9)
    assert interval.high == pytest.approx(0, abs=1e-9)


def test_jackknife_of_a_single_group_has_no_interval() -> None:
    result = stats.group_jackknife(lambda keep: float(keep.sum()), np.zeros(5, dtype=np.int64))
    assert result.value == 5
    assert np.isnan(result.interval().low) and len(result.replicates) == 0


@pytest.mark.parametrize("side", SIDES)
def test_jackknife_p_of_a_mean_is_the_t_test(side: str) -> None:
    """Leaving out one value each, the jackknife of a mean is the textbook standard error."""
    values = np.random.default_rng(2).normal(0.3, 1, size=25)
    replicates = np.array([np.delete(values, i).mean() for i in range(25)])
    ours = Jackknife(float(values.mean()), replicates).p(shift=0.1, alternative=side)
    assert ours == pytest.approx(ttest_1samp(values, 0.1, alternative=side).pvalue, rel=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20), st.floats(-5, 5), st.floats(-5, 5))
def test_jackknife_p_agrees_with_its_interval(replicates: list[float], delta: float, shift: float) -> None:
    assume(np.std(replicates) > 1e-6)
    found = Jackknife(delta, np.array(replicates))
    p = found.p(shift=shift)
    assume(abs(p - 0.05) > 1e-9)
    interval = found.interval()
    assert (p < 0.05) == (not interval.low <= shift <= interval.high)


def test_jackknife_p_without_spread_groups_or_sense() -> None:
    flat = Jackknife(0.25, np.full(20, 0.25))
    assert [flat.p(shift=0.25, alternative=side) for side in SIDES] == [1, 1, 1]
    assert [flat.p(alternative=side) for side in SIDES] == [0, 1, 0]
    assert [(-flat).p(alternative=side) for side in SIDES] == [0, 0, 1]
    assert np.isnan(Jackknife(0.25, np.array([0.25])).p())
    for value, replicates in ((0.1, [NAN, 1.0]), (NAN, [0.1, 0.2])):
        with pytest.raises(ValueError, match="finite"):
            Jackknife(value, np.array(replicates)).p()
    with pytest.raises(ValueError, match="alternative"):
        flat.p(alternative="more")  # type: ignore[arg-type]


@pytest.mark.parametrize(("mean", "low", "high"), [(0.0, 1.0, 1.6), (0.1, 0.95, 1.2), (1.0, 0.95, 1.05)])
def test_what_two_groups_have_together_is_counted_once(mean: float, low: float, high: float) -> None:
    """Of the square of a mean of N normal values the variance is 4 mean^2 / N + 2 / N^2.

    The second part belongs to pairs of values, and without the pairs the jackknife would count it twice; where it is
    all there is, at most half is subtracted, so the error is a little too large.
    """
    rng = np.random.default_rng(3)
    labels = stats.group_labels([f"{i:03}" for i in range(100)])
    squares, plain = [], []
    for _ in range(1500):
        values = rng.normal(mean, 1, size=100)
        made = stats.group_jackknife(lambda keep, v=values: float(v[keep].mean() ** 2), labels)
        squares.append(made.error**2)
        plain.append(Jackknife(made.value, made.replicates).error ** 2)
    truth = 4 * mean**2 / 100 + 2 / 100**2
    assert low <= np.mean(squares) / truth <= high
    second = 2 / 100**2 / truth
    assert np.mean(plain) / truth == pytest.approx(1 + second, abs=0.1)


def test_a_cell_gives_back_its_jackknife_and_one_without_pairs_has_none() -> None:
    labels = stats.group_labels([f"{i:03}" for i in range(60)])
    values = np.random.default_rng(8).normal(size=60)
    made = stats.group_jackknife(lambda keep: float(values[keep].var()), labels)
    cell = {"value": made.value, "replicates": made.replicates.tolist(), "pairs": made.pairs.tolist()}
    again = Jackknife.of_cell(cell)
    assert again is not None and again.error == made.error and len(again.pairs) == 10
    older = Jackknife.of_cell({key: cell[key] for key in ("value", "replicates")})
    assert older is not None and older.error != made.error
    assert len((again - older).pairs) == 0
    for lacking in (
        {"value": 1.0},
        {"value": None, "replicates": [1.0, 2.0]},
        {"value": 1.0, "replicates": [1.0, None]},
    ):
        assert Jackknife.of_cell(lacking) is None


def test_only_the_same_groups_can_be_subtracted_or_averaged() -> None:
    one, other = Jackknife(1.0, np.ones(3)), Jackknife(1.0, np.ones(4))
    with pytest.raises(ValueError, match="3 groups against 4"):
        one - other
    assert Jackknife.mean_of([one, other]) is None and Jackknife.mean_of([]) is None
    mean = Jackknife.mean_of([one, one.times(3)])
    assert mean is not None and (mean.value, mean.replicates.tolist()) == (2.0, [2.0, 2.0, 2.0])
