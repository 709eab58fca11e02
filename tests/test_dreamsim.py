"""DreamSim's ensemble on small towers, from the published archive to the distance, against attention written out."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from glance_bench.convert import convert
from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.metrics import diversity, dreamsim, oneig_diversity
from glance_bench.metrics.base import PromptMetric
from glance_bench.metrics.diversity import Diversity
from glance_bench.metrics.dreamsim import DreamSim, DreamSimDistance
from glance_bench.metrics.oneig_diversity import OneigDiversity
from glance_bench.weights import find_weights

WIDTH, PATCH, SIDE, DEPTH, EMBED, RANK, ALPHA = 128, 8, 32, 2, 10, 3, 6.0
State = dict[str, torch.Tensor]


def tower(seed: int, clip: bool) -> State:
    """The weights of one ViT under the names of the package."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) / 8

    state = {
        "cls_token": draw(1, 1, WIDTH),
        "pos_embed": draw(1, 1 + (SIDE // PATCH) ** 2, WIDTH),
        "patch_embed.proj.weight": draw(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": draw(WIDTH),
    }
    for i in range(DEPTH):
        shapes = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
        shapes |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
        for name, (rows, columns) in shapes.items():
            state |= {f"blocks.{i}.{name}.weight": draw(rows, columns), f"blocks.{i}.{name}.bias": draw(rows)}
        for name in ("norm1", "norm2"):
            state |= {f"blocks.{i}.{name}.weight": 1 + draw(WIDTH), f"blocks.{i}.{name}.bias": draw(WIDTH)}
    for name in ("norm", "pos_drop") if clip else ("norm",):
        state |= {f"{name}.weight": 1 + draw(WIDTH), f"{name}.bias": draw(WIDTH)}
    return state | ({"proj": draw(WIDTH, EMBED)} if clip else {})


TOWERS = [tower(0, clip=False), tower(1, clip=True), tower(2, clip=True)]


def adapter() -> State:
    generator = torch.Generator().manual_seed(3)
    found = {}
    for i in range(3):
        for block in range(DEPTH):
            start = f"base_model.model.extractor_list.{i}.model.blocks.{block}.attn.qkv"
            found[f"{start}.lora_A.weight"] = torch.randn(RANK, WIDTH, generator=generator) / 8
            found[f"{start}.lora_B.weight"] = torch.randn(3 * WIDTH, RANK, generator=generator) / 8
    return found


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module", params=["safetensors", "bin"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DreamSim]:
    """From an archive laid out as the published one (either kind of adapter file) and DINO's own file."""
    folder = tmp_path_factory.mktemp("published")
    top = "" if request.param == "bin" else "models/"
    updates = save(adapter()) if request.param == "safetensors" else pickled(adapter())
    config = {"r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.3, "bias": "none", "target_modules": ["qkv"]}
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        head = {"student": {"module.head.mlp.0.weight": torch.ones(2, 2)}}  # which the ensemble does not use
        archive.writestr(f"{top}dino_vitb16_pretrain.pth", pickled(head))
        archive.writestr(f"{top}clip_vitb16_pretrain.pth.tar", pickled({"state_dict": TOWERS[1]}))
        archive.writestr(f"{top}open_clip_vitb16_pretrain.pth.tar", pickled({"state_dict": TOWERS[2]}))
        archive.writestr(f"{top}ensemble_lora/adapter_model.{request.param}", updates)
        archive.writestr(f"{top}ensemble_lora/adapter_config.json", json.dumps(config))
        archive.writestr(f"{top}ensemble_lora/README.md", "nothing to read")
        archive.writestr(f"__MACOSX/{top}._clip_vitb16_pretrain.pth.tar", b"no weights")
    (folder / "dino.pth").write_bytes(pickled(TOWERS[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLANCE_BENCH_CACHE", str(folder / "cache"))
        for name, file in (("dreamsim-ensemble", "archive.zip"), ("dino-vit-b-16", "dino.pth")):
            convert(name, folder / file, sha256=hashlib.sha256((folder / file).read_bytes()).hexdigest())
        assert find_weights("dino-vit-b-16").name == "dino_vitbase16_pretrain.safetensors"
        yield dreamsim.published_dreamsim()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 30, 48, 3), dtype=np.uint8)


def norm(x: torch.Tensor, state: State, name: str, eps: float) -> torch.Tensor:
    apart = x - x.mean(dim=-1, keepdim=True)
    scaled = apart / torch.sqrt((apart**2).mean(dim=-1, keepdim=True) + eps)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def by_hand(image: np.ndarray, which: int) -> torch.Tensor:
    """One tower on one image, the updates beside the weights instead of in them."""
    state, updates = TOWERS[which], adapter()
    clip, eps = which > 0, 1e-5 if which else 1e-6
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    if clip:
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    small = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(((small / 255 - mean) / std).transpose(2, 0, 1)).float()
    patches = pixels.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)  # [3, rows, columns, PATCH, PATCH]
    patches = patches.permute(1, 2, 0, 3, 4).reshape(-1, 3 * PATCH * PATCH)
    tokens = patches @ state["patch_embed.proj.weight"].reshape(WIDTH, -1).T + state["patch_embed.proj.bias"]
    x = torch.cat([state["cls_token"][0], tokens]) + state["pos_embed"][0]
    if clip:
        x = norm(x, state, "pos_drop", eps)
    for i in range(DEPTH):
        h = norm(x, state, f"blocks.{i}.norm1", eps)
        qkv = h @ state[f"blocks.{i}.attn.qkv.weight"].T + state[f"blocks.{i}.attn.qkv.bias"]
        start = f"base_model.model.extractor_list.{which}.model.blocks.{i}.attn.qkv"
        qkv = qkv + ALPHA / RANK * (
            h @ updates[f"{start}.lora_A.weight"].T @ updates[f"{start}.lora_B.weight"].T
        )
        heads = []
        for q, k, v in zip(*(part.split(64, dim=1) for part in qkv.split(WIDTH, dim=1)), strict=True):
            heads.append(torch.softmax(q @ k.T / 8, dim=1) @ v)
        x = (
            x
            + torch.cat(heads, dim=1) @ state[f"blocks.{i}.attn.proj.weight"].T
            + state[f"blocks.{i}.attn.proj.bias"]
        )
        h = norm(x, state, f"blocks.{i}.norm2", eps)
        h = h @ state[f"blocks.{i}.mlp.fc1.weight"].T + state[f"blocks.{i}.mlp.fc1.bias"]
        h = h * torch.sigmoid(1.702 * h) if which == 1 else h * 0.5 * (1 + torch.erf(h / 2**0.5))
        x = x + h @ state[f"blocks.{i}.mlp.fc2.weight"].T + state[f"blocks.{i}.mlp.fc2.bias"]
    return norm(x, state, "norm", eps)[0] @ state["proj"] if clip else x[0]


def embedding(image: np.ndarray) -> torch.Tensor:
    whole = torch.cat([by_hand(image, which) for which in range(3)])
    return (whole - whole.mean()) / (whole - whole.mean()).norm()


def test_embeddings_step_by_step(model: DreamSim, images: np.ndarray) -> None:
    made = model.encode_images(images)
    assert made.shape == (3, WIDTH + 2 * EMBED)
    expected = torch.stack([embedding(image) for image in images]).numpy()
    assert np.allclose(made, expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3, "the test's network cannot tell its images apart"


def test_distances_and_diversity(model: DreamSim, images: np.ndarray) -> None:
    metric = DreamSimDistance(model)
    spread = Diversity(model)
    assert isinstance(metric, PromptMetric) and isinstance(spread, PromptMetric)
    assert (metric.name, spread.name) == ("dreamsim[ensemble]", "diversity[dreamsim]")
    assert metric.extractor == spread.extractor and "dreamsim: ensemble" in metric.recipe
    a, b, c = (embedding(image) for image in images)
    features = metric.features(images)
    pair = metric.compare(features[:2], features[1:])
    assert pair == pytest.approx(float((1 - a @ b) + (1 - b @ c)) / 2, abs=1e-5)
    assert metric.compare(features, features) == pytest.approx(0, abs=1e-6)
    assert np.isnan(metric.compare(features, None))
    pairs = [float(1 - x @ y) for x, y in ((a, b), (a, c), (b, c))]
    assert spread.compare(features, None) == pytest.approx(np.mean(pairs), abs=1e-5)


def test_oneig_diversity_sees_jpegs_and_no_black_images(model: DreamSim, images: np.ndarray) -> None:
    metric = OneigDiversity(model)
    assert isinstance(metric, PromptMetric) and metric.name == "oneig_diversity[dreamsim]"
    assert metric.extractor != Diversity(model).extractor and metric.recipe.startswith(metric.name)
    four = np.concatenate([images[:1], np.zeros_like(images[:1]), images[1:]])
    features = metric.features(four)
    assert np.isnan(features[1]).all() and np.isfinite(features[[0, 2, 3]]).all()

    def through_jpeg(image: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="jpeg")
        return np.asarray(Image.open(buffer).convert("RGB"))

    a, b, c = (embedding(through_jpeg(image)) for image in images)
    pairs = [float(1 - x @ y) for x, y in ((a, b), (a, c), (b, c))]
    assert metric.compare(features, None) == pytest.approx(np.mean(pairs), abs=1e-5)
    assert np.isnan(metric.compare(features[:2], None)), "one image that is not black has no pair"
    assert np.isnan(metric.features(np.zeros_like(images))).all()


def test_other_files_are_refused(model: DreamSim, images: np.ndarray) -> None:
    dino, archive = model._files
    with pytest.raises(GlanceBenchError, match="do not hold DreamSim's weights"):
        DreamSim(dino, dino).encode_images(images)
    with pytest.raises(GlanceBenchError, match="do not hold DreamSim's weights"):
        DreamSim(archive, archive).encode_images(images)


def test_they_wait_for_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path))
    makers = (dreamsim.dreamsim_distance, diversity.dreamsim_diversity, oneig_diversity.oneig_diversity)
    for factory in makers:
        with pytest.raises(
            MissingData, match=r"waits for dino-vit-b-16 \(343 MB\): glance-bench prefetch dino-vit"
        ):
            factory()
