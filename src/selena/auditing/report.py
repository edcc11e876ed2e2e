"""The audit report: the figures of every attack, and the strongest attack per metric.

The strongest attack is chosen on known records, per metric (`selena.auditing.choice`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from selena.auditing.choice import choose, chosen_figure
from selena.auditing.figure import EPSILON, METRICS, Figure, tpr_metric
from selena.auditing.near_copies import NearCopies
from selena.auditing.presenter import presenter
from selena.auditing.results import AttackResult, AuditSetup, Variant
from selena.auditing.stored_records import StoredRecords
from selena.auditing.verdict import Verdict, verdict
from selena.errors import ConfigError, unknown_name
from selena.files.escaping import shorten
from selena.metrics.intervals import Interval, clopper_pearson, wilson
from selena.metrics.summary import Summary
from selena.types import Family

SCHEMA = "selena-audit/2"


@dataclass(frozen=True)
class Accuracy:
    """A share of correct answers.

    Attributes:
        value: in [0, 1].
        interval: 95 % interval: Clopper-Pearson, or Wilson's with `trials` trials if subjects
            have several records.
        n: number of records.
        trials: number of independent records: n, or fewer if subjects have several records.
    """

    value: float
    interval: Interval
    n: int
    trials: float

    @classmethod
    def of(cls, correct: int, n: int, trials: float) -> Accuracy:
        """Return the share of `correct` among `n` records that count as `trials`."""
        share = correct / n
        interval = clopper_pearson(correct, n) if trials == n else wilson(share, trials)
        return cls(share, interval, n, trials)

    def to_json(self) -> dict[str, Any]:
        """Return the counts; `of` rebuilds the accuracy from them."""
        return {"correct": round(self.value * self.n), "n": self.n, "trials": self.trials}


@dataclass(frozen=True)
class Best:
    """An attack, with the kind of threshold that did best on known records.

    Attributes:
        result: the attack.
        variant: "global" or "per_class".
    """

    result: AttackResult
    variant: str

    @property
    def name(self) -> str:
        """Attack and variant, such as "modified_entropy/per_class"."""
        return f"{self.result.name}/{self.variant}"

    @property
    def figures(self) -> Variant:
        """Its figures."""
        return self.result.variants[self.variant]


@dataclass(frozen=True)
class ModelQueries:
    """Queries of an audit to a function.

    Attributes:
        asked: number of records sent, including calls that failed.
        from_cache: number of records with an answer in the cache.
        retried: number of repeated calls.
    """

    asked: int
    from_cache: int
    retried: int

    def __str__(self) -> str:
        return (
            f"The model was asked about {self.asked:,} records ({self.retried:,} calls were "
            f"repeated); {self.from_cache:,} answers were kept already."
        )


@dataclass(frozen=True, eq=False, repr=False)
class AuditReport:
    """The findings of an audit: accuracy of the target model, what leaks, and by which attack.

    `print` shows every attack; a notebook shows the verdict and the strongest ones.

    Each figure (`advantage`, `balanced_accuracy`, `auc`, `tpr(0.01)`, `epsilon`) is that of the
    best attack in it on known records, and has `.value`, `.interval` and `.attack`.

    Attributes:
        train_accuracy: on the target's training set, without canaries.
        test_accuracy: on evaluation non-members.
        attacks: results by attack name.
        setup: what figures depend on besides the scores.
        inputs: SHA-256 of the "records", of the "predictions" if only answers are known, of the
            "model" if its weights are known, and the "version" of selena.
        model_queries: queries to a function; not in the JSON.
        near_copies: near copies among the records of `selena.audit`; not in the JSON.
        stored_records: members that are stored in the model (`selena.find_stored_records`); None
            if that was not checked. Saved with the report; not in the JSON.
    """

    train_accuracy: Accuracy
    test_accuracy: Accuracy
    attacks: dict[str, AttackResult]
    setup: AuditSetup
    inputs: Mapping[str, str] = field(default_factory=dict)
    model_queries: ModelQueries | None = None
    near_copies: NearCopies | None = None
    stored_records: StoredRecords | None = None

    def __repr__(self) -> str:
        if not self.attacks:
            return "AuditReport(no attack)"
        found, counts = self.balanced_accuracy, self.counts()
        by = shorten(found.attack, 60)
        low, high = (f"{100 * end:.1f}" for end in found.interval)
        return (
            f"AuditReport({self.verdict.level}: attack accuracy {100 * found.value:.1f} % "
            f"({low} to {high}) by {by}, attacks: {len(self.attacks)}, scored: "
            f"{counts['evaluation_members']} members, {counts['evaluation_non_members']} others)"
        )

    def __str__(self) -> str:
        return str(presenter("as_text")(self))

    def _repr_html_(self) -> str:
        return str(presenter("as_html")(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuditReport) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(tuple(self.attacks))

    @property
    def families(self) -> list[Family]:
        """The families of the attacks, in the order in which they were run."""
        return list(dict.fromkeys(result.family for result in self.attacks.values()))

    @property
    def advantage(self) -> Figure:
        """TPR - FPR of the decisions of the strongest attack; 0 is guessing."""
        return self.figure("advantage")

    @property
    def balanced_accuracy(self) -> Figure:
        """(TPR + TNR) / 2 of the decisions of the strongest attack; 0.5 is guessing."""
        return self.figure("balanced_accuracy")

    @property
    def auc(self) -> Figure:
        """Area under the ROC curve of the strongest attack; 0.5 is guessing."""
        return self.figure("auc")

    def tpr(self, fpr: float) -> Figure:
        """Return the share of the members found at `fpr`, in (0, 1], by the strongest attack.

        Raises:
            ConfigError: `fpr` outside (0, 1], or no attack was run.
        """
        return self.figure(tpr_metric(fpr))

    @property
    def epsilon(self) -> Figure | None:
        """The lower bound on epsilon that canaries prove; None without canaries."""
        return self.figure(EPSILON) if self._has_canaries(list(self.attacks.values())) else None

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict of the audit: `.level` and `.reason` (`selena.auditing.verdict`)."""
        return verdict(list(self.attacks.values()))

    def figure(
        self, metric: str, family: Family | None = None, *, confidence: float = 0.95
    ) -> Figure:
        """Return one figure, for the best attack in it on known records.

        Args:
            metric: "balanced_accuracy", "advantage", "auc", "tpr@fpr=X", or "epsilon".
            family: family of the attack; None for all.
            confidence: confidence of the interval.

        Raises:
            ConfigError: no attack of that family was run, or the metric is unknown or needs
                canaries.
        """
        results = self._of(family)
        if metric == EPSILON and not self._has_canaries(results):
            raise ConfigError("An epsilon needs canaries. Plant some before training.")
        return chosen_figure(results, metric, confidence=confidence)

    def best(self, family: Family) -> Best:
        """Return the attack of `family` with the best balanced accuracy on known records.

        Other figures may have other best attacks: see `figure`.

        Raises:
            ConfigError: no attack of that family was run.
        """
        found, _ = choose(self._of(family), "balanced_accuracy")
        return Best(found.result, found.variant or "global")

    def strongest(self, metric: str, family: Family | None = None) -> AttackResult:
        """Return the attack behind `figure(metric, family)`."""
        best, _ = choose(self._of(family), metric)
        return best.result

    def strongest_on_evaluation(self, family: Family | None = None) -> tuple[str, Summary]:
        """Return the best attack on evaluation records: the paper's choice, biased upwards."""
        return max(
            (
                (f"{result.name}/{name}", variant.summary)
                for result in self._of(family)
                for name, variant in result.variants.items()
            ),
            key=lambda each: each[1].balanced_accuracy,
        )

    def figures(self, family: Family | None = None) -> dict[str, Figure]:
        """Return every figure by metric: those of `METRICS`, and "epsilon" with canaries."""
        if not self.attacks:
            return {}
        more = [EPSILON] if self._has_canaries(self._of(family)) else []
        return {metric: self.figure(metric, family) for metric in (*METRICS, *more)}

    def to_json(self) -> dict[str, Any]:
        """Return the whole report; the same seed gives the same bytes."""
        return {
            "schema": SCHEMA,
            "inputs": dict(self.inputs),
            "verdict": self.verdict.to_json(),
            **self._accuracies(),
            "n": self.counts(),
            "figures": {name: figure.to_json() for name, figure in self.figures().items()},
            "families": {family: self._family_json(family) for family in self.families},
            "attacks": {name: result.to_json() for name, result in self.attacks.items()},
        }

    def save(self, path: str | Path) -> Path:
        """Write the report to one file, from which `load` gives an equal one; return the path."""
        saved: Path = presenter("save_report")(self, Path(path))
        return saved

    @staticmethod
    def load(path: str | Path) -> AuditReport:
        """Return the report that `save` wrote; figures are computed anew from its scores.

        Raises:
            StoreError: the file is absent, damaged, or no report.
        """
        report: AuditReport = presenter("load_report")(Path(path))
        return report

    def to_frame(self) -> Any:
        """Return a pandas `DataFrame` with one row per attack.

        Each figure has three columns: its value under its name (as in `figure`) and the ends of
        its 95 % interval under the name with "_low" and "_high"; a TPR also has "_resolved".
        Decisions use the kind of threshold (global or per class) that did better on known records.

        Raises:
            ConfigError: pandas is not installed.
        """
        return presenter("to_frame")(self)

    def plot_roc(self, ax: Any = None) -> Any:
        """Draw the ROC curve of each family's strongest attack, on logarithmic axes.

        The strongest attack is the one with the highest TPR at 1 % FPR on known records.

        Args:
            ax: Matplotlib `Axes` to draw on; None for a new figure.

        Returns:
            The axes.

        Raises:
            ConfigError: the report holds no attack.
        """
        return presenter("plot_roc")(self, ax)

    def write_page(
        self,
        path: str | Path,
        *,
        title: str = "Who was in the training data?",
        command: str = "",
    ) -> Path:
        """Write this report as one self-contained HTML page; return the path.

        Args:
            path: file to write.
            title: heading.
            command: the command that made the audit, shown on the page.
        """
        page: Path = presenter("write_page")(self, path, title, command)
        return page

    def counts(self) -> dict[str, int]:
        """Return the numbers of records on which thresholds were fitted, and of scored records.

        A subject counts as one; with subjects, "evaluation_records" counts all records.
        """
        if not self.attacks:
            return {}
        scores = next(iter(self.attacks.values())).scores
        evaluation = scores.evaluation.truth
        known = max((r.scores.calibration.truth for r in self.attacks.values()), key=len)
        counts = {
            "known_members": int(known.sum()),
            "known_non_members": int((~known).sum()),
            "evaluation_members": int(evaluation.sum()),
            "evaluation_non_members": int((~evaluation).sum()),
        }
        records = scores.evaluation_records or 0
        if records > len(evaluation):
            counts["evaluation_records"] = records
        return counts

    def timings(self) -> dict[str, float]:
        """Return seconds spent by each attack."""
        return {name: result.scores.seconds for name, result in self.attacks.items()}

    def _accuracies(self) -> dict[str, Any]:
        return {
            key: value
            for name, accuracy in (("train", self.train_accuracy), ("test", self.test_accuracy))
            for key, value in (
                (f"{name}_accuracy", accuracy.value),
                (f"{name}_accuracy_interval", list(accuracy.interval)),
                (f"{name}_n", accuracy.n),
            )
        }

    def _of(self, family: Family | None) -> list[AttackResult]:
        found = [r for r in self.attacks.values() if family in (None, r.family)]
        if family is not None and not found:
            raise unknown_name("family in this report", family, self.families)
        if not found:
            raise ConfigError("The report holds no attack. Run one.")
        return found

    @staticmethod
    def _has_canaries(results: Sequence[AttackResult]) -> bool:
        return bool(results) and all(result.canaries is not None for result in results)

    def _family_json(self, family: Family) -> dict[str, Any]:
        ranking, deciding = self.strongest("auc", family), self.strongest("advantage", family)
        name, summary = self.strongest_on_evaluation(family)
        return {
            "figures": {m: figure.to_json() for m, figure in self.figures(family).items()},
            "roc": ranking.roc(),
            "histogram": deciding.histogram(),
            "strongest_on_evaluation": {
                "attack": name,
                "balanced_accuracy": summary.balanced_accuracy,
                "balanced_accuracy_interval": list(summary.balanced_accuracy_interval),
            },
        }
