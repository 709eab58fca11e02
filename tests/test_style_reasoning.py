"""OneIG's style and reasoning scores on the real classes, reduced and random, from pickle to number."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from glance_bench.convert import convert
from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.metrics import oneig_reasoning, oneig_style
from glance_bench.metrics.base import SampleMetric
from glance_bench.metrics.oneig_cells import official_cells
from glance_bench.metrics.oneig_reasoning import OneigReasoning
from glance_bench.metrics.oneig_style import Csd, OneigStyle, style_key
from glance_bench.metrics.visiontower import VisionTower
from glance_bench.prompts import Prompt
from glance_bench.weights import find_weights

SIDE, WIDTH, EMBED = 28, 32, 12
TOWER: dict[str, Any] = {"image_size": SIDE, "layers": 2, "width": WIDTH, "head_width": 16, "patch_size": 14}
TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
ANSWERS = {"A water molecule: H2O/ice": 0, "the number 42": 1}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def prompt(id: str, **meta: Any) -> Prompt:
    return Prompt(id, "a prompt", "anime", (), meta)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def images() -> np.ndarray:
    coarse = torch.from_numpy(np.random.default_rng(0).random((4, 3, 5, 5)))
    fine = torch.nn.functional.interpolate(coarse, size=(40, 40), mode="bicubic").clamp(0, 1)
    return (255 * fine).round().to(torch.uint8).numpy().transpose(0, 2, 3, 1)


def as_seen(image: np.ndarray) -> torch.Tensor:
    """JPEG, resized by PIL, normalised: what reaches either encoder, float32[1, 3, SIDE, SIDE]."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="jpeg")
    small = Image.open(buffer).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = (np.asarray(small) / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(pixels.transpose(2, 0, 1)).float()[None]


def test_cells_go_through_jpeg_and_black_ones_are_dropped(images: np.ndarray) -> None:
    images[1] = 0
    cells, kept = official_cells(images)
    assert kept == [0, 2, 3] and cells.shape == (3, 40, 40, 3)
    buffer = io.BytesIO()
    Image.fromarray(images[2]).save(buffer, format="jpeg")  # Pillow's default quality
    assert np.array_equal(cells[1], np.asarray(Image.open(buffer).convert("RGB")))
    assert not np.array_equal(cells[1], images[2])
    none, kept = official_cells(np.zeros((2, 8, 8, 3), np.uint8))
    assert len(none) == 0 and kept == []


# style


class OfficialCsd(torch.nn.Module):
    """The class as its authors define it: a tower without projection, and two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = open_clip.CLIP(EMBED, TOWER, TEXT, quick_gelu=True).visual
        self.backbone.proj = None
        self.last_layer_style = torch.nn.Parameter(torch.randn(WIDTH, EMBED))
        self.last_layer_content = torch.nn.Parameter(torch.randn(WIDTH, EMBED))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self.backbone(x) @ self.last_layer_style, dim=1)


@pytest.fixture(scope="module")
def csd(tmp_path_factory: pytest.TempPathFactory) -> OfficialCsd:
    folder = tmp_path_factory.mktemp("config")
    config = {"embed_dim": EMBED, "quick_gelu": True, "vision_cfg": TOWER, "text_cfg": TEXT}
    (folder / "tiny-csd.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "tiny-csd.json")
    torch.manual_seed(1)
    return OfficialCsd().eval()


@pytest.fixture(scope="module")
def encoder() -> Any:
    torch.manual_seed(2)
    return CLIPVisionModelWithProjection(vision_config()).eval()


def vision_config(**changes: Any) -> CLIPVisionConfig:
    kinds = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    kinds |= {"image_size": SIDE, "patch_size": 14, "projection_dim": EMBED}
    return CLIPVisionConfig(**(kinds | changes), hidden_act="quick_gelu", initializer_factor=20.0)


def unit_rows(count: int, dtype: torch.dtype) -> torch.Tensor:
    rows = torch.randn(count, EMBED)
    return (rows / rows.norm(dim=1, keepdim=True)).to(dtype)


@pytest.fixture(scope="module")
def references() -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    kinds = {"csd": torch.float32, "se": torch.bfloat16}
    return {
        which: {"line_art": unit_rows(5, kind), "lego": unit_rows(1, kind)} for which, kind in kinds.items()
    }


@pytest.fixture(scope="module")
def answers() -> torch.Tensor:
    """One row for each of ANSWERS."""
    return torch.randn(2, 20, generator=torch.Generator().manual_seed(5)).bfloat16().float()


@pytest.fixture(scope="module")
def cache(
    csd: OfficialCsd, references: Any, answers: torch.Tensor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A user's cache in which the published forms, all of them pickles, were converted."""
    state = {f"module.{name}": tensor for name, tensor in csd.state_dict().items()}
    published = {
        "csd-vit-l": {"model_state_dict": state, "args": argparse.Namespace(lr=1e-4), "epoch": 7},
        "oneig-style-csd-references": references["csd"],
        "oneig-style-se-references": references["se"],
        "oneig-reasoning-answers": {text: answers[i : i + 1].bfloat16() for text, i in ANSWERS.items()},
    }
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLANCE_BENCH_CACHE", str(folder / "cache"))
        for name, document in published.items():
            torch.save(document, folder / f"{name}.pt")
            convert(name, folder / f"{name}.pt", sha256=sha256(folder / f"{name}.pt"))
        yield folder / "cache"


@pytest.fixture
def style(cache: Path, encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OneigStyle:
    """As registered, but for the size of CSD."""
    encoder.save_pretrained(tmp_path / "encoder")
    places = {"oneig-style-encoder": tmp_path / "encoder"}
    monkeypatch.setattr(oneig_style, "find_weights", lambda name: places.get(name) or find_weights(name))
    metric = oneig_style.oneig_style()
    tower = metric._encoders[0]
    assert isinstance(tower, Csd) and tower.architecture == "ViT-L-14-quickgelu"
    tower.architecture = "tiny-csd"
    return metric


def test_style_step_by_step(
    style: OneigStyle, csd: OfficialCsd, encoder: Any, references: Any, images: np.ndarray
) -> None:
    assert isinstance(style, SampleMetric)
    prompts = [prompt("a", **{"class": "Line Art"}), prompt("b", **{"class": "lego"})]
    prompts += [prompt("c", **{"class": "Line Art"}), prompt("d", **{"class": "Lego"})]
    rows = style.score(images, prompts)
    floored = 0
    for image, one, row in zip(images, prompts, rows, strict=True):
        key = {"line art": "line_art", "lego": "lego"}[one.meta["class"].lower()]
        with torch.no_grad():
            first = csd(as_seen(image))[0]
            second = encoder(pixel_values=as_seen(image)).image_embeds[0]
        second = second / second.norm()
        a = float((references["csd"][key] @ first).max())
        b = float((references["se"][key].float() @ second).max())
        floored += (a < 0) + (b < 0)
        assert row["oneig_style_csd"] == pytest.approx(max(a, 0), abs=2e-5)
        assert row["oneig_style_se"] == pytest.approx(max(b, 0), abs=2e-5)
        assert row["oneig_style"] == pytest.approx((max(a, 0) + max(b, 0)) / 2, abs=2e-5)
    assert 0 < floored < 8, "no value below zero in this test, or none above"
    assert set(rows[0]) == {column.name for column in style.columns}


def test_only_prompts_with_a_style_and_images_that_are_not_black_have_one(
    style: OneigStyle, images: np.ndarray
) -> None:
    images[1] = 0
    prompts = [prompt("a"), prompt("b", **{"class": "lego"}), prompt("c", **{"class": "lego"})]
    prompts.append(prompt("d", **{"class": "None"}))
    rows = style.score(images, prompts)
    assert [bool(row) for row in rows] == [False, False, True, False]
    (alone,) = style.score(images[2:3], prompts[2:3])
    assert rows[2]["oneig_style"] == pytest.approx(alone["oneig_style"], abs=1e-6)
    assert style.score(images[:1], prompts[:1]) == [{}]
    with pytest.raises(GlanceBenchError, match="no reference embeddings for the style 'vaporwave'"):
        style.score(images[:1], [prompt("x", **{"class": "Vaporwave"})])
    with pytest.raises(ValueError, match="4 images for 1 prompts"):
        style.score(images, prompts[:1])


def test_style_names() -> None:
    assert style_key({"class": "Abstract Expressionism"}) == "abstract_expressionism"
    assert [style_key({"class": value}) for value in (None, "", "nan", "None", float("nan"))] == [""] * 5
    assert style_key({}) == ""


def test_style_recipe_names_all_four_files(style: OneigStyle, tmp_path: Path) -> None:
    assert style.recipe.count("against") == 2 and "JPEG 75" in style.recipe
    csd_references, se_references = style._files
    swapped = OneigStyle(style._encoders[0], style._encoders[1], se_references, csd_references)  # type: ignore[arg-type]
    assert swapped.recipe != style.recipe


def test_another_network_is_not_taken_for_csd(tmp_path: Path, csd: OfficialCsd, images: np.ndarray) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"model_state_dict/module.backbone.proj": torch.zeros(2, 2)}, file)
    with pytest.raises(GlanceBenchError, match="does not hold CSD's weights"):
        Csd(file, "tiny-csd").encode_images(images)


# reasoning


@pytest.fixture(scope="module")
def llm2clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A whole checkpoint as published: its own text side, a projection of 20 and code of its own, never to be run."""
    torch.manual_seed(4)
    model = CLIPVisionModelWithProjection(vision_config(projection_dim=20)).eval()
    folder = tmp_path_factory.mktemp("llm2clip")
    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    assert any(name.startswith("vision_model.embeddings") for name in state)
    save_file(
        state | {"text_adapter.0.weight": torch.zeros(3)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    vision = vision_config(projection_dim=EMBED).to_dict()  # what counts is the number beside it
    auto = {"AutoModel": "modeling_clip.CLIPModel"}
    whole = {
        "model_type": "clip",
        "auto_map": auto,
        "projection_dim": 20,
        "vision_config": vision,
        "text_config": {},
    }
    (folder / "config.json").write_text(json.dumps(whole))
    (folder / "modeling_clip.py").write_text("raise SystemExit('the code of the repository was run')\n")
    return model, folder


@pytest.fixture
def reasoning(
    llm2clip: tuple[Any, Path], answers: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> OneigReasoning:
    places = {"llm2clip-openai-l-14-336": llm2clip[1]}
    monkeypatch.setattr(oneig_reasoning, "find_weights", lambda name: places.get(name) or find_weights(name))
    return oneig_reasoning.oneig_reasoning()


def test_reasoning_step_by_step(
    reasoning: OneigReasoning, llm2clip: tuple[Any, Path], answers: torch.Tensor, images: np.ndarray
) -> None:
    assert isinstance(reasoning, SampleMetric)
    texts = list(ANSWERS)
    asked = [texts[0], texts[1], texts[0], texts[1]]
    rows = reasoning.score(images, [prompt(str(i), answer=text) for i, text in enumerate(asked)])
    expected = []
    for image, text in zip(images, asked, strict=True):
        with torch.no_grad():
            a, b = llm2clip[0](pixel_values=as_seen(image)).image_embeds[0], answers[ANSWERS[text]]
        expected.append(float(a @ b / a.norm() / b.norm()))
    assert [row["oneig_reasoning"] for row in rows] == pytest.approx(expected, abs=2e-5)
    assert min(expected) < 0, "no value below zero in this test, which nothing may clip"
    assert "JPEG 75" in reasoning.recipe and "answers" in reasoning.recipe


def test_reasoning_scores_only_what_has_an_answer(reasoning: OneigReasoning, images: np.ndarray) -> None:
    images[2] = 0
    text = next(iter(ANSWERS))
    prompts = [prompt("a"), prompt("b", answer=text), prompt("c", answer=text), prompt("d", answer="")]
    assert [bool(row) for row in reasoning.score(images, prompts)] == [False, True, False, False]
    with pytest.raises(GlanceBenchError, match="no features for the answer of prompt reasoning/007"):
        reasoning.score(images[:1], [prompt("reasoning/007", answer="another")])


def test_towers_that_are_not_whole_are_refused(encoder: Any, tmp_path: Path, images: np.ndarray) -> None:
    with pytest.raises(GlanceBenchError, match="cannot be loaded"):
        VisionTower("x", tmp_path / "absent").encode_images(images)
    encoder.save_pretrained(tmp_path / "x")
    state = load_file(tmp_path / "x" / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, tmp_path / "x" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GlanceBenchError, match="lacks weights, such as visual_projection"):
        VisionTower("x", tmp_path / "x").encode_images(images)


def test_both_say_what_they_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path))
    with pytest.raises(MissingData, match="waits for csd-vit-l .*: glance-bench prefetch csd-vit-l"):
        oneig_style.oneig_style()
    with pytest.raises(MissingData, match="waits for llm2clip-openai-l-14-336 "):
        oneig_reasoning.oneig_reasoning()

    def only_the_tower(name: str) -> Path:
        return tmp_path if name.startswith("llm2clip") else find_weights(name)

    monkeypatch.setattr(oneig_reasoning, "find_weights", only_the_tower)
    with pytest.raises(
        MissingData, match="with OneIG's own code: glance-bench convert oneig-reasoning-answers FILE"
    ):
        oneig_reasoning.oneig_reasoning()
