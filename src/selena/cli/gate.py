"""`--fail-if`: verdicts on the terminal and in files, and the exit code for a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from selena.auditing.conditions import Condition, parse_condition
from selena.auditing.gate import Bound, ConditionResult, check_bound, exit_code, judge
from selena.auditing.report import AuditReport
from selena.cli.guards import Judged
from selena.cli.show import show_verdicts, show_written
from selena.environment.version import __version__
from selena.errors import ConfigError
from selena.files.writing import write_text
from selena.reports.junit import junit_xml


@dataclass(frozen=True)
class Gate:
    """The conditions of one command; without conditions it does nothing.

    Attributes:
        conditions: conditions under which the gate fails.
        bound: what is compared with their limits.
        junit: JUnit XML file for the verdicts.
    """

    conditions: tuple[Condition, ...]
    bound: Bound
    junit: Path | None

    @classmethod
    def asked(cls, fail_if: Sequence[str] | None, bound: str, junit: Path | None) -> Gate:
        """Return the gate that the options describe; call it before any work.

        Raises:
            ConfigError: an invalid condition or bound, or a file without conditions.
        """
        conditions = tuple(parse_condition(text) for text in fail_if or ())
        if junit and not conditions:
            raise ConfigError(
                "--junit writes the verdicts of conditions, and there is none. Add --fail-if."
            )
        return cls(conditions, check_bound(bound), junit)

    def judge(
        self, report: AuditReport, *, subject: str = "", audits: int = 1
    ) -> list[ConditionResult]:
        """Return the verdicts on one audit of `audits`."""
        return judge(report, self.conditions, self.bound, subject=subject, audits=audits)

    def to_json(self, verdicts: Sequence[ConditionResult]) -> dict[str, Any]:
        """Return the gate's part of a report: the key `gate`, or nothing without conditions."""
        if not self.conditions:
            return {}
        judged = [verdict.to_json() for verdict in verdicts]
        return {"gate": {"exit_code": exit_code(verdicts), "verdicts": judged}}

    def write(self, verdicts: Sequence[ConditionResult], properties: Mapping[str, object]) -> None:
        """Write the JUnit file, if requested, with `properties` (the seed, ...)."""
        if self.junit:
            about = {"selena": __version__, **properties}
            write_text(self.junit, junit_xml(verdicts, properties=about))

    def conclude(self, console: Console, verdicts: Sequence[ConditionResult]) -> None:
        """Show the verdicts and end the command with their exit code.

        Raises:
            Judged: always, if there are conditions.
        """
        if not self.conditions:
            return
        show_verdicts(console, verdicts)
        if self.junit:
            show_written(console, self.junit)
        raise Judged(exit_code(verdicts))
