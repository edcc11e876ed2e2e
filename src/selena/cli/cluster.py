"""`selena cluster`: the machines of a cluster, and whether they may take part."""

from __future__ import annotations

from typing import Annotated

import typer

from selena.cli import options
from selena.errors import ClusterError
from selena.files.escaping import printable
from selena.files.writing import write_json
from selena.pools.choose import open_cluster
from selena.pools.ray_pool import look
from selena.pools.remote import Conditions
from selena.training.executor import worker_count, worker_threads
from selena.workspace import Machines, Workspace

cluster_app = typer.Typer(
    help="Check which machines of a cluster may take part.",
    add_completion=False,
    no_args_is_help=True,
)


@cluster_app.callback()
def cluster() -> None:
    """Check which machines of a cluster may take part."""


@cluster_app.command("check")
def check_command(
    executor: Annotated[
        str, typer.Option(help="ray (the cluster of RAY_ADDRESS), or ray://HOST:PORT.")
    ] = "ray",
    task_gpus: options.TaskGpus = None,
    json_out: options.Json = None,
) -> None:
    """Print each machine, and whether it may take part in work started here."""
    machines = Machines(executor=executor, task_gpus=task_gpus or 0.0)
    workspace = Workspace(executor=executor, task_gpus=machines.task_gpus, workers=0)
    pool = open_cluster(workspace, worker_threads(worker_count(workspace)))
    rows = []
    for node, found in sorted(look(pool.address, pool.needs).items(), key=lambda at: at[0].host):
        if isinstance(found, Conditions):
            differences = pool.asked.differences(found)
            what = f"{found.numeric['processor']}, {found.numeric['instruction_set']}"
        else:
            differences, what = [found], "not looked at"
        verdict = f"no: {'; '.join(differences)}" if differences else "yes"
        size = f"{node.cores:g} cores, {node.gpus:g} GPUs"
        tasks = 0 if differences else node.fits(pool.needs)
        print(
            printable(f"{node.host}: {size}; {what}; tasks at once {tasks}; takes part: {verdict}")
        )
        rows.append(
            {"host": node.host, "cores": node.cores, "gpus": node.gpus, "differences": differences}
        )
    if json_out:
        write_json(json_out, {"needs": vars(pool.needs), "machines": rows})
    if all(row["differences"] for row in rows):
        raise ClusterError(f"None of {len(rows)} machines may take part. Make them alike.")
