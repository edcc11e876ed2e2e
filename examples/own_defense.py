"""A defense of one's own, in the table and on the page beside the library's.

The idea: cut the members in two halves, train a teacher on each, and let each label the half that
it never saw. A student learns these labels alone. (It is SELENA with K = 2 and L = 1: what do all
the other sub-models buy?)

A defense is a frozen dataclass with `fit` and `restore`, which rebuilds a fitted model from its
state. It need not be registered.

Run: python examples/own_defense.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import selena
from selena.defenses.single import SingleNetwork, fit_single
from selena.seeding import child_seed, torch_generator
from selena.training.model import NetworkModel
from selena.types import Defense


@dataclass(frozen=True)
class CrossLabels(SingleNetwork):
    """Two teachers, each of one half of the members; a student of what they say of the other.

    The base gives it `network`, `num_classes`, `recipe` and `restore`.
    """

    def fit(
        self,
        train: selena.Records,
        validation: selena.Records,
        *,
        seed: int = 0,
        workspace: selena.Workspace | None = None,
    ) -> NetworkModel:
        def network(name: str, records: selena.Records, soft: Tensor | None) -> NetworkModel:
            return fit_single(
                self.network,
                self.num_classes,
                self.recipe,
                records,
                validation,
                name=name,
                seed=child_seed(seed, name),
                targets=soft,
                workspace=workspace,
            )

        order = torch.randperm(len(train), generator=torch_generator(seed, "halves"))
        first, second = order.chunk(2)
        soft = torch.empty(len(train), self.num_classes)
        for name, seen, unseen in (("teacher 1", first, second), ("teacher 2", second, first)):
            teacher = network(name, train.take(seen), None)
            soft[unseen] = teacher.logits(train.x[unseen]).softmax(dim=1)
        return network("student", train, soft)


def main() -> None:
    baskets = selena.load("purchase100-synthetic", size=10_000)
    split = selena.audit_split(baskets, n_members=2000, seed=0)
    basics = (
        selena.MLP(600, baskets.num_classes, hidden=(128,)),
        baskets.num_classes,
        selena.Recipe(epochs=12, batch_size=128, learning_rate=4e-3),
    )
    defenses: dict[str, Defense] = {
        "undefended": selena.Undefended(*basics),
        "cross labels": CrossLabels(*basics),
    }
    attacks = [selena.ThresholdAttack(s) for s in ("correctness", "confidence", "modified_entropy")]

    audits = {}
    for name, defense in defenses.items():
        model = defense.fit(split.train, split.validation, seed=0)
        audits[name] = selena.run_audit(model, split, attacks, seed=0)
    comparison = selena.compare(audits, data=baskets)
    print(comparison)
    print("Written:", *comparison.write_report("own-defense"))


if __name__ == "__main__":
    main()
