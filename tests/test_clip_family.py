"""CLIP score and HPSv2.1 on open_clip's real architectures, reduced and random, through their own loading paths."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as tv

from glance_bench.convert import convert
from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.metrics import clip, hpsv2, openclip
from glance_bench.metrics.base import SampleMetric
from glance_bench.metrics.clip import ClipScore
from glance_bench.metrics.openclip import CLIP_MEAN, CLIP_STD, PublishedClip, _in_words
from glance_bench.metrics.pixels import CENTRE_CROP, CROP_THEN_PIL, PAD, PAD_CLAMPED, PIL_CENTRE_CROP
from glance_bench.prompts import Prompt
from glance_bench.weights import WEIGHTS, find_weights, weights_folder

SIDE, CONTEXT = 32, 12
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"


def prompt(text: str) -> Prompt:
    return Prompt(text, text, "x")


@pytest.fixture(scope="module", autouse=True)
def architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """tiny and tiny-quickgelu beside open_clip's own, as ViT-L-14-336 and its quickgelu sister are."""
    folder = tmp_path_factory.mktemp("configs")
    for name, quick in (("tiny", False), ("tiny-quickgelu", True)):
        (folder / f"{name}.json").write_text(json.dumps(CONFIG | ({"quick_gelu": True} if quick else {})))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    return open_clip.CLIP(**CONFIG).eval()


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "open_clip_model.safetensors"
    save_file({name: tensor.contiguous().half() for name, tensor in network.state_dict().items()}, file)
    return file


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 50, 72, 3), dtype=np.uint8)


# how pixels get there


def floats(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)


def test_centre_crop_is_pi_flows(images: np.ndarray) -> None:
    made = CENTRE_CROP.apply(images, SIDE)
    assert made.shape == (3, 3, SIDE, SIDE) and made.dtype == torch.float32
    for image, pixels in zip(images, made, strict=True):
        wide = tv.resize(
            floats(image), [32, 46], tv.InterpolationMode.BICUBIC, antialias=True
        )  # 72 * 32 / 50 = 46.08
        assert torch.allclose(pixels, wide.clamp(0, 1)[:, :, 7:39], atol=1e-6)


@pytest.mark.parametrize(("preparation", "clamped"), [(PAD, False), (PAD_CLAMPED, True)])
def test_padding_is_black_before_normalisation(images: np.ndarray, preparation: Any, clamped: bool) -> None:
    images[1] = 255 * (np.arange(72)[:, None] > 36)
    made = preparation.apply(images, SIDE)
    bicubic = tv.InterpolationMode.BICUBIC
    small = tv.resize(floats(images[1]), [22, 32], bicubic, antialias=True)  # 50 * 32 / 72 = 22.2
    assert small.min() < 0 and small.max() > 1, "nothing to clamp in this test"
    assert torch.allclose(made[1][:, 5:27], small.clamp(0, 1) if clamped else small, atol=1e-6)
    assert (made[1][:, :5] == 0).all() and (made[1][:, 27:] == 0).all()
    square = np.full((1, SIDE, SIDE, 3), 51, np.uint8)
    assert torch.allclose(preparation.apply(square, SIDE), torch.full((1, 3, SIDE, SIDE), 0.2))
    flat = np.full(
        (1, 16, SIDE, 3), 255, np.uint8
    )  # the longest side fits already, and it is padded all the same
    assert preparation.apply(flat, SIDE).sum(dim=(0, 1, 3)).tolist() == [0] * 8 + [96.0] * 16 + [0] * 8


def test_the_largest_square_by_pil(images: np.ndarray) -> None:
    tall = np.ascontiguousarray(images.transpose(0, 2, 1, 3))
    for own, crop in ((images, (11, 0, 61, 50)), (tall, (0, 11, 50, 61))):
        made = CROP_THEN_PIL.apply(own, SIDE)
        expected = Image.fromarray(own[2]).crop(crop).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        assert torch.equal(made[2], floats(np.asarray(expected)))
    shorter = Image.fromarray(images[0]).resize((46, 32), Image.Resampling.BICUBIC).crop((7, 0, 39, 32))
    assert torch.equal(PIL_CENTRE_CROP.apply(images, SIDE)[0], floats(np.asarray(shorter)))


# the score


def by_hand(network: Any, image: torch.Tensor, tokens: torch.Tensor) -> float:
    """The cosine, from pixels in [0, 1] and tokens, by the network alone."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    with torch.no_grad():
        a, b = network.encode_image(((image - mean) / std)[None])[0], network.encode_text(tokens[None])[0]
    return float(a @ b / a.norm() / b.norm())


def half(network: Any, quick: bool = False) -> Any:
    """The network with the weights as the file rounds them."""
    made = open_clip.CLIP(**CONFIG, quick_gelu=quick)
    made.load_state_dict({name: tensor.half().float() for name, tensor in network.state_dict().items()})
    return made.eval()


@pytest.mark.parametrize("quick", [False, True])
def test_clip_score_of_published_weights(
    network: Any, weights: Path, images: np.ndarray, quick: bool
) -> None:
    metric = ClipScore(PublishedClip("own", "tiny-quickgelu" if quick else "tiny", weights, CENTRE_CROP))
    assert isinstance(metric, SampleMetric)
    rows = metric.score(images, [prompt("a red cross"), prompt("An OPEN sign!"), prompt(LONG)])
    tokens = open_clip.SimpleTokenizer(context_length=CONTEXT)(["a red cross", "An OPEN sign!", LONG])
    pixels = CENTRE_CROP.apply(images, SIDE)
    exact = half(network, quick)
    expected = [by_hand(exact, p, t) for p, t in zip(pixels, tokens, strict=True)]
    assert [row["clip[own]"] for row in rows] == pytest.approx(expected, abs=1e-5)
    assert [row["clip_truncated[own]"] for row in rows] == [0, 0, 1]
    architecture = "tiny-quickgelu" if quick else "tiny"
    digest = metric._model.digest
    assert len(digest) == 12
    assert metric.recipe == (
        f"clip[own]: open_clip {architecture}, weights {digest}, shorter side resized on floats, bicubic with "
        "antialias, clamped, centre crop, whole prompt, raw cosine, float32"
    )


def test_activations_give_different_scores(weights: Path, images: np.ndarray) -> None:
    values = [
        ClipScore(PublishedClip("m", name, weights, CENTRE_CROP)).score(images[:1], [prompt("a cat")])[0][
            "clip[m]"
        ]
        for name in ("tiny", "tiny-quickgelu")
    ]
    assert abs(float(values[0]) - float(values[1])) > 1e-5


def test_windows_are_the_mean_of_the_unit_embeddings_of_their_windows(
    network: Any, weights: Path, images: np.ndarray
) -> None:
    model = PublishedClip("own", "tiny", weights, CENTRE_CROP)
    metric = ClipScore(model, windowed=True)
    rows = metric.score(images[:2], [prompt("a red cross"), prompt(LONG)])
    short = ClipScore(model).score(images[:1], [prompt("a red cross")])[0]["clip[own]"]
    assert rows[0]["clip_windowed[own]"] == pytest.approx(short, abs=1e-6)
    assert [row["clip_long[own]"] for row in rows] == [0, 1]
    assert set(rows[0]) == {column.name for column in metric.columns}

    words = LONG.split()  # each is one token: windows of 10 start 5 apart, the last ends with the text
    assert len(open_clip.SimpleTokenizer().encode(LONG)) == len(words) == 17
    windows = [" ".join(words[start : start + 10]) for start in (0, 5, 7)]
    exact = half(network)
    with torch.no_grad():
        parts = exact.encode_text(open_clip.SimpleTokenizer(context_length=CONTEXT)(windows))
        text = (parts / parts.norm(dim=1, keepdim=True)).mean(dim=0)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        image = exact.encode_image((CENTRE_CROP.apply(images, SIDE)[1:2] - mean) / std)[0]
    expected = float(text @ image / text.norm() / image.norm())
    assert rows[1]["clip_windowed[own]"] == pytest.approx(expected, abs=1e-5)
    assert "windows" in metric.recipe and metric.recipe != ClipScore(model).recipe


def test_windows_cover_every_length(weights: Path) -> None:
    model = PublishedClip("own", "tiny", weights, CENTRE_CROP)
    seen: list[list[int]] = []
    model._encode_tokens = lambda tokens: (
        seen.extend(tokens.tolist()),
        np.ones((len(tokens), 2), np.float32),
    )[1]  # type: ignore[method-assign]
    for count in (0, 1, 9, 10, 11, 15, 16, 20, 21, 300):
        seen.clear()
        text = " ".join(str(i % 10) for i in range(count))
        (flag,) = model.encode_windows([text])[1]
        tokens = open_clip.SimpleTokenizer().encode(text)
        inner = [[t for t in window if t not in (0, 49406, 49407)] for window in seen]
        assert bool(flag) == (count > 10) and all(len(window) <= 10 for window in inner)
        assert inner[0] == tokens[:10] and inner[-1] == tokens[-10:]
        if count > 10:  # neighbours overlap by at least half, so that nothing is missed
            starts = [*range(0, count - 10, 5), count - 10]
            assert inner == [tokens[start : start + 10] for start in starts]


@pytest.mark.parametrize("kind", ["words", "one word", "Chinese"])
def test_a_prompt_of_100_000_characters_is_flagged(weights: Path, images: np.ndarray, kind: str) -> None:
    letters = np.random.default_rng(0).integers(97, 123, 100_000)
    text = {"words": "ab " * 33_334, "one word": "".join(map(chr, letters)), "Chinese": "\u4eba" * 100_000}[
        kind
    ]
    began = time.monotonic()
    (row,) = ClipScore(PublishedClip("own", "tiny", weights, CENTRE_CROP)).score(images[:1], [prompt(text)])
    assert row["clip_truncated[own]"] == 1 and math.isfinite(float(row["clip[own]"]))
    assert time.monotonic() - began < 60, "the tokenizer's time grew with the square of the word"


def test_words_of_an_ordinary_length_are_left_alone() -> None:
    text = "a " + 499 * "x" + " b\n" + 20 * (400 * "\u4eba" + "\u3002") + "a" + 499 * "!" + 600 * "7"
    assert _in_words(text) == text
    assert _in_words(1100 * "x" + 499 * "-") == f"{500 * 'x'} {500 * 'x'} {100 * 'x'}{499 * '-'}"
    assert _in_words(600 * "_") == f"{500 * '_'} {100 * '_'}"


def test_scores_do_not_depend_on_the_batch(weights: Path) -> None:
    many = np.random.default_rng(1).integers(0, 256, (67, 40, 36, 3), dtype=np.uint8)
    model = PublishedClip("own", "tiny", weights, PAD)
    whole = model.encode_images(many)
    assert np.allclose(model.encode_images(many[60:]), whole[60:], atol=1e-5)
    assert np.allclose(model.encode_images(many[:1]), whole[:1], atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path: Path, images: np.ndarray) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"visual.proj": torch.zeros(1)}, file)
    with pytest.raises(GlanceBenchError, match="does not hold the weights of tiny"):
        PublishedClip("own", "tiny", file, CENTRE_CROP).encode_images(images)


# as registered


def test_factories_wait_for_their_weights_and_say_the_command() -> None:
    for factory, name in (
        (clip.vit_l_14_336, "clip-vit-l-14-336"),
        (clip.vit_l_14_336_windowed, "clip-vit-l-14-336"),
        (hpsv2.vit_h_14, "hpsv2.1"),
        (hpsv2.vit_h_14_quickgelu, "hpsv2.1"),
    ):
        with pytest.raises(MissingData, match=rf"waits for {name} \(.* GB\): glance-bench prefetch {name}"):
            factory()


def test_making_them_imports_no_torch() -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from glance_bench.metrics import clip, hpsv2, cmmd, lpips, psnr, ssim\n"
        "from glance_bench.metrics.openclip import PublishedClip\n"
        "from glance_bench.metrics.pixels import CENTRE_CROP\n"
        "model = PublishedClip('m', 'ViT-L-14-336-quickgelu', Path(__import__('os').devnull), CENTRE_CROP)\n"
        "made = [clip.ClipScore(model), cmmd.Cmmd(model), psnr.Psnr(), ssim.Ssim()]\n"
        "assert all(m.columns and m.name for m in made)\n"
        "assert not {'torch', 'open_clip', 'transformers'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_architectures_exist_as_they_are_asked_for() -> None:
    plain, quick = (open_clip.get_model_config(name) for name in ("ViT-H-14", "ViT-H-14-quickgelu"))
    assert "quick_gelu" not in plain and quick.pop("quick_gelu") is True and quick == plain
    large = open_clip.get_model_config("ViT-L-14-336-quickgelu")
    assert large["quick_gelu"] is True and large["vision_cfg"]["image_size"] == 336


def test_clip_score_finds_its_weights_in_the_hubs_cache(
    weights: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openclip, "find_weights", lambda name: {"clip-vit-l-14-336": weights.parent}[name])
    for factory, name in ((clip.vit_l_14_336, "clip"), (clip.vit_l_14_336_windowed, "clip_windowed")):
        metric = factory()
        assert metric.name == f"{name}[vit-l-14-336-quickgelu/openai]"
        model = metric._model
        assert isinstance(model, PublishedClip) and model.architecture == "ViT-L-14-336-quickgelu"
        model.architecture = "tiny-quickgelu"
        assert math.isfinite(float(metric.score(images[:1], [prompt("a cat")])[0][metric.name]))
    monkeypatch.setattr(openclip, "find_weights", lambda name: tmp_path)  # a snapshot without the file
    with pytest.raises(MissingData, match="glance-bench prefetch clip-vit-l-14-336"):
        clip.vit_l_14_336()


def test_hpsv2_from_the_pickle_to_the_score(
    network: Any, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))
    original = tmp_path / "HPS_v2.1_compressed.pt"
    torch.save({"epoch": 1, "name": "x", "state_dict": network.state_dict()}, original)
    convert("hpsv2.1", original, sha256=hashlib.sha256(original.read_bytes()).hexdigest())
    assert find_weights("hpsv2.1") == weights_folder("hpsv2.1") / str(WEIGHTS["hpsv2.1"].converted)
    tokens = open_clip.SimpleTokenizer(context_length=CONTEXT)(["a cat", LONG, "An OPEN sign!"])
    scores = []
    for factory, name, quick, preparation in (
        (hpsv2.vit_h_14, "hpsv2.1[vit-h-14]", False, PAD),
        (hpsv2.vit_h_14_quickgelu, "hpsv2.1[vit-h-14-quickgelu]", True, PAD_CLAMPED),
    ):
        metric = factory()
        model = metric._model
        assert isinstance(model, PublishedClip) and model.architecture == (
            "ViT-H-14-quickgelu" if quick else "ViT-H-14"
        )
        model.architecture = "tiny-quickgelu" if quick else "tiny"
        rows = metric.score(images, [prompt("a cat"), prompt(LONG), prompt("An OPEN sign!")])
        exact = open_clip.CLIP(**CONFIG, quick_gelu=quick).eval()
        exact.load_state_dict(network.state_dict())
        pixels = preparation.apply(images, SIDE)
        expected = [by_hand(exact, p, t) for p, t in zip(pixels, tokens, strict=True)]
        assert metric.name == name
        assert [row[name] for row in rows] == pytest.approx(expected, abs=1e-5)
        flag = name.replace("[", "_truncated[")
        assert [row[flag] for row in rows] == [0, 1, 0]
        assert "padded with black" in metric.recipe
        scores.append([row[name] for row in rows])
    assert scores[0] != scores[1]
