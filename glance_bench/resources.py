"""Where files lie: the YAML that ships with the package, and what is kept for the user between runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import platformdirs

__all__ = ["cache_dir", "data_dir"]

_PACKAGE = Path(__file__).resolve().parent


def data_dir(kind: Literal["baselines", "suites"]) -> Path:
    """The folder of the shipped sampler cards or suites.

    A source checkout (the package's parent holds ``pyproject.toml`` and the folder) wins, so that edits are
    seen at once; an installed wheel carries the same files in ``glance_bench/_data``.

    Raises:
        FileNotFoundError: neither place has the folder, which means a damaged installation.
    """
    checkout = _PACKAGE.parent / kind
    if (_PACKAGE.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    packaged = _PACKAGE / "_data" / kind
    if packaged.is_dir():
        return packaged
    raise FileNotFoundError(f"{kind}: neither {checkout} nor {packaged} exists; reinstall glance-bench")


def cache_dir() -> Path:
    """The user's cache folder, which may not exist yet; ``GLANCE_BENCH_CACHE`` overrides it."""
    return Path(os.environ.get("GLANCE_BENCH_CACHE") or platformdirs.user_cache_dir("glance-bench"))
