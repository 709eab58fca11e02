"""One file from one address: whole and verified, or not there. An interrupted download goes on where it stopped."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from .errors import GlanceBenchError
from .sealed import sha256_file

__all__ = ["download", "offline"]

_CHUNK = 1 << 20
_SILENCE = 30.0  # seconds without a byte before the other side is given up


def offline() -> bool:
    """Whether the user said that no network is to be used (``HF_HUB_OFFLINE``, which ``--offline`` sets)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def download(url: str, place: Path, sha256: str | None = None) -> str:
    """Fetch ``url`` to ``place`` and return its sha256.

    What has come lies beside ``place`` as ``<name>.part`` until it is whole; a later call asks for the rest. The
    name is given by a rename. Raises GlanceBenchError, in one line, when the address cannot be reached, stops
    sending before the end, or gives other content than ``sha256``: then nothing is kept.
    """
    if offline():
        raise GlanceBenchError(f"{url}: not fetched, HF_HUB_OFFLINE is set")
    part = place.with_name(f"{place.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    while True:
        before = _size(part)
        try:
            if _more(url, part):
                break
            reason = "the other side stopped sending"
        except HTTPError as error:
            if error.code != 416:  # 416: the part is no beginning of what is there now; start again
                raise GlanceBenchError(f"{url}: {error.code} {error.reason}") from error
            part.unlink()
            reason = "416"
        except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if _size(part) == before:  # as long as something comes, it is worth asking for the rest
            kept = f"; {before:,} bytes are kept, run it again to go on" if before else ""
            raise GlanceBenchError(f"{url}: {reason}{kept}")
    found = sha256_file(part)
    if sha256 is not None and found != sha256:
        part.unlink()
        raise GlanceBenchError(
            f"{url}: gave sha256 {found[:12]} where {sha256[:12]} is expected; nothing is kept"
        )
    part.replace(place)
    return found


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _more(url: str, part: Path) -> bool:
    """Append what is missing of ``url``, all of it where the server knows no ranges; whether it is whole now."""
    done = _size(part)
    headers = {"User-Agent": "glance-bench"} | ({"Range": f"bytes={done}-"} if done else {})
    with urlopen(Request(url, headers=headers), timeout=_SILENCE) as answer:
        done = done if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        with part.open("ab" if done else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
    return length is None or _size(part) == done + int(length)
