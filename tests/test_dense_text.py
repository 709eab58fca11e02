"""The dense-text prompts: the table that their module promises, and that each asks for just the text it names."""

import re
import unicodedata
from collections import Counter
from itertools import product

import pytest

from glance_bench.metrics.ocr import normalise
from glance_bench.metrics.text_match import has_chinese, official_text
from glance_bench.prompts import Prompt
from glance_bench.prompts.dense_text import load

PROMPTS = load().prompts
LAYOUTS = ("sign", "poster", "page", "screen", "label")
LENGTHS = {"1-3": (1, 3), "4-8": (4, 8), "9-20": (9, 20), "21-50": (21, 50), "51-120": (51, 120)}
GLYPHS = {"1-3": (4, 2, 2), "4-8": (3, 3, 2), "9-20": (1, 4, 3), "21-50": (0, 4, 4), "51-120": (0, 0, 8)}
ASKED_AS = {"large": "large|huge|giant|big", "medium": "medium-sized", "small": "small|tiny"}


def whole(prompt: Prompt) -> str:
    return " ".join(prompt.wanted_text)


def count_words(text: str) -> int:
    if has_chinese(text):
        return len(re.findall("[\u4e00-\u9fa5]|[A-Za-z0-9][A-Za-z0-9:.,/-]*", text))
    return len(text.split())


def test_the_table_is_balanced() -> None:
    assert len(PROMPTS) == 200
    for layout, length in product(LAYOUTS, LENGTHS):
        cell = [p.meta for p in PROMPTS if p.category == layout and p.meta["length_class"] == length]
        assert len(cell) == 8
        assert Counter(m["script"] for m in cell) == {"ascii": 4, "accented": 2, "chinese": 2}
        assert Counter(m["case"] for m in cell) == {"upper": 2, "mixed": 3, "lower": 1, "none": 2}
        glyphs = Counter(m["glyph"] for m in cell)
        assert tuple(glyphs[size] for size in ("large", "medium", "small")) == GLYPHS[length]
    for layout in LAYOUTS:
        features = Counter(f for p in PROMPTS if p.category == layout for f in p.meta["features"])
        assert features == {"digits": 20, "punctuation": 22}


def test_texts_reach_from_one_word_to_120() -> None:
    words = [prompt.meta["words"] for prompt in PROMPTS]
    assert min(words) == 1 and max(words) == 120 and sum(words) > 5000


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.id)
def test_a_prompt_is_what_its_fields_say(prompt: Prompt) -> None:
    text, meta = whole(prompt), prompt.meta
    assert re.findall('"([^"]*)"', prompt.text) == list(prompt.wanted_text)
    assert set(meta) == {"glyph", "length_class", "words", "script", "case", "features"}

    low, high = LENGTHS[meta["length_class"]]
    assert meta["words"] == count_words(text) and low <= meta["words"] <= high

    accents = [c for c in text if c.isalpha() and not c.isascii()]
    script = "chinese" if has_chinese(text) else "accented" if accents else "ascii"
    assert meta["script"] == script
    case = "upper" if text == text.upper() else "lower" if text == text.lower() else "mixed"
    assert meta["case"] == ("none" if script == "chinese" else case)
    kinds = {unicodedata.category(c)[0] for c in text}
    found = ["digits"] * any(c.isdigit() for c in text) + ["punctuation"] * bool(kinds & {"P", "S"})
    assert meta["features"] == found

    scene = re.sub('"[^"]*"', "", prompt.text)
    asked = [size for size, words in ASKED_AS.items() if re.search(rf"\b({words})\b", scene)]
    assert asked == [meta["glyph"]]
    assert scene.isascii(), "scenes are in English"


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.id)
def test_a_text_is_clean(prompt: Prompt) -> None:
    text = prompt.text
    assert text == unicodedata.normalize("NFC", text) == " ".join(text.split())
    for line in prompt.wanted_text:
        assert line == line.strip() and normalise(line) and official_text(line)
    allowed = {
        "ascii": r"[ -~]",
        "accented": r"[ -~€°«»¡]|[^\W\d_]",
        "chinese": "[ -~、。《》！，：；？（）]|[\u4e00-\u9fa5]",
    }
    assert re.fullmatch(f"(?:{allowed[prompt.meta['script']]})+", whole(prompt))
    letters = {unicodedata.name(c).split()[0] for c in whole(prompt) if c.isalpha()}
    assert letters <= ({"LATIN", "CJK"} if prompt.meta["script"] == "chinese" else {"LATIN"})


def test_no_two_are_alike() -> None:
    assert len({prompt.id for prompt in PROMPTS}) == len({prompt.text for prompt in PROMPTS}) == 200
    assert len({normalise(whole(prompt)) for prompt in PROMPTS}) == 200
    scenes = [normalise(re.sub('"[^"]*"', "", prompt.text)).split() for prompt in PROMPTS]
    assert max(Counter(" ".join(words[:4]) for words in scenes).values()) <= 2, "no template opens the scenes"
    lines = Counter(normalise(line) for prompt in PROMPTS for line in prompt.wanted_text)
    assert [line for line, n in lines.items() if n > 1 and len(line.split()) > 2] == []


def test_every_prefix_is_spread_over_the_strata() -> None:
    for start in range(0, 200, 5):
        assert {p.category for p in PROMPTS[start : start + 5]} == set(LAYOUTS)
    assert {p.meta["length_class"] for p in PROMPTS[:5]} == set(LENGTHS)
    for start in range(0, 200, 25):
        block = PROMPTS[start : start + 25]
        assert len({(p.category, p.meta["length_class"]) for p in block}) == 25
    first = PROMPTS[:20]
    assert {n for _, n in Counter(p.category for p in first).items()} == {4}
    assert {n for _, n in Counter(p.meta["length_class"] for p in first).items()} == {4}
    assert Counter(p.meta["script"] for p in first) == {"ascii": 10, "accented": 5, "chinese": 5}
    assert {p.meta["glyph"] for p in first} == {"large", "medium", "small"}


def test_loading_is_deterministic_and_a_limit_is_a_prefix() -> None:
    again = load()
    assert (again.name, again.revision, again.prompts) == ("dense-text", "af6458de03e9", PROMPTS)
    assert load(20).prompts == PROMPTS[:20] and load(1000).prompts == PROMPTS
    assert [prompt.id for prompt in PROMPTS] == [f"dense-{i:03d}" for i in range(200)]
