"""The common baselines: each against its formula."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from selena.defenses.distillation import Distillation
from selena.defenses.dp_sgd import DPSGD
from selena.defenses.dropout_l2 import DropoutL2, WithDropout
from selena.defenses.hamp import HAMP, EntropyRegularized, random_inputs, soft_label_probability
from selena.defenses.label_smoothing import LabelSmoothing
from selena.defenses.mixup_mmd import MixupMMD, MixupMMDLoss, same_class_rows, squared_mmd
from selena.defenses.output_filters import TopK, TopKModel
from selena.defenses.relaxloss import RelaxedCrossEntropy, RelaxLoss
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, DataError, StoreError, TrainingError
from selena.experiments.pipeline import DataSettings, RunSettings, check_settings
from selena.networks.mlp import MLP
from selena.types import Records
from tests.toys import CLASSES, FEATURES, NETWORK, RECIPE, toy_records

TRAIN, VALIDATION = toy_records(80), toy_records(60, seed=7, start=1000)
BASE = (NETWORK, CLASSES, RECIPE)
needs_opacus = pytest.mark.skipif(find_spec("opacus") is None, reason="needs the extra `dp`")


def same(x: Tensor) -> Tensor:
    return x


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_smoothing_makes_less_sure() -> None:
    plain = Undefended(*BASE).fit(TRAIN, VALIDATION, seed=1).logits(TRAIN.x)
    much = LabelSmoothing(*BASE, smoothing=0.6).fit(TRAIN, VALIDATION, seed=1)
    sure = [z.softmax(dim=1).amax(dim=1).mean() for z in (plain, much.logits(TRAIN.x))]
    assert float(sure[1]) < float(sure[0]) - 0.05


def test_relaxed_cross_entropy_by_hand() -> None:
    logits, y = randn(10, 4), torch.arange(10) % 4
    p = logits.double().softmax(dim=1)
    of_label = p.gather(1, y[:, None]).squeeze(1)
    loss = float(-of_label.log().mean())

    def relaxed(alpha: float, epoch: int) -> float:
        return float(RelaxedCrossEntropy(alpha)(same, logits, y, epoch=epoch))

    for epoch in (0, 1):
        assert relaxed(loss - 0.1, epoch) == pytest.approx(loss)
    assert relaxed(loss + 0.1, 0) == pytest.approx(-loss)
    expected = 0.0
    for i in range(10):
        for c in range(4):
            soft = of_label[i] if c == y[i] else (1 - of_label[i]) / 3
            expected -= float(soft * p[i, c].log()) / 10
    assert relaxed(loss + 0.1, 1) == pytest.approx(expected)


def test_relaxloss_holds_the_loss_at_its_level() -> None:
    recipe = replace(RECIPE, epochs=40)
    losses = []
    for defense in (
        Undefended(NETWORK, CLASSES, recipe),
        RelaxLoss(NETWORK, CLASSES, recipe, alpha=0.8),
    ):
        logits = defense.fit(TRAIN, VALIDATION, seed=1).logits(TRAIN.x)
        losses.append(float(nn.functional.cross_entropy(logits, TRAIN.y)))
    assert losses[0] < 0.2
    assert losses[1] == pytest.approx(0.8, abs=0.3)


def test_squared_mmd_by_hand() -> None:
    a, b = randn(5, 3), randn(5, 3, seed=1) + 1
    both = torch.cat([a, b]).double()
    distance = torch.tensor([[float(((u - v) ** 2).sum()) for u in both] for v in both])
    kernel = torch.exp(-distance / distance.mean())
    expected = kernel[:5, :5].mean() + kernel[5:, 5:].mean() - 2 * kernel[:5, 5:].mean()
    assert float(squared_mmd(a, b)) == pytest.approx(float(expected), abs=1e-5)
    assert float(squared_mmd(a, a)) == pytest.approx(0, abs=1e-6)


@given(seed=st.integers(0, 1000))
def test_references_are_drawn_of_the_same_class(seed: int) -> None:
    torch.manual_seed(seed)
    labels = torch.randint(5, (30,))
    wanted = labels[torch.randint(30, (50,))]
    assert torch.equal(labels[same_class_rows(labels, wanted)], wanted)


def test_mixup_alone_and_the_penalty_on_top() -> None:
    x, y = randn(8, 4), torch.arange(8) % 4
    other = randn(12, 4, seed=3) + 2

    def loss(weight: float, labels: Tensor, mixup: float = 1.0) -> float:
        torch.manual_seed(0)
        return float(MixupMMDLoss(mixup, weight, other, labels)(same, x, y, epoch=0))

    labels = torch.arange(12) % 4
    mixed = loss(0.0, labels)
    # The network is the identity, so mixed records have mixed logits.
    torch.manual_seed(0)
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    partner = torch.randperm(8)
    log_p = (share * x + (1 - share) * x[partner]).log_softmax(dim=1)
    rows = torch.arange(8)
    by_hand = -(share * log_p[rows, y] + (1 - share) * log_p[rows, y[partner]]).mean()
    assert mixed == pytest.approx(float(by_hand), abs=1e-6)
    assert loss(2.0, labels) - mixed == pytest.approx(2 * (loss(1.0, labels) - mixed), abs=1e-5)
    assert loss(1.0, labels) > mixed + 0.01
    # Without a reference of any class in the batch there is nothing to compare.
    assert loss(1.0, torch.full((12,), 7)) == pytest.approx(mixed)


@given(share=st.floats(0.05, 0.95), classes=st.integers(2, 100))
def test_hamp_soft_label_has_the_asked_entropy(share: float, classes: int) -> None:
    p = soft_label_probability(share, classes)
    rest = (1 - p) / (classes - 1)
    entropy = -p * math.log(p) - (1 - p) * math.log(rest)
    assert entropy == pytest.approx(share * math.log(classes), rel=1e-6)
    assert p > rest


def test_hamps_loss_by_hand() -> None:
    logits, target = randn(6, 4), randn(6, 4, seed=1).softmax(dim=1)
    p = logits.softmax(dim=1)
    expected = (-(target * p.log()).sum(dim=1) + 0.3 * (p * p.log()).sum(dim=1)).mean()
    assert float(EntropyRegularized(0.3)(same, logits, target, epoch=0)) == pytest.approx(
        float(expected)
    )


def test_hamp_keeps_the_order_and_tells_nothing_else() -> None:
    model = HAMP(*BASE, decoys=15).fit(TRAIN, VALIDATION, seed=1)
    inner, answer = model.target.logits(TRAIN.x), model.logits(TRAIN.x)
    assert torch.equal(answer.argsort(dim=1), inner.argsort(dim=1))
    assert not torch.allclose(answer, inner.log_softmax(dim=1))
    # Every answer's values are those of some random input.
    same_values = (answer.sort(dim=1).values[:, None] == model.decoys[None]).all(dim=2)
    assert bool(same_values.any(dim=1).all())
    assert len(same_values.nonzero()[:, 1].unique()) > 3
    torch.testing.assert_close(model.logits(TRAIN.x.flip(0)).flip(0), answer)
    with pytest.raises(StoreError, match="not the state of HAMP"):
        HAMP(*BASE).restore({})


def test_random_inputs_look_like_records() -> None:
    bits = random_inputs(toy_records(10, bits=True), 200, 0)
    assert bits.dtype == torch.uint8
    assert set(bits.unique().tolist()) == {0, 1}
    y, ids = torch.zeros(2, dtype=torch.int64), torch.arange(2)
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    drawn = random_inputs(Records(pixels, y, ids), 50, 0)
    assert drawn.shape == (50, 3, 4, 4)
    assert int(drawn.max()) > 200
    x = torch.tensor([[0.0, -5.0], [1.0, 7.0]])
    drawn = random_inputs(Records(x, y, ids), 500, 0)
    assert bool((drawn >= x[0]).all() and (drawn <= x[1]).all())
    assert float(drawn[:, 1].mean()) == pytest.approx(1, abs=1)


def test_dropout_precedes_all_later_linear_layers() -> None:
    network = WithDropout(MLP(6, 3, hidden=(5, 4)), 0.5)()
    kinds = [type(m) for m in network.modules() if isinstance(m, nn.Linear | nn.Dropout)]
    assert kinds == [nn.Linear, nn.Dropout, nn.Linear, nn.Dropout, nn.Linear]
    lone = WithDropout(lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), 0.5)()
    assert any(isinstance(m, nn.Dropout) for m in lone.modules())
    none: Callable[[], nn.Module] = lambda: nn.Sequential(nn.ReLU())  # noqa: E731
    with pytest.raises(ConfigError, match="there are none"):
        WithDropout(none, 0.5)()


def test_dropout_and_decay_each_change_a_network() -> None:
    plain = Undefended(*BASE).fit(TRAIN, VALIDATION, seed=1)
    for both in (DropoutL2(*BASE, weight_decay=0.0), DropoutL2(*BASE, dropout=0.0)):
        other = both.fit(TRAIN, VALIDATION, seed=1)
        assert not torch.allclose(plain.logits(TRAIN.x), other.logits(TRAIN.x))


def test_distillation_learns_the_teachers_temperature() -> None:
    recipe = replace(RECIPE, epochs=60)
    sure = [
        Distillation(*BASE, recipe, temperature=t).fit(TRAIN, VALIDATION, seed=1)
        for t in (1.0, 4.0)
    ]
    first, second = (m.logits(TRAIN.x).softmax(dim=1).amax(dim=1).mean() for m in sure)
    assert float(second) < float(first) - 0.1


@given(k=st.integers(0, 6), seed=st.integers(0, 1000), scale=st.sampled_from([1e-7, 1.0, 40.0]))
def test_top_k_tells_k_probabilities(k: int, seed: int, scale: float) -> None:
    logits = scale * randn(9, 6, seed=seed)

    class Table:
        num_classes = 6

        def logits(self, x: Tensor) -> Tensor:
            return x

        def state(self) -> dict[str, Tensor]:
            return {}

    answer = TopKModel(Table(), k).logits(logits)
    assert torch.equal(answer.argmax(dim=1), logits.argmax(dim=1))
    torch.testing.assert_close(answer.softmax(dim=1).sum(dim=1), torch.ones(9))
    if k == 0:
        assert bool((answer.softmax(dim=1).amax(dim=1) == 1).all())
    elif scale == 1.0:
        p, told = logits.softmax(dim=1).sort(dim=1).values, answer.softmax(dim=1).sort(dim=1).values
        torch.testing.assert_close(told[:, -k:], p[:, -k:])
        others = told[:, : 6 - k]
        torch.testing.assert_close(others, others.mean(dim=1, keepdim=True).expand_as(others))


@needs_opacus
def test_less_noise_and_more_epochs_cost_privacy() -> None:
    few = DPSGD(*BASE, noise_multiplier=2.0)
    spent = [
        few.epsilon(200),
        replace(few, recipe=replace(RECIPE, epochs=12)).epsilon(200),
        replace(few, recipe=replace(RECIPE, epochs=12), noise_multiplier=1.0).epsilon(200),
    ]
    assert 0 < spent[0] < spent[1] < spent[2]
    assert few.epsilon(2000) < spent[0]
    model = few.fit(TRAIN, VALIDATION, seed=0)
    assert model.epsilon == few.epsilon(len(TRAIN))
    assert few.restore(model.state()).epsilon == model.epsilon


@needs_opacus
@pytest.mark.filterwarnings("ignore:The PRV accountant")  # so little noise bounds nothing
def test_dp_sgd_clips_each_record() -> None:
    """With next to no noise, one step moves by at most rate * norm * taken / expected."""
    recipe = replace(RECIPE, optimizer="sgd", learning_rate=1.0, epochs=1, batch_size=80)
    wild = Records(100 * TRAIN.x, TRAIN.y, TRAIN.ids)
    sizes = []
    for norm in (1e-3, 1e-2):
        defense = DPSGD(NETWORK, CLASSES, recipe, noise_multiplier=1e-6, max_grad_norm=norm)
        after = defense.fit(wild, VALIDATION, seed=0).model.state()
        small = replace(defense, max_grad_norm=1e-12)
        before = small.fit(wild, VALIDATION, seed=0).model.state()
        change = torch.cat([(after[k] - before[k]).flatten() for k in after]).norm()
        assert float(change) <= norm * 1.01
        sizes.append(float(change))
    assert sizes[1] == pytest.approx(10 * sizes[0], rel=0.05)


@needs_opacus
def test_dp_sgd_refuses_what_mixes_records() -> None:
    mixing = replace(NETWORK, standardize=True)
    with pytest.raises(ConfigError, match="running statistics"):
        DPSGD(mixing, CLASSES, RECIPE).fit(TRAIN, VALIDATION, seed=0)


@needs_opacus
def test_dropout_of_dp_sgd_has_a_seed_of_its_own() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(), nn.Linear(8, CLASSES))

    states = []
    for before in (0, 1):
        torch.manual_seed(before)  # what a caller did with PyTorch's own generator
        states.append(DPSGD(network, CLASSES, RECIPE).fit(TRAIN, VALIDATION, seed=0).state())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_without_opacus_dp_sgd_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(ConfigError, match=r"pip install 'selena-privacy\[dp\]'"):
        DPSGD(*BASE).fit(TRAIN, VALIDATION, seed=0)


def test_opacus_is_missed_before_anything_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    settings = RunSettings(DataSettings("digits"), ("undefended", "dp_sgd"))
    with pytest.raises(ConfigError, match="needs Opacus"):
        check_settings(settings)


@pytest.mark.parametrize(
    "build",
    [
        lambda: LabelSmoothing(*BASE, smoothing=1.0),
        lambda: Distillation(*BASE, RECIPE, temperature=0.0),
        lambda: DropoutL2(*BASE, dropout=1.0),
        lambda: DropoutL2(*BASE, weight_decay=-1.0),
        lambda: MixupMMD(*BASE, mixup=0.0),
        lambda: RelaxLoss(*BASE, alpha=-1.0),
        lambda: HAMP(*BASE, entropy_share=1.0),
        lambda: HAMP(*BASE, decoys=0),
        lambda: TopK(Undefended(*BASE), k=-1),
        lambda: DPSGD(*BASE, noise_multiplier=0.0),
        lambda: DPSGD(*BASE, target_epsilon=0.0),
        lambda: DPSGD(NETWORK, CLASSES, replace(RECIPE, loss="mse")),
    ],
)
def test_settings_out_of_range_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        build()


def test_hamp_and_mixup_need_validation_records() -> None:
    none = VALIDATION.take(torch.arange(0))
    for defense in (HAMP(*BASE), MixupMMD(*BASE)):
        with pytest.raises(DataError, match="there are no records"):
            defense.fit(TRAIN, none, seed=0)

    class Zero(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * super().forward(x)

    with pytest.raises(TrainingError, match="no class"):
        HAMP(lambda: Zero(12, CLASSES), CLASSES, RECIPE).fit(TRAIN, VALIDATION, seed=0)
