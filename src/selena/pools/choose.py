"""Chooses the pool by the name of the executor."""

from __future__ import annotations

from selena.errors import ClusterError, ConfigError
from selena.pools.dask_pool import DaskPool
from selena.pools.ray_pool import RayPool, look
from selena.pools.remote import Conditions, TaskNeeds, conditions_here
from selena.workspace import WITHOUT_CLUSTER, Workspace, check_executor


def is_remote(workspace: Workspace) -> bool:
    """Return whether long work goes to a cluster."""
    check_executor(workspace.executor)
    return workspace.executor not in WITHOUT_CLUSTER


def task_device(workspace: Workspace) -> str:
    """Return the device of the tasks of a cluster, by the worker's name for it."""
    return "cuda" if workspace.task_gpus else workspace.device


def open_cluster(workspace: Workspace, threads: int) -> RayPool | DaskPool:
    """Return the cluster that a workspace names, for tasks of `threads` threads.

    Raises:
        ClusterError: it cannot be reached, or has no machine with a GPU although tasks need one.
    """
    device = task_device(workspace)
    gpus = workspace.task_gpus or float(device != "cpu")
    needs = TaskNeeds(threads, gpus, device)
    if workspace.executor.startswith("dask://"):
        if gpus:
            raise ConfigError("GPUs are given to tasks by Ray. Use ray, or leave out --task-gpus.")
        terms = conditions_here(needs)
        return DaskPool(workspace.executor, needs, terms, workspace.mixed, workspace.shared)
    address = "" if workspace.executor == "ray" else workspace.executor
    asked = (
        # The GPU of this machine does not matter, since tasks run on others.
        workspace.share(f"conditions of {needs}", lambda: _of_first(address, needs))
        if gpus
        else conditions_here(needs)
    )
    return RayPool(address, needs, asked, mixed=workspace.mixed, memory=workspace.shared)


def _of_first(address: str, needs: TaskNeeds) -> Conditions:
    """Return the conditions of the first machine (by name) that can run a task."""
    found = look(address, needs)
    for node in sorted(found, key=lambda node: node.host):
        conditions = found[node]
        if isinstance(conditions, Conditions):
            return conditions
    told = ", ".join(f"{node.host}: {problem}" for node, problem in found.items())
    raise ClusterError(f"No machine of the cluster can run a task on {needs.device} ({told}).")
