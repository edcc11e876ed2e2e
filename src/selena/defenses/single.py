"""One network trained on all members: what most defenses come down to."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from selena.checks import check_records
from selena.networks import NetworkFactory
from selena.training.cohort import OnEpoch
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.model import NetworkModel
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


def fit_single(
    network: NetworkFactory,
    num_classes: int,
    recipe: Recipe,
    train: Records,
    validation: Records,
    *,
    name: str,
    seed: int,
    targets: Shaped[Tensor, "n *target"] | None = None,
    workspace: Workspace | None = None,
    on_epoch: OnEpoch | None = None,
) -> NetworkModel:
    """Train one network on all of `train`.

    Args:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how it is trained.
        train: members.
        validation: non-members, for `recipe.selection == "validation"`.
        name: what its kept artifact and its progress bar are called.
        seed: root of every draw.
        targets: what to learn instead of the labels, such as rows of probabilities.
        workspace: device, progress, and the folder for finished artifacts.
        on_epoch: see `fit_networks`.

    Raises:
        DataError: records that cannot be trained on.
    """
    workspace = workspace or Workspace()
    check_records(train, num_classes=num_classes, what="training records")
    (fitted,) = fit_networks(
        network,
        Examples(train.x, train.y if targets is None else targets),
        [Job(name, torch.arange(len(train)), seed)],
        recipe,
        validation=Examples(validation.x, validation.y),
        description=name.capitalize(),
        workspace=workspace,
        on_epoch=on_epoch,
    )
    return NetworkModel(fitted, num_classes, workspace.device)
