"""What known GPUs compute at most, as their data sheets say: dense, without sparsity. No torch.

Half precision is that of the tensor cores; single precision that of the ordinary cores, which torch uses for float32
matrices unless TensorFloat-32 is allowed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Peak", "peak_of"]


class Peak(NamedTuple):
    """10^12 operations a second, or None, and who says so, or why there is none."""

    tflops: float | None
    source: str


class _Sheet(NamedTuple):
    """``name`` is a pattern in the name that the driver gives; the first that fits counts."""

    name: str
    half: float
    single: float
    source: str
    bfloat16: bool = True


_SHEETS = (
    _Sheet("V100-PCIE", 112.0, 14.0, "NVIDIA V100 data sheet, January 2020, PCIe", bfloat16=False),
    _Sheet("V100S-PCIE", 130.0, 16.4, "NVIDIA V100 data sheet, January 2020, V100S", bfloat16=False),
    _Sheet("V100-SXM2", 125.0, 15.7, "NVIDIA V100 data sheet, January 2020, NVLink", bfloat16=False),
    _Sheet("Tesla T4", 65.0, 8.1, "NVIDIA T4 data sheet", bfloat16=False),
    _Sheet("A100", 312.0, 19.5, "NVIDIA A100 data sheet, June 2021"),
    _Sheet(r"A10$", 125.0, 31.2, "NVIDIA A10 data sheet"),
    _Sheet("L40S", 362.0, 91.6, "NVIDIA L40S data sheet"),
    _Sheet(r"RTX 3090$", 71.2, 35.6, "NVIDIA Ampere GA102 whitepaper, half with single accumulation"),
    _Sheet(r"RTX 4090$", 165.2, 82.6, "NVIDIA Ada whitepaper, half with single accumulation"),
    _Sheet("H100 PCIe", 756.0, 51.2, "NVIDIA H100 data sheet, PCIe"),
    _Sheet("H100 NVL", 835.5, 60.0, "NVIDIA H100 data sheet, NVL"),
    _Sheet(r"\bH100\b", 989.4, 66.9, "NVIDIA H100 whitepaper, SXM5"),
    _Sheet("H200 NVL", 835.5, 60.0, "NVIDIA H200 data sheet, NVL"),
    _Sheet(r"\bH200\b", 989.4, 66.9, "NVIDIA H200 data sheet, SXM"),
)


def peak_of(device: str, name: str, dtype: str) -> Peak:
    """The peak of the GPU called ``name`` in ``dtype``."""
    if device != "cuda":
        return Peak(None, "a processor's peak is not on its data sheet")
    sheet = next((one for one in _SHEETS if re.search(one.name, name)), None)
    if sheet is None:
        return Peak(None, f"the peak of {name} is not known here")
    if dtype == "bfloat16" and not sheet.bfloat16:
        return Peak(None, f"{name} emulates bfloat16")
    return Peak(sheet.single if dtype == "float32" else sheet.half, sheet.source)
