"""Finished experiments as MLflow gives them back."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from selena.auditing.figure import TPR_AT_FPR, figures_of
from selena.auditing.report import AuditReport
from selena.auditing.verdict import LEVELS
from selena.errors import ConfigError
from selena.experiments.pipeline import DataSettings, RunSettings
from selena.experiments.results import run
from selena.files.escaping import log_name, printable
from selena.reports.results import Results
from selena.reports.runs import Run
from selena.tracking.mlflow import log_audit, log_results, metrics
from tests.names import HOSTILE
from tests.reports.made import report

mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny (extra mlflow) is not installed")
# MLflow uses what SQLAlchemy 2.1 deprecates, and sets up its store by code that does so, too.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

QUICK = {"epochs": 2, "precision": "float32"}
SETTINGS = RunSettings(
    data=DataSettings("digits", n_members=200),
    defenses=("undefended", "selena"),
    attacks=("confidence",),
    seeds=(3,),
    plan={
        "hidden": [8],
        "n_submodels": 2,
        "n_nonmodels": 1,
        "training": QUICK,
        "distillation": QUICK,
    },
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run(SETTINGS, tmp_path_factory.mktemp("experiment") / "runs")


def test_figures_have_their_intervals_beside_them(results: Results) -> None:
    for done in results.runs:
        found, row = metrics(done), done.row
        figures = figures_of(row, "direct")
        assert found["test_accuracy"] == row["test_accuracy"]
        assert found["direct/balanced_accuracy"] == figures["balanced_accuracy"].value
        assert found["attack/auc"] == figures_of(row)["auc"].value
        for name in [name for name in found if not name.endswith(("_low", "_high"))]:
            assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
        logged = {m for m in figures if f"direct/{m.replace(TPR_AT_FPR, 'tpr_at_fpr_')}" in found}
        assert logged == {metric for metric, figure in figures.items() if figure.resolved}
        assert len(logged) < len(figures)


def test_local_store_has_settings_figures_and_report(results: Results) -> None:
    runs = results.folders[0].parent
    written = results.write_report(runs.parent / "report", title="digits", command="selena run")
    parent = log_results(results, title="digits", report=written)
    client = mlflow.MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("selena")
    assert {file.path for file in client.list_artifacts(parent)} == {path.name for path in written}
    children = client.search_runs([experiment.experiment_id], "tags.mlflow.parentRunId != ''")
    logged: dict[str, Any] = {child.data.tags["defense"]: child for child in children}
    assert set(logged) == {"undefended", "selena"}
    for done, folder in zip(results.runs, results.folders, strict=True):
        row = done.row
        child = logged[row["defense"]]
        assert child.data.metrics == pytest.approx(metrics(done))
        assert child.data.params["plan.training.epochs"] == "2"
        assert child.data.params["data.n_members"] == "200"
        assert child.data.tags["best_attack/auc"] == figures_of(row)["auc"].attack
        assert child.data.tags["verdict"] == row["verdict"]["level"]
        assert child.data.tags["mlflow.parentRunId"] == parent
        assert child.info.run_name == folder.name
        assert child.info.status == "FINISHED"
    log_results(results, title="again")
    assert client.get_experiment_by_name("selena").experiment_id == experiment.experiment_id


def test_a_registry_gates_on_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow keeps artifacts
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("churn")
    released = []
    for leak in (0.0, 1.5):
        audit = report(leak)
        run = client.create_run("0").info.run_id
        assert log_audit(audit, uri, run_id=run) == run
        version = client.create_model_version("churn", source=f"runs:/{run}/privacy", run_id=run)
        found = client.get_run(version.run_id).data
        assert found.tags["privacy.verdict"] == audit.verdict.level
        assert found.tags["privacy.model"] == audit.inputs["model"]
        assert LEVELS[int(found.metrics["verdict_level"])] == audit.verdict.level
        assert found.metrics["attack/auc_high"] == audit.auc.interval[1]
        released.append(found.metrics["verdict_level"] <= 3)
    assert released == [True, False]
    names = {file.path for file in client.list_artifacts(run, "privacy")}
    assert names == {
        f"privacy/{name}" for name in ("report.html", "report.selena", "model-card.yaml")
    }
    path = client.download_artifacts(run, "privacy/report.selena", str(tmp_path))
    assert AuditReport.load(path) == audit
    alone = log_audit(audit, uri, title="alone")
    assert client.get_run(alone).info.status == "FINISHED"
    with pytest.raises(ConfigError, match="MLflow cannot use"):
        log_audit(audit, uri, run_id="absent")


def test_hostile_names_are_logged_as_text(results: Results) -> None:
    name = "\n".join(HOSTILE)
    folder = results.folders[0]
    settings = {name: name, **{f"setting {i}": i for i in range(150)}, "long": "x" * 10_000}
    hostile = replace(
        results,
        runs=[Run({**results.rows[0], "dataset": name})],
        settings={folder.name: settings},
        folders=[folder],
    )
    parent = log_results(hostile, title=name)
    client = mlflow.MlflowClient(f"sqlite:///{folder.parent / 'mlflow.db'}")
    assert client.get_run(parent).info.run_name == printable(name)
    experiment = client.get_experiment_by_name("selena").experiment_id
    (child,) = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'")
    assert child.data.params[log_name(name)] == printable(name)
    assert child.data.tags["dataset"] == printable(name)
    assert len(child.data.params) == 152


def test_what_is_wrong_is_named(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="MLflow cannot use nonsense://"):
        log_results(results, "nonsense://server", title="digits")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"selena-privacy\[mlflow\]"):
        log_results(results, title="digits")
