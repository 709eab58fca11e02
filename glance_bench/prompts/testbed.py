"""Captions of scenes of the testbed's world; every third prompt has text. Written by the world itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain, count, islice

import numpy as np

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.testbed.scenes import SEEN_WORDS, UNSEEN_WORDS, caption, sample_scene

FULL_SIZE = 900  # more would run out of held-out scenes with new captions
SEEN_SIZE = 3000
_PICTURES = ("object", "pair", "object", "pair", "pair", "count")
_TEXTS = ("sign", "poster", "sign", "sign+object", "sign", "unseen word")


def _prompt(index: int, seen: set[str], split: str = "heldout") -> Prompt:
    """Prompt number `index`, whose text is none of `seen`. Depends on the numbers before it alone."""
    name, salt = ("testbed", 2512) if split == "heldout" else ("seen", 2899)
    group, place = divmod(index, 3)
    category = _TEXTS[group % 6] if place == 2 else _PICTURES[(2 * group + place) % 6]
    if category == "unseen word" and split == "train":
        category = "sign"  # training showed no such word
    kind = "sign" if category == "unseen word" else category
    words = UNSEEN_WORDS if category == "unseen word" else SEEN_WORDS
    for attempt in count():
        rng = np.random.default_rng([salt, index, attempt])
        scene = sample_scene(rng, kind, split, words)
        text = caption(scene, rng)
        if text not in seen:
            seen.add(text)
            return Prompt(f"{name}-{index:04d}", text, category, scene.words, {"scene": scene.to_json()})
    raise AssertionError("unreachable: count() is endless")


def load(limit: int | None = None) -> PromptSet:
    """Captions of scenes that no testbed model was trained on (900): objects, pairs, counts, signs, posters.

    Categories: object, pair (two objects and a relation), count, sign (a word of training in a new scene),
    unseen word (a word that training never showed), sign+object, poster (3-4 lines of small text).
    """
    return _named("testbed", tuple(islice(_all(), limit)))


def load_balanced(limit: int | None = None) -> PromptSet:
    """The same captions in another order (600): every second one has text, for studies of what becomes of it."""
    prompts = tuple(_all())
    pictures = [prompt for prompt in prompts if not prompt.wanted_text]
    texts = [prompt for prompt in prompts if prompt.wanted_text]
    pairs = chain.from_iterable(zip(pictures, texts, strict=False))
    return _named("testbed-balanced", tuple(islice(pairs, limit)))


def load_seen(limit: int | None = None) -> PromptSet:
    """Captions of scenes like those of training, in the same proportions (3,000): for studies that need many prompts.

    What a testbed model makes of them says nothing about scenes that it has never seen.
    """
    seen: set[str] = set()
    prompts = (_prompt(index, seen, "train") for index in range(SEEN_SIZE))
    return _named("testbed-seen", tuple(islice(prompts, limit)))


def _all() -> Iterator[Prompt]:
    seen: set[str] = set()
    return (_prompt(index, seen) for index in range(FULL_SIZE))


def _named(name: str, prompts: tuple[Prompt, ...]) -> PromptSet:
    digest = hashlib.sha256("\n".join(f"{one.id}\t{one.text}" for one in prompts).encode()).hexdigest()
    return PromptSet(name, digest[:12], prompts)
