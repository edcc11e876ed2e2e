"""Scores from confidences of existing reference models: LiRA, RMIA and their successors.

Each function takes log-odds of the label, phi = log(p / (1 - p)), from the target model and from
the reference models, and a mask of the records that each reference model trained on. Nothing is
trained, so one matrix of reference models serves any number of targets and statistics.

Arrays, tensors and lists are accepted. Several queries per record (the record and changed copies)
are on the last axis, and the score is the mean over the queries, as in Carlini et al. 2022,
Section VI-C. Additional memory is that of some thousand records and of a few numbers per record.

"Online" compares with models that trained on the record and with models that did not. "Offline"
uses only models that did not, so the models can be trained before the records are known.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64

from selena.attacks.empirical_bayes import empirical_bayes_statistic
from selena.attacks.reference_answers import (
    Answers,
    evaluate,
    pooled_variances,
    priors,
    readable,
)
from selena.attacks.reference_moments import PRIOR_MODELS, Scores
from selena.attacks.reference_statistics import (
    bavaria_statistic,
    check_rmia,
    check_variance,
    lira_statistic,
    rmia_statistic,
)
from selena.attacks.reference_variance import pooling
from selena.errors import ConfigError, DataError


def lira_scores(
    target: Any,
    references: Any,
    inside: Any,
    *,
    variance: str = "auto",
    online: bool = True,
) -> Scores:
    """Return LiRA's score per record (Carlini et al. 2022, Algorithms 1 and 2).

    Online: log N(phi; in) - log N(phi; out). Offline: (phi - mean out) / sd out. It ranks records
    like the paper's one-sided probability, but does not round to 1.

    Args:
        target: n log-odds of the label by the target model, or n x queries; infinite values are
            clipped.
        references: runs x n, or runs x n x queries: the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        variance: "record" for a variance per record, "shared" for one of all records, "auto" for
            what finds more members of the reference models at 1 % FPR, each attacked by the others.
            It is "shared" if more than a twentieth of the records have fewer than 4 of them on a
            side. Offline, if none trained on any of the records, it is "record" from 64 models on.
        online: whether models that trained on the record are used.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: shapes disagree, a value is NaN, or a record has fewer than two models on a side
            that is needed.
        ConfigError: an unknown `variance`.
    """
    check_variance(variance)
    answers = Answers.checked(target, references, inside, least=2, online=online)
    return evaluate(answers, lira_statistic, pooling("lira", variance, answers)(answers))


def rmia_scores(
    target: Any,
    references: Any,
    inside: Any,
    *,
    population: tuple[Any, Any] | None = None,
    gamma: float = 1.0,
    online: bool = True,
    offline_a: float = 0.3,
) -> Scores:
    """Return RMIA's score per record (Zarifzadeh et al. 2024, Equations 2 to 5).

    The ratio of a record is p / mean of p over reference models, where p is the probability of its
    label. Without a population the score is the logarithm of that ratio, which ranks records like
    the paper's score, but without its ties. With a population the score is the share of population
    records z with ratio(x) / ratio(z) >= gamma. A term smaller than the share of one population
    record orders records of equal share by their ratio.

    Args:
        target: n log-odds of the label by the target model, or n x queries.
        references: runs x n, or runs x n x queries: the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        population: (m log-odds by the target, runs x m by the reference models) of records that
            none of the models trained on.
        gamma: at least 1; the factor by which the ratio must exceed that of z. Only with a
            population.
        online: whether models that trained on the record are used. Then the mean of p is the mean
            of two means, over these models and over the others. Offline it is approximated by
            ((1 + a) p_out + (1 - a)) / 2, where p_out is the mean over the others.
        offline_a: a, in [0, 1]; the paper takes 0.3 for CIFAR-10 and larger values for data whose
            reference models resemble the target less.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: shapes disagree, a value is NaN, or a record lacks a model on a needed side.
        ConfigError: gamma below 1, or a outside [0, 1].
    """
    check_rmia(gamma, offline_a)
    answers = Answers.checked(target, references, inside, least=1, online=online)
    ratios = evaluate(answers, partial(rmia_statistic, offline_a=offline_a))
    if population is None:
        return ratios
    z_target, z_references = (readable(each) for each in population)
    if z_references.shape != (answers.runs, *z_target.shape) or not z_target.size:
        raise DataError(
            f"population holds arrays of shapes {z_target.shape} and {z_references.shape}. Give m "
            f"log-odds of the target and {answers.runs} x m of the reference models."
        )
    nobody = np.zeros(z_references.shape[:2], dtype=bool)
    z = Answers.checked(z_target, z_references, nobody, least=1, online=False)
    # No model trained on z, so online its mean is over all models.
    mean = partial(rmia_statistic, offline_a=1.0 if online else offline_a)
    return shares_beaten(ratios, evaluate(z, mean), gamma)


def shares_beaten(ratios: Scores, population: Float64[np.ndarray, " m"], gamma: float) -> Scores:
    """Return RMIA's score: the share of a population with ratios up to the record's / gamma.

    Args:
        ratios: logarithms of the records' ratios.
        population: logarithms of the population's ratios, m >= 1.
        gamma: at least 1.
    """
    beaten = np.searchsorted(np.sort(population), ratios - np.log(gamma), side="right")
    # In (0, 1) and increasing with the ratio, to order records of equal shares.
    own = np.exp(ratios - np.logaddexp(0, ratios))
    shares: Scores = (beaten + own) / (len(population) + 1)
    return shares


def base_scores(target: Any, references: Any, inside: Any, *, online: bool = True) -> Scores:
    """Return BASE's score per record (Lassila et al. 2025): log p - log(mean of exp(-loss)).

    The mean is over all reference models, or offline over those that did not train on the record.
    With cross-entropy, exp(-loss) is the probability of the label, so this equals RMIA without a
    population; offline it equals RMIA with a = 1, except for a constant.

    Args:
        target: n log-odds of the label by the target model, or n x queries.
        references: runs x n, or runs x n x queries: the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        online: whether models that trained on the record are used.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: as for `rmia_scores`.
    """
    return rmia_scores(target, references, inside, online=online, offline_a=1.0)


def bavaria_scores(
    target: Any,
    references: Any,
    inside: Any,
    *,
    prior_models: float = PRIOR_MODELS,
    online: bool = True,
) -> Scores:
    """Return a score per record with Bayesian variances, after BaVarIA (Braennvall 2026).

    Each side's log-odds are normal with an unknown mean and variance. The variance has a conjugate
    (scaled inverse chi-squared) prior at the variance pooled over all records, with the weight of
    `prior_models` reference models; the mean has a flat prior. The score is the log-ratio of the
    two Student-t predictive densities. Offline it is the t-statistic of the target among the models
    that did not train on the record. So more models give a record's own variance more weight, and
    no switch between shared and own variance has to be chosen. Student's t has heavy tails: an
    answer unlike those of all reference models gives little evidence. So use LiRA for a target that
    was trained differently from them.

    Args:
        target: n log-odds of the label by the target model, or n x queries.
        references: runs x n, or runs x n x queries: the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        prior_models: weight of the pooled variance, above 0.
        online: whether models that trained on the record are used.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: as for `lira_scores`.
        ConfigError: `prior_models` is not above 0.
    """
    if not prior_models > 0:
        raise ConfigError(f"prior_models is {prior_models}; it must be above 0.")
    answers = Answers.checked(target, references, inside, least=2, online=online)
    statistic = partial(bavaria_statistic, prior_models=prior_models)
    return evaluate(answers, statistic, pooled_variances(answers))


def empirical_bayes_scores(target: Any, references: Any, inside: Any) -> Scores:
    """Return a score per record from empirical Bayes means and variances: LiRA for few models.

    As in LiRA, the log-odds of each side are normal. The record's two true means, of models that
    trained on it and of models that did not, have a joint normal prior. Its mean and covariance are
    those of all records, less the noise of means over few models (a moment estimate; Efron and
    Morris 1973). A variance has a conjugate (scaled inverse chi-squared) prior at the mean variance
    of the twentieth of all records, or of the 50 records, whose means are nearest, with the weight
    of 4 models. The score is the log-ratio of two normal densities, whose means are the expected
    ones and whose variances include the uncertainty of these. With many models it agrees with
    LiRA's `variance="record"`. It expects a target that leaks as the reference models do. For one
    that was trained differently use LiRA or RMIA.

    Args:
        target: n log-odds of the label by the target model, or n x queries.
        references: runs x n, or runs x n x queries: the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.

    Returns:
        n scores, float64; higher = member. A score depends on the other records: give all at once.

    Raises:
        DataError: shapes disagree, a value is NaN, or a record has fewer than two models that
            trained on it, or that did not.
    """
    answers = Answers.checked(target, references, inside, least=2, online=True)
    return evaluate(answers, empirical_bayes_statistic, priors(answers))
