"""A published list is taken for what it is only when digest and count say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from glance_bench.errors import UsageError
from glance_bench.prompts import Prompt
from glance_bench.prompts.files import digest, find
from glance_bench.prompts.sources import Source
from glance_bench.sealed import sha256_bytes

__all__ = ["read_official"]


def read_official(name: str, source: Source, parse: Callable[[Path], list[Prompt]]) -> list[Prompt]:
    """The prompts of one file of set ``name``.

    Raises MissingData when it is not on this machine, and UsageError when its content is not the published one:
    with the place in the file if it cannot be parsed, else with both digests and both counts.
    """
    place = find(name, source)
    found = digest(source, place)
    other = source.sha256 is not None and found != source.sha256
    try:
        prompts = parse(place)
    except UsageError as error:
        hint = f" (sha256 {found[:12]}, the official file has {str(source.sha256)[:12]})" if other else ""
        raise UsageError(f"{error}{hint}") from error
    if other or len(prompts) != source.count:
        raise UsageError(
            f"{place}: is not the official list of {name}: {_difference(source, found, len(prompts), place)}; "
            f"a list of your own is named file:{place}"
        )
    return prompts


def _difference(source: Source, found: str, count: int, place: Path) -> str:
    counts = f"{count} prompts instead of {source.count}"
    if source.sha256 is None:
        return counts
    digests = f"sha256 {found[:12]} instead of {source.sha256[:12]}"
    if count == source.count:
        counts = f"{count} prompts as it should have"
    if place.is_file() and source.sha256 in _resaved(place.read_bytes()):
        counts += ", and only byte order mark or line ends differ"
    return f"{digests}, {counts}"


def _resaved(data: bytes) -> set[str]:
    """Digests of the same text as other programs would save it."""
    bare = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n")
    texts = [bare, bare + b"\n"]
    texts += [text.replace(b"\n", b"\r\n") for text in texts]
    return {sha256_bytes(text) for text in texts}
