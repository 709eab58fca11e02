"""A machine that joins the Ray cluster during a run is used: a cluster of two nodes on this machine."""

from functools import partial
from pathlib import Path

import pytest

from glance_bench.engine.ray import QUIET, RayEngine
from tests.ray_workers import Task, Troubled, processes

pytest.importorskip("ray")


def test_a_machine_that_joins_gets_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**QUIET, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    engine = RayEngine(tmp_path, "cpu", address=cluster.address)
    try:
        units = [Task(label) for label in ("first", "meet-1", "meet-2")]
        results = engine.map(units, partial(Troubled, tmp_path), retries=0, timeout=90)
        assert next(results).unit.label == "first" and engine.about()["workers"] == 1
        cluster.add_node(num_cpus=1)
        assert [result.failed for result in results] == [None, None]
        assert engine.about()["workers"] == 2
    finally:
        engine.close()
        cluster.shutdown()
    assert processes(tmp_path, "meet-1") != processes(tmp_path, "meet-2")
