"""What a suite asks for that is published elsewhere: how large it is, and what of it is here. No torch, no network."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import GlanceBenchError
from ..prefetch import cards_of, targets_of
from ..prompts.files import is_here
from ..prompts.sources import SOURCES
from ..suite import Suite
from ..weights import WEIGHTS, HubFile, find_weights

__all__ = ["Download", "downloads"]


@dataclass(frozen=True)
class Download:
    """One thing that ``glance-bench prefetch`` takes by ``name``. ``gb`` (10^9 bytes) is None where nobody says."""

    name: str
    gb: float | None
    here: bool


def downloads(suite: Suite) -> list[Download]:
    """Of a resolved suite, without the metrics that its profile leaves out."""
    files = {str(file): file for card in cards_of(suite) for file in card.hub_files}
    names = targets_of(suite.model_copy(update={"left_out": []}))
    return [_file(files[name]) if name in files else _download(name) for name in names]


def _file(file: HubFile) -> Download:
    return Download(str(file), file.gigabytes, file.place() is not None)


def _download(name: str) -> Download:
    if name in SOURCES:
        size = sum(source.size for source in SOURCES[name] if source.needed)
        return Download(name, size / 1e9, is_here(name))
    if name not in WEIGHTS:
        return Download(
            name, None, here=False
        )  # a hub model of another package's metric: only fetching tells
    try:
        find_weights(name)
    except GlanceBenchError:
        return Download(name, WEIGHTS[name].gigabytes, here=False)
    return Download(name, WEIGHTS[name].gigabytes, here=True)
