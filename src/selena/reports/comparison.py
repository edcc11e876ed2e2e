"""Compares audits of several models in a table, a page and the files of a report.

Models from any source can be compared; a defense or an attack needs no registration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from selena.auditing.figure import tpr_metric
from selena.auditing.report import AuditReport
from selena.errors import ConfigError, DataError
from selena.files.escaping import shorten
from selena.metrics.intervals import Interval, joined_difference
from selena.reports.results import Results
from selena.reports.runs import ModelRuns, Run, baseline_of, run_of_audit, runs_by_model
from selena.reports.terminal import results_text
from selena.types import Dataset

_TITLE = "Who was in the training data?"
_CHANGES = {
    "TPR at 1 % FPR": tpr_metric(0.01),
    "attack accuracy": "balanced_accuracy",
    "AUC": "auc",
}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Audits of several models; `print` shows one table and the changes.

    Attributes:
        runs: one per audit, with its scores.
    """

    runs: tuple[Run, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of results, one per audit, as `selena-run/2` has them."""
        return [run.row for run in self.runs]

    def __repr__(self) -> str:
        names = list(dict.fromkeys(each.row["defense"] for each in self.runs))
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return f"Comparison({len(self.runs)} audits of {shorten(shown, 120)})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def __str__(self) -> str:
        return "\n".join([results_text(self.rows), *self.changes()])

    def changes(self) -> list[str]:
        """Return the changes from the undefended audit (else the first one) to each other audit.

        Intervals treat the two audits as independent. If both scored the same records, they are
        wider than necessary.
        """
        models = runs_by_model(self.runs)
        return [
            f"{model.label} against {base.label}: {', '.join(_changes(base, model))}."
            for model in models
            if (base := baseline_of(model, models)) is not None
            and model.is_attacked
            and base.is_attacked
            and len(model.runs) == len(base.runs) == 1
        ]

    def write_page(self, path: str | Path, *, title: str = _TITLE, command: str = "") -> Path:
        """Write the report as one self-contained HTML page.

        Args:
            path: file to write.
            title: heading.
            command: the command that made the audits, shown on the page.

        Returns:
            The path.
        """
        return Results(self.runs).write_page(Path(path), title=title, command=command)

    def write_report(
        self, folder: str | Path, *, title: str = _TITLE, command: str = ""
    ) -> list[Path]:
        """Write report.json (`selena-run/2`), .md, .png and .html into `folder`.

        Args:
            folder: made if it is absent.
            title: heading.
            command: as for `write_page`.

        Returns:
            The paths.
        """
        paths = Results(self.runs).write_report(Path(folder), title=title, command=command)
        page = self.write_page(Path(folder) / "report.html", title=title, command=command)
        return [*paths, page]


def _changes(base: ModelRuns, model: ModelRuns) -> list[str]:
    """Return the differences in points, each with its 95 % interval."""
    said = []
    for title, metric in _CHANGES.items():
        (before,), (after,) = base.figures(metric), model.figures(metric)
        said.append(
            f"{title} {_difference(before.value, before.interval, after.value, after.interval)}"
        )
    accuracies = [each.accuracy("test_accuracy") for each in (base, model)]
    (first, second) = accuracies
    change = _difference(first.values[0], first.interval, second.values[0], second.interval)
    return [*said, f"test accuracy {change}"]


def _difference(first: float, of_first: Interval, second: float, of_second: Interval) -> str:
    """Return second - first in points, with its interval."""
    low, high = joined_difference(second, of_second, first, of_first)
    return f"{100 * (second - first):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def compare(
    audits: Mapping[str, AuditReport | Mapping[int, AuditReport]],
    *,
    data: Dataset | str = "records",
) -> Comparison:
    """Compare audits of several models.

    The page shows the most exposed records before and after a defense if the audits scored the same
    records: give `selena.audit` the same records and seed, or `run_audit` the same split and seed.

    Args:
        audits: the report of each model by its name, or one report per seed. The others are
            compared with the model called "undefended", else with the first one.
        data: the records, or their name.

    Raises:
        ConfigError: `audits` is no dictionary.
        DataError: no audits, or audits of one name with different families of attacks.
    """
    if not isinstance(audits, Mapping):
        raise ConfigError(
            f"audits is a {type(audits).__name__}; give each a name, as "
            '{"forest": selena.audit(...), "network": ...}.'
        )
    name, synthetic = (data, False) if isinstance(data, str) else (data.name, data.synthetic)
    runs = tuple(
        run_of_audit(report, name=model, dataset=name, seed=seed, synthetic=synthetic)
        for model, reports in audits.items()
        for seed, report in _by_seed(model, reports)
    )
    if not runs:
        raise DataError("There is nothing to compare: give at least one audit.")
    return Comparison(runs)


def _by_seed(
    model: str, reports: AuditReport | Mapping[int, AuditReport]
) -> Iterator[tuple[int, AuditReport]]:
    if isinstance(reports, AuditReport):
        yield 0, reports
        return
    families = {seed: sorted(report.families) for seed, report in reports.items()}
    if len({tuple(each) for each in families.values()}) > 1:
        raise DataError(
            f"The audits of {model!r} differ in their attacks: {families} by seed. Use the same "
            "families for every seed, or give the audits different names."
        )
    yield from reports.items()
