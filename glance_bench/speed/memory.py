"""The most memory that something held: on a GPU as torch counts it there, on a CPU in the process. No torch at import.

Linux keeps a process's peak and starts it anew on request, so each sampler's can be told apart.
"""

from __future__ import annotations

from pathlib import Path

from .record import Memory

__all__ = ["Gauge", "largest"]

GIB = 2**30
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FROM_HERE = "5"  # what the kernel takes for: the peak is now what is resident


class Gauge:
    """For "cpu" or "cuda". Made before the model is loaded: on a CPU, memory counts from there."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._before = None if device == "cuda" else _kib("VmRSS")

    def start(self) -> None:
        """From here on the peak counts."""
        if self._device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        elif self._before is not None:
            try:
                RESET.write_text(FROM_HERE)
            except OSError:  # a kernel or a sandbox that does not let it: then there is no peak to tell
                self._before = None

    def peak(self) -> Memory:
        """Since ``start``; empty where the system does not say."""
        if self._device == "cuda":
            import torch

            allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
            return Memory(allocated=allocated / GIB, reserved=reserved / GIB)
        highest = _kib("VmHWM")
        if self._before is None or highest is None:
            return Memory()
        return Memory(resident=max(0, highest - self._before) * 1024 / GIB)


def largest(peaks: list[Memory]) -> Memory:
    """Each figure's maximum."""
    figures = {name: [getattr(peak, name) for peak in peaks] for name in Memory.model_fields}
    return Memory(**{name: max(values) for name, values in figures.items() if values and None not in values})


def _kib(field: str) -> int | None:
    try:
        rows = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return int(rows[field].split()[0])
    except (OSError, KeyError):  # no Linux
        return None
