"""One pool of models per defense, trained on base records and on a random half of audited records.

After Aerni, Zhang & Tramèr (CCS 2024), Section 4. Every model trains on all base records and on
the audited records that its coins mark.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from shutil import rmtree

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selena.attacks.signals import confidence
from selena.auditing.run import accuracy
from selena.data.audit_pool import AuditPool, draw_audit_pool, draw_coins
from selena.data.split import Partition, audit_split
from selena.environment.fingerprint import TRAINING_CODE, code_digest, fingerprint, tensor_digest
from selena.environment.processor import numeric_environment
from selena.seeding import child_seed
from selena.types import Dataset, Defense, Records, TargetModel
from selena.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Arena:
    """The records of one repetition.

    Attributes:
        base: every model trains on them.
        validation: non-members, for the defense.
        tuning: non-members on which settings are compared; no defense sees them.
        test: non-members on which the accuracy is measured.
        pool: the audited records.
        inside: which model trains on which audited record, by fair coins.
        seed: root of all trainings.
    """

    base: Records
    validation: Records
    tuning: Records
    test: Records
    pool: AuditPool
    inside: Bool[Tensor, "models n"]
    seed: int

    @classmethod
    def draw(
        cls, dataset: Dataset, members: int, models: int, ordinary: int, canaries: int, seed: int
    ) -> Arena:
        """Split a data set; the defender gets as many validation records as members, if possible.

        Raises:
            DataError: too few records.
        """
        beside = max(1, min(members, (len(dataset.records) - members) // 4))
        parts = Partition(members=members, reference=beside, validation=beside)
        split = audit_split(dataset, partition=parts, seed=child_seed(seed, "split"))
        pool, test = draw_audit_pool(
            split.evaluation.non_members,
            ordinary,
            canaries,
            num_classes=dataset.num_classes,
            seed=child_seed(seed, "audit pool"),
        )
        inside = draw_coins(len(pool.audited), models, seed=child_seed(seed, "coins"))
        known = split.known.non_members
        return cls(split.train, split.validation, known, test, pool, inside, seed)

    def digest(self) -> str:
        """Return a hash of all records and coins."""
        sets = (self.base, self.validation, self.tuning, self.test)
        every = [*sets, self.pool.audited, self.pool.companions]
        digests = [tensor_digest(*each.tensors) for each in every]
        return fingerprint(digests, tensor_digest(self.pool.owner, self.inside), self.seed)


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of the models of one pool.

    Attributes:
        confidences: log-odds of the label, models x audited records, float64.
        accuracies: test accuracy of each model.
    """

    confidences: Float[Tensor, "models n"]
    accuracies: tuple[float, ...]


def kept_name(what: str, defense: Defense, arena: Arena, device: str) -> str:
    """Return the name under which finished work of one defense is kept."""
    code = code_digest(*TRAINING_CODE, "attacks/signals.py", "experiments/paper/worst_case_pool.py")
    key = fingerprint(defense, arena.digest(), code, numeric_environment(device))
    return f"{what}-{key[:24]}"


def found(defense: Defense, arena: Arena, workspace: Workspace) -> int:
    """Return the number of kept models of the pool."""
    name = kept_name("worst-case", defense, arena, workspace.device)
    return sum(workspace.load(f"{name}-{run}") is not None for run in range(len(arena.inside)))


def train_pool(defense: Defense, arena: Arena, workspace: Workspace) -> Answers:
    """Train the pool's models; models that the workspace keeps are not trained again."""
    name = kept_name("worst-case", defense, arena, workspace.device)
    audited, kept = arena.pool.audited, []
    with workspace.progress.step(f"{len(arena.inside)} models", len(arena.inside)) as bar:
        for run, inside in enumerate(arena.inside):
            artifact = workspace.load(f"{name}-{run}")
            if artifact is None:
                train = arena.pool.training_set(arena.base, inside)
                model = fit_apart(defense, train, arena, workspace, f"{name}-{run}", run)
                artifact = {
                    "confidences": confidence(model.logits(audited.x), audited.y),
                    "accuracy": torch.tensor(accuracy(model, arena.test).value).double(),
                }
                workspace.save(f"{name}-{run}", artifact)
            kept.append(artifact)
            bar.advance()
    return Answers(
        torch.stack([each["confidences"] for each in kept]),
        tuple(float(each["accuracy"]) for each in kept),
    )


def fit_apart(
    defense: Defense, train: Records, arena: Arena, workspace: Workspace, name: str, run: int | str
) -> TargetModel:
    """Train one model in a separate folder, which is deleted afterwards."""
    room = None if workspace.folder is None else workspace.folder / f"{name}-parts"
    model = defense.fit(
        train,
        arena.validation,
        seed=child_seed(arena.seed, "model", run),
        workspace=replace(workspace, folder=room, touched=set(), shared={}),
    )
    if room is not None:
        rmtree(room, ignore_errors=True)
    return model
