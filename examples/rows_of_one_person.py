"""Several rows of one person: what SELENA hides of them depends on knowing whose they are.

Each customer here has three baskets that differ in an item or two. A sub-model that must not see
one of them learns it from the others, unless all three are kept from the same sub-models:
`subjects` says which belong together. The table also shows what that costs: of nearly all customers
each sub-model saw some row, and now it learns from 5 in 8 of them. An audit of such records gives a
person one score, the mean over its rows.

Run: python examples/rows_of_one_person.py
"""

from __future__ import annotations

from dataclasses import replace

import torch

import selena

ROWS = 3
SMALL = selena.Recipe(epochs=12, learning_rate=4e-3)


def three_rows_each(baskets: selena.Dataset) -> selena.Dataset:
    """Return the data set with three rows of each person, in which some items are exchanged."""
    person = torch.arange(len(baskets.records)).repeat(ROWS)
    records = baskets.records.take(person)
    changed = torch.rand(records.x.shape, generator=torch.Generator().manual_seed(0)) < 1 / 300
    records = replace(records, x=records.x ^ changed.to(torch.uint8))
    return replace(
        baskets, records=replace(records, ids=torch.arange(len(records)), subjects=person)
    )


def main() -> None:
    baskets = three_rows_each(selena.load("purchase100-synthetic", size=6000))
    split = selena.audit_split(baskets, n_members=6000, seed=0)
    network = selena.MLP(600, baskets.num_classes, hidden=(128,))
    defense = selena.Selena(
        network, baskets.num_classes, SMALL, SMALL, n_submodels=8, n_nonmodels=3
    )
    undefended = selena.Undefended(network, baskets.num_classes, SMALL)
    strangers = replace(split.train, subjects=None)  # as if each row were of another person
    audits = {}
    for name, how, train in (
        ("undefended", undefended, split.train),
        ("selena, not told", defense, strangers),
        ("selena, told whose rows they are", defense, split.train),
    ):
        model = how.fit(train, split.validation, seed=0)
        attacks = [selena.ThresholdAttack(signal) for signal in ("confidence", "modified_entropy")]
        audits[name] = selena.run_audit(model, split, attacks, seed=0)
    comparison = selena.compare(audits, data=f"{baskets.source}; {ROWS} rows per person, synthetic")
    print(comparison)
    print("Written:", comparison.write_page("rows-of-one-person.html"))


if __name__ == "__main__":
    main()
