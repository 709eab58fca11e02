"""What official scorers find: the layouts, read back with other libraries and by hand-written names."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.exchange.export import MANIFEST, export, read_export
from glance_bench.exchange.layouts import FORMATS, folder_label, lay_out
from glance_bench.prompts import Prompt
from glance_bench.sealed import Damaged, sha256_file
from glance_bench.store import Run
from tests import exchange_fixtures as bench

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("GLANCE_BENCH_SHARED", ROOT.parent / "shared"))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def image_of(run: Run, sampler: str, prompt_id: str, index: int) -> Path:
    records = run.records()
    chosen = records[
        (records["sampler"] == sampler) & (records["prompt_id"] == prompt_id) & (records["index"] == index)
    ]
    return run.folder / chosen["image"].item()


# -- the six layouts -----------------------------------------------------------------------------------------


def test_geneval_has_a_folder_a_prompt_with_its_own_line(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(2))
    done = export(run, "geneval", tmp_path / "out", sampler="uniform-4")
    names = [f"{p}/samples/000{k}.png" for p in ("00000", "00001") for k in range(4)]
    assert files(tmp_path / "out" / "images") == sorted(
        ["00000/metadata.jsonl", "00001/metadata.jsonl", *names]
    )
    line = (tmp_path / "out/images/00001/metadata.jsonl").read_text()
    assert line.endswith("\n") and line.count("\n") == 1
    assert json.loads(line) == {
        "tag": "two_object",
        "include": [{"class": "thing 1", "count": 1}],
        "prompt": "a photo of thing 1",
    }
    ours, theirs = image_of(run, "uniform-4", "00001", 2), tmp_path / "out/images/00001/samples/0002.png"
    assert ours.read_bytes() == theirs.read_bytes() and os.path.samefile(ours, theirs)
    assert done.document["deviations"] == []
    assert done.document["next"]["repository"] == "djghosh13/geneval"
    assert done.document["next"]["runs"][0]["arguments"]["imagedir"] == "images"


def test_dpg_is_a_grid_by_rows_whose_quarters_are_the_images(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.dpg_prompts())
    done = export(run, "dpg", tmp_path / "out", sampler="teacher-50")
    assert files(tmp_path / "out" / "images") == ["12.png", "räum_4.png", "whoops3.png"]
    with Image.open(tmp_path / "out/images/whoops3.png") as whole:
        assert (whole.format, whole.size, whole.mode) == ("PNG", (128, 128), "RGB")
        corners = [(0, 0), (64, 0), (0, 64), (64, 64)]
        for index, (x, y) in enumerate(corners):
            crop = np.asarray(whole.crop((x, y, x + 64, y + 64)))
            assert np.array_equal(crop, pixels(image_of(run, "teacher-50", "whoops3", index)))
    arguments = done.document["next"]["runs"][0]["arguments"]
    assert arguments["--resolution"] == 64 and arguments["--pic-num"] == 4
    assert "64" in done.document["next"]["note"]


@pytest.mark.parametrize("images", [1, 3])
def test_dpg_with_fewer_than_four_images_says_what_to_set(tmp_path: Path, images: int) -> None:
    run = bench.plain_run(tmp_path / "run", bench.dpg_prompts(), images=images)
    with pytest.raises(UsageError) as refused:
        export(run, "dpg", tmp_path / "out", sampler="teacher-50")
    assert str(refused.value) == (
        f"export dpg needs four images a prompt and this run has {images}: "
        "set 'images_per_prompt: 4' in the suite and run it again"
    )
    assert not (tmp_path / "out").exists()


def test_oneig_is_lossless_webp_below_set_and_model(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.oneig_prompts())
    done = export(run, "oneig", tmp_path / "out", sampler="uniform-4")
    assert files(tmp_path / "out" / "images") == [
        "anime/uniform-4/000.webp",
        "anime/uniform-4/001.webp",
        "object/uniform-4/000.webp",
        "reasoning/uniform-4/004.webp",
        "text/uniform-4/000.webp",
        "text/uniform-4/001.webp",
    ]
    with Image.open(tmp_path / "out/images/text/uniform-4/001.webp") as whole:
        assert (whole.format, whole.size) == ("WEBP", (128, 128))
        lower_left = np.asarray(whole.convert("RGB"))[64:, :64]
    assert np.array_equal(lower_left, pixels(image_of(run, "uniform-4", "text/001", 2)))
    runs = {run["script"]: run["arguments"] for run in done.document["next"]["runs"]}
    assert runs["scripts/alignment/alignment_score.py"]["--class_items"] == "anime object"
    assert runs["scripts/text/text_score.py"]["--image_dirname"] == "images/text"
    assert runs["scripts/style/style_score.py"]["--image_dirname"] == "images/anime"
    assert all(a["--image_grid"] == "2,2" and a["--mode"] == "EN" for a in runs.values())


def test_oneig_takes_single_images_and_refuses_two(tmp_path: Path) -> None:
    one = bench.plain_run(tmp_path / "one", bench.oneig_prompts(), images=1)
    done = export(one, "oneig", tmp_path / "out", sampler="uniform-4")
    assert pixels(tmp_path / "out/images/text/uniform-4/001.webp").shape == (64, 64, 3)
    assert done.document["deviations"] == ["the official protocol has 4 images a prompt, this run has 1"]
    assert {run["arguments"]["--image_grid"] for run in done.document["next"]["runs"]} == {"1,1"}
    assert "scripts/diversity/diversity_score.py" not in {
        run["script"] for run in done.document["next"]["runs"]
    }
    two = bench.plain_run(tmp_path / "two", bench.oneig_prompts(), images=2)
    with pytest.raises(
        UsageError, match="one image a prompt or four and this run has 2: set 'images_per_prompt: 4'"
    ):
        export(two, "oneig", tmp_path / "other", sampler="uniform-4")


def test_longtext_counts_from_one(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.longtext_prompts())
    export(run, "longtext", tmp_path / "out", sampler="uniform-4")
    names = [f"{i}_{k}.png" for i in ("0000", "0003", "0199") for k in (1, 2, 3, 4)]
    assert files(tmp_path / "out" / "images") == names
    first = tmp_path / "out/images/0199_1.png"
    assert first.read_bytes() == image_of(run, "uniform-4", "0199", 0).read_bytes()


def test_hpsv2_is_jpeg_as_pillow_saves_it(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.hpsv2_prompts(), images=2)
    done = export(run, "hpsv2", tmp_path / "out", sampler="uniform-4")
    assert files(tmp_path / "out" / "images") == [
        "anime/00000.jpg",
        "anime/00001.jpg",
        "concept-art/00000.jpg",
        "photo/00799.jpg",
    ]
    assert sorted(os.listdir(tmp_path / "out" / "images")) == ["anime", "concept-art", "photo"]
    again = io.BytesIO()
    Image.fromarray(pixels(image_of(run, "uniform-4", "photo/00799", 0))).save(again, "JPEG")
    assert (tmp_path / "out/images/photo/00799.jpg").read_bytes() == again.getvalue()
    assert done.document["counts"] == {"prompts": 4, "images": 4, "files": 4, "black": 0, "non_finite": 0}
    assert done.document["deviations"] == [
        "the official protocol has 1 image a prompt, this run has 2: the first of each is exported"
    ]


def test_compbench_numbers_through_a_category_and_names_by_prompt(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.compbench_prompts(), images=2)
    done = export(run, "t2i-compbench", tmp_path / "out", sampler="uniform-4")
    assert files(tmp_path / "out" / "images") == [
        "color/samples/a blue gate._000002.png",
        "color/samples/a blue gate._000003.png",
        "color/samples/a red door_000000.png",
        "color/samples/a red door_000001.png",
        "non_spatial/samples/two people talk_000000.png",
        "non_spatial/samples/two people talk_000001.png",
    ]
    name = "a blue gate._000003.png"
    assert (
        name.split("_")[0] == "a blue gate." and int(name.split("_")[-1].split(".")[0]) == 3
    )  # as the scorers do
    ours = image_of(run, "uniform-4", "color/000001", 1)
    assert (tmp_path / "out/images/color/samples" / name).read_bytes() == ours.read_bytes()
    assert done.document["next"]["runs"][-1]["script"] == "CLIPScore_eval/CLIP_similarity.py"


def test_black_and_non_finite_images_stay_and_are_counted(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.oneig_prompts(), black=[("uniform-4", "anime/001")])
    done = export(run, "oneig", tmp_path / "out", sampler="uniform-4")
    assert done.document["counts"]["black"] == 4
    assert not pixels(tmp_path / "out/images/anime/uniform-4/001.webp").any()


@pytest.mark.parametrize("format", ["geneval", "longtext"])
def test_without_hard_links_the_bytes_are_copied(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = {"geneval": bench.geneval_prompts(1), "longtext": bench.longtext_prompts()[:1]}[format]
    run = bench.plain_run(tmp_path / "run", prompts)

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    done = export(run, format, tmp_path / "out", sampler="uniform-4")
    for entry in done.document["files"]:
        path = tmp_path / "out" / "images" / entry["file"]
        assert sha256_file(path) == entry["sha256"] == entry["cells"][0][2] and path.stat().st_nlink == 1


# -- the manifest --------------------------------------------------------------------------------------------


def test_the_manifest_lists_every_file_with_its_digest_and_images(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(2))
    export(run, "geneval", tmp_path / "out", sampler="uniform-4")
    document = read_export(tmp_path / "out")
    listed = [*document["files"], *document["texts"]]
    assert sorted(entry["file"] for entry in listed) == files(tmp_path / "out" / "images")
    for entry in listed:
        assert sha256_file(tmp_path / "out" / "images" / entry["file"]) == entry["sha256"]
    assert (document["run"], document["model"], document["sampler"]) == ("fake", "testbed-flux", "uniform-4")
    assert document["counts"] == {"prompts": 2, "images": 8, "files": 8, "black": 0, "non_finite": 0}
    kept = list((run.folder / "exports").glob("*.json"))
    assert [read_export(path) for path in kept] == [document]
    text = (tmp_path / "out" / MANIFEST).read_text()
    (tmp_path / "out" / MANIFEST).write_text(text.replace("uniform-4", "uniform-5"))
    with pytest.raises(GlanceBenchError, match="was altered"):
        read_export(tmp_path / "out")


def test_an_altered_image_of_the_run_is_not_exported(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(1))
    victim = image_of(run, "uniform-4", "00000", 3)
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(Damaged, match=victim.name):
        export(run, "geneval", tmp_path / "out", sampler="uniform-4")
    assert os.listdir(tmp_path) == ["run"]


def test_what_is_meant_must_be_said_where_there_is_a_choice(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(1))
    with pytest.raises(UsageError, match=r"2 samplers: name one with --sampler \(teacher-50, uniform-4\)"):
        export(run, "geneval", tmp_path / "out")
    with pytest.raises(UsageError, match="no sampler 'uniform-5'; did you mean 'uniform-4'"):
        export(run, "geneval", tmp_path / "out", sampler="uniform-5")
    with pytest.raises(UsageError, match="unknown format 'genevl'; did you mean 'geneval'"):
        export(run, "genevl", tmp_path / "out", sampler="uniform-4")
    with pytest.raises(UsageError, match="prompt '00000' is none of the benchmark's"):
        export(run, "oneig", tmp_path / "out", sampler="uniform-4")


def test_beside_the_run_and_what_is_said(tmp_path: Path) -> None:
    run = bench.plain_run(
        tmp_path / "run", bench.geneval_prompts(2), images=2, black=[("uniform-4", "00001")]
    )
    done = export(run, "geneval", sampler="uniform-4")
    assert done.folder == tmp_path / "run-geneval-uniform-4" and read_export(done.folder) == done.document
    lines = done.lines()
    assert lines[:4] == [
        f"{done.folder}: 4 images of 2 prompts in 4 files",
        "2 black and 0 non-finite images are among them, as they are",
        "the official protocol has 4 images a prompt, this run has 2",
        "next, in a checkout of djghosh13/geneval:",
    ]
    assert lines[4] == (
        f"  evaluation/evaluate_images.py {done.folder}/images --outfile {done.folder}/results.jsonl "
        "--model-path <folder of the Mask2Former weights>"
    )
    assert lines[-1] == "then: glance-bench import-scores RUN results.jsonl --format geneval"


# -- the place -----------------------------------------------------------------------------------------------


def test_a_second_export_replaces_the_first(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(2))
    export(run, "geneval", tmp_path / "out", sampler="uniform-4")
    export(run, "geneval", tmp_path / "out", sampler="teacher-50")
    assert read_export(tmp_path / "out")["sampler"] == "teacher-50"
    assert sorted(os.listdir(tmp_path)) == ["out", "run"]


def test_other_files_are_refused_and_only_ever_set_aside(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(1))
    out = tmp_path / "out"
    out.mkdir()
    export(run, "geneval", out, sampler="uniform-4")  # an empty folder is free
    (out / "results.jsonl").write_text("hours of work")
    with pytest.raises(UsageError, match="1 files that are of no export .the first: results.jsonl.*--force"):
        export(run, "geneval", out, sampler="teacher-50")
    assert read_export(out)["sampler"] == "uniform-4"
    export(run, "geneval", out, sampler="teacher-50", force=True)
    assert read_export(out)["sampler"] == "teacher-50" and not (out / "results.jsonl").exists()
    assert (tmp_path / "out.replaced-1" / "results.jsonl").read_text() == "hours of work"


@pytest.mark.parametrize("where", ["run/inside", "."])
def test_never_inside_or_around_the_run(tmp_path: Path, where: str) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(1))
    with pytest.raises(UsageError, match="inside the run or around it"):
        export(run, "geneval", tmp_path / where, sampler="uniform-4", force=True)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(1))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        export(run, "geneval", tmp_path / "file", sampler="uniform-4")
    with pytest.raises(GlanceBenchError, match="cannot write the export .*: File exists"):
        export(run, "geneval", tmp_path / "file" / "out", sampler="uniform-4")


def test_an_unreadable_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal comes from a scandir that says what the kernel would say."""
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(1))
    closed = tmp_path / "out" / "closed"
    closed.mkdir(parents=True)
    real = os.scandir

    def scandir(path: str | os.PathLike[str]) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(GlanceBenchError, match=f"^cannot read {closed}: Permission denied$"):
        export(run, "geneval", tmp_path / "out", sampler="uniform-4", force=True)


# -- bad luck ------------------------------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
from glance_bench.exchange import export as module
from glance_bench.store import Run
slow = module._store
def stored(*arguments):
    time.sleep(0.05)
    return slow(*arguments)
module._store = stored
module.export(Run(sys.argv[1]), "geneval", Path(sys.argv[2]), sampler=sys.argv[3])
"""


def killed(run: Run, out: Path, sampler: str) -> Path:
    """Start an export in another process, kill it when files have appeared, and return the room it worked in."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(run.folder), str(out), sampler], cwd=ROOT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        rooms = list(out.parent.glob(f".tmp-{child.pid}-*"))
        if rooms and len(list(rooms[0].rglob("*.png"))) >= 3:
            break
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    (room,) = out.parent.glob(f".tmp-{child.pid}-*")
    return room


def test_killed_in_the_middle_nothing_claims_to_be_an_export(tmp_path: Path) -> None:
    run = bench.plain_run(tmp_path / "run", bench.geneval_prompts(6))
    out = tmp_path / "out"
    room = killed(run, out, "uniform-4")
    made = list(room.rglob("*.png"))
    assert 3 <= len(made) < 24 and not (room / MANIFEST).exists() and not out.exists()
    export(run, "geneval", out, sampler="teacher-50")
    assert sorted(os.listdir(tmp_path)) == ["out", "run"]
    killed(run, out, "uniform-4")
    assert read_export(out)["sampler"] == "teacher-50"
    assert len(list((out / "images").rglob("*.png"))) == 24
    export(run, "geneval", out, sampler="uniform-4")
    assert sorted(os.listdir(tmp_path)) == ["out", "run"] and read_export(out)["sampler"] == "uniform-4"
    for image in run.records()["image"]:
        assert (run.folder / image).is_file()


HOSTILE = ["../up", "/etc/x", "..", ".hidden", "", "a/b", "n\nl", "x" * 300, "\ud800", "\x00"]


@pytest.mark.parametrize("name", HOSTILE)
def test_ids_that_are_no_file_names_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        lay_out("dpg", [Prompt(name, "text", "")], 4, "x")
    assert len(str(refused.value)) < 300 and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["a/b", "under_score", "x" * 300, "tab\there", ""])
def test_prompts_that_are_no_file_names_are_refused_for_compbench(text: str) -> None:
    with pytest.raises(UsageError, match="export t2i-compbench"):
        lay_out("t2i-compbench", [Prompt("color/000000", text, "color")], 1, "x")


def test_emoji_and_accents_are_names() -> None:
    (place,) = lay_out("dpg", [Prompt("🦊é", "text", "")], 4, "x").places
    assert place.file == "🦊é.png"
    (one,) = lay_out("t2i-compbench", [Prompt("color/000000", "a 🦊 in red", "color")], 1, "x").places
    assert one.file == "color/samples/a 🦊 in red_000000.png"


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "dpg"])
@pytest.mark.parametrize("name", HOSTILE)
def test_ids_of_another_shape_are_none_of_the_benchmarks(format: str, name: str) -> None:
    with pytest.raises(UsageError):
        lay_out(format, [Prompt(name, "text", "")], 4, "x")


@pytest.mark.parametrize("name", ["[a]*?", "-rf", "../x", "é", "a" * 100, "a b", ""])
def test_a_models_folder_is_safe_in_globs_and_arguments(name: str) -> None:
    made = folder_label(name)
    assert made.isascii() and made[0] not in ".-" and not set(made) & set("[]*?{}/ ") and len(made) <= 80
    assert folder_label("uniform-4.v2_b") == "uniform-4.v2_b"


def test_nothing_here_needs_torch() -> None:
    names = [
        path.stem for path in (ROOT / "glance_bench" / "exchange").glob("*.py") if path.stem != "__init__"
    ]
    assert len(names) > 10
    code = f"import sys; from glance_bench.exchange import {', '.join(names)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the benchmarks' prompt files are not here")
def test_every_real_prompt_has_a_place() -> None:
    metadata = [json.loads(line) for line in (SHARED / "data/geneval/evaluation_metadata.jsonl").open()]
    prompts = [Prompt(f"{i:05d}", m["prompt"], m["tag"], meta=m) for i, m in enumerate(metadata)]
    layout = lay_out("geneval", prompts, 4, "x")
    assert len(layout.places) == 4 * 553 and json.loads(layout.texts["00552/metadata.jsonl"]) == metadata[552]
    stems = [path.stem for path in (SHARED / "data/dpg_bench/prompts").glob("*.txt")]
    assert len(lay_out("dpg", [Prompt(stem, "", "") for stem in stems], 4, "x").places) == 1065
    for file in sorted((SHARED / "data/t2i_compbench").glob("*_val.txt")):
        category = file.stem.removesuffix("_val")
        texts = file.read_text(encoding="utf-8").splitlines()
        listed = [Prompt(f"{category}/{i:06d}", text, category) for i, text in enumerate(texts)]
        names = [place.file for place in lay_out("t2i-compbench", listed, 10, "x").places]
        assert len(set(names)) == 3000 and names[-1].endswith("_002999.png")
