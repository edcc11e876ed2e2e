"""Runs that other machines do whole: the bytes of runs made here, and nothing else is believed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from selena.errors import ClusterError
from selena.experiments import pipeline, whole_runs
from selena.experiments.paper import runs as paper_runs
from selena.experiments.paper import table2
from selena.experiments.paper.task import PaperTask
from selena.experiments.pipeline import RunSettings
from selena.experiments.results import make_workspace, run
from selena.experiments.store import RunFolder
from selena.pools.remote import TaskNeeds, Terms, conditions_here, work
from selena.training import executor
from selena.workspace import Machines
from tests.experiments.conftest import TINY

RAY = Machines(executor="ray")
SETTINGS = PaperTask("digits", TINY).settings(["undefended", "adversarial_regularization"])
SETTINGS = replace(SETTINGS, attacks=("confidence", "shadow_squared_l2"), machines=RAY)


@dataclass
class Cluster:
    """One machine that has no data sets, in this process.

    Attributes:
        size: tasks at once.
        done: names of the tasks it did.
        tasks: what it was sent.
        idle: whether it does nothing.
        change: what becomes of the files of a run on their way.
    """

    size: int = 2
    done: list[str] = field(default_factory=list)
    tasks: list[Any] = field(default_factory=list)
    idle: bool = False
    change: Callable[[dict[str, bytes]], dict[str, bytes]] = lambda files: files

    def slots(self) -> int:
        return self.size

    def run(
        self, function: Any, tasks: Sequence[Any], shared: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        self.tasks += tasks
        needs = TaskNeeds(torch.get_num_threads())
        calls, parts = Terms("", needs, conditions_here(needs)).calls(function, tasks, shared)
        for number, call in [] if self.idle else reversed(list(enumerate(calls))):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(pipeline, "_LOADED", {})
                patch.setattr(pipeline, "_load", pytest.fail)
                outcome = work(call, *parts)
                assert not pipeline._LOADED  # a machine keeps no records
            self.done.append(tasks[number].name)
            yield number, self.change(outcome.result(tasks[number].name))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(whole_runs, "open_cluster", lambda *_: made)
    return made


def contents(runs: Path) -> dict[str, tuple[Any, ...]]:
    """Return what a run folder vouches for besides times, by its name."""
    found = {}
    for path in sorted(runs.iterdir()):
        manifest, audit = RunFolder(path).manifest().to_json(), RunFolder(path).audit()
        parts = ("model_sha256", "scores", "settings", "data", "numeric", "split", "audit_sha256")
        found[path.name] = tuple(manifest[part] for part in parts), audit
    return found


@pytest.mark.deep
def test_runs_of_a_cluster_are_those_made_here(cluster: Cluster, tmp_path: Path) -> None:
    run(SETTINGS, tmp_path / "cluster")
    assert sorted(cluster.done) == ["adversarial_regularization, seed 0", "undefended, seed 0"]
    run(replace(SETTINGS, machines=Machines()), tmp_path / "here")
    assert len(cluster.done) == 2
    assert contents(tmp_path / "cluster") == contents(tmp_path / "here")


def test_only_missing_runs_are_sent(cluster: Cluster, tmp_path: Path) -> None:
    settings = replace(SETTINGS, defenses=("undefended",), attacks=("confidence",))
    run(settings, tmp_path)
    assert not cluster.tasks  # one run is made here
    names = sent(replace(settings, seeds=(0, 1, 2)), cluster, tmp_path)
    assert names == ["undefended, seed 1", "undefended, seed 2"]


def test_long_ensembles_stay_with_the_driver(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(executor, "_WORTH_PROCESSES", 0.0)
    here: list[str] = []
    monkeypatch.setattr(whole_runs, "train", lambda case, *_: here.append(case.defense))
    monkeypatch.setattr(whole_runs, "attack", lambda *_, **__: None)
    one = replace(SETTINGS, attacks=("confidence",))
    three = replace(one, defenses=("undefended", "memguard", "selena"))
    assert sent(three, cluster, tmp_path) == ["memguard, seed 0", "undefended, seed 0"]
    assert here == ["selena"]
    # As many of them as tasks at once: no machine would be idle.
    two = replace(one, defenses=("selena",), seeds=(0, 1))
    assert sent(two, cluster, tmp_path) == ["selena, seed 0", "selena, seed 1"]
    cluster.size = 3
    assert not sent(two, cluster, tmp_path)


def test_reference_models_are_tasks_by_themselves(cluster: Cluster, tmp_path: Path) -> None:
    settings = replace(SETTINGS, attacks=("direct", "lira", "shadow_squared_l2"))
    assert len(sent(settings, cluster, tmp_path)) == 2
    assert {task.attacks for task in cluster.tasks} == {("direct", "shadow_squared_l2")}


def test_mixed_runs_stay_here(cluster: Cluster, tmp_path: Path) -> None:
    fetch(replace(SETTINGS, machines=replace(RAY, mixed=True)), tmp_path)
    fetch(replace(SETTINGS, machines=Machines()), tmp_path)
    assert not cluster.done


@pytest.mark.parametrize("name", ["../model.safetensors", "scores/../x.safetensors", "x.py"])
def test_strange_files_are_refused(cluster: Cluster, tmp_path: Path, name: str) -> None:
    cluster.change = lambda files: {**files, name: b""}
    with pytest.raises(ClusterError, match="no file of a run folder"):
        fetch(replace(SETTINGS, attacks=("confidence",)), tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_damaged_model_of_a_machine_is_not_used(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.change = lambda files: {**files, "model.safetensors": b"x"}
    fetch(replace(SETTINGS, attacks=("confidence",)), tmp_path)
    with caplog.at_level(logging.WARNING):
        assert not any(RunFolder(path).is_trained for path in tmp_path.iterdir())
    assert "absent or damaged: it is trained anew" in caplog.text


def test_rows_of_a_table_are_sent(
    tiny: PaperTask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fetch_runs(wanted: Sequence[whole_runs.Wanted], *_: Any) -> None:
        raise ClusterError(", ".join(each.case.defense for each in wanted))

    monkeypatch.setattr(paper_runs, "fetch_runs", fetch_runs)
    with pytest.raises(ClusterError, match=", ".join(table2.DEFENSES)):
        table2.run(replace(tiny, machines=RAY), tmp_path, command="test")


def fetch(settings: RunSettings, runs: Path) -> None:
    """Let the cluster do what it does of these runs, and nothing else."""
    whole_runs.fetch_runs(
        [
            whole_runs.Wanted(case, settings.attacks, settings.attack_settings)
            for seed in settings.seeds
            for case in pipeline.cases(settings, seed)
        ],
        runs,
        make_workspace(runs, settings, None),
    )


def sent(settings: RunSettings, cluster: Cluster, runs: Path) -> list[str]:
    """Return the names of the runs that are sent whole, and do none."""
    cluster.tasks.clear()
    cluster.idle = True
    fetch(settings, runs)
    return [task.name for task in cluster.tasks]
