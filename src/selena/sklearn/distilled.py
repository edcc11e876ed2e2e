"""SELENA around any scikit-learn classifier."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, check_scalar

from selena.content.near_duplicates import NearDuplicates, check_near_duplicates
from selena.seeding import child_seed
from selena.sklearn.base import Probabilities, ProbabilityClassifier
from selena.sklearn.checks import check_counts, check_estimator, check_training
from selena.sklearn.fitting import aligned_proba, fit_soft
from selena.sklearn.records import check_queries
from selena.sklearn.split import SplitAIClassifier, base_or_default, data_checks, tags_of
from selena.sklearn.student import usual_student


class SelenaClassifier(ProbabilityClassifier):
    """Protects any classifier against membership inference by self-distillation.

    K copies of an estimator are fitted such that L of them never see a given training record
    (`SplitAIClassifier`). The mean prediction of these L copies is the record's soft label, and one
    student learns the soft labels of all records (Tang et al., "Mitigating Membership Inference
    Attacks by Self-Distillation Through a Novel Ensemble Architecture", USENIX Security 2022,
    Section 4). Only the student answers queries; the K copies are dropped. There is no formal
    guarantee: audit the result.

    Args:
        estimator: any classifier with `predict_proba`; None for
            `HistGradientBoostingClassifier()`. Preprocessing that learns from records (scaling,
            selection) belongs inside, as in `make_pipeline(StandardScaler(), classifier)`. Outside
            it would see every record.
        n_submodels: K, at least 2; the paper's is 25.
        n_nonmodels: L, 1 <= L < K; the paper's is 10.
        near_duplicates: which training records share their non-models because they are near copies;
            see `SplitAIClassifier`.
        student: the classifier with `predict_proba` that learns the soft labels. None takes a
            network (`TorchClassifier`) for forests and boosting, which leak more as their own
            students, and a copy of any other `estimator`. A student with `fit_soft` (a
            `TorchClassifier`) learns soft labels directly. Any other is fitted on each record once
            per class, weighted by the class's probability; without support for weights, on about
            `max_expansion` rows per record, repeated in proportion.
        n_jobs: number of copies to fit at once, as in joblib; it does not change the result. A
            `joblib.parallel_config` is respected.
        random_state: int, `RandomState` or None; one number gives the same copies here and in
            `SplitAIClassifier`.
        max_expansion: number of most probable classes of a soft label to keep, at most; classes
            below 0.001 are dropped, and the others are scaled to sum to 1. So the student is
            fitted on at most n x `max_expansion` rows. Ignored by a student with `fit_soft`.
        subject_column: column of a frame with the subject id of each row, instead of `subjects` of
            `fit`. It is not a feature, and queries need not have it.

    Attributes:
        classes_: the c labels, sorted.
        student_: the fitted student, the protected model.
        n_features_in_: number of features.
        feature_names_in_: their names, if the records were a data frame.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> tree = DecisionTreeClassifier()
        >>> model = SelenaClassifier(tree, n_submodels=5, n_nonmodels=2, random_state=0)
        >>> model.fit(X, y).predict(X[:1])
        array([0])
    """

    student_: Any

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_submodels: int = 25,
        n_nonmodels: int = 10,
        near_duplicates: NearDuplicates = "auto",
        student: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        max_expansion: int = 10,
        subject_column: str | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_submodels = n_submodels
        self.n_nonmodels = n_nonmodels
        self.near_duplicates = near_duplicates
        self.student = student
        self.max_expansion = max_expansion
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.subject_column = subject_column

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, subjects: Any = None
    ) -> SelenaClassifier:
        """Fit the K copies, take soft labels from non-models, and distil the student.

        Args:
            X: n records of a kind that estimator and student take: an array or sparse matrix of
                numbers, a pandas or polars frame, a list of texts. Both get this kind.
            y: n labels of at least two classes.
            sample_weight: n weights, at least 0, or None; both stages use them.
            subjects: subject id of each record, integers or strings, or None if no person has
                several records; see `SplitAIClassifier.fit`.

        Raises:
            ConfigError: not 1 <= L < K, an estimator or student without
                `predict_proba`, an unknown `near_duplicates`, or fewer than two classes.
            ValueError: malformed input, as in scikit-learn.

        Warns:
            AuditWarning: `X` seems to come from a scaler or TF-IDF that was fitted before.
        """
        check_counts(self.n_submodels, self.n_nonmodels)
        check_near_duplicates(self.near_duplicates)
        check_scalar(self.max_expansion, "max_expansion", Integral, min_val=1)
        base = check_estimator(base_or_default(self.estimator), "estimator")
        if self.student is not None:
            check_estimator(self.student, "student")
        X, y, weight, subjects = check_training(
            self, X, y, sample_weight, subjects, **data_checks(self)
        )
        student = usual_student(base, X) if self.student is None else self.student
        split_ai = SplitAIClassifier(
            base,
            n_submodels=self.n_submodels,
            n_nonmodels=self.n_nonmodels,
            near_duplicates=self.near_duplicates,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(X, y, weight, subjects)
        self.student_ = fit_soft(
            student,
            X,
            split_ai.predict_proba(X),
            weight,
            classes=self.classes_,
            seed=child_seed(int.from_bytes(split_ai.key_, "big"), "student"),
            max_expansion=int(self.max_expansion),
        )
        return self

    def predict_proba(self, X: Any) -> Probabilities:
        """Return the student's probabilities.

        Args:
            X: n x d features.
        """
        check_is_fitted(self)
        X = check_queries(self, X, **data_checks(self))
        return aligned_proba(self.student_, X, self.classes_)

    def __sklearn_tags__(self) -> Tags:
        base = base_or_default(self.estimator)
        student = usual_student(base) if self.student is None else self.student
        return tags_of(super().__sklearn_tags__(), base, student)
