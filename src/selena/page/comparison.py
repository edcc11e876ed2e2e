"""Audits of several models beside each other: as a table, a page and the files of a report.

Anybody's models stand here as the library's own: a defense or an attack needs no registration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selena.auditing.report import AuditReport
from selena.auditing.terminal import results_text
from selena.environment import describe_environment
from selena.errors import ConfigError, DataError
from selena.experiment import Results
from selena.files import write_text
from selena.page.render import render_page
from selena.page.runs import Run, run_of_audit
from selena.types import Dataset

_TITLE = "Who was in the training data?"


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Audits beside each other; `print` shows them as one table.

    Attributes:
        runs: one an audit, with its scores.
    """

    runs: tuple[Run, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of results, one an audit, as `selena-run/2` has them."""
        return [run.row for run in self.runs]

    def __repr__(self) -> str:
        return results_text(self.rows)

    def write_page(self, path: str | Path, *, title: str = _TITLE, command: str = "") -> Path:
        """Write the report as one self-contained HTML page.

        Args:
            path: file to write.
            title: heading.
            command: the command that gave the audits, to be shown on the page.

        Returns:
            The path.
        """
        environment = describe_environment()
        page = render_page(self.runs, title=title, command=command, environment=environment)
        write_text(Path(path), page)
        return Path(path)

    def write_report(
        self, folder: str | Path, *, title: str = _TITLE, command: str = ""
    ) -> list[Path]:
        """Write report.json (`selena-run/2`), .md, .png and .html into `folder`.

        Args:
            folder: made if it is not there.
            title: heading.
            command: as for `write_page`.

        Returns:
            The paths.
        """
        results = Results(self.rows, {}, {}, {}, [])
        paths = results.write_report(Path(folder), title=title, command=command)
        page = self.write_page(Path(folder) / "report.html", title=title, command=command)
        return [*paths, page]


def compare(
    audits: Mapping[str, AuditReport | Mapping[int, AuditReport]],
    *,
    data: Dataset | str = "records",
) -> Comparison:
    """Put audits of several models beside each other.

    Which records are most exposed, before and after, is shown where audits scored the same ones:
    give `selena.audit` the same records and seed, or `run_audit` the same split and seed.

    Args:
        audits: by the name of the model, its report, or one report a seed. What the others are
            compared with is called "undefended", or comes first.
        data: the records, or what they are called.

    Raises:
        ConfigError: no dictionary of names and audits.
        DataError: no audits, or audits of one name that were attacked by different families.
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
            f"The audits of {model!r} differ in their attacks: {families} by seed. Attack every "
            "seed by the same families, or give the audits names of their own."
        )
    yield from reports.items()
