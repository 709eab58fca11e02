"""The doctor: what it says of recorded machines, and what it says of a driver or a torch that does not work.

The records in ``tests/machines/`` were written by hand in the form that ``doctor --json`` gives: what the GPUs, drivers
and wheels of those names report. No machine of these kinds was asked.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glance_bench.doctor.diagnosis import diagnose
from glance_bench.doctor.gpu import V100_TORCH, attention, has_kernels
from glance_bench.doctor.probe import _answers, _libraries, ask_torch
from glance_bench.doctor.record import read_machine
from glance_bench.doctor.text import lines, table
from glance_bench.engine.forecast import forecast
from glance_bench.errors import UsageError
from glance_bench.models.placement import placement
from glance_bench.profiles import Gpu, Target, target_of
from glance_bench.suite import load_suite

from .web import serving

ROOT = Path(__file__).parent.parent
MACHINES = ROOT / "tests" / "machines"
V100_LINE = "python -m pip install torch==2.10.0 torchvision==0.25.0"


def judged(name: str, *suites: str) -> dict[str, Any]:
    return diagnose(read_machine(MACHINES / f"{name}.json"), suites or ("quickstart", "coco"))


def of(document: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in document[kind] if one["name"] == name)
    return found


def finding(document: dict[str, Any], subject: str) -> dict[str, Any]:
    return next(one for one in document["findings"] if one["subject"] == subject)


@pytest.mark.parametrize(
    ("name", "flux", "qwen"),
    [
        ("v100-32gb-torch-2.10", "runs with placement encode-then-drop", "runs with placement quanto-int8"),
        (
            "v100-16gb-torch-2.10",
            "runs with placement quanto-int8",
            "cannot, because no placement of qwen-image fits",
        ),
        ("v100-32gb-torch-2.15", "cannot, because torch 2.15.0", "cannot, because torch 2.15.0"),
        (
            "a100-80gb",
            "cannot, because flux.1-dev is not there (34 GB)",
            "cannot, because qwen-image is not there",
        ),
        ("h100-80gb", "runs", "runs"),
        ("rtx-4090", "runs with placement quanto-int8", "runs with placement quanto-int8"),
        ("no-gpu", "cannot, because there is no GPU", "cannot, because there is no GPU"),
        (
            "broken-driver",
            "cannot, because a GPU driver is installed but does not work",
            "cannot, because a GPU",
        ),
    ],
)
def test_each_machine_is_told_what_it_runs(name: str, flux: str, qwen: str) -> None:
    document = judged(name)
    assert of(document, "models", "flux.1-dev")["status"].startswith(flux)
    assert of(document, "models", "qwen-image")["status"].startswith(qwen)
    assert of(document, "models", "testbed-flux")["status"] == "runs"
    assert of(document, "suites", "quickstart")["runs"]
    assert document["schema"] == "glance-bench/doctor/1"


def test_a_v100_with_a_late_torch_gets_the_line_that_mends_it() -> None:
    document = judged("v100-32gb-torch-2.15")
    for one in (of(document, "models", "flux.1-dev"), of(document, "suites", "coco")):
        assert not one["runs"] and one["cures"][0] == V100_LINE
    assert finding(document, "torch")["cure"] == V100_LINE
    pinned = (ROOT / "constraints" / "v100.txt").read_text()
    assert tuple(re.findall(r"^torch(?:vision)?==\S+", pinned, re.M)) == V100_TORCH
    mended = judged("v100-32gb-torch-2.10")
    assert finding(mended, "torch")["state"] == "ok" and not of(mended, "models", "flux.1-dev")["cures"]


def test_the_right_version_for_the_wrong_cuda_is_installed_over() -> None:
    document = judged("v100-32gb-torch-2.10-cu130")
    assert "torch 2.10.0+cu130 has no code for the Tesla V100" in finding(document, "torch")["what"]
    forced = V100_LINE.replace("install", "install --force-reinstall")
    assert finding(document, "torch")["cure"] == forced
    assert of(document, "suites", "coco")["cures"][0] == forced


def test_bfloat16_is_emulated_on_a_v100_and_attention_says_what_follows() -> None:
    (old,) = judged("v100-32gb-torch-2.10")["gpus"]
    (new,) = judged("a100-80gb")["gpus"]
    assert old["bfloat16"] == "emulated" and new["bfloat16"] == "real"
    assert old["attention"] == {
        "float16": "memory-efficient",
        "bfloat16": "math",
        "float32": "memory-efficient",
    }
    assert new["attention"]["bfloat16"] == new["attention"]["float16"] == "flash"
    assert attention(7.5)["bfloat16"] == "math"


@pytest.mark.parametrize(
    ("compute", "kernels", "runs"),
    [
        (7.0, ["sm_75", "sm_80"], False),
        (7.0, ["sm_70", "sm_80"], True),
        (7.2, ["sm_70"], True),  # the same major version
        (8.0, ["sm_86"], False),
        (8.9, ["sm_80", "sm_90"], True),
        (9.0, ["sm_90a"], True),
        (10.3, ["sm_100a"], False),  # of one chip only
        (12.0, ["sm_90", "compute_90"], True),  # compiled when it is first used
        (7.0, ["compute_75"], False),
        (7.0, [], None),
    ],
)
def test_kernels_run_where_cuda_says_they_do(compute: float, kernels: list[str], runs: bool | None) -> None:
    assert has_kernels(compute, kernels) is runs


def changed(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    """The judgement of a machine that differs from a recorded one."""
    record = json.loads((MACHINES / f"{name}.json").read_text())
    for place, value in changes.items():
        record[place] = {**record[place], **value} if isinstance(value, dict) else value
    (folder / "machine.json").write_text(json.dumps(record))
    return diagnose(read_machine(folder / "machine.json"), ["coco"])


def test_what_else_keeps_a_model_from_running(tmp_path: Path) -> None:
    def told(**changes: Any) -> dict[str, Any]:
        return of(changed(tmp_path, "v100-32gb-torch-2.10", **changes), "models", "qwen-image")

    plain = told(torch={"cuda": None, "kernels": [], "devices": []})
    assert "built without CUDA" in plain["status"] and plain["cures"][0].endswith(" ".join(V100_TORCH))
    old = told(
        torch={"devices": [], "error": "The NVIDIA driver on your system is too old (found version 11040)"}
    )
    assert "too old" in old["status"] and old["cures"] == ["update the NVIDIA driver to one for CUDA 12.8"]
    without = told(libraries=[])
    assert without["cures"] == ["python -m pip install optimum-quanto"] and "quanto-int8" in without["status"]
    full = told(here=[], disks=[{"what": "hub cache", "path": "/c", "free_gb": 40}])
    assert full["cures"] == ["glance-bench prefetch qwen-image", "export HF_HOME=/a/larger/disk"]
    gpu = {"name": "Tesla V100-SXM2-32GB", "memory_mib": 32768, "compute": 7.0, "free_mib": 1024}
    shared = told(gpus=[gpu])
    assert "where 1.0 are free" in shared["status"] and shared["cures"] == ["nvidia-smi"]


def test_a_suite_whose_metrics_wait_runs_and_says_so() -> None:
    coco = of(judged("h100-80gb"), "suites", "coco")
    assert coco["status"] == "runs, profile h100" and "hpsv2.1" in coco["waits"]
    stand_in = of(judged("no-gpu"), "suites", "coco")
    assert stand_in["stands_in"] and "TINY MODELS STAND IN" in stand_in["status"]


def test_any_other_gpu_with_real_bfloat16_gets_the_suites_as_its_memory_allows(tmp_path: Path) -> None:
    here = ["flux.1-dev", "qwen-image", "coco-10k"]
    large = of(changed(tmp_path, "a100-80gb", here=here), "suites", "coco")
    assert large["status"] == "runs, profile bfloat16"
    assert [one["plan"] for one in large["placements"].values()] == ["all-on-gpu", "all-on-gpu"]
    small = of(judged("rtx-4090"), "suites", "coco")
    assert small["status"] == "runs with placement quanto-int8, profile bfloat16"
    assert {one["dtype"] for one in small["placements"].values()} == {"bfloat16"}


def test_doctor_plan_and_page_agree_on_qwen_image_on_16_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glance_bench.profiles.find_gpus", lambda: [])
    group, layers = (
        placement(name, "qwen-image", 1024, 7.0, "float16") for name in ("group-offload", "sequential")
    )
    each = f"{group.ram_gib:.1f} GiB for group-offload, {layers.ram_gib:.1f} GiB for sequential"
    refused = of(judged("v100-16gb-torch-2.10"), "suites", "coco")
    assert refused["cures"] == [
        f"more free host memory than 55 GiB: {each}",
        "or without qwen-image: glance-bench run coco --models flux.1-dev",
    ]
    suite = load_suite("coco")
    resolved = suite.with_profile("v100-16gb")
    target = Target(Gpu("V100", 16384, 7.0, free_mib=15729), here=False)  # 96 % of 16 GiB
    assert target_of(suite, resolved) == target
    flux, qwen = forecast(resolved, target, {}).memory
    assert flux.plan and flux.plan.name == "quanto-int8" and qwen.plan == group
    anything = target_of(
        suite, suite.with_profile("bfloat16")
    )  # no memory is stated: whatever is needed is there
    assert anything.gpu and anything.gpu.free_gib == math.inf and anything.gpu.compute == 8.0
    (row,) = re.findall(
        r"^\| images of Qwen-Image .*", (ROOT / "docs/how-to/run-on-a-v100.md").read_text(), re.M
    )
    assert f"{group.ram_gib:.1f} GiB of free host memory `group-offload`" in row
    assert f"{layers.ram_gib:.1f} GiB `sequential`" in row


def test_what_a_sampler_plays_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "turbo.yaml"
    file.write_text(
        "version: 1\nname: turbo\nprompts: [{set: testbed}]\nsamplers: [flux-turbo-8]\n"
        "models: [flux.1-dev]\ndevice: cuda\ndtype: bfloat16\n"
    )
    (told,) = judged("h100-80gb", str(file))["suites"]
    assert "FLUX.1-Turbo-Alpha:diffusion_pytorch_model.safetensors is not there" in told["status"]
    assert told["cures"] == [
        "glance-bench prefetch alimama-creative/FLUX.1-Turbo-Alpha:diffusion_pytorch_model.safetensors"
    ]


def test_rooms_are_compared_with_all_that_is_fetched_and_with_the_images(tmp_path: Path) -> None:
    disks = [{"what": what, "path": "/d", "free_gb": 34.5} for what in ("hub cache", "runs")]
    record = json.loads((MACHINES / "h100-80gb.json").read_text()) | {"here": [], "disks": disks}
    file = tmp_path / "turbo.yaml"
    file.write_text(
        "version: 1\nname: turbo\nprompts: [{set: coco-10k}]\nsamplers: [flux-turbo-8, teacher-50, uniform-8]\n"
        "models: [flux.1-dev]\ndevice: cuda\ndtype: bfloat16\nresolution: 1024\n"
    )
    (tmp_path / "machine.json").write_text(json.dumps(record))
    (told,) = diagnose(read_machine(tmp_path / "machine.json"), [str(file)])["suites"]
    assert "the disk of hub cache has room for 34.5 of 34.7 GB" in told["because"]  # 34 + the adapter's 0.7
    assert "the disk of runs has room for 34.5 of 47.2 GB" in told["because"]  # 30,000 images
    assert told["cures"][-2:] == [
        "export HF_HOME=/a/larger/disk",
        f"glance-bench run {file} -o /a/larger/disk/turbo",
    ]


def test_libraries_of_extras_are_listed_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["torch>=2", 'ray>=2.40; extra == "ray"', 'nvidia-ml-py>=12; extra == "gpu"']
    asked += [
        'optimum-quanto>=0.2; extra == "train"',
        'cache-dit>=1.5; extra == "cache"',
        'mypy; extra == "dev"',
    ]
    here = {"torch": "2.15.0", "ray": "2.60.0", "mypy": "2.4.1", "cache-dit": "1.5.1"}
    monkeypatch.setattr("glance_bench.doctor.probe.requires", lambda name: asked)
    monkeypatch.setattr("glance_bench.doctor.probe._version", here.get)
    found = {library.name: (library.found, library.extra) for library in _libraries()}
    assert found == {
        "torch": ("2.15.0", ""),
        "ray": ("2.60.0", "ray"),
        "optimum-quanto": (None, "train"),
        "cache-dit": ("1.5.1", "cache"),
    }


def test_libraries_that_are_old_or_absent_are_named_with_their_line(tmp_path: Path) -> None:
    libraries = [
        {"name": "diffusers", "wanted": ">=0.42", "found": "0.30.0"},
        {"name": "peft", "wanted": ">=0.18", "found": None},
        {"name": "bitsandbytes", "wanted": ">=0.48", "found": None, "extra": "train"},
    ]
    found = [
        (one["state"], one["cure"])
        for one in changed(tmp_path, "h100-80gb", libraries=libraries)["findings"]
        if one["subject"] == "library"
    ]
    assert found == [
        ("bad", "python -m pip install 'diffusers>=0.42'"),
        ("bad", "python -m pip install 'peft>=0.18'"),
        ("note", "python -m pip install 'bitsandbytes>=0.48'"),
    ]


def test_lines_and_table_have_every_cure() -> None:
    from rich.console import Console

    document = judged("v100-32gb-torch-2.15")
    assert f"cure: {V100_LINE}" in "\n".join(lines(document))
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table(document))
    assert V100_LINE in console.export_text()


# -- the command, and machines on which things do not work ---------------------------------------------------------


def doctor(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """The command with ``folder/site`` before everything that is installed, and ``folder/bin`` before other tools."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)]),
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        **extra,
    }
    return subprocess.run(
        [sys.executable, "-m", "glance_bench", "doctor", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_what_it_prints_can_be_judged_again(tmp_path: Path) -> None:
    first = doctor(tmp_path, "coco", "--machine", str(MACHINES / "v100-32gb-torch-2.15.json"), "--json")
    assert first.returncode == 3 and first.stderr == ""
    (tmp_path / "told.json").write_text(first.stdout)
    again = doctor(tmp_path, "coco", "quickstart", "--machine", "told.json", "--json")
    assert again.returncode == 0  # something of what is asked runs
    old, new = json.loads(first.stdout), json.loads(again.stdout)
    assert new["machine"] == old["machine"] and new["models"] == old["models"]
    (tmp_path / "told.json").write_text('{"machine": {"platform": 3}}')
    refused = doctor(tmp_path, "--machine", "told.json")
    assert refused.returncode == 2 and "is no record of a machine: platform" in refused.stderr
    assert doctor(tmp_path, "cocoo", "--machine", str(MACHINES / "no-gpu.json")).returncode == 2


def test_a_broken_driver_and_a_broken_torch_are_told_with_cures_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "site" / "torch").mkdir(parents=True)
    (tmp_path / "site" / "torch" / "__init__.py").write_text(
        "raise OSError('libcudart.so.13: cannot open')\n"
    )
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n")
    tool.chmod(0o755)
    shown = doctor(tmp_path, "--json", HF_TOKEN="hf_secretsecret", CUDA_VISIBLE_DEVICES="0")
    assert shown.returncode == 3, shown.stderr
    document = json.loads(shown.stdout)
    assert document["machine"]["hub"]["token"] is True and "secret" not in shown.stdout + shown.stderr
    assert finding(document, "GPU")["cure"] == "sudo reboot"
    own = of(document, "models", "testbed-flux")
    assert "libcudart.so.13: cannot open" in own["status"] and own["cures"] == [
        "python -m pip install torch torchvision"
    ]
    assert not any(one["runs"] for one in document["suites"])


@pytest.mark.parametrize(
    ("torch", "told"),
    [
        ("import time; time.sleep(60)", "did not answer in 2 s"),
        (
            "import os, sys; print('Illegal instruction', file=sys.stderr, flush=True); os.abort()",
            "Illegal instruction",
        ),
        ("raise ImportError('no module of its own')", "ImportError: no module of its own"),
    ],
)
def test_torch_is_asked_in_a_process_that_may_hang_or_die(
    torch: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(torch + "\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    answer = ask_torch(patience=2 if "sleep" in torch else 60)
    assert answer.version is None and told in answer.error


FAKE = """
__version__, float16 = "2.15.0", "half"
class version: cuda = "13.2"
class cuda:
    get_arch_list = staticmethod(lambda: ["sm_75"])
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    class get_device_properties:
        name, major, minor = "Tesla V100", 7, 0
        def __init__(self, index): pass
def ones(*size, dtype, device):
    raise RuntimeError("no kernel image is available\\nfor execution on the device")
"""


def test_a_gpu_that_torch_cannot_compute_on_is_found_out_by_computing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    (device,) = ask_torch().devices
    assert (
        device.compute == 7.0 and device.error == "no kernel image is available for execution on the device"
    )


def test_the_hub_is_asked_only_whether_it_answers() -> None:
    with serving() as site:
        assert _answers(site.url) is True  # with 404: it answered
        assert [asked[0] for asked in site.asked] == ["HEAD"]
        gone = site.url
    assert _answers(gone) is False


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        read_machine(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        read_machine(tmp_path / "text.json")
