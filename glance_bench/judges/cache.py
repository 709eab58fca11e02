"""Every question is asked once: answers kept on disk by image, question and the judge's recipe.

One SQLite file a recipe, in the user's cache folder. A batch of answers is one transaction, so a killed process
leaves whole batches, and several processes may share the file. Questions without an answer are not kept: the next
run asks them again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from glance_bench.errors import GlanceBenchError
from glance_bench.judges.base import Judge
from glance_bench.judges.pictures import pixel_key
from glance_bench.metrics.base import Images
from glance_bench.resources import cache_dir
from glance_bench.sealed import sha256_bytes, slug

__all__ = ["CachedJudge"]

BATCH = 32  # questions put to the judge at once, and kept at once
LONGEST = 20_000  # characters of an answer that are kept; what follows can only be noise
WAIT = 60  # seconds that another process may hold the file

_Key = tuple[str, str, int]  # pixels, question, tokens


class CachedJudge:
    """``judge`` with a memory. ``folder`` replaces the user's cache folder (tests)."""

    def __init__(self, judge: Judge, folder: Path | None = None) -> None:
        self._judge = judge
        self._folder = folder

    @property
    def name(self) -> str:
        return self._judge.name

    @property
    def recipe(self) -> str:
        return self._judge.recipe

    @cached_property
    def file(self) -> Path:
        """Where this judge's answers are kept."""
        folder = self._folder or cache_dir() / "answers"
        return folder / f"{slug(self.name)}-{sha256_bytes(self.recipe.encode())[:12]}.sqlite"

    def answer(self, images: Images, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
        """See ``Judge.answer``. Raises GlanceBenchError when the file of answers cannot be used."""
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images for {len(questions)} questions")
        keyed = zip(_pixel_keys(images), map(_plain, questions), strict=True)
        asked: list[_Key] = [(pixels, question, tokens) for pixels, question in keyed]
        with self._open() as database:
            known = {key: answer for key in set(asked) if (answer := _look_up(database, key)) is not None}
            first = {key: i for i, key in reversed(list(enumerate(asked))) if key not in known}
            new = sorted(first, key=first.__getitem__)
            for start in range(0, len(new), BATCH):
                keys = new[start : start + BATCH]
                places = [first[key] for key in keys]
                answers = self._judge.answer(images[places], [questions[i] for i in places], tokens=tokens)
                if len(answers) != len(keys):
                    raise GlanceBenchError(
                        f"judge {self.name!r} gave {len(answers)} answers to {len(keys)} questions"
                    )
                had = {
                    key: _plain(answer)[:LONGEST]
                    for key, answer in zip(keys, answers, strict=True)
                    if answer is not None
                }
                with database:
                    database.executemany(
                        "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
                        [(*key, answer) for key, answer in had.items()],
                    )
                known |= had
        return [known.get(key) for key in asked]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        file = self.file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GlanceBenchError(f"answers cannot be kept in {file.parent}: {error.strerror}") from error
        try:
            with closing(sqlite3.connect(file, timeout=WAIT)) as database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS answers (pixels TEXT, question TEXT, tokens INTEGER, "
                    "answer TEXT NOT NULL, PRIMARY KEY (pixels, question, tokens)) WITHOUT ROWID"
                )
                yield database
        except sqlite3.Error as error:
            raise GlanceBenchError(
                f"the answers kept in {file} cannot be used ({error}): delete the file to ask again"
            ) from error


def _look_up(database: sqlite3.Connection, key: _Key) -> str | None:
    row: tuple[Any, ...] | None = database.execute(
        "SELECT answer FROM answers WHERE pixels = ? AND question = ? AND tokens = ?", key
    ).fetchone()
    return None if row is None else str(row[0])


def _plain(text: str) -> str:
    """What can be stored as UTF-8 and read back equal: JSON may hold half a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _pixel_keys(images: Images) -> list[str]:
    if len(images) and images.strides[0] == 0:  # one image seen many times
        return [pixel_key(images[0])] * len(images)
    return [pixel_key(image) for image in images]
