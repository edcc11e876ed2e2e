"""Flips, noise and augmentations: equal to plain loops, whatever the batch, and economical."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from selena.attacks.augmentation import AUGMENTATIONS, AugmentationAttack
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.neighbors import bit_flips, gaussian_noise, image_shifts, judge_neighbors
from selena.auditing.oracle import MeteredOracle
from selena.errors import ConfigError, DataError
from selena.networks.mlp import MLP
from selena.seeding import seeded
from selena.training.model import NetworkModel
from selena.types import MembershipSets, Records
from selena.workspace import Silent
from tests.attacks import plain
from tests.attacks.planted import CLASSES, Kind, audit_split, records

WIDTHS: dict[Kind, int] = {"bits": 80, "numbers": 20, "images": 108}


def oracle_for(kind: Kind) -> MeteredOracle:
    """An untrained network: right about as often as not, and undecided near many records."""
    with seeded(5, "network"):
        network = MLP(WIDTHS[kind], CLASSES, hidden=(8,))()
    return MeteredOracle(NetworkModel(network, CLASSES), "label")


def predicted(kind: Kind, n: int) -> Records:
    """Records that carry the label the network gives them, so that noise can change it."""
    r = records(kind, 0, n)
    return Records(r.x, oracle_for(kind).labels(r.x), r.ids)


@settings(max_examples=30)
@given(
    st.integers(1, 30),
    st.integers(0, 30),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_exact_number_of_bits_is_flipped_in_order(
    width: int, flips: int, copies: int, seed: int
) -> None:
    flips = min(flips, width - 1)
    x = torch.ones(2, width, dtype=torch.uint8)
    few = bit_flips(width, flips, copies, seed)(x, slice(0, copies)) == 0
    more = bit_flips(width, flips + 1, copies, seed)(x, slice(0, copies)) == 0
    assert (few.sum(dim=2) == flips).all()
    assert (more.sum(dim=2) == flips + 1).all()
    assert (more | ~few).all()


def test_flip_noise_equals_the_plain_loop() -> None:
    oracle, candidates = oracle_for("bits"), predicted("bits", 6)
    attack = FlipNoiseAttack(flips=30, copies=9)
    scores = attack.fit(oracle, audit_split("bits").known, seed=4).score(candidates)
    expected = [
        plain.fraction_correct(oracle.labels, plain.flipped(x, 30, 9, 4), y)
        for x, y in zip(candidates.x, candidates.y, strict=True)
    ]
    assert scores.tolist() == expected
    assert len(set(expected)) > 2


def test_gaussian_noise_equals_the_plain_loop() -> None:
    oracle, candidates = oracle_for("numbers"), predicted("numbers", 6)
    attack = GaussianNoiseAttack(sigmas=0.8, relative=False, copies=9)
    scores = attack.fit(oracle, audit_split("numbers").known, seed=4).score(candidates)
    expected = [
        plain.fraction_correct(oracle.labels, plain.noisy(x, 0.8, 9, 4), y)
        for x, y in zip(candidates.x, candidates.y, strict=True)
    ]
    assert scores.tolist() == expected
    assert min(expected) < 1


def test_noise_is_relative_and_keeps_images_in_range() -> None:
    split = audit_split("numbers")
    x = split.known.joined()[0].x
    one, ten = (gaussian_noise(scale * x.std(dim=0), 4, 0) for scale in (1.0, 10.0))
    whole = slice(0, 4)
    torch.testing.assert_close(ten(x, whole) - x[:, None], 10 * (one(x, whole) - x[:, None]))
    images = records("images", 0, 3).x
    moved = gaussian_noise(torch.ones(3, 6, 6), 4, 0)(images, whole)
    assert moved.shape == (3, 4, 3, 6, 6)
    assert moved.min() == 0
    assert moved.max() == 1


def test_augmentations_are_those_of_the_plain_loop() -> None:
    image = records("images", 0, 1).x
    copies = image_shifts(AUGMENTATIONS)(image, slice(0, 162))[0]
    assert torch.equal(copies, torch.stack(plain.augmented(image[0])))
    assert len({bytes(copy.numpy().data) for copy in copies}) == 162
    part = image_shifts(AUGMENTATIONS)(image, slice(50, 60))[0]
    assert torch.equal(part, copies[50:60])


def test_augmentation_counts_as_the_plain_loop() -> None:
    oracle, candidates = oracle_for("images"), predicted("images", 3)
    expected = [
        plain.fraction_correct(oracle.labels, plain.augmented(x), y)
        for x, y in zip(candidates.x, candidates.y, strict=True)
    ]
    for max_batch in (50, 5000):
        attack = AugmentationAttack(max_batch=max_batch)
        scores = attack.fit(oracle, audit_split("images").known, seed=4).score(candidates)
        assert scores.tolist() == expected


def test_classifier_holds_out_its_calibration_records() -> None:
    known = audit_split("images", 20).known
    scorer = AugmentationAttack("classifier").fit(oracle_for("images"), known, seed=0)
    assert (len(scorer.calibration.members), len(scorer.calibration.non_members)) == (4, 4)


class Brittle:
    """Right about bits with fewer than `members` flips for members, `others` for the rest."""

    num_classes = 2

    def __init__(self, members: int, others: int) -> None:
        self.limits = torch.tensor([others, members])

    def logits(self, x: Tensor) -> Tensor:
        """The first bits say who it is (they are copied five times); the rest are 0."""
        member = (x[:, :11].sum(dim=1) > 5).long()
        flips = x[:, 11:].sum(dim=1)
        right = flips < self.limits[member]
        return torch.stack([right.float(), (~right).float()], dim=1)


@pytest.mark.parametrize("search", ["halving", "all"])
def test_number_of_flips_is_chosen_on_known_records(search: str) -> None:
    def side(member: int, n: int) -> Records:
        x = torch.zeros(n, 60, dtype=torch.uint8)
        x[:, :11] = member
        return Records(x, torch.zeros(n, dtype=torch.int64), torch.arange(n))

    known = MembershipSets(side(1, 5), side(0, 5))
    attack = FlipNoiseAttack(flips=(1, 2, 3, 5, 8, 20, 40), copies=32, search=search)  # type: ignore[arg-type]
    oracle = MeteredOracle(Brittle(members=9, others=4), "label")
    scorer = attack.fit(oracle, known, seed=0)
    spent = oracle.queries / 10
    scores = scorer.score(known.joined()[0])
    assert scores[:5].min() > scores[5:].max()
    if search == "all":
        assert spent == 7 * 32
    else:
        assert spent == 7 * 8 + 4 * 8 + 2 * 16  # the last two are ranked by all copies
    assert oracle.queries / 10 == spent + 32  # evaluation costs one strength


def test_batches_are_bounded() -> None:
    asked: list[int] = []

    def judge(x: Tensor, labels: Tensor) -> Tensor:
        asked.append(len(x))
        return labels * 0

    r = records("bits", 0, 10)
    neighbors = bit_flips(80, 1, 12, 0)
    judge_neighbors(judge, r, neighbors, slice(0, 12), max_batch=30, progress=Silent())
    assert max(asked) <= 30
    assert sum(asked) == 120


@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="distinct and above 0"):
        FlipNoiseAttack(flips=(1, 1))
    with pytest.raises(ConfigError, match="distinct and above 0"):
        GaussianNoiseAttack(sigmas=0.0)
    with pytest.raises(ConfigError, match="copies"):
        FlipNoiseAttack(copies=0)
    with pytest.raises(ConfigError, match="mode"):
        AugmentationAttack("median")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="81 of 80"):
        FlipNoiseAttack(flips=81).fit(oracle_for("bits"), audit_split("bits").known, seed=0)
    digits = Records(
        torch.full((2, 80), 7, dtype=torch.uint8), torch.zeros(2).long(), torch.arange(2)
    )
    with pytest.raises(DataError, match="Bits can be flipped"):
        bit_flips(80, 1, 1, 0)(digits.x, slice(0, 1))
