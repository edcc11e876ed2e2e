"""Your own training loop inside SELENA: K adapters (LoRA) of one pretrained transformer.

A recipe takes a function that trains a network: your loop, your optimizer, your augmentation. Here
the network is a small transformer whose weights are frozen, as after pretraining (they are random:
nothing is downloaded), and the loop trains low-rank adapters of its linear layers alone (Hu et al.,
"LoRA", ICLR 2022). SELENA trains K sub-models; what that costs is compared with training all
weights K times.

Run: python examples/own_training_loop.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import selena
from selena.networks import NetworkFactory
from selena.types import Defense

WORDS, LENGTH, WIDTH, CLASSES = 50, 12, 32, 4
K, L = 5, 2


class Adapted(nn.Module):
    """A frozen linear layer plus the product of two narrow matrices, which alone are trained."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = x @ self.down.T @ self.up.T
        output: Tensor = self.base(x) + change
        return output


class Block(nn.Module):
    """Attention and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys, self.values = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        z = self.before(x)
        scores = self.queries(z) @ self.keys(z).transpose(1, 2) / WIDTH**0.5
        x = x + scores.softmax(dim=-1) @ self.values(z)
        changed: Tensor = x + self.narrow(self.wide(self.between(x)).relu())
        return changed


class Classifier(nn.Module):
    """Words to classes."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.words(x.long())).mean(dim=1))
        return logits


@dataclass(frozen=True)
class Pretrained:
    """Builds the classifier on the same pretrained weights each time.

    Attributes:
        rank: of the adapters; 0 trains all weights.
    """

    rank: int

    def __call__(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # stands for a file of pretrained weights
            network = Classifier()
        if self.rank:
            network.words.requires_grad_(False)
            for block in network.blocks:
                block.requires_grad_(False)
                for name in ("queries", "values", "wide", "narrow"):
                    setattr(block, name, Adapted(getattr(block, name), self.rank))
        nn.init.normal_(network.head.weight, std=0.1)  # the head is new, and drawn per network
        return network


def train(
    network_factory: NetworkFactory,
    records: selena.Records,
    soft_labels: Tensor | None,
    seed: int,
    device: str,
) -> nn.Module:
    """An ordinary loop. SELENA calls it K times with labels, and once with soft labels."""
    network = network_factory().to(device)
    x = records.x.to(device)
    target = (records.y if soft_labels is None else soft_labels).to(device)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3, weight_decay=0.0)
    for _ in range(10):
        for rows in torch.randperm(len(x)).split(64):  # seeded: PyTorch's generators are ours
            optimizer.zero_grad()
            cross_entropy(network(x[rows]), target[rows]).backward()
            optimizer.step()
    return network


def texts(n: int) -> selena.Dataset:
    """Made-up texts: each class prefers some words."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(n) % CLASSES
    own = torch.randint(WORDS // CLASSES, (n, LENGTH), generator=generator) * CLASSES + y[:, None]
    any_word = torch.randint(WORDS, (n, LENGTH), generator=generator)
    x = torch.where(torch.rand(n, LENGTH, generator=generator) < 0.2, own, any_word)
    records = selena.Records(x.float(), y, torch.arange(n))
    return selena.Dataset(
        "made-up texts",
        records,
        num_classes=CLASSES,
        features="continuous",
        recipe="",
        n_members=n // 3,
        source="drawn here",
        synthetic=True,
    )


def main() -> None:
    data = texts(1000)
    split = selena.audit_split(data, n_members=300, seed=0)
    recipe = selena.Recipe(train=train)
    attacks = [selena.ThresholdAttack(s) for s in ("confidence", "modified_entropy")]
    audits = {}
    for name, rank in (("all weights", 0), ("adapters", 4)):
        factory = Pretrained(rank)
        defenses: dict[str, Defense] = {
            f"undefended, {name}": selena.Undefended(factory, CLASSES, recipe),
            f"selena, {name}": selena.Selena(
                factory, CLASSES, recipe, recipe, n_submodels=K, n_nonmodels=L
            ),
        }
        weights = list(factory().parameters())
        trained = sum(each.numel() for each in weights if each.requires_grad)
        print(f"{name}: {trained:,} of {sum(each.numel() for each in weights):,} weights trained")
        for label, defense in defenses.items():
            start = time.process_time()
            model = defense.fit(split.train, split.validation, seed=0)
            print(f"  {label}: {time.process_time() - start:.1f} seconds of computing")
            audits[label] = selena.run_audit(model, split, attacks, seed=0)
    comparison = selena.compare(audits, data=data)
    print(comparison)
    print("Written:", comparison.write_page("own-training-loop.html", title="Adapters"))


if __name__ == "__main__":
    main()
