"""The settings of the row that a GPU trains on CIFAR-100, made small enough to rehearse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from selena.cli import app
from selena.config import merged, read_toml
from tests.data.cifar_archives import cifar100_files, pack

FILE = Path(__file__).parents[2] / "benchmarks/gpu-cifar100.toml"
ROOM = {"batch_size": 32, "epochs": 2, "warmup_epochs": 1}


def rehearse(folder: Path, device: str, **changes: Any) -> list[dict[str, Any]]:
    """Run the file on a few random images, with 3 sub-models, and return the rows."""
    images = pack(folder / "small.tar.gz", cifar100_files(train=100, test=20))
    small = {
        "device": device,
        "data": {"dataset": str(images), "partition": "default"},
        "plan": {
            "n_submodels": 3,
            "n_nonmodels": 1,
            "shadow_epochs": 1,
            "training": ROOM,
            "distillation": ROOM,
        },
        "attack_settings": {
            "neural": {"epochs": 2},
            "shadow_neural_difference": {"network": {"epochs": 2}},
            "shadow_neural_both": {"network": {"epochs": 2}},
        },
    }
    settings = merged(merged(read_toml(FILE), small), changes)
    config, out = folder / "settings.toml", folder / "out"
    config.write_text(_toml(settings))
    arguments = ["run", "--config", str(config), "--runs", str(folder / "runs"), "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads((out / "report.json").read_text())["rows"]
    return rows


def _toml(settings: dict[str, Any]) -> str:
    """Return the settings as dotted keys; a JSON value is one of TOML, too."""

    def lines(table: dict[str, Any], before: str) -> list[str]:
        found = []
        for key, value in table.items():
            if isinstance(value, dict):
                found += lines(value, f"{before}{key}.")
            else:
                found.append(f"{before}{key} = {json.dumps(value)}")
        return found

    return "\n".join(lines(settings, ""))
