"""The doctor's document: a machine's record, what is found about it, and what runs on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..registry import MODELS
from ..suite import list_suites
from .gpu import gpu_document, gpu_findings
from .record import Machine
from .surroundings import surroundings
from .verdicts import judge_model, judge_suite

__all__ = ["SCHEMA", "diagnose"]

SCHEMA = "glance-bench/doctor/1"


def diagnose(machine: Machine, suites: Sequence[str] = ()) -> dict[str, Any]:
    """JSON data of schema ``glance-bench/doctor/1``:

    - ``machine``: the record that all of the rest is judged from; ``doctor --machine FILE`` reads it again;
    - ``gpus``: for each compute capability, whether bfloat16 is real and which kernel attention takes by type;
    - ``findings``: subject, state (ok, note, bad), what, cure;
    - ``models`` and ``suites``: for each whether it runs, its status in words, placements, reasons and cures;
    - ``runs``: whether any of ``suites`` runs, or when none is named, any of all of them.

    Raises UsageError for a suite that is none.
    """
    judged = [judge_suite(machine, name) for name in suites or list_suites()]
    return {
        "schema": SCHEMA,
        "machine": machine.document(),
        "gpus": [gpu_document(compute) for compute in sorted({gpu.compute for gpu in machine.gpus})],
        "findings": [one.document() for one in (*gpu_findings(machine), *surroundings(machine))],
        "models": [judge_model(machine, name).document() for name in MODELS.names()],
        "suites": [one.document() for one in judged],
        "runs": any(one.runs for one in judged),
    }
