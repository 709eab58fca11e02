"""Failures ranked, explained and summed up, on evidence whose every value is known."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glance_bench import stats
from glance_bench.errors import GlanceBenchError
from glance_bench.failures import (
    OVERALL,
    Causes,
    Grid,
    diff,
    document,
    drops,
    marked,
    ranked,
    sentences,
    worst,
)
from glance_bench.prompts import Prompt
from glance_bench.report.text import visible

from .made_evidence import column, evidence

COLUMNS = [
    column("ocr", title="OCR words"),
    column("truth"),
    column("edits", better="lower", decimals=1),
]


def board_of(made: Any) -> Grid:
    return Grid.of(made.samples, made.results["boards"][0])


# -- drops and ranking -------------------------------------------------------------------------------------


def random_board(seed: int, prompts: int = 30, images: int = 2) -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    values = {
        name: {
            "ocr": np.where(
                rng.random((prompts, images)) < 0.2, np.nan, rng.integers(0, 5, (prompts, images)) / 4
            ),
            "truth": rng.integers(0, 4, (prompts, images)) / 3,
            "edits": rng.integers(0, 9, (prompts, images)).astype(float),
        }
        for name in ("teacher", "fast", "faster")
    }
    return evidence(values, columns=COLUMNS), values


@pytest.mark.parametrize("seed", [0, 1])
def test_drops_and_their_ranking_are_those_of_a_plain_loop(seed: int) -> None:
    made, values = random_board(seed)
    grid = board_of(made)
    found = drops(grid, COLUMNS)
    assert list(found) == [OVERALL, "ocr", "truth", "edits"]
    by_hand: dict[tuple[str, int, int], float] = {}
    for name, sign in (("ocr", 1), ("truth", 1), ("edits", -1)):
        for s, sampler in enumerate(grid.samplers):
            for r, (prompt, index) in enumerate(grid.rows):
                i = int(prompt[1:])
                drop = sign * (values["teacher"][name][i, index] - values[sampler][name][i, index])
                if sampler == "teacher" or np.isnan(drop):
                    assert np.isnan(found[name][s, r])
                else:
                    assert found[name][s, r] == pytest.approx(drop)
                    by_hand[name, s, r] = drop
    spread = {c: np.std([d for key, d in by_hand.items() if key[0] == c]) for c in ("ocr", "truth", "edits")}
    overall = {
        (s, r): max(by_hand[c, s, r] / spread[c] for c in spread if (c, s, r) in by_hand)
        for _, s, r in by_hand
    }
    for key, value in overall.items():
        assert found[OVERALL][key] == pytest.approx(value)
    ours = worst(found["truth"], 25, ties=found[OVERALL])
    drop_of = {key: by_hand["truth", *key] for key in overall}
    expected = sorted(
        (k for k in overall if drop_of[k] > 0), key=lambda k: (-drop_of[k], -found[OVERALL][k], k[1], k[0])
    )
    assert ours == expected[:25]
    assert worst(found[OVERALL], 10**6) == sorted(
        (k for k in overall if overall[k] > 0), key=lambda k: (-found[OVERALL][k], k[1], k[0])
    )


def test_what_is_ranked_by() -> None:
    """Headline values of single images; the first column where a metric has none; failures where there are any."""
    columns = [
        column("clip"),
        column("clip_cut", metric="clip", flag=True, headline=False),
        column("geneval", headline=True),  # a total: no value of an image
        column("geneval_images", metric="geneval", headline=False),
        column("geneval_more", metric="geneval", headline=False),
        column("lpips", kind="pair", better="lower"),
        column("diversity", kind="prompt"),
        column("failed", kind="unit", better="lower", flag=True, headline=False),
        column("black", kind="unit", better="lower", flag=True, headline=False),
    ]
    own = {c["name"]: np.linspace(0, 1, 8) for c in columns if c["name"] != "geneval"}
    own |= {"failed": np.zeros(8), "black": np.zeros(8)}
    reference = own | {"lpips": np.full(8, np.nan)}
    dark = {"failed": np.eye(8)[0], "black": np.eye(8)[0]}
    healthy = board_of(evidence({"teacher": reference, "fast": own}, columns=columns))
    assert [c["name"] for c in ranked(healthy, columns)] == ["clip", "geneval_images"]
    broken = board_of(evidence({"teacher": reference, "fast": own | dark}, columns=columns))
    assert [c["name"] for c in ranked(broken, columns)] == ["clip", "geneval_images", "failed"]
    assert worst(drops(broken, columns)[OVERALL], 3) == [(1, 0)]


def test_a_black_image_without_a_value_is_the_worst_of_all() -> None:
    columns = [column("clip"), column("failed", kind="unit", better="lower", flag=True, headline=False)]
    rng = np.random.default_rng(0)
    teacher = {"clip": rng.random(50), "failed": np.zeros(50)}
    fast = {"clip": rng.random(50), "failed": np.zeros(50)}
    fast["clip"][7], fast["failed"][7] = np.nan, 1
    grid = board_of(evidence({"teacher": teacher, "fast": fast}, columns=columns))
    assert worst(drops(grid, columns)[OVERALL], 1) == [(1, 7)]


def test_rows_follow_the_prompts_and_the_same_noise_is_known() -> None:
    made, _ = random_board(0, prompts=3)
    rows = [("p002", 0), ("p000", 1), ("p000", 0)]
    shuffled = made.samples.sample(frac=1, random_state=1)
    grid = Grid.of(shuffled, made.results["boards"][0], rows)
    truth = grid.values("truth")
    for s, sampler in enumerate(grid.samplers):
        for r, (prompt, index) in enumerate(rows):
            own = shuffled[
                (shuffled["sampler"] == sampler)
                & (shuffled["prompt_id"] == prompt)
                & (shuffled["index"] == index)
            ]
            assert truth[s, r] == own["truth"].item()
    assert grid.same_noise.all()
    elsewhere = made.samples.assign(seed=-1)
    assert not Grid.of(elsewhere, made.results["boards"][0]).same_noise.any()


def test_an_image_that_is_there_twice_is_refused() -> None:
    made, _ = random_board(0, prompts=3)
    twice = pd.concat([made.samples, made.samples.iloc[:2]])
    with pytest.raises(GlanceBenchError, match="2 images are recorded twice"):
        Grid.of(twice, made.results["boards"][0])


def test_ten_thousand_prompts_and_ten_samplers_within_three_seconds() -> None:
    rng = np.random.default_rng(0)
    n, names = 10_000, [f"s{i}" for i in range(10)]
    columns = [column(f"c{i}", better="lower" if i % 2 else "higher") for i in range(8)]
    samples = pd.DataFrame(
        {
            "model": "m",
            "prompt_set": "set",
            "sampler": np.repeat(names, n),
            "prompt_id": np.tile([f"p{i}" for i in range(n)], 10),
            "index": 0,
            "seed": 1,
            **{c["name"]: rng.random(10 * n) for c in columns},
        }
    )
    board = {
        "model": "m",
        "prompt_set": "set",
        "reference": "s0",
        "samplers": [{"sampler": name} for name in names],
    }
    started = time.process_time()
    grid = Grid.of(samples, board, [(f"p{i}", 0) for i in range(n)])
    found = drops(grid, columns)
    listed = worst(found[OVERALL], 100)
    assert time.process_time() - started < 3
    assert len(listed) == 100
    s, r = listed[0]
    assert found[OVERALL][s, r] == np.nanmax(found[OVERALL])


# -- sentences ---------------------------------------------------------------------------------------------

KINDS = ("object", "sign", "poster", "pair")


def two_alike(seed: int, prompts: int = 240, samplers: int = 3) -> dict[str, dict[str, np.ndarray]]:
    """Samplers that differ from the reference by chance alone: a prompt's difficulty, and noise of one kind for all."""
    rng = np.random.default_rng(seed)
    text = wanted_words(prompts) > 0
    hard = rng.normal(size=prompts)

    def one() -> dict[str, np.ndarray]:
        read = np.round(1 / (1 + np.exp(-2 * hard - 2 * rng.normal(size=prompts))) * 4) / 4
        return {
            "ocr": np.where(text, read, np.nan),
            "truth": np.clip(np.round(3 + hard + rng.normal(size=prompts)), 0, 5) / 5,
            "edits": np.round(np.exp(hard + rng.normal(size=prompts))),
        }

    return {name: one() for name in ("teacher", "glance-10", "uniform-8", "uniform-4")[: samplers + 1]}


def wanted_words(prompts: int) -> np.ndarray:
    kinds = np.arange(prompts) % 4
    long = np.arange(prompts) % 8 < 4
    return np.select([kinds == 1, kinds == 2], [1, np.where(long, 12, 6)], 0)


def facets(prompts: int) -> dict[str, list[Any]]:
    kinds = [KINDS[i % 4] for i in range(prompts)]
    objects = [{"object": 1, "pair": 2}.get(kind, 0) for kind in kinds]
    return {
        "category": kinds,
        "prompt_words": [12] * prompts,
        "wanted_words": wanted_words(prompts).tolist(),
        "objects": objects,
    }


def sentences_of(values: dict[str, Any]) -> list[Any]:
    prompts = len(next(iter(values["teacher"].values())))
    return sentences(board_of(evidence(values, columns=COLUMNS, facets=facets(prompts))), COLUMNS)[0]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_said_where_there_is_nothing(seed: int) -> None:
    assert sentences_of(two_alike(seed)) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_failure_is_named_and_only_it(seed: int) -> None:
    """One sampler of three loses half of its words on posters with 12 words: category x length, 30 of 240 prompts."""
    values = two_alike(seed)
    inside = (np.arange(240) % 4 == 2) & (wanted_words(240) == 12)
    values["glance-10"]["ocr"] = np.where(inside, values["teacher"]["ocr"] - 0.5, values["glance-10"]["ocr"])
    (told,) = sentences_of(values)
    # every prompt with 12 words is a poster, so the length alone names the same prompts
    assert (told.sampler, told.column, told.slice) == ("glance-10", "ocr", "text length: 10 words or more")
    assert (told.difference, told.low, told.high, told.n) == (-0.5, -0.5, -0.5, 30)
    others = values["glance-10"]["ocr"] - values["teacher"]["ocr"]
    assert told.elsewhere == pytest.approx(np.nanmean(others[~inside]))
    assert told.p_adjusted < 1e-3
    assert told.text.startswith(
        "glance-10 loses 0.500 in OCR words on prompts that ask for 10 words or more of text "
        "(95 % interval 0.500 to 0.500, 30 prompts, elsewhere it "
    )


def test_a_failure_of_a_category_at_one_length_is_named_as_both() -> None:
    """Signs and posters, each short and long; only long posters fail, and neither slice alone says so."""
    n = 320
    category = ["poster" if i % 2 else "sign" for i in range(n)]
    words = [12 if i % 4 < 2 else 2 for i in range(n)]
    rng = np.random.default_rng(0)
    teacher = {"truth": rng.random(n)}
    inside = np.array([c == "poster" and w == 12 for c, w in zip(category, words, strict=True)])
    fast = {"truth": teacher["truth"] + rng.normal(0, 0.3, n) - 0.6 * inside}
    parts = {"category": category, "wanted_words": words, "prompt_words": [9] * n, "objects": [np.nan] * n}
    made = evidence({"teacher": teacher, "fast": fast}, columns=COLUMNS[1:2], facets=parts)
    (told,), _ = sentences(board_of(made), COLUMNS)
    assert told.slice == "category: poster; text length: 10 words or more"
    assert told.facets == {"category": "poster", "text length": "10 words or more"}
    assert "on prompts of category 'poster' that ask for 10 words or more of text (" in told.text


def test_the_whole_of_a_slice_is_named_and_not_its_unluckiest_part() -> None:
    """All of a category loses; some length of text in it happens to lose more, and would be named by its size."""
    n = 2000
    rng = np.random.default_rng(0)
    category = [f"kind {i % 4}" for i in range(n)]
    words = (np.arange(n) // 4 % 5 * 3).tolist()
    inside = np.arange(n) % 4 == 1
    teacher = {"truth": rng.random(n)}
    fast = {"truth": teacher["truth"] + rng.normal(0, 0.3, n) - 0.3 * inside}
    parts = {"category": category, "wanted_words": words}
    made = evidence({"teacher": teacher, "fast": fast}, columns=COLUMNS[1:2], facets=parts)
    (told,), tests = sentences(board_of(made), COLUMNS)
    assert told.slice == "category: kind 1"
    assert tests > 20


def test_a_loss_everywhere_is_one_sentence_and_a_gain_is_one_too() -> None:
    values = two_alike(1)
    values["uniform-8"]["edits"] = values["teacher"]["edits"] + 2 + np.arange(240) // 8 % 2
    values["uniform-4"]["truth"] = values["teacher"]["truth"] + 0.1
    lost, gained = sorted(sentences_of(values), key=lambda told: told.column)
    assert (
        lost.text == "uniform-8 is 2.5 worse in Edits on all prompts (95 % interval 2.4 to 2.6, 240 prompts)"
    )
    assert (lost.difference, lost.slice, lost.elsewhere, lost.n) == (2.5, None, None, 240)
    assert lost.low < 2.5 < lost.high
    assert gained.text.startswith("uniform-4 gains 0.100 in Truth on all prompts (")
    assert gained.difference == pytest.approx(0.1)


def test_a_small_difference_is_not_shown_as_zero() -> None:
    teacher = {"truth": np.linspace(0.2, 0.8, 60)}
    fast = {"truth": teacher["truth"] + 0.00023 + np.tile([1e-5, -1e-5], 30)}
    (told,), _ = sentences(
        board_of(evidence({"teacher": teacher, "fast": fast}, columns=COLUMNS[1:2])), COLUMNS
    )
    assert (
        told.text == "fast gains 0.0002 in Truth on all prompts (95 % interval 0.0002 to 0.0002, 60 prompts)"
    )
    assert 0.000225 < told.low < told.difference < told.high < 0.000235


def test_broken_images_are_a_sentence() -> None:
    """20 of 100 images of one sampler are black; their metrics say nothing, having no value there."""
    columns = [COLUMNS[1], column("failed", kind="unit", better="lower", flag=True, headline=False)]
    teacher = {"truth": np.linspace(0, 1, 100), "failed": np.zeros(100)}
    dark = np.arange(100) % 5 == 0
    fast = {"truth": np.where(dark, np.nan, teacher["truth"]), "failed": dark.astype(float)}
    (told,), _ = sentences(board_of(evidence({"teacher": teacher, "fast": fast}, columns=columns)), columns)
    assert told.text.startswith(
        "fast makes 20.0 % more images that are black or non-finite on all prompts (95 %"
    )
    assert (told.column, told.difference, told.n) == ("failed", 0.2, 100)


def test_p_values_are_those_of_holm_over_the_whole_board() -> None:
    rng = np.random.default_rng(2)
    n = 60
    teacher = {"truth": rng.random(n)}
    loss = np.where(np.arange(n) < 25, 0.3, 0.02) + rng.normal(0, 0.1, n)
    fast = {"truth": teacher["truth"] - loss}
    parts = {"category": ["a" if i < 25 else "b" for i in range(n)]}
    made = evidence({"teacher": teacher, "fast": fast}, columns=COLUMNS[1:2], facets=parts)
    found, tests = sentences(board_of(made), COLUMNS)
    inside = np.arange(n) < 25
    p = {
        "all": stats.sign_flip(loss),
        "a": stats.permutation(loss, inside),
        "b": stats.permutation(loss, ~inside),
    }
    if stats.sign_flip_bound(loss) < 1e-4:
        p["all"] = stats.sign_flip_bound(loss)
    assert tests == 3
    assert {told.slice: told.p_adjusted for told in found} == pytest.approx(
        {"category: a": stats.holm(p)["a"]}
    )


def test_every_sampler_has_its_turn_before_the_eighth_sentence() -> None:
    """Twelve samplers lose on everything: each is named once at most, the worst of them."""
    n = 100
    rng = np.random.default_rng(0)
    teacher = {"ocr": rng.random(n), "truth": rng.random(n)}
    fast = {
        f"s{i:02d}": {c: v - 0.05 * (i + 1) + rng.normal(0, 0.02, n) for c, v in teacher.items()}
        for i in range(12)
    }
    made = evidence({"teacher": teacher, **fast}, columns=COLUMNS[:2])
    found, tests = sentences(board_of(made), COLUMNS)
    assert [told.sampler for told in found] == [f"s{i:02d}" for i in range(11, 3, -1)]
    alone, same = sentences(board_of(made), COLUMNS, "s00")
    assert same == tests
    assert {told.sampler for told in alone} == {"s00"}


# -- causes ------------------------------------------------------------------------------------------------


@dataclass
class Made:
    grid: Grid
    causes: Causes


def explained(
    values: dict[str, Any],
    notes: dict[str, dict[str, list[Any]]] | None = None,
    *,
    wanted: dict[str, str] | None = None,
    columns: list[Any] = COLUMNS,
    seed: int = 100,
) -> Made:
    """The causes of a board; ``notes`` is {sampler: {note: [text of each prompt]}}."""
    made = evidence(values, columns=columns, seed=seed)
    grid = board_of(made)
    records = made.samples[["model", "prompt_set", "sampler", "prompt_id", "index"]].copy()
    for sampler, own in (notes or {}).items():
        for note, texts in own.items():
            records.loc[records["sampler"] == sampler, note] = texts
    return Made(grid, Causes(grid, columns, drops(grid, columns), records, wanted))


def test_causes_of_an_image_with_notes() -> None:
    made = explained(
        {
            "teacher": {"ocr": [1.0, 0.2, 0.9], "truth": [0.8, 0.8, 0.8]},
            "fast": {"ocr": [0.25, 0.0, 0.9], "truth": [0.6, 0.8, 0.8]},
        },
        {
            "teacher": {"ocr_read": ["OPEN NOW", "", "A"], "truth_missing": ["size", "", ""]},
            "fast": {"ocr_read": ["0PEN / NO", "", "A"], "truth_missing": ["size, colour 2", "", ""]},
        },
        wanted={"p000": "OPEN NOW", "p001": "SALE", "p002": "a!"},
    )
    assert made.causes.of(1, 0) == [
        'wanted "OPEN NOW", read "0PEN NO"',
        "truth: missing colour 2 (right in teacher's image)",
        "truth: missing size (so in teacher's image too)",
        "OCR words fell from 1.000 to 0.250 (teacher at the same noise)",
        "Truth fell from 0.800 to 0.600 (teacher at the same noise)",
    ]
    assert made.causes.of(1, 1) == [
        'wanted "SALE", no text was read',
        "OCR words fell from 0.200 to 0.000 (teacher at the same noise)",
        "teacher failed too: OCR words 0.200, its mean is 0.700",
    ]
    assert made.causes.of(1, 2) == []  # only case and punctuation differ
    assert made.causes.texts(1, 0) == [("ocr_read", "OPEN NOW", "0PEN NO")]


def test_causes_from_questions_faults_and_reasons() -> None:
    values = {"teacher": {"truth": [1.0]}, "fast": {"truth": [0.5]}}
    notes = {
        "teacher": {
            "dsg_missing[a-judge]": ["2 Is it red, or blue?"],
            "geneval_faults[mask]": [""],
            "geneval_reason[official]": [None],
        },
        "fast": {
            "dsg_missing[a-judge]": ["1 Is there a car, say?, 2 Is it red, or blue?"],
            "geneval_faults[mask]": ["car: 1 of 2; dog: red, blue, not green"],
            "geneval_reason[official]": ["expected car>=2, found 1\nexpected left of"],
        },
    }
    assert explained(values, notes).causes.of(1, 0)[:-1] == [
        "dsg[a-judge]: answered no: Is there a car, say? (right in teacher's image)",
        "dsg[a-judge]: answered no: Is it red, or blue? (so in teacher's image too)",
        "geneval[mask]: wrong car: 1 of 2; dog: red, blue, not green (right in teacher's image)",
        "geneval[official]: wrong expected car>=2, found 1; expected left of",
    ]


def test_two_readers_that_differ_are_named_and_those_that_agree_are_not() -> None:
    values = {"teacher": {"ocr": [1.0, 1.0]}, "fast": {"ocr": [0.5, 0.5]}}
    notes = {"fast": {"ocr_read": ["OPEM", "X"], "longtext_read[judge]": ["OPFN", "X"]}}
    found = explained(values, notes, wanted={"p000": "OPEN", "p001": "Y"}).causes
    assert found.of(1, 0)[:2] == [
        'ocr: wanted "OPEN", read "OPEM"',
        'longtext[judge]: wanted "OPEN", read "OPFN"',
    ]
    assert found.of(1, 1)[:1] == ['wanted "Y", read "X"']


def test_causes_of_broken_images_need_no_notes() -> None:
    columns = [
        *COLUMNS,
        *(
            column(n, kind="unit", better="lower", flag=True, headline=False)
            for n in ("failed", "non_finite", "black")
        ),
    ]
    good = {"truth": [1.0, 1.0], "failed": [0.0, 1.0], "non_finite": [0.0, 0.0], "black": [0.0, 1.0]}
    bad = {"truth": [0.0, 0.0], "failed": [1.0, 1.0], "non_finite": [1.0, 0.0], "black": [1.0, 1.0]}
    made = evidence({"teacher": good, "fast": bad}, columns=columns)
    grid = board_of(made)
    causes = Causes(grid, columns, drops(grid, columns))
    assert causes.of(1, 0)[:2] == ["the image has non-finite numbers", "the image is black all over"]
    assert causes.of(1, 1)[0] == "the image is black all over, teacher's too"


def test_less_is_better_rises_and_other_noise_is_not_called_the_same() -> None:
    values = {"teacher": {"edits": [1.0, 9.0, 2.0]}, "fast": {"edits": [7.0, 10.0, 2.0]}}
    found = explained(values, seed=-1).causes
    assert found.of(1, 0) == ["Edits rose from 1.0 to 7.0 (teacher on the same prompt)"]
    assert found.of(1, 1) == [
        "Edits rose from 9.0 to 10.0 (teacher on the same prompt)",
        "teacher failed too: Edits 9.0, its mean is 4.0",
    ]


# -- texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "read", "expected"),
    [
        ("OPEN", "OPEN", "OPEN"),
        ("OPEN", "open!", "OPEN"),
        ("OPEN", "OPFN", "OP[-E-]{+F+}N"),
        ("OPEN", "SHUT", "[-OPEN-]{+SHUT+}"),
        ("OPEN", "", "[-OPEN-]"),
        ("", "OPEN", "{+OPEN+}"),
        ("THE OPEN DOOR", "THE DOOR", "THE[- OPEN-] DOOR"),
        ("OPEN DOOR", "OPEN THE DOOR", "OPEN{+ THE+} DOOR"),
        ("FRESH BREAD", "FRESH BRED TODAY", "FRESH BRE[-A-]D{+ TODAY+}"),
        ("\u65b0\u5e74\u5feb\u4e50", "\u65b0\u5e74\u5feb\u9910", "\u65b0\u5e74\u5feb[-\u4e50-]{+\u9910+}"),
    ],
)
def test_a_difference_of_texts_is_marked(wanted: str, read: str, expected: str) -> None:
    assert marked(diff(wanted, read)) == expected


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_the_pieces_give_back_both_texts(wanted: str, read: str) -> None:
    pieces = diff(wanted, read)
    assert "".join(text for op, text in pieces if op != "+") == " ".join(wanted.split())
    theirs = "".join(text for op, text in pieces if op != "-")
    if (
        wanted.lower() == wanted
        and read.lower() == read
        and wanted.replace(" ", "").isascii()
        and read.isascii()
    ):
        letters = [c for c in theirs if c.isalnum()]
        assert letters == [c for c in read if c.isalnum()]
    assert all(a[0] != b[0] for a, b in zip(pieces, pieces[1:], strict=False))


def test_long_and_hostile_texts_are_compared_in_time() -> None:
    started = time.process_time()
    pieces = diff("ab " * 3000, "ba " * 3000 + "\u202e<script>\ud800")
    assert pieces
    assert diff("x" * 10_000, "x" * 9_999 + "y")
    assert time.process_time() - started < 3


# -- bad input ---------------------------------------------------------------------------------------------


def whole(made: Any, **others: Any) -> dict[str, Any]:
    return document(board_of(made), made.results["columns"], **others)


def test_one_sampler_has_nothing_to_lose_against() -> None:
    found = whole(evidence({"teacher": {"truth": [0.5, 0.7]}}, columns=COLUMNS[1:2]))
    assert (found["columns"], found["sentences"], found["causes"], found["tests"]) == (["overall"], [], {}, 0)


def test_one_prompt_is_ranked_and_never_tested() -> None:
    found = whole(evidence({"teacher": {"truth": [0.9]}, "fast": {"truth": [0.3]}}, columns=COLUMNS[1:2]))
    assert found["causes"] == {"1/0": ["Truth fell from 0.900 to 0.300 (teacher at the same noise)"]}
    assert (found["sentences"], found["tests"]) == ([], 0)


def test_all_ties_and_no_values_at_all() -> None:
    same = {"truth": np.full(30, 0.4), "ocr": np.full(30, np.nan)}
    found = whole(evidence({"teacher": same, "fast": same}, columns=COLUMNS[:2]))
    assert (found["columns"], found["sentences"], found["causes"]) == (["overall", "truth"], [], {})
    nothing = {"truth": np.full(30, np.nan)}
    found = whole(evidence({"teacher": same, "fast": nothing}, columns=COLUMNS[:2]))
    assert (found["columns"], found["sentences"], found["causes"]) == (["overall"], [], {})


def test_values_that_are_missing_or_infinite_are_no_drops() -> None:
    teacher = {"truth": np.array([1.0, np.nan, np.inf, 1.0] * 10)}
    fast = {"truth": np.array([0.5, 0.5, 0.5, np.nan] * 10)}
    made = evidence({"teacher": teacher, "fast": fast}, columns=COLUMNS[1:2])
    grid = board_of(made)
    drop = drops(grid, COLUMNS)["truth"][1]
    assert np.array_equal(drop, [0.5, np.nan, np.nan, np.nan] * 10, equal_nan=True)
    (told,) = sentences(grid, COLUMNS)[0]
    assert told.text == (
        "fast loses 0.500 in Truth on all prompts it applies to (95 % interval 0.500 to 0.500, 10 prompts)"
    )


def test_hostile_names_and_texts_are_kept_as_they_are() -> None:
    """What shows them escapes markup; control and direction characters are spelt out, in names as in texts."""
    evil = '<img onerror=x> </script> \u202e "q" \x1b[31m'
    n = 40
    parts = {"category": [evil if i % 2 else "" for i in range(n)]}
    values = {evil: {"truth": np.ones(n)}, f"{evil}2": {"truth": np.where(np.arange(n) % 2, 0.2, 1.0)}}
    made = evidence(values, columns=[column("truth", title=evil)], facets=parts)
    records = made.samples[["model", "prompt_set", "sampler", "prompt_id", "index"]].assign(
        ocr_read=evil * 300
    )
    prompts = [Prompt(f"p{i:03d}", evil, evil, (evil,) * 100) for i in range(n)]
    found = whole(made, records=records, prompts=prompts)
    (told,) = found["sentences"]
    assert told["facets"] == {"category": visible(evil)}
    assert told["sampler"] == visible(f"{evil}2")
    causes = found["causes"]["1/1"]
    assert causes[0].startswith(f'wanted "{visible(evil)}')
    assert not any(c in text for text in [told["text"], *causes] for c in "\x1b\u202e")
    assert max(map(len, causes)) < 800


def test_the_document_limits_causes_and_is_the_same_each_time() -> None:
    made, _ = random_board(4)
    found = whole(made, most=3)
    samplers = {key.partition("/")[0] for key in found["causes"]}
    assert samplers == {"1", "2"}
    assert len(found["causes"]) <= 2 * 4 * 3
    assert found == whole(made, most=3)
    assert found["schema"] == "glance-bench/failures/1"
    assert found["reference"] == "teacher"
