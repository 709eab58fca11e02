"""The whole job through the real pipelines: on tiny random checkpoints, and on the packaged ones."""

import json
import shutil
from pathlib import Path

import pytest

from glance_bench.engine.runner import run_suite
from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError
from glance_bench.registry import MODELS
from glance_bench.store import Run
from glance_bench.suite import Suite, load_suite
from glance_bench.terminal import Progress
from tests.engine_fixtures import command, files


def two_models(flux: Path, qwen: Path, **changes: object) -> Suite:
    """Both real families, three prompts of the testbed, one of them with text."""
    return Suite.model_validate(
        {
            "name": "tiny",
            "models": [
                {"name": "tiny-flux", "family": "flux", "path": str(flux)},
                {"name": "tiny-qwen", "family": "qwen_image", "path": str(qwen)},
            ],
            "prompts": [{"set": "testbed", "limit": 3}],
            "samplers": ["native-8", "uniform-4"],
            "batch_size": 2,
            "timing": {"repeats": 1, "warmup": 0},
            **changes,
        }
    )


def test_both_real_pipelines_end_to_end_and_the_same_bytes_again(
    tiny_flux_dir: Path, tiny_qwen_dir: Path, tmp_path: Path
) -> None:
    suite = two_models(tiny_flux_dir, tiny_qwen_dir)
    results = run_suite(suite, tmp_path / "a", Progress(quiet=True))
    run = Run(tmp_path / "a")
    records = run.records()
    assert len(records) == 2 * 2 * 3 and verify(run) == []
    counted = records.groupby(["model", "sampler"])["evaluations"].unique().map(list).to_dict()
    assert counted == {
        ("tiny-flux", "native-8"): [8],
        ("tiny-flux", "uniform-4"): [4],
        ("tiny-qwen", "native-8"): [16],
        ("tiny-qwen", "uniform-4"): [8],
    }
    assert [board["model"] for board in results["boards"]] == ["tiny-flux", "tiny-qwen"]
    timing = run.timing()
    parts = timing[timing["component"] != "total"].groupby(["model", "sampler"])["seconds"].sum()
    totals = timing[timing["component"] == "total"].set_index(["model", "sampler"])["seconds"]
    assert set(timing["component"]) == {"encode", "denoise", "decode", "total"}
    assert ((parts <= totals) & (parts > 0.5 * totals)).all()

    confirmed = run_suite(suite, tmp_path / "a", Progress(quiet=True), time_again=True)
    assert confirmed["digest"] == results["digest"] and verify(run) == []
    assert [row["n"] for row in confirmed["timing"]] == [2 * row["n"] for row in results["timing"]]
    assert run.timing().groupby("model")["session"].nunique().to_dict() == {"tiny-flux": 2, "tiny-qwen": 2}

    again = run_suite(suite, tmp_path / "b", Progress(quiet=True))
    assert again["digest"] == results["digest"]
    assert Run(tmp_path / "b").records()["image_sha256"].tolist() == records["image_sha256"].tolist()


def test_killed_after_the_embeddings_of_some_prompts_gives_the_same_images(
    tiny_flux_dir: Path, tiny_qwen_dir: Path, tmp_path: Path
) -> None:
    suite = two_models(tiny_flux_dir, tiny_qwen_dir, samplers=["uniform-4"], timing={"repeats": 0})
    run_suite(suite, tmp_path / "a", Progress(quiet=True))
    expected = Run(tmp_path / "a").records()["image_sha256"].tolist()
    fewer = two_models(
        tiny_flux_dir, tiny_qwen_dir, samplers=["uniform-4"], timing={"repeats": 0},
        prompts=[{"set": "testbed", "limit": 1}],
    )  # fmt: skip
    run_suite(fewer, tmp_path / "b", Progress(quiet=True))
    embeddings = files(Run(tmp_path / "b"), ".safetensors")
    run_suite(suite, tmp_path / "b", Progress(quiet=True))
    assert Run(tmp_path / "b").records()["image_sha256"].tolist() == expected
    assert embeddings.items() <= files(Run(tmp_path / "b"), ".safetensors").items()


def test_missing_weights_of_one_component_are_named(tiny_flux_dir: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_flux_dir, damaged)
    for weights in (damaged / "transformer").glob("*.safetensors"):
        weights.unlink()
    suite = Suite.model_validate(
        {
            "name": "tiny",
            "models": [{"name": "damaged", "family": "flux", "path": str(damaged)}],
            "prompts": [{"set": "own", "texts": ["a cat"]}],
            "samplers": ["uniform-4"],
        }
    )
    with pytest.raises(GlanceBenchError, match="transformer/ has no .*safetensors weights"):
        run_suite(suite, tmp_path / "run", Progress(quiet=True))


@pytest.fixture
def packaged() -> None:
    """Skips where the packaged checkpoints have not been trained yet."""
    folders = [MODELS.get(name).path for name in ("testbed-flux", "testbed-qwen")]
    missing = [path for path in [*folders, folders[0].parent / "testbed-clip"] if not path.is_dir()]
    if missing:
        pytest.skip(f"there is no {missing[0]} in this checkout")


@pytest.mark.usefixtures("packaged")
def test_quickstart_by_name_on_the_packaged_models(tmp_path: Path) -> None:
    few = ["--limit", "3", "--samplers", "teacher-50,uniform-4", "--json"]
    shown = command(tmp_path, "run", "quickstart", *few)
    assert shown.returncode == 0, shown.stderr
    results = json.loads(shown.stdout)
    assert {board["model"] for board in results["boards"]} == set(load_suite("quickstart").models)
    run = Run(tmp_path / "runs" / "quickstart")
    assert len(run.records()) == 2 * 2 * 3 and verify(run) == []
    assert (run.folder / "report" / "index.html").is_file()
    assert command(tmp_path, "verify", "runs/quickstart").returncode == 0
