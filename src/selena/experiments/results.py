"""Whole experiments: every defense with every seed, trained, attacked and written up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from selena.auditing.report import AuditReport
from selena.errors import ConfigError
from selena.experiments.pipeline import Case, RunSettings, attack, cases, check_settings, train
from selena.experiments.store import RunFolder
from selena.experiments.whole_runs import Wanted, fetch_runs
from selena.reports.results import Results
from selena.reports.runs import Run
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
    for path, report, manifest in zip(folders, reports, manifests, strict=True):
        defense, seed = manifest.settings.defense, manifest.settings.seed
        if (defense, seed) in seen:
            raise ConfigError(
                f"{seen[defense, seed]} and {path} both are {defense}, seed {seed}. Runs of one "
                "defense are repetitions, a seed each: report others apart."
            )
        seen[defense, seed] = path
        same = {
            "data": manifest.data.sha256,
            "partition": manifest.partition,
            "settings": replace(manifest.settings, seed=0, data={}),
            "families of attacks": sorted(report.families),
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
        Run(row, report, manifest.to_json())
        for row, report, manifest in zip(rows, reports, manifests, strict=True)
    ]
    return Results(
        runs,
        settings={name: asdict(manifest.settings) for name, manifest in named.items()},
        timings={name: asdict(manifest.timings) for name, manifest in named.items()},
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
    with_manifests = [(folder.path, folder.manifest(), report) for folder, report in found]
    order = list(dict.fromkeys(manifest.settings.defense for _, manifest, _ in with_manifests))
    ordered = sorted(with_manifests, key=lambda each: order.index(each[1].settings.defense))
    return Results(
        [Run(manifest.row(report), report, manifest.to_json()) for _, manifest, report in ordered],
        settings={path.name: asdict(manifest.settings) for path, manifest, _ in ordered},
        timings={
            path.name: {**asdict(manifest.timings), "attack_seconds": report.timings()}
            for path, manifest, report in ordered
        },
        folders=[path for path, _, _ in ordered],
    )
