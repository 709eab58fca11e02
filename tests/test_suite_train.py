"""Adapters that a suite has trained: what is trained, what is kept, and what a mistake is answered with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from PIL import Image

from glance_bench.engine.outlook import lines, outlook
from glance_bench.engine.planning import make_plan
from glance_bench.engine.runner import run_suite
from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.profiles import Target
from glance_bench.store import Run
from glance_bench.suite import Suite, load_suite
from glance_bench.terminal import Progress
from glance_bench.training.samples import noise_pair
from tests.engine_fixtures import ROOT, files

CHANGES = {"steps": 2, "base_weights": "float32", "precision": "float32", "optimizer": "adamw"}
PAIR = {"name": "pair", "changes": CHANGES, "sample": {"noise": True}}
PLAYED = {"like": "glance-10", "adapters": "pair"}


def settings(checkpoint: Path, family: str = "flux", **changes: Any) -> dict[str, Any]:
    """A suite over one tiny checkpoint, one prompt, one pair of adapters, as plain data."""
    return {
        "name": "mine",
        "models": [{"name": "tiny", "family": family, "path": str(checkpoint)}],
        "prompts": [{"set": "own", "texts": ["a red circle"]}],
        "train": [PAIR],
        "samplers": ["uniform-4", PLAYED],
        "timing": {"repeats": 0},
        **changes,
    }


def made(folder: Path, data: dict[str, Any]) -> Run:
    """Run the suite in this process, its run and its cache in ``folder``."""
    os.environ["GLANCE_BENCH_CACHE"] = str(folder / "cache")
    run_suite(Suite.model_validate(data), folder / "run", Progress())
    return Run(folder / "run")


def written(folder: Path, data: dict[str, Any]) -> Path:
    """The suite as a file; JSON is YAML."""
    path = folder / "mine.yaml"
    path.write_text(json.dumps(data, indent=1))
    return path


def trained(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of every adapter in the cache."""
    return files(Run(folder / "cache" / "adapters"), ".safetensors")


def images(run: Run) -> dict[str, str]:
    """The digest of each sampler's only image."""
    return dict(run.records()[["sampler", "image_sha256"]].to_numpy().tolist())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def first(tiny_flux_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of one pair on an image with two seeds and one adapter for all steps; its folder and its suite."""
    folder = tmp_path_factory.mktemp("first")
    Image.fromarray(noise_pair((48, 80)).image).save(folder / "noise.png")
    image = {"image": str(folder / "noise.png"), "caption": "a red circle"}
    one = {"name": "one", "changes": {**CHANGES, "experts": "single"}, "sample": {"noise": True}}
    data = settings(
        tiny_flux_dir,
        train=[{**PAIR, "sample": image, "seeds": [0, 1]}, one],
        samplers=["uniform-4", PLAYED, {"like": "uniform-8", "adapters": "one", "name": "mine-8"}],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLANCE_BENCH_CACHE", str(folder / "cache"))
        made(folder, data)
    return folder, data


@pytest.fixture
def copied(first: tuple[Path, dict[str, Any]], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of that run and its cache, to be changed."""
    folder, data = first
    for part in ("run", "cache"):
        shutil.copytree(folder / part, tmp_path / part)
    return tmp_path, json.loads(json.dumps(data))


# -- what is trained and kept --------------------------------------------------------------------------------


def test_every_seed_is_a_sampler_with_its_own_images(first: tuple[Path, dict[str, Any]]) -> None:
    run = Run(first[0] / "run")
    shas = images(run)
    assert list(shas) == ["uniform-4", "glance-10+pair.s0", "glance-10+pair.s1", "mine-8"]
    assert len(set(shas.values())) == 4 and verify(run) == []
    steps = {sampler.name: sampler for sampler in _plan(first).samplers}["mine-8"].trajectory.steps
    assert len({step.adapter for step in steps}) == 1 and Path(str(steps[0].adapter)).stem == "single"
    entries = run.manifest["adapters"]
    assert [(entry["model"], entry["adapters"]) for entry in entries] == [
        ("tiny", "pair.s0"), ("tiny", "pair.s1"), ("tiny", "one"),
    ]  # fmt: skip
    for entry in entries:
        record = json.loads(Path(entry["record"]).read_text())
        assert Path(entry["record"]).parent.name == entry["key"][:16]
        assert all(len(expert["losses"]) == 2 for expert in record["experts"].values())


def _plan(first: tuple[Path, dict[str, Any]]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLANCE_BENCH_CACHE", str(first[0] / "cache"))
        return make_plan(Suite.model_validate(first[1]))


def test_a_finished_run_trains_nothing_and_imports_no_torch(copied: tuple[Path, dict[str, Any]]) -> None:
    folder, data = copied
    run = made(folder, data)  # the report names the cache, which has moved
    before = trained(folder), files(run, ".png", ".parquet", ".json", ".html")
    code = (
        "import sys\n"
        "from glance_bench.cli import app\n"
        "try:\n    app(sys.argv[1:])\n"
        "finally:\n    print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])\n"
    )
    arguments = ["run", str(written(folder, data)), "-o", str(folder / "run")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "train" not in done.stderr
    assert (trained(folder), files(run, ".png", ".parquet", ".json", ".html")) == before


def test_changed_settings_train_anew_and_only_their_samplers(copied: tuple[Path, dict[str, Any]]) -> None:
    folder, data = copied
    run = Run(folder / "run")
    shas, adapters, pictures = images(run), trained(folder), files(run, ".png")
    data["train"][1]["changes"]["learning_rate"] = 0.01
    again = made(folder, data)
    assert len(trained(folder)) == len(adapters) + 1 and adapters.items() <= trained(folder).items()
    assert len(files(again, ".png")) == len(pictures) + 1
    assert pictures.items() <= files(again, ".png").items()
    assert {name for name, sha in images(again).items() if shas[name] != sha} == {"mine-8"}


def test_a_damaged_adapter_is_trained_again_and_no_image_made_again(
    copied: tuple[Path, dict[str, Any]],
) -> None:
    folder, data = copied
    run = Run(folder / "run")
    pictures, contents = files(run, ".png"), {f: (folder / "cache/adapters" / f) for f in trained(folder)}
    before = {name: path.read_bytes() for name, path in contents.items()}
    next(iter(contents.values())).write_bytes(b"damaged")
    made(folder, data)
    assert {name: path.read_bytes() for name, path in contents.items()} == before
    assert files(run, ".png") == pictures


@pytest.mark.parametrize("family", ["flux", "qwen_image"])
def test_what_the_teacher_draws_is_drawn_once(
    family: str, tiny_flux_dir: Path, tiny_qwen_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tiny_flux_dir if family == "flux" else tiny_qwen_dir
    entry = {**PAIR, "sample": {"teacher": ["a red circle", "a blue square"]}}
    data = settings(checkpoint, family, train=[entry])
    run = made(tmp_path, data)
    drawn = sorted((tmp_path / "cache" / "teacher").iterdir())
    assert len(drawn) == 2 and "draw samples" in capsys.readouterr().err
    record = json.loads(Path(run.manifest["adapters"][0]["record"]).read_text())
    assert record["experts"]["slow"]["sources"] == [
        {"source": "teacher-50 of tiny, seed 0", "caption": "a red circle"},
        {"source": "teacher-50 of tiny, seed 1", "caption": "a blue square"},
    ]
    made(tmp_path, settings(checkpoint, family, train=[{**entry, "seeds": [5]}]))
    assert len(trained(tmp_path)) == 4 and "draw samples" not in capsys.readouterr().err


def test_only_what_a_sampler_plays_is_trained(tiny_flux_dir: Path, tmp_path: Path) -> None:
    data = settings(tiny_flux_dir, train=[{**PAIR, "seeds": [3, 4]}])
    suite = load_suite(str(written(tmp_path, data)))
    assert make_plan(suite.with_overrides(samplers=["uniform-4"])).jobs == ()
    both = make_plan(suite.with_overrides(samplers=["glance-10+pair"]))
    assert [sampler.name for sampler in both.samplers] == ["glance-10+pair.s3", "glance-10+pair.s4"]
    assert [job.label for job in both.jobs] == ["pair.s3", "pair.s4"]


def test_plain_cards_can_name_what_a_suite_trains(tiny_flux_dir: Path, tmp_path: Path) -> None:
    card = tmp_path / "mixed.yaml"
    card.write_text(
        "name: mixed\nschedule: {kind: uniform, steps: 4}\nexperts:\n"
        "  - {name: early, adapter: pair/slow, until: {step: 1}}\n"
        "  - {name: middle, until: {step: 3}}\n"
        "  - {name: late, adapter: pair.s4/fast}\n"
    )
    entries = [{**PAIR, "seeds": [3, 4]}, {**PAIR, "name": "glance-10"}]
    suite = settings(
        tiny_flux_dir, train=entries, samplers=["mixed.yaml", "glance-10", {**PLAYED, "like": "mixed.yaml"}]
    )
    plan = make_plan(load_suite(str(written(tmp_path, suite))))
    files_of = {job.label: job.adapters for job in plan.jobs}
    first, second, own = files_of["pair.s3"], files_of["pair.s4"], files_of["glance-10"]
    steps = {s.name: [step.adapter for step in s.trajectory.steps] for s in plan.samplers}
    assert steps["mixed"] == [str(first["pair/slow"]), None, None, str(second["pair.s4/fast"])]
    assert steps["glance-10"] == [str(own["glance-10/slow"])] * 5 + [str(own["glance-10/fast"])] * 5
    assert steps["mixed+pair.s4"] == [str(second["pair.s4/slow"]), None, None, str(second["pair.s4/fast"])]


def test_plan_says_what_is_to_be_trained_and_writes_nothing(
    copied: tuple[Path, dict[str, Any]],
) -> None:
    folder, data = copied
    before = trained(folder), files(Run(folder / "run"), ".png", ".json")
    done = outlook(Run(folder / "run"), Suite.model_validate(data), Target(None, here=True))
    assert done["images"] == {"all": 4, "done": 4} and all(row["done"] for row in done["adapters"])
    assert not any(line.startswith("to train") for line in lines(done))
    data["train"][1]["changes"]["steps"] = 3
    document = outlook(Run(folder / "run"), Suite.model_validate(data), Target(None, here=True))
    assert document["images"] == {"all": 4, "done": 3}
    assert "to train    one for tiny, 3 steps an expert" in lines(document)
    assert (trained(folder), files(Run(folder / "run"), ".png", ".json")) == before


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [1]},
        {"changes": {**CHANGES, "rank": 4}},
        {"sample": {"teacher": ["a red circle"]}},
        {"sample": {"teacher": ["another"]}},
        {"sample": {"folder": "pictures"}},
    ],
)
def test_what_changes_the_adapters_changes_their_key(
    tiny_flux_dir: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(noise_pair((64, 64)).image).save(tmp_path / "pictures" / "one.png")
    (tmp_path / "pictures" / "one.txt").write_text("a red circle\n")

    def key(**entry: Any) -> str:
        data = settings(tiny_flux_dir, train=[{**PAIR, **entry}])
        (job,) = make_plan(load_suite(str(written(tmp_path, data)))).jobs
        return job.key

    plain, changed = key(), key(**change)
    assert changed != plain and key(**change) == changed
    if "folder" in change.get("sample", {}):
        (tmp_path / "pictures" / "one.txt").write_text("a blue circle\n")
        assert key(**change) != changed


# -- killed, twice at once -----------------------------------------------------------------------------------


def test_a_training_that_was_killed_goes_on_to_the_same_adapters(tiny_flux_dir: Path, tmp_path: Path) -> None:
    data = settings(tiny_flux_dir, train=[{**PAIR, "changes": {**CHANGES, "steps": 40}}])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    made(whole, data)
    process = subprocess.Popen(
        [sys.executable, "-m", "glance_bench", "run", str(written(killed, data)), "-o", str(killed / "run")],
        cwd=ROOT,
        env={
            **os.environ,
            "GLANCE_BENCH_CACHE": str(killed / "cache"),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        },
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not list(killed.glob("cache/adapters/*/.fast.state")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [Path(name).name for name in trained(killed)] == ["slow.safetensors"]
    made(killed, data)
    assert len(trained(whole)) == 2 and list(trained(whole)) == list(trained(killed))
    for name in trained(whole):
        place = Path("cache/adapters") / name
        assert (whole / place).read_bytes() == (killed / place).read_bytes()
    assert images(Run(whole / "run")) == images(Run(killed / "run"))


def test_a_second_run_waits_for_the_first_and_takes_its_adapters(
    tiny_flux_dir: Path,
    first: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = {**first[1], "samplers": [PLAYED | {"like": "uniform-8", "adapters": "one"}]}
    (job,) = make_plan(Suite.model_validate(data)).jobs
    job.folder.parent.mkdir(parents=True)
    said = ""
    with FileLock(f"{job.folder}.lock"):
        second = threading.Thread(target=made, args=(tmp_path, data))
        second.start()
        while "another process is at it; waiting" not in said and second.is_alive():
            said += capsys.readouterr().err
            time.sleep(0.01)
        assert not job.folder.exists()
        shutil.copytree(first[0] / "cache" / "adapters" / job.folder.name, job.folder)
        before = trained(tmp_path)
    second.join()
    assert trained(tmp_path) == before and "expert single" not in capsys.readouterr().err
    assert len(images(Run(tmp_path / "run"))) == 1


# -- mistakes ------------------------------------------------------------------------------------------------

GOOD = """\
name: mine
models: [testbed-flux]
prompts: [{set: own, texts: [a red circle]}]
train:
  - name: pair
    recipe: {flux: glance-flux}
    changes: {steps: 2}
    sample: {noise: true}
    seeds: [0, 1]
  - name: other
    sample: {teacher: [a cat]}
samplers:
  - uniform-8
  - like: glance-10
    adapters: pair
"""


def test_the_example_in_the_document_is_a_suite(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "glance.md").read_text().split("## Adapters in a suite")[1]
    path = tmp_path / "example.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    suite = load_suite(str(path))
    assert [entry.name for entry in suite.train] == ["fox", "even"]
    assert suite.train[0].sample.image == str(tmp_path / "fox.png")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("adapters: pair", "adapters: piar", ":15: no train entry 'piar'; did you mean 'pair'?"),
        ("adapters: pair", "adapter: pair", ":15: unknown key 'samplers.1.adapter'; did you mean 'adapters'?"),
        ("adapters: pair", "adapters: pair\n    nmae: x", "'samplers.1.nmae'; did you mean 'name'"),
        ("adapters: pair", "adapters: pair\n    name: a b", ":16: samplers.1.name: "),
        ("like: glance-10", "like: glance-11", ":14: unknown sampler 'glance-11'"),
        ("name: other", "name: pair", ":10: train entry 'pair' is listed twice"),
        ("name: other", "name: pair.s1", "train entry 'pair.s1' have the same name"),
        ("name: other", "name: my adapters", ":10: train.1.name: "),
        ("flux: glance", "fulx: glance", ":6: unknown model family 'fulx'; did you mean 'flux'"),
        ("{steps: 2}", "{seed: 2}", ":7: train.0.changes: the seeds of the training are 'seeds'"),
        ("{noise: true}", "{noise: true, image: x.png}", ":8: train.0.sample: expected exactly one of image"),
        ("{noise: true}", "{}", ":8: train.0.sample: expected exactly one of image"),
        ("{noise: true}", "{noise: false}", ":8: train.0.sample.noise: "),
        ("{noise: true}", "{noise: true, caption: x}", ":8: train.0.sample: 'caption' goes with 'image'"),
        ("[a cat]", "[]", ":11: train.1.sample.teacher: "),
        ("[0, 1]", "[1, 1]", ":9: train.0.seeds: a seed is listed twice"),
        ("[0, 1]", "[]", ":9: train.0.seeds: "),
        ("    seeds", "    sede", ":9: unknown key 'train.0.sede'; did you mean 'seeds'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    load_suite(str(path))
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_suite(str(path))
    assert expected in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"changes": {"stpes": 2}}, "recipe 'glance-flux' has no setting 'stpes'; did you mean 'steps'"),
        ({"changes": {"rank": 0}}, "recipe 'glance-flux': rank: "),
        ({"changes": {"precision": "float32"}}, "precision float32 goes with base_weights float32"),
        ({"recipe": "glance-flx"}, "unknown recipe 'glance-flx'; did you mean 'glance-flux'"),
        ({"recipe": "own.yaml"}, "no recipe at "),
        ({"recipe": "glance-qwen"}, "recipe 'glance-qwen' is for qwen_image, not for flux"),
        ({"recipe": {"qwen_image": "glance-qwen"}}, "no recipe for flux, the family of tiny"),
        ({"sample": {"image": "fox.png", "caption": "a fox"}}, "fox.png: no such image or folder"),
        ({"sample": {"folder": "."}}, "no images"),
        ({"sample": {"folder": "mine.yaml"}}, "expected a folder"),
        ({"sample": {"image": "."}}, "expected an image"),
    ],
)
def test_an_entry_that_cannot_be_trained_is_named(
    tiny_flux_dir: Path, tmp_path: Path, entry: dict[str, Any], expected: str
) -> None:
    suite = load_suite(str(written(tmp_path, settings(tiny_flux_dir, train=[{**PAIR, **entry}]))))
    with pytest.raises(UsageError, match="train entry 'pair': ") as caught:
        make_plan(suite)
    assert expected in str(caught.value)


def test_a_sampler_that_cannot_play_what_is_trained_is_named(tiny_flux_dir: Path, tmp_path: Path) -> None:
    card = tmp_path / "late.yaml"
    card.write_text(
        "name: late\nschedule: {kind: uniform, steps: 4}\nexperts: [{name: x, adapter: pair/lste}]\n"
    )
    cases: list[tuple[list[Any], str]] = [
        ([PLAYED | {"like": "uniform-8"}], "card 'uniform-8' names no adapter that 'pair' could replace"),
        (["late.yaml"], "its expert 'x' wants 'pair/lste', but the recipe trains slow and fast"),
        ([PLAYED, PLAYED | {"name": "glance-10+pair"}], "two samplers are called 'glance-10+pair'"),
    ]
    for samplers, expected in cases:
        data = settings(tiny_flux_dir, samplers=["uniform-4", *samplers])
        with pytest.raises(UsageError) as caught:
            make_plan(load_suite(str(written(tmp_path, data))))
        assert expected in str(caught.value)
    unchecked = Suite.model_validate(settings(tiny_flux_dir, samplers=[PLAYED | {"adapters": "none"}]))
    with pytest.raises(UsageError, match="no train entry 'none'"):
        make_plan(unchecked)


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_a_bad_image_is_one_line_and_what_was_made_stays(
    copied: tuple[Path, dict[str, Any]], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = copied
    before = trained(folder), files(Run(folder / "run"), ".png", ".json")
    image = folder / "other.png"
    if damage == "broken":
        image.write_bytes(b"no image")
    data["train"][0]["sample"]["image"] = str(image)
    with pytest.raises(GlanceBenchError) as caught:
        made(folder, data)
    assert caught.value.exit_code == (2 if damage == "missing" else 3)
    assert "other.png" in str(caught.value) and "\n" not in str(caught.value)
    assert (trained(folder), files(Run(folder / "run"), ".png", ".json")) == before
