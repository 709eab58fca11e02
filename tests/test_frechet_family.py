"""The formulas on features: against closed forms, step-by-step references and the packages' own reductions."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm

from glance_bench.errors import GlanceBenchError, MissingData, UsageError
from glance_bench.metrics.base import CorpusMetric, ReferencedMetric
from glance_bench.metrics.dinov2 import DinoV2
from glance_bench.metrics.frechet import FrechetDistance, FrechetInfinity, frechet_distance
from glance_bench.metrics.kid import Kid, KidReference
from glance_bench.metrics.manifold import FORMULAS, Manifold, radii
from glance_bench.metrics.moments import Moments
from glance_bench.metrics.references import Picture

D = 24


class Colours:
    """Mean colour, its deviation and the corners: 24 numbers of an image of any size."""

    name = "colours"
    recipe = "colours: means, deviations and corners"

    def features(self, images: Any) -> np.ndarray:
        return np.stack([self.one(image) for image in images])

    @staticmethod
    def one(image: Picture) -> np.ndarray:
        data = image.astype(np.float32) / 255
        corners = [data[0, 0], data[0, -1], data[-1, 0], data[-1, -1]]
        parts = [
            data.mean((0, 1)),
            data.std((0, 1)),
            *corners,
            data[:, ::2].mean((0, 1)),
            data[::2].std((0, 1)),
        ]
        return np.concatenate(parts).astype(np.float32)


def metrics() -> list[Any]:
    way = Colours()
    made: list[Any] = [
        FrechetDistance(way, "fd"),
        FrechetInfinity(way, "fd_inf"),
        Kid(way),
        Kid(way, full=True),
    ]
    return made + [Manifold(way, formula, k) for formula in FORMULAS for k in ("k3", "k5")]


@pytest.fixture(scope="module")
def fake() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(300, D)) @ rng.normal(size=(D, D)) * 0.2 + 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.normal(size=(280, D)) @ rng.normal(size=(D, D)) * 0.2).astype(np.float32)


# Frechet


def with_moments(n: int, mean: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """float64[n, D] whose sample moments (N - 1) are exactly these, up to rounding."""
    white = np.random.default_rng(seed).normal(size=(n, len(mean)))
    white -= white.mean(axis=0)
    values, vectors = np.linalg.eigh(white.T @ white / (n - 1))
    white = white @ (vectors / np.sqrt(values)) @ vectors.T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_closed_form_gaussians_to_a_millionth() -> None:
    """Commuting covariances: |m1 - m2|^2 + sum (sqrt a - sqrt b)^2 over the shared axes."""
    rng = np.random.default_rng(4)
    axes, _ = np.linalg.qr(rng.normal(size=(D, D)))
    a, b = rng.uniform(0.1, 4, D), rng.uniform(0.1, 4, D)
    first, second = rng.normal(size=D), rng.normal(size=D)
    x = with_moments(200, first, (axes * a) @ axes.T, 5)
    y = with_moments(150, second, (axes * b) @ axes.T, 6)
    expected = ((first - second) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(x, Moments.of(y)) == pytest.approx(expected, rel=1e-6)
    # rotated against each other, the trace of the product's root is known in two dimensions
    p, q = np.array([[2, 0.5], [0.5, 1]]), np.array([[1, -0.3], [-0.3, 3]])
    cross = np.sqrt(np.trace(p @ q) + 2 * np.sqrt(np.linalg.det(p @ q)))
    found = frechet_distance(
        with_moments(50, np.zeros(2), p, 7), Moments.of(with_moments(60, np.zeros(2), q, 8))
    )
    assert found == pytest.approx(np.trace(p + q) - 2 * cross, rel=1e-6)


def test_streamed_moments_are_the_moments() -> None:
    data = np.random.default_rng(3).normal(size=(1000, 7)) * 1e-3 + 1000  # a small spread far from zero
    for cuts in ([], [1, 2, 500], [999], list(range(10, 1000, 10))):
        streamed = Moments.streamed(np.split(data, cuts))
        assert streamed.n == 1000
        assert streamed.mean == pytest.approx(data.mean(0), rel=1e-14)
        assert streamed.covariance == pytest.approx(np.cov(data, rowvar=False), rel=1e-7, abs=1e-13)
    with pytest.raises(ValueError, match="at least two"):
        Moments.streamed([data[:1]])


def test_the_factor_is_a_root_of_any_rank_and_kept() -> None:
    for n in (4, 40):  # of rank 3, and of full rank
        moments = Moments.of(np.random.default_rng(1).normal(size=(n, 5)))
        assert moments.factor.shape == (5, min(n - 1, 5))
        assert moments.factor @ moments.factor.T == pytest.approx(moments.covariance, abs=1e-12)
        again = Moments(moments.mean, moments.covariance, n).with_factor(moments.factor)
        assert again.factor is moments.factor


def test_both_ways_to_the_distance_agree(fake: np.ndarray) -> None:
    """With few and many samples, against references of full and of lower rank."""
    for n in (10, 24, 25, 300):
        for m in (10, 25, 280):
            x, y = fake[:n].astype(np.float64), fake[20 : 20 + m].astype(np.float64) + 0.3
            p, q = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
            values = np.linalg.eigvals(p @ q).real.clip(0)
            expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(p + q) - 2 * np.sqrt(values).sum()
            assert frechet_distance(x, Moments.of(y)) == pytest.approx(expected, rel=1e-6)


def test_fid_equals_the_packages_reductions(fake: np.ndarray, real: np.ndarray) -> None:
    ours = FrechetDistance(Colours(), "fd").reduce(fake, Moments.of(real))
    root = sqrtm(np.cov(fake, rowvar=False) @ np.cov(real, rowvar=False)).real
    direct = ((fake.mean(0) - real.mean(0)) ** 2).sum()
    direct += np.trace(np.cov(fake, rowvar=False) + np.cov(real, rowvar=False) - 2 * root)
    assert ours == pytest.approx(direct, rel=1e-6)
    fidelity = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not here")
    sides = [fidelity.fid_features_to_statistics(torch.from_numpy(side)) for side in (fake, real)]
    theirs = fidelity.fid_statistics_to_metric(*sides, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-5)
    cleanfid = pytest.importorskip("cleanfid.fid", reason="clean-fid is not here")
    assert ours == pytest.approx(cleanfid.fid_from_feats(fake, real), rel=1e-5)


def test_fid_infinity_reads_the_line_at_zero(monkeypatch: pytest.MonkeyPatch, real: np.ndarray) -> None:
    metric = FrechetInfinity(Colours(), "fd_inf")
    seen: list[int] = []

    def line(features: np.ndarray, reference: Moments) -> float:
        seen.append(len(features))
        return 3.5 + 40 / len(features)

    monkeypatch.setattr("glance_bench.metrics.frechet.frechet_distance", line)
    assert metric.reduce(np.zeros((200, D), np.float32), Moments.of(real)) == pytest.approx(3.5)
    assert seen == np.linspace(100, 200, 15).astype(int).tolist()
    seen.clear()
    metric.reduce(np.zeros((20_000, D), np.float32), Moments.of(real))
    assert (seen[0], seen[-1]) == (5000, 20_000)


def test_fid_infinity_removes_the_bias_of_few_images() -> None:
    """The same distribution on both sides: the distance at 60 images is far above 0, the extrapolated one is not."""
    rng = np.random.default_rng(2)
    reference = Moments.of(rng.normal(size=(100_000, D)))
    biased, extrapolated = [], []
    for _ in range(20):
        sample = rng.normal(size=(600, D)).astype(np.float32)
        biased.append(frechet_distance(sample, reference))
        extrapolated.append(FrechetInfinity(Colours(), "fd_inf").reduce(sample, reference))
    assert np.mean(biased) > 0.2
    assert abs(np.mean(extrapolated)) < 0.2 * np.mean(biased)


# KID


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a.astype(np.float64) @ b) / len(a) + 1) ** 3

    within = [
        sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    return sum(within) - 2 * float(np.mean([k(a, b) for a in x for b in y]))


def test_kid_of_all_images_step_by_step(fake: np.ndarray, real: np.ndarray) -> None:
    x, y = fake[:23], real[:31]
    full = Kid(Colours(), full=True).reduce(x, KidReference(y))
    assert full == pytest.approx(kernel_distance(x, y), rel=1e-5)
    same = Kid(Colours()).reduce(x, KidReference(y[:23]))
    assert same == pytest.approx(kernel_distance(x, y[:23]), rel=1e-5)


@pytest.mark.parametrize("size", [250, 40])  # one kernel matrix for all subsets, and one for each
def test_kid_equals_torch_fidelitys(
    fake: np.ndarray, real: np.ndarray, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not here")
    monkeypatch.setattr("glance_bench.metrics.kid.SIZE", size)
    monkeypatch.setattr("glance_bench.metrics.kid.SUBSETS", 30)
    theirs = module.kid_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), kid_subset_size=size, kid_subsets=30, verbose=False
    )
    ours = Kid(Colours()).reduce(fake, KidReference(real))
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)


def test_kid_is_near_clean_fids_whose_draws_differ(fake: np.ndarray, real: np.ndarray) -> None:
    cleanfid = pytest.importorskip("cleanfid.fid", reason="clean-fid is not here")
    np.random.seed(0)  # clean-fid draws from numpy's global state
    theirs = cleanfid.kernel_distance(real, fake[:280], num_subsets=3)  # subsets of 280: all images
    assert Kid(Colours()).reduce(fake[:280], KidReference(real)) == pytest.approx(theirs, rel=1e-4)


# precision, recall, density, coverage


def by_hand(formula: str, fake: np.ndarray, real: np.ndarray, k: int, border: bool) -> float:
    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=-1)

    def reach(points: np.ndarray) -> np.ndarray:
        return np.sort(distances(points, points), axis=1)[:, k]  # the 0th is oneself

    def inside(apart: np.ndarray, radius: np.ndarray) -> np.ndarray:
        return apart <= radius if border else apart < radius

    if formula == "precision":
        return float(inside(distances(fake, real), reach(real)).any(axis=1).mean())
    if formula == "recall":
        return float(inside(distances(real, fake), reach(fake)).any(axis=1).mean())
    if formula == "density":
        return float(inside(distances(fake, real), reach(real)).sum() / (k * len(fake)))
    return float(inside(distances(fake, real), reach(real)).any(axis=0).mean())


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(("name", "k", "border"), [("k3", 3, True), ("k5", 5, False)])
def test_neighbourhoods_step_by_step(
    fake: np.ndarray, real: np.ndarray, formula: Any, name: str, k: int, border: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr("glance_bench.metrics.manifold.BLOCK", 64)
    metric = Manifold(Colours(), formula, name)
    mixed = np.concatenate([fake[:90], real[::3] + np.float32(0.05)])
    found = metric.reduce(mixed, metric.reference_of(real))
    assert found == pytest.approx(by_hand(formula, mixed, real, k, border), abs=1e-9)
    assert 0.02 < found < 2 and found not in (0.0, 1.0)


def test_precision_and_recall_equal_torch_fidelitys(fake: np.ndarray, real: np.ndarray) -> None:
    module = pytest.importorskip("torch_fidelity.metric_prc", reason="torch-fidelity is not here")
    mixed = np.concatenate([fake[:90], real[::3] + np.float32(0.05)])
    theirs = module.prc_features_to_metric(torch.from_numpy(mixed), torch.from_numpy(real), verbose=False)
    for formula in ("precision", "recall"):
        metric = Manifold(Colours(), formula, "k3")
        assert metric.reduce(mixed, metric.reference_of(real)) == pytest.approx(theirs[formula], rel=1e-3)


def test_a_set_covers_itself_and_not_what_is_far(real: np.ndarray) -> None:
    for formula in FORMULAS:
        for name in ("k3", "k5"):
            metric = Manifold(Colours(), formula, name)
            reference = metric.reference_of(real)
            # a ball holds its centre and, border counted, 3 of 3 neighbours, or 4 of 5 within it
            expected = 4 / 3 if (formula, name) == ("density", "k3") else 1
            assert metric.reduce(real, reference) == pytest.approx(expected, abs=0.01)
            assert metric.reduce(real + 1000, reference) == 0
    line = np.array([[0.0], [1], [3], [7], [15]], np.float32)
    assert radii(line, 2).tolist() == [9, 4, 9, 36, 144]


def test_too_few_images_for_k_neighbours_have_no_value(real: np.ndarray, tmp_path: Path) -> None:
    metric = Manifold(Colours(), "precision", "k3")
    for own, other in ((real[:3], real), (real, real[:3])):
        assert np.isnan(metric.reduce(own, metric.reference_of(other)))
    assert metric.reduce(real[:4], metric.reference_of(real[:4])) == 1
    np.savez(tmp_path / "few.npz", features=real[:3])
    with pytest.raises(UsageError, match="3 reference images, at least 4"):
        metric.against(tmp_path / "few.npz").reference(tmp_path)


# all of them


def test_all_are_referenced_metrics_of_one_column() -> None:
    made = metrics()
    for metric in made:
        assert isinstance(metric, CorpusMetric) and isinstance(metric, ReferencedMetric)
        (column,) = metric.columns
        assert column.name == metric.name and re.fullmatch(r"\w+\[colours(,k[35])?\]", metric.name)
    assert len({metric.name for metric in made}) == len({metric.recipe for metric in made}) == len(made)
    assert {metric.columns[0].better for metric in made if metric.name.startswith("k")} == {"lower"}


def test_a_reference_is_named_by_the_suite(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "real").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "real" / f"{i}.png")
    features = Colours().features(images)
    for metric in metrics():
        with pytest.raises(MissingData, match="waits for reference images"):
            metric.reference(tmp_path)
        board, folder = metric.against(None), metric.against(tmp_path / "real")
        assert (metric.against_board, board.against_board, folder.against_board) == (False, True, False)
        assert "not named yet" in metric.recipe and "board's reference sampler" in board.recipe
        assert re.search(r"reference folder [0-9a-f]{12}$", folder.recipe)
        with pytest.raises(GlanceBenchError, match="use reference_of"):
            board.reference(tmp_path)
        one = folder.reduce(features, folder.reference(tmp_path))
        assert one == pytest.approx(board.reduce(features, board.reference_of(features)), abs=1e-6)


def test_notes_say_what_a_reader_must_know(fake: np.ndarray, real: np.ndarray) -> None:
    for metric in metrics():
        reference = metric.reference_of(real)
        assert isinstance(metric.note(280, reference), str)
    distance = FrechetDistance(Colours(), "fd")
    assert (
        "biased upwards" in distance.note(D, Moments.of(real))
        and distance.note(D + 1, Moments.of(real)) == ""
    )
    assert "20 images for 24 dimensions" in distance.note(100, Moments.of(real[:20]))
    large = Moments(np.zeros(2048), np.zeros((2048, 2048)), 5000)
    assert "informational below 2,048" in distance.note(2048, large) and distance.note(2049, large) == ""
    assert "280 images instead of 1000" in Kid(Colours()).note(300, KidReference(real))
    assert "biased downwards" in Kid(Colours(), full=True).against(None).note(300, KidReference(real))
    assert "downwards" not in Kid(Colours(), full=True).note(300, KidReference(real))
    assert "300 images against 280" in Manifold(Colours(), "recall", "k3").note(
        300, Manifold(Colours(), "recall", "k3").reference_of(real)
    )
    assert distance.note(99, Moments.of(real, "imported")) == "imported"


def test_all_refuse_what_they_cannot_measure(real: np.ndarray) -> None:
    for metric in metrics():
        reference = metric.reference_of(real)
        for bad in (real[:1], real[:, :5], np.full_like(real, np.nan)):
            with pytest.raises(ValueError):
                metric.reduce(bad, reference)


# DINOv2


def test_dinov2_class_tokens_step_by_step(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14
    )
    model = Dinov2Model(config).eval()
    model.save_pretrained(tmp_path / "dino")
    images = [
        np.random.default_rng(i).integers(0, 256, (60 + 40 * i, 90, 3), dtype=np.uint8) for i in range(3)
    ]
    expected = []
    for image in images:
        small = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
        x = torch.from_numpy(np.array(small)).float().permute(2, 0, 1) / 255
        x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
            :, None, None
        ]
        with torch.no_grad():
            expected.append(model(x[None]).pooler_output[0].numpy())
    way = DinoV2(tmp_path / "dino")
    assert way.features(images) == pytest.approx(np.stack(expected), abs=1e-5)
    metric = FrechetDistance(way, "fd")
    assert metric.name == "fd[dinov2-vitl14]" and "class token" in metric.recipe
    assert json.loads((tmp_path / "dino" / "config.json").read_text())["model_type"] == "dinov2"
    (tmp_path / "dino" / "model.safetensors").unlink()
    with pytest.raises(GlanceBenchError, match="dinov2-vitl14 are missing"):
        DinoV2(tmp_path / "dino")


def test_dinov2_waits_for_its_weights() -> None:
    with pytest.raises(MissingData, match="waits for dinov2-large"):
        DinoV2()
