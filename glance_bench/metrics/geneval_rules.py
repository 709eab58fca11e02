"""When an image shows what a GenEval prompt asks for: pure rules over what a detector found.

Official code: djghosh13/geneval evaluation/evaluate_images.py. Its settings are the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.detectors import Detections, Found

__all__ = ["COLOURS", "TASKS", "Colours", "kept", "relations", "unmet"]

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
THRESHOLD = 0.3  # scores above it count
COUNTING_THRESHOLD = 0.9  # in the task "counting"
MOST = 16  # objects of a class
SHRINK = 0.1  # of the two boxes' sizes, taken off each axis of the distance between their centres
SIDE = 0.5  # share of the distance that must lie along an axis

Colours = Callable[[Sequence[Found], str], list[str]]  # objects of a class to one of COLOURS each


def kept(found: Detections, tag: str) -> Detections:
    """The objects that count for a prompt of the task ``tag``, most certain first, at most 16 of a class."""
    least = COUNTING_THRESHOLD if tag == "counting" else THRESHOLD
    by_class = {}
    for name, objects in found.items():
        certain = sorted((one for one in objects if one.score > least), key=lambda one: -one.score)
        if certain:
            by_class[name] = certain[:MOST]
    return by_class


def relations(a: Found, b: Found) -> set[str]:
    """Where ``a`` is as seen from ``b``: of "left of", "right of", "above", "below" none, one or two.

    The offset of the centres is shrunk on each axis by 0.1 x (the sum of both sizes), but divided by the length of
    the offset as it was; an axis counts beyond 0.5.
    """
    boxes = np.array([a.box, b.box], dtype=float).reshape(2, 2, 2)  # object, corner, axis
    offset = np.subtract(*boxes.mean(axis=1))
    sizes = np.abs(boxes[:, 1] - boxes[:, 0]).sum(axis=0)
    shrunk = np.sign(offset) * np.maximum(np.abs(offset) - SHRINK * sizes, 0)
    if np.all(np.abs(shrunk) < 1e-3):
        return set()
    x, y = shrunk / np.linalg.norm(offset)
    holds = {"left of": x < -SIDE, "right of": x > SIDE, "above": y < -SIDE, "below": y > SIDE}
    return {name for name, there in holds.items() if there}


def unmet(metadata: Mapping[str, Any], objects: Detections, colours: Colours) -> list[str]:
    """What of ``metadata`` (a line of GenEval's) the objects that ``kept`` left do not meet; [] for a correct image.

    An *include* clause wants the ``count`` most certain objects of its class, that ``count`` of them have its
    colour, and that each stands in its relation to each object of an earlier clause; it fails when that clause
    failed. An *exclude* clause fails when there are ``count`` or more. ``colours`` is called only for clauses with a
    colour. Raises GlanceBenchError for metadata of another form.
    """
    try:
        return _unmet(metadata, objects, colours)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise GlanceBenchError(
            f"not a line of GenEval's metadata ({error!r}): {str(metadata)[:120]}"
        ) from error


def _unmet(metadata: Mapping[str, Any], objects: Detections, colours: Colours) -> list[str]:
    faults: list[str] = []
    groups: list[list[Found] | None] = []  # what met each include clause, None where it failed
    for clause in metadata.get("include", ()):
        name, count = clause["class"], clause["count"]
        group = objects.get(name, [])[:count]
        fault = ""
        if len(group) < count:
            fault = f"{name}: {len(group)} of {count}"
        elif "color" in clause and (seen := colours(group, name)).count(clause["color"]) < count:
            fault = f"{name}: {', '.join(seen)}, not {clause['color']}"
        elif "position" in clause:
            relation, target = clause["position"]
            fault = _misplaced(name, group, relation, groups[target])
        groups.append(None if fault else group)
        faults += [fault] if fault else []
    for clause in metadata.get("exclude", ()):
        name, count = clause["class"], clause["count"]
        if len(objects.get(name, [])) >= count:
            faults.append(f"{name}: {len(objects[name])}, expected fewer than {count}")
    return faults


def _misplaced(name: str, group: Sequence[Found], relation: str, targets: Sequence[Found] | None) -> str:
    if targets is None:
        return f"{name}: nothing to be {relation}"
    if all(relation in relations(one, target) for one in group for target in targets):
        return ""
    return f"{name}: not {relation}"
