"""Networks that train side by side, step for step, each on its own batches.

A step's draws (which records, how they are cropped) are made on the CPU, the same for every
device; what follows from them is one function of tensors, which a GPU records and replays.
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
from selena.training.compiled import compiled
from selena.training.forward import Forward, forward_in
from selena.training.inference import accuracy
from selena.training.job import Examples, Job
from selena.training.lane import Lane
from selena.training.losses import per_example_loss
from selena.training.optimizer import step_optimizers
from selena.training.recipe import Recipe
from selena.training.replay import Replay, stream_on
from selena.training.stack import Apart, Lanes, Stacked, convolves, keeps_statistics
from selena.workspace import Step, Workspace

OnEpoch = Callable[[Job, int, nn.Module], None]
"""Told after each epoch: the job, how many epochs lie behind it, and its network as it is."""


class Group:
    """Lanes that share each step."""

    def __init__(
        self,
        lanes: Sequence[Lane],
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
        self._lanes = lanes
        self._fillings = {lane: lane.job.rows[:1].clone() for lane in lanes}
        # Of all lanes, done or not: who goes on after a kill then computes in the same shapes.
        self._sizes = {lane: batch_sizes(len(lane.job.rows), recipe.batch_size) for lane in lanes}
        self._log = workspace.log
        self._x = examples.x.to(device)
        self._target = examples.target.to(device)
        self._recipe = recipe
        self._validation = validation
        self._device = device
        self._on_epoch = on_epoch
        self._epoch = 0
        self._losses = torch.zeros(len(lanes), device=device)
        self._dtype = recipe.compute_dtype(device)
        # PyTorch's optimizers read rates in this precision, and no other.
        self._rate_dtype = torch.float64 if device.type == "cpu" else torch.float32
        # Statistics are of float32 numbers, and a stack of them takes no others.
        exact = keeps_statistics(lanes[0].network)
        self._input_dtype = torch.float32 if exact else self._dtype
        self._compile = compile_networks
        self._stacked = len(lanes) > 1 and not convolves(lanes[0].network)
        self._networks = self._side_by_side([lane.network for lane in lanes])
        self._streams = [stream_on(device) for _ in range(1 if self._stacked else len(lanes))]
        self._replays: dict[tuple[object, ...], Replay] = {}

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
        self._replays.clear()  # recordings hold as much memory as a step takes
        for lane in self._lanes:
            lane.finish()

    def _side_by_side(self, networks: list[nn.Module]) -> Lanes:
        if self._stacked:
            return Stacked(networks, self._dtype)
        return Apart([self._alone(network) for network in networks])

    def _alone(self, network: nn.Module) -> Forward:
        if self._device.type == "cuda":
            # The order of activations: weights need not be turned in each step.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        forward = compiled(network, self._recipe.batch_size) if self._compile else network
        return forward_in(self._dtype, forward, self._device, higher_order=self._own_loss)

    @property
    def _own_loss(self) -> bool:
        """Whether the loss is a defense's own: it may look further than tensors of one shape."""
        return not isinstance(self._recipe.loss, str)

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
        self._epoch = epoch
        self._losses.zero_()
        with seeded(active[0].job.seed, "dropout", epoch), _beside(self._streams):
            for step in range(max(map(len, batches.values()))):
                moving = {lane: b[step] for lane, b in batches.items() if step < len(b)}
                for lane in moving:
                    lane.rate = self._recipe.rate_at(epoch, step, len(batches[lane]))
                for part in self._calls(moving):
                    self._step(part, moving, step)
        sums = dict(zip(self._lanes, self._losses.tolist(), strict=True))
        for lane in active:
            if not isfinite(sums[lane]):
                raise TrainingError(
                    f"The loss of {lane.job.name} is not finite after epoch {epoch + 1}. "
                    "Lower the learning rate, or look for extreme feature values."
                )
        return {lane: sums[lane] / len(batches[lane]) for lane in active}

    def _step(self, part: slice, moving: dict[Lane, Int[Tensor, " _"]], step: int) -> None:
        """Move those of the lanes of a part that move in this step."""
        numbers = [i for i in range(part.start, part.stop) if self._lanes[i] in moving]
        rates = sorted({self._lanes[i].rate for i in numbers})
        movers = [[i for i in numbers if self._lanes[i].rate == rate] for rate in rates]
        rows, weight = self._rectangle(part, moving, step)
        inputs = [rows, weight, torch.tensor(rates, dtype=self._rate_dtype)]
        if self._recipe.augmentation == "crop_flip":
            inputs.append(self._crops(part, moving, step, rows.shape[1]))
        key = part.start, part.stop, rows.shape[1], *map(tuple, movers)
        if key not in self._replays:
            self._replays[key] = Replay(
                partial(self._learn, part, movers),
                self._device,
                self._streams[part.start % len(self._streams)],
                record=not self._own_loss,
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
        """Apply the gradients of a part's batches to its `movers`, those of one rate together."""
        x = self._x.index_select(0, rows.flatten())  # copies whole rows: ten times as fast as x[]
        if crops is not None:
            down, right, mirrored = crops.flatten(1)
            x = crop_flip(x, down, right, mirrored.bool())
        inputs = as_input(x, self._input_dtype).unflatten(0, rows.shape)
        target = self._target.index_select(0, rows.flatten()).unflatten(0, rows.shape)
        losses = self._loss(inputs, target, weight, part)
        moving = [i for numbers in movers for i in numbers]
        try:
            losses.sum().backward()
        except RuntimeError:
            # A pass that cannot be recorded leaves gradients, to which the next would add.
            self._networks.collect_gradients(moving)
            for i in moving:
                self._lanes[i].network.zero_grad()
            raise
        self._losses[part] += losses.detach()
        self._networks.collect_gradients(moving)
        for numbers, rate in zip(movers, rates, strict=True):
            step_optimizers([self._lanes[i].optimizer for i in numbers], rate)

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

    def _calls(self, moving: dict[Lane, Int[Tensor, " _"]]) -> list[slice]:
        """Return which lanes compute together: a whole stack, unless the gaps in it would show.

        A gap, filled or standing still, does not change gradients, but it does change statistics;
        lanes that keep such then compute one by one (in the last step of an epoch, mostly).
        """
        even = len(moving) == len(self._lanes) and len(set(map(len, moving.values()))) == 1
        if self._stacked and (even or not keeps_statistics(self._lanes[0].network)):
            return [slice(0, len(self._lanes))]
        return [slice(i, i + 1) for i, lane in enumerate(self._lanes) if lane in moving]

    def _rectangle(
        self, part: slice, moving: dict[Lane, Int[Tensor, " _"]], step: int
    ) -> tuple[Int[Tensor, "g b"], Float[Tensor, "g b"]]:
        """Lay batches of unlike sizes side by side.

        Gaps are filled with a record that the lane may see anyway, at weight zero, so that no
        lane ever touches a record outside its rows.
        """
        lanes = self._lanes[part]
        width = max(size for lane in lanes for size in self._sizes[lane][step : step + 1])
        rows = torch.stack([self._fillings[lane].expand(width) for lane in lanes])
        weight = torch.zeros(rows.shape)
        for i, lane in enumerate(lanes):
            if lane in moving:
                batch = moving[lane]
                rows[i, : len(batch)] = batch
                weight[i, : len(batch)] = 1 / len(batch)
        return rows, weight

    def _crops(
        self, part: slice, moving: dict[Lane, Int[Tensor, " _"]], step: int, width: int
    ) -> Int[Tensor, "3 g b"]:
        """Draw how each record of the rectangle is cropped; its filling is left as it is."""
        lanes = self._lanes[part]
        crops = torch.full((3, len(lanes), width), PADDING)
        crops[2] = 0
        for i, lane in enumerate(lanes):
            if lane in moving:
                n = len(moving[lane])
                draws = torch_generator(lane.job.seed, "augmentation", self._epoch, step)
                crops[:, i, :n] = torch.stack(draw_crops(n, draws))
        return crops

    def _validation_accuracy(self, lane: Lane) -> float | None:
        if self._validation is None:
            return None
        return accuracy(lane.network, self._validation, self._device)


@contextmanager
def _beside(streams: Sequence[torch.cuda.Stream | None]) -> Iterator[None]:
    """Let what streams do in the block follow all that came before, and precede what comes."""
    queues = [stream for stream in streams if stream is not None]
    for stream in queues:
        stream.wait_stream(torch.cuda.current_stream(stream.device))
    yield
    for stream in queues:
        torch.cuda.current_stream(stream.device).wait_stream(stream)
