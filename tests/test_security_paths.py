"""What others hand over, runs and pictures, reaches nothing outside its folder and unfolds to no more than it says."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.evidence import read_evidence
from glance_bench.exchange.images import import_images
from glance_bench.exchange.pictures import decode, size_of
from glance_bench.packing import pack
from glance_bench.report.model import load
from glance_bench.report.site import Options, write_report
from glance_bench.sealed import Damaged
from glance_bench.store import Run
from tests.exchange_fixtures import plain_run
from tests.fake_run import finish, make_run, prompts_of

OUTSIDE = ["../../etc", "/etc", "units/../../etc", "units", "", "quarantine/x", 7]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run. Not to be changed."""
    run = make_run(
        tmp_path_factory.mktemp("made"),
        prompts_of(2),
        models=("testbed-flux",),
        samplers=("teacher-50", "uniform-8"),
    )
    finish(run)
    return run


@pytest.fixture
def foreign(made: Run, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(made.folder, tmp_path / "foreign"))


@pytest.mark.parametrize("folder", OUTSIDE)
@pytest.mark.parametrize("entry", ["units", "metrics", "timing"])
def test_a_manifest_that_names_folders_elsewhere_is_refused(foreign: Path, entry: str, folder: Any) -> None:
    path = foreign / "manifest.json"
    document = json.loads(path.read_text())
    chosen = next(one for one in document[entry] if one.get("folder"))
    chosen["folder"] = folder
    path.write_text(json.dumps(document))
    for read in (
        lambda: Run(foreign).units(),
        lambda: Run(foreign).records(),
        lambda: Run(foreign).timing(),
        lambda: pack(foreign, foreign.parent),
        lambda: load([foreign]),
    ):
        with pytest.raises(Damaged, match=r"manifest.json: names a folder outside the run"):
            read()
    read_evidence(foreign)  # which needs no folder


def test_a_report_shows_no_picture_from_outside_the_run(foreign: Path, tmp_path: Path) -> None:
    """An image of a run of somebody else's that links to one of mine must not be in the page that I publish."""
    private = tmp_path / "private.png"
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(private)
    victim = sorted(foreign.rglob("*.png"))[0]
    victim.unlink()
    victim.symlink_to(private)
    written = write_report(load([foreign]), tmp_path / "page", Options(images="all"))
    assert written.unreadable == [f"{victim}: lies outside the run's folder"]
    thumbs = [Image.open(path).convert("RGB") for path in (tmp_path / "page").rglob("*.webp")]
    assert thumbs and not any(thumb.getpixel((5, 5)) == (200, 200, 200) for thumb in thumbs)


def test_links_out_of_an_imported_folder_are_refused(tmp_path: Path) -> None:
    run = plain_run(tmp_path, prompts_of(2), images=1)
    size = tuple(run.records()[["width", "height"]].iloc[0])
    private, folder = tmp_path / "private.png", tmp_path / "pictures"
    Image.new("RGB", size).save(private)
    folder.mkdir()
    ids = [prompt.id for prompt in run.prompts()]
    Image.new("RGB", size).save(folder / "kept.png")
    (folder / f"{ids[0]}.png").symlink_to(folder / "kept.png")
    import_images(run, folder, "inside")
    (folder / f"{ids[1]}.png").symlink_to(private)
    with pytest.raises(UsageError, match=r"links to a file outside the folder: copy it there"):
        import_images(run, folder, "outside")
    (folder / f"{ids[1]}.png").unlink()
    (folder / "deep").symlink_to(tmp_path)
    (folder / "images.csv").write_text(f"file,prompt_id\ndeep/private.png,{ids[1]}\n")
    with pytest.raises(UsageError, match=r"links to a file outside the folder: copy it there"):
        import_images(run, folder, "outside")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(999)))
        + chunk(b"IEND", b"")
    )


def test_pictures_that_say_they_are_huge_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(bomb(60_000, 60_000))
    with pytest.raises(GlanceBenchError, match="decompression bomb"):
        size_of(file)
    with pytest.raises(GlanceBenchError, match="decompression bomb"):
        decode(file, file.read_bytes())


def test_a_picture_is_measured_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under Pillow's limit, but not of the board's size, is refused by its header."""
    run = plain_run(tmp_path, prompts_of(2), images=1)
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / f"{run.prompts()[0].id}.png").write_bytes(bomb(12_000, 12_000))
    monkeypatch.setattr("glance_bench.exchange.pictures.decode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(UsageError, match="is 12000x12000 and .*images that are compared have one size"):
        import_images(run, folder, "huge")


def test_documents_nested_without_end_are_damaged(foreign: Path) -> None:
    (foreign / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(Damaged, match="manifest.json: is not JSON"):
        Run(foreign).units()
