"""Prompt embeddings on disk: each text is encoded once for a checkpoint, however many samplers use it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from ..sealed import Damaged, find_sealed, read_sealed, seal, sha256_bytes
from ..store import Run

__all__ = ["Embeddings", "Limited"]

AT_ONCE = 16  # texts that a worker encodes before it looks again
Limited = tuple[str, int | None]  # a prompt, and the most tokens of it that a sampler takes


class Embeddings:
    """One model's embeddings, ``embeddings/<hash12 of what encodes>/<text hash>.<seal>.safetensors``.

    Texts are encoded one at a time, so that an embedding's bytes do not depend on its neighbours. Tensors
    may be torch's or numpy's; an entry's bool "truncated" says that the encoder cut the text.
    """

    def __init__(self, run: Run, encoded_by: str) -> None:
        self._run = run
        self._folder = run.folder / "embeddings" / encoded_by[:12]
        self.look()

    def look(self) -> None:
        """See what is there now: other workers encode too."""
        self._files = find_sealed(self._folder, "safetensors")

    def get(self, model: Any, text: str, limit: int | None = None) -> dict[str, Any]:
        """The embedding of ``text``, from disk or encoded by ``model`` now. A damaged file is made again.

        ``limit`` is the sampler's own limit of tokens, None where it leaves that to the model.
        """
        key = _key(text, limit)
        if key in self._files:
            try:
                return _unpack(read_sealed(self._files[key]))
            except Damaged as damage:
                self._run.quarantine(damage)
        entry = model.encode([text], *([] if limit is None else [limit]))[0]
        self._files[key] = seal(self._folder, key, "safetensors", _pack(entry))
        return dict(entry)

    def fill(self, model: Any, texts: Iterable[Limited]) -> None:
        """Encode those of ``texts`` that were not before, for a model that draws without its encoders.

        Workers that do this at the same time start at different texts and look what the others have done by then.
        """
        wanted = list(texts)
        start = random.randrange(len(wanted)) if wanted else 0
        for number, (text, limit) in enumerate(wanted[start:] + wanted[:start]):
            if number % AT_ONCE == 0:
                self.look()
            if _key(text, limit) not in self._files:
                self.get(model, text, limit)


def _key(text: str, limit: int | None) -> str:
    return sha256_bytes(text.encode())[:24] + ("" if limit is None else f"-{limit}")


def _pack(entry: Mapping[str, Any]) -> bytes:
    tensors = {name: value for name, value in entry.items() if name != "truncated"}
    kind = "numpy" if all(isinstance(value, np.ndarray) for value in tensors.values()) else "torch"
    about = json.dumps({"kind": kind, "truncated": bool(entry.get("truncated", False))})
    metadata = {"about": about}  # one key: safetensors writes several in a random order
    contiguous = {
        name: np.ascontiguousarray(value) if kind == "numpy" else value.contiguous()
        for name, value in tensors.items()
    }
    return bytes(import_module(f"safetensors.{kind}").save(contiguous, metadata=metadata))


def _unpack(data: bytes) -> dict[str, Any]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["about"])
    tensors = import_module(f"safetensors.{about['kind']}").load(data)
    return {**tensors, "truncated": about["truncated"]}
