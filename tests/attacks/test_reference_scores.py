"""Scores from confidences of reference models, against the papers' formulas written out."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm, spearmanr
from scipy.stats import t as student_t

from selena.attacks import reference_answers
from selena.attacks.reference_answers import Answers
from selena.attacks.reference_scores import (
    base_scores,
    bavaria_scores,
    empirical_bayes_scores,
    lira_scores,
    rmia_scores,
)
from selena.attacks.reference_variance import own_finds_more
from selena.errors import ConfigError, DataError
from selena.metrics import roc_curve

RUNS, N = 8, 300
SCORES: dict[str, Callable[..., Any]] = {
    "lira": lira_scores,
    "rmia": rmia_scores,
    "base": base_scores,
    "bavaria": bavaria_scores,
    "empirical_bayes": empirical_bayes_scores,
}
OFFLINE = [name for name in SCORES if name != "empirical_bayes"]
every_score = pytest.mark.parametrize("name", SCORES)
every_way = pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in SCORES), *((name, {"online": False}) for name in OFFLINE)],
)


def pool(
    runs: int = RUNS, n: int = N, leak: float = 3.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return target, references, inside, truth: a member's log-odds are higher by `leak`."""
    generator = np.random.default_rng(0)
    hardness = generator.normal(0, 4, n)
    inside = np.zeros((runs, n), dtype=bool)
    for pair in range(runs // 2):
        half = generator.permutation(n) < n // 2
        inside[2 * pair], inside[2 * pair + 1] = half, ~half
    truth = generator.permutation(n) < n // 2
    noise = generator.normal(size=(runs + 1, n))
    references = hardness + noise[:runs] + leak * inside
    return hardness + noise[-1] + leak * truth, references, inside, truth


def test_lira_is_the_papers_log_likelihood_ratio() -> None:
    target, references, inside, _ = pool()
    expected = []
    for i, phi in enumerate(target):
        seen, unseen = references[inside[:, i], i], references[~inside[:, i], i]
        ratio = norm.logpdf(phi, seen.mean(), seen.std(ddof=1))
        expected.append(ratio - norm.logpdf(phi, unseen.mean(), unseen.std(ddof=1)))
    np.testing.assert_allclose(
        lira_scores(target, references, inside, variance="record"), expected, rtol=1e-9
    )


def test_offline_lira_counts_standard_deviations() -> None:
    target, references, inside, _ = pool()
    unseen = [references[~inside[:, i], i] for i in range(N)]
    expected = [(phi - x.mean()) / x.std(ddof=1) for phi, x in zip(target, unseen, strict=True)]
    found = lira_scores(target, references, inside, variance="record", online=False)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize(
    ("runs", "alike", "expected"),
    [(4, False, "shared"), (8, True, "shared"), (16, False, "record"), (64, False, "record")],
)
def test_auto_variance_finds_more(runs: int, alike: bool, expected: str, online: bool) -> None:
    target, references, inside, _ = pool(runs, 2_000)
    if not alike:  # half of the records vary a hundredth as much
        middle = references.mean(axis=0)
        references[:, ::2] = (middle + (references - middle) / 100)[:, ::2]
    np.testing.assert_array_equal(
        lira_scores(target, references, inside, online=online),
        lira_scores(target, references, inside, online=online, variance=expected),
    )


def test_auto_variance_with_uneven_halves() -> None:
    # Of 20 coin flips, under four fall on one side for a few of 2,000 records.
    inside = np.random.default_rng(3).random((20, 2_000)) < 0.5
    assert 2 <= min(inside.sum(axis=0).min(), (~inside).sum(axis=0).min()) < 4
    draws = np.random.default_rng(4)
    spread = np.where(np.arange(2_000) % 2, 1.0, 0.01)
    target, *references = draws.normal(size=(21, 2_000)) * spread
    found = lira_scores(target, references + inside, inside)
    own = lira_scores(target, references + inside, inside, variance="record")
    np.testing.assert_array_equal(found, own)


@pytest.mark.parametrize(("runs", "expected"), [(62, "shared"), (64, "record")])
def test_auto_variance_without_members(runs: int, expected: str) -> None:
    target, references, inside, _ = pool(runs)
    nobody = np.zeros_like(inside)
    np.testing.assert_array_equal(
        lira_scores(target, references, nobody, online=False),
        lira_scores(target, references, nobody, online=False, variance=expected),
    )


@pytest.mark.parametrize("online", [True, False])
def test_no_records_have_no_scores(online: bool) -> None:
    nothing = np.zeros((16, 0))
    found = lira_scores(np.zeros(0), nothing, nothing.astype(bool), online=online)
    assert found.shape == (0,)


def test_auto_variance_does_not_read_the_target() -> None:
    _, references, inside, truth = pool(16, 2_000)
    for target in (np.where(truth, 9.0, -9.0), np.zeros(2_000)):
        answers = Answers.checked(target, references, inside, least=2, online=True)
        assert not own_finds_more(answers)


@pytest.mark.parametrize("online", [True, False])
def test_rmia_is_the_papers_share_of_a_population(online: bool) -> None:
    target, references, inside, _ = pool()
    z, z_references = target[:97] - 1, references[:, :97] - 1
    p = expit(references)
    if online:
        mean = p.mean(axis=0)
    else:
        outside = (p * ~inside).sum(axis=0) / (~inside).sum(axis=0)
        mean = (1.3 * outside + 0.7) / 2
    z_mean = expit(z_references).mean(axis=0)
    z_mean = z_mean if online else (1.3 * z_mean + 0.7) / 2
    ratio, z_ratio = expit(target) / mean, expit(z) / z_mean
    share = (ratio[:, None] / z_ratio >= 2).mean(axis=1)
    found = rmia_scores(
        target, references, inside, population=(z, z_references), gamma=2.0, online=online
    )
    np.testing.assert_allclose(np.floor(found * 98) / 97, share, atol=1e-12)
    assert len(np.unique(found)) == N


def test_rmia_ranks_the_same_without_population() -> None:
    target, references, inside, _ = pool()
    z, z_references, _, _ = pool(n=4000, leak=0.0)
    by_share = rmia_scores(target, references, inside, population=(z, z_references))
    assert spearmanr(by_share, rmia_scores(target, references, inside)).statistic > 0.9999


def test_base_is_rmia_without_a_population() -> None:
    given = pool()[:3]
    np.testing.assert_allclose(base_scores(*given), rmia_scores(*given), rtol=1e-12)


def test_bavaria_is_the_ratio_of_student_t_densities() -> None:
    target, references, inside, _ = pool()
    log_densities = []
    for side in (inside, ~inside):
        each = [references[side[:, i], i] for i in range(N)]
        pooled = np.mean([x.var(ddof=1) for x in each])
        found = []
        for phi, x in zip(target, each, strict=True):
            freedom = 4 + len(x) - 1
            variance = (4 * pooled + (len(x) - 1) * x.var(ddof=1)) / freedom
            scale = np.sqrt(variance * (1 + 1 / len(x)))
            found.append(student_t.logpdf(phi, freedom, x.mean(), scale))
        log_densities.append(np.array(found))
    np.testing.assert_allclose(
        bavaria_scores(target, references, inside), log_densities[0] - log_densities[1], rtol=1e-9
    )


@every_way
def test_a_planted_leak_has_auc_1(name: str, options: dict[str, bool]) -> None:
    target, references, inside, truth = pool(leak=40.0)
    found = SCORES[name](target - 10, references - 10, inside, **options)
    assert roc_curve(found, truth).auc > 0.995


@every_score
def test_scores_of_a_harmless_target_are_near_half(name: str) -> None:
    """Six standard deviations of an AUC of 150 against 150: 0.2."""
    target, references, inside, truth = pool(leak=0.0)
    assert abs(roc_curve(SCORES[name](target, references, inside), truth).auc - 0.5) < 0.2


@every_way
def test_saturated_confidences_do_not_tie(name: str, options: dict[str, bool]) -> None:
    target, references, inside, _ = pool()
    found = SCORES[name](target + 60, references + 60, inside, **options)
    assert len(np.unique(found)) == N


@pytest.mark.parametrize("name", OFFLINE)
def test_offline_scores_ignore_models_that_saw_it(name: str) -> None:
    target, references, inside, _ = pool()
    changed = np.where(inside, references.mean(), references)
    np.testing.assert_array_equal(
        SCORES[name](target, references, inside, online=False),
        SCORES[name](target, changed, inside, online=False),
    )


@every_score
def test_chunks_give_the_scores_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = pool()[:3]
    whole = SCORES[name](*given)
    monkeypatch.setattr(reference_answers, "_COLUMNS", 7)
    np.testing.assert_allclose(SCORES[name](*given), whole, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": np.zeros((3, 2))}, "Shapes disagree"),
        ({"target": np.full(N, np.nan)}, "target holds NaN"),
        ({"inside": np.full((RUNS, N), 2)}, "other values than 0 and 1"),
        ({"inside": np.zeros((RUNS, N), bool)}, "0 reference models that trained on it"),
    ],
)
def test_wrong_arrays_are_named(change: dict[str, Any], message: str) -> None:
    target, references, inside, _ = pool()
    given = {"target": target, "references": references, "inside": inside} | change
    with pytest.raises(DataError, match=message):
        lira_scores(**given)


@every_score
def test_tensors_and_lists_are_taken(name: str) -> None:
    given = pool(n=40)[:3]
    expected = SCORES[name](*given)
    tensors = [torch.from_numpy(each) for each in given]
    tensors[0].requires_grad_()
    np.testing.assert_array_equal(SCORES[name](*tensors), expected)
    np.testing.assert_array_equal(SCORES[name](*(each.tolist() for each in given)), expected)
    half = [torch.from_numpy(each).bfloat16() for each in given[:2]]
    exact = [each.double().numpy() for each in half]
    np.testing.assert_array_equal(SCORES[name](*half, given[2]), SCORES[name](*exact, given[2]))


@every_way
def test_the_score_is_the_mean_over_queries(name: str, options: dict[str, bool]) -> None:
    target, references, inside, _ = pool()
    queries = (target, references), (target - 1, references + 0.5 * inside)
    each = [SCORES[name](phi, models, inside, **options) for phi, models in queries]
    both = [np.stack(part, axis=-1) for part in zip(*queries, strict=True)]
    together = SCORES[name](*both, inside, **options)
    end = max(abs(references).max(), abs(queries[1][1]).max())
    assert end < abs(references).max() + np.log(2)  # nothing is cut in one and not in the other
    np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-9)


@every_score
def test_scores_need_little_memory_beside_arrays(name: str) -> None:
    """A copy in float64 would be twice as large as they are."""
    n, runs = 120_000, 32
    draws = np.random.default_rng(0)
    references = draws.standard_normal((runs, n), dtype=np.float32)
    inside = np.arange(runs)[:, None] % 2 == np.arange(n) % 2
    target = references.mean(axis=0)
    tracemalloc.start()
    SCORES[name](target, references, inside)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * references.nbytes


def test_wrong_settings_are_named() -> None:
    given = pool()[:3]
    with pytest.raises(ConfigError, match="variance='own'"):
        lira_scores(*given, variance="own")
    with pytest.raises(ConfigError, match="gamma is 0"):
        rmia_scores(*given, gamma=0.0)
    with pytest.raises(ConfigError, match="offline_a is 2"):
        rmia_scores(*given, offline_a=2.0)
    with pytest.raises(ConfigError, match="prior_models is 0"):
        bavaria_scores(*given, prior_models=0.0)


@pytest.mark.deep
def test_scores_are_found_below_selena_attacks() -> None:
    code = "import selena; print(selena.attacks.lira_scores.__name__, 'scipy.stats' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["lira_scores", "False"]
