"""What is kept of a run outside its folder: its evidence and its features, every file listed with size and sha256.

Baselines and bundles are such folders. Each has a document that lists the others::

    results.json  samples.parquet  timing.parquet  prompts.json  suite.json  env.json     as in the run, byte for byte
    features/<extractor>.npz     image_sha256 (S64) and features (float32[N, D]), one row an image
    run-manifest.json            the run's manifest.json; by another name, because what lies here is no run
    images/<sha256>.png

No torch.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glance_bench.errors import GlanceBenchError
from glance_bench.evidence import Evidence, read_evidence, write_evidence
from glance_bench.exchange.folders import files_below
from glance_bench.sealed import Damaged, digest_of, json_bytes, sha256_file, slug, write_atomic
from glance_bench.store import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "BUNDLE",
    "MANIFEST",
    "checked_listing",
    "list_file",
    "listed",
    "origin",
    "pack",
    "read_features",
    "read_listing",
    "read_packed",
    "write_listing",
]

VERSION = 1
BUNDLE = "bundle.json"
MANIFEST = "run-manifest.json"
PLACES = re.compile(
    r"(results|prompts|suite|env|run-manifest)\.json|(samples|timing)\.parquet"
    r"|features/[A-Za-z0-9._,=+@\[\]-]{1,80}\.npz|images/[0-9a-f]{64}\.png"
)
Listing = dict[str, dict[str, Any]]


def pack(folder: Path, room: Path, *, features: bool = True) -> Evidence:
    """Write what is kept of the run in ``folder``, but for its images, into the folder ``room``.

    ``folder`` may itself be an unpacked bundle. Returns its evidence. Raises GlanceBenchError for a run that is not
    finished, Damaged for one that was altered.
    """
    if (folder / BUNDLE).is_file():
        document = read_listing(folder / BUNDLE, "bundle")
        evidence = read_packed(folder, document)
        write_evidence(evidence, room)
        for name in document["files"]:
            if name == MANIFEST or (features and name.startswith("features/")):
                write_atomic(room / name, (folder / name).read_bytes(), flush=False)
        return evidence
    evidence = read_evidence(folder)
    run = _whole_run(folder, evidence)
    write_evidence(evidence, room)
    write_atomic(room / MANIFEST, (folder / "manifest.json").read_bytes(), flush=False)
    for name, data in _features(run).items() if features else ():
        write_atomic(room / name, data, flush=False)
    return evidence


def _whole_run(folder: Path, evidence: Evidence) -> Run:
    """The run that ``evidence`` is of. Images are measured, not hashed.

    Raises GlanceBenchError when units are missing or its results are older than its manifest, Damaged for an altered
    unit.
    """
    run = Run(folder)
    units = {unit.folder: unit.key for unit in run.units()}
    shown = {
        unit for board in evidence.results["boards"] for row in board["samplers"] for unit in row["units"]
    }
    if shown != set(units):
        raise GlanceBenchError(
            f"{folder} is not a finished run: its results are made of {len(shown)} units, its manifest lists "
            f"{len(units)}; run the suite again"
        )
    for place, key in units.items():
        damages = run.check_unit(place, key, deep=False)
        if damages is None:
            raise GlanceBenchError(f"{folder} is not a finished run: {place} is missing; run the suite again")
        for damage in damages:
            if not damage.foreign:
                raise damage
    return run


def _features(run: Run) -> dict[str, bytes]:
    """The features of each extractor as a file; metrics on the same extractor share it."""
    import numpy as np

    from glance_bench.metrics.base import FROM_FEATURES

    found: dict[str, bytes] = {}
    for entry in run.manifest["metrics"]:
        if entry["kind"] not in FROM_FEATURES:
            continue
        name = f"features/{slug(Path(entry['folder']).name)}.npz"
        if name not in found:
            shas, values = run.features(entry["name"])
            buffer = io.BytesIO()
            np.savez(buffer, image_sha256=np.array(shas, dtype="S64"), features=values.astype(np.float32))
            found[name] = buffer.getvalue()
    return found


def read_features(folder: Path) -> dict[str, tuple[list[str], npt.NDArray[np.float32]]]:
    """The images' sha256 and their features, float32[N, D], by extractor.

    Raises Damaged for a file that holds no such arrays.
    """
    import zipfile

    import numpy as np

    found = {}
    for path in sorted((folder / "features").glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as arrays:
                shas, values = arrays["image_sha256"], arrays["features"]
            if values.dtype != np.float32 or values.ndim != 2 or shas.shape != values.shape[:1]:
                raise ValueError(f"{values.dtype}{list(values.shape)} for {len(shas)} images")
            found[path.stem] = [sha.decode("ascii") for sha in shas.tolist()], values
        except (OSError, ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise Damaged(path, f"holds no features ({error})") from error
    return found


def listed(folder: Path) -> Listing:
    """Size and sha256 of every file below ``folder``, by path with slashes."""
    return {name: list_file(folder / name) for name in files_below(folder)}


def list_file(path: Path) -> dict[str, Any]:
    """How a file is listed. Raises Damaged when it is missing."""
    try:
        return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    except FileNotFoundError as error:
        raise Damaged(path, "is missing") from error


def origin(evidence: Evidence) -> dict[str, Any]:
    """How a document says which run it is of: the run's name, and the digest and the seal of its results."""
    return {
        "run": evidence.name,
        "digest": evidence.results["digest"],
        "seal": evidence.results["seal"],
    }


def write_listing(path: Path, kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Write the document of a baseline or a bundle with its schema and a digest of itself. Returns what was written."""
    whole = {"schema": f"glance-bench/{kind}/{VERSION}", **document}
    whole["digest"] = digest_of(whole)
    write_atomic(path, json_bytes(whole), flush=False)
    return whole


def read_listing(path: Path, kind: str) -> dict[str, Any]:
    """The document of a baseline or a bundle (``kind``), verified. See ``checked_listing``."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GlanceBenchError(f"{path} cannot be read ({error.strerror})") from error
    return checked_listing(data, path, kind)


def checked_listing(data: bytes, path: Path, kind: str) -> dict[str, Any]:
    """``data`` as the document of schema ``glance-bench/<kind>/1``; ``path`` is named in errors.

    Raises GlanceBenchError for another version and Damaged for what is no such document, was altered, or lists files
    that have no place in one.
    """
    wanted = f"glance-bench/{kind}/{VERSION}"
    try:
        document = dict(json.loads(data))
        schema = document["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(path, f"is not the document of a {kind}") from error
    if schema != wanted:
        raise GlanceBenchError(
            f"{path} has the schema {schema!r}, this version reads {wanted!r}: make the {kind} again from its run"
        )
    if document.get("digest") != digest_of({k: v for k, v in document.items() if k != "digest"}):
        raise Damaged(path, "was altered: its content does not match its own digest")
    try:
        for name, file in document["files"].items():
            if not PLACES.fullmatch(name):
                raise Damaged(path, f"lists a file that has no place in a {kind}: {name!r}")
            if type(file["bytes"]) is not int or file["bytes"] < 0 or type(file["sha256"]) is not str:
                raise ValueError(name)
            if name.startswith("images/") and name != f"images/{file['sha256']}.png":
                raise Damaged(path, f"lists an image under the name of another: {name}")
        for key in ("run", "digest", "seal"):
            document["from"][key]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(path, f"is not the document of a {kind} ({error})") from error
    return document


def check_listed(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Hash every listed file.

    Raises Damaged for the first that is missing or altered, and for one that would be read but is not listed.
    """
    for name, file in files.items():
        there = list_file(folder / name)
        if there["bytes"] != file["bytes"]:
            raise Damaged(folder / name, f"has {there['bytes']} bytes where {file['bytes']} were written")
        if there["sha256"] != file["sha256"]:
            raise Damaged(folder / name, "was altered: its sha256 is not the recorded one")
    for name in files_below(folder):
        if PLACES.fullmatch(name) and name not in files:
            raise Damaged(folder / name, "is not one of the files that were written", foreign=True)


def read_packed(folder: Path, document: Mapping[str, Any]) -> Evidence:
    """The evidence in a folder of listed files, each of them verified. Raises as check_listed and read_evidence do."""
    check_listed(folder, document["files"])
    evidence = read_evidence(folder)
    if document["from"] != origin(evidence):
        raise Damaged(folder / "results.json", "belongs to another run")
    return evidence
