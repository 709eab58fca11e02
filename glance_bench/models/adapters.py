"""LoRA files in a pipeline: loaded once each, switched from step to step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import GlanceBenchError
from ..samplers.lora_files import refuse_pickle
from ..trajectory import Step
from .quiet import quiet_libraries

UNKNOWN = ("", 0.0)
PREFIX = "transformer."


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
            if self._serving in (None, UNKNOWN):  # between two adapters it would only cost time
                self._pipe.enable_lora()
            self._pipe.set_adapters([wanted[0]], [wanted[1]])
        self._serving = wanted

    def _name(self, file: str) -> str:
        path = Path(file)
        if not path.is_file():
            raise GlanceBenchError(f"LoRA file {file} is missing")
        refuse_pickle(path)
        key = (str(path.resolve()), path.stat().st_mtime_ns)
        if key not in self._names:
            name = f"adapter_{len(self._names)}"
            where = {
                "weight_name": path.name,
                "use_safetensors": True,
                "local_files_only": True,
                "low_cpu_mem_usage": True,
            }
            try:
                with quiet_libraries():
                    self._check_layers(path, self._pipe.lora_state_dict(str(path.parent), **where))
                    self._pipe.load_lora_weights(str(path.parent), adapter_name=name, **where)
            except GlanceBenchError:
                raise
            except Exception as error:  # of any kind: it depends on where diffusers trips over a damaged file
                if self._names:
                    self._serving = UNKNOWN  # undoing the load has left some other adapter active
                what = " ".join(str(error).split())[:300]
                raise GlanceBenchError(f"LoRA file {file} cannot be loaded: {what}") from error
            self._names[key] = name
            self._serving = (
                UNKNOWN  # loading makes it the active one, but does not enable what a base step disabled
            )
        return self._names[key]

    def _check_layers(self, path: Path, weights: dict[str, Any]) -> None:
        """Refuses a file that does not fit whole, before diffusers touches the pipeline.

        Loading skips layers that it does not find; for FLUX it also pads narrow ones with zeros, widens the base for
        wide ones, and puts a text encoder's into the encoder, where they would stay for every other sampler.
        """
        strangers = sorted(key for key in weights if not key.startswith(PREFIX))
        if len(strangers) == len(weights):
            raise GlanceBenchError(f"LoRA file {path} holds no weights for this model's transformer")
        if strangers:
            raise GlanceBenchError(
                f"LoRA file {path} holds more than layers of the transformer, which alone can be adapted: "
                f"{strangers[0]} and {len(strangers) - 1} other tensors"
            )
        modules = {
            name.replace(".base_layer", ""): module for name, module in self._pipe.transformer.named_modules()
        }
        layers = {key: key.removeprefix(PREFIX).partition(".lora_")[0] for key in weights}
        strange = sorted(set(layers.values()) - modules.keys())
        if strange:
            raise GlanceBenchError(
                f"LoRA file {path} does not belong to this model: it adapts {strange[0]} and {len(strange) - 1} other "
                f"layers that {type(self._pipe.transformer).__name__} does not have"
            )
        for key, layer in layers.items():
            shape = tuple(weights[key].shape)
            inputs, outputs = (getattr(modules[layer], side, 0) for side in ("in_features", "out_features"))
            if (key.endswith(".lora_A.weight") and shape[1:] != (inputs,)) or (
                key.endswith(".lora_B.weight") and shape[:1] != (outputs,)
            ):
                raise GlanceBenchError(
                    f"LoRA file {path} cannot be loaded: {key} is of shape {list(shape)}, for a layer of {inputs} "
                    f"inputs and {outputs} outputs"
                )
