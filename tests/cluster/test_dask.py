"""Work on a Dask cluster of worker processes ends with the bytes of a local run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from selena.errors import ClusterError
from selena.training import executor
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.workspace import Workspace
from tests.toys import NETWORK, RECIPE, toy_records

distributed = pytest.importorskip("distributed", reason="needs Dask: 'selena-privacy[dask]'")
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]

RECORDS = toy_records(60)
JOBS = [Job(f"job-{i}", torch.arange(60)[i::3], seed=i) for i in range(4)]


def fit(folder: Path, where: str) -> dict[str, bytes]:
    examples = Examples(RECORDS.x, RECORDS.y)
    workspace = Workspace(folder=folder, executor=where, cohort_size=1)
    try:
        fit_networks(NETWORK, examples, JOBS, RECIPE, workspace=workspace)
    finally:
        if "dask" in workspace.shared:
            workspace.shared["dask"].close()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_dask_gives_the_bytes_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_WORTH_PROCESSES", 0.0)
    options = {"processes": True, "dashboard_address": None, "n_workers": 2}
    with distributed.LocalCluster(threads_per_worker=1, **options) as cluster:
        where = cluster.scheduler_address.replace("tcp://", "dask://")
        assert fit(tmp_path / "dask", where) == fit(tmp_path / "local", "local")
    with distributed.LocalCluster(threads_per_worker=2, **options) as cluster:
        where = cluster.scheduler_address.replace("tcp://", "dask://")
        with pytest.raises(ClusterError, match="start it with --nthreads 1"):
            fit(tmp_path / "threads", where)
