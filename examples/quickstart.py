"""Train a classifier bare and with SELENA, attack both, and see what the protection costs.

The records are made up: shopping baskets of 600 items, calibrated on those of the paper (see
README). 2,000 of them train a small network; the attacker knows half of these.

Run: python examples/quickstart.py
"""

from __future__ import annotations

import selena
from selena.types import Defense


def main() -> None:
    baskets = selena.load("purchase100-synthetic", size=10_000)
    # Disjoint sets: members and non-members that the attacker knows, others that are scored.
    split = selena.audit_split(baskets, n_members=2000, seed=0)

    network = selena.MLP(600, baskets.num_classes, hidden=(128,))
    recipe = selena.Recipe(epochs=12, batch_size=128, learning_rate=4e-3)
    defenses: dict[str, Defense] = {
        "undefended": selena.Undefended(network, baskets.num_classes, recipe),
        "selena": selena.Selena(
            network, baskets.num_classes, recipe, distillation=recipe, n_submodels=5, n_nonmodels=2
        ),
    }
    attacks = [selena.ThresholdAttack(s) for s in ("correctness", "confidence", "modified_entropy")]

    audits = {}
    for name, defense in defenses.items():
        model = defense.fit(split.train, split.validation, seed=0)
        audits[name] = selena.run_audit(model, split, attacks, seed=0)

    comparison = selena.compare(audits, data=baskets)
    print(comparison)
    print("Written:", comparison.write_page("quickstart.html"))


if __name__ == "__main__":
    main()
