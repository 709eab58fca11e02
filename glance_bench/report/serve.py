"""A written report on this machine's own address, for browsers that may not open files. Read-only, never beyond it.

Addresses are those of the folder in which the report and the runs behind it lie, since a report points at its runs'
images with ``..``. Only the report's own files and images below those runs are answered; whatever else is asked for
is not there. Requests under another name than this machine's are refused, so that no page elsewhere can read along.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from glance_bench.errors import GlanceBenchError
from glance_bench.report.site import MARKER

__all__ = ["HOST", "serve", "server_of"]

HOST = "127.0.0.1"
IMAGES = (".png", ".webp")
TYPES = {
    **{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"},
    **{".css": "text/css; charset=utf-8", ".json": "application/json", ".md": "text/plain; charset=utf-8"},
    **{".png": "image/png", ".webp": "image/webp"},
}


def serve(page: Path, folders: Sequence[Path], port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. ``say`` is told the address. See ``server_of``."""
    with server_of(page, folders, port) as server:
        say(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def server_of(page: Path, folders: Sequence[Path], port: int) -> Server:
    """A server that is bound, not started. ``page`` is the report's index.html, or a single file; ``folders`` are
    the runs it points at. Port 0 takes any free one.

    Raises GlanceBenchError for a port that cannot be had.
    """
    page = page.resolve()
    own = page.parent if (page.parent / MARKER).is_file() else page
    runs = [folder.resolve() for folder in folders]
    try:
        return Server(page, own, runs, port)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "is in use" if taken else f"cannot be had ({error})"
        raise GlanceBenchError(
            f"port {port} {why}: name another with --port, 0 takes any free one"
        ) from error


class Server(ThreadingHTTPServer):
    """``own`` is the report's folder, or its single file; ``runs`` are the folders whose images it points at."""

    daemon_threads = True

    def __init__(self, page: Path, own: Path, runs: Sequence[Path], port: int) -> None:
        self.own, self.runs = own, runs
        self.root = Path(os.path.commonpath([page.parent, *runs]))
        self.home = "/" + quote(page.relative_to(self.root).as_posix())
        super().__init__((HOST, port), partial(_Handler, directory=str(self.root)))
        self.names = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}{self.home}"

    def may_read(self, path: Path) -> bool:
        """Whether a file, its links followed, is the report's or an image of one of its runs."""
        if path.is_relative_to(self.own):
            return True
        return path.suffix in IMAGES and any(path.is_relative_to(run) for run in self.runs)


class _Handler(SimpleHTTPRequestHandler):
    server: Server
    server_version, sys_version = "glance-bench", ""
    extensions_map = {"": "application/octet-stream", **TYPES}

    def send_head(self) -> BytesIO | BinaryIO | None:
        if self.headers.get("Host") not in self.server.names:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "Not the name of this machine")
            return None
        if self.path == "/":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", self.server.home)
        elif self.path == "/favicon.ico":  # browsers ask for one unasked
            self.send_response(HTTPStatus.NO_CONTENT)
        else:
            return super().send_head()
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def translate_path(self, path: str) -> str:
        """The file behind an address, or a path at which nothing can be."""
        nowhere = os.path.join(os.devnull, "nothing")
        try:
            place = Path(super().translate_path(path)).resolve()
        except ValueError:  # a NUL in the address
            return nowhere
        return str(place) if self.server.may_read(place) and place.is_file() else nowhere

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: what is asked for is of no interest, and holds untrusted text."""
