"""What runs hold for a paper's cells, shares of the teacher's score, and reasons for what is empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.evidence import read_evidence
from glance_bench.stats import bootstrap_mean
from glance_bench.tables import reasons
from glance_bench.tables.fill import fill
from glance_bench.tables.filled import Cell, Filled
from glance_bench.tables.published import PaperTables, load_paper
from glance_bench.tables.reasons import Machine, Reason
from glance_bench.tables.render import text
from tests.fake_run import finish, make_run
from tests.tables_fixtures import Lacking, column, make_evidence, make_paper, row, table

rng = np.random.default_rng(5)
TEACHER = rng.uniform(0.4, 0.8, 60).tolist()
STUDENT = (np.array(TEACHER) * 0.9 + rng.normal(0, 0.02, 60)).tolist()
ROWS = [
    row("t", [0.5], teacher=True, steps=50, card="teacher-50"),
    row("s", [0.45], steps=8, card="glance-8"),
]
NFE = {"teacher-50": 50, "glance-8": 8}
BOTH = {"teacher-50": {"clip": TEACHER}, "glance-8": {"clip": STUDENT}}


def filled(paper: PaperTables, *evidences: Any) -> Filled:
    return fill(paper, evidences, Lacking("not run", "asked"))


def cell(made: Filled, label: str = "s", place: int = 0) -> Cell:
    return next(cells[place] for table in made.tables for own, cells in table.rows if own.label == label)


def test_a_cell_has_value_interval_n_and_delta(tmp_path: Path) -> None:
    made = cell(filled(make_paper(ROWS), make_evidence(tmp_path, BOTH, nfe=NFE)))
    assert made.score is not None and made.reason is None
    interval = bootstrap_mean(STUDENT)
    assert made.score.value == pytest.approx(np.mean(STUDENT))
    assert (made.score.low, made.score.high) == pytest.approx((interval.low, interval.high))
    assert (made.score.n, made.score.prompts, made.score.run, made.score.metric) == (60, 60, "coco", "clip")
    assert made.delta == pytest.approx((np.mean(STUDENT) - 0.45, interval.low - 0.45, interval.high - 0.45))


def test_retention_is_a_ratio_of_means_paired_by_prompt(tmp_path: Path) -> None:
    made = cell(filled(make_paper(ROWS), make_evidence(tmp_path, BOTH, nfe=NFE)))
    assert made.printed_kept == pytest.approx(0.9)
    assert made.kept is not None
    assert made.kept.value == pytest.approx(np.mean(STUDENT) / np.mean(TEACHER))
    draws = np.random.default_rng(1).integers(0, 60, (4000, 60))
    ratios = np.array(STUDENT)[draws].mean(1) / np.array(TEACHER)[draws].mean(1)
    assert (made.kept.low, made.kept.high) == pytest.approx(np.quantile(ratios, [0.025, 0.975]), abs=0.002)
    alone = np.std(STUDENT) / np.sqrt(60) / np.mean(TEACHER)
    assert made.kept.high - made.kept.low < alone  # pairing is worth something here


def test_retention_of_a_total_is_paired_by_groups(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path, BOTH, nfe=NFE, totals=("clip",))
    assert "clip" not in evidence.samples.columns
    made = cell(filled(make_paper(ROWS), evidence))
    assert made.kept is not None and made.kept.n == 20
    assert made.kept.value == pytest.approx(np.mean(STUDENT) / np.mean(TEACHER))
    means = filled(make_paper(ROWS), make_evidence(tmp_path / "b", BOTH, nfe=NFE))
    other = cell(means).kept
    assert other is not None
    assert made.kept.high - made.kept.low == pytest.approx(other.high - other.low, rel=0.6)


def test_no_share_where_less_is_better_or_the_teacher_is_elsewhere(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path / "a", BOTH, nfe=NFE)
    lower = make_paper(ROWS, columns={"a": column(better="lower")})
    assert cell(filled(lower, evidence)).kept is None and cell(filled(lower, evidence)).printed_kept is None
    teacher = make_evidence(tmp_path / "b", {"teacher-50": BOTH["teacher-50"]}, nfe=NFE, name="one")
    student = make_evidence(tmp_path / "c", {"glance-8": BOTH["glance-8"]}, nfe=NFE, name="two")
    made = cell(filled(make_paper(ROWS), teacher, student))
    assert made.score is not None and made.kept is None


def test_the_run_given_last_is_taken_and_the_other_named(tmp_path: Path) -> None:
    first = make_evidence(tmp_path / "a", BOTH, nfe=NFE, name="first")
    second = make_evidence(tmp_path / "b", {"glance-8": {"clip": [0.1, 0.2, 0.3]}}, nfe=NFE, name="second")
    made = filled(make_paper(ROWS), first, second)
    assert cell(made).score.run == "second" and cell(made).passed_over == ("first",)  # type: ignore[union-attr]
    assert cell(made, "t").score.run == "first" and cell(made, "t").passed_over == ()  # type: ignore[union-attr]
    made = filled(make_paper(ROWS), second, first)
    assert cell(made).score.run == "first" and made.unused == ()  # type: ignore[union-attr]


def test_runs_of_one_name_are_told_apart_and_one_run_twice_is_one(tmp_path: Path) -> None:
    first = make_evidence(tmp_path / "a", BOTH, nfe=NFE)
    second = make_evidence(tmp_path / "b", {"glance-8": {"clip": [0.1, 0.2, 0.3]}}, nfe=NFE)
    made = filled(make_paper(ROWS), first, second)
    assert made.runs == (f"coco ({tmp_path / 'a'})", f"coco ({tmp_path / 'b'})")
    assert cell(made).passed_over == (f"coco ({tmp_path / 'a'})",)
    assert filled(make_paper(ROWS), first, first).runs == ("coco",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"nfe": {"glance-8": 10}}, "glance-8 has 10 evaluations, s has 8"),
        ({"resolution": 512}, "its images have 512 x 512 pixels, the paper's 1024"),
    ],
)
def test_a_run_made_in_another_way_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    evidence = make_evidence(tmp_path, BOTH, **{"nfe": NFE, **change})
    made = cell(filled(make_paper(ROWS, resolution=1024), evidence))
    assert made.score is None
    assert made.reason == Reason("not comparable", (f"coco: {why}",))


def test_images_made_elsewhere_may_not_say_how(tmp_path: Path) -> None:
    made = cell(filled(make_paper(ROWS, resolution=1024), make_evidence(tmp_path, BOTH, resolution=None)))
    assert made.score is not None


@pytest.mark.parametrize(
    "change",
    [{"model": "qwen-image"}, {"prompt_set": "coco-5k"}, {"testbed": True}, {"model": "testbed-flux"}],
)
def test_another_model_prompt_set_or_testbed_fills_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    made = filled(make_paper(ROWS), make_evidence(tmp_path, BOTH, nfe=NFE, **change))
    assert cell(made).reason == Reason("not run", ("asked",))
    assert made.testbed == () and made.unused == ("coco",)


def test_what_the_run_waited_for_is_the_reason(tmp_path: Path) -> None:
    told = {"clip": "waits for clip-vit-l-14-336 (1.7 GB)"}
    evidence = make_evidence(tmp_path, {"glance-8": {"other": [1.0, 2.0]}}, nfe=NFE, waiting=told)
    made = cell(filled(make_paper(ROWS), evidence))
    assert made.reason == Reason("no weights", ("coco: clip waits for clip-vit-l-14-336 (1.7 GB)",))


def test_the_unit_is_the_papers_and_the_first_metric_named_is_taken(tmp_path: Path) -> None:
    columns = {"a": column(metrics=["fine", "clip"], scale=100)}
    both = {"glance-8": {"clip": [0.5, 0.5, 0.6], "fine": [0.7, 0.8, 0.9]}}
    made = cell(filled(make_paper(ROWS, columns=columns), make_evidence(tmp_path, both, nfe=NFE)))
    assert made.score is not None and made.score.metric == "fine"
    assert made.score.value == pytest.approx(80)
    assert made.score.low is not None and 69.9 < made.score.low <= 80


def test_a_distance_on_part_of_the_prompts_has_no_delta(tmp_path: Path) -> None:
    for prompts, biased in ((60, False), (61, True)):
        paper = make_paper(ROWS, columns={"a": column(prompts=prompts, better="lower")})
        kinds = {"corpus": ("clip",), "totals": ("clip",)}
        made = filled(paper, make_evidence(tmp_path / f"c{prompts}", BOTH, nfe=NFE, **kinds))  # type: ignore[arg-type]
        assert cell(made).score is not None and (cell(made).delta is None) is biased
        assert ("there is no delta: t Score, s Score" in text(made, "md")) is biased
        mean = filled(paper, make_evidence(tmp_path / f"m{prompts}", BOTH, nfe=NFE))
        assert cell(mean).delta is not None  # of a mean a part is as good an estimate
        assert (f"60 of {prompts} prompts" in text(mean, "md")) is biased


def test_a_mean_of_columns_and_its_share(tmp_path: Path) -> None:
    columns = {
        "a": column(),
        "b": column(metrics=["vqa"]),
        "all": column(metrics=[], mean_of=["a", "b"]),
    }
    values = {
        "teacher-50": {"clip": TEACHER, "vqa": rng.uniform(0.5, 0.9, 60).tolist()},
        "glance-8": {"clip": STUDENT, "vqa": rng.uniform(0.4, 0.8, 60).tolist()},
    }
    paper = make_paper([], columns=columns, tables=[table("table 1", ROWS, ["all"])])
    made = cell(filled(paper, make_evidence(tmp_path / "a", values, nfe=NFE)))
    means = {name: (np.mean(own["clip"]) + np.mean(own["vqa"])) / 2 for name, own in values.items()}
    assert made.score is not None and made.score.value == pytest.approx(means["glance-8"])
    spread = np.sqrt(sum(np.var(values["glance-8"][name], ddof=1) / 60 for name in ("clip", "vqa"))) / 2
    assert made.score.high is not None and made.score.low is not None
    assert (made.score.high - made.score.low) / 2 == pytest.approx(
        reference.t.ppf(0.975, 19) * spread, rel=0.35
    )
    assert made.kept is not None
    assert made.kept.value == pytest.approx(means["glance-8"] / means["teacher-50"])
    apart = [
        make_evidence(tmp_path / n, {"glance-8": {n: STUDENT}}, nfe=NFE, name=n) for n in ("clip", "vqa")
    ]
    assert cell(filled(paper, *apart)).score is None  # the parts of one number are of one run


SEEDS = [rng.uniform(0.4, 0.8, 40).tolist() for _ in range(3)]


def test_training_seeds_are_one_row(tmp_path: Path) -> None:
    values = {f"mine.s{i}": {"truth": seed} for i, seed in enumerate(SEEDS)}
    values = {"teacher-50": {"truth": TEACHER[:40]}} | values
    rows = [row("a", [0.5], card="glance-10", sampler="mine"), row("b", [0.4], sampler="none")]
    tables = [table("table 3", rows, ["a"], ablation="ablation-x")]
    paper = make_paper(rows, tables=tables)
    like = {"testbed": True, "model": "testbed-qwen", "prompt_set": "testbed-balanced"}
    evidence = make_evidence(tmp_path / "a", values, name="ablation-x", trained=["mine"], **like)
    (made,) = filled(paper, evidence).testbed
    assert [(label, name) for label, name, *_ in made.rows] == [("teacher", "teacher-50"), ("a", "mine")]
    ((score, kept),) = made.rows[1][3]
    assert score is not None and (score.seeds, score.n, score.prompts) == (3, 120, 40)
    assert score.value == pytest.approx(np.mean(SEEDS))
    assert kept is not None and kept.value == pytest.approx(np.mean(SEEDS) / np.mean(TEACHER[:40]))
    unnamed = make_evidence(tmp_path / "b", values, name="ablation-x", **like)
    assert (
        filled(paper, unnamed).testbed == ()
    )  # a name that ends in .s0 is a seed's only if the suite trains it


def test_seeds_of_a_total_widen_its_interval(tmp_path: Path) -> None:
    values = {f"mine.s{i}": {"fd": seed} for i, seed in enumerate(SEEDS)}
    rows = [row("a", [0.5], sampler="mine")]
    paper = make_paper(rows, tables=[table("table 3", rows, ["a"], ablation="x")])
    evidence = make_evidence(
        tmp_path, values, name="x", trained=["mine"], totals=("fd",), testbed=True, model="testbed-qwen"
    )
    (made,) = filled(paper, evidence).testbed
    ((score, _),) = made.rows[-1][3]
    assert score is not None and score.high is not None and score.low is not None
    seeds = np.std([np.mean(seed) for seed in SEEDS], ddof=1) / np.sqrt(3) * reference.t.ppf(0.975, 2)
    assert score.high - score.low > 2 * seeds


def test_the_testbed_has_tables_of_its_own(tmp_path: Path) -> None:
    like = {"testbed": True, "model": "testbed-flux", "prompt_set": "testbed", "name": "quickstart"}
    made = filled(make_paper(ROWS), make_evidence(tmp_path / "a", BOTH, nfe=NFE, **like))
    (own,) = made.testbed
    assert [label for label, *_ in own.rows] == ["t", "s"]
    assert cell(made).score is None and made.unused == ()
    (_, none), (_, kept) = (cells[0] for *_, cells in own.rows)
    assert (
        none is None and kept is not None and kept.value == pytest.approx(np.mean(STUDENT) / np.mean(TEACHER))
    )
    teacher = make_evidence(tmp_path / "b", {"teacher-50": BOTH["teacher-50"]}, **like)
    assert filled(make_paper(ROWS), teacher).testbed == ()  # a teacher alone compares with nothing
    other = make_evidence(tmp_path / "c", BOTH, **{**like, "model": "testbed-qwen"})
    assert filled(make_paper(ROWS), other).testbed == ()  # the rows are of the other family


def test_a_run_as_the_passes_leave_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, images_per_prompt=2, black=[("uniform-8", "p001")])
    finish(run)
    evidence = read_evidence(run.folder)
    made = filled(load_paper("glance"), evidence)
    assert {(one.table, one.model) for one in made.testbed} == {
        ("table 1", "testbed-qwen"),  # FLUX has no uniform rows in the paper, and figure 4 has only Glance
        ("table 2", "testbed-qwen"),
    }
    own = made.testbed[0]
    assert [(label, sampler) for label, sampler, *_ in own.rows] == [
        ("Qwen-Image 50", "teacher-50"),
        ("Qwen-Image 10", "uniform-10"),
        ("Qwen-Image 8", "uniform-8"),
    ]
    board = next(b for b in evidence.results["boards"] if b["model"] == "testbed-qwen")
    stored = {row["sampler"]: row["cells"] for row in board["samplers"]}
    compared = 0
    for _, sampler, _, cells in own.rows:
        for (score, kept), shown in zip(cells, own.columns, strict=True):
            held = stored[sampler][shown["name"]]
            assert score is not None
            assert (score.value, score.low, score.high, score.n) == tuple(
                held[key] for key in ("value", "low", "high", "n")
            )
            assert score.failed == (2 if sampler == "uniform-8" else 0)
            if kept is not None:
                above = stored["teacher-50"][shown["name"]]["value"]
                assert kept.value == pytest.approx(held["value"] / above, rel=1e-6)
                compared += 1
    assert compared == 2 * 6  # truth, all true, three of OCR and CLIP; not the distance
    assert all(cell.score is None for table in made.tables for _, cells in table.rows for cell in cells)
    assert "- uniform-8: 2 images failed" in text(made, "md")


def test_claims_are_measured(tmp_path: Path) -> None:
    claims = [
        {"kind": "retention", "text": "keeps", "student": "s", "teacher": "t", "column": "a", "percent": 90},
        {"kind": "difference", "text": "loses", "student": "s", "teacher": "t", "column": "a", "less": 0.05},
        {"kind": "speed-up", "text": "fast", "student": "s", "teacher": "t", "times": 6.25},
        {"kind": "statement", "text": "trains in an hour"},
    ]
    seconds = {"teacher-50": [10.0, 11.0, 12.0], "glance-8": [2.0, 2.2, 2.0]}
    evidence = make_evidence(tmp_path, BOTH, nfe=NFE, seconds=seconds)
    kept, less, fast, told = filled(make_paper(ROWS, claims=claims), evidence).claims
    assert kept.measured is not None and kept.measured[0] == pytest.approx(
        100 * np.mean(STUDENT) / np.mean(TEACHER)
    )
    assert less.measured is not None and less.measured[0] == pytest.approx(
        np.mean(TEACHER) - np.mean(STUDENT)
    )
    assert less.measured[1] is not None and less.measured[1] < less.measured[0] < (less.measured[2] or 0)
    assert fast.ratios == (6.25, 6.25)
    assert fast.measured is not None and fast.measured[0] == pytest.approx(5.0)  # the median of 5, 5 and 6
    assert told.measured is None and told.reason is None
    nothing = filled(make_paper(ROWS, claims=claims)).claims
    assert [one.measured for one in nothing] == [None] * 4
    assert [one.reason.why[0] for one in nothing if one.reason] == ["asked", "asked", "untimed"]


def of_machine(
    monkeypatch: pytest.MonkeyPatch, *, weights: bool, metric: bool, images: bool, gpu: bool
) -> Reason:
    class Place:
        def stat(self) -> None:
            if not weights:
                raise MissingData("waits for flux.1-dev (34 GB)")

    class Entry:
        path = Place()

    class Models:
        def __contains__(self, name: str) -> bool:
            return name == "flux.1-dev"

        def get(self, name: str) -> Any:
            return Entry

    def available(names: list[str], reference: str) -> tuple[dict[str, Any], dict[str, str]]:
        there = metric if reference == "teacher" else images
        return {}, {} if there else dict.fromkeys(
            names, "waits for " + ("its weights", "photographs")[metric]
        )

    monkeypatch.setattr(reasons, "MODELS", Models())
    monkeypatch.setattr(reasons, "available", available)
    monkeypatch.setattr(reasons, "find_gpus", lambda: ["H100"] if gpu else [])
    paper = make_paper(ROWS, columns={"a": column(reference="data:photographs", suite="coco")})
    return Machine().reason(paper, paper.tables[0], paper.tables[0].rows[1], paper.columns["a"])


@pytest.mark.parametrize(
    ("has", "name", "why"),
    [
        (dict(weights=False, metric=False, images=False, gpu=False), "no weights", "flux.1-dev (34 GB)"),
        (
            dict(weights=True, metric=False, images=False, gpu=True),
            "no weights",
            "clip waits for its weights",
        ),
        (dict(weights=True, metric=True, images=False, gpu=False), "no reference images", "photographs"),
        (dict(weights=True, metric=True, images=True, gpu=False), "no GPU", "this machine has no GPU"),
        (dict(weights=True, metric=True, images=True, gpu=True), "not run", "glance-bench run coco"),
    ],
)
def test_the_first_thing_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], name: str, why: str
) -> None:
    found = of_machine(monkeypatch, **has)
    assert found.name == name and why in found.why[0]
    assert ("this machine has no GPU" in found.why) is not has["gpu"]


def test_rows_and_columns_that_nothing_here_can_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("x", [1.0]), row("y", [1.0], card="glance-8")]
    paper = make_paper(rows, columns={"a": column(metrics=[])})
    first, second = paper.tables[0].rows
    assert Machine().reason(paper, paper.tables[0], first, paper.columns["a"]).name == "no card"
    assert Machine().reason(paper, paper.tables[0], second, paper.columns["a"]).name == "no metric"
    strange = make_paper(rows, families={"flux": {"model": "a-model"}})
    assert (
        "no model called 'a-model'"
        in Machine().reason(strange, strange.tables[0], second, strange.columns["a"]).why[0]
    )
    unknown = make_paper(rows, columns={"a": column(metrics=["clop"])})
    assert "unknown metric 'clop'" in " ".join(
        Machine().reason(unknown, unknown.tables[0], second, unknown.columns["a"]).why
    )

    def broken() -> list[Any]:
        raise GlanceBenchError("a GPU driver is installed but does not work")

    monkeypatch.setattr(reasons, "find_gpus", broken)
    assert (
        "does not work" in Machine().reason(unknown, unknown.tables[0], second, unknown.columns["a"]).why[-1]
    )


def test_images_made_elsewhere_fill_a_row_without_a_card(tmp_path: Path) -> None:
    rows = [row("x", [0.5], sampler="theirs-8", steps=8)]
    paper = make_paper(rows)
    told = Machine().reason(paper, paper.tables[0], paper.tables[0].rows[0], paper.columns["a"])
    assert told.name == "no card" and "import-images --as theirs-8" in told.why[0]
    evidence = make_evidence(tmp_path, {"theirs-8": {"clip": [0.4, 0.5]}}, resolution=None)
    assert cell(filled(paper, evidence), "x").score is not None
    ablation = make_paper(rows, tables=[table("table 3", rows, ["a"], ablation="ablation-x")])
    assert cell(filled(ablation, evidence), "x").score is None  # there the name is one of the suite's
    found = Machine().reason(ablation, ablation.tables[0], ablation.tables[0].rows[0], ablation.columns["a"])
    assert found.name != "no card"


def test_scores_that_are_only_read_back_need_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "find_gpus", lambda: ["H100"])
    monkeypatch.setattr(reasons, "_weights", lambda model: ())
    paper = make_paper(ROWS, columns={"a": column(metrics=["dpg[official]"], suite="dpg")})
    found = Machine().reason(paper, paper.tables[0], paper.tables[0].rows[0], paper.columns["a"])
    assert found == Reason("not run", ("glance-bench run dpg, then export and import-scores",))
