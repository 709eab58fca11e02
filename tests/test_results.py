"""The numbers of results.json against a recomputation from the run's own files."""

import json
from pathlib import Path

import numpy as np
import pytest

from glance_bench import results, stats
from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Column, PromptMetric, ReferencedMetric, Total, TotalledMetric
from glance_bench.sealed import find_sealed
from glance_bench.store import Run
from tests.fake_run import METRICS, SAMPLERS, make_run, prompts_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), black=[("uniform-4", "p001"), ("uniform-4", "p004")])


@pytest.fixture(scope="module")
def built(run: Run) -> dict:
    return results.build(run, METRICS)


def row(built: dict, sampler: str, model: str = "testbed-flux") -> dict:
    board = next(b for b in built["boards"] if b["model"] == model)
    return next(r for r in board["samplers"] if r["sampler"] == sampler)


def test_every_cell_is_whole(built: dict) -> None:
    assert built["schema"] == "glance-bench/results/2"
    assert [board["model"] for board in built["boards"]] == ["testbed-flux", "testbed-qwen"]
    for board in built["boards"]:
        assert (board["reference"], board["testbed"]) == ("teacher-50", True)
        assert (board["prompts"], board["with_text"]) == (12, 4)
        assert [r["sampler"] for r in board["samplers"]] == list(SAMPLERS)
        for r in board["samplers"]:
            assert set(r["cells"]) == {column["name"] for column in built["columns"]}
            for name, cell in r["cells"].items():
                assert cell["low"] <= cell["value"] <= cell["high"], name
                assert cell["recipe"] in built["recipes"]
                assert cell["n"] == (4 if name.startswith("ocr") else 12)


def test_means_and_intervals_are_those_of_the_scores(run: Run, built: dict) -> None:
    records = run.records()
    own = records[(records["model"] == "testbed-flux") & (records["sampler"] == "uniform-10")]
    scored = own.merge(run.scores("truth"), on=["image_sha256", "prompt_id"])
    truth = scored.sort_values("prompt_id")["truth"]
    cell = row(built, "uniform-10")["cells"]["truth"]
    interval = stats.bootstrap_mean(truth.to_numpy())
    assert cell["value"] == pytest.approx(truth.mean(), rel=1e-9)
    assert (cell["low"], cell["high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_against_the_reference_is_paired_by_prompt(run: Run, built: dict) -> None:
    scores = results.scored_records(run)
    flux = scores[scores["model"] == "testbed-flux"]
    flux = flux.pivot(index="prompt_id", columns="sampler", values="truth")
    against = row(built, "uniform-4")["cells"]["truth"]["against_reference"]
    assert against["difference"] == pytest.approx((flux["uniform-4"] - flux["teacher-50"]).mean(), rel=1e-9)
    assert against["high"] < 0 and against["n"] == 12
    assert "against_reference" not in row(built, "teacher-50")["cells"]["truth"]


def test_frechet_has_replicates_that_pair(built: dict) -> None:
    slow, fast = (row(built, name)["cells"]["fd[fake]"] for name in ("slowfast-10-base", "uniform-4"))
    assert len(slow["replicates"]) == 12 and slow["interval"] == "jackknife"
    assert 0 <= slow["value"] < fast["value"]
    teacher = row(built, "teacher-50")["cells"]["fd[fake]"]
    apart = stats.Jackknife.of_cell(fast) - stats.Jackknife.of_cell(teacher)
    interval = apart.interval()
    assert fast["against_reference"]["low"] == pytest.approx(interval.low, rel=1e-6)


def test_the_best_and_the_tied_leave_the_reference_out(built: dict) -> None:
    ranks = {name: row(built, name)["cells"]["truth"].get("rank") for name in SAMPLERS}
    assert ranks["teacher-50"] is None and ranks["uniform-4"] is None
    assert list(ranks.values()).count("best") == 1
    best = next(name for name, rank in ranks.items() if rank == "best")
    values = {name: row(built, name)["cells"]["truth"]["value"] for name in SAMPLERS if name != "teacher-50"}
    assert values[best] == max(values.values())


def test_black_images_are_counted_and_not_dropped(built: dict) -> None:
    spoilt = row(built, "uniform-4")
    assert spoilt["images"] == 12
    assert spoilt["cells"]["black"]["value"] == spoilt["cells"]["failed"]["value"] == pytest.approx(2 / 12)
    assert spoilt["cells"]["truth"]["n"] == 12
    sound = row(built, "teacher-50")["cells"]["failed"]
    assert sound["value"] == 0 and sound["high"] == pytest.approx(stats.wilson(0, 12).high, rel=1e-6)


def test_cost_is_nominal_counted_and_timed(built: dict) -> None:
    qwen = row(built, "uniform-10", "testbed-qwen")
    assert qwen["nfe"] == {"nominal": 20, "counted": 20.0} and qwen["speedup_nominal"] == 5
    timed = {(t["model"], t["sampler"]): t for t in built["timing"]}
    denoise = timed["testbed-qwen", "uniform-10"]["components"]["denoise"]
    assert denoise["median"] == pytest.approx(0.02 * 20 * 1.02)
    assert denoise["q25"] < denoise["median"] < denoise["q75"]
    assert timed["testbed-qwen", "uniform-10"]["speedup"] == pytest.approx(2.04 / 0.44)
    assert timed["testbed-qwen", "teacher-50"]["speedup"] == 1


def test_deterministic_and_the_digest_leaves_timing_out(run: Run, built: dict) -> None:
    again = results.build(Run(run.folder), METRICS)
    assert json.dumps(again) == json.dumps(built)
    json.dumps(built, allow_nan=False)
    changed = {**built, "timing": []}
    assert results.results_digest(changed) == built["digest"]
    changed["boards"] = built["boards"][:1]
    assert results.results_digest(changed) != built["digest"]


def test_images_without_scores_are_refused_by_name(tmp_path: Path) -> None:
    run = make_run(tmp_path, prompts_of(3), models=["testbed-flux"])
    folder = run.folder / next(m["folder"] for m in run.manifest["metrics"] if m["name"] == "ocr")
    next(iter(find_sealed(folder, "parquet").values())).unlink()
    with pytest.raises(GlanceBenchError, match="3 images have no score by 'ocr'"):
        results.build(run, METRICS)


def test_one_prompt_and_one_sampler_give_a_document_without_intervals(tmp_path: Path) -> None:
    run = make_run(tmp_path, prompts_of(1), models=["testbed-flux"], samplers=["uniform-10"])
    board = results.build(run, METRICS)["boards"][0]
    cells = board["samplers"][0]["cells"]
    assert board["reference"] == "uniform-10"
    assert cells["truth"]["low"] is None and cells["truth"]["n"] == 1
    assert not {"fd[fake]", "ocr_exact"} & set(cells)


class Brightness:
    """A metric of a prompt's images whose values can be computed by hand."""

    kind, extractor = "prompt", "brightness: mean of all pixels"
    columns = (Column("gap", "gap", "lower", "how much brighter than the reference, over all images"),)
    name, recipe = "gap", "gap: mean difference of brightness"

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True).astype(np.float32)

    def compare(self, own: np.ndarray, reference: np.ndarray | None) -> float:
        return float("nan") if reference is None else float((own - reference).mean())


def test_a_metric_of_prompts_meets_the_reference_s_image_of_the_same_noise(tmp_path: Path) -> None:
    metric = Brightness()
    run = make_run(
        tmp_path, prompts_of(5), models=["testbed-flux"], metrics=[metric, *METRICS], images_per_prompt=2
    )
    assert isinstance(metric, PromptMetric)
    shas, features = run.features("gap")
    bright = run.records().assign(
        bright=lambda records: [features[shas.index(sha), 0] for sha in records["image_sha256"]]
    )
    wide = bright.pivot(index=["prompt_id", "index"], columns="sampler", values="bright")
    assert len(wide) == 10
    board = results.build(run, [metric])["boards"][0]
    cells = {row["sampler"]: row["cells"].get("gap") for row in board["samplers"]}
    assert cells.pop("teacher-50") is None
    for sampler, cell in cells.items():
        by_prompt = (wide[sampler] - wide["teacher-50"]).groupby("prompt_id").mean()
        assert cell["value"] == pytest.approx(by_prompt.mean(), rel=1e-5)
        assert (cell["n"], cell["prompts"]) == (10, 5)
        assert "against_reference" not in cell
    assert board["samplers"][1]["cells"]["gap"]["value"] != 0


class Recall:
    """Rows hold matched and wanted counts; the score is their pooled ratio, which is no mean over images."""

    kind, notes = "sample", ("group",)
    name = recipe = "recall"
    columns = (
        Column("matched", "matched", "higher", "words read", headline=False),
        Column("wanted", "wanted", "higher", "words asked for", headline=False),
    )
    totals = (
        Total(
            Column("recall", "recall", "higher", "pooled", floor=0.0),
            lambda rows: rows["matched"].sum() / rows["wanted"].sum(),
        ),
        Total(
            Column("recall_odd", "odd", "higher", "pooled over one group"),
            lambda rows: rows.loc[rows["group"] == "odd", "matched"].mean(),
        ),
    )

    def score(self, images: np.ndarray, prompts: list) -> list[dict]:
        numbers = [int(prompt.id.removeprefix("p")) for prompt in prompts]
        return [
            {"matched": float(n % 3), "wanted": float(n + 1), "group": "odd" if n % 2 else "even"}
            if n
            else {}
            for n in numbers
        ]


def test_a_total_is_made_of_all_rows_and_leaves_out_the_unscored(tmp_path: Path) -> None:
    assert isinstance(Recall(), TotalledMetric)
    run = make_run(tmp_path, prompts_of(7), models=["testbed-flux"], metrics=[Recall()])
    built = results.build(run, [Recall()])
    names = [column["name"] for column in built["columns"]]
    assert names == ["recall", "recall_odd", "matched", "wanted"]
    cell = built["boards"][0]["samplers"][1]["cells"]["recall"]
    assert cell["value"] == pytest.approx((1 + 2 + 0 + 1 + 2 + 0) / (2 + 3 + 4 + 5 + 6 + 7))
    assert (cell["n"], cell["prompts"], cell["interval"]) == (6, 6, "jackknife")
    left_out = [(6 - m) / (27 - w) for m, w in zip((1, 2, 0, 1, 2, 0), range(2, 8), strict=True)]
    assert sorted(cell["replicates"]) == pytest.approx(sorted(left_out))
    assert cell["against_reference"]["difference"] == 0
    assert built["boards"][0]["samplers"][1]["cells"]["recall_odd"]["value"] == pytest.approx((1 + 0 + 2) / 3)


class Apart:
    """A corpus metric whose reference the suite chooses: distance of mean brightness."""

    kind, extractor = "corpus", "brightness: mean of all pixels"
    name = recipe = "apart"
    columns = (Column("apart", "apart", "lower", "distance of mean brightness", floor=0.0),)
    against_board = True

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True).astype(np.float32)

    def against(self, source: Path | None) -> "Apart":
        return self

    def reference(self, cache: Path) -> float:
        raise AssertionError("the board itself is the reference")

    def reference_of(self, features: np.ndarray) -> float:
        return float(features.mean())

    def reduce(self, features: np.ndarray, reference: float) -> float:
        return abs(float(features.mean()) - reference)

    def note(self, n: int, reference: float) -> str:
        return f"against {reference:.0f}"


def test_the_board_s_reference_sampler_can_be_what_a_corpus_metric_compares_with(tmp_path: Path) -> None:
    metric = Apart()
    assert isinstance(metric, ReferencedMetric)
    run = make_run(tmp_path, prompts_of(5), models=["testbed-flux"], metrics=[metric])
    shas, features = run.features("apart")
    records = run.records()
    means = {
        sampler: np.mean([features[shas.index(sha), 0] for sha in own["image_sha256"]])
        for sampler, own in records.groupby("sampler")
    }
    cells = {
        row["sampler"]: row["cells"].get("apart")
        for row in results.build(run, [metric])["boards"][0]["samplers"]
    }
    assert cells.pop("teacher-50") is None
    assert cells
    for sampler, cell in cells.items():
        assert cell["value"] == pytest.approx(abs(means[sampler] - means["teacher-50"]), rel=1e-4)
        assert cell["note"] == f"against {means['teacher-50']:.0f}"
