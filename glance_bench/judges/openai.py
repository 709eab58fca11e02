"""``openai:ENDPOINT#MODEL``: a model behind an OpenAI-compatible chat-completions endpoint.

ENDPOINT is the base address ("https://host/v1", "http://127.0.0.1:8000/v1"); ``/chat/completions`` is put behind it.
Only https, or http to this machine. The key, where one is needed, is read from ``GLANCE_BENCH_JUDGE_KEY`` and sent
to that endpoint alone: redirects are refused. The image travels as a PNG in a data URL.

A question gets three tries of at most a minute each; time-outs, broken connections and the statuses 408, 429 and 5xx
are tried again. What then has no answer is None and counts as not covered. An endpoint that leaves eight questions
in a row without an answer is taken for dead: an error, so that no run goes on for days to find nothing. The model
behind an endpoint can change unseen: only its address and name are in the recipe.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.judges.pictures import data_url
from glance_bench.keys import KEY_VARIABLE, hidden, refuse_key
from glance_bench.metrics.base import Images

__all__ = ["KEY_VARIABLE", "OpenaiJudge"]

TIMEOUT = 60.0  # seconds, a try
TRIES = 3
PAUSE = 2.0  # seconds before the second try, doubled before each further one
AT_ONCE = 4  # requests
DEAD_AFTER = 8  # questions in a row without an answer
LARGEST = 4_000_000  # bytes of a reply that are read
AGAIN = {408, 429, *range(500, 600)}


class OpenaiJudge:
    """Raises UsageError for an address that is neither https nor this machine's, and for a missing model name.

    ``timeout`` and ``pause`` are in seconds (tests shorten them).
    """

    def __init__(self, target: str, *, timeout: float = TIMEOUT, pause: float = PAUSE) -> None:
        endpoint, _, model = target.partition("#")
        _check(endpoint, model)
        self.name = f"openai:{endpoint}#{model}"
        self._url = endpoint.rstrip("/") + "/chat/completions"
        self._model = model
        # A proxy of the environment must not see what is meant for this machine.
        handlers = [_NoRedirect] + (
            [] if endpoint.startswith("https:") else [urllib.request.ProxyHandler({})]
        )
        self._opener = urllib.request.build_opener(*handlers)
        self._timeout = timeout
        self._pause = pause
        self._lock = threading.Lock()
        self._silent = 0  # questions in a row without an answer
        self._last = ""  # why

    @property
    def recipe(self) -> str:
        return f"{self.name}: chat completions, PNG data URL before the question, temperature 0, seed 42"

    def answer(self, images: Images, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
        """See ``Judge.answer``. Raises GlanceBenchError when the endpoint refuses the request (a wrong key, an
        unknown model) or seems dead."""
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images for {len(questions)} questions")
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="judge") as workers:
            found = list(workers.map(self._ask, images, questions, [tokens] * len(questions)))
        if self._silent >= DEAD_AFTER:
            raise GlanceBenchError(
                f"{self._url} left {DEAD_AFTER} questions in a row without an answer (last: {self._last}); "
                "answers so far are kept, run again when it is back"
            )
        return found

    def _ask(self, image: Any, question: str, tokens: int) -> str | None:
        if self._silent >= DEAD_AFTER:
            return None
        body = {
            "model": self._model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": data_url(image)}},
                        {"type": "text", "text": question},
                    ],
                }
            ],
            "temperature": 0,
            "seed": 42,
            "max_tokens": tokens,
        }
        found = self._send(json.dumps(body).encode())
        with self._lock:
            self._silent = self._silent + 1 if found is None else 0
        return found

    def _send(self, body: bytes) -> str | None:
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            try:
                with self._opener.open(self._request(body), timeout=self._timeout) as reply:
                    return self._words(_read(reply, time.monotonic() + self._timeout))
            except urllib.error.HTTPError as error:
                self._last = f"HTTP {error.code}"
                error.close()
                if error.code not in AGAIN:
                    raise GlanceBenchError(
                        f"{self._url} refused the request: HTTP {error.code} {self._shown(error.reason)}; "
                        f"check the model's name and {KEY_VARIABLE}"
                    ) from error
            except (OSError, http.client.HTTPException) as error:  # time-outs and broken connections
                self._last = self._shown(str(error)) or type(error).__name__
        return None

    def _request(self, body: bytes) -> urllib.request.Request:
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        if key := os.environ.get(KEY_VARIABLE):
            request.add_header("Authorization", f"Bearer {key}")
        return request

    def _words(self, reply: bytes) -> str | None:
        """The text of a chat completion; None for a reply of another form, which the same request would get again."""
        try:
            content = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            self._last = "a reply that is no chat completion"
            return None
        return self._shown(content) if isinstance(content, str) else None

    @staticmethod
    def _shown(text: str) -> str:
        return hidden(text, os.environ.get(KEY_VARIABLE))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """None: the 3xx status is then raised as an error, and the key goes nowhere else."""


def _read(reply: http.client.HTTPResponse, deadline: float) -> bytes:
    """At most LARGEST bytes. Raises TimeoutError for a reply that trickles in past ``deadline``."""
    parts, size = [], 0
    while size < LARGEST and (part := reply.read1(1 << 16)):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the reply took too long")
    return b"".join(parts)


def _check(endpoint: str, model: str) -> None:
    refuse_key(f"openai:{endpoint}#{model}")
    if not model:
        raise UsageError(f"judge openai:{endpoint}: which model? expected openai:ENDPOINT#MODEL")
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"judge openai:{endpoint}: not an address ({error})") from error
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise UsageError(f"judge openai:{endpoint}: expected https://..., or http:// to this machine")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
