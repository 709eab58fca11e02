"""From a judge's name, as suites write it, to the judge."""

from __future__ import annotations

from glance_bench.errors import UsageError
from glance_bench.judges.base import Judge

__all__ = ["judge"]

FORMS = "qwen2.5-vl-7b, transformers:REPO@COMMIT, transformers:/FOLDER, openai:ENDPOINT#MODEL or import:FILE"


def judge(name: str) -> Judge:
    """The judge called ``name``; asked once for each image and question, for answers are kept on disk.

    ``qwen2.5-vl-7b`` is the judge of OneIG-Bench and LongText-Bench; ``transformers:`` any image-text-to-text
    model, in a folder or on the hub at a full commit; ``openai:`` a chat-completions endpoint; ``import:`` a file of
    answers. Raises UsageError for any other name, MissingData when weights are not on this machine.
    """
    from glance_bench.judges.cache import CachedJudge

    kind, colon, rest = name.partition(":")
    if name == "qwen2.5-vl-7b":
        from glance_bench.judges.qwen import qwen

        return CachedJudge(qwen())
    if colon and rest and kind == "transformers":
        from glance_bench.judges.hub import HubJudge

        return CachedJudge(HubJudge(rest))
    if colon and rest and kind == "openai":
        from glance_bench.judges.openai import OpenaiJudge

        return CachedJudge(OpenaiJudge(rest))
    if colon and rest and kind == "import":
        from glance_bench.judges.imported import ImportedJudge

        return ImportedJudge(rest)
    raise UsageError(f"unknown judge {name!r}; valid: {FORMS}")
