"""Random crops and mirror images: right, reproducible, and the job's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from selena.errors import ConfigError
from selena.networks.mlp import MLP
from selena.networks.resnet import ResNet
from selena.seeding import torch_generator
from selena.training import cohort
from selena.training.augment import PADDING, crop_flip, draw_crops, random_crop_flip
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Workspace
from tests.toys import RECIPE, ROUNDING

SHAPE = (2, 6, 5)  # channels, height, width: all unlike
AUGMENTED = replace(RECIPE, augmentation="crop_flip")


def images(n: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch_generator(seed, "images")
    return torch.randint(256, (n, *SHAPE), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_equals_one_image_after_another(dtype: torch.dtype) -> None:
    x = images(200).to(dtype)
    down, right, mirrored = draw_crops(200, torch_generator(3, "draws"))
    _, height, width = SHAPE
    expected = []
    for row, image in enumerate(x):
        framed = torch.zeros(SHAPE[0], height + 2 * PADDING, width + 2 * PADDING, dtype=dtype)
        framed[:, PADDING:-PADDING, PADDING:-PADDING] = image
        top, left = int(down[row]), int(right[row])
        cropped = framed[:, top : top + height, left : left + width]
        expected.append(cropped.flip(2) if mirrored[row] else cropped)
    shown = crop_flip(x, down, right, mirrored)
    assert torch.equal(shown, torch.stack(expected))
    assert shown.dtype == dtype
    assert torch.equal(random_crop_flip(x, torch_generator(3, "draws")), shown)


def test_draws_are_uniform_and_independent() -> None:
    down, right, mirrored = draw_crops(90_000, torch_generator(0, "draws"))
    places = torch.bincount(down * 9 + right, minlength=81).float() / 90_000
    assert places.numel() == 81
    assert float((places - 1 / 81).abs().max()) < 0.002
    assert abs(float(mirrored.float().mean()) - 0.5) < 0.01
    assert abs(float(mirrored[down == 0].float().mean()) - 0.5) < 0.03


def test_one_seed_gives_one_version_of_images() -> None:
    x = images(20)
    before = x.clone()
    once, again, other = (random_crop_flip(x, torch_generator(seed, "a")) for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(x, before)


def test_only_images_can_be_cropped() -> None:
    with pytest.raises(ConfigError, match=r"is for images.*\(4, 12\)"):
        random_crop_flip(torch.zeros(4, 12), torch_generator(0))


# In training.

NETWORK = MLP(2 * 6 * 5, 3, hidden=(8,))
ROWS = (40, 33, 17)  # the last batches have unlike sizes


def fit(
    recipe: Recipe = AUGMENTED,
    *,
    network: MLP | ResNet = NETWORK,
    workspace: Workspace | None = None,
) -> list[torch.Tensor]:
    examples = Examples(images(40), torch.arange(40) % 3)
    jobs = [Job(f"job-{i}", torch.arange(rows), i) for i, rows in enumerate(ROWS)]
    networks = fit_networks(network, examples, jobs, recipe, workspace=workspace)
    return [torch.cat([v.flatten() for v in n.state_dict().values()]) for n in networks]


def test_together_equals_apart() -> None:
    for alone, stacked in zip(
        fit(workspace=Workspace(cohort_size=1)),
        fit(workspace=Workspace(cohort_size=3)),
        strict=True,
    ):
        torch.testing.assert_close(alone, stacked, rtol=0, atol=ROUNDING)


def test_training_is_augmented_and_each_epoch_anew() -> None:
    assert not torch.allclose(fit()[0], fit(RECIPE)[0])
    seen: list[torch.Tensor] = []

    def remember(x: torch.Tensor, *crops: torch.Tensor) -> torch.Tensor:
        seen.append(crop_flip(x, *crops))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort, "crop_flip", remember)
        fit(replace(AUGMENTED, epochs=2, batch_size=64))
    first, second = (part.flatten(1).sort(dim=0).values for part in seen[:2])
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "network",
    [NETWORK, ResNet(3, (4, 4), blocks=1, mean=(0.5,) * 2, std=(0.3,) * 2)],
    ids=["mlp", "res"],
)
def test_killed_training_resumes_without_a_trace(
    network: MLP | ResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(AUGMENTED, optimizer="sgd", momentum=0.9, warmup_epochs=1)
    undisturbed = fit(recipe, network=network, workspace=Workspace(cohort_size=1))
    run_epoch = cohort.Cohort._run_epoch
    for kill_at in (2, 5):
        folder = tmp_path / str(kill_at)
        workspace = Workspace(folder=folder, checkpoint_seconds=0.0, cohort_size=1)
        epochs_left = kill_at

        def dying(self: cohort.Cohort, *what: Any) -> object:
            nonlocal epochs_left
            epochs_left -= 1
            if epochs_left == 0:
                raise KeyboardInterrupt
            return run_epoch(self, *what)

        monkeypatch.setattr(cohort.Cohort, "_run_epoch", dying)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, network=network, workspace=workspace)
        monkeypatch.setattr(cohort.Cohort, "_run_epoch", run_epoch)
        resumed = fit(recipe, network=network, workspace=workspace)
        assert all(map(torch.equal, resumed, undisturbed))
