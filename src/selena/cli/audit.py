"""`selena audit`: any model, from its file or from its predictions."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from selena.auditing.predictions import read_predictions
from selena.auditing.report import AuditReport
from selena.cli import options
from selena.cli.gate import Gate
from selena.cli.progress import RichProgress
from selena.cli.show import show_audit, show_written, wide_console
from selena.environment.description import describe_environment
from selena.errors import ConfigError, unknown_name
from selena.files.writing import together, write_json, write_text
from selena.reports.page.render import render_page
from selena.reports.runs import run_of_audit
from selena.workspace import Workspace


def audit_command(
    predictions: Annotated[
        Path | None, typer.Option(help="File of any model's predictions: .npz, .csv or .parquet.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model file: .onnx, or .safetensors weights (with --factory)."),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(
            help="package.module:callable that builds the network for the weights. The module is "
            "looked up in the working directory first, and its code is run.",
        ),
    ] = None,
    members: Annotated[
        Path | None,
        typer.Option(
            help="File of records that the model was trained on: .npz (x, y), .csv or .parquet."
        ),
    ] = None,
    non_members: Annotated[
        Path | None,
        typer.Option(help="File of records of the same population that it was not trained on."),
    ] = None,
    label_column: options.LabelColumn = None,
    subject_column: options.SubjectColumn = None,
    output: Annotated[
        str | None,
        typer.Option(help="What the model returns: auto, probabilities or logits (default: auto)."),
    ] = None,
    known_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the records whose membership the attacker knows (default: 0.5)."
        ),
    ] = None,
    deduplicate: Annotated[
        bool,
        typer.Option(
            "--deduplicate",
            help="Drop records that are both members and non-members.",
        ),
    ] = False,
    attack_names: options.Attacks = None,
    references: Annotated[
        Path | None,
        typer.Option(
            help="File of a reference matrix, .npz, .parquet or .csv: confidences of reference "
            "models about the records, which the family reference-model then uses "
            "(docs/audit.md)."
        ),
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option(
            help="False-positive rate that matters to you; a warning says if there are too few "
            "records for it (default: 0.01)."
        ),
    ] = None,
    device: options.Device = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    html: options.Html = None,
    json_out: options.Json = None,
    save: Annotated[
        Path | None,
        typer.Option(help="File to write: the report with its scores, for release-report."),
    ] = None,
    fail_if: options.FailIf = None,
    bound: options.GateBound = "both",
    junit: options.Junit = None,
) -> None:
    """Audit any model, from its file or from its predictions."""
    gate = Gate.asked(fail_if, bound, junit)
    about_model = {
        "members": members,
        "non_members": non_members,
        "label_column": label_column,
        "subject_column": subject_column,
        "factory": factory,
        "output": output,
        "known_fraction": known_fraction,
        "deduplicate": deduplicate or None,
    }
    about_audit = {
        "attacks": options.comma_separated(attack_names) or None,
        "references": references,
        "fpr": fpr,
        "device": device,
    }
    settings = {
        **_given(about_audit),
        "seed": seed,
        "workspace": Workspace(progress=RichProgress()),
    }
    if predictions and not model:
        report = _audit_predictions(predictions, _given(about_model), settings)
    elif model and not predictions:
        report = _audit_model(model, _given(about_model), settings)
    else:
        raise ConfigError("Give either --predictions, or --model with --members.")
    result, verdicts = report.to_json(), gate.judge(report)
    # Files first, because writing to a closed terminal fails.
    with together():
        if json_out:
            write_json(json_out, {**result, **gate.to_json(verdicts)})
        if html:
            name = str(predictions or model)
            page = render_page(
                [run_of_audit(report, name=name, dataset=name, seed=seed)],
                title=name,
                command=shlex.join(["selena", *sys.argv[1:]]),
                environment=describe_environment(),
            )
            write_text(html, page)
        if save:
            report.save(save)
        gate.write(verdicts, {"audited": predictions or model, "seed": seed})
    console = wide_console(json_out, html, junit)
    show_audit(console, result, title=str(predictions or model))
    for path in (json_out, html, save):
        if path:
            show_written(console, path)
    gate.conclude(console, verdicts)


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _audit_predictions(
    path: Path, about_model: Mapping[str, Any], settings: Mapping[str, Any]
) -> AuditReport:
    from selena.models import audit

    if about_model:
        name = next(iter(about_model)).replace("_", "-")
        raise ConfigError(f"--{name} is for --model only; leave it out with --predictions.")
    return audit(read_predictions(path), **settings)


def _audit_model(
    path: Path, about_model: Mapping[str, Any], settings: Mapping[str, Any]
) -> AuditReport:
    from selena.models import audit, read_records
    from selena.models.answers import check_output

    arguments = dict(about_model)
    check_output(arguments.get("output", "auto"))
    columns = {"label_column": arguments.pop("label_column", "label")}
    columns["subject_column"] = arguments.pop("subject_column", None)
    for name in ("members", "non_members"):
        if name not in arguments:
            raise ConfigError(f"--model needs --{name.replace('_', '-')}: a file of records.")
        arguments[name] = read_records(arguments[name], **columns)
    if "factory" in arguments:
        arguments["factory"] = load_factory(arguments["factory"])
    return audit(path, **arguments, **settings)


def load_factory(text: str) -> Callable[..., Any]:
    """Return the object that `package.module:callable` names; the working directory comes first.

    Importing a module runs its code, so name only code that you trust.

    Raises:
        ConfigError: `text` has another form, or names nothing that can be called.
    """
    module_name, _, name = text.partition(":")
    if not (module_name and name):
        raise ConfigError(f"--factory {text!r}: write package.module:callable.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"--factory {text!r}: {error}. Modules are looked up in {os.getcwd()} first."
        ) from error
    except Exception as error:
        raise ConfigError(
            f"--factory {text!r}: {module_name} cannot be imported ({type(error).__name__}: "
            f"{error}). Fix the module."
        ) from error
    if not hasattr(module, name):
        public = (each for each in vars(module) if not each.startswith("_"))
        raise unknown_name(f"name in {module_name}", name, public)
    found = getattr(module, name)
    if not callable(found):
        raise ConfigError(f"--factory {text!r} is a {type(found).__name__}; it must be callable.")
    return found  # type: ignore[no-any-return]
