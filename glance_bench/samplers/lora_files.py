"""LoRA files as a plan sees them, without torch: what they hold is hashed, and their scale must be known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..digests import file_digests
from ..errors import GlanceBenchError, UsageError

__all__ = ["PICKLED", "carries_alpha", "contents", "refuse_pickle", "trained_adapters"]

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def trained_adapters(folder: Path | None) -> dict[str, Path]:
    """The LoRA files below a model's adapter folder, by name: ``glance-10/slow`` is glance-10/slow.safetensors."""
    files = sorted(folder.glob("*/*.safetensors")) if folder else []
    return {f"{file.parent.name}/{file.stem}": file for file in files}


def carries_alpha(file: Path) -> bool:
    """Whether a LoRA file says its alpha: in diffusers' adapter metadata, or as ``.alpha`` values (kohya).

    Raises GlanceBenchError when it is no safetensors file.
    """
    try:
        with safe_open(file, framework="np") as opened:
            known = opened.metadata() or {}
            return "lora_adapter_metadata" in known or any(
                key.endswith(".alpha") for key in opened.offset_keys()
            )
    except (OSError, SafetensorError) as error:
        raise GlanceBenchError(
            f"LoRA file {file} cannot be read: {' '.join(str(error).split())[:200]}"
        ) from error


def refuse_pickle(file: Path) -> None:
    """Raises GlanceBenchError for a file whose name says that it is no safetensors file: others are never opened."""
    if file.suffix != ".safetensors":
        why = "is a pickle, which is a program" if file.suffix in PICKLED else "is no *.safetensors file"
        raise GlanceBenchError(
            f"LoRA file {file} {why}: only safetensors are loaded; ask its publisher for them, or convert it where you "
            "trust it"
        )


def contents(files: Sequence[tuple[str, float | None]]) -> dict[str, str]:
    """sha256 of each LoRA file by its path, for (path, scale) pairs; a scale of None is the file's own.

    Raises GlanceBenchError for a missing file and for a pickle, and UsageError for one without alpha whose scale
    nobody states.
    """
    paths = [Path(file) for file, _ in files]
    for path in paths:
        refuse_pickle(path)
    found = dict(zip(map(str, paths), file_digests(paths), strict=True))
    for file, scale in files:
        if scale is None and not carries_alpha(Path(file)):
            raise UsageError(
                f"LoRA file {file} carries no alpha, so the strength it was trained at is not known: state its scale "
                "(alpha / rank of the training; 4 for the adapters released with Glance)"
            )
    return found
