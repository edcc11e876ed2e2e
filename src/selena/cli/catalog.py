"""What each data set, defense and attack is, needs and costs: `selena list`, docs/catalog.md.

What a class says of itself (family, access, features, hyperparameters) is read from it. The tables
here add one line each, the paper and the cost; without a line in them, a defense or an attack is
listed with the first sentence of its docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from inspect import getdoc
from math import ceil, log2
from typing import Any, Literal, get_args

import torch

from selena.attacks.augmentation import AUGMENTATIONS
from selena.data import cifar, location, purchase, synthetic, texas
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
_GIVEN |= {"signal", "mode", "inputs", "statistic"}


@dataclass(frozen=True)
class Entry:
    """One data set, defense or attack.

    Attributes:
        name: the name that options take.
        summary: what it is, in one line.
        needs: what it needs.
        cost: about what it costs: trainings, steps or queries.
        paper: where it was published; may be empty.
        family: of an attack: its family.
        access: of an attack: what it reads of the model's answers.
        in_family: of an attack: whether the family's name includes it.
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
        """The summary with the paper."""
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


def _published(published: Any, records: str) -> str:
    return f"{published.records:,} {records}, {published.num_classes} classes"


def _stand_in(stand_in: synthetic.StandIn) -> str:
    return (
        f"{stand_in.records:,} synthetic {stand_in.kind} of {stand_in.mixture.items:,} bits, "
        f"{stand_in.mixture.classes} classes"
    )


# By name: what it is, its paper, the members by default, and its plan.
_DATASETS: dict[str, tuple[str, str, int, str]] = {
    "purchase100": (
        _published(
            purchase.PURCHASE100, f"shopping histories of {purchase.PURCHASE100.width} bits"
        ),
        "Shokri et al. 2017",
        purchase.PURCHASE100.members,
        "purchase100",
    ),
    "purchase100-synthetic": (
        _stand_in(synthetic.PURCHASE100), "", synthetic.PURCHASE100.members, "purchase100"
    ),
    "texas100": (
        _published(texas.TEXAS100, f"hospital stays of {texas.TEXAS100.width:,} bits"),
        "Shokri et al. 2017",
        texas.TEXAS100.members,
        "texas100",
    ),
    "texas100-synthetic": (
        _stand_in(synthetic.TEXAS100), "", synthetic.TEXAS100.members, "texas100"
    ),
    "location30": (
        f"Check-ins of people in Bangkok, {location.BITS} bits, {location.CLASSES} classes",
        "Shokri et al. 2017",
        location.MEMBERS,
        "location30",
    ),
    "cifar10": (
        f"Color images of 32 x 32 pixels, {cifar.CIFAR10.num_classes} classes",
        "Krizhevsky 2009",
        cifar.CIFAR10.members,
        "cifar10",
    ),
    "cifar100": (
        f"Color images of 32 x 32 pixels, {cifar.CIFAR100.num_classes} classes",
        "Krizhevsky 2009",
        cifar.CIFAR100.members,
        "cifar100",
    ),
    "digits": (
        "Handwritten digits of 8 x 8 pixels, 10 classes; comes with scikit-learn",
        "Alpaydin & Kaynak 1998",
        600,
        "digits",
    ),
}  # fmt: skip


def _dataset(name: str) -> Entry:
    summary, paper, members, plan = _DATASETS[name]
    recipe = PLANS[plan].training
    steps = recipe.epochs * ceil(members / recipe.batch_size)
    needs = "download, or --data-dir" if name in PUBLISHED else "nothing"
    cost = f"{steps:,} steps per training at the default {members:,} members"
    return Entry(name, summary, needs, cost, paper)


_ONE = "1 training"
_K = "{n_submodels} trainings, each on {share:.0f} % of the members"

# By name: what it is, its paper, what it needs, and its cost; fields of the defense fit in.
_DEFENSES: dict[str, tuple[str, str, str, str]] = {
    "undefended": ("Ordinary training, for comparison", "", "nothing", _ONE),
    "split_ai": (
        "SELENA's first stage alone: sub-models that answer for records they never saw; "
        "`indirect_confidence` breaks it",
        "Tang et al. 2022",
        "nothing",
        _K + "; {n_nonmodels} networks answer each query",
    ),
    "selena": (
        "Split-AI, distilled into one student",
        "Tang et al. 2022",
        "nothing",
        _K + ", then 1 distillation",
    ),
    "memguard": (
        "Noise on the undefended model's predictions that confuses an attack network and keeps "
        "the label",
        "Jia et al. 2019",
        "validation records",
        "1 training, 1 attack network, and a search per query",
    ),
    "adversarial_regularization": (
        "Training against an attack network",
        "Nasr et al. 2018",
        "validation records",
        "1 training with {attack_batches} steps of an attack network per step",
    ),
    "early_stopping": (
        "The undefended training, stopped at an epoch or where validation accuracy is best",
        "Song & Mittal 2021",
        "validation records",
        _ONE,
    ),
    "dp_sgd": (
        "Differential privacy: clipped gradients plus noise, with a proven bound",
        "Abadi et al. 2016",
        "the extra `dp`",
        "1 training with one gradient per record, which is slower",
    ),
    "label_smoothing": (
        "Lowers the probability of the label in training", "Szegedy et al. 2016", "nothing", _ONE
    ),
    "dropout_l2": (
        "Dropout and weight decay", "Salem et al. 2019; Shokri et al. 2017", "nothing", _ONE
    ),
    "mixup_mmd": (
        "Mixed records, and a penalty on how predictions for members and others differ",
        "Li et al. 2021",
        "validation records",
        "1 training with validation records in each step",
    ),
    "relaxloss": ("Keeps the training loss above a level", "Chen et al. 2022", "nothing", _ONE),
    "hamp": (
        "Less confident training; answers keep only the order of the classes",
        "Chen & Pattabiraman 2024",
        "validation records",
        _ONE,
    ),
    "distillation": (
        "A student of a teacher that saw the same members: SELENA without Split-AI",
        "",
        "nothing",
        "1 training, then 1 distillation",
    ),
    "top_k": (
        "Returns the probabilities of the k likeliest classes only",
        "Shokri et al. 2017",
        "nothing",
        _ONE,
    ),
    "label_output": ("Returns the label only", "Shokri et al. 2017", "nothing", _ONE),
}  # fmt: skip


def _defense(name: str) -> Entry:
    made = build_defense(name, Plan(), _toy("binary"))
    first = (_first_sentence(made), "", "", "")
    summary, paper, needs, cost = _DEFENSES.get(name, first)
    values = {field.name: getattr(made, field.name) for field in fields(made)}  # type: ignore[arg-type]
    if "n_submodels" in values:
        values["share"] = 100 - 100 * values["n_nonmodels"] / values["n_submodels"]
    return Entry(name, summary, needs, cost.format(**values), paper, settings=_settings(made))


def _copies(attack: Any) -> str:
    known = round(8 + 4 * log2(attack.copies / 8))
    return (
        f"{attack.copies} queries per record; about {known} per known record and strength that "
        "is tried"
    )


def _shadow(attack: Any) -> str:
    k = attack.split_ai.n_submodels
    return f"{k} trainings that all shadow attacks share, and 1 query per record"


def _neighbors(attack: Any) -> str:
    known = len(attack.tried) * attack.copies + 1
    return f"{attack.copies + 1} queries per record at most; {known} per known record"


def _reference(attack: Any) -> str:
    return f"{attack.runs} trainings of the target, which `lira` and `rmia` share"


_ONCE = "1 query per record"
_AUGMENTED = f"{len(AUGMENTATIONS)} queries per record"

# By name: what the score of a record is, its paper, and its cost.
_ATTACKS: dict[str, tuple[str, str, str | Callable[[Any], str]]] = {
    "correctness": ("Whether it is classified correctly", "Yeom et al. 2018", _ONCE),
    "confidence": ("The probability of its label", "Yeom et al. 2018", _ONCE),
    "entropy": ("Minus the entropy of its prediction", "Song & Mittal 2021", _ONCE),
    "modified_entropy": (
        "Minus the entropy, modified to count its label", "Song & Mittal 2021", _ONCE
    ),
    "neural": (
        "The output of an attack network, trained on known records",
        "Nasr et al. 2018",
        f"{_ONCE}, and 1 attack network",
    ),
    "flip_noise": (
        "How many copies with flipped bits are classified correctly",
        "Choquette-Choo et al. 2021",
        _copies,
    ),
    EVERY_FLIP: (
        "One attack per number of flipped bits; the paper's choice on scored records is reported "
        "as `strongest_on_evaluation`",
        "",
        lambda attack: f"{attack.copies} queries per record and number of flips",
    ),
    "gaussian_noise": ("How many noisy copies are classified correctly", "", _copies),
    "augmentation": (
        "How many shifted and mirrored copies are classified correctly",
        "Choquette-Choo et al. 2021",
        _AUGMENTED,
    ),
    "augmentation_classifier": (
        "The output of a classifier of which of those copies are correct",
        "Choquette-Choo et al. 2021",
        _AUGMENTED,
    ),
    "boundary": (
        "The distance to the decision boundary, by Carlini and Wagner's attack",
        "Choquette-Choo et al. 2021",
        lambda attack: f"at most {attack.steps * attack.searches:,} gradients per record",
    ),
    "hopskipjump": (
        "The distance to the decision boundary, from labels only",
        "Chen et al. 2020",
        lambda attack: f"at most {attack.queries:,} queries per record",
    ),
    "shadow_cross_entropy": (
        "The cross-entropy between its answer and that of the attacker's own Split-AI",
        "Tang et al. 2022",
        _shadow,
    ),
    "shadow_squared_l2": (
        "The squared distance between its answer and that of the attacker's own Split-AI",
        "Tang et al. 2022",
        _shadow,
    ),
    "shadow_neural_difference": (
        "The output of an attack network on the difference of both answers",
        "Tang et al. 2022",
        _shadow,
    ),
    "shadow_neural_both": (
        "The output of an attack network on both answers", "Tang et al. 2022", _shadow
    ),
    "indirect_confidence": (
        "How much more confident answers for its neighbors are than its own; breaks Split-AI "
        "without distillation",
        "Tang et al. 2022",
        _neighbors,
    ),
    "indirect_modified_entropy": (
        "The same with modified entropy", "Tang et al. 2022", _neighbors
    ),
    "lira": (
        "How much likelier its confidence is among trainings that saw it than among others",
        "Carlini et al. 2022",
        _reference,
    ),
    "rmia": (
        "The probability of its label over the mean of that in all trainings",
        "Zarifzadeh et al. 2024",
        _reference,
    ),
}  # fmt: skip


def _with_variants(name: str) -> list[str]:
    return [name, EVERY_FLIP] if name == "flip_noise" else [name]


def _attack(name: str) -> Entry:
    registered = ATTACKS["flip_noise" if name == EVERY_FLIP else name]
    attack: Any = build_attacks([name], Plan(), _toy(registered.features[0]))[0]
    summary, paper, cost = _ATTACKS.get(name, (_first_sentence(attack), "", ""))
    needs = getattr(attack, "needs", None) or _needs(attack.family)
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


def _needs(family: str) -> str:
    return {"direct": "predictions", "reference-model": "training"}.get(family, "features")


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
