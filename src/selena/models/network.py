"""PyTorch networks of the user: used and then restored, or rebuilt from safetensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from selena.errors import ConfigError, DataError
from selena.files.reading import border, check_is_file, described
from selena.models.containers import contain


@contextmanager
def on_loan(network: nn.Module, device: str) -> Iterator[nn.Module]:
    """Yield `network` in evaluation mode on `device`; afterwards restore it.

    The mode of each module is restored by itself, since fine-tuning may keep some frozen.

    Raises:
        ConfigError: parameters on several devices.
    """
    homes = {tensor.device for tensor in (*network.parameters(), *network.buffers())}
    if len(homes) > 1:
        raise ConfigError(
            f"The network's parameters lie on several devices ({', '.join(map(str, homes))}). Pass "
            "a function that moves its input and returns logits, with output='logits'."
        )
    modes = [(part, part.training) for part in network.modules()]
    try:
        yield network.eval().to(device)
    finally:
        for part, training in modes:
            part.training = training
        for home in homes:
            network.to(home)


def network_answers(network: nn.Module, x: Any, device: str) -> Any:
    """Return the answers of `network` to records in any dense container, without gradients.

    A dictionary is passed as named inputs. Answers with an attribute `logits`, as in Hugging Face's
    libraries, are reduced to it.
    """
    if isinstance(x, Mapping):
        inputs = {name: network_input(network, part, device) for name, part in x.items()}
        with torch.no_grad():
            return _logits(network(**inputs))
    given = network_input(network, x, device)
    with torch.no_grad():
        try:
            return _logits(network(given))
        except RuntimeError as error:
            if given.is_floating_point() or "dtype" not in str(error):
                raise
            kind = str(given.dtype).removeprefix("torch.")
            raise DataError(
                f"The network takes no features of type {kind} ({described(error)}). If its "
                "weights are floats, give it floats: x.astype('float32')."
            ) from error


def _logits(answer: Any) -> Any:
    """Return the logits of an answer that has several parts."""
    if isinstance(answer, Mapping):
        return answer.get("logits", answer)
    return getattr(answer, "logits", answer)


def network_input(network: nn.Module, x: Any, device: str) -> Tensor:
    """Return records as `network` takes them.

    Floats, bits and bytes get the type of its parameters; bytes are not scaled. Wider integers
    keep their type, because they may index an embedding.

    Raises:
        DataError: features that are no dense numbers.
    """
    given = dense_tensor(x, "A network")
    if given.is_floating_point() or given.dtype in (torch.bool, torch.uint8):
        kinds = (tensor.dtype for tensor in network.parameters() if tensor.is_floating_point())
        given = given.to(next(kinds, torch.float32))
    return given.to(device)


def dense_tensor(x: Any, what: str) -> Tensor:
    """Return records in any dense container as a tensor; `what` names who needs it.

    Raises:
        DataError: features that are no dense numbers.
    """
    if isinstance(x, Tensor):
        return x
    try:
        return torch.from_numpy(contain(x, "x").numbers().copy())
    except DataError as error:
        raise DataError(f"{what} takes numbers, but {error}.") from error


def load_network(path: Path, factory: Callable[[], nn.Module] | None) -> nn.Module:
    """Return the network that `factory` builds, with the weights of a `.safetensors` file.

    Raises:
        ConfigError: no factory, or one that builds no network.
        DataError: a file that is absent or damaged, or holds other weights than the network.
    """
    if factory is None:
        raise ConfigError(
            f"{path} holds weights only. Pass factory=, a function without arguments that builds "
            "the nn.Module."
        )
    check_is_file(path)
    with border(path, "this is no .safetensors file, or a damaged one"):
        weights = load_file(path)
    try:
        network = factory()
    except Exception as error:
        raise ConfigError(
            f"factory cannot build the network ({type(error).__name__}: {error}). It is called "
            "without arguments."
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"factory must build an nn.Module; got a {type(network).__name__}.")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"{path} holds the weights of another architecture. {error}") from error
    return network
