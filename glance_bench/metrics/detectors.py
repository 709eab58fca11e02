"""What a detector is, and the one that runs here: Mask2Former on COCO's 80 classes. For GenEval.

GenEval's own detector is mmdet's Mask2Former Swin-S; its weights load in mmdet 2 alone. The one here is the checkpoint
that Mask2Former's authors published for the same backbone and data, in transformers, with mmdet's rules for turning
queries into boxes. The two differ a little, so scores bear this one's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Images
from glance_bench.profiles import find_gpus
from glance_bench.weights import find_weights

__all__ = ["CLASSES", "Detections", "Detector", "Found", "Mask2Former", "mask2former"]

MOST = 100  # pairs of query and class kept for an image, as in mmdet's test settings

# COCO's 80 classes in their order, as GenEval calls them (its object_names.txt): "computer mouse" is COCO's "mouse".
_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,computer mouse,tv remote,computer keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
CLASSES = tuple(_NAMES.split(","))


@dataclass(frozen=True, eq=False)
class Found:
    """One object. ``box`` is (left, top, right, bottom) in pixels, right and bottom excluded; ``score`` in [0, 1];
    ``mask`` bool[H, W] of the whole image, None where a detector gives boxes alone."""

    box: tuple[float, float, float, float]
    score: float
    mask: npt.NDArray[np.bool_] | None = None


Detections = dict[str, list[Found]]  # by class name; classes of which nothing was found may be left out


class Detector(Protocol):
    """Finds objects of ``CLASSES``. Cheap to make."""

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> str: ...

    def detect(self, images: Images) -> list[Detections]:
        """What is in each image of uint8[N, H, W, 3], without any threshold."""
        ...


class Mask2Former:
    """The instance segmentation model of transformers in ``folder``, float32, one image at a time.

    A query's softmax without its last class ("nothing") gives 80 scores; the 100 best pairs of query and class are
    kept; each score is multiplied by the mean probability inside the mask, and the box is the mask's extent (mmdet
    2.x, MaskFormerFusionHead.instance_postprocess). Raises GlanceBenchError when the folder holds no such model.
    """

    def __init__(self, name: str, folder: Path) -> None:
        if not any(folder.glob("*.safetensors")):
            raise GlanceBenchError(f"{folder}: no *.safetensors weights of {name} there")
        self.name = name
        self._folder = folder

    @cached_property
    def recipe(self) -> str:
        from glance_bench.models.checkpoints import checkpoint_digest

        digest = checkpoint_digest(self._folder).removeprefix("sha256:")[:12]
        return f"{self.name} {digest} in transformers, float32, mmdet's boxes of the best {MOST}"

    def detect(self, images: Images) -> list[Detections]:
        """See ``Detector.detect``."""
        return [self._detect(image) for image in images]

    def _detect(self, image: npt.NDArray[np.uint8]) -> Detections:
        import torch
        from PIL import Image

        model, processor = self._loaded
        pixels = processor(images=[Image.fromarray(image)], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            out = model(pixel_values=pixels.to(model.device))
            scores = out.class_queries_logits[0].softmax(-1)[:, :-1]
            best, pairs = scores.flatten().topk(min(MOST, scores.numel()))
            queries = pairs // scores.shape[1]
            used, place = queries.unique(return_inverse=True)
            masks = _resized(_resized(out.masks_queries_logits[0, used], pixels.shape[-2:]), image.shape[:2])
            inside = masks > 0
            certain = (masks.sigmoid() * inside).flatten(1).sum(1) / (inside.flatten(1).sum(1) + 1e-6)
            best = best * certain[place]
        found: Detections = {}
        wholes = inside.cpu().numpy()
        for score, label, i in zip(
            best.tolist(), (pairs % scores.shape[1]).tolist(), place.tolist(), strict=True
        ):
            if (box := _extent(wholes[i])) is not None:
                found.setdefault(CLASSES[label], []).append(Found(box, score, wholes[i]))
        return found

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import transformers
        from safetensors import SafetensorError

        transformers.utils.logging.disable_progress_bar()
        try:
            model = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(
                self._folder, use_safetensors=True, local_files_only=True
            )
            processor = transformers.AutoImageProcessor.from_pretrained(
                self._folder, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise GlanceBenchError(f"{self._folder}: {self.name} cannot be loaded: {error}") from error
        if model.config.num_labels != len(CLASSES):
            raise GlanceBenchError(
                f"{self._folder}: expected COCO's 80 classes, not {model.config.num_labels}"
            )
        return model.to("cuda" if find_gpus() else "cpu").eval(), processor


def _resized(masks: Any, size: Sequence[int]) -> Any:
    """float[N, h, w] to float[N, *size], bilinear."""
    import torch

    return torch.nn.functional.interpolate(
        masks[None], size=tuple(size), mode="bilinear", align_corners=False
    )[0]


def _extent(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """The box around the True of bool[H, W]; None when there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def mask2former() -> Mask2Former:
    """``mask2former-swin-small``. Raises MissingData when its weights are not on this machine."""
    return Mask2Former("mask2former-swin-small", find_weights("mask2former-swin-small"))
