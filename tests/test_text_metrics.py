"""oneig_text and longtext against numbers worked out by hand, with readers that say what the test tells them to."""

import ast
import csv
import io
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from glance_bench.metrics import ocr
from glance_bench.metrics.base import TotalledMetric
from glance_bench.metrics.longtext import LongText, judged_longtext, rapidocr_longtext
from glance_bench.metrics.oneig_text import OneigText, judged_oneig_text, product_score, rapidocr_oneig_text
from glance_bench.metrics.readers import INSTRUCTION, JudgeReader
from glance_bench.metrics.text_match import levenshtein, matched, ned_similarity, official_text
from glance_bench.prompts import Prompt
from glance_bench.prompts.dense_text import load

SHARED = Path(os.environ.get("GLANCE_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
Metric = OneigText | LongText


def prompt(*wanted: str, meta: Mapping[str, Any] | None = None) -> Prompt:
    return Prompt("p", "a prompt", "x", wanted, meta or {})


class Says:
    """A reader that gives the answers it is made with, in order."""

    name = "says"
    recipe = "says what it is told"

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.tokens: list[int] = []

    def read(self, images: np.ndarray, tokens: Sequence[int]) -> list[str | None]:
        self.tokens += tokens
        said, self.answers = self.answers[: len(images)], self.answers[len(images) :]
        return said


def frame(metric: Metric, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as the records of a run hold them: every column, NaN where a row left it out."""
    made = pd.DataFrame(list(rows), columns=[*(c.name for c in metric.columns), *metric.notes])
    return made.assign(prompt_id=[str(i) for i in range(len(rows))], index=0)


def totals(metric: Metric, prompts: Sequence[Prompt]) -> dict[str, float]:
    """The totals by the name's last part: "oneig_text", "oneig_text_ed", ..."""
    rows = frame(metric, metric.score(np.zeros((len(prompts), 8, 8, 3), np.uint8), prompts))
    return {total.column.name.split("[")[0]: total.of(rows) for total in metric.totals}


# preprocessing and matching


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("COVID-19", "COVID19"),
        ("Open 24/7!", "Open 247"),
        ("Read\tMORE \n\n now\u00a0", "Read MORE now"),
        ("Crème BRÛLÉE à 5 €", "Crème BRÛLÉE à 5"),
        ("el señor Łukasz", "el seor ukasz"),  # not among the letters of the list
        ("cafe\u0301", "cafe"),  # a combining accent is none of them either
        ("每日 新鲜，OPEN 9:30\n入口", "每日新鲜OPEN930入口"),
        ("\u202eabc\u202c \x00\x1b[0m", "abc 0m"),
        ("😀 ・ ...", ""),
        ("", ""),
    ],
)
def test_official_text(text: str, kept: str) -> None:
    assert official_text(text) == kept
    assert official_text(kept) == kept


def test_official_text_can_be_told_the_language() -> None:
    assert official_text("ab 中 c", chinese=False) == "ab 中 c"
    assert official_text("ab c", chinese=True) == "abc"


def slow_levenshtein(a: str, b: str) -> int:
    """The textbook table, in full."""
    table = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (x != y))
    return table[-1][-1]


@given(st.text("ab é中😀", max_size=12), st.text("ab é中😀", max_size=12))
def test_levenshtein_is_the_textbook_one(a: str, b: str) -> None:
    assert levenshtein(a, b) == slow_levenshtein(a, b)
    longest = max(len(a), len(b))
    assert ned_similarity(a, b) == (1 - slow_levenshtein(a, b) / longest if longest else 1)


def test_levenshtein_by_hand() -> None:
    assert levenshtein("kitten", "sitting") == levenshtein("sitting", "kitten") == 3
    assert levenshtein("", "abc") == 3
    assert ned_similarity("kitten", "sitting") == 1 - 3 / 7
    assert ned_similarity("", "") == 1 and ned_similarity("", "a") == 0


def test_matched_is_a_multiset_intersection() -> None:
    assert matched(["the", "cat", "the", "hat"], ["a", "hat", "the", "the", "the"]) == 3
    assert matched("aab", "abb") == 2 and matched("", "abc") == 0


def test_a_thousand_long_readings_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcde fgh "), 1500)) for _ in range(40)]
    metric = OneigText(Says(*(texts[i % 40] for i in range(1000))))
    began = time.perf_counter()
    totals(metric, [prompt(texts[(i + 1) % 40]) for i in range(1000)])
    assert time.perf_counter() - began < 10  # 2.25 billion cells of the table: many minutes in Python


# OneIG


def test_product_score_by_hand() -> None:
    assert product_score(20, 0.5, 0.8, 100) == pytest.approx(0.98)  # 1 - 0.2 x 0.5 x 0.2
    assert product_score(50, 0.2, 0.5, 100) == pytest.approx(0.80)  # 1 - 0.5 x 0.8 x 0.5
    assert product_score(20, 0.5, 0.8, 50) == pytest.approx(0.96)  # 1 - 0.4 x 0.5 x 0.2
    assert product_score(100, 0, 0, 100) == product_score(700, 0, 0, 100) == 0
    assert product_score(0, 1, 1, 100) == 1


def test_worked_example_of_two_images() -> None:
    # the second image: "aaaa bbbb" became 40 z: 40 edits, 3 of 5 words
    metric = OneigText(Says("Five words stand here now.", "one two three " + 40 * "z"))
    found = totals(metric, [prompt("Five words", "stand here now"), prompt("one two three aaaa bbbb")])
    assert found["oneig_text_ed"] == 20 and found["oneig_text_cr"] == 0.5
    assert found["oneig_text_wac"] == pytest.approx(0.8)
    assert found["oneig_text"] == pytest.approx(0.98)


def test_worked_example_of_five_images() -> None:
    # 62 + 63 + 62 + 63 edits over 5 images are 50; 4 + 2 + 2 + 1 + 1 of 20 words are a half
    said = ["aa bb cc dd", "aa bb " + 62 * "z", "aa bb " + 63 * "z", "aa " + 62 * "z", "aa " + 63 * "z"]
    found = totals(OneigText(Says(*said)), [prompt("aa bb cc dd")] * 5)
    parts = (found["oneig_text_ed"], found["oneig_text_cr"], found["oneig_text_wac"])
    assert parts == pytest.approx((50, 0.2, 0.5))
    assert found["oneig_text"] == pytest.approx(0.80)


def test_no_text_at_all_scores_zero_once_the_texts_are_long() -> None:
    long = " ".join(["twelve chars"] * 10)  # 129 characters
    assert totals(OneigText(Says("")), [prompt(long)])["oneig_text"] == 0
    assert totals(OneigText(Says("")), [prompt("ten chars!")])["oneig_text"] == pytest.approx(0.91)


def test_case_counts_and_punctuation_does_not() -> None:
    (row,) = OneigText(Says("OPEN 247")).score(np.zeros((1, 8, 8, 3), np.uint8), [prompt("Open", "24/7")])
    assert row["oneig_text_edits[says]"] == 3 and row["oneig_text_exact[says]"] == 0
    assert (row["oneig_text_matched[says]"], row["oneig_text_wanted[says]"]) == (1, 2)
    assert row["oneig_text_read[says]"] == "OPEN 247"
    assert totals(OneigText(Says("COVID 19")), [prompt("COVID-19")])["oneig_text_ed"] == 1


def test_chinese_is_counted_in_characters_and_capped_at_50() -> None:
    metric = OneigText(Says("水深 游泳"))
    found = totals(metric, [prompt("水深危险", "请勿游泳")])
    assert (found["oneig_text_ed"], found["oneig_text_cr"], found["oneig_text_wac"]) == (4, 0, 0.5)
    assert found["oneig_text"] == pytest.approx(1 - 4 / 50 * 0.5)
    assert totals(OneigText(Says("")), [prompt("字" * 50)])["oneig_text"] == 0


def test_a_set_in_two_languages_is_the_mean_of_both_by_images() -> None:
    prompts = [prompt("水深危险"), prompt("aa bb"), prompt("cc dd"), prompt("ee ff")]
    found = totals(OneigText(Says("水深", "aa", "cc dd", "ee ff")), prompts)
    accuracy, english = 5 / 6, 1 - (3 / 3) / 100 * (1 / 3) * (1 / 6)
    chinese = 1 - 2 / 50 * 1 * 0.5
    assert found["oneig_text"] == pytest.approx((chinese + 3 * english) / 4)
    assert found["oneig_text_wac"] == pytest.approx((0.5 + 3 * accuracy) / 4)
    assert found["oneig_text_ed"] == pytest.approx((2 + 3) / 4) and found["oneig_text_cr"] == 0.5


def test_a_stray_chinese_character_costs_the_spaces_as_it_does_officially() -> None:
    found = totals(OneigText(Says("OPEN DAILY 中")), [prompt("OPEN DAILY")])
    assert found["oneig_text_wac"] == 0 and found["oneig_text_ed"] == 2


@pytest.mark.parametrize(
    ("said", "edits"),
    [
        ("No text recognized.", 4),  # nothing is left: "Exit" is missing
        ("No text recognized", 16),  # without its period it is taken for three words
        ("Exit\nNo text recognized.", 0),
        ("addCriterionExit", 0),
    ],
)
def test_phrases_that_models_say_are_removed(said: str, edits: int) -> None:
    (row,) = OneigText(Says(said)).score(np.zeros((1, 8, 8, 3), np.uint8), [prompt("Exit")])
    assert row["oneig_text_edits[says]"] == edits


def test_prompts_without_text_to_judge_get_no_row() -> None:
    for metric in (OneigText(Says("Exit")), LongText(Says("Exit"))):
        rows = metric.score(np.zeros((3, 8, 8, 3), np.uint8), [prompt(), prompt("?!"), prompt("Exit")])
        assert rows[:2] == [{}, {}] and rows[2]
        with pytest.raises(ValueError, match="1 images for 2 prompts"):
            metric.score(np.zeros((1, 8, 8, 3), np.uint8), [prompt("a"), prompt("b")])
        assert all(np.isnan(total.of(frame(metric, [{}]))) for total in metric.totals)


def test_the_printed_list_keeps_the_official_newline_defect(tmp_path: Path) -> None:
    """200 texts, 17 line breaks in the last 5, in a file of the official form; read back perfectly."""
    texts = [f"Shop {i}" for i in range(195)]
    texts += ["ab\ncd\nef\ngh"] * 3 + ["ab\ncd\nef\ngh\nij"] * 2
    path = tmp_path / "text_content.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["id", "text_content"], *([f"{i:03d}", [t]] for i, t in enumerate(texts))]
        )
    with path.open(newline="") as file:
        printed = [row["text_content"] for row in csv.DictReader(file)]
    assert printed[195] == r"['ab\ncd\nef\ngh']"
    found = totals(OneigText(Says(*texts)), [prompt(text) for text in printed])
    assert found["oneig_text_ed"] == pytest.approx(0.085)  # 3 x 3 + 2 x 4 spaces became n
    assert found["oneig_text_cr"] == pytest.approx(0.975)
    assert found["oneig_text_wac"] == pytest.approx(390 / 395)  # each of the five is one wrong word
    assert found["oneig_text"] == pytest.approx(1 - 0.00085 * 0.025 * 5 / 395, abs=1e-12)
    parsed = totals(OneigText(Says(*texts)), [prompt(*ast.literal_eval(text)) for text in printed])
    assert parsed == {"oneig_text": 1, "oneig_text_ed": 0, "oneig_text_cr": 1, "oneig_text_wac": 1}


# LongText


def test_pooled_recall_by_hand() -> None:
    # 3 of 4 ("day" is missing, one "fresh" is enough) and 1 of 6 words: 0.4 pooled, where the mean of both is 0.458
    metric = LongText(Says("DAILY bread, fresh fresh fresh", "alpha"))
    prompts = [prompt("Fresh bread", "DAY, daily"), prompt("alpha beta gamma delta epsilon zeta")]
    found = totals(metric, prompts)
    assert found["longtext"] == pytest.approx((3 + 1) / (4 + 6))
    assert found["longtext_precision"] == pytest.approx((3 + 1) / (5 + 1))


def test_recall_is_free_of_order_and_of_extra_words_and_precision_is_not() -> None:
    found = totals(LongText(Says("c b a " + "x " * 97)), [prompt("a b c")])
    assert found["longtext"] == 1 and found["longtext_precision"] == pytest.approx(0.03)
    assert found["longtext_ned_similarity"] < 0.03


def test_edit_similarity_is_a_mean_over_images() -> None:
    found = totals(LongText(Says("Kitten", "")), [prompt("sitting"), prompt("a")])
    assert found["longtext_ned_similarity"] == pytest.approx(((1 - 3 / 7) + 0) / 2)


def test_nothing_read_has_a_recall_but_no_precision() -> None:
    found = totals(LongText(Says("No text recognized.")), [prompt("a b")])
    assert found["longtext"] == 0 and np.isnan(found["longtext_precision"])


def test_longtext_in_chinese_counts_characters() -> None:
    found = totals(
        LongText(Says("新鲜 每日")), [prompt("每日新鲜烘焙", "since 1998", meta={"language": "zh"})]
    )
    assert found["longtext"] == pytest.approx(4 / 15)  # 6 characters, 5 letters, 4 digits
    assert found["longtext_precision"] == 1
    kept = LongText(Says("Abc")).score(
        np.zeros((1, 8, 8, 3), np.uint8), [prompt("abc", meta={"language": "zh"})]
    )
    assert kept[0]["longtext_matched[says]"] == 2, "case is kept in Chinese"


def test_longtext_in_english_keeps_its_spaces_beside_chinese() -> None:
    assert totals(LongText(Says("OPEN DAILY 中")), [prompt("Open daily")])["longtext"] == 1
    english = prompt("Open 中 daily", meta={"language": "en"})
    assert totals(LongText(Says("daily")), [english])["longtext"] == pytest.approx(1 / 3)


def test_longtext_removes_one_phrase_only() -> None:
    (row,) = LongText(Says("addCriterion exit No text recognized.")).score(
        np.zeros((1, 8, 8, 3), np.uint8), [prompt("exit")]
    )
    assert row["longtext_found[says]"] == 2 and row["longtext_matched[says]"] == 1


def test_short_and_long_are_apart() -> None:
    prompts = [
        prompt("a b", meta={"length": "short"}),
        prompt("a b c d", meta={"length": "long"}),
        prompt("z"),
    ]
    found = totals(LongText(Says("a", "a b c", "z")), prompts)
    assert (found["longtext_short_recall"], found["longtext_long_recall"]) == (0.5, 0.75)
    assert found["longtext"] == pytest.approx(5 / 7)
    headline = {total.column.name: total.column.headline for total in LongText(Says()).totals}
    assert [name for name, shown in headline.items() if not shown] == [
        "longtext_short_recall[says]",
        "longtext_long_recall[says]",
    ]


# the readers


class FakeJudge:
    name = "fake-judge"
    recipe = "fake-judge: weights 123"

    def __init__(self, answers: Mapping[int, str | None]) -> None:
        self.answers = answers  # by the red value of the image's first pixel
        self.calls: list[tuple[list[int], list[str], int]] = []
        self.seen: list[np.ndarray] = []

    def answer(self, images: np.ndarray, questions: Sequence[str], *, tokens: int = 0) -> list[str | None]:
        reds = [int(image[0, 0, 0]) for image in images]
        self.calls.append((reds, list(questions), tokens))
        self.seen += list(images)
        return [self.answers[red] for red in reds]


def flat(*reds: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 3), red, np.uint8) for red in reds])


def test_a_judge_is_asked_with_the_tokens_of_the_protocol() -> None:
    judge = FakeJudge({10: "a", 20: "b", 30: "c"})
    sixty, more = prompt(" ".join(["w"] * 60)), prompt(" ".join(["w"] * 30), " ".join(["w"] * 31))
    OneigText(JudgeReader(judge)).score(flat(10, 20, 30), [more, sixty, more])
    assert judge.calls == [([20], [INSTRUCTION], 128), ([10, 30], [INSTRUCTION] * 2, 256)]
    judge.calls.clear()
    LongText(JudgeReader(judge)).score(flat(10, 20), [more, sixty])
    assert judge.calls == [([10, 20], [INSTRUCTION] * 2, 1024)]


def test_answers_return_to_their_own_images() -> None:
    judge = FakeJudge({10: "ten", 20: "twenty", 30: "thirty"})
    assert JudgeReader(judge).read(flat(30, 10, 20), [256, 128, 256]) == ["thirty", "ten", "twenty"]


def test_an_image_without_an_answer_lowers_the_coverage_and_nothing_else() -> None:
    for metric, score in ((OneigText, "oneig_text"), (LongText, "longtext")):
        judge = FakeJudge({10: "aa bb", 20: None, 30: "aa"})
        made = metric(JudgeReader(judge))
        rows = made.score(flat(10, 20, 30), [prompt("aa bb")] * 3)
        assert rows[1] == {f"{score}_unread[fake-judge]": 1.0}
        assert [row[f"{score}_unread[fake-judge]"] for row in rows] == [0, 1, 0]
        (unread,) = (c for c in made.columns if c.name == f"{score}_unread[fake-judge]")
        assert not unread.headline and unread.description.startswith("share of images")
        whole, without = frame(made, rows), frame(made, [rows[0], rows[2]])
        values = [(total.of(whole), total.of(without)) for total in made.totals]
        assert all(a == b or (np.isnan(a) and np.isnan(b)) for a, b in values)
        assert values[0][0] == pytest.approx(3 / 4 if score == "longtext" else 1 - 1.5 / 100 * 0.5 * 0.25)


def test_oneig_shows_the_judge_jpeg_copies_of_quality_75() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=75)
    judge = FakeJudge(dict.fromkeys(range(256), "x"))
    JudgeReader(judge, jpeg=True).read(image[None], [128])
    JudgeReader(judge).read(image[None], [128])
    assert (judge.seen[0] == np.asarray(Image.open(buffer))).all() and (judge.seen[0] != image).any()
    assert (judge.seen[1] == image).all()


def test_recipes_say_how_text_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    make = ModuleType("glance_bench.judges.make")
    make.judge = lambda name: FakeJudge({})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "glance_bench.judges.make", make)
    one, long = judged_oneig_text("fake-judge"), judged_longtext("fake-judge")
    assert (one.name, long.name) == ("oneig_text[fake-judge]", "longtext[fake-judge]")
    assert "JPEG" in one.recipe and "JPEG" not in long.recipe and INSTRUCTION in one.recipe
    assert "our own instruction" in one.recipe and FakeJudge.recipe in long.recipe
    other = JudgeReader(FakeJudge({}), instruction="Official words")
    assert "the user's instruction 'Official words'" in OneigText(other).recipe
    assert "PP-OCRv6" in rapidocr_oneig_text().recipe and rapidocr_longtext().name == "longtext[rapidocr]"
    for metric in (one, long, rapidocr_oneig_text(), rapidocr_longtext()):
        assert isinstance(metric, TotalledMetric)
        names = [c.name for c in metric.columns] + [t.column.name for t in metric.totals]
        assert len(names) == len(set(names)) and all(name.endswith("]") for name in names)


def drawn(*lines: str) -> np.ndarray:
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    image = Image.new("RGB", (320, 160), "white")
    text = ImageDraw.Draw(image)
    text.multiline_text((16, 24), "\n".join(lines), "black", ImageFont.truetype(str(font), 22), spacing=14)
    return np.asarray(image)


def test_rapidocr_end_to_end() -> None:
    images = np.stack([drawn("Open 24/7", "No dogs"), drawn("Fresh braed", "daily"), drawn()])
    prompts = [prompt("Open 24/7", "No dogs"), prompt("Fresh bread", "daily"), prompt("Nothing here")]
    one, long = rapidocr_oneig_text(), rapidocr_longtext()
    rows = one.score(images, prompts)
    assert [row["oneig_text_edits[rapidocr]"] for row in rows] == [0, 2, 12]
    assert [row["oneig_text_matched[rapidocr]"] for row in rows] == [4, 2, 0]
    assert rows[0]["oneig_text_read[rapidocr]"] == "Open 24/7 No dogs"
    pooled = frame(long, long.score(images, prompts))
    assert long.totals[0].of(pooled) == pytest.approx((4 + 2 + 0) / (4 + 3 + 2))


def test_an_image_is_read_once_for_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def once(image: np.ndarray) -> list[str]:
        read.append(int(image[0, 0, 0]))
        return ["EXIT"]

    monkeypatch.setattr(ocr, "_read_one", once)
    monkeypatch.setattr(ocr, "_known", {})
    images = flat(1, 2, 1)
    for metric in (ocr.Ocr(), rapidocr_oneig_text(), rapidocr_longtext()):
        rows = metric.score(images, [prompt("EXIT")] * 3)
        assert len(rows) == 3 and all(rows)
    assert sorted(read) == [1, 2]
    ocr.read_text(flat(1).reshape(1, 4, 16, 3))
    assert sorted(read) == [1, 1, 2], "the same bytes in another shape are another image"


def test_the_metrics_import_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys\nfrom glance_bench.metrics.oneig_text import rapidocr_oneig_text\n"
        "from glance_bench.metrics.longtext import rapidocr_longtext\n"
        "assert rapidocr_oneig_text().recipe and rapidocr_longtext().recipe\n"
        "assert not {'torch', 'rapidocr', 'transformers', 'pandas'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# hostile strings

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(
        st.characters(codec=None, categories=("Cs", "Cc", "Cf", "Co", "Mn", "So", "Zs", "Lo")), max_size=60
    ),
    st.sampled_from(
        [
            "\u202e" * 50 + "OPEN",
            "\x00\x1b]0;title\x07",
            "😀👩‍👩‍👧" * 40,
            "a\u0301\u0489" * 90,
            "é" * 10_000,
            "字 " * 5_000,
        ]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=4), st.sampled_from([OneigText, LongText]))
def test_hostile_strings_are_scored(pairs: list[tuple[str, str]], kind: type[Metric]) -> None:
    metric = kind(Says(*(read for wanted, read in pairs if official_text(wanted))))
    prompts = [prompt(wanted) for wanted, _ in pairs]
    rows = metric.score(np.zeros((len(pairs), 8, 8, 3), np.uint8), prompts)
    judged = [row for row in rows if row]
    numbers = [value for row in judged for name, value in row.items() if name not in metric.notes]
    assert all(isinstance(value, float) and np.isfinite(value) and value >= 0 for value in numbers)
    for total in metric.totals:
        value = total.of(frame(metric, rows))
        assert isinstance(value, float)
        assert np.isnan(value) or 0 <= value <= (20_000 if total.column.better == "lower" else 1 + 1e-12)
    assert bool(judged) == (not np.isnan(metric.totals[0].of(frame(metric, rows))))


@pytest.mark.parametrize(("kind", "name"), [(OneigText, "oneig_text"), (LongText, "longtext")])
def test_what_a_judge_says_can_be_stored(kind: type[Metric], name: str, tmp_path: Path) -> None:
    metric = kind(JudgeReader(FakeJudge({10: "half \ud83d of a pair"})))
    rows = metric.score(flat(10), [prompt("half of a pair")])
    assert rows[0][f"{name}_read[fake-judge]"] == "half ? of a pair"
    frame(metric, rows).to_parquet(tmp_path / "rows.parquet")


@given(HOSTILE, HOSTILE)
@settings(max_examples=60, deadline=None)
def test_the_ocr_metric_takes_them_too(wanted: str, read: str) -> None:
    metric = ocr.Ocr(read=lambda images: [[read]] * len(images))
    (row,) = metric.score(np.zeros((1, 8, 8, 3), np.uint8), [prompt(wanted)])
    assert all(0 <= value <= 1 for value in row.values() if isinstance(value, float))


# perfect readings of whole sets


def perfect(metric: type[Metric], prompts: Sequence[Prompt]) -> dict[str, float]:
    return totals(metric(Says(*("\n".join(p.wanted_text) for p in prompts))), prompts)


def test_dense_text_read_perfectly() -> None:
    prompts = load().prompts
    assert perfect(OneigText, prompts) == {
        "oneig_text": 1, "oneig_text_ed": 0, "oneig_text_cr": 1, "oneig_text_wac": 1,
    }  # fmt: skip
    found = perfect(LongText, prompts)
    assert found["longtext"] == found["longtext_precision"] == found["longtext_ned_similarity"] == 1


@pytest.mark.parametrize(("name", "language"), [("text_prompts", "en"), ("text_prompts_zh", "zh")])
def test_longtext_bench_read_perfectly(name: str, language: str) -> None:
    path = SHARED / "data" / "longtext_bench" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    prompts = [prompt(*e["text"], meta={"language": language, "length": e["length"]}) for e in entries]
    assert len(prompts) == 160
    assert set(perfect(LongText, prompts).values()) == {1.0}
    shuffled = ["\n".join(reversed(p.wanted_text)) for p in prompts]
    assert totals(LongText(Says(*shuffled)), prompts)["longtext"] == 1
    if language == "en":
        spans = [" ".join(re.findall('"([^"]+)"', e["prompt"])) for e in entries]
        assert totals(LongText(Says(*spans)), prompts)["longtext"] == 1, "quoted spans are the wanted text"


@pytest.mark.parametrize(
    ("name", "column", "quoted"),
    [("OneIG-Bench", "prompt_en", '"([^"]+)"'), ("OneIG-Bench-ZH", "prompt_cn", "“([^”]+)”")],
)
def test_oneig_text_rendering_read_perfectly(name: str, column: str, quoted: str) -> None:
    path = SHARED / "data" / "oneig" / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == "Text_Rendering"]
    prompts = [prompt(*texts) for texts in (re.findall(quoted, row[column]) for row in rows) if texts]
    assert (len(rows), len(prompts)) == (200, 193)
    assert perfect(OneigText, prompts)["oneig_text"] == 1
    nothing = totals(OneigText(Says(*[""] * len(prompts))), prompts)
    characters = np.mean([len(official_text(" ".join(p.wanted_text))) for p in prompts])
    assert nothing["oneig_text_ed"] == pytest.approx(characters) and nothing["oneig_text_wac"] == 0
