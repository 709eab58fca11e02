"""The permutation test against every choice counted, against chance, and where p-values are far below 1 / choices."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from glance_bench import stats


@cache
def choices(n: int, k: int) -> np.ndarray:
    return np.array(list(itertools.combinations(range(n), k)))


def counted(values: np.ndarray, inside: np.ndarray) -> float:
    """The definition: the mean inside minus the mean outside for every choice, twice the tail on the side seen."""
    n, k = len(values), int(inside.sum())
    apart = values.sum() / (n - k)  # mean inside - mean outside is a rising function of the sum inside
    sums = values[choices(n, k)].sum(axis=1)
    differences = sums / k - (apart - sums / (n - k))
    seen = values[inside].mean() - values[~inside].mean()
    beyond = differences >= seen - 1e-9 if seen >= 0 else differences <= seen + 1e-9
    return min(1.0, 2 * float(beyond.mean()))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_few_values_are_counted_exactly(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 11))
    values = np.array(data.draw(st.lists(st.integers(-8, 8), min_size=n, max_size=n))) / 8
    k = data.draw(st.integers(1, n - 1))
    inside = np.isin(np.arange(n), data.draw(st.permutations(range(n)))[:k])
    if values.min() == values.max():
        assert stats.permutation(values, inside) == 1
    else:
        assert stats.permutation(values, inside) == pytest.approx(counted(values, inside), rel=1e-9)


def test_values_that_did_not_move_do_not_cost_exactness() -> None:
    """Five of 300 prompts lose, four of them among the 40 inside: a hypergeometric tail, as all lose the same."""
    values, inside = np.zeros(300), np.arange(300) < 40
    values[[0, 1, 2, 3, 200]] = 1
    tail = hypergeom(300, 5, 40).sf(3)
    assert stats.permutation(values, inside) == pytest.approx(2 * tail, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["normal", "skewed", "steps"])
def test_the_approximation_is_near_the_count(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = 20, (5, 8, 10)[seed % 3]
    values = {
        "normal": rng.normal(size=n),
        "skewed": rng.gamma(0.5, size=n),
        "steps": rng.integers(0, 6, size=n) / 5,
    }[kind]
    inside = np.zeros(n, dtype=bool)
    order = np.argsort(-values + rng.normal(0, 0.7 * values.std(), size=n))  # p from 0.5 down to 1e-5
    inside[order[:k]] = True
    values[values == np.median(values)] += 1e-3  # so that all but a few differ from the most common value
    expected = counted(values, inside)
    assert stats.permutation(values, inside) == pytest.approx(expected, rel=0.25, abs=2 / math.comb(n, k))


def test_flags_far_out_have_the_hypergeometric_tail() -> None:
    """30 of 400 fail, 20 of them among the 60 inside: p is near 1e-11, which no number of draws would show."""
    values, inside = np.zeros(400), np.arange(400) < 60
    values[:20] = values[100:110] = 1
    tail = hypergeom(400, 30, 60).sf(19)
    assert tail < 1e-10
    assert stats.permutation(values, inside) == pytest.approx(2 * tail, rel=0.05)
    assert stats.permutation(-values, inside) == pytest.approx(2 * tail, rel=0.05)
    assert stats.permutation(values, ~inside) == pytest.approx(2 * tail, rel=0.05)


def test_all_that_fail_are_inside() -> None:
    """The furthest choice there is: one way in choose(40, 14), or as many as there are ties at its end."""
    values, inside = np.linspace(0, 1, 40), np.arange(40) >= 26
    assert stats.permutation(values, inside) == pytest.approx(2 / math.comb(40, 14), rel=1e-6)
    values = values.copy()
    values[24:28] = values[26]
    assert stats.permutation(values, inside) == pytest.approx(
        2 * math.comb(4, 2) / math.comb(40, 14), rel=1e-6
    )


def test_skewed_and_zero_inflated_values_against_chance() -> None:
    """One value in ten is not zero, and long-tailed: far from a normal distribution."""
    rng = np.random.default_rng(3)
    values = np.where(rng.random(200) < 0.1, rng.gamma(0.7, size=200), 0.0)
    inside = np.zeros(200, dtype=bool)
    inside[np.argsort(-values)[[0, 2, 3, 9]]] = inside[-14:] = True
    k, seen = int(inside.sum()), values[inside].sum()
    sums = np.array([rng.permutation(values)[:k].sum() for _ in range(20_000)])
    drawn = float((sums >= seen).mean())
    spread = math.sqrt(drawn / 20_000)
    assert stats.permutation(values, inside) == pytest.approx(2 * drawn, rel=0.1, abs=8 * spread)


def test_it_holds_its_level() -> None:
    """Slices drawn at random: p below 0.05 in about 5 %, whatever the values are."""
    rng = np.random.default_rng(5)
    values = np.where(rng.random(120) < 0.3, rng.gamma(1.0, size=120), 0.0)
    found = [stats.permutation(values, rng.permutation(120) < 25) for _ in range(1000)]
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=3.5 * math.sqrt(level / 1000))


def test_scale_and_shift_change_nothing() -> None:
    rng = np.random.default_rng(9)
    values, inside = rng.normal(size=80), rng.random(80) < 0.3
    p = stats.permutation(values, inside)
    assert stats.permutation(1e6 + 1e-3 * values, inside) == pytest.approx(p, rel=1e-3)
    assert stats.permutation(-1e9 * values, inside) == pytest.approx(p, rel=1e-6)


def test_what_cannot_be_told_apart_and_what_is_wrong() -> None:
    inside = np.arange(30) < 10
    assert stats.permutation(np.full(30, 0.3), inside) == 1
    assert stats.permutation(0.1 + np.zeros(30), inside) == 1
    assert stats.permutation(np.arange(30.0), np.zeros(30, dtype=bool)) == 1
    assert stats.permutation(np.arange(30.0), np.ones(30, dtype=bool)) == 1
    with pytest.raises(ValueError, match="inside has shape"):
        stats.permutation(np.arange(30.0), inside[:5])
    with pytest.raises(ValueError, match="finite"):
        stats.permutation([1.0, math.nan], [True, False])
    with pytest.raises(ValueError, match="not empty"):
        stats.permutation([], [])


@settings(deadline=None)
@given(st.lists(st.integers(-20, 20).map(lambda i: i / 8), min_size=1, max_size=12))
def test_the_bound_is_never_below_the_sign_flip_test(deltas: list[float]) -> None:
    assert stats.sign_flip_bound(deltas) >= stats.sign_flip(deltas) * (1 - 1e-9)


def test_the_bound_far_out() -> None:
    """200 prompts that all lose the same: p is 2 / 2^200; the bound is exp(-100) and a little."""
    bound = stats.sign_flip_bound(np.full(200, 0.3))
    assert 2.0**-199 < bound < math.exp(-100)
    assert stats.sign_flip_bound(np.zeros(5)) == 1
