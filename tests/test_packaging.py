"""What is in the wheel, and that it works where there is no checkout."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = ROOT / "glance_bench" / "testbed" / "checkpoints"
TESTBED_MODELS = ("testbed-flux", "testbed-qwen", "testbed-clip")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    run([*build, "--outdir", str(out), str(ROOT)], timeout=300)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with nothing but the wheel's files; its dependencies come from the running environment."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    run([*pip, "--target", str(target), str(wheel)], timeout=300)
    return target


def away_from_the_checkout(installed: Path) -> dict[str, str]:
    """``import glance_bench`` finds the installed copy: PYTHONPATH precedes site-packages."""
    return os.environ | {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}


def test_wheel_carries_the_package_suites_cards_and_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = [p for p in (ROOT / "glance_bench").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    data = [p for kind in ("suites", "baselines") for p in (ROOT / kind).rglob("*") if p.is_file()]
    wanted = {p.relative_to(ROOT).as_posix() for p in package}
    wanted |= {f"glance_bench/_data/{p.relative_to(ROOT).as_posix()}" for p in data}
    assert wanted - names == set()
    assert "glance_bench/_data/suites/quickstart.yaml" in names
    assert "glance_bench/_data/baselines/teacher-50.yaml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_carries_nothing_else(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"glance_bench", wheel.name.rsplit("-", 3)[0] + ".dist-info"}


def test_testbed_weights_are_in_the_wheel_and_at_most_45_megabytes(wheel):
    weights = {p.relative_to(ROOT).as_posix(): p.stat().st_size for p in CHECKPOINTS.rglob("*.safetensors")}
    if missing := [m for m in TESTBED_MODELS if not any(f"/{m}/" in name for name in weights)]:
        pytest.skip(f"this checkout has no weights for {', '.join(missing)}")
    packed = {info.filename: info.file_size for info in zipfile.ZipFile(wheel).infolist()}
    assert {name: packed.get(name) for name in weights} == weights
    assert sum(weights.values()) <= 45e6


def test_installed_wheel_finds_its_own_data(installed, tmp_path):
    code = (
        "import glance_bench\n"
        "from glance_bench.resources import data_dir\n"
        "print(glance_bench.__file__, data_dir('suites'), data_dir('baselines'), sep='\\n')"
    )
    done = run([sys.executable, "-c", code], cwd=tmp_path, env=away_from_the_checkout(installed), timeout=60)
    assert [Path(line).is_relative_to(installed) for line in done.stdout.split()] == [True] * 3


def test_installed_wheel_runs_the_quickstart(installed, tmp_path):
    if missing := [m for m in TESTBED_MODELS if not (CHECKPOINTS / m).is_dir()]:
        pytest.skip(f"this checkout has no weights for {', '.join(missing)}")
    few = ["--limit", "2", "--samplers", "teacher-50,uniform-4,glance-8"]
    command = [str(installed / "bin" / "glance-bench"), "run", "quickstart", *few]
    done = run(command, cwd=tmp_path, env=away_from_the_checkout(installed), timeout=540)
    assert "teacher-50" in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert results["schema"] == "glance-bench/results/2"
    assert (folder / "report" / "index.html").stat().st_size > 0
    images = {p.parts[1] for p in (p.relative_to(folder) for p in folder.glob("units/**/*.png"))}
    assert images == {"testbed-flux", "testbed-qwen"}


def requirement_name(line: str) -> str:
    return re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower()


def test_requirements_are_lower_bounds():
    extras = PROJECT["optional-dependencies"].values()
    lines = PROJECT["dependencies"] + [line for extra in extras for line in extra]
    lines = [line for line in lines if not line.startswith("glance-bench[")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9_.-]+>=[0-9.]+", line)] == []


@pytest.mark.parametrize("name", ["current.txt", "v100.txt"])
def test_constraints_pin_every_direct_dependency(name):
    lines = (ROOT / "constraints" / name).read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9_.-]+==[0-9.]+", line)] == []
    pinned = {line.split("==")[0] for line in lines}
    assert {requirement_name(line) for line in PROJECT["dependencies"]} - pinned == set()


def test_v100_set_has_the_last_torch_with_its_kernels():
    lines = (ROOT / "constraints" / "v100.txt").read_text().splitlines()
    assert {line for line in lines if line.startswith("torch")} >= {"torch==2.10.0", "torchvision==0.25.0"}
