"""Logs training curves to TensorBoard and finished experiments to MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selena.experiments.pipeline import Case
from selena.reports.results import Results
from selena.workspace import TrainingLog


@contextmanager
def curves(folder: Path | None) -> Iterator[Callable[[Case], TrainingLog] | None]:
    """Yield a function from a case to its TensorBoard log in `folder`; None without a folder."""
    if folder is None:
        yield None
        return
    from selena.tracking.tensorboard import TensorBoardLog

    with TensorBoardLog(folder) as log:
        yield lambda case: log.under(
            f"{Path(case.data.dataset).stem}-{case.defense}-seed{case.seed}"
        )


def require_mlflow() -> None:
    """Raise `ConfigError` if MLflow is not installed; call it before training."""
    from selena.tracking.mlflow import import_mlflow

    import_mlflow()


def log_to_mlflow(results: Results, uri: str, *, title: str, report: Sequence[Path]) -> None:
    """Log finished runs to MLflow."""
    from selena.tracking.mlflow import log_results

    log_results(results, uri, title=title, report=report)
