"""`selena audit` of model files: what is asked, and what names its fix."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from selena.attacks import ReferenceMatrix
from selena.cli.audit import load_factory
from selena.errors import ConfigError
from tests.auditing.verdicts import predictions, write_npz
from tests.test_cli import selena

NETWORK = """
from torch import nn

def build():
    return nn.Linear(6, 2)

not_callable = 3
"""
MODEL = ("--model", "model.safetensors", "--factory", "shop.networks:build")
RECORDS = ("--members", "members.npz", "--non-members", "others.csv")
QUICK = ("--attack", "confidence,correctness")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights, the module that builds their network, and records of both sides."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("shop", "shop.networks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "networks.py").write_text(NETWORK)
    (tmp_path / "shop" / "broken.py").write_text("build = 1 / 0\n")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(400, 6)).astype(np.float32), generator.integers(0, 2, 400)
    # Members lie far on their class's side of a direction that the network reads off.
    x[:200, 0] += np.where(y[:200] == 1, 3, -3)
    np.savez(tmp_path / "members.npz", x=x[:200], y=y[:200])
    rows = [",".join([*map(repr, map(float, a)), str(b)]) for a, b in zip(x, y, strict=True)]
    header = ",".join([*(f"f{i}" for i in range(6)), "label"])
    (tmp_path / "others.csv").write_text("\n".join([header, *rows[200:]]) + "\n")
    weight = torch.zeros(2, 6)
    weight[1, 0] = 2.0
    save_file({"weight": weight, "bias": torch.zeros(2)}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_network_that_leaks_fails_the_gate(folder: Path) -> None:
    gate = ("--fail-if", "advantage>0.3", "--json", "out.json")
    done = selena("audit", *MODEL, *RECORDS, *QUICK, "--fpr", "0.1", *gate, cwd=folder, code=3)
    result = json.loads((folder / "out.json").read_text())
    assert set(result["attacks"]) == {"confidence", "correctness"}
    assert (result["train_n"], result["n"]["known_members"]) == (200, 100)
    assert result["gate"]["exit_code"] == 3
    assert "Warning" not in done.stderr


def test_settings_reach_the_audit(folder: Path) -> None:
    more = ("--known-fraction", "0.25", "--output", "logits", "--seed", "3", "--device", "cpu")
    selena("audit", *MODEL, *RECORDS, *QUICK, *more, "--json", "o.json", cwd=folder)
    assert json.loads((folder / "o.json").read_text())["n"]["known_members"] == 50


def test_records_on_both_sides_are_left_out(folder: Path) -> None:
    with np.load(folder / "members.npz") as archive:
        x, y = archive["x"], archive["y"]
    table = folder / "others.csv"
    first = ",".join([*(repr(float(value)) for value in x[0]), str(y[0])])
    table.write_text(table.read_text().rstrip() + f"\n{first}\n")
    done = selena("audit", *MODEL, *RECORDS, *QUICK, cwd=folder, code=2)
    assert "deduplicate=True" in done.stderr
    done = selena("audit", *MODEL, *RECORDS, *QUICK, "--deduplicate", cwd=folder)
    assert "left 1 members and 1 non-members out" in done.stderr


def test_persons_are_scored_as_one(folder: Path) -> None:
    table, out = (folder / "others.csv").read_text().splitlines(), folder / "o.json"
    rows = [f"{row},{'who' if i == 0 else 1000 + (i - 1) // 2}" for i, row in enumerate(table)]
    (folder / "others.csv").write_text("\n".join(rows) + "\n")
    with np.load(folder / "members.npz") as archive:
        arrays = dict(archive)
    np.savez(folder / "members.npz", **arrays, who=np.arange(200) // 4)
    more = ("--subject-column", "who", "--fpr", "0.2", "--json", str(out))
    selena("audit", *MODEL, *RECORDS, *QUICK, *more, cwd=folder)
    n = json.loads(out.read_text())["n"]
    assert (n["known_members"], n["evaluation_members"]) == (25, 25)
    assert n["evaluation_records"] == 25 * 4 + 25 * 2


def test_a_warning_is_one_line(folder: Path) -> None:
    done = selena("audit", *MODEL, *RECORDS, *QUICK, "--fpr", "0.001", cwd=folder)
    (line,) = [line for line in done.stderr.splitlines() if "min  " not in line]
    assert line.startswith("Warning: 100 members and 100 non-members are scored: too few")


def test_predictions_take_attacks_too(tmp_path: Path) -> None:
    write_npz(tmp_path / "p.npz", predictions(400, 1.0))
    selena("audit", "--predictions", "p.npz", *QUICK, "--json", "o.json", cwd=tmp_path)
    assert set(json.loads((tmp_path / "o.json").read_text())["attacks"]) == {
        "confidence",
        "correctness",
    }


def test_references_come_from_a_file(tmp_path: Path) -> None:
    table = predictions(400, 1.0)
    write_npz(tmp_path / "p.npz", table)
    draws = np.random.default_rng(0)
    n = len(table.labels)
    inside = np.arange(4)[:, None] % 2 == np.arange(n) // 2 % 2
    ReferenceMatrix(draws.normal(size=(4, n)), inside).save(tmp_path / "r.parquet")
    arguments = ("audit", "--predictions", "p.npz", "--references", "r.parquet", *QUICK)
    selena(*arguments, "--json", "o.json", cwd=tmp_path)
    found = json.loads((tmp_path / "o.json").read_text())["attacks"]
    assert set(found) == {"confidence", "correctness", "lira", "rmia", "bavaria", "empirical_bayes"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (MODEL, "needs --members"),
        ((*MODEL, *RECORDS[:2]), "needs --non-members"),
        ((*MODEL, *RECORDS, "--predictions", "p.npz"), "either --predictions, or --model"),
        (("--predictions", "p.npz", *RECORDS[2:]), "--non-members is for --model only"),
        ((*MODEL, *RECORDS, "--references", "members.npz"), "no array 'confidences'"),
        ((*MODEL[:2], *RECORDS), "factory"),
        ((*MODEL, *RECORDS, "--output", "logit"), "logit"),
        ((*MODEL, *RECORDS, "--attack", "confidenc"), "Did you mean 'confidence'"),
        (("--model", "model.pt", *RECORDS), "pickle"),
        (("--model", "absent.onnx", *RECORDS), "absent.onnx"),
        ((*MODEL, "--members", "members.txt", *RECORDS[2:]), "members.txt"),
        ((*MODEL, *RECORDS, "--label-column", "class"), "class"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    arguments: tuple[str, ...], message: str, folder: Path
) -> None:
    done = selena("audit", *arguments, cwd=folder, code=2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop.networks", "write package.module:callable"),
        (":build", "write package.module:callable"),
        ("shop.networks:", "write package.module:callable"),
        ("shop.absent:build", "No module named 'shop.absent'"),
        ("shop.networks:biuld", "Did you mean 'build'"),
        ("shop.networks:not_callable", "is a int; it must be callable"),
        ("shop.broken:build", r"shop\.broken cannot be imported \(ZeroDivisionError"),
    ],
)
def test_a_factory_that_cannot_be_had(
    text: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=message):
        load_factory(text)
