"""Published weights that metrics are built on: what they are called, where they come from, where they lie. No torch.

Nothing is downloaded here. ``glance-bench prefetch NAME`` fetches an entry: repositories into the hub's own cache,
single files into the user's cache folder. Entries published only as pickles are not read as such: ``glance-bench
convert`` makes a safetensors or npz file of them once, and that is what metrics load.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glance_bench.errors import MissingData, UsageError, near_misses
from glance_bench.resources import cache_dir

__all__ = ["WEIGHTS", "Weights", "find_weights", "weights_folder"]


@dataclass(frozen=True)
class Weights:
    """One published checkpoint. Either ``repo`` (a hub id) or ``url`` says where it is.

    Attributes:
        name: how recipes, messages and commands call it.
        size: of the download, for a reader ("1.7 GB").
        licence: as its publisher states it.
        repo, revision: hub id and full commit; a revision of None is the newest until a lock file pins it.
        files: patterns of the repository's files that are needed; () means all of them.
        url: of a single file that is on no hub.
        sha256: of the pickled original, which ``convert`` checks before it opens it.
        converted: name of the file that ``convert`` makes; None where the original can be loaded as it is.
    """

    name: str
    size: str
    licence: str
    repo: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    url: str | None = None
    sha256: str | None = None
    converted: str | None = None


_PUBLISHED = (
    Weights(
        # torch-fidelity's own release carries the same file, byte for byte
        name="inception-2015-12-05",
        size="96 MB",
        licence="Apache-2.0",
        url=(
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth"
        ),
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        converted="inception-2015-12-05.safetensors",
    ),
    Weights(
        name="dinov2-large",
        size="1.2 GB",
        licence="Apache-2.0",
        repo="facebook/dinov2-large",
        files=("config.json", "model.safetensors"),
    ),
)
WEIGHTS: dict[str, Weights] = {entry.name: entry for entry in _PUBLISHED}


def weights_folder(name: str) -> Path:
    """Where the user's cache keeps what was fetched from a URL, and what ``convert`` made; it may not exist."""
    return cache_dir() / "weights" / name


def find_weights(name: str) -> Path:
    """The converted file, the fetched file or the folder of the hub snapshot; the network is never asked.

    Raises MissingData with size and command when it is not on this machine, UsageError for an unknown name.
    """
    if name not in WEIGHTS:
        raise UsageError(f"unknown weights {name!r}; {near_misses(name, WEIGHTS)}")
    entry = WEIGHTS[name]
    if entry.converted:
        file = weights_folder(name) / entry.converted
        if file.is_file():
            return file
    elif entry.url:
        file = weights_folder(name) / entry.url.rpartition("/")[2]
        if file.is_file():
            return file
    elif entry.repo:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            patterns = list(entry.files) or None
            return Path(
                snapshot_download(
                    entry.repo, revision=entry.revision, allow_patterns=patterns, local_files_only=True
                )
            )
        except LocalEntryNotFoundError:
            pass
    raise MissingData(f"waits for {name} ({entry.size}): glance-bench prefetch {name}")
