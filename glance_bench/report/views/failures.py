"""Failures: images ranked by how far they fall behind the reference's, with causes and with what is significant."""

from __future__ import annotations

from typing import Any

from glance_bench.report.model import Report
from glance_bench.report.views.prompts import headlines, lengths

__all__ = ["TITLE", "context"]

TITLE = "Failures"


def context(report: Report) -> dict[str, Any]:
    """The choices of the form."""
    return {"columns": headlines(report), "lengths": lengths(report)}
