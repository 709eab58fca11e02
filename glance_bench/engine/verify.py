"""Hash a whole run again: images and records, scores, strips, the results, and what the page was made from."""

from __future__ import annotations

from ..errors import GlanceBenchError
from ..evidence import FILES, read_evidence
from ..sealed import Damaged, find_sealed, read_sealed
from ..store import Run
from ..strips import check_strip

__all__ = ["verify"]

SEALED_ROOMS = {"scores": "parquet", "features": "npz", "timing": "parquet", "embeddings": "safetensors"}


def verify(run: Run) -> list[Damaged]:
    """Everything that is missing, altered or foreign, by file. Raises GlanceBenchError for what is no run."""
    wrong: list[Damaged] = []
    for unit in run.units():
        damages = run.check_unit(unit.folder, unit.key, deep=True)
        wrong += [Damaged(run.folder / unit.folder, "was never made")] if damages is None else damages
    for room, suffix in SEALED_ROOMS.items():
        for folder in sorted((run.folder / room).glob("*")):
            for path in find_sealed(folder, suffix).values():
                try:
                    read_sealed(path)
                except Damaged as damage:
                    wrong.append(damage)
    for entry in run.manifest.get("strips", []):
        for key in entry["keys"]:
            damages = check_strip(run.folder / entry["folder"], key)
            missing = Damaged(run.folder / entry["folder"] / key, "was never made")
            wrong += [missing] if damages is None else damages
    return wrong + _results(run)


def _results(run: Run) -> list[Damaged]:
    for name in FILES:
        if not (run.folder / name).is_file():
            return [Damaged(run.folder / name, "is missing")]
    try:
        read_evidence(run.folder)
    except Damaged as damage:
        return [damage]
    except GlanceBenchError as error:
        return [Damaged(run.folder / "results.json", str(error))]
    return []
