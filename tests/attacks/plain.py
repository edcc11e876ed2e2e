"""Attacks written down plainly, one record after another: what the batched ones must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isqrt, log2, sqrt

import torch
from torch import Tensor

from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.seeding import torch_generator

Labels = Callable[[Tensor], Tensor]


def fraction_correct(labels: Labels, copies: Iterable[Tensor], label: Tensor) -> float:
    """Ask about one copy after another."""
    hits = [bool(labels(copy[None])[0] == label) for copy in copies]
    return sum(hits) / len(hits)


def flipped(record: Tensor, flips: int, copies: int, seed: int) -> list[Tensor]:
    order = torch.rand(copies, len(record), generator=torch_generator(seed, "bit flips")).argsort(1)
    result = []
    for j in range(copies):
        copy = record.clone()
        for position in order[j, :flips]:
            copy[position] = 1 - copy[position]
        result.append(copy)
    return result


def noisy(record: Tensor, sigma: float, copies: int, seed: int) -> list[Tensor]:
    generator = torch_generator(seed, "gaussian noise")
    return list(record + sigma * torch.randn(copies, *record.shape, generator=generator))


def augmented(image: Tensor) -> list[Tensor]:
    """Return the 162 copies, each moved pixel by pixel."""
    _, height, width = image.shape
    result = []
    for source in (image, image.flip(2)):
        for down in range(-4, 5):
            for right in range(-4, 5):
                copy = torch.zeros_like(source)
                for i in range(max(0, down), min(height, height + down)):
                    for j in range(max(0, right), min(width, width + right)):
                        copy[:, i, j] = source[:, i - down, j - right]
                result.append(copy)
    return result


def carlini_wagner(
    logits: Callable[[Tensor], Tensor], x: Tensor, label: int, settings: BoundaryDistanceAttack
) -> float:
    """Return the L2 distance of one record in [0, 1], the diagonal if nothing is found."""
    if int(logits(x[None]).argmax()) != label:
        return 0.0
    origin = torch.atanh((2 * x - 1) * 0.999999)
    start = (torch.tanh(origin) + 1) / 2
    c, low, high, best = settings.first_c, 0.0, float("inf"), float("inf")
    for _ in range(settings.searches):
        moved = torch.zeros_like(x, requires_grad=True)
        adam = torch.optim.Adam([moved], settings.learning_rate)
        before, found = float("inf"), float("inf")
        for step in range(1, settings.steps + 1):
            point = (torch.tanh(origin + moved) + 1) / 2
            squared = (point - start).square().sum()
            z = logits(point[None])[0]
            others = torch.cat([z[:label], z[label + 1 :]]).max()
            loss = squared + c * (z[label] - others).clamp(min=0)
            adam.zero_grad()
            loss.backward()
            adam.step()
            if int(z.argmax()) != label:
                found = min(found, squared.item())
            if step % max(settings.steps // 10, 1) == 0:
                if loss.item() > before * 0.9999:
                    break
                before = loss.item()
        best = min(best, found)
        if found < float("inf"):
            high = min(high, c)
        else:
            low = max(low, c)
        c = (low + high) / 2 if high < float("inf") else c * 10
    return min(sqrt(best), sqrt(x.numel()))


def hop_skip_jump(
    labels: Labels, x: Tensor, label: int, starts: Tensor, settings: HopSkipJumpAttack, seed: int
) -> float:
    """Return the L2 distance of one record in [0, 1], the diagonal if none of `starts` will do."""

    def crossed(points: Tensor) -> Tensor:
        return labels(points) != label

    def to_boundary(beyond: Tensor) -> Tensor:
        near, far = 0.0, 1.0
        for _ in range(searches):
            middle = (near + far) / 2
            if bool(crossed(torch.lerp(x, beyond, middle)[None])[0]):
                far = middle
            else:
                near = middle
        return torch.lerp(x, beyond, far)

    d = len(x)
    if bool(crossed(x[None])[0]):
        return 0.0
    starts = starts[crossed(starts)]
    if not len(starts):
        return sqrt(d)
    nearest = starts[(starts - x).norm(dim=1).argmin()]
    searches = -int(-1.5 * log2(d) // 1)
    point, spent, t = to_boundary(nearest), 1 + searches, 1
    best = min(float((nearest - x).norm()), float((point - x).norm()))
    while True:
        samples = isqrt(settings.first_samples**2 * t)
        if spent + samples + 10 + searches > settings.queries:
            return best
        distance = (point - x).norm()
        radius = torch.tensor(0.1) if t == 1 else distance / d
        u = torch.randn(samples, d, generator=torch_generator(seed, "directions", t))
        u = u / u.norm(dim=1, keepdim=True)
        around = (point + radius * u).clamp(0, 1)
        real, vote = (around - point) / radius, crossed(around) * 2.0 - 1
        weight = vote if bool((vote == vote[0]).all()) else vote - vote.mean()
        direction = (weight[:, None] * real).sum(0)
        direction = direction / direction.norm()
        size, beyond = distance / sqrt(t), point
        for _ in range(10):
            spent += 1
            trial = (point + size * direction).clamp(0, 1)
            if bool(crossed(trial[None])[0]):
                beyond = trial
                break
            size = size / 2
        point = to_boundary(beyond)
        spent += samples + searches
        best = min(best, float((point - x).norm()))
        t += 1
