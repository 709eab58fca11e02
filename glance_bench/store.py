"""The run folder: what lies where, how a unit is published, and how everything is read back. No torch.

::

    units/<model>/<sampler>-<hash12>/<prompt set>/<slice>-<hash12>/   *.png  unit.parquet  unit.json
    scores/<recipe>/<content key>.<seal>.parquet     features/<recipe>/<content key>.<seal>.npz
    timing/<model>/<sampler>-<hash12>.<seal>.parquet   and -<hash12>+2, +3, ... where it was timed again
    embeddings/<checkpoint hash12>/<text hash>.<seal>.safetensors
    strips/<model>/<sampler>-<hash12>/<prompt set>/<key>.<seal>.json  <key>-<step>.<seal>.png
    suite.json  prompts.json  env.json  manifest.json  results.json  report/index.html
    imports.json   images and scores made elsewhere
    exports/   manifests of exports, for scores that come back
    analysis/   what `glance-bench analyze` found; nothing else is made from it
    quarantine/   damaged and foreign files, moved here with the reason in log.jsonl

A unit's folder is renamed into place when it is whole. ``unit.json`` lists every file with its size and
sha256, and carries a digest of itself. The manifest names what the results are made of.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import GlanceBenchError
from .marks import Marks, UnitMarks, damages_in
from .sealed import (
    Damaged,
    digest_of,
    find_sealed,
    json_bytes,
    parquet_bytes,
    read_sealed,
    sha256_bytes,
    write_atomic,
    write_folder,
    write_json,
)
from .strips import STRIP_COLUMNS, strip_rows
from .units import PAIR_KEYS, RECORD_COLUMNS, UnitInfo, content_key, read_unit, refuse_outside

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from .prompts import Prompt

__all__ = ["Run"]


def _file(name: str, data: bytes) -> dict[str, Any]:
    """How a unit's record lists a file."""
    return {"file": name, "sha256": sha256_bytes(data), "bytes": len(data)}


def _says(path: Path, value: Mapping[str, Any]) -> bool:
    """Whether a JSON file holds ``value``: reading one is several times faster than formatting it.

    What does not read back as it was, such as a tuple in a prompt's meta, is compared as it would be written.
    """
    try:
        held = path.read_bytes()
        return bool(json.loads(held) == value) or held == json_bytes(value)
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return False


class Run:
    """One run folder. Reading needs no lock; writing happens inside ``with run.lock():``."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    # -- reading -----------------------------------------------------------------------------------------

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What this run consists of: ``name``, ``units``, ``samplers``, ``adapters``, ``metrics``, ``timing``,
        ``strips``.

        Raises GlanceBenchError when the folder is not a run, Damaged when it names folders outside it.
        """
        manifest = self._json("manifest.json")
        refuse_outside(self.folder / "manifest.json", manifest)
        return manifest

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            return dict(json.loads(path.read_bytes()))
        except FileNotFoundError as error:
            self._refuse_kept()
            raise GlanceBenchError(f"{self.folder} is not a run folder: it has no {name}") from error
        except (ValueError, RecursionError) as error:
            raise Damaged(path, f"is not JSON ({error})") from error

    def _refuse_kept(self) -> None:
        """Raises GlanceBenchError for a folder that holds what was kept of a run: a baseline, an unpacked bundle."""
        for kind in ("baseline", "bundle"):
            if (self.folder / f"{kind}.json").is_file():
                raise GlanceBenchError(
                    f"{self.folder} is a {kind}, not a run: compare, gate, leaderboard and tables read it, `verify` "
                    "checks it, but nothing can be made in it"
                )

    def suite(self) -> dict[str, Any]:
        """The resolved suite: profile chosen, overrides applied."""
        return self._json("suite.json")

    def units(self) -> list[UnitInfo]:
        """The units the manifest lists, in the order they are made."""
        return [UnitInfo(**unit) for unit in self.manifest["units"]]

    def prompts(self, prompt_set: str | None = None) -> list[Prompt]:
        """The prompts of one set, or of all sets in the suite's order."""
        from .prompts import Prompt

        found = []
        for entry in self._json("prompts.json")["sets"]:
            if prompt_set in (None, entry["name"]):
                for item in entry["prompts"]:
                    found.append(Prompt(**{**item, "wanted_text": tuple(item["wanted_text"])}))
        return found

    def records(self) -> pd.DataFrame:
        """One row an image, columns RECORD_COLUMNS; ``image`` is relative to the run folder.

        ``evaluations`` counts the transformer's passes for that image, a part of one where a cache left out the rest;
        files of earlier versions have whole numbers. Raises Damaged for a bad file.
        """
        import pandas as pd
        import pyarrow as pa

        tables = list(self.record_tables())
        if not tables:
            return pd.DataFrame(columns=list(RECORD_COLUMNS))
        return pa.concat_tables(tables, promote_options="permissive").to_pandas()

    def record_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The records unit by unit, in memory that does not grow with their number; by default all RECORD_COLUMNS.

        Raises Damaged for a file that does not have the digest in its unit's ``unit.json``.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        for unit in self.units():
            path = self.folder / unit.folder / "unit.parquet"
            try:
                data = path.read_bytes()
                if sha256_bytes(data) != self._marks.records(unit.folder):
                    raise Damaged(path, "was altered: its sha256 is not the recorded one")
                yield pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise Damaged(path, f"cannot be read as Parquet ({error})") from error

    def scores(self, metric: str) -> pd.DataFrame:
        """Per-image values of one metric: image_sha256, prompt_id and one float column an output.

        NaN means that the metric does not apply to that image. One row for each (image, prompt).
        """
        entry = self._metric(metric)
        parts = find_sealed(self.folder / entry["folder"], "parquet")
        keys = self._keys(content_key if "imported" in entry else self.score_key)
        frames = [self._frame(parts[key]) for key in keys if key in parts]
        frame = self._concatenate(frames, ["image_sha256", "prompt_id"])
        return frame.drop_duplicates(["image_sha256", "prompt_id"], ignore_index=True)

    def notes(self, metric: str) -> list[str]:
        """The columns of ``scores`` that hold text, read off one of its files; none where nothing was scored."""
        import pyarrow.parquet as pq
        import pyarrow.types as types

        parts = find_sealed(self.folder / self._metric(metric)["folder"], "parquet")
        if not parts:
            return []
        schema = pq.read_schema(io.BytesIO(read_sealed(next(iter(parts.values())))))
        found = [
            field.name for field in schema if types.is_string(field.type) or types.is_large_string(field.type)
        ]
        return [name for name in found if name not in ("image_sha256", "prompt_id")]

    def reference_of(self, model: str, samplers: Sequence[str]) -> str:
        """The sampler of a board that the others are compared with: the teacher, or else the first."""
        teachers = {e["sampler"] for e in self.manifest["samplers"] if e["model"] == model and e["teacher"]}
        return next((name for name in samplers if name in teachers), samplers[0])

    def with_references(self, records: pd.DataFrame) -> pd.DataFrame:
        """``records`` with ``reference_image`` and ``reference_sha256``: what the board's reference made from the
        same noise. Null for the reference itself and where it has no such image.
        """
        import pandas as pd

        keys = ["model", "prompt_set", "prompt_id", "index"]
        chosen = []
        for (model, _), board in records.groupby(keys[:2], sort=False):
            chosen.append(
                board[board["sampler"] == self.reference_of(str(model), list(board["sampler"].unique()))]
            )
        theirs = pd.concat(chosen) if chosen else records
        named = theirs[[*keys, "sampler", "image", "image_sha256"]].rename(
            columns={
                "sampler": "reference",
                "image": "reference_image",
                "image_sha256": "reference_sha256",
            }
        )
        paired = records.merge(named, how="left", on=keys, validate="m:1")
        itself = paired["sampler"] == paired.pop("reference")
        paired.loc[itself, ["reference_image", "reference_sha256"]] = None
        return paired

    def pairs(self, metric: str) -> pd.DataFrame:
        """Values of a pair metric: PAIR_KEYS and a float column an output; one row a pair and prompt."""
        parts = find_sealed(self.folder / self._metric(metric)["folder"], "parquet")
        frame = self._concatenate([self._frame(parts[key]) for key in sorted(parts)], list(PAIR_KEYS))
        return frame.drop_duplicates(list(PAIR_KEYS), ignore_index=True)

    def features(self, metric: str) -> tuple[list[str], np.ndarray[Any, Any]]:
        """A corpus metric's features: the images' sha256 and float32[N, D], one row an image."""
        import numpy as np

        parts = find_sealed(self.folder / self._metric(metric)["folder"], "npz")
        rows: dict[str, np.ndarray[Any, Any]] = {}
        for key in self._keys(self.score_key):
            if key in parts:
                with np.load(io.BytesIO(read_sealed(parts[key])), allow_pickle=False) as arrays:
                    rows.update(zip(arrays["image_sha256"].tolist(), arrays["features"], strict=True))
        return list(rows), np.stack(list(rows.values())) if rows else np.zeros((0, 0), np.float32)

    def timing(self) -> pd.DataFrame:
        """Latency in long form: model, sampler, session, hardware, prompt_id, repeat, batch_size, component,
        seconds (for one image), evaluations, peak_gib. Components: encode, denoise, decode, total.

        ``peak_gib`` is the most memory that torch had allocated on a GPU meanwhile, the model included. NaN on a CPU,
        and in runs of older versions.

        The rows of one ``session`` were measured interleaved and may be compared with each other.
        """
        frames = []
        for entry in self.manifest["timing"]:
            frames += [self._frame(path) for path in self.timing_files(entry).values()]
        keys = ["model", "sampler", "session", "prompt_id", "repeat", "component"]
        frame = self._concatenate(frames, [*keys, "hardware", "batch_size", "seconds", "evaluations"])
        if "peak_gib" not in frame:
            frame["peak_gib"] = float("nan")
        return frame.drop_duplicates(keys, ignore_index=True)

    def timing_files(self, entry: Mapping[str, str]) -> dict[int, Path]:
        """The files of an entry of the manifest's ``timing``: 1 is the first time it was timed, 2 the next."""
        key = entry["key"]
        found = {}
        for name, path in find_sealed(self.folder / entry["folder"], "parquet").items():
            number = "1" if name == key else name.removeprefix(f"{key}+")
            if name in (key, f"{key}+{number}") and number.isdecimal():
                found[int(number)] = path
        return dict(sorted(found.items()))

    def strips(self) -> pd.DataFrame:
        """Trajectory strips: a row for each decoded estimate, in the order of the steps, columns STRIP_COLUMNS.

        ``step`` counts from 0; ``sigma``, in (0, 1], is the noise level at its start, where the estimate was made.
        ``adapter`` is "" for the base model. ``file``, a PNG of the image's size, is relative to the run folder.
        ``difference`` is how far (levels of 255, at worst) the image that the strip ends with lies from the stored one.
        Strips that are not made yet are left out. Raises Damaged for a bad record.
        """
        import pandas as pd

        rows = []
        for entry in self.manifest.get("strips", []):  # absent in runs of earlier versions
            found = find_sealed(self.folder / entry["folder"], "json")
            for key in entry["keys"]:
                rows += strip_rows(self.folder, found[key]) if key in found else []
        return pd.DataFrame(rows, columns=list(STRIP_COLUMNS))

    def score_key(self, unit: Mapping[str, Any]) -> str:
        """What the scores of a unit depend on, as 16 hex digits: what it shows, and what its prompts ask for.

        Questions that a prompt is judged by may come later than its images; then these are scored again.
        """
        asked = [self._asked.get(image["prompt_id"]) for image in unit["images"]]
        return digest_of([content_key(unit), asked])[:16] if any(asked) else content_key(unit)

    def unit_marks(self, folder: str) -> UnitMarks:
        """What a unit's record proves, in short. Raises as ``read_unit`` does."""
        return self._marks.of(folder)

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.folder, self.score_key)

    @cached_property
    def _asked(self) -> dict[str, str]:
        """By prompt id, a digest of wanted text and meta, for prompts that have any."""
        held: dict[str, list[Any]] = {}
        for prompt in self.prompts():
            if prompt.wanted_text or prompt.meta:
                held.setdefault(prompt.id, []).append([list(prompt.wanted_text), dict(prompt.meta)])
        return {identity: digest_of(asked) for identity, asked in held.items()}

    def _metric(self, metric: str) -> dict[str, Any]:
        for entry in self.manifest["metrics"]:
            if entry["name"] == metric:
                return dict(entry)
        raise GlanceBenchError(f"{self.folder} has no metric {metric!r}")

    def _keys(self, key: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return list(dict.fromkeys(key(read_unit(self.folder / unit.folder)) for unit in self.units()))

    def _frame(self, path: Path) -> pd.DataFrame:
        import pandas as pd
        import pyarrow as pa

        try:
            return pd.read_parquet(io.BytesIO(read_sealed(path)))
        except (OSError, pa.ArrowException) as error:
            raise Damaged(path, f"cannot be read as Parquet ({error})") from error

    @staticmethod
    def _concatenate(frames: Sequence[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
        import pandas as pd

        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)

    # -- checking ----------------------------------------------------------------------------------------

    def check_unit(self, folder: str, key: str, *, deep: bool) -> list[Damaged] | None:
        """What is wrong with a unit: nothing (it is done), a list, or None when it was never made.

        ``deep`` hashes every image; otherwise the records are hashed and the images' sizes compared. Foreign
        files, which the record does not name, are listed too.
        """
        place = self.folder / folder
        if not place.is_dir():
            return None
        try:
            document = self._marks.read(folder)
        except FileNotFoundError:
            return [Damaged(place / "unit.json", "is missing")]
        except Damaged as damage:
            return [damage]
        if document["key"] != key:
            return [Damaged(place / "unit.json", "belongs to another unit")]
        return damages_in(place, document, deep=deep)

    def quarantine(self, damage: Damaged) -> None:
        """Move a damaged or foreign file to ``quarantine/`` and log where it lay and why. Absent: nothing."""
        if not damage.path.exists() and not damage.path.is_symlink():
            return
        room = self.folder / "quarantine"
        room.mkdir(parents=True, exist_ok=True)
        number = sum(1 for _ in room.iterdir())
        target = room / f"{number:04d}-{damage.path.name[-200:]}"
        damage.path.rename(target)
        entry = {"file": target.name, "from": str(damage.path.relative_to(self.folder)), "why": damage.what}
        with (room / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")

    # -- writing -----------------------------------------------------------------------------------------

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one process; the kernel lets go when that process ends, however it ends.

        Raises GlanceBenchError naming the process that holds it.
        """
        self._refuse_kept()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GlanceBenchError(f"cannot make the run folder {self.folder}: {error.strerror}") from error
        with (self.folder / ".lock").open("a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise GlanceBenchError(f"{self.folder} is in use by process {holder}") from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self.sweep()
            yield

    def sweep(self) -> None:
        """Remove the temporary files and folders of processes that were killed. Nobody may be writing."""
        for place, folders, files in os.walk(self.folder):
            for name in [name for name in folders if name.startswith(".tmp-")]:
                folders.remove(name)
                shutil.rmtree(os.path.join(place, name))
            for name in files:
                if name.startswith(".tmp-"):
                    Path(place, name).unlink(missing_ok=True)

    def publish_unit(
        self,
        unit: UnitInfo,
        images: Sequence[bytes],
        rows: Sequence[Mapping[str, Any]],
        texts: Sequence[str],
        made: Mapping[str, Any],
    ) -> None:
        """Write a unit: PNG ``images``, a record each (without image and image_sha256), what it is made of.

        A folder that already holds part of the unit keeps every file that is right; one that differs goes to
        quarantine first. ``made`` (JSON) is stored in ``unit.json`` beside the key.
        """
        names = [f"{number:05d}.png" for number in range(len(images))]
        records = parquet_bytes(
            [
                {**row, "image": f"{unit.folder}/{name}", "image_sha256": sha256_bytes(image)}
                for row, name, image in zip(rows, names, images, strict=True)
            ],
            RECORD_COLUMNS,
        )
        listed = [
            {**_file(name, image), "prompt_id": row["prompt_id"], "text_sha256": sha256_bytes(text.encode())}
            for name, image, row, text in zip(names, images, rows, texts, strict=True)
        ]
        document = {
            "schema": "glance-bench/unit/1",
            **asdict(unit),
            **made,
            "images": listed,
            "records": _file("unit.parquet", records),
        }
        document["digest"] = digest_of(document)
        files = dict(zip(names, images, strict=True))
        files["unit.parquet"] = records
        files["unit.json"] = json_bytes(document)
        place = self.folder / unit.folder
        if not place.exists():
            write_folder(place, files)
            return
        for name, data in files.items():
            path = place / name
            if not (path.is_file() and path.read_bytes() == data):
                self.quarantine(Damaged(path, "was replaced when its unit was made again"))
                write_atomic(path, data)

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one of the JSON documents of the folder, unless it already says exactly this."""
        if not _says(self.folder / name, value):
            write_json(self.folder / name, value)
        for held in {"manifest.json": ["manifest"], "prompts.json": ["_asked", "_marks"]}.get(name, ()):
            self.__dict__.pop(held, None)
