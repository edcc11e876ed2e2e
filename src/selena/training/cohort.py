"""Cohorts: networks that train side by side, step for step, each on its own batches.

The random draws of a step (which records, how they are cropped) are made on the CPU, so they are
the same on every device. The rest of a step is one function of tensors, which a GPU can replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import isfinite

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from selena.errors import TrainingError
from selena.seeding import seeded, torch_generator
from selena.training.augment import PADDING, crop_flip, draw_crops, require_images
from selena.training.batches import as_input, batch_sizes, shuffled_batches
from selena.training.forward import Forward, forward_in
from selena.training.gpu_step import Replay, compiled, stream_on
from selena.training.inference import accuracy
from selena.training.job import Examples, Job
from selena.training.losses import per_example_loss
from selena.training.network_state import NetworkState
from selena.training.optimizer import step_optimizers
from selena.training.recipe import Recipe
from selena.training.stack import NetworkStates, Sequential, Stacked, convolves, keeps_statistics
from selena.workspace import Step, Workspace

OnEpoch = Callable[[Job, int, nn.Module], None]
"""Called after each epoch with the job, its number of finished epochs, and its network."""


class Cohort:
    """NetworkStates that share each step."""

    def __init__(
        self,
        states: Sequence[NetworkState],
        examples: Examples,
        recipe: Recipe,
        validation: Examples | None,
        workspace: Workspace,
        *,
        on_epoch: OnEpoch | None = None,
        compile_networks: bool = False,
    ) -> None:
        device = workspace.torch_device
        if recipe.augmentation == "crop_flip":
            require_images(examples.x)
        self._lanes = states
        self._fillings = {state: state.job.rows[:1].clone() for state in states}
        # Of all states, done or not: who goes on after a kill then computes in the same shapes.
        self._sizes = {
            state: batch_sizes(len(state.job.rows), recipe.batch_size) for state in states
        }
        self._log = workspace.log
        self._x = examples.x.to(device)
        self._target = examples.target.to(device)
        self._recipe = recipe
        self._validation = validation
        self._device = device
        self._on_epoch = on_epoch
        self._epoch = self._step_number = 0
        self._losses = torch.zeros(len(states), device=device)
        self._dtype = recipe.compute_dtype(device)
        # PyTorch's optimizers read the learning rate in this precision only.
        self._rate_dtype = torch.float64 if device.type == "cpu" else torch.float32
        # Batch statistics are computed in float32, and a stack of them needs float32 inputs.
        exact = keeps_statistics(states[0].network)
        self._input_dtype = torch.float32 if exact else self._dtype
        self._compile = compile_networks
        self._stacked = len(states) > 1 and not convolves(states[0].network)
        self._networks = self._side_by_side([state.network for state in states])
        self._streams = [stream_on(device) for _ in range(1 if self._stacked else len(states))]
        self._replays: dict[tuple[object, ...], Replay] = {}

    def run(self, bar: Step) -> None:
        """Train every state to its end, from where its checkpoint left it."""
        for state in self._lanes:
            state.start()
            bar.advance(state.epochs_done)
        for epoch in range(min(state.epochs_done for state in self._lanes), self._recipe.epochs):
            # A state whose checkpoint is further ahead waits for the others.
            active = [state for state in self._lanes if state.epochs_done == epoch]
            losses = self._run_epoch(epoch, active)
            for state in active:
                # Before the checkpoint is written: a resumed run must not skip the report.
                if self._on_epoch is not None:
                    self._on_epoch(state.job, epoch + 1, state.network)
                accuracy = self._validation_accuracy(state)
                values = {"loss": losses[state], "learning_rate": state.rate}
                if accuracy is not None:
                    values["validation_accuracy"] = accuracy
                self._log.scalars(state.job.name, epoch + 1, values)
                state.end_epoch(accuracy)
            bar.advance(len(active))
        self._replays.clear()  # recordings hold as much memory as a step takes
        for state in self._lanes:
            state.finish()

    def _side_by_side(self, networks: list[nn.Module]) -> NetworkStates:
        if self._stacked:
            return Stacked(networks, self._dtype)
        return Sequential([self._alone(network) for network in networks])

    def _alone(self, network: nn.Module) -> Forward:
        if self._device.type == "cuda":
            # Activations are channels-last; weights in the same order need no conversion per step.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        forward = compiled(network, self._recipe.batch_size) if self._compile else network
        return forward_in(self._dtype, forward, self._device, higher_order=self._own_loss)

    @property
    def _own_loss(self) -> bool:
        """Whether the loss is a defense's own function; such a step cannot be recorded."""
        return not isinstance(self._recipe.loss, str)

    def _run_epoch(self, epoch: int, active: Sequence[NetworkState]) -> dict[NetworkState, float]:
        """Train `active` states for one epoch; return each one's mean loss over its batches."""
        for state in active:
            state.network.train()
        batches = {
            state: shuffled_batches(
                state.job.rows,
                self._recipe.batch_size,
                torch_generator(state.job.seed, "batches", epoch),
            )
            for state in active
        }
        self._epoch = epoch
        self._losses.zero_()
        with seeded(active[0].job.seed, "dropout", epoch), _beside(self._streams):
            for step in range(max(map(len, batches.values()))):
                moving = {state: b[step] for state, b in batches.items() if step < len(b)}
                for state in moving:
                    state.rate = self._recipe.rate_at(epoch, step, len(batches[state]))
                for part in self._calls(moving):
                    self._step(part, moving, step)
        sums = dict(zip(self._lanes, self._losses.tolist(), strict=True))
        for state in active:
            if not isfinite(sums[state]):
                raise TrainingError(
                    f"The loss of {state.job.name} is not finite after epoch {epoch + 1}. "
                    "Lower the learning rate, or look for extreme feature values."
                )
        return {state: sums[state] / len(batches[state]) for state in active}

    def _step(self, part: slice, moving: dict[NetworkState, Int[Tensor, " _"]], step: int) -> None:
        """Take one step with the states of `part` that have a batch left in this epoch."""
        numbers = [i for i in range(part.start, part.stop) if self._lanes[i] in moving]
        rates = sorted({self._lanes[i].rate for i in numbers})
        movers = [[i for i in numbers if self._lanes[i].rate == rate] for rate in rates]
        rows, weight = self._rectangle(part, moving, step)
        inputs = [rows, weight, torch.tensor(rates, dtype=self._rate_dtype)]
        if self._recipe.augmentation == "crop_flip":
            inputs.append(self._crops(part, moving, step, rows.shape[1]))
        self._step_number = step
        key = part.start, part.stop, rows.shape[1], *map(tuple, movers)
        if key not in self._replays:
            self._replays[key] = Replay(
                partial(self._learn, part, movers),
                self._device,
                self._streams[part.start % len(self._streams)],
                record=not self._own_loss and isinstance(self._recipe.augmentation, str),
            )
        self._replays[key](*inputs)

    def _learn(
        self,
        part: slice,
        movers: Sequence[Sequence[int]],
        rows: Int[Tensor, "g b"],
        weight: Float[Tensor, "g b"],
        rates: Float[Tensor, " r"],
        crops: Int[Tensor, "3 g b"] | None = None,
    ) -> None:
        """Apply the gradients to the `movers`: one list of states per learning rate."""
        x = self._x.index_select(0, rows.flatten())  # copies whole rows: ten times as fast as x[]
        if crops is not None:
            down, right, mirrored = crops.flatten(1)
            x = crop_flip(x, down, right, mirrored.bool())
        elif not isinstance(self._recipe.augmentation, str):
            x = self._changed(x, self._lanes[part.start].job.seed)
        inputs = as_input(x, self._input_dtype).unflatten(0, rows.shape)
        target = self._target.index_select(0, rows.flatten()).unflatten(0, rows.shape)
        losses = self._loss(inputs, target, weight, part)
        moving = [i for numbers in movers for i in numbers]
        try:
            losses.sum().backward()
        except RuntimeError:
            # A pass that cannot be recorded leaves gradients behind; drop them before the next.
            self._networks.collect_gradients(moving)
            for i in moving:
                self._lanes[i].network.zero_grad()
            raise
        self._losses[part] += losses.detach()
        self._networks.collect_gradients(moving)
        for numbers, rate in zip(movers, rates, strict=True):
            step_optimizers([self._lanes[i].optimizer for i in numbers], rate)

    def _changed(self, x: Tensor, seed: int) -> Tensor:
        """Return a batch changed by the recipe's own function; such networks train alone."""
        assert not isinstance(self._recipe.augmentation, str)
        draws = torch_generator(seed, "augmentation", self._epoch, self._step_number)
        changed = self._recipe.augmentation(x, draws)
        if changed.shape != x.shape:
            raise TrainingError(
                f"The augmentation returned a batch of shape {tuple(changed.shape)} for one of "
                f"{tuple(x.shape)}. Return records of the same shape."
            )
        return changed

    def _loss(
        self, inputs: Tensor, target: Tensor, weight: Tensor, part: slice
    ) -> Float[Tensor, " g"]:
        if isinstance(self._recipe.loss, str):
            output = self._networks.forward(inputs, part)
            losses = per_example_loss(output, target, self._recipe.loss)
            # An example may have parts (a pair of records): its loss is their mean.
            return (losses.reshape(*weight.shape, -1).mean(dim=2) * weight).sum(dim=1)

        def network(x: Tensor) -> Tensor:
            return self._networks.forward(x[None], part)[0]

        return self._recipe.loss(network, inputs[0], target[0], epoch=self._epoch)[None]

    def _calls(self, moving: dict[NetworkState, Int[Tensor, " _"]]) -> list[slice]:
        """Return which states compute together: the whole stack if that changes no result.

        Where batches differ in size or a state is finished, filled-in records do not change
        gradients, but they do change batch statistics. Networks that keep batch statistics then
        compute one by one (mostly in the last step of an epoch).
        """
        even = len(moving) == len(self._lanes) and len(set(map(len, moving.values()))) == 1
        if self._stacked and (even or not keeps_statistics(self._lanes[0].network)):
            return [slice(0, len(self._lanes))]
        return [slice(i, i + 1) for i, state in enumerate(self._lanes) if state in moving]

    def _rectangle(
        self, part: slice, moving: dict[NetworkState, Int[Tensor, " _"]], step: int
    ) -> tuple[Int[Tensor, "g b"], Float[Tensor, "g b"]]:
        """Lay batches of different sizes side by side; return their rows and weights.

        Gaps are filled with a record from the state's own rows, at weight zero, so that no state
        ever reads a record outside its rows.
        """
        states = self._lanes[part]
        width = max(size for state in states for size in self._sizes[state][step : step + 1])
        rows = torch.stack([self._fillings[state].expand(width) for state in states])
        weight = torch.zeros(rows.shape)
        for i, state in enumerate(states):
            if state in moving:
                batch = moving[state]
                rows[i, : len(batch)] = batch
                weight[i, : len(batch)] = 1 / len(batch)
        return rows, weight

    def _crops(
        self, part: slice, moving: dict[NetworkState, Int[Tensor, " _"]], step: int, width: int
    ) -> Int[Tensor, "3 g b"]:
        """Draw how each record is cropped; records that fill gaps are not cropped."""
        states = self._lanes[part]
        crops = torch.full((3, len(states), width), PADDING)
        crops[2] = 0
        for i, state in enumerate(states):
            if state in moving:
                n = len(moving[state])
                draws = torch_generator(state.job.seed, "augmentation", self._epoch, step)
                crops[:, i, :n] = torch.stack(draw_crops(n, draws))
        return crops

    def _validation_accuracy(self, state: NetworkState) -> float | None:
        if self._validation is None:
            return None
        return accuracy(state.network, self._validation, self._device)


@contextmanager
def _beside(streams: Sequence[torch.cuda.Stream | None]) -> Iterator[None]:
    """Make the streams wait for earlier work, and later work wait for the streams."""
    queues = [stream for stream in streams if stream is not None]
    for stream in queues:
        stream.wait_stream(torch.cuda.current_stream(stream.device))
    yield
    for stream in queues:
        torch.cuda.current_stream(stream.device).wait_stream(stream)
