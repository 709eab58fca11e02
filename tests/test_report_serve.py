"""`report --serve`: what is answered and what is not, in a real process and in a real Chromium."""

import http.client
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from glance_bench.errors import GlanceBenchError
from glance_bench.report.model import load
from glance_bench.report.serve import Server, server_of
from glance_bench.report.site import Options, write_report
from glance_bench.store import Run
from tests.browser import ARGUMENTS, find_chromium
from tests.fake_run import finish, make_run, prompts_of
from tests.keeping_fixtures import ENVIRONMENT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("a run #1"), prompts_of(4), models=("testbed-flux",))
    finish(made)
    write_report(load([made.folder]), made.folder / "report")
    return made


@contextmanager
def served(page: Path, *folders: Path) -> Iterator[Server]:
    with server_of(page, folders, 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: Server, path: str, **headers: str) -> http.client.HTTPResponse:
    asked = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    asked.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        asked.putheader(name, value)
    asked.endheaders()
    return asked.getresponse()


def test_the_report_and_its_images_are_served_with_their_types(run: Run) -> None:
    image = run.records()["image"][0]
    page = run.folder / "report/index.html"
    with served(page, run.folder) as server:
        assert server.address == f"http://127.0.0.1:{server.server_port}/report/index.html"
        for path, kind, file in (
            ("/report/index.html", "text/html; charset=utf-8", page),
            ("/report/index.html?x=1", "text/html; charset=utf-8", page),
            ("/report/assets/report.js", "text/javascript; charset=utf-8", page.parent / "assets/report.js"),
            ("/report/assets/report.css", "text/css; charset=utf-8", page.parent / "assets/report.css"),
            (
                "/report/data/b0/prompts.js",
                "text/javascript; charset=utf-8",
                page.parent / "data/b0/prompts.js",
            ),
            (f"/{image}", "image/png", run.folder / image),
        ):
            got = ask(server, path)
            assert (got.status, got.headers["Content-Type"]) == (200, kind), path
            assert got.headers["X-Content-Type-Options"] == "nosniff"
            assert got.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
            assert got.read() == file.read_bytes()
        home = ask(server, "/")
        assert (home.status, home.headers["Location"]) == (302, "/report/index.html")


def test_nothing_else_is(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    link, inside = run.folder / "report/link.js", run.folder / "units/link.png"
    link.symlink_to(secret)
    inside.symlink_to("/etc/passwd")
    unit = Path(run.records()["image"][0]).parent
    try:
        with served(run.folder / "report/index.html", run.folder) as server:
            for path in (
                "/manifest.json",
                "/results.json",
                "/report/../manifest.json",
                "/report/%2e%2e/manifest.json",
                f"/{unit}/unit.json",
                f"/{unit}/",
                "/units/",
                "/report/",
                "/report/data/",
                "/report/link.js",
                "/units/link.png",
                "/../../../../../../../../etc/passwd",
                "/..%2f..%2f..%2fetc/passwd",
                f"/{secret}",
                "//etc/passwd",
                "/report/%00",
                "/report/index.html%00.png",
                "/nothing",
                "/nothing.png",
            ):
                got = ask(server, path)
                assert got.status == 404 and b"secret" not in got.read(), path
            for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1", ""):
                assert ask(server, "/report/index.html", Host=host).status == 421, host
            assert ask(server, "/report/index.html", Host=f"localhost:{server.server_port}").status == 200
    finally:
        link.unlink()
        inside.unlink()


def test_a_published_folder_and_a_single_file_serve_themselves_alone(run: Run, tmp_path: Path) -> None:
    report = load([run.folder])
    single = write_report(report, tmp_path / "one.html", Options(single_file=True)).page
    (tmp_path / "beside.png").write_text("not of the report")
    with served(single) as server:
        assert ask(server, "/one.html").status == 200 and ask(server, "/beside.png").status == 404


def test_a_port_that_is_taken_is_said(run: Run) -> None:
    page = run.folder / "report/index.html"
    with served(page, run.folder) as server, pytest.raises(GlanceBenchError, match=r"is in use.*--port"):
        server_of(page, [run.folder], server.server_port)


@pytest.mark.browser
def test_the_command_serves_until_it_is_interrupted(run: Run, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "glance_bench",
        "report",
        str(run.folder),
        "-q",
        "--serve",
        "--port",
        "0",
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
        cwd=tmp_path,
        # A shell starts background jobs with SIGINT ignored, and tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"report: {run.folder}/report/index.html\n"
            address = process.stdout.readline().split()[1]
            parts = urlsplit(address)
            assert (parts.hostname, parts.path) == ("127.0.0.1", "/report/index.html")
            with sync_playwright() as running:
                chromium = running.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
                page = chromium.new_page()
                said: list[str] = []
                asked: list[str] = []
                page.on("console", lambda message: said.append(message.text))
                page.on("pageerror", lambda error: said.append(str(error)))
                page.on("request", lambda request: asked.append(request.url))
                page.goto(address)
                sizes = page.evaluate(
                    """async () => {
                      const images = await GB.images(0, 2);
                      const shown = images.map((image, sampler) => GB.picture(0, 2, sampler, image));
                      document.body.append(...shown);
                      shown.forEach((one) => { one.loading = "eager"; });
                      await Promise.all(shown.map((one) => one.decode()));
                      return shown.map((one) => one.naturalWidth);
                    }"""
                )
                assert sizes == [64] * 6 and said == []
                assert all(url.startswith(f"http://{parts.netloc}/") for url in asked)
                page.evaluate(
                    "() => { const one = document.createElement('script'); one.textContent = 'window.acted = 1';"
                    "document.head.append(one); }"
                )
                assert page.evaluate("window.acted") is None  # the policy holds here too
                chromium.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
