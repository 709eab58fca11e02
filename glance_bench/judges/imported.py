"""``import:FILE``: answers that were made elsewhere, by any model, looked up instead of asked.

FILE is jsonl, or csv with a header. Each row has ``question``, as asked or without the instruction that a metric puts
behind it, ``answer``, and names its image by ``image``, the path of the image file (relative to FILE's folder), or by
``pixels_sha256``, ``pictures.pixel_key`` of it. A row for ``image`` also answers for that image after the JPEG step
of OneIG. Prompt id and image index name no image: every sampler has an image of that prompt and index.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.judges.pictures import as_jpeg, pixel_key
from glance_bench.judges.wording import plain_question
from glance_bench.metrics.base import Images
from glance_bench.sealed import sha256_bytes

__all__ = ["ImportedJudge"]


class ImportedJudge:
    """The answers of ``file``. Raises UsageError when it is not there or cannot be read."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self.name = f"import:{self._file.name}"
        if self._file.suffix.lower() not in (".jsonl", ".csv"):
            raise UsageError(f"judge import:{file}: expected a .jsonl or .csv file")
        try:
            self._data = self._file.read_bytes()
        except OSError as error:
            raise UsageError(f"judge import:{file}: cannot be read ({error.strerror})") from error

    @property
    def recipe(self) -> str:
        return f"import: answers supplied in a file, sha256 {sha256_bytes(self._data)[:12]}"

    def answer(self, images: Images, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
        """See ``Judge.answer``: None where the file has no answer; ``tokens`` changes nothing.

        Raises GlanceBenchError with the line for a row of the wrong form, and for two different answers to one
        question.
        """
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images for {len(questions)} questions")
        found = []
        for image, question in zip(images, questions, strict=True):
            pixels = pixel_key(image)
            exact = self._answers.get((pixels, question))
            found.append(self._answers.get((pixels, plain_question(question))) if exact is None else exact)
        return found

    @cached_property
    def _answers(self) -> dict[tuple[str, str], str]:
        answers: dict[tuple[str, str], str] = {}
        pictures: dict[str, tuple[str, ...]] = {}
        for line, row in self._rows():
            question, answer = row.get("question"), row.get("answer")
            if not isinstance(question, str) or not isinstance(answer, str):
                raise self._wrong(line, "expected the texts question and answer")
            if isinstance(key := row.get("pixels_sha256"), str) and key:
                keys: tuple[str, ...] = (key.lower(),)
            elif isinstance(image := row.get("image"), str) and image:
                if image not in pictures:
                    pictures[image] = self._keys_of(line, image)
                keys = pictures[image]
            else:
                raise self._wrong(line, "expected image (a path) or pixels_sha256")
            for key in keys:
                if answers.setdefault((key, question), answer) != answer:
                    raise self._wrong(
                        line, f"a second, different answer to {question[:60]!r} for the same image"
                    )
        return answers

    def _keys_of(self, line: int, image: str) -> tuple[str, ...]:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(self._file.parent / image) as opened:
                pixels = np.asarray(opened.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise self._wrong(line, f"image {image!r} cannot be read: {error}") from error
        return pixel_key(pixels), pixel_key(as_jpeg(pixels))

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            text = self._data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise GlanceBenchError(f"{self._file}: is not UTF-8 text ({error.reason})") from error
        if self._file.suffix.lower() == ".csv":
            reader = csv.DictReader(io.StringIO(text, newline=""))
            for row in reader:
                yield reader.line_num, row
            return
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise self._wrong(number, f"is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise self._wrong(number, "expected a JSON object")
            yield number, row

    def _wrong(self, line: int, what: str) -> GlanceBenchError:
        return GlanceBenchError(f"{self._file}, line {line}: {what}")
