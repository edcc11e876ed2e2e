"""`selena export`: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selena.cli import options
from selena.cli.progress import RichProgress
from selena.experiments.export import export_onnx
from selena.experiments.store import RunFolder
from selena.files.escaping import shown_path


def export_command(
    run_folder: Annotated[Path, typer.Argument(help="Run folder of the model.", metavar="RUN")],
    onnx: Annotated[Path, typer.Option(help="ONNX file to write.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Return probabilities instead of logits.")
    ] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Write a run's model as an ONNX file and check its answers."""
    done = export_onnx(
        RunFolder(run_folder),
        onnx,
        probabilities=probabilities,
        data_dir=data_dir,
        progress=RichProgress(),
    )
    print(f"Written: {shown_path(done.path)} (x -> {done.output})")
    if done.checked:
        print(
            f"Checked with onnxruntime: the {done.output} of {done.checked} records differ from "
            f"PyTorch's by at most {done.difference:.1e}."
        )
    else:
        print("Not checked: onnxruntime is not installed (pip install 'selena-privacy[onnx]').")
