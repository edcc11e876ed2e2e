"""What must hold on a GPU as well; skipped where there is none."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from selena.attacks.neighbors import flip_patterns
from selena.attacks.neural import NeuralAttack
from selena.auditing.oracle import MeteredOracle
from selena.cli import app
from selena.defenses.undefended import Undefended
from selena.networks.mlp import MLP
from selena.networks.resnet import small_resnet
from selena.training import gpu_step, model
from selena.training.engine import fit_networks
from selena.training.flips import flipped_labels
from selena.training.inference import predict
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.types import MembershipSets
from selena.workspace import Workspace
from tests.attacks.test_all_attacks import CASES as ATTACKS
from tests.attacks.test_all_attacks import Case, global_summary
from tests.defenses.test_all_defenses import CASES as DEFENSES
from tests.defenses.test_all_defenses import TEST, TRAIN, VALIDATION
from tests.experiments.gpu_row import rehearse
from tests.toys import CLASSES, FEATURES, NETWORK, RECIPE, toy_records

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CUDA = Workspace(device="cuda")
ROOT = Path(__file__).parent.parent
FLOAT32 = replace(RECIPE, precision="float32")


def jobs(n: int, sizes: tuple[int, ...]) -> list[Job]:
    return [Job(f"job-{i}", torch.arange(n)[:size], seed=i) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("standardize", [False, True])
def test_stack_equals_networks_apart_and_on_cpu(standardize: bool) -> None:
    factory = MLP(FEATURES, CLASSES, hidden=(16,), standardize=standardize)
    records, recipe = toy_records(70), replace(FLOAT32, optimizer="sgd")
    data, work = Examples(records.x, records.y), jobs(70, (40, 33, 64))
    together = fit_networks(factory, data, work, recipe, workspace=CUDA)
    apart = fit_networks(factory, data, work, recipe, workspace=replace(CUDA, cohort_size=1))
    on_cpu = fit_networks(factory, data, work, recipe)
    answers = [
        torch.stack([predict(n, records.x, device=device) for n in networks])
        for networks, device in ((together, "cuda"), (apart, "cuda"), (on_cpu, "cpu"))
    ]
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-4)
    torch.testing.assert_close(answers[0], answers[2], rtol=0, atol=1e-3)


def test_resnets_train_on_the_device() -> None:
    x, y = torch.rand(64, 3, 16, 16), torch.arange(64) % CLASSES
    factory = small_resnet(CLASSES, (0.5,) * 3, (0.25,) * 3)
    recipe = Recipe(batch_size=16, epochs=2, augmentation="crop_flip")
    networks = fit_networks(factory, Examples(x, y), jobs(64, (64, 48)), recipe, workspace=CUDA)
    assert all(p.is_cuda for network in networks for p in network.parameters())
    assert all(bool(torch.isfinite(predict(n, x, device="cuda")).all()) for n in networks)


def fit_resnets() -> list[torch.Tensor]:
    """Return answers of residual networks after enough steps that some are recorded."""
    torch.manual_seed(0)
    x, y = torch.rand(72, 3, 16, 16), torch.arange(72) % CLASSES
    factory = small_resnet(CLASSES, (0.5,) * 3, (0.25,) * 3)
    recipe = Recipe(
        optimizer="sgd",
        learning_rate=0.01,
        batch_size=32,
        epochs=6,
        augmentation="crop_flip",
        precision="float32",
        milestones=(3,),
    )
    networks = fit_networks(factory, Examples(x, y), jobs(72, (72, 50)), recipe, workspace=CUDA)
    return [predict(network, x, device="cuda").softmax(dim=1) for network in networks]


def test_recorded_steps_equal_called_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = fit_resnets()
    monkeypatch.setattr(gpu_step, "_WARM_UP", 1_000)
    torch.testing.assert_close(fit_resnets(), recorded, rtol=0, atol=1e-3)


def compare_compiled() -> None:
    """Fail unless compiled networks learn what they learn uncompiled."""
    logging.basicConfig(level=logging.INFO)
    uncompiled = fit_resnets()
    gpu_step._WORTH_COMPILING = 1
    torch.testing.assert_close(fit_resnets(), uncompiled, rtol=0, atol=1e-2)


def test_compiled_networks_learn_the_same() -> None:
    if torch.version.cuda is None or find_spec("triton") is None:
        pytest.skip("needs a GPU's compiler")
    # In a process that does not check types: the compiler would compile the checks.
    code = "from tests.test_cuda import compare_compiled; compare_compiled()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "not compiled" not in done.stderr


@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_fits_and_answers(name: str) -> None:
    if name == "dp_sgd":
        pytest.importorskip("opacus", reason="needs the extra `dp`")
        if torch.version.cuda is None:
            pytest.skip("its noise is a GPU's own, which an emulated one does not have")
    fitted = DEFENSES[name].fit(TRAIN, VALIDATION, seed=3, workspace=CUDA)
    logits = fitted.logits(TEST.x)
    assert not logits.is_cuda
    assert float((logits.argmax(dim=1) == TEST.y).float().mean()) > 0.45  # chance is 0.25
    for device in ("cuda", "cpu"):
        state = {part: tensor.to(device) for part, tensor in fitted.state().items()}
        answers = DEFENSES[name].restore(state).logits(TEST.x)
        torch.testing.assert_close(answers.softmax(1), logits.softmax(1), rtol=0, atol=1e-3)


def test_a_run_is_attacked_where_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def remember(*what: Any, device: str = "cpu") -> torch.Tensor:
        asked.append(torch.device(device).type)
        return predict(*what, device=device)

    monkeypatch.setattr(model, "predict", remember)
    arguments = "run --dataset digits --members 100 --defense undefended --attack confidence"
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(
        app, [*arguments.split(), "--seed", "1", "--device", "cuda", *folders]
    )
    assert done.exit_code == 0, done.output
    assert set(asked) == {"cuda"}


@pytest.mark.usefixtures("undrawn")
def test_the_row_of_cifar100_runs_in_small(tmp_path: Path) -> None:
    plan = {"architecture": "small_resnet"}
    rows = rehearse(tmp_path, "cuda", plan=plan, attacks=["direct", "adaptive"])
    assert [row["defense"] for row in rows] == ["undefended", "selena"]


@pytest.mark.parametrize("case", ATTACKS, ids=[f"{c.attack.name}-{c.kind}" for c in ATTACKS])
def test_every_attack_finds_a_planted_leak(case: Case) -> None:
    advantage, auc = global_summary(case, case.leak, CUDA)
    assert advantage >= case.advantage - 0.05
    assert auc >= case.auc - 0.05


def test_flipped_labels_equal_those_of_flipped_rows() -> None:
    network = MLP(40, CLASSES, hidden=(64,))().cuda().eval()
    x = (torch.rand(50, 40) < 0.3).to(torch.uint8)
    flips = flip_patterns(40, 5, 8, seed=0)
    expected = torch.stack(
        [predict(network, x ^ row.to(torch.uint8), device="cuda").argmax(1) for row in flips], dim=1
    )
    assert torch.equal(flipped_labels(network, x, flips, device="cuda"), expected)


def test_attack_networks_train_as_one_stack() -> None:
    members, others = toy_records(40), toy_records(40, seed=1, start=100)
    target = Undefended(NETWORK, CLASSES, RECIPE).fit(members, others, seed=0, workspace=CUDA)
    attack = NeuralAttack(epochs=2, batch_size=16)
    known = MembershipSets(members, others)
    fittings = [attack.prepare(MeteredOracle(target, "logits"), known, seed=s) for s in (1, 2)]
    together = fittings[0].train(fittings[1:], CUDA)
    for fitting, scorer in zip(fittings, together, strict=True):
        (alone,) = fitting.train([], CUDA)
        torch.testing.assert_close(scorer.score(members), alone.score(members), rtol=0, atol=1e-4)
