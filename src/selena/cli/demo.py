"""`selena demo`: two models of synthetic purchases, one of them protected, trained and attacked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selena.cli import options
from selena.cli.guards import keeps_work_in
from selena.cli.progress import RichProgress
from selena.cli.show import finish, wide_console
from selena.experiments.pipeline import DataSettings, RunSettings
from selena.experiments.results import run

# Both models train and are attacked in under three minutes on two cores: the quick attacks of each
# family run, with fewer noisy copies.
_DEMO_MEMBERS, _DEMO_RECORDS = 2000, 10_000
_DEMO_ATTACKS = (
    "correctness",
    "confidence",
    "entropy",
    "modified_entropy",
    "flip_noise",
    "shadow_cross_entropy",
    "indirect_modified_entropy",
)
_DEMO_ATTACK_SETTINGS = {"flip_noise": {"flips": (1, 2, 4, 8, 16), "copies": 25}}


def demo_command(
    out: options.ReportFolder = Path("selena-demo"),
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    json_out: options.Json = None,
) -> None:
    """Train an undefended and a SELENA-protected model on synthetic purchases; attack both."""
    settings = RunSettings(
        data=DataSettings(size=_DEMO_RECORDS, n_members=_DEMO_MEMBERS),
        attacks=_DEMO_ATTACKS,
        attack_settings=_DEMO_ATTACK_SETTINGS,
        seeds=(seed,),
    )
    keeps_work_in(out / "runs")
    console = wide_console(json_out)
    console.print(
        f"{_DEMO_MEMBERS:,} synthetic shopping baskets train two classifiers: one as usual, one "
        "with SELENA. Then attackers guess who was in the training data."
    )
    results = run(settings, out / "runs", progress=RichProgress())
    finish(console, results, out, json_out, title="Who was in the training data?")
