"""A report as files: what it holds, that it is the same every time, that nothing in a run can act in it."""

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.evidence import read_evidence
from glance_bench.prompts import Prompt
from glance_bench.report.model import load
from glance_bench.report.page import script, style
from glance_bench.report.site import MARKER, Options, Written, write_report
from glance_bench.report.thumbs import SIDE, thumbnails
from glance_bench.store import Run
from tests.fake_run import SAMPLERS, finish, make_run, prompts_of
from tests.report_files import Page, floats_of, page_of, piece

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\x1b[31mred\x07 \x00",
    "\u202egnp.evil\u2066",
    "{{ 7 * 7 }} {% raw %} ${alert(3)}",
    "../../../etc/passwd?#%2e",
    "word " * 2000,
    "line\u2028separator \u2029 & < > ' \"",
)


def report_of(run: Run, **options: object) -> Written:
    return write_report(load([run.folder]), run.folder / "report", Options(**options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("run"), black=[("uniform-4", "p001")])
    finish(made)
    return made


@pytest.fixture(scope="module")
def folder(run: Run) -> Path:
    return report_of(run).page.parent


@pytest.fixture(scope="module")
def parsed(folder: Path) -> Page:
    return page_of(folder)


def test_says_in_words_what_was_run(parsed: Page) -> None:
    assert "6 samplers on testbed-flux and testbed-qwen" in parsed.text
    assert "12 prompts of testbed each, of which 4 ask for text" in parsed.text
    assert "TESTBED." in parsed.text and "they say nothing about FLUX.1 or Qwen-Image" in parsed.text
    assert "144 at 64 × 64 px" in parsed.text


def test_every_cell_of_the_leaderboard_opens_its_images(parsed: Page, run: Run) -> None:
    results = read_evidence(run.folder).results
    opened = [attributes for tag, attributes in parsed.tags if attributes.get("class") == "open"]
    shown = {c["name"] for c in results["columns"] if c["headline"]} | {"failed"}
    cells = sum(len(shown & set(row["cells"])) for board in results["boards"] for row in board["samplers"])
    assert len(opened) == cells > 0
    assert all(str(attributes["href"]).startswith("#/prompts?board=") for attributes in opened)


def test_values_are_those_of_the_samples_table(folder: Path, parsed: Page, run: Run) -> None:
    samples = read_evidence(run.folder).samples
    for board in parsed.index["boards"]:
        own = samples[samples["model"] == board["model"]]
        asked = piece(folder, f"b{board['number']}/prompts")
        assert len(asked["rows"]) == board["rows"] == 12
        for place, column in enumerate(board["columns"]):
            if not column["images"]:
                continue
            grid = floats_of(piece(folder, f"b{board['number']}/values/{place}")).reshape(
                len(board["samplers"]), -1
            )
            for sampler, name in enumerate(board["samplers"]):
                for row, (prompt, index, seed, *_) in enumerate(asked["rows"]):
                    line = own[
                        (own["sampler"] == name)
                        & (own["prompt_id"] == asked["prompts"][prompt][0])
                        & (own["index"] == index)
                    ].iloc[0]
                    assert str(line["seed"]) == seed
                    np.testing.assert_equal(grid[sampler, row], np.float32(line[column["name"]]))


def test_images_are_named_where_they_are(folder: Path, parsed: Page) -> None:
    for board in parsed.index["boards"]:
        reference = board["samplers"].index("teacher-50")
        assert board["reference"] == reference and board["thumbs"] == ""
        images = piece(folder, f"b{board['number']}/images/0")
        assert len(images) == board["rows"] and all(len(row) == len(SAMPLERS) for row in images)
        for row in images:
            for image, _state, notes in row:
                assert (folder / unquote(board["originals"]) / unquote(image)).is_file()
                assert len(notes) == len(board["notes"])
        black = board["samplers"].index("uniform-4")
        assert [row for row in range(12) if images[row][black][1] == "black"] == [1]


def test_nothing_is_fetched(parsed: Page) -> None:
    loads = {"src", "srcset", "poster", "data", "action", "formaction", "background"}
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style"
            if name in loads or (name == "href" and tag == "link"):
                assert value in ("assets/report.js", "assets/report.css")
            elif name == "href":
                assert str(value).startswith("#")


def test_the_policy_of_a_folder_and_of_a_file(folder: Path, parsed: Page, run: Run, tmp_path: Path) -> None:
    def policy(page: Page) -> str:
        metas = (attributes for tag, attributes in page.tags if tag == "meta")
        return next(str(a["content"]) for a in metas if a.get("http-equiv") == "Content-Security-Policy")

    assert "default-src 'none'" in policy(parsed) and "unsafe" not in policy(parsed)
    single = write_report(load([run.folder]), tmp_path / "one.html", Options(single_file=True)).page
    inside = Page(single.read_text(encoding="utf-8"))
    for text, kind in ((style(), "style"), (script(), "script")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy(inside)
    assert "unsafe" not in policy(inside)


def test_one_file_holds_every_piece_and_its_images(run: Run, folder: Path, tmp_path: Path) -> None:
    written = write_report(load([run.folder]), tmp_path / "one.html", Options(single_file=True))
    assert os.listdir(tmp_path) == ["one.html"] and written.page.stat().st_size < 10 * 2**20
    inside = Page(written.page.read_text(encoding="utf-8"))
    pieces = {a["data-chunk"]: json.loads(text) for a, text in inside.scripts if "data-chunk" in a}
    files = {
        f.relative_to(folder / "data").with_suffix("").as_posix() for f in (folder / "data").rglob("*.js")
    }
    assert set(pieces) == files | {"b0/thumbs", "b1/thumbs"}
    assert pieces["b0/prompts"] == piece(folder, "b0/prompts")
    assert len(pieces["b0/thumbs"]) == 6 * 12 and written.left_out == 0
    board = inside.index["boards"][0]
    assert board["originals"] is None
    assert np.unpackbits(np.frombuffer(base64.b64decode(board["thumbs"]), "u1")).sum() == 72


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(run: Run, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    again = report_of(Run(tmp_path / "copy")).page.parent
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_thumbnails_elsewhere_and_what_is_no_longer_part_of_it_goes(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "browse"
    first = write_report(load([run.folder]), out)
    thumbs = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.webp"))
    assert len(thumbs) == 2 * 6 * 12 and first.left_out == 0
    with Image.open(out / "thumbs/b0/0/0.webp") as small:
        image = read_evidence(run.folder).samples
        assert small.size == (64, 64)
    lossless = run.records()
    mine = lossless[(lossless["model"] == "testbed-flux") & (lossless["sampler"] == "teacher-50")].iloc[0]
    with Image.open(run.folder / mine["image"]) as original, Image.open(out / "thumbs/b0/0/0.webp") as small:
        np.testing.assert_array_equal(np.asarray(original), np.asarray(small))
    assert len(image)
    (out / "mine.txt").write_text("kept")
    one = make_run(tmp_path / "one", prompts_of(3), models=("testbed-flux",), samplers=("teacher-50",))
    finish(one)
    write_report(load([one.folder]), out)
    assert (
        len(list(out.rglob("*.webp"))) == 3
        and not (out / "data/b1").exists()
        or not list((out / "data/b1").rglob("*.js"))
    )
    assert (out / "mine.txt").read_text() == "kept"


def test_a_folder_that_holds_something_else_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"holds no report \(thesis\.tex\).*--force"):
        write_report(load([run.folder]), tmp_path / "notes")
    write_report(load([run.folder]), tmp_path / "notes", Options(force=True))
    assert (tmp_path / "notes/thesis.tex").read_text() == "x" and (tmp_path / "notes/index.html").is_file()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        write_report(load([run.folder]), tmp_path / "file")


def test_a_marker_edited_by_hand_removes_nothing_outside(run: Run, tmp_path: Path) -> None:
    out = write_report(load([run.folder]), tmp_path / "out").page.parent
    victim = tmp_path / "victim.txt"
    victim.write_text("x")
    marker = json.loads((out / MARKER).read_text())
    marker["files"] += ["../victim.txt", str(victim)]
    (out / MARKER).write_text(json.dumps(marker))
    write_report(load([run.folder]), out)
    assert victim.is_file()


def test_images_that_are_gone_or_no_images_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", prompts_of(4), models=("testbed-flux",))
    finish(run)
    records = run.records()
    gone, torn = (run.folder / image for image in records["image"][:2])
    gone.unlink()
    torn.write_bytes(b"\x89PNG no more")
    written = write_report(load([run.folder]), tmp_path / "out")
    assert len(written.unreadable) == 2
    assert f"{gone}: is not there" in written.unreadable
    assert any(told.startswith(f"{torn}: cannot be read") for told in written.unreadable)
    flags = np.frombuffer(base64.b64decode(page_of(tmp_path / "out").index["boards"][0]["thumbs"]), "u1")
    assert np.unpackbits(flags).sum() == len(records) - 2


def test_large_images_become_small(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 1024, 3), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    (found,) = thumbnails([tmp_path / "a.png"], tmp_path)
    assert isinstance(found, bytes)
    (tmp_path / "a.webp").write_bytes(found)
    with Image.open(tmp_path / "a.webp") as small:
        assert max(small.size) == SIDE


def test_two_runs_of_one_name_and_a_run_beside_its_baseline(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("report", "units"))
    both = load([run.folder, tmp_path / "copy"])
    assert [source.name for source in both.sources] == ["fake", "fake (2)"]
    assert len({board.label for board in both.boards}) == 4
    out = write_report(both, tmp_path / "out").page.parent
    index = page_of(out).index
    assert [board["originals"] is not None for board in index["boards"]] == [True, True, False, False]
    assert not (out / "data/b2/images").exists() and piece(out, "b2/prompts") == piece(out, "b0/prompts") | {
        "prompts": [[*p[:3], []] for p in piece(out, "b0/prompts")["prompts"]]
    }


@pytest.fixture
def hostile(tmp_path: Path) -> Run:
    prompts = [Prompt(f"p{i}<b>", text, f"c{i}</td>", (text,)) for i, text in enumerate(HOSTILE)]
    return make_run(tmp_path / "run", prompts)


def test_hostile_prompts_are_text(hostile: Run) -> None:
    finish(hostile)
    written = report_of(hostile)
    page = page_of(written.page.parent)
    assert not [tag for tag, _ in page.tags if tag in ("img", "b")]
    for name in written.files:
        text = (written.page.parent / name).read_text(encoding="utf-8")
        assert "onerror=alert" not in text or "<img" not in text
        assert "\u202e" not in text and "\x1b" not in text
        if name.startswith("data/"):
            assert "<" not in text.partition(",")[2] and "\u2028" not in text
    asked = piece(written.page.parent, "b0/prompts")["prompts"]
    assert asked[0][1] == HOSTILE[0] and asked[6][1] == HOSTILE[6] and asked[2][1] == r"\x1b[31mred\x07 \x00"


def test_hostile_names_and_recipes_are_text(tmp_path: Path) -> None:
    bad = '"><script>alert(1)</script>'
    run = make_run(tmp_path / "run", prompts_of(3))
    run.write("suite.json", {**run.suite(), "title": bad})
    run.write("manifest.json", {**run.manifest, "name": bad, "waiting": {bad: bad}})
    finish(run)
    page = page_of(report_of(run).page.parent)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert bad in page.text


def test_one_prompt_one_sampler_and_no_timing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", prompts_of(1), models=("testbed-flux",), samplers=("uniform-8",))
    run.write("manifest.json", {**run.manifest, "timing": []})
    finish(run)
    page = page_of(report_of(run).page.parent)
    assert "1 sampler on testbed-flux, 1 prompt" in page.text and "by steps" in page.text


def test_a_run_without_results_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", prompts_of(2))
    with pytest.raises(GlanceBenchError, match=r"not a finished run: it has no results\.json"):
        load([run.folder])
