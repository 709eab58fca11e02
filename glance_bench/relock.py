"""Lock files from what is on this machine: written anew, or held against it. Nothing is downloaded. No torch."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .errors import Failures, GlanceBenchError
from .locks import Lock, LockedRepo, read_lock, write_lock
from .prefetch import fetch_suite
from .suite import Suite
from .terminal import Progress

__all__ = ["check_lock", "refresh_lock"]


def refresh_lock(suite: Suite, path: Path) -> Lock:
    """Write into the lock file what of the suite's needs is here, and return it.

    Commits that it holds stay (delete it to take newer ones), and so does what it holds of things that are not here;
    digests of what is here are taken anew. Raises Failures, after writing, with a line for everything that is not here,
    or whose commit the suite names and the file has another.
    """
    held = read_lock(path)
    found, absent = _here(suite, held)
    hub = dict(held.hub)
    for (
        name,
        repo,
    ) in found.hub.items():  # found at the commit that is held, so all of its files are of one commit
        files = hub[name].files if name in hub else {}
        hub[name] = LockedRepo(commit=repo.commit, files={**files, **repo.files})
    made = Lock(hub=hub, urls={**held.urls, **found.urls})
    if made.hub or made.urls:
        write_lock(path, made.hub, made.urls)
    if absent:
        raise Failures(absent)
    return made


def check_lock(suite: Suite, path: Path) -> Lock:
    """What of the suite's needs is here, all of it as the lock file says.

    Raises Failures with a line for everything that is not here, is not in the file, or is other than the file says.
    """
    held = read_lock(path)
    found, wrong = _here(suite, held)
    for name, repo in found.hub.items():
        known = held.hub[name].files if name in held.hub else {}
        wrong += [f"{name}: {file} {_differs(known, file, sha, path)}" for file, sha in repo.files.items()
                  if known.get(file) != sha]  # fmt: skip
    wrong += [f"{url}: {_differs(held.urls, url, sha, path)}" for url, sha in found.urls.items()
              if held.urls.get(url) != sha]  # fmt: skip
    if wrong and not path.is_file():
        raise GlanceBenchError(f"{path} is missing: glance-bench lock writes it, once what it pins is here")
    if wrong:
        raise Failures(wrong)
    return found


def _differs(held: dict[str, str], name: str, found: str, path: Path) -> str:
    if name not in held:
        return f"is not in {path}"
    return f"has sha256 {found[:12]}, but {path} has {held[name][:12]}"


def _here(suite: Suite, held: Lock) -> tuple[Lock, list[str]]:
    """Commits and digests of all that the suite needs and is here, at the commits of ``held``; what is not here.

    The hub's library must have been told to stay offline (``HF_HUB_OFFLINE``) before it was imported.
    """
    with tempfile.TemporaryDirectory() as room:
        copy = Path(room) / "lock.yaml"
        write_lock(copy, {name: LockedRepo(commit=repo.commit) for name, repo in held.hub.items()}, {})
        absent: list[str] = []
        try:
            fetch_suite(suite, copy, Progress(quiet=True))
        except Failures as failures:
            absent = list(failures.lines)
        found = read_lock(copy)
    return Lock(hub={name: repo for name, repo in found.hub.items() if repo.files}, urls=found.urls), absent
