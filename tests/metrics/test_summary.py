from __future__ import annotations

import json

import numpy as np
import pytest

from selena.errors import DataError
from selena.metrics import (
    advantage_interval,
    auc_interval,
    clopper_pearson,
    roc_curve,
    summarize,
    tpr_at_fpr,
)

TRUTH = np.arange(2000) < 1000
SCORES = np.round(np.random.default_rng(1).normal(TRUTH * 1.0, 1), 1)


def test_figures_by_hand() -> None:
    truth = np.array([True] * 4 + [False] * 4)
    scores = np.array([4, 3, 2, 1, 3, 1, 0, 0])
    figures = summarize(scores, scores >= 2, truth, fprs=(0.25, 0.1))
    assert (figures.members, figures.non_members) == (4, 4)
    assert (figures.tpr, figures.fpr) == (0.75, 0.25)
    assert figures.advantage == 0.5
    assert figures.balanced_accuracy == 0.75
    assert figures.auc == (4 + 3.5 + 3 + 2.5) / 16
    assert figures.tpr_at_fpr[0.25].tpr == 0.75
    assert figures.tpr_at_fpr[0.1].tpr == 0.25
    assert not figures.tpr_at_fpr[0.1].resolved


def test_json_is_plain_and_complete() -> None:
    value = summarize(SCORES, SCORES >= 0.5, TRUTH).to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    hits, alarms = int((SCORES[TRUTH] >= 0.5).sum()), int((SCORES[~TRUTH] >= 0.5).sum())
    low, high = advantage_interval(hits, 1000, alarms, 1000)
    assert value["advantage_interval"] == [low, high]
    assert value["balanced_accuracy_interval"] == pytest.approx([(1 + low) / 2, (1 + high) / 2])
    assert value["auc_interval"] == list(auc_interval(SCORES, TRUTH))
    assert value["auc"] == roc_curve(SCORES, TRUTH).auc
    assert set(value) == {
        "members",
        "non_members",
        "balanced_accuracy",
        "balanced_accuracy_interval",
        "advantage",
        "advantage_interval",
        "tpr",
        "fpr",
        "auc",
        "auc_interval",
        "tpr_at_fpr",
    }
    assert list(value["tpr_at_fpr"]) == ["0.1", "0.01", "0.001"]
    point = value["tpr_at_fpr"]["0.01"]
    assert set(point) == {
        "tpr",
        "interval",
        "realized_fpr",
        "realized_fpr_interval",
        "allowed_false_positives",
        "resolved",
        "needed_non_members",
    }
    assert point["allowed_false_positives"] == 10
    alarms = round(point["realized_fpr"] * 1000)
    assert point["realized_fpr_interval"] == list(clopper_pearson(alarms, 1000))
    assert point["interval"] == list(tpr_at_fpr(roc_curve(SCORES, TRUTH), 0.01).interval)
    # The threshold is estimated too: wider than the interval of the TPR at that threshold.
    low, high = clopper_pearson(round(point["tpr"] * 1000), 1000)
    assert point["interval"][0] < low < high < point["interval"][1]


def test_comparisons_reach_every_interval() -> None:
    one = summarize(SCORES, SCORES >= 0.5, TRUTH)
    many = summarize(SCORES, SCORES >= 0.5, TRUTH, comparisons=20)
    assert one.balanced_accuracy == many.balanced_accuracy
    for narrow, wide in (
        (one.balanced_accuracy_interval, many.balanced_accuracy_interval),
        (one.auc_interval, many.auc_interval),
        (one.tpr_at_fpr[0.1].interval, many.tpr_at_fpr[0.1].interval),
    ):
        assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.usefixtures("unchecked")
def test_unlike_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="one decision per record"):
        summarize(SCORES, SCORES[:5] >= 0, TRUTH)
