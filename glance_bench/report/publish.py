"""A report as a site: a folder that any static host can serve, or a static Space on the Hugging Face hub. No torch.

The folder is complete in itself: no link leads to the images of a run. Beside the report it holds ``README.md`` (whose
head is a Space's configuration) and ``.nojekyll``, and on request ``.eval_results/*.yaml``: results in the form that
model pages on the hub read, a file for each sampler on each prompt set, to be copied into that model's repository.
Results of the testbed are never written in that form.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from glance_bench.baselines import summary
from glance_bench.download import offline
from glance_bench.errors import GlanceBenchError, UsageError, near_misses
from glance_bench.report.site import FOLDERS, MARKER, Options, Written, write_report
from glance_bench.report.text import visible
from glance_bench.sealed import slug

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

    from glance_bench.report.model import Board, Report

__all__ = ["eval_results", "publish", "read_datasets", "readme", "space_of"]

SPACES = "https://huggingface.co/spaces"
OF_THE_HUB = {"README.md", ".gitattributes", "index.html", "style.css"}  # what a new static Space begins with
NAME = r"[\w.-]+/[\w.-]+"
Say = Callable[[str], None]


def space_of(target: str) -> str | None:
    """``OWNER/NAME`` of ``hf:OWNER/NAME``; None for a folder. Raises UsageError for another ``hf:``."""
    if not target.startswith("hf:"):
        return None
    name = target.removeprefix("hf:")
    if not re.fullmatch(NAME, name):
        raise UsageError(f"--publish takes a folder or hf:OWNER/NAME; got {target!r}")
    return name


def read_datasets(given: Sequence[str]) -> dict[str, str]:
    """``SET=OWNER/DATASET`` as {set: dataset}. Raises UsageError for anything else."""
    pairs = [one.partition("=") for one in given]
    for (name, _, dataset), one in zip(pairs, given, strict=True):
        if not name or not re.fullmatch(NAME, dataset):
            raise UsageError(f"--eval-results takes SET=OWNER/DATASET, a dataset on the hub; got {one!r}")
    return {name: dataset for name, _, dataset in pairs}


def publish(
    report: Report, target: str, options: Options, datasets: Mapping[str, str], say: Say
) -> tuple[Written, str]:
    """Write the report into the folder ``target``, or upload it to the Space ``hf:OWNER/NAME``; where it is now.

    ``datasets`` names the hub's dataset of each prompt set whose results are written for model pages.

    Raises UsageError for a folder or a Space that holds something else, GlanceBenchError where nothing can be
    uploaded: offline, without a token, or refused by the hub.
    """
    space = space_of(target)
    if space is not None:
        _refuse_unready(target)
    source = f"{SPACES}/{space}" if space else None
    beside = {
        ".nojekyll": b"",
        "README.md": readme(report).encode(),
        **eval_results(report, datasets, source, say),
    }
    options = replace(options, originals=False, beside=beside)
    if space is None:
        written = write_report(report, Path(target), options, say)
        return written, str(written.page)
    with TemporaryDirectory() as room:
        written = write_report(report, Path(room), options, say)
        _upload(Path(room), space, options.force)
    return written, f"{SPACES}/{space}"


def readme(report: Report) -> str:
    """The site's README: a Space's configuration as YAML, then what the page is. Names are shown as text."""
    head = [
        f"title: {json.dumps(visible(report.title)[:100], ensure_ascii=False)}",
        *("emoji: 📊", "colorFrom: gray", "colorTo: blue"),
        *("sdk: static", "app_file: index.html", "pinned: false"),
    ]
    body = [
        "A report of glance-bench: samplers of text-to-image models beside each other, on the same prompts and from",
        "the same noise. Open `index.html` in a browser; it works from a disk too, and fetches nothing from elsewhere.",
        "Its images are small copies.",
        "",
    ]
    for board in report.boards:
        samplers = ", ".join(_code(name) for name in board.samplers)
        testbed = (
            ". **TESTBED**: tiny models, which say nothing about published ones"
            if board.results["testbed"]
            else ""
        )
        body.append(f"- {_code(board.label)}, {board.results['prompts']} prompts: {samplers}{testbed}")
    body += ["", "Results it was made from, by their digests:", ""]
    body += [f"- {_code(one.name)} {one.evidence.results['digest']}" for one in report.sources]
    return "\n".join(["---", *head, "---", "", *body, ""])


def _code(name: str) -> str:
    """A name as Markdown that is shown and does nothing."""
    return "`" + visible(name).replace("`", "'")[:200] + "`"


def eval_results(
    report: Report, datasets: Mapping[str, str], source: str | None, say: Say
) -> dict[str, bytes]:
    """``.eval_results/*.yaml`` by path, for the boards whose prompt set has a dataset in ``datasets``.

    ``source`` is the address that the results link to. Raises UsageError for a set that no board is on.
    """
    sets = {str(board.results["prompt_set"]) for board in report.boards}
    if unknown := [name for name in datasets if name not in sets]:
        raise UsageError(f"--eval-results: no board is on {unknown[0]!r}; {near_misses(unknown[0], sets)}")
    files = {}
    for board in report.boards:
        dataset = datasets.get(str(board.results["prompt_set"]))
        if dataset is None:
            continue
        if board.results["testbed"]:
            say(f"{board.label}: no .eval_results, a testbed's numbers say nothing about published models")
            continue
        for row in board.results["samplers"]:
            name = "--".join(
                (board.source.name, board.results["model"], row["sampler"], board.results["prompt_set"])
            )
            entries = list(_entries(board, row, dataset, source))
            files[f".eval_results/{slug(name)}.yaml"] = _yaml(entries)
    return files


def _entries(
    board: Board, row: Mapping[str, Any], dataset: str, source: str | None
) -> Iterator[EvalResultEntry]:
    """One sampler's headline values; the sampler, n, interval and recipe go into the notes."""
    from huggingface_hub import EvalResultEntry

    evidence = board.source.evidence
    date = summary(evidence)["date"]
    for column in board.columns:
        cell = row["cells"].get(column["name"])
        if not column["headline"] or cell is None or cell["value"] is None:
            continue
        within = "" if cell["low"] is None else f", 95 % interval {cell['low']:g} to {cell['high']:g}"
        nfe = row["nfe"]["counted"]
        cost = "" if nfe is None else f", {nfe:g} evaluations an image"
        recipe = evidence.results["recipes"][cell["recipe"]]
        yield EvalResultEntry(
            dataset_id=dataset,
            task_id=column["name"],
            value=cell["value"],
            date=date,
            source_url=source,
            source_name="glance-bench report" if source else None,
            notes=visible(
                f"{row['sampler']} on {board.results['model']}{cost}; n {cell['n']}{within}; {column['better']} is "
                f"better; {recipe}"
            ),
        )


def _yaml(entries: list[EvalResultEntry]) -> bytes:
    from huggingface_hub import eval_result_entries_to_yaml
    from ruamel.yaml import YAML

    stream = io.BytesIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 4096
    yaml.dump(eval_result_entries_to_yaml(entries), stream)
    return stream.getvalue()


def _refuse_unready(target: str) -> None:
    """Raises GlanceBenchError before anything is made that could not be uploaded."""
    from huggingface_hub import get_token

    if offline():
        raise GlanceBenchError(
            f"{target}: not uploaded, HF_HUB_OFFLINE is set; --publish FOLDER writes the same site to this disk"
        )
    if not get_token():
        raise GlanceBenchError(
            f"{target}: the hub wants to know who uploads: set HF_TOKEN to a token that may write there"
        )


def _upload(folder: Path, space: str, force: bool) -> None:
    """Make the Space if there is none, and let it hold exactly the site in ``folder``, in one commit."""
    from huggingface_hub import HfApi, errors

    api = HfApi()
    try:
        api.create_repo(space, repo_type="space", space_sdk="static", exist_ok=True)
        held = set(api.list_repo_files(space, repo_type="space"))
        if MARKER not in held and (others := sorted(held - OF_THE_HUB)) and not force:
            raise UsageError(
                f"the Space {space} holds no report ({', '.join(others[:3])}): name another, or add --force"
            )
        api.upload_folder(
            repo_id=space,
            repo_type="space",
            folder_path=folder,
            commit_message="A report of glance-bench",
            delete_patterns=[f"{part}/**" for part in FOLDERS],
        )
    except (errors.HTTPError, errors.HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise GlanceBenchError(f"cannot upload to the Space {space}: {reason}") from error
