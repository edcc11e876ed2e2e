"""`selena tune`: settings that trade accuracy against leakage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from selena.cli import options
from selena.cli.guards import keeps_work_in
from selena.cli.progress import RichProgress
from selena.cli.show import wide_console
from selena.config import override, read_toml
from selena.errors import ConfigError
from selena.experiments.pipeline import DataSettings, RunSettings
from selena.experiments.tuning import Space, Trial, Tuning, tune
from selena.files.writing import write_json
from selena.reports.tradeoff import draw_tradeoff

_OUT = Path("tuning")


def _range(text: str | None, kind: Callable[[str], Any], name: str) -> Any:
    """Read LOW:HIGH."""
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        return kind(low), kind(high if colon else low)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}; give LOW:HIGH, as 5:50.") from error


def tune_command(
    dataset: options.Dataset = None,
    data_dir: options.DataDir = None,
    size: options.Size = None,
    label_column: options.LabelColumn = None,
    subject_column: options.SubjectColumn = None,
    n_members: options.NMembers = None,
    defense: options.Defenses = None,
    attack_names: options.Attacks = None,
    seed: Annotated[int, typer.Option(help="Random seed of split, trainings and search.")] = 0,
    trials: Annotated[
        int, typer.Option(min=1, help="How many finished trials the folder is to hold.")
    ] = 20,
    metric: Annotated[
        str,
        typer.Option(
            help="Leakage to minimize on known records: advantage, balanced_accuracy, auc or "
            "tpr@fpr=X."
        ),
    ] = "advantage",
    limit: Annotated[
        float | None,
        typer.Option(help="Choose the most accurate trial that leaks no more than this (a share)."),
    ] = None,
    epochs: Annotated[str, typer.Option(help="Range of epochs, as LOW:HIGH.")] = "5:100",
    learning_rate: Annotated[
        str, typer.Option(help="Range of learning rates, as LOW:HIGH.")
    ] = "0.0001:0.01",
    weight_decay: Annotated[
        str | None, typer.Option(help="Range of weight decays, as LOW:HIGH (default: not tuned).")
    ] = None,
    n_nonmodels: Annotated[
        str | None,
        typer.Option(help="Range of L of SELENA and Split-AI, as LOW:HIGH (default: not tuned)."),
    ] = None,
    device: options.Device = None,
    workers: options.Workers = None,
    config: options.Config = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the study, its runs, pareto.png and tuning.json. The same command goes "
            "on with it.",
            file_okay=False,
            callback=options.can_be_written,
        ),
    ] = _OUT,
    json_out: options.Json = None,
) -> None:
    """Search settings that trade accuracy against leakage, without evaluation records."""
    space = Space(
        _range(epochs, int, "--epochs"),
        _range(learning_rate, float, "--learning-rate"),
        _range(weight_decay, float, "--weight-decay"),
        _range(n_nonmodels, int, "--n-nonmodels"),
    )
    keeps_work_in(out)
    tuning = tune(
        _settings(locals(), config),
        space,
        out,
        trials=trials,
        metric=metric,
        limit=limit,
        progress=RichProgress(),
    )
    write_json(out / "tuning.json", tuning.to_json())
    if json_out:
        write_json(json_out, tuning.to_json())
    by_number = {each.number: each for each in tuning.trials}
    draw_tradeoff(
        [_point(each) for each in tuning.trials],
        [_point(by_number[number]) for number in tuning.front],
        out / "pareto.png",
        metric=metric,
        chosen=None if tuning.chosen is None else _point(by_number[tuning.chosen]),
        limit=limit,
    )
    console = wide_console(json_out)
    for line in lines(tuning, out):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines(tuning: Tuning, out: Path) -> list[str]:
    """Return the printed lines: the front, and the chosen trial."""
    by_number = {each.number: each for each in tuning.trials}
    found = [
        f"{len(tuning.trials)} trials; no trial is better in both than these "
        f"(validation accuracy, {tuning.metric} on known records):"
    ]
    for number in tuning.front:
        each = by_number[number]
        values = ", ".join(f"{name} {_short(value)}" for name, value in each.params.items())
        found.append(f"  {each.accuracy:6.1%} {each.leakage:7.1%}  {values}  ({each.run})")
    if tuning.limit is not None and tuning.chosen is None:
        found.append(f"Every trial leaks more than {tuning.limit:g} on known records.")
    if tuning.chosen is not None and tuning.evaluation is not None:
        low, high = tuning.evaluation.interval
        found.append(
            f"Chosen: {out / 'runs' / by_number[tuning.chosen].run}. On evaluation records, which "
            f"the choice did not use: test accuracy {tuning.test_accuracy:.1%}, {tuning.metric} "
            f"{tuning.evaluation.value:.1%} (95 % interval {low:.1%} to {high:.1%})."
        )
    found.append(f"Written: {out / 'pareto.png'}, {out / 'tuning.json'}")
    return found


def _point(trial: Trial) -> tuple[float, float]:
    return trial.accuracy, trial.leakage


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _settings(arguments: dict[str, Any], config: Path | None) -> RunSettings:
    settings = override(RunSettings(), read_toml(config) if config else {})
    names = {f.name for f in fields(DataSettings)}
    data = {k: v for k, v in arguments.items() if k in names and v is not None}
    given: dict[str, Any] = {
        "data": data,
        "defenses": options.comma_separated(arguments["defense"]),
        "attacks": options.comma_separated(arguments["attack_names"]),
        "device": arguments["device"],
        "workers": arguments["workers"],
    }
    empty: tuple[Any, ...] = (None, (), {})
    given = {name: value for name, value in given.items() if value not in empty}
    return override(settings, {**given, "seeds": (arguments["seed"],)})
