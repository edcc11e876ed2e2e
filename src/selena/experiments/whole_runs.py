"""Whole runs as tasks of a cluster: a machine trains one, attacks it, and sends its folder back.

What a run does outside of long ensembles (loops of a defense's own, soft labels, queries and
networks of attacks) is done where the run is. A run that holds a long ensemble of sub-models stays
with the driver, which shares out the ensemble while others are done elsewhere, unless there are as
many such runs as tasks at once. So do attacks that train reference models, which are tasks by
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from selena.data.split import Partition
from selena.defenses.split_ai import SplitAI
from selena.errors import ClusterError
from selena.experiments.manifest import is_run_file
from selena.experiments.paper.budget import defense_trainings
from selena.experiments.pipeline import Case, attack, remember_data, train
from selena.files.writing import atomic_path, together
from selena.pools.choose import is_remote, open_cluster
from selena.pools.shared_memory import private_folder
from selena.registry import build_attacks
from selena.training.executor import for_a_worker, is_worth_sharing
from selena.types import Attack, Dataset, Defense, Records
from selena.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Wanted:
    """A run that somebody wants.

    Attributes:
        case: what to train.
        attacks: names or families.
        attack_settings: changes to hyperparameters of attacks, by name.
    """

    case: Case
    attacks: tuple[str, ...]
    attack_settings: Mapping[str, Any]


def fetch_runs(wanted: Sequence[Wanted], runs: Path, workspace: Workspace) -> None:
    """Let a cluster do the runs that it can do whole and that `runs` lacks, and keep them there.

    Those that stay here are done meanwhile. Does nothing without a cluster, or under `mixed`: a
    manifest would not know which machine it is from.

    Raises:
        ClusterError: no machine may take part, or one sent what is no run folder.
    """
    if not is_remote(workspace) or workspace.mixed or not wanted:
        return
    dataset = wanted[0].case.dataset(workspace.progress)
    missing = [each for each in wanted if not each.case.folder(runs, dataset).is_trained]
    if len(missing) < 2:  # one machine is here already
        return
    cluster = open_cluster(replace(workspace, shared={}), torch.get_num_threads())
    tasks = [_Run.of(each, dataset, workspace) for each in missing]
    long = [task for task in tasks if task.holds_long_ensemble]
    here = long if len(long) < cluster.slots() else []
    sent = sorted(
        (task for task in tasks if task not in here), key=lambda each: each.size, reverse=True
    )
    if not sent:
        return
    places = [task.case.folder(runs, dataset).path for task in sent]
    records = tuple(tensor.numpy() for tensor in dataset.records.tensors)
    pool = None if dataset.member_pool is None else dataset.member_pool.numpy()
    with workspace.progress.step(f"{len(tasks)} runs", len(tasks)) as bar:

        def receive() -> None:
            for number, files in cluster.run(_do, sent, [records, pool]):
                _keep(files, places[number])
                bar.advance()

        with _beside(receive):
            for task in here:
                made = train(task.case, runs, workspace)
                if task.attacks:
                    attack(made, task.attacks, workspace, attack_settings=task.attack_settings)
                bar.advance()
    if here:
        workspace.clear()


@contextmanager
def _beside(do: Callable[[], None]) -> Iterator[None]:
    """Do something that waits for others, and draws nothing, in a thread beside the block.

    The thread ends with the process: one who stops the block need not wait for it.
    """
    errors: list[BaseException] = []

    def doing() -> None:
        try:
            do()
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=doing, daemon=True)
    thread.start()
    yield
    thread.join()
    if errors:
        raise errors[0]


@dataclass(frozen=True, eq=False)
class _Run:
    """One run to do on another machine.

    Attributes:
        case: what to train.
        attacks: names of the attacks that are done there.
        attack_settings: see `Wanted`.
        dataset: all that there is of the data set besides its records.
        workspace: in which the machine works.
        size: how much it trains; the largest is handed out first.
        holds_long_ensemble: whether these are worth being tasks by themselves.
    """

    case: Case
    attacks: tuple[str, ...]
    attack_settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    workspace: Workspace
    size: tuple[int, int]
    holds_long_ensemble: bool

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.case.defense}, seed {self.case.seed}"

    @classmethod
    def of(cls, wanted: Wanted, dataset: Dataset, workspace: Workspace) -> _Run:
        case, defense = wanted.case, wanted.case.build_defense(dataset)
        plan, names, built = case.build_plan(dataset), list[str](), list[Attack]()
        for name in wanted.attacks:
            all_ = build_attacks([name], plan, dataset, wanted.attack_settings, defense)
            alone = [each for each in all_ if each.needs != "training"]
            names += [name] if len(alone) == len(all_) else [each.name for each in alone]
            built += alone
        ensembles = [found for each in (defense, *built) for found in _ensembles(each)]
        parts = case.data.sizes(dataset)
        return cls(
            case,
            tuple(names),
            wanted.attack_settings,
            {f.name: getattr(dataset, f.name) for f in fields(Dataset) if f.name not in _LARGE},
            for_a_worker(workspace),
            _size(defense, parts),
            any(_is_long(each, parts.members) for each in ensembles),
        )


_LARGE = ("records", "member_pool")


def _ensembles(value: object) -> Iterator[SplitAI]:
    """Yield every Split-AI that a defense or an attack is, has, or has among its settings."""
    found = value if isinstance(value, SplitAI) else getattr(value, "split_ai", None)
    if isinstance(found, SplitAI):
        yield found
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _ensembles(getattr(value, field.name))


def _size(defense: Defense, parts: Partition) -> tuple[int, int]:
    """Return how many networks a defense trains, and how long those that tell members."""
    try:
        found = defense_trainings(defense, parts.members, parts.validation).values()
    except TypeError:  # nobody has counted it
        return 1, 0
    return sum(each.networks for each in found), sum(each.attack_records for each in found)


def _is_long(split_ai: SplitAI, members: int) -> bool:
    rows = members * (split_ai.n_submodels - split_ai.n_nonmodels)
    return is_worth_sharing(split_ai.network, rows, split_ai.recipe)


def _do(run: _Run, records: Any, member_pool: Any) -> dict[str, bytes]:
    """Do what a worker does for one run; return its files, by their names in the run folder."""
    whole = Records(*map(torch.from_numpy, records))
    pool = None if member_pool is None else torch.from_numpy(member_pool)
    remember_data(run.case, Dataset(**run.dataset, records=whole, member_pool=pool))
    try:
        with private_folder() as folder:
            made = train(run.case, folder, run.workspace)
            if run.attacks:
                attack(made, run.attacks, run.workspace, attack_settings=run.attack_settings)
            files = [path for path in made.path.rglob("*") if path.is_file()]
            return {path.relative_to(made.path).as_posix(): path.read_bytes() for path in files}
    finally:
        remember_data(run.case, None)  # the records are lent by the machine's store


def _keep(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files of a run folder, which appear together.

    What its manifest does not vouch for is found out by whoever reads it.
    """
    strange = [name for name in files if not is_run_file(name)]
    if strange:
        raise ClusterError(
            f"A machine sent {strange[0]!r}, which is no file of a run folder. Look whether the "
            "same version of selena runs on all machines."
        )
    with together():
        for name in sorted(files, key=lambda name: name == "manifest.json"):
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(files[name])
