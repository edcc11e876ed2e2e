"""Adaptive attacks: the attacker imitates the defense by a Split-AI on the members it knows.

Tang et al. 2022, Section 5.2 (adaptive attacks). SELENA's student learned to answer members as the
defender's Split-AI does. The attacker's shadow of that Split-AI, with half of the members and its
own sets, predicts these answers. The distance of the protected answer from this prediction reveals
something about membership.

A known member is answered by its own L non-models in the shadow, as the defender's Split-AI answers
every member. Any other record is answered by an L-set that a keyed hash draws. So no record is
answered by sub-models that trained on it, and thresholds are not fitted on overfitted answers
(unless a known member has a near-duplicate).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import log_softmax, softmax
from torch import Tensor

from selena.attacks.neural import NeuralAttack, NeuralFitting, NeuralScorer
from selena.attacks.robustness import fitted_accuracy
from selena.defenses.split_ai import SplitAI, SplitAIModel
from selena.environment.fingerprint import fingerprint, tensor_digest
from selena.errors import ConfigError
from selena.seeding import child_seed
from selena.training.model import MemoizedTarget
from selena.training.plans import Plan
from selena.types import (
    Access,
    Dataset,
    Family,
    MembershipSets,
    Needs,
    Oracle,
    Records,
    TargetModel,
)
from selena.workspace import Workspace

Comparison = Literal["cross_entropy", "squared_l2"]
Direction = Literal["auto", "+", "-"]
Inputs = Literal["difference", "both"]

_LOG_TINY = -104.0
"""Replaces log 0; it is below the logarithm of every positive float32."""


def train_shadow(
    split_ai: SplitAI,
    known: MembershipSets,
    *,
    shadow_seed: int,
    workspace: Workspace | None = None,
) -> SplitAIModel:
    """Return the attacker's Split-AI on the known members.

    Its seed depends on `shadow_seed` and on the known members, not on the attack. So in a workspace
    with a folder all attacks of one audit share one shadow, trained once. If the recipe selects
    epochs by validation, the known non-members are the validation records.
    """
    members = known.all_members
    seed = child_seed(shadow_seed, "shadow Split-AI", tensor_digest(members.ids))
    return split_ai.fit(members, known.non_members, seed=seed, workspace=workspace)


def _shadow(
    split_ai: SplitAI, known: MembershipSets, shadow_seed: int, workspace: Workspace | None
) -> TargetModel:
    """Return the shadow, which all attacks in a workspace share and which remembers answers."""
    workspace = workspace or Workspace()
    sides = [tensor_digest(*r.tensors) for r in (known.all_members, known.non_members)]
    name = fingerprint("shadow", split_ai, sides, shadow_seed)
    return workspace.share(
        name,
        lambda: MemoizedTarget(
            train_shadow(split_ai, known, shadow_seed=shadow_seed, workspace=workspace)
        ),
    )


def planned_shadow(plan: Plan, data: Dataset) -> SplitAI:
    """Return the Split-AI of an attacker who knows the defender's `plan`."""
    epochs = plan.shadow_epochs or plan.training.epochs
    return SplitAI.from_plan(replace(plan, training=replace(plan.training, epochs=epochs)), data)


@dataclass(frozen=True)
class ShadowDistanceAttack:
    """Scores a record by the distance between the protected answer and the shadow's.

    Attributes:
        split_ai: the attacker's imitation of the defender's Split-AI.
        signal: "cross_entropy", -sum of p_shadow log p_protected, which the student minimised on
            members; or "squared_l2" between the two vectors.
        direction: "+" if members' answers are nearer to the shadow's, "-" if they are farther,
            "auto" for the one that fits known records better.
        shadow_seed: root of the shadow's draws; attacks that share it share the shadow.
    """

    family: ClassVar[Family] = "adaptive"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "features"

    split_ai: SplitAI
    signal: Comparison = "cross_entropy"
    direction: Direction = "auto"
    _: KW_ONLY
    shadow_seed: int = 0

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset, signal: Comparison) -> ShadowDistanceAttack:
        """Return the attack of a shadow that trains as `plan` says."""
        return cls(planned_shadow(plan, data), signal)

    def __post_init__(self) -> None:
        if self.signal not in ("cross_entropy", "squared_l2"):
            raise ConfigError(
                f"signal={self.signal!r} is unknown; use cross_entropy or squared_l2."
            )
        if self.direction not in ("auto", "+", "-"):
            raise ConfigError(f'direction={self.direction!r} is unknown; use "auto", "+" or "-".')

    @property
    def name(self) -> str:
        """The name it has in reports."""
        sign = "" if self.direction == "auto" else self.direction
        return f"shadow_{self.signal}{sign}"

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> ComparisonScorer:
        """Train the shadow, or find it, and choose the direction on known records."""
        shadow = _shadow(self.split_ai, known, self.shadow_seed, workspace)
        nearer = ComparisonScorer(oracle, shadow, self.signal, 1, known)
        farther = ComparisonScorer(oracle, shadow, self.signal, -1, known)
        if self.direction != "auto":
            return nearer if self.direction == "+" else farther
        records, truth = known.joined()
        scores = nearer.score(records).numpy()
        fits = [fitted_accuracy(sign * scores, truth.numpy()) for sign in (1, -1)]
        return nearer if fits[0] >= fits[1] else farther


@dataclass(frozen=True)
class ComparisonScorer:
    """Compares the protected answer with the shadow's.

    Attributes:
        oracle: gives the protected answers.
        shadow: the attacker's Split-AI.
        signal: how they are compared.
        sign: 1 if nearer means member, -1 if farther does.
        calibration: all known records.
    """

    oracle: Oracle
    shadow: TargetModel
    signal: Comparison
    sign: Literal[1, -1]
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the signed negative distance of the two answers, float64."""
        protected = self.oracle.logits(candidates.x).double().numpy()
        guess = softmax(self.shadow.logits(candidates.x).double().numpy(), axis=1)
        if self.signal == "cross_entropy":
            log_protected = np.maximum(log_softmax(protected, axis=1), _LOG_TINY)
            nearness = (guess * log_protected).sum(axis=1)
        else:
            nearness = -((softmax(protected, axis=1) - guess) ** 2).sum(axis=1)
        return torch.from_numpy(self.sign * nearness)


@dataclass(frozen=True)
class ShadowNeuralAttack:
    """Trains a network to tell members by the protected answer, the shadow's and the label.

    Attributes:
        split_ai: the attacker's imitation of the defender's Split-AI.
        inputs: "difference" of the two vectors (the paper's first), or "both" (its second).
        towers: for "both", the number of towers of the attack network: 1 for both vectors
            together, or 2, one per vector, as in the authors' network. Two may find more, but learn
            nothing from only a few dozen known records.
        network: how the attack network is trained.
        shadow_seed: root of the shadow's draws; attacks that share it share the shadow.
    """

    family: ClassVar[Family] = "adaptive"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "features"

    split_ai: SplitAI
    inputs: Inputs = "difference"
    network: NeuralAttack = field(default_factory=NeuralAttack)
    _: KW_ONLY
    towers: Literal[1, 2] = 1
    shadow_seed: int = 0

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset, inputs: Inputs) -> ShadowNeuralAttack:
        """Return the attack of a shadow and a network that train as `plan` says."""
        return cls(planned_shadow(plan, data), inputs, NeuralAttack.from_plan(plan, data))

    def __post_init__(self) -> None:
        if self.inputs not in ("difference", "both"):
            raise ConfigError(f"inputs={self.inputs!r} is unknown; use difference or both.")
        if self.towers not in (1, 2):
            raise ConfigError(f"towers is {self.towers}; use 2, one per vector, or 1.")

    @property
    def name(self) -> str:
        """The name it has in reports."""
        return f"shadow_neural_{self.inputs}"

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NeuralScorer:
        """Train the shadow, or find it, then the attack network.

        Raises:
            DataError: fewer than two known members or non-members.
        """
        workspace = workspace or Workspace()
        return self.prepare(oracle, known, seed=seed, workspace=workspace).train([], workspace)[0]

    def prepare(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NeuralFitting:
        """Train the shadow, or find it, and compare its answers with the target's; see `fit`."""
        shadow = _shadow(self.split_ai, known, self.shadow_seed, workspace)

        def observe(records: Records) -> Float[Tensor, "n w"]:
            protected = oracle.logits(records.x).double().softmax(dim=1)
            guess = shadow.logits(records.x).double().softmax(dim=1)
            if self.inputs == "difference":
                return (protected - guess).float()
            return torch.cat([protected, guess], dim=1).float()

        vectors = self.towers if self.inputs == "both" else 1
        return self.network.prepare_on(
            observe, oracle.num_classes, known, seed=seed, vectors=vectors
        )
