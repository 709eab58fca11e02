"""What runs look like to a reader: tables in the terminal, and a report that a browser opens. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glance_bench.report.site import Written

__all__ = ["render"]


def render(folders: Sequence[Path], out: Path) -> Written:
    """Write the report of finished runs into ``out``; see ``site.write_report``."""
    from glance_bench.report.model import load
    from glance_bench.report.site import write_report

    return write_report(load(folders), out)
