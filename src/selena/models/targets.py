"""Target models from a model's answers: looked up by row number, or asked for on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor, nn

from selena.errors import DataError, SelenaError
from selena.models.answers import Numbers, OutputFormat, as_numbers, failure
from selena.models.containers import Container, Rows, contain
from selena.models.inputs import Inputs
from selena.models.models import Model
from selena.training.batches import in_chunks

# Most numbers of features, and most records, per batch of questions.
_BATCH_NUMBERS, _BATCH_RECORDS = 1 << 22, 4096


def ask_all(model: Model, features: Container, rows: Rows | None = None) -> Numbers:
    """Return the model's answers to the records at `rows` (default: all), in that order.

    The model is asked in batches, to bound memory.

    Raises:
        DataError: the model failed, or did not return an array with one row per record.
    """
    parts = [
        as_numbers(answer, n, model.what)
        for answer, n in _in_batches(model, model.ask, features, rows)
    ]
    if len({part.shape[1] for part in parts}) > 1:
        raise DataError(f"{model.what} answered with a changing number of columns.")
    return np.concatenate(parts)


def ask_labels(
    model: Model, features: Container, rows: Rows | None = None
) -> Int64[np.ndarray, " m"] | None:
    """Return the classes that the model predicts for the records at `rows`; None where it has none.

    Raises:
        DataError: the model failed, or predicted what is none of its classes.
    """
    if model.predict is None or model.names is None:
        return None
    columns = {name: i for i, name in enumerate(model.names)}
    labels: list[Any] = []
    for answer, n in _in_batches(model, model.predict, features, rows):
        given = np.asarray(answer).reshape(-1).tolist()
        if len(given) != n or not columns.keys() >= set(given):
            strange = next((each for each in given if each not in columns), given)
            raise DataError(
                f"{model.what} predicts {strange!r} for {n} records; its classes are "
                f"{list(columns)!r:.200}. Pass a function that returns probabilities."
            )
        labels += [columns[each] for each in given]
    return np.array(labels, dtype=np.int64)


def _in_batches(
    model: Model, ask: Callable[[Any], Any], features: Container, rows: Rows | None
) -> Iterator[tuple[Any, int]]:
    """Yield the answers to each batch of records, and its number of records."""
    shape = getattr(features.values, "shape", (len(features),))
    size = max(1, min(_BATCH_RECORDS, _BATCH_NUMBERS // max(1, int(np.prod(shape[1:])))))
    if model.batch_size is not None:
        size = max(1, size // model.batch_size) * model.batch_size  # only the last is shorter
    rows = np.arange(len(features)) if rows is None else rows
    for part in in_chunks(len(rows), size):
        n = part.stop - part.start
        batch = features.take(rows[part])
        try:
            answer = ask(batch)
        except SelenaError:
            raise
        except Exception as error:  # a user's model may raise anything
            raise failure(model.what, batch, n, error) from error
        yield answer, n


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """A table of a model's answers, asked by row number.

    Attributes:
        table: logits of all records.
    """

    table: Float64[Tensor, "n c"]
    is_table: ClassVar[bool] = True

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.table.shape[1]

    @property
    def answers(self) -> Float64[Tensor, "n c"]:
        """The table."""
        return self.table

    def logits(self, x: Int64[Tensor, "m 1"]) -> Float64[Tensor, "m c"]:
        """Return the rows whose numbers `x` holds."""
        return self.table[x[:, 0]]


@dataclass(frozen=True, eq=False)
class LabelledTable(AnswerTable):
    """Answers of a model whose predicted labels may differ from its most probable classes.

    Attributes:
        labels: predicted class of each record.
    """

    labels: Int64[Tensor, " n"]

    @property
    def labels_of(self) -> AnswerTable:
        """The labels as answers with probability 1."""
        return AnswerTable(_sure(self.labels, self.num_classes))


def _sure(labels: Int64[Tensor, " n"], num_classes: int) -> Float64[Tensor, "n c"]:
    """Return logits (0 and -inf) that give the labels probability 1."""
    return nn.functional.one_hot(labels, num_classes).double().log()


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model that is asked about any features.

    Attributes:
        model: the model that answers.
        reading: the format of its answers.
        inputs: brings features into the container that the model takes.
    """

    model: Model
    reading: OutputFormat
    inputs: Inputs

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.reading.num_classes

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float64[Tensor, "n c"]:
        """Return logits, or logarithms of probabilities.

        Raises:
            DataError: the model failed or gave no answers of its kind.
        """
        answers = ask_all(self.model, contain(self.inputs.back(x), "queries"))
        self.reading.check(answers, lambda row: f"query {row}")
        return self.reading.logits(torch.from_numpy(answers))


@dataclass(frozen=True, eq=False)
class LiveLabels(LiveModel):
    """The labels that a model predicts for any features, as answers with probability 1."""

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float64[Tensor, "n c"]:
        """Return 0 for the label that is predicted, -inf for others.

        Raises:
            DataError: the model failed or predicted what is no class.
        """
        labels = ask_labels(self.model, contain(self.inputs.back(x), "queries"))
        assert labels is not None
        return _sure(torch.from_numpy(labels), self.num_classes)


@dataclass(frozen=True, eq=False)
class LiveEstimator(LiveModel):
    """A model with its own method of predicting labels, asked about any features."""

    @property
    def labels_of(self) -> LiveLabels:
        """Its labels."""
        return LiveLabels(self.model, self.reading, self.inputs)


@dataclass(frozen=True, eq=False)
class LiveNetwork:
    """A network whose gradients an attacker with the model file could read.

    Attributes:
        live: the network as a model that is asked.
        network: the network itself.
        as_input: converts features to the network's input, with gradients.
    """

    live: LiveModel
    network: nn.Module
    as_input: Callable[[Tensor], Tensor]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.live.num_classes

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float64[Tensor, "n c"]:
        """Return logits, or logarithms of probabilities."""
        return self.live.logits(x)

    def differentiable_logits(self, x: Float[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits through which gradients flow back to `x`."""
        answers: Any = self.network(self.as_input(x))
        return self.live.reading.logits(answers.reshape(len(x), self.live.reading.columns))
