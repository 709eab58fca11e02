"""The documents name files that exist and cards that compile. Their commands: test_docs_commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from glance_bench.cli import app
from glance_bench.samplers.cards import Geometry, load_card
from glance_bench.trajectory import FLUX_SHIFT, QWEN_SHIFT
from tests.documents import DOCUMENTS, ROOT

README = (ROOT / "README.md").read_text()
TOP_LEVEL = {p.name for p in ROOT.iterdir()} - {"runs"}


def named(paths: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in paths]


def fenced(text: str, language: str) -> list[str]:
    """Contents of the code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def anchors(text: str) -> set[str]:
    """The fragments by which GitHub links to the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named(DOCUMENTS))
def test_links_lead_somewhere(document):
    text = document.read_text()
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (document.parent / path) if path else document
        if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named(DOCUMENTS))
def test_files_named_in_backticks_exist(document):
    """`folder/file` counts when it starts with something at the top of the project."""
    quoted = re.findall(r"`([\w.][\w./-]*)`", document.read_text())
    paths = {q for q in quoted if "/" in q and q.split("/")[0] in TOP_LEVEL}
    assert sorted(p for p in paths if not (ROOT / p).exists()) == []


def test_every_command_of_the_program_is_in_the_readme():
    commands = set(get_command(app).commands)
    assert {"run", "plan", "trajectory", "list", "schema", "verify"} <= commands
    assert {c for c in commands if f"glance-bench {c}" not in README} == set()


def test_readme_has_the_two_commands():
    lines = "\n".join(fenced(README, "bash")).splitlines()
    assert "python -m pip install -e . && glance-bench run suites/quickstart.yaml" in lines
    assert "python -m pip install tox && tox" in lines


def test_readme_shows_what_the_quickstart_prints():
    (block,) = re.findall(r"<!-- output: quickstart -->\n```text\n(.*?)```\n<!-- /output -->", README, re.S)
    assert "teacher-50" in block and "uniform-4" in block


def test_scripts_named_in_documents_explain_themselves():
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    scripts = set(re.findall(r"python ((?:docs|benchmarks)/\w+\.py)", text))
    assert "docs/make_pictures.py" in scripts
    for script in scripts:
        command = [sys.executable, str(ROOT / script), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "usage:" in done.stdout, script


@pytest.mark.parametrize("shift", [FLUX_SHIFT, QWEN_SHIFT], ids=["flux", "qwen_image"])
@pytest.mark.parametrize("card", fenced(README, "yaml"), ids=re.findall(r"^name: (.*)$", README, re.M))
def test_readme_cards_compile(card, shift, tmp_path):
    path = tmp_path / "card.yaml"
    path.write_text(card)
    loaded = load_card(str(path))
    family = "flux" if shift is FLUX_SHIFT else "qwen_image"
    trajectory = loaded.compile(Geometry(family, shift, 4096, 3.5, family == "qwen_image"))
    assert len(trajectory) == 10
    assert trajectory.sigmas[0] == 1 and trajectory.sigmas[-1] == 0
    adapters = [step.adapter and Path(step.adapter).name for step in trajectory.steps]
    wanted = re.findall(r"lora: ([\w.-]+)", card)
    assert adapters == ([wanted[0]] * 5 + [wanted[1]] * 5 if wanted else [None] * 10)
