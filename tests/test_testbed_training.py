"""The testbed's checkpoints as they are packaged, and the code that trains them, on a few steps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from glance_bench.models.checkpoints import checkpoint_digest
from glance_bench.registry import MODELS
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.sealed import sha256_file
from glance_bench.testbed.scenes import KINDS, Scene, Thing, captions, sample_scene
from glance_bench.testbed.train import encoders, latents, tokenizers, transformers, vae
from glance_bench.testbed.train.loop import Plan, Trainer, rate_factor, restore
from glance_bench.testbed.train.parts import CLIP, FLUX, QWEN
from glance_bench.training.recipe import load_recipe

FOLDERS = {"testbed-flux": FLUX, "testbed-qwen": QWEN, "testbed-clip": CLIP}
MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        (
            "testbed-flux",
            {
                "_class_name": "FluxPipeline",
                "transformer": "FluxTransformer2DModel",
                "vae": "AutoencoderKL",
                "text_encoder": "CLIPTextModel",
                "text_encoder_2": "T5EncoderModel",
            },
        ),
        (
            "testbed-qwen",
            {
                "_class_name": "QwenImagePipeline",
                "transformer": "QwenImageTransformer2DModel",
                "vae": "AutoencoderKLQwenImage",
                "text_encoder": "Qwen2_5_VLForConditionalGeneration",
                "tokenizer": "Qwen2Tokenizer",
            },
        ),
    ],
)
def test_packaged_checkpoints_have_the_real_classes(name, classes):
    assert MODELS.get(name).path == FOLDERS[name]
    index = json.loads((FOLDERS[name] / "model_index.json").read_text())
    for part, expected in classes.items():
        found = index[part] if part == "_class_name" else index[part][-1]
        assert found == expected


@pytest.mark.parametrize("name", ["testbed-flux", "testbed-qwen"])
def test_packaged_adapters_are_trained_by_the_published_recipe_for_these_weights(name):
    entry = MODELS.get(name)
    recipe = load_recipe({"flux": "glance-flux", "qwen_image": "glance-qwen"}[entry.family])
    glance, distilled = (
        {"glance-10/slow", "glance-10/fast", "glance-8/slow"},
        {"distilled-4/all", "distilled-8/all"},
    )
    assert set(trained_adapters(entry.adapters)) == glance | distilled
    for folder, slow in (("glance-10", 5), ("glance-8", 3)):
        record = json.loads((entry.adapters / folder / "training.json").read_text())
        published = recipe.model_dump(mode="json", exclude={"title"})
        published["schedule"]["slow"] = slow
        for phase, known in record["experts"].items():
            assert (known["recipe"], known["model"]) == (published, checkpoint_digest(entry.path))
            file = entry.adapters / folder / f"{phase}.safetensors"
            assert sha256_file(file) == known["sha256"] and len(known["losses"]) == recipe.steps
            with safe_open(file, "pt") as opened:
                metadata = json.loads(opened.metadata()["lora_adapter_metadata"])
            assert metadata["transformer.lora_alpha"] / metadata["transformer.r"] == 4


def test_packaged_adapters_take_at_most_8_mebibytes_of_each_kind():
    folders = [MODELS.get(name).adapters for name in ("testbed-flux", "testbed-qwen")]
    for kind in ("glance-*/*", "distilled-*/*"):
        files = [path for folder in folders for path in folder.glob(kind)]
        assert {path.suffix for path in files} == {".safetensors", ".json"}
        assert sum(path.stat().st_size for path in files) <= 8 * 2**20


def test_packaged_weights_are_small_half_precision_safetensors():
    files = [path for folder in FOLDERS.values() for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 45 * MEGABYTE
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".npz", ".txt", ".jinja"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
            assert kinds <= {"F16", "BF16", "I64"}, path


def test_schedulers_carry_the_real_constants_for_a_64th_of_the_tokens():
    flux = json.loads((FLUX / "scheduler" / "scheduler_config.json").read_text())
    qwen = json.loads((QWEN / "scheduler" / "scheduler_config.json").read_text())
    assert (flux["base_shift"], flux["max_shift"]) == (0.5, 1.15)
    assert (qwen["base_shift"], qwen["max_shift"], qwen["shift_terminal"]) == (0.5, 0.9, 0.02)
    assert (64 * flux["base_image_seq_len"], 64 * flux["max_image_seq_len"]) == (256, 4096)
    assert (64 * qwen["base_image_seq_len"], 64 * qwen["max_image_seq_len"]) == (256, 8192)
    assert flux["shift_terminal"] is None and flux["use_dynamic_shifting"] and qwen["use_dynamic_shifting"]
    assert json.loads((FLUX / "transformer" / "config.json").read_text())["guidance_embeds"] is True


def test_quoted_text_reaches_the_encoders_as_characters(tmp_path):
    text = 'a sign that says "HOTEL" on the sea'
    t5 = tokenizers.t5_tokenizer(encoders.T5_LENGTH)
    qwen = tokenizers.qwen_tokenizer(encoders.qwen_template())
    for tokenizer in (t5, qwen):
        pieces = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
        start = pieces.index("H")
        assert pieces[start : start + 5] == list("HOTEL")
        tokenizer.save_pretrained(tmp_path)
        assert type(tokenizer).from_pretrained(tmp_path)(text).input_ids == tokenizer(text).input_ids


def test_the_prompt_template_has_exactly_34_prefix_tokens():
    packaged = type(tokenizers.Qwen2Tokenizer()).from_pretrained(QWEN / "tokenizer")
    before = encoders.qwen_template().split("{}")[0]
    assert len(packaged(before).input_ids) == 34
    whole = packaged(encoders.qwen_template().format("a small red ring on the sea")).input_ids
    assert packaged.decode(whole[34:]).startswith("a small red ring on the sea<|im_end|>")


def test_parsing_targets_point_at_the_words():
    things = (Thing("red", "ring", "small"), Thing("blue", "cross", "large"))
    pair = Scene("pair", "sea", things, "above")
    sign = Scene("sign+object", "mint", things[:1], "above", words=("TEA",))
    for scene in (pair, sign):
        for text in captions(scene):
            found = [(text[start:end], says) for start, end, says in encoders.parts(scene, text)]
            assert [word for word, _ in found if len(word) > 1] == [t.phrase() for t in scene.things]
            assert "".join(word for word, _ in found if len(word) == 1) == "".join(scene.words)
    assert encoders.whole(sign)["letter0"] == encoders.LETTERS.index("T") + 1
    assert encoders.whole(pair)["relation"] == 3 and encoders.whole(pair)["colour2"] == 5


def test_2d_convolutions_equal_the_causal_3d_ones_on_one_frame():
    torch.manual_seed(0)
    model = vae.qwen_vae().eval()
    images = vae.batch_of_images(2, 0)
    with torch.no_grad():
        whole = model.encode(images.unsqueeze(2)).latent_dist.mean
        decoded = model.decode(whole).sample
        vae.play_in_2d(model)
        flat = model.encoder(images.unsqueeze(2)).chunk(2, dim=1)[0]
        torch.testing.assert_close(flat, whole, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.decoder(flat).clamp(-1, 1), decoded, atol=1e-5, rtol=1e-5)


def _loss(module: torch.nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
    return vae.reconstruction_loss(module, vae.batch_of_images(4, step), generator)


def test_training_lowers_the_loss_and_resumes_where_it_was(tmp_path):
    torch.manual_seed(0)
    lines: list[str] = []
    plan = Plan(images=4 * 20, batch=4, rate=2e-3, warmup=2)
    first = Trainer(vae.flux_vae(), plan, tmp_path)
    generator = torch.Generator().manual_seed(0)
    before = float(_loss(first.module, 99, generator).detach())
    first.run(_loss, lines.append)
    assert float(_loss(first.module, 99, generator).detach()) < before
    assert lines[-1].startswith("step 20/20")

    longer = Trainer(vae.flux_vae(), Plan(images=4 * 22, batch=4, rate=2e-3, warmup=2), tmp_path)
    assert longer.step == 20
    for name, value in first.module.state_dict().items():
        assert torch.equal(longer.module.state_dict()[name], value)
    longer.run(_loss, lines.append)
    assert longer.step == 22
    kept = restore(vae.flux_vae(), tmp_path).state_dict()
    assert all(torch.equal(kept[name], value) for name, value in longer.average.state_dict().items())


def test_rates_warm_up_stay_and_fall():
    plan = Plan(images=100, batch=1, warmup=10, decay=0.2)
    assert rate_factor(plan, 0) == pytest.approx(0.1)
    assert rate_factor(plan, 50) == 1 and rate_factor(plan, 90) == pytest.approx(0.5)
    assert rate_factor(plan, 100) == 0


def test_packing_is_the_pipelines_own():
    from diffusers import FluxPipeline

    raw = torch.randn(2, 16, 16, 16)
    assert torch.equal(latents.pack(raw), FluxPipeline._pack_latents(raw, 2, 16, 16, 16))


def test_distillation_target_at_guidance_one_is_the_teacher(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(transformers, "GUIDANCE", (1.0, 1.0))
    model = transformers.flux_transformer().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    text = {"encoder_hidden_states": torch.randn(2, 32, 128), "pooled_projections": torch.randn(2, 64)}
    empty = {key: torch.zeros_like(value) for key, value in text.items()}
    generator = torch.Generator().manual_seed(0)
    same = transformers.distillation_loss(model, model, torch.randn(2, 64, 64), text, empty, generator)
    assert float(same.detach()) == pytest.approx(0, abs=1e-9)
    monkeypatch.setattr(transformers, "GUIDANCE", (4.0, 4.0))
    other = transformers.distillation_loss(model, model, torch.randn(2, 64, 64), text, empty, generator)
    assert float(other.detach()) > 1e-6


def test_captions_are_dropped_at_their_rate():
    rng = np.random.default_rng(0)
    scenes = [sample_scene(rng, KINDS[index % 6]) for index in range(600)]
    generator = torch.Generator().manual_seed(0)
    texts = latents.captions_of(scenes, " ", 0.1, generator)
    assert 30 <= texts.count(" ") <= 95
    assert all(text == " " or text in captions(scene) for scene, text in zip(scenes, texts, strict=True))
