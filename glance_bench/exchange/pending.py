"""Imported images as work for the score pass, which a suite's plan does not know of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glance_bench.errors import GlanceBenchError
from glance_bench.exchange.board import prompts_of
from glance_bench.exchange.record import read_imports
from glance_bench.units import read_unit

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt
    from glance_bench.store import Run
    from glance_bench.units import UnitInfo

__all__ = ["ImportedItem", "ImportedWork", "imported_works"]


@dataclass(frozen=True)
class ImportedItem:
    """One image, as far as scoring needs to know it."""

    prompt: Prompt


@dataclass(frozen=True)
class ImportedWork:
    """A unit of imported images; ``items`` are in the order of its record, as those of ``engine.plan.Work``."""

    info: UnitInfo
    items: tuple[ImportedItem, ...]


def imported_works(run: Run) -> list[ImportedWork]:
    """The units of imported samplers that the manifest lists.

    Raises GlanceBenchError for one that is damaged: it cannot be made again here, only imported again.
    """
    if not read_imports(run)["samplers"]:
        return []
    imported = {(e["model"], e["sampler"]) for e in run.manifest["samplers"] if "imported" in e}
    works = []
    for unit in run.units():
        if (unit.model, unit.sampler) not in imported:
            continue
        damages = run.check_unit(unit.folder, unit.key, deep=False)
        if damages is None or any(not damage.foreign for damage in damages):
            what = damages[0] if damages else f"{run.folder / unit.folder}: is missing"
            raise GlanceBenchError(f"{what}; import the images again as {unit.sampler!r}")
        prompts = prompts_of(run, unit.prompt_set)
        images = read_unit(run.folder / unit.folder)["images"]
        works.append(ImportedWork(unit, tuple(ImportedItem(prompts[image["prompt_id"]]) for image in images)))
    return works
