"""Where a pipeline's parts lie while it draws, in which numbers, and what that needs. No torch.

A plan says which parts are on the GPU together, what the transformer's weights are stored in, and in what dtype it
computes. All plans but ``all-on-gpu`` encode the prompts first and drop the text encoders before the transformer is
loaded. In the order in which they are tried, the fastest first:

``all-on-gpu``         the whole pipeline on the device, as without a placement
``encode-then-drop``   the encoders, then the transformer and the autoencoder
``quanto-int8``        the same, weights in 8-bit integers (optimum-quanto)
``quanto-float8``      the same, weights in 8-bit floats (optimum-quanto)
``bnb-nf4``            the same, weights in 4-bit normal floats (bitsandbytes)
``group-offload``      weights in host memory, fetched block by block, the next while one computes
``sequential``         weights in host memory, fetched layer by layer

Equal numbers, equal class
--------------------------
``Plan.numerics`` is what of a placement can change a pixel: the stored weights, and the dtype that prompts are encoded
in where it is not the transformer's own. Plans that only move the same numbers about (``all-on-gpu``,
``encode-then-drop``, ``group-offload``, ``sequential``) share a class, and their images are equal, so a run that is
out of memory may go on with the next of them under the same unit keys. The class of today's default is empty and adds
nothing to a key. A quantised plan is a class of its own: nothing falls into it under another class's key.

Numbers by GPU
--------------
From compute capability 8.0 on both families compute in bfloat16. Before that, bfloat16 is emulated, slowly, and
refused unless ``GLANCE_BENCH_EMULATED_BFLOAT16=1`` asks for it. There FLUX computes in float16, which diffusers clips
for, and T5 encodes in float32. Qwen-Image overflows in float16 and computes in float32. A CPU takes float32.

Needs
-----
``gpu_gib`` is what must be free for one image at a time: the context, the weights that lie there together, and the
larger of the transformer's and the decoder's activations. It is arithmetic from counts of parameters, and ``source``
says so.
``ram_gib`` is what must be free of host memory: weights pass through it on their way to the GPU.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from ..errors import GlanceBenchError, MissingData, UsageError, near_misses
from ..profiles import Gpu
from .sizes import Sizes, sizes_of

__all__ = [
    "BITS",
    "CONTEXT",
    "FORCED",
    "PACKAGES",
    "PLANS",
    "Plan",
    "activation_dtype",
    "choose",
    "lacking",
    "pick",
    "placement",
    "placements",
    "reading",
    "refuse_emulation",
    "refuse_to_read",
]

PLANS = (
    "all-on-gpu",
    "encode-then-drop",
    "quanto-int8",
    "quanto-float8",
    "bnb-nf4",
    "group-offload",
    "sequential",
)
WEIGHTS = {"quanto-int8": "int8", "quanto-float8": "float8", "bnb-nf4": "nf4"}  # the others': plain
OFFLOADED = {"group-offload": "block", "sequential": "layer"}
PACKAGES = {"float8": "optimum-quanto", "int8": "optimum-quanto", "nf4": "bitsandbytes"}
MODULES = {"optimum-quanto": "optimum.quanto", "bitsandbytes": "bitsandbytes"}
NATIVE_BFLOAT16 = 8.0  # compute capability
FORCED = "GLANCE_BENCH_EMULATED_BFLOAT16"

# A stored weight: 4.5 is 4 bits and a float32 scale for each 64 weights, bitsandbytes without double quantisation.
BITS = {"float32": 32.0, "bfloat16": 16.0, "float16": 16.0, "float8": 8.0, "int8": 8.0, "nf4": 4.5}

GIB = 2**30
CONTEXT = 0.8  # GiB: CUDA's context, its libraries' workspaces, the allocator's rounding
PROCESS = 2.0  # GiB of host memory: Python, torch and diffusers
PINNED = 16 / 9  # torch rounds pinned memory up to a power of two; the large layers are 9 times one
DECODED = (
    1000  # values a pixel, about, while an image is decoded: the last blocks are 96 to 256 channels wide
)
DENOISED = 34 * 3072  # values a token while a block is evaluated
TEXT = 512  # tokens


@dataclass(frozen=True)
class Plan:
    """One placement of one model on one generation of GPUs.

    Attributes:
        name: one of ``PLANS``.
        family: of the model.
        device: "cuda" or "cpu".
        dtype: what the transformer and the autoencoder compute in.
        encoding: what the text encoders compute in.
        gpu_gib: free GPU memory that one image at a time needs, GiB; 0 on a CPU.
        encode_gib: free GPU memory with which the encoders go there too, GiB; with less they stay on the CPU.
        ram_gib: free host memory that it needs, GiB.
        source: where the needs are from: "estimated: ..." or "measured: <device>".
    """

    name: str
    family: str
    device: str
    dtype: str
    encoding: str
    gpu_gib: float
    encode_gib: float
    ram_gib: float
    source: str

    @property
    def weights(self) -> str:
        """How the transformer's weights are stored: "plain", "int8", "float8" or "nf4"."""
        return WEIGHTS.get(self.name, "plain")

    @property
    def offload(self) -> str | None:
        """What is fetched from host memory at a time: "block", "layer", or None."""
        return OFFLOADED.get(self.name)

    @property
    def drops_encoders(self) -> bool:
        return self.name != "all-on-gpu"

    @property
    def speed_rank(self) -> int:
        """0 for the fastest: the order of ``PLANS``, by what each adds to an evaluation. Nothing was timed."""
        return PLANS.index(self.name)

    @property
    def numerics(self) -> str:
        """What can change a pixel besides ``dtype``, such as "weights int8, encoding float32"; "" for the default."""
        differs = [f"weights {self.weights}"] if self.weights != "plain" else []
        return ", ".join(differs + ([f"encoding {self.encoding}"] if self.encoding != self.dtype else []))

    def dtype_for(self, compute: float | None) -> str:
        """What this plan's model computes in on a GPU of this compute capability; None is a CPU."""
        return activation_dtype(self.family, None, compute)

    def document(self) -> dict[str, str | float]:
        """JSON data."""
        return {
            "plan": self.name,
            "dtype": self.dtype,
            "encoding": self.encoding,
            "gpu_gib": round(self.gpu_gib, 1),
            "ram_gib": round(self.ram_gib, 1),
            "source": self.source,
        }

    def __str__(self) -> str:
        where = f"{self.gpu_gib:.1f} GiB of the GPU and " if self.device == "cuda" else ""
        return f"{self.name}, {self.dtype}: {where}{self.ram_gib:.1f} GiB of memory, {self.source}"


def activation_dtype(family: str, wanted: str | None, compute: float | None) -> str:
    """What a family computes in when ``wanted`` (None: whatever suits) on this compute capability; None is a CPU.

    float16 is widened to float32 where the family overflows in it. Raises UsageError for another family.
    """
    if family not in ("flux", "qwen_image"):
        raise UsageError(f"family {family!r} has no placements; it places itself")
    if wanted is None:
        wanted = "float32" if compute is None else "float16" if compute < NATIVE_BFLOAT16 else "bfloat16"
    return "float32" if wanted == "float16" and family == "qwen_image" else wanted


def placements(
    model: str | Path,
    resolution: int | tuple[int, int] | None = None,
    compute: float | None = NATIVE_BFLOAT16,
    dtype: str | None = None,
) -> list[Plan]:
    """Every plan for a model (see ``sizes_of``), the fastest first.

    ``resolution`` is a side or (height, width) in pixels, by default the model's own; ``compute`` the GPU's compute
    capability, None for a CPU; ``dtype`` what is wanted instead of what suits the GPU.
    """
    sizes = sizes_of(model)
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution or sizes.pixels
    return [_plan(name, sizes, height * width, compute, dtype) for name in PLANS]


def placement(
    name: str,
    model: str | Path,
    resolution: int | tuple[int, int] | None = None,
    compute: float | None = NATIVE_BFLOAT16,
    dtype: str | None = None,
) -> Plan:
    """One of ``placements`` by name. Raises UsageError for an unknown name."""
    if name not in PLANS:
        raise UsageError(f"unknown placement {name!r}; {near_misses(name, [*PLANS, 'auto'])}")
    return placements(model, resolution, compute, dtype)[PLANS.index(name)]


def choose(
    model: str | Path,
    gpu: Gpu | None,
    ram_gib: float,
    resolution: int | tuple[int, int] | None = None,
    dtype: str | None = None,
    *,
    here: bool = False,
) -> tuple[Plan | None, dict[str, str]]:
    """The fastest plan that fits what is free, None when none does, and of each plan whether it fits or why not.

    ``gpu`` is None for a CPU, ``ram_gib`` the free host memory, ``here`` is as in ``lacking``. The rest is as in
    ``placements``.
    """
    chosen, said = None, {}
    for plan in placements(model, resolution, gpu.compute if gpu else None, dtype):
        lacks = lacking(plan, gpu, ram_gib, here=here)
        said[plan.name] = lacks or f"fits: {plan}"
        chosen = chosen or (None if lacks else plan)
    return chosen, said


def pick(
    wanted: str | None,
    model: str | Path,
    gpu: Gpu | None,
    ram_gib: float,
    resolution: int | tuple[int, int] | None = None,
    dtype: str | None = None,
    *,
    here: bool = False,
) -> tuple[Plan | None, dict[str, str]]:
    """What ``choose`` says when a suite wants ``auto``; of a plan by its name, or of the default for None, the same."""
    if wanted == "auto":
        return choose(model, gpu, ram_gib, resolution, dtype, here=here)
    compute = gpu.compute if gpu else None
    if (
        wanted is None and dtype == "float16"
    ):  # without a placement nothing is widened: as large as in bfloat16
        plan = placement(PLANS[0], model, resolution, compute, "bfloat16")
        plan = replace(plan, dtype=dtype, encoding=dtype)
    else:
        plan = placement(wanted or PLANS[0], model, resolution, compute, dtype)
    lacks = lacking(plan, gpu, ram_gib, here=here)
    hint = "" if wanted or not lacks else "; placement: auto looks for one that fits"
    return (None if lacks else plan), {plan.name: lacks + hint or f"fits: {plan}"}


def refuse_emulation(dtype: str, compute: float | None, forced: bool) -> None:
    """Raises GlanceBenchError when ``dtype`` is bfloat16 on a GPU that can only emulate it, unless that is forced."""
    if dtype == "bfloat16" and compute is not None and compute < NATIVE_BFLOAT16 and not forced:
        raise GlanceBenchError(
            f"dtype bfloat16: a GPU of compute capability {compute} emulates it, slowly and by another attention "
            f"kernel; take float16 with placement auto, or set {FORCED}=1"
        )


def reading(gpus: Sequence[Gpu]) -> tuple[str, str]:
    """Where, "cuda" or "cpu", and in what dtype a model trained in bfloat16 reads images on a machine with these GPUs.

    T5 and Qwen2.5-VL overflow in float16, so a GPU that only emulates bfloat16 computes in float32, unless the
    emulation is forced.
    """
    if not gpus:
        return "cpu", "float32"
    real = gpus[0].compute >= NATIVE_BFLOAT16 or bool(os.environ.get(FORCED))
    return "cuda", "bfloat16" if real else "float32"


def refuse_to_read(name: str, gigabytes: float, gpus: Sequence[Gpu]) -> None:
    """Raises MissingData where a model that reads images is larger, in the dtype of ``reading``, than the GPU.

    ``gigabytes`` (10^9 bytes) are those of its published weights, in 16 bits.
    """
    device, dtype = reading(gpus)
    need = gigabytes * 1e9 * BITS[dtype] / 16 / 2**30 + CONTEXT
    if device == "cpu" or need <= gpus[0].memory_gib:
        return
    half = f"; {FORCED}=1 halves that, by an emulation" if dtype == "float32" else ""
    raise MissingData(
        f"waits for a GPU with {need:.1f} GiB, for {name} in {dtype}; "
        f"the {gpus[0].name} has {gpus[0].memory_gib:.1f}{half}"
    )


def lacking(plan: Plan, gpu: Gpu | None, ram_gib: float, *, here: bool = False) -> str:
    """What is missing for a plan on this GPU (None: a CPU) and so much free host memory; "" when nothing is.

    ``here``: the machine is this one, so the package that stores the weights must be installed.
    """
    if gpu is None and plan.offload:
        return "has nothing to offload from without a GPU"
    lacks = []
    package = PACKAGES.get(plan.weights)
    if here and package and not _installed(MODULES[package]):
        lacks.append(f"{package}, which is not installed (python -m pip install 'glance-bench[train]')")
    if gpu is not None and plan.gpu_gib > gpu.free_gib:
        lacks.append(f"{plan.gpu_gib:.1f} GiB of the GPU, where {gpu.free_gib:.1f} are free")
    if plan.ram_gib > ram_gib:
        lacks.append(f"{plan.ram_gib:.1f} GiB of memory, where {ram_gib:.1f} are free")
    return f"needs {' and '.join(lacks)}" if lacks else ""


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def _plan(name: str, sizes: Sizes, pixels: int, compute: float | None, wanted: str | None) -> Plan:
    dtype = activation_dtype(sizes.family, wanted, compute)
    emulates = compute is not None and compute < NATIVE_BFLOAT16
    encoding = "float32" if emulates and dtype == "float16" else dtype
    on_gpu, in_ram = _needs(name, sizes, pixels, dtype, encoding)
    encode = CONTEXT + _gib(sizes.encoders, encoding) + _gib(DENOISED * TEXT, encoding)
    source = "estimated from parameter counts for one image at a time"
    if compute is None:
        return Plan(name, sizes.family, "cpu", dtype, encoding, 0.0, 0.0, max(on_gpu, in_ram), source)
    return Plan(name, sizes.family, "cuda", dtype, encoding, on_gpu, encode, in_ram, source)


def _needs(name: str, sizes: Sizes, pixels: int, dtype: str, encoding: str) -> tuple[float, float]:
    """GiB of the GPU, and of host memory."""
    transformer, vae = _gib(sizes.transformer, dtype), _gib(sizes.vae, dtype)
    encoders = _gib(sizes.encoders, encoding)
    denoising = _gib(DENOISED * (pixels // 256 + TEXT), dtype)
    decoding = _gib(DECODED * pixels, dtype)
    if name == "all-on-gpu":
        everything = transformer + vae + encoders
        return CONTEXT + everything + max(denoising, decoding), PROCESS + everything
    if name in OFFLOADED:
        fetched = 2 * _gib(sizes.block, dtype) if name == "group-offload" else _gib(sizes.layer, dtype)
        # diffusers pins a copy of every block before the first of the originals goes.
        kept = transformer * (1 + PINNED if name == "group-offload" else 1)
        return CONTEXT + max(fetched + denoising, vae + decoding), PROCESS + max(encoders, kept + vae)
    stored = _gib(sizes.transformer, WEIGHTS.get(name, dtype))
    passing = transformer if name == "encode-then-drop" else _gib(sizes.transformer, "float16")
    return CONTEXT + stored + vae + max(denoising, decoding), PROCESS + max(encoders, passing + vae)


def _gib(values: float, kind: str) -> float:
    return values * BITS[kind] / 8 / GIB
