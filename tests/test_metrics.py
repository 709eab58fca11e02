"""The formulas on small data, the OCR on drawn words, CLIP and Frechet on a tiny random model."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.linalg import sqrtm

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import CorpusMetric, PromptMetric, SampleMetric, UnitMetric
from glance_bench.metrics.clip import ClipScore
from glance_bench.metrics.diversity import Diversity
from glance_bench.metrics.fidelity import Fidelity
from glance_bench.metrics.frechet import REFERENCE_KINDS, Frechet, Moments, frechet_distance, reference_images
from glance_bench.metrics.health import Health
from glance_bench.metrics.ocr import Ocr, normalise, read_text
from glance_bench.metrics.openclip import OpenClip
from glance_bench.metrics.truth import Truth
from glance_bench.prompts import Prompt
from glance_bench.prompts.testbed import load
from glance_bench.registry import METRICS
from glance_bench.testbed.scenes import KINDS, sample_scene
from glance_bench.testbed.world import render


def prompt(id: str, text: str, wanted: tuple[str, ...] = (), meta: Mapping[str, Any] | None = None) -> Prompt:
    return Prompt(id, text, "x", wanted, meta or {})


BLANK = np.zeros((64, 64, 3), np.uint8)


def drawn(text: str, ink: str = "black", paper: str = "white") -> np.ndarray:
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    image = Image.new("RGB", (64, 64), paper)
    draw = ImageDraw.Draw(image)
    draw.multiline_text((4, 8), text, fill=ink, font=ImageFont.truetype(str(font), 17))
    return np.asarray(image)


def test_registered_metrics_are_cheap_to_make_and_have_distinct_columns() -> None:
    code = (
        "import sys\n"
        "from glance_bench.metrics.truth import Truth\nfrom glance_bench.metrics.ocr import Ocr\n"
        "from glance_bench.metrics.health import Health\n"
        "import glance_bench.metrics.clip, glance_bench.metrics.frechet\n"
        "made = [Truth(), Ocr(), Health()]\n"
        "names = [c.name for m in made for c in m.columns]\n"
        "assert len(names) == len(set(names)) and all(m.recipe for m in made)\n"
        "assert not {'torch', 'rapidocr', 'open_clip'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"truth", "ocr", "clip[testbed-clip]", "fd[testbed-clip]", "health"} <= set(METRICS.names())


def test_metrics_have_the_shape_of_their_kind() -> None:
    for metric, protocol in ((Truth(), SampleMetric), (Ocr(), SampleMetric), (Health(), UnitMetric)):
        assert isinstance(metric, protocol)


# truth


def test_truth_counts_the_attributes_that_hold() -> None:
    rng = np.random.default_rng(5)
    scenes = [sample_scene(rng, kind) for kind in KINDS]
    prompts = [prompt(str(i), "", meta={"scene": scene.to_json()}) for i, scene in enumerate(scenes)]
    rows = Truth().score(np.stack([render(scene, rng) for scene in scenes]), prompts)
    assert [row["truth"] for row in rows] == [1.0] * len(scenes)
    assert all(row["truth_all"] == 1.0 and row["truth_missing"] == "" for row in rows)


def test_truth_of_a_black_image_is_low_and_says_what_is_missing() -> None:
    scene = sample_scene(np.random.default_rng(1), "object")
    row = Truth().score(BLANK[None], [prompt("p", "", meta={"scene": scene.to_json()})])[0]
    assert row["truth"] < 0.5 and row["truth_all"] == 0.0
    assert "colour" in str(row["truth_missing"])


def test_truth_leaves_prompts_without_a_scene_alone() -> None:
    assert Truth().score(BLANK[None], [prompt("p", "a free prompt")]) == [{}]


# OCR


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Open, 24/7!", "open 247"),
        ("  A\tB\n C ", "a b c"),
        ("\uff26\uff35\uff2c\uff2c \u2460", "full 1"),  # full-width letters, a circled digit
        ("STRA\u00dfE", "strasse"),
        ("\u202ecafe\u0301\u202c", "caf\u00e9"),  # RTL marks go, the accent stays
        ("\u0915\u093f", "\u0915\u093f"),  # a vowel sign is part of its letter
        ("...", ""),
        ("\x1b[31mred", "31mred"),
    ],
)
def test_normalise(text: str, normal: str) -> None:
    assert normalise(text) == normal
    assert normalise(normal) == normal


def scored(wanted: tuple[str, ...], lines: list[str]) -> dict[str, Any]:
    metric = Ocr(read=lambda images: [lines for _ in images])
    return dict(metric.score(BLANK[None], [prompt("p", "t", wanted)])[0])


def test_ocr_formulas() -> None:
    row = scored(("the CAT", "and the hat"), ["THE cat", "and a hat"])
    assert row["ocr_word_accuracy"] == pytest.approx(4 / 5)  # the second "the" is missing
    assert row["ocr_exact"] == 0.0
    assert row["ocr_ned_similarity"] == pytest.approx(1 - 3 / 19)
    assert row["ocr_read"] == "THE cat / and a hat"
    assert scored(("OPEN!",), ["open"])["ocr_exact"] == 1.0
    swapped = scored(("one two",), ["two", "one"])
    assert (swapped["ocr_word_accuracy"], swapped["ocr_exact"]) == (1.0, 0.0)
    assert scored(("OPEN",), [])["ocr_ned_similarity"] == 0.0


def test_ocr_reads_only_prompts_with_text() -> None:
    seen = []

    def read(images: np.ndarray) -> list[list[str]]:
        seen.append(len(images))
        return [["OPEN"]] * len(images)

    prompts = [prompt("a", "t"), prompt("b", "t", ("OPEN",)), prompt("c", "t", ("?!",))]
    rows = Ocr(read=read).score(np.stack([BLANK] * 3), prompts)
    assert seen == [1] and rows[0] == rows[2] == {} and rows[1]["ocr_exact"] == 1.0
    assert Ocr(read=read).score(BLANK[None], prompts[:1]) == [{}] and seen == [1]


def test_rapidocr_reads_as_drawn_and_finds_nothing_in_nothing() -> None:
    images = np.stack([drawn("OPEN"), drawn("COFE", "yellow", "navy"), BLANK, drawn("FISH\nMENU")])
    assert read_text(images) == [["OPEN"], ["COFE"], [], ["FISH", "MENU"]]  # spelling and order are kept
    assert "PP-OCRv6" in Ocr().recipe


# health


def test_health_counts_each_image_once() -> None:
    columns = {"finite": [True, False, False, True], "black": [False, True, False, True]}
    records = pd.DataFrame(columns, index=[4, 5, 6, 7])
    flags = Health().flags(records)
    assert flags.index.tolist() == [4, 5, 6, 7]
    assert flags.sum().to_dict() == {"failed": 3, "non_finite": 2, "black": 2}


# CLIP and Frechet


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> OpenClip:
    open_clip = pytest.importorskip("open_clip")
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny-clip")
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 64, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return OpenClip("tiny", folder)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), dtype=np.uint8)


def test_clip_is_a_raw_cosine_and_flags_what_it_cut(tiny_clip: OpenClip, noise: np.ndarray) -> None:
    prompts = [prompt("a", "a red cross"), prompt("b", "one two three four five six seven eight nine ten")]
    prompts.append(prompt("c", prompts[1].text + " eleven"))
    metric = ClipScore(tiny_clip)
    rows = metric.score(noise[:3], prompts)
    image, (text, _) = tiny_clip.encode_images(noise[:1])[0], tiny_clip.encode_texts(["a red cross"])
    cosine = image @ text[0] / np.linalg.norm(image) / np.linalg.norm(text[0])
    assert rows[0]["clip[tiny]"] == pytest.approx(float(cosine), abs=1e-6)
    assert [row["clip_truncated[tiny]"] for row in rows] == [0.0, 0.0, 1.0]  # 3, 10, 11 words and two marks
    assert {name for row in rows for name in row} == {column.name for column in metric.columns}
    assert tiny_clip.digest in metric.recipe


def test_clip_scores_do_not_depend_on_the_batch(tiny_clip: OpenClip, noise: np.ndarray) -> None:
    prompts = [prompt(str(i), f"prompt {i % 5}") for i in range(len(noise))]
    whole = ClipScore(tiny_clip).score(noise, prompts)
    for start in (0, 33, 64):
        part = ClipScore(tiny_clip).score(noise[start : start + 6], prompts[start : start + 6])
        values = [row["clip[tiny]"] for row in part]
        assert values == pytest.approx([row["clip[tiny]"] for row in whole[start : start + 6]], abs=1e-6)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(GlanceBenchError, match=r"weights of some-clip are missing.*absent"):
        OpenClip("some-clip", tmp_path / "absent")


def test_frechet_agrees_with_the_matrix_square_root() -> None:
    rng = np.random.default_rng(2)
    for n in (12, 400):  # fewer and more samples than dimensions
        mix = rng.normal(size=(24, 24))
        a, b = rng.normal(size=(n, 24)) @ mix + 0.3, rng.normal(size=(500, 24))
        first, second = Moments.of(a), Moments.of(b)
        root = sqrtm(first.covariance @ second.covariance).real
        expected = ((first.mean - second.mean) ** 2).sum()
        expected += np.trace(first.covariance + second.covariance - 2 * root)
        assert frechet_distance(a.astype(np.float64), second) == pytest.approx(expected, rel=1e-5)


def test_frechet_of_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(40_000, 3)) * 2 + 1, rng.normal(size=(40_000, 3))
    assert frechet_distance(a, Moments.of(b)) == pytest.approx(3 * 1 + 3 * (2 - 1) ** 2, rel=0.03)
    assert frechet_distance(b, Moments.of(b)) == pytest.approx(0, abs=1e-9)


def test_frechet_refuses_what_it_cannot_measure() -> None:
    reference = Moments.of(np.random.default_rng(0).normal(size=(10, 3)))
    for bad in (np.zeros((1, 3)), np.zeros((5, 4)), np.full((5, 3), np.nan)):
        with pytest.raises(ValueError):
            frechet_distance(bad, reference)


def test_frechet_reference_is_computed_once_and_read_back(
    tiny_clip: OpenClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: np.ndarray
) -> None:
    name = "glance_bench.metrics.frechet.reference_images"
    monkeypatch.setattr(name, lambda: noise)
    metric = Frechet(tiny_clip)
    assert isinstance(metric, CorpusMetric)
    made = metric.reference(tmp_path)
    monkeypatch.setattr(name, lambda: pytest.fail("computed twice"))
    read = metric.reference(tmp_path)
    features = metric.features(noise[:20])
    assert read.n == 70 and metric.reduce(features, read) == metric.reduce(features, made)
    assert metric.note(8, read) and not metric.note(9, read)
    assert tiny_clip.digest in metric.recipe and tiny_clip.digest in metric.extractor


def test_reference_images_are_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glance_bench.metrics.frechet.REFERENCE_SCENES", 12)
    first, second = reference_images(), reference_images()
    assert first.shape == (12, 64, 64, 3) and (first == second).all()
    assert len(np.unique(first.reshape(12, -1), axis=0)) == 12


def test_reference_has_the_kinds_of_the_prompt_set_in_its_proportions() -> None:
    wanted = Counter(prompt.meta["scene"]["kind"] for prompt in load(180).prompts)
    reference = Counter(REFERENCE_KINDS)
    assert {kind: n / 180 for kind, n in wanted.items()} == {
        kind: pytest.approx(n / len(REFERENCE_KINDS)) for kind, n in reference.items()
    }


# diversity and fidelity


def test_diversity_is_the_mean_distance_over_all_pairs(tiny_clip: OpenClip) -> None:
    metric = Diversity(tiny_clip)
    assert isinstance(metric, PromptMetric) and not isinstance(metric, CorpusMetric)
    features = np.random.default_rng(4).normal(size=(4, 7)).astype(np.float32) * [[1], [5], [0.1], [2]]
    rows = [row / np.linalg.norm(row) for row in features.astype(float)]
    pairs = [1 - rows[i] @ rows[j] for i in range(4) for j in range(i)]
    assert metric.compare(features.astype(np.float32), None) == pytest.approx(np.mean(pairs), rel=1e-5)
    same = np.repeat(features[:1], 3, axis=0).astype(np.float32)
    assert metric.compare(same, None) == pytest.approx(0, abs=1e-6)
    assert metric.compare(np.array([[1, 0], [-3, 0]], np.float32), None) == pytest.approx(2)
    assert np.isnan(metric.compare(same[:1], same[:1]))


def test_fidelity_is_the_mean_cosine_with_the_image_from_the_same_noise(tiny_clip: OpenClip) -> None:
    metric = Fidelity(tiny_clip)
    assert isinstance(metric, PromptMetric)
    own = np.array([[2, 0], [0, 3], [1, 1]], np.float32)
    theirs = np.array([[5, 0], [0, -1], [1, 0]], np.float32)
    assert metric.compare(own, theirs) == pytest.approx((1 - 1 + 0.5**0.5) / 3)
    assert metric.compare(own, 7 * own) == pytest.approx(1)
    assert np.isnan(metric.compare(own, None))


def test_metrics_on_the_same_features_share_them(tiny_clip: OpenClip, noise: np.ndarray) -> None:
    metrics = [Frechet(tiny_clip), Diversity(tiny_clip), Fidelity(tiny_clip)]
    assert len({metric.extractor for metric in metrics}) == 1
    assert len({metric.recipe for metric in metrics}) == 3
    first, *others = (metric.features(noise[:3]) for metric in metrics)
    assert all(np.array_equal(first, other) for other in others)
