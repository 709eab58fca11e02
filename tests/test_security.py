"""No code but ours is run: not from pickles, not from repositories, not from YAML. See SECURITY.md."""

from __future__ import annotations

import ast
import json
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.models.checkpoints import check_weights, read_settings
from glance_bench.samplers.lora_files import contents
from glance_bench.yamlfile import read_yaml
from tests.lora_files import write_lora

PACKAGE = Path(__file__).parent.parent / "glance_bench"
OPENS_PICKLES = {"unpickle.py"}  # the child process of `convert`
PICKLING = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
PICKLED_CALLS = {("torch", "load"), ("torch", "save"), ("torch.hub", "load"), ("pd", "read_pickle")}
RUN = {"eval", "exec", "compile", "__import__"}


@pytest.fixture(scope="module")
def nodes() -> list[tuple[str, ast.Import | ast.ImportFrom | ast.Call]]:
    """Every import and call of the package with the file it stands in."""
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name not in OPENS_PICKLES]
    return [
        (str(path.relative_to(PACKAGE)), node)
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)
    ]


def called(node: ast.Call) -> tuple[str, str]:
    """The word before the last dot of what is called, and the one after it."""
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value
        return getattr(owner, "attr", getattr(owner, "id", "?")), node.func.attr
    return "", getattr(node.func, "id", "?")


def given(node: ast.Call) -> dict[str | None, object]:
    return {keyword.arg: getattr(keyword.value, "value", "?") for keyword in node.keywords}


# -- our own code --------------------------------------------------------------------------------------------


def test_pickles_are_opened_by_convert_alone(nodes: list[tuple[str, Any]]) -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} >= OPENS_PICKLES
    for name, node in nodes:
        if isinstance(node, ast.Call):
            where, call, stated = f"{name}:{node.lineno}", called(node), given(node)
            assert call not in PICKLED_CALLS and (call[0] or call[1] not in RUN), where
            assert stated.get("allow_pickle", "unsaid") in (
                {False} if call == ("np", "load") else {False, "unsaid"}
            ), where
        else:
            modules = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            assert not PICKLING & {module.partition(".")[0] for module in modules}, name


def test_no_code_of_a_repository_is_trusted_and_only_safetensors_are_asked_for(
    nodes: list[tuple[str, Any]],
) -> None:
    seen = 0
    for name, node in nodes:
        if not isinstance(node, ast.Call):
            continue
        where, (kind, call), stated = f"{name}:{node.lineno}", called(node), given(node)
        assert stated.get("trust_remote_code", False) is False, where
        if call != "from_pretrained" or kind.endswith("Config") or "testbed/train" in name:
            continue
        seen += 1
        if kind.startswith("Auto"):  # which would ask on the terminal
            assert "trust_remote_code" in stated, where
        if not kind.endswith(("Tokenizer", "Processor")):
            assert stated.get("use_safetensors") is True, where
    assert seen > 5


# -- checkpoints and adapters --------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """What planning reads of a FLUX checkpoint."""
    index = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    (tmp_path / "transformer").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "transformer" / "config.json").write_text("{}")
    (tmp_path / "transformer" / "model.safetensors").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "entry", "named"),
    [
        ("model_index.json", {"_class_name": ["pipeline", "Own"]}, "_class_name"),
        ("model_index.json", {"custom_pipeline": "own"}, "custom_pipeline"),
        ("model_index.json", {"vae": ["os", "system"]}, "vae of os"),
        ("model_index.json", {"vae": ["own_module", "Vae"]}, "vae of own_module"),
        ("transformer/config.json", {"auto_map": {"AutoModel": "modeling.Own"}}, "auto_map"),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"AutoTokenizer": "own.T"}}, "auto_map"),
    ],
)
def test_a_checkpoint_that_names_code_of_its_own_is_refused(
    checkpoint: Path, file: str, entry: dict[str, Any], named: str
) -> None:
    assert read_settings(checkpoint).family == "flux"
    path = checkpoint / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **entry}))
    with pytest.raises(GlanceBenchError, match=f"{file} names code that is not of diffusers.*{named}"):
        read_settings(checkpoint)


def test_pickled_weights_of_a_checkpoint_are_refused_with_the_reason(checkpoint: Path) -> None:
    check_weights(checkpoint)
    (checkpoint / "transformer" / "model.safetensors").unlink()
    (checkpoint / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(
        GlanceBenchError, match=r"no \*.safetensors weights.*model.bin is a pickle, which is a program"
    ):
        check_weights(checkpoint)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".safetensors.bin", ""])
def test_a_pickled_lora_file_is_refused_although_its_scale_is_stated(tmp_path: Path, suffix: str) -> None:
    good = write_lora(tmp_path / "good.safetensors")
    assert contents([(str(good), 1.0)])
    bad = shutil.copy(good, tmp_path / f"bad{suffix}")
    with pytest.raises(GlanceBenchError, match=f"LoRA file .*bad{suffix} is .*only safetensors are loaded"):
        contents([(str(bad), 1.0)])


# -- YAML ----------------------------------------------------------------------------------------------------

TAGS = {
    "call": '!!python/object/apply:os.system ["touch owned"]',
    "name": "!!python/name:os.system x",
    "own": "!own {a: 1}",
    "binary": "!!binary aGk=",
}


@pytest.mark.parametrize("tag", TAGS)
def test_tags_in_yaml_are_refused(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "any.yaml"
    for text in (f"a: 1\nb: {TAGS[tag]}\n", f"a: 1\nb:\n- [{{c: {TAGS[tag]}}}]\n"):
        path.write_text(text)
        with pytest.raises(
            UsageError, match=r"any.yaml:[23]: the tag '!.* is not read here: plain values only"
        ):
            read_yaml(path)


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["trajectory"],
        ["train", "glance", "--model", "testbed-flux", "--sample", "noise", "--plan", "--recipe"],
    ],
    ids=["suite", "card", "recipe"],
)
def test_a_tag_is_one_line_and_exit_code_2(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "own.yaml").write_text(f"version: 1\nname: {TAGS['call']}\n")
    with chdir(tmp_path):
        done = CliRunner().invoke(app, [*command, "own.yaml"])
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "own.yaml:2: the tag '!!python/object/apply:os.system'" in line
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def laughs(levels: int) -> str:
    lines = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(["l0: &l0 [x, x, x, x, x, x, x, x, x]", *lines])


def merges(levels: int) -> str:
    return "\n".join(
        ["l0: &l0 {a: 1}", *(f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}" for n in range(1, levels))]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(12), "unfolds to more than"),
        (merges(40), "unfolds to more than"),
        ("a: &a [*a]", "an alias refers to what it stands in"),
        ("a: &a {b: {c: *a}}", "an alias refers to what it stands in"),
        ("a: " + "[" * 5000, "nested too deeply"),
    ],
)
def test_yaml_that_grows_is_refused_before_it_has(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_yaml(path)


def test_aliases_that_stay_small_are_read(tmp_path: Path) -> None:
    path = tmp_path / "fine.yaml"
    path.write_text("a: &a {x: 1, y: [2, 3]}\nb: *a\nc: {<<: *a, x: 4}\nd: 2001-01-01\n")
    tree = read_yaml(path)
    assert tree["b"]["y"] == [2, 3] and (tree["c"]["x"], tree["c"]["y"]) == (4, [2, 3])
