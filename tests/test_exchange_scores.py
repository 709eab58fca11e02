"""What official scorers write, read back: their files are written here by hand, the expected numbers too."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from glance_bench import results
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.exchange.export import export
from glance_bench.exchange.official import official_metric, official_names, with_official
from glance_bench.exchange.record import merged, read_imports
from glance_bench.exchange.scores import import_scores
from glance_bench.metrics.base import TotalledMetric
from glance_bench.prompts import Prompt
from glance_bench.store import Run
from tests import exchange_fixtures as bench


def exported(folder: Path, format: str, prompts: list[Prompt], *, images: int = 4, **options: object) -> Run:
    """A run with an export of uniform-4 in ``folder / "out"``."""
    run = bench.plain_run(folder / "run", prompts, images=images, **options)
    export(run, format, folder / "out", sampler="uniform-4")
    return run


def scored(run: Run, metric: str, sampler: str = "uniform-4") -> pd.DataFrame:
    """The sampler's records with the metric's columns."""
    records = run.records()
    own = records[records["sampler"] == sampler]
    return own.merge(run.scores(metric), how="left", on=["image_sha256", "prompt_id"], validate="m:1")


def total(run: Run, metric: str, number: int = 0) -> float:
    return official_metric(metric).totals[number].of(scored(run, metric))


# -- GenEval -------------------------------------------------------------------------------------------------


def geneval_lines(
    prompts: list[Prompt], right: dict[str, int], root: str = "/elsewhere/images"
) -> list[dict]:
    """A line an image, as pandas writes them: the first ``right[id]`` images of a prompt are correct."""
    return [
        {
            **{"filename": f"{root}/{p.id}/samples/{k:04d}.png", "tag": p.meta["tag"], "prompt": p.text},
            **{"correct": k < right[p.id], "reason": "" if k < right[p.id] else "expected thing>=1, found 0"},
            **{"metadata": json.dumps(p.meta), "details": "{}"},
        }
        for p in prompts
        for k in range(4)
    ]


def write_lines(path: Path, lines: list[dict], **options: object) -> Path:
    path.write_text("".join(json.dumps(line, **options) + "\n" for line in lines), encoding="utf-8")
    return path


RIGHT = {"00000": 4, "00001": 2, "00002": 0, "00003": 3, "00004": 1, "00005": 0, "00006": 1}


def test_geneval_is_the_mean_of_tasks_and_not_of_images(tmp_path: Path) -> None:
    prompts = bench.geneval_prompts(7)  # two of single_object, one of each other task
    run = exported(tmp_path, "geneval", prompts)
    file = write_lines(tmp_path / "results.jsonl", geneval_lines(prompts, RIGHT))
    (coverage,), extra = import_scores(run, "geneval", [file])
    assert (coverage.scored, coverage.images, coverage.missing, extra) == (28, 28, (), [])
    tasks = [(4 + 1) / 8, 2 / 4, 0, 3 / 4, 1 / 4, 0]
    assert total(run, "geneval[official]") == pytest.approx(sum(tasks) / 6)
    frame = scored(run, "geneval[official]").set_index(["prompt_id", "index"])
    assert frame["geneval_image[official]"].sum() == sum(RIGHT.values())
    assert frame.loc[("00001", 1), "geneval_image[official]"] == 1
    assert frame.loc[("00001", 2), "geneval_reason[official]"] == "expected thing>=1, found 0"
    assert frame.loc[("00005", 0), "geneval_task[official]"] == "color_attr"


def test_geneval_finds_names_of_five_digits_and_renamed_files(tmp_path: Path) -> None:
    prompts = bench.geneval_prompts(2)
    run = exported(tmp_path, "geneval", prompts)
    lines = geneval_lines(prompts, RIGHT)
    for line in lines[:4]:
        line["filename"] = line["filename"].replace("/samples/0", "/samples/00")
    renamed = tmp_path / "moved.png"
    shutil.copyfile(tmp_path / "out/images/00001/samples/0000.png", renamed)
    lines[4]["filename"] = str(renamed)
    (coverage,), extra = import_scores(run, "geneval", [write_lines(tmp_path / "r.jsonl", lines)])
    assert coverage.scored == 8 and extra == []


def test_missing_and_extra_entries_are_listed(tmp_path: Path) -> None:
    prompts = bench.geneval_prompts(2)
    run = exported(tmp_path, "geneval", prompts)
    lines = geneval_lines(prompts, RIGHT)
    lines[5]["filename"] = "/elsewhere/images/00077/samples/0001.png"
    (coverage,), extra = import_scores(run, "geneval", [write_lines(tmp_path / "r.jsonl", lines[:7])])
    assert (coverage.scored, coverage.images) == (6, 8)
    assert coverage.missing == ("00001 [1]", "00001 [3]")
    assert coverage.line() == (
        "geneval[official] for uniform-4: 6 of 8 images; without a score: 00001 [1], 00001 [3]"
    )
    assert extra == [f"{tmp_path / 'r.jsonl'} line 6: /elsewhere/images/00077/samples/0001.png"]
    frame = scored(run, "geneval[official]")
    assert frame["geneval_image[official]"].isna().sum() == 2 and len(frame) == 8
    (entry,) = read_imports(run)["metrics"]
    assert entry["imported"][0]["scored"] == 6 and entry["imported"][0]["extra"] == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[2].pop("tag"), "line 3: expected the keys filename, tag"),
        (
            lambda lines: lines[1].update(correct="yes"),
            "line 2: expected correct to be true or false, got 'yes'",
        ),
        (
            lambda lines: lines.append({**lines[0], "correct": False}),
            "line 9: .* has another value here than in .* 1",
        ),
    ],
)
def test_geneval_lines_that_do_not_fit_are_named(
    tmp_path: Path, spoil: Callable[[list[dict]], object], message: str
) -> None:
    prompts = bench.geneval_prompts(2)
    run = exported(tmp_path, "geneval", prompts)
    lines = geneval_lines(prompts, RIGHT)
    spoil(lines)
    with pytest.raises(UsageError, match=message):
        import_scores(run, "geneval", [write_lines(tmp_path / "r.jsonl", lines)])
    assert not (run.folder / "imports.json").exists() and not (run.folder / "scores").exists()


# -- DPG -----------------------------------------------------------------------------------------------------

DPG = """/there/12.png, 1.0, 0.5, 0.25, 0.25, 0.5
/there/a, b/whoops3.png, 0.0, 0.0, 0.0, 0.2, 0.05
Model: images
L1 category scores:
\tentity: 91.5
DPG-Bench score: 27.500000000000004
"""


def test_dpg_is_per_crop_and_its_mean_is_the_score(tmp_path: Path) -> None:
    run = exported(tmp_path, "dpg", bench.dpg_prompts())
    (tmp_path / "out" / "results.txt").write_text(DPG)
    (coverage,), extra = import_scores(run, "dpg", [tmp_path / "out" / "results.txt"])
    assert (coverage.scored, coverage.images, extra) == (8, 12, [])
    frame = scored(run, "dpg[official]")
    by_prompt = frame.groupby("prompt_id")["dpg[official]"].mean().dropna()
    assert by_prompt.to_dict() == pytest.approx({"12": 50.0, "whoops3": 5.0})
    assert by_prompt.mean() == pytest.approx(27.5)
    assert frame.set_index(["prompt_id", "index"]).loc[("12", 1), "dpg[official]"] == 50


@pytest.mark.parametrize(
    "line",
    ["/there/12.png, 1.0, 0.5, 0.5, 1.0, 0.9", "/there/12.png 1.0", "/there/12.png, 7, 7", "{}", "12.png, 1"],
)
def test_dpg_lines_that_do_not_fit_are_named(tmp_path: Path, line: str) -> None:
    run = exported(tmp_path, "dpg", bench.dpg_prompts())
    (tmp_path / "results.txt").write_text(f"\n{line}\n")
    with pytest.raises(UsageError, match="results.txt line 2: expected"):
        import_scores(run, "dpg", [tmp_path / "results.txt"])


# -- OneIG ---------------------------------------------------------------------------------------------------


def oneig_csv(folder: Path, name: str, rows: dict[str, object], label: str = "uniform-4") -> Path:
    """As pandas' to_csv writes it: a nameless index, a column a model."""
    path = folder / f"{name}_2026-01-02_03-04-05.csv"
    pd.DataFrame({"other": 0.5, label: pd.Series(rows, dtype=object)}).to_csv(path)
    return path


def test_oneig_prompts_scores_of_every_dimension(tmp_path: Path) -> None:
    run = exported(tmp_path, "oneig", bench.oneig_prompts(), black=[("uniform-4", "object/000")])
    files = [
        oneig_csv(
            tmp_path, "alignment_prompt_score_EN", {"anime_000": 0.25, "anime_001": 0.75, "object_000": None}
        ),
        oneig_csv(tmp_path, "diversity_prompt_score_EN", {"anime_000": 0.4, "text_000": 0.2}),
        oneig_csv(tmp_path, "style_prompt_score_EN", {"001": 0.6}),
        oneig_csv(tmp_path, "reasoning_prompt_score_EN", {"004": -0.01}),
    ]
    covered, extra = import_scores(run, "oneig", files)
    assert extra == []
    assert {c.metric: c.scored for c in covered} == {
        "oneig_alignment[official]": 8,
        "oneig_diversity[official]": 8,
        "oneig_style[official]": 4,
        "oneig_reasoning[official]": 4,
    }
    frame = scored(run, "oneig_alignment[official]")
    assert frame.groupby("prompt_id")["oneig_alignment[official]"].mean().dropna().mean() == pytest.approx(
        0.5
    )
    style = scored(run, "oneig_style[official]").dropna(subset=["oneig_style[official]"])
    assert set(style["prompt_id"]) == {"anime/001"}


def test_oneig_text_is_the_product_of_its_parts(tmp_path: Path) -> None:
    run = exported(tmp_path, "oneig", bench.oneig_prompts())
    # wanted: "Open 24/7" "COVID-19 test" = Open 247 COVID19 test, 4 words; "Hi", 1 word
    cells = {"000": "[np.float64(30.0), 0.0, 0.5]", "001": "[10.0, 0.5, 1.0]"}
    (coverage,), _ = import_scores(run, "oneig", [oneig_csv(tmp_path, "text_prompt_score_EN", cells)])
    assert (coverage.metric, coverage.scored) == ("oneig_text[official]", 8)
    ed, cr, wac = (30 + 10) / 2, 0.25, (0.5 * 4 + 1.0 * 1) / 5
    assert total(run, "oneig_text[official]") == pytest.approx(1 - ed / 100 * (1 - cr) * (1 - wac))
    assert total(run, "oneig_text[official]", 1) == pytest.approx(wac)
    chinese = oneig_csv(tmp_path, "text_prompt_score_ZH", {"000": "[30.0, 0.0, 0.5]"})
    import_scores(run, "oneig", [chinese])
    assert total(run, "oneig_text[official-zh]") == pytest.approx(1 - 30 / 50 * 1 * (1 - 0.5))


def test_oneig_leaves_the_black_cells_out_as_its_scorer_does(tmp_path: Path) -> None:
    run = exported(tmp_path, "oneig", bench.oneig_prompts(), black=[("uniform-4", "anime/001")])
    file = oneig_csv(tmp_path, "alignment_prompt_score_EN", {"anime_000": 0.25, "anime_001": 0.75})
    (coverage,), _ = import_scores(run, "oneig", [file])
    assert coverage.scored == 4


@pytest.mark.parametrize(
    ("name", "rows", "label", "message"),
    [
        ("alignment_score_EN", {"uniform-4": 0.5}, "alignment", "hold one total a model and no prompts"),
        ("alignment_prompt_score_EN", {"anime_000": 0.5}, "sdxl", "a column 'uniform-4', found other, sdxl"),
        (
            "alignment_prompt_score_EN",
            {"anime_000": "good"},
            "uniform-4",
            "line 2: expected the alignment score",
        ),
        ("text_prompt_score_EN", {"000": "[1, 2]"}, "uniform-4", "line 2: expected a list of ED, CR and WAC"),
        ("text_prompt_score_EN", {"000": "__import__('os')"}, "uniform-4", "line 2: expected a list of ED"),
    ],
)
def test_oneig_files_that_do_not_fit_are_named(
    tmp_path: Path, name: str, rows: dict[str, object], label: str, message: str
) -> None:
    run = exported(tmp_path, "oneig", bench.oneig_prompts())
    with pytest.raises(UsageError, match=message):
        import_scores(run, "oneig", [oneig_csv(tmp_path, name, rows, label)])


# -- LongText, HPSv2, T2I-CompBench --------------------------------------------------------------------------


def test_longtext_pools_words_over_images(tmp_path: Path) -> None:
    run = exported(tmp_path, "longtext", bench.longtext_prompts())
    shared = {
        "prompt": "a sign",
        "ocr_gt": ["Fresh bread,", "fresh DAILY!"],
    }  # fresh twice, bread, daily: 4 words
    lines = [
        {**shared, "image": "x/0000_1.png", "ocr_results": "fresh, Bread. fresh daily daily"},  # 4 of 4
        {**shared, "image": "x/0000_2.png", "ocr_results": "FRESH baker"},  # 1 of 4
        {**shared, "image": "x/0199_4.png", "ocr_results": ""},  # 0 of 4
        {**shared, "image": "x/0003_1.png", "ocr_gt": ["Hi"], "ocr_results": "hi"},  # 1 of 1
    ]
    first = write_lines(tmp_path / "results_chunk0.jsonl", lines[:2], ensure_ascii=False)
    second = write_lines(tmp_path / "results_chunk1.jsonl", lines[2:], ensure_ascii=False)
    (coverage,), _ = import_scores(run, "longtext", [first, second])
    assert (coverage.scored, coverage.images) == (4, 12)
    assert total(run, "longtext[official]") == pytest.approx((4 + 1 + 0 + 1) / (4 + 4 + 4 + 1))
    frame = scored(run, "longtext[official]").set_index(["prompt_id", "index"])
    assert frame.loc[("0000", 1), "longtext_image[official]"] == 0.25
    assert frame.loc[("0000", 1), "longtext_read[official]"] == "FRESH baker"
    assert frame.loc[("0000", 1), "longtext_counts[official]"] == "1/4"


def test_text_that_no_table_can_hold_and_names_that_steer_a_terminal(tmp_path: Path) -> None:
    run = exported(tmp_path, "longtext", bench.longtext_prompts())
    lines = [
        {"image": "0000_1.png", "prompt": "p", "ocr_gt": ["Hi"], "ocr_results": "hi \ud800"},
        {"image": "\x1b[31m/9999_1.png", "prompt": "p", "ocr_gt": ["Hi"], "ocr_results": "hi"},
        {"image": "\x00", "prompt": "p", "ocr_gt": ["Hi"], "ocr_results": "hi"},
    ]
    (coverage,), extra = import_scores(run, "longtext", [write_lines(tmp_path / "r.jsonl", lines)])
    assert coverage.scored == 1 and "\x1b" not in coverage.line() + "".join(extra)
    assert extra[0].endswith("line 2: \\x1b[31m/9999_1.png") and len(extra) == 2
    assert scored(run, "longtext[official]")["longtext_read[official]"].dropna().tolist() == ["hi ?"]


def test_longtext_in_chinese_counts_characters(tmp_path: Path) -> None:
    run = exported(tmp_path, "longtext", bench.longtext_prompts())
    lines = [
        {"image": "0000_1.png", "prompt": "p", "ocr_gt": ["你好，", "世界 A1"], "ocr_results": "你 好 a1"}
    ]
    import_scores(run, "longtext", [write_lines(tmp_path / "r.jsonl", lines, ensure_ascii=False)])
    # wanted 你好世界A1, 6 characters; 你, 好 and 1 were read, and a is no A
    assert total(run, "longtext[official-zh]") == pytest.approx(3 / 6)


def test_hpsv2_wants_raw_cosines(tmp_path: Path) -> None:
    run = exported(tmp_path, "hpsv2", bench.hpsv2_prompts(), images=1)
    path = tmp_path / "scores.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(
            [["image", "score"], ["anime/00001.jpg", 0.28], ["/x/photo/00799.jpg", 0.30]]
        )
    (coverage,), extra = import_scores(run, "hpsv2", [path])
    assert (coverage.scored, coverage.missing, extra) == (2, ("anime/00000 [0]", "concept-art/00000 [0]"), [])
    assert scored(run, "hpsv2.1[official]")["hpsv2.1[official]"].mean() == pytest.approx(0.29)
    path.write_text("image,score\nanime/00001.jpg,28.1\n")
    with pytest.raises(UsageError, match=r"line 2: expected the cosine .*not times 100.*got '28.1'"):
        import_scores(run, "hpsv2", [path])


def test_compbench_goes_by_number_in_the_category(tmp_path: Path) -> None:
    run = exported(tmp_path, "t2i-compbench", bench.compbench_prompts(), images=2)
    blip = tmp_path / "out/images/color/annotation_blip/vqa_result.json"
    clip = tmp_path / "out/images/non_spatial/annotation_clip/vqa_result.json"
    for file, answers in ((blip, ["0.1000", "0.2000", "0.3000", "1.0000"]), (clip, [0.31, 0.29])):
        file.parent.mkdir()
        file.write_text(json.dumps([{"question_id": i, "answer": a} for i, a in enumerate(answers)]))
    (coverage,), _ = import_scores(run, "t2i-compbench", [blip, clip])
    assert (coverage.scored, coverage.images) == (6, 6)
    frame = scored(run, "t2i_compbench[official]").set_index(["prompt_id", "index"])
    assert frame.loc[("color/000001", 0), "t2i_color[official]"] == 0.3
    assert frame["t2i_color[official]"].mean() == pytest.approx(0.4)
    assert frame["t2i_non_spatial[official]"].dropna().tolist() == [0.31, 0.29]
    wrong = tmp_path / "out/images/color/annotation_clip/vqa_result.json"
    wrong.parent.mkdir()
    shutil.copyfile(clip, wrong)
    with pytest.raises(
        UsageError, match="color is scored by annotation_blip, and this is from annotation_clip"
    ):
        import_scores(run, "t2i-compbench", [wrong])
    (tmp_path / "vqa_result.json").write_text("[]")
    with pytest.raises(UsageError, match="which category"):
        import_scores(run, "t2i-compbench", [tmp_path / "vqa_result.json"])


def test_equal_images_of_a_prompt_share_the_mean_of_their_scores(tmp_path: Path) -> None:
    run = exported(tmp_path, "dpg", bench.dpg_prompts(), black=[("uniform-4", "12")])
    (tmp_path / "results.txt").write_text(
        "12.png, 1.0, 0.5, 0.5, 0.0, 0.5\nwhoops3.png, 1.0, 0.5, 0.5, 0.0, 0.5\n"
    )
    import_scores(run, "dpg", [tmp_path / "results.txt"])
    values = scored(run, "dpg[official]").groupby("prompt_id")["dpg[official]"].apply(list)
    assert values["12"] == [50.0] * 4 and sorted(values["whoops3"]) == [0.0, 50.0, 50.0, 100.0]


def test_a_sampler_that_was_not_scored_has_none_even_where_its_image_is_equal(tmp_path: Path) -> None:
    black = [(sampler, "12") for sampler in ("uniform-4", "teacher-50")]
    run = exported(tmp_path, "dpg", bench.dpg_prompts(), black=black)
    (tmp_path / "results.txt").write_text("12.png, 0.5, 0.5, 0.5, 0.5, 0.5\n")
    import_scores(run, "dpg", [tmp_path / "results.txt"])
    (entry,) = run.manifest["metrics"]
    frame = with_official(run, entry, run.records())
    assert frame.groupby("sampler")["dpg[official]"].count().to_dict() == {"teacher-50": 0, "uniform-4": 4}
    shutil.rmtree(run.folder / "scores")
    assert with_official(run, entry, run.records())["dpg[official]"].isna().all()


DEEP = "[" * 100_000
HOSTILE = {
    "geneval": [
        DEEP,
        "{}",
        "[]",
        '{"filename": ".", "tag": 1, "prompt": 2, "correct": true, "reason": 3}',
        "\0",
    ],
    "dpg": [", 1, 1", "a" * 100_000, "., 1.0, 1.0", "x.png, 1e999, 1e999"],
    "longtext": [DEEP, '{"image": 1, "prompt": 2, "ocr_gt": "x", "ocr_results": 3}', "null"],
    "hpsv2": ["image,score\nx," + "9" * 400, "image,score\n" + "x" * 200_000 + ",1", "", "image\n\0"],
    "t2i-compbench": [
        DEEP,
        "{}",
        '[{"question_id": Infinity, "answer": 1}]',
        '[{"question_id": 0, "answer": null}]',
    ],
    "oneig": [",uniform-4\nanime_000," + "9" * 400, ",uniform-4\n000," + "x" * 200_000, "uniform-4\n1"],
}
PROMPTS = {
    "geneval": bench.geneval_prompts,
    "dpg": bench.dpg_prompts,
    "longtext": bench.longtext_prompts,
    "hpsv2": bench.hpsv2_prompts,
    "t2i-compbench": lambda: bench.compbench_prompts()[:2],
    "oneig": bench.oneig_prompts,
}


@pytest.mark.parametrize("format", HOSTILE)
def test_nonsense_is_refused_in_one_line_and_stores_nothing(tmp_path: Path, format: str) -> None:
    run = exported(tmp_path, format, PROMPTS[format]())
    suffix = {"hpsv2": ".csv", "oneig": "_EN.csv"}.get(format, ".txt")
    for number, text in enumerate(HOSTILE[format]):
        for name in ("alignment", "text") if format == "oneig" else (str(number),):
            path = tmp_path / f"{name}_prompt_score{suffix}"
            path.write_text(text, encoding="utf-8")
            with pytest.raises(GlanceBenchError) as refused:
                import_scores(run, format, [path])
            assert "\n" not in str(refused.value) and len(str(refused.value)) < 600, text[:50]
    assert not (run.folder / "imports.json").exists() and not (run.folder / "scores").exists()


# -- in the run ----------------------------------------------------------------------------------------------


def test_which_export_was_scored(tmp_path: Path) -> None:
    prompts = bench.geneval_prompts(2)
    run = bench.plain_run(tmp_path / "run", prompts)
    file = write_lines(tmp_path / "r.jsonl", geneval_lines(prompts, RIGHT))
    with pytest.raises(UsageError, match="no geneval export is known"):
        import_scores(run, "geneval", [file])
    for sampler in ("uniform-4", "teacher-50"):
        export(run, "geneval", tmp_path / sampler, sampler=sampler)
    with pytest.raises(UsageError, match="2 geneval exports are known.*name one with --sampler"):
        import_scores(run, "geneval", [file])
    (coverage,), _ = import_scores(run, "geneval", [file], sampler="teacher-50")
    assert coverage.sampler == "teacher-50"
    inside = tmp_path / "uniform-4" / "results.jsonl"
    shutil.copyfile(file, inside)
    assert import_scores(run, "geneval", [inside])[0][0].sampler == "uniform-4"
    assert import_scores(run, "geneval", [file], export=tmp_path / "uniform-4")[0][0].sampler == "uniform-4"
    with pytest.raises(UsageError, match="no dpg export"):
        import_scores(run, "dpg", [file], export=tmp_path / "uniform-4")


def test_scores_of_images_that_were_made_again_are_refused(tmp_path: Path) -> None:
    prompts = bench.geneval_prompts(2)
    exported(tmp_path, "geneval", prompts)
    shutil.rmtree(tmp_path / "run")
    changed = bench.plain_run(tmp_path / "run", prompts, black=[("uniform-4", "00001")])
    file = write_lines(tmp_path / "out" / "r.jsonl", geneval_lines(prompts, RIGHT))
    with pytest.raises(GlanceBenchError, match="4 images of 'uniform-4' are not those that were exported"):
        import_scores(changed, "geneval", [file])


def test_imported_scores_are_a_metric_that_results_show_and_rank(tmp_path: Path) -> None:
    prompts = bench.dpg_prompts()
    run = bench.plain_run(tmp_path / "run", prompts, samplers=["teacher-50", "uniform-4", "uniform-8"])
    for sampler, score in (("teacher-50", 0.9), ("uniform-4", 0.3), ("uniform-8", 0.6)):
        export(run, "dpg", tmp_path / sampler, sampler=sampler)
        lines = [f"{p.id}.png, {', '.join([str(score)] * 4)}, {score}\n" for p in prompts]
        (tmp_path / sampler / "results.txt").write_text("".join(lines))
        import_scores(run, "dpg", [tmp_path / sampler / "results.txt"])
    metric = official_metric("dpg[official]")
    (entry,) = run.manifest["metrics"]
    assert {key: entry[key] for key in ("name", "recipe", "kind", "folder")} == {
        "name": "dpg[official]",
        "recipe": metric.recipe,
        "kind": "sample",
        "folder": metric.folder,
    }
    assert [source["sampler"] for source in entry["imported"]] == ["teacher-50", "uniform-4", "uniform-8"]
    board = results.build(Run(run.folder), [metric])["boards"][0]
    cells = {row["sampler"]: row["cells"]["dpg[official]"] for row in board["samplers"]}
    assert {name: cell["value"] for name, cell in cells.items()} == {
        "teacher-50": 90,
        "uniform-4": 30,
        "uniform-8": 60,
    }
    assert cells["uniform-8"]["rank"] == "best" and cells["uniform-8"]["n"] == 12
    assert cells["uniform-4"]["against_reference"]["difference"] == pytest.approx(-60)


def test_a_second_import_takes_the_place_of_the_first(tmp_path: Path) -> None:
    run = exported(tmp_path, "dpg", bench.dpg_prompts())
    for score in (0.2, 0.4):
        (tmp_path / "results.txt").write_text(f"12.png, {score}, {score}, {score}, {score}, {score}\n")
        import_scores(run, "dpg", [tmp_path / "results.txt"])
    assert scored(run, "dpg[official]")["dpg[official]"].dropna().tolist() == [40.0] * 4
    assert len(list((run.folder / "scores").rglob("*.parquet"))) == 1
    (entry,) = read_imports(run)["metrics"]
    assert len(entry["imported"]) == 1


def test_a_manifest_written_anew_gets_the_scores_back(tmp_path: Path) -> None:
    run = exported(tmp_path, "dpg", bench.dpg_prompts())
    planned = run.manifest
    (tmp_path / "results.txt").write_text(DPG)
    import_scores(run, "dpg", [tmp_path / "results.txt"])
    imported = run.manifest
    prompts = json.loads((run.folder / "prompts.json").read_text())
    run.write("manifest.json", planned)
    assert merged(run, planned, prompts) == (imported, [])
    assert merged(run, imported, prompts) == (imported, [])


@pytest.mark.parametrize("name", official_names())
def test_every_official_metric_is_whole(name: str) -> None:
    metric = official_metric(name)
    assert (
        isinstance(metric, TotalledMetric)
        and metric.kind == "sample"
        and metric.recipe.startswith(f"{name}: ")
    )
    named = [column.name for column in metric.columns] + [total.column.name for total in metric.totals]
    assert len(set(named) | set(metric.notes)) == len(named) + len(metric.notes)
    # A column that is no headline is a flag: the report warns where it is not zero.
    assert all(column.headline for column in [*metric.columns, *(t.column for t in metric.totals)])
    frame = pd.DataFrame(columns=[*(c.name for c in metric.columns), *metric.notes, "prompt_id", "index"])
    for total_ in metric.totals:
        assert total_.of(frame) != total_.of(frame)  # NaN where nothing was scored
    with pytest.raises(GlanceBenchError, match="import-scores"):
        metric.score(None, [])  # type: ignore[arg-type]


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    run = exported(tmp_path, "dpg", bench.dpg_prompts())
    for path, message in ((tmp_path / "none.txt", "cannot read"), (tmp_path / "out", "cannot read")):
        with pytest.raises(GlanceBenchError, match=message):
            import_scores(run, "dpg", [path])
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not UTF-8"):
        import_scores(run, "dpg", [tmp_path / "b.txt"])
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UsageError, match="holds no scores"):
        import_scores(run, "dpg", [tmp_path / "empty.txt"])
