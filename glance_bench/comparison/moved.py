"""Which prompts moved most between two sides, and where their images lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GlanceBenchError
from .effects import TIE
from .pairing import Pairing
from .sides import Side

__all__ = ["moved"]


def moved(pairing: Pairing, column: Mapping[str, Any], count: int, images: bool = True) -> dict[str, Any]:
    """Up to ``count`` prompts at which B gains most, and as many at which it loses most, in a column of samples.

    Prompts that did not move are not listed; equal moves are in the order of the prompts. Without ``images`` no path
    is looked for, and none is given.
    """
    paired = pairing.values(column["name"])
    gain = paired.delta if column["better"] == "higher" else -paired.delta
    order = np.argsort(-gain, kind="stable")
    up = [place for place in order if gain[place] > TIE][:count]
    down = [place for place in np.argsort(gain, kind="stable") if gain[place] < -TIE][:count]

    def told(place: int) -> dict[str, Any]:
        prompt = paired.prompts[place]
        return {
            "prompt": prompt,
            "text": _text(pairing, prompt),
            "a": float(paired.a[place]),
            "b": float(paired.b[place]),
            "images_a": _images(pairing, pairing.a, prompt, "a") if images else [],
            "images_b": _images(pairing, pairing.b, prompt, "b") if images else [],
        }

    return {
        "column": column["name"],
        "better": [told(int(place)) for place in up],
        "worse": [told(int(place)) for place in down],
    }


def _text(pairing: Pairing, prompt: str) -> str:
    return pairing.a.evidence.prompts.get(pairing.a.prompt_set, {}).get(prompt, "")


def _images(pairing: Pairing, side: Side, prompt: str, suffix: str) -> list[str]:
    """The paths of the paired images of a prompt, as far as they are there: in a run, or unpacked from a bundle."""
    frame = pairing.images
    shas: Sequence[str] = frame.loc[frame["prompt_id"] == prompt, f"image_sha256_{suffix}"].tolist()
    places = _places(side.evidence.path)
    key = side.model, side.sampler, side.prompt_set
    bundled = side.evidence.path / "images"
    found = (places.get((*key, sha)) or str(bundled / f"{sha}.png") for sha in shas if sha.isalnum())
    return [path for path in found if Path(path).is_file()]


@lru_cache(maxsize=4)
def _places(folder: Path) -> dict[tuple[str, str, str, str], str]:
    """Image paths of a run folder by model, sampler, prompt set and sha256; empty for evidence without images."""
    from ..store import Run

    try:
        records = Run(folder).records()
    except GlanceBenchError:
        return {}
    keys = zip(
        *(records[name] for name in ("model", "sampler", "prompt_set", "image_sha256")),
        strict=True,
    )
    return {key: str(folder / image) for key, image in zip(keys, records["image"], strict=True)}
