"""Trajectory strips in a run folder: which image a sampler was heading for, at some of its steps. No torch.

::

    strips/<model>/<sampler>-<hash12>/<prompt set>/<key>.<seal>.json            one strip: one image's
    strips/<model>/<sampler>-<hash12>/<prompt set>/<key>-<step>.<seal>.png      an estimate, decoded

The record is written last, so a strip is there whole or not at all. It holds (schema "glance-bench/strip/1")::

    schema, unit (the key of the unit that has the image), made_with
    model, sampler, prompt_set, prompt_id, index
    difference    the largest difference between the image that playing the steps again gave and the stored one, in
                  levels of 255: 0 means the same image, bit for bit
    estimates     [{step, sigma, adapter, file}], by step
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .sealed import Damaged, find_sealed, read_sealed

__all__ = ["SCHEMA", "STRIP_COLUMNS", "check_strip", "read_strip", "strip_rows"]

SCHEMA = "glance-bench/strip/1"
OF_IMAGE = {
    "model": "string",
    "sampler": "string",
    "prompt_set": "string",
    "prompt_id": "string",
    "index": "int64",
    "difference": "int64",
}
OF_ESTIMATE = {"step": "int64", "sigma": "float64", "adapter": "string", "file": "string"}
STRIP_COLUMNS = OF_IMAGE | OF_ESTIMATE
KINDS = {"string": str, "int64": int, "float64": float}


def read_strip(path: Path) -> dict[str, Any]:
    """The record of a strip. Raises Damaged when it is not whole, or names a file outside its folder."""
    try:
        document = dict(json.loads(read_sealed(path)))
        whole = document["schema"] == SCHEMA and _has(document, OF_IMAGE)
        if not whole or not all(_has(estimate, OF_ESTIMATE) for estimate in document["estimates"]):
            raise ValueError("a field is missing or of another kind")
        for estimate in document["estimates"]:
            if Path(estimate["file"]).name != estimate["file"]:
                raise ValueError(f"it names a file outside the strip: {estimate['file']!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(path, f"is not the record of a strip ({error})") from error
    return document


def _has(entry: Mapping[str, Any], fields: Mapping[str, str]) -> bool:
    return all(type(entry[name]) is KINDS[kind] for name, kind in fields.items())


def strip_rows(folder: Path, path: Path) -> list[dict[str, Any]]:
    """A row of STRIP_COLUMNS for each estimate of the strip at ``path``, files relative to the run ``folder``."""
    document = read_strip(path)
    own = {name: document[name] for name in OF_IMAGE}
    place = path.parent.relative_to(folder)
    return [{**own, **entry, "file": str(place / entry["file"])} for entry in document["estimates"]]


def check_strip(folder: Path, key: str) -> list[Damaged] | None:
    """What is wrong with a strip of ``folder``: nothing, a list, or None when it was never made. Hashes every file."""
    path = find_sealed(folder, "json").get(key)
    if path is None:
        return None
    try:
        files = [path.with_name(estimate["file"]) for estimate in read_strip(path)["estimates"]]
    except Damaged as damage:
        return [damage]
    wrong = []
    for file in files:
        try:
            read_sealed(file)
        except Damaged as damage:
            wrong.append(damage)
    return wrong
