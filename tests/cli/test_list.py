"""`selena list`: what is registered, what it needs and costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selena.cli import catalog, catalog_lines
from selena.cli.catalog import SECTIONS, Entry
from selena.registry import ATTACKS, DATASETS, DEFENSES, EVERY_FLIP
from tests.test_cli import selena

NAMES = {
    "datasets": {*DATASETS},
    "defenses": {*DEFENSES},
    "attacks": {*ATTACKS, EVERY_FLIP},
}


def entry(section: catalog.Section, name: str) -> Entry:
    (found,) = (each for each in catalog.catalog(section) if each.name == name)
    return found


def test_everything_registered_is_listed(tmp_path: Path) -> None:
    done = selena("list", "--json", "all.json", cwd=tmp_path)
    found = json.loads((tmp_path / "all.json").read_text())
    assert {section: {each["name"] for each in found[section]} for section in found} == NAMES
    for each in (each for section in SECTIONS for each in found[section]):
        assert all((each["summary"], each["needs"], each["cost"])), each["name"]
        assert f"\n{each['name']} " in done.stdout


def test_one_section_is_listed_alone(tmp_path: Path) -> None:
    said = selena("list", "defenses", cwd=tmp_path).stdout
    assert "dp_sgd" in said
    assert "hopskipjump" not in said


def test_markdown_is_the_table_of_the_docs(tmp_path: Path) -> None:
    said = selena("list", "attacks", "--markdown", cwd=tmp_path).stdout
    assert said.strip() == catalog.markdown_table("attacks").strip()


def test_unknown_section_names_the_nearest(tmp_path: Path) -> None:
    failed = selena("list", "attack", cwd=tmp_path, code=2)
    assert "Did you mean 'attacks'" in failed.stderr


@pytest.mark.parametrize(
    ("name", "needs", "reads"),
    [
        ("correctness", "predictions", "labels"),
        ("neural", "predictions", "probabilities"),
        ("flip_noise", "features (bits)", "labels"),
        ("boundary", "features (numbers, images)", "gradients"),
        ("lira", "training", "probabilities"),
    ],
)
def test_needs_of_attacks(name: str, needs: str, reads: str) -> None:
    found = entry("attacks", name)
    assert (found.needs, found.access) == (needs, reads)


def test_costs_come_from_the_hyperparameters() -> None:
    assert entry("defenses", "selena").cost.startswith("25 trainings, each on 60 % of")
    assert entry("attacks", "lira").cost.startswith("16 trainings")
    assert entry("datasets", "digits").cost.startswith("500 steps")  # 50 epochs of 10 steps


def test_an_unknown_attack_is_listed_by_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(catalog_lines.ATTACK_LINES, "neural")
    monkeypatch.delitem(catalog_lines.DEFENSE_LINES, "relaxloss")
    assert entry("attacks", "neural").summary.startswith("Trains a network to tell members")
    assert entry("defenses", "relaxloss").summary.startswith("Ordinary training with")
