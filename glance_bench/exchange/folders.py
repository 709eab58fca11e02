"""What lies below a folder, said in full or refused."""

from __future__ import annotations

import os
from pathlib import Path

from glance_bench.errors import GlanceBenchError

__all__ = ["files_below", "is_inside"]


def files_below(folder: Path) -> list[str]:
    """Paths of all files below ``folder``, sorted, with slashes. Links count as files and are not followed.

    Raises GlanceBenchError for a folder in it that cannot be read: no part is passed over in silence.
    """

    def fail(error: OSError) -> None:
        raise GlanceBenchError(f"cannot read {error.filename}: {error.strerror}") from error

    found = []
    for place, folders, names in os.walk(folder, onerror=fail):
        here = Path(place).relative_to(folder)
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [(here / name).as_posix() for name in [*names, *links]]
    return sorted(found)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether ``path``, links followed, lies below ``folder``: a folder of somebody else's may link anywhere."""
    return path.resolve().is_relative_to(folder.resolve())
