"""A look inside a run: velocity errors against known answers, the figures, and what the command prints."""

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from glance_bench.analysis import analyze as analysis
from glance_bench.analysis.figures import DRAWN
from glance_bench.analysis.losses import loss_curves
from glance_bench.analysis.velocity import _at, velocity_errors
from glance_bench.engine.planning import make_plan
from glance_bench.engine.runner import documents
from glance_bench.errors import GlanceBenchError
from glance_bench.models.recorder import Recorder
from glance_bench.registry import FAMILIES, ModelEntry
from glance_bench.samplers.cards import load_card
from glance_bench.sealed import sha256_file
from glance_bench.store import Run
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from glance_bench.training.glance import train
from glance_bench.training.recipe import Recipe, load_recipe
from glance_bench.training.samples import noise_pair
from glance_bench.trajectory import Step, Trajectory
from tests.engine_fixtures import command, fakes, settings
from tests.fake_family import SIDE, FakeFamily

__all__ = ["fakes"]
QUIET = Progress(quiet=True)


def planned(folder: Path, data: dict[str, Any]) -> Run:
    """The run folder of a suite before its first image: analysing needs none."""
    run = Run(folder)
    with run.lock():
        for name, document in documents(make_plan(Suite.model_validate(data))).items():
            run.write(name, document)
    return run


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, tiny_flux_dir: Path) -> Path:
    """A folder with Glance's pair for the tiny FLUX, trained for a few steps of exaggerated size."""
    plain = {"base_weights": "float32", "precision": "float32", "optimizer": "adamw", "warmup": 0}
    recipe = Recipe.model_validate(
        load_recipe("glance-flux").model_dump() | plain | {"steps": 3, "learning_rate": 0.05}
    )
    folder = tmp_path_factory.mktemp("adapters")
    entry = ModelEntry("tiny-flux", "flux", tiny_flux_dir)
    train(entry, recipe, [noise_pair((64, 64), "a red circle")], folder / "glance-10")
    return folder


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, tiny_flux_dir: Path, tiny_qwen_dir: Path, adapters: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run folder that was analysed, and the process that did it."""
    folder = tmp_path_factory.mktemp("analyse")
    (folder / "again.yaml").write_text("name: again\nschedule: {kind: native, steps: 50}\n")
    pair = "{name: slow, adapter: glance-10/slow, until: {step: 5}}, {name: fast, adapter: glance-10/fast}"
    bare = "{name: slow, until: {step: 5}}, {name: fast}"
    for name, experts in (("pair", pair), ("bare", bare)):
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nschedule: {{kind: slow-fast, slow: 5, fast: 5}}\nexperts: [{experts}]\n"
        )
    cards = [str(folder / f"{name}.yaml") for name in ("again", "pair", "bare")]
    flux = {"name": "tiny $flux", "family": "flux", "path": str(tiny_flux_dir), "adapters": str(adapters)}
    qwen = {"name": "tiny-qwen", "family": "qwen_image", "path": str(tiny_qwen_dir)}
    prompts = [{"set": "own", "texts": ["a cat", "two red dogs", "three"]}]
    samplers = ["teacher-50", "native-10", "uniform-10", "uniform-20", "uniform-4", *cards]
    planned(folder / "run", {"name": "tiny", "models": [flux], "prompts": prompts, "samplers": samplers})
    planned(
        folder / "qwen",
        {"name": "tiny", "models": [qwen], "prompts": prompts, "samplers": ["uniform-4", cards[0]]},
    )
    return folder, command(folder, "analyze", "run", "--prompts", "2", "-q")


def entries(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (model,) = document["models"]
    return {sampler["sampler"]: sampler for sampler in model["samplers"]}


def document_of(done: tuple[Path, subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    folder, shown = done
    assert shown.returncode == 0, shown.stderr
    return dict(json.loads((folder / "run" / "analysis" / "analysis.json").read_text()))


# -- errors --------------------------------------------------------------------------------------------------


def test_the_teacher_against_itself_has_no_error(done: Any) -> None:
    again = entries(document_of(done))["again"]
    assert len(again["steps"]) == 50
    assert all(step["error"]["value"] < 1e-5 and step["error"]["n"] == 2 for step in again["steps"])


def test_longer_steps_err_more_and_an_adapter_changes_the_error(done: Any) -> None:
    found = entries(document_of(done))
    value = {name: sampler["error"] and sampler["error"]["value"] for name, sampler in found.items()}
    assert value["uniform-4"] > 1.5 * value["uniform-20"] > 0
    assert found["native-10"]["same"] == ["uniform-10"] and "uniform-10" not in found
    assert value["teacher-50"] is None and all(s["error"] is None for s in found["teacher-50"]["steps"])
    pair, bare = found["pair"], found["bare"]
    assert [step["sigma"] for step in pair["steps"]] == [step["sigma"] for step in bare["steps"]]
    for with_it, without in zip(pair["steps"], bare["steps"], strict=True):
        assert abs(with_it["error"]["value"] - without["error"]["value"]) > 1e-3
    assert [phase["name"] for phase in pair["phases"]] == ["slow", "fast"]
    assert pair["phases"][0]["adapter"].endswith("slow.safetensors") and not bare["phases"][0]["adapter"]


def test_a_step_is_the_model_evaluated_at_the_teachers_latents(tiny_flux_dir: Path) -> None:
    """The same number without the pipeline: one evaluation against the mean of the teacher's velocities."""
    model = FAMILIES.get("flux").load(tiny_flux_dir)
    teacher = load_card("teacher-50").compile(model.geometry())
    student = load_card("uniform-4").compile(model.geometry())
    embed, noise = model.encode(["a cat"])[0], model.noise([7])

    class Kept(Recorder):
        latents = [noise]

        def on_step(self, index: int, latents: Any) -> None:
            self.latents.append(latents)

    model.sample(teacher, [embed], noise, Kept())
    (errors,) = velocity_errors(model, embed, noise, teacher, [student], (64, 64))
    inputs = model.inputs([embed], student.steps[0].guidance)
    for step, error in zip(student.steps, errors, strict=True):
        before, after = (
            Kept.latents[list(teacher.sigmas).index(sigma)] for sigma in (step.sigma, step.sigma_next)
        )
        told = torch.tensor([step.t_cond])
        with torch.no_grad():
            made = model.velocity(model.pipe.transformer, before, told, inputs, (8, 8))
        wanted = (after - before) / (step.sigma_next - step.sigma)
        assert error == pytest.approx(float((made - wanted).norm() / wanted.norm()), abs=1e-4)


def test_guidance_in_two_passes_is_part_of_the_step(done: Any) -> None:
    folder, _ = done
    document = analysis.analyze(Run(folder / "qwen"), folder / "elsewhere", 1, QUIET)
    found = entries(document)
    assert found["uniform-4"]["nfe"] == 8 and found["uniform-4"]["error"]["value"] > 1e-3
    assert found["again"]["error"]["value"] < 1e-5
    assert found["again"]["error"]["low"] is None and found["again"]["error"]["n"] == 1
    assert not (folder / "qwen" / "analysis").exists()
    assert json.loads((folder / "elsewhere" / "analysis.json").read_text()) == document


def test_between_two_levels_the_teacher_moves_straight() -> None:
    levels = np.array([1.0, 0.7, 0.2, 0.0])
    path = [torch.full((1, 2, 3), level) for level in levels]
    for sigma in (1.0, 0.9, 0.7, 0.65, 0.2, 0.05, 0.0):
        assert torch.allclose(_at(sigma, levels, path), torch.full((1, 2, 3), sigma))
    assert _at(0.70009, levels, path) is path[1] and _at(0.7002, levels, path) is not path[1]


def test_a_mean_counts_steps_by_their_length_and_prompts_once() -> None:
    mean = analysis._mean(np.array([[1.0, 3.0, np.nan], [3.0, 5.0, np.nan]]), np.array([0.1, 0.3, 0.0]))
    assert mean is not None and mean["n"] == 2 and mean["value"] == pytest.approx(3.5)
    assert mean["low"] == pytest.approx(2.5) and mean["high"] == pytest.approx(4.5)
    one = analysis._mean(np.array([[1.0], [np.nan]]), np.array([1.0]))
    assert one == {"value": 1.0, "low": None, "high": None, "n": 1}
    assert analysis._mean(np.array([[np.nan]]), np.array([1.0])) is None
    assert analysis._mean(np.array([[np.nan]]), np.array([0.0])) is None


def test_a_family_that_hides_its_steps_is_refused() -> None:
    model: Any = FakeFamily()
    steps = Trajectory((Step(1.0, 0.0, 1.0),))
    noise: Any = model.noise([0], resolution=(SIDE, SIDE))
    with pytest.raises(GlanceBenchError, match="FakeFamily does not tell its recorder"):
        velocity_errors(model, model.encode(["a"])[0], noise, steps, [steps], (SIDE, SIDE))


# -- numbers and figures -------------------------------------------------------------------------------------


def test_the_table_has_the_documents_numbers(done: Any) -> None:
    folder, shown = done
    document = document_of(done)
    assert shown.stdout.splitlines()[0].startswith(
        "tiny $flux: relative velocity error against teacher-50, 2 "
    )
    assert shown.stdout.splitlines()[-1] == "figures and numbers: run/analysis"
    rows = {line.split("  ")[0]: line for line in shown.stdout.splitlines() if "at sigma" in line}
    found = entries(document)
    assert set(rows) - {""} == {"native-10 = uniform-10", "uniform-20", "uniform-4", "again", "pair", "bare"}
    for name, row in rows.items():
        if name:
            sampler = found[name.split(" ")[0]]
            worst = max(sampler["steps"], key=lambda step: step["error"]["value"])
            cells = row[len(name) :].split()
            assert cells[:3] == [
                str(len(sampler["steps"])),
                str(sampler["nfe"]),
                f"{sampler['error']['value']:.3f}",
            ]
            assert row.endswith(f"{worst['error']['value']:.3f} at sigma {worst['sigma']:.4f}")
    phases = [line.split()[:4] for line in shown.stdout.splitlines() if line.startswith(("  slow", "  fast"))]
    values = [phase for name in ("pair", "bare") for phase in found[name]["phases"]]
    assert phases == [[p["name"], "5", str(p["nfe"]), f"{p['error']['value']:.3f}"] for p in values]


def test_json_is_the_document(done: Any, fakes: None, tmp_path: Path) -> None:
    """And a run of the teacher alone needs no model: it has nothing to measure."""
    planned(tmp_path / "run", settings(tmp_path, samplers=["teacher-50"]))
    shown = command(tmp_path, "analyze", "run", "--json", "-q", "-o", "out")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert document == json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert document["schema"] == "glance-bench/analysis/1" and set(document) == set(document_of(done))
    assert document["models"][0]["figures"] == {"snr": "snr-fake-model.svg"}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["analysis.json", "snr-fake-model.svg"]


def test_snr_is_that_of_the_level_and_zero_at_the_start(done: Any) -> None:
    for sampler in entries(document_of(done)).values():
        assert sampler["steps"][0]["snr"] == 0
        for step in sampler["steps"]:
            assert step["snr"] == pytest.approx((1 / step["sigma"] - 1) ** 2)
        assert sampler["phases"][-1]["stop"] == len(sampler["steps"])


def test_losses_are_those_of_the_training_record(done: Any, adapters: Path) -> None:
    (model,) = document_of(done)["models"]
    record = json.loads((adapters / "glance-10" / "training.json").read_text())
    assert [curve["adapter"] for curve in model["losses"]] == ["glance-10/slow", "glance-10/fast"]
    for curve in model["losses"]:
        assert curve["losses"] == record["experts"][curve["phase"]]["losses"] and len(curve["losses"]) == 3


def test_losses_of_another_file_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "slow.safetensors"
    file.write_bytes(b"adapter")
    expert = {"file": file.name, "sha256": sha256_file(file), "losses": [2, 1]}
    record = tmp_path / "training.json"
    assert loss_curves([str(file)]) == []
    record.write_text(json.dumps({"experts": {"slow": expert}}))
    wanted = [{"adapter": f"{tmp_path.name}/slow", "phase": "slow", "losses": [2.0, 1.0]}]
    assert loss_curves([str(file), str(file)]) == wanted
    record.write_text(json.dumps({"experts": {"slow": {**expert, "sha256": "0"}}}))
    assert loss_curves([str(file)]) == []
    record.write_text('["not a record"]')
    assert loss_curves([str(file)]) == []


def test_figures_are_drawn_from_the_document_with_readable_text(done: Any) -> None:
    folder, _ = done
    (model,) = document_of(done)["models"]
    assert set(model["figures"]) == {"velocity", "snr", "losses"}
    for kind, name in model["figures"].items():
        data = (folder / "run" / "analysis" / name).read_bytes()
        assert data == DRAWN[kind](model)
        root = ElementTree.fromstring(data)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        said = {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
        wanted = {
            "velocity": {"uniform-4", "uniform-20", "pair", "= uniform-10"},
            "snr": {"teacher-50", "phase slow", "phase fast", "hand-over", "step", "0"},
            "losses": {"adapter glance-10/slow", "adapter glance-10/fast", "training step"},
        }
        assert wanted[kind] <= said and any(text.startswith("tiny $flux: ") for text in said)
        assert b"dc:date" not in data


def test_names_cannot_break_a_figure(done: Any) -> None:
    (model,) = document_of(done)["models"]
    evil = {**model, "model": "a<b>&\x07\N{RIGHT-TO-LEFT OVERRIDE}$\\frac{"}
    for draw in DRAWN.values():
        assert "a<b>&\\x07" in "".join(ElementTree.fromstring(draw(evil)).itertext())


def test_no_state_of_matplotlib_is_left_behind(done: Any) -> None:
    import matplotlib

    (model,) = document_of(done)["models"]
    before = dict(matplotlib.rcParams)
    DRAWN["snr"](model)
    assert dict(matplotlib.rcParams) == before


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        shown = command(tmp_path, "analyze", name)
        assert shown.returncode == 3 and "is not a run folder" in shown.stderr
        assert len(shown.stderr.splitlines()) == 1 and shown.stdout == ""
    assert not (tmp_path / "none").exists() and not list((tmp_path / "empty").iterdir())
    assert command(tmp_path, "analyze", "empty", "--prompts", "0").returncode == 2


@pytest.mark.usefixtures("fakes")
def test_a_run_that_would_come_out_differently_now_is_refused(tmp_path: Path) -> None:
    run = planned(tmp_path / "run", settings(tmp_path))
    suite = run.suite()
    (run.folder / "suite.json").write_text(json.dumps({**suite, "seed": 5}))
    with pytest.raises(GlanceBenchError, match="have changed since; run the suite again"):
        analysis.analyze(run, tmp_path / "out", 1, QUIET)
    (run.folder / "suite.json").write_text(json.dumps({**suite, "samplers": 3}))
    with pytest.raises(GlanceBenchError, match="suite.json: is not the suite of a run"):
        analysis.analyze(run, tmp_path / "out", 1, QUIET)
    assert not (tmp_path / "out").exists()
