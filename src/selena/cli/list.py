"""`selena list`: data sets, defenses and attacks by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from selena.cli import options
from selena.cli.catalog import SECTIONS, Entry, Section, catalog, markdown_table
from selena.cli.show import show_written, wide_console
from selena.errors import unknown_name
from selena.files.writing import write_json
from selena.reports.console import literal

ALL = "all"
_NOTE = "* runs only when named: the name of its family does not include it."


def list_command(
    what: Annotated[
        str, typer.Argument(help=f"{', '.join(SECTIONS)}, or {ALL}.", metavar="WHAT")
    ] = ALL,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown tables, as in docs/catalog.md.")
    ] = False,
    json_out: options.Json = None,
) -> None:
    """List data sets, defenses and attacks: what each is, needs and costs."""
    chosen = [section for section in SECTIONS if what in (section, ALL)]
    if not chosen:
        raise unknown_name("section", what, [*SECTIONS, ALL])
    entries = {section: catalog(section) for section in chosen}
    if json_out:
        write_json(json_out, {name: list(map(asdict, found)) for name, found in entries.items()})
    console = wide_console(json_out)
    for section, found in entries.items():
        if markdown:
            console.out(markdown_table(section), highlight=False)
        else:
            _show(console, section, found)
    if json_out:
        show_written(console, json_out)


def _show(console: Console, section: Section, entries: Sequence[Entry]) -> None:
    """Print a section; attacks come family by family."""
    table = Table(title=section.capitalize(), box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column("Name", no_wrap=True)
    for heading in ("What it is", "Needs", "Cost"):
        table.add_column(heading, ratio=2 if heading == "What it is" else 1)
    family = ""
    for entry in entries:
        if entry.family != family:
            family = entry.family
            table.add_row(f"[bold]{literal(family)}[/]")
        name = entry.name + ("" if entry.in_family else " *")
        reads = f"; reads {entry.access}" if entry.access else ""
        table.add_row(*map(literal, (name, entry.cited, f"{entry.needs}{reads}", entry.cost)))
    console.print(table)
    if not all(entry.in_family for entry in entries):
        console.print(_NOTE, markup=False)
    console.print()
