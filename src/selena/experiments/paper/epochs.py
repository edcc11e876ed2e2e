"""The undefended model after every epoch of one training, for Figure 4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor, nn

from selena.defenses.single import fit_single
from selena.defenses.undefended import Undefended
from selena.environment.fingerprint import (
    TRAINING_CODE,
    code_digest,
    fingerprint,
    tensor_digest,
)
from selena.environment.processor import numeric_environment
from selena.errors import StoreError
from selena.training.job import Job
from selena.training.model import NetworkModel, restore_network
from selena.types import Records
from selena.workspace import Workspace


def every_epoch(
    undefended: Undefended,
    train: Records,
    validation: Records,
    *,
    seed: int,
    workspace: Workspace | None = None,
) -> Iterator[tuple[int, NetworkModel]]:
    """Train one undefended model and yield (epoch, model after that epoch), from epoch 1.

    One training serves the whole of Figure 4. Each model equals `EarlyStopping` at that epoch,
    except that weights are kept in float16. They are artifacts of the workspace, from which killed
    training resumes; without a folder they stay in memory.

    Raises:
        StoreError: an epoch's artifact was deleted after the run was finished.
    """
    workspace = workspace or Workspace()
    recipe = replace(undefended.recipe, selection="last")
    digest, numeric = tensor_digest(train.x, train.y), numeric_environment(workspace.device)
    code = code_digest(*TRAINING_CODE, "experiments/paper/epochs.py")
    key = fingerprint(undefended, digest, seed, code, numeric)
    in_memory: dict[str, dict[str, Tensor]] = {}

    def name(epoch: int) -> str:
        return f"epoch-{epoch}-{key[:24]}"

    def keep(_job: Job, epoch: int, network: nn.Module) -> None:
        # Copies, because training continues in the network's own tensors. Statistics of features
        # may be too large for float16 and stay as they are.
        weights = {key: t.detach().cpu().clone() for key, t in network.state_dict().items()}
        weights |= {key: weights[key].half() for key, _ in network.named_parameters()}
        if workspace.folder is None:
            in_memory[name(epoch)] = weights
        else:
            workspace.save(name(epoch), weights)

    fit_single(
        undefended.network,
        undefended.num_classes,
        recipe,
        train,
        validation,
        name="every-epoch",
        seed=seed,
        workspace=workspace,
        on_epoch=keep,
    )
    for epoch in range(1, recipe.epochs + 1):
        weights = in_memory.pop(name(epoch), None) or workspace.load(name(epoch))
        if weights is None:
            raise StoreError(f"{workspace.folder} lacks epoch {epoch}. Delete the folder.")
        model = restore_network(undefended.network, undefended.num_classes, weights)
        yield (
            epoch,
            replace(model, network=model.network.to(workspace.device), device=workspace.device),
        )
