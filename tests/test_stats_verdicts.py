"""Verdicts, wins and ranks: each rule by example, then as properties."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glance_bench import stats

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "margin", "says"),
    [
        (-0.01, 0.03, 0.02, "pass"),
        (-0.05, -0.03, 0.02, "fail"),
        (-0.05, 0.01, 0.02, "inconclusive"),
        (-0.05, 0.09, 0.02, "inconclusive"),
        (-0.02, 0.01, 0.02, "inconclusive"),  # an end on the margin shows neither
        (-0.03, -0.02, 0.02, "inconclusive"),
        (0.001, 0.02, 0.0, "pass"),
        (-0.02, -0.001, 0.0, "fail"),
        (0.0, 0.02, 0.0, "inconclusive"),
        (0.0, 0.0, 0.0, "pass"),  # equal in every prompt
        (0.0, 0.0, 0.02, "pass"),
        (-0.02, -0.02, 0.02, "pass"),
        (-0.03, -0.03, 0.02, "fail"),
        (-1e-9, -1e-9, 0.0, "fail"),
        (NAN, NAN, 0.02, "inconclusive"),
        (NAN, 1.0, 0.02, "inconclusive"),
        (1.0, NAN, 0.02, "inconclusive"),
        (-math.inf, math.inf, 0.02, "inconclusive"),
    ],
)
def test_verdicts(low: float, high: float, margin: float, says: str) -> None:
    assert stats.verdict(low, high, margin, "higher") == says
    assert stats.verdict(-high, -low, margin, "lower") == says


ENDS = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)


@given(ENDS, st.floats(0, 1), st.floats(0, 1), st.sampled_from(["higher", "lower"]))
def test_a_wider_margin_never_makes_a_verdict_worse(ends, a: float, b: float, better: str) -> None:
    order = ["fail", "inconclusive", "pass"]
    strict, lenient = (order.index(stats.verdict(*ends, margin, better)) for margin in sorted((a, b)))
    assert strict <= lenient


@given(ENDS, ENDS, st.floats(0, 1))
def test_a_wider_interval_never_decides_more(ends, other, margin: float) -> None:
    wider = (min(ends[0], other[0]), max(ends[1], other[1]))
    assert stats.verdict(*wider, margin, "higher") in ("inconclusive", stats.verdict(*ends, margin, "higher"))


@pytest.mark.parametrize(
    "wrong", [(-0.1, 0.1, -0.01), (-0.1, 0.1, NAN), (-0.1, 0.1, math.inf), (0.1, -0.1, 0.0)]
)
def test_bad_margins_and_reversed_intervals_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="margin|reversed"):
        stats.verdict(*wrong, "higher")


def test_a_direction_typed_wrong_is_refused_everywhere() -> None:
    for call in (
        lambda: stats.verdict(-1, 1, 0.1, "Higher"),
        lambda: stats.win_tie_loss([1.0], better="up"),
        lambda: stats.tied_groups({"a": 1.0}, lambda a, b: True, ""),
    ):
        with pytest.raises(ValueError, match="higher or lower"):
            call()


def test_wins_ties_and_losses_by_hand() -> None:
    deltas = [0.5, 0.01, 0.0, 0.0, -0.01, -0.3, -0.4]
    assert stats.win_tie_loss(deltas, better="higher") == (2, 2, 3)
    assert stats.win_tie_loss(deltas, better="lower") == (3, 2, 2)
    assert stats.win_tie_loss(deltas, better="higher", tie=0.01) == (1, 4, 2)
    assert stats.win_tie_loss(np.zeros(9), better="higher") == (0, 9, 0)
    for bad in ([], [NAN]):
        with pytest.raises(ValueError):
            stats.win_tie_loss(bad, better="higher")
    for tie in (-0.1, NAN):
        with pytest.raises(ValueError, match="tie"):
            stats.win_tie_loss([1.0], better="higher", tie=tie)


@given(st.lists(st.floats(-1, 1), min_size=1), st.floats(0, 1))
def test_wins_of_one_side_are_losses_of_the_other(deltas: list[float], tie: float) -> None:
    wins, ties, losses = stats.win_tie_loss(deltas, better="higher", tie=tie)
    assert wins + ties + losses == len(deltas)
    assert stats.win_tie_loss([-d for d in deltas], better="higher", tie=tie) == (losses, ties, wins)


def test_ranks_by_hand() -> None:
    values = {"uniform-8": 0.80, "teacher": 0.90, "slowfast": 0.89, "glance": 0.70, "base": 0.79}

    def apart(a: str, b: str) -> bool:
        return abs(values[a] - values[b]) > 0.05

    ranks = stats.tied_groups(values, apart, "higher")
    assert ranks == {"uniform-8": 3, "teacher": 1, "slowfast": 1, "glance": 5, "base": 3}
    assert list(ranks) == list(values)
    assert stats.tied_groups({name: -v for name, v in values.items()}, apart, "lower") == ranks


def test_a_chain_of_small_steps_is_cut_at_what_the_leader_beats() -> None:
    values = {"a": 0.9, "b": 0.86, "c": 0.82, "d": 0.78}
    ranks = stats.tied_groups(values, lambda a, b: abs(values[a] - values[b]) > 0.05, "higher")
    assert ranks == {"a": 1, "b": 1, "c": 3, "d": 3}


def test_a_noisy_name_below_the_second_leader_does_not_go_back_to_the_first_group() -> None:
    values = {"a": 0.9, "b": 0.8, "noisy": 0.7}
    ranks = stats.tied_groups(values, lambda *pair: "noisy" not in pair, "higher")
    assert ranks == {"a": 1, "b": 2, "noisy": 2}


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 9), min_size=1),
    st.integers(0, 4),
    st.randoms(use_true_random=False),
)
def test_ranks_follow_the_values_and_not_the_order_given(values: dict, width: int, random) -> None:
    def apart(a: str, b: str) -> bool:
        return abs(values[a] - values[b]) > width

    ranks = stats.tied_groups(values, apart, "higher")
    assert min(ranks.values()) == 1
    for a, b in itertools.permutations(values, 2):
        assert values[a] <= values[b] or ranks[a] <= ranks[b]
    for rank in ranks.values():
        assert rank == 1 + sum(other < rank for other in ranks.values())
    shuffled = {name: values[name] for name in random.sample(list(values), len(values))}
    assert stats.tied_groups(shuffled, apart, "higher") == ranks


def test_ranks_of_one_none_and_of_what_cannot_be_ranked() -> None:
    assert stats.tied_groups({}, lambda a, b: True, "higher") == {}
    assert stats.tied_groups({"a": 1.0}, lambda a, b: True, "higher") == {"a": 1}
    equal = {"b": 1.0, "a": 1.0, "c": 1.0}
    assert stats.tied_groups(equal, lambda a, b: False, "lower") == {"b": 1, "a": 1, "c": 1}
    with pytest.raises(ValueError, match="lost"):
        stats.tied_groups({"a": 1.0, "lost": NAN}, lambda a, b: True, "higher")
