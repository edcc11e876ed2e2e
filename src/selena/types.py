"""The basic types of the library, and the protocols of models, attacks and defenses.

An attack gets an `Oracle` and the records that the attacker knows, and returns a `Scorer`. Only the
audit knows the truth about membership. A higher score always means "member".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from selena.errors import DataError
from selena.files.escaping import shorten
from selena.workspace import Workspace

Access = Literal["label", "logits", "gradient"]
"""What an attack may ask the oracle for; each level includes those before it."""

Family = Literal["direct", "label-only", "adaptive", "reference-model"]
"""The attack families: those of the paper's Table 2, and later ones."""

Needs = Literal["predictions", "features", "training"]
"""What an attack needs: answers about unchanged records, as in a table of predictions; features,
which it changes or trains on; or the target's training, which it repeats."""

FeatureKind = Literal["binary", "continuous", "image"]


@dataclass(frozen=True, eq=False)
class Records:
    """Labelled records: features, labels, ids, and subjects if there are any.

    Attributes:
        x: features, n x anything: bits uint8 {0, 1}, images uint8 [0, 255], others float32.
        y: class labels, int64 in [0, number of classes).
        ids: row numbers in the data set they came from, int64.
        subjects: number of each record's person (household, device, ...), int64, -1 for none; None
            if no record has one. Split-AI and splits keep the records of a subject together, and
            an audit gives each subject one score.
    """

    x: Shaped[Tensor, "n *features"]
    y: Int[Tensor, " n"]
    ids: Int[Tensor, " n"]
    subjects: Int[Tensor, " n"] | None = None

    def __post_init__(self) -> None:
        n = self.x.shape[0] if self.x.ndim else 0
        if self.y.shape != (n,) or self.ids.shape != (n,):
            raise DataError(
                f"Shapes disagree: x holds {n} records, y has shape {tuple(self.y.shape)}, "
                f"ids {tuple(self.ids.shape)}. Give one label and one id per record."
            )
        if self.subjects is not None and self.subjects.shape != (n,):
            raise DataError(
                f"Shapes disagree: x holds {n} records, subjects has shape "
                f"{tuple(self.subjects.shape)}. Give one per record, -1 for a record without one."
            )

    def __repr__(self) -> str:
        shape, kind = tuple(self.x.shape[1:]), str(self.x.dtype).removeprefix("torch.")
        return f"Records({len(self):,} of shape {shape}, {kind})"

    def __len__(self) -> int:
        return self.x.shape[0]

    def take(self, rows: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> Records:
        """Return the records at `rows` (indices or a mask), in that order."""
        return Records(*(tensor[rows] for tensor in self.tensors))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the records: x, y, ids, and subjects if there are any."""
        whole = (self.x, self.y, self.ids)
        return whole if self.subjects is None else (*whole, self.subjects)


def concatenate(*parts: Records) -> Records:
    """Join records one after another; features must agree in shape and type."""
    shapes = {(tuple(p.x.shape[1:]), p.x.dtype) for p in parts}
    if len(shapes) != 1:
        raise DataError(f"Cannot join records of different features: {sorted(map(str, shapes))}.")
    if len(parts) == 1:
        return parts[0]
    if any(p.subjects is not None for p in parts):
        parts = tuple(
            p if p.subjects is not None else replace(p, subjects=_alone(p)) for p in parts
        )
    return Records(*map(torch.cat, zip(*(p.tensors for p in parts), strict=True)))


def _alone(records: Records) -> Int[Tensor, " n"]:
    return torch.full((len(records),), -1)


@dataclass(frozen=True)
class Dataset:
    """Records with what is needed to split and train on them.

    Attributes:
        name: its registered name, or the file it came from.
        records: all records.
        num_classes: number of classes.
        features: "binary" (bits), "continuous" or "image".
        recipe: name of the training recipe it uses by default.
        n_members: number of training records of the target model by default.
        source: where the records come from, in words.
        synthetic: whether the records are synthetic, without real persons or objects.
        member_pool: which records members are drawn from; None for all of them.
        class_names: names of the classes, if the original labels were not their numbers.
    """

    name: str
    records: Records
    _: KW_ONLY
    num_classes: int
    features: FeatureKind
    recipe: str
    n_members: int
    source: str
    synthetic: bool = False
    member_pool: Bool[Tensor, " n"] | None = None
    class_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        made_up = ", synthetic" if self.synthetic else ""
        return (
            f"Dataset({shorten(self.name, 60)!r}, {self.records}, {self.num_classes:,} classes, "
            f"{self.features}{made_up})"
        )


@dataclass(frozen=True)
class MembershipSets:
    """Members and non-members.

    Attributes:
        members, non_members: the records; attacks always get equal numbers of both.
        extra_members: further known members; an attacker who imitates the target trains on them.
        candidates: the records that a reference-model attack will score, shuffled.
    """

    members: Records
    non_members: Records
    extra_members: Records | None = None
    candidates: Records | None = None

    @property
    def all_members(self) -> Records:
        """Every known member."""
        more = [] if self.extra_members is None else [self.extra_members]
        return concatenate(self.members, *more)

    def joined(self) -> tuple[Records, Bool[Tensor, " n"]]:
        """Return members then non-members, and the truth (True = member)."""
        records = concatenate(self.members, self.non_members)
        return records, torch.arange(len(records)) < len(self.members)


@dataclass(frozen=True)
class AuditSplit:
    """Disjoint sets of records to train and audit one target model on: five, and canaries.

    Attributes:
        known: the records that the attacker knows: half of the members, and the reference
            non-members.
        evaluation: the scored records: the other half, and the test non-members.
        validation: non-members for selecting models; never scored.
        canaries: planted records (`data/canaries.py`), scored separately; their `extra_members`
            are not scored.
    """

    known: MembershipSets
    evaluation: MembershipSets
    validation: Records
    canaries: MembershipSets | None = None

    def __repr__(self) -> str:
        return f"AuditSplit({', '.join(f'{name}={n}' for name, n in self.sizes().items())})"

    @property
    def train(self) -> Records:
        """The target model's training set: known members, evaluation members, canaries."""
        planted = [] if self.canaries is None else [self.canaries.all_members]
        return concatenate(self.known.members, self.evaluation.members, *planted)

    def sizes(self) -> dict[str, int]:
        """Return the numbers of records in the sets, by name, with canaries if there are any."""
        sets = {
            "known_members": self.known.members,
            "known_non_members": self.known.non_members,
            "evaluation_members": self.evaluation.members,
            "evaluation_non_members": self.evaluation.non_members,
            "validation": self.validation,
        }
        if self.canaries is not None:
            sets["canaries_trained_on"] = self.canaries.members
            sets["canaries_left_out"] = self.canaries.non_members
        return {name: len(records) for name, records in sets.items()}


@runtime_checkable
class TargetModel(Protocol):
    """A classifier that answers queries with logits, or with logarithms of probabilities."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits (or log-probabilities), float32 on the CPU; softmax gives probabilities."""


@runtime_checkable
class StoredModel(TargetModel, Protocol):
    """A target model that can be saved; its defense's `restore` rebuilds it."""

    def state(self) -> dict[str, Tensor]:
        """Return everything needed to answer queries, as named tensors."""


@runtime_checkable
class DifferentiableModel(TargetModel, Protocol):
    """A target model whose gradients an attacker with the model file could read."""

    def differentiable_logits(self, x: Float[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits through which gradients flow back to `x`, which may be on any device."""


@runtime_checkable
class FilterModel(TargetModel, Protocol):
    """A target model that changes the answers of another model, but never the predicted label."""

    @property
    def labels_of(self) -> TargetModel:
        """The model behind the filter, which can answer queries for labels."""


@runtime_checkable
class FlipModel(TargetModel, Protocol):
    """A target model that computes the labels of bit-flipped records faster."""

    def flipped_labels(
        self, x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]
    ) -> Int[Tensor, "n k"]:
        """Return the predicted label of each record under each pattern of flipped bits."""


@runtime_checkable
class Oracle(Protocol):
    """Answers an attack's queries to a target model; queries beyond the declared access raise."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""

    def labels(self, x: Shaped[Tensor, "n *features"]) -> Int[Tensor, " n"]:
        """Return predicted labels."""

    def flipped_labels(
        self, x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]
    ) -> Int[Tensor, "n k"]:
        """Return the predicted label of each record under each pattern of flipped bits."""

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits; needs access "logits"."""

    def differentiable_logits(self, x: Float[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits through which gradients flow back to `x`; needs access "gradient"."""


@runtime_checkable
class Scorer(Protocol):
    """A fitted attack."""

    @property
    def calibration(self) -> MembershipSets:
        """The known records on which thresholds may be fitted.

        For a plain statistic these are all known records. For a scorer that was trained on known
        records, they are the held-out part, so that thresholds are not fitted on overfitted scores.
        """

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return one score per candidate; higher means member."""


@runtime_checkable
class Attack(Protocol):
    """A membership inference attack: frozen hyperparameters and `fit`.

    A property that is the same for all attacks of a class is a class variable
    (`family: ClassVar[Family] = "direct"`).
    """

    @property
    def name(self) -> str:
        """The name in reports."""

    @property
    def family(self) -> Family:
        """The family it is listed under."""

    @property
    def access(self) -> Access:
        """What it may ask the oracle for."""

    @property
    def needs(self) -> Needs:
        """What it needs to run; with "training" it also gets the candidates."""

    def fit(
        self, oracle: Oracle, known: MembershipSets, *, seed: int, workspace: Workspace = ...
    ) -> Scorer:
        """Learn from the records that the attacker knows and return a scorer."""


@runtime_checkable
class Fitting(Protocol):
    """A partly fitted attack: it has asked all its queries, but its network is untrained."""

    def train(self, others: Sequence[Any], workspace: Workspace) -> Sequence[Scorer]:
        """Train its network and those of `others`, of the same type, side by side if possible.

        Returns:
            Its own scorer, then those of `others` in order. Each equals the scorer of training
            alone (except for rounding on an accelerator, where networks share products).
        """


@runtime_checkable
class TrainingAttack(Attack, Protocol):
    """An attack that trains a network, which may be trained together with others' networks."""

    def prepare(
        self, oracle: Oracle, known: MembershipSets, *, seed: int, workspace: Workspace = ...
    ) -> Fitting:
        """Ask all queries that training needs; `fit` is this followed by `Fitting.train`."""


@runtime_checkable
class Defense(Protocol):
    """A way of training (or wrapping) a classifier: frozen hyperparameters and `fit`."""

    def fit(
        self, train: Records, validation: Records, *, seed: int, workspace: Workspace = ...
    ) -> StoredModel:
        """Return a new fitted target model; a defense itself answers no queries."""

    def restore(self, state: dict[str, Tensor]) -> StoredModel:
        """Rebuild the target model from `StoredModel.state`, on the device of the state."""
