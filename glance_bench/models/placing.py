"""Puts the parts of a pipeline where its plan says, and takes them away again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from ..errors import GlanceBenchError, out_of_memory
from .placement import Plan
from .quantised import quantise
from .sizes import stored_dtype

__all__ = ["DTYPES", "Placing", "install", "load_transformer", "readable"]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
ENCODERS = ("text_encoder", "text_encoder_2")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Tells what a library trips over in a damaged checkpoint as an error of ours."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if out_of_memory(error):
            raise
        what = " ".join(str(error).split())[:300]
        raise GlanceBenchError(f"checkpoint {path} cannot be loaded: {what}") from error


def load_transformer(
    kind: Any, path: Path, weights: str, dtype: torch.dtype, device: torch.device
) -> nn.Module:
    """The transformer of the checkpoint folder ``path`` on ``device``, computing in ``dtype``.

    ``kind`` is its class. ``weights`` are "plain" (in ``dtype``), or quantised from what the files hold. Where that is
    narrower than ``dtype``, nothing is gained by widening it first, and it is not.
    Raises GlanceBenchError for damaged files or a missing package.
    """
    wide = weights != "plain" and dtype == torch.float32
    with readable(path):
        made: nn.Module = kind.from_pretrained(
            path,
            subfolder="transformer",
            dtype=DTYPES[stored_dtype(path / "transformer")] if wide else dtype,
            use_safetensors=True,
            local_files_only=True,
        )
    if weights == "plain":
        return made.to(device)
    quantise(made, weights, dtype, device)
    return made


class Placing:
    """One pipeline under one plan: with its text encoders, or with its transformer, or whole.

    Attributes:
        pipe: the pipeline; its autoencoder is always on the device.
        encoder_device: where prompts are encoded: the GPU when the encoders fit there by themselves, else the CPU.
        drawing: whether the transformer is there, ready to be played.
    """

    def __init__(self, plan: Plan, kinds: tuple[Any, Any], path: Path, device: torch.device) -> None:
        self.plan = plan
        self.drawing = False
        self.encoder_device = device
        self._pipeline_class, self._transformer_class = kinds
        self._path = path
        self._device = device
        self.pipe = self._pipeline(self._without(ENCODERS, "transformer"), plan.dtype).to(device)

    def encode(self) -> None:
        """Have the text encoders in the pipeline, and the transformer out of it unless the plan keeps both."""
        if self._encoders:
            return
        if self.plan.drops_encoders:
            self.release()
            self.encoder_device = self._room_for_encoders()
        encoding = self._pipeline(self._without(("vae",), "transformer"), self.plan.encoding)
        parts = {name: getattr(encoding, name).to(self.encoder_device) for name in self._names(ENCODERS)}
        self.pipe.register_modules(**parts)

    def draw(self) -> None:
        """Have the transformer in the pipeline, and the text encoders out of it unless the plan keeps both.

        Raises what ``out_of_memory`` knows when it does not fit.
        """
        if self.drawing:
            return
        if self.plan.drops_encoders:
            self.release()
        dtype = DTYPES[self.plan.dtype]
        resting = torch.device("cpu") if self.plan.offload else self._device
        made = load_transformer(self._transformer_class, self._path, self.plan.weights, dtype, resting)
        install(self.pipe, made, self.plan, self._device)
        self.drawing = True

    def release(self) -> None:
        """Take out what can be loaded again, and give its memory back."""
        self.pipe.register_modules(**dict.fromkeys([*self._names(ENCODERS), "transformer"]))
        self.drawing = False
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _encoders(self) -> bool:
        return all(getattr(self.pipe, name) is not None for name in self._names(ENCODERS))

    def _names(self, parts: tuple[str, ...]) -> list[str]:
        """Those of ``parts`` that this kind of pipeline has."""
        return [name for name in parts if name in signature(self._pipeline_class.__init__).parameters]

    def _without(self, parts: tuple[str, ...], *more: str) -> dict[str, None]:
        return dict.fromkeys([*self._names(parts), *more])

    def _pipeline(self, parts: dict[str, None], dtype: str) -> Any:
        with readable(self._path):
            made = self._pipeline_class.from_pretrained(
                self._path, dtype=DTYPES[dtype], use_safetensors=True, local_files_only=True, **parts
            )
        made.set_progress_bar_config(disable=True)
        return made

    def _room_for_encoders(self) -> torch.device:
        if self._device.type != "cuda":
            return self._device
        free, _ = torch.cuda.mem_get_info(self._device)
        return self._device if free / 2**30 >= self.plan.encode_gib else torch.device("cpu")


def install(pipe: Any, transformer: Any, plan: Plan, device: torch.device) -> None:
    """Have ``transformer``, its weights stored as the plan says, play in ``pipe`` on ``device``."""
    if plan.offload:
        _offload(transformer, plan, device)
    pipe.register_modules(transformer=transformer)
    if plan.weights in ("int8", "float8"):
        # diffusers reads the shapes of FLUX's weights from a state dict, where quanto's layers have none, to pad
        # narrower adapters. Ours are refused where they do not fit.
        pipe._maybe_expand_lora_state_dict = _as_it_is
    if plan.dtype == "float16" and plan.encoding == "float32":
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def _offload(transformer: Any, plan: Plan, device: torch.device) -> None:
    """Have the transformer's weights fetched from host memory as they are needed.

    Fetching each layer by itself is what diffusers calls sequential offloading elsewhere; this way it goes
    together with adapters, and runs without a GPU as well.
    """
    by_block = {"offload_type": "block_level", "num_blocks_per_group": 1}
    on_gpu = device.type == "cuda"
    transformer.enable_group_offload(
        onload_device=device,
        offload_device=torch.device("cpu"),
        **(by_block if plan.offload == "block" else {"offload_type": "leaf_level"}),
        use_stream=on_gpu and plan.offload == "block",
    )


def _as_it_is(transformer: nn.Module, lora_state_dict: dict[str, Any]) -> dict[str, Any]:
    return lora_state_dict
