"""MemGuard's noise search against a plain one, and its short cuts against autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from selena.defenses.memguard_inference import InferenceNetwork
from selena.defenses.memguard_noise import NoiseSearch
from tests.defenses.plain_memguard import inference_network, one_by_one, work

SEARCH = NoiseSearch(most_steps=20)


def distributions(n: int, classes: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits.softmax(dim=1)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_batch_equals_one_at_a_time(classes: int) -> None:
    network = inference_network(classes)
    generator = torch.Generator().manual_seed(classes)
    queries = 3 * torch.randn(20, classes, generator=generator, dtype=torch.float64)
    queries = queries.sort(dim=1).values
    # A tie on top cannot be kept by standing still, and fails or is broken for the label.
    queries[0, -2] = queries[0, -1]
    found, success = SEARCH.run(network, queries)
    plain = [one_by_one(SEARCH, network, query) for query in queries]
    successes = torch.tensor([count for _, count in plain])
    assert torch.equal(success, successes > 0)
    # Failures, early ends and full schedules: else little was compared.
    assert {0, 7} < set(successes.tolist())
    torch.testing.assert_close(found, torch.stack([z for z, _ in plain]), rtol=0, atol=1e-4)


def test_a_query_alone_equals_the_query_in_a_crowd() -> None:
    network = inference_network(6)
    queries = torch.randn(700, 6, generator=torch.Generator().manual_seed(1)).double()
    queries = (3 * queries).sort(dim=1).values
    found, success = SEARCH.run(network, queries)
    assert int(success.sum()) > 0
    for rows in (slice(0, 1), slice(350, 351), slice(699, 700), slice(100, 400)):
        alone, alone_success = SEARCH.run(network, queries[rows])
        torch.testing.assert_close(alone, found[rows], rtol=0, atol=1e-6)
        assert torch.equal(alone_success, success[rows])


def test_threads_do_not_change_answers() -> None:
    network = inference_network(6)
    queries = distributions(600, 6, seed=0).log().sort(dim=1).values
    found, success = SEARCH.run(network, queries)
    torch.set_num_threads(2)
    try:
        shared, shared_success = SEARCH.run(network, queries)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(shared, found, rtol=0, atol=1e-6)
    assert torch.equal(shared_success, success)


def test_an_undecided_query_is_left_alone() -> None:
    network = inference_network(4)
    with torch.no_grad():
        for parameter in list(network.parameters())[-2:]:
            parameter.zero_()
    queries = torch.randn(5, 4).double().sort(dim=1).values
    found, success = SEARCH.run(network, queries)
    assert not bool(success.any())
    assert torch.equal(found, queries)


def test_walk_may_cross_and_find_its_label_again() -> None:
    network = inference_network(4, seed=2)
    generator = torch.Generator().manual_seed(2)
    queries = 0.05 * torch.randn(30, 4, generator=generator, dtype=torch.float64)
    queries = queries.sort(dim=1).values
    with torch.no_grad():
        *hidden, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
        for layer in hidden:
            layer.bias.fill_(10.0)  # every ReLU stays open
        last.bias.sub_(network(queries.softmax(dim=1).float()).median())
    found, _ = SEARCH.run(network, queries)
    plain = torch.stack([one_by_one(SEARCH, network, query)[0] for query in queries])
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-4)


def by_autograd(network: nn.Module, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return h, and the gradient of |h| within the plane of distributions."""
    p = p.clone().requires_grad_()
    score = network.double()(p).squeeze(1)
    (pull,) = torch.autograd.grad(score.abs().sum(), p)
    return score.detach(), pull - pull.mean(dim=1, keepdim=True)


@settings(max_examples=30)
@given(classes=st.integers(2, 9), seed=st.integers(0, 10**6))
def test_a_piece_is_linear_as_far_as_it_reaches(classes: int, seed: int) -> None:
    network = inference_network(classes, seed % 7)
    p, other = distributions(30, classes, seed), distributions(30, classes, seed + 1)
    pieces = InferenceNetwork(network).pieces(p)
    towards = other - p
    edge = p + (0.999 * pieces.reach / towards.norm(dim=1)).clamp_max(1)[:, None] * towards
    for point in (p, edge):
        score, pull = by_autograd(network, point)
        torch.testing.assert_close(pieces.pull, pull, rtol=0, atol=1e-4)
        # h's sign stays too, and |h| changes as the gradient says.
        expected = pieces.score.abs() + (pieces.pull * (point - p)).sum(dim=1)
        torch.testing.assert_close(score * pieces.score.sign(), expected, rtol=0, atol=1e-4)
    scratch = torch.empty_like(p)
    # A piece of which nothing is known, such as where h is 0, ends where it begins.
    assert torch.equal(pieces.left_by(edge, scratch), torch.nonzero(pieces.reach == 0).squeeze(1))
    beyond = p + (1.001 * pieces.reach / towards.norm(dim=1))[:, None] * towards
    assert len(pieces.left_by(beyond, scratch)) == len(p)


@pytest.mark.parametrize("closed", [0, 5, 16])
def test_units_that_no_distribution_opens_are_left_out(closed: int) -> None:
    network = inference_network(4)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        first.bias[:closed] = -first.weight[:closed].amax(dim=1) - 0.01
    small = InferenceNetwork(network)
    # One unit stays, for a layer is never empty.
    assert len(small.weights[0]) <= max(16 - closed, 1)
    p = distributions(50, 4, seed=0)
    score, pull = by_autograd(network, p)
    pieces = small.pieces(p)
    torch.testing.assert_close(pieces.score, score, rtol=0, atol=1e-5)
    torch.testing.assert_close(pieces.pull, pull, rtol=0, atol=1e-5)


def test_few_steps_ask_the_network() -> None:
    queries = distributions(50, 6, seed=0).log().sort(dim=1).values
    steps, asked = work(NoiseSearch(), inference_network(6), queries)
    # Most of the work is at a c3 that is too much, for as many steps as there may be.
    assert steps > 50 * 300
    assert asked < steps / 3
