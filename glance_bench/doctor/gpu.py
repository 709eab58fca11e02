"""What a machine's GPUs can do with the torch that is installed: kernels, types, attention. Judges a record only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..models.placement import NATIVE_BFLOAT16
from ..profiles import Gpu
from .findings import Finding, pip
from .record import Machine

__all__ = ["ATTENTION", "V100_TORCH", "attention", "gpu_findings", "has_kernels", "obstacle"]

V100, TURING = 7.0, 7.5
V100_TORCH = ("torch==2.10.0", "torchvision==0.25.0")  # constraints/v100.txt: the last with code for sm_70
ATTENTION = ("float16", "bfloat16", "float32")


def has_kernels(compute: float, kernels: Sequence[str]) -> bool | None:
    """Whether code for these architectures runs at a compute capability; None when none is listed.

    Machine code (``sm_80``) runs on its own major version from its minor upwards, that of one chip (``sm_90a``) only
    there; intermediate code (``compute_90``) on everything from its own upwards.
    """
    if not kernels:
        return None
    for kind, number, chip in re.findall(r"\b(sm|compute)_(\d+)([a-z]?)\b", " ".join(kernels)):
        compiled = int(number) / 10
        exact = compiled == compute
        if kind == "sm":
            runs = exact or (not chip and int(compiled) == int(compute) and compiled <= compute)
        else:
            runs = exact or (not chip and compiled <= compute)
        if runs:
            return True
    return False


def attention(compute: float) -> dict[str, str]:
    """What ``scaled_dot_product_attention`` takes for each type on an NVIDIA GPU, without a mask.

    Flash attention takes 16-bit types from sm_80; the memory-efficient kernel takes float16 and float32, and bfloat16
    from sm_80; what neither takes goes the plain way, which holds the whole matrix of scores in memory.
    """
    real = compute >= NATIVE_BFLOAT16
    return {
        "float16": "flash" if real else "memory-efficient",
        "bfloat16": "flash" if real else "math",
        "float32": "memory-efficient",
    }


def obstacle(machine: Machine) -> Finding | None:
    """Why no GPU of the machine can be used, with the cure; None when one can, or when there is none to use."""
    torch = machine.torch
    if machine.driver_error:
        return Finding("GPU", "bad", machine.driver_error, _driver_cure(machine.driver_error))
    if not machine.gpus:
        return None
    gpu = machine.gpus[0]
    names = V100_TORCH if V100 <= gpu.compute < TURING else ("torch", "torchvision")
    if torch.version is None:
        return Finding("torch", "bad", torch.error or "torch is not installed", pip(*names))
    told = f"torch {torch.version}"
    if torch.cuda is None:
        cure = pip("--force-reinstall", *names)
        return Finding("torch", "bad", f"{told} is built without CUDA: it cannot use the {gpu.name}", cure)
    if has_kernels(gpu.compute, torch.kernels) is False:
        return Finding(
            "torch", "bad", f"{told} {_without(gpu, torch.kernels)}", _with_kernels(machine, names)
        )
    if not torch.devices:
        why = torch.error or "it says nothing of why"
        cure = "nvidia-smi"
        if "too old" in why:
            cure = f"update the NVIDIA driver to one for CUDA {torch.cuda}"
        elif machine.gpus[0].driver:
            why += f" (driver {gpu.driver}, torch built for CUDA {torch.cuda})"
        return Finding("torch", "bad", f"{told} does not find the {gpu.name}: {why}", cure)
    failed = [device for device in torch.devices if device.error]
    if len(failed) == len(torch.devices):
        what = f"{told} cannot multiply on the {gpu.name}: {failed[0].error}"
        return Finding("torch", "bad", what, pip("--force-reinstall", *names))
    return None


def gpu_findings(machine: Machine) -> Iterator[Finding]:
    """A line or more about each GPU, about torch, types and attention."""
    torch, hindered = machine.torch, obstacle(machine)
    for gpu in machine.gpus:
        free = "" if gpu.free_mib is None else f", {gpu.free_mib / 1024:.1f} GiB free"
        yield Finding("GPU", "ok", f"{gpu}{free}, compute capability {gpu.compute}")
    if not machine.gpus and not machine.driver_error:
        yield Finding("GPU", "note", "none; the testbed's models run on the processor")
    if hindered:
        yield hindered
    elif torch.version is None:
        yield Finding("torch", "bad", torch.error or "torch is not installed", pip("torch", "torchvision"))
    else:
        built = f"for CUDA {torch.cuda}" if torch.cuda else "without CUDA"
        code = f", code for {' '.join(torch.kernels)}" if torch.kernels else ""
        yield Finding("torch", "ok", f"{torch.version}, built {built}{code}")
    for compute in sorted({gpu.compute for gpu in machine.gpus}):
        yield _bfloat16(compute)
        picks = attention(compute)
        shown = ", ".join(f"{dtype} {picks[dtype]}" for dtype in ATTENTION)
        yield Finding("attention", "ok" if compute >= NATIVE_BFLOAT16 else "note", shown)


def gpu_document(compute: float) -> dict[str, Any]:
    """What a compute capability decides, as JSON data."""
    return {"compute": compute, "bfloat16": _real(compute), "attention": attention(compute)}


def _real(compute: float) -> str:
    return "real" if compute >= NATIVE_BFLOAT16 else "emulated"


def _bfloat16(compute: float) -> Finding:
    if compute >= NATIVE_BFLOAT16:
        return Finding("bfloat16", "ok", "real")
    return Finding(
        "bfloat16", "note", "emulated, whatever torch.cuda.is_bf16_supported() says; float16 is the fast type"
    )


def _without(gpu: Gpu, kernels: Sequence[str]) -> str:
    return f"has no code for the {gpu.name} (sm_{gpu.compute * 10:.0f}), only for {' '.join(kernels)}"


def _driver_cure(error: str) -> str:
    if "mismatch" in error:
        return "sudo reboot"  # the driver was updated since the machine started
    return "sudo modprobe nvidia" if "communicate" in error else "nvidia-smi"


def _with_kernels(machine: Machine, names: Sequence[str]) -> str:
    """How to get a torch with code for the GPU."""
    gpu, base = machine.gpus[0], str(machine.torch.version).partition("+")[0]
    if f"torch=={base}" in names:  # for another CUDA, such as 2.10.0+cu130: to pip the same version
        return pip("--force-reinstall", *names)
    if names == V100_TORCH:
        return pip(*names)
    if gpu.compute > V100:  # newer than what this torch knows
        return pip("--upgrade", *names)
    return f"install an older torch with code for sm_{gpu.compute * 10:.0f}: pytorch.org/get-started/previous-versions"
