"""A gate's document as a report shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glance_bench.errors import GlanceBenchError
from glance_bench.gate.document import SCHEMA

__all__ = ["read_gate"]


def read_gate(file: Path) -> Mapping[str, Any]:
    """What ``glance-bench gate --format json`` wrote. Raises GlanceBenchError for anything else."""
    try:
        document = json.loads(file.read_bytes())
        schema = document["schema"]
    except FileNotFoundError as error:
        raise GlanceBenchError(f"{file} is not there") from error
    except (ValueError, KeyError, TypeError) as error:
        raise GlanceBenchError(f"{file} is no gate's document: write it with gate --format json") from error
    if schema != SCHEMA:
        raise GlanceBenchError(f"{file} has the schema {schema!r}, this version reads {SCHEMA!r}")
    return dict(document)
