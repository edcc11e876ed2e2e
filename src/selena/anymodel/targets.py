"""A model's answers as target models: looked up by row number, or asked for anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor, nn

from selena.anymodel.answers import Numbers, Reading, as_numbers, failure
from selena.anymodel.containers import Container, Rows, contain
from selena.anymodel.inputs import Inputs
from selena.anymodel.models import Model
from selena.errors import DataError, SelenaError
from selena.training.batches import in_chunks

# Numbers of features, and records, that the model is asked about at once.
_BATCH_NUMBERS, _BATCH_RECORDS = 1 << 22, 4096


def ask_all(model: Model, features: Container, rows: Rows | None = None) -> Numbers:
    """Return the model's answers to the records at `rows` (default: all), in that order.

    They are asked for in batches that bound memory.

    Raises:
        DataError: the model failed, or answered with no array of one row a record.
    """
    shape = getattr(features.values, "shape", (len(features),))
    size = max(1, min(_BATCH_RECORDS, _BATCH_NUMBERS // max(1, int(np.prod(shape[1:])))))
    if model.batch_size is not None:
        size = max(1, size // model.batch_size) * model.batch_size  # no short batch in between
    rows = np.arange(len(features)) if rows is None else rows
    parts = []
    for part in in_chunks(len(rows), size):
        n = part.stop - part.start
        batch = features.take(rows[part])
        try:
            answer = model.ask(batch)
        except SelenaError:
            raise
        except Exception as error:  # somebody's model may raise anything
            raise failure(model.what, batch, n, error) from error
        parts.append(as_numbers(answer, n, model.what))
    if len({part.shape[1] for part in parts}) > 1:
        raise DataError(f"{model.what} answered with a changing number of columns.")
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """Answers that were given already; a record is its row number.

    Attributes:
        table: logits of all records.
    """

    table: Float64[Tensor, "n c"]
    is_table: ClassVar[bool] = True

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.table.shape[1]

    def logits(self, x: Int64[Tensor, "m 1"]) -> Float64[Tensor, "m c"]:
        """Return the rows whose numbers `x` holds."""
        return self.table[x[:, 0]]


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model that is asked about any features.

    Attributes:
        model: who answers.
        reading: how.
        inputs: brings features into the container that the model takes.
    """

    model: Model
    reading: Reading
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
class LiveNetwork:
    """A network whose gradients an attacker inside the machine could read.

    Attributes:
        live: the network as a model that is asked.
        network: itself.
        as_input: brings features to it through which gradients flow back.
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
