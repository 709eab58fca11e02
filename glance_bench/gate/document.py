"""The gate's outcome as one JSON document, from which every other format is made.

Schema ``glance-bench/gate/1``::

    schema, verdict, exit_code, on_inconclusive, settings, differences, notes
    run, baseline  {name, suite, profile, digest}
    counts         {pass, fail, inconclusive, informational}
    checks         [Check as a mapping; null where a number does not apply]

A later version adds keys; one that changes the meaning of a key changes the number in the schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..evidence import Evidence
    from .judge import Judgement
    from .settings import GateSettings

__all__ = ["SCHEMA", "document"]

SCHEMA = "glance-bench/gate/1"
VERDICTS = ("fail", "inconclusive", "pass", "informational")


def document(
    judgement: Judgement,
    baseline: Evidence,
    run: Evidence,
    settings: GateSettings,
    on_inconclusive: Literal["warn", "fail", "pass"],
) -> dict[str, Any]:
    """What the gate found, ready for JSON: plain values, no NaN."""
    checks = [asdict(check) for check in judgement.checks]
    made: dict[str, Any] = _plain(
        {
            "schema": SCHEMA,
            "verdict": judgement.verdict,
            "exit_code": judgement.exit_code(on_inconclusive),
            "on_inconclusive": on_inconclusive,
            "run": _side(run),
            "baseline": _side(baseline),
            "settings": settings.model_dump(),
            "differences": [asdict(d) | {"text": str(d)} for d in judgement.differences],
            "notes": list(judgement.notes),
            "counts": {verdict: sum(c["verdict"] == verdict for c in checks) for verdict in VERDICTS},
            "checks": checks,
        }
    )
    return made


def _side(evidence: Evidence) -> dict[str, Any]:
    results = evidence.results
    return {name: results.get(key) for name, key in
            (("name", "run"), ("suite", "suite"), ("profile", "profile"), ("digest", "digest"))}  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
