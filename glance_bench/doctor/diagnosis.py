"""JSON data of schema ``glance-bench/doctor/1``: a machine's record, what is found about it, and what runs on it.

- ``machine``: the record that all of the rest is judged from; ``doctor --machine FILE`` reads it again. ``gpus`` as the
  driver lists them (MiB), or ``driver_error``; ``torch`` with the architectures that it has code for (``kernels``) and
  the ``devices`` that it sees, each with the error of a small multiplication; memory in GiB, free space of ``disks`` in
  GB; ``hub``, with ``token`` true or false; ``libraries`` wanted and found; ``here``, weights and prompt sets by name.
- ``gpus``: for each compute capability whether bfloat16 is real or emulated, and which kernel attention takes by type.
- ``findings``: ``subject``, ``state`` ("ok", "note" or "bad"), ``what``, ``cure``.
- ``models`` and ``suites``: for each whether it ``runs``, its ``status`` in words, ``placements`` by model, reasons
  (``because``) and ``cures``; of a suite the ``profile`` taken, whether tiny models stand in (``stands_in``), and the
  metrics' weights that are not there (``waits``).
- ``runs``: whether any of the suites asked about runs.
"""

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
    """The document about the named suites, all of them when none is named. Raises UsageError for one that is none."""
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
