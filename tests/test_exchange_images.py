"""Images made elsewhere: matched with prompts, checked, stored as a sampler and ranked with the others."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glance_bench import results
from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.exchange.export import export
from glance_bench.exchange.images import import_images
from glance_bench.exchange.pending import imported_works
from glance_bench.exchange.pictures import decode
from glance_bench.exchange.record import merged, read_imports
from glance_bench.metrics.health import Health
from glance_bench.prompts import Prompt
from glance_bench.sealed import Damaged, sha256_bytes
from glance_bench.store import Run
from glance_bench.units import RECORD_COLUMNS, read_unit
from tests import exchange_fixtures as bench
from tests.fake_run import METRICS, _score, make_run, prompts_of

ROOT = Path(__file__).parent.parent


def noise(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def folder_of(place: Path, prompts: list[Prompt], *, images: int = 1, suffix: str = ".png") -> Path:
    """``<prompt id>_<index>`` pictures of noise."""
    for number, prompt in enumerate(prompts):
        for index in range(images):
            path = place / f"{prompt.id}_{index}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise(10 * number + index).save(path)
    return place


def plain(folder: Path, prompts: list[Prompt] | None = None, *, images: int = 1) -> Run:
    return bench.plain_run(folder / "run", prompts or prompts_of(6), images=images)


# -- a sampler like any other --------------------------------------------------------------------------------


def test_imported_images_are_records_and_the_results_rank_them(tmp_path: Path) -> None:
    prompts = prompts_of(6)
    run = make_run(tmp_path / "run", prompts, models=["testbed-flux"])
    out = tmp_path / "made"
    out.mkdir()
    teacher = run.records().query("sampler == 'teacher-50'")
    for (
        row
    ) in teacher.itertuples():  # the teacher's own pixels, so the import must tie with it and beat the others
        Image.open(run.folder / row.image).save(out / f"{row.prompt_id}.bmp")
    latency = tmp_path / "latency.csv"
    latency.write_text("prompt,seconds\na,0.5\nb,1.5\nc,1.0\n")
    done = import_images(
        run, out, "comfy-6", nfe=6, latency=latency, tool="ComfyUI 0.3", title="Comfy, 6 steps"
    )
    assert done.lines() == [
        "comfy-6: 6 of 6 images, matched by <prompt id>_<index>",
        "6 files were decoded and stored as 8-bit RGB PNG",
    ]
    records = run.records().query("sampler == 'comfy-6'")
    assert list(records.columns) == list(RECORD_COLUMNS) and len(records) == 6
    assert records["prompt_id"].tolist() == [prompt.id for prompt in prompts]
    assert set(records["evaluations"]) == {6} and set(records["seed"]) == {-1}
    assert verify(run)[0].path.name == "results.json" and len(verify(run)) == 1
    for unit in run.units():  # what the score pass does for them
        if unit.sampler == "comfy-6":
            for metric in METRICS[:4]:
                folder = next(m["folder"] for m in run.manifest["metrics"] if m["name"] == metric.name)
                _score(run, unit, prompts, metric, folder)
    board = results.build(Run(run.folder), METRICS)["boards"][0]
    rows = {row["sampler"]: row for row in board["samplers"]}
    ours, teachers = rows["comfy-6"], rows["teacher-50"]
    assert ours["title"] == "Comfy, 6 steps" and ours["nfe"] == {"nominal": 6, "counted": 6.0}
    assert ours["images"] == 6 and ours["speedup_nominal"] is None
    for column in ("truth", "clip[fake]", "fd[fake]"):
        assert ours["cells"][column]["value"] == teachers["cells"][column]["value"]
    assert ours["cells"]["clip[fake]"]["against_reference"]["difference"] == 0
    assert {name: row["cells"]["fd[fake]"].get("rank") for name, row in rows.items()}["comfy-6"] is not None
    (facts,) = [entry for entry in run.manifest["samplers"] if "imported" in entry]
    assert facts["imported"]["tool"] == "ComfyUI 0.3" and facts["imported"]["files"] == 6
    seconds = facts["stated"]["seconds"]
    assert (seconds["median"], seconds["q25"], seconds["q75"], seconds["n"]) == (1.0, 0.75, 1.25, 3)
    assert not any(entry["sampler"] == "comfy-6" for entry in run.timing().to_dict("records"))


def test_the_units_say_where_every_image_is_from(tmp_path: Path) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    place = folder_of(tmp_path / "made", prompts[:2])
    noise(99).save(place / f"{prompts[2].id}_0.jpg", quality=90)
    import_images(run, place, "other")
    (unit,) = [unit for unit in run.units() if unit.sampler == "other"]
    document = read_unit(run.folder / unit.folder)
    first, second, third = document["imported"]["from"]
    source = (place / f"{prompts[0].id}_0.png").read_bytes()
    assert first == {"file": f"{prompts[0].id}_0.png", "sha256": sha256_bytes(source)}
    assert (run.folder / unit.folder / "00000.png").read_bytes() == source  # a PNG is kept byte for byte
    assert third["stored"] == "JPEG decoded, stored as 8-bit RGB PNG" and "stored" not in second
    with (
        Image.open(run.folder / unit.folder / "00002.png") as kept,
        Image.open(place / third["file"]) as made,
    ):
        assert kept.format == "PNG" and np.array_equal(np.asarray(kept), np.asarray(made.convert("RGB")))


def test_many_prompts_are_many_units_in_the_order_of_the_set(tmp_path: Path) -> None:
    prompts = [Prompt(f"q{i:02d}", f"text {i}", "") for i in range(18)]
    run = plain(tmp_path, prompts)
    import_images(run, folder_of(tmp_path / "made", prompts[::-1]), "other")
    units = [unit for unit in run.units() if unit.sampler == "other"]
    assert [unit.slice for unit in units] == [0, 1]
    assert run.records().query("sampler == 'other'")["prompt_id"].tolist() == [
        prompt.id for prompt in prompts
    ]
    works = imported_works(run)
    assert [len(work.items) for work in works] == [16, 2] and works[1].items[0].prompt == prompts[16]


def test_unknown_cost_stays_unknown(tmp_path: Path) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    before = run.records()["seed"].tolist()
    import_images(run, folder_of(tmp_path / "made", prompts), "other")
    assert run.records()["seed"].tolist()[: len(before)] == before
    rows = results.build(Run(run.folder), [Health()])["boards"][0]["samplers"]
    assert [row["nfe"] for row in rows if row["sampler"] == "other"] == [{"nominal": None, "counted": None}]


def test_a_second_import_replaces_the_first(tmp_path: Path) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    import_images(run, folder_of(tmp_path / "one", prompts), "other", nfe=4)
    noise(77).save(tmp_path / "one" / f"{prompts[0].id}_0.png")
    import_images(run, tmp_path / "one", "other", nfe=8)
    own = run.records().query("sampler == 'other'")
    assert len(own) == 3 and set(own["evaluations"]) == {8}
    assert len(read_imports(run)["samplers"]) == 1
    assert [entry["nfe"] for entry in run.manifest["samplers"] if entry["sampler"] == "other"] == [8]


def test_a_manifest_written_anew_gets_the_images_back_while_they_fit(tmp_path: Path) -> None:
    prompts = prompts_of(4)
    run = plain(tmp_path, prompts)
    planned = run.manifest
    document = json.loads((run.folder / "prompts.json").read_text())
    import_images(run, folder_of(tmp_path / "made", prompts), "other")
    imported = run.manifest
    assert merged(run, planned, document) == (imported, []) == merged(run, imported, document)
    changed = json.loads(json.dumps(document))
    changed["sets"][0]["prompts"][2]["text"] += "!"
    manifest, left_out = merged(run, imported, changed)
    assert manifest == planned
    assert left_out == [
        "imported images 'other' on 'testbed' are left out: 1 of their prompts are not in the suite"
    ]
    other = {**planned, "samplers": [{**entry, "model": "m2"} for entry in planned["samplers"]]}
    assert merged(run, other, document)[1][0].endswith("the suite has no model 'testbed-flux'")
    clash = {**planned, "samplers": [*planned["samplers"], {"model": "testbed-flux", "sampler": "other"}]}
    with pytest.raises(UsageError, match="'other' is also the name of imported images"):
        merged(run, clash, document)


def test_a_damaged_import_is_named_before_it_is_scored(tmp_path: Path) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    import_images(run, folder_of(tmp_path / "made", prompts), "other")
    (unit,) = [unit for unit in run.units() if unit.sampler == "other"]
    (run.folder / unit.folder / "00001.png").unlink()
    with pytest.raises(GlanceBenchError, match="00001.png: is missing; import the images again as 'other'"):
        imported_works(run)


CHILD = """
import sys, time
from pathlib import Path
from glance_bench.exchange import images as module
from glance_bench.store import Run
slow = module._read
def read(source):
    time.sleep(0.02)
    return slow(source)
module._read = read
module.import_images(Run(sys.argv[1]), Path(sys.argv[2]), "other")
"""


def test_killed_in_the_middle_of_an_import_the_run_is_as_before(tmp_path: Path) -> None:
    prompts = [Prompt(f"q{i:02d}", f"text {i}", "") for i in range(40)]
    run = plain(tmp_path, prompts)
    place = folder_of(tmp_path / "made", prompts)
    before, manifest = len(run.records()), (run.folder / "manifest.json").read_bytes()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(run.folder), str(place)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list(run.folder.glob("units/*/other-*/*/00000-*")) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (run.folder / "imports.json").exists()
    assert (run.folder / "manifest.json").read_bytes() == manifest and len(
        Run(run.folder).records()
    ) == before
    assert import_images(run, place, "other").images == 40
    assert len(run.records()) == before + 40 and not list(run.folder.rglob(".tmp-*"))


@pytest.mark.parametrize("prompt_id", ["../up", "/etc/x", "🦊", "x" * 300, ".hidden", "a/b", "n\nl", ""])
def test_ids_that_are_no_file_names_can_be_listed(tmp_path: Path, prompt_id: str) -> None:
    run = plain(tmp_path, [Prompt(prompt_id, "text", "")])
    (tmp_path / "made").mkdir()
    noise(1).save(tmp_path / "made" / "one.png")
    (tmp_path / "made" / "images.jsonl").write_text(json.dumps({"file": "one.png", "prompt_id": prompt_id}))
    assert import_images(run, tmp_path / "made", "other").images == 1
    assert run.records().query("sampler == 'other'")["prompt_id"].tolist() == [prompt_id]
    assert sorted(os.listdir(tmp_path)) == ["made", "run"]


# -- which image is which ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "prompts"),
    [
        ("geneval", bench.geneval_prompts(3)),
        ("dpg", bench.dpg_prompts()),
        ("oneig", bench.oneig_prompts()),
        ("longtext", bench.longtext_prompts()),
        ("t2i-compbench", bench.compbench_prompts()),
    ],
)
def test_what_an_export_wrote_comes_back_as_the_same_pixels(
    tmp_path: Path, format: str, prompts: list[Prompt]
) -> None:
    run = plain(tmp_path, prompts, images=4)
    export(run, format, tmp_path / "out", sampler="uniform-4")
    done = import_images(run, tmp_path / "out", "again")
    assert (done.images, done.expected, done.missing) == (4 * len(prompts), 4 * len(prompts), ())
    if format != "dpg":
        assert done.matched_by == format
    records = run.records().set_index(["sampler", "prompt_id", "index"])
    for prompt in prompts:
        for index in range(4):
            ours, theirs = (
                np.asarray(Image.open(run.folder / records.loc[(name, prompt.id, index), "image"]))
                for name in ("again", "uniform-4")
            )
            assert np.array_equal(ours, theirs), (prompt.id, index)


def test_hpsv2_and_a_folder_inside_a_layout(tmp_path: Path) -> None:
    run = plain(tmp_path, bench.hpsv2_prompts())
    export(run, "hpsv2", tmp_path / "out", sampler="uniform-4")
    assert import_images(run, tmp_path / "out", "all").matched_by == "hpsv2"
    done = import_images(run, tmp_path / "out/images/photo", "photos")
    assert (done.images, done.missing) == (1, ("anime/00000 [0]", "anime/00001 [0]", "concept-art/00000 [0]"))
    assert run.records().query("sampler == 'photos'")["prompt_id"].tolist() == ["photo/00799"]
    os.rename(tmp_path / "out/images/photo", tmp_path / "out/images/sculpture")
    assert import_images(run, tmp_path / "out/images", "others").unmatched == ("sculpture/00799.jpg",)


def test_longtext_counts_from_one_and_plain_names_from_zero(tmp_path: Path) -> None:
    prompts = bench.longtext_prompts()
    run = plain(tmp_path, prompts, images=2)
    assert import_images(run, folder_of(tmp_path / "zero", prompts, images=2), "zero").matched_by.startswith(
        "<prompt"
    )
    for number, prompt in enumerate(prompts):
        (tmp_path / "one").mkdir(exist_ok=True)
        for index in range(2):
            noise(10 * number + index).save(tmp_path / "one" / f"{prompt.id}_{index + 1}.png")
    assert import_images(run, tmp_path / "one", "one").matched_by == "longtext"
    hashes = {
        name: run.records().query("sampler == @name")["image_sha256"].tolist() for name in ("zero", "one")
    }
    assert hashes["zero"] == hashes["one"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_list_beside_the_pictures(tmp_path: Path, kind: str) -> None:
    prompts = prompts_of(2)
    run = plain(tmp_path, prompts, images=2)
    (tmp_path / "made").mkdir()
    rows = []
    for number, (prompt, index) in enumerate((p, i) for p in prompts for i in (1, 0)):
        noise(number).save(tmp_path / "made" / f"ComfyUI_{number:05d}_.png")
        rows.append({"file": f"ComfyUI_{number:05d}_.png", "prompt_id": prompt.id, "index": index})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "csv":
        text = "\ufefffile,prompt_id,index\r\n" + "".join(
            ",".join(map(str, r.values())) + "\r\n" for r in rows
        )
    (tmp_path / "made" / f"images.{kind}").write_text(text, newline="", encoding="utf-8")
    done = import_images(run, tmp_path / "made", "comfy")
    assert (done.matched_by, done.images) == (f"images.{kind}", 4)
    own = run.records().query("sampler == 'comfy'").set_index(["prompt_id", "index"])
    data = (tmp_path / "made" / "ComfyUI_00002_.png").read_bytes()
    assert own.loc[(prompts[1].id, 1), "image_sha256"] == sha256_bytes(data)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../secret.png,p000,0", "line 2: '../secret.png' lies outside the folder"),
        ("/etc/passwd,p000,0", "line 2: '/etc/passwd' lies outside the folder"),
        ("none.png,p000,0", "line 2: there is no file 'none.png'"),
        ("a.png,p999,0", "line 2: no prompt has the id 'p999'"),
        ("a.png,p000,1", "line 2: expected an index from 0 to 0, got '1'"),
        ("a.png,p000,-1", "line 2: expected an index"),
        ("a.png,p000,0\na.png,p001,0", "line 3: 'a.png' is listed twice"),
        ("a.png,p000,0\nb.png,p000,0", "a.png and b.png are both image 0 of prompt 'p000'"),
        ("a.png", "line 2: expected the columns file and prompt_id"),
    ],
)
def test_lists_that_do_not_fit_are_named(tmp_path: Path, line: str, message: str) -> None:
    run = plain(tmp_path, prompts_of(2))
    (tmp_path / "made").mkdir()
    for name in ("a.png", "b.png"):
        noise(1).save(tmp_path / "made" / name)
    noise(1).save(tmp_path / "secret.png")
    listing = tmp_path / "list.csv"
    listing.write_text(f"file,prompt_id,index\n{line}\n")
    with pytest.raises(UsageError, match=message):
        import_images(run, tmp_path / "made", "other", listing=listing)


def test_two_files_for_one_image_are_named(tmp_path: Path) -> None:
    prompts = prompts_of(2)
    run = plain(tmp_path, prompts)
    place = folder_of(tmp_path / "made", prompts)
    noise(5).save(place / "p001.webp", lossless=True)
    with pytest.raises(UsageError, match="p001.webp and p001_0.png are both image 0 of prompt 'p001'"):
        import_images(run, place, "other")


def test_names_that_could_mean_two_prompts_mean_none(tmp_path: Path) -> None:
    prompts = [Prompt("a", "x", ""), Prompt("a_1", "y", "")]
    run = plain(tmp_path, prompts, images=2)
    place = tmp_path / "made"
    place.mkdir()
    for name in ("a_0", "a_1", "a_1_0"):
        noise(1).save(place / f"{name}.png")
    done = import_images(run, place, "other")
    assert done.unmatched == ("a_1.png",) and done.images == 2


def test_a_folder_without_what_is_needed_is_one_line(tmp_path: Path) -> None:
    run = plain(tmp_path)
    (tmp_path / "empty").mkdir()
    noise(1).save(tmp_path / "x.png")
    for place, message in (
        (tmp_path / "none", "none is not a folder"),
        (tmp_path / "empty", "has no pictures"),
        (tmp_path / "x.png", "is not a folder"),
    ):
        with pytest.raises(GlanceBenchError, match=message):
            import_images(run, place, "other")
    noise(1).save(tmp_path / "empty" / "holiday.png")
    with pytest.raises(
        GlanceBenchError, match="none of the 1 pictures .*the first: holiday.png; a prompt: 'p000'"
    ):
        import_images(run, tmp_path / "empty", "other")


@pytest.mark.parametrize(
    "name", ["../up", "/etc/x", "", "🦊", "a" * 300, ".hidden", "-rf", "a b", "teacher-50", "n\n"]
)
def test_names_that_cannot_be_a_new_sampler(tmp_path: Path, name: str) -> None:
    run = plain(tmp_path)
    with pytest.raises(UsageError) as refused:
        import_images(run, folder_of(tmp_path / "made", prompts_of(6)), name)
    assert len(str(refused.value)) < 200 and not (run.folder / "imports.json").exists()


# -- what is in the files ------------------------------------------------------------------------------------


def saved(picture: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def png16(width: int, height: int) -> bytes:
    """An RGB PNG of 16 bits a channel, written by hand: Pillow reads one as 8 bits without a word."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(
        b"\0" + bytes(range(256))[: 6 * width % 256].ljust(6 * width, b"\7") for _ in range(height)
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(noise(1), "JPEG", exif=exif)


def translucent() -> Image.Image:
    picture = noise(1).convert("RGBA")
    picture.putpixel((3, 3), (1, 2, 3, 254))
    return picture


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated.png": (lambda: saved(noise(1), "PNG")[:-2000], "truncated or damaged"),
    "truncated.jpg": (lambda: saved(noise(1), "JPEG")[:-500], "truncated or damaged"),
    "animated.gif": (lambda: saved(noise(1), "GIF", save_all=True, append_images=[noise(2)]), "is animated"),
    "animated.webp": (
        lambda: saved(noise(1), "WEBP", save_all=True, append_images=[noise(2)]),
        "is animated",
    ),
    "deep.png": (lambda: png16(64, 64), "more than 8 bits"),
    "gray16.png": (lambda: saved(Image.new("I;16", (64, 64), 700), "PNG"), "more than 8 bits"),
    "float.tiff": (lambda: saved(Image.new("F", (64, 64)), "TIFF"), "more than 8 bits"),
    "alpha.png": (lambda: saved(translucent(), "PNG"), "transparent pixels"),
    "ink.jpg": (lambda: saved(noise(1).convert("CMYK"), "JPEG"), "has channels CMYK"),
    "turned.jpg": (turned, "turned by its EXIF orientation"),
    "text.png": (lambda: b"not a picture", "is not a picture that can be read"),
    "empty.png": (lambda: b"", "is not a picture that can be read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_cannot_be_used_are_named_and_leave_no_trace(tmp_path: Path, kind: str) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    before = sorted((run.folder / "units").rglob("*"))
    place = folder_of(tmp_path / "made", prompts[:2])
    make, message = BAD[kind]
    victim = place / f"{prompts[2].id}{Path(kind).suffix}"
    victim.write_bytes(make())
    with pytest.raises(GlanceBenchError, match=message) as refused:
        import_images(run, place, "other")
    assert str(refused.value).startswith(str(victim)) and "\n" not in str(refused.value)
    assert [p for p in sorted((run.folder / "units").rglob("*")) if p not in before and p.is_file()] == []
    assert not (run.folder / "imports.json").exists()


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (noise(1).convert("L"), "grayscale spread over three channels"),
        (noise(1).convert("RGBA"), "opaque alpha channel left out"),
        (noise(1).convert("P"), "palette applied"),
    ],
)
def test_other_channels_become_rgb_without_loss(tmp_path: Path, picture: Image.Image, said: str) -> None:
    pixels, done = decode(tmp_path, saved(picture, "PNG"))
    assert done == said and pixels.mode == "RGB"
    assert np.array_equal(np.asarray(pixels), np.asarray(picture.convert("RGB")))


def test_sizes_that_differ_are_refused_by_two_names(tmp_path: Path) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    place = folder_of(tmp_path / "made", prompts)
    noise(1, (96, 64)).save(place / "p001_0.png")
    with pytest.raises(
        UsageError, match="p001_0.png is 96x64 and p000_0.png is 64x64: images that are compared"
    ):
        import_images(run, place, "other")
    for name in ("p000_0.png", "p002_0.png"):
        noise(1, (96, 64)).save(place / name)
    with pytest.raises(UsageError, match="p000_0.png is 96x64 and the board's units/.*png is 64x64"):
        import_images(run, place, "other")


def test_black_images_stay_and_are_counted(tmp_path: Path) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    place = folder_of(tmp_path / "made", prompts)
    Image.new("RGB", (64, 64)).save(place / "p001_0.png")
    done = import_images(run, place, "other")
    assert done.black == 1 and done.lines()[-1] == "1 images are black all over; they stay and are counted"
    assert run.records().query("sampler == 'other'")["black"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "median"),
    [("0.5", 0.5), ("[1, 2, 6]", 2), ('{"seconds": [3], "hardware": "V100"}', 3), ("1.0\n2.0\n", 1.5)],
)
def test_latency_is_kept_as_stated(tmp_path: Path, text: str, median: float) -> None:
    prompts = prompts_of(3)
    run = plain(tmp_path, prompts)
    (tmp_path / "latency").write_text(text)
    import_images(run, folder_of(tmp_path / "made", prompts), "other", latency=tmp_path / "latency")
    (facts,) = [entry for entry in run.manifest["samplers"] if entry["sampler"] == "other"]
    assert facts["stated"]["seconds"]["median"] == median
    assert facts["stated"]["seconds"].get("hardware") == ("V100" if "V100" in text else None)


@pytest.mark.parametrize("text", ["", "[]", "fast", "-1", "0", "[1, null]", "{}", "seconds\nx\n", "nan"])
def test_latency_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    run = plain(tmp_path)
    (tmp_path / "latency").write_text(text)
    with pytest.raises(UsageError, match="expected seconds for one image"):
        import_images(run, tmp_path, "other", latency=tmp_path / "latency")
    with pytest.raises(UsageError, match="at least 1; got 0"):
        import_images(run, tmp_path, "other", nfe=0)


def test_a_record_that_is_none_is_said_to_be_damaged(tmp_path: Path) -> None:
    run = plain(tmp_path)
    (run.folder / "imports.json").write_text("{}")
    with pytest.raises(Damaged, match="is not a record of imports"):
        read_imports(run)
