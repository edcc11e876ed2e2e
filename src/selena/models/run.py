"""`selena.audit`: attacks any model, given members and non-members, and reports what leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from selena.attacks.reference_matrix import ReferenceMatrix
from selena.auditing.predictions import Predictions, read_predictions
from selena.auditing.report import AuditReport
from selena.auditing.run import check_predictions_suffice, run_audit
from selena.data.checks import are_probabilities
from selena.errors import ConfigError, DataError
from selena.models.answers import Numbers, OutputFormat, check_output, choose_format
from selena.models.asking import Asking, check_settings
from selena.models.checks import (
    warn_of_constant,
    warn_of_equal_rows,
    warn_of_few,
    warn_of_logits,
    warn_of_predictions,
    warn_of_sums,
    warn_of_unsteady,
)
from selena.models.chosen import (
    affordable,
    beyond_predictions,
    check_attacks,
    chosen_attacks,
    needs_of,
)
from selena.models.containers import Rows
from selena.models.inputs import Inputs, as_inputs
from selena.models.models import Model, opened
from selena.models.near import count_near_copies, warn_of_near_copies
from selena.models.network import network_input
from selena.models.pool import GatheredRecords, Given, gather
from selena.models.references import bind_to_pool, bind_to_predictions, with_references
from selena.models.stored_records import find_stored_records, warn_of_stored_records
from selena.models.targets import (
    AnswerTable,
    LabelledTable,
    LiveEstimator,
    LiveModel,
    LiveNetwork,
    ask_all,
    ask_labels,
)
from selena.seeding import numpy_generator
from selena.types import Attack, Records, TargetModel
from selena.workspace import Workspace, check_device

_PREDICTIONS = (".npz", ".csv", ".parquet")
_PROBED = 8


def audit(
    model: Any,
    members: Given | None = None,
    non_members: Given | None = None,
    *,
    output: Literal["auto", "logits", "probabilities"] = "auto",
    factory: Callable[[], nn.Module] | None = None,
    num_classes: int | None = None,
    attacks: Sequence[str | Attack] | str = ("direct",),
    references: ReferenceMatrix | str | Path | None = None,
    known_fraction: float = 0.5,
    deduplicate: bool = False,
    fpr: float = 0.01,
    device: str | None = None,
    seed: int = 0,
    workspace: Workspace | None = None,
    batch_size: int | None = None,
    retries: int = 0,
    cache: str | Path | None = None,
) -> AuditReport:
    """Attack any model and report what leaks about who was in its training data.

    Use `audit` for a finished model, records that it was trained on, and others. Use `run_audit`
    for a target model that was trained on an `AuditSplit`.

    Direct attacks need one answer per record. The model is asked in shuffled batches, and a second
    time about a few records, to check that it repeats its answers. Other attacks ask about changed
    records; for these, features must be dense numbers.

    Records with equal features and label count as one record: they are known or scored together,
    and their mean score counts once. Predicted labels, and so accuracies, come from the model's
    `predict` if it has one.

    Args:
        model: a function of x that returns n x C probabilities (or logits; for two classes one
            column suffices, that of class 1); an `nn.Module`; a fitted scikit-learn classifier
            with `predict_proba`; the path of an `.onnx` or `.safetensors` file; a `TargetModel`
            of this library; or predictions alone, `Predictions` or the path of a file of them.
        members: records of the training set, `(x, y)`, `(x, y, subjects)` or `Records`; None with
            predictions alone. Subjects say which records belong to one person: the attacker knows
            all of them or none, and their mean score is the person's score.
            The model gets x in the container it comes in: array, tensor, pandas or polars frame,
            SciPy sparse matrix, list. y holds labels as the model knows them: the classes of a
            scikit-learn classifier, else column numbers.
        non_members: records outside the training set, of the same population and container.
        output: what the model answers. With "auto", answers are probabilities if every row looks
            like them, else logits (for a function: an error). Rows of a scikit-learn classifier
            that do not sum to 1 are divided by their sum.
        factory: builds the network of a `.safetensors` file.
        num_classes: C, checked against the model's answers.
        attacks: names or families of attacks in the registry, or attack objects.
        references: a matrix of reference models' confidences about these records, or its file.
            Reference-model attacks then train nothing. The columns of a matrix without names
            are the rows of predictions, or the members and then the non-members. Its family of
            attacks is added unless `attacks` names some of it.
        known_fraction: share of the members and of the non-members, in (0, 1), that the attacker
            knows and fits on; the others are scored. A table of predictions marks them itself.
        deduplicate: leave out, on both sides, records that are on both; by default they are an
            error. Dropping them from one side only looks like a leak, because the other side keeps
            the common records. If the sides differ in size, a random surplus of the larger one is
            known to the attacker and not scored, and records equal to one of it are left out too,
            so that both sides are drawn alike. A warning says how many.
        fpr: the false-positive rate that matters, in (0, 1]; too few records for it are warned of.
        device: where networks and attacks compute; by default the workspace's, "cpu".
        seed: root of every draw, 0 by default; the same seed gives the same report.
        workspace: progress, and a folder for what attacks train.
        batch_size: for a function: most records per call.
        retries: for a function: how often a call that raised is repeated, after 1 s, 2 s, 4 s and
            so on up to a minute, or after the time that a server asks for (Retry-After).
        cache: for a function: a folder of answers, found again by the record's content. A rerun
            asks about the missing records only, and about 24 others to check that the model still
            answers the same. One folder per model.

    Returns:
        The report; see `selena.auditing.report`. Its `model_queries` counts the queries to a
        function.

    Raises:
        DataError: records on both sides, shapes that disagree, labels that are no classes,
            features or answers that are not finite, answers that are not what `output` says.
        ConfigError: an object that is no model, an unknown attack, an attack that does not suit the
            features, a setting out of range, an optional package that is missing.
        StoreError: the folder of answers cannot be read or written.

    Warns:
        AuditWarning: too few records for `fpr`; records that count as one, were left out, seem to
            be filtered on one side, or have near copies; a model that stores training records,
            answers the same record differently, or gives all records the same answer; labels that
            are not the most probable ones; answers that can be read in two ways.
    """
    attacks = (attacks,) if isinstance(attacks, str) else tuple(attacks)
    check_output(output)
    attacks = with_references(attacks, references)
    check_attacks(attacks)
    workspace = workspace or Workspace()
    if device is not None:
        workspace = replace(workspace, device=device)
    check_device(workspace.device)
    if _is_predictions(model):
        if not (batch_size is None and not retries and cache is None):
            raise ConfigError("Predictions need no queries: leave batch_size, retries, cache out.")
        if not (members is None and non_members is None and factory is None):
            raise ConfigError(
                "Predictions contain everything needed: leave out members, non_members and factory."
            )
        if deduplicate:
            raise ConfigError(
                "Predictions do not tell which records are equal: leave deduplicate out. Give "
                "equal records one subject, or pass the model and its records."
            )
        return _audit_predictions(model, attacks, fpr, seed, workspace)
    if members is None or non_members is None:
        raise ConfigError(
            "To audit a model give members, records that it was trained on, and non_members, "
            "others of the same population."
        )
    check_settings(batch_size, retries, cache)
    with opened(model, factory=factory, device=workspace.device) as asked:
        asking = Asking(asked, batch_size=batch_size, retries=retries, cache=cache)
        pool = gather(
            members, non_members, scale=asked.target is None, deduplicate=deduplicate, seed=seed
        )
        pool.check_finite(missing=asked.missing)
        inside = model if hasattr(model, "get_params") else asked.network
        stored = None
        if inside is not None:
            # Rows that non-members have too (of few possible values) say nothing about training.
            alone = pool.members_alone
            stored = find_stored_records(inside, pool.features.take(alone) if len(alone) else None)
            warn_of_stored_records(stored)
        report = _audit_model(
            asking,
            pool,
            read=_Read(output, num_classes or asked.num_classes, asked, pool),
            attacks=attacks,
            known_fraction=known_fraction,
            fpr=fpr,
            seed=seed,
            workspace=workspace,
        )
        return replace(report, model_queries=asking.queries, stored_records=stored)


@dataclass(frozen=True, eq=False)
class _Read:
    """Reads the answers to rows of a pool."""

    output: str
    num_classes: int | None
    model: Model
    pool: GatheredRecords

    def __call__(self, answers: Numbers, rows: Rows) -> OutputFormat:
        reading = choose_format(
            answers,
            output=self.output,
            default=self.model.default,
            num_classes=self.num_classes,
            what=self.model.what,
            any_sum=self.model.any_sum,
        )
        reading.check(answers, lambda i: self.pool.name(int(rows[i])))
        return reading


def _audit_model(
    asking: Asking,
    pool: GatheredRecords,
    *,
    read: _Read,
    attacks: Sequence[str | Attack],
    known_fraction: float,
    fpr: float,
    seed: int,
    workspace: Workspace,
) -> AuditReport:
    """Audit a model; check a few records first, because asking about all may take minutes."""
    # Shuffled, so that members and non-members share batches and no batch effect tells them apart.
    model = asking.model
    order = numpy_generator(seed, "anymodel", "order").permutation(len(pool))
    order = order[pool.used[order]]
    few = order[: 2 * _PROBED]
    alone = ask_all(asking.fresh, pool.features, few[:_PROBED])
    among = ask_all(asking.fresh, pool.features, few)
    reading = read(among, few)
    warn_of_unsteady(alone, among[:_PROBED])
    steady = asking.compare(pool.features.take(few), among, alone)
    warn_of_equal_rows(pool)
    near_copies = count_near_copies(pool)
    warn_of_near_copies(near_copies, pool)
    classes = pool.classes(model.names, reading.num_classes, model.what)
    inputs = _inputs(pool, attacks)
    # If no attack needs features, x holds the place of each record in the order of asking.
    places = torch.zeros(len(pool), dtype=torch.int64)
    places[torch.from_numpy(order)] = torch.arange(len(order))
    x = places[:, None] if inputs is None else inputs.x
    split = pool.split(x, classes, known_fraction=known_fraction, seed=seed)
    warn_of_few(split, fpr)
    chosen = chosen_attacks(
        attacks,
        Records(x, torch.from_numpy(classes), torch.arange(len(pool))),
        None if inputs is None else inputs.features,
        reading.num_classes,
    )
    chosen = bind_to_pool(chosen, x, classes, pool.features)

    answers = ask_all(model, pool.features, order)
    reading = read(answers, order)
    warn_of_constant(answers)
    if reading.output == "probabilities" and not are_probabilities(answers).all():
        warn_of_sums(answers, model.what)
    if reading.output == "logits" and read.output == "auto":
        warn_of_logits(answers, model.what)
    logits = reading.logits(torch.from_numpy(answers))
    labels = ask_labels(model, pool.features, order)
    if labels is not None:
        warn_of_predictions(logits.argmax(dim=1).numpy(), labels, model.what)
    if inputs is None and labels is None:
        target: TargetModel = AnswerTable(logits)
    elif inputs is None:
        target = LabelledTable(logits, torch.from_numpy(labels))
    else:
        target = _live(model if steady else asking.fresh, reading, inputs, workspace.device)
    report = run_audit(target, split, chosen, seed=seed, workspace=workspace)
    return replace(report, near_copies=near_copies)


def _inputs(pool: GatheredRecords, attacks: Sequence[str | Attack]) -> Inputs | None:
    """Return features that attacks may change or train on, if one of `attacks` needs them."""
    if all(needs_of(attack) == {"predictions"} for attack in attacks):
        return None
    try:
        return as_inputs(pool.features)
    except DataError as error:
        changing = beyond_predictions(attacks)
        if not changing:  # a family runs without its attacks that need features
            return None
        raise ConfigError(
            f"The attacks {', '.join(changing)} ask about changed records, or train on them, but "
            f"{error}. Attacks "
            'with needs = "predictions", such as the family direct, need no more than answers.'
        ) from error


def _live(model: Model, reading: OutputFormat, inputs: Inputs, device: str) -> TargetModel:
    if model.target is not None:
        return model.target
    live, network = LiveModel(model, reading, inputs), model.network
    if network is None:
        return live if model.predict is None else LiveEstimator(model, reading, inputs)
    return LiveNetwork(live, network, lambda x: network_input(network, x * inputs.scale, device))


def _is_predictions(model: object) -> bool:
    if isinstance(model, str | Path):
        return Path(model).suffix.lower() in _PREDICTIONS
    return isinstance(model, Predictions)


def _audit_predictions(
    model: Predictions | str | Path,
    attacks: Sequence[str | Attack],
    fpr: float,
    seed: int,
    workspace: Workspace,
) -> AuditReport:
    table = model if isinstance(model, Predictions) else read_predictions(Path(model).expanduser())
    check_predictions_suffice(beyond_predictions(attacks))
    split = table.split()
    warn_of_few(split, fpr)
    chosen = chosen_attacks(
        affordable(attacks, len(table.labels)), split.train, None, table.num_classes
    )
    chosen = bind_to_predictions(chosen, split)
    return run_audit(table, split, chosen, seed=seed, workspace=workspace)
