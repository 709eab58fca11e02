"""A model family and metrics made of numpy alone, so that tests of the engine need no torch and little time.

``GLANCE_BENCH_FAKE_SLEEP`` (seconds) slows every image and every scored unit down; ``GLANCE_BENCH_FAKE_MEMORY`` is
the largest batch that does not run out of memory.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glance_bench.metrics.base import Column

SIDE = 16


def _sleep() -> None:
    time.sleep(float(os.environ.get("GLANCE_BENCH_FAKE_SLEEP", "0")))


class FakeFamily:
    """Images are noise moved by the prompt and the steps. A prompt with "black" or "broken" gives just that."""

    calls: list[tuple[str, int]] = []

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str = "float32") -> "FakeFamily":
        cls.calls.append(("load", 1))
        return cls()

    def encode(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        self.calls.append(("encode", len(texts)))
        entries = []
        for text in texts:
            mean = hashlib.sha256(text.encode()).digest()[:3]
            flags = np.array(["black" in text, "broken" in text])
            entries.append(
                {"mean": np.array(list(mean), np.float32), "flags": flags, "truncated": len(text) > 1000}
            )
        return entries

    def noise(self, seeds: Sequence[int], *, resolution: tuple[int, int]) -> np.ndarray:
        shape = (*resolution, 3)
        return np.stack([np.random.default_rng(seed).normal(size=shape) for seed in seeds])

    def sample(
        self, trajectory: Any, embeds: Sequence[Any], noise: np.ndarray, recorder: Any, *, resolution: Any
    ) -> np.ndarray:
        if len(embeds) > int(os.environ.get("GLANCE_BENCH_FAKE_MEMORY", "1000")):
            raise MemoryError("no room")
        self.calls.append(("sample", len(embeds)))
        recorder.on_start()
        for number, step in enumerate(trajectory.steps):
            recorder.on_model_call(step.passes)
            if number in recorder.estimated:
                recorder.on_estimate(number, self._pictures(embeds, noise, number + 1))
        with recorder.component("denoise"):
            _sleep()
        with recorder.component("decode"):
            images = self.decode(self._pictures(embeds, noise, len(trajectory)), resolution=resolution)
        recorder.on_finish([not bool(embed["flags"][1]) for embed in embeds])
        return images

    @staticmethod
    def _pictures(embeds: Sequence[Any], noise: np.ndarray, steps: int) -> np.ndarray:
        """What so many steps have made of the noise."""
        return np.stack(
            [
                (embed["mean"] / 2 + 40 + 200 / steps * start) * (not embed["flags"].any())
                for embed, start in zip(embeds, noise, strict=True)
            ]
        )

    def decode(self, latents: np.ndarray, *, resolution: tuple[int, int]) -> np.ndarray:
        return np.clip(latents, 0, 255).astype(np.uint8)


class Contrast:
    """A sample metric."""

    name, kind, notes = "contrast", "sample", ("words",)
    recipe = "contrast: standard deviation of the pixels"
    columns = (Column("contrast", "Contrast", "higher", "standard deviation of the pixels"),)

    def score(self, images: np.ndarray, prompts: Sequence[Any]) -> list[dict[str, float | str]]:
        _sleep()
        return [
            {"contrast": float(i.std()), "words": p.text[:20]} for i, p in zip(images, prompts, strict=True)
        ]


class Brightness:
    """A second sample metric, to add later; it applies to images that are not black."""

    name, kind, notes = "brightness", "sample", ()
    recipe = "brightness: mean of the pixels"
    columns = (Column("brightness", "Brightness", "higher", "mean of the pixels"),)

    def score(self, images: np.ndarray, prompts: Sequence[Any]) -> list[dict[str, float | str]]:
        return [{"brightness": float(image.mean())} if image.any() else {} for image in images]


class Distance:
    """A corpus metric."""

    name, kind, extractor = "distance", "corpus", "pixels: mean colour"
    recipe = "distance: mean colour to grey"
    columns = (Column("distance", "Distance", "lower", "distance of the mean colour to grey"),)

    def features(self, images: np.ndarray) -> np.ndarray:
        _sleep()
        return images.mean(axis=(1, 2)).astype(np.float32)

    def reference(self, cache: Path) -> np.ndarray:
        return np.full(3, 128.0)

    def reduce(self, features: np.ndarray, reference: np.ndarray) -> float:
        return float(np.abs(features.mean(axis=0) - reference).sum())

    def note(self, n: int, reference: np.ndarray) -> str:
        return ""


ENTRY_POINTS = """
[glance_bench.families]
fake = tests.fake_family:FakeFamily
[glance_bench.metrics]
contrast = tests.fake_family:Contrast
brightness = tests.fake_family:Brightness
distance = tests.fake_family:Distance
"""


def install(site: Path) -> Path:
    """A folder that, on the path, announces all this to the registries, as an installed package would."""
    info = site / "glance_bench_fakes-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: glance-bench-fakes\nVersion: 0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


def checkpoint(folder: Path, weights: bytes = b"weights") -> Path:
    """The files of a checkpoint that planning reads, in the layout of a FLUX pipeline."""
    files = {
        "model_index.json": {"_class_name": "FluxPipeline"},
        "glance_bench.json": {"family": "flux", "resolution": [SIDE, SIDE]},
        "vae/config.json": {"block_out_channels": [8, 8]},
        "scheduler/scheduler_config.json": {"use_dynamic_shifting": True},
    }
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    (folder / "transformer").mkdir()
    data = len(header).to_bytes(8, "little") + header + weights.ljust(4000, b"\0")
    (folder / "transformer" / "model.safetensors").write_bytes(data)
    return folder
