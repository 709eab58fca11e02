"""What a `speed` command asks for, checked before anything is loaded. No torch at import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from ..errors import GlanceBenchError, UsageError, near_misses
from ..machine import settle_threads
from ..models.placement import CONTEXT
from ..profiles import Gpu

__all__ = ["TEACHER", "Request"]

TEACHER = "teacher-50"
DTYPES = ("float32", "float16", "bfloat16")
GIB, MIB = 2**30, 2**20
V100 = 7.0  # compute capability


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
    dtype: str | None
    device: str
    placement: str
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
        placement: str,
        limit: float | None,
    ) -> Self:
        """Empty ``dtype`` and ``device`` mean what suits: the GPU where there is one, and the model's numbers there.

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
        check_device(device, dtype)
        if limit is not None:
            _check_limit(limit, device, dtype)
        return cls(
            models=tuple(dict.fromkeys(models)),
            samplers=tuple(dict.fromkeys([TEACHER, *samplers])),
            random_weights=random_weights,
            blocks=blocks,
            warmup=warmup,
            batch=batch,
            side=side,
            dtype=dtype or None,
            device=device,
            placement=placement,
            limit=limit,
        )

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """While it lasts, torch takes no more of the GPU than ``limit`` and attends as a V100 must.

        The context, which torch does not count, is within the limit as it is within the needs of a placement. A V100
        attends without the flash and cuDNN kernels, which need compute capability 8.0.
        """
        if self.limit is None:
            yield
            return
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((self.limit - CONTEXT) * GIB / whole)
        try:
            with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
                yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    @property
    def gpu(self) -> Gpu | None:
        """The GPU as placements see it, None for a CPU: a rehearsed one has a V100's compute capability."""
        if self.device == "cpu":
            return None
        import torch

        about = torch.cuda.get_device_properties(0)
        if self.limit is not None:
            return Gpu(about.name, round(self.limit * 1024), V100)
        free = torch.cuda.mem_get_info()[0]
        return Gpu(about.name, about.total_memory // MIB, about.major + about.minor / 10, free // MIB)


def _check_limit(limit: float, device: str, dtype: str) -> None:
    import torch

    if device != "cuda":
        raise GlanceBenchError(
            "--limit-memory rehearses a smaller GPU's memory and needs a GPU; this is a CPU"
        )
    if dtype not in ("", "float16"):
        raise UsageError(f"--limit-memory rehearses in float16, not in {dtype}: leave --dtype out")
    if limit <= CONTEXT:
        raise UsageError(f"--limit-memory {limit:g}: CUDA's context alone takes about {CONTEXT:g} GiB")
    whole = torch.cuda.get_device_properties(0).total_memory / GIB
    if limit > whole:
        raise UsageError(f"--limit-memory {limit:g}: the GPU has {whole:.0f} GiB")
