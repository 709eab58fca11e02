"""What a suite will cost: by hand, from speed records, from the run's own timing, and on a machine that is not here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glance_bench.engine.arithmetic import evaluation_flop, rate
from glance_bench.engine.forecast import forecast
from glance_bench.engine.outlook import outlook
from glance_bench.engine.pace import Pacer, Subject
from glance_bench.engine.planning import make_plan
from glance_bench.errors import GlanceBenchError
from glance_bench.profiles import Gpu, Target, choose
from glance_bench.speed.record import SpeedRecord
from glance_bench.store import Run
from glance_bench.suite import Suite, load_suite

ROOT = Path(__file__).parent.parent
V100 = Target(Gpu("V100", 32 * 1024, 7.0), here=False)
FLUX = Subject("flux.1-dev", "flux", None, (1024, 1024), 4096)
COCO = """
version: 1
name: big
prompts: [{set: coco-10k}]
samplers: [teacher-50, {like: glance-8, adapters: pair, name: glance-8}]
train: [{name: pair, sample: {noise: true}}]
metrics: ["hpsv2.1[vit-h-14]"]
resolution: 1024
profiles:
  v100-32gb:
    needs: {gpu: V100, memory_gb: 32, compute: 7.0}
    models: [flux.1-dev, qwen-image]
    device: cuda
    dtype: float16
    placement: auto
"""


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says of COCO-10k on a V100, with nothing of it on this machine."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "big.yaml").write_text(COCO)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    arguments = ["plan", "--profile", "v100-32gb", "big.yaml", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "glance_bench", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "planned for another machine" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["big.yaml"]
    return dict(json.loads(done.stdout))


def test_coco_10k_takes_what_a_hand_reckons(coco: dict[str, Any]) -> None:
    rows = {(row["model"], row["sampler"]): row for row in coco["samplers"]}
    teacher = rows["flux.1-dev", "teacher-50"]
    assert teacher["images"] == 10_000 and teacher["nfe"] == 50 and teacher["source"] == "arithmetic"
    # 10,000 images x 50 evaluations x 74.4 TFLOP / 50 TFLOP/s, in hours
    assert teacher["hours"] == pytest.approx(10_000 * 50 * 74.4 / 50 / 3600, rel=0.002)
    assert teacher["hours"] == pytest.approx(207, abs=0.5)
    assert rows["flux.1-dev", "glance-8"]["hours"] == pytest.approx(teacher["hours"] * 8 / 50)
    # Qwen-Image overflows in float16 and computes in float32: 11 TFLOP/s, two passes a step
    qwen = rows["qwen-image", "teacher-50"]
    assert qwen["hours"] == pytest.approx(10_000 * 100 * 70.6 / 11 / 3600, rel=0.002)
    assert "float32" in qwen["basis"] and "float16" in teacher["basis"]
    assert coco["hours"] == pytest.approx(sum(row["hours"] for row in rows.values()))


def test_memory_disk_and_downloads_are_planned_for_a_machine_that_is_not_here(coco: dict[str, Any]) -> None:
    assert (
        coco["here"] is False
        and coco["device"] == "V100, 32 GB"
        and "waits for flux.1-dev" in coco["missing"]
    )
    flux, qwen = coco["memory"]
    assert (
        flux["plan"] == "encode-then-drop" and 22.2 < flux["gpu_gib"] < 32 and "estimated" in flux["source"]
    )
    assert qwen["plan"] == "quanto-int8" and qwen["dtype"] == "float32"
    assert coco["disk"] == 40_000 * 1024 * 1024 * 3 // 2  # half the bytes of the pixels
    sizes = {one["name"]: (one["gb"], one["here"]) for one in coco["downloads"]}
    assert sizes["flux.1-dev"] == (34.0, False) and sizes["qwen-image"] == (58.0, False)
    assert sizes["hpsv2.1"] == (3.9, False) and sizes["coco-10k"][0] == 0.001
    assert coco["download_gb"] == pytest.approx(sum(gb for gb, here in sizes.values() if not here))


def test_the_v100_page_gives_the_hours_that_the_plan_prints() -> None:
    made = forecast(load_suite("coco").with_profile("v100-32gb"), V100, {})
    flux, qwen = (f"{row.hours:,.0f}" for row in made.rows if row.sampler == "teacher-50")
    page = (ROOT / "docs" / "how-to" / "run-on-a-v100.md").read_text()
    assert f"{made.hours:,.0f} GPU-hours for six samplers" in page and len(made.rows) == 2 * 6
    assert f"{flux} of them on FLUX.1-dev and {qwen} on Qwen-Image" in page


def test_the_formula_gives_what_counting_operations_gives() -> None:
    assert evaluation_flop("flux", 4096, None)[0] == pytest.approx(74.4e12, rel=0.002)
    assert evaluation_flop("qwen_image", 4096, None)[0] == pytest.approx(70.6e12, rel=0.002)


def test_the_formula_follows_a_checkpoints_own_shape() -> None:
    import torch
    from diffusers import FluxTransformer2DModel
    from torch.utils.flop_counter import FlopCounterMode

    folder = ROOT / "glance_bench" / "testbed" / "checkpoints" / "testbed-flux"
    config = json.loads((folder / "transformer" / "config.json").read_text())
    text, tokens = json.loads((folder / "glance_bench.json").read_text())["max_sequence_length"], 256
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        FluxTransformer2DModel.from_config(config)(
            hidden_states=torch.empty(1, tokens, config["in_channels"]),
            encoder_hidden_states=torch.empty(1, text, config["joint_attention_dim"]),
            pooled_projections=torch.empty(1, config["pooled_projection_dim"]),
            timestep=torch.empty(1),
            img_ids=torch.empty(tokens, 3),
            txt_ids=torch.empty(text, 3),
            guidance=torch.empty(1),
        )
    reckoned, _ = evaluation_flop("flux", tokens, folder)
    assert reckoned == pytest.approx(counted.get_total_flops(), rel=0.03)


def test_a_gpu_without_a_rate_says_whose_is_used() -> None:
    assert rate(Gpu("NVIDIA H100 80GB HBM3", 81559, 9.0), "bfloat16")[1] == "300 TFLOP/s in bfloat16 (H100)"
    assert "A100" in rate(Gpu("NVIDIA A100-SXM4-80GB", 81920, 8.0), "float16")[1]
    assert "(V100, for want of a rate for Quadro" in rate(Gpu("Quadro GV", 1, 7.0), "float16")[1]


# -- speed records ---------------------------------------------------------------------------------------------------


def record(**changes: Any) -> SpeedRecord:
    """FLUX.1-dev on a V100: the teacher in 60 s, of them 50 s of denoising."""
    ratio = {"ratio": 1.0, "low": None, "high": None, "n": 3}

    def spread(seconds: float) -> dict[str, float]:
        return {"median": seconds, "q25": seconds, "q75": seconds, "n": 3}

    sampler = {
        "sampler": "teacher-50",
        "steps": 50,
        "nfe": 50,
        "evaluations": 50.0,
        "switches": 0,
        "seconds": {"total": spread(60.0), "denoise": spread(50.0)},
        "step_seconds": [1.0] * 50,
        "blocks": [60.0] * 3,
        "faster": ratio,
        "faster_denoise": ratio,
        "fewer": 1.0,
        "tflop": 3720.0,
        "mfu": None,
        "memory": {},
        "joules": None,
    }
    model = {
        "model": "flux.1-dev",
        "family": "flux",
        "weights": "random",
        "resolution": (1024, 1024),
        "dtype": "float16",
        "placement": "encode-then-drop",
        "attention": "sdpa",
        "text_tokens": 512,
        "parameters": 11_900_000_000,
        "load_seconds": 1.0,
        "forward_tflop": 74.4,
        "decode_tflop": 10.0,
        "peak_tflops": None,
        "peak_source": "",
        "overhead": ratio,
        "samplers": [sampler],
    }
    data = {
        "schema": "glance-bench/speed/1",
        "made": "2026-11-01T00:00:00+00:00",
        "device": {"kind": "cuda", "name": "Tesla V100-SXM2-32GB", "hardware": "-", "memory": 32.0},
        "rehearsed_memory": None,
        "versions": {},
        "blocks": 3,
        "warmup": 1,
        "batch": 1,
        "models": [model],
    }
    for name, value in changes.items():
        place = next(one for one in (data, model, data["device"]) if name in one)
        place[name] = value
    return SpeedRecord.model_validate(data)


def pacer(*records: SpeedRecord, **changes: Any) -> Pacer:
    settings = {"target": V100, "dtype": "float16", "records": records, "placement": "encode-then-drop"}
    return Pacer(**{**settings, **changes})


def test_a_record_goes_before_arithmetic_and_the_runs_own_timing_before_both() -> None:
    pace = pacer(record())(FLUX, "teacher-50", 50)
    assert (pace.seconds, pace.source) == (60.0, "speed record")
    assert pace.basis == "Tesla V100-SXM2-32GB, 2026-11-01"
    own = pacer(record(), timed={("flux.1-dev", "teacher-50"): 41.0})(FLUX, "teacher-50", 50)
    assert (own.seconds, own.source) == (41.0, "measured")


def test_a_sampler_that_was_not_timed_takes_the_records_evaluations() -> None:
    pace = pacer(record())(FLUX, "glance-8", 8)
    assert pace.seconds == pytest.approx(8 * 1.0 + 10.0) and "an evaluation of teacher-50" in pace.basis


def test_the_latest_record_counts() -> None:
    late = record(made="2026-12-01T00:00:00+00:00", name="Tesla V100-PCIE-32GB")
    assert "PCIE" in pacer(late, record())(FLUX, "teacher-50", 50).basis


def test_random_weights_on_an_h100_pace_the_profile_that_keeps_the_encoders() -> None:
    h100 = Target(Gpu("H100", 81920, 9.0), here=False)
    measured = record(
        name="NVIDIA H100 80GB HBM3", dtype="bfloat16", batch=4
    )  # without encoders: encode-then-drop
    timed = pacer(measured, target=h100, dtype="bfloat16", placement="all-on-gpu")(FLUX, "teacher-50", 50)
    assert (timed.seconds, timed.source) == (60.0, "speed record")
    flux, _ = forecast(load_suite("coco").with_profile("h100"), h100, {}).memory
    assert flux.plan and flux.plan.name == "all-on-gpu"
    for other in ("quanto-int8", "group-offload"):
        pace = pacer(measured, target=h100, dtype="bfloat16", placement=other)(FLUX, "teacher-50", 50)
        assert pace.source == "arithmetic"


@pytest.mark.parametrize(
    "changes",
    [
        {"rehearsed_memory": 16.0},  # no smaller card's time
        {"dtype": "bfloat16"},
        {"resolution": (512, 512)},
        {"placement": "sequential"},
        {"name": "NVIDIA H100 80GB HBM3"},
        {"kind": "cpu"},
        {"model": "qwen-image"},
    ],
)
def test_a_record_of_something_else_is_not_used(changes: dict[str, Any]) -> None:
    assert pacer(record(**changes))(FLUX, "teacher-50", 50).source == "arithmetic"


def test_the_plan_finds_records_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = Suite.model_validate(load_suite_text(tmp_path)).with_profile("v100-32gb")
    (tmp_path / "reports" / "speed").mkdir(parents=True)
    file = tmp_path / "reports" / "speed" / "v100.json"
    file.write_text(record().model_dump_json(by_alias=True))
    document = outlook(Run(tmp_path / "run"), suite, V100)
    teacher = document["samplers"][0]
    assert teacher["source"] == "speed record" and teacher["hours"] == pytest.approx(10_000 * 60 / 3600)
    assert document["sources"] == ["arithmetic", "speed record"]  # Qwen-Image has none
    file.write_text("{}")
    with pytest.raises(GlanceBenchError, match="is no speed record"):
        outlook(Run(tmp_path / "run"), suite, V100)


def load_suite_text(folder: Path) -> dict[str, Any]:
    (folder / "big.yaml").write_text(COCO)
    return load_suite(str(folder / "big.yaml")).model_dump()


# -- what is here ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["quickstart", "ablations/stages"])
def test_the_forecast_has_the_plans_samplers_and_images(name: str) -> None:
    suite = load_suite(name)
    plan, made = make_plan(suite), forecast(suite, Target(None, here=True), {})
    assert [(row.model, row.sampler, row.nfe) for row in made.rows] == [
        (one.model.name, one.name, one.trajectory.nfe) for one in plan.samplers
    ]
    assert sum(row.images for row in made.rows) == plan.images


def test_a_card_for_another_family_is_left_out_and_what_it_publishes_is_a_download(tmp_path: Path) -> None:
    file = tmp_path / "mixed.yaml"
    file.write_text(COCO.replace("samplers: [", "samplers: [flux-turbo-8, flux-schnell-4, "))
    suite = load_suite(str(file)).with_profile("v100-32gb")
    document = outlook(Run(tmp_path / "run"), suite, V100)
    played = {(row["model"], row["sampler"], row["nfe"]) for row in document["samplers"]}
    assert ("flux.1-dev", "flux-turbo-8", 8) in played and ("flux.1-dev", "flux-schnell-4", 4) in played
    assert not any(model == "qwen-image" and sampler.startswith("flux-") for model, sampler, _ in played)
    sizes = {one["name"]: one["gb"] for one in document["downloads"]}
    assert sizes["alimama-creative/FLUX.1-Turbo-Alpha:diffusion_pytorch_model.safetensors"] == 0.7
    assert sizes["flux.1-schnell"] == 34.0


def test_where_nothing_fits_it_is_said_and_reckoned_in_the_type_that_would_be_computed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glance_bench.engine.forecast.free_ram_gib", lambda: 8.0)
    file = tmp_path / "big.yaml"
    file.write_text(COCO)
    suite = load_suite(str(file)).with_profile("v100-32gb")
    document = outlook(Run(tmp_path / "run"), suite, Target(V100.gpu, here=True))
    qwen = document["memory"][1]
    assert qwen["plan"] is None and "quanto-int8 needs 40.5 GiB of memory, where 8.0 are free" in qwen["why"]
    assert all("float32" in row["basis"] for row in document["samplers"] if row["model"] == "qwen-image")


def test_only_plan_may_take_a_profile_of_another_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("glance_bench.profiles.find_gpus", lambda: [])
    suite = Suite.model_validate(load_suite_text(tmp_path))
    resolved, why = choose(suite, "v100-32gb", elsewhere=True)
    assert resolved.profile == "v100-32gb" and "another machine" in why
    with pytest.raises(GlanceBenchError, match="cannot run here"):
        choose(suite, "v100-32gb")
