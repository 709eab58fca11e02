"""VQAScore on transformers' T5 and CLIP at random, saved under the names of the published checkpoint."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from glance_bench import weights
from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.metrics import clip_flant5
from glance_bench.metrics.base import SampleMetric
from glance_bench.metrics.clip_flant5 import ClipFlanT5, Part, squared
from glance_bench.metrics.vqascore import VqaScore, clip_flant5_xxl, question
from glance_bench.prompts import Prompt

WIDTH, SIDE = 32, 28  # of T5; of CLIP's images, four patches
T5 = {"d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 14,
}
TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders: t5 (with the projector), clip (both towers, as published), tokenizer."""
    place = tmp_path_factory.mktemp("flant5")
    torch.manual_seed(5)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), ("\u2581Yes", -1.0)]
    pieces += [(chr(c), -3.0) for c in range(33, 127)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
    tokenizer.save_pretrained(place / "tokenizer")
    config = T5Config(
        **T5,
        vocab_size=len(tokenizer) + 5,  # Flan-T5's embedding has more rows than its tokenizer has words
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    t5 = T5ForConditionalGeneration(config)
    with torch.no_grad():
        t5.lm_head.weight.mul_(0.3)  # random logits of the usual size would leave no probability to "Yes"
    state = {
        name: value.contiguous() for name, value in t5.state_dict().items() if "embed_tokens" not in name
    }
    state["mm_projector.0.weight"] = torch.randn(WIDTH, 16)
    state["mm_projector.0.bias"] = torch.randn(WIDTH)
    state["mm_projector.2.weight"] = torch.randn(WIDTH, WIDTH)
    state["mm_projector.2.bias"] = torch.randn(WIDTH)
    state["vision_tower.vision_tower.vision_model.embeddings.class_embedding"] = torch.zeros(16)
    (place / "t5").mkdir()
    names = sorted(state)  # published in parts
    save_file({name: state[name] for name in names[::2]}, place / "t5" / "model-1.safetensors")
    save_file({name: state[name] for name in names[1::2]}, place / "t5" / "model-2.safetensors")
    document = config.to_dict() | {"model_type": "t5", "mm_hidden_size": 16, "mm_vision_select_layer": -2}
    (place / "t5" / "config.json").write_text(json.dumps(document))
    CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT)).save_pretrained(place / "clip")
    return place


def model_in(folder: Path) -> ClipFlanT5:
    t5, clip = folder / "t5", folder / "clip"
    return ClipFlanT5(Part(t5, t5), Part(clip, clip), folder / "tokenizer")


def pictures(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def step_by_step(folder: Path, image: np.ndarray, text: str) -> float:
    """exp(-mean cross entropy of "Yes" and the end mark), one image, by hand from the description."""
    high, wide = image.shape[:2]
    side = max(high, wide)
    square = Image.new("RGB", (side, side), (122, 116, 104))  # CLIP's mean colour
    square.paste(Image.fromarray(image), ((side - wide) // 2, (side - high) // 2))
    small = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
    mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    pixels = torch.tensor(((small - mean) / deviation).transpose(2, 0, 1)[None], dtype=torch.float32)

    state = load_file(folder / "t5" / "model-1.safetensors") | load_file(
        folder / "t5" / "model-2.safetensors"
    )
    t5 = T5ForConditionalGeneration(T5Config.from_pretrained(folder / "t5")).eval()
    t5.load_state_dict(
        {name: value for name, value in state.items() if not name.startswith(("mm_", "vision"))}
        | {f"{stack}.embed_tokens.weight": state["shared.weight"] for stack in ("encoder", "decoder")}
    )
    tokenizer = T5Tokenizer.from_pretrained(folder / "tokenizer")
    before = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: "
    )
    after = f'\nDoes this figure show "{text}"? Please answer yes or no. ASSISTANT: '
    with torch.no_grad():
        vision = CLIPModel.from_pretrained(folder / "clip").vision_model
        hidden = vision(pixels, output_hidden_states=True).hidden_states
        assert len(hidden) == 4  # the embeddings and three layers
        patches = hidden[2][:, 1:]
        x = patches @ state["mm_projector.0.weight"].T + state["mm_projector.0.bias"]
        x = x * (1 + torch.erf(x / math.sqrt(2))) / 2
        x = x @ state["mm_projector.2.weight"].T + state["mm_projector.2.bias"]
        words = [state["shared.weight"][tokenizer(part).input_ids][None] for part in (before, after)]
        labels = tokenizer("Yes").input_ids
        assert labels == tokenizer.convert_tokens_to_ids(["\u2581Yes", "</s>"])
        logits = t5(
            inputs_embeds=torch.cat([words[0], x, words[1]], dim=1),
            decoder_input_ids=torch.tensor([[0, labels[0]]]),
        ).logits[0]
    probabilities = logits.softmax(-1)
    return math.sqrt(probabilities[0, labels[0]].item() * probabilities[1, labels[1]].item())


def test_the_score_is_the_geometric_mean_step_by_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_flant5, "BATCH", 2)  # texts of unequal length share a batch
    metric = VqaScore("tiny", model_in(folder))
    assert isinstance(metric, SampleMetric)
    texts = ["a cat", "a much longer sentence about two dogs, a house and a \u00e9clair", 'a "quoted" sign']
    images = pictures(3, 20, 40)
    rows = metric.score(images, [Prompt(str(i), text, "") for i, text in enumerate(texts)])
    wanted = [step_by_step(folder, image, text) for image, text in zip(images, texts, strict=True)]
    assert [row["vqascore[tiny]"] for row in rows] == pytest.approx(wanted, rel=1e-4)
    assert max(wanted) / min(wanted) > 1.0001  # the score sees its input
    one, other = (metric.score(pictures(2, 30, 30)[[i]], [Prompt("p", "a cat", "")])[0] for i in (0, 1))
    assert one != other


def test_images_are_padded_with_the_mean_colour() -> None:
    image = pictures(1, 2, 5)[0]
    square = squared(image)
    assert square.shape == (5, 5, 3)
    assert np.array_equal(square[1:3], image)
    assert {tuple(pixel) for row in square[[0, 3, 4]] for pixel in row} == {(122, 116, 104)}
    assert np.array_equal(squared(square), square)


def test_a_prompt_cannot_move_the_image() -> None:
    assert question("an <image> of <image>").count("<image>") == 1
    assert question("x").endswith(
        ' USER: <image>\nDoes this figure show "x"? Please answer yes or no. ASSISTANT: '
    )


def test_texts_hold_the_image_once(folder: Path) -> None:
    with pytest.raises(ValueError, match="expected <image> once"):
        model_in(folder).log_likelihood(pictures(1, 8, 8), ["no mark"], ["Yes"])
    assert model_in(folder).log_likelihood(pictures(0, 8, 8), [], []).shape == (0,)
    with pytest.raises(ValueError, match="1 images for 0 prompts"):
        VqaScore("tiny", model_in(folder)).score(pictures(1, 8, 8), [])


def test_damaged_parts_are_named(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    part = own / "t5" / "model-1.safetensors"
    state = load_file(part)
    dropped = sorted(name for name in state if name.startswith(("encoder", "decoder")))[0]
    save_file({name: value for name, value in state.items() if name != dropped}, part)
    with pytest.raises(GlanceBenchError, match=f"not CLIP-FlanT5's parameters.*{dropped}"):
        model_in(own).log_likelihood(pictures(1, 8, 8), [question("x")], ["Yes"])
    part.write_bytes(b"short")
    with pytest.raises(GlanceBenchError):
        model_in(own).log_likelihood(pictures(1, 8, 8), [question("x")], ["Yes"])
    (own / "t5" / "config.json").unlink()
    with pytest.raises(GlanceBenchError, match="config.json is missing"):
        model_in(own)
    shutil.rmtree(own / "clip")
    (own / "clip").mkdir()
    (own / "clip" / "config.json").write_text("{}")
    shutil.copy(folder / "t5" / "config.json", own / "t5")
    with pytest.raises(GlanceBenchError, match="no .*safetensors weights"):
        model_in(own)


def in_the_hubs_cache(cache: Path, name: str, files: Path) -> None:
    """The files as huggingface_hub keeps the newest commit of the repository of an entry."""
    repo = "models--" + str(weights.WEIGHTS[name].repo).replace("/", "--")
    shutil.copytree(files, cache / repo / "snapshots" / ("0" * 40))
    (cache / repo / "refs").mkdir()
    (cache / repo / "refs" / "main").write_text("0" * 40)


def converted(name: str, files: Path) -> None:
    weights.weights_folder(name).mkdir(parents=True)
    for file in files.glob("*.safetensors"):
        shutil.copy(file, weights.weights_folder(name))


def test_the_published_model_is_put_together_from_what_was_fetched_and_converted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub"
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    names = {
        "flan-t5-xxl-tokenizer": "tokenizer",
        "clip-vit-large-patch14-336": "clip",
        "clip-flant5-xxl": "t5",
    }
    for name, part in names.items():
        with pytest.raises(MissingData, match=rf"waits for {name} \(.*\): glance-bench prefetch {name}\b"):
            clip_flant5_xxl()
        if part != "tokenizer":
            converted(name, folder / part)
            if part == "t5":  # in parts; the first name is the one that tells that it is there
                (weights.weights_folder(name) / "model-1.safetensors").rename(
                    weights.weights_folder(name) / "model.safetensors"
                )
            with pytest.raises(MissingData, match=f"the config of {name}"):
                clip_flant5_xxl()
        in_the_hubs_cache(hub, name, folder / part)
    metric = clip_flant5_xxl()
    image = pictures(1, 20, 30)
    (row,) = metric.score(image, [Prompt("p", "a cat", "")])
    assert row == {
        "vqascore[clip-flant5-xxl]": pytest.approx(step_by_step(folder, image[0], "a cat"), rel=1e-4)
    }


def test_the_recipe_needs_no_torch_and_follows_the_weights(folder: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom glance_bench.metrics.clip_flant5 import ClipFlanT5, Part\n"
        "from glance_bench.metrics.vqascore import VqaScore\n"
        f"f = Path({str(folder)!r})\n"
        "m = ClipFlanT5(Part(f / 't5', f / 't5'), Part(f / 'clip', f / 'clip'), f / 'tokenizer')\n"
        "print(VqaScore('tiny', m).recipe)\nassert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == VqaScore("tiny", model_in(folder)).recipe
