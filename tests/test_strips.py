"""Trajectory strips: the right pictures on the packaged models, and files that survive what happens to a run."""

import io
import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from glance_bench.bundle import write_bundle
from glance_bench.engine.planning import make_plan
from glance_bench.engine.runner import run_suite
from glance_bench.engine.strips import planned_strips
from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.models.recorder import Recorder
from glance_bench.models.scheduler import TrajectoryScheduler
from glance_bench.registry import FAMILIES, MODELS
from glance_bench.sealed import digest_of, json_bytes, seal
from glance_bench.store import Run
from glance_bench.strips import STRIP_COLUMNS
from glance_bench.suite import Strips, Suite
from glance_bench.terminal import Progress
from glance_bench.trajectory import Step, Trajectory
from tests.engine_fixtures import TEXTS, command, environment, fakes, files, make, settings, suite_file
from tests.fake_family import FakeFamily

__all__ = ["fakes"]  # a fixture

STRIPS = {"prompts": 2, "steps": 4}
KEPT = [0, 2, 5, 7]  # of 8 steps: 7 gaps in 3 equal parts end at 2.33, 4.67, 7


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


# -- which steps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "length", "kept"),
    [
        (4, 8, KEPT),
        (5, 50, [0, 12, 25, 37, 49]),
        (2, 50, [0, 49]),
        (3, 2, [0, 1]),
        (6, 1, [0]),
        (4, 4, [0, 1, 2, 3]),
        ([0, 3, 20], 8, [0, 3]),
        ([20], 8, []),
    ],
)
def test_steps_are_spread_evenly_with_both_ends_or_taken_from_the_list(
    steps: Any, length: int, kept: list[int]
) -> None:
    assert list(Strips(prompts=1, steps=steps).of(length)) == kept


def test_no_step_is_kept_twice() -> None:
    for steps in range(2, 60):
        for length in range(1, 60):
            kept = Strips(steps=steps).of(length)
            assert len(set(kept)) == len(kept) == min(steps, length) and sorted(kept) == list(kept)
            assert kept[0] == 0 and kept[-1] == length - 1


# -- the packaged models -------------------------------------------------------------------------------------

SUITE = {
    "name": "strips",
    "models": ["testbed-flux", "testbed-qwen"],
    "prompts": [{"set": "testbed", "limit": 3}],
    "samplers": ["native-8", "glance-8"],
    "batch_size": 1,
    "slice_size": 2,
    "metrics": ["truth"],
    "timing": {"repeats": 0},
}


class Before:
    """What lay in the run folder before its suite had the block."""

    def __init__(self, run: Run, results: dict[str, Any]) -> None:
        self.units = files(run, ".png", ".parquet", ".json", ".safetensors")
        self.keys = [unit.key for unit in run.units()]
        self.images = run.records()["image_sha256"].tolist()
        self.digest = results["digest"]
        self.inputs = json.loads((run.folder / "report" / "made-from.json").read_bytes())["inputs"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Before, dict[str, Any]]:
    """A finished run whose suite then gets the block: the run, what was there before, the later results."""
    folder = tmp_path_factory.mktemp("strips") / "run"
    first = run_suite(Suite.model_validate(SUITE), folder, Progress(quiet=True))
    before = Before(Run(folder), first)
    assert Run(folder).strips().empty and list(Run(folder).strips().columns) == list(STRIP_COLUMNS)
    assert not (folder / "strips").exists()
    after = run_suite(Suite.model_validate({**SUITE, "strips": STRIPS}), folder, Progress(quiet=True))
    return Run(folder), before, after


def strips_of(run: Run) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Every strip, by model, sampler and prompt."""
    return list(run.strips().groupby(["model", "sampler", "prompt_id"], sort=False))


def test_the_frame_has_the_first_prompts_of_every_sampler(made: tuple[Run, Before, Any]) -> None:
    run = made[0]
    frame = run.strips()
    first = [prompt.id for prompt in run.prompts()[:2]]
    assert set(STRIP_COLUMNS) == set(frame.columns) and len(frame) == 2 * 2 * 2 * 4
    for _, strip in strips_of(run):
        assert strip["step"].tolist() == KEPT
        assert (np.diff(strip["sigma"]) < 0).all() and strip["sigma"].iloc[0] == 1
    assert frame["prompt_id"].unique().tolist() == first and set(frame["index"]) == {0}
    assert set(frame["prompt_set"]) == {"testbed"} and frame["file"].is_unique
    adapters = frame.groupby(["sampler", "step"])["adapter"].unique().map(list).to_dict()
    slow, fast = ["glance-8/slow"], ["glance-10/fast"]  # three slow steps: 0, 1, 2
    assert [adapters["glance-8", step] for step in KEPT] == [slow, slow, fast, fast]
    assert [adapters["native-8", step] for step in KEPT] == [[""]] * 4


def test_the_last_estimate_is_the_image(made: tuple[Run, Before, Any]) -> None:
    """At sigma_next = 0 the estimate is where the step ends; a batch of one was made in the first place."""
    run = made[0]
    stored = run.records().set_index(["model", "sampler", "prompt_id"])["image"]
    for key, strip in strips_of(run):
        pictures = [pixels(run.folder / file) for file in strip["file"]]
        image = pixels(run.folder / stored[key])
        assert (pictures[-1] == image).all() and set(strip["difference"]) == {0}
        away = [np.abs(picture - image).mean() for picture in pictures]
        assert min(away[:2]) > away[2] > away[3] == 0, (key, away)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # two adapters are meant
@pytest.mark.parametrize("name", ["testbed-flux", "testbed-qwen"])
@pytest.mark.parametrize("sampler", ["native-8", "glance-8"])
def test_an_estimate_at_a_middle_step_is_x_minus_sigma_v(
    made: tuple[Run, Before, Any], name: str, sampler: str
) -> None:
    """Walked here by hand: Euler steps, the transformer called directly, guidance and decoding written out."""
    run = made[0]
    suite = Suite.model_validate({**SUITE, "strips": STRIPS})
    work = next(
        work for work in make_plan(suite).works if (work.info.model, work.info.sampler) == (name, sampler)
    )
    item, steps = work.items[0], work.sampler.trajectory.steps
    model = FAMILIES.get(work.sampler.model.family).load(work.sampler.model.path)
    x = model.noise([item.seed])
    asked = model.encode([item.prompt.text, " "])
    rows, columns = (side // 8 for side in model.default_resolution)  # the VAE's 4 times the packing's 2
    assert rows * columns == x.shape[1]
    loaded: dict[str, str] = {}

    def velocity(step: Step, prompt: int) -> torch.Tensor:
        inputs = model.inputs([asked[prompt]], step.guidance)
        return model.velocity(model.pipe.transformer, x, torch.tensor([step.t_cond]), inputs, (rows, columns))

    with torch.no_grad():
        for step in steps[:6]:
            if step.adapter:
                if step.adapter not in loaded:
                    loaded[step.adapter] = f"expert{len(loaded)}"
                    file = Path(step.adapter)
                    model.pipe.load_lora_weights(
                        str(file.parent), weight_name=file.name, adapter_name=loaded[step.adapter]
                    )
                model.pipe.set_adapters([loaded[step.adapter]], [step.adapter_scale])
            v = velocity(step, 0)
            if step.passes == 2:
                away = velocity(step, 1)
                guided = away + step.guidance * (v - away)
                v = guided * (v.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
            estimate = x - step.sigma * v
            x = x + (step.sigma_next - step.sigma) * v
        vae = model.pipe.vae
        spread = estimate.reshape(rows, columns, 16, 2, 2).permute(2, 0, 3, 1, 4).reshape(1, 16, 2 * rows, -1)
        if name == "testbed-flux":
            picture = vae.decode(spread / vae.config.scaling_factor + vae.config.shift_factor).sample[0]
        else:
            mean, std = (
                torch.tensor(values).reshape(1, 16, 1, 1)
                for values in (vae.config.latents_mean, vae.config.latents_std)
            )
            picture = vae.decode((spread * std + mean).unsqueeze(2)).sample[0, :, 0]
    expected = ((picture / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    frame = run.strips()
    mine = frame[(frame["model"] == name) & (frame["sampler"] == sampler) & (frame["step"] == 5)].iloc[0]
    assert mine["prompt_id"] == item.prompt.id and mine["sigma"] == steps[5].sigma
    assert np.abs(pixels(run.folder / mine["file"]) - expected).max() <= 1
    assert expected.std() > 5


@pytest.mark.parametrize("name", ["testbed-flux", "testbed-qwen"])
def test_estimates_where_guidance_changes_and_noise_starts_again(name: str) -> None:
    """Two pipeline calls, and a level that does not follow from the step before it."""
    path = MODELS.get(name).path
    model = FAMILIES.get("flux" if name == "testbed-flux" else "qwen_image").load(path)

    class Watch(Recorder):
        estimated = frozenset(range(4))

        def __init__(self) -> None:
            super().__init__()
            self.path: list[torch.Tensor] = []
            self.estimates: dict[int, torch.Tensor] = {}

        def on_step(self, index: int, latents: torch.Tensor) -> None:
            self.path.append(latents.clone())

        def on_estimate(self, index: int, latents: torch.Tensor) -> None:
            self.estimates[index] = latents

    levels = [(1.0, 0.9, 2.0), (0.9, 0.5, 2.0), (1.0, 0.6, 1.0), (0.6, 0.25, 1.0)]
    trajectory = Trajectory(tuple(Step(s, after, s, guidance=g) for s, after, g in levels))
    noise, watch = model.noise([3]), Watch()
    model.sample(trajectory, model.encode(["a red circle"]), noise, watch)
    assert sorted(watch.estimates) == [0, 1, 2, 3]
    for number, (start, end, step) in enumerate(
        zip([noise, *watch.path], watch.path, trajectory.steps, strict=False)
    ):
        v = (end - start) / (step.sigma_next - step.sigma)
        assert torch.allclose(watch.estimates[number], start - step.sigma * v, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_estimate_of_a_step_to_0_is_its_end_to_the_last_bit(dtype: torch.dtype) -> None:
    scheduler = TrajectoryScheduler([1.0, 0.7], [0.7, 0.0], [1.0, 0.7])
    generator = torch.Generator().manual_seed(0)
    x, v, w = (torch.randn(2, 5, 64, generator=generator).to(dtype) for _ in range(3))
    middle = scheduler.step(v, None, x, return_dict=False)[0]
    assert torch.allclose(scheduler.estimate().float(), x.float() - v.float(), atol=0.05)
    end = scheduler.step(w, None, middle, return_dict=False)[0]
    assert end.dtype == dtype and torch.equal(scheduler.estimate(), end)


def test_nothing_else_of_the_run_changes(made: tuple[Run, Before, Any]) -> None:
    run, before, after = made
    assert [unit.key for unit in run.units()] == before.keys
    assert run.records()["image_sha256"].tolist() == before.images and after["digest"] == before.digest
    now = files(run, ".png", ".parquet", ".json", ".safetensors")
    kept = [name for name in before.units if name.split("/")[0] in ("units", "scores", "embeddings")]
    assert len(kept) > 20 and {name: now[name] for name in kept} == {n: before.units[n] for n in kept}
    assert json.loads((run.folder / "report" / "made-from.json").read_bytes())["inputs"] != before.inputs
    assert verify(run) == []


def test_a_finished_run_makes_nothing_again(
    made: tuple[Run, Before, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made[0]
    before = files(run, ".png", ".json", ".html")
    monkeypatch.delitem(FAMILIES._targets, "flux")  # no model can be loaded
    monkeypatch.setitem(FAMILIES._targets, "flux", "glance_bench.nowhere:Nothing")
    run_suite(Suite.model_validate({**SUITE, "strips": STRIPS}), run.folder, Progress(quiet=True))
    assert files(run, ".png", ".json", ".html") == before


def test_the_strip_of_another_image_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fakes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite.model_validate(settings(tmp_path))
    run_suite(suite, tmp_path / "run", Progress(quiet=True))
    genuine = FakeFamily.noise
    monkeypatch.setattr(
        FakeFamily,
        "noise",
        lambda self, seeds, *, resolution: genuine(self, [seed + 1 for seed in seeds], resolution=resolution),
    )
    changed = Suite.model_validate(settings(tmp_path, strips={"prompts": 1}))
    run_suite(changed, tmp_path / "run", Progress(quiet=True))
    said = [line for line in capsys.readouterr().err.splitlines() if "strip of" in line]
    prompt = Run(tmp_path / "run").prompts()[0].id
    assert [re.sub(r"\d+ levels", "N levels", line) for line in said] == [
        f"warning: strip of fake-model {sampler}, prompt {prompt} of own: the steps played again end N levels of 255 "
        "away from the stored image; its last pictures are not quite of that image"
        for sampler in ("teacher-50", "uniform-8")
    ]
    assert Run(tmp_path / "run").strips()["difference"].min() > 2


# -- files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_run(tmp_path: Path, fakes: None) -> Run:
    return make(tmp_path, strips=STRIPS)


def strip_files(run: Run) -> dict[str, tuple[int, int]]:
    return {name: at for name, at in files(run, ".png", ".json").items() if name.startswith("strips/")}


def test_strips_reach_over_slices_and_take_the_first_image_of_a_prompt(tmp_path: Path, fakes: None) -> None:
    strips = {"prompts": 5, "steps": [0, 7, 49]}
    run = make(tmp_path, strips=strips, images_per_prompt=2, prompts=[
        {"set": "own", "texts": TEXTS}, {"set": "few", "texts": TEXTS[:2]}
    ])  # fmt: skip
    frame = run.strips()
    taken = frame.groupby(["sampler", "prompt_set"], sort=False)["prompt_id"].unique()
    ids = {name: [prompt.id for prompt in run.prompts(name)] for name in ("own", "few")}
    for sampler in ("teacher-50", "uniform-8"):
        assert list(taken[sampler, "own"]) == ids["own"][:5] and list(taken[sampler, "few"]) == ids["few"]
    steps = frame.groupby("sampler")["step"].unique().map(list).to_dict()
    assert steps == {"teacher-50": [0, 7, 49], "uniform-8": [0, 7]} and set(frame["index"]) == {0}
    stored = run.records().query("index == 0").set_index(["sampler", "prompt_set", "prompt_id"])["image"]
    for row in frame[frame["step"] == 49].itertuples():
        image = pixels(run.folder / stored[row.sampler, row.prompt_set, row.prompt_id])
        assert (pixels(run.folder / row.file) == image).all()


def test_killed_inside_the_pass_and_resumed(tmp_path: Path) -> None:
    """Each strip is there whole or not at all, and in the end all is as if nothing had happened."""
    changes = {"strips": {"prompts": 7, "steps": 4}, "samplers": ["uniform-8"], "timing": {"repeats": 0}}
    file = suite_file(tmp_path, **changes)
    assert command(tmp_path, "run", file, "-o", "whole").returncode == 0
    whole = Run(tmp_path / "whole")
    trace = tmp_path / "trace"
    environ = environment(tmp_path, GLANCE_BENCH_TRACE=str(trace), GLANCE_BENCH_FAKE_SLEEP="0.15")
    process = subprocess.Popen(
        [sys.executable, "-m", "glance_bench", "run", str(file), "-o", "run", "-q"], cwd=tmp_path, env=environ
    )

    def done() -> list[str]:
        return re.findall(r"^strips (.*)$", trace.read_text(), re.M) if trace.exists() else []

    while len(done()) < 2 and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = Run(tmp_path / "run")
    assert 2 <= len(done()) < 7
    made = killed.strips()
    assert len(made) == 4 * len(done())
    early = strip_files(killed)

    planned = command(tmp_path, "plan", file, "-o", "run", "--json")
    assert json.loads(planned.stdout)["strips"] == {"all": 7, "done": len(done())}
    assert f"strips      7, {len(done())} done" in command(tmp_path, "plan", file, "-o", "run").stdout
    damaged = command(tmp_path, "verify", "run", "--json")
    absent = [d["file"] for d in json.loads(damaged.stdout)["damaged"] if d["what"] == "was never made"]
    assert damaged.returncode == 3 and len(absent) == 7 - len(done())

    assert command(tmp_path, "run", file, "-o", "run").returncode == 0
    assert strip_files(killed).keys() == strip_files(whole).keys()
    records = {f"{path.relative_to(killed.folder)}" for path in killed.folder.rglob("strips/**/*.json")}
    assert len(records) == 7
    kept = [name for name in early if name in set(made["file"])]
    assert {name: strip_files(killed)[name] for name in kept} == {name: early[name] for name in kept}
    assert Run(killed.folder).strips().equals(whole.strips())
    assert command(tmp_path, "verify", "run").returncode == 0
    assert "strips" not in command(tmp_path, "plan", suite_file(tmp_path), "-o", "new").stdout


def test_an_edited_card_makes_its_own_again_and_more_prompts_add_to_what_is_there(
    tmp_path: Path, fakes: None
) -> None:
    card = tmp_path / "mine.yaml"
    card.write_text("name: mine\nschedule: {kind: uniform, steps: 6}\n")
    run = make(tmp_path, strips=STRIPS, samplers=["teacher-50", str(card)])
    first, before = run.strips(), strip_files(run)

    card.write_text("name: mine\nschedule: {kind: uniform, steps: 5}\n")
    run = make(tmp_path, strips=STRIPS, samplers=["teacher-50", str(card)])
    second, after = run.strips(), strip_files(run)
    same = first["sampler"] == "teacher-50"
    assert second[second["sampler"] == "teacher-50"].equals(first[same])
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 2 * 5
    assert not set(second.loc[second["sampler"] == "mine", "file"]) & set(first["file"])
    assert second.loc[second["sampler"] == "mine", "step"].tolist() == [0, 1, 3, 4] * 2

    run = make(tmp_path, strips={**STRIPS, "prompts": 3}, samplers=["teacher-50", str(card)])
    more = strip_files(run)
    assert {name: more[name] for name in after} == after and len(more) == len(after) + 2 * 5
    assert make(tmp_path, samplers=["teacher-50", str(card)]).strips().empty


def test_what_is_damaged_is_found_and_made_again(
    tmp_path: Path, fake_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run, frame = fake_run, fake_run.strips()
    whole = strip_files(run)
    cut, gone = (run.folder / file for file in frame["file"].iloc[[1, 6]])
    cut.write_bytes(cut.read_bytes()[:-9])
    gone.unlink()
    record = next(path for path in run.folder.rglob("strips/**/*.json") if "uniform-8" in str(path))
    record.write_bytes(record.read_bytes().replace(b'"step": 0', b'"step": 9'))
    assert {(damage.path, damage.what.split(" (")[0]) for damage in verify(run)} == {
        (cut, "is truncated or altered: its content does not match the digest in its name"),
        (gone, "cannot be read"),
        (record, "is truncated or altered: its content does not match the digest in its name"),
    }
    with pytest.raises(GlanceBenchError, match=re.escape(record.name)):
        run.strips()
    again = make(tmp_path, strips=STRIPS)
    said = capsys.readouterr().err
    assert all(f"{path}: " in said for path in (cut, gone, record))
    assert again.strips().equals(frame) and verify(again) == []
    assert strip_files(again).keys() == whole.keys()
    assert len(list((run.folder / "quarantine").iterdir())) == 1 + 4  # the log, cut, three records


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("estimates"),
        lambda d: d.update(schema="glance-bench/strip/2"),
        lambda d: d["estimates"][0].update(file="../../../suite.json"),
        lambda d: d["estimates"][0].update(sigma="high"),
        lambda d: d.update(estimates=[3]),
    ],
)
def test_a_record_that_nobody_here_wrote_is_refused(fake_run: Run, change: Any) -> None:
    record = next(fake_run.folder.rglob("strips/**/*.json"))
    document = json.loads(record.read_bytes())
    change(document)
    record.unlink()
    sealed = seal(record.parent, record.name.split(".")[0], "json", json_bytes(document))
    with pytest.raises(GlanceBenchError, match="is not the record of a strip"):
        fake_run.strips()
    assert [damage.path for damage in verify(fake_run)] == [sealed]


def test_no_bundle_takes_them_along(tmp_path: Path, fake_run: Run) -> None:
    place, document = write_bundle(fake_run.folder, tmp_path / "out.zip")
    with zipfile.ZipFile(place) as archive:
        assert not [name for name in archive.namelist() if "strip" in name]
        manifest = json.loads(io.BytesIO(archive.read("run-manifest.json")).read())
    assert len(manifest["strips"]) == 2 and document["images"]["kept"] == len(TEXTS) * 2 - 3


def test_a_family_that_cannot_is_named(tmp_path: Path, fakes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = FakeFamily.sample

    def older(self: Any, trajectory: Any, embeds: Any, noise: Any, recorder: Any, *, resolution: Any) -> Any:
        recorder.estimated = frozenset()
        return genuine(self, trajectory, embeds, noise, recorder, resolution=resolution)

    monkeypatch.setattr(FakeFamily, "sample", older)
    with pytest.raises(GlanceBenchError, match="FakeFamily does not tell its recorder of the estimates"):
        make(tmp_path, strips=STRIPS)


def test_planning_needs_no_weights_and_keys_are_all_different(tmp_path: Path, fakes: None) -> None:
    plan = make_plan(Suite.model_validate(settings(tmp_path, strips=STRIPS)))
    keys = {strip.key for strip in planned_strips(plan)}
    other = make_plan(Suite.model_validate(settings(tmp_path, strips={**STRIPS, "steps": 5})))
    assert len(keys) == 4 and not keys & {strip.key for strip in planned_strips(other)}
    assert digest_of([work.info.key for work in plan.works]) == digest_of(
        [work.info.key for work in make_plan(Suite.model_validate(settings(tmp_path))).works]
    )


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strips", "message"),
    [
        ({"prompts": 0}, "strips.prompts: Input should be greater than or equal to 1, got 0"),
        ({"steps": 1}, "strips.steps: Input should be greater than or equal to 2, got 1"),
        ({"steps": "all"}, "strips.steps: Input should be a valid integer, got 'all'"),
        ({"steps": True}, "strips.steps: Input should be a valid integer, got True"),
        ({"steps": []}, "strips.steps: List should have at least 1 item"),
        ({"steps": [0, -1]}, "strips.steps.1: Input should be greater than or equal to 0, got -1"),
        ({"steps": [3, 1]}, "strips.steps: steps must rise, each listed once, got [3, 1]"),
        ({"steps": [0, 0]}, "strips.steps: steps must rise, each listed once, got [0, 0]"),
        ({"promts": 2}, "unknown key 'strips.promts'; did you mean 'prompts'?"),
        (4, "strips: Input should be a valid dictionary or instance of Strips, got 4"),
    ],
)
def test_a_mistake_in_the_block_is_named(tmp_path: Path, strips: Any, message: str) -> None:
    from glance_bench.suite import load_suite

    with pytest.raises(UsageError) as caught:
        load_suite(str(suite_file(tmp_path, strips=strips)))
    assert message in str(caught.value) and re.search(r"fake\.yaml:\d+: ", str(caught.value))


@pytest.mark.parametrize(
    ("strips", "message"),
    [
        ({"prompts": 0}, "strips.prompts: Input should be greater than or equal to 1, got 0"),
        ({"steps": [0, 50]}, "strips: no sampler has a step 50; teacher-50, the longest, has steps 0 to 49"),
        ({"every": 2}, "unknown key 'strips.every'; valid: prompts, steps"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_the_command_line_refuses_it_before_anything_is_made(
    tmp_path: Path, strips: Any, message: str, verb: str
) -> None:
    done = command(tmp_path, verb, suite_file(tmp_path, strips=strips), "-o", "run")
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_profile_may_have_its_own(tmp_path: Path, fakes: None) -> None:
    models = settings(tmp_path)["models"]
    profiles = {"small": {"models": models, "strips": {"prompts": 1}}, "large": {"models": models}}
    suite = Suite.model_validate(settings(tmp_path, strips=STRIPS, profiles=profiles))
    assert suite.with_profile("small").strips == Strips(prompts=1)
    assert suite.with_profile("large").strips == suite.strips == Strips(**STRIPS)
    assert suite.with_profile("large").with_overrides(limit=1).strips == Strips(**STRIPS)
