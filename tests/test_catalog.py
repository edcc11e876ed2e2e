"""The catalog names everything that is registered, and what can be set of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from selena.registry import ATTACKS, DEFENSES, EVERY_FLIP, build_attacks, build_defense
from selena.training.plans import Plan
from tests.test_registry import dataset

PAGE = (Path(__file__).parents[1] / "docs" / "catalog.md").read_text(encoding="utf-8")
ROWS: Mapping[str, list[str]] = {
    match[1]: [cell.strip() for cell in match[2].split("|")]
    for match in re.finditer(r"^\| `(\w+)`(?: \*)? \|(.*)\|$", PAGE, re.MULTILINE)
}
PLAN = Plan(hidden=(4,))
# What a plan says, or what makes one registered attack of a class differ from another.
GIVEN = {"network", "num_classes", "recipe", "base", "distillation"}
GIVEN |= {"signal", "mode", "inputs", "statistic"}
WORDS = {"binary": "bits", "continuous": "numbers", "image": "images"}


def settable(made: Any, *, given: set[str]) -> set[str]:
    return {field.name for field in fields(made)} - given


def test_the_catalog_lists_what_is_registered_and_nothing_else() -> None:
    assert ROWS.keys() == {*DEFENSES, *ATTACKS, EVERY_FLIP}


@pytest.mark.parametrize("name", DEFENSES)
def test_hyperparameters_of_a_defense_are_listed(name: str) -> None:
    defense = build_defense(name, PLAN, dataset("binary"))
    assert set(re.findall(r"`(\w+)`", ROWS[name][-1])) == settable(defense, given=GIVEN)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attacks_row_says_what_it_is(name: str) -> None:
    entry = ATTACKS[name]
    (attack,) = build_attacks([name], PLAN, dataset(entry.features[0]))
    family, reads, needs, features, _, hyperparameters = ROWS[name]
    assert (family, needs) == (attack.family, attack.needs)
    known = {"label": ("label", "labels"), "logits": ("prediction",), "gradient": ("gradients",)}
    assert reads in known[attack.access]
    suits = ", ".join(WORDS[kind] for kind in entry.features)
    assert features == ("any" if len(entry.features) == len(WORDS) else suits)
    assert (f"| `{name}` * |" in PAGE) != entry.in_family
    # The networks of shadow attacks are their own; those of others come from the plan.
    given = GIVEN - {"network"} if name.startswith("shadow") else GIVEN
    assert set(re.findall(r"`(\w+)`", hyperparameters)) == settable(attack, given=given)
