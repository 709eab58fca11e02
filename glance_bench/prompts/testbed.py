"""Captions of held-out scenes of the testbed's world; every third prompt has text. Written by the world itself."""

from __future__ import annotations

import hashlib
from itertools import count, islice

import numpy as np

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.testbed.scenes import SEEN_WORDS, UNSEEN_WORDS, caption, sample_scene

FULL_SIZE = 900  # more would run out of held-out scenes with new captions
_PICTURES = ("object", "pair", "object", "pair", "pair", "count")
_TEXTS = ("sign", "poster", "sign", "sign+object", "sign", "unseen word")


def _prompt(index: int, seen: set[str]) -> Prompt:
    """Prompt number `index`, whose text is none of `seen`. Depends on the numbers before it alone."""
    group, place = divmod(index, 3)
    category = _TEXTS[group % 6] if place == 2 else _PICTURES[(2 * group + place) % 6]
    kind = "sign" if category == "unseen word" else category
    words = UNSEEN_WORDS if category == "unseen word" else SEEN_WORDS
    for attempt in count():
        rng = np.random.default_rng([2512, index, attempt])
        scene = sample_scene(rng, kind, "heldout", words)
        text = caption(scene, rng)
        if text not in seen:
            seen.add(text)
            return Prompt(f"testbed-{index:04d}", text, category, scene.words, {"scene": scene.to_json()})
    raise AssertionError("unreachable: count() is endless")


def load(limit: int | None = None) -> PromptSet:
    """Captions of scenes that no testbed model was trained on (900): objects, pairs, counts, signs, posters.

    Categories: object, pair (two objects and a relation), count, sign (a word of training in a new scene),
    unseen word (a word that training never showed), sign+object, poster (3-4 lines of small text).
    """
    seen: set[str] = set()
    prompts = tuple(_prompt(index, seen) for index in islice(range(FULL_SIZE), limit))
    digest = hashlib.sha256("\n".join(f"{one.id}\t{one.text}" for one in prompts).encode()).hexdigest()
    return PromptSet("testbed", digest[:12], prompts)
