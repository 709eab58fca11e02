"""The adapters that a suite trains: where they are kept, which are missing, and the making of those.

An adapter pair lies in ``<cache>/adapters/<key16>/`` as training writes it. The key hashes recipe and seed, checkpoint,
resolution and samples, and is known without torch. What the teacher draws for them lies in ``<cache>/teacher/``.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..digests import file_digests
from ..errors import GlanceBenchError, UsageError, near_misses
from ..machine import settle_threads
from ..models.checkpoints import read_geometry
from ..registry import ModelEntry
from ..resources import cache_dir
from ..samplers.cards import load_card
from ..sealed import Damaged, digest_of, find_sealed, read_sealed, seal
from ..suite import Samples, Suite, TrainAdapters
from ..terminal import Progress
from ..training.recipe import PUBLISHED, Recipe, changed, load_recipe
from ..training.record import RECORD, adapter_file, is_whole, read_record
from ..training.samples import Pair, find_images, noise_pair, read_pair

if TYPE_CHECKING:
    from .plan import PlannedModel

__all__ = ["Job", "planned", "train_missing"]

TRAINING_VERSION = 1  # raise it when the same key would give other adapters
NOISE_SEED = 0
TEACHER = "teacher-50"


@dataclass(frozen=True, eq=False)
class Job:
    """One training: an entry of the suite for one model and one seed, which ``recipe`` holds.

    ``key`` hashes everything that decides what the adapters become.
    """

    entry: TrainAdapters
    model: PlannedModel
    recipe: Recipe
    key: str

    @property
    def folder(self) -> Path:
        """Where the adapters are kept."""
        return cache_dir() / "adapters" / self.key[:16]

    @property
    def done(self) -> bool:
        """Whether every adapter is there, with the content that its record states."""
        record = read_record(self.folder)
        return all(is_whole(record, self.folder, phase) for phase in self.recipe.phase_names)

    @property
    def labels(self) -> list[str]:
        """The adapter folders by which cards name it."""
        return self.entry.labels(self.recipe.seed)

    @property
    def label(self) -> str:
        """The one that is its own: with several seeds it ends in .s<seed>."""
        return self.labels[-1]

    @property
    def adapters(self) -> dict[str, Path]:
        """The files by the names that cards use."""
        return {
            f"{label}/{phase}": adapter_file(self.folder, phase)
            for label in self.labels
            for phase in self.recipe.phase_names
        }

    def document(self) -> dict[str, Any]:
        """How a manifest lists it."""
        return {
            "model": self.model.name,
            "adapters": self.label,
            "key": self.key,
            "record": str(self.folder / RECORD),
        }


def planned(suite: Suite, model: PlannedModel) -> list[Job]:
    """Everything that the suite's ``train`` means for one model, in its order, seed by seed. No torch.

    Raises UsageError for recipes, settings and samples that are unknown or missing, naming the entry.
    """
    jobs = []
    for entry in suite.train:
        try:
            recipe = _recipe(entry, model, suite)
            samples = _content(entry.sample, model, suite)
        except GlanceBenchError as error:
            raise type(error)(f"train entry {entry.name!r}: {error}") from error
        for seed in entry.seeds:
            seeded = changed(recipe, {"seed": seed})
            made_of = {
                "training_version": TRAINING_VERSION,
                "checkpoint": model.digest,
                "recipe": seeded.model_dump(mode="json", exclude={"title"}),
                "resolution": list(model.resolution),
                "samples": samples,
            }
            jobs.append(Job(entry, model, seeded, digest_of(made_of)))
    return jobs


def train_missing(jobs: Sequence[Job], suite: Suite, progress: Progress) -> None:
    """Train what is not done. One process trains a job, others wait for it; one that was killed goes on.

    Raises UsageError and GlanceBenchError as reading the samples and training do; what is trained by then stays.
    """
    settle_threads()
    from ..training.glance import train
    from .generate import check_device

    check_device(suite.device, suite.dtype)
    for job in jobs:
        with _alone(job, progress):
            if job.done:  # by another process, or as another entry of the suite
                continue
            recipe, model = job.recipe, job.model
            progress.say(f"train {job.label} for {model.name}: {recipe.steps} steps an expert")
            pairs = _pairs(job, suite, progress)
            with progress.task("train", recipe.steps * len(recipe.phase_names), "steps") as advance:
                train(
                    ModelEntry(model.name, model.family, model.path),
                    recipe,
                    pairs,
                    job.folder,
                    device=suite.device,
                    say=progress.say,
                    on_step=lambda phase, step, loss, advance=advance: advance(1, f"{phase} loss {loss:.4f}"),  # type: ignore[misc]
                )
        gc.collect()  # what was trained refers to itself, and the next model needs the memory


def _recipe(entry: TrainAdapters, model: PlannedModel, suite: Suite) -> Recipe:
    """The recipe for a model's family with the entry's changes, whose levels fit the model.

    A suite in float16 is for a GPU without bfloat16, so recipes in that train in float16 there.
    """
    named = PUBLISHED if entry.recipe is None else entry.recipe
    if isinstance(named, str):
        named = {model.family: named}
    if model.family not in named:
        raise UsageError(
            f"no recipe for {model.family}, the family of {model.name}; {near_misses(model.family, named)}"
        )
    recipe = load_recipe(named[model.family])
    if (suite.device, suite.dtype, recipe.precision) == ("cuda", "float16", "bfloat16"):
        recipe = changed(recipe, {"precision": "float16"})
    recipe = changed(recipe, entry.changes)
    recipe.phases(read_geometry(model.path, *model.resolution))
    return recipe


def _content(sample: Samples, model: PlannedModel, suite: Suite) -> dict[str, Any]:
    """What the key says of the samples. Images are hashed as files: that needs none of them to be decoded."""
    if sample.noise:
        return {"noise": NOISE_SEED}
    if sample.teacher:
        drawn = [[caption, seed] for seed, caption in enumerate(sample.teacher)]
        names = ("device", "dtype", "placement")
        return {"teacher": drawn} | dict(zip(names, _drawn_in(model, suite), strict=False))
    files, captions = zip(*_images(sample), strict=True)
    return {"images": [list(one) for one in zip(file_digests(files), captions, strict=True)]}


def _images(sample: Samples) -> list[tuple[Path, str]]:
    """The image files and their captions. A caption in the suite is the text itself."""
    path = Path(sample.image or sample.folder or "")
    if path.exists() and path.is_dir() != bool(sample.folder):
        raise UsageError(f"sample {path}: expected {'a folder' if sample.folder else 'an image'}")
    return find_images(path, sample.caption)


def _pairs(job: Job, suite: Suite, progress: Progress) -> list[Pair]:
    sample, size = job.entry.sample, job.model.resolution
    if sample.noise:
        return [noise_pair(size, seed=NOISE_SEED)]
    if sample.teacher:
        return _drawn(job.model, sample.teacher, suite, progress)
    return [read_pair(file, caption, size) for file, caption in _images(sample)]


def _drawn_in(model: PlannedModel, suite: Suite) -> list[str]:
    """Where the model's own images are made and in what numbers: device, dtype, and what a placement changes."""
    placed = model.placement
    if placed is None:
        return [suite.device, suite.dtype]
    return [suite.device, placed.dtype, *filter(None, [placed.numerics])]


def _drawn(model: PlannedModel, captions: Sequence[str], suite: Suite, progress: Progress) -> list[Pair]:
    """What the model's teacher draws for ``captions``, from seeds 0, 1, ...; every image is drawn once and kept."""
    from .generate import load_model, png

    folder = cache_dir() / "teacher"
    made_of = [model.digest, list(model.resolution), *_drawn_in(model, suite)]
    keys = [digest_of([*made_of, caption, seed])[:16] for seed, caption in enumerate(captions)]
    found = find_sealed(folder, "png")
    missing = [seed for seed, key in enumerate(keys) if not _is_whole(found.get(key))]
    if missing:
        loaded = load_model(model, suite.device, suite.dtype)
        steps = load_card(TEACHER).compile(read_geometry(model.path, *model.resolution))
        with progress.task("draw samples", len(missing)) as advance:
            prompts = [loaded.encode([captions[seed]]) for seed in missing]
            for seed, embeds in zip(missing, prompts, strict=True):
                noise = loaded.noise([seed], resolution=model.resolution)
                image = loaded.sample(steps, embeds, noise, resolution=model.resolution)[0]
                found[keys[seed]] = seal(folder, keys[seed], "png", png(image))
                advance(1, model.name)
    return [
        read_pair(found[key], caption, model.resolution, f"{TEACHER} of {model.name}, seed {seed}")
        for seed, (key, caption) in enumerate(zip(keys, captions, strict=True))
    ]


def _is_whole(file: Path | None) -> bool:
    """Whether a drawn image is there; a damaged one is removed, so that it does not stand beside its successor."""
    try:
        return file is not None and bool(read_sealed(file))
    except Damaged as damage:
        damage.path.unlink(missing_ok=True)
        return False


@contextmanager
def _alone(job: Job, progress: Progress) -> Iterator[None]:
    """Hold a job for one process; the kernel lets go when that process ends, however it ends."""
    from filelock import FileLock, Timeout

    job.folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{job.folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"train {job.label} for {job.model.name}: another process is at it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
