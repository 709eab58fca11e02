"""docs/architecture.md describes the code that is there, and the import rules it states hold."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "glance_bench"
TEXT = (ROOT / "docs" / "architecture.md").read_text()
QUOTED = re.findall(r"`([^`\n]+)`", TEXT)
PATHS = sorted({q for q in QUOTED if q.endswith("/") or (q.endswith((".py", ".md", ".yaml")) and "/" in q)})


def layers() -> dict[str, int]:
    """Module (below glance_bench) -> line of the numbered list that names it."""
    section = TEXT.split("## Imports point one way")[1]
    found: dict[str, int] = {}
    for number, line in re.findall(r"^(\d)\. (.*)$", section, re.M):
        for name in re.findall(r"`([\w.*]+)`", line):
            found[name] = int(number)
    return found


def torch_free() -> list[str]:
    (sentence,) = re.findall(r"^These can be imported without torch.*?: (.*?)\.$", TEXT, re.M | re.S)
    return re.findall(r"`([\w.]+)`", sentence)


def layer_of(module: str, table: dict[str, int]) -> int:
    """The layer of a dotted name: its own, that of ``package.*``, or its package's."""
    package, _, inner = module.partition(".")
    for name in (module, f"{package}.*" if inner else package, package):
        if name in table:
            return table[name]
    raise AssertionError(f"docs/architecture.md gives {module} no import layer")


def imports_of(path: Path) -> Iterator[str]:
    """Names below glance_bench that a source file imports, those inside functions too."""
    here = ["glance_bench", *path.relative_to(PACKAGE).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: -node.level]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "glance_bench" and rest and not rest.startswith("__"):
                yield rest if is_module(rest) else rest.rpartition(".")[0] or rest


def is_module(name: str) -> bool:
    place = PACKAGE.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_every_path_it_names_exists():
    assert len(PATHS) > 20, "the table of rooms was not found"
    assert [p for p in PATHS if not (ROOT / p).exists()] == []


def test_every_room_is_named():
    modules = [p.name for p in PACKAGE.glob("*.py") if p.name != "__init__.py"]
    folders = [f"{p.parent.name}/" for p in PACKAGE.glob("*/__init__.py")]
    tops = [f"{p.name}/" for p in ROOT.iterdir() if p.is_dir() and is_tracked(p)]
    wanted = {f"glance_bench/{name}" for name in modules + folders} | set(tops) - {"glance_bench/"}
    assert wanted - set(PATHS) == set()


def is_tracked(folder: Path) -> bool:
    """A visible folder of the project, as opposed to scratch output that git ignores."""
    scratch = {"runs", "dist", "build", "venv", "test-results"}
    return not folder.name.startswith((".", "__")) and folder.name not in scratch


def test_every_module_has_a_layer():
    table = layers()
    there = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert there - {"__init__"} - set(table) == set()
    assert {name.split(".")[0] for name in table} - there == set()


def test_imports_point_one_way():
    table = layers()
    upward = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":  # glance_bench itself is above nothing and below everything
            continue
        for target in imports_of(path):
            if layer_of(target, table) < layer_of(module, table):
                upward.append(f"{module} imports {target}")
    assert upward == []


# Each module is imported in a process of its own, forked from one that has what most of them need and is light.
IMPORT_EACH = """
import os, sys, traceback
import numpy, pandas, pydantic, typer
for module in sys.argv[1:]:
    if os.fork() == 0:
        try:
            __import__(f"glance_bench.{module}")
            heavy = sorted({"torch", "diffusers", "transformers"} & set(sys.modules))
        except BaseException:
            heavy = [traceback.format_exc(limit=-1).replace("\\n", " ")]
        print(module, *heavy, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def imported():
    """By module, what it loads that it must not, or how it fails."""
    command = [sys.executable, "-c", IMPORT_EACH, *torch_free()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


@pytest.mark.parametrize("module", torch_free())
def test_imports_without_torch(imported, module):
    assert imported[module] == ""
