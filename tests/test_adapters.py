"""LoRA files in a pipeline: a pair against two stock pipelines, foreign key styles, files that do not belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.models.recorder import Recorder
from glance_bench.models.scheduler import TrajectoryScheduler
from glance_bench.registry import FAMILIES
from glance_bench.samplers.cards import SamplerCard
from glance_bench.samplers.lora_files import carries_alpha, contents
from glance_bench.trajectory import Phase, Trajectory, from_grid, snr, teacher_grid, uniform_indices

PROMPT = 'a sign with the words "OPEN NOW" above a blue square'
RANK = 2
KOHYA = {  # layers by diffusers' name and by kohya's
    "flux": {
        "transformer_blocks.0.norm1.linear": "double_blocks_0_img_mod_lin",
        "transformer_blocks.0.attn.to_out.0": "double_blocks_0_img_attn_proj",
        "single_transformer_blocks.0.proj_out": "single_blocks_0_linear2",
    },
    "qwen_image": {
        "transformer_blocks.0.attn.to_q": "transformer_blocks_0_attn_to_q",
        "transformer_blocks.0.attn.to_out.0": "transformer_blocks_0_attn_to_out_0",
        "transformer_blocks.0.img_mlp.net.2": "transformer_blocks_0_img_mlp_net_2",
    },
}
Weights = dict[str, tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(params=["flux", "qwen_image"])
def model(request: pytest.FixtureRequest, tiny_flux_dir: Path, tiny_qwen_dir: Path) -> Any:
    folder = tiny_flux_dir if request.param == "flux" else tiny_qwen_dir
    return FAMILIES.get(request.param).load(folder)


@pytest.fixture
def other(model: Any, tiny_flux_dir: Path, tiny_qwen_dir: Path) -> Any:
    """A model of the other family."""
    if model.name == "flux":
        return FAMILIES.get("qwen_image").load(tiny_qwen_dir)
    return FAMILIES.get("flux").load(tiny_flux_dir)


class Watcher(Recorder):
    """Keeps the latents of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[torch.Tensor] = []

    def on_step(self, index: int, latents: torch.Tensor) -> None:
        self.steps.append(latents.clone())


def make_weights(model: Any, seed: int = 0) -> Weights:
    """Random (down [rank, inputs], up [outputs, rank]) of each layer, by diffusers' name."""
    draw = torch.Generator().manual_seed(seed)
    made = {}
    for layer in KOHYA[model.name]:
        module = model.pipe.transformer.get_submodule(layer)
        made[layer] = tuple(
            torch.randn(shape, generator=draw) / 4
            for shape in ((RANK, module.in_features), (module.out_features, RANK))
        )
    return made


def diffusers_file(model: Any, file: Path, weights: Weights, alpha: float | None) -> str:
    """As diffusers writes it; an alpha goes into its adapter metadata."""
    layers = {}
    for layer, (down, up) in weights.items():
        layers |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
    known = {"r": RANK, "lora_alpha": alpha, "target_modules": sorted(weights)}
    model.pipeline_class.save_lora_weights(
        str(file.parent),
        transformer_lora_layers=layers,
        weight_name=file.name,
        transformer_lora_adapter_metadata=known if alpha else None,
    )
    return str(file)


def kohya_file(model: Any, file: Path, weights: Weights, alpha: float | None) -> str:
    """As kohya's trainers write it; an alpha goes beside the weights of each layer."""
    tensors = {}
    for layer, (down, up) in weights.items():
        name = f"lora_unet_{KOHYA[model.name][layer]}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        if alpha:
            tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    save_file(tensors, file)
    return str(file)


Writer = Callable[[Any, Path, Weights, float | None], str]
BOTH = pytest.mark.parametrize("write", [diffusers_file, kohya_file], ids=["diffusers", "kohya"])


def images(model: Any, file: str | None = None, scale: float = 1.0) -> np.ndarray:
    """uint8[1, 64, 64, 3]: four steps, all with one adapter or none."""
    phases = [Phase("all", 0, 4, file, scale)]
    trajectory = from_grid(teacher_grid(model.geometry().shift, 64), uniform_indices(4), phases=phases)
    made: np.ndarray = model.sample(trajectory, model.encode([PROMPT]), model.noise([1]))
    return made


# -- a pair --------------------------------------------------------------------------------------------------


def pair_card(slow: str, fast: str, **until: float) -> SamplerCard:
    """Slow5 + Fast5 with these files, which hand over where ``until`` says."""
    experts = [{"name": "slow", "lora": slow, "until": until}, {"name": "fast", "lora": fast}]
    schedule = {"kind": "slow-fast", "slow": 5, "fast": 5}
    return SamplerCard.model_validate({"name": "pair", "schedule": schedule, "experts": experts})


@pytest.fixture
def pair(model: Any, tmp_path: Path) -> tuple[str, str]:
    """A slow and a fast file trained at alpha / rank = 4."""
    slow, fast = (
        diffusers_file(model, tmp_path / f"{name}.safetensors", make_weights(model, seed), 4.0 * RANK)
        for seed, name in enumerate(("slow", "fast"))
    )
    return slow, fast


def stock(model: Any, lora: str, steps: Trajectory, latents: torch.Tensor, output_type: str) -> torch.Tensor:
    """A pipeline of its own with one LoRA, as a user of diffusers would load and call it."""
    pipe = model.pipeline_class.from_pretrained(model.path, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(str(Path(lora).parent), weight_name=Path(lora).name)
    pipe.scheduler = TrajectoryScheduler.of(steps)
    guidance: dict[str, Any] = {"guidance_scale": 3.5}
    if model.name == "qwen_image":
        guidance = {"true_cfg_scale": 4.0, "negative_prompt": " "}
    made: torch.Tensor = pipe(
        prompt=PROMPT,
        latents=latents,
        height=64,
        width=64,
        num_inference_steps=len(steps),
        max_sequence_length=model.settings.max_sequence_length,
        output_type=output_type,
        **guidance,
    ).images
    return made


def test_a_pair_is_two_stock_pipelines_one_after_the_other(model: Any, pair: tuple[str, str]) -> None:
    slow, fast = pair
    trajectory, noise, watch = (
        pair_card(slow, fast, step=5).compile(model.geometry()),
        model.noise([3]),
        Watcher(),
    )
    made = model.sample(trajectory, model.encode([PROMPT]), noise, watch)

    early, late = Trajectory(trajectory.steps[:5]), Trajectory(trajectory.steps[5:])
    handed = stock(model, slow, early, noise, "latent")
    assert torch.equal(watch.steps[4], handed)
    assert torch.equal(watch.steps[9], stock(model, fast, late, handed, "latent"))
    pixels = stock(model, fast, late, handed, "pt").mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert (made == pixels.numpy()).all()
    # Neither adapter would have done alone.
    assert not torch.equal(watch.steps[9], stock(model, slow, late, handed, "latent"))
    assert not torch.equal(handed, stock(model, fast, early, noise, "latent"))


def test_a_hand_over_by_step_sigma_and_snr_is_the_same(model: Any, pair: tuple[str, str]) -> None:
    by_step = pair_card(*pair, step=5).compile(model.geometry())
    between = float(by_step.sigmas[4:6].mean())
    for until in ({"sigma": between}, {"sigma": float(by_step.sigmas[5])}, {"snr": snr(between)}):
        assert pair_card(*pair, **until).compile(model.geometry()) == by_step
    assert [step.adapter for step in by_step.steps] == [pair[0]] * 5 + [pair[1]] * 5


def test_an_adapter_first_loaded_after_the_base_serves(model: Any, pair: tuple[str, str]) -> None:
    slow, fast = pair
    wanted = images(FAMILIES.get(model.name).load(model.path), fast)
    images(model, slow)
    base = images(model)
    assert (images(model, fast) == wanted).all() and (base != wanted).any()


# -- foreign files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [8.0, 2.0, 0.5])
def test_a_kohya_file_is_the_diffusers_file_with_the_same_alpha(
    model: Any, tmp_path: Path, alpha: float
) -> None:
    weights = make_weights(model)
    ours = diffusers_file(model, tmp_path / "diffusers.safetensors", weights, alpha)
    theirs = kohya_file(model, tmp_path / "kohya.safetensors", weights, alpha)
    assert carries_alpha(Path(ours)) and carries_alpha(Path(theirs))
    played = images(model, ours)
    assert (images(model, theirs) == played).all() and (played != images(model)).any()
    assert (images(model, theirs, 0.5) == images(model, ours, 0.5)).all()


@BOTH
def test_a_file_without_alpha_needs_its_scale(model: Any, tmp_path: Path, write: Writer) -> None:
    weights = make_weights(model)
    known = diffusers_file(model, tmp_path / "known.safetensors", weights, 4.0 * RANK)
    bare = write(model, tmp_path / "bare.safetensors", weights, None)
    with pytest.raises(UsageError, match="bare.safetensors carries no alpha.*state its scale"):
        contents([(bare, None)])
    assert contents([(bare, 4.0), (known, None)]).keys() == {bare, known}
    assert (images(model, bare, 4.0) == images(model, known)).all()
    assert (images(model, bare) != images(model, known)).any()


# -- files that do not belong --------------------------------------------------------------------------------


def refused(model: Any, file: str, message: str) -> None:
    """The file is refused with this message, before and after another adapter, and leaves no trace."""
    own = diffusers_file(model, Path(file).with_name("own.safetensors"), make_weights(model), 2.0)
    base, before = images(model), model.encode([PROMPT])[0]["prompt_embeds"]
    for _ in range(2):
        with pytest.raises(GlanceBenchError, match=message):
            images(model, file)
        assert (images(model) == base).all()
        assert torch.equal(model.encode([PROMPT])[0]["prompt_embeds"], before)
        adapted = images(model, own)
        with pytest.raises(GlanceBenchError, match=message):
            images(model, file)
        assert (images(model, own) == adapted).all() and (adapted != base).any()
    assert (images(model) == base).all()


def test_a_file_of_the_other_family_is_refused(model: Any, other: Any, tmp_path: Path) -> None:
    file = diffusers_file(other, tmp_path / "strange.safetensors", make_weights(other), 8.0)
    name = type(model.pipe.transformer).__name__
    refused(
        model, file, rf"strange.safetensors does not belong to this model: it adapts .* that {name} does not"
    )


def test_a_kohya_file_of_the_other_family_is_refused(model: Any, other: Any, tmp_path: Path) -> None:
    file = kohya_file(other, tmp_path / "strange.safetensors", make_weights(other), 8.0)
    refused(
        model, file, "strange.safetensors (does not belong to this model|cannot be loaded: Incompatible keys)"
    )


@pytest.mark.parametrize("more", [-8, 8])
def test_layers_of_another_size_are_refused(model: Any, tmp_path: Path, more: int) -> None:
    """FLUX's loader would pad narrow layers with zeros, and widen the base for wide ones."""
    weights = make_weights(model)
    layer, (down, up) = next(iter(weights.items()))
    weights[layer] = (torch.ones(RANK, down.shape[1] + more), up)
    file = diffusers_file(model, tmp_path / "misfit.safetensors", weights, None)
    refused(model, file, "misfit.safetensors cannot be loaded")


def test_half_a_layer_is_refused(model: Any, tmp_path: Path) -> None:
    down, _ = next(iter(make_weights(model).values()))
    layer = next(iter(KOHYA[model.name]))
    file = tmp_path / "half.safetensors"
    save_file({f"transformer.{layer}.lora_A.weight": down}, file)
    refused(model, str(file), "half.safetensors cannot be loaded")


@pytest.mark.parametrize("whole", [True, False])
def test_a_text_encoders_layers_are_refused(tiny_flux_dir: Path, tmp_path: Path, whole: bool) -> None:
    """Prompts are encoded once for all samplers, so an adapter of the encoder would be in some and not in others."""
    model = FAMILIES.get("flux").load(tiny_flux_dir)
    place = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    tensors = {f"{place}.lora_A.weight": torch.ones(RANK, 32), f"{place}.lora_B.weight": torch.ones(32, RANK)}
    if whole:
        for layer, (down, up) in make_weights(model).items():
            tensors |= {f"transformer.{layer}.lora_A.weight": down, f"transformer.{layer}.lora_B.weight": up}
    file = tmp_path / "encoder.safetensors"
    save_file(tensors, file)
    before = model.encode([PROMPT])[0]["pooled"]
    refused(model, str(file), "encoder.safetensors holds (no weights for this model's transformer|more than)")
    assert torch.equal(model.encode([PROMPT])[0]["pooled"], before)
