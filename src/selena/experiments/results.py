"""Whole experiments: every defense with every seed, trained, attacked and written up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from selena.auditing.report import AuditReport
from selena.errors import ConfigError
from selena.experiments.pipeline import Case, RunSettings, attack, cases, check_settings, train
from selena.experiments.store import RunFolder, row_head
from selena.experiments.whole_runs import Wanted, fetch_runs
from selena.reports.page.runs import Run
from selena.reports.results import Results
from selena.workspace import Progress, Silent, TrainingLog, Workspace


def run(
    settings: RunSettings,
    runs: Path,
    *,
    progress: Progress | None = None,
    keep_submodels: bool = False,
    log: Callable[[Case], TrainingLog] | None = None,
) -> Results:
    """Train and attack every case of `settings`; what `runs` holds already is not done again.

    Finished sub-models and checkpoints live in `runs`/artifacts until the seed that needs them is
    done; with `keep_submodels` they stay. `log` returns who keeps a case's training curves.
    """
    check_settings(settings, progress)
    progress = progress or Silent()
    done: list[tuple[RunFolder, AuditReport]] = []
    if not keep_submodels and log is None:  # neither comes back from elsewhere
        wanted = [
            Wanted(case, settings.attacks, settings.attack_settings)
            for seed in settings.seeds
            for case in cases(settings, seed)
        ]
        fetch_runs(wanted, runs, make_workspace(runs, settings, progress))
    for seed in settings.seeds:
        workspace = make_workspace(runs, settings, progress)
        for case in cases(settings, seed):
            here = replace(workspace, log=log(case)) if log else workspace
            with progress.step(f"{case.defense}, seed {seed}", 2) as bar:
                folder = train(case, runs, here)
                bar.advance()
                report = attack(
                    folder,
                    settings.attacks,
                    workspace,
                    attack_settings=settings.attack_settings,
                    data_dir=settings.data.data_dir,
                )
                bar.advance()
            done.append((folder, report))
        if not keep_submodels:
            workspace.clear()
    return collect(done)


def read_results(folders: Sequence[Path]) -> Results:
    """Return the results of runs that were attacked before.

    Raises:
        StoreError: a folder that is no finished run, or was not attacked.
        ConfigError: runs that are no repetitions of each other under one defense's name.
    """
    reports = [RunFolder(path).report() for path in folders]
    rows = [RunFolder(path).audit(report) for path, report in zip(folders, reports, strict=True)]
    manifests = [RunFolder(path).manifest() for path in folders]
    first: dict[str, tuple[Path, dict[str, object]]] = {}
    seen: dict[tuple[str, int], Path] = {}
    for path, row, manifest in zip(folders, rows, manifests, strict=True):
        defense, seed = row["defense"], row["seed"]
        if (defense, seed) in seen:
            raise ConfigError(
                f"{seen[defense, seed]} and {path} both are {defense}, seed {seed}. Runs of one "
                "defense are repetitions, a seed each: report others apart."
            )
        seen[defense, seed] = path
        settings = {k: v for k, v in manifest["settings"].items() if k not in ("seed", "data")}
        same = {
            "data": manifest["data"]["sha256"],
            "partition": manifest["partition"],
            "settings": settings,
            "families of attacks": sorted(row["families"]),
        }
        other, theirs = first.setdefault(defense, (path, same))
        differing = [name for name in same if same[name] != theirs[name]]
        if differing:
            raise ConfigError(
                f"{other} and {path} both are {defense}, with other {' and '.join(differing)}. "
                "Runs of one defense are repetitions: report them apart, or attack all by the "
                "same families."
            )
    named = {path.name: manifest for path, manifest in zip(folders, manifests, strict=True)}
    runs = [
        Run(row, report, manifest)
        for row, report, manifest in zip(rows, reports, manifests, strict=True)
    ]
    return Results(
        runs,
        settings={name: manifest["settings"] for name, manifest in named.items()},
        timings={name: manifest["timings"] for name, manifest in named.items()},
        family_seconds={},
        folders=list(folders),
    )


def make_workspace(runs: Path, settings: RunSettings, progress: Progress | None) -> Workspace:
    """Return the workspace of work in progress under `runs`."""
    return Workspace(
        device=settings.device,
        folder=runs / "artifacts",
        progress=progress or Silent(),
        workers=settings.workers,
        cohort_size=settings.cohort_size,
        **asdict(settings.machines),
    )


def collect(found: Sequence[tuple[RunFolder, AuditReport]]) -> Results:
    """Return the results of finished runs, defense by defense."""
    order = {name: i for i, name in enumerate(dict.fromkeys(_defense(f) for f, _ in found))}
    ordered = sorted(found, key=lambda pair: order[_defense(pair[0])])
    times: dict[str, list[float]] = {}
    for folder, report in ordered:
        for family in report.families:
            seconds = sum(r.scores.seconds for r in report.attacks.values() if r.family == family)
            times.setdefault(f"{_defense(folder)}/{family}", []).append(seconds)
    return Results(
        [
            Run({**row_head(f.manifest()), **report.to_json()}, report, f.manifest())
            for f, report in ordered
        ],
        settings={f.path.name: f.manifest()["settings"] for f, _ in ordered},
        timings={
            f.path.name: {**f.manifest()["timings"], "attack_seconds": report.timings()}
            for f, report in ordered
        },
        family_seconds={name: sum(values) / len(values) for name, values in times.items()},
        folders=[f.path for f, _ in ordered],
    )


def _defense(folder: RunFolder) -> str:
    return str(folder.manifest()["settings"]["defense"])
