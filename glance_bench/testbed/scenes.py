"""Scenes of the testbed's world: what a picture shows, how scenes are drawn at random, and their captions.

A scene is data: which objects, which relation, which words, which background. `world.render` draws it,
`truth.check` says which of its attributes hold in an image, and `caption` puts it into words.

Splits are disjoint by construction, not by luck: `is_held_out` names the attribute combinations (colour x shape x
size, colour x shape x count, word x background) that no training scene contains, and every scene of the split
`heldout` contains at least one of them. Words come in two lists: seen ones, which appear in training scenes, and
unseen ones, which never do.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

WORLD_VERSION = 2  # raise it when the same scene can be drawn differently
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 38, 44),
    "orange": (246, 136, 24),
    "yellow": (242, 214, 36),
    "green": (34, 160, 66),
    "blue": (44, 84, 222),
    "purple": (150, 48, 190),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")
SIZES: dict[str, tuple[int, int]] = {
    "small": (12, 16),
    "large": (22, 27),
}  # extents in pixels of a 64 px image
UNSTATED_SIZES = (13, 17)  # of objects whose size the caption does not state
GRADIENTS = ("grey", "cream", "mint", "rose", "sky")
LANDSCAPES = ("hills", "sea", "desert", "snow")
BACKGROUNDS = GRADIENTS + LANDSCAPES
RELATIONS = ("left of", "right of", "above", "below")
COUNTS = {2: "two", 3: "three"}
PAPERS = ("white", "yellowish", "bluish")
KINDS = ("object", "pair", "count", "sign", "sign+object", "poster")

# fmt: off
SEEN_WORDS: tuple[str, ...] = (
    "OPEN", "CAFE", "STOP", "EXIT", "BANK", "PARK", "TAXI", "MENU",
    "SALE", "FISH", "ZOO", "BAR", "TEA", "SUN", "MAP", "KEY",
    "BUS", "INN", "HOTEL", "PIZZA", "BREAD", "MUSIC", "LIGHT", "RIVER",
    "QUIET", "JUICE", "FLOUR", "WATCH", "BOOKS", "SHOES", "GAME", "VAN",
    "BOX", "JAM", "OWL", "ICE", "DOG", "CUP", "LAMP", "WOLF",
)
UNSEEN_WORDS: tuple[str, ...] = (
    "FARM", "CODE", "BIRD", "TOY", "PEN", "HAT", "SOUP", "GRAPE",
    "LEMON", "VIDEO", "WALK", "BIKE",
)
# fmt: on


@dataclass(frozen=True)
class Thing:
    """One object of a scene: a colour, a shape and a size (`""` where the caption does not state the size)."""

    colour: str
    shape: str
    size: str = ""

    def phrase(self) -> str:
        return " ".join(part for part in (self.size, self.colour, self.shape) if part)


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Fields that a kind does not use keep their defaults.

    kind: one of KINDS. things: 0-2 distinct objects. relation: of the first thing to the second (or of the sign to
    the thing). count: how many copies of the one thing. words: lines of text, upper case, top to bottom.
    background: one of BACKGROUNDS, or one of PAPERS for posters.
    """

    kind: str
    background: str
    things: tuple[Thing, ...] = ()
    relation: str = ""
    count: int = 1
    words: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scene:
        """The inverse of `to_json`. Raises TypeError on unknown or missing fields."""
        things = tuple(Thing(**thing) for thing in data["things"])
        return cls(**{**data, "things": things, "words": tuple(data["words"])})


def _held_out(share: int, *parts: object) -> bool:
    """True for about 1 in `share` combinations, by a hash that does not depend on the process."""
    return zlib.crc32("|".join(map(str, parts)).encode()) % share == 0


def is_held_out(scene: Scene) -> bool:
    """Whether the scene contains a combination that no training scene contains."""
    if scene.kind == "count":
        return any(_held_out(6, thing.colour, thing.shape, scene.count) for thing in scene.things)
    if scene.kind == "poster":
        return _held_out(6, *scene.words)
    things = any(_held_out(5, thing.colour, thing.shape, thing.size) for thing in scene.things)
    words = any(_held_out(6, word, scene.background) for word in scene.words)
    return things or words


def _draw(rng: np.random.Generator, kind: str, words: tuple[str, ...]) -> Scene:
    def pick(options: Any) -> Any:
        options = tuple(options)
        return options[int(rng.integers(len(options)))]

    def thing(sized: bool = True) -> Thing:
        return Thing(pick(COLOURS), pick(SHAPES), pick(SIZES) if sized else "")

    background = pick(BACKGROUNDS)
    if kind == "object":
        return Scene(kind, background, (thing(),))
    if kind == "pair":
        first = thing()
        second = thing()
        while second.colour == first.colour:  # two colours, so that the caption names each object uniquely
            second = thing()
        return Scene(kind, background, (first, second), relation=pick(RELATIONS))
    if kind == "count":
        return Scene(kind, background, (thing(sized=False),), count=pick(COUNTS))
    if kind == "sign":
        return Scene(kind, background, words=(pick(words),))
    if kind == "sign+object":
        return Scene(kind, background, (thing(),), relation="above", words=(pick(words),))
    if kind == "poster":
        lines = pick((3, 4))
        usable = [word for word in words if len(word) <= (5 if lines == 3 else 4)]
        order = rng.permutation(len(usable))[:lines]
        return Scene(kind, pick(PAPERS), words=tuple(usable[i] for i in order))
    raise ValueError(f"unknown kind {kind!r}, expected one of {', '.join(KINDS)}")


def sample_scene(
    rng: np.random.Generator, kind: str, split: str = "train", words: tuple[str, ...] = SEEN_WORDS
) -> Scene:
    """Draw a scene of `kind` from `split` ("train" or "heldout"), by rejection.

    With `words` set to UNSEEN_WORDS every text scene is held out already, whatever its background.
    Raises ValueError for an unknown kind or split.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"unknown split {split!r}, expected train or heldout")
    while True:
        scene = _draw(rng, kind, words)
        unseen = bool(set(scene.words) & set(UNSEEN_WORDS))
        if (is_held_out(scene) or unseen) == (split == "heldout"):
            return scene


def _place(scene: Scene) -> str:
    if scene.background in GRADIENTS:
        return f"a {scene.background} gradient"
    if scene.background in LANDSCAPES:
        return f"the {scene.background}"
    return f"{scene.background} paper"


def captions(scene: Scene) -> tuple[str, ...]:
    """Every caption the templates give for `scene`; text stands in double quotes, in upper case."""
    place = _place(scene)
    quoted = " ".join(f'"{word}"' for word in scene.words)
    if scene.kind == "object":
        what = f"a {scene.things[0].phrase()}"
        return (f"{what} on {place}", f"a picture of {what} on {place}", f"{place} with {what}")
    if scene.kind == "pair":
        first, second = (f"a {thing.phrase()}" for thing in scene.things)
        what = f"{first} {scene.relation} {second}"
        return (f"{what} on {place}", f"a picture of {what} on {place}", f"{place} with {what}")
    if scene.kind == "count":
        what = f"{COUNTS[scene.count]} {scene.things[0].colour} {scene.things[0].shape}{_plural(scene)}"
        return (f"{what} on {place}", f"a picture of {what} on {place}", f"{place} with {what}")
    if scene.kind == "sign":
        return (
            f"a sign that says {quoted} on {place}",
            f"a sign with the word {quoted} on {place}",
            f"{place} with a sign that says {quoted}",
        )
    if scene.kind == "sign+object":
        what = f"a sign that says {quoted} above a {scene.things[0].phrase()}"
        return (f"{what} on {place}", f"{place} with {what}")
    return (f"a poster with the lines {quoted} on {place}", f"a poster that says {quoted} on {place}")


def _plural(scene: Scene) -> str:
    return "es" if scene.things[0].shape == "cross" else "s"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One caption of `scene`, template chosen by `rng`."""
    options = captions(scene)
    return options[int(rng.integers(len(options)))]
