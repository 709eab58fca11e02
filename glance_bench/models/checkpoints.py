"""What a checkpoint folder says about itself without torch: settings, geometry, what is missing, digest.

A checkpoint is a folder in the diffusers layout. ``glance_bench.json`` beside its ``model_index.json`` may
hold ``family``, ``resolution`` [height, width], ``max_sequence_length`` and ``guidance``; what it leaves out
is the family's own default.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..digests import file_digests
from ..errors import GlanceBenchError, UsageError, near_misses
from ..samplers.cards import Geometry
from ..samplers.lora_files import PICKLED
from ..sealed import digest_of
from ..trajectory import FLUX_SHIFT, QWEN_SHIFT, TimeShift

SETTINGS_FILE = "glance_bench.json"
WEIGHTED = ("transformer", "vae", "text_encoder", "text_encoder_2")
LIBRARIES = ("diffusers", "transformers")  # whose classes a checkpoint may name
CONFIGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
HASHED_SUFFIXES = {".safetensors", ".json", ".txt", ".model", ".jinja"}


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is used. ``resolution`` is (height, width) in pixels; lengths are in tokens."""

    family: str
    resolution: tuple[int, int]
    max_sequence_length: int
    guidance: float

    @property
    def cfg(self) -> bool:
        """Whether guidance costs a second pass (true classifier-free guidance with a negative prompt)."""
        return self.family == "qwen_image"


DEFAULTS = {
    "FluxPipeline": Settings("flux", (1024, 1024), 512, 3.5),
    "QwenImagePipeline": Settings("qwen_image", (1024, 1024), 512, 4.0),
}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GlanceBenchError(f"checkpoint {path.parent}: {path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise GlanceBenchError(f"checkpoint file {path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise GlanceBenchError(f"checkpoint file {path}: expected a JSON object")
    return value


def read_settings(path: Path) -> Settings:
    """The settings of the checkpoint at ``path``.

    Raises GlanceBenchError when the folder, its model_index.json or a known pipeline class is missing, a setting has
    the wrong form, or the checkpoint brings code of its own.
    """
    if not path.is_dir():
        raise GlanceBenchError(f"checkpoint {path}: no such folder; expected one in the diffusers layout")
    index = _read_json(path / "model_index.json")
    _refuse_code(path, index)
    pipeline = index.get("_class_name")
    if pipeline not in DEFAULTS:
        known = " or ".join(DEFAULTS)
        raise GlanceBenchError(f"checkpoint {path}: its pipeline is {pipeline}, expected {known}")
    default = DEFAULTS[pipeline]
    own = _read_json(path / SETTINGS_FILE) if (path / SETTINGS_FILE).exists() else {}
    try:
        height, width = own.get("resolution", default.resolution)
        settings = Settings(
            family=str(own.get("family", default.family)),
            resolution=(int(height), int(width)),
            max_sequence_length=int(own.get("max_sequence_length", default.max_sequence_length)),
            guidance=float(own.get("guidance", default.guidance)),
        )
    except (TypeError, ValueError) as error:
        raise GlanceBenchError(f"checkpoint file {path / SETTINGS_FILE}: {error}") from error
    if settings.family != default.family:
        raise GlanceBenchError(f"checkpoint {path}: family {settings.family!r} does not go with {pipeline}")
    return settings


def _refuse_code(path: Path, index: dict[str, Any]) -> None:
    """Loading would import what a checkpoint names: only the two libraries' own classes are."""
    named = [("model_index.json", "custom_pipeline")] if "custom_pipeline" in index else []
    for name, value in index.items():
        library = value[0] if isinstance(value, list) and value else None
        if name == "_class_name" and not isinstance(value, str):
            named.append(("model_index.json", f"_class_name {value}"))
        elif not name.startswith("_") and library is not None and library not in LIBRARIES:
            named.append(("model_index.json", f"{name} of {library}"))
    for config in sorted(file for name in CONFIGS for file in path.glob(f"*/{name}")):
        if "auto_map" in _read_json(config):
            named.append((config.relative_to(path).as_posix(), "auto_map"))
    for file, what in named:
        raise GlanceBenchError(
            f"checkpoint {path}: {file} names code that is not of {' or '.join(LIBRARIES)} ({what[:80]}); such code is "
            "never run"
        )


def check_weights(path: Path) -> None:
    """Raises GlanceBenchError naming the first component of the checkpoint at ``path`` without its files."""
    for name, value in _read_json(path / "model_index.json").items():
        if name.startswith("_") or not isinstance(value, list) or value[0] is None:
            continue
        folder = path / name
        if not folder.is_dir():
            raise GlanceBenchError(f"checkpoint {path}: the folder {name}/ ({value[1]}) is missing")
        if name not in WEIGHTED:
            continue
        if not any(folder.glob("*.safetensors")):
            raise GlanceBenchError(
                f"checkpoint {path}: {name}/ has no *.safetensors weights ({value[1]}){_pickles(folder)}"
            )
        for index in folder.glob("*.safetensors.index.json"):
            for shard in sorted(set(_read_json(index).get("weight_map", {}).values())):
                if not (folder / shard).is_file():
                    raise GlanceBenchError(f"checkpoint {path}: {name}/{shard} is missing")


def _pickles(folder: Path) -> str:
    """A clause that says why the weights that are there do not count."""
    found = sorted(file.name for suffix in PICKLED for file in folder.glob(f"*{suffix}"))
    return f"; {found[0]} is a pickle, which is a program and never loaded" if found else ""


def read_geometry(path: Path, height: int | None = None, width: int | None = None) -> Geometry:
    """What sampler cards need to know of the checkpoint at ``path``, at its own resolution unless given.

    Raises UsageError when a side is not a positive multiple of twice the autoencoder's factor, and
    GlanceBenchError for a damaged checkpoint.
    """
    settings = read_settings(path)
    height, width = height or settings.resolution[0], width or settings.resolution[1]
    vae = _read_json(path / "vae" / "config.json")
    levels = "temperal_downsample" if settings.family == "qwen_image" else "block_out_channels"
    depth = len(vae.get(levels, [])) - (settings.family == "flux")
    if depth < 1:
        raise GlanceBenchError(
            f"checkpoint file {path / 'vae' / 'config.json'}: {levels} is missing or too short"
        )
    unit = 2 * 2**depth
    if height < unit or width < unit or height % unit or width % unit:
        raise UsageError(
            f"resolution {height}x{width}: both sides must be multiples of {unit} for {path.name}"
        )
    return Geometry(
        family=settings.family,
        shift=TimeShift.from_scheduler_config(_read_json(path / "scheduler" / "scheduler_config.json")),
        tokens=(height // unit) * (width // unit),
        guidance=settings.guidance,
        cfg=settings.cfg,
    )


def family_geometry(family: str, side: int | None = None) -> Geometry:
    """The geometry of a family's published model at ``side`` x ``side`` pixels; None is 1024.

    Raises UsageError for another family, or a side that is no multiple of 16.
    """
    shifts = {"flux": FLUX_SHIFT, "qwen_image": QWEN_SHIFT}
    if family not in shifts:
        raise UsageError(f"no published geometry of family {family!r}; {near_misses(family, shifts)}")
    settings = next(settings for settings in DEFAULTS.values() if settings.family == family)
    side = side or settings.resolution[0]
    if side % 16:
        raise UsageError(f"resolution {side}x{side}: both sides must be multiples of 16 for {family}")
    return Geometry(family, shifts[family], (side // 16) ** 2, settings.guidance, settings.cfg)


def checkpoint_digest(path: Path) -> str:
    """sha256 over the names and contents of the folder's weights, configs and tokenizer files.

    Raises GlanceBenchError when there is nothing to hash.
    """
    files = sorted(f for f in path.rglob("*") if f.suffix in HASHED_SUFFIXES and f.is_file())
    if not files:
        raise GlanceBenchError(f"checkpoint {path}: no weights or configs there")
    names = [file.relative_to(path).as_posix() for file in files]
    return digest_of(list(zip(names, file_digests(files), strict=True)))
