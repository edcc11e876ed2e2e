"""Guesses a hidden attribute of a record from the rest of it, its label and the model's answers.

Fredrikson, Jha, Ristenpart, "Model Inversion Attacks that Exploit Confidence Information", CCS
2015, for confidences: with v in place of the hidden attribute, the label's likelihood is

    log p_model(y | x with attribute = v),

and the guess is the v with the highest sum of log p(v | rest of x) and that likelihood. The
attacker knows everything about the record except the attribute: the worst case, as in SACRO-ML. The
paper's prior uses v alone; here a forest fitted to the attacker's records also uses the rest of x.
Yeom et al., "Privacy Risk in Machine Learning", CSF 2018, Section 5, compare the guesses on members
with those on non-members.

Cost: one query per record and possible value. No training of the target.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Shaped
from torch import Tensor

from selena.training.batches import in_answer_chunks
from selena.types import Records, TargetModel

_LEAST = -104.0
"""Replaces log 0; it is below the logarithm of every positive float32."""


def attribute_scores(
    model: TargetModel,
    records: Records,
    columns: tuple[int, ...],
    values: Shaped[Tensor, "v d"],
) -> Float64[np.ndarray, "n v"]:
    """Return the log-likelihood of each record's label under each value of an attribute.

    Args:
        model: answers about changed records.
        records: n records of one dimension; the values in `columns` are ignored.
        columns: the d columns that encode the attribute; several for a one-hot encoding.
        values: contents of the columns for each of the v values.

    Returns:
        n x v logarithms, at most 0; higher = likelier.
    """
    scores = np.empty((len(records), len(values)))
    where = list(columns)
    for part in in_answer_chunks(len(records), model.num_classes):
        y = records.y[part]
        for i, value in enumerate(values):
            x = records.x[part].clone()
            x[:, where] = value.to(x.dtype)
            log_p = model.logits(x).double().log_softmax(dim=1)
            scores[part, i] = log_p.gather(1, y[:, None]).squeeze(1).clamp(min=_LEAST).numpy()
    return scores


def attribute_numbers(
    records: Records, columns: tuple[int, ...], values: Shaped[Tensor, "v d"]
) -> Shaped[np.ndarray, " n"]:
    """Return the index of the nearest of `values` for each record (the first of tied ones)."""
    held = records.x[:, list(columns)].double()
    gaps = (held[:, None, :] - values.double()[None]).abs().sum(dim=2)
    return np.asarray(gaps.argmin(dim=1).numpy())
