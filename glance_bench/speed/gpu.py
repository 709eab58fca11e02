"""What NVIDIA's management library says of a GPU: energy, clock, temperature, why it is throttled. No torch.

The library is an extra, ``glance-bench[gpu]``; without it, or where it does not know, there is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .record import State

__all__ = ["Monitor", "open_monitor"]

T = TypeVar("T")

REASONS = {  # bits of nvmlDeviceGetCurrentClocksEventReasons that slow a GPU down (nvml.h)
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal, by the driver",
    0x40: "thermal, by the hardware",
    0x80: "power brake",
}


class Monitor:
    """One GPU. ``nvml`` is the module ``pynvml`` of nvidia-ml-py, or what stands in for it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def joules(self) -> float | None:
        """Spent since the driver was loaded. Volta and later count it."""
        spent = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if spent is None else spent / 1000.0

    def state(self) -> State | None:
        """Now."""
        clock = self._ask(lambda h: self._nvml.nvmlDeviceGetClockInfo(h, self._nvml.NVML_CLOCK_SM))
        heat = self._ask(lambda h: self._nvml.nvmlDeviceGetTemperature(h, self._nvml.NVML_TEMPERATURE_GPU))
        bits = self._ask(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        if clock is None or heat is None or bits is None:
            return None
        throttled = [reason for bit, reason in REASONS.items() if bits & bit]
        return State(sm_mhz=clock, celsius=heat, throttled=throttled)

    def _ask(self, question: Callable[[Any], T]) -> T | None:
        try:
            return question(self._handle)
        except self._nvml.NVMLError:  # not supported by this GPU, or forbidden in this container
            return None


def open_monitor(uuid: str) -> tuple[Monitor | None, str]:
    """The GPU with this UUID ("GPU-..."), and "" or why it cannot be watched."""
    try:
        import pynvml
    except ImportError:
        return (
            None,
            "energy and clocks: not read, nvidia-ml-py is not installed (pip install glance-bench[gpu])",
        )
    try:
        pynvml.nvmlInit()
        return Monitor(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid)), ""
    except pynvml.NVMLError as error:
        return None, f"energy and clocks: not read ({error})"
