"""The report as one page: a file that needs no network, for readers who are no experts too."""

from __future__ import annotations

from selena.page.comparison import Comparison, compare
from selena.page.render import render_page, write_page
from selena.page.runs import Run, run_of_audit, runs_of_results

__all__ = [
    "Comparison",
    "Run",
    "compare",
    "render_page",
    "run_of_audit",
    "runs_of_results",
    "write_page",
]
