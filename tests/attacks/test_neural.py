from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from selena.attacks.neural import NeuralAttack
from selena.auditing.oracle import MeteredOracle
from selena.errors import ConfigError, DataError
from selena.types import MembershipSets, Oracle, Records
from selena.workspace import Workspace
from tests.toys import Curves

CLASSES = 3
QUICK = NeuralAttack(epochs=30, batch_size=32, learning_rate=3e-4)


class Leaky:
    """Surer of even row numbers than of odd ones; remembers which rows it was asked about."""

    num_classes = CLASSES

    def __init__(self) -> None:
        self.asked: set[int] = set()

    def logits(self, x: Tensor) -> Tensor:
        self.asked |= set(x[:, 0].tolist())
        number, label = x.T
        sure = 4 - 3 * (number % 2)
        answers: Tensor = sure[:, None] * torch.nn.functional.one_hot(label, CLASSES).float()
        return answers


def asked(leaky: Leaky | None = None) -> Oracle:
    return MeteredOracle(leaky or Leaky(), "logits")


def rows(numbers: Tensor) -> Records:
    y = numbers // 2 % CLASSES
    return Records(torch.stack([numbers, y], dim=1), y, numbers)


def even_and_odd(start: int, members: int, non_members: int) -> MembershipSets:
    return MembershipSets(
        rows(start + 2 * torch.arange(members)), rows(start + 1 + 2 * torch.arange(non_members))
    )


def test_trains_on_four_fifths_keeps_the_rest() -> None:
    known, leaky = even_and_odd(0, 50, 80), Leaky()
    scorer = NeuralAttack(epochs=1).fit(asked(leaky), known, seed=0)
    members, non_members = scorer.calibration.members, scorer.calibration.non_members
    assert (len(members), len(non_members)) == (10, 40)
    held_out = set(members.ids.tolist() + non_members.ids.tolist())
    everything = set(known.joined()[0].ids.tolist())
    assert leaky.asked == everything - held_out
    assert len(leaky.asked) == 80


def test_trains_on_no_more_than_max_members() -> None:
    known, leaky = even_and_odd(0, 50, 80), Leaky()
    scorer = NeuralAttack(epochs=1, max_members=15).fit(asked(leaky), known, seed=0)
    assert len(leaky.asked) == 30
    assert (len(scorer.calibration.members), len(scorer.calibration.non_members)) == (35, 65)


def test_same_seed_same_scores_kept_network_reused(tmp_path: Path) -> None:
    known, candidates = even_and_odd(0, 20, 20), rows(torch.arange(100, 120))

    def scores(seed: int, workspace: Workspace | None = None) -> Tensor:
        attack = NeuralAttack(epochs=2, batch_size=8)
        return attack.fit(asked(), known, seed=seed, workspace=workspace).score(candidates)

    first = scores(1)
    assert torch.equal(first, scores(1))
    assert not torch.equal(first, scores(2))
    for _ in range(2):
        assert torch.equal(first, scores(1, Workspace(folder=tmp_path)))


@pytest.mark.deep
@pytest.mark.parametrize("tells", ["observation", "label"])
def test_fits_on_other_observations_and_sees_the_label(tells: str) -> None:
    def side(label: int, n: int) -> Records:
        seen, y = (label, 0) if tells == "observation" else (0, label)
        return Records(torch.full((n, 1), seen), torch.full((n,), y), torch.arange(n))

    def observe(records: Records) -> Tensor:
        return records.x.float()

    (scorer,) = QUICK.prepare_on(
        observe, CLASSES, MembershipSets(side(1, 100), side(0, 100)), seed=0
    ).train([], Workspace())
    assert scorer.score(side(1, 1)) > scorer.score(side(0, 1)) + 1


def test_attack_networks_together_score_as_alone(tmp_path: Path) -> None:
    """Two of one shape and one that sees more; on an accelerator the two share their products."""

    def twice(records: Records) -> Tensor:
        return Leaky().logits(records.x).repeat(1, 2)

    workspace, known = Workspace(folder=tmp_path), even_and_odd(0, 40, 40)
    attack = replace(QUICK, epochs=2)
    fittings = [
        attack.prepare(asked(), known, seed=1),
        attack.prepare_on(twice, CLASSES, known, seed=2),
        attack.prepare(asked(), known, seed=3),
    ]
    candidates = rows(torch.arange(100, 140))
    alone = [fitting.train([], Workspace())[0].score(candidates) for fitting in fittings]
    together = [scorer.score(candidates) for scorer in fittings[0].train(fittings[1:], workspace)]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(alone[0], alone[2])
    assert len(list(tmp_path.iterdir())) == 3


def test_loss_of_a_pair_is_its_mean_squared_error() -> None:
    # One step from weights that answer about 0.5 to everything: 0.25 for either record.
    log, known = Curves(), even_and_odd(0, 40, 40)
    NeuralAttack(epochs=1, batch_size=128).fit(asked(), known, seed=0, workspace=Workspace(log=log))
    assert [v["loss"] for v in log.points.values()] == [pytest.approx(0.25, abs=1e-3)]


def test_bad_settings_and_too_few_records_are_refused() -> None:
    with pytest.raises(ConfigError, match="held_out"):
        NeuralAttack(held_out=1.0)
    with pytest.raises(ConfigError, match="batch_size is 1"):
        NeuralAttack(batch_size=1)
    with pytest.raises(ConfigError, match="epochs"):
        NeuralAttack(epochs=0)
    with pytest.raises(ConfigError, match="max_members is 0"):
        NeuralAttack(max_members=0)
    with pytest.raises(DataError, match="knows 1 members and 9 non-members"):
        QUICK.fit(asked(), even_and_odd(0, 1, 9), seed=0)
