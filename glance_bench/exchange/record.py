"""``imports.json``: what a run holds that no suite made, and how it enters the manifest.

A later ``glance-bench run`` writes ``manifest.json`` anew from its plan; ``merged`` puts the imports back. The
manifest on the disk is always the merged one, so every reader of a run sees imported samplers and scores
without knowing of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_bench.errors import UsageError
from glance_bench.sealed import Damaged, sha256_bytes

if TYPE_CHECKING:
    from glance_bench.store import Run

__all__ = ["add_metric", "add_sampler", "merged", "read_imports"]

SCHEMA = "glance-bench/imports/1"
FILE = "imports.json"
KEY = ("model", "sampler", "prompt_set")
Document = dict[str, Any]


def read_imports(run: Run) -> Document:
    """The imports of a run; empty lists where there are none. Raises Damaged for a file that is no such record."""
    path = run.folder / FILE
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise KeyError(f"schema {document['schema']!r}")
        return {
            "schema": SCHEMA,
            "samplers": list(document["samplers"]),
            "metrics": list(document["metrics"]),
        }
    except FileNotFoundError:
        return {"schema": SCHEMA, "samplers": [], "metrics": []}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(path, f"is not a record of imports ({error})") from error


def add_sampler(run: Run, entry: Document) -> None:
    """Record images of a sampler on one prompt set, in place of an earlier import of the same. Needs the lock."""
    imports = read_imports(run)
    key = [entry[name] for name in KEY]
    kept = [old for old in imports["samplers"] if [old[name] for name in KEY] != key]
    _write(run, {**imports, "samplers": [*kept, entry]})


def add_metric(run: Run, entry: Document, source: Document) -> None:
    """Record imported scores. Needs the lock.

    ``entry`` is the metric as the manifest lists it. ``source`` says whose images (model, sampler, prompt_set)
    were scored and by which files, and takes the place of an earlier one of the same images.
    """
    imports = read_imports(run)
    others = [old for old in imports["metrics"] if old["name"] != entry["name"]]
    before = [s for old in imports["metrics"] if old["name"] == entry["name"] for s in old["imported"]]
    key = [source[name] for name in KEY]
    kept = [old for old in before if [old[name] for name in KEY] != key]
    _write(run, {**imports, "metrics": [*others, {**entry, "imported": [*kept, source]}]})


def _write(run: Run, imports: Document) -> None:
    run.write(FILE, imports)
    prompts = json.loads((run.folder / "prompts.json").read_bytes())
    manifest, _ = merged(run, run.manifest, prompts)
    run.write("manifest.json", manifest)


def merged(run: Run, manifest: Mapping[str, Any], prompts: Mapping[str, Any]) -> tuple[Document, list[str]]:
    """``manifest`` with the run's imports in it, and a sentence for each import that no longer fits.

    ``prompts`` is what ``prompts.json`` holds. Imported images fit while their model is in the manifest and
    each of their prompts is in their set with the same text; scores always fit. Idempotent: what an earlier merge
    put in is taken out first. Raises UsageError when a sampler of the manifest has the name of an imported one.
    """
    imports = read_imports(run)
    texts = {
        entry["name"]: {p["id"]: sha256_bytes(p["text"].encode()) for p in entry["prompts"]}
        for entry in prompts["sets"]
    }
    samplers = [entry for entry in manifest["samplers"] if "imported" not in entry]
    taken = {(entry["model"], entry["sampler"]) for entry in samplers}
    old = {(e["model"], e["sampler"]) for e in manifest["samplers"] if "imported" in e}
    units = [unit for unit in manifest["units"] if (unit["model"], unit["sampler"]) not in old]
    metrics = [entry for entry in manifest["metrics"] if "imported" not in entry]
    models = {entry["model"] for entry in samplers}
    left_out = []
    for entry in imports["samplers"]:
        key = (entry["model"], entry["sampler"])
        if key in taken:
            raise UsageError(
                f"sampler {key[1]!r} is also the name of imported images; rename it in the suite"
            )
        known = texts.get(entry["prompt_set"], {})
        gone = [prompt_id for prompt_id, text in entry["prompts"].items() if known.get(prompt_id) != text]
        if entry["model"] not in models or gone:
            why = (
                f"{len(gone)} of their prompts are not in the suite"
                if gone
                else f"the suite has no model {key[0]!r}"
            )
            left_out.append(f"imported images {key[1]!r} on {entry['prompt_set']!r} are left out: {why}")
            continue
        units += entry["units"]
        if not any((e["model"], e["sampler"]) == key for e in samplers):
            samplers.append(entry["facts"])
    named = {entry["name"] for entry in metrics}
    metrics += [entry for entry in imports["metrics"] if entry["name"] not in named]
    return {**manifest, "samplers": samplers, "units": units, "metrics": metrics}, left_out
