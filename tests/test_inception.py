"""The FID network and its preparations, against the packages they are named after, with the same random weights."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from glance_bench.errors import GlanceBenchError, MissingData, UsageError
from glance_bench.metrics import inception
from glance_bench.metrics.extractors import EXTRACTORS, extractor, fd, fid, kid, kid_full, pfid, precision
from glance_bench.metrics.frechet import FrechetDistance
from glance_bench.metrics.inception import PREPARATIONS, Inception
from glance_bench.metrics.inception_network import (
    InceptionNetwork,
    _script_names,
    load_network,
    published_keys,
    save_random_weights,
)
from glance_bench.metrics.kid import Kid
from glance_bench.metrics.manifold import Manifold

Pictures = list[np.ndarray]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as safetensors, and beside them as the pickle that the packages read."""
    torch.set_num_threads(2)
    file = tmp_path_factory.mktemp("inception") / "random.safetensors"
    save_random_weights(file)
    torch.save(load_file(file), file.with_suffix(".pth"))
    return file


@pytest.fixture(scope="module")
def plain(weights: Path) -> InceptionNetwork:
    network = InceptionNetwork()
    network.load_state_dict(published_keys(load_file(weights)), strict=True)
    return network


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Enlarged and reduced, square and not."""
    return [picture(i, size) for i, size in enumerate(((64, 64), (200, 333), (320, 310)))]


def picture(seed: int, size: tuple[int, int], grain: int = 4) -> np.ndarray:
    """Colour noise of a few scales, uint8[H, W, 3]."""
    rng = np.random.default_rng(seed)
    height, width = size
    small = rng.integers(0, 256, (height // grain, width // grain, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return (0.7 * large + 0.3 * rng.integers(0, 256, (height, width, 3))).astype(np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]


def agree(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-4) -> None:
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def each(pictures: Pictures, of: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([of(tensor(image)) for image in pictures]).numpy()


# the network


def test_the_fused_network_gives_the_plain_ones_features(weights: Path, plain: InceptionNetwork) -> None:
    pixels = torch.rand(3, 3, 299, 299, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        expected = plain(pixels).numpy()
        fast = load_network(weights)(pixels.contiguous(memory_format=torch.channels_last)).numpy()
    agree(fast, expected)
    assert (
        expected.shape == (3, 2048) and expected.std(axis=0).min() >= 0 and expected.std(axis=0).mean() > 0.01
    )


def test_the_script_files_names_lead_to_the_same_tensors(weights: Path) -> None:
    published = published_keys(load_file(weights))
    parts = {"conv.weight": "weight", "bn.bias": "beta", "bn.running_mean": "mean", "bn.running_var": "var"}
    names = dict(_script_names(InceptionNetwork()))
    script = {
        f"{theirs}.{p}": published[f"{ours}.{o}"] for ours, theirs in names.items() for o, p in parts.items()
    }
    # names that the TorchScript file has, by its five kinds of block
    assert {
        "layers.conv_4.mean",
        "layers.mixed.tower.conv_1.weight",
        "layers.mixed_3.tower.conv_2.var",
        "layers.mixed_7.tower_1.conv_4.beta",
        "layers.mixed_8.tower_1.conv_3.weight",
        "layers.mixed_10.tower_1_mixed_conv_1.weight",
        "layers.mixed_9.tower_2_conv.beta",
    } <= set(script)
    assert len(names) == len(set(names.values())) == 94
    read = published_keys(script)
    for key, value in published.items():
        wanted = torch.ones_like(value) if key.endswith("bn.weight") else value  # the script has no scale
        assert torch.equal(read[key], wanted), key


def test_other_weights_are_refused_by_name(weights: Path, tmp_path: Path) -> None:
    state = load_file(weights)
    without = {key: value for key, value in state.items() if key != "Mixed_6a.branch3x3.conv.weight"}
    save_file(without, tmp_path / "part.safetensors")
    with pytest.raises(
        GlanceBenchError, match=r"part.safetensors: .*Mixed_6a.branch3x3.conv.weight is missing"
    ):
        load_network(tmp_path / "part.safetensors")
    save_file(state | {"Conv2d_1a_3x3.conv.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "shape.safetensors")
    with pytest.raises(GlanceBenchError, match=r"shape.safetensors: .*Conv2d_1a_3x3"):
        load_network(tmp_path / "shape.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"no weights")
    with pytest.raises(GlanceBenchError, match="junk.safetensors: cannot be read as safetensors"):
        load_network(tmp_path / "junk.safetensors")


# preparations against the packages


def test_torch_fidelitys_features(weights: Path, pictures: Pictures) -> None:
    module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not here"
    )
    net = module.FeatureExtractorInceptionV3(
        "x", ["2048"], feature_extractor_weights_path=str(weights.with_suffix(".pth"))
    )
    agree(Inception("torch-fidelity", weights).features(pictures), each(pictures, lambda x: net(x)[0]))


def test_torchmetrics_features(weights: Path, pictures: Pictures) -> None:
    pytest.importorskip("torch_fidelity", reason="torchmetrics' FID needs torch-fidelity")
    from torchmetrics.image.fid import NoTrainInceptionV3

    net = NoTrainInceptionV3("x", ["2048"], str(weights.with_suffix(".pth")))
    agree(Inception("torchmetrics", weights).features(pictures), each(pictures, lambda x: net(x)))


def test_clean_fids_features(weights: Path, plain: InceptionNetwork, pictures: Pictures) -> None:
    resize = pytest.importorskip("cleanfid.resize", reason="clean-fid is not here")
    resized = [resize.build_resizer("clean")(image) for image in pictures]
    assert [image.shape for image in resized] == [(299, 299, 3)] * len(pictures)
    theirs = each(resized, lambda x: plain((x - 128) / 128))
    agree(Inception("clean-fid", weights).features(pictures), theirs)


def test_pytorch_fids_features(weights: Path, pictures: Pictures) -> None:
    """Through clean-fid, which carries pytorch-fid's network and calls it ``legacy_pytorch``."""
    pytest.importorskip("cleanfid", reason="clean-fid is not here")
    from cleanfid.features import build_feature_extractor
    from cleanfid.resize import build_resizer

    state = load_file(weights)
    with patch("cleanfid.inception_pytorch.load_state_dict_from_url", lambda *_, **__: state):
        net = build_feature_extractor("legacy_pytorch", torch.device("cpu"), use_dataparallel=False)
    resized = [build_resizer("legacy_pytorch")(image).astype(np.float32) for image in pictures]
    agree(Inception("pytorch-fid", weights).features(pictures), each(resized, net))


def test_pi_flows_resize_and_crop_step_by_step(
    weights: Path, plain: InceptionNetwork, pictures: Pictures
) -> None:
    def resized(pixels: torch.Tensor) -> torch.Tensor:
        x = pixels.float() / 255 * 2 - 1
        x = torch.nn.functional.interpolate(
            x, size=(299, 299), mode="bicubic", align_corners=False, antialias=True
        )
        return (x.clamp(-1, 1) * 127.5 + 128).clamp(0, 255).to(torch.uint8)

    def cropped(pixels: torch.Tensor) -> torch.Tensor:
        height, width = pixels.shape[2:]
        top, left = (height - 299) // 2, (width - 299) // 2
        x = pixels[:, :, top : top + 299, left : left + 299].float() / 255 * 2 - 1
        return (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)

    theirs = each(pictures, lambda x: plain((resized(x).float() - 128) / 128))
    agree(
        Inception("bicubic-aa", weights).features(pictures), theirs, 1e-3
    )  # a pixel may truncate the other way
    large = [picture(9, (512, 299)), picture(8, (330, 401))]
    agree(
        Inception("crop", weights).features(large),
        each(large, lambda x: plain((cropped(x).float() - 128) / 128)),
    )


def test_preparations_differ_and_features_do_not_depend_on_the_batch(
    weights: Path, pictures: Pictures
) -> None:
    one = [pictures[1]]
    ways = [way for way in PREPARATIONS if way != "crop"]
    found = np.stack([PREPARATIONS[way].of(one[0]).numpy() for way in ways])
    for i in range(len(ways)):
        for j in range(i):
            # clean-fid's and pi-Flow's differ by the rounding to uint8 only: half a level is 1/256
            assert np.abs(found[i] - found[j]).max() > 0.003, (ways[i], ways[j])
    whole = Inception("bicubic-aa", weights).features(pictures)
    agree(Inception("bicubic-aa", weights).features(pictures[2:]), whole[2:], 1e-5)


def test_white_stays_white_and_black_black() -> None:
    for way, preparation in PREPARATIONS.items():
        for value in (0, 255):
            out = preparation.of(np.full((301, 450, 3), value, np.uint8))
            expected = value / 127.5 - 1 if way == "pytorch-fid" else (value - 128) / 128
            assert out.shape == (3, 299, 299) and out.dtype == torch.float32
            assert out.numpy() == pytest.approx(expected, abs=1e-5), way


def test_an_image_too_small_for_the_crop_is_refused(weights: Path) -> None:
    with pytest.raises(GlanceBenchError, match="64 x 300 pixels has no 299 x 299 crop"):
        Inception("crop", weights).features([np.zeros((64, 300, 3), np.uint8)])


# names


def test_every_preparation_is_in_the_table() -> None:
    for name in PREPARATIONS:
        assert f"| ``inception-2015-12-05,{name}`` |" in (inception.__doc__ or "")
        assert f"inception-2015-12-05,{name}" in EXTRACTORS


def test_recipes_name_weights_and_preparation(weights: Path, tmp_path: Path) -> None:
    recipes = {Inception(way, weights).recipe for way in PREPARATIONS}
    assert len(recipes) == len(PREPARATIONS)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other")
    assert Inception("clean-fid", other).recipe not in recipes


def test_absent_weights_and_wrong_names_are_said_in_one_line() -> None:
    with pytest.raises(MissingData, match="waits for inception-2015-12-05 .*glance-bench prefetch"):
        fid("inception-2015-12-05,bicubic-aa")
    with pytest.raises(UsageError, match="did you mean 'inception-2015-12-05,clean-fid'"):
        fid("inception-2015-12-05,clean_fid")
    with pytest.raises(UsageError, match=r"did you mean 'fid\[inception-2015-12-05,clean-fid\]'"):
        fd("inception-2015-12-05,clean-fid")
    with pytest.raises(UsageError, match="did you mean 'pfid"):
        pfid("inception-2015-12-05,bicubic-aa")
    with pytest.raises(UsageError, match="unknown extractor 'testbed-clop'; did you mean 'testbed-clip'"):
        extractor("testbed-clop")
    with pytest.raises(UsageError, match="the last word must be one of k3, k5"):
        precision("testbed-clip,k4")
    with pytest.raises(UsageError, match="unknown preparation"):
        Inception("bicubic")


def test_factories_import_no_torch(weights: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from glance_bench.metrics.inception import Inception\n"
        "from glance_bench.metrics.extractors import kid\n"
        "from glance_bench.metrics.frechet import FrechetDistance\n"
        f"metrics = FrechetDistance(Inception('crop', Path({str(weights)!r})), 'pfid'), kid('testbed-clip')\n"
        "assert all(metric.recipe for metric in metrics)\n"
        "assert not {'torch', 'open_clip', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_metrics_of_one_extractor_share_its_features() -> None:
    metrics = [
        kid("testbed-clip"),
        kid_full("testbed-clip"),
        precision("testbed-clip,k3"),
        fd("testbed-clip"),
    ]
    assert len({metric.extractor for metric in metrics}) == 1
    assert [metric.name for metric in metrics] == [
        "kid[testbed-clip]",
        "kid_full[testbed-clip]",
        "precision[testbed-clip,k3]",
        "fd[testbed-clip]",
    ]
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert np.array_equal(metrics[0].features(image), metrics[-1].features(image))
    mixed = metrics[0].features([image[0], np.zeros((32, 48, 3), np.uint8)])
    assert mixed.shape == metrics[0].features(image).shape


# whole numbers, from folders of images


@pytest.mark.slow
def test_fid_kid_and_precision_recall_from_folders_equal_the_packages(weights: Path, tmp_path: Path) -> None:
    """24 against 20 images: relative difference at most 1e-3 throughout."""
    torch_fidelity = pytest.importorskip("torch_fidelity", reason="torch-fidelity is not here")
    cleanfid = pytest.importorskip("cleanfid.fid", reason="clean-fid is not here")
    from torchmetrics.image.fid import FrechetInceptionDistance

    made = {"fake": [picture(i, (96, 96), 6) for i in range(24)]}
    made["real"] = [picture(100 + i, (96, 96), 3) for i in range(20)]
    for name, images in made.items():
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i:03}.png")

    def ours(metric: Any) -> float:
        compared = metric.against(tmp_path / "real")
        return float(compared.reduce(compared.features(made["fake"]), compared.reference(tmp_path)))

    theirs = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "fake"),
        input2=str(tmp_path / "real"),
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",  # precision and recall would else ask for VGG16
        kid_subset_size=20,
        cuda=False,
        verbose=False,
        cache=False,
        batch_size=8,
        feature_extractor_weights_path=str(weights.with_suffix(".pth")),
    )
    way = Inception("torch-fidelity", weights)
    wanted = "frechet_inception_distance", "kernel_inception_distance_mean", "precision", "recall"
    found = [FrechetDistance(way, "fid"), Kid(way)]
    found += [Manifold(way, "precision", "k3"), Manifold(way, "recall", "k3")]  # type: ignore[list-item]
    for name, metric in zip(wanted, found, strict=True):
        assert ours(metric) == pytest.approx(theirs[name], rel=1e-3), name

    package = FrechetInceptionDistance(feature_extractor_weights_path=str(weights.with_suffix(".pth")))
    for name, images in made.items():
        package.update(torch.cat([tensor(image) for image in images]), real=name == "real")
    value = ours(FrechetDistance(Inception("torchmetrics", weights), "fid"))
    assert value == pytest.approx(float(package.compute()), rel=1e-3)

    network = InceptionNetwork()
    network.load_state_dict(published_keys(load_file(weights)))
    clean = cleanfid.compare_folders(
        str(tmp_path / "fake"),
        str(tmp_path / "real"),
        lambda x: network((x - 128) / 128),
        "clean",
        device=torch.device("cpu"),
        verbose=False,
    )
    value = ours(FrechetDistance(Inception("clean-fid", weights), "fid"))
    assert value == pytest.approx(float(clean), rel=1e-3)
