"""`report --publish`: a folder for a host of static files, a Space on the hub, results for model pages. No network."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors
from huggingface_hub import parse_eval_result_entries
from ruamel.yaml import YAML
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.evidence import read_evidence
from glance_bench.store import Run
from tests.fake_run import SAMPLERS, finish, make_run, prompts_of
from tests.keeping_fixtures import contents
from tests.report_files import page_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the testbed."""
    made = make_run(tmp_path_factory.mktemp("run"), prompts_of(4), models=("testbed-flux",))
    finish(made)
    return made


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One of a model that is no testbed, under a name that would like to be Markdown and YAML."""
    made = make_run(tmp_path_factory.mktemp("large"), prompts_of(4), models=("FLUX.1-dev",))
    made.write("manifest.json", {**made.manifest, "name": 'a: "b"\n---\n`<img src=x onerror=alert(1)>` #'})
    finish(made)
    return made


class Hub:
    """Stands for the hub: what it holds, and what was asked of it."""

    def __init__(self) -> None:
        self.held: list[str] = ["README.md", ".gitattributes", "index.html", "style.css"]
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.sent: dict[str, bytes] = {}
        self.error: Exception | None = None

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append((repo_id, options))
        if self.error:
            raise self.error

    def list_repo_files(self, repo_id: str, **options: Any) -> list[str]:
        return self.held

    def upload_folder(self, *, folder_path: Path, **options: Any) -> None:
        self.calls.append(("upload", options))
        self.sent = contents(Path(folder_path))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_token")
    return made


def report(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_a_folder_is_complete_and_points_at_nothing_outside(run: Run, tmp_path: Path) -> None:
    done = report(run.folder, "--publish", tmp_path / "site", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["page"] == f"{tmp_path}/site/index.html"
    held = contents(tmp_path / "site")
    assert held[".nojekyll"] == b"" and len([name for name in held if name.endswith(".webp")]) == 6 * 4
    (board,) = page_of(tmp_path / "site").index["boards"]
    assert board["originals"] is None and board["thumbs"]
    assert not [name for name, data in held.items() if str(run.folder).encode() in data or b"../" in data]
    assert not (tmp_path / "site/.eval_results").exists()


def test_the_same_again_changes_nothing_and_what_is_no_longer_written_goes(
    large: Run, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    results = ("--eval-results", "testbed=owner/data")
    assert report(large.folder, "--publish", site, *results).exit_code == 0
    before = contents(site)
    assert report(large.folder, "--publish", site, *results).exit_code == 0
    assert contents(site) == before and [name for name in before if name.startswith(".eval_results/")]
    assert report(large.folder, "--publish", site).exit_code == 0
    assert not [name for name in contents(site) if name.startswith(".eval_results/")]


def test_a_readme_of_somebody_else_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    refused = report(run.folder, "--publish", tmp_path)
    assert refused.exit_code == 2 and "--force" in refused.stderr
    assert report(run.folder, "--publish", tmp_path, "--force").exit_code == 0
    assert report(run.folder, "--publish", tmp_path).exit_code == 0
    assert (tmp_path / "README.md").read_text() == "mine" and (tmp_path / "index.html").is_file()


def test_the_readme_configures_a_space_whatever_the_run_is_called(large: Run, tmp_path: Path) -> None:
    assert report(large.folder, "--publish", tmp_path / "site").exit_code == 0
    text = (tmp_path / "site/README.md").read_text()
    _, head, body = text.split("---\n", 2)
    settings = YAML(typ="safe").load(head)
    assert settings["sdk"] == "static" and settings["app_file"] == "index.html"
    assert settings["title"].startswith('a: "b" ---')
    for line in body.splitlines():
        quoted = line.split("`")[1::2]
        assert "<img" not in line or any("<img" in part for part in quoted)
    assert "teacher-50" in body and "TESTBED" not in body
    assert read_evidence(large.folder).results["digest"] in body


def test_a_space_is_made_and_holds_exactly_the_site(run: Run, hub: Hub, tmp_path: Path) -> None:
    done = report(run.folder, "--publish", "hf:somebody/glance")
    assert done.exit_code == 0, done.output
    assert done.stdout == "report: https://huggingface.co/spaces/somebody/glance\n"
    (name, made), (_, upload) = hub.calls
    assert name == upload["repo_id"] == "somebody/glance"
    assert made == {"repo_type": "space", "space_sdk": "static", "exist_ok": True}
    assert upload["repo_type"] == "space"
    assert set(upload["delete_patterns"]) == {"data/**", "assets/**", "thumbs/**", ".eval_results/**"}
    assert report(run.folder, "--publish", tmp_path / "site").exit_code == 0
    assert hub.sent == contents(tmp_path / "site")
    assert "TESTBED" in hub.sent["README.md"].decode()


def test_a_space_that_holds_something_else_is_refused(run: Run, hub: Hub) -> None:
    hub.held += ["app.py"]
    refused = report(run.folder, "--publish", "hf:somebody/app")
    assert refused.exit_code == 2 and "holds no report (app.py)" in refused.stderr and not hub.sent
    assert report(run.folder, "--publish", "hf:somebody/app", "--force").exit_code == 0
    hub.held += ["report.json"]
    assert report(run.folder, "--publish", "hf:somebody/app").exit_code == 0 and hub.sent


def test_what_keeps_it_from_the_hub_is_said_in_a_line(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: Any = SimpleNamespace(headers={}, request=None)
    hub.error = hub_errors.HfHubHTTPError("403 Forbidden: not yours.\nRequest ID: 1", response=answer)
    told = report(run.folder, "--publish", "hf:a/b")
    assert told.exit_code == 3
    assert told.stderr.splitlines()[-1] == "error: cannot upload to the Space a/b: 403 Forbidden: not yours"
    hub.error = hub_errors.HTTPError("no route to the hub")
    assert "no route to the hub" in report(run.folder, "--publish", "hf:a/b").stderr
    hub.calls.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = report(run.folder, "--publish", "hf:a/b")
    assert offline.exit_code == 3 and "HF_HUB_OFFLINE is set" in offline.stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    unknown = report(run.folder, "--publish", "hf:a/b")
    assert unknown.exit_code == 3 and "set HF_TOKEN" in unknown.stderr
    assert hub.calls == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--publish", "hf:nobody"], "hf:OWNER/NAME"),
        (["--publish", "hf:a/b/c"], "hf:OWNER/NAME"),
        (["--publish", "x", "-o", "y"], "leave out -o"),
        (["--publish", "x", "--single-file"], "leave out -o"),
        (["--publish", "hf:a/b", "--serve"], "--serve"),
        (["--eval-results", "testbed=a/b"], "add --publish"),
        (["--publish", "x", "--eval-results", "testbed"], "SET=OWNER/DATASET"),
        (["--publish", "x", "--eval-results", "tesbed=a/b"], "did you mean 'testbed'?"),
    ],
)
def test_requests_that_contradict_themselves(
    run: Run, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = report(run.folder, *arguments)
    assert refused.exit_code == 2 and told in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [] and hub.calls == []


def test_results_for_model_pages(large: Run, hub: Hub) -> None:
    done = report(large.folder, "--publish", "hf:somebody/glance", "--eval-results", "testbed=owner/bench")
    assert done.exit_code == 0, done.output
    files = {name: data for name, data in hub.sent.items() if name.startswith(".eval_results/")}
    assert len(files) == len(SAMPLERS) and all(
        re.fullmatch(r"\.eval_results/[\w.=-]+\.yaml", name, re.ASCII) for name in files
    )
    results = read_evidence(large.folder).results
    wanted = {c["name"]: c for c in results["columns"] if c["headline"]}
    rows = {row["sampler"]: row for row in results["boards"][0]["samplers"]}
    for data in files.values():
        entries = parse_eval_result_entries(YAML(typ="safe").load(data))
        (sampler,) = {str(entry.notes).split(" on ")[0] for entry in entries}
        cells = rows.pop(sampler)["cells"]
        assert {e.task_id: e.value for e in entries} == {n: cells[n]["value"] for n in wanted if n in cells}
        for entry in entries:
            assert entry.dataset_id == "owner/bench"
            assert entry.source_url == "https://huggingface.co/spaces/somebody/glance"
            assert f"n {cells[entry.task_id]['n']}" in str(entry.notes)
            assert f"{wanted[entry.task_id]['better']} is better" in str(entry.notes)
            assert str(entry.notes).endswith(results["recipes"][cells[entry.task_id]["recipe"]])
    assert rows == {}


def test_a_testbed_is_never_among_them(run: Run, tmp_path: Path) -> None:
    done = report(run.folder, "--publish", tmp_path / "site", "--eval-results", "testbed=owner/bench")
    assert done.exit_code == 0
    assert "no .eval_results, a testbed's numbers say nothing about published models" in done.stderr
    assert not (tmp_path / "site/.eval_results").exists()
