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
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from .digests import file_digests
from .download import download
from .errors import Failures, GlanceBenchError, MissingData, UsageError, near_misses
from .locks import LockedRepo, locked_commit, read_lock, write_lock
from .prompts.files import cached, digest, given, manifest, missing
from .prompts.sources import SOURCES, Source
from .registry import METRICS, MODELS
from .sealed import sha256_bytes, write_folder
from .suite import Profile, Suite
from .terminal import Progress
from .weights import WEIGHTS, weights_folder

__all__ = ["Fetched", "fetch", "fetch_suite", "targets_of"]

RAW = "https://raw.githubusercontent.com"
ARCHIVES = "https://codeload.github.com"
_REPO = re.compile(r"([\w.-]+/[\w.-]+)(?:@([0-9a-f]{40}|[\w.-]+))?")


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


@dataclass
class _Pins:
    """What is pinned: the lock file's entries, and those that this call adds."""

    wanted: bool  # whether digests are needed at all; hashing a large model takes minutes
    hub: dict[str, LockedRepo] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    def url(self, address: str, found: str) -> None:
        """Note what an address gave. Raises GlanceBenchError when the lock file says otherwise."""
        held = self.urls.setdefault(address, found)
        if held != found:
            raise GlanceBenchError(f"{address}: sha256 {found[:12]}, but the lock file has {held[:12]}")

    def repo(self, repo: str, commit: str, files: dict[str, str]) -> None:
        """Note a repository's commit and files. Raises GlanceBenchError when the lock file says otherwise."""
        held = self.hub.get(repo)
        if held is not None and held.commit != commit:
            raise GlanceBenchError(f"{repo}: commit {commit[:12]}, but the lock file has {held.commit[:12]}")
        for name, found in files.items():
            if held is not None and held.files.get(name, found) != found:
                raise GlanceBenchError(
                    f"{repo}: {name} has sha256 {found[:12]}, but the lock file has {held.files[name][:12]}"
                )
        self.hub[repo] = LockedRepo(commit=commit, files={**(held.files if held else {}), **files})


def fetch(
    targets: Iterable[str], lock: Path | None = None, progress: Progress | None = None
) -> list[Fetched]:
    """Fetch prompt sets, weights and hub models (``owner/name`` or ``owner/name@revision``) by name.

    With ``lock``, what that file pins is fetched as pinned and compared with its digests, and everything else is
    added to it. What the data folder holds is neither fetched nor pinned.

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
    pins = _Pins(lock is not None, dict(held.hub) if held else {}, dict(held.urls) if held else {})
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
    """Fetch what ``targets_of`` names, and again what a metric asks for once its first weights are there."""
    fetched: list[Fetched] = []
    asked: set[str] = set()
    while wanted := [name for name in targets_of(suite) if name not in asked]:
        fetched += fetch(wanted, lock, progress)
        asked |= set(wanted)
    return fetched


def targets_of(suite: Suite) -> list[str]:
    """The published prompt sets and models of the suite and its profiles, and the weights its metrics wait for now."""
    rooms: list[Suite | Profile] = [suite, *suite.profiles.values()]
    uses = chain.from_iterable(room.prompts or () for room in rooms)
    targets = [use.set for use in uses if use.texts is None and use.set in SOURCES]
    models = [MODELS.get(name) for room in rooms for name in room.models if isinstance(name, str)]
    targets += [model.source for model in models if isinstance(model.source, str)]
    for name in chain.from_iterable(suite.metric_names()):
        try:
            METRICS.get(name)()
        except MissingData as waits:
            command = re.search(r"glance-bench prefetch ([^\s,]+)", str(waits))
            targets += [command[1]] if command else []
    return list(dict.fromkeys(targets))


def _fetch_one(name: str, pins: _Pins, progress: Progress) -> Iterator[Fetched]:
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
        repo, revision = _REPO.fullmatch(name).groups()  # type: ignore[union-attr]
        yield Fetched(name, *_from_hub(repo, "model", revision, (), pins))


def _prompts(name: str, source: Source, pins: _Pins, progress: Progress) -> Fetched:
    own = given(source.file)
    if own is not None:
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
    folder = source.pattern is not None
    url = f"{ARCHIVES}/{source.repo}/tar.gz/{source.commit}" if folder else _raw_url(source)
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


def _raw_url(source: Source) -> str:
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


def _weights(name: str, pins: _Pins, progress: Progress) -> Fetched:
    entry = WEIGHTS[name]
    note = f"then: glance-bench convert {name}" if entry.converted else ""
    if entry.converted and (weights_folder(name) / entry.converted).is_file():
        return Fetched(name, weights_folder(name) / entry.converted, False, entry.licence)
    if entry.repo:
        place, new = _from_hub(entry.repo, "model", entry.revision, entry.files, pins)
        return Fetched(name, place, new, entry.licence, note)
    url = str(entry.url)
    place = weights_folder(name) / url.rpartition("/")[2]
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


def _from_hub(
    repo: str, kind: str, revision: str | None, wanted: tuple[str, ...], pins: _Pins
) -> tuple[Path, bool]:
    """The snapshot's folder in the hub's cache, and whether it was not there before. ``wanted``: file patterns."""
    from huggingface_hub import errors, snapshot_download

    entry = f"datasets/{repo}" if kind == "dataset" else repo
    held = pins.hub.get(entry)
    commit = revision or (held.commit if held else locked_commit(entry))
    patterns = list(wanted) or None
    try:
        folder = snapshot_download(
            repo, repo_type=kind, revision=commit, allow_patterns=patterns, local_files_only=True
        )
        known: Path | None = Path(folder)
    except errors.LocalEntryNotFoundError:
        known = None
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
        names = _matching(place, patterns)
        files = dict(zip(names, file_digests([place / name for name in names]), strict=True))
        pins.repo(entry, place.name, files)
    return place, known != place


def _matching(folder: Path, patterns: list[str] | None) -> list[str]:
    """The snapshot's files that were asked for, by their names in the repository."""
    from huggingface_hub.utils import filter_repo_objects

    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return list(filter_repo_objects(names, allow_patterns=patterns))
