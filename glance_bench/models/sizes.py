"""How many parameters the parts of a model have: the published ones by heart, others from their files. No torch."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, near_misses
from ..registry import MODELS
from .checkpoints import read_settings

__all__ = ["PUBLISHED", "Sizes", "sizes_of", "stored_dtype", "stored_shapes"]


@dataclass(frozen=True)
class Sizes:
    """Parameters of a pipeline's parts. ``block`` is the transformer's largest block, ``layer`` its largest tensor.

    ``pixels`` are the height and width that the model draws unless told otherwise.
    """

    family: str
    transformer: int
    encoders: int
    vae: int
    block: int
    layer: int
    pixels: tuple[int, int]


# Counted on torch's meta device from the published configurations; tests/test_placement.py counts them again.
PUBLISHED = {
    "flux": Sizes(
        "flux",
        transformer=11_901_408_320,
        encoders=4_762_310_656 + 123_060_480,  # T5-XXL, CLIP-L
        vae=83_819_683,
        block=339_831_296,
        layer=56_623_104,
        pixels=(1024, 1024),
    ),
    "qwen_image": Sizes(
        "qwen_image",
        transformer=20_430_401_088,
        encoders=8_292_166_656,  # Qwen2.5-VL-7B
        vae=126_892_531,
        block=339_831_296,
        layer=56_623_104,
        pixels=(1024, 1024),
    ),
}


def sizes_of(model: str | Path) -> Sizes:
    """Of a family's published model by the family's name, a registered model, or a checkpoint folder.

    Raises UsageError for an unknown name, or a model of a family whose parts are not known here.
    """
    if isinstance(model, Path):
        return _stored(model)
    if model in PUBLISHED:
        return PUBLISHED[model]
    if model not in MODELS:
        raise UsageError(f"unknown model {model!r}; {near_misses(model, [*MODELS.names(), *PUBLISHED])}")
    entry = MODELS.get(model)
    if entry.family not in PUBLISHED:
        raise UsageError(f"model {model!r}: family {entry.family!r} has no placements; it places itself")
    return PUBLISHED[entry.family] if isinstance(entry.source, str) else _stored(entry.source)


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a folder's safetensors files, from their headers."""
    return {name: tuple(tensor["shape"]) for name, tensor in _headers(folder).items()}


def stored_dtype(folder: Path) -> str:
    """What most values in a folder's safetensors files are: "float32", "float16" or "bfloat16"."""
    values: Counter[str] = Counter()
    for tensor in _headers(folder).values():
        values[tensor["dtype"]] += math.prod(tensor["shape"])
    (most, _), *_ = values.most_common(1)
    return {"F16": "float16", "BF16": "bfloat16"}.get(most, "float32")


def _headers(folder: Path) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            headers |= json.loads(file.read(int.from_bytes(file.read(8), "little")))
    headers.pop("__metadata__", None)
    return headers


def _stored(path: Path) -> Sizes:
    settings = read_settings(path)
    shapes = stored_shapes(path / "transformer")
    blocks: dict[str, int] = defaultdict(int)
    for name, shape in shapes.items():
        head, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        blocks[f"{head}.{number}" if number.isdigit() else name] += math.prod(shape)
    layers = [math.prod(shape) for shape in shapes.values()]
    return Sizes(
        settings.family,
        sum(layers),
        sum(_parameters(folder) for folder in sorted(path.glob("text_encoder*"))),
        _parameters(path / "vae"),
        max(blocks.values(), default=0),
        max(layers, default=0),
        settings.resolution,
    )


def _parameters(folder: Path) -> int:
    return sum(map(math.prod, stored_shapes(folder).values()))
