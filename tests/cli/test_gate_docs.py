"""The workflow and the page about the gate keep their word: what they say is run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from selena.auditing.conditions import METRICS
from selena.auditing.gate import EXIT_CODES
from tests.auditing.test_gate import PRIVATE
from tests.auditing.verdicts import predictions, write_npz
from tests.test_cli import selena

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "examples" / "github-actions-gate.yml"
PAGE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the predictions of a model that leaks nothing."""
    write_npz(tmp_path / "predictions.npz", predictions(*PRIVATE))
    return tmp_path


def commands(text: str) -> list[list[str]]:
    """The audits of predictions in a text, as a shell would pass them."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    audits = [line.partition("||")[0] for line in lines if line.startswith("selena audit --pred")]
    return [shlex.split(line)[1:] for line in audits]


def steps() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML to read the workflow")
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


@pytest.mark.usefixtures("quick")
def test_workflow_runs_the_gate_and_keeps_its_files(folder: Path) -> None:
    by_name = {step.get("name", step.get("uses")): step for step in steps()}
    (command,) = commands(by_name["Gate"]["run"])
    selena(*command, cwd=folder)
    kept = by_name["Keep the report"]
    assert kept["if"] == "always()"
    written = sorted(path.name for path in (folder / kept["with"]["path"]).iterdir())
    assert written == ["audit.json", "gate.xml"]


def from_yaml(name: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML to read the pipeline")
    return yaml.safe_load((ROOT / "examples" / name).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("quick")
def test_gitlab_runs_the_gate_and_keeps_its_files(folder: Path) -> None:
    pipeline = from_yaml("gitlab-ci-gate.yml")
    gate = pipeline["gate"]
    assert {pipeline[job]["stage"] for job in ("train", "gate")} == set(pipeline["stages"])
    for line in gate["script"]:
        selena(*shlex.split(line)[1:], cwd=folder)
    written = {path.name for path in (folder / gate["artifacts"]["paths"][0]).iterdir()}
    assert written == {"audit.json", "gate.xml", "report.html", "report.selena", "release.html"}
    assert gate["artifacts"]["when"] == "always"
    assert gate["allow_failure"]["exit_codes"] == [EXIT_CODES["unresolved"]]


@pytest.mark.usefixtures("quick")
def test_dvc_runs_each_stage_from_what_it_names(folder: Path) -> None:
    stages = from_yaml("dvc-gate.yaml")["stages"]
    made = set(stages.pop("predict")["outs"])
    for stage in stages.values():
        assert set(stage["deps"]) <= made
        selena(*shlex.split(stage["cmd"])[1:], cwd=folder)
        outs = [*stage["outs"], *(name for each in stage.get("metrics", []) for name in each)]
        assert all((folder / name).is_file() for name in outs)
        made |= set(outs)


def test_every_step_of_the_workflow_does_one_thing() -> None:
    assert all(("run" in step) != ("uses" in step) for step in steps())


@pytest.mark.deep
@pytest.mark.usefixtures("quick", "in_short")
def test_commands_and_python_of_the_page_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(PAGE)
    assert len(found) == 2
    for command in found:
        selena(*command, cwd=folder)
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    monkeypatch.chdir(folder)
    exec(compile(block, "docs/gate.md", "exec"), {})


def test_the_page_names_every_metric_and_exit_code() -> None:
    assert all(f"`{metric}`" in PAGE for metric in METRICS)
    assert all(f"| {code} |" in PAGE for code in (*EXIT_CODES.values(), 1))
