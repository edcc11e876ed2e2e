"""`selena prepare`: downloads and converts published data sets before they are needed."""

from __future__ import annotations

from typing import Annotated

import typer

from selena.cli import options
from selena.cli.guards import keeps_downloads_in
from selena.cli.progress import RichProgress
from selena.data.prepare import ALL, PUBLISHED, prepare
from selena.files.writing import cache_folder


def prepare_command(
    names: Annotated[
        list[str],
        typer.Argument(help=f"Data sets: {', '.join(PUBLISHED)}, or {ALL}.", metavar="NAME..."),
    ],
    data_dir: options.DataDir = None,
) -> None:
    """Download published data sets, check them, and convert them for fast loading."""
    keeps_downloads_in(cache_folder())
    for dataset in prepare(names, data_dir=data_dir, progress=RichProgress()):
        shape = " x ".join(map(str, dataset.records.x.shape[1:]))
        print(
            f"{dataset.name}: {len(dataset.records):,} records of {shape}, "
            f"{dataset.num_classes} classes"
        )
    print(f"Ready. Downloads and converted sets are kept in {cache_folder()}.")
