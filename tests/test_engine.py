"""What a run makes, what it makes again, and what it leaves alone."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glance_bench.engine.planning import make_plan
from glance_bench.engine.runner import run_suite
from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.evidence import TABLES
from glance_bench.results import build
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from tests.engine_fixtures import TEXTS, fakes, files, make, settings
from tests.fake_family import SIDE, Contrast, FakeFamily, checkpoint

pytestmark = pytest.mark.usefixtures("fakes")
__all__ = ["fakes"]


def counted(what: str) -> int:
    return sum(count for name, count in FakeFamily.calls if name == what)


def test_every_image_has_a_record_a_file_and_a_score(tmp_path: Path) -> None:
    run = make(tmp_path)
    records = run.records()
    assert len(records) == 2 * len(TEXTS)
    assert list(records["prompt_id"].unique()) == [prompt.id for prompt in run.prompts("own")]
    for row in records.itertuples():
        with Image.open(run.folder / row.image) as image:
            assert image.size == (SIDE, SIDE) and image.mode == "RGB" and image.format == "PNG"
    scores = run.scores("contrast")
    assert set(scores["image_sha256"]) == set(records["image_sha256"])
    assert scores["contrast"].notna().all() and scores["words"].str.startswith("a picture").all()
    shas, features = run.features("distance")
    assert set(shas) == set(records["image_sha256"]) and features.shape == (len(shas), 3)
    assert features.dtype == np.float32


def test_same_noise_for_every_sampler_and_evaluations_are_counted(tmp_path: Path) -> None:
    records = make(tmp_path).records()
    seeds = records.pivot(index="prompt_id", columns="sampler", values="seed")
    assert (seeds["teacher-50"] == seeds["uniform-8"]).all() and seeds["teacher-50"].is_unique
    assert records.groupby("sampler")["evaluations"].unique().map(list).to_dict() == {
        "teacher-50": [50],
        "uniform-8": [8],
    }


def test_black_and_broken_images_are_kept_and_flagged(tmp_path: Path) -> None:
    run = make(tmp_path)
    records = run.records().merge(_texts(run), left_on="prompt_id", right_on="id")
    assert set(records.loc[records["black"], "text"]) == {"a picture of black", "a picture of broken"}
    assert set(records.loc[~records["finite"], "text"]) == {"a picture of broken"}


def _texts(run):  # type: ignore[no-untyped-def]
    import pandas as pd

    return pd.DataFrame([{"id": prompt.id, "text": prompt.text} for prompt in run.prompts()])


def test_prompts_are_encoded_once_a_model_however_many_samplers(tmp_path: Path) -> None:
    make(tmp_path, timing={"repeats": 0})
    assert counted("encode") == len(TEXTS)
    make(tmp_path, timing={"repeats": 0}, samplers=["teacher-50", "uniform-8", "uniform-4"])
    assert counted("encode") == len(TEXTS)


def test_second_run_makes_nothing_and_results_stay(tmp_path: Path) -> None:
    run = make(tmp_path)
    before, results = files(run, ".png", ".parquet", ".npz", ".json", ".html"), run.folder / "results.json"
    content = results.read_bytes()
    FakeFamily.calls.clear()
    make(tmp_path)
    assert FakeFamily.calls == []
    assert files(run, ".png", ".parquet", ".npz", ".json", ".html") == before
    assert results.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": ["contrast", "distance", "brightness"]},
        {"samplers": ["teacher-50", "uniform-8", "uniform-4"]},
        {"samplers": ["uniform-8"]},
        {"metrics": ["brightness"]},
        {"prompts": [{"set": "own", "texts": TEXTS}, {"set": "more", "texts": ["another one"]}]},
    ],
    ids=["metric added", "sampler added", "sampler left out", "metric replaced", "prompt set added"],
)
def test_a_changed_suite_regenerates_nothing_that_exists(tmp_path: Path, change: dict) -> None:
    first = files(make(tmp_path), ".png", ".parquet", ".npz", ".safetensors")
    for table in TABLES:  # made with the report
        del first[table]
    FakeFamily.calls.clear()
    run = make(tmp_path, **change)
    second = files(run, ".png", ".parquet", ".npz", ".safetensors")
    assert {name: second.get(name) for name in first} == first
    assert counted("sample") <= len(TEXTS) + len(TEXTS) * 2
    samplers = change.get("samplers", ["teacher-50", "uniform-8"])
    assert sorted(run.records()["sampler"].unique()) == sorted(samplers)


def test_more_prompts_keep_the_slices_that_are_full(tmp_path: Path) -> None:
    few = make(tmp_path, prompts=[{"set": "own", "texts": TEXTS, "limit": 3}])
    before = files(few, ".png")
    many = make(tmp_path)
    after = files(many, ".png")
    assert len(before) == 6 and {name: after[name] for name in before} == before
    assert len(many.records()) == 2 * len(TEXTS)


def test_identical_images_are_scored_once(tmp_path: Path) -> None:
    card = tmp_path / "same.yaml"
    card.write_text("name: same\ntitle: As uniform-8\nschedule: {kind: uniform, steps: 8}\n")
    run = make(tmp_path, samplers=["uniform-8", str(card)])
    assert len(list((run.folder / "scores").glob("*/*.parquet"))) == 3
    assert run.records()["image_sha256"].nunique() == len(TEXTS) - 1  # two are black


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"batch_size": 3}, {"noise": "by-index"}, {"resolution": 32}]
)
def test_what_can_change_a_pixel_changes_every_key(tmp_path: Path, change: dict) -> None:
    plain = make_plan(Suite.model_validate(settings(tmp_path)))
    changed = make_plan(Suite.model_validate(settings(tmp_path, **change)))
    assert not {w.info.key for w in plain.works} & {w.info.key for w in changed.works}


def test_other_weights_change_every_key_and_other_titles_none(tmp_path: Path) -> None:
    plain = make_plan(Suite.model_validate(settings(tmp_path)))
    titled = make_plan(Suite.model_validate(settings(tmp_path, title="another", metrics=["contrast"])))
    assert [w.info for w in plain.works] == [w.info for w in titled.works]
    other = tmp_path / "other"
    other.mkdir()
    checkpoint(other / "checkpoint", b"other weights")
    changed = make_plan(Suite.model_validate(settings(other)))
    assert not {w.info.key for w in plain.works} & {w.info.key for w in changed.works}


def test_by_index_noise_is_the_position_in_the_set(tmp_path: Path) -> None:
    plan = make_plan(
        Suite.model_validate(
            settings(tmp_path, noise="by-index", images_per_prompt=2, samplers=["uniform-8"])
        )
    )
    seeds = [item.seed for work in plan.works for item in work.items]
    assert seeds[::2] == list(range(len(TEXTS))) and len(set(seeds)) == 2 * len(TEXTS)


def test_images_per_prompt_differ_and_hashed_noise_depends_on_the_id_alone(tmp_path: Path) -> None:
    run = make(tmp_path, images_per_prompt=2, samplers=["uniform-8"])
    records = run.records()
    assert len(records) == 2 * len(TEXTS) and records["seed"].is_unique
    turned = make_plan(
        Suite.model_validate(
            settings(tmp_path, prompts=[{"set": "own", "texts": TEXTS[::-1]}], samplers=["uniform-8"])
        )
    )
    by_id = {item.prompt.id: item.seed for work in turned.works for item in work.items}
    assert by_id == dict(records[records["index"] == 0][["prompt_id", "seed"]].to_numpy().tolist())


def test_out_of_memory_halves_the_batch_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLANCE_BENCH_FAKE_MEMORY", "1")
    run = make(tmp_path)
    assert set(run.records()["batch_size"]) == {1}
    assert "out of memory, going on with 1" in capsys.readouterr().err
    monkeypatch.setenv("GLANCE_BENCH_FAKE_MEMORY", "0")
    with pytest.raises(GlanceBenchError, match="out of memory even for one image"):
        make(tmp_path, seed=5)
    assert verify(run) == []


def test_a_metric_without_room_is_named_with_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(self: Contrast, images: object, prompts: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Contrast, "score", score)
    with pytest.raises(GlanceBenchError, match=r"^metric contrast: out of memory \(contrast: standard dev"):
        make(tmp_path)


def test_the_timing_pass_compares_a_new_sampler_with_the_teacher_of_its_session(tmp_path: Path) -> None:
    make(tmp_path, timing={"repeats": 2, "warmup": 1, "prompts": 2})
    run = make(
        tmp_path,
        timing={"repeats": 2, "warmup": 1, "prompts": 2},
        samplers=["teacher-50", "uniform-8", "uniform-4"],
    )
    timing = run.timing()
    assert set(timing["component"]) == {"encode", "denoise", "decode", "total"}
    totals = timing[timing["component"] == "total"]
    late = totals[totals["sampler"] == "uniform-4"]
    assert len(late) == 4 and late["session"].nunique() == 1
    teacher = totals[(totals["sampler"] == "teacher-50") & totals["session"].isin(late["session"])]
    assert len(teacher) == 4
    assert (timing["seconds"] > 0).all() and timing["hardware"].nunique() == 1
    assert timing["peak_gib"].isna().all(), (
        "a CPU's memory is not told apart from what the passes before held"
    )


def timed_again(folder: Path, **changes: object) -> dict:
    suite = Suite.model_validate(settings(folder, **changes))
    return run_suite(suite, folder / "run", Progress(quiet=True), time_again=True)


def test_timed_again_is_a_session_more_and_results_use_all_of_them(tmp_path: Path) -> None:
    changes = {"timing": {"repeats": 2, "warmup": 0, "prompts": 2}, "samplers": ["teacher-50", "uniform-8"]}
    run = make(tmp_path, **changes)
    once = json.loads((run.folder / "results.json").read_bytes())
    images = files(run, ".png")
    first = sorted((run.folder / "timing").rglob("*.parquet"))
    content = [path.read_bytes() for path in first]
    FakeFamily.calls.clear()
    results = timed_again(tmp_path, **changes)
    assert counted("sample") == 2 * 2 * 2 and files(run, ".png") == images
    assert [path.read_bytes() for path in first] == content
    assert len(list((run.folder / "timing").rglob("*.parquet"))) == 4

    timing = run.timing()
    totals = timing[timing["component"] == "total"]
    per_session = totals.groupby(["session", "sampler"]).size()
    assert per_session.index.get_level_values("session").nunique() == 2 and set(per_session) == {2 * 2}
    assert results == json.loads((run.folder / "results.json").read_bytes())
    assert results["digest"] == once["digest"]
    assert [row["n"] for row in once["timing"]] == [4, 4] and [row["n"] for row in results["timing"]] == [
        8,
        8,
    ]
    seconds = {name: own for name, own in totals.groupby("sampler")}
    blocks = ["session", "prompt_id", "repeat"]
    teacher, fast = (
        seconds[name].sort_values(blocks)["seconds"].to_numpy() for name in ("teacher-50", "uniform-8")
    )
    row = next(row for row in results["timing"] if row["sampler"] == "uniform-8")
    assert row["components"]["total"]["median"] == pytest.approx(np.median(fast))
    assert row["speedup"] == pytest.approx(np.median(teacher / fast))

    stored = (run.folder / "results.json").read_bytes()
    FakeFamily.calls.clear()
    make(tmp_path, **changes)  # a session more is never owed
    assert FakeFamily.calls == [] and (run.folder / "results.json").read_bytes() == stored
    assert [row["n"] for row in timed_again(tmp_path, **changes)["timing"]] == [12, 12]


def test_a_damaged_session_is_left_out_and_only_the_last_one_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path)
    timed_again(tmp_path)
    (entry,) = (e for e in run.manifest["timing"] if e["sampler"] == "uniform-8")
    parts = run.timing_files(entry)
    assert list(parts) == [1, 2]
    parts[1].write_bytes(parts[1].read_bytes()[:-1])
    FakeFamily.calls.clear()
    make(tmp_path)
    assert FakeFamily.calls == [] and list(run.timing_files(entry)) == [2]
    assert f"{parts[1].name}: is truncated or altered" in capsys.readouterr().err
    counts = {row["sampler"]: row["n"] for row in build(run)["timing"]}
    assert counts == {"teacher-50": 2, "uniform-8": 1}
    parts[2].unlink()
    make(tmp_path)
    assert list(run.timing_files(entry)) == [1] and counted("sample") > 0


def test_what_is_never_timed_cannot_be_timed_again(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="suite 'fake' times nothing"):
        timed_again(tmp_path, timing={"repeats": 0})
    assert not (tmp_path / "run").exists()


def test_results_do_not_depend_on_when_or_where_they_were_made(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = make(tmp_path / "a"), make(tmp_path / "b", batch_size=2)
    assert build(first)["digest"] == build(second)["digest"]
    assert (first.records() == second.records()).all().all()


def test_two_cards_of_one_name_are_refused(tmp_path: Path) -> None:
    card = tmp_path / "mine.yaml"
    card.write_text("name: uniform-8\nschedule: {kind: uniform, steps: 4}\n")
    with pytest.raises(UsageError, match="two samplers are called 'uniform-8'"):
        make_plan(Suite.model_validate(settings(tmp_path, samplers=["uniform-8", str(card)])))


def test_png_is_exactly_what_the_model_gave(tmp_path: Path) -> None:
    run = make(tmp_path, samplers=["uniform-8"])
    row = run.records().iloc[0]
    model = FakeFamily()
    from glance_bench.models.recorder import Recorder

    work = make_plan(Suite.model_validate(settings(tmp_path, samplers=["uniform-8"]))).works[0]
    made = model.sample(
        work.sampler.trajectory,
        model.encode([TEXTS[0]]),
        model.noise([int(row["seed"])], resolution=(SIDE, SIDE)),
        Recorder(),
        resolution=(SIDE, SIDE),
    )
    stored = Image.open(io.BytesIO((run.folder / row["image"]).read_bytes()))
    assert (np.asarray(stored) == made[0]).all()
