"""Metrics of membership scores: ROC, thresholds, intervals. NumPy, float64, exact ties."""

from selena.metrics.intervals import (
    Interval,
    advantage_interval,
    auc_interval,
    clopper_pearson,
    wilson,
)
from selena.metrics.low_fpr import TprAtFpr, tpr_at_fpr
from selena.metrics.one_run import (
    EpsilonBound,
    epsilon_lower_bound,
    gaussian_epsilon_lower_bound,
)
from selena.metrics.precision import (
    PrecisionRecall,
    loss_true_negative_rate,
    precision_and_recall,
    precision_at_k,
)
from selena.metrics.roc import Roc, roc_curve
from selena.metrics.summary import LOW_FPRS, Summary, summarize
from selena.metrics.thresholds import (
    KnownScores,
    Threshold,
    fit_class_thresholds,
    fit_threshold,
)

__all__ = [
    "LOW_FPRS",
    "EpsilonBound",
    "Interval",
    "KnownScores",
    "PrecisionRecall",
    "Roc",
    "Summary",
    "Threshold",
    "TprAtFpr",
    "advantage_interval",
    "auc_interval",
    "clopper_pearson",
    "epsilon_lower_bound",
    "fit_class_thresholds",
    "fit_threshold",
    "gaussian_epsilon_lower_bound",
    "loss_true_negative_rate",
    "precision_and_recall",
    "precision_at_k",
    "roc_curve",
    "summarize",
    "tpr_at_fpr",
    "wilson",
]
