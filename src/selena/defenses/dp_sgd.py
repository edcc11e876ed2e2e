"""DP-SGD: clipped per-record gradients and noise, with a proven bound on what leaks.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, Algorithm 1, by Opacus
(Yousefpour et al. 2021), an optional extra. The PRV accountant computes epsilon (Gopi, Lee &
Wutschitz, "Numerical Composition of Differential Privacy", NeurIPS 2021).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selena.data.checks import check_records
from selena.errors import AuditWarning, ConfigError, StoreError
from selena.networks import NetworkFactory
from selena.seeding import child_seed, torch_generator
from selena.training.batches import as_input
from selena.training.checkpoint import select
from selena.training.forward import linear_stack
from selena.training.losses import per_example_loss
from selena.training.model import NetworkModel, restore_network
from selena.training.own_loop import OwnLoop
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace

# The PRV accountant adds its error to epsilon. A smaller error needs more cells of some 80 bytes.
_RELATIVE_ERROR, _LARGEST_ERROR, _MOST_CELLS = 1e-3, 1.0, 1 << 22
_MOST_LOG_NOISE, _NOISE_PRECISION = math.log(1e6), 1e-3


@dataclass(frozen=True)
class DPSGD:
    """Training with (epsilon, delta)-differential privacy; adjacent sets differ by one record.

    For a person with m records the bound is m times as large, at a larger delta (group privacy).

    Each step takes every record with probability batch_size / n (Poisson sampling), clips each
    record's gradient and adds Gaussian noise, in float32.

    Attributes:
        network: builds the classifier; no batch normalisation, which mixes records.
        num_classes: number of classes.
        recipe: optimizer, rate, epochs, and the expected batch size.
        noise_multiplier: standard deviation of the noise in units of `max_grad_norm`, > 0.
        max_grad_norm: L2 norm to which each record's gradient is clipped, > 0.
        delta: the delta for which epsilon is stated, in (0, 1); well below 1 / n.
        target_epsilon: if given, > 0: replaces `noise_multiplier` by the smallest noise whose
            epsilon is at most this.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    noise_multiplier: float = 1.0
    max_grad_norm: float = 1.0
    delta: float = 1e-5
    target_epsilon: float | None = None

    def __post_init__(self) -> None:
        if not (self.noise_multiplier > 0 and self.max_grad_norm > 0 and 0 < self.delta < 1):
            raise ConfigError(
                "DP-SGD needs noise_multiplier > 0, max_grad_norm > 0 and delta in (0, 1); got "
                f"{self.noise_multiplier}, {self.max_grad_norm}, {self.delta}."
            )
        if self.target_epsilon is not None and not self.target_epsilon > 0:
            raise ConfigError(f"target_epsilon is {self.target_epsilon}; give a number above 0.")
        if self.recipe.loss != "cross_entropy" or self.recipe.augmentation != "none":
            raise ConfigError("DP-SGD takes the loss cross_entropy and no augmentation.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> DPModel:
        """Train on `train` and compute epsilon.

        Raises:
            ConfigError: Opacus is not installed, the network mixes records, or no noise reaches
                `target_epsilon`.

        Warns:
            AuditWarning: `delta` is 1 / n or more, or the PRV accountant failed.
        """
        self.check_installed()
        workspace = workspace or Workspace()
        check_records(train, num_classes=self.num_classes, what="training records")
        self._warn_of_delta(len(train))
        noise = self.noise(len(train))
        loop = OwnLoop(self, "dp-sgd", train, validation, seed=seed, workspace=workspace)
        network = self._train(loop, train, noise, seed)
        model = NetworkModel(network, self.num_classes, workspace.device)
        return DPModel(model, self._stated(noise, len(train)), self.delta)

    def check_installed(self) -> None:
        """Raise `ConfigError` unless Opacus is installed."""
        _opacus()

    def epsilon(self, n: int) -> float:
        """Return epsilon at `delta` for training on `n` records.

        It is the upper bound of the PRV accountant, or the Rényi accountant's epsilon if that is
        lower.

        Raises:
            ConfigError: Opacus is not installed, or no noise reaches `target_epsilon`.

        Warns:
            AuditWarning: the PRV accountant failed, and the Rényi accountant's epsilon is
                returned, which is larger.
        """
        return self._stated(self.noise(n), n)

    def noise(self, n: int) -> float:
        """Return the noise multiplier of training on `n` records.

        Raises:
            ConfigError: Opacus is not installed, or no noise reaches `target_epsilon`.
        """
        if self.target_epsilon is None:
            return self.noise_multiplier
        return _least_noise(
            self.target_epsilon, self._rate(n), self.recipe.epochs * self._steps(n), self.delta
        )

    def _stated(self, noise: float, n: int) -> float:
        steps = self.recipe.epochs * self._steps(n)
        epsilon, failure = _account(noise, self._rate(n), steps, self.delta)
        if failure:
            warnings.warn(
                f"The PRV accountant failed ({failure}): epsilon = {epsilon:.6g} is the Rényi "
                "accountant's, a valid bound that is some 10 % larger.",
                AuditWarning,
                stacklevel=4,
            )
        return epsilon

    def _warn_of_delta(self, n: int) -> None:
        if self.delta * n >= 1:
            warnings.warn(
                f"delta = {self.delta:g} is not below 1 / {n}: publishing one of the {n} records "
                f"would satisfy this guarantee. Set delta well below {1 / n:.1g}.",
                AuditWarning,
                stacklevel=3,
            )

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
        self,
        loop: OwnLoop,
        train: Records,
        noise_multiplier: float,
        seed: int,
    ) -> nn.Module:
        device = loop.device
        mixes = any(isinstance(each, _BatchNorm) for each in loop.network.modules())
        if mixes or next(loop.network.buffers(), None) is not None:
            # Opacus lets batch normalisation without weights pass.
            raise ConfigError(
                "DP-SGD cannot train a network with batch normalisation or running statistics, "
                "which mix records outside of the bound. Use one without (an MLP with "
                "standardize=False)."
            )
        per_record, optimizer, backward = self._clipping(
            loop.network, noise_multiplier, self._rate(len(train)) * len(train)
        )
        x, y, steps = train.x.to(device), train.y.to(device), self._steps(len(train))

        def train_epoch(epoch: int) -> None:
            batches = torch_generator(seed, "batches", epoch)
            noise = child_seed(seed, "noise", epoch)
            optimizer.generator = torch.Generator(device).manual_seed(noise)
            per_record.train()
            for step in range(steps):
                chosen = torch.rand(len(x), generator=batches) < self._rate(len(x))
                rows = torch.nonzero(chosen).squeeze(1).to(device)
                logits = per_record(as_input(x[rows]))
                backward(per_example_loss(logits, y[rows], "cross_entropy"))
                if optimizer.pre_step():  # clips, adds noise
                    loop.step(self.recipe.rate_at(epoch, step, steps))
                optimizer.zero_grad(set_to_none=True)

        with _no_hook_warning():
            network = loop.run(train_epoch)
        per_record.to_standard_module()
        return network

    def _clipping(
        self, network: nn.Module, noise_multiplier: float, batch_size: float
    ) -> tuple[Any, Any, Callable[[Float[Tensor, " b"]], None]]:
        """Return Opacus' module and optimizer, and what clips gradients, given a batch's losses.

        A plain stack of linear layers is clipped by norms alone ("ghost clipping", Li et al. 2022):
        hooks on the layers compute the norms, then a second backward pass weighs each record's
        loss. That pass reaches every weight. A network that uses a weight outside of a hooked layer
        would train on it unclipped, so all other networks keep one gradient per record, which
        nothing but the hooks fill.
        """
        opacus = _opacus()
        holder = torch.optim.SGD(network.parameters())  # only holds the gradients; no SGD step
        scale = {
            "noise_multiplier": noise_multiplier,
            "max_grad_norm": self.max_grad_norm,
            "expected_batch_size": batch_size,
        }
        # Losses are summed, because Opacus divides by the expected batch size.
        if not _is_plain(network):
            module = opacus.GradSampleModule(network, loss_reduction="sum")
            optimizer = opacus.optimizers.DPOptimizer(holder, **scale)
            return module, optimizer, lambda losses: losses.sum().backward()
        module = opacus.grad_sample.GradSampleModuleFastGradientClipping(
            network, loss_reduction="sum", max_grad_norm=self.max_grad_norm
        )
        optimizer = opacus.optimizers.DPOptimizerFastGradientClipping(holder, **scale)
        clipped = opacus.utils.fast_gradient_clipping_utils.DPTensorFastGradientClipping
        return (
            module,
            optimizer,
            lambda losses: clipped(module, optimizer, losses, loss_reduction="sum").backward(),
        )


@dataclass(frozen=True, eq=False)
class DPModel:
    """The trained network with its privacy guarantee.

    Attributes:
        model: the network.
        epsilon: epsilon at `delta`. Selection on validation records does not increase it, since
            they are not members.
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


def _is_plain(network: nn.Module) -> bool:
    """Return whether the network is a stack of linear layers that share no weight."""
    stack = linear_stack(network)
    if stack is None:
        return False
    held = [parameter for layer, _ in stack for parameter in layer.parameters()]
    return len({id(parameter) for parameter in held}) == len(held)


@lru_cache(maxsize=1024)
def _account(noise: float, rate: float, steps: int, delta: float) -> tuple[float, str]:
    """Return epsilon, and the reason if it is not the PRV accountant's, else ""."""
    accountants = _opacus().accountants
    renyi, orders = accountants.analysis.rdp, accountants.RDPAccountant.DEFAULT_ALPHAS
    numerical = accountants.PRVAccountant()
    numerical.history = [(noise, rate, steps)]
    delta_error = delta / 1000  # as Opacus sets it
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # The best order may lie outside of its table; then epsilon is larger, but valid.
        warnings.filterwarnings("ignore", "Optimal order is the")
        try:
            spent = renyi.compute_rdp(q=rate, noise_multiplier=noise, steps=steps, orders=orders)
            bound, tail = (
                float(renyi.get_privacy_spent(orders=orders, rdp=spent, delta=each)[0])
                for each in (delta, delta_error / 4)
            )
            reach = tail + 3
        except ArithmeticError:  # the noise is rounded to zero
            return math.inf, "there is next to no noise"
        cells_per_error = 2 * reach * math.sqrt(steps * math.log(12 / delta_error) / 2)
        error = max(_RELATIVE_ERROR * max(1.0, bound), cells_per_error / _MOST_CELLS)
        if not error <= _LARGEST_ERROR:
            return bound, "so little noise or so many steps need too much memory"
        try:
            epsilon = float(numerical.get_epsilon(delta, eps_error=error, delta_error=delta_error))
        except (ArithmeticError, MemoryError, RuntimeError, ValueError) as failure:
            return bound, f"{type(failure).__name__}: {failure}"
    if not math.isfinite(epsilon):
        return bound, f"it answered {epsilon}"
    return min(max(epsilon, 0.0), bound), ""


@lru_cache(maxsize=64)
def _least_noise(target: float, rate: float, steps: int, delta: float) -> float:
    """Return the smallest noise multiplier (to 0.1 %) with an epsilon of at most `target`."""

    def excess(log_noise: float) -> float:
        epsilon = _account(math.exp(log_noise), rate, steps, delta)[0]
        return math.log(max(epsilon, 1e-12) / target)

    high, step = 0.0, math.log(2)
    while excess(high) > 0:
        high += step
        if high > _MOST_LOG_NOISE:
            raise ConfigError(
                f"No noise multiplier up to {math.exp(_MOST_LOG_NOISE):.0e} reaches "
                f"target_epsilon = {target} at delta = {delta}. Raise one of them."
            )
    while excess(high - step) <= 0:
        high -= step
    root = float(brentq(excess, high - step, high, xtol=_NOISE_PRECISION / 2))
    while excess(root) > 0:
        root += _NOISE_PRECISION / 2
    return math.exp(root)


@contextmanager
def _no_hook_warning() -> Iterator[None]:
    """Silence PyTorch's warning about Opacus' hook on a layer whose input needs no gradient."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        yield


def _opacus() -> Any:
    try:
        import opacus
        import opacus.optimizers
        import opacus.utils.fast_gradient_clipping_utils
    except ImportError as error:
        raise ConfigError(
            "DP-SGD needs Opacus, which is not installed. "
            "Install it with: pip install 'selena-privacy[dp]'"
        ) from error
    return opacus
