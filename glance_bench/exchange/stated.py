"""What somebody says a sampler costs. It is shown as stated, never put beside what was measured here."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.sealed import sha256_bytes

__all__ = ["read_latency"]


def read_latency(path: Path) -> dict[str, Any]:
    """Seconds for one image from a file: their median, quartiles and number, the file's name and sha256.

    A JSON number, list, or object with ``seconds`` (and perhaps ``hardware``, a string that is kept); a CSV file
    with a column ``seconds``; or one number a line. Raises UsageError when it is none of these, or a number is not
    positive; GlanceBenchError when it cannot be read.
    """
    import numpy as np

    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise GlanceBenchError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text") from error
    values, hardware = _values(text)
    try:
        seconds = [float(value) for value in values]
    except (TypeError, ValueError):
        seconds = []
    if not seconds or not all(math.isfinite(value) and value > 0 for value in seconds):
        raise UsageError(
            f"{path}: expected seconds for one image, all positive: JSON (a number, a list, or an object with "
            "'seconds'), CSV with a column 'seconds', or a number a line"
        )
    q25, median, q75 = (float(value) for value in np.quantile(seconds, [0.25, 0.5, 0.75]))
    stated: dict[str, Any] = {"median": median, "q25": q25, "q75": q75, "n": len(seconds)}
    stated |= {"file": path.name, "sha256": sha256_bytes(data)}
    return stated | ({"hardware": hardware} if hardware else {})


def _values(text: str) -> tuple[list[Any], str]:
    try:
        document = json.loads(text)
    except ValueError:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines and "seconds" in lines[0]:
            rows = csv.DictReader(io.StringIO(text, newline=""))
            return [row.get("seconds") for row in rows], ""
        return list(lines), ""
    hardware = ""
    if isinstance(document, dict):
        hardware = str(document.get("hardware", ""))[:200]
        document = document.get("seconds")
    return (document if isinstance(document, list) else [document]), hardware
