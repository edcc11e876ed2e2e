"""One pool of models per defense, trained on base records and on a random half of audited records.

After Aerni, Zhang & Tramèr (CCS 2024), Section 4. Every model trains on all base records and on
the audited records that its coins mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selena.data.audit_pool import AuditPool, draw_audit_pool, draw_coins
from selena.data.split import Partition, audit_split
from selena.environment.fingerprint import fingerprint, tensor_digest
from selena.seeding import child_seed
from selena.types import Dataset, Records


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

    def arrays(self) -> list[Any]:
        """Return all records and coins as arrays, as a cluster sends them."""
        pool = self.pool
        sets = (self.base, self.validation, self.tuning, self.test, pool.audited, pool.companions)
        records = [tuple(tensor.numpy() for tensor in each.tensors) for each in sets]
        return [*records, *(each.numpy() for each in (pool.kind, pool.owner, self.inside))]

    @classmethod
    def of(cls, arrays: Sequence[Any], seed: int) -> Arena:
        """Return the arena that has these `arrays`."""
        base, validation, tuning, test, audited, companions = (
            Records(*map(torch.from_numpy, each)) for each in arrays[:6]
        )
        kind, owner, inside = map(torch.from_numpy, arrays[6:])
        pool = AuditPool(audited, kind, companions, owner)
        return cls(base, validation, tuning, test, pool, inside, seed)


@dataclass(frozen=True, eq=False)
class PoolAnswers:
    """Answers of the models of one pool.

    Attributes:
        confidences: log-odds of the label, models x audited records, float64.
        accuracies: test accuracy of each model.
    """

    confidences: Float[Tensor, "models n"]
    accuracies: tuple[float, ...]
