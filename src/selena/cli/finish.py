"""The output of commands that trained or attacked: a table on the terminal, and files."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from selena.cli.show import show_rows, show_written
from selena.files.writing import together, write_json
from selena.reports.results import Results


def finish(
    console: Console,
    results: Results,
    out: Path | None,
    json_out: Path | None,
    *,
    title: str,
    more: Mapping[str, Any] | None = None,
    html: Path | None = None,
    also: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Write the requested files (with `more` in the JSON), print the table, return the files.

    All files appear together, including those that `also` writes.
    """
    command = shlex.join(["selena", *sys.argv[1:]])
    # Files first, because writing to a closed terminal fails.
    with together():
        written = results.write_report(out, title=title, command=command) if out else []
        for page in (out / "report.html" if out else None, html):
            if page:
                results.write_page(page, title=title, command=command)
                written.append(page)
        if json_out:
            write_json(json_out, {**results.to_json(command), **(more or {})})
            written.append(json_out)
        also()
    show_rows(console, results.rows, title=title, seconds=results.family_seconds)
    for path in written:
        show_written(console, path)
    return written
