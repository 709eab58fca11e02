"""The views that are made at build time: what they show is what the evidence holds, or follows from it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glance_bench.comparison import compare, two_samplers
from glance_bench.models.checkpoints import read_geometry
from glance_bench.registry import MODELS
from glance_bench.report.charts.curves import Line, curves, thinned
from glance_bench.report.charts.forest import forest, shares
from glance_bench.report.page import environment
from glance_bench.report.steps import played
from glance_bench.report.text import visible
from glance_bench.report.views import schedule
from glance_bench.samplers.cards import load_card
from glance_bench.sealed import digest_of
from glance_bench.store import Run
from glance_bench.trajectory import teacher_grid
from glance_bench.units import UnitInfo

from .made_evidence import HARDWARE, MADE_OF, column, evidence
from .view_fixtures import (
    COUNT,
    HOSTILE,
    NOISE,
    SUITE,
    VIEWS,
    Fragment,
    pieces,
    report_of,
    rows_of,
    shown,
    stepped,
    three,
)

# ---- compare ----


def test_a_piece_for_each_pair_and_direction() -> None:
    found = pieces(report_of(three()))
    assert sorted(found) == [f"b0/pair/{i}-{j}" for i in range(3) for j in range(3) if i != j]


def test_a_pair_shows_the_numbers_of_the_comparison() -> None:
    source = three()
    found = pieces(report_of(source))
    for (i, a), (j, b) in [((0, "a"), (1, "b")), ((1, "b"), (0, "a")), ((1, "b"), (2, "c"))]:
        (one,) = compare(two_samplers(source, a, b))["comparisons"]
        head, *rows = found[f"b0/pair/{i}-{j}"].tables[0]
        assert head[:5] == ["Metric", "A", "B", "B − A", "95 % interval"]
        assert len(rows) == len(one["metrics"]) == 2
        for row, effect in zip(rows, one["metrics"], strict=True):
            assert row[0].startswith(effect["title"])
            assert row[1:4] == [f"{effect['a']:.3f}", f"{effect['b']:.3f}", f"{effect['delta']:+.4f}"]
            assert row[4] == f"{effect['low']:+.4f} to {effect['high']:+.4f}" and row[5] == str(COUNT)
            assert float(row[7].strip("<")) == pytest.approx(effect["p_adjusted"], abs=1e-3)
            assert row[8].endswith(f"{effect['wins']}/{effect['ties']}/{effect['losses']}")
            assert effect["verdict"] in row[9]
    assert "▼ worse" in found["b0/pair/0-1"].tables[0][1][9]
    assert "▲ better" in found["b0/pair/1-0"].tables[0][1][9]


def test_slices_only_against_the_reference_and_why() -> None:
    found = pieces(report_of(three()))
    for key, fragment in found.items():
        cut = "Differences by category" in [a["aria-label"] for a in fragment.all("div", "scroll")]
        assert cut == ("0" in key.removeprefix("b0/"))
    assert "only pairs with the reference, a, are compared here" in found["b0/pair/1-2"].text
    (one,) = compare(two_samplers(three(), "a", "b"))["comparisons"]
    assert {row["slice"] for row in one["slices"]} == {"sign", "pair"}
    assert "no slices" in pieces(report_of(three(facets={})))["b0/pair/0-1"].text


def test_prompts_that_moved_lead_to_their_own_page() -> None:
    source = three()
    (one,) = compare(two_samplers(source, "a", "b"))["comparisons"]
    wanted = [
        int(entry["prompt"][1:]) for moved in one["moved"] for w in ("worse", "better") for entry in moved[w]
    ]
    links = pieces(report_of(source))["b0/pair/0-1"].links("prompt")
    assert links == [f"#/prompt?board=0&row={place}&sampler=1" for place in wanted] and wanted


def test_every_difference_leads_to_its_images() -> None:
    found = pieces(report_of(three()))
    for pair, sort, sampler in (("2-1", "worst", 1), ("0-1", "loss", 1), ("1-0", "loss", 1)):
        assert found[f"b0/pair/{pair}"].links("prompts")[1:3] == [
            f"#/prompts?board=0&sort={sort}&metric={name}&sampler={sampler}" for name in ("x", "y")
        ]


def test_the_latency_of_a_pair_is_the_median_of_ratios() -> None:
    found = pieces(report_of(three()))
    a, b = np.array([5.0, 5.1, 5.3, 4.9, 5.0, 5.2, 5.0]), np.array([1.0, 1.1, 1.0, 1.0, 0.9, 1.0, 1.1])
    (row,) = found["b0/pair/0-1"].tables[1][1:]
    assert row[:5] == [HARDWARE, "1", "5.000", "1.000", f"{np.median(b / a):.3f}"] and row[6] == "7"
    (back,) = found["b0/pair/1-0"].tables[1][1:]
    assert back[4] == f"{np.median(a / b):.3f}"
    assert "B was not timed" in found["b0/pair/0-2"].text


def test_a_forest_has_its_points_where_the_effects_are() -> None:
    rows = [
        {"title": "up", "better": "higher", "low": 0.1, "delta": 0.2, "high": 0.3, "sd": 0.5, "verdict": "better"},
        {"title": "down", "better": "lower", "low": 1.0, "delta": 2.0, "high": 3.0, "sd": 10.0, "verdict": "worse"},
        {"title": "open", "better": "higher", "low": -0.1, "delta": 0.0, "high": 0.1, "sd": 1.0, "verdict": "same"},
        {"title": "few", "better": "higher", "low": None, "delta": 0.2, "high": None, "sd": None, "verdict": "too few"},
    ]  # fmt: skip
    drawn = Fragment(str(forest(rows)))
    zero = float(re.match(r"M([\d.]+)", str(drawn.all("path", "zero")[0]["d"]))[1])  # type: ignore[index]
    spans = [
        [float(x) - zero for x in re.match(r"M([\d.]+) [\d.]+H([\d.]+)", str(p["d"])).groups()]  # type: ignore[union-attr]
        for p in drawn.all("path", "reach")
    ]
    assert len(spans) == 3 and "few" not in drawn.text
    unit = spans[0][1] / 0.6  # pixels a standard deviation, from 0.3 / 0.5
    assert np.allclose(
        spans, [[0.2 * unit, 0.6 * unit], [-0.3 * unit, -0.1 * unit], [-0.1 * unit, 0.1 * unit]], atol=0.2
    )
    assert [p["class"] for p in drawn.all("path", "point")] == ["point up", "point down", "point same"]
    shapes = {re.sub(r"[\d. -]+", "", str(p["d"])) for p in drawn.all("path", "point")}
    assert len(shapes) == 2 and forest([rows[3]]) == ""


def test_shares_are_as_wide_as_the_counts() -> None:
    drawn = Fragment(str(shares(10, 5, 25)))
    widths = [float(str(a["width"])) for a in drawn.all("rect")]
    assert widths == pytest.approx([55, 27.5, 137.5]) and shares(0, 0, 0) == ""


def test_nothing_to_compare_is_said() -> None:
    alone = report_of(evidence({"a": {"x": NOISE}}))
    assert pieces(alone) == {} and "there is nothing to compare it with" in shown("compare", alone).text
    apart = three()
    samples = apart.samples
    keep = (samples["sampler"] == "b") ^ samples["prompt_id"].isin([f"p{i:03d}" for i in range(10)])
    board = apart.results["boards"][0]
    counts = samples[keep]["sampler"].value_counts()
    rows = [{**row, "images": int(counts[row["sampler"]])} for row in board["samplers"]]
    cut = replace(
        apart, samples=samples[keep], results={**apart.results, "boards": [{**board, "samplers": rows}]}
    )
    found = pieces(report_of(cut))
    assert "no prompt in common" in found["b0/pair/0-1"].text and found["b0/pair/0-2"].tables


# ---- schedule ----


def test_steps_of_glance_are_the_published_ones_and_have_their_experts() -> None:
    report = report_of(stepped())
    known, unknown = played(report.boards[0])
    assert unknown == [] and [one.places for one in known] == [(0,), (1,), (2,), (3,)]
    shape = read_geometry(MODELS.get("testbed-flux").path, 64, 64)
    grid = teacher_grid(shape.shift, shape.tokens)
    glance = known[1]
    assert [row["sigma"] for row in glance.rows] == [grid[i] for i in (0, 2, 4, 6, 8, 10, 20, 30, 40, 49)]
    assert [row["expert"] for row in glance.rows] == ["slow"] * 5 + ["fast"] * 5
    assert {row["expert"] for row in known[2].rows} == {"base model"}
    assert [row["phase"] for row in known[2].rows] == ["slow"] * 5 + ["fast"] * 5


def test_the_second_pass_of_guidance_counts() -> None:
    report = report_of(stepped("testbed-qwen"))
    assert [one.evaluations for one in played(report.boards[0])[0]] == [100, 20, 20, 8]
    assert "10 steps, NFE 20" in shown("schedule", report).text


def test_marks_stand_on_the_curve_in_the_colour_and_shape_of_their_expert() -> None:
    found = shown("schedule", report_of(stepped()))
    curve, _, path = str(found.all("path", "curve")[1]["d"])[1:].partition("L")
    points = [tuple(map(float, at.split())) for at in [curve, *path.split("L")]]
    assert len(points) == 51
    html = (
        environment()
        .get_template("schedule.html")
        .render(report=None, **schedule.context(report_of(stepped())))
    )
    panel = html.split('<svg class="plot sigmas"')[2].split("</svg>")[0]
    way = re.search(r'class="way" d="M([^"]+)"', panel)
    assert way is not None
    stops = [tuple(map(float, at.split())) for at in way[1].split("L")]
    kept = [points[i] for i in (0, 2, 4, 6, 8, 10, 20, 30, 40, 49, 50)]
    assert np.allclose(stops, kept, atol=0.11)
    marks = re.findall(r'class="mark (c\d)" d="([^"]+)"', panel)
    assert [colour for colour, _ in marks] == ["c1"] * 5 + ["c2"] * 5
    shapes = [re.sub(r"[\d. -]+", "", drawn) for _, drawn in marks]
    assert len(set(shapes[:5])) == len(set(shapes[5:])) == 1 and shapes[0] != shapes[5]
    assert panel.count('class="handover"') == 1 and "SNR 1" in panel


def test_a_level_that_is_told_beside_sigma_is_drawn_and_listed() -> None:
    suite = {**SUITE, "samplers": ["teacher-50", "glance-10@released"]}
    found = shown("schedule", report_of(stepped("testbed-qwen", suite)))
    steps = rows_of("glance-10@released", "testbed-qwen")
    apart = [step for step in steps if abs(step["t_cond"] - step["sigma"]) > 1e-4]
    assert len(apart) > 3 and len(found.all("circle", "told")) == len(apart) + 1  # and one in the legend
    assert "level that the model is told" in found.text
    table = found.tables[1][1:]
    for row, step in zip(table, steps, strict=True):
        assert row[3] == f"{1000 * step['t_cond']:.2f}" and row[2].startswith(f"{step['sigma']:.4f}")


def test_steps_that_no_card_proves_are_not_shown() -> None:
    report = report_of(stepped(**{"uniform-4": "0" * 64}))
    known, ((place, why),) = played(report.boards[0])
    assert len(known) == 3 and place == 3 and "no card on this machine" in why
    assert "The steps of uniform-4 are not known" in shown("schedule", report).text
    elsewhere = report_of(evidence({"a": {"x": NOISE}}, made_of=None, nfe={"a": None}))
    assert "its images were made elsewhere" in shown("schedule", elsewhere).text


def test_a_run_s_own_record_is_believed_without_a_card(tmp_path: Path) -> None:
    run = Run(tmp_path)
    unit = UnitInfo("some-model", "a", "set", 0, "0" * 64, "units/some-model/a-0/set/00000-0")
    steps = rows_of("glance-10", "testbed-flux")
    run.publish_unit(unit, [], [], [], {"sampler_made_of": {"trajectory": steps}})
    made = evidence({"a": {"x": NOISE}}, model="some-model")
    board = made.results["boards"][0]
    row = {**board["samplers"][0], "units": [unit.folder]}
    row["made_of"] = {**MADE_OF, "trajectory": digest_of(steps)}
    made = replace(made, results={**made.results, "boards": [{**board, "samplers": [row]}]})
    report = report_of(made, runs={"made": run})
    (one,), unknown = played(report.boards[0])
    assert unknown == [] and not one.named and {row["expert"] for row in one.rows} == {"adapter"}
    text = shown("schedule", report).text
    assert "shown as the run recorded them" in text and "The curve is the steps of a." in text


# ---- training ----


def test_shipped_adapters_are_shown_with_their_records() -> None:
    path = MODELS.get("testbed-flux").adapters / "glance-10" / "training.json"
    experts = json.loads(path.read_text())["experts"]
    found = shown("training", report_of(stepped()))
    assert "Nothing was trained in this run. Some of its samplers play adapters" in found.text
    rows = {row[0]: row for row in found.tables[0][1:]}
    assert list(rows) == ["glance-10/slow", "glance-10/fast"]
    for phase, record in experts.items():
        row, recipe = rows[f"glance-10/{phase}"], record["recipe"]
        assert row[1] == "glance-10" and row[2] == "1"
        assert row[4] == f"{recipe['rank']} / {recipe['alpha']:g}" and row[5] == f"{recipe['steps']} × 1"
        assert row[9] == f"{np.mean(record['losses'][-10:]):.4f}" and row[10] == f"{record['seconds']:.1f}"
        assert row[11] == f"{record['peak_memory_bytes'] / 1e9:.2f} GB"
    assert "a large red ring on a grey gradient" in found.text
    assert "is not the one that made these images" in found.text  # the made-up card digest is another


def test_losses_are_named_by_what_was_trained() -> None:
    suite = {**SUITE, "samplers": ["teacher-50", "glance-10", "distilled-8"]}
    text = shown("training", report_of(stepped(suite=suite))).text
    assert re.search(r"glance-10\s+flow-matching loss", text)
    assert re.search(r"distilled-8\s+squared distance from where the teacher goes", text)


def test_adapters_with_the_digest_of_the_images_are_not_doubted() -> None:
    made = stepped()
    shape = read_geometry(MODELS.get("testbed-flux").path, 64, 64)
    adapters = {
        f"glance-10/{phase}": MODELS.get("testbed-flux").adapters / f"glance-10/{phase}.safetensors"
        for phase in ("slow", "fast")
    }
    digest = load_card("glance-10").digest(replace(shape, adapters=adapters))
    board = made.results["boards"][0]
    rows = [
        {**row, "made_of": {**row["made_of"], "card": digest}} if row["sampler"] == "glance-10" else row
        for row in board["samplers"]
    ]
    made = replace(made, results={**made.results, "boards": [{**board, "samplers": rows}]})
    assert "is not the one" not in shown("training", report_of(made)).text


def test_no_adapter_at_all_is_said() -> None:
    text = shown("training", report_of(three())).text
    assert "Nothing was trained in this run. None of its samplers is known to play an adapter." in text


def test_what_a_run_trained_is_read_from_its_records(tmp_path: Path) -> None:
    suite = {
        **SUITE,
        "train": [{"name": "ten", "sample": {"noise": True}, "seeds": [0, 1]}],
        "samplers": ["teacher-50", {"like": "glance-10", "adapters": "ten", "name": "mine"}],
    }
    base = json.loads((MODELS.get("testbed-flux").adapters / "glance-10" / "training.json").read_text())
    run = Run(tmp_path / "run")
    listed = []
    for seed in (0, 1):
        folder = tmp_path / f"kept{seed}"
        folder.mkdir()
        experts = {
            phase: {
                **record,
                "losses": [float(seed + k % 3) for k in range(200)],
                "recipe": {**record["recipe"], "seed": seed},
            }
            for phase, record in base["experts"].items()
        }
        (folder / "training.json").write_text(json.dumps({**base, "experts": experts}))
        listed.append(
            {
                "model": "testbed-flux",
                "adapters": f"ten.s{seed}",
                "key": "k",
                "record": str(folder / "training.json"),
            }
        )
    run.write("manifest.json", {"adapters": listed})
    made = evidence({name: {"x": NOISE} for name in ("teacher-50", "mine.s0", "mine.s1")})
    made = replace(made, suite=suite)
    found = shown("training", report_of(made, runs={"made": run}))
    assert "This run's suite trains adapters" in found.text and "on Gaussian noise" in found.text
    rows = {row[0]: row for row in found.tables[0][1:]}
    assert list(rows) == [f"ten.s{s}/{p} trained by this run" for s in (0, 1) for p in ("slow", "fast")]
    assert [row[1] for row in rows.values()] == ["mine.s0"] * 2 + ["mine.s1"] * 2
    assert [row[3] for row in rows.values()] == ["0", "0", "1", "1"]
    assert len(found.all("path", "line")) == 4
    gone = shown("training", report_of(made))
    assert "stayed on the machine that made it" in gone.text
    assert "neither the adapter nor its record is on this machine" in gone.text


def test_long_curves_are_means_of_stretches() -> None:
    points = thinned([float(k) for k in range(1, 121)])
    assert len(points) == 20 and points[0] == (3.5, 3.5) and points[-1] == (117.5, 117.5)
    assert thinned([3.0, 5.0]) == [(1, 3.0), (2, 5.0)]
    drawn = Fragment(str(curves([Line("one", 1, [points])], "step", "loss")))
    assert len(drawn.all("path", "line")) == 1 and 12 <= len(drawn.all("path", "mark")) <= 20
    assert curves([], "step", "loss") == ""


# ---- provenance ----


def test_provenance_has_suite_digests_recipes_and_commands() -> None:
    made = three()
    results = {
        **made.results,
        "seal": "f" * 64,
        "tables": {"samples.parquet": "a" * 64},
        "waiting": {"hpsv2": "its weights"},
    }
    made = replace(
        made,
        results=results,
        suite={**SUITE, "seed": 7, "noise": "hashed"},
        environment={"python": "3.11", "versions": {"numpy": "2.4"}},
    )
    found = shown("provenance", report_of(made))
    assert (
        json.loads(
            "".join(found.words).partition('{\n "models"')[2].join(['{\n "models"', ""]).rpartition("}")[0]
            + "}"
        )
        == made.suite
    )
    for wanted in (
        "f" * 64,
        "a" * 64,
        made.results["digest"],
        "recipe r0",
        "hpsv2 its weights",
        "versions numpy",
    ):
        assert wanted in found.text
    assert "glance-bench verify runs/made" in found.text and "glance-bench run" not in found.text
    rows = {row[0]: row for row in found.tables[0][1:]}
    assert list(rows) == ["a", "b", "c"] and rows["a"][1] == str(COUNT)
    assert rows["a"][2:5] == ["c" * 12, "d" * 12, "e" * 12] and rows["a"][6] == "100 to 390"
    assert found.links("prompts") == [f"#/prompts?board=0&sampler={place}" for place in range(3)]


def test_a_run_can_be_made_again_from_its_own_suite(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write("manifest.json", {"adapters": []})
    made = replace(three(), name="it's mine")
    text = shown("provenance", report_of(made, runs={made.name: run})).text
    quoted = "'runs/it'\"'\"'s mine"
    assert (
        f"glance-bench run {quoted}/suite.json' -o again" in text and f"glance-bench verify {quoted}'" in text
    )
    assert str(tmp_path) not in text


def test_hashed_seeds_are_counted_and_not_listed() -> None:
    rows = shown("provenance", report_of(three(seed=2**60))).tables[0][1:]
    assert [row[6] for row in rows] == [f"{COUNT} different"] * 3


def test_images_made_elsewhere_have_no_provenance() -> None:
    found = shown("provenance", report_of(evidence({"a": {"x": NOISE}}, made_of=None, seed=-1)))
    assert "made elsewhere: what its images are made of is not known" in found.text
    assert (
        found.tables[0][1][-1] == "not known" and "On what machine this was made was not kept" in found.text
    )


# ---- all of them ----


def test_hostile_names_stay_text() -> None:
    values = {f"{HOSTILE} {k}": {HOSTILE: NOISE + 0.1 * k} for k in range(2)}
    made = evidence(
        values,
        columns=[column(HOSTILE, title=HOSTILE, description=HOSTILE)],
        name=f"run {HOSTILE}",
        model=HOSTILE,
        texts={f"p{i:03d}": HOSTILE for i in range(COUNT)},
        facets={"category": [HOSTILE, "other"] * (COUNT // 2)},
        hardware=HOSTILE,
        session=HOSTILE,
        seconds={name: [1.0] * 8 for name in values},
    )
    made = replace(
        made,
        suite={"name": HOSTILE, "train": [{"name": HOSTILE, "sample": {"teacher": [HOSTILE]}}]},
        environment={HOSTILE: HOSTILE},
    )
    report = report_of(made)
    found = {name: shown(name, report) for name in VIEWS} | pieces(report)
    for name, fragment in found.items():
        assert not {"img", "script"} & {tag for tag, _ in fragment.tags}, name
        assert not [
            a for _, attributes in fragment.tags for a in attributes if a.startswith("on") or a == "style"
        ]
        assert (
            "\u202e" not in fragment.text
            and "\x1b" not in fragment.text
            and "49" not in fragment.text.split(HOSTILE[:4])[0]
        )
    assert visible(HOSTILE) in found["b0/pair/0-1"].text and visible(HOSTILE) in found["provenance"].text


@pytest.mark.parametrize("name", list(VIEWS))
def test_every_view_of_two_sources_is_the_same_every_time(name: str) -> None:
    report = report_of(stepped(), replace(three(), name="other"))
    first = environment().get_template(f"{name}.html").render(report=report, **VIEWS[name].context(report))
    again = environment().get_template(f"{name}.html").render(report=report, **VIEWS[name].context(report))
    assert first == again
    for attributes in Fragment(first).all("a"):
        assert re.match(r"#/[a-z]+(\?|$)", str(attributes["href"]))
