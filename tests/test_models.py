"""Loading, encoding, noise and sampling of both families, on random checkpoints in the real layout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.models.checkpoints import checkpoint_digest, read_geometry, read_settings
from glance_bench.models.flux import FluxFamily
from glance_bench.models.qwen_image import QwenImageFamily
from glance_bench.models.recorder import Recorder
from glance_bench.samplers.cards import load_card
from glance_bench.trajectory import Phase, Step, Trajectory, from_grid, teacher_grid, uniform_indices

FAMILIES = {"flux": FluxFamily, "qwen": QwenImageFamily}
PROMPTS = ["a red circle", 'a sign with the words "OPEN NOW" above a blue square']


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tiny_flux_dir: Path, tiny_qwen_dir: Path) -> Any:
    return FAMILIES[request.param].load({"flux": tiny_flux_dir, "qwen": tiny_qwen_dir}[request.param])


@pytest.fixture
def copied(tiny_flux_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_flux_dir, tmp_path / "flux"))


class Watcher(Recorder):
    """Keeps the latents of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[int, torch.Tensor]] = []

    def on_step(self, index: int, latents: torch.Tensor) -> None:
        self.steps.append((index, latents.clone()))


def plan(model: Any, name: str = "uniform-4") -> Trajectory:
    return load_card(name).compile(model.geometry())


@pytest.mark.parametrize("name", ["uniform-4", "slowfast-8-base"])
def test_images_counts_and_times(model: Any, name: str) -> None:
    trajectory, watch = plan(model, name), Watcher()
    images = model.sample(trajectory, model.encode(PROMPTS), model.noise([3, 4]), watch)
    assert images.shape == (2, 64, 64, 3) and images.dtype == np.uint8
    assert images.std() > 1 and (images[0] != images[1]).any()
    assert watch.finite == [True, True]
    assert watch.evaluations == trajectory.nfe == len(trajectory) * (1 if model.name == "flux" else 2)
    assert [index for index, _ in watch.steps] == list(range(len(trajectory)))
    assert set(watch.seconds) == {"switch", "denoise", "decode"} and min(watch.seconds.values()) > 0


def test_the_same_bytes_as_the_bare_pipeline(model: Any) -> None:
    """Cached embeddings and noise through ``sample``, against the pipeline given prompts and generators."""
    seeds = [5, 6]
    images = model.sample(plan(model, "native-8"), model.encode(PROMPTS), model.noise(seeds))
    kwargs: dict[str, Any] = {"guidance_scale": 3.5}
    if model.name == "qwen_image":
        kwargs = {"true_cfg_scale": 4.0, "negative_prompt": [" ", " "]}
    bare = model.pipe(
        prompt=PROMPTS,
        height=64,
        width=64,
        num_inference_steps=8,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        max_sequence_length=model.settings.max_sequence_length,
        **kwargs,
    ).images
    # Encoding prompts one by one or together differs in the last bits of the embeddings.
    assert np.abs(images.astype(int) - np.stack([np.array(image) for image in bare]).astype(int)).max() <= 1


def test_another_resolution(model: Any) -> None:
    trajectory = load_card("uniform-4").compile(model.geometry(32, 96))
    noise = model.noise([1], resolution=(32, 96))
    images = model.sample(trajectory, model.encode(PROMPTS[:1]), noise, resolution=(32, 96))
    assert images.shape == (1, 32, 96, 3)
    with pytest.raises(UsageError, match="does not fit 64x64"):
        model.sample(trajectory, model.encode(PROMPTS[:1]), noise)


def test_noise_belongs_to_its_seed_alone(model: Any) -> None:
    both = model.noise([7, 8])
    assert both.dtype == torch.float32 and both.shape == (2, model.geometry().tokens, 64)
    assert torch.equal(both[1], model.noise([8])[0]) and not torch.equal(both[0], both[1])
    assert both.std() == pytest.approx(1, abs=0.05)


def test_embeddings_do_not_depend_on_their_neighbours(model: Any) -> None:
    together, alone = model.encode(PROMPTS)[0], model.encode(PROMPTS[:1])[0]
    assert together.keys() == alone.keys()
    for key, value in together.items():
        assert torch.equal(value, alone[key]) if isinstance(value, torch.Tensor) else value == alone[key]
        assert not isinstance(value, torch.Tensor) or value.device.type == "cpu"


def test_long_and_odd_prompts(model: Any, capfd: pytest.CaptureFixture[str]) -> None:
    odd = ["", "x" * 10_000, "<script>alert(1)</script> \x1b[31mred\x1b[0m ../../etc {} {0}", "\u4f60\u597d"]
    entries = model.encode(odd)
    limit = model.settings.max_sequence_length
    assert [entry["truncated"] for entry in entries][:2] == [False, True]
    assert all(len(entry["prompt_embeds"]) <= limit for entry in entries)
    assert all(torch.isfinite(entry["prompt_embeds"]).all() for entry in entries)
    assert capfd.readouterr() == ("", "")
    assert model.sample(plan(model), entries, model.noise(range(4))).shape == (4, 64, 64, 3)


def test_one_non_finite_image_is_flagged_and_black(model: Any) -> None:
    noise, watch = model.noise([1, 2]), Recorder()
    noise[1, 0, 0] = float("nan")
    images = model.sample(plan(model), model.encode(PROMPTS), noise, watch)
    assert watch.finite == [True, False]
    assert images[0].std() > 1 and not images[1].any()


def test_guidance_and_passes_may_change_between_steps(model: Any) -> None:
    """Two runs of the pipeline, one after the other: what matters is that nothing is lost between them."""
    grid = teacher_grid(model.geometry().shift, 64)
    whole = from_grid(grid, uniform_indices(4), guidance=2.0, passes=plan(model).steps[0].passes)
    first, rest = whole.steps[:2], whole.steps[2:]
    split = Trajectory((*first, *(Step(s.sigma, s.sigma_next, s.t_cond, guidance=1.0) for s in rest)))
    embeds, noise = model.encode(PROMPTS), model.noise([1, 2])
    one, two = Watcher(), Watcher()
    model.sample(whole, embeds, noise, one)
    changed = model.sample(split, embeds, noise, two)
    assert [i for i, _ in two.steps] == [0, 1, 2, 3] and two.evaluations == split.nfe
    assert torch.equal(one.steps[1][1], two.steps[1][1]) and not torch.equal(one.steps[2][1], two.steps[2][1])
    assert changed.shape == (2, 64, 64, 3)


def test_a_batch_needs_a_prompt_for_every_noise(model: Any) -> None:
    for embeds, noise in ((model.encode(PROMPTS), model.noise([1])), ([], model.noise([1])[:0])):
        with pytest.raises(UsageError, match="as many prompts as noises"):
            model.sample(plan(model), embeds, noise)


def test_the_pipeline_is_left_as_it_was(model: Any) -> None:
    before = model.pipe.scheduler
    model.sample(plan(model), model.encode(PROMPTS[:1]), model.noise([1]))
    assert model.pipe.scheduler is before
    assert not model.pipe.transformer._forward_hooks


# -- adapters ------------------------------------------------------------------------------------------------


def make_lora(model: Any, folder: Path, seed: int) -> str:
    """A random LoRA for the model's transformer, saved in diffusers' format."""
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"])
    transformer = FAMILIES["flux" if model.name == "flux" else "qwen"].load(model.path).pipe.transformer
    transformer.add_adapter(config)
    layers = get_peft_model_state_dict(transformer)
    model.pipeline_class.save_lora_weights(folder, transformer_lora_layers=layers)
    return str(folder / "pytorch_lora_weights.safetensors")


def test_adapters_switch_inside_one_call(model: Any, tmp_path: Path) -> None:
    slow, fast = (make_lora(model, tmp_path / name, seed) for seed, name in enumerate(("slow", "fast")))
    grid = teacher_grid(model.geometry().shift, 64)

    noise = model.noise([1, 2])

    def run(*phases: Phase) -> Watcher:
        watch = Watcher()
        trajectory = from_grid(grid, uniform_indices(4), guidance=1.0, phases=phases)
        model.sample(trajectory, model.encode(PROMPTS), noise, watch)
        return watch

    base = run(Phase("all", 0, 4))
    mixed = run(Phase("slow", 0, 2, slow, 2.0), Phase("base", 2, 3), Phase("fast", 3, 4, fast, 0.5))
    only_slow = run(Phase("slow", 0, 4, slow, 2.0))
    assert torch.equal(mixed.steps[1][1], only_slow.steps[1][1])
    assert not torch.equal(mixed.steps[2][1], only_slow.steps[2][1])
    assert not torch.equal(mixed.steps[0][1], base.steps[0][1])

    # The last step is what the fast adapter alone makes of the same latents.
    reference = FAMILIES["flux" if model.name == "flux" else "qwen"].load(model.path)
    reference.pipe.load_lora_weights(str(Path(fast).parent), weight_name=Path(fast).name, adapter_name="x")
    reference.pipe.set_adapters(["x"], [0.5])
    last = from_grid(grid, uniform_indices(4), guidance=1.0).steps[3:]
    watch = Watcher()
    reference.sample(Trajectory(last), reference.encode(PROMPTS), mixed.steps[2][1], watch)
    assert torch.equal(watch.steps[0][1], mixed.steps[3][1])

    # The base is the base again, bit for bit, and scale 0 changes nothing that can be seen.
    assert torch.equal(run(Phase("all", 0, 4)).steps[3][1], base.steps[3][1])
    assert torch.allclose(run(Phase("x", 0, 4, slow, 0.0)).steps[3][1], base.steps[3][1], atol=1e-5)


def test_a_bad_adapter_is_named_and_leaves_the_base_alone(model: Any, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.safetensors" for name in ("garbage", "unrelated", "misfit", "absent")}
    files["garbage"].write_bytes(b"not a safetensors file")
    save_file({"other.lora_A.weight": torch.zeros(2, 4)}, files["unrelated"])
    place = "transformer.transformer_blocks.0.attn.to_q"
    misfit = {f"{place}.lora_A.weight": torch.ones(2, 7), f"{place}.lora_B.weight": torch.ones(7, 2)}
    save_file(misfit, files["misfit"])

    def base() -> np.ndarray:
        return model.sample(plan(model), model.encode(PROMPTS[:1]), model.noise([1]))

    before = base()
    for name, file in files.items():
        step = Step(1.0, 0.0, 1.0, adapter=str(file))
        with pytest.raises(
            GlanceBenchError, match=f"{name}.safetensors (cannot be loaded|is missing|holds no)"
        ):
            model.sample(Trajectory((step,)), model.encode(PROMPTS[:1]), model.noise([1]))
        assert (base() == before).all()


# -- checkpoints ---------------------------------------------------------------------------------------------


def test_settings_and_geometry(tiny_flux_dir: Path, tiny_qwen_dir: Path) -> None:
    flux, qwen = read_geometry(tiny_flux_dir), read_geometry(tiny_qwen_dir, 96, 32)
    assert (flux.family, flux.tokens, flux.guidance, flux.cfg) == ("flux", 64, 3.5, False)
    assert (qwen.family, qwen.tokens, qwen.guidance, qwen.cfg) == ("qwen_image", 48, 4.0, True)
    assert qwen.shift.terminal == 0.02 and flux.shift.terminal is None
    with pytest.raises(UsageError, match="multiples of 8"):
        read_geometry(tiny_flux_dir, 64, 60)


def test_a_real_checkpoint_needs_no_settings_file(copied: Path) -> None:
    (copied / "glance_bench.json").unlink()
    settings = read_settings(copied)
    assert (settings.resolution, settings.max_sequence_length, settings.guidance) == ((1024, 1024), 512, 3.5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f), "no such folder"),
        (lambda f: (f / "model_index.json").unlink(), "model_index.json is missing"),
        (lambda f: (f / "model_index.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "model_index.json").write_text('{"_class_name": "X"}'), "expected FluxPipeline"),
        (lambda f: shutil.rmtree(f / "vae"), "folder vae/"),
        (
            lambda f: next((f / "transformer").glob("*.safetensors")).unlink(),
            r"transformer/ has no \*.safetensors",
        ),
        (lambda f: next((f / "vae").glob("*.safetensors")).write_bytes(b"x" * 99), "cannot be loaded"),
        (lambda f: (f / "vae" / "config.json").write_text("{}"), "block_out_channels"),
        (lambda f: (f / "glance_bench.json").write_text('{"resolution": 64}'), "glance_bench.json"),
        (lambda f: (f / "glance_bench.json").write_text('{"family": "qwen_image"}'), "does not go with"),
    ],
)
def test_missing_or_damaged_weights_are_named(copied: Path, damage: Any, message: str) -> None:
    damage(copied)
    with pytest.raises(GlanceBenchError, match=message) as error:
        FluxFamily.load(copied).geometry()
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


def test_a_missing_shard_is_named(copied: Path) -> None:
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (copied / "transformer" / "diffusion.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(GlanceBenchError, match="transformer/one.safetensors is missing"):
        FluxFamily.load(copied)


def test_another_family_or_dtype_is_refused(tiny_flux_dir: Path) -> None:
    with pytest.raises(GlanceBenchError, match="is of family flux, not qwen_image"):
        QwenImageFamily.load(tiny_flux_dir)
    with pytest.raises(UsageError, match="float99"):
        FluxFamily.load(tiny_flux_dir, dtype="float99")


def test_half_precision_files_are_played_in_single_precision(copied: Path) -> None:
    wanted = FluxFamily.load(copied)
    wanted.pipe.to(torch.float16).save_pretrained(copied)
    model = FluxFamily.load(copied)
    parts = (model.pipe.transformer, model.pipe.vae, model.pipe.text_encoder, model.pipe.text_encoder_2)
    assert {parameter.dtype for part in parts for parameter in part.parameters()} == {torch.float32}
    assert model.sample(plan(model), model.encode(PROMPTS), model.noise([1, 2])).std() > 1


def test_digest_follows_the_files(copied: Path) -> None:
    before = checkpoint_digest(copied)
    assert before == checkpoint_digest(copied) == FluxFamily.load(copied).digest
    (copied / "README.md").write_text("words")
    assert checkpoint_digest(copied) == before
    weights = next((copied / "vae").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert checkpoint_digest(copied) != before
    shutil.rmtree(copied)
    with pytest.raises(GlanceBenchError, match="no weights"):
        checkpoint_digest(copied)


def test_settings_cards_and_digests_need_no_torch(tiny_qwen_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from glance_bench.models.checkpoints import checkpoint_digest, read_geometry\n"
        "from glance_bench.samplers.cards import list_cards\n"
        f"path = Path({str(tiny_qwen_dir)!r}); checkpoint_digest(path)\n"
        "cards = [card for card in list_cards() if 'qwen_image' in card.families]\n"
        "nfe = {card.name: card.compile(read_geometry(path)).nfe for card in cards}\n"
        "print(nfe['teacher-50'], nfe['teacher-50-unguided'], nfe['glance-10@released'], nfe['uniform-5-heun'])\n"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["100", "50", "20", "18"]  # two passes a step with guidance
