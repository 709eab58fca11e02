"""``transformers:REPO@COMMIT`` and ``transformers:/FOLDER``: any image-text-to-text model of transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from glance_bench.errors import MissingData, UsageError
from glance_bench.judges.chat import ChatModel
from glance_bench.metrics.base import Images
from glance_bench.weights import needs

__all__ = ["HubJudge"]

_PINNED = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", re.ASCII)


class HubJudge:
    """``source`` is REPO@COMMIT, with all 40 hex digits because a branch can change, or an absolute folder.

    Raises UsageError for anything else, MissingData when the commit is not in the hub's cache on this machine,
    GlanceBenchError for a folder without safetensors weights.
    """

    def __init__(self, source: str) -> None:
        if Path(source).is_absolute():
            folder = Path(source)
            self.name = f"transformers:{folder.name}"
            self._commit = ""
        else:
            pinned = _PINNED.fullmatch(source)
            if not pinned:
                raise UsageError(
                    f"judge transformers:{source}: expected REPO@COMMIT with the commit's 40 hex digits, or an "
                    "absolute folder"
                )
            folder = _snapshot(*pinned.groups())
            self.name = f"transformers:{source}"
            self._commit = pinned[2]
        self._folder = folder
        self._model = ChatModel(folder, "AutoModelForImageTextToText")

    @cached_property
    def _weights(self) -> str:
        if self._commit:
            return f"commit {self._commit}"
        from glance_bench.models.checkpoints import checkpoint_digest

        return f"weights {checkpoint_digest(self._folder).removeprefix('sha256:')[:12]}"

    @property
    def recipe(self) -> str:
        return f"{self.name}: {self._weights}, {self._model.recipe}"

    def answer(self, images: Images, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
        """See ``Judge.answer``."""
        return self._model.answer(images, questions, tokens=tokens)


def _snapshot(repo: str, commit: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    needs(f"{repo}@{commit}")
    try:
        return Path(snapshot_download(repo, revision=commit, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise MissingData(f"waits for {repo}@{commit}: glance-bench prefetch {repo}@{commit}") from error
