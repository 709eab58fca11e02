"""YAML files checked against a pydantic model; errors name file, line, key and the nearest valid key.

A file may be anybody's: tags that ask for objects are refused, and so are aliases that refer to what they stand in or
that unfold to more than a suite could need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from .errors import UsageError, near_misses

__all__ = ["line_of", "read_yaml", "validated"]

Model = TypeVar("Model", bound=BaseModel)
Place = Sequence[str | int]
LARGEST = 200_000  # values in a file, aliases unfolded
DEEPEST = 50  # brackets inside each other
PLAIN = {  # what YAML 1.2 gives values that carry no tag
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "merge", "map", "seq")
}


def read_yaml(path: Path) -> Any:
    """The file as ruamel.yaml's round-trip tree, a mapping, whose nodes remember their lines.

    Raises UsageError when the file is missing, not UTF-8, not YAML 1.2, has a key twice, or is no mapping, and for
    tags, circles, and aliases that unfold beyond LARGEST values.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError, RoundTripConstructor
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.scanner import RoundTripScanner, ScannerError

    class Shallow(RoundTripScanner):
        def fetch_flow_collection_start(self, *arguments: Any, **named: Any) -> None:
            if len(self.flow_context) > DEEPEST:  # the time that the scanner takes grows with the cube of it
                raise ScannerError(None, None, "nested too deeply", self.reader.get_mark())
            super().fetch_flow_collection_start(*arguments, **named)

    class Checked(RoundTripConstructor):
        def construct_document(self, node: Any) -> Any:
            _check_plain(path, node)
            return super().construct_document(node)

    yaml = YAML(typ="rt")
    yaml.Scanner, yaml.Constructor = Shallow, Checked
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise UsageError(f"{path}: is nested too deeply") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        raise UsageError(f"{path}:{line}: {str(error.problem).splitlines()[0]}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UsageError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {error.problem}") from error
    except YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path}:1: expected a mapping of keys to values")
    return tree


def _check_plain(path: Path, root: Any) -> None:
    """Refuse what is no plain value, before anything is made of it. ``root`` is ruamel's node of the document."""
    sizes: dict[int, int | None] = {}  # by node; None while the node is open

    def size(node: Any) -> int:
        line = node.start_mark.line + 1
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise UsageError(f"{path}:{line}: an alias refers to what it stands in")
            return known
        if str(node.tag) not in PLAIN:
            tag = str(node.tag).replace("tag:yaml.org,2002:", "!!")
            raise UsageError(f"{path}:{line}: the tag {tag[:60]!r} is not read here: plain values only")
        sizes[id(node)] = None
        inner = node.value if isinstance(node.value, list) else ()
        total = 1 + sum(size(one) for part in inner for one in (part if isinstance(part, tuple) else (part,)))
        if total > LARGEST:
            raise UsageError(f"{path}:{line}: unfolds to more than {LARGEST} values")
        sizes[id(node)] = total
        return total

    if root is not None:
        size(root)


def validated(model: type[Model], path: Path, tree: Any, context: Any = None) -> Model:
    """``tree`` (of ``read_yaml``) as a ``model``. Raises UsageError with the most telling complaint."""
    try:
        return model.model_validate(_plain(tree), context=context)
    except ValidationError as error:
        raise _explained(model, path, tree, error) from error


def line_of(tree: Any, place: Place) -> int:
    """The 1-based line of the deepest part of ``place`` (keys and list positions) that the file has."""
    line = 1
    node: Any = tree
    for part in place:
        if isinstance(node, dict) and part in node:
            places: Any = node
            if part in (places.lc.data or {}):  # a key that a merge (<<) brings in has no line of its own
                line = places.lc.key(part)[0] + 1
            node = node[part]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            places = node
            line = places.lc.item(part)[0] + 1
            node = node[part]
    return line


def _plain(node: Any) -> Any:
    """The tree as plain dicts, lists and scalars."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _explained(model: type[BaseModel], path: Path, tree: Any, error: ValidationError) -> UsageError:
    """The most telling of pydantic's complaints: an unknown key first, then the deepest."""
    first = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", -len(e["loc"])))
    place = first["loc"]
    where = f"{path}:{line_of(tree, place)}"
    key = ".".join(str(part) for part in _in_file(tree, place))
    if first["type"] == "extra_forbidden":
        return UsageError(
            f"{where}: unknown key {key!r}; {near_misses(str(place[-1]), _keys(model, place[:-1]))}"
        )
    if first["type"] == "missing":
        return UsageError(f"{where}: {'.'.join(filter(None, [key, str(place[-1])]))!r} is required")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return UsageError(f"{where}: {key + ': ' if key else ''}{message}")
    given = repr(first["input"])
    return UsageError(f"{where}: {key}: {message}, got {given if len(given) <= 60 else given[:57] + '...'}")


def _in_file(tree: Any, place: Place) -> list[str | int]:
    """``place`` without the parts that pydantic adds for the branches of a union."""
    kept: list[str | int] = []
    node: Any = tree
    for part in place:
        if part in node if isinstance(node, dict) else isinstance(node, list) and isinstance(part, int):
            node = node[part]
            kept.append(part)
    return kept


def _keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that the mapping at ``place`` may have."""
    models = {model}
    for part in place:
        inner = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        branch = {m for m in models if part == m.__name__ or part in _tags(m)}
        if inner:
            models = set().union(*map(_models, inner))
        elif branch:
            models = branch
    return sorted({name for m in models for name in m.model_fields})


def _models(annotation: Any) -> set[type[BaseModel]]:
    """Every pydantic model inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return set().union(*map(_models, get_args(annotation)))


def _tags(model: type[BaseModel]) -> Iterable[Any]:
    """The values of a model's Literal fields: what a discriminated union calls it."""
    literals = (f.annotation for f in model.model_fields.values() if get_origin(f.annotation) is Literal)
    return {value for literal in literals for value in get_args(literal)}
