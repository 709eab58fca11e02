"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before the libraries are imported: no test may reach for a hub
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores between them


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What glance_bench remembers between runs goes to a temporary folder."""
    os.environ["GLANCE_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_flux_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random FLUX-shaped checkpoint in the diffusers layout, 64 px."""
    from .tiny_models import make_flux

    return make_flux(tmp_path_factory.mktemp("tiny") / "flux")


@pytest.fixture(scope="session")
def tiny_qwen_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen-Image-shaped checkpoint in the diffusers layout, 64 px."""
    from .tiny_models import make_qwen

    return make_qwen(tmp_path_factory.mktemp("tiny") / "qwen")
