"""What besides the sampler differs between two sides: said, because a difference in numbers may come from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .pairing import Pairing
from .sides import Side

__all__ = ["ALWAYS", "differences", "other_references", "short"]

ALWAYS = {
    "checkpoint": "checkpoint",
    "resolution": "resolution",
    "dtype": "dtype",
    "device": "device",
    "generation_version": "version of the generating code",
}
OF_A_SAMPLER = {"card": "sampler card", "trajectory": "steps"}  # expected to differ between two samplers
AGAINST_REFERENCE = ("pair", "prompt")


def differences(pairing: Pairing) -> list[str]:
    """One sentence for each: prompts, noise, what the images are made of, and what they are measured against."""
    a, b = pairing.a, pairing.b
    said = []
    if pairing.only_a or pairing.only_b:
        text = (
            f", {pairing.other_text} of them under the same id with another text"
            if pairing.other_text
            else ""
        )
        said.append(f"prompts: {pairing.only_a} are only in A and {pairing.only_b} only in B{text}; left out")
    elif not pairing.complete:
        said.append(
            f"images: A has {len(a.images)} and B {len(b.images)}, of which {len(pairing.images)} are paired"
        )
    if pairing.noise != "same":
        said.append(
            f"noise: {pairing.same_noise} of {len(pairing.images)} pairs start from the same noise; pairs of other "
            "noise are paired by prompt alone, and intervals are wider"
        )
    said += _made_of(a, b)
    if a.evidence is not b.evidence:
        said += other_references(a, b)
    return said


def _made_of(a: Side, b: Side) -> list[str]:
    if a.made_of is None or b.made_of is None:
        elsewhere = [name for name, side in (("A", a), ("B", b)) if side.made_of is None]
        return [
            f"images of {' and '.join(elsewhere)} were made elsewhere: what they are made of is not known"
        ]
    parts = ALWAYS | (OF_A_SAMPLER if a.sampler == b.sampler else {})
    return [
        f"{title}: {short(a.made_of[name])} and {short(b.made_of[name])}"
        for name, title in parts.items()
        if a.made_of.get(name) != b.made_of.get(name)
    ]


def other_references(a: Side, b: Side) -> list[str]:
    """Whether the reference samplers that some metrics compare with made the same images in both runs."""
    ours, theirs = (_reference_images(side) for side in (a, b))
    shared = [key for key in ours if key in theirs]
    other = sum(ours[key] != theirs[key] for key in shared)
    named = [
        name for name, known in a.columns.items() if known["kind"] in AGAINST_REFERENCE and name in a.cells
    ]
    if a.evidence.suite.get("reference") == "teacher":
        named += [name for name, known in a.columns.items() if known["kind"] == "corpus" and name in a.cells]
    if not other or not named:
        return []
    return [
        f"reference: {', '.join(named)} compare with each run's own {a.board['reference']}, whose images differ at "
        f"{other} of {len(shared)}"
    ]


def _reference_images(side: Side) -> Mapping[tuple[str, int], str]:
    frame = side.evidence.samples
    own = frame[
        (frame["model"] == side.model)
        & (frame["prompt_set"] == side.prompt_set)
        & (frame["sampler"] == side.board["reference"])
    ]
    keys = zip(own["prompt_id"], own["index"], strict=True)
    return dict(zip(keys, own["image_sha256"], strict=True))


def short(value: Any) -> str:
    """A digest by its first digits, a resolution as 64x64."""
    if isinstance(value, list):
        return "x".join(map(str, value))
    text = str(value)
    return text[:12] if len(text) == 64 else text
