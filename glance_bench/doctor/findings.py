"""What the doctor says of one thing, and how it words a cure."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Finding", "pip"]


@dataclass(frozen=True)
class Finding:
    """One line: the ``subject``, whether it is well, ``what`` was found, and the command that mends it ("": none).

    "note" is for what is as it is and worth knowing.
    """

    subject: str
    state: Literal["ok", "note", "bad"]
    what: str
    cure: str = ""

    def document(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def pip(*arguments: str) -> str:
    """The line that installs these."""
    return shlex.join(["python", "-m", "pip", "install", *arguments])
