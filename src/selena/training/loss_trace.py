"""Records the loss of every record after every epoch of one training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from selena.errors import DataError
from selena.training.inference import predict
from selena.training.job import Job
from selena.training.losses import per_example_loss
from selena.types import Records


class LossTrace:
    """The cross-entropy of each record after each epoch, for `selena.attacks.lt_iqr_scores`.

    With this library's defenses of one network:

        model, trace = defense.fit_with_trace(train, validation)

    In your own training loop, after each epoch:

        trace.add(network(train.x))

    Cost: one prediction of all records per epoch.

    Attributes:
        records: whose losses are recorded, in this order.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._epochs: dict[int, Float64[np.ndarray, " n"]] = {}

    def __repr__(self) -> str:
        return f"LossTrace({len(self._epochs)} epochs of {len(self.records):,} records)"

    def add(self, logits: Any) -> None:
        """Record an epoch.

        Args:
            logits: n x classes, a tensor or an array; of the records in their order, without
                augmentation and in evaluation mode.

        Raises:
            DataError: no row per record, or too few classes.
        """
        self._keep(len(self._epochs) + 1, torch.as_tensor(logits).detach().cpu())

    def __call__(self, job: Job, epoch: int, network: nn.Module) -> None:
        """Record an epoch that `fit_networks` reports; an epoch reported twice counts once."""
        device = next((str(each.device) for each in network.parameters()), "cpu")
        self._keep(epoch, predict(network, self.records.x, device=device))

    def _keep(self, epoch: int, logits: torch.Tensor) -> None:
        n, most = len(self.records), int(self.records.y.max())
        if logits.ndim != 2 or len(logits) != n or logits.shape[1] <= most:
            raise DataError(
                f"The logits of an epoch have shape {tuple(logits.shape)}. Give one row for each "
                f"of the {n} records, with {most + 1} classes or more."
            )
        losses = per_example_loss(logits.double(), self.records.y, "cross_entropy")
        self._epochs[epoch] = losses.numpy()

    @property
    def losses(self) -> Float64[np.ndarray, "epochs n"]:
        """Losses in nats, epochs x n, in the order of epochs.

        Raises:
            DataError: no epoch was recorded.
        """
        if not self._epochs:
            raise DataError(
                "No epoch was recorded. Use a workspace in whose folder this training is not "
                "already finished, or call add after each epoch of your own loop."
            )
        return np.stack([self._epochs[epoch] for epoch in sorted(self._epochs)])
