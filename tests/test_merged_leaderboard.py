"""Several runs in one leaderboard: which rows are one, which are tied, which are on the frontier."""

import math
from typing import Any

import numpy as np
import pytest

from glance_bench.errors import UsageError
from glance_bench.leaderboard import leaderboard
from glance_bench.leaderboard.pareto import Point, frontier

from .made_evidence import MADE_OF, column, evidence

RNG = np.random.default_rng(8)
BASE = RNG.uniform(0.3, 0.6, 30)
TIED = {"a": BASE, "b": BASE + RNG.permutation(np.repeat([0.02, -0.02], 15)), "c": BASE + 0.2}


def only(document: dict[str, Any]) -> dict[str, Any]:
    (board,) = document["boards"]
    return board


def named(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in board["rows"]}


def test_two_that_cannot_be_told_apart_share_a_group() -> None:
    board = only(leaderboard([evidence({name: {"x": x} for name, x in TIED.items()})]))
    groups = {name: row["cells"]["x"]["group"] for name, row in named(board).items()}
    assert groups == {"c": 1, "a": 2, "b": 2}
    assert [row["name"] for row in board["rows"]][0] == "c"
    cost = [column("x", better="lower")]
    board = only(leaderboard([evidence({name: {"x": x} for name, x in TIED.items()}, columns=cost)]))
    groups = {name: row["cells"]["x"]["group"] for name, row in named(board).items()}
    assert groups == {"a": 1, "b": 1, "c": 3}


def test_groups_are_corrected_over_all_pairs() -> None:
    """A difference that one test shows is not shown when it is one of 28 pairs."""
    shift = np.concatenate([np.full(8, 0.01), [-0.004]])
    values = {"a": BASE[:9], "b": BASE[:9] + shift}
    two = named(only(leaderboard([evidence({name: {"x": x} for name, x in values.items()})])))
    assert {name: row["cells"]["x"]["group"] for name, row in two.items()} == {"b": 1, "a": 2}
    more = values | {f"s{i}": BASE[:9] for i in range(6)}
    many = named(only(leaderboard([evidence({name: {"x": x} for name, x in more.items()})])))
    assert {row["cells"]["x"]["group"] for row in many.values()} == {1}


def test_corpus_values_are_grouped_by_their_replicates() -> None:
    common = RNG.normal(0, 5, 20)
    corpus = {
        name: {"fd": (value, value + common + RNG.normal(0, 0.01, 20))}
        for name, value in {"a": 10.0, "b": 10.001, "c": 12.0}.items()
    }
    known = [column("x"), column("fd", "corpus", "lower")]
    made = evidence({name: {"x": x} for name, x in TIED.items()}, columns=known, corpus=corpus)
    groups = {n: row["cells"]["fd"]["group"] for n, row in named(only(leaderboard([made]))).items()}
    assert groups == {"a": 1, "b": 1, "c": 3}


def test_the_same_sampler_of_two_runs_is_one_row_only_where_all_agrees() -> None:
    one = evidence({"t": {"x": BASE}, "a": {"x": BASE}}, name="one")
    two = evidence({"t": {"x": BASE}, "a": {"x": BASE + 0.01}}, name="two")
    board = only(leaderboard([one, two]))
    assert set(named(board)) == {"t", "a (one)", "a (two)"}
    assert named(board)["t"]["runs"] == ["one", "two"]
    for other in (
        evidence({"t": {"x": BASE}}, name="two", seed=5000),
        evidence({"t": {"x": BASE}}, name="two", texts={"p003": "another"}),
        evidence({"t": {"x": BASE}}, name="two", made_of=MADE_OF | {"checkpoint": "f" * 64}),
        evidence({"t": {"x": BASE}}, name="two", recipes={"x": "r1"}),
    ):
        assert len(only(leaderboard([evidence({"t": {"x": BASE}}, name="one"), other]))["rows"]) == 2


def test_rows_of_one_sampler_gather_the_columns_of_both_runs() -> None:
    one, two = (
        evidence({"t": {"x": BASE, "y": BASE}}, name="one"),
        evidence({"t": {"x": BASE, "z": BASE}}, name="two"),
    )
    (row,) = only(leaderboard([one, two]))["rows"]
    assert set(row["cells"]) == {"x", "y", "z"}


def test_other_recipes_are_other_columns() -> None:
    one = evidence({"a": {"x": BASE}}, name="one")
    two = evidence({"a": {"x": BASE}, "b": {"x": BASE}}, name="two", recipes={"x": "r7"})
    document = leaderboard([one, two])
    board = only(document)
    assert [entry["key"] for entry in board["columns"]] == ["x [r0]", "x [r7]"]
    assert [entry["title"] for entry in board["columns"]] == ["X [r0]", "X [r7]"]
    assert set(named(board)["a (one)"]["cells"]) == {"x [r0]"}
    assert document["recipes"] == {"r0": "recipe r0", "r7": "recipe r7"}


def test_the_testbed_stands_on_boards_of_its_own_and_last() -> None:
    small, large = (
        evidence({"a": {"x": BASE}}),
        evidence({"a": {"x": BASE}}, model="flux.1-dev", name="large"),
    )
    boards = leaderboard([small, large])["boards"]
    assert [(board["model"], board["testbed"]) for board in boards] == [
        ("flux.1-dev", False),
        ("testbed-flux", True),
    ]
    assert [len(board["rows"]) for board in boards] == [1, 1]


def test_what_differs_between_rows_is_said() -> None:
    one = evidence({"a": {"x": BASE}}, name="one")
    made_of = MADE_OF | {"checkpoint": "f" * 64}
    two = evidence({"a": {"x": BASE[:20]}}, name="two", seed=9000, made_of=made_of)
    notes = only(leaderboard([one, two]))["notes"]
    assert any(note.startswith(f"checkpoint: {'c' * 12}: a (one); {'f' * 12}: a (two)") for note in notes)
    assert any("different prompts (20, 30)" in note for note in notes)
    assert any("different noise" in note for note in notes)


def test_a_frontier_by_hand() -> None:
    """Cost to the right, quality up::

    0.9             teacher
    0.8     fast              (0.79 at the same cost as fast: dull)
    0.5  tiny       bad
    """
    points = {
        0: Point(0.90, 50, 50, 50),  # teacher
        1: Point(0.80, 10, 10, 10),  # fast
        2: Point(0.79, 10, 10, 10),  # dull: no better than fast at its cost, but not told apart from it
        3: Point(0.50, 2, 2, 2),  # tiny
        4: Point(0.50, 50, 50, 50),  # bad
    }
    apart = {(0, 4), (1, 4), (2, 4), (0, 3), (1, 3), (2, 3)}
    flags = frontier(points, "higher", lambda a, b: (min(a, b), max(a, b)) in apart)
    assert flags == {0: "yes", 1: "yes", 2: "perhaps", 3: "yes", 4: "no"}
    upside_down = {name: Point(-p.quality, p.cost, p.low, p.high) for name, p in points.items()}
    assert frontier(upside_down, "lower", lambda a, b: (min(a, b), max(a, b)) in apart) == flags


def test_a_frontier_minds_the_interval_of_the_cost() -> None:
    def flags(high: float) -> dict[int, str]:
        points = {0: Point(0.9, 1.0, 0.9, high), 1: Point(0.8, 1.2, 1.1, 1.3)}
        return frontier(points, "higher", lambda a, b: True)

    assert flags(1.1) == {0: "yes", 1: "no"}
    assert flags(1.15) == {0: "yes", 1: "perhaps"}
    assert flags(math.nan) == {0: "yes", 1: "perhaps"}
    equal = {0: Point(0.8, 1, 1, 1), 1: Point(0.8, 1, 1, 1)}
    assert frontier(equal, "higher", lambda a, b: False) == {0: "yes", 1: "yes"}


def test_frontiers_of_a_board() -> None:
    made = evidence(
        {name: {"x": x} for name, x in TIED.items()},
        nfe={"a": 10, "b": 12, "c": 8},
        seconds={"a": [0.5, 0.6, 0.5], "b": [0.7, 0.7, 0.7], "c": [9.0, 9.1, 9.2]},
    )
    rows = named(only(leaderboard([made])))
    assert rows["c"]["pareto"] == {"nfe": "yes", "latency": "yes"}
    better, worse = sorted("ab", key=lambda name: -TIED[name].mean())
    assert rows["a"]["pareto"]["nfe"] == rows["b"]["pareto"]["nfe"] == "no"
    assert rows["a"]["pareto"]["latency"] == "yes"
    assert rows["b"]["pareto"]["latency"] == ("yes" if better == "b" else "perhaps")
    timed = rows["b"]["latency"]["cpu, 2 threads, batch 1"]
    assert (timed["value"], timed["n"], timed["speedup"]["value"]) == (0.7, 3, pytest.approx(0.5 / 0.7))


def test_seconds_of_two_sessions_are_told() -> None:
    one = evidence({"a": {"x": BASE}}, name="one", seconds={"a": [1.0]})
    two = evidence({"b": {"x": BASE}}, name="two", seconds={"b": [1.0]}, session="s2")
    assert any("different sessions" in note for note in only(leaderboard([one, two]))["notes"])
    assert not any("sessions" in note for note in only(leaderboard([one]))["notes"])


def test_images_made_elsewhere_have_neither_cost_nor_place_on_a_frontier() -> None:
    one = evidence({"t": {"x": BASE}}, name="one")
    made = evidence({"b": {"x": BASE + 0.1}}, name="two", seed=-1, made_of=None, nfe={"b": None})
    board = only(leaderboard([one, made]))
    row = named(board)["b"]
    assert (row["nfe"], row["pareto"], row["cells"]["x"]["group"]) == (None, {}, 1)
    assert "made elsewhere, what of is not known: b" in board["notes"]
    assert not any("different noise" in note for note in board["notes"])


def test_the_quality_of_the_frontier_can_be_chosen() -> None:
    values = {"a": {"x": BASE, "y": BASE + 0.3}, "b": {"x": BASE + 0.3, "y": BASE}}
    made = evidence(values, nfe={"a": 5, "b": 10})
    by_default = named(only(leaderboard([made])))
    chosen = only(leaderboard([made], quality="y"))
    assert by_default["b"]["pareto"] == {"nfe": "yes"} and named(chosen)["b"]["pareto"] == {"nfe": "no"}
    assert chosen["quality"] == "y" and [row["name"] for row in chosen["rows"]] == ["a", "b"]


def test_other_hardware_is_another_column_and_no_point_of_the_frontier() -> None:
    one = evidence({"a": {"x": BASE}}, name="one", seconds={"a": [1.0, 1.1]})
    two = evidence(
        {"b": {"x": BASE}, "c": {"x": BASE}}, name="two", seconds={"b": [1.0], "c": [2.0]}, hardware="GPU"
    )
    board = only(leaderboard([one, two]))
    assert [entry["hardware"] for entry in board["latency"]] == ["GPU", "cpu, 2 threads"]
    assert board["hardware"] == "GPU, batch 1"
    flags = {name: row["pareto"].get("latency") for name, row in named(board).items()}
    assert flags == {"a": None, "b": "yes", "c": "perhaps"}
    board = only(leaderboard([one, two], hardware="cpu, 2 threads"))
    assert named(board)["a"]["pareto"]["latency"] == "yes"


def test_sorting_and_columns() -> None:
    values = {"a": {"x": BASE, "y": BASE}, "b": {"x": BASE + 0.3, "y": BASE}, "c": {"y": BASE}}
    made = evidence(values, nfe={"a": 5, "b": 10, "c": None})

    def order(**options: Any) -> str:
        return "".join(row["name"] for row in only(leaderboard([made], **options))["rows"])

    assert (order(), order(sort="x"), order(sort="nfe"), order(sort="name")) == ("bac", "bac", "abc", "abc")
    assert [c["key"] for c in only(leaderboard([made], columns=["y"]))["columns"]] == ["y"]
    for options in ({"columns": ["z"]}, {"quality": "z"}, {"sort": "z"}, {"hardware": "z"}):
        with pytest.raises(UsageError, match="'z'"):
            leaderboard([made], **options)
    with pytest.raises(UsageError, match="--sort: 'x' is not shown"):
        leaderboard([made], columns=["y"], sort="x")


def test_one_prompt_and_all_ties_give_one_group_and_nothing_in_common_none() -> None:
    half = np.arange(30) < 15
    for values in ({"a": np.zeros(1), "b": np.ones(1)}, {"a": BASE, "b": BASE}):
        board = only(leaderboard([evidence({name: {"x": x} for name, x in values.items()})]))
        assert [row["cells"]["x"]["group"] for row in board["rows"]] == [1, 1]
    apart = {"a": {"x": np.where(half, BASE, math.nan)}, "b": {"x": np.where(half, math.nan, BASE)}}
    board = only(leaderboard([evidence(apart)]))
    assert [row["cells"]["x"]["group"] for row in board["rows"]] == [None, None]
    assert any("1 (no common image has a value on both sides)" in note for note in board["notes"])


def test_failures_are_shown_where_there_are_any() -> None:
    known = [column("x"), column("failed", "unit", "lower", headline=False, flag=True)]
    sound = {"x": BASE, "failed": np.zeros(30)}
    broken = {"x": BASE, "failed": np.repeat([1.0, 0.0], 15)}
    shown = only(leaderboard([evidence({"a": sound, "b": sound}, columns=known)]))["columns"]
    assert [entry["key"] for entry in shown] == ["x"]
    board = only(leaderboard([evidence({"a": sound, "b": broken}, columns=known)]))
    assert {name: row["cells"]["failed"]["group"] for name, row in named(board).items()} == {"a": 1, "b": 2}
