"""Where the YAML files that ship with the package lie: beside it in a checkout, inside it once installed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
