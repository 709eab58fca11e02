"""Reference images from every kind of source, the odd ones included, and the cache of their features."""

import io
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.metrics.frechet import FrechetDistance
from glance_bench.metrics.kid import Kid
from glance_bench.metrics.manifold import Manifold
from glance_bench.metrics.moments import Moments
from glance_bench.metrics.references import Source, decode, features_of


class Corners:
    """The four corner pixels: 12 numbers. Counts how many images it was given."""

    name = "corners"

    def __init__(self, recipe: str = "corners of an image") -> None:
        self.recipe = recipe
        self.seen: list[tuple[int, ...]] = []

    def features(self, images: Any) -> np.ndarray:
        self.seen += [image.shape for image in images]
        parts = [image[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1) for image in images]
        return np.stack(parts).astype(np.float32)


def pictures(n: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (8 + i, 12 - i, 3), dtype=np.uint8) for i in range(n)]


def png(image: np.ndarray | Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))


def folder(place: Path) -> Path:
    (place / "b").mkdir(parents=True)
    for i, image in enumerate(pictures()):
        (place / ("b" if i > 2 else "") / f"{i}.png").write_bytes(png(image))
    return place


def parquet(place: Path, column: Any = None, name: str = "image") -> Path:
    values = [{"bytes": png(image), "path": f"{i}.png"} for i, image in enumerate(pictures())]
    table = pa.table({name: values if column is None else column, "caption": ["a"] * 5})
    pq.write_table(table, place, row_group_size=2)
    return place


def tar(place: Path) -> Path:
    with tarfile.open(place, "w") as archive:
        for i, image in enumerate(pictures()):
            for name, data in ((f"{i:03}.png", png(image)), (f"{i:03}.txt", b"a caption")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return place


# the same images from everywhere


def test_folder_parquet_and_tar_give_the_same_features(tmp_path: Path) -> None:
    expected = Corners().features(pictures())
    (tmp_path / "shards").mkdir()
    sources = [
        folder(tmp_path / "images"),
        parquet(tmp_path / "images.parquet"),
        parquet(tmp_path / "plain.parquet", [png(image) for image in pictures()], "jpg"),
        tar(tmp_path / "images.tar"),
        tar(tmp_path / "shards" / "0.tar").parent,
    ]
    for path in sources:
        stored = features_of(Source.at(path), Corners())
        assert np.array_equal(stored.rows(), expected), path
        assert (stored.n, stored.d, stored.note) == (5, 12, "")
        moments = stored.moments()
        assert moments.n == 5 and moments.mean == pytest.approx(expected.mean(0))
        assert moments.covariance == pytest.approx(np.cov(expected, rowvar=False))


def test_imported_features_and_moments(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
    for name in ("features", "feats", "real_feats_np"):
        np.savez(tmp_path / f"{name}.npz", **{name: features})
        stored = features_of(Source.at(tmp_path / f"{name}.npz"), Corners())
        assert np.array_equal(stored.rows(), features) and "trusted to be of corners" in stored.note
    own = Moments.of(features)
    for mean, covariance in (("mu", "sigma"), ("mean", "cov")):
        path = tmp_path / f"{mean}-{covariance}.npz"
        np.savez(path, **{mean: own.mean, covariance: own.covariance})
        distance = FrechetDistance(Corners(), "fd").against(path)
        reference = distance.reference(tmp_path)
        assert reference.n == 0 and distance.reduce(features, reference) == pytest.approx(0, abs=1e-9)
        assert "imported from" in distance.note(40, reference)
        for metric in (Kid(Corners()), Manifold(Corners(), "recall", "k3")):
            with pytest.raises(UsageError, match=rf"{path.name} holds moments only"):
                metric.against(path).reference(tmp_path)


def test_arrays_that_are_no_reference_are_refused(tmp_path: Path) -> None:
    def refused(match: str, **arrays: Any) -> None:
        np.savez(tmp_path / "r.npz", **arrays)
        with pytest.raises(GlanceBenchError, match=match) as error:
            features_of(Source.at(tmp_path / "r.npz"), Corners())
        assert "r.npz" in str(error.value) and "\n" not in str(error.value)

    refused(r"expected an array named features.*found \['images'\]", images=np.zeros((2, 3)))
    refused(r"found uint8\[4, 3\]", features=np.zeros((4, 3), np.uint8))
    refused(r"found float64\[1, 3\]", features=np.zeros((1, 3)))
    refused("not finite", features=np.full((4, 3), np.inf))
    refused(r"found \(3,\), \(2, 2\)", mu=np.zeros(3), sigma=np.zeros((2, 2)))
    refused("without pickles", features=np.array([{"a": 1}], dtype=object))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(GlanceBenchError, match="cut.npz: cannot be read as npz"):
        features_of(Source.at(tmp_path / "cut.npz"), Corners())


# the cache


def test_features_are_made_once_for_each_content_and_recipe(tmp_path: Path) -> None:
    path, way = folder(tmp_path / "images"), Corners()
    for _ in range(2):
        features_of(Source.at(path), way)
    assert len(way.seen) == 5
    moved = path.rename(tmp_path / "moved")
    features_of(Source.at(moved), way)
    assert len(way.seen) == 5
    features_of(Source.at(moved), other := Corners("corners, otherwise"))
    assert len(other.seen) == 5
    digest = Source.at(moved).digest
    (moved / "1.png").write_bytes(png(pictures()[0]))
    assert Source.at(moved).digest != digest
    features_of(Source.at(moved), way)
    assert len(way.seen) == 10


def test_moments_are_kept_with_their_factor(tmp_path: Path) -> None:
    path = folder(tmp_path / "images")
    first = FrechetDistance(Corners(), "fd").against(path).reference(tmp_path)
    second = FrechetDistance(Corners(), "fd").against(path).reference(tmp_path)
    assert "factor" in second.__dict__ and np.array_equal(first.factor, second.factor)
    assert np.array_equal(first.covariance, second.covariance) and first.n == second.n == 5


def test_metrics_share_the_features_of_a_reference(tmp_path: Path) -> None:
    path, way = folder(tmp_path / "images"), Corners()
    for metric in (FrechetDistance(way, "fd"), Kid(way), Kid(way, full=True), Manifold(way, "recall", "k3")):
        metric.against(path).reference(tmp_path)
    assert len(way.seen) == 5


def test_a_failed_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    path = folder(tmp_path / "images")
    (path / "z.png").write_bytes(png(pictures()[0])[:60])
    with pytest.raises(GlanceBenchError, match=r"z\.png: cannot be read as an image"):
        features_of(Source.at(path), Corners())
    assert list((tmp_path / "cache" / "references").iterdir()) == []
    (path / "z.png").unlink()
    assert features_of(Source.at(path), Corners()).n == 5


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """Peak of the process for 40 and for 400 images of 0.75 MB; all at once, the latter would be 300 MB."""
    code = """
import resource, sys
import numpy as np
from pathlib import Path
from glance_bench.metrics.references import Source, features_of
class Mean:
    name = recipe = "mean"
    def features(self, images):
        return np.stack([np.repeat(image.reshape(-1, 3).mean(0), 4) for image in images]).astype(np.float32)
features_of(Source.at(Path(sys.argv[1])), Mean()).moments()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    image = png(np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8), compress_level=0)
    peaks = []
    for n in (40, 400):
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / "0.png").write_bytes(image)
        for i in range(1, n):
            os.link(tmp_path / str(n) / "0.png", tmp_path / str(n) / f"{i}.png")
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(n))], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 20, peaks


# odd images


def test_gray_alpha_palette_and_animated_images(tmp_path: Path) -> None:
    notes: Counter[str] = Counter()
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert np.array_equal(decode("g", png(gray), notes), np.repeat(gray[:, :, None], 3, 2)) and not notes
    colour = np.dstack([pictures()[0], np.full(pictures()[0].shape[:2], 10, np.uint8)])
    assert np.array_equal(decode("a", png(colour), notes), colour[:, :, :3])  # not composited
    assert notes == {"image with alpha, dropped": 1}
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 200)]
    moving = png(frames[0], save_all=True, append_images=frames[1:])
    assert (decode("m", moving, notes) == 10).all() and notes["animated image, first frame taken"] == 1
    palette = Image.fromarray(pictures()[1]).quantize(8)
    assert np.array_equal(decode("p", png(palette), notes), np.asarray(palette.convert("RGB")))
    deep = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)
    with pytest.raises(GlanceBenchError, match=r"^deep\.png: gray with more than 8 bits"):
        decode("deep.png", png(deep), notes)
    with pytest.raises(GlanceBenchError, match=r"^text\.png: cannot be read as an image"):
        decode("text.png", b"no image", notes)
    whole = png(pictures()[0])
    for end in (20, 60, len(whole) - 30):
        with pytest.raises(GlanceBenchError, match=r"^cut\.png: cannot be read as an image"):
            decode("cut.png", whole[:end], notes)


def test_16_bit_colour_is_read_by_its_high_bytes() -> None:
    """Pillow cannot write such a file, so it is put together here: IHDR with depth 16 and colour type 2."""
    values = np.random.default_rng(3).integers(0, 65536, (4, 5, 3)).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    assert np.array_equal(decode("deep", data, Counter()), (values >> 8).astype(np.uint8))


def test_what_was_dropped_is_said_in_the_note(tmp_path: Path) -> None:
    path = folder(tmp_path / "images")
    (path / "notes.txt").write_text("no image")
    (path / ".DS_Store").write_bytes(b"hidden")
    alpha = np.dstack([pictures()[0], pictures()[0][:, :, :1]])
    (path / "alpha.png").write_bytes(png(alpha))
    distance = FrechetDistance(Corners(), "fd").against(path)
    reference = distance.reference(tmp_path)
    assert reference.n == 6
    said = distance.note(100, reference)
    assert "1 x file left out, being no image" in said and "1 x image with alpha, dropped" in said


# odd sources


def test_sources_that_hold_nothing_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x")
    for path, match in (
        (tmp_path / "absent", "absent does not exist"),
        (tmp_path / "empty", "holds no images, parquet or tar"),
        (tmp_path / "text.txt", "is no folder, .parquet, .tar or .npz file"),
    ):
        with pytest.raises(UsageError, match=match):
            Source.at(path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "0.png").write_bytes(png(pictures()[0]))
    with pytest.raises(GlanceBenchError, match="1 images, at least two"):
        features_of(Source.at(tmp_path / "one"), Corners())


def test_damaged_tables_and_archives_name_themselves(tmp_path: Path) -> None:
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 junk")
    with pytest.raises(GlanceBenchError, match="junk.parquet: cannot be read as parquet"):
        features_of(Source.at(tmp_path / "junk.parquet"), Corners())
    captions = tmp_path / "captions.parquet"
    pq.write_table(pa.table({"caption": ["a"]}), captions)
    with pytest.raises(GlanceBenchError, match=r"captions.parquet: expected one column of image bytes"):
        features_of(Source.at(captions), Corners())
    parquet(tmp_path / "gap.parquet", [png(pictures()[0])] * 3 + [None, png(pictures()[0])])
    with pytest.raises(GlanceBenchError, match="gap.parquet row 3: no image bytes"):
        features_of(Source.at(tmp_path / "gap.parquet"), Corners())
    whole = tar(tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    with pytest.raises(GlanceBenchError, match=r"cut\.tar"):
        features_of(Source.at(tmp_path / "cut.tar"), Corners())
    (tmp_path / "junk.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(GlanceBenchError, match="junk.tar: cannot be read as tar"):
        features_of(Source.at(tmp_path / "junk.tar"), Corners())


def test_features_that_are_not_finite_end_the_reading(tmp_path: Path) -> None:
    class Broken(Corners):
        def features(self, images: Any) -> np.ndarray:
            return np.full((len(images), 3), np.nan, np.float32)

    with pytest.raises(GlanceBenchError, match="features that are not finite"):
        features_of(Source.at(folder(tmp_path / "images")), Broken())
