"""The network that tells members from non-members, trained as an attack and as an adversary.

    python -m benchmarks.membership_networks [--repeats N] [--only STAGE ...] [--json FILE]

`neural_attack` trains attack networks of one shape side by side, as an audit does, and
`adversarial_regularization` plays some epochs of the game; the plain sides train one network after
another and ask about one batch of one side after another, in float32 with PyTorch's own Adam. Both
draw the same weights and batches, and what they end with is compared before any time is reported:
from larger weights, for out of the tiny ones that such networks start with, rounding
decides which way they go.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.training import NETWORK, POOL, compute_dtype, operations
from benchmarks.turns import common_options, take_turns, tell
from selena.attacks.neural import NeuralAttack, NeuralFitting
from selena.auditing.oracle import MeteredOracle
from selena.data import audit_split, load
from selena.defenses import adversarial_regularization as game_module
from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.defenses.undefended import Undefended
from selena.networks.membership import MembershipNetwork
from selena.seeding import child_seed, seeded, torch_generator
from selena.training import executor
from selena.training.batches import as_input, shuffled_batches
from selena.training.inference import predict
from selena.training.recipe import Recipe
from selena.types import AuditSplit, Records
from selena.workspace import Workspace

SEED, CLASSES, MEMBERS = 0, 100, 4_000
ATTACK = NeuralAttack(epochs=12)
GAME = AdversarialRegularization(
    NETWORK, CLASSES, Recipe(epochs=2), warm_up_epochs=1, attack_passes=2, attack_batches=13
)
# Sides that differ by rounding alone: scores against their spread, and probabilities.
SCORE_TOLERANCE, TOLERANCE = 0.02, 1e-3
# Test accuracy of bf16 and of float32; two seeds differ by as much.
ACCURACY_TOLERANCE = 0.03


@dataclass(frozen=True)
class Awake(MembershipNetwork):
    """Starts with weights through which signals pass, so that it learns from the first step."""

    def __call__(self) -> nn.Sequential:
        network = super().__call__()
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        return network


def neural_attack(split: AuditSplit, repeats: int, networks: int = 3) -> dict[str, Any]:
    """Return the stage: attack networks on what an undefended model says of its members.

    Raises:
        AssertionError: networks that score otherwise than those trained plainly, or all alike.
    """
    target = Undefended(NETWORK, CLASSES, Recipe(epochs=10)).fit(
        split.train, split.validation, seed=SEED
    )
    oracle = MeteredOracle(target, "logits")
    fittings = [
        ATTACK.prepare(oracle, split.known, seed=child_seed(SEED, "attack", i))
        for i in range(networks)
    ]

    def ours(fittings: Sequence[NeuralFitting], workspace: Workspace = POOL) -> list[nn.Module]:
        return [scorer.towers for scorer in fittings[0].train(fittings[1:], workspace)]

    def theirs(fittings: Sequence[NeuralFitting]) -> list[nn.Module]:
        return [plain_attack_network(fitting) for fitting in fittings]

    awake = [
        replace(f, network=Awake(CLASSES, CLASSES), recipe=replace(f.recipe, epochs=2))
        for f in fittings
    ]
    expected = theirs(awake)
    compare_scores(ours(awake, Workspace(workers=1, cohort_size=1)), expected, fittings)
    compare_scores(ours(awake), expected, fittings)
    records = networks * ATTACK.epochs * 2 * len(fittings[0].pairs)
    done = records * membership_operations(CLASSES)
    stage, *_ = take_turns(
        lambda: ours(fittings), lambda: theirs(fittings), done, torch.float32, repeats
    )
    return {**stage, "epochs": ATTACK.epochs, "networks": networks}


def compare_scores(
    ours: Sequence[nn.Module],
    theirs: Sequence[nn.Module],
    fittings: Sequence[NeuralFitting],
) -> None:
    """Raise `AssertionError` for scores that differ by more than rounding explains."""
    for one, other, fitting in zip(ours, theirs, fittings, strict=True):
        scores, expected = (predict(n, fitting.pairs.flatten(0, 1)) for n in (one, other))
        gap, spread = float((scores - expected).abs().max()), float(expected.std())
        assert spread > 0.1, f"the plain network tells nothing apart; its scores vary by {spread}"
        assert gap < SCORE_TOLERANCE * spread, f"scores differ by {gap}, vary by {spread}"


def adversarial_regularization(split: AuditSplit, repeats: int) -> dict[str, Any]:
    """Return the stage: warm-up, the adversary's first passes, and some epochs of the game.

    Raises:
        AssertionError: in float32 another classifier than the plain game's, or than none's; in
            the precision of this machine one of another test accuracy.
    """
    others = split.evaluation.non_members

    def play(game: AdversarialRegularization) -> nn.Module:
        return game.fit(split.train, split.validation, seed=SEED).network

    def theirs(
        game: AdversarialRegularization = GAME,
        adversary: type[MembershipNetwork] = MembershipNetwork,
    ) -> nn.Module:
        return plain_game(game, adversary(CLASSES, CLASSES), split.train, split.validation)

    def probabilities(network: nn.Module) -> Tensor:
        return predict(network, others.x).softmax(dim=1)

    short = replace(
        GAME,
        recipe=replace(GAME.recipe, precision="float32"),
        attack_recipe=replace(GAME.attack_recipe, precision="float32"),
        attack_passes=1,
        attack_batches=4,
    )
    with patch.object(game_module, "MembershipNetwork", Awake):
        one = probabilities(play(short))
    other = probabilities(theirs(short, Awake))
    torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)
    ordinary = probabilities(play(replace(short, alpha=0.0)))
    assert float((ordinary - other).abs().max()) > 5 * TOLERANCE, "the adversary changed nothing"

    done = game_operations(GAME, split)
    stage, *last = take_turns(lambda: play(GAME), theirs, done, compute_dtype(), repeats)
    right = [
        float((probabilities(network).argmax(dim=1) == others.y).double().mean())
        for network in last
    ]
    assert abs(right[0] - right[1]) < ACCURACY_TOLERANCE, f"accuracies are {right}"
    return {**stage, "epochs": GAME.recipe.epochs, "accuracy_gap": right[0] - right[1]}


def membership_operations(observed: int) -> int:
    """Return the operations of one record's forward and backward pass.

    Three products per layer, except for the gradients of what is observed and of the label.
    """
    network = MembershipNetwork(observed, CLASSES)()
    products = [m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear)]
    first = 1024 * observed + 128 * CLASSES
    return 2 * (3 * sum(products) - first)


def game_operations(game: AdversarialRegularization, split: AuditSplit) -> int:
    """Return the operations of the game: of the adversary's steps, then of the classifier's."""
    members, size = len(split.train), game.recipe.batch_size
    steps, played = -(-members // size), game.recipe.epochs - game.warm_up_epochs
    passes = game.attack_passes + played * game.attack_batches
    # In each pass over the members, references fill the other half of a batch, more or less.
    references = min(size, len(split.validation)) * steps
    widths = [NETWORK.in_features, *NETWORK.hidden, CLASSES]
    asked = 2 * sum(a * b for a, b in itertools.pairwise(widths))
    judged = passes * (members + references) * (asked + membership_operations(CLASSES))
    # The adversary's gradients of predictions take two products a layer; its weights have none.
    through = 2 * membership_operations(CLASSES) // 3
    return judged + members * (game.recipe.epochs * operations(NETWORK) + played * through)


def plain_attack_network(fitting: NeuralFitting) -> nn.Module:
    """Return one attack network trained by itself, without its sigmoid."""
    job_seed, recipe = fitting.seed, fitting.recipe
    with seeded(job_seed, "weights"):
        network = fitting.network()
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate)
    truth = torch.tensor([1.0, 0.0])
    for epoch in range(recipe.epochs):
        draws = torch_generator(job_seed, "batches", epoch)
        every = torch.arange(len(fitting.pairs))
        for rows in shuffled_batches(every, recipe.batch_size, draws):
            optimizer.zero_grad()
            guesses = network(fitting.pairs[rows]).squeeze(-1)
            functional.mse_loss(guesses, truth.expand(len(rows), 2)).backward()
            optimizer.step()
    return network.eval().get_submodule("0")


def plain_game(
    game: AdversarialRegularization,
    build_adversary: MembershipNetwork,
    members: Records,
    references: Records,
) -> nn.Module:
    """Return the classifier of the game, played one batch of one side after another."""
    with seeded(SEED, "weights"):
        classifier = game.network()
    with seeded(SEED, "inference network"):
        adversary = build_adversary()
    sides = [(as_input(records.x), records.y) for records in (members, references)]
    learns = torch.optim.Adam(classifier.parameters(), game.recipe.learning_rate)
    spies = torch.optim.Adam(adversary.parameters(), game.attack_recipe.learning_rate)

    def rounds(side: str, n: int, epoch: int) -> Iterator[Tensor]:
        for turn in itertools.count():
            draws = torch_generator(SEED, "attack", side, epoch, turn)
            yield from shuffled_batches(torch.arange(n), game.recipe.batch_size, draws)

    def guess(logits: Tensor, y: Tensor) -> Tensor:
        label = functional.one_hot(y, CLASSES).float()
        guesses: Tensor = adversary(torch.cat([logits.softmax(dim=1), label], dim=1))
        return guesses.squeeze(1)

    def spy(batches: Sequence[Tensor]) -> None:
        spies.zero_grad()
        for (x, y), rows, truth in zip(sides, batches, (1.0, 0.0), strict=True):
            with torch.no_grad():
                logits = classifier(x[rows])
            (((guess(logits, y[rows]) - truth) ** 2).mean() / 2).backward()
        spies.step()

    x, y = sides[0]
    for epoch in range(game.recipe.epochs):
        draws = torch_generator(SEED, "batches", epoch)
        batches = shuffled_batches(torch.arange(len(x)), game.recipe.batch_size, draws)
        lengths = {"members": len(members), "references": len(references)}
        pairs = zip(*(rounds(side, n, epoch) for side, n in lengths.items()), strict=True)
        if epoch == game.warm_up_epochs:
            for _ in range(game.attack_passes * len(batches)):
                spy(next(pairs))
        for rows in batches:
            played = epoch >= game.warm_up_epochs
            for _ in range(game.attack_batches if played else 0):
                spy(next(pairs))
            learns.zero_grad()
            logits = classifier(x[rows])
            loss = functional.cross_entropy(logits, y[rows])
            if played:
                loss = loss + game.alpha * (guess(logits, y[rows]).mean() - 0.5)
            loss.backward()
            learns.step()
    return classifier.eval()


STAGES: dict[str, Callable[[AuditSplit, int], dict[str, Any]]] = {
    "neural_attack": neural_attack,
    "adversarial_regularization": adversarial_regularization,
}


def run(repeats: int = 3, only: Sequence[str] = tuple(STAGES)) -> dict[str, Any]:
    """Return the stages, as `benchmarks.attacks.run` does."""
    executor._WORTH_PROCESSES = 0  # what is short here takes minutes in an audit
    split = audit_split(load("purchase100-synthetic", size=20_000), n_members=MEMBERS, seed=SEED)
    return {"stages": {name: STAGES[name](split, repeats) for name in only}}


def main() -> None:
    options = common_options(__doc__, STAGES, repeats=3).parse_args()
    tell(run(options.repeats, options.only), "membership_networks", options.json)


if __name__ == "__main__":
    main()
