"""The engine: a network's result depends on its own job alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selena.errors import TrainingError
from selena.networks import NetworkFactory
from selena.networks.membership import MembershipNetwork
from selena.networks.mlp import MLP
from selena.networks.resnet import small_resnet
from selena.seeding import seeded, torch_generator
from selena.training import cohort
from selena.training.engine import fit_networks
from selena.training.inference import predict
from selena.training.job import Examples, Job
from selena.training.network_state import NetworkState
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace
from tests.toys import CLASSES, FEATURES, NETWORK, RECIPE, ROUNDING, Curves, toy_records


def examples(records: Records) -> Examples:
    return Examples(records.x, records.y)


def jobs(n: int, sizes: tuple[int, ...]) -> list[Job]:
    generator = torch.Generator().manual_seed(5)
    return [
        Job(f"job-{i}", torch.randperm(n, generator=generator)[:size], seed=i)
        for i, size in enumerate(sizes)
    ]


def sized(cohort_size: int) -> Workspace:
    return Workspace(cohort_size=cohort_size)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.state_dict().values()])


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, optimizer="sgd", momentum=0.9, weight_decay=1e-3, warmup_epochs=1),
        replace(RECIPE, milestones=(1, 2)),
    ],
    ids=["adam", "sgd", "milestones"],
)
def test_together_equals_apart(recipe: Recipe) -> None:
    records = toy_records(70)
    # 33 = 2 x 16 + 1: the last single record joins its neighbours; sizes differ in steps.
    work = jobs(70, (40, 33, 64, 17))
    apart = fit_networks(
        NETWORK, examples(records), work, recipe, workspace=Workspace(cohort_size=1)
    )
    together = fit_networks(
        NETWORK, examples(records), work, recipe, workspace=Workspace(cohort_size=4)
    )
    pairs = fit_networks(
        NETWORK, examples(records), work, recipe, workspace=Workspace(cohort_size=3)
    )
    for alone, stacked, paired in zip(apart, together, pairs, strict=True):
        torch.testing.assert_close(weights(alone), weights(stacked), rtol=0, atol=ROUNDING)
        torch.testing.assert_close(weights(alone), weights(paired), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("bits", [False, True])
def test_networks_that_standardize_stack_in_bf16(bits: bool) -> None:
    records = toy_records(64, bits=bits)
    factory = MLP(FEATURES, CLASSES, hidden=(16,), standardize=True)
    # bf16 has 8 bits: of 12 steps of 0.1 and gradients up to 1 it leaves so much in doubt.
    recipe = replace(RECIPE, precision="bfloat16", optimizer="sgd", learning_rate=0.1)
    work = jobs(64, (48, 33))
    apart, together = (
        fit_networks(factory, examples(records), work, recipe, workspace=sized(size))
        for size in (1, 2)
    )
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0.01)
        means = (n[1].running_mean for n in (one, other))  # type: ignore[index]
        torch.testing.assert_close(*means, rtol=0, atol=1e-5)


class Rounded(nn.Module):
    """What autocast makes of convolutions side by side on a GPU, and not on a processor."""

    def forward(self, x: Tensor) -> Tensor:
        return x.bfloat16()


def test_statistics_of_what_was_rounded_stack() -> None:
    def network() -> nn.Module:
        return nn.Sequential(
            nn.Linear(FEATURES, 16), Rounded(), nn.BatchNorm1d(16), nn.Linear(16, CLASSES)
        )

    records, work = toy_records(64), jobs(64, (48, 32))
    recipe = replace(RECIPE, precision="bfloat16", optimizer="sgd", learning_rate=0.1)
    apart, together = (
        fit_networks(network, examples(records), work, recipe, workspace=sized(size))
        for size in (1, 2)
    )
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0.01)


class Awake(MembershipNetwork):
    """Starts with weights whose gradients are far above Adam's epsilon, which rounding is not."""

    def __call__(self) -> nn.Sequential:
        network = super().__call__()
        for parameter in network.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)
        return network


def test_stacked_attack_networks_learn_as_apart() -> None:
    generator = torch_generator(0, "pairs")
    pairs = Examples(
        torch.rand(60, 2, 8, generator=generator), torch.tensor([1.0, 0.0]).expand(60, 2)
    )
    recipe = replace(RECIPE, epochs=2, loss="mse")
    work = [Job(f"{i}", torch.arange(30) + 30 * i, seed=i) for i in range(2)]
    apart, together = (
        fit_networks(Awake(5, 3), pairs, work, recipe, workspace=Workspace(cohort_size=size))
        for size in (1, 2)
    )
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=ROUNDING)


def test_same_seed_same_weights_and_other_seed_others() -> None:
    records = toy_records(40)
    rows = torch.arange(40)
    first, again, other = (
        fit_networks(NETWORK, examples(records), [Job("a", rows, seed)], RECIPE)[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(weights(first), weights(again))
    assert not torch.allclose(weights(first), weights(other))


@pytest.mark.parametrize("cohort_size", [1, 2])
def test_rows_outside_a_job_are_never_touched(cohort_size: int) -> None:
    clean = toy_records(60)
    work = jobs(60, (30, 20))
    expected = fit_networks(
        NETWORK, examples(clean), work, RECIPE, workspace=Workspace(cohort_size=cohort_size)
    )
    for i, job in enumerate(work):
        x = clean.x.clone()
        outside = torch.ones(60, dtype=torch.bool)
        outside[job.rows] = False
        x[outside] = float("nan")
        (alone,) = fit_networks(NETWORK, Examples(x, clean.y), [job], RECIPE)
        torch.testing.assert_close(weights(alone), weights(expected[i]), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("cohort_size", [1, 3])
@pytest.mark.parametrize("selection", ["last", "validation"])
def test_killed_anywhere_resumes_without_a_trace(
    cohort_size: int, selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, held_out = toy_records(50), toy_records(20, seed=1)
    recipe = replace(RECIPE, selection=selection)  # type: ignore[arg-type]
    work = jobs(50, (40, 24, 33))

    def fit(workspace: Workspace) -> list[torch.Tensor]:
        networks = fit_networks(
            NETWORK,
            examples(records),
            work,
            recipe,
            validation=examples(held_out),
            workspace=workspace,
        )
        return [weights(network) for network in networks]

    undisturbed = fit(Workspace(cohort_size=cohort_size))
    run_epoch = cohort.Cohort._run_epoch
    for kill_at in range(2, 9, 2):
        workspace = Workspace(
            folder=tmp_path / str(kill_at), checkpoint_seconds=0.0, cohort_size=cohort_size
        )
        calls = 0

        def dying(self: cohort.Cohort, *what: Any, stop: int = kill_at) -> object:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise KeyboardInterrupt
            return run_epoch(self, *what)

        monkeypatch.setattr(cohort.Cohort, "_run_epoch", dying)
        try:
            fit(workspace)
        except KeyboardInterrupt:
            pass
        else:
            assert cohort_size == 3  # three states share their epochs: there are fewer to die in
        monkeypatch.setattr(cohort.Cohort, "_run_epoch", run_epoch)
        for resumed, expected in zip(fit(workspace), undisturbed, strict=True):
            assert torch.equal(resumed, expected)


@pytest.mark.parametrize("finished", [1, 2])
def test_kill_while_a_stack_finishes_changes_nothing(
    finished: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks that are done stand beside the others: those compute as they would have."""
    records, work = toy_records(50), jobs(50, (40, 24, 33))
    workspace = Workspace(folder=tmp_path, checkpoint_seconds=0.0, cohort_size=3)

    def fit(where: Workspace) -> list[torch.Tensor]:
        networks = fit_networks(NETWORK, examples(records), work, RECIPE, workspace=where)
        return [weights(network) for network in networks]

    undisturbed, finish, calls = fit(Workspace(cohort_size=3)), NetworkState.finish, 0

    def dying(state: NetworkState) -> None:
        nonlocal calls
        calls += 1
        if calls > finished:
            raise KeyboardInterrupt
        finish(state)

    with monkeypatch.context() as patch:
        patch.setattr(NetworkState, "finish", dying)
        with pytest.raises(KeyboardInterrupt):
            fit(workspace)
    stacks: list[int] = []
    with monkeypatch.context() as patch:
        step = cohort.Cohort._step

        def noting(self: cohort.Cohort, *what: Any) -> None:
            stacks.append(len(self._lanes))
            step(self, *what)

        patch.setattr(cohort.Cohort, "_step", noting)
        resumed = fit(workspace)
    assert set(stacks) == {3}
    for one, expected in zip(resumed, undisturbed, strict=True):
        assert torch.equal(one, expected)
    assert not list(tmp_path.glob("*-checkpoint*"))


def test_a_resumed_stack_computes_in_the_same_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other shapes round otherwise; the largest batch may be that of a network that is done."""
    records, work = toy_records(50), jobs(50, (47, 36, 41))  # last batches of 15, 4 and 9
    shapes: list[tuple[int, ...]] = []
    learn = cohort.Cohort._learn

    def noting(self: cohort.Cohort, part: slice, movers: Any, rows: Tensor, *rest: Any) -> None:
        shapes.append(tuple(rows.shape))
        learn(self, part, movers, rows, *rest)

    monkeypatch.setattr(cohort.Cohort, "_learn", noting)
    workspace = Workspace(folder=tmp_path, cohort_size=3)
    fit_networks(NETWORK, examples(records), work, RECIPE, workspace=workspace)
    undisturbed = shapes.copy()
    for path in tmp_path.glob("job-[12]-*"):  # as if killed after the first was kept
        path.unlink()
    shapes.clear()
    fit_networks(NETWORK, examples(records), work, RECIPE, workspace=workspace)
    assert shapes == undisturbed


def test_only_own_finished_networks_are_found(tmp_path: Path) -> None:
    records = toy_records(40)
    workspace = Workspace(folder=tmp_path)
    work = jobs(40, (30,))
    fit_networks(NETWORK, examples(records), work, RECIPE, workspace=workspace)
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 1
    fit_networks(NETWORK, examples(records), work, RECIPE, workspace=workspace)
    assert {path.name for path in tmp_path.iterdir()} == kept
    changes = [
        (examples(toy_records(40, seed=3)), work, RECIPE),
        (examples(records), work, replace(RECIPE, epochs=2)),
        (examples(records), [Job(work[0].name, work[0].rows, 9)], RECIPE),
        (examples(records), [Job(work[0].name, work[0].rows[1:], work[0].seed)], RECIPE),
    ]
    for i, (data, other_work, recipe) in enumerate(changes):
        fit_networks(NETWORK, data, other_work, recipe, workspace=workspace)
        assert len(list(tmp_path.iterdir())) == 2 + i


@pytest.mark.parametrize(
    ("network", "x", "sizes"),
    [
        (MLP(FEATURES, CLASSES, hidden=(8,), standardize=True), toy_records(70).x, (4, 3)),
        (small_resnet(CLASSES, (0.5,), (0.25,)), torch.rand(70, 1, 8, 8), (3,)),
    ],
    ids=["mlp", "resnet"],
)
def test_networks_together_keep_own_statistics(
    network: NetworkFactory, x: Tensor, sizes: tuple[int, ...]
) -> None:
    data, work = Examples(x, toy_records(70).y), jobs(70, (40, 33, 64, 17))
    # Not Adam, which makes a whole step of the rounding of a gradient that should be 0.
    recipe = replace(RECIPE, optimizer="sgd", momentum=0.9, precision="float32")
    apart = fit_networks(network, data, work, recipe, workspace=sized(1))
    for size in sizes:
        together = fit_networks(network, data, work, recipe, workspace=sized(size))
        for one, other in zip(apart, together, strict=True):
            torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=5e-4)
            assert [b.data_ptr() for b in one.buffers()] != [b.data_ptr() for b in other.buffers()]


def test_networks_with_convolutions_are_not_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    def stacked(*_what: object) -> object:
        raise AssertionError("they are slower so")

    monkeypatch.setattr(cohort, "Stacked", stacked)
    data = Examples(torch.rand(16, 1, 8, 8), torch.arange(16) % CLASSES)
    factory = small_resnet(CLASSES, (0.5,), (0.25,))
    fit_networks(factory, data, jobs(16, (16, 16)), replace(RECIPE, epochs=1), workspace=sized(2))


class Breaking(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, _gradient: Tensor) -> Tensor:
        raise RuntimeError("not while this is recorded")


class Breaks(nn.Module):
    """Lets no gradient through."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = Breaking.apply(x)  # type: ignore[no-untyped-call]
        return output


def test_failed_backward_pass_leaves_no_gradients() -> None:
    built: list[nn.Module] = []

    def network() -> nn.Module:
        built.append(nn.Sequential(nn.Linear(FEATURES, 4), Breaks(), nn.Linear(4, CLASSES)))
        return built[-1]

    with pytest.raises(RuntimeError, match="not while"):
        fit_networks(network, examples(toy_records(20)), jobs(20, (20,)), RECIPE)
    assert all(p.grad is None for fresh in built for p in fresh.parameters())


class DropsByFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, self.training)


class LooksAtValues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if bool(x.max() > 0) else -x


class Recurs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, FEATURES, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.lstm(x[..., None])[0][:, -1]
        return output


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Dropout, "draws random numbers"),
        (DropsByFunction, "a stack of them cannot compute (vmap: called random operation"),
        (LooksAtValues, "a stack of them cannot compute (vmap: It looks like"),
        (Recurs, "a stack of them cannot compute ("),
    ],
)
def test_what_cannot_be_stacked_trains_one_at_a_time(
    layer: type[nn.Module], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def network() -> nn.Module:
        return nn.Sequential(layer(), nn.Linear(FEATURES, CLASSES))

    records, work = toy_records(40), jobs(40, (30, 20))
    with caplog.at_level("INFO"):
        together = fit_networks(
            network, examples(records), work, RECIPE, workspace=Workspace(cohort_size=2)
        )
    assert reason in caplog.text
    apart = fit_networks(
        network, examples(records), work, RECIPE, workspace=Workspace(cohort_size=1)
    )
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(weights(one), weights(other))


def test_soft_labels_of_certainty_equal_hard_labels() -> None:
    records = toy_records(40)
    soft = torch.nn.functional.one_hot(records.y, CLASSES).float()
    work = jobs(40, (30,))
    (hard,) = fit_networks(NETWORK, examples(records), work, RECIPE)
    (distilled,) = fit_networks(NETWORK, Examples(records.x, soft), work, RECIPE)
    torch.testing.assert_close(weights(hard), weights(distilled), rtol=0, atol=ROUNDING)


def test_validation_selects_the_best_epoch() -> None:
    records, held_out = toy_records(60), toy_records(200, seed=1)
    recipe = replace(RECIPE, epochs=8, learning_rate=0.05)
    work = jobs(60, (60,))

    def accuracy(network: nn.Module) -> float:
        return float((predict(network, held_out.x).argmax(1) == held_out.y).float().mean())

    by_epoch = [
        accuracy(fit_networks(NETWORK, examples(records), work, replace(recipe, epochs=e))[0])
        for e in range(1, 9)
    ]
    (selected,) = fit_networks(
        NETWORK,
        examples(records),
        work,
        replace(recipe, selection="validation"),
        validation=examples(held_out),
    )
    assert accuracy(selected) == max(by_epoch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 3e38, "optimizer": "sgd"}, "not finite"),
        ({"selection": "validation"}, "validation records"),
    ],
)
def test_training_that_cannot_go_on_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        fit_networks(
            NETWORK,
            examples(toy_records(40)),
            jobs(40, (40,)),
            replace(RECIPE, **change),  # type: ignore[arg-type]
        )


def test_a_job_without_rows_is_named() -> None:
    with pytest.raises(TrainingError, match="job-0"):
        fit_networks(NETWORK, examples(toy_records(10)), jobs(10, (0,)), RECIPE)


def test_bfloat16_keeps_float32_weights_and_learns() -> None:
    records = toy_records(200)
    recipe = replace(RECIPE, precision="bfloat16", epochs=10)
    (network,) = fit_networks(NETWORK, examples(records), jobs(200, (200,)), recipe)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    predicted = predict(network, records.x).argmax(1)
    assert (predicted == records.y).float().mean() > 0.8


@pytest.mark.parametrize("cohort_size", [1, 2])
def test_curves_are_told(cohort_size: int) -> None:
    records, held_out = toy_records(64), toy_records(30, seed=1)
    recipe = replace(RECIPE, batch_size=64, milestones=(1,), decay=0.1, selection="validation")
    log = Curves()
    networks = fit_networks(
        NETWORK,
        examples(records),
        jobs(64, (64, 40)),
        recipe,
        validation=examples(held_out),
        workspace=Workspace(log=log, cohort_size=cohort_size),
    )
    assert len(log.points) == 2 * recipe.epochs
    assert {values["learning_rate"] for (_, epoch), values in log.points.items() if epoch == 1} == {
        recipe.learning_rate
    }
    assert all(
        values["learning_rate"] == pytest.approx(recipe.learning_rate / 10)
        for (_, epoch), values in log.points.items()
        if epoch > 1
    )
    # One batch an epoch: the first loss is that of the initial network, whoever stands beside it.
    with seeded(0, "weights"):
        fresh = NETWORK()
    expected = nn.functional.cross_entropy(predict(fresh, records.x), records.y)
    first = {name: values["loss"] for (name, epoch), values in log.points.items() if epoch == 1}
    assert first["job-0"] == pytest.approx(float(expected.detach()), rel=1e-4)
    best = max(v["validation_accuracy"] for (name, _), v in log.points.items() if name == "job-0")
    selected = predict(networks[0], held_out.x).argmax(1) == held_out.y
    assert float(selected.double().mean()) == best
