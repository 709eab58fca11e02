"""FID's speed and memory: from two folders of PNG files to a number, against the packages that people use.

    python benchmarks/metrics.py            # 2,000 images, about an hour on two cores
    python benchmarks/metrics.py --images 200 --memory 100 400

Three measurements, all with the same random Inception weights:

* End to end: half of the images against the other half. Each of torch-fidelity, torchmetrics and clean-fid runs
  as its documentation says, and this program runs the recipe named after it; every run is a process of its own, with
  an empty cache and two threads, timed after the imports. clean-fid is handed the network as a module instead of
  the TorchScript file; torchmetrics, which has no reader of folders, what Pillow reads. The numbers must agree to
  1e-3, and each package must take at least REQUIRED_FID times as long as its recipe does here.
* The reduction at D = 2048, from the features of images and the kept moments of a reference (and here, their kept
  factor) to a distance, as a table computes it once for each jackknife replicate: against numpy's covariance and
  scipy's sqrtm of the product. At least REQUIRED_REDUCTION times as fast.
* Peak memory of this program at two numbers of images. Flat means that the larger number adds no more than its own
  float32 features, which a table keeps for its intervals, and 5 %.

Exit status 1 when something is not met. Needs torch-fidelity and clean-fid.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

REQUIRED_FID = 1.3
REQUIRED_REDUCTION = 10
AGREEMENT = 1e-3
D = 2048
PACKAGES = ("torch-fidelity", "torchmetrics", "clean-fid")
BATCH = 32


def ours(recipe: str, fake: Path, real: Path, weights: Path) -> float:
    from glance_bench.metrics.frechet import FrechetDistance
    from glance_bench.metrics.inception import Inception
    from glance_bench.metrics.references import Source, features_of

    way = Inception(recipe, weights)
    metric = FrechetDistance(way, "fid").against(real)
    rows = features_of(Source.at(fake), way).rows()
    return metric.reduce(rows, metric.reference(fake.parent))


def torch_fidelity(fake: Path, real: Path, weights: Path) -> float:
    import torch_fidelity

    found = torch_fidelity.calculate_metrics(
        input1=str(fake),
        input2=str(real),
        fid=True,
        cuda=False,
        cache=False,
        verbose=False,
        batch_size=BATCH,
        feature_extractor_weights_path=str(weights.with_suffix(".pth")),
    )
    return float(found["frechet_inception_distance"])


def torchmetrics(fake: Path, real: Path, weights: Path) -> float:
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature_extractor_weights_path=str(weights.with_suffix(".pth")))
    for folder in (fake, real):
        files = sorted(folder.iterdir())
        for start in range(0, len(files), BATCH):
            images = [np.asarray(Image.open(file).convert("RGB")) for file in files[start : start + BATCH]]
            metric.update(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), real=folder == real)
    return float(metric.compute())


def clean_fid(fake: Path, real: Path, weights: Path) -> float:
    import torch
    from cleanfid import fid
    from safetensors.torch import load_file

    from glance_bench.metrics.inception_network import InceptionNetwork, published_keys

    network = InceptionNetwork()  # not fused: the published script's layers as they are
    network.load_state_dict(published_keys(load_file(weights)))
    return float(
        fid.compare_folders(
            str(fake),
            str(real),
            lambda x: network((x - 128) / 128),
            "clean",
            num_workers=2,
            batch_size=BATCH,
            device=torch.device("cpu"),
            verbose=False,
        )
    )


def one_run(side: str, fake: Path, real: Path, weights: Path) -> None:
    """Prints what one process found: seconds, value and peak MiB."""
    import scipy.linalg  # noqa: F401
    import torch

    torch.set_num_threads(2)
    torch.nn.Conv2d(3, 3, 3)(torch.zeros(1, 3, 9, 9))  # the libraries' own start is not counted
    package = {"torch-fidelity": torch_fidelity, "torchmetrics": torchmetrics, "clean-fid": clean_fid}
    start = time.perf_counter()
    value = package[side](fake, real, weights) if side in package else ours(side[5:], fake, real, weights)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "value": value, "peak": peak}))


def run(side: str, fake: Path, real: Path, weights: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        env = dict(os.environ, GLANCE_BENCH_CACHE=cache, OMP_NUM_THREADS="2")
        command = [sys.executable, __file__, "--one-run", side, str(fake), str(real), str(weights)]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def draw(folder: Path, n: int, side: int, grain: int) -> Path:
    """``n`` PNG files of smooth and of fine colour noise."""
    folder.mkdir()
    rng = np.random.default_rng(grain)
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (side // grain, side // grain, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        image = 0.8 * smooth + 0.2 * rng.integers(0, 256, (side, side, 3))
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{i:06}.png")
    return folder


def end_to_end(place: Path, weights: Path, images: int, side: int, repeats: int) -> bool:
    fake = draw(place / "fake", images // 2, side, 16)
    real = draw(place / "real", images - images // 2, side, 8)
    lowest, agree = np.inf, True
    print(f"FID of {images} PNG files of {side} x {side}, end to end, best of {repeats}")
    for package in PACKAGES:
        theirs = min(
            (run(package, fake, real, weights) for _ in range(repeats)), key=lambda it: it["seconds"]
        )
        own = min(
            (run(f"ours:{package}", fake, real, weights) for _ in range(repeats)),
            key=lambda it: it["seconds"],
        )
        apart = abs(own["value"] / theirs["value"] - 1)
        agree &= apart <= AGREEMENT
        ratio = theirs["seconds"] / own["seconds"]
        lowest = min(lowest, ratio)
        print(
            f"  {package:15} {theirs['seconds']:8.1f} s   the same recipe here {own['seconds']:8.1f} s   "
            f"ratio {ratio:.2f}   values {theirs['value']:.4f} and {own['value']:.4f}, "
            f"{apart:.1e} apart",
            flush=True,
        )
    return verdict("lowest ratio", lowest, REQUIRED_FID) and agree


def reduction() -> bool:
    from scipy.linalg import sqrtm

    from glance_bench.metrics.frechet import Moments, frechet_distance

    rng = np.random.default_rng(0)
    mix = rng.normal(size=(D, D)) * np.geomspace(1, 0.01, D)  # a falling spectrum, as real features have
    x, y = (rng.normal(size=(D + 500, D)) @ mix + shift for shift in (0, 0.1))
    reference = Moments.of(y)
    start = time.perf_counter()
    made = reference.factor.shape  # once for a reference
    once = time.perf_counter() - start
    start = time.perf_counter()
    own = frechet_distance(x, reference)
    took = time.perf_counter() - start
    start = time.perf_counter()
    p = np.cov(x, rowvar=False)
    root = sqrtm(p @ reference.covariance).real
    apart = np.sum((x.mean(0) - reference.mean) ** 2)
    theirs = float(apart + np.trace(p) + np.trace(reference.covariance) - 2 * np.trace(root))
    scipys = time.perf_counter() - start
    print(
        f"Frechet reduction of {len(x)} x {made[0]} features: {took:.2f} s (and {once:.2f} s once a reference)"
    )
    print(f"  numpy's covariance and scipy's sqrtm: {scipys:.2f} s, {abs(own / theirs - 1):.1e} apart")
    return (
        verdict("sqrtm over ours", scipys / took, REQUIRED_REDUCTION) and abs(own / theirs - 1) <= AGREEMENT
    )


def memory(place: Path, weights: Path, counts: tuple[int, int], side: int) -> bool:
    source = draw(place / "source", min(200, *counts), side, 16)
    real = draw(place / "few", 50, side, 8)
    files = sorted(source.iterdir())
    peaks = []
    for n in counts:
        folder = place / f"images-{n}"
        folder.mkdir()
        for i in range(n):
            os.link(files[i % len(files)], folder / f"{i:06}.png")
        peaks.append(run("ours:bicubic-aa", folder, real, weights)["peak"])
        print(f"peak memory at {n} images: {peaks[-1]:.0f} MiB", flush=True)
    features = (counts[1] - counts[0]) * D * 4 / 2**20
    allowed = features + 0.05 * peaks[0]
    print(
        f"  grown by {peaks[1] - peaks[0]:.0f} MiB, of which features {features:.0f} MiB; allowed {allowed:.0f} MiB"
    )
    met = peaks[1] - peaks[0] <= allowed
    print(f"  {'met' if met else 'NOT MET'}")
    return met


def verdict(what: str, ratio: float, required: float) -> bool:
    print(
        f"  {what}: {ratio:.2f}, required {required}: {'met' if ratio >= required else 'NOT MET'}", flush=True
    )
    return ratio >= required


def main() -> int:
    parser = argparse.ArgumentParser(description="FID's speed and memory against other packages.")
    parser.add_argument("--images", type=int, default=2000, help="on both sides together (default 2000)")
    parser.add_argument("--side", type=int, default=256, help="pixels (default 256)")
    parser.add_argument(
        "--repeats", type=int, default=1, help="runs of each side, the best counts (default 1)"
    )
    parser.add_argument(
        "--memory", type=int, nargs=2, default=(1000, 10_000), help="images (default 1000 10000)"
    )
    parser.add_argument("--one-run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_run:
        side, *paths = options.one_run
        one_run(side, *map(Path, paths))
        return 0
    import torch
    from safetensors.torch import load_file

    from glance_bench.metrics.inception_network import save_random_weights

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        weights = place / "weights.safetensors"
        save_random_weights(weights)
        torch.save(load_file(weights), weights.with_suffix(".pth"))  # what torch-fidelity reads
        met = [reduction(), end_to_end(place, weights, options.images, options.side, options.repeats)]
        met.append(memory(place, weights, tuple(options.memory), options.side))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
