"""A task so small that everything in it is done in seconds."""

from __future__ import annotations

import pytest

from selena.experiments.paper.task import PaperTask, Scale

TINY = Scale(
    "tiny",
    members=120,
    plan={
        "hidden": [16],
        "n_submodels": 3,
        "n_nonmodels": 1,
        "training": {"batch_size": 16, "epochs": 3},
        "distillation": {"epochs": 3},
        # At the undefended model's rate so short a game would end with the undefended model.
        "adversary": {"attack_batches": 1, "learning_rate": 2e-3},
    },
    defense_settings={"memguard": {"search": {"most_steps": 3}, "inference": {"epochs": 2}}},
    attack_settings={
        "gaussian_noise": {"sigmas": (0.5, 1.0), "copies": 2},
        "neural": {"epochs": 2},
        "shadow_neural_difference": {"network": {"epochs": 2}},
        "shadow_neural_both": {"network": {"epochs": 2}},
    },
    ablation_k=(3, 5),
    ablation_l=(1, 2),
)


@pytest.fixture(scope="session")
def tiny() -> PaperTask:
    return PaperTask("digits", TINY)
