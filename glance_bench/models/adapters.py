"""LoRA files in a pipeline: loaded once each, switched from step to step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ..errors import GlanceBenchError
from ..trajectory import Step
from .quiet import quiet_libraries

UNKNOWN = ("", 0.0)


class Adapters:
    """The adapters of one pipeline. A step without adapter runs the bare base weights, bit for bit."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._names: dict[tuple[str, int], str] = {}
        self._serving: tuple[str, float] | None = None

    def serve(self, step: Step) -> None:
        """Make the next evaluation that of ``step``'s adapter at its scale, or of the base.

        Raises GlanceBenchError when the file is missing or holds no LoRA for this model.
        """
        wanted = None if step.adapter is None else (self._name(step.adapter), step.adapter_scale)
        if wanted == self._serving:
            return
        if wanted is None:
            self._pipe.disable_lora()
        else:
            self._pipe.enable_lora()
            self._pipe.set_adapters([wanted[0]], [wanted[1]])
        self._serving = wanted

    def _name(self, file: str) -> str:
        path = Path(file)
        if not path.is_file():
            raise GlanceBenchError(f"LoRA file {file} is missing")
        key = (str(path.resolve()), path.stat().st_mtime_ns)
        if key not in self._names:
            name = f"adapter_{len(self._names)}"
            where = {"weight_name": path.name, "local_files_only": True}
            try:
                with quiet_libraries():
                    self._check_layers(path, self._pipe.lora_state_dict(str(path.parent), **where))
                    self._pipe.load_lora_weights(str(path.parent), adapter_name=name, **where)
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                if self._names:
                    self._serving = UNKNOWN  # undoing the load has left some other adapter active
                what = " ".join(str(error).split())[:300]
                raise GlanceBenchError(f"LoRA file {file} cannot be loaded: {what}") from error
            if name not in self._pipe.get_list_adapters().get("transformer", []):
                raise GlanceBenchError(f"LoRA file {file} holds no weights for this model's transformer")
            self._names[key] = name
            self._serving = (name, 1.0)
        return self._names[key]

    def _check_layers(self, path: Path, weights: dict[str, Any]) -> None:
        """Loading skips what it finds no module for, and half an adapter of another family would go unnoticed."""
        modules = {name.replace(".base_layer", "") for name, _ in self._pipe.transformer.named_modules()}
        layers = {
            key.partition(".lora_")[0].removeprefix("transformer.")
            for key in weights
            if "transformer." in key
        }
        strange = sorted(layers - modules)
        if strange:
            raise GlanceBenchError(
                f"LoRA file {path} does not belong to this model: it adapts {strange[0]} and {len(strange) - 1} other "
                f"layers that {type(self._pipe.transformer).__name__} does not have"
            )
