"""What a finished run leaves for statistics, read back and verified: no images are needed, and no torch.

Comparisons, the gate, leaderboards and tables read this and nothing else, so that they take a run folder, a saved
baseline and an unpacked bundle alike: any folder with FILES in it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import GlanceBenchError
from .sealed import Damaged, digest_of, sha256_bytes, write_atomic

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FILES", "SCHEMA", "TABLES", "Evidence", "read_evidence", "results_seal", "write_evidence"]

SCHEMA = "glance-bench/results/2"
TABLES = ("samples.parquet", "timing.parquet")
FILES = ("results.json", *TABLES, "prompts.json", "suite.json")
OPTIONAL = ("env.json",)


@dataclass(frozen=True)
class Evidence:
    """One run without its images.

    ``results`` is results.json, ``samples`` and ``timing`` are the tables described in ``samples``, ``prompts`` the
    texts by prompt set and prompt id, ``suite`` the resolved suite, ``environment`` env.json or empty.
    """

    name: str
    path: Path
    results: Mapping[str, Any]
    samples: pd.DataFrame
    prompts: Mapping[str, Mapping[str, str]]
    timing: pd.DataFrame
    suite: Mapping[str, Any]
    environment: Mapping[str, Any]


def results_seal(document: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of a results document but for the seal itself."""
    return digest_of({key: value for key, value in document.items() if key != "seal"})


def read_evidence(path: Path) -> Evidence:
    """The evidence in a folder.

    Raises GlanceBenchError for a folder that holds no finished run and for another schema version, Damaged for a file
    that was altered, by hand or otherwise.
    """
    results = _results(path)
    tables = {name: _table(path, results, name) for name in TABLES}
    sets = _document(path, "prompts.json")["sets"]
    environment = _document(path, "env.json") if (path / "env.json").is_file() else {}
    return Evidence(
        name=str(results["run"]),
        path=path,
        results=results,
        samples=tables["samples.parquet"],
        prompts={one["name"]: {p["id"]: p["text"] for p in one["prompts"]} for one in sets},
        timing=tables["timing.parquet"],
        suite=_document(path, "suite.json"),
        environment=environment,
    )


def write_evidence(evidence: Evidence, folder: Path) -> None:
    """The same files in another folder, byte for byte."""
    for name in (*FILES, *OPTIONAL):
        if (evidence.path / name).is_file():
            write_atomic(folder / name, (evidence.path / name).read_bytes())


def _results(path: Path) -> dict[str, Any]:
    document = _document(path, "results.json")
    schema = document.get("schema")
    if schema != SCHEMA:
        raise GlanceBenchError(
            f"{path / 'results.json'} has the schema {schema!r}, this version reads {SCHEMA!r}: "
            "run its suite again (images and scores are kept)"
        )
    if document.get("seal") != results_seal(document) or "tables" not in document:
        raise Damaged(path / "results.json", "was altered: its content does not match its own digest")
    return document


def _document(path: Path, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads((path / name).read_bytes()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GlanceBenchError(f"{path} is not a finished run: it has no {name}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged(path / name, f"is not a JSON document ({error})") from error


def _table(path: Path, results: Mapping[str, Any], name: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        data = (path / name).read_bytes()
    except FileNotFoundError as error:
        raise GlanceBenchError(f"{path} is not a finished run: it has no {name}") from error
    if sha256_bytes(data) != results["tables"][name]:
        raise Damaged(path / name, "was altered: its sha256 is not the one in results.json")
    try:
        return pd.read_parquet(io.BytesIO(data))
    except (OSError, pa.ArrowException) as error:
        raise Damaged(path / name, f"cannot be read as Parquet ({error})") from error
