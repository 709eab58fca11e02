"""Fetching what a suite needs before it runs: prompt files, published weights, hub models. Nothing else downloads.

Hub repositories go to the hub's own cache, through its library; pinned GitHub files and single files on the web
go to the user's cache folder, verified. A lock file (``glance_bench.locks``) pins what the code leaves open.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from .digests import file_digests
from .download import download, offline
from .errors import Failures, GlanceBenchError, MissingData, UsageError, near_misses
from .locks import Pins, read_lock, write_lock
from .prompts.files import cached, digest, given, manifest, missing
from .prompts.sources import SOURCES, Source
from .registry import METRICS, MODELS
from .samplers.cards import SamplerCard, load_card
from .sealed import sha256_bytes, write_folder
from .suite import Profile, Suite
from .terminal import Progress
from .weights import WEIGHTS, HubFile, Weights, collected_needs, weights_folder

__all__ = ["Fetched", "cards_of", "fetch", "fetch_suite", "targets_of"]

RAW = "https://raw.githubusercontent.com"
ARCHIVES = "https://codeload.github.com"
CARRIED = {"flux", "qwen_image"}  # the families that cards are for
_REPO = re.compile(r"([\w.-]+/[\w.-]+)(?:@([0-9a-f]{40}|[\w.-]+))?(?::([\w./+=@-]+))?")


@dataclass(frozen=True)
class Fetched:
    """One thing that is on this machine now.

    ``new`` is False for what was there, ``licence`` is "" where only the publisher's page says it, and ``note``
    says what remains to do.
    """

    target: str
    place: Path
    new: bool
    licence: str = ""
    note: str = ""


def fetch(
    targets: Iterable[str], lock: Path | None = None, progress: Progress | None = None
) -> list[Fetched]:
    """Fetch prompt sets, weights, hub models (``owner/name`` or ``owner/name@revision``) and files of theirs
    (``owner/name:file``) by name.

    With ``lock``, what that file pins is fetched as pinned and compared with its digests, and everything else is
    added to it, what was here before as well. What the data folder holds is not fetched; it is pinned as what its
    address gives, which only the digests in ``SOURCES`` prove.

    Raises UsageError for an unknown name before anything is fetched. When something cannot be fetched, the rest
    still is; then Failures says, a line each, what is missing and what to do by hand.
    """
    names = list(dict.fromkeys(targets))
    for name in names:
        if name not in SOURCES and name not in WEIGHTS and not _REPO.fullmatch(name):
            hint = near_misses(name, [*SOURCES, *WEIGHTS])
            raise UsageError(f"nothing to fetch is called {name!r}; {hint}; or a hub model as owner/name")
    progress = progress or Progress()
    held = read_lock(lock) if lock else None
    pins = Pins(lock is not None, dict(held.hub) if held else {}, dict(held.urls) if held else {})
    fetched, failures = [], []
    for name in names:
        try:
            for one in _fetch_one(name, pins, progress):
                fetched.append(one)
                licence = f" (licence: {one.licence})" if one.licence else ""
                progress.say(f"{name}: {'fetched' if one.new else 'already here'}, {one.place}{licence}")
        except GlanceBenchError as error:
            failures.append(str(error))
    if lock is not None:
        write_lock(lock, pins.hub, pins.urls)
    if failures:
        raise Failures(failures)
    return fetched


def fetch_suite(suite: Suite, lock: Path | None = None, progress: Progress | None = None) -> list[Fetched]:
    """Fetch what ``targets_of`` names, and again what a metric asks for once its first weights are there.

    What is here already is looked at too: the lock file holds all of it, whichever machine writes it.
    """
    fetched: list[Fetched] = []
    asked: set[str] = set()
    while wanted := [name for name in targets_of(suite) if name not in asked]:
        fetched += fetch(wanted, lock, progress)
        asked |= set(wanted)
    return fetched


def targets_of(suite: Suite) -> list[str]:
    """The published prompt sets and models of the suite and its profiles, and the weights that their metrics ask for.

    A metric that asks for one thing after the other names the second only when the first is here.
    """
    rooms: list[Suite | Profile] = [suite, *suite.profiles.values()]
    uses = chain.from_iterable(room.prompts or () for room in rooms)
    targets = [use.set for use in uses if use.texts is None and use.set in SOURCES]
    models = [MODELS.get(name) for room in rooms for name in room.models if isinstance(name, str)]
    targets += [model.source for model in models if isinstance(model.source, str)]
    targets += chain.from_iterable(card.published for card in cards_of(suite))
    suites = [suite, *map(suite.with_profile, suite.profiles)]
    for name in dict.fromkeys(name for one in suites for names in one.metric_names() for name in names):
        make = METRICS.get(name)
        with collected_needs() as needed:
            try:
                make()
            except UsageError:
                raise
            except MissingData as waits:
                needed += re.findall(
                    r"glance-bench prefetch ([^\s,]+)", str(waits)
                )  # other packages' metrics
            except GlanceBenchError:  # weights that are here in part
                pass
        targets += [one for one in needed if one not in WEIGHTS or WEIGHTS[one].is_published]
    return list(dict.fromkeys(targets))


def cards_of(suite: Suite) -> Iterator[SamplerCard]:
    """The cards of the suite's samplers, and of those that a profile has in their place, which it is meant for."""
    rooms: list[Suite | Profile] = [suite, *suite.profiles.values()]
    for room in rooms:
        models = room.models or suite.models
        families = {MODELS.get(m).family if isinstance(m, str) else m.family for m in models}
        for sampler in room.samplers or suite.samplers:
            card = load_card(sampler if isinstance(sampler, str) else sampler.like)
            if (
                not families.isdisjoint(card.families) or families - CARRIED
            ):  # another's runs checkpoints of either
                yield card


def _fetch_one(name: str, pins: Pins, progress: Progress) -> Iterator[Fetched]:
    if name in SOURCES:
        for source in SOURCES[name]:
            try:
                yield _prompts(name, source, pins, progress)
            except GlanceBenchError as error:
                if source.needed:
                    raise
                progress.warn(f"{name}: without {source.file} ({error})")
    elif name in WEIGHTS:
        yield _weights(name, pins, progress)
    else:
        repo, revision, file = _REPO.fullmatch(name).groups()  # type: ignore[union-attr]
        if file is None:
            yield Fetched(name, *_from_hub(repo, "model", revision, (), pins))
            return
        here = HubFile(repo, file, revision).place() is not None
        folder, _ = _from_hub(repo, "model", revision, (file,), pins)
        if not (folder / file).is_file():
            if offline():
                raise GlanceBenchError(f"{name} is not on this machine, and offline nothing is fetched")
            raise GlanceBenchError(f"cannot fetch {name}: the repository has no file {file}")
        yield Fetched(name, folder / file, not here)


def _prompts(name: str, source: Source, pins: Pins, progress: Progress) -> Fetched:
    own = given(source.file)
    if own is not None:
        _pin_given(name, source, own, pins, progress)
        return Fetched(name, own, False, source.licence)
    if source.host == "by hand":
        raise missing(name)
    if source.host == "hub":
        wanted = (source.path,) if source.path else ()
        try:
            place, new = _from_hub(source.repo, "dataset", source.commit, wanted, pins)
        except GlanceBenchError as error:
            raise GlanceBenchError(f"{error}; or put it at <DIR>/{source.file}, with --data DIR") from error
        return Fetched(name, place / source.path, new, source.licence)
    place = cached(source)
    folder, url = source.pattern is not None, _url(source)
    expected = source.sha256 or pins.urls.get(url)
    if place.exists():
        found = digest(source, place)
        if expected in (None, found):
            pins.url(url, found)
            return Fetched(name, place, False, source.licence)
    try:
        found = _folder(url, source, place, expected) if folder else download(url, place, expected)
    except GlanceBenchError as error:
        raise GlanceBenchError(
            f"cannot fetch the prompts of {name}: {error}. By hand: get {source.path} of {source.repo} (GitHub, "
            f"commit {source.commit}) and put it at <DIR>/{source.file}, with --data DIR"
        ) from error
    pins.url(url, found)
    return Fetched(name, place, True, source.licence)


def _pin_given(name: str, source: Source, own: Path, pins: Pins, progress: Progress) -> None:
    """A file of the user's stands for what its address gives, unless its digest is known to be another one."""
    if not pins.wanted:
        return
    found = digest(source, own) if source.host == "github" else None
    if found is None or source.sha256 not in (None, found):
        why = "has no known commit" if found is None else "is not the published file"
        progress.warn(f"{name}: {own} {why}, and is not in the lock file")
        return
    pins.url(_url(source), found)


def _url(source: Source) -> str:
    """Of a file on GitHub, or of the archive that a folder is in."""
    if source.pattern is not None:
        return f"{ARCHIVES}/{source.repo}/tar.gz/{source.commit}"
    return f"{RAW}/{source.repo}/{source.commit}/{quote(source.path)}"


def _folder(url: str, source: Source, place: Path, expected: str | None) -> str:
    """The files of one folder of a repository, out of its archive; the digest of their list."""
    archive = place.with_name(f"{place.name}.tar.gz")
    download(url, archive)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            files = dict(_members(tar, source))
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise GlanceBenchError(f"{url}: is no readable archive ({error})") from error
    finally:
        archive.unlink()
    found = manifest({name: sha256_bytes(data) for name, data in files.items()})
    if expected is not None and found != expected:
        raise GlanceBenchError(
            f"{url}: its {len(files)} files have digest {found[:12]} where {expected[:12]} is expected; nothing is kept"
        )
    if place.exists():  # damaged: this is only reached when its digest is another one
        shutil.rmtree(place)
    write_folder(place, files)
    return found


def _members(tar: tarfile.TarFile, source: Source) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted files. Nothing is extracted by the archive's own paths."""
    inside = PurePosixPath(source.path).parts
    for member in tar:
        parts = PurePosixPath(member.name).parts  # the first is the archive's own folder
        if member.isfile() and parts[1:-1] == inside and fnmatchcase(parts[-1], source.pattern or ""):
            content = tar.extractfile(member)
            assert content is not None  # it is a file
            yield parts[-1], content.read()


def _weights(name: str, pins: Pins, progress: Progress) -> Fetched:
    entry = WEIGHTS[name]
    note = f"then: glance-bench convert {name}" if entry.converted else ""
    if entry.converted and (weights_folder(name) / entry.converted).is_file():
        if pins.wanted:
            _pin_original(entry, pins, progress)
        return Fetched(name, weights_folder(name) / entry.converted, False, entry.licence)
    if not entry.is_published:
        raise GlanceBenchError(f"{name} is published nowhere: glance-bench convert {name} FILE")
    if entry.repo:
        place, new = _from_hub(entry.repo, "model", entry.revision, entry.files, pins)
        return Fetched(name, place, new, entry.licence, note)
    url, place = str(entry.url), _original(entry)
    expected = entry.sha256 or pins.urls.get(url)
    if place.is_file():
        (found,) = file_digests([place])
        if expected in (None, found):
            pins.url(url, found)
            return Fetched(name, place, False, entry.licence, note)
    try:
        progress.say(f"{name}: fetching {url} ({entry.size})")
        found = download(url, place, expected)
    except GlanceBenchError as error:
        raise GlanceBenchError(
            f"cannot fetch {name} ({entry.size}): {error}. By hand: put it at {place}"
        ) from error
    pins.url(url, found)
    return Fetched(name, place, True, entry.licence, note)


def _original(entry: Weights) -> Path:
    """Where a file that is on no hub is put."""
    return weights_folder(entry.name) / str(entry.url).rpartition("/")[2]


def _pin_original(entry: Weights, pins: Pins, progress: Progress) -> None:
    """Pin what a converted file was made of, as far as it is still here: nothing is fetched for that."""
    if entry.repo and (
        place := _in_cache(entry.repo, "model", pins.commit(entry.repo, entry.revision), entry.files)
    ):
        pins.snapshot(entry.repo, place, entry.files)
    elif entry.url and _original(entry).is_file():
        pins.url(entry.url, *file_digests([_original(entry)]))
    elif entry.url and entry.sha256:  # `convert` takes no other
        pins.url(entry.url, entry.sha256)
    elif not {entry.repo, entry.url} & {*pins.hub, *pins.urls}:
        progress.warn(
            f"{entry.name}: only its converted form is here; the lock file cannot say what it was made of"
        )


def _in_cache(repo: str, kind: str, commit: str | None, wanted: tuple[str, ...]) -> Path | None:
    """The snapshot's folder in the hub's cache, None where there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = list(wanted) or None
    try:
        return Path(
            snapshot_download(
                repo, repo_type=kind, revision=commit, allow_patterns=patterns, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        return None


def _from_hub(
    repo: str, kind: str, revision: str | None, wanted: tuple[str, ...], pins: Pins
) -> tuple[Path, bool]:
    """The snapshot's folder in the hub's cache, and whether it was not there before. ``wanted``: file patterns."""
    from huggingface_hub import errors, snapshot_download

    entry = f"datasets/{repo}" if kind == "dataset" else repo
    commit = pins.commit(entry, revision)
    known = _in_cache(repo, kind, commit, wanted)
    patterns = list(wanted) or None
    try:
        # Asked for again even when something is there: only the hub knows whether the copy is complete and newest.
        place = Path(snapshot_download(repo, repo_type=kind, revision=commit, allow_patterns=patterns))
    except errors.GatedRepoError as error:
        raise GlanceBenchError(
            f"cannot fetch {repo}: accept its publisher's terms at https://huggingface.co/{entry}, then set HF_TOKEN"
        ) from error
    except (errors.HTTPError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        at = f" --revision {commit}" if commit else ""
        of = " --repo-type dataset" if kind == "dataset" else ""
        raise GlanceBenchError(
            f"cannot fetch {repo} from the hub: {reason}. By hand: hf download {repo}{of}{at} on a machine with a "
            f"network, and copy its folder of the hub cache (HF_HUB_CACHE) to this one"
        ) from error
    if pins.wanted:
        pins.snapshot(entry, place, wanted)
    return place, known != place
