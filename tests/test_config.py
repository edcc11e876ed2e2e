"""Settings: unknown keys and wrong types are errors that name the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from selena.config import override, read_toml
from selena.errors import ConfigError
from selena.experiments.pipeline import RunSettings
from selena.training.plans import PLANS, Plan


def test_nested_settings_change_and_the_rest_stays() -> None:
    plan = override(Plan(), {"n_submodels": 10, "training": {"epochs": 3, "learning_rate": 1}})
    assert (
        plan.n_submodels,
        plan.n_nonmodels,
        plan.training.epochs,
        plan.training.learning_rate,
    ) == (10, 10, 3, 1.0)
    assert plan.distillation == Plan().distillation


def test_a_toml_file_becomes_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'defenses = ["selena"]\nseeds = [1, 2]\n[data]\ndataset = "digits"\ndata_dir = "x"\n'
        "[plan.training]\nepochs = 2\n"
    )
    settings = override(RunSettings(), read_toml(path))
    assert (settings.defenses, settings.seeds) == (("selena",), (1, 2))
    assert settings.data.data_dir == Path("x")
    assert settings.plan == {"training": {"epochs": 2}}


def test_the_old_name_of_n_members_is_read(caplog: pytest.LogCaptureFixture) -> None:
    settings = override(RunSettings(), {"data": {"members": 5}})
    assert settings.data.n_members == 5
    assert "data.members is called data.n_members now" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainig": {}}, "Did you mean 'training'"),
        ({"training": {"epoch": 3}}, "Did you mean 'training.epochs'"),
        ({"n_submodels": "ten"}, "n_submodels='ten' has the wrong type; it must be int"),
        ({"k": True}, "wrong type"),
        ({"training": {"optimizer": "lion"}}, "one of 'adam', 'sgd'"),
        ({"hidden": 3}, "wrong type"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(Plan(), changes)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        read_toml(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_toml(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a = " + "[" * 10_000 + "]" * 10_000, "nested too deeply"),
        ("b = 1\na" + ".a" * 100_000 + " = 1", "line 2: a name has more than 100 parts.*MAX_DEPTH"),
        ("a = " + "9" * 10_000, "not valid TOML"),
        ("#" * (1 << 20) + "#", "more than 1,048,576 bytes.*SELENA_MAX_SETTINGS"),
        ("a = '\xff'", "not valid TOML"),
    ],
    ids=["deep list", "dotted name", "long number", "large file", "Latin-1"],
)
def test_hostile_settings_are_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=complaint):
        read_toml(path)


def test_many_fractions_in_a_line_are_no_name(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(f"a = {[0.5] * 300}")
    assert read_toml(path) == {"a": [0.5] * 300}


def test_empty_lists_are_refused() -> None:
    with pytest.raises(ConfigError, match="seeds"):
        RunSettings(seeds=())


def test_a_seed_or_defense_counts_once() -> None:
    with pytest.raises(ConfigError, match="seeds holds 1 more than once"):
        RunSettings(seeds=(1, 2, 1))
    with pytest.raises(ConfigError, match="defenses holds selena more than once"):
        RunSettings(defenses=("selena", "undefended", "selena"))


@pytest.mark.parametrize("name", sorted(PLANS))
def test_every_named_plan_has_k_above_l(name: str) -> None:
    assert PLANS[name].n_submodels > PLANS[name].n_nonmodels >= 1


ROOT = Path(__file__).parents[1]
KEPT = sorted([*ROOT.glob("benchmarks/*.toml"), *ROOT.glob("results/*/*.toml")])


@pytest.mark.parametrize("path", KEPT, ids=[str(path.relative_to(ROOT)) for path in KEPT])
def test_settings_of_results_and_benchmarks_read(path: Path) -> None:
    settings = override(RunSettings(), read_toml(path))
    plan = override(PLANS["cifar10"], settings.plan)
    assert plan.n_submodels > plan.n_nonmodels


def test_old_names_of_plans_are_read(caplog: pytest.LogCaptureFixture) -> None:
    plan = override(Plan(), {"k": 12, "l": 5})
    assert (plan.n_submodels, plan.n_nonmodels) == (12, 5)
    assert "k is called n_submodels now" in caplog.text
