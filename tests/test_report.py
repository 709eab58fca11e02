"""The page as a file: what it holds, that it is the same every time, that nothing in a run can act in it."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from glance_bench import results
from glance_bench.prompts import Prompt
from glance_bench.report import render
from glance_bench.store import Run
from tests.fake_run import METRICS, SAMPLERS, make_run, prompts_of

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\x1b[31mred\x07 \x00",
    "\u202egnp.evil\u2066",
    "{{ 7 * 7 }} {% raw %} ${alert(3)}",
    "../../../etc/passwd?#%2e",
    "word " * 2000,
    "line\u2028separator \u2029 & < > ' \"",
)


class Page(HTMLParser):
    """Elements, the attributes that load or act, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)


def built(run: Run) -> Page:
    out = run.folder / "report"
    assert render(run, results.build(run, METRICS), out) == out / "index.html"
    return Page((out / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), black=[("uniform-4", "p001")])


@pytest.fixture(scope="module")
def parsed(run: Run) -> Page:
    return built(run)


def data_of(parsed: Page) -> dict:
    return json.loads(parsed.scripts[0])


def test_says_in_words_what_was_run(parsed: Page) -> None:
    text = " ".join(" ".join(parsed.words).split())
    assert f"{len(SAMPLERS)} samplers on testbed-flux and testbed-qwen, 12 prompts of testbed each" in text
    assert "of which 4 ask for text" in text and "TESTBED." in text
    assert "testbed-flux on testbed, uniform-4: 1 of 12 images non-finite or black (failed, n=12)." in text
    assert "fd[fake]: pixel moments; renders" in text  # the recipes


def test_every_cell_of_the_leaderboard_is_there_and_opens(parsed: Page, run: Run) -> None:
    cells = [a for tag, a in parsed.tags if tag == "button" and a.get("class") == "open"]
    boards = results.build(run, METRICS)["boards"]
    hidden = {"non_finite", "black", "clip_truncated[fake]"}
    shown = set(boards[0]["samplers"][0]["cells"]) - hidden
    assert len(cells) == len(boards) * len(SAMPLERS) * len(shown)
    assert {a["data-column"] for a in cells} == shown
    assert sum(a.get("class") == "plot" for _, a in parsed.tags) == 8  # four metrics, two boards


def test_gallery_pairs_every_sampler_at_the_same_noise(parsed: Page, run: Run) -> None:
    data = data_of(parsed)
    for board in data["boards"]:
        assert board["samplers"] == list(SAMPLERS) and board["reference"] == 0
        assert len(board["rows"]) == 12
        for number, (prompt, index, seed, images) in enumerate(board["rows"]):
            assert (prompt, index, seed) == (number, 0, str(1000 + number))
            assert len(images) == len(SAMPLERS) and all(images)
            for file, values, notes, _ in images:
                assert (run.folder / "report" / unquote(file)).resolve().is_file()
                assert len(values) == len(data["columns"]) and len(notes) == len(data["notes"])
    states = [image[3] for board in data["boards"] for row in board["rows"] for image in row[3]]
    assert states.count("black") == 2 and states.count("") == len(states) - 2
    with_text = [row for row in data["boards"][0]["rows"] if data["prompts"]["testbed"][row[0]]["wanted"]]
    read = [note["name"] for note in data["notes"]].index("ocr_read")
    assert len(with_text) == 4 and all(image[2][read] for row in with_text for image in row[3])


def test_images_are_linked_and_nothing_is_fetched(parsed: Page, run: Run) -> None:
    assert sorted(path.name for path in (run.folder / "report").iterdir()) == ["index.html"]
    for tag, attributes in parsed.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "link")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src"):
                assert value and value.startswith("#")
    text = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "url(" not in text and "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in text and "data:image" not in text


def test_the_policy_lets_only_this_script_run(parsed: Page) -> None:
    (policy,) = (a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", policy)) == 2
    assert not [a for _, a in parsed.tags if "style" in a]  # the policy would drop it


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(run: Run, parsed: Page, tmp_path: Path) -> None:
    first = (run.folder / "report" / "index.html").read_bytes()
    copy = tmp_path / "elsewhere" / "run"
    shutil.copytree(run.folder, copy)
    (copy / "report" / "index.html").unlink()
    built(Run(copy))
    assert (copy / "report" / "index.html").read_bytes() == first
    assert str(run.folder).encode() not in first


def test_results_read_back_from_their_file_give_the_same_page(run: Run, parsed: Page, tmp_path: Path) -> None:
    run.write("results.json", results.build(run, METRICS))
    stored = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
    out = run.folder / "again"
    render(run, stored, out)
    assert (out / "index.html").read_bytes() == (run.folder / "report" / "index.html").read_bytes()
    shutil.rmtree(out)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Run:
    prompts = [Prompt(f"p{i}", text, text[:40], (text[:60],)) for i, text in enumerate(HOSTILE)]
    return make_run(tmp_path_factory.mktemp("run"), prompts, models=["testbed-flux"])


def test_hostile_prompts_are_text(hostile: Run) -> None:
    page = built(hostile)
    assert len(page.scripts) == 2 and [t for t, _ in page.tags].count("img") == 0
    text = (hostile.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert not set(text) & set("\x00\x07\x1b\u202e\u2066\u2028\u2029")
    listed = data_of(page)["prompts"]["testbed"]
    assert listed[0]["text"] == HOSTILE[0] and listed[1]["text"] == HOSTILE[1]
    assert listed[2]["text"] == r"\x1b[31mred\x07 \x00" and r"\u202e" in listed[3]["text"]
    assert len(listed[6]["text"]) == 10_000
    options = [word for word in page.words if "onerror" in word]
    assert options == [HOSTILE[0]]  # the category, as an option's text


def test_hostile_suite_titles_and_recipes_are_text(tmp_path: Path) -> None:
    run = make_run(tmp_path, prompts_of(3), models=["testbed-flux"])
    run.write("suite.json", {**run.suite(), "title": "<script>alert(4)</script>", "name": "<b>x</b>"})
    assert len(built(run).scripts) == 2


def test_one_prompt_one_sampler_and_no_timing(tmp_path: Path) -> None:
    run = make_run(tmp_path, prompts_of(1), models=["testbed-flux"], samplers=["uniform-4"])
    run.write("manifest.json", {**run.manifest, "timing": []})
    page = built(Run(tmp_path))
    assert data_of(page)["boards"][0]["rows"][0][0] == 0
    assert "Latency" not in " ".join(page.words)
