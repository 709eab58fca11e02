"""What a `speed` command asks for, checked before anything is loaded. No torch at import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from ..errors import GlanceBenchError, UsageError, near_misses
from ..machine import free_ram_gib, settle_threads

__all__ = ["TEACHER", "Request"]

TEACHER = "teacher-50"
DTYPES = ("float32", "float16", "bfloat16")
GIB = 2**30


@dataclass(frozen=True)
class Request:
    """``samplers`` begin with the teacher; ``side`` is in pixels, ``limit`` in GiB."""

    models: tuple[str, ...]
    samplers: tuple[str, ...]
    random_weights: bool
    blocks: int
    warmup: int
    batch: int
    side: int | None
    dtype: str
    device: str
    limit: float | None

    @classmethod
    def resolve(
        cls,
        models: Sequence[str],
        samplers: Sequence[str],
        *,
        random_weights: bool,
        blocks: int,
        warmup: int,
        batch: int,
        side: int | None,
        dtype: str,
        device: str,
        limit: float | None,
    ) -> Self:
        """Empty ``dtype`` and ``device`` mean the fastest there is: a GPU, in 16 bits.

        Raises UsageError for what does not go together, and GlanceBenchError for a device that is not there.
        """
        settle_threads()
        import torch

        from ..engine.generate import check_device

        if device not in ("", "cpu", "cuda"):
            raise UsageError(f"--device {device}: expected cpu or cuda")
        if dtype and dtype not in DTYPES:
            raise UsageError(f"--dtype {dtype}: {near_misses(dtype, DTYPES)}")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        check_device(device)
        if limit is not None:
            _check_limit(limit, device, dtype)
        if not dtype:
            modern = device == "cuda" and limit is None and torch.cuda.get_device_capability() >= (8, 0)
            dtype = "float32" if device == "cpu" else "bfloat16" if modern else "float16"
        return cls(
            models=tuple(dict.fromkeys(models)),
            samplers=tuple(dict.fromkeys([TEACHER, *samplers])),
            random_weights=random_weights,
            blocks=blocks,
            warmup=warmup,
            batch=batch,
            side=side,
            dtype=dtype,
            device=device,
            limit=limit,
        )

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """While it lasts, torch takes no more of the GPU than ``limit``, and attends as a V100 must.

        That is without the flash and cuDNN kernels, which need compute capability 8.0.
        """
        if self.limit is None:
            yield
            return
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(self.limit * GIB / whole)
        try:
            with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
                yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    @property
    def free_gib(self) -> float:
        """What weights may take on the device."""
        if self.device == "cpu":
            return free_ram_gib()
        import torch

        free = torch.cuda.mem_get_info()[0] / GIB
        return free if self.limit is None else min(free, self.limit)


def _check_limit(limit: float, device: str, dtype: str) -> None:
    import torch

    if device != "cuda":
        raise GlanceBenchError(
            "--limit-memory rehearses a smaller GPU's memory and needs a GPU; this is a CPU"
        )
    if dtype not in ("", "float16"):
        raise UsageError(f"--limit-memory rehearses in float16, not in {dtype}: leave --dtype out")
    whole = torch.cuda.get_device_properties(0).total_memory / GIB
    if limit > whole:
        raise UsageError(f"--limit-memory {limit:g}: the GPU has {whole:.0f} GiB")
