"""Results of one experiment, and the files that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selena.environment.description import describe_environment
from selena.environment.version import __version__
from selena.files.writing import together, write_json, write_text
from selena.reports.markdown import render_markdown
from selena.reports.page.render import render_page
from selena.reports.runs import Run
from selena.reports.table import AttackSeconds, summarize_rows

SCHEMA = "selena-run/2"


@dataclass(frozen=True, eq=False)
class Results:
    """Runs, their costs, and what is needed to repeat them.

    Attributes:
        runs: one per defense and seed; equal seeds give equal rows.
        settings: all settings of each run, by run folder.
        timings: seconds of training and of each attack, by run folder.
        folders: the run folders, in the order of `runs`; empty if nothing was kept on disk.
    """

    runs: Sequence[Run]
    settings: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    folders: Sequence[Path] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row per run, in the format `selena-run/2`."""
        return [run.row for run in self.runs]

    @property
    def attack_seconds(self) -> AttackSeconds:
        """Seconds of each attack; empty where the timings do not tell."""
        return {
            (run.head.defense, run.head.seed): self.timings[path.name].get("attack_seconds", {})
            for run, path in zip(self.runs, self.folders, strict=False)  # there may be no folders
        }

    def to_json(self, command: str) -> dict[str, Any]:
        """Return rows, their means over seeds, costs, and what is needed to repeat them."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "command": command,
            "environment": describe_environment(),
            "rows": self.rows,
            "summary": summarize_rows(self.rows),
            "settings": self.settings,
            "timings": self.timings,
        }

    def write_report(self, folder: Path, *, title: str, command: str) -> list[Path]:
        """Write report.json, report.md and report.png into `folder`; return their paths."""
        # Imported here because Matplotlib takes half a second to import.
        from selena.reports.figures import draw_report

        paths = [folder / f"report.{suffix}" for suffix in ("json", "md", "png")]
        text = render_markdown(
            self.rows,
            title=title,
            command=command,
            figure=paths[2].name,
            seconds=self.attack_seconds,
        )
        with together():
            write_json(paths[0], self.to_json(command))
            draw_report(self.rows, paths[2])
            write_text(paths[1], text)
        return paths

    def write_page(self, path: Path, *, title: str, command: str) -> Path:
        """Write the report as one self-contained HTML page; return its path."""
        page = render_page(
            self.runs, title=title, command=command, environment=describe_environment()
        )
        write_text(path, page)
        return path
