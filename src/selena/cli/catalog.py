"""What each data set, defense and attack is, needs and costs: `selena list`, docs/catalog.md.

Family, access, features and hyperparameters are read from the classes. The tables of
`catalog_lines` add a summary, the paper and the cost. A defense or an attack that is not in them is
listed with the first sentence of its docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from inspect import getdoc
from math import ceil
from typing import Any, Literal, get_args

import torch

from selena.cli.catalog_lines import ATTACK_LINES, DATASET_LINES, DEFENSE_LINES
from selena.data.prepare import PUBLISHED
from selena.registry import ATTACKS, DATASETS, DEFENSES, EVERY_FLIP, build_attacks, build_defense
from selena.training.plans import PLANS, Plan
from selena.types import Dataset, FeatureKind, Records

Section = Literal["datasets", "defenses", "attacks"]
SECTIONS: tuple[Section, ...] = get_args(Section)

_FEATURES: Mapping[FeatureKind, str] = {
    "binary": "bits",
    "continuous": "numbers",
    "image": "images",
}
_READS = {"label": "labels", "logits": "probabilities", "gradient": "gradients"}
# A plan or the registry sets these, not `defense_settings` and `attack_settings`.
_GIVEN = {"network", "num_classes", "recipe", "base", "distillation"}
_GIVEN |= {"signal", "mode", "inputs", "statistic", "online"}


@dataclass(frozen=True)
class Entry:
    """One data set, defense or attack.

    Attributes:
        name: the name that options take.
        summary: what it is, in one line.
        needs: what it needs.
        cost: about what it costs: trainings, steps or queries.
        paper: where it was published; may be empty.
        family: family of an attack.
        access: for an attack, the answers that it needs.
        in_family: for an attack, whether the family's name includes it.
        settings: hyperparameters that a settings file can change.
    """

    name: str
    summary: str
    needs: str
    cost: str
    paper: str = ""
    family: str = ""
    access: str = ""
    in_family: bool = True
    settings: tuple[str, ...] = ()

    @property
    def cited(self) -> str:
        """The summary, followed by the paper."""
        return f"{self.summary} ({self.paper})" if self.paper else self.summary


def catalog(section: Section) -> list[Entry]:
    """Return the entries of a section, in the order of the registry."""
    if section == "datasets":
        return [_dataset(name) for name in DATASETS]
    if section == "defenses":
        return [_defense(name) for name in DEFENSES]
    every = [name for known in ATTACKS for name in _with_variants(known)]
    return [_attack(name) for name in every]


def markdown_table(section: Section) -> str:
    """Return a section as the Markdown table of docs/catalog.md."""
    entries = catalog(section)
    if section == "attacks":
        titles = ["name", "family", "what it is", "needs", "reads", "cost", "settings"]
        rows = [
            [_marked(e), e.family, e.cited, e.needs, e.access, e.cost, _code(e.settings)]
            for e in entries
        ]
    else:
        titles = ["name", "what it is", "needs", "cost", "settings"]
        rows = [[_marked(e), e.cited, e.needs, e.cost, _code(e.settings)] for e in entries]
    if section == "datasets":
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _marked(entry: Entry) -> str:
    return f"`{entry.name}`" + ("" if entry.in_family else " *")


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _dataset(name: str) -> Entry:
    summary, paper, members, plan = DATASET_LINES[name]
    recipe = PLANS[plan].training
    steps = recipe.epochs * ceil(members / recipe.batch_size)
    needs = "download, or --data-dir" if name in PUBLISHED else "nothing"
    cost = f"{steps:,} steps per training at the default {members:,} members"
    return Entry(name, summary, needs, cost, paper)


def _defense(name: str) -> Entry:
    made = build_defense(name, Plan(), _toy("binary"))
    first = (_first_sentence(made), "", "", "")
    summary, paper, needs, cost = DEFENSE_LINES.get(name, first)
    values = {field.name: getattr(made, field.name) for field in fields(made)}  # type: ignore[arg-type]
    if "n_submodels" in values:
        values["share"] = 100 - 100 * values["n_nonmodels"] / values["n_submodels"]
    return Entry(name, summary, needs, cost.format(**values), paper, settings=_settings(made))


def _with_variants(name: str) -> list[str]:
    return [name, EVERY_FLIP] if name == "flip_noise" else [name]


def _attack(name: str) -> Entry:
    registered = ATTACKS["flip_noise" if name == EVERY_FLIP else name]
    attack: Any = build_attacks([name], Plan(), _toy(registered.features[0]))[0]
    summary, paper, cost = ATTACK_LINES.get(name, (_first_sentence(attack), "", ""))
    needs = attack.needs
    suits = registered.features
    if len(suits) < len(_FEATURES):
        needs = f"{needs} ({', '.join(_FEATURES[kind] for kind in suits)})"
    return Entry(
        name,
        summary,
        needs,
        cost if isinstance(cost, str) else cost(attack),
        paper,
        family=attack.family,
        access=_READS[attack.access],
        in_family=registered.in_family and name != EVERY_FLIP,
        settings=_settings(attack, keeps_network=name.startswith("shadow")),
    )


def _settings(made: Any, *, keeps_network: bool = False) -> tuple[str, ...]:
    given = _GIVEN - {"network"} if keeps_network else _GIVEN
    return tuple(field.name for field in fields(made) if field.name not in given)


def _first_sentence(made: object) -> str:
    return (getdoc(type(made)) or "").partition("\n\n")[0].replace("\n", " ").rstrip(".")


def _toy(features: FeatureKind) -> Dataset:
    """Return records for which every defense and attack of these features can be built."""
    x = {
        "binary": torch.zeros(2, 64, dtype=torch.uint8),
        "continuous": torch.rand(2, 4, generator=torch.Generator().manual_seed(0)),
        "image": torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
    }[features]
    records = Records(x, torch.arange(2), torch.arange(2))
    return Dataset(
        "toy",
        records,
        num_classes=2,
        features=features,
        recipe="tabular",
        n_members=1,
        source="made up",
        synthetic=True,
    )
