"""An attack of one's own, ranked with the library's.

The idea (Watson et al., "On the Importance of Difficulty Calibration in Membership Inference
Attacks", ICLR 2022): a record that any model finds easy says little. So the attacker trains a
reference model on records that are no members, and asks how much more certain the target is.

An attack is a frozen dataclass of its hyperparameters. Its class variables say what it is called
and what it needs; `fit` returns a scorer, whose higher scores mean member. It sees an oracle and
the records whose membership the attacker knows. The audit, which alone holds the truth, fits
thresholds and computes figures.

Run: python examples/own_attack.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

import selena
from selena.attacks.holdout import hold_out
from selena.attacks.signals import confidence
from selena.networks import NetworkFactory
from selena.types import Access, Attack, Family, Needs, Oracle, TargetModel


@dataclass(frozen=True)
class Calibrated:
    """Scores a record by how much more confident in its label the target is than a reference model.

    Attributes:
        network: builds the reference model.
        recipe: how it is trained.
    """

    name: ClassVar[str] = "calibrated_confidence"  # in reports
    family: ClassVar[Family] = "direct"  # where it is listed
    access: ClassVar[Access] = "logits"  # what it asks of the target
    needs: ClassVar[Needs] = "features"  # it trains on them, so predictions alone will not do

    network: NetworkFactory
    recipe: selena.Recipe

    def fit(
        self,
        oracle: Oracle,
        known: selena.MembershipSets,
        *,
        seed: int,
        workspace: selena.Workspace | None = None,
    ) -> CalibratedScorer:
        # Thresholds must be fitted on records that the reference model was not trained on: there
        # it is as unsure as on those that are scored.
        mine, calibration = hold_out(known, share=0.5, seed=seed)
        reference = selena.Undefended(self.network, oracle.num_classes, self.recipe).fit(
            mine.non_members, calibration.non_members, seed=seed, workspace=workspace
        )
        return CalibratedScorer(oracle, reference, calibration)


@dataclass(frozen=True)
class CalibratedScorer:
    """The target, the reference model, and the known records for thresholds."""

    oracle: Oracle
    reference: TargetModel
    calibration: selena.MembershipSets

    def score(self, candidates: selena.Records) -> Tensor:
        target, reference = (
            confidence(model.logits(candidates.x), candidates.y)
            for model in (self.oracle, self.reference)
        )
        return target - reference


def main() -> None:
    baskets = selena.load("purchase100-synthetic", size=10_000)
    split = selena.audit_split(baskets, n_members=2000, seed=0)
    network = selena.MLP(600, baskets.num_classes, hidden=(128,))
    recipe = selena.Recipe(epochs=12, batch_size=128, learning_rate=4e-3)
    model = selena.Undefended(network, baskets.num_classes, recipe).fit(
        split.train, split.validation, seed=0
    )

    attacks: list[Attack] = [
        selena.ThresholdAttack("confidence"),
        selena.ThresholdAttack("modified_entropy"),
        Calibrated(network, recipe),
    ]
    report = selena.run_audit(model, split, attacks, seed=0)
    print(report)
    comparison = selena.compare({"undefended": report}, data=baskets)
    print("Written:", comparison.write_page("own-attack.html"))


if __name__ == "__main__":
    main()
