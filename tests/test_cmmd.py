"""CMMD against its definition in float64, and its features against transformers' CLIP with the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from glance_bench.errors import MissingData
from glance_bench.metrics import cmmd as module
from glance_bench.metrics.base import CorpusMetric, ReferencedMetric
from glance_bench.metrics.cmmd import Cmmd, CmmdReference, cmmd, mean_kernel
from glance_bench.metrics.openclip import PublishedClip
from glance_bench.metrics.pixels import CROP_THEN_PIL

WIDTH, HEADS, LAYERS, SIDE, PATCH, EMBED = 32, 2, 2, 28, 14, 12


def unit(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d)) + shift
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Every pair by itself, in float64."""

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        pairs = [np.exp(-(((p - q) ** 2).sum()) / 200) for p in a.astype(float) for q in b.astype(float)]
        return float(np.mean(pairs))

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


def test_it_is_the_v_statistic_with_sigma_10() -> None:
    x, y = unit(30, 6, 0), unit(41, 6, 1, shift=0.5)
    assert cmmd(x, CmmdReference(y)) == pytest.approx(by_definition(x, y), abs=1e-6)
    assert by_definition(x, y) > 0.1
    # two points at right angles: 1 + 1 - 2 exp(-2 / 200)
    a, b = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    assert cmmd(a, CmmdReference(b)) == pytest.approx(2000 * (1 - np.exp(-0.01)), rel=1e-6)
    # each image counts beside itself, so two images a right angle apart are not what they would be without: -19.9
    both = np.concatenate([a, b])
    assert cmmd(both, CmmdReference(a)) == pytest.approx(500 * (1 - np.exp(-0.01)), rel=1e-6)
    assert cmmd(x, CmmdReference(x)) == pytest.approx(0, abs=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = unit(50, 8, 2), unit(33, 8, 3, shift=0.3)
    whole = mean_kernel(x, y), mean_kernel(x, x), mean_kernel(y, x)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert (mean_kernel(x, y), mean_kernel(x, x), mean_kernel(y, x)) == pytest.approx(whole, abs=1e-9)
    assert whole[0] == pytest.approx(whole[2], abs=1e-9)


def test_small_distances_survive_float32() -> None:
    """Near sets, as images of two samplers of one model are: their distance is a millionth of the kernel's means."""
    x = unit(200, 64, 4)
    y = x + 1e-3 * unit(200, 64, 5)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    expected = by_definition(x, y)
    assert 0 < expected < 1e-3
    assert cmmd(x, CmmdReference(y)) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("bad", [np.zeros((0, 6)), np.zeros((3, 5)), np.full((3, 6), np.nan), np.zeros(6)])
def test_what_cannot_be_measured_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError):
        cmmd(bad, CmmdReference(unit(4, 6, 0)))


# features


@pytest.fixture(scope="module")
def theirs() -> Any:
    """transformers' class, which the official code uses."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=EMBED,
        hidden_act="quick_gelu",
        initializer_factor=20.0,
    )
    return CLIPVisionModelWithProjection(config).eval()


@pytest.fixture(scope="module")
def model(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> PublishedClip:
    """open_clip's class, with the same weights under its own names."""
    folder = tmp_path_factory.mktemp("clip")
    config: dict[str, Any] = {
        "embed_dim": EMBED,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": SIDE,
            "layers": LAYERS,
            "width": WIDTH,
            "head_width": WIDTH // HEADS,
            "patch_size": PATCH,
        },
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "tiny-cmmd.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "tiny-cmmd.json")
    state = open_clip.CLIP(**config).state_dict()
    old = {name.removeprefix("vision_model."): tensor for name, tensor in theirs.state_dict().items()}
    state["visual.class_embedding"] = old["embeddings.class_embedding"]
    state["visual.conv1.weight"] = old["embeddings.patch_embedding.weight"]
    state["visual.positional_embedding"] = old["embeddings.position_embedding.weight"]
    state["visual.proj"] = old["visual_projection.weight"].T.contiguous()
    for ours, name in (("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")):
        for kind in ("weight", "bias"):
            state[f"visual.{ours}.{kind}"] = old[f"{name}.{kind}"]
    for i in range(LAYERS):
        block, layer = f"visual.transformer.resblocks.{i}", f"encoder.layers.{i}"
        for kind in ("weight", "bias"):
            qkv = [old[f"{layer}.self_attn.{p}_proj.{kind}"] for p in "qkv"]
            state[f"{block}.attn.in_proj_{kind}"] = torch.cat(qkv)
            state[f"{block}.attn.out_proj.{kind}"] = old[f"{layer}.self_attn.out_proj.{kind}"]
            for ours, name in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2")):
                state[f"{block}.{ours}.{kind}"] = old[f"{layer}.{name}.{kind}"]
            for ours, name in (("c_fc", "fc1"), ("c_proj", "fc2")):
                state[f"{block}.mlp.{ours}.{kind}"] = old[f"{layer}.mlp.{name}.{kind}"]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "w.safetensors")
    return PublishedClip("tiny", "tiny-cmmd", folder / "w.safetensors", CROP_THEN_PIL)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 40, 64, 3), dtype=np.uint8)


def test_features_are_those_of_the_official_class(
    model: PublishedClip, theirs: Any, images: np.ndarray
) -> None:
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    expected = []
    for image in images:
        square = Image.fromarray(image).crop((12, 0, 52, 40)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        array = np.asarray(square).astype(np.float32) / 255
        flags = {"do_resize": False, "do_center_crop": False, "do_rescale": False}
        inputs = processor(images=array, return_tensors="pt", input_data_format="channels_last", **flags)
        with torch.no_grad():
            embedding = theirs(**inputs).image_embeds[0].numpy()
        expected.append(embedding / np.linalg.norm(embedding))
    made = Cmmd(model).features(images)
    assert made.shape == (5, EMBED) and np.allclose(made, expected, atol=2e-5)
    assert np.linalg.norm(made, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert np.abs(made[0] - made[1]).max() > 1e-3, "the test's network cannot tell its images apart"


def test_from_images_to_the_number(model: PublishedClip, images: np.ndarray) -> None:
    metric = Cmmd(model)
    assert isinstance(metric, CorpusMetric) and isinstance(metric, ReferencedMetric)
    (column,) = metric.columns
    assert column.name == metric.name == "cmmd[tiny]" and column.better == "lower"
    mine, other = metric.features(images[:3]), metric.features(images[3:])
    reference = metric.reference_of(7 * other)  # features from elsewhere may have any length
    assert metric.reduce(mine, reference) == pytest.approx(by_definition(mine, other), abs=1e-5)
    assert "3 images" in metric.note(3, metric.reference_of(unit(5000, EMBED, 0)))
    assert "5 images" in metric.note(5000, metric.reference_of(unit(5, EMBED, 0)))
    assert metric.note(1000, metric.reference_of(unit(1000, EMBED, 0))) == ""


# the reference


def test_without_a_reference_it_waits(model: PublishedClip, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"cmmd\[tiny\] waits for reference"):
        Cmmd(model).reference(tmp_path)
    assert Cmmd(model).against(None).against_board and not Cmmd(model).against_board


def test_a_folder_of_images_is_the_reference(
    model: PublishedClip, images: np.ndarray, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    metric = Cmmd(model).against(folder)
    assert metric.recipe != Cmmd(model).recipe and metric.extractor == Cmmd(model).extractor
    reference = metric.reference(tmp_path)
    assert np.allclose(reference.features, metric.features(images), atol=1e-6)
    assert metric.reduce(metric.features(images), reference) == pytest.approx(0, abs=1e-5)


def test_the_factory_waits_for_its_weights() -> None:
    with pytest.raises(MissingData, match=r"waits for clip-vit-l-14-336 \(1.7 GB\): glance-bench prefetch"):
        module.vit_l_14_336()
