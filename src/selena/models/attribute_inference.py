"""`selena.infer_attribute`: how well a model reveals a hidden attribute of training records.

The attack is that of `selena.attacks.attribute`. Its accuracy says little by itself, because an
attribute often follows from the rest of the record, without any model. So the report compares it
with two baselines and with the accuracy on records that the model never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selena.attacks.attribute import attribute_numbers, attribute_scores
from selena.errors import ConfigError, DataError
from selena.metrics.intervals import Interval, advantage_interval, clopper_pearson
from selena.models.answers import check_output, choose_format
from selena.models.inputs import as_inputs
from selena.models.models import opened
from selena.models.pool import Given, gather
from selena.models.targets import LiveModel, ask_all
from selena.seeding import child_seed, numpy_generator
from selena.types import Records, TargetModel

_MOST_VALUES = 50
_FEWEST, _PROBED = 4, 16


@dataclass(frozen=True)
class Share:
    """The share of guesses that were right.

    Attributes:
        value: the share, in [0, 1].
        interval: its 95 % interval (Clopper-Pearson).
        right: number of right guesses.
        of: number of guesses.
    """

    value: float
    interval: Interval
    right: int
    of: int

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


@dataclass(frozen=True, kw_only=True)
class AttributeReport:
    """What a model reveals about an attribute.

    Attributes:
        columns: columns that encode the attribute.
        values: number of values that were tried.
        members: guesses on members, with the model.
        non_members: guesses on records that the model never saw, with the model.
        most_frequent: guesses on members by the attacker's most frequent value, without the model.
        without_model: guesses on members, from the other features and the label, by a classifier
            that the attacker fits to its own records, without the model.
        advantage: accuracy on members minus that on non-members (Yeom et al. 2018):
            what being in the training set adds.
        advantage_interval: Newcombe's 95 % interval of it.
    """

    columns: tuple[int, ...]
    values: int
    members: Share
    non_members: Share
    most_frequent: Share
    without_model: Share
    advantage: float
    advantage_interval: Interval

    @property
    def membership_leaks(self) -> bool:
        """Whether the attribute of members is guessed better than that of others."""
        return self.advantage_interval[0] > 0

    @property
    def beats_baselines(self) -> bool:
        """Whether the model helps: the accuracy with it is above both baselines' intervals."""
        baselines = (self.most_frequent, self.without_model)
        return self.members.interval[0] > max(each.interval[1] for each in baselines)

    def __str__(self) -> str:
        low, high = self.advantage_interval
        return "\n".join(
            [
                f"Attribute in columns {', '.join(map(str, self.columns))}, {self.values} values",
                f"  members, with the model        {self.members}",
                f"  non-members, with the model    {self.non_members}",
                f"  members, most frequent value   {self.most_frequent}",
                f"  members, without the model     {self.without_model}",
                f"  advantage on members           {100 * self.advantage:+.1f} points "
                f"({100 * low:+.1f} to {100 * high:+.1f})",
            ]
        )


def infer_attribute(
    model: Any,
    members: Given,
    non_members: Given,
    attribute: int | Sequence[int],
    *,
    values: Any = None,
    output: str = "auto",
    num_classes: int | None = None,
    factory: Callable[[], nn.Module] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> AttributeReport:
    """Guess one attribute of members and of non-members from a model's answers.

    The attacker knows each record's other features and its label, and also knows half of the
    non-members completely. Two forests fitted to that half predict the attribute: from the other
    features (the prior), and from these and the label (the baseline). The other half is guessed.

    Args:
        model: any kind of model that `selena.audit` takes, except for predictions alone.
        members: `(x, y)` or `Records` of the training set; x holds dense numbers, one row each.
        non_members: other records of the same population, in the same form.
        attribute: the column of the attribute, or the columns of its one-hot encoding.
        values: values that the columns may hold, v or v x columns; by default those in the
            records, at most 50. A record with another value counts as the nearest one.
        output: as for `selena.audit`.
        num_classes: as for `selena.audit`.
        factory: as for `selena.audit`.
        device: device of a network.
        seed: seed of the halves and of the baseline.

    Raises:
        DataError: records that are no table of numbers, too few records, an unknown column, more
            than 50 values, or answers that are no predictions.
        ConfigError: an object that is no model.
    """
    check_output(output)
    columns = (attribute,) if isinstance(attribute, int) else tuple(attribute)
    with opened(model, factory=factory, device=device) as asked:
        pool = gather(members, non_members, scale=asked.target is None, seed=seed)
        pool.check_finite(missing=asked.missing)
        inputs = as_inputs(pool.features)
        few = np.arange(min(_PROBED, len(pool)))
        fmt = choose_format(
            ask_all(asked, pool.features, few),
            output=output,
            default=asked.default,
            num_classes=num_classes or asked.num_classes,
            what=asked.what,
            any_sum=asked.any_sum,
        )
        classes = torch.from_numpy(pool.classes(asked.names, fmt.num_classes, asked.what))
        every = Records(inputs.x, classes, torch.arange(len(pool)))
        tried = _values(every.x, columns, values)
        target: TargetModel = asked.target or LiveModel(asked, fmt, inputs)
        return _report(target, every, pool.members, columns, tried, seed)


def _values(
    x: Shaped[Tensor, "n *features"], columns: tuple[int, ...], values: Any
) -> Shaped[Tensor, "v d"]:
    if x.ndim != 2 or not columns or min(columns) < 0 or max(columns) >= x.shape[1]:
        raise DataError(
            f"The attribute is in columns {columns}, and records have shape {tuple(x.shape[1:])}. "
            "Give columns of a table of numbers, counted from 0."
        )
    if values is not None:
        given = torch.as_tensor(np.asarray(values))
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or given.shape[1] != len(columns):
            raise ConfigError(
                f"values have shape {tuple(given.shape)}; give one row per value, with one number "
                f"for each of the {len(columns)} columns."
            )
    else:
        given = torch.unique(x[:, list(columns)], dim=0)
    if not 2 <= len(given) <= _MOST_VALUES:
        raise DataError(
            f"The attribute has {len(given)} values; between 2 and {_MOST_VALUES} can be tried. "
            "For a continuous attribute pass values=; each record then counts as the nearest one."
        )
    return given


def _report(
    target: TargetModel,
    every: Records,
    n_members: int,
    columns: tuple[int, ...],
    values: Shaped[Tensor, "v d"],
    seed: int,
) -> AttributeReport:
    truth = attribute_numbers(every, columns, values)
    order = numpy_generator(seed, "attribute").permutation(len(every) - n_members) + n_members
    own, scored = order[: len(order) // 2], order[len(order) // 2 :]
    if min(len(own), n_members) < _FEWEST:
        raise DataError(
            f"{n_members} members and {len(order)} non-members are too few; give at least "
            f"{_FEWEST} members and {2 * _FEWEST} non-members."
        )
    asked = np.concatenate([np.arange(n_members), scored])
    rest = np.delete(every.x.double().numpy(), list(columns), axis=1)
    label = np.eye(int(every.y.max()) + 1)[every.y.numpy()]
    prior = _impute(rest, own, asked, truth, len(values), seed)
    imputed = _impute(np.hstack([rest, label]), own, asked, truth, len(values), seed)
    likelihood = attribute_scores(target, every.take(torch.from_numpy(asked)), columns, values)
    right = (likelihood + prior).argmax(axis=1) == truth[asked]
    ours, theirs = _share(right[:n_members]), _share(right[n_members:])
    mine, most = truth[:n_members], int(np.bincount(truth[own]).argmax())
    return AttributeReport(
        columns=columns,
        values=len(values),
        members=ours,
        non_members=theirs,
        most_frequent=_share(mine == most),
        without_model=_share(imputed[:n_members].argmax(axis=1) == mine),
        advantage=ours.value - theirs.value,
        advantage_interval=advantage_interval(ours.right, ours.of, theirs.right, theirs.of),
    )


def _impute(
    table: Float[np.ndarray, "n d"],
    own: Int[np.ndarray, " m"],
    asked: Int[np.ndarray, " a"],
    truth: Int[np.ndarray, " n"],
    values: int,
    seed: int,
) -> Float[np.ndarray, "a v"]:
    """Return log p(value | table) per record, by a forest of 100 trees on the attacker's records.

    A value without votes gets half a vote, so that the model's answers can still favor it.
    """
    # Imported here because the import takes half a second.
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(random_state=child_seed(seed, "imputation") % 2**32)
    forest.fit(table[own], truth[own])
    p = np.zeros((len(asked), values))
    p[:, forest.classes_] = forest.predict_proba(table[asked])
    least = 1 / (2 * len(forest.estimators_))
    return np.log(np.maximum(p, least))


def _share(right: Shaped[np.ndarray, " n"]) -> Share:
    hits, n = int(right.sum()), len(right)
    return Share(hits / n, clopper_pearson(hits, n), hits, n)
