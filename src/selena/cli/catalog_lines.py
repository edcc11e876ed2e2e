"""One line per data set, defense and attack: what it is, its paper, and its cost."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

from selena.data import cifar, location, purchase, synthetic, texas
from selena.registry import EVERY_FLIP


def _published(published: Any, records: str) -> str:
    return f"{published.records:,} {records}, {published.num_classes} classes"


def _stand_in(stand_in: synthetic.StandIn) -> str:
    return (
        f"{stand_in.records:,} synthetic {stand_in.kind} of {stand_in.mixture.items:,} bits, "
        f"{stand_in.mixture.classes} classes"
    )


# By name: what it is, its paper, the members by default, and its plan.
DATASET_LINES: dict[str, tuple[str, str, int, str]] = {
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


_ONE = "1 training"
_K = "{n_submodels} trainings, each on {share:.0f} % of the members"

# By name: what it is, its paper, what it needs, and its cost; fields of the defense fit in.
DEFENSE_LINES: dict[str, tuple[str, str, str, str]] = {
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
    "convex_concave_loss": (
        "A concave term in the loss, which keeps the losses of members spread out",
        "Liu et al. 2024",
        "nothing",
        _ONE,
    ),
    "mist": (
        "Copies that learn from different members must agree on them; their weights are averaged",
        "Li et al. 2024",
        "nothing",
        "1 training, with 2 passes of each member through a copy and 1 through the others",
    ),
    "dyna_noise": (
        "Noise on the undefended model's logits, more on confident ones; labels may change",
        "Forough & Haddadi 2026",
        "nothing",
        _ONE,
    ),
    "distillation": (
        "A student of a teacher that saw the same members: SELENA without Split-AI",
        "",
        "nothing",
        "1 training, then 1 distillation",
    ),
    "dmp": (
        "A student that learns a teacher's answers to validation records and meets no member",
        "Shejwalkar & Houmansadr 2021",
        "validation records",
        "1 training, then 1 distillation on the validation records",
    ),
    "pate": (
        "A student of noisy votes of teachers that share no member, with a proven bound",
        "Papernot et al. 2018",
        "validation records",
        "{n_teachers} trainings on disjoint members, then 1 on the validation records",
    ),
    "top_k": (
        "Returns the probabilities of the k likeliest classes only",
        "Shokri et al. 2017",
        "nothing",
        _ONE,
    ),
    "label_output": ("Returns the label only", "Shokri et al. 2017", "nothing", _ONE),
}  # fmt: skip


def _each_query(attack: Any) -> str:
    return f"{attack.queries} queries per record"


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
    return f"{attack.runs} trainings of the target, which the attacks of this family share"


_ONCE = "1 query per record"

# By name: what the score of a record is, its paper, and its cost.
ATTACK_LINES: dict[str, tuple[str, str, str | Callable[[Any], str]]] = {
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
    "quantile": (
        "How far its confidence lies above what the model says to non-members like it",
        "Bertran et al. 2023",
        f"{_ONCE}, and 3 gradient boostings (images: 1 small network); trains no reference model",
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
        _each_query,
    ),
    "augmentation_classifier": (
        "The output of a classifier of which of those copies are correct",
        "Choquette-Choo et al. 2021",
        _each_query,
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
    "one_query": (
        "Whether it keeps its label under a perturbation by which surrogates lose it",
        "Peng et al. 2024",
        lambda attack: (
            f"1 query per record; {len(attack.thresholds)} per known record, and "
            f"{2 * attack.surrogates} trainings on half of the known non-members"
        ),
    ),
    "yoqo": (
        "Whether it keeps the label of a copy that only models which saw the record recognize",
        "Wu et al. 2024",
        lambda attack: (
            f"1 query per record; {attack.runs} trainings on half of the known records and the "
            "candidates"
        ),
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
    "parrot": (
        "LiRA's score, and the same of what is said about its nearest known records",
        "Jagielski et al. 2023",
        lambda attack: (
            f"{attack.runs} trainings of the target, shared with `lira` and `rmia`; 1 query per "
            "record and per known record"
        ),
    ),
    "bavaria": (
        "LiRA with variances that lean on those of all records: for few trainings",
        "Braennvall 2026",
        _reference,
    ),
    "empirical_bayes": (
        "LiRA with means and variances that lean on records answered alike: for few trainings",
        "Efron and Morris 1973",
        _reference,
    ),
    "base": (
        "`rmia` by another derivation, from the training's posterior",
        "Lassila et al. 2025",
        _reference,
    ),
    "lira_offline": (
        "How unusually confident it is for trainings that did not see it",
        "Carlini et al. 2022",
        _reference,
    ),
    "rmia_offline": (
        "The probability of its label over what trainings that did not see it lead to expect",
        "Zarifzadeh et al. 2024",
        _reference,
    ),
    "bavaria_offline": (
        "`lira_offline` with variances that lean on those of all records",
        "Braennvall 2026",
        _reference,
    ),
    "base_offline": (
        "The probability of its label over the mean of that in trainings that did not see it",
        "Lassila et al. 2025",
        _reference,
    ),
}  # fmt: skip
