"""What a run looks like to a reader: a table in the terminal and one HTML page. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glance_bench.store import Run

__all__ = ["render"]


def render(run: Run, results: Mapping[str, Any], out: Path) -> Path:
    """Write ``out/index.html``, see ``page.render``. The page's libraries are imported only when it is made."""
    from glance_bench.report import page

    return page.render(run, results, out)
