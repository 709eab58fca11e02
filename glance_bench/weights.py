"""Published weights of models, judges and metrics: what they are called, where they come from and lie. No torch.

Nothing is downloaded here. ``glance-bench prefetch NAME`` fetches an entry: repositories into the hub's own cache,
single files into the user's cache folder. Entries published only as pickles are not read as such: ``glance-bench
convert`` makes a safetensors or npz file of them once, and that is what is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from glance_bench.errors import MissingData, UsageError, near_misses
from glance_bench.locks import locked_commit
from glance_bench.resources import cache_dir

__all__ = ["WEIGHTS", "HubFile", "Weights", "collected_needs", "find_weights", "needs", "weights_folder"]

_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


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

    @property
    def is_published(self) -> bool:
        """Whether there is anything to fetch."""
        return bool(self.repo or self.url)

    @property
    def gigabytes(self) -> float:
        """The size as a number (10^9 bytes), 0 for "a few MB"."""
        return _gigabytes(self.size) or 0.0


@dataclass(frozen=True)
class HubFile:
    """One file of a hub repository that a sampler card names. Its text is what ``prefetch`` calls it.

    ``revision`` is a commit or tag; None is the newest until a lock file pins it. ``size`` is for a reader.
    """

    repo: str
    file: str
    revision: str | None = None
    size: str = ""

    def __str__(self) -> str:
        return f"{self.repo}{f'@{self.revision}' if self.revision else ''}:{self.file}"

    def place(self) -> Path | None:
        """Where it lies in the hub's own cache; None when it is not on this machine. The network is never asked."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(
            self.repo, self.file, revision=self.revision or locked_commit(self.repo) or "main"
        )
        return Path(found) if isinstance(found, str) else None

    @property
    def gigabytes(self) -> float | None:
        """The size as a number (10^9 bytes), None where none is stated."""
        return _gigabytes(self.size)

    def missing(self) -> MissingData:
        """What to say when it is not here."""
        size = f" ({self.size})" if self.size else ""
        return MissingData(f"waits for {self.file} of {self.repo}{size}: glance-bench prefetch {self}")


_ONEIG = "https://raw.githubusercontent.com/OneIG-Bench/OneIG-Benchmark/41b49831e79e6dde5323618c164da1c4cf0f699d/scripts"

WEIGHTS: dict[str, Weights] = {
    entry.name: entry
    for entry in (
        Weights(
            "flux.1-dev",
            "34 GB",
            "FLUX.1 [dev] Non-Commercial License",
            repo="black-forest-labs/FLUX.1-dev",
            files=("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors"),
        ),
        Weights(
            "flux.1-schnell",
            "34 GB",
            "Apache-2.0",
            repo="black-forest-labs/FLUX.1-schnell",
            files=("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors"),
        ),
        Weights(
            "qwen-image",
            "58 GB",
            "Apache-2.0",
            repo="Qwen/Qwen-Image",
            files=("model_index.json", "*/*.json", "*/*.txt", "*/*.jinja", "*/*.safetensors"),
        ),
        Weights(
            "inception-2015-12-05",  # torch-fidelity's own release carries the same file, byte for byte
            "96 MB",
            "Apache-2.0",
            url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            converted="inception-2015-12-05.safetensors",
        ),
        Weights(
            "dinov2-large",
            "1.2 GB",
            "Apache-2.0",
            repo="facebook/dinov2-large",
            files=("config.json", "model.safetensors"),
        ),
        Weights(
            "qwen2.5-vl-7b",
            "16.6 GB",
            "Apache-2.0",
            repo="Qwen/Qwen2.5-VL-7B-Instruct",
            files=("*.json", "*.txt", "*.jinja", "*.safetensors"),
        ),
        Weights(
            "mask2former-swin-small",
            "276 MB",
            "other (stated so by its publisher)",
            repo="facebook/mask2former-swin-small-coco-instance",
            files=("*.json", "*.safetensors"),
        ),
        Weights(
            "clip-vit-l-14",
            "1.7 GB",
            "MIT",
            repo="timm/vit_large_patch14_clip_224.openai",
            files=("*.json", "*.txt", "open_clip_model.safetensors"),
        ),
        Weights(
            "clip-flant5-xxl",
            "about 23 GB",
            "Apache-2.0",
            repo="zhiqiulin/clip-flant5-xxl",
            files=("*.json", "*.bin"),
            converted="model.safetensors",
        ),
        Weights(
            "flan-t5-xxl-tokenizer",
            "3 MB",
            "Apache-2.0",
            repo="google/flan-t5-xxl",
            files=("tokenizer*.json", "special_tokens_map.json", "spiece.model"),
        ),
        Weights(
            "clip-vit-large-patch14-336",
            "1.7 GB",
            "MIT",
            repo="openai/clip-vit-large-patch14-336",
            files=("*.json", "*.txt", "*.bin"),
            converted="model.safetensors",
        ),
        Weights(
            "clip-vit-l-14-336",
            "1.7 GB",
            "MIT",
            repo="timm/vit_large_patch14_clip_336.openai",
            files=("open_clip_model.safetensors",),
        ),
        Weights(
            "hpsv2.1",
            "3.9 GB",
            "Apache-2.0",
            repo="xswu/HPSv2",
            files=("HPS_v2.1_compressed.pt",),
            converted="HPS_v2.1_compressed.safetensors",
        ),
        Weights(
            "torchvision-alexnet",
            "233 MB",
            "BSD-3-Clause",
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            converted="alexnet-owt-7be5be79.safetensors",
        ),
        Weights(
            "torchvision-vgg16",
            "528 MB",
            "BSD-3-Clause",
            url="https://download.pytorch.org/models/vgg16-397923af.pth",
            converted="vgg16-397923af.safetensors",
        ),
        Weights(
            "dino-vit-b-16",
            "343 MB",
            "Apache-2.0",
            url="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
            converted="dino_vitbase16_pretrain.safetensors",
        ),
        Weights(
            "dreamsim-ensemble",
            "1 GB or more",
            "MIT",
            url="https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints/dreamsim_ensemble_checkpoint.zip",
            converted="dreamsim_ensemble_checkpoint.safetensors",
        ),
        Weights(
            "csd-vit-l",
            "1.2 GB or more",
            "MIT",
            repo="tomg-group-umd/CSD-ViT-L",
            files=("pytorch_model.bin",),
            converted="csd-vit-l.safetensors",
        ),
        Weights(
            "oneig-style-encoder",
            "1.2 GB or more",
            "as its model card says",
            repo="xingpng/OneIG-StyleEncoder",
            files=("config.json", "*.safetensors"),
        ),
        Weights(
            "oneig-style-csd-references",
            "a few MB",
            "none stated",
            url=f"{_ONEIG}/style/CSD_embed.pt",
            converted="CSD_embed.npz",
        ),
        Weights(
            "oneig-style-se-references",
            "a few MB",
            "none stated",
            url=f"{_ONEIG}/style/SE_embed.pt",
            converted="SE_embed.npz",
        ),
        Weights(
            "llm2clip-openai-l-14-336",
            "2.3 GB",
            "Apache-2.0",
            repo="microsoft/LLM2CLIP-Openai-L-14-336",
            revision="92512331f393a003c3d98404677f991c188162c9",
            files=("config.json", "*.safetensors"),
        ),
        # published nowhere: made once with the official code, as metrics/oneig_reasoning.py says, then converted
        Weights("oneig-reasoning-answers", "1 MB", "yours", converted="answers.npz"),
    )
}


def _gigabytes(size: str) -> float | None:
    """The number in a size that is written for a reader."""
    found = re.search(r"([\d.]+) ?([GM])B", size)
    return float(found[1]) / (1 if found[2] == "G" else 1000) if found else None


def weights_folder(name: str) -> Path:
    """Where the user's cache keeps what was fetched from a URL, and what ``convert`` made; it may not exist."""
    return cache_dir() / "weights" / name


@contextmanager
def collected_needs() -> Iterator[list[str]]:
    """Collects what is needed in the block, whether it is here or not, under the names that prefetch takes.

    So it is known what a metric needs: by making it.
    """
    targets: list[str] = []
    token = _collected.set(targets)
    try:
        yield targets
    finally:
        _collected.reset(token)


def needs(*targets: str) -> None:
    """Say that all of these are needed, before the first one that is missing ends the search for the others.

    ``find_weights`` says it of what it looks for.
    """
    collected = _collected.get()
    if collected is not None:
        collected += targets


def find_weights(name: str) -> Path:
    """The converted file, the fetched file or the folder of the hub snapshot; the network is never asked.

    Raises MissingData with size and command when it is not on this machine, UsageError for an unknown name.
    """
    if name not in WEIGHTS:
        raise UsageError(f"unknown weights {name!r}; {near_misses(name, WEIGHTS)}")
    entry = WEIGHTS[name]
    needs(name)
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
                    entry.repo,
                    revision=entry.revision or locked_commit(entry.repo),
                    allow_patterns=patterns,
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError:
            pass
    fetch = f"glance-bench prefetch {name}"
    if entry.converted and not entry.is_published:
        fetch = f"glance-bench convert {name} FILE"
    elif entry.converted:
        fetch += f", then glance-bench convert {name} FILE"
    raise MissingData(f"waits for {name} ({entry.size}): {fetch}")
