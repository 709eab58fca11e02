"""Every command that the documentation shows works.

The blocks of a page are run in order, in a small copy of a checkout: its suites have few prompts and one model. What
a page marks as not run must still be a command that exists, with options that exist.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from typer.main import get_command

from glance_bench.cli import app
from glance_bench.store import Run
from tests.documents import DOCS, DOCUMENTS, PAGES, ROOT, Block, blocks, commands
from tests.lora_files import write_lora

FIRST = "getting-started.md"  # other pages look at its run
QUICK = {
    FIRST,
    "how-to/add-a-metric.md",
}  # of the pages that make images, those of the default run of the tests
GATED = "glance-bench run suites/ci.yaml -q && glance-bench baseline save runs/ci --as ci --replace -q"
# Documents whose text is checked, or made, elsewhere and holds no marks.
UNMARKED = {"glance-bench run suites/calibration.yaml": "6,000 images a sampler, an hour"}


def page_name(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


def why_not_run(block: Block) -> str:
    return block.why_not or UNMARKED.get(block.code.partition("\n")[0], "")


def played_pages() -> list[Any]:
    """The pages with a command to be run; those that load a model again and again are slow."""
    found = {page_name(page): list(blocks(page.read_text())) for page in PAGES}
    run = {
        name: "".join(b.code for b in own if b.language == "bash" and not why_not_run(b))
        for name, own in found.items()
    }
    return [
        pytest.param(name, marks=pytest.mark.slow if makes_images(name, code) else ())
        for name, code in run.items()
        if code
    ]


def makes_images(name: str, code: str) -> bool:
    return name not in QUICK and bool(re.search(r"^glance-bench (run|train)\b", code, re.M))


class Checkout:
    """A folder in which a reader could be: the project's files, small suites, no run yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.site, self.tools = folder / "site", folder / "bin"
        for place in (self.folder, self.site, self.tools):
            place.mkdir()
        for name in ("glance_bench", "baselines", "benchmarks", "constraints", "docs"):
            (self.folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "reports", self.folder / "reports")
        for path in (ROOT / "suites").rglob("*.yaml"):
            small = self.folder / path.relative_to(ROOT)
            small.parent.mkdir(exist_ok=True)
            small.write_text(shrunk(path.read_text()))
        write_lora(self.folder / "my-lora.safetensors")
        python = shlex.quote(sys.executable)
        self.tool("python", f'exec {python} "$@"')
        self.tool("glance-bench", f'exec {python} -m glance_bench "$@"')
        self._output: dict[str, str] = {}
        self.shell("git init -q")

    def tool(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def play(self, page: str) -> str:
        """Follow a page once, from top to bottom; what its commands wrote on both streams."""
        if page not in self._output:
            text = (DOCS / page).read_text()
            if page != FIRST and "runs/first" in text:
                self.play(FIRST)
            output = [self.shell(GATED)] if page == "ci.md" else []
            for block in blocks(text):
                if block.file:
                    self.write(block)
                elif block.language == "bash" and not why_not_run(block):
                    output.append(self.shell(block.code))
            self._output[page] = "".join(output)
        return self._output[page]

    def write(self, block: Block) -> None:
        path = self.folder / block.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.code)
        if path.name == "pyproject.toml":
            self.install(path.parent)

    def install(self, package: Path) -> None:
        """What `pip install -e` does for a package of single modules: they are found, and so are its entry points."""
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        info = self.site / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(about)
        lines = []
        for group, names in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {target}" for name, target in names.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module in package.glob("*.py"):
            (self.site / module.name).symlink_to(module)

    def shell(self, code: str, expect: int = 0, **extra: str) -> str:
        """Run lines of bash, each of which must succeed."""
        gone = {"CI", "GLANCE_BENCH_DATA", "GITHUB_STEP_SUMMARY"}
        environment = {name: value for name, value in os.environ.items() if name not in gone}
        environment |= {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "PYTHONPATH": f"{self.site}:{ROOT}",
            "GLANCE_BENCH_CACHE": str(self.folder.parent / "cache"),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self.folder,
            env=environment | extra,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        said = f"{code}\nexited with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        assert done.returncode == expect, said
        return done.stdout + done.stderr

    def results(self, run: str) -> dict[str, Any]:
        return json.loads((self.folder / "runs" / run / "results.json").read_text())

    def rows(self, run: str) -> dict[str, Any]:
        """The samplers of a run with one board."""
        (board,) = self.results(run)["boards"]
        return {row["sampler"]: row for row in board["samplers"]}


def shrunk(suite: str) -> str:
    """A shipped suite as a test can run it: two prompts, one model, timed twice."""
    small = re.sub(r"limit: \d+", "limit: 2", suite)
    small = small.replace("[testbed-flux, testbed-qwen]", "[testbed-flux]")
    return re.sub(r"timing: \{repeats: \d+, warmup: \d", "timing: {repeats: 2, warmup: 0", small)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("docs"))


@pytest.mark.parametrize("name", played_pages())
def test_the_commands_of_a_page_work(checkout: Checkout, name: str) -> None:
    checkout.play(name)


@pytest.mark.slow
def test_the_early_sampler_takes_its_ten_steps(checkout: Checkout) -> None:
    output = checkout.play("how-to/add-a-sampler.md")
    assert "my-lora" in output  # the plan with the LoRA
    rows = checkout.rows("early")
    assert {name: row["nfe"]["counted"] for name, row in rows.items()} == {"teacher-50": 50, "early-10": 10}


def test_the_saturation_metric_measures_saturation(checkout: Checkout) -> None:
    """Against Pillow's conversion to HSV, which rounds to 1/255."""
    assert "saturation: mean saturation of the pixels" in checkout.play("how-to/add-a-metric.md")
    run = Run(checkout.folder / "runs" / "colours")
    records = run.records()
    assert len(records) == 8
    for sampler, own in records.groupby("sampler"):
        saturations = [
            np.asarray(Image.open(run.folder / image).convert("HSV"))[..., 1].mean() / 255
            for image in own["image"]
        ]
        cell = checkout.rows("colours")[str(sampler)]["cells"]["saturation"]
        assert cell["n"] == 4 and cell["value"] == pytest.approx(np.mean(saturations), abs=1 / 255)


@pytest.mark.slow
def test_prompts_from_a_file_and_from_a_package_are_drawn_and_read(checkout: Checkout) -> None:
    assert "Street signs, one word each." in checkout.play("how-to/add-a-prompt-set.md")
    run = Run(checkout.folder / "runs" / "town")
    prompts = run.prompts()
    shop, streets = prompts[:2], prompts[2:]
    assert [(p.id, p.category, p.wanted_text) for p in shop] == [
        ("open", "sign", ("OPEN",)),
        ("circle", "object", ()),
    ]
    assert shop[0].text == 'a white sign that says "OPEN"'
    assert [(p.id, p.wanted_text) for p in streets] == [("mill", ("MILL",)), ("park", ("PARK",))]
    boards = checkout.results("town")["boards"]
    counts = {board["prompt_set"]: board["with_text"] for board in boards}
    assert sorted(counts.values()) == [1, 2]  # the circle asks for no text
    for board in boards:
        cell = board["samplers"][0]["cells"]["ocr_word_accuracy"]
        assert cell["n"] == counts[board["prompt_set"]]


@pytest.mark.slow
def test_the_float8_family_draws_nearly_the_same_images(checkout: Checkout) -> None:
    output = checkout.play("how-to/add-a-family.md")
    assert re.search(r"testbed-flux-float8 +flux_float8", output)
    run = Run(checkout.folder / "runs" / "float8")
    records = run.records()
    images = {
        model: np.stack([np.asarray(Image.open(run.folder / image)).astype(float) for image in own["image"]])
        for model, own in records.groupby("model")
    }
    apart = np.abs(images["testbed-flux"] - images["testbed-flux-float8"]).mean(axis=(1, 2, 3))
    assert (apart > 0).all() and apart.mean() < 40


@pytest.mark.slow
def test_pictures_from_elsewhere_are_ranked(checkout: Checkout) -> None:
    output = checkout.play("how-to/rank-images-made-elsewhere.md")
    assert "grey-cards: 2 of 2 images" in output
    row = checkout.rows("ranked")["grey-cards"]
    assert row["cells"]["truth"]["n"] == 2 and row["stated"]["nfe"] == 1
    assert "grey-cards" not in checkout.rows("first")


def test_a_v100_gets_the_answer_that_its_page_shows(checkout: Checkout) -> None:
    page = list(blocks((DOCS / "how-to" / "run-on-a-v100.md").read_text()))
    for block in page:
        if block.file:
            checkout.write(block)
    checkout.tool("nvidia-smi", "echo 'Tesla V100-SXM2-32GB, 32768, 7.0, 32500'")
    try:
        told = checkout.shell("glance-bench plan suites/coco.yaml", CUDA_VISIBLE_DEVICES="0")
        assert "profile: v100-32gb (the first that this machine satisfies: Tesla V100-SXM2-32GB" in told
        own = checkout.shell("glance-bench plan v100.yaml", CUDA_VISIBLE_DEVICES="0")
        assert "profile: v100-32gb (the first that this machine satisfies: Tesla V100-SXM2-32GB" in own
    finally:
        (checkout.tools / "nvidia-smi").unlink()


def test_the_steps_of_glance_are_printed_as_shown(checkout: Checkout) -> None:
    (shown,) = [b.code for b in blocks((DOCS / "glance.md").read_text()) if b.code.startswith("$ ")]
    command, _, table = shown.removeprefix("$ ").partition("\n")
    assert table in checkout.shell(command)


def parsed(words: list[str]) -> None:
    """Read a command line as the program does. Fails for a command, an option or a value that it would refuse."""
    command, name = get_command(app), []
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"no command {' '.join([*name, *words[:1]])!r}"
        name.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    command.make_context(" ".join(name), list(words))


def typed() -> Iterator[str]:
    """Every command line in a block of a document: of a shell, of a session with its output, of a workflow."""
    for document in DOCUMENTS:
        for block in blocks(document.read_text()):
            lines = []
            if block.language == "bash":
                lines = [block.code]
            elif block.language == "text":
                lines = [line.removeprefix("$ ") for line in block.code.splitlines() if line[:2] == "$ "]
            elif block.language == "yaml":
                lines = list(runs_of(YAML(typ="safe").load(block.code)))
            for line in lines:
                yield from (shlex.join(words) for words in commands(line))


def runs_of(tree: Any) -> Iterator[str]:
    """The shell lines of a workflow: what stands under `run`, at any depth."""
    if isinstance(tree, dict):
        yield from (value for key, value in tree.items() if key == "run" and isinstance(value, str))
    for inner in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from runs_of(inner)


@pytest.mark.parametrize("line", sorted(set(typed())))
def test_a_command_line_parses(line: str) -> None:
    parsed(shlex.split(line))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_block_is_missed(document: Path) -> None:
    """Commands stand in blocks of bash; each is found, and run unless a reason is given."""
    text = document.read_text()
    fences = re.findall(r"^ *```(\w+)", text, re.M)
    assert [block.language for block in blocks(text)] == fences
    assert not set(fences) & {"console", "sh", "shell", "zsh"}
    reasons = [block for block in blocks(text) if block.why_not]
    assert all(block.language == "bash" for block in reasons)
    scripts = [block for block in blocks(text) if block.language == "python" and not block.file]
    assert scripts == []


def test_commands_in_running_text_exist() -> None:
    """`glance-bench COMMAND --option` between words: the command and the options, not what they are given."""
    tree, wrong = get_command(app), []
    for document in DOCUMENTS:
        for quoted in re.findall(r"`glance-bench ([a-z][^`]*)`", document.read_text()):
            words, command = quoted.split(), tree
            while hasattr(command, "commands") and words and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
            asked = {word.partition("=")[0] for word in words if word.startswith("-")}
            if hasattr(command, "commands") or asked - known:
                wrong.append(f"{document.name}: {quoted}")
    assert wrong == []


def test_reasons_given_here_are_still_needed() -> None:
    firsts = {b.code.partition("\n")[0] for page in PAGES for b in blocks(page.read_text()) if not b.why_not}
    assert set(UNMARKED) <= firsts
