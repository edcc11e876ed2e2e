"""`--fail-if` as a pipeline meets it: exit codes, and what is written before them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from selena.cli.guards import NOT_JUDGED
from tests.auditing.test_gate import LEAKING, PRIVATE, TINY
from tests.auditing.verdicts import predictions, write_npz
from tests.test_cli import selena

pytestmark = pytest.mark.usefixtures("undrawn")

AUDIT = ("audit", "--predictions")
CONDITION = "advantage>0.15"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the predictions of three models."""
    made = tmp_path_factory.mktemp("gate")
    for name, (n, leak) in {"leaking": LEAKING, "private": PRIVATE, "tiny": TINY}.items():
        write_npz(made / f"{name}.npz", predictions(n, leak))
    return made


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "code", "word"), [("leaking", 3, "fails"), ("private", 0, "passes")]
)
def test_leaking_model_fails_private_one_passes(
    name: str, code: int, word: str, folder: Path, tmp_path: Path
) -> None:
    path = folder / f"{name}.npz"
    files = ("--json", "audit.json", "--junit", "ci/gate.xml")
    done = selena(
        *AUDIT, str(path), "--fail-if", CONDITION, "--seed", "4", *files, cwd=tmp_path, code=code
    )
    assert f"The gate {word} (exit code {code})" in done.stdout
    gate = json.loads((tmp_path / "audit.json").read_text())["gate"]
    assert gate["exit_code"] == code
    assert [verdict["outcome"] for verdict in gate["verdicts"]] == [word]
    (suite,) = ElementTree.parse(tmp_path / "ci" / "gate.xml").getroot()
    assert suite.attrib["failures"] == str(int(code == 3))
    found = {p.attrib["name"]: p.attrib["value"] for p in suite.findall("properties/property")}
    assert (found["seed"], found["audited"]) == ("4", str(path))


@pytest.mark.usefixtures("quick")
def test_too_few_records_are_unresolved_by_default(folder: Path, tmp_path: Path) -> None:
    tiny = (*AUDIT, str(folder / "tiny.npz"), "--fail-if", CONDITION)
    assert "unresolved" in selena(*tiny, cwd=tmp_path, code=2).stdout
    selena(*tiny, "--bound", "upper", cwd=tmp_path, code=3)
    selena(*tiny, "--bound", "lower", cwd=tmp_path)
    low_rate = (*AUDIT, str(folder / "tiny.npz"), "--fail-if", "tpr@fpr=0.1%>0.2")
    for bound in ("point", "both"):
        done = selena(*low_rate, "--bound", bound, cwd=tmp_path, code=2)
        assert "too few for a FPR of 0.001; 10,000 resolve it" in " ".join(done.stdout.split())
    selena(*low_rate, "--bound", "lower", cwd=tmp_path)


@pytest.mark.usefixtures("quick")
def test_worst_of_several_conditions_decides(folder: Path, tmp_path: Path) -> None:
    leaking = (*AUDIT, str(folder / "leaking.npz"))
    unresolved = ("--fail-if", "tpr@fpr=0.0001>0.01")
    done = selena(*leaking, *unresolved, "--fail-if", CONDITION, cwd=tmp_path, code=3)
    assert all(word in done.stdout for word in ("unresolved", "fails"))
    selena(*leaking, *unresolved, "--fail-if", "test_accuracy<0.01", cwd=tmp_path, code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*AUDIT, "absent.npz", "--fail-if", "advantag>0.1"), "Did you mean 'advantage'"),
        ((*AUDIT, "absent.npz", "--fail-if", CONDITION, "--bound", "uper"), "mean 'upper'"),
        ((*AUDIT, "absent.npz", "--fail-if", CONDITION), "no such file"),
        ((*AUDIT, "absent.npz", f"--fail-if={CONDITION}"), "no such file"),
        ((*AUDIT, "absent.npz", "--fail-if", CONDITION, "--sed", "1"), "No such option"),
        (("audit", "--fail-iff", CONDITION), "No such option"),
        (("audti", *AUDIT[1:], "absent.npz", "--fail-if", CONDITION), "No such command"),
        (("audit", "--fail-if", CONDITION), "either --predictions"),
        (("report", "nowhere", "--fail-if", CONDITION), "not a finished run"),
    ],
)
def test_what_keeps_a_gate_from_judging_is_no_verdict(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = selena(*arguments, cwd=tmp_path, code=NOT_JUDGED)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_without_a_gate_errors_keep_their_code(tmp_path: Path) -> None:
    selena(*AUDIT, "absent.npz", cwd=tmp_path, code=2)
    done = selena(*AUDIT, "absent.npz", "--junit", "gate.xml", cwd=tmp_path, code=2)
    assert "Add --fail-if" in done.stderr


@pytest.mark.deep
def test_a_real_process_ends_with_the_code(folder: Path, tmp_path: Path) -> None:
    audit = (*AUDIT, str(folder / "tiny.npz"), "--attack", "confidence", "--fail-if", "auc>0.01")
    done = subprocess.run(
        [sys.executable, "-m", "selena", *audit], cwd=tmp_path, check=False, capture_output=True
    )
    assert done.returncode == 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two trained and attacked runs."""
    made = tmp_path_factory.mktemp("runs")
    config = """
attacks = ["confidence"]
defenses = ["undefended", "label_output"]
[data]
dataset = "digits"
members = 200
[plan]
hidden = [16]
[plan.training]
epochs = 3
"""
    (made / "run.toml").write_text(config)
    selena("run", "--config", "run.toml", cwd=made)
    return sorted(str(path) for path in (made / "runs").iterdir() if path.name != "artifacts")


def judged(path: Path) -> list[dict[str, Any]]:
    verdicts: list[dict[str, Any]] = json.loads(path.read_text())["gate"]["verdicts"]
    return verdicts


def test_a_report_judges_every_run(runs: list[str], tmp_path: Path) -> None:
    conditions = ("--fail-if", "advantage>0.999", "--fail-if", "tpr@fpr=0.001>0.02")
    selena("report", *runs, *conditions, "--json", "r.json", cwd=tmp_path, code=2)
    found = judged(tmp_path / "r.json")
    assert {(v["subject"], v["outcome"]) for v in found} == {
        ("undefended, seed 0", "passes"),
        ("undefended, seed 0", "unresolved"),
        ("label_output, seed 0", "passes"),
        ("label_output, seed 0", "unresolved"),
    }
    assert (tmp_path / "report" / "report.md").exists()
    done = selena(
        "report", *runs, "--fail-if", "test_accuracy>0.01", "--junit", "g.xml", cwd=tmp_path, code=3
    )
    assert "undefended, seed 0" in done.stdout
    (suite,) = ElementTree.parse(tmp_path / "g.xml").getroot()
    assert suite.attrib["failures"] == "2"
