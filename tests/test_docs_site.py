"""The documentation site builds without a warning, stands alone, and its reference is complete."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from html import unescape
from pathlib import Path

import pytest

from glance_bench import stats
from tests.documents import DOCS, PAGES, ROOT

spec = importlib.util.spec_from_file_location("generated", DOCS / "generated.py")
generated = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generated)

NEEDED = ("sphinx", "myst_parser", "furo")
absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
built = pytest.mark.skipif(bool(absent), reason=f"needs the extra `docs`: no {', '.join(absent)} here")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `tox -e docs` builds it, but for where it goes."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "-n", "-q", "-d", str(folder / "doctrees")]
    done = subprocess.run(
        [*command, str(DOCS), str(folder / "html")], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@built
def test_every_page_is_there(site: Path) -> None:
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in PAGES}
    there = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    assert pages - there == set()
    assert len(pages) > 20


@built
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"'> ]+)"
    )
    for page in site.rglob("*.html"):
        assert loads.findall(page.read_text()) == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


@built
def test_links_between_pages_lead_somewhere(site: Path) -> None:
    broken = []
    for page in site.rglob("*.html"):
        for href in re.findall(r'<a [^>]*?href="([^"]+)"', page.read_text()):
            path, _, anchor = unescape(href).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            target = (page.parent / path) if path else page
            text = target.read_text() if target.suffix == ".html" and target.is_file() else ""
            if not target.is_file() or (anchor and text and f'id="{anchor}"' not in text):
                broken.append(f"{page.relative_to(site)}: {href}")
    assert broken == []


@built
def test_the_python_reference_has_the_public_names(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text()
    functions = [name for name in stats.__all__ if name[0].islower()]
    wanted = [f"glance_bench.stats.{name}" for name in functions]
    wanted += ["glance_bench.trajectory.Trajectory.nfe", "glance_bench.metrics.base.SampleMetric.score"]
    wanted += ["glance_bench.models.base.DiffusersFamily.sample", "glance_bench.store.Run.records"]
    assert [name for name in wanted if f'id="{name}"' not in page] == []


def test_the_command_line_reference_has_every_command_and_option() -> None:
    page = generated.command_line()
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    assert {"run", "plan", "baseline save", "train glance"} <= set(sections)
    for name, command in generated.commands():
        for parameter in command.params:
            for spelling in (*parameter.opts, *parameter.secondary_opts):
                if spelling.startswith("-"):
                    assert re.search(rf"`{spelling}[` ]", sections[name]), f"{name} {spelling}"
            assert " ".join((parameter.help or "").split()) in sections[name].replace("\\", "")


def test_texts_of_the_program_are_not_taken_for_markup() -> None:
    assert generated.plain("runs/<suite>[-<profile>] *a* `b`") == r"runs/\<suite>\[-\<profile>\] \*a\* `b`"
    assert r"runs/\<suite>\[-\<profile>\]" in generated.command_line()


def test_the_suite_reference_has_every_key_of_the_schema() -> None:
    page = generated.suite_file()
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    schema = json.loads((ROOT / "suites" / "suite.schema.json").read_text())
    for name, block in {"Suite": schema, **schema["$defs"]}.items():
        rows = {row.split("`")[1]: row for row in sections[name].splitlines() if row.startswith("| `")}
        assert set(rows) == set(block["properties"])
        for key in block.get("required", ()):
            assert "| required |" in rows[key]
    assert "whole number, at least 1" in sections["PromptUse"] and "[Timing](#timing)" in sections["Suite"]


def test_tox_installs_what_the_extra_lists() -> None:
    """`tox -e docs` installs no package, so that PyTorch is not needed; its list must not fall behind."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    assert set(extra) <= set(tox["testenv:docs"]["deps"].split())
