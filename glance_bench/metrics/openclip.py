"""CLIP models for CLIP scores and features, loaded by open_clip: from a local folder, or published weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.metrics.base import Images
from glance_bench.metrics.pixels import Preparation
from glance_bench.weights import WEIGHTS, find_weights

__all__ = [
    "ImageEncoder",
    "OpenClip",
    "PublishedClip",
    "exact_inference",
    "inference_device",
    "openai_weights",
    "testbed_clip_model",
    "unit_length",
]

BATCH = 64
WORD = 500  # characters
CLIP_MEAN = (
    0.48145466,
    0.4578275,
    0.40821073,
)  # of RGB in [0, 1], as OpenAI's CLIP and everything built on it
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ImageEncoder(Protocol):
    """Whatever turns images into embeddings that are compared by their cosine."""

    @property
    def name(self) -> str: ...

    @property
    def image_recipe(self) -> str:
        """The recipe of ``encode_images``."""
        ...

    def encode_images(self, images: Images) -> npt.NDArray[np.float32]:
        """uint8[N >= 1, H, W, 3] to float32[N, D]."""
        ...


class OpenClip:
    """A folder with ``open_clip_config.json``, safetensors weights and, if the config names one, a tokenizer.

    Nothing is loaded until something is encoded; the folder's absence is noticed at once. Runs in float32 on
    the CPU, so that scores do not depend on the machine's accelerator. Raises GlanceBenchError when the
    folder is absent.
    """

    def __init__(self, name: str, folder: Path) -> None:
        if not (folder / "open_clip_config.json").is_file():
            raise GlanceBenchError(f"the weights of {name} are missing: no open_clip_config.json in {folder}")
        self.name = name
        self.folder = folder

    @cached_property
    def digest(self) -> str:
        """The first 12 hex digits of the checkpoint's digest. No torch."""
        from glance_bench.models.checkpoints import checkpoint_digest

        return checkpoint_digest(self.folder).removeprefix("sha256:")[:12]

    @property
    def recipe(self) -> str:
        """What network it is, and how pixels reach it."""
        return f"open_clip weights {self.digest}"

    @property
    def image_recipe(self) -> str:
        """The recipe of ``encode_images``."""
        return f"{self.name}: {self.recipe}, raw image embedding, float32"

    def encode_images(self, images: Images) -> npt.NDArray[np.float32]:
        """uint8[N >= 1, H, W, 3] to float32[N, D]: image embeddings as projected, not normalised."""
        model, _, _ = self._loaded
        parts = []
        with exact_inference():
            for start in range(0, len(images), BATCH):
                pixels = self._pixels(images[start : start + BATCH])
                parts.append(model.encode_image(pixels.to(self._device)).float().cpu().numpy())
        return np.concatenate(parts)

    def encode_texts(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """float32[N, D] text embeddings, not normalised, and bool[N]: the text was longer than the context.

        A word of more than WORD letters is read as several: the tokenizer's time grows with the square of it.
        """
        _, _, tokenizer = self._loaded
        texts = [_in_words(text) for text in texts]
        parts = [
            self._encode_tokens(tokenizer(list(texts[start : start + BATCH])))
            for start in range(0, len(texts), BATCH)
        ]
        lengths = np.array([_length(tokenizer, text) for text in texts])
        return np.concatenate(parts), lengths > tokenizer.context_length

    def encode_windows(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """As ``encode_texts``, but nothing is cut: a longer text is the mean of the unit embeddings of its windows.

        With a context of C tokens a window holds C - 2 of the text's tokens between the two marks. Windows start
        (C - 2) // 2 tokens apart, and the last one ends with the text. A text that fits is one window, and has
        the direction that ``encode_texts`` gives. Raises GlanceBenchError when the tokenizer is not open_clip's own.
        """
        import torch

        _, _, tokenizer = self._loaded
        if not hasattr(tokenizer, "encode"):
            raise GlanceBenchError(
                f"{self.name} has no byte-pair tokenizer: its texts cannot be cut into windows"
            )
        found = []
        room = tokenizer.context_length - 2
        counts = []
        for text in texts:
            tokens = tokenizer.encode(_in_words(text))
            starts = [*range(0, max(len(tokens) - room, 0), room // 2), max(len(tokens) - room, 0)]
            windows = torch.zeros(len(starts), tokenizer.context_length, dtype=torch.long)
            for row, start in zip(windows, starts, strict=True):
                part = [tokenizer.sot_token_id, *tokens[start : start + room], tokenizer.eot_token_id]
                row[: len(part)] = torch.tensor(part)
            parts = [
                self._encode_tokens(windows[start : start + BATCH]) for start in range(0, len(starts), BATCH)
            ]
            found.append(unit_length(np.concatenate(parts)).mean(axis=0))
            counts.append(len(starts))
        return np.stack(found), np.array(counts) > 1

    def _encode_tokens(self, tokens: Any) -> npt.NDArray[np.float32]:
        model, _, _ = self._loaded
        with exact_inference():
            made: npt.NDArray[np.float32] = model.encode_text(tokens.to(self._device)).float().cpu().numpy()
        return made

    def _pixels(self, images: Images) -> Any:
        """float32[N, 3, S, S] as the network takes it."""
        import torch
        from PIL import Image

        _, transform, _ = self._loaded
        return torch.stack([transform(Image.fromarray(image)) for image in images])

    @property
    def _device(self) -> str:
        return "cpu"

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        import open_clip

        source = f"local-dir:{self.folder}"
        model, transform = open_clip.create_model_from_pretrained(source)
        return model.eval(), transform, open_clip.get_tokenizer(source)


class PublishedClip(OpenClip):
    """One of open_clip's own architectures with weights from one safetensors file, and a preparation of its own.

    ``prefix`` is what precedes the weights' names in the file. Runs in float32 on the GPU where there is one: its
    TF32 is switched off, and what is left of the difference to a CPU is rounding.
    """

    def __init__(
        self, name: str, architecture: str, weights: Path, preparation: Preparation, *, prefix: str = ""
    ) -> None:
        self.name = name
        self.architecture = architecture
        self.weights = weights
        self.preparation = preparation
        self._prefix = prefix

    @cached_property
    def digest(self) -> str:
        """The first 12 hex digits of the file's sha256. No torch."""
        from glance_bench.digests import file_digests

        return file_digests([self.weights])[0][:12]

    @property
    def recipe(self) -> str:
        return f"open_clip {self.architecture}, weights {self.digest}, {self.preparation.recipe}"

    def _pixels(self, images: Images) -> Any:
        import torch

        model, _, _ = self._loaded
        side = model.visual.image_size
        side = side[0] if isinstance(side, tuple) else side
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        return (self.preparation.apply(images, side) - mean) / std

    @property
    def _device(self) -> str:
        return inference_device()

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        import open_clip

        model = _network(self.architecture, self.weights, self._prefix)
        return model, None, open_clip.get_tokenizer(self.architecture)


@cache
def _network(architecture: str, weights: Path, prefix: str) -> Any:
    """A network is loaded once a process, however it is used. Raises GlanceBenchError when the weights do not fit."""
    import open_clip
    from safetensors.torch import load_file

    model = open_clip.CLIP(**open_clip.get_model_config(architecture))
    state = {
        name[len(prefix) :]: tensor for name, tensor in load_file(weights).items() if name.startswith(prefix)
    }
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise GlanceBenchError(f"{weights} does not hold the weights of {architecture}: {error}") from error
    return model.eval().to(inference_device())


def openai_weights() -> Path:
    """OpenAI's CLIP ViT-L/14 at 336 px under open_clip's names. Raises MissingData when the file is not there."""
    name = "clip-vit-l-14-336"
    (wanted,) = WEIGHTS[name].files
    file = find_weights(name) / wanted
    if not file.is_file():  # the hub's cache may hold other files of the repository
        raise MissingData(f"waits for {name} ({WEIGHTS[name].size}): glance-bench prefetch {name}")
    return file


def inference_device() -> str:
    """Where published networks run: "cuda" when there is one, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def exact_inference() -> Iterator[None]:
    """No gradients, and full float32 in convolutions: cuDNN would round their inputs to 10 bits (TF32)."""
    import torch

    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def unit_length(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[N, D] with rows of length 1; a row of zeros stays."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _in_words(text: str) -> str:
    """``text`` with a space after every WORD letters, or signs, on end; most texts stay as they are."""
    return re.sub(rf"([^\W\d_]{{{WORD}}}|(?:[^\w\s]|_){{{WORD}}})", r"\1 ", text)


def _length(tokenizer: Any, text: str) -> int:
    """How many tokens ``text`` has with its start and end marks, before anything is cut off."""
    if hasattr(tokenizer, "encode"):  # open_clip's own byte-pair tokenizer adds the two marks when called
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text), verbose=False)["input_ids"])


@cache
def testbed_clip_model() -> OpenClip:
    """The CLIP model trained on the testbed's world, shared by every metric of a process."""
    import glance_bench.testbed

    folder = Path(glance_bench.testbed.__file__).parent / "checkpoints" / "testbed-clip"
    return OpenClip("testbed-clip", folder)
