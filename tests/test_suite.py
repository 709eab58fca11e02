"""Suite files: what is accepted, and what a mistake is answered with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.profiles import Gpu, choose, missing, parse_gpus
from glance_bench.resources import data_dir
from glance_bench.suite import Needs, Suite, find_suite, json_schema_text, list_suites, load_suite
from tests.engine_fixtures import ROOT

GOOD = """\
version: 1
name: mine
models: [testbed-flux]
prompts:
  - set: own
    texts:
      - a cat
      - a dog
samplers:
  - teacher-50
  - uniform-8
metrics: [truth]
timing:
  repeats: 1
"""


def write(folder: Path, text: str) -> str:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_suite(write(folder, text))
    message = str(caught.value)
    assert message.startswith(str(folder / "suite.yaml")) and "\n" not in message
    return message.removeprefix(str(folder / "suite.yaml"))


def test_a_good_suite_is_read(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    assert suite.name == "mine" and suite.samplers == ["teacher-50", "uniform-8"]
    assert suite.prompts[0].texts == ["a cat", "a dog"] and suite.timing.repeats == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("samplers:", "sampelrs:", ":9: unknown key 'sampelrs'; did you mean 'samplers'?"),
        ("    texts:", "    text:", ":6: unknown key 'prompts.0.text'; did you mean 'texts'"),
        ("  repeats: 1", "  repeat: 1", ":14: unknown key 'timing.repeat'; did you mean 'repeats'?"),
        ("  - uniform-8", "  - unifrom-8", ":11: unknown sampler 'unifrom-8'; did you mean 'uniform-8'"),
        ("metrics: [truth]", "metrics: [turth]", ":12: unknown metric 'turth'; did you mean 'truth'?"),
        ("[testbed-flux]", "[testbed-flx]", ":3: unknown model 'testbed-flx'; did you mean 'testbed-flux'"),
        ("  - uniform-8", "  - teacher-50", ":11: sampler 'teacher-50' is listed twice"),
        ("[truth]", "[truth, ocr, truth]", ":12: metric 'truth' is listed twice"),
        ("[testbed-flux]", "[testbed-flux, testbed-flux]", ":3: model 'testbed-flux' is listed twice"),
        ("  repeats: 1", "  repeats: many", ":14: timing.repeats: "),
        ("  repeats: 1", "  repeats: -1", ":14: timing.repeats: "),
        ("version: 1", "version: 2", ":1: version: "),
        ("name: mine", "name: ../mine", ":2: name: "),
        ("name: mine", "title: mine", ":1: 'name' is required"),
        ("metrics: [truth]", "metrics: truth", ":12: metrics: "),
        ("metrics: [truth]", "seed: yes it is", ":12: seed: "),
        ("metrics: [truth]", "seed: 1.5", ":12: seed: "),
        ("metrics: [truth]", "noise: random", ":12: noise: "),
        ("metrics: [truth]", "batch_size: 0", ":12: batch_size: "),
        ("metrics: [truth]", "metrics: [truth]\nmetrics: [ocr]", ":13: found duplicate key"),
        ("metrics: [truth]", "metrics: [truth", "not YAML"),
        ("      - a dog", '      - "  "', ":8: prompts.0.texts.1: a prompt must not be blank"),
        ("  - set: own\n    texts:\n      - a cat\n      - a dog", "  []", ":4: prompts: "),
        ("      - a cat\n      - a dog", "      []", "prompts.0.texts: "),
        ("  - set: own\n    texts:\n      - a cat\n      - a dog", "  - set: testbde", "unknown prompt set"),
        ("  - set: own\n", "  - set: own\n    models: [testbed-qwen]\n", "is not one of the suite's"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    assert expected in complaint(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text", "42", "\t", "a: [", "%&!", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert complaint(tmp_path, text)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_suite(str(path))


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    suite = load_suite(
        write(tmp_path, GOOD.replace("      - a dog", "      - no\n      - 'on'\n      - 1e-4 m"))
    )
    assert suite.prompts[0].texts == ["a cat", "no", "on", "1e-4 m"]


def test_suites_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert find_suite("quickstart") == list_suites()["quickstart"]
    path = write(tmp_path, GOOD)
    assert find_suite(path) == Path(path)
    with pytest.raises(UsageError, match="unknown suite 'quickstrat'; did you mean 'quickstart'"):
        find_suite("quickstrat")
    with pytest.raises(
        UsageError, match="no suite file at suites/quickstrat.yaml; did you mean 'quickstart'"
    ):
        find_suite("suites/quickstrat.yaml")


def test_paths_in_a_suite_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("name: mine\nschedule: {kind: uniform, steps: 5}\n")
    text = GOOD.replace("  - uniform-8", "  - card.yaml\n  - {lora: my.safetensors, like: uniform-8}")
    suite = load_suite(write(tmp_path, text))
    assert suite.samplers[1] == str(tmp_path / "card.yaml")
    assert suite.samplers[2].lora == str(tmp_path / "my.safetensors")  # type: ignore[union-attr]


def test_shipped_suites_are_valid_and_point_to_the_schema() -> None:
    assert "quickstart" in list_suites()
    for name, path in list_suites().items():
        assert load_suite(name).name == name.replace("ablations/", "ablation-")
        schema = f"{'../' * name.count('/')}suite.schema.json"
        assert path.read_text().startswith(f"# yaml-language-server: $schema={schema}\n")


def test_quickstart_has_what_it_promises() -> None:
    suite = load_suite("quickstart")
    assert suite.models == ["testbed-flux", "testbed-qwen"] and suite.prompts[0].limit == 48
    wanted = {
        "teacher-50",
        "native-10",
        "uniform-10",
        "uniform-8",
        "uniform-4",
        "slowfast-10-base",
        "glance-8",
        "glance-10",
    }
    assert wanted <= set(suite.samplers)  # type: ignore[arg-type]
    assert {"truth", "ocr", "clip[testbed-clip]", "fd[testbed-clip]"} <= set(suite.metrics)


def test_the_committed_schema_is_current() -> None:
    committed = (data_dir("suites") / "suite.schema.json").read_text()
    assert committed == json_schema_text(), "run: glance-bench schema -o suites/suite.schema.json"
    properties = json.loads(committed)["properties"]
    assert {"models", "prompts", "samplers", "metrics", "profiles"} <= set(
        properties
    ) and "profile" not in properties


def test_a_suite_is_checked_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from glance_bench.cli import app\n"
        "try:\n    app(sys.argv[1:])\n"
        "finally:\n    print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])\n"
    )
    path = write(tmp_path, GOOD.replace("samplers:", "sampelrs:"))
    done = subprocess.run([sys.executable, "-c", code, "run", path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout.strip() == "[]"
    assert "unknown key 'sampelrs'" in done.stderr and len(done.stderr.splitlines()) == 1


# -- overrides -----------------------------------------------------------------------------------------------


def test_overrides_narrow_a_suite(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    narrowed = suite.with_overrides(limit=1, samplers=["uniform-4"], metrics=["ocr"])
    assert narrowed.prompts[0].limit == 1
    assert narrowed.samplers == ["uniform-4"] and narrowed.metrics == ["ocr"]
    asked = suite.with_overrides(prompts=["one", "two"])
    assert asked.prompts[0].texts == ["one", "two"] and asked.prompts[0].set == "custom"
    assert suite.with_overrides() == suite


def test_models_of_a_suite_are_chosen_with_their_own_prompts(tmp_path: Path) -> None:
    sets = (
        "prompts: [{set: testbed, models: [testbed-flux]}, {set: testbed-balanced, models: [testbed-qwen]}]\n"
    )
    text = "version: 1\nname: two\nmodels: [testbed-flux, testbed-qwen]\n" + sets
    suite = load_suite(write(tmp_path, text + "samplers: [uniform-8]\nmetrics: [truth]\n"))
    chosen = suite.with_overrides(models=["testbed-qwen"])
    assert chosen.models == ["testbed-qwen"]
    assert [(use.set, use.models) for use in chosen.prompts] == [("testbed-balanced", ["testbed-qwen"])]
    assert len(load_suite("quickstart").with_overrides(models=["testbed-flux"]).prompts) == 1


def test_a_limit_never_raises_the_suites_own() -> None:
    suite = load_suite("quickstart")
    assert suite.with_overrides(limit=1000).prompts[0].limit == 48


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"samplers": ["unifrom-8"]}, "unknown sampler 'unifrom-8'; did you mean 'uniform-8'"),
        ({"models": ["testbed-fux"]}, "unknown model 'testbed-fux'; did you mean 'testbed-flux'"),
        ({"samplers": ["uniform-8", "uniform-8"]}, "sampler 'uniform-8' is listed twice"),
        ({"metrics": ["orc"]}, "unknown metric 'orc'"),
        ({"prompts": [""]}, "prompts"),
        ({"prompts": ["\ud800"]}, "parse raw data as a unicode string"),
        ({"limit": 0}, "limit"),
    ],
)
def test_bad_overrides_are_refused(overrides: dict, expected: str) -> None:
    with pytest.raises(UsageError, match="command line: ") as caught:
        load_suite("quickstart").with_overrides(**overrides)
    assert expected in str(caught.value)


# -- profiles ------------------------------------------------------------------------------------------------

V100 = Gpu("Tesla V100-SXM2-32GB", 32510, 7.0)
SMALL_V100 = Gpu("Tesla V100-SXM2-16GB", 16160, 7.0)
H100 = Gpu("NVIDIA H100 80GB HBM3", 81559, 9.0)
PROFILES = {
    "name": "big",
    "prompts": [{"set": "own", "texts": ["a"]}],
    "samplers": ["uniform-8"],
    "profiles": {
        "v100-32gb": {
            "needs": {"gpu": "V100", "memory_gb": 32, "compute": 7.0},
            "models": ["testbed-flux"],
            "device": "cuda",
            "dtype": "float16",
        },
        "v100-16gb": {
            "needs": {"gpu": "V100", "memory_gb": 16.0},
            "models": ["testbed-qwen"],
            "device": "cuda",
            "batch_size": 1,
        },
        "testbed": {
            "models": ["testbed-flux"],
            "prompts": [{"set": "own", "texts": ["tiny"]}],
        },
    },
}


def on(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> Suite:
    monkeypatch.setattr("glance_bench.profiles.find_gpus", lambda: list(gpus))
    return Suite.model_validate(PROFILES)


def test_auto_takes_the_first_profile_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved, why = choose(on(monkeypatch, V100), None)
    assert (
        resolved.profile == "v100-32gb" and resolved.label == "big-v100-32gb" and resolved.dtype == "float16"
    )
    assert "v100-32gb" in why and "Tesla V100-SXM2-32GB" in why
    resolved, _ = choose(on(monkeypatch, SMALL_V100), "auto")
    assert (
        resolved.profile == "v100-16gb" and resolved.models == ["testbed-qwen"] and resolved.batch_size == 1
    )


def test_only_without_any_gpu_the_testbed_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved, why = choose(on(monkeypatch), None)
    assert resolved.label == "big-testbed" and resolved.prompts[0].texts == ["tiny"]
    assert "THIS MACHINE HAS NO GPU" in why
    with pytest.raises(GlanceBenchError, match="no profile of big can run here") as caught:
        choose(on(monkeypatch, H100), None)
    assert caught.value.exit_code == 3 and "NVIDIA H100" in str(caught.value)


def test_a_forced_profile_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(on(monkeypatch, H100), "testbed")[0].profile == "testbed"
    with pytest.raises(GlanceBenchError, match="needs a GPU named V100 with 32 GB"):
        choose(on(monkeypatch, SMALL_V100), "v100-32gb")
    with pytest.raises(UsageError, match="no profile 'v100-32bg'; did you mean 'v100-32gb'"):
        choose(on(monkeypatch, V100), "v100-32bg")


def test_a_suite_without_profiles_runs_as_it_is() -> None:
    suite = load_suite("quickstart")
    assert choose(suite, None)[0] == suite and choose(suite, "auto")[0].label == "quickstart"
    with pytest.raises(UsageError, match="no profile 'h100'"):
        choose(suite, "h100")


def test_needs_are_compared_with_every_gpu() -> None:
    assert missing(Needs(memory_gb=32.0), [SMALL_V100, V100]) == ""
    assert missing(Needs(compute=8.0), [V100]) != "" and missing(Needs(), []) == ""


def test_the_drivers_table_is_read() -> None:
    table = "Tesla V100-SXM2-32GB, 32510, 7.0\nNVIDIA H100 80GB HBM3, 81559, 9.0\n"
    assert parse_gpus(table) == [V100, H100] and parse_gpus("\n") == []
    with pytest.raises(GlanceBenchError, match="does not report itself fully"):
        parse_gpus("Tesla V100, [N/A], 7.0\n")


def test_hidden_gpus_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from glance_bench.profiles import find_gpus

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_gpus() == []


def test_a_driver_that_does_not_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glance_bench.profiles import find_gpus

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho driver and library mismatch >&2\nexit 18\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(GlanceBenchError, match="does not work .driver and library mismatch.: reinstall"):
        find_gpus()
