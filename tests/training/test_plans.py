"""Named plans: the paper's settings, and networks that fit the records."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selena.config import override, read_toml
from selena.data.load import DATASETS
from selena.errors import ConfigError
from selena.experiments.pipeline import RunSettings
from selena.networks.mlp import MLP
from selena.networks.resnet import CIFAR100_MEAN, CIFAR100_STD, ResNet
from selena.training.plans import PLANS
from selena.types import Dataset, FeatureKind
from tests.toys import toy_dataset

SETTINGS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def dataset(*shape: int, kind: FeatureKind = "image") -> Dataset:
    return toy_dataset(torch.zeros(shape), num_classes=7, features=kind)


def test_cifar100_is_the_papers() -> None:
    plan = PLANS["cifar100"]
    assert plan.network(dataset(2, 3, 32, 32)) == ResNet(
        7, (64, 128, 256, 512), blocks=2, first_stride=1, mean=CIFAR100_MEAN, std=CIFAR100_STD
    )
    recipe = plan.training
    rates = [recipe.rate_at(epoch, 195, 196) for epoch in (0, 1, 59, 60, 120, 199)]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.02, 0.004, 0.0008])
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (recipe.batch_size, recipe.epochs, recipe.augmentation) == (256, 200, "crop_flip")
    assert plan.distillation == recipe


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "image_folder"])
def test_image_plans_build_networks_for_images(name: str) -> None:
    network = PLANS[name].network(dataset(2, 3, 32, 32))()
    assert tuple(network(torch.zeros(2, 3, 32, 32)).shape) == (2, 7)


def test_architecture_can_be_chosen() -> None:
    plan = override(PLANS["tabular"], {"architecture": "small_resnet", "mean": [0], "std": [1]})
    assert isinstance(plan.network(dataset(2, 1, 28, 28)), ResNet)
    plan = override(PLANS["cifar10"], {"architecture": "mlp"})
    assert plan.network(dataset(2, 3, 4, 4)) == MLP(48, 7)
    with pytest.raises(ConfigError, match="one of 'mlp', 'resnet18', 'small_resnet'"):
        override(PLANS["cifar10"], {"architecture": "vgg"})


@pytest.mark.parametrize("shape", [(2, 12), (2, 1, 28, 28)])
def test_records_that_a_resnet_cannot_read(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"resnet18 is set up for images of 3 channels.*toy"):
        replace(PLANS["tabular"], architecture="resnet18").network(dataset(*shape))


def test_documented_settings_and_plans_exist(tmp_path: Path) -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "run.toml").write_text(example)
    settings = override(RunSettings(), read_toml(tmp_path / "run.toml"))
    override(PLANS["location30"], settings.plan, "plan.")
    assert set(PLANS) == set(re.findall(r"^\| `([a-z]\w+)`", text, flags=re.MULTILINE))
    assert settings.data.dataset in DATASETS
