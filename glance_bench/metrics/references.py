"""Reference images and features: where a suite may say they are, and the features that are made of them once.

A source is one of

* a folder of images, searched recursively, in the order of their paths;
* a parquet file, or a folder of them, with a column of encoded images (bytes, or the hub's {bytes, path});
* a webdataset tar file, or a folder of them;
* an npz file of features (``features``, ``feats`` as clean-fid writes them, ``real_feats_np`` as pi-Flow does) or of
  moments (``mu`` and ``sigma`` as clean-fid and pytorch-fid name them, ``mean`` and ``cov`` as pi-Flow does).

Nothing is unpickled. Images are read one after the other and made RGB as ``Image.convert("RGB")`` does, which is
what clean-fid and torch-fidelity do: gray is repeated, alpha is dropped and not composited, a palette is looked up,
the orientation tag is ignored. Of an animated image the first frame is taken. 16-bit and floating-point gray is
refused, because Pillow would clip it to white; 16-bit colour is read by its high bytes. What was dropped is counted
in the reference's note; an image that cannot be read ends the reading with one line that names it.

Features go to the user's cache folder under the digest of the source's content and the extractor's recipe, as rows
of little-endian float32: memory does not grow with the number of images, and a second use needs no torch.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from glance_bench.digests import file_digests
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.metrics.base import Features
from glance_bench.metrics.moments import Moments
from glance_bench.resources import cache_dir
from glance_bench.sealed import digest_of, json_bytes, write_atomic

__all__ = ["Extractor", "FeatureFile", "Picture", "Source", "features_of"]

Picture = npt.NDArray[np.uint8]  # [H, W, 3], RGB
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
FEATURES = ("features", "feats", "real_feats_np")
MOMENTS = (("mu", "sigma"), ("mean", "cov"), ("mean", "covariance"))
BATCH = 16
ROWS = 4096  # features read at a time


class Extractor(Protocol):
    """From images to features. ``recipe`` names everything that can change them, ``name`` is short."""

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> str: ...

    def features(self, images: Sequence[Picture]) -> Features:
        """N >= 1 images of any sizes to float32[N, D]."""
        ...


@dataclass(frozen=True)
class Source:
    """Where reference images or features are. Raises UsageError, naming it, for what is none of the above."""

    path: Path
    kind: str  # "folder", "parquet", "webdataset" or "npz"
    files: tuple[Path, ...]
    others: int  # files of a folder that are left out

    @classmethod
    def at(cls, path: Path) -> Source:
        kinds = {".parquet": "parquet", ".tar": "webdataset", ".npz": "npz"}
        if path.is_file() and path.suffix.lower() in kinds:
            return cls(path, kinds[path.suffix.lower()], (path,), 0)
        if not path.is_dir():
            what = "is no folder, .parquet, .tar or .npz file" if path.exists() else "does not exist"
            raise UsageError(f"reference {path} {what}")
        there = sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        for kind, suffixes in (("folder", IMAGES), ("parquet", (".parquet",)), ("webdataset", (".tar",))):
            files = tuple(file for file in there if file.suffix.lower() in suffixes)
            if files:
                return cls(path, kind, files, len(there) - len(files))
        raise UsageError(f"reference {path}: holds no images, parquet or tar files")

    @property
    def digest(self) -> str:
        """12 hex digits over the content of its files in order; a moved or renamed source keeps it."""
        return digest_of([self.kind, *file_digests(self.files)])[:12]

    def pictures(self, notes: Counter[str]) -> Iterator[Picture]:
        """Every image, one at a time; what a reader must know is counted in ``notes``."""
        if self.others:
            notes["file left out, being no image"] = self.others
        for label, data in READERS[self.kind](self.files):
            yield decode(label, data, notes)


def decode(label: str, data: Path | bytes, notes: Counter[str]) -> Picture:
    """One encoded image as uint8[H, W, 3]. Raises GlanceBenchError, which starts with ``label``."""
    from PIL import Image

    try:
        with Image.open(data if isinstance(data, Path) else io.BytesIO(data)) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                raise GlanceBenchError(
                    f"{label}: gray with more than 8 bits (mode {image.mode}); save it with 8 bits"
                )
            if getattr(image, "is_animated", False):
                notes["animated image, first frame taken"] += 1
            if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
                notes["image with alpha, dropped"] += 1
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise GlanceBenchError(f"{label}: cannot be read as an image ({error})") from error


def _files(files: Sequence[Path]) -> Iterator[tuple[str, Path | bytes]]:
    return ((str(file), file) for file in files)


def _parquet(files: Sequence[Path]) -> Iterator[tuple[str, Path | bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        row = 0
        try:
            with pq.ParquetFile(file) as table:
                column = _image_column(file, table.schema_arrow)
                for batch in table.iter_batches(BATCH, columns=[column]):
                    for value in batch.column(0).to_pylist():
                        data = value.get("bytes") if isinstance(value, dict) else value
                        if not data:
                            raise GlanceBenchError(f"{file} row {row}: no image bytes in column {column!r}")
                        yield f"{file} row {row}", data
                        row += 1
        except (pa.ArrowException, OSError) as error:
            raise GlanceBenchError(f"{file}: cannot be read as parquet ({error})") from error


def _image_column(file: Path, schema: Any) -> str:
    import pyarrow as pa

    def binary(kind: Any) -> bool:
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(part.name == "bytes" and binary(part.type) for part in kind)
        return binary(kind)

    found = [field.name for field in schema if holds_bytes(field.type)]
    if len(found) > 1 and "image" in found:
        return "image"
    if len(found) != 1:
        raise GlanceBenchError(f"{file}: expected one column of image bytes, found {found} of {schema.names}")
    return str(found[0])


def _tar(files: Sequence[Path]) -> Iterator[tuple[str, Path | bytes]]:
    for file in files:
        try:
            with tarfile.open(file, "r|*") as archive:  # a stream: nothing is extracted to the disk
                for member in archive:
                    if member.isfile() and member.name.lower().endswith(IMAGES):
                        part = archive.extractfile(member)
                        yield f"{file}: {member.name}", part.read() if part else b""
        except (tarfile.TarError, EOFError, OSError) as error:
            raise GlanceBenchError(f"{file}: cannot be read as tar ({error})") from error


READERS: dict[str, Callable[[Sequence[Path]], Iterator[tuple[str, Path | bytes]]]] = {
    "folder": _files,
    "parquet": _parquet,
    "webdataset": _tar,
}


@dataclass(frozen=True)
class FeatureFile:
    """Features of reference images: float32[n, d] on the disk, or in an imported file moments alone."""

    label: str
    n: int
    d: int
    note: str
    path: Path | None  # the rows; None where ``moments_only``
    moments_only: Moments | None = None

    def rows(self) -> Features:
        """float32[n, d], all of them, held once. Raises UsageError where only moments were imported."""
        found = np.empty((self.n, self.d), dtype=np.float32)
        start = 0
        for part in self.parts():
            found[start : start + len(part)] = part
            start += len(part)
        return found

    def parts(self) -> Iterator[Features]:
        """The rows, a few thousand at a time."""
        if self.path is None:
            raise UsageError(f"{self.label} holds moments only: this metric needs features of every image")
        with self.path.open("rb") as file:
            while len(part := np.fromfile(file, "<f4", ROWS * self.d)):
                yield part.reshape(-1, self.d)

    def moments(self) -> Moments:
        """Their moments, which are kept beside the rows with their factor after the first time."""
        if self.path is None:
            assert self.moments_only is not None
            return self.moments_only
        kept = self.path.with_name("moments.npz")
        if kept.is_file():
            with np.load(kept, allow_pickle=False) as stored:
                moments = Moments(stored["mean"], stored["covariance"], self.n, self.note)
                return moments.with_factor(stored["factor"])
        moments = Moments.streamed(self.parts(), self.note)
        buffer = io.BytesIO()
        np.savez(buffer, mean=moments.mean, covariance=moments.covariance, factor=moments.factor)
        write_atomic(kept, buffer.getvalue())
        return moments


def features_of(source: Source, extractor: Extractor) -> FeatureFile:
    """The extractor's features of the source's images, from the cache where they were made before.

    Raises GlanceBenchError for fewer than two images, and in one line for anything that cannot be read.
    """
    if source.kind == "npz":
        return _imported(source, extractor)
    folder = cache_dir() / "references" / digest_of([source.digest, extractor.recipe])[:24]
    if not (folder / "about.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
        try:
            _make(source, extractor, making)
            with suppress(OSError):  # another process was faster
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return FeatureFile(str(source.path), about["n"], about["d"], about["note"], folder / "features.f32")


def _make(source: Source, extractor: Extractor, folder: Path) -> None:
    notes: Counter[str] = Counter()
    n = d = 0
    with (folder / "features.f32").open("wb") as file:
        pictures = source.pictures(notes)
        for batch in _ahead(iter(lambda: list(islice(pictures, BATCH)), [])):
            part = extractor.features(batch)
            _refuse_not_finite(str(source.path), part)
            n, d = n + len(part), part.shape[1]
            file.write(part.astype("<f4").tobytes())
    if n < 2:
        raise GlanceBenchError(f"reference {source.path}: {n} images, at least two are needed")
    about = {"n": n, "d": d, "note": _sentence(notes), "extractor": extractor.recipe}
    (folder / "about.json").write_bytes(json_bytes(about))


def _ahead(batches: Iterator[list[Picture]]) -> Iterator[list[Picture]]:
    """The same batches, each read while the one before it is used."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _sentence(notes: Counter[str]) -> str:
    return "reference: " + ", ".join(f"{n} x {what}" for what, n in sorted(notes.items())) if notes else ""


def _imported(source: Source, extractor: Extractor) -> FeatureFile:
    try:
        with np.load(source.path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise GlanceBenchError(f"{source.path}: cannot be read as npz without pickles ({error})") from error
    note = f"reference features imported from {source.path.name}, trusted to be of {extractor.name}"
    for name in FEATURES:
        if name in arrays:
            return _keep(source, arrays[name], note)
    for mean, covariance in MOMENTS:
        if mean in arrays and covariance in arrays:
            return _moments_only(source, arrays[mean], arrays[covariance], int(arrays.get("n", 0)), note)
    raise GlanceBenchError(
        f"{source.path}: expected an array named {', '.join(FEATURES)}, or mu and sigma; found {sorted(arrays)}"
    )


def _keep(source: Source, features: Any, note: str) -> FeatureFile:
    if features.ndim != 2 or len(features) < 2 or features.dtype.kind != "f":
        raise GlanceBenchError(
            f"{source.path}: expected float[N >= 2, D] features, found {features.dtype}{list(features.shape)}"
        )
    _refuse_not_finite(str(source.path), features)
    folder = cache_dir() / "references" / source.digest
    rows = folder / "features.f32"
    if not rows.is_file():
        write_atomic(rows, features.astype("<f4").tobytes())
    return FeatureFile(str(source.path), len(features), features.shape[1], note, rows)


def _moments_only(source: Source, mean: Any, covariance: Any, n: int, note: str) -> FeatureFile:
    d = mean.shape[0] if mean.ndim == 1 else 0
    if not d or covariance.shape != (d, d):
        raise GlanceBenchError(
            f"{source.path}: expected a mean [D] and a covariance [D, D], found {mean.shape}, {covariance.shape}"
        )
    for part in (mean, covariance):
        _refuse_not_finite(str(source.path), part)
    moments = Moments(mean.astype(np.float64), covariance.astype(np.float64), n, note)
    return FeatureFile(str(source.path), n, d, note, None, moments)


def _refuse_not_finite(label: str, values: npt.NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise GlanceBenchError(f"{label}: gives features that are not finite")
