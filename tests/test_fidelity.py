"""PSNR, SSIM and LPIPS between an image and the reference's, against their definitions step by step."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from glance_bench.convert import convert
from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.metrics import lpips
from glance_bench.metrics.base import Metric, PairMetric, PromptMetric, SampleMetric
from glance_bench.metrics.lpips import Lpips
from glance_bench.metrics.psnr import Psnr
from glance_bench.metrics.ssim import Ssim


@pytest.fixture
def images() -> np.ndarray:
    """Smooth pictures, as generated images are."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((4, 3, 6, 8)))
    fine = torch.nn.functional.interpolate(coarse, size=(48, 64), mode="bicubic").clamp(0, 1)
    return (255 * fine).round().to(torch.uint8).numpy().transpose(0, 2, 3, 1)


def noisy(images: np.ndarray, by: float, seed: int = 1) -> np.ndarray:
    change = np.random.default_rng(seed).normal(scale=by, size=images.shape)
    return np.clip(images + change, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("metric", [Psnr(), Ssim(), Lpips("alex", Path(__file__))])
def test_they_are_pair_metrics_and_nothing_else(metric: Metric) -> None:
    assert isinstance(metric, PairMetric) and metric.kind == "pair"
    assert not isinstance(metric, SampleMetric | PromptMetric)
    (column,) = metric.columns
    assert column.name == metric.name
    assert column.better == ("lower" if "lpips" in metric.name else "higher")


@pytest.mark.parametrize("metric", [Psnr(), Ssim(), Lpips("alex", Path("absent"))])
def test_images_of_another_shape_are_refused(metric: PairMetric, images: np.ndarray) -> None:
    for other in (images[:3], images[:, :40]):
        with pytest.raises(ValueError, match="cannot be paired"):
            metric.score_pairs(images, other)


# PSNR


def test_psnr_by_hand() -> None:
    black = np.zeros((4, 8, 8, 3), np.uint8)
    other = black.copy()
    other[0] += 255  # as far apart as images can be: 0 dB
    other[1] += 1  # mean squared difference 1
    other[2, :4, :, 0] = 6  # 36 in a sixth of the numbers
    values = [row["psnr"] for row in Psnr().score_pairs(black, other)]
    assert values == pytest.approx([0, 20 * np.log10(255), 10 * np.log10(255**2 / 6), 100])
    assert [row["psnr"] for row in Psnr().score_pairs(other, black)] == values  # no wrap-around of uint8


def test_psnr_stops_at_100_db() -> None:
    large = np.zeros((1, 512, 512, 3), np.uint8)
    other = large.copy()
    other[0, 0, 0, 0] = 1  # 107 dB
    assert Psnr().score_pairs(large, other) == [{"psnr": 100}]
    assert "at most 100 dB" in Psnr().recipe


# SSIM


def by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """Equation 13 of the paper for each channel, with the window inside the image, in float64."""
    weights = np.array([[np.exp(-(i**2 + j**2) / (2 * 1.5**2)) for i in range(-5, 6)] for j in range(-5, 6)])
    weights /= weights.sum()

    def local_mean(x: np.ndarray) -> np.ndarray:
        places = np.lib.stride_tricks.sliding_window_view(x, (11, 11))
        return (places * weights).sum(axis=(2, 3))

    values = []
    for channel in range(3):
        x, y = a[..., channel].astype(float), b[..., channel].astype(float)
        mx, my = local_mean(x), local_mean(y)
        vx, vy, cov = local_mean(x * x) - mx**2, local_mean(y * y) - my**2, local_mean(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_by_definition(images: np.ndarray) -> None:
    for other in (noisy(images, 5), noisy(images, 60), 255 - images):
        rows = Ssim().score_pairs(images, other)
        expected = [by_definition(a, b) for a, b in zip(images, other, strict=True)]
        assert [row["ssim"] for row in rows] == pytest.approx(expected, abs=1e-9)
    assert (
        expected[0] < 0 < by_definition(images[0], noisy(images, 5)[0]) < 1
    )  # a negative has an opposite structure


def test_ssim_of_equal_and_of_flat_images(images: np.ndarray) -> None:
    assert [row["ssim"] for row in Ssim().score_pairs(images, images)] == pytest.approx([1] * 4, abs=1e-12)
    flat = np.full((1, 16, 16, 3), 100, np.uint8)  # only the luminance term is left
    c1 = 2.55**2
    expected = (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert Ssim().score_pairs(flat, flat // 2)[0]["ssim"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="smaller than the window"):
        Ssim().score_pairs(flat[:, :10], flat[:, :10])


# LPIPS


@pytest.fixture(scope="module")
def backbone() -> Any:
    torch.manual_seed(0)
    return torchvision.models.alexnet(weights=None).eval()


@pytest.fixture(scope="module")
def metric(backbone: Any, tmp_path_factory: pytest.TempPathFactory) -> Lpips:
    """From torchvision's pickle, through the conversion, as registered. The fully connected layers are left out."""
    folder = tmp_path_factory.mktemp("alexnet")
    original = folder / "alexnet-owt-7be5be79.pth"
    state = {name: tensor for name, tensor in backbone.state_dict().items() if name.startswith("features.")}
    torch.save(state, original, _use_new_zipfile_serialization=False)  # as torchvision published it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLANCE_BENCH_CACHE", str(folder / "cache"))
        convert("torchvision-alexnet", original, sha256=hashlib.sha256(original.read_bytes()).hexdigest())
        return lpips.alex()


def test_lpips_layer_by_layer(metric: Lpips, backbone: Any, images: np.ndarray) -> None:
    other = noisy(images, 30)
    heads = metric._loaded.lins  # the trained heads, from torchmetrics
    assert all((head.model[-1].weight >= 0).all() for head in heads) and len(heads) == 5

    def activations(image: np.ndarray) -> list[torch.Tensor]:
        x = torch.from_numpy(image.transpose(2, 0, 1)).float() / 127.5 - 1
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = ((x - shift.view(3, 1, 1)) / scale.view(3, 1, 1))[None]
        found = []
        for i, layer in enumerate(backbone.features[:12]):
            x = layer(x)
            if i in (1, 4, 7, 9, 11):  # after each ReLU
                found.append(x / torch.sqrt((x**2).sum(dim=1, keepdim=True) + 1e-8))
        return found

    expected = []
    with torch.no_grad():
        for a, b in zip(images, other, strict=True):
            layers = zip(activations(a), activations(b), heads, strict=True)
            expected.append(
                sum(float((h.model[-1].weight * (p - q) ** 2).sum(dim=1).mean()) for p, q, h in layers)
            )
    values = [row["lpips[alex]"] for row in metric.score_pairs(images, other)]
    assert values == pytest.approx(expected, rel=1e-4) and min(values) > 1e-4


def test_lpips_grows_with_the_change_and_does_not_depend_on_the_batch(
    metric: Lpips, images: np.ndarray
) -> None:
    many = np.concatenate([images, images, images])
    other = np.concatenate([images, noisy(images, 10), noisy(images, 60)])
    values = [float(row["lpips[alex]"]) for row in metric.score_pairs(many, other)]
    assert values[:4] == [0, 0, 0, 0]
    assert all(near < far for near, far in zip(values[4:8], values[8:], strict=True))
    (alone,) = metric.score_pairs(many[9:10], other[9:10])
    assert alone["lpips[alex]"] == pytest.approx(values[9], rel=1e-4)
    assert (
        metric.recipe.startswith("lpips[alex]: version 0.1")
        and metric.recipe != Lpips("vgg", metric._backbone).recipe
    )


def test_lpips_refuses_another_backbone(metric: Lpips, images: np.ndarray) -> None:
    with pytest.raises(GlanceBenchError, match="does not hold torchvision's vgg"):
        Lpips("vgg", metric._backbone).score_pairs(images, images)


def test_lpips_waits_for_its_backbone() -> None:
    for factory, name, size in (
        (lpips.alex, "torchvision-alexnet", "233 MB"),
        (lpips.vgg, "torchvision-vgg16", "528 MB"),
    ):
        with pytest.raises(MissingData, match=rf"waits for {name} \({size}\): glance-bench prefetch {name}"):
            factory()
