"""The project's own prompts for text in images: 200, each naming the text that must appear, line by line.

Written for this project and dedicated to the public domain (CC0 1.0), ``dense_text.jsonl`` with them. Every prompt
describes one scene in English and quotes its text in double quotes; the quoted spans, in order, are its lines. No line
has a double quote in it. Texts differ in kind: warnings, opening hours, menus, timetables, letters, recipes, forms,
receipts, log files, poems, care labels.

The table is balanced. Each of 5 layouts has each of 5 length classes 8 times:

=========  =======================  ============================================================
what       values                   prompts
=========  =======================  ============================================================
layout     sign poster page screen  40 each
           label
length     1-3 4-8 9-20 21-50       40 each; words, for Chinese characters and runs of digits or
           51-120                   Latin letters
script     ascii accented chinese   100, 50, 50; in each layout and length 4, 2, 2
case       upper mixed lower none   50, 75, 25, 50; in each layout and length 2, 3, 1, 2 (Chinese)
digits     in 100 of 200            20 in each layout
punct.     in 110 of 200            22 in each layout; symbols such as $ and % count
glyph      large medium small       by length: 20 10 10, 15 15 10, 5 20 15, 0 20 20, 0 0 40, spread
                                    evenly over the layouts
=========  =======================  ============================================================

Glyph size is what the prompt asks for in words: "large" (also huge, big, giant) is about a tenth of the image's height
or more, "medium-sized" a twentieth, "small" (tiny) a fortieth. 120 words cannot be large, so size and length are tied.

Accented texts are in nine European languages, Turkish and Vietnamese; Chinese ones use simplified characters.

RapidOCR does not read every one of these texts even when it is drawn plainly: it misreads the dotted capital I of
Turkish, and overlooks a lone small word on an otherwise empty page. Compare samplers on the same prompts only.

The order is fixed and spreads every stratum: any 5 prompts from a multiple of 5 on have all layouts, the first 5 have
all lengths too, and any 25 from a multiple of 25 on have every pair of layout and length. So ``limit`` takes a fair
part.
"""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path

from glance_bench.prompts import Prompt, PromptSet

__all__ = ["load"]

_FILE = Path(__file__).with_name("dense_text.jsonl")


def load(limit: int | None = None) -> PromptSet:
    """The first ``limit`` of the 200 prompts, or all.

    ``category`` is the layout and ``wanted_text`` the lines. ``meta`` has "glyph" (large, medium, small),
    "length_class" ("1-3" ... "51-120"), "words" (int), "script" (ascii, accented, chinese), "case" (upper, mixed,
    lower, none) and "features" (those of "digits" and "punctuation" that the text has).
    """
    with _FILE.open(encoding="utf-8") as lines:
        prompts = tuple(_prompt(line) for line in islice(lines, limit))
    digest = hashlib.sha256("\n".join(f"{one.id}\t{one.text}" for one in prompts).encode()).hexdigest()
    return PromptSet("dense-text", digest[:12], prompts)


def _prompt(line: str) -> Prompt:
    meta = json.loads(line)
    id, text, wanted, layout = (meta.pop(key) for key in ("id", "text", "lines", "layout"))
    return Prompt(id, text, layout, tuple(wanted), meta)
