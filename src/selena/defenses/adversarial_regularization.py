"""Adversarial regularization: a classifier that trains against a membership inference network.

Nasr, Shokri, Houmansadr, "Machine Learning with Membership Privacy using Adversarial
Regularization", CCS 2018, Algorithm 1, with the schedule of Tang et al. 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from itertools import count

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from selena.data.checks import check_records, check_same_features
from selena.errors import ConfigError, TrainingError
from selena.networks import NetworkFactory
from selena.networks.membership import MembershipNetwork
from selena.seeding import seeded, torch_generator
from selena.training.augment import random_crop_flip
from selena.training.batches import as_input, shuffled_batches
from selena.training.forward import forward_in
from selena.training.losses import per_example_loss
from selena.training.model import NetworkModel, restore_network
from selena.training.optimizer import Optimizer
from selena.training.own_loop import OwnLoop
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Dataset, Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class AdversarialRegularization:
    """Trains a classifier against a network h(prediction, label) that guesses membership.

    Training starts with `warm_up_epochs` ordinary epochs and `attack_passes` passes of h over the
    members. Then `attack_batches` steps of h precede each classifier step. The classifier minimises
    cross-entropy + alpha (mean h on the batch - 1/2). h minimises the squared error of its
    membership guess on equal batches of members and reference records.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how the classifier is trained.
        alpha: weight of privacy, >= 0; 3 for Purchase100, 2 for Texas100, 6 for CIFAR-100.
        warm_up_epochs: ordinary epochs; 1, or 4 for CIFAR-100.
        attack_passes: passes of h between warm-up and game.
        attack_batches: steps of h per classifier step; 13, or 1 for CIFAR-100.
        attack_recipe: optimizer, rate and precision of h; rate 1e-4, or 1e-3 for Texas100. Its
            batches have the classifier's size, and the game sets its epochs.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    alpha: float = 3.0
    warm_up_epochs: int = 1
    attack_passes: int = 5
    attack_batches: int = 13
    attack_recipe: Recipe = field(default_factory=lambda: Recipe(learning_rate=1e-4))

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> AdversarialRegularization:
        """Return the defense that `plan` describes."""
        game, recipe = plan.adversary, plan.training
        return cls(
            plan.network(data),
            data.num_classes,
            replace(recipe, learning_rate=game.learning_rate),
            alpha=game.alpha,
            warm_up_epochs=game.warm_up_epochs,
            attack_batches=game.attack_batches,
            attack_recipe=Recipe(
                batch_size=recipe.batch_size, learning_rate=game.attack_learning_rate
            ),
        )

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ConfigError(f"alpha is {self.alpha}; it must be at least 0.")
        if min(self.warm_up_epochs, self.attack_passes, self.attack_batches) < 0:
            raise ConfigError(f"warm_up_epochs, attack_passes, attack_batches >= 0; got {self}.")
        if self.recipe.loss != "cross_entropy":
            raise ConfigError("Adversarial regularization adds to the loss cross_entropy only.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Play the game; `validation` is the defender's reference set.

        Raises:
            DataError: no reference records, or invalid records.
            TrainingError: a loss that is no longer finite.
        """
        workspace = workspace or Workspace()
        references = "reference records of adversarial regularization"
        check_records(train, num_classes=self.num_classes, what="training records")
        check_records(validation, num_classes=self.num_classes, what=references)
        check_same_features(train, validation, what="training and reference records")
        game = _Game(self, train, validation, seed, workspace)
        return NetworkModel(game.play(), self.num_classes, workspace.device)

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the classifier from its `state`."""
        return restore_network(self.network, self.num_classes, state)


class _Game:
    """State of the game: both networks, their records and their draws."""

    def __init__(
        self,
        settings: AdversarialRegularization,
        members: Records,
        references: Records,
        seed: int,
        workspace: Workspace,
    ) -> None:
        self._settings = settings
        self._seed = seed
        self._crops = torch_generator(seed, "augmentation")
        self._device = workspace.torch_device
        self._members = members.x.to(self._device), members.y.to(self._device)
        self._references = references.x.to(self._device), references.y.to(self._device)
        with seeded(seed, "inference network"):
            build = MembershipNetwork(settings.num_classes, settings.num_classes)
            self._inference = build().to(self._device)
        self._attack = Optimizer(self._inference.parameters(), settings.attack_recipe)
        self._loop = OwnLoop(
            settings,
            "adversarial-regularization",
            members,
            references,
            seed=seed,
            workspace=workspace,
            beside={"inference": self._inference, "attack": self._attack},
        )
        dtypes = (r.compute_dtype(self._device) for r in (settings.recipe, settings.attack_recipe))
        self._players = (self._loop.network, self._inference)
        self._classify, self._infer = (
            forward_in(dtype, network, self._device)
            for dtype, network in zip(dtypes, self._players, strict=True)
        )

    def play(self) -> nn.Module:
        """Return the trained classifier, in evaluation mode."""
        # Epochs before the game protect no member, so none of them is selected.
        return self._loop.run(self._epoch, first_choice=self._settings.warm_up_epochs)

    def _epoch(self, epoch: int) -> None:
        recipe, warm_up = self._settings.recipe, self._settings.warm_up_epochs
        self._crops = torch_generator(self._seed, "augmentation", epoch)
        generator = torch_generator(self._seed, "batches", epoch)
        batches = shuffled_batches(self._loop.rows, recipe.batch_size, generator)
        pairs = self._attack_pairs(epoch)
        if epoch == warm_up:
            for _ in range(self._settings.attack_passes * len(batches)):
                self._attack_step(*next(pairs))
        total = torch.zeros((), device=self._device)
        for step, rows in enumerate(batches):
            if epoch >= warm_up:
                for _ in range(self._settings.attack_batches):
                    self._attack_step(*next(pairs))
            total += self._classifier_step(rows, private=epoch >= warm_up)
            self._loop.step(recipe.rate_at(epoch, step, len(batches)))
        if not bool(torch.isfinite(total)):
            raise TrainingError(
                f"Adversarial regularization: the loss is not finite after epoch {epoch + 1}. "
                "Lower the learning rates or alpha."
            )

    def _attack_pairs(self, epoch: int) -> Iterator[tuple[Int[Tensor, " b"], Int[Tensor, " b"]]]:
        """Yield batches of members and references forever; a used-up set is reshuffled."""
        sides = (("members", self._members[1]), ("references", self._references[1]))
        yield from zip(
            *(self._rounds(len(labels), "attack", side, epoch) for side, labels in sides),
            strict=True,
        )

    def _rounds(self, n: int, *path: str | int) -> Iterator[Int[Tensor, " b"]]:
        size = self._settings.recipe.batch_size
        for turn in count():
            yield from shuffled_batches(
                torch.arange(n), size, torch_generator(self._seed, *path, turn)
            )

    def _attack_step(self, member_rows: Tensor, reference_rows: Tensor) -> None:
        """Train the inference network on one batch per side, with equal weights."""
        self._loop.network.eval()
        sides = zip(self._members, self._references, strict=True)
        x, y = (torch.cat([mine[member_rows], theirs[reference_rows]]) for mine, theirs in sides)
        with torch.no_grad():
            logits = self._logits(x)
        guesses = self._membership(logits, y)
        of_members, of_references = guesses.split([len(member_rows), len(reference_rows)])
        loss = (((of_members - 1) ** 2).mean() + (of_references**2).mean()) / 2
        loss.backward()
        self._attack.step(self._settings.attack_recipe.learning_rate)

    def _classifier_step(self, rows: Int[Tensor, " b"], *, private: bool) -> Float[Tensor, ""]:
        """Give the classifier its gradients on members `rows`; return the loss."""
        self._loop.network.train()
        x, y = self._members
        logits = self._logits(x[rows])
        loss = per_example_loss(logits, y[rows], "cross_entropy").mean()
        if private:
            self._inference.requires_grad_(False)
            loss = loss + self._settings.alpha * (self._membership(logits, y[rows]).mean() - 0.5)
            self._inference.requires_grad_(True)
        loss.backward()
        return loss.detach()

    def _logits(self, x: Tensor) -> Float[Tensor, "b c"]:
        recipe = self._settings.recipe
        if recipe.augmentation == "crop_flip":
            # In the steps of both networks, so that h sees predictions as in training.
            x = random_crop_flip(x, self._crops)
        return self._classify(as_input(x, recipe.compute_dtype(self._device)))

    def _membership(
        self, logits: Float[Tensor, "b c"], y: Int[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        """Return h, the probability of membership."""
        label = functional.one_hot(y, self._settings.num_classes).float()
        return self._infer(torch.cat([logits.softmax(dim=1), label], dim=1)).squeeze(1)
