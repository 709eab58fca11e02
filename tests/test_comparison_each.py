"""Pairs compared together say what each says when it is compared alone, in both directions."""

from typing import Any

import numpy as np
import pytest

from glance_bench import stats
from glance_bench.comparison import compare, compare_each, sides_of, two_samplers
from glance_bench.comparison.pairing import pair
from glance_bench.errors import GlanceBenchError
from glance_bench.evidence import Evidence
from glance_bench.stats import significance

from .made_evidence import column, evidence

RNG = np.random.default_rng(11)
COUNT = 24
NOISE = RNG.normal(0.6, 0.1, COUNT)
COLUMNS = [
    column("x"),
    column("y", better="lower"),
    column("same"),
    column("black", "unit", "lower", flag=True, headline=False),
    column("fd", "corpus", "lower"),
    column("lone"),
]
GROUPS = RNG.normal(0, 0.3, (3, 20))


def made(**changes: Any) -> Evidence:
    values = {
        name: {
            "x": NOISE + shift + RNG.normal(0, 0.05, COUNT),
            "y": NOISE * 2 - shift,
            "same": np.ones(COUNT),
            "black": (np.arange(COUNT) < broken).astype(float),
            **({"lone": NOISE} if name != "b" else {}),
        }
        for name, shift, broken in (("a", 0.0, 0), ("b", -0.08, 9), ("c", 0.01, 1))
    }
    corpus = {name: {"fd": (10.0 + i, list(10.0 + i + GROUPS[i]))} for i, name in enumerate(values)}
    settings: dict[str, Any] = {
        "columns": COLUMNS,
        "corpus": corpus,
        "facets": {"category": ["sign", "pair"] * (COUNT // 2), "wanted_words": [0, 3] * (COUNT // 2)},
        "seconds": {
            "a": [5.0, 5.1, 5.3, 4.9, 5.0, 5.2, 5.0],
            "b": [1.0, 1.1, 1.0, 1.0, 0.9, 1.0, 1.1],
        },
        "nfe": {"a": 50, "b": 10, "c": None},
    }
    return evidence(values, **(settings | changes))


def alike(found: Any, wanted: Any) -> None:
    """Equal, but for the last digits of numbers: resamples that are shared are added up in another order."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            alike(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            alike(one, other)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    else:
        assert found == wanted


@pytest.mark.parametrize(
    "changes", [{}, {"made_of": None}, {"facets": {}}, {"seconds": None, "corpus": None}]
)
def test_together_as_alone_and_either_way_round(changes: dict[str, Any]) -> None:
    source = made(**changes)
    sides = {side.sampler: side for side in sides_of(source)}
    names = [("a", "b"), ("a", "c"), ("b", "c")]
    both = list(compare_each((pair(sides[a], sides[b]) for a, b in names), sliced=lambda _: True))
    assert len(both) == 3
    for (a, b), (there, back) in zip(names, both, strict=True):
        alike(there, compare(two_samplers(source, a, b)))
        alike(back, compare(two_samplers(source, b, a)))
    assert {row["column"] for row in both[0][0]["comparisons"][0]["not_compared"]} >= {"lone"}


def test_only_the_pairs_that_are_asked_for_are_sliced() -> None:
    sides = {side.sampler: side for side in sides_of(made())}
    pairings = [pair(sides["a"], sides["b"]), pair(sides["b"], sides["c"])]
    (one, _), (other, back) = compare_each(pairings, sliced=lambda pairing: pairing.a.sampler == "a")
    assert one["comparisons"][0]["slices"] and [f["name"] for f in one["families"]] == ["overall", "slices"]
    assert other["comparisons"][0]["slices"] == back["comparisons"][0]["slices"] == []


def test_standard_deviations_are_those_of_the_differences() -> None:
    source = made()
    (one,) = compare(two_samplers(source, "a", "b"))["comparisons"]
    rows = {row["column"]: row for row in one["metrics"]}
    frame = source.samples
    for name in ("x", "y", "black"):
        a, b = (frame.loc[frame["sampler"] == s, name].to_numpy() for s in "ab")
        assert rows[name]["sd"] == pytest.approx((b - a).std(ddof=1))
    assert rows["same"]["sd"] is None


def test_pairs_without_a_common_prompt_are_refused() -> None:
    one = evidence({"a": {"x": NOISE}, "b": {"x": NOISE}})
    other = evidence({"a": {"x": NOISE}, "b": {"x": NOISE}}, ids=[f"q{i}" for i in range(COUNT)])
    sides = [next(sides_of(source)) for source in (one, other)]
    with pytest.raises(GlanceBenchError, match="no prompt in common"):
        list(compare_each([pair(*sides)], sliced=lambda _: False))


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_signs_that_need_no_drawing_give_the_p_value_of_drawn_ones(
    alternative: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mean in (-0.5, -0.05, 0.0, 0.05, 0.5):
        delta = np.random.default_rng(2).normal(mean, 0.5, 600)
        found = stats.sign_flip(delta, alternative=alternative)
        with monkeypatch.context() as patched:
            patched.setattr(significance, "CERTAIN", np.inf)
            assert found == stats.sign_flip(delta, alternative=alternative)
