"""Keys of endpoints come from the environment; what a suite says is written into its run, so no key may stand there."""

from __future__ import annotations

import re

from .errors import UsageError

__all__ = ["KEY_VARIABLE", "hidden", "refuse_key"]

KEY_VARIABLE = "GLANCE_BENCH_JUDGE_KEY"
KEY = re.compile(r"(?<![A-Za-z0-9])(sk-|hf_)[A-Za-z0-9_-]{16,}")  # how OpenAI's and the hub's begin


def refuse_key(name: str) -> None:
    """Refuse a judge's or a metric's name that holds a key, or an address with room for one. It is not repeated.

    Raises UsageError.
    """
    _, endpoint, address = name.partition("openai:")
    if (endpoint and ("@" in address.partition("#")[0] or "?" in address)) or KEY.search(name):
        raise UsageError(
            "judge openai: an address without user, password, query or key, please, for it is written into the run; "
            f"the key goes into the environment variable {KEY_VARIABLE}"
        )


def hidden(text: str, key: str | None) -> str:
    """``text`` without the key, should an endpoint send it back."""
    return text.replace(key, "[key]") if key else text
