"""The errors a user is meant to read: one line with what is wrong, what was expected, the nearest name."""

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["Failures", "GlanceBenchError", "MissingData", "UsageError", "near_misses", "out_of_memory"]

# What torch says where it has no class for it: of host memory on Linux, elsewhere, and of memory to be pinned.
NO_MEMORY = ("can't allocate memory", "not enough memory", "CUDA error: out of memory")


class GlanceBenchError(Exception):
    """Something the run needs is missing, damaged or busy. The command line exits with ``exit_code``."""

    exit_code = 3


class UsageError(GlanceBenchError):
    """The request itself is wrong: a bad suite file, an unknown name, an argument out of range."""

    exit_code = 2


class MissingData(GlanceBenchError):
    """Published weights or prompt files that are not on this machine: what, how large, which command fetches them."""


class Failures(GlanceBenchError):
    """Several things that went wrong independently of each other; ``lines`` has one for each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of the GPU or the host ran out. Torch's class is told by name, so that this needs no torch."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(said in str(error) for said in NO_MEMORY)


def near_misses(name: str, valid: Iterable[str], limit: int = 3) -> str:
    """A clause with the valid names closest to ``name`` ("did you mean 'ocr'?"), or all when none is close.

    Returns "" when there are no valid names at all.
    """
    names = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f"valid: {shown}" + (", ..." if len(names) > 12 else "")
