"""A key of an endpoint is in no file and no line that a run writes, whatever the endpoint and the suite do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import chdir
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.errors import UsageError
from glance_bench.judges.make import judge
from glance_bench.keys import KEY_VARIABLE, hidden, refuse_key
from tests.engine_fixtures import command, fakes, suite_file

__all__ = ["fakes"]

SECRET = "sk-hunter2hunter2hunter2"


class Echo(BaseHTTPRequestHandler):
    """Answers every question with the key it was asked with."""

    seen: list[str | None] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.headers.get("Authorization"))
        words = f"it says {self.headers.get('Authorization')}"
        body = json.dumps({"choices": [{"message": {"content": words}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def readable(path: Path) -> bytes:
    """What a file holds, unpacked where it is a table."""
    return pd.read_parquet(path).to_csv().encode() if path.suffix == ".parquet" else path.read_bytes()


def test_a_key_is_nowhere_in_a_run(tmp_path: Path, address: str) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps({"prompt": "a sign", "wanted_text": ["OPEN"]}) + "\n")
    suite = suite_file(
        tmp_path,
        prompts=[{"set": f"file:{tmp_path / 'list.jsonl'}"}],
        metrics=["longtext[judge]"],
        judge=f"openai:{address}#m",
        timing={"repeats": 0},
    )
    done = command(tmp_path, "run", suite, "-o", "run", **{KEY_VARIABLE: SECRET})
    assert done.returncode == 0, done.stderr
    assert set(Echo.seen) == {f"Bearer {SECRET}"}
    files = [path for room in ("run", "cache") for path in (tmp_path / room).rglob("*") if path.is_file()]
    held = {path: readable(path) for path in files}
    assert any(
        b"it says Bearer [key]" in data for data in held.values()
    )  # what came back is there, without it
    assert [path for path, data in held.items() if SECRET.encode() in data] == []
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "openai:https://me:hunter2@example.org/v1#m",
        "openai:https://hunter2@example.org/v1#m",
        "openai:https://example.org/v1?key=hunter2#m",
        "openai:https://me:hunter2@[bad/v1#m",
        "openai:https://me:hunter2@example.org/v1",
        f"openai:https://example.org/{SECRET}/v1#m",
    ],
)
@pytest.mark.usefixtures("fakes")
def test_a_suite_with_a_key_in_it_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=KEY_VARIABLE) as refused:
        judge(name)
    assert "hunter2" not in str(refused.value)
    for metrics, own in (([f"dpg[{name}]"], None), ([], name)):  # in a metric, and where no metric asks it
        with chdir(tmp_path):
            done = CliRunner().invoke(app, ["run", str(suite_file(tmp_path, metrics=metrics, judge=own))])
        assert done.exit_code == 2 and KEY_VARIABLE in done.stderr, done.output
        assert "hunter2" not in done.output and not (tmp_path / "runs").exists()


def test_names_that_only_look_alike_are_taken() -> None:
    judge("openai:https://example.org/v1#task-model-of-sixteen")
    refuse_key("import:/data/me@home?/answers.csv")
    assert hidden("x", None) == hidden("x", "") == "x"
