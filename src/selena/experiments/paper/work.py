"""How much work training and attacks are: counted from their settings before any is done.

Work is counted in named parts, since parts of one name are done once: MemGuard filters the
undefended model, whose labels it keeps, and all adaptive attacks of one audit share the attacker's
Split-AI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import ceil, log2

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack
from selena.attacks.augmentation import AUGMENTATIONS, AugmentationAttack
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.indirect import IndirectQueryAttack
from selena.attacks.neural import NeuralAttack
from selena.attacks.robustness import FIRST_COPIES
from selena.auditing.run import ASKED_TWICE
from selena.data.split import Partition
from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.defenses.memguard import TRIED, MemGuard
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.fingerprint import fingerprint
from selena.training.recipe import Recipe
from selena.types import Attack, Defense


@dataclass(frozen=True)
class Work:
    """Amounts of work.

    Attributes:
        networks: classifiers trained.
        steps: optimizer steps of classifiers.
        attack_networks: networks trained to tell members, by attacks and by defenses.
        attack_records: records that those are shown, epochs included.
        passes: records that classifiers predict outside of training.
        flipped: copies of records with flipped bits that classifiers label.
        searches: predictions for which MemGuard searches noise.
    """

    networks: int = 0
    steps: int = 0
    attack_networks: int = 0
    attack_records: int = 0
    passes: int = 0
    flipped: int = 0
    searches: int = 0

    def __add__(self, other: Work) -> Work:
        """Return both together."""
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


Pieces = dict[str, Work]


@dataclass(frozen=True)
class Sizes:
    """How many records take part.

    Attributes:
        members: trained on.
        validation: the defender's.
        test: non-members that are tested on.
        imitated: members that an attacker knows, on which a shadow trains.
        known: members and non-members (of each) that attacks are fitted on.
        scored: members and non-members (of each) that attacks are scored on.
    """

    members: int
    validation: int
    test: int
    imitated: int
    known: int
    scored: int

    @classmethod
    def of(cls, partition: Partition, records: int) -> Sizes:
        """Return the sizes that a partition of so many records gives."""
        members, validation = partition.members, partition.validation
        test = records - members - partition.reference - validation
        half = members // 2
        known, scored = min(half, partition.reference), min(members - half, test)
        return cls(members, validation, test, half, known, scored)


def training_work(defense: Defense, members: int, validation: int) -> Pieces:
    """Return what `defense` costs to fit on so many members and validation records.

    Raises:
        TypeError: a defense whose work nobody has counted yet.
    """
    name = fingerprint(defense, members)
    match defense:
        case Undefended():
            return {name: Work(networks=1, steps=_steps(defense.recipe, members))}
        case SplitAI():
            each = round(members * (1 - defense.n_nonmodels / defense.n_submodels))
            steps = defense.n_submodels * _steps(defense.recipe, each)
            return {name: Work(networks=defense.n_submodels, steps=steps)}
        case Selena():
            student = Work(
                networks=1,
                steps=_steps(defense.distillation, members),
                passes=members * defense.n_nonmodels,
            )
            return training_work(defense.split_ai, members, validation) | {name: student}
        case MemGuard():
            records = 2 * min(members, validation)
            inference = Work(
                attack_networks=1,
                attack_records=records * defense.inference.epochs,
                passes=records,
                searches=min(records, TRIED),
            )
            return training_work(defense.base, members, validation) | {name: inference}
        case AdversarialRegularization():
            return {name: _game(defense, members)}
    raise TypeError(f"The work of {type(defense).__name__} is not counted here.")


def audit_work(target: Defense, attacks: list[Attack], sizes: Sizes) -> Pieces:
    """Return what it costs to audit a model that `target` fitted."""
    # Accuracy is read from labels, which MemGuard gives without a search.
    artifacts = {
        f"accuracy of {fingerprint(target)}": Work(passes=sizes.members + sizes.test),
        f"steadiness of {fingerprint(target)}": _answers(target, 4 * min(ASKED_TWICE, sizes.known)),
    }
    for attack in attacks:
        # What labels tell of a filtered model is what they tell of the one behind the filter.
        behind = target.base if isinstance(target, MemGuard) else target
        asked = fingerprint(behind if attack.access == "label" else target)
        work = _attack_work(attack, target, sizes)
        artifacts |= {f"{name} of {asked}": each for name, each in work.items()}
    return artifacts


def _attack_work(attack: Attack, target: Defense, sizes: Sizes) -> Pieces:
    known, every = 2 * sizes.known, 2 * (sizes.known + sizes.scored)
    match attack:
        case FlipNoiseAttack(flips=strengths):
            return {attack.name: Work(flipped=_copies(attack, strengths, known, every))}
        case GaussianNoiseAttack(sigmas=strengths):
            return {attack.name: Work(passes=_copies(attack, strengths, known, every))}
        case AugmentationAttack():
            return {attack.name: Work(passes=every * len(AUGMENTATIONS))}
        case IndirectQueryAttack():
            tried = len(attack.tried) * known + every
            return {attack.name: _answers(target, tried * (attack.copies + 1))}
    # The others read one answer a record, which the audit remembers for all of them.
    artifacts = {"answers": _answers(target, every)}
    match attack:
        case NeuralAttack():
            artifacts[attack.name] = _answers(target, known) + _attack_network(attack, sizes)
        case ShadowDistanceAttack(split_ai=shadow) | ShadowNeuralAttack(split_ai=shadow):
            artifacts |= training_work(shadow, sizes.imitated, sizes.known)
            own = Work(passes=every * shadow.n_nonmodels)
            if isinstance(attack, ShadowNeuralAttack):
                own += _attack_network(attack.network, sizes)
            artifacts[attack.name] = own
    return artifacts


def _answers(target: Defense, n: int) -> Work:
    return Work(passes=n, searches=n if isinstance(target, MemGuard) else 0)


def _steps(recipe: Recipe, records: int) -> int:
    return recipe.epochs * ceil(records / recipe.batch_size)


def _attack_network(attack: NeuralAttack, sizes: Sizes) -> Work:
    records = round(2 * sizes.known * (1 - attack.held_out))
    return Work(attack_networks=1, attack_records=records * attack.epochs)


def _game(defense: AdversarialRegularization, members: int) -> Work:
    """Count the steps of both players; each of the adversary's sees one batch a side."""
    steps = _steps(defense.recipe, members)
    an_epoch = ceil(members / defense.recipe.batch_size)
    played = max(0, defense.recipe.epochs - defense.warm_up_epochs) * an_epoch
    records = (
        2
        * defense.recipe.batch_size
        * (played * defense.attack_batches + defense.attack_passes * an_epoch)
    )
    return Work(networks=1, steps=steps, attack_networks=1, attack_records=records, passes=records)


def _copies(
    attack: FlipNoiseAttack | GaussianNoiseAttack,
    strengths: Sequence[float] | float,
    known: int,
    every: int,
) -> int:
    """Count the queries of `selena.attacks.robustness.fit_strength` and of the final scores."""
    each = float(attack.copies)
    if attack.search == "halving" and attack.copies > FIRST_COPIES:
        each = FIRST_COPIES + FIRST_COPIES / 2 * log2(attack.copies / FIRST_COPIES)
    count = len(strengths) if isinstance(strengths, Sequence) else 1
    tried = 0 if count == 1 else round(count * each) * known
    return tried + every * attack.copies
