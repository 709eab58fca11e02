"""The numbers of a comparison against brute force, on evidence whose every value is known."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from glance_bench import stats
from glance_bench.comparison import Margins, compare, parse_margins, two_runs, two_samplers
from glance_bench.comparison.effects import newcombe
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.evidence import Evidence

from .made_evidence import MADE_OF, column, evidence

RNG = np.random.default_rng(3)
GRID_A = RNG.uniform(0.4, 0.8, (9, 2))
GRID_B = GRID_A + RNG.normal(-0.06, 0.05, (9, 2))


def between(made: Evidence, **options: Any) -> dict[str, Any]:
    """The only comparison of the samplers a and b of a run."""
    (one,) = compare(two_samplers(made, "a", "b"), **options)["comparisons"]
    return one


def row(one: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (effect for effect in one["metrics"] if effect["column"] == name)
    return found


def test_a_mean_over_prompts_by_brute_force() -> None:
    found = row(between(evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}})), "x")
    delta = GRID_B.mean(axis=1) - GRID_A.mean(axis=1)
    assert (found["a"], found["b"]) == pytest.approx((GRID_A.mean(), GRID_B.mean()))
    assert found["delta"] == pytest.approx(delta.mean())
    sums = [abs(np.dot(signs, delta)) for signs in itertools.product((1, -1), repeat=9)]
    assert found["p"] == pytest.approx(np.mean(np.array(sums) >= abs(delta.sum()) - 1e-12))
    again = stats.difference_interval(delta)
    assert (found["low"], found["high"]) == pytest.approx((again.low, again.high))
    assert (found["wins"], found["ties"], found["losses"]) == ((delta > 0).sum(), 0, (delta < 0).sum())
    assert (found["n"], found["test"], found["interval"]) == (9, "sign-flip", "bootstrap")


def test_power_is_what_a_t_test_of_that_size_has() -> None:
    found = row(between(evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}})), "x")
    sd = (GRID_B - GRID_A).mean(axis=1).std(ddof=1)
    shift = found["detectable"] * math.sqrt(9) / sd
    power = 1 - reference.nct.cdf(reference.t.ppf(0.975, 8), 8, shift)
    assert power == pytest.approx(0.8, abs=0.03)
    n, goal = found["needed"], 0.01 * GRID_A.mean()
    assert stats.minimum_detectable(sd, n, sided=2) <= goal * (1 + 1e-6)
    assert stats.minimum_detectable(sd, n - 1, sided=2) > goal


def test_the_order_of_the_records_does_not_matter() -> None:
    made = evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}})
    shuffled = replace(made, samples=made.samples.sample(frac=1, random_state=1))
    first, second = (row(between(one), "x") for one in (made, shuffled))
    assert first["delta"] == pytest.approx(second["delta"]) and first["p"] == second["p"]


def test_two_runs_share_some_prompts_and_no_noise() -> None:
    values = np.arange(10.0)
    first = evidence({"a": {"x": values}}, ids=[f"p{i}" for i in range(10)], name="one")
    second = evidence(
        {"a": {"x": values + 1}},
        **{"ids": [f"p{i}" for i in range(2, 12)], "texts": {"p2": "changed"}, "seed": 7000, "name": "two"},
    )
    document = compare(two_runs(first, second))
    (one,) = document["comparisons"]
    assert one["pairing"] == {
        **{"prompts": 7, "images": 7, "noise": "other", "same_noise": 0},
        **{"only_a": 3, "only_b": 3, "other_text": 1},
    }
    assert row(one, "x")["delta"] == pytest.approx(-1) and row(one, "x")["n"] == 7
    assert any("another text" in said for said in one["differences"])
    assert any(said.startswith("noise: 0 of 7") for said in one["differences"])
    assert (document["a"]["run"], document["b"]["run"]) == ("one", "two")


def test_images_made_elsewhere_never_count_as_the_same_noise() -> None:
    made = evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}}, seed=-1, made_of=None)
    one = between(made)
    assert one["pairing"]["noise"] == "other"
    assert any("made elsewhere" in said for said in one["differences"])


def test_what_the_images_are_made_of_is_compared() -> None:
    first = evidence({"a": {"x": GRID_A}}, name="one")
    other = MADE_OF | {"checkpoint": "f" * 64, "card": "0" * 64, "resolution": [128, 64]}
    second = evidence({"a": {"x": GRID_B}}, name="two", made_of=other)
    (one,) = compare(two_runs(first, second))["comparisons"]
    assert {
        f"checkpoint: {'c' * 12} and {'f' * 12}",
        f"sampler card: {'d' * 12} and {'0' * 12}",
        "resolution: 64x64 and 128x64",
    } <= set(one["differences"])


def test_numbers_of_other_recipes_are_not_put_beside_each_other() -> None:
    first = evidence({"a": {"x": GRID_A, "y": GRID_A}}, name="one")
    second = evidence({"a": {"x": GRID_B, "y": GRID_B}}, name="two", recipes={"y": "r9"})
    (one,) = compare(two_runs(first, second))["comparisons"]
    assert [effect["column"] for effect in one["metrics"]] == ["x"]
    (why,) = (entry["why"] for entry in one["not_compared"] if entry["column"] == "y")
    assert why == "other recipes: A 'recipe r0', B 'recipe r9'"


def test_metrics_against_the_teacher_are_told_where_the_teachers_differ() -> None:
    known = [column("psnr", "pair")]
    runs = [
        evidence({"t": {"psnr": GRID_A * np.nan}, "a": {"psnr": GRID_A}}, name=name, columns=known)
        for name in ("one", "two")
    ]
    (one,) = compare(two_runs(*runs, "a"))["comparisons"]
    assert any(said.startswith("reference: psnr") and "18 of 18" in said for said in one["differences"])


def test_holm_over_all_that_is_shown_together() -> None:
    rng = np.random.default_rng(0)
    shifts = {"x": 0.05, "y": 0.02, "z": 0.0}
    a = {name: rng.normal(0.5, 0.1, 40) for name in shifts}
    b = {name: a[name] + rng.normal(shift, 0.04, 40) for name, shift in shifts.items()}
    document = compare(two_samplers(evidence({"a": a, "b": b}), "a", "b"))
    rows = document["comparisons"][0]["metrics"]
    ordered = sorted(rows, key=lambda effect: effect["p"])
    highest = 0.0
    for rank, effect in enumerate(ordered):
        highest = max(highest, min(1, (3 - rank) * effect["p"]))
        assert effect["p_adjusted"] == pytest.approx(highest)
    assert document["families"] == [{"name": "overall", "tests": 3, "correction": "Holm"}]


def test_alike_samplers_are_rarely_called_different() -> None:
    """120 comparisons in which only the noise differs, five metrics each: at most 5 % may have a verdict."""
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(120):
        truth = rng.uniform(0.2, 0.8, (5, 40))
        a, b = (
            {f"m{i}": truth[i] + rng.normal(0, 0.1, 40) * (rng.random(40) < 0.4) for i in range(5)}
            for _ in range(2)
        )
        words = {effect["verdict"] for effect in between(evidence({"a": a, "b": b}), most_moved=0)["metrics"]}
        alarms += bool(words - {"not told apart"})
    assert alarms <= reference.binom.ppf(0.99, 120, 0.05)


def test_the_words() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, 40)
    base = rng.uniform(0.4, 0.6, 40)
    values = {"up": noise + 0.05, "down": noise - 0.05, "open": noise - noise.mean(), "same": noise * 0}
    known = [column(name) for name in values] + [column("cost", better="lower")]
    made = evidence(
        {
            "a": {name: base for name in (*values, "cost")},
            "b": {name: base + shift for name, shift in (values | {"cost": noise + 0.05}).items()},
        },
        columns=known,
    )
    words = {effect["column"]: effect["verdict"] for effect in between(made)["metrics"]}
    assert words == {
        **{"up": "better", "down": "worse", "open": "not told apart", "same": "same", "cost": "worse"}
    }
    within = between(made, margins=parse_margins(["1%", "up=0.1"]))["metrics"]
    words = {effect["column"]: effect["verdict"] for effect in within}
    assert words["open"] == words["up"] == "equivalent within margin"
    assert words["down"] == "worse" and words["same"] == "same"


@pytest.mark.parametrize("text", ["1", "x=", "x=1%", "=0.1", "-1%", "nan%", "x=inf", "0%"])
def test_a_margin_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--margin"):
        parse_margins([text])


def test_a_margin_for_an_unknown_column_names_the_nearest() -> None:
    made = evidence({"a": {"truth": GRID_A}, "b": {"truth": GRID_B}})
    with pytest.raises(UsageError, match="did you mean 'truth'"):
        between(made, margins=Margins(by_column={"truht": 0.1}))


@pytest.mark.parametrize("count", [1, 5])
def test_few_prompts_give_no_verdict(count: int) -> None:
    found = row(between(evidence({"a": {"x": np.zeros(count)}, "b": {"x": np.ones(count)}})), "x")
    assert (found["p"], found["verdict"], found["delta"]) == (None, "too few", 1)
    assert (found["low"] is None) == (count == 1)


def test_scores_that_are_missing_on_one_side_are_counted() -> None:
    a, b = GRID_A.copy(), GRID_B.copy()
    a[0] = math.nan  # a whole prompt
    b[1, 0] = math.nan  # one image of two
    b[2, 1] = math.inf
    found = row(between(evidence({"a": {"x": a}, "b": {"x": b}})), "x")
    kept = np.isfinite(a) & np.isfinite(b)
    delta = [(b[i][kept[i]] - a[i][kept[i]]).mean() for i in range(1, 9)]
    assert (found["n"], found["lacking"]) == (8, 4)
    assert found["delta"] == pytest.approx(np.mean(delta))


def test_a_metric_without_any_score_is_named() -> None:
    a, b = GRID_A.copy(), GRID_B.copy()
    a[:5], b[5:] = math.nan, math.nan
    one = between(evidence({"a": {"x": a, "y": GRID_A}, "b": {"x": b}}))
    why = {entry["column"]: entry["why"] for entry in one["not_compared"]}
    assert why["x"] == "no common image has a value on both sides"
    assert why["y"] == "not measured for B"


def test_duplicated_and_missing_records_are_refused() -> None:
    made = evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}})
    doubled = replace(made, samples=pd.concat([made.samples, made.samples.iloc[:2]]))
    with pytest.raises(GlanceBenchError, match="duplicated records: 2 images of 'a'"):
        between(doubled)
    with pytest.raises(GlanceBenchError, match="18 images of 'a' .* and 15 have samples"):
        between(replace(made, samples=made.samples.iloc[3:]))


def test_no_common_prompt_is_an_error() -> None:
    ids = [f"q{i}" for i in range(9)]
    first, second = evidence({"a": {"x": GRID_A}}), evidence({"a": {"x": GRID_A}}, ids=ids)
    with pytest.raises(GlanceBenchError, match="no prompt in common"):
        compare(two_runs(first, second))
    with pytest.raises(GlanceBenchError, match="nothing in common"):
        compare(two_runs(first, evidence({"a": {"x": GRID_A}}, model="flux.1-dev")))


def test_corpus_metrics_by_the_difference_of_replicates() -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(0, 1, 20)
    replicas = {"a": 10 + common, "b": 10.5 + common + rng.normal(0, 0.02, 20)}
    known = [column("x"), column("fd", "corpus", "lower")]
    made = evidence(
        {name: {"x": np.arange(20.0)} for name in replicas},
        **{
            "columns": known,
            "corpus": {name: {"fd": (10 + 0.5 * (name == "b"), r)} for name, r in replicas.items()},
        },
    )
    found = row(between(made), "fd")
    apart = replicas["b"] - replicas["a"]
    error = math.sqrt(19 / 20 * ((apart - apart.mean()) ** 2).sum())
    half = reference.t.ppf(0.975, 19) * error
    assert (found["low"], found["high"]) == pytest.approx((0.5 - half, 0.5 + half))
    assert found["p"] == pytest.approx(2 * reference.t.sf(0.5 / error, 19))
    assert (found["verdict"], found["n"]) == ("worse", 20)
    assert found["detectable"] == pytest.approx(2.95 * error, rel=0.02)  # (t19(.975) + t19(.8)) errors
    assert not any(effect["column"] == "fd" for effect in between(made)["slices"])


def test_corpus_metrics_of_other_prompts_or_without_replicates_are_refused() -> None:
    known = [column("x"), column("fd", "corpus", "lower")]

    def run(name: str, count: int, replicates: list[float], n: int = 8) -> Evidence:
        corpus = {"a": {"fd": (1.0, replicates)}}
        return evidence(
            {"a": {"x": np.arange(float(count))}}, columns=known, corpus=corpus, corpus_n=n, name=name
        )

    full = run("one", 8, [1.0, 2.0, 3.0])
    for other, why in (
        (run("two", 7, [1.0, 2.0, 3.0], 7), "made of all images of a side (8 and 7)"),
        (run("two", 8, [1.0]), "no jackknife replicates"),
        (run("two", 8, [1.0, 2.0]), "no jackknife replicates"),
    ):
        (one,) = compare(two_runs(full, other))["comparisons"]
        (said,) = (entry["why"] for entry in one["not_compared"] if entry["column"] == "fd")
        assert why in said


def test_totals_need_a_value_at_the_same_prompts() -> None:
    """A total is judged at any size; the columns of its metric say which prompts it is made of."""
    known = [column("word", metric="ocr"), column("recall", metric="ocr")]
    corpus = {
        "a": {"recall": (0.5, np.arange(8.0) / 100)},
        "b": {"recall": (0.6, np.arange(8.0) / 100 + 0.1)},
    }
    words = {"a": np.r_[np.ones(7), np.nan], "b": np.r_[np.zeros(7), np.nan]}

    def compared(b: np.ndarray) -> dict[str, Any]:
        values = {"a": {"word": words["a"]}, "b": {"word": b}}
        return between(evidence(values, columns=known, corpus=corpus, corpus_n=8))

    found = row(compared(words["b"]), "recall")
    assert (found["verdict"], found["test"]) == ("better", "jackknife t")
    assert found["delta"] == pytest.approx(0.1)
    refused = compared(words["b"][::-1])["not_compared"]
    assert {"column": "recall", "why": "is made of other prompts on each side"} in refused


def test_distances_between_small_sets_are_shown_and_not_judged() -> None:
    known = [column("x"), column("fd", "corpus", "lower")]
    replicates = np.arange(8.0)

    def found(n: int) -> dict[str, Any]:
        corpus = {"a": {"fd": (1.0, replicates)}, "b": {"fd": (9.0, replicates + 8.001 + replicates / 999)}}
        values = {name: {"x": np.arange(8.0)} for name in corpus}
        return row(between(evidence(values, columns=known, corpus=corpus, corpus_n=n)), "fd")

    assert (found(2048)["verdict"], found(2048)["test"]) == ("worse", "jackknife t")
    assert (found(2047)["verdict"], found(2047)["p"], found(2047)["delta"]) == ("informational", None, 8.0)
    assert found(2047)["low"] == found(2048)["low"] > 7


def test_failures_by_mcnemar_over_prompts() -> None:
    a, b = np.zeros((40, 2)), np.zeros((40, 2))
    b[:9, 0] = 1  # nine prompts of which one image failed
    b[0, 1] = 1  # of one of them both
    a[9, 1] = 1
    known = [column("failed", "unit", "lower", headline=False, flag=True)]
    found = row(between(evidence({"a": {"failed": a}, "b": {"failed": b}}, columns=known)), "failed")
    assert found["p"] == pytest.approx(reference.binomtest(1, 10).pvalue)
    assert (found["wins"], found["ties"], found["losses"]) == (1, 30, 9)
    assert (found["a"], found["b"], found["verdict"]) == (1 / 40, 9 / 40, "worse")
    assert 0 < found["low"] < 8 / 40 < found["high"]


def test_no_failure_at_all_leaves_an_interval_open() -> None:
    known = [column("failed", "unit", "lower", headline=False, flag=True)]
    none = {"failed": np.zeros(40)}
    found = row(between(evidence({"a": none, "b": none}, columns=known)), "failed")
    assert (found["delta"], found["p"], found["verdict"]) == (0, None, "same")
    assert (-found["low"], found["high"]) == pytest.approx((stats.wilson(0, 40).high,) * 2)


def test_the_interval_of_paired_proportions_covers() -> None:
    rng = np.random.default_rng(0)
    cells = (0.05, 0.04, 0.10, 0.81)  # both fail, only A, only B, neither
    draws = rng.multinomial(80, cells, size=2000)
    hits = [low <= cells[2] - cells[1] <= high for low, high in (newcombe(*map(int, draw)) for draw in draws)]
    assert 0.93 <= np.mean(hits) <= 0.98


def test_failures_that_go_together_narrow_the_interval() -> None:
    def width(both: int, only_a: int, only_b: int, neither: int) -> float:
        low, high = newcombe(both, only_a, only_b, neither)
        return high - low

    # the same shares of failures on each side, and less and less agreement
    assert width(11, 1, 3, 15) < width(10, 2, 4, 14) < width(5, 7, 9, 9)


def test_slices_are_the_prompts_they_say() -> None:
    facets = {
        "category": ["sign", "sign", "scene", "scene", "scene", "scene", "scene", "scene", "sign"],
        "wanted_words": [1, 3, 0, 0, 0, 0, 0, 0, 12],
        "objects": [1, math.nan, 2, 2, 5, 1, 1, 1, math.nan],
    }
    one = between(evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}}, facets=facets))
    delta = (GRID_B - GRID_A).mean(axis=1)
    found = {(effect["slicing"], effect["slice"]): effect for effect in one["slices"]}
    wanted = {
        **{("category", "scene"): range(2, 8), ("category", "sign"): [0, 1, 8]},
        **{("text length", "no text"): range(2, 8), ("text length", "1 word"): [0]},
        **{("text length", "2-3 words"): [1], ("text length", "10 words or more"): [8]},
        **{("object count", "1 object"): [0, 5, 6, 7], ("object count", "2 objects"): [2, 3]},
        ("object count", "4 or more"): [4],
    }
    assert set(found) == set(wanted)
    for key, places in wanted.items():
        assert found[key]["n"] == len(places)
        assert found[key]["delta"] == pytest.approx(delta[list(places)].mean())
    assert found["category", "scene"]["verdict"] != "too few" == found["category", "sign"]["verdict"]


def test_without_drawn_text_prompts_are_sliced_by_their_length() -> None:
    facets = {"prompt_words": [3, 10, 11, 20, 40, 41, 80, 81, 200]}
    one = between(evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}}, facets=facets))
    counts = {effect["slice"]: effect["n"] for effect in one["slices"]}
    assert counts == {
        **{"prompt of 1-10 words": 2, "11-20 words": 2, "21-40 words": 1, "41-80 words": 2},
        **{"81 words or more": 2},
    }
    assert between(evidence({"a": {"x": GRID_A}, "b": {"x": GRID_B}}), sliced=False)["slices"] == []


def test_latency_of_samplers_timed_together() -> None:
    values = {"a": {"x": GRID_A}, "b": {"x": GRID_B}}
    seconds = {"a": [1.0, 1.1, 2.0, 1.0, 1.2, 1.0, 1.1], "b": [0.5, 0.5, 1.1, 0.5, 0.7, 0.4, 0.5]}
    (timed,) = between(evidence(values, seconds=seconds))["latency"]
    ratios = np.divide(seconds["b"], seconds["a"])
    assert timed["ratio"] == pytest.approx(np.median(ratios))
    assert (timed["a"], timed["b"], timed["n"]) == (1.1, 0.5, 7)
    assert ratios.min() <= timed["low"] <= timed["ratio"] <= timed["high"] <= ratios.max()
    assert (timed["verdict"], timed["basis"]) == ("better", "seconds in the same blocks")
    few = between(evidence(values, seconds={name: taken[:5] for name, taken in seconds.items()}))
    assert few["latency"][0]["verdict"] == "too few"


def test_latency_of_two_runs_is_that_against_the_reference() -> None:
    values = {"t": {"x": GRID_A}, "a": {"x": GRID_B}}
    slow = {"t": [10.0] * 7, "a": [2.0, 2.1, 1.9, 2.0, 2.0, 2.2, 2.0]}
    quick = {"t": [5.0] * 7, "a": [2.0, 2.1, 1.9, 2.0, 2.0, 2.2, 2.0]}  # relatively twice as slow
    first, second = evidence(values, seconds=slow, name="one"), evidence(values, seconds=quick, name="two")
    (timed,) = compare(two_runs(first, second, "a"))["comparisons"][0]["latency"]
    assert timed["ratio"] == pytest.approx(2.0) and timed["verdict"] == "worse"
    assert timed["basis"] == "ratios to t in the blocks of each run"
    (one,) = compare(two_runs(first, second, "t"))["comparisons"]
    assert "different sessions" in one["not_compared"][-1]["why"]
    elsewhere = evidence(values, seconds=quick, name="two", hardware="a GPU")
    (one,) = compare(two_runs(first, elsewhere, "a"))["comparisons"]
    assert one["not_compared"][-1]["why"] == "latency: other hardware: cpu, 2 threads and a GPU"


def test_the_prompts_that_moved_most_go_both_ways() -> None:
    delta = np.array([0.0, 0.3, -0.1, 0.2, -0.4, 0.1, 0.0, -0.2, 0.05])
    a = np.full(9, 0.5)
    known = [column("x", better="lower")]
    made = evidence({"a": {"x": a}, "b": {"x": a + delta}}, columns=known, texts={"p004": "a blue ring"})
    (moved,) = between(made, most_moved=3)["moved"]
    assert [entry["prompt"] for entry in moved["better"]] == ["p004", "p007", "p002"]
    assert [entry["prompt"] for entry in moved["worse"]] == ["p001", "p003", "p005"]
    best = moved["better"][0]
    assert (best["text"], best["a"], best["b"]) == ("a blue ring", 0.5, pytest.approx(0.1))
    assert best["images_a"] == []


def test_names_are_checked() -> None:
    made = evidence({"a": {"truth": GRID_A}, "b": {"truth": GRID_B}})
    with pytest.raises(UsageError, match="has no sampler 'c'"):
        two_samplers(made, "a", "c")
    with pytest.raises(UsageError, match="with itself"):
        two_samplers(made, "a", "a")
    with pytest.raises(UsageError, match="did you mean 'truth'"):
        between(made, metrics=["truht"])
