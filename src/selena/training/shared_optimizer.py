"""One optimizer for networks that train side by side.

One call a step, where each network's own would start its kernels for itself: of small networks,
and on accelerators, that takes longer than what the kernels compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selena.training.lane import Lane
from selena.training.recipe import Recipe


class SharedOptimizer:
    """Steps all parameters of some lanes; each lane's own optimizer holds the state."""

    def __init__(self, lanes: Sequence[Lane], recipe: Recipe) -> None:
        """Join the optimizers of `lanes`, which have started."""
        every = [parameter for lane in lanes for parameter in lane.network.parameters()]
        self._optimizer = recipe.build_optimizer(every)
        for lane in lanes:
            for parameter in lane.network.parameters():
                # One and the same: what is computed here stands in the lane's checkpoint.
                self._optimizer.state[parameter] = lane.optimizer.state[parameter]

    def step(self, rates: Mapping[Lane, float]) -> None:
        """Apply the gradients of the lanes that have a rate, and drop them.

        No other lane may hold gradients.
        """
        if len(set(rates.values())) > 1:  # while rates rise over epochs of unlike lengths
            for lane, rate in rates.items():
                lane.step(rate)
            return
        for lane, rate in rates.items():
            lane.rate = rate
            self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
