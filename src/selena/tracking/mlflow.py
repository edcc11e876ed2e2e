"""Logs finished experiments to MLflow: settings, figures with intervals, and the report.

Each defense and seed is one MLflow run; a parent run of all of them holds the report.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selena.auditing.figure import EPSILON, TPR_AT_FPR
from selena.auditing.report import AuditReport
from selena.auditing.verdict import LEVELS
from selena.environment.version import __version__
from selena.errors import ConfigError
from selena.files.escaping import log_name, log_value
from selena.files.writing import write_text
from selena.reports.release.model_card import model_card_section
from selena.reports.results import Results
from selena.reports.runs import Run, run_of_audit

LOCAL = "local"
"""Name of the store that needs no server: mlflow.db beside the run folders."""

_EXPERIMENT = "selena"
# Limits of MLflow stores: characters of a value, and entries at once.
_LONGEST, _AT_ONCE = 5000, 100


def log_results(
    results: Results,
    uri: str = LOCAL,
    *,
    title: str,
    report: Sequence[Path] = (),
    experiment: str = _EXPERIMENT,
) -> str:
    """Log results to MLflow and return the id of the parent run.

    Logging the same results again makes new runs.

    Args:
        results: rows of at least one finished run.
        uri: a tracking server or store, as in MLflow; "local" for the SQLite file mlflow.db beside
            the run folders, with reports in mlflow-artifacts.
        title: name of the parent run.
        report: files to attach to it, such as `Results.write_report` returns.
        experiment: name of the MLflow experiment, made if there is none.

    Raises:
        ConfigError: MLflow is not installed, or the store cannot be used.
    """
    mlflow = import_mlflow()
    artifacts = None
    if uri == LOCAL:
        beside = results.folders[0].parent.resolve()
        uri = f"sqlite:///{beside / 'mlflow.db'}"
        artifacts = (beside / "mlflow-artifacts").as_uri()
    try:
        client = mlflow.MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        number = (
            found.experiment_id
            if found
            else client.create_experiment(experiment, artifact_location=artifacts)
        )
        tags = {"selena.version": __version__}
        title = log_value(title, _LONGEST)
        parent: str = client.create_run(number, tags=tags, run_name=title).info.run_id
        for done, folder in zip(results.runs, results.folders, strict=True):
            settings = results.settings[folder.name]
            child = client.create_run(
                number,
                tags={**tags, "mlflow.parentRunId": parent, **_tags(done)},
                run_name=log_value(folder.name, _LONGEST),
            ).info.run_id
            _log(client, child, dict(_flat(settings)), metrics(done))
            client.set_terminated(child)
        for path in report:
            client.log_artifact(parent, str(path))
        client.set_terminated(parent)
    except mlflow.MlflowException as error:
        raise ConfigError(f"MLflow cannot use {uri}: {error}") from error
    return parent


def log_audit(
    report: AuditReport,
    uri: str,
    *,
    run_id: str | None = None,
    title: str = "privacy audit",
    experiment: str = _EXPERIMENT,
) -> str:
    """Log the audit of one model, so that a model registry can gate on it; return the run's id.

    Metrics are those of `metrics` and "verdict_level": 0 not attacked, 1 too few records, 2 no leak
    shown, 3 small, 4 large, 5 severe. Artifacts, in the folder "privacy": the page, the saved
    report, and a section for a model card.

    Args:
        report: the audit.
        uri: a tracking server or store, as in MLflow.
        run_id: the run that trained the model, to which a registered version points; None makes
            a new run.
        title: name of the page, and of a new run.
        experiment: name of the MLflow experiment of a new run, made if there is none.

    Raises:
        ConfigError: MLflow is not installed, or the store or the run cannot be used.
    """
    mlflow = import_mlflow()
    audited = run_of_audit(report)
    try:
        client = mlflow.MlflowClient(uri)
        if run_id is None:
            found = client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else client.create_experiment(experiment)
            run: str = client.create_run(number, run_name=log_value(title, _LONGEST)).info.run_id
        else:
            run = client.get_run(run_id).info.run_id
        level = {"verdict_level": float(LEVELS.index(report.verdict.level))}
        _log(client, run, {}, metrics(audited) | level)
        for name, value in {"verdict": report.verdict.level, **report.inputs}.items():
            client.set_tag(run, log_name(f"privacy.{name}"), log_value(value, _LONGEST))
        with TemporaryDirectory() as folder:
            report.write_page(Path(folder) / "report.html", title=title)
            report.save(Path(folder) / "report.selena")
            write_text(Path(folder) / "model-card.yaml", model_card_section(report))
            client.log_artifacts(run, folder, "privacy")
        if run_id is None:
            client.set_terminated(run)
    except mlflow.MlflowException as error:
        raise ConfigError(f"MLflow cannot use {uri}: {error}") from error
    return run


def metrics(run: Run) -> dict[str, float]:
    """Return a run's figures by name, each with its 95 % interval as two more.

    Figures are shares. "attack/auc" is that of the strongest attack (on known records) of all
    families, "direct/auc" that of the strongest direct attack, and so on. A TPR is included only if
    enough non-members were scored for its FPR. "attack/epsilon" is a lower bound, by canaries.
    """
    found: dict[str, float] = {}
    for name in ("train_accuracy", "test_accuracy"):
        accuracy = run.accuracy(name)
        _with_interval(found, name, accuracy.values[0], accuracy.interval)
    for prefix, family in (("attack", None), *((family, family) for family in run.families)):
        for metric, figure in run.figures(family).items():
            name = f"{prefix}/{metric.replace(TPR_AT_FPR, 'tpr_at_fpr_')}"
            if metric == EPSILON:
                found[name] = figure.value
            elif figure.resolved:
                _with_interval(found, name, figure.value, figure.interval)
    return found


def _with_interval(
    found: dict[str, float], name: str, value: float, interval: Sequence[float]
) -> None:
    found |= {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}


def _tags(run: Run) -> dict[str, str]:
    bests = {f"best_attack/{m}": figure.attack for m, figure in run.figures().items()}
    tags = {**asdict(run.head), **bests, "verdict": run.verdict.level}
    return {log_name(name): log_value(str(value), _LONGEST) for name, value in tags.items()}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings by dotted name, as in a configuration file."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _log(client: Any, run: str, params: dict[str, str], figures: dict[str, float]) -> None:
    from mlflow.entities import Metric, Param

    now = time.time_ns() // 1_000_000
    logged = [Param(log_name(name), log_value(value, _LONGEST)) for name, value in params.items()]
    for start in range(0, len(logged), _AT_ONCE):
        client.log_batch(run, params=logged[start : start + _AT_ONCE])
    values = [Metric(log_name(name), value, now, 0) for name, value in figures.items()]
    for start in range(0, len(values), _AT_ONCE):
        client.log_batch(run, metrics=values[start : start + _AT_ONCE])


def import_mlflow() -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed.
    """
    # Switch off MLflow's usage reports to its developers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
    except ImportError as error:
        raise ConfigError(
            "Logging to MLflow needs mlflow-skinny, which is not installed. "
            "Install it with: pip install 'selena-privacy[mlflow]'"
        ) from error
    return mlflow
