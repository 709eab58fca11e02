"""Does the text that a prompt asks for stand in the image? RapidOCR reads it, three scores compare it.

Only prompts with ``wanted_text`` are read. Both sides are normalised the same way: Unicode NFKC, case folded
(most lettering is in capitals and OCR confuses C with c, O with o), everything dropped that is no letter,
mark, digit or white space, white space collapsed. So case and punctuation are not judged.

* ``ocr_word_accuracy``: multiset recall, sum over words of min(read, wanted) / number of wanted words. Order is
  free and extra words cost nothing.
* ``ocr_exact``: 1 when the whole normalised texts are equal.
* ``ocr_ned_similarity``: 1 - Levenshtein(wanted, read) / max(length), 1 when both are empty. "NED" names a distance
  in some papers; this is the similarity.

RapidOCR is used with its angle classifier off (it turned upright lines upside down) and the detector's short
side at 320 (as accurate as the default 736 and three times as fast on small images). Scores are not
comparable with those of an OCR by a vision-language model.
"""

from __future__ import annotations

import hashlib
import os
import threading
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.text_match import matched, ned_similarity

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["Ocr", "engine_recipe", "normalise", "read_text"]

DETECTOR_SIDE = 320  # pixels, the short side that the detector sees at least
WORKERS = 4  # images read at once
CONFIDENCE = 0.5  # lines read with less are dropped; RapidOCR's default
VERSION = 1


def normalise(text: str) -> str:
    """NFKC, case folded, letters, marks, digits and single spaces only; "" when nothing is left."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " if c.isspace() else "" for c in folded)
    return " ".join("".join(kept).split())


def read_text(images: Images) -> list[list[str]]:
    """The lines that RapidOCR reads in each image of uint8[N, H, W, 3], top to bottom, as it spells them.

    Lines in which no letter or digit is left after ``normalise`` are dropped: they are specks. Each image is read once
    a process, however many metrics ask for its text.
    """
    keys = [hashlib.blake2b(repr(image.shape).encode() + image.tobytes()).digest() for image in images]
    new = {key: image for key, image in zip(keys, images, strict=True) if key not in _known}
    _known.update(zip(new, _workers().map(_read_one, new.values()), strict=True))
    return [list(_known[key]) for key in keys]


def engine_recipe() -> str:
    """What ``read_text`` reads with. Raises GlanceBenchError when rapidocr is not installed."""
    try:
        engine = version("rapidocr")
    except PackageNotFoundError as error:
        raise GlanceBenchError("reading text needs the package rapidocr: pip install rapidocr") from error
    return (
        f"rapidocr {engine}, PP-OCRv6 small, no angle classifier, detector side {DETECTOR_SIDE}, "
        f"confidence {CONFIDENCE}"
    )


def _read_one(image: npt.NDArray[np.uint8]) -> list[str]:
    if not hasattr(_own, "engine"):
        _own.engine = _make_engine()
    bgr = np.ascontiguousarray(image[..., ::-1])  # what the engine takes for an array
    lines = _own.engine(bgr).txts or ()  # None when there is no text
    return [line for line in lines if normalise(line)]


class Ocr:
    """Word accuracy, exact match and edit similarity of the text in an image. The note ``ocr_read`` is what
    was read.

    ``read`` may replace the engine (tests); it takes uint8[N, H, W, 3] and gives the lines of each image.
    """

    name = "ocr"
    kind: Literal["sample"] = "sample"
    notes = ("ocr_read",)
    columns = (
        Column("ocr_word_accuracy", "OCR words", "higher", "share of the wanted words that OCR reads"),
        Column("ocr_exact", "OCR exact", "higher", "share of images whose whole text is read as wanted"),
        Column("ocr_ned_similarity", "OCR edit", "higher", "1 - edit distance / longer length"),
    )

    def __init__(self, read: Callable[[Images], list[list[str]]] = read_text) -> None:
        self._read = read

    @property
    def recipe(self) -> str:
        """Raises GlanceBenchError when rapidocr is not installed."""
        return f"ocr: {engine_recipe()}; nfkc, casefold, letters and digits; word recall, version {VERSION}"

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``; values lie in [0, 1]; prompts without ``wanted_text`` get an empty row."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        rows: list[Row] = [{} for _ in prompts]
        asked = [i for i, prompt in enumerate(prompts) if normalise(" ".join(prompt.wanted_text))]
        if asked:
            for i, lines in zip(asked, self._read(images[asked]), strict=True):
                rows[i] = _compare(prompts[i].wanted_text, lines)
        return rows


def _compare(wanted: Sequence[str], lines: Sequence[str]) -> Row:
    target, text = normalise(" ".join(wanted)), normalise(" ".join(lines))
    words = target.split()
    return {
        "ocr_word_accuracy": matched(words, text.split()) / len(words),
        "ocr_exact": float(target == text),
        "ocr_ned_similarity": ned_similarity(target, text),
        "ocr_read": " / ".join(lines),
    }


_own = threading.local()
_known: dict[bytes, list[str]] = {}  # by digest of the pixels


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(WORKERS, len(os.sched_getaffinity(0))), thread_name_prefix="ocr")


def _make_engine() -> Any:
    """One engine a worker, on one thread: more threads an image cost twice the time and gain little.

    Never pass ``use_det`` and the like to a call: it changes the engine for all later calls.
    """
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.log_level": "critical",
            "Global.text_score": CONFIDENCE,
            "Det.limit_side_len": DETECTOR_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
