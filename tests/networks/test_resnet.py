"""Residual networks: their shapes, and what is inside of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from selena.errors import ConfigError
from selena.networks.resnet import CIFAR100_MEAN, CIFAR100_STD, ResNet, resnet18, small_resnet
from selena.seeding import seeded, torch_generator

SMALL = small_resnet(10, CIFAR100_MEAN, CIFAR100_STD)


def images(n: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch_generator(0, "images"))


def build(factory: ResNet) -> nn.Sequential:
    with seeded(0, "weights"):
        return factory()


def shapes_along(network: nn.Sequential, x: torch.Tensor) -> list[tuple[int, ...]]:
    shapes = []
    for layer in network:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    return shapes


def test_resnet18_is_the_papers() -> None:
    network = build(resnet18(100, CIFAR100_MEAN, CIFAR100_STD))
    assert sum(p.numel() for p in network.parameters()) == 11_220_132  # He et al., 3 x 3 stem
    assert shapes_along(network, images(2)) == [
        (3, 32, 32),  # normalisation
        *[(64, 32, 32)] * 3,  # stem
        *[(64, 32, 32)] * 2,
        *[(128, 16, 16)] * 2,
        *[(256, 8, 8)] * 2,
        *[(512, 4, 4)] * 2,
        (512, 1, 1),
        (512,),
        (100,),
    ]


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (17, 40)])
def test_any_size_goes(size: tuple[int, int]) -> None:
    assert tuple(build(SMALL)(images(2, *size)).shape) == (2, 10)


def test_number_of_channels_is_that_of_the_mean() -> None:
    gray = build(ResNet(4, (8,), blocks=1, mean=(0.5,), std=(0.25,)))
    assert tuple(gray(torch.rand(2, 1, 8, 8)).shape) == (2, 4)


def test_pixels_are_normalised_inside() -> None:
    x = images(4)
    raw = ResNet(10, (8, 16), blocks=1, mean=(0.0,) * 3, std=(1.0,) * 3)
    inside = ResNet(10, (8, 16), blocks=1)
    by_hand = (x - torch.tensor(CIFAR100_MEAN)[:, None, None]) / torch.tensor(CIFAR100_STD)[
        :, None, None
    ]
    torch.testing.assert_close(build(inside)(x), build(raw)(by_hand))
    assert {"0.mean", "0.std"} <= build(inside).state_dict().keys()
    assert not torch.allclose(build(inside)(x), build(raw)(x))


def test_gradients_reach_every_weight_and_the_pixels() -> None:
    network, x = build(SMALL), images(4).requires_grad_()
    network(x).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0


def test_blocks_have_their_shortcut() -> None:
    network = build(SMALL).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "residual" in name:
                parameter.zero_()
    # With dead residuals the image still comes through.
    one, other = network(images(2))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_classes": 0},
        {"num_classes": 10, "widths": ()},
        {"num_classes": 10, "widths": (8, 0)},
        {"num_classes": 10, "blocks": 0},
        {"num_classes": 10, "first_stride": 3},
        {"num_classes": 10, "mean": (0.5,)},
        {"num_classes": 10, "std": (0.2, 0.2, 0.0)},
        {"num_classes": 10, "mean": (), "std": ()},
    ],
)
def test_settings_that_make_no_network_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ResNet(**wrong)  # type: ignore[arg-type]
