"""DP-SGD: clipped gradients of single records, and noise, with a proven bound on what leaks.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, Algorithm 1, by Opacus
(Yousefpour et al. 2021), an optional extra.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from selena.checks import check_records
from selena.errors import ConfigError, StoreError
from selena.fingerprint import code_digest, fingerprint, tensor_digest
from selena.networks import NetworkFactory
from selena.processor import numeric_environment
from selena.seeding import child_seed, seeded, torch_generator
from selena.training.batches import as_input
from selena.training.checkpoint import select
from selena.training.inference import accuracy
from selena.training.job import Examples, Job
from selena.training.lane import Lane
from selena.training.losses import per_example_loss
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class DPSGD:
    """Training with (epsilon, delta)-differential privacy; adjacent sets differ by one record.

    Of a person with m records the bound is m times as large, at a larger delta (group privacy).

    Each step takes every record with probability batch_size / n (Poisson sampling), clips each
    record's gradient and adds Gaussian noise. Computed in float32.

    Attributes:
        network: builds the classifier; no batch normalisation, which mixes records.
        num_classes: number of classes.
        recipe: optimizer, rate, epochs, and the expected batch size.
        noise_multiplier: standard deviation of the noise in units of `max_grad_norm`, > 0.
        max_grad_norm: L2 norm to which each record's gradient is clipped, > 0.
        delta: for which epsilon is stated, in (0, 1); well below 1 / n.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    noise_multiplier: float = 1.0
    max_grad_norm: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        if not (self.noise_multiplier > 0 and self.max_grad_norm > 0 and 0 < self.delta < 1):
            raise ConfigError(
                "DP-SGD needs noise_multiplier > 0, max_grad_norm > 0 and delta in (0, 1); got "
                f"{self.noise_multiplier}, {self.max_grad_norm}, {self.delta}."
            )
        if self.recipe.loss != "cross_entropy" or self.recipe.augmentation != "none":
            raise ConfigError("DP-SGD takes the loss cross_entropy and no augmentation.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> DPModel:
        """Train on `train` and account for what that may leak.

        Raises:
            ConfigError: Opacus is not installed, or the network mixes records.
        """
        _opacus()
        workspace = workspace or Workspace()
        check_records(train, num_classes=self.num_classes, what="training records")
        with seeded(seed, "weights"):
            network = self.network().to(workspace.torch_device)
        selecting = [validation] if self.recipe.selection == "validation" else []
        digests = [tensor_digest(records.x, records.y) for records in (train, *selecting)]
        lane = Lane(
            Job("dp-sgd", torch.arange(len(train)), seed),
            key=fingerprint(
                self, digests, seed, code_digest(), numeric_environment(workspace.device)
            ),
            network=network,
            recipe=self.recipe,
            workspace=workspace,
        )
        if not lane.load_finished():
            examples = Examples(validation.x, validation.y)
            self._train(lane, train, examples, seed, workspace)
        model = NetworkModel(network.eval(), self.num_classes, workspace.device)
        return DPModel(model, self.epsilon(len(train)), self.delta)

    def epsilon(self, n: int) -> float:
        """Return epsilon at `delta` of training on `n` records, by the Rényi accountant."""
        accountant = _opacus().accountants.RDPAccountant()
        steps = self.recipe.epochs * self._steps(n)
        accountant.history = [(self.noise_multiplier, self._rate(n), steps)]
        return float(accountant.get_epsilon(self.delta))

    def restore(self, state: dict[str, Tensor]) -> DPModel:
        """Rebuild the model from its `state`."""
        if "epsilon" not in state:
            raise StoreError(f"This is not the state of DP-SGD: it holds {sorted(state)[:5]}.")
        model = restore_network(self.network, self.num_classes, select(state, "model"))
        return DPModel(model, float(state["epsilon"]), float(state["delta"]))

    def _rate(self, n: int) -> float:
        return min(1.0, self.recipe.batch_size / n)

    def _steps(self, n: int) -> int:
        return math.ceil(n / self.recipe.batch_size)

    def _train(
        self, lane: Lane, train: Records, validation: Examples, seed: int, workspace: Workspace
    ) -> None:
        opacus, device = _opacus(), workspace.torch_device
        if next(lane.network.buffers(), None) is not None:
            # Opacus lets batch normalisation without weights pass.
            raise ConfigError(
                "DP-SGD cannot train a network that keeps running statistics: they mix records, "
                "outside of the bound. Use one without (an MLP with standardize=False)."
            )
        lane.start()
        per_record = opacus.GradSampleModule(lane.network, loss_reduction="sum")
        optimizer = opacus.optimizers.DPOptimizer(
            torch.optim.SGD(lane.network.parameters()),  # its own rule is not used
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.max_grad_norm,
            expected_batch_size=self._rate(len(train)) * len(train),
        )
        x, y, steps = train.x.to(device), train.y.to(device), self._steps(len(train))
        selecting = self.recipe.selection == "validation"
        with workspace.progress.step("DP-SGD", self.recipe.epochs) as bar, _no_hook_warning():
            bar.advance(lane.epochs_done)
            for epoch in range(lane.epochs_done, self.recipe.epochs):
                batches = torch_generator(seed, "batches", epoch)
                noise = child_seed(seed, "noise", epoch)
                optimizer.generator = torch.Generator(device).manual_seed(noise)
                per_record.train()
                with seeded(seed, "dropout", epoch):
                    for step in range(steps):
                        chosen = torch.rand(len(x), generator=batches) < self._rate(len(x))
                        rows = torch.nonzero(chosen).squeeze(1).to(device)
                        logits = per_record(as_input(x[rows]))
                        # The sum: Opacus itself divides by the expected batch size.
                        per_example_loss(logits, y[rows], "cross_entropy").sum().backward()
                        if optimizer.pre_step():  # clips, adds noise
                            lane.step(self.recipe.rate_at(epoch, step, steps))
                        optimizer.zero_grad(set_to_none=True)
                lane.end_epoch(accuracy(lane.network, validation, device) if selecting else None)
                bar.advance()
        per_record.to_standard_module()
        lane.finish()


@dataclass(frozen=True, eq=False)
class DPModel:
    """The trained network, with what was proven about it.

    Attributes:
        model: the network.
        epsilon: bound on what one record may change, at `delta`; selection on validation
            records costs none, since they are no members.
        delta: probability with which the bound may fail.
    """

    model: NetworkModel
    epsilon: float
    delta: float

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.model.num_classes

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits, float32 on the CPU."""
        return self.model.logits(x)

    def differentiable_logits(self, x: Float[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits through which gradients flow back to `x`."""
        return self.model.differentiable_logits(x)

    def state(self) -> dict[str, Tensor]:
        """Return the weights, epsilon and delta."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state().items()}
        return tensors | {
            "epsilon": torch.tensor(self.epsilon, dtype=torch.float64),
            "delta": torch.tensor(self.delta, dtype=torch.float64),
        }


@contextmanager
def _no_hook_warning() -> Iterator[None]:
    """Opacus hooks the first layer, whose input needs no gradient; PyTorch warns about that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        yield


def _opacus() -> Any:
    try:
        import opacus
        import opacus.optimizers
    except ImportError as error:
        raise ConfigError(
            "DP-SGD needs Opacus, which is not installed. "
            "Install it with: pip install 'selena-privacy[dp]'"
        ) from error
    return opacus
