"""Networks that train side by side, step for step, each on its own batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selena.errors import TrainingError
from selena.seeding import seeded, torch_generator
from selena.training.augment import random_crop_flip
from selena.training.batches import as_input, shuffled_batches
from selena.training.forward import forward_in
from selena.training.inference import accuracy
from selena.training.job import Examples, Job
from selena.training.lane import Lane
from selena.training.losses import per_example_loss
from selena.training.recipe import Recipe
from selena.training.stack import Alone, Lanes, Stacked, keeps_statistics
from selena.workspace import Step, Workspace

OnEpoch = Callable[[Job, int, nn.Module], None]
"""Told after each epoch: the job, how many epochs lie behind it, and its network as it is."""


class Group:
    """Lanes that share each step; one lane alone runs its network as it is."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        examples: Examples,
        recipe: Recipe,
        validation: Examples | None,
        workspace: Workspace,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        device = workspace.torch_device
        self._lanes = lanes
        self._fillings = {lane: lane.job.rows[:1].clone() for lane in lanes}
        self._log = workspace.log
        self._x = examples.x.to(device)
        self._target = examples.target.to(device)
        self._recipe = recipe
        self._validation = validation
        self._device = device
        self._on_epoch = on_epoch
        self._dtype = recipe.compute_dtype(device)
        # Statistics are of float32 numbers, and a stack of them takes no others.
        exact = keeps_statistics(lanes[0].network)
        self._input_dtype = torch.float32 if exact else self._dtype
        self._networks = self._side_by_side([lane.network for lane in lanes])

    def run(self, bar: Step) -> None:
        """Train every lane to its end, from where its checkpoint left it."""
        for lane in self._lanes:
            lane.start()
            bar.advance(lane.epochs_done)
        for epoch in range(min(lane.epochs_done for lane in self._lanes), self._recipe.epochs):
            # A lane whose checkpoint is further on than its neighbours' waits for them.
            active = [lane for lane in self._lanes if lane.epochs_done == epoch]
            losses = self._run_epoch(epoch, active)
            for lane in active:
                # Before the checkpoint: what was told of an epoch is never skipped.
                if self._on_epoch is not None:
                    self._on_epoch(lane.job, epoch + 1, lane.network)
                accuracy = self._validation_accuracy(lane)
                values = {"loss": losses[lane], "learning_rate": lane.rate}
                if accuracy is not None:
                    values["validation_accuracy"] = accuracy
                self._log.scalars(lane.job.name, epoch + 1, values)
                lane.end_epoch(accuracy)
            bar.advance(len(active))
        for lane in self._lanes:
            lane.finish()

    def _side_by_side(self, networks: list[nn.Module]) -> Lanes:
        if len(networks) > 1:
            return Stacked(networks, self._dtype)
        # A loss of a defense's own may ask for gradients of gradients.
        own = not isinstance(self._recipe.loss, str)
        return Alone(forward_in(self._dtype, networks[0], self._device, higher_order=own))

    def _run_epoch(self, epoch: int, active: Sequence[Lane]) -> dict[Lane, float]:
        """Train `active` lanes for an epoch; return each one's loss, mean over its batches."""
        for lane in active:
            lane.network.train()
        batches = {
            lane: shuffled_batches(
                lane.job.rows,
                self._recipe.batch_size,
                torch_generator(lane.job.seed, "batches", epoch),
            )
            for lane in active
        }
        losses = torch.zeros(len(self._lanes), device=self._device)
        with seeded(active[0].job.seed, "dropout", epoch):
            for step in range(max(map(len, batches.values()))):
                moving = {lane: b[step] for lane, b in batches.items() if step < len(b)}
                losses += self._gradients(moving, epoch, step)
                Lane.step_together(
                    {lane: self._recipe.rate_at(epoch, step, len(batches[lane])) for lane in moving}
                )
        sums = dict(zip(self._lanes, losses.tolist(), strict=True))
        for lane in active:
            if not isfinite(sums[lane]):
                raise TrainingError(
                    f"The loss of {lane.job.name} is not finite after epoch {epoch + 1}. "
                    "Lower the learning rate, or look for extreme feature values."
                )
        return {lane: sums[lane] / len(batches[lane]) for lane in active}

    def _gradients(
        self, moving: dict[Lane, Int[Tensor, " _"]], epoch: int, step: int
    ) -> Float[Tensor, " g"]:
        """Give each moving lane the gradients of its own batch; return the losses of all."""
        total = torch.zeros(len(self._lanes), device=self._device)
        for part in self._calls(moving):
            lanes = self._lanes[part]
            rows, weight = self._rectangle(lanes, moving)
            x = _gather(self._x, rows)
            if self._recipe.augmentation == "crop_flip":
                for i, lane in enumerate(lanes):
                    if lane in moving:
                        batch = slice(len(moving[lane]))  # without the rectangle's filling
                        draws = torch_generator(lane.job.seed, "augmentation", epoch, step)
                        x[i, batch] = random_crop_flip(x[i, batch], draws)
            flat = as_input(x.flatten(0, 1), self._input_dtype)
            inputs = flat.reshape(*rows.shape, *flat.shape[1:])
            losses = self._losses(inputs, _gather(self._target, rows), weight, part, epoch)
            losses.sum().backward()
            total[part] += losses.detach()
        self._networks.collect_gradients(
            [i for i, lane in enumerate(self._lanes) if lane in moving]
        )
        return total

    def _losses(
        self, inputs: Tensor, target: Tensor, weight: Tensor, part: slice, epoch: int
    ) -> Float[Tensor, " g"]:
        if isinstance(self._recipe.loss, str):
            output = self._networks.forward(inputs, part)
            losses = per_example_loss(output, target, self._recipe.loss)
            # An example may have parts (a pair of records): its loss is their mean.
            return (losses.reshape(*weight.shape, -1).mean(dim=2) * weight).sum(dim=1)

        def network(x: Tensor) -> Tensor:
            return self._networks.forward(x[None], part)[0]

        return self._recipe.loss(network, inputs[0], target[0], epoch=epoch)[None]

    def _calls(self, moving: dict[Lane, Int[Tensor, " _"]]) -> list[slice]:
        """Return which lanes compute together: all, unless the gaps between them would show.

        A gap, filled or standing still, does not change gradients, but it does change statistics;
        lanes that keep such then compute one by one (in the last step of an epoch, mostly).
        """
        even = len(moving) == len(self._lanes) and len(set(map(len, moving.values()))) == 1
        if even or not keeps_statistics(self._lanes[0].network):
            return [slice(0, len(self._lanes))]
        return [slice(i, i + 1) for i, lane in enumerate(self._lanes) if lane in moving]

    def _rectangle(
        self, lanes: Sequence[Lane], moving: dict[Lane, Int[Tensor, " _"]]
    ) -> tuple[Int[Tensor, "g b"], Float[Tensor, "g b"]]:
        """Lay batches of unlike sizes side by side.

        Gaps are filled with a record that the lane may see anyway, at weight zero, so that no
        lane ever touches a record outside its rows.
        """
        width = max(len(moving[lane]) for lane in lanes if lane in moving)
        rows = torch.stack([self._fillings[lane].expand(width) for lane in lanes])
        weight = torch.zeros(rows.shape)
        for i, lane in enumerate(lanes):
            if lane in moving:
                batch = moving[lane]
                rows[i, : len(batch)] = batch
                weight[i, : len(batch)] = 1 / len(batch)
        return rows.to(self._device), weight.to(self._device)

    def _validation_accuracy(self, lane: Lane) -> float | None:
        if self._validation is None:
            return None
        return accuracy(lane.network, self._validation, self._device)


def _gather(
    values: Shaped[Tensor, "n *features"], rows: Int[Tensor, "g b"]
) -> Shaped[Tensor, "g b *features"]:
    """Return `values[rows]`; whole rows are copied, which takes PyTorch a tenth of the time."""
    gathered: Tensor = values.index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return gathered
