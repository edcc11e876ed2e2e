"""The audit report: every attack's figures, and for each metric the attack that is strongest in it.

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
        interval: 95 % interval: Clopper-Pearson; where subjects have several records Wilson's,
            with as many trials as the spread between subjects allows.
        n: number of records.
        trials: what an interval counts as independent: n, or fewer where subjects have several
            records.
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
        """Return the counts, from which `of` makes an equal one."""
        return {"correct": round(self.value * self.n), "n": self.n, "trials": self.trials}


@dataclass(frozen=True)
class Best:
    """An attack, and the way of reading its scores that did best on known records.

    Attributes:
        result: the attack.
        variant: "global" or "per_class".
    """

    result: AttackResult
    variant: str

    @property
    def name(self) -> str:
        """Attack and variant, as "modified_entropy/per_class"."""
        return f"{self.result.name}/{self.variant}"

    @property
    def figures(self) -> Variant:
        """Its figures."""
        return self.result.variants[self.variant]


@dataclass(frozen=True)
class ModelQueries:
    """What a function was asked in an audit.

    Attributes:
        asked: records that it was sent, those of calls that failed included.
        from_cache: records whose answer was kept already.
        retried: calls that were repeated.
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
    """What an audit found: accuracy of the target model, what leaks, and by which attack.

    `print` shows every attack, a notebook the verdict and the strongest ones.

    Each figure (`advantage`, `balanced_accuracy`, `auc`, `tpr(0.01)`, `epsilon`) is that of the
    attack that did best in it on known records, and has `.value`, `.interval` and `.attack`.

    Attributes:
        train_accuracy: on the target's training set, canaries left out.
        test_accuracy: on evaluation non-members.
        attacks: results by attack name.
        setup: what figures depend on besides the scores.
        inputs: what was audited: SHA-256 of "records", of "predictions" where a model is known by
            its answers, of "model" where its weights are known, and the "version" of selena.
        model_queries: what a function was asked; no part of the JSON, as times are none.
        near_copies: how many near copies there are among the records of `selena.audit`; no part of
            the JSON either.
        stored_records: the members that the model carries inside (`selena.find_stored_records`);
            None where nobody looked. Saved with the report, no part of the JSON.
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
        """The families attacked with, in the order they were run."""
        return list(dict.fromkeys(result.family for result in self.attacks.values()))

    @property
    def advantage(self) -> Figure:
        """TPR - FPR of the decisions of the attack that is strongest in it; 0 is guessing."""
        return self.figure("advantage")

    @property
    def balanced_accuracy(self) -> Figure:
        """(TPR + TNR) / 2 of the decisions of the strongest attack; 0.5 is guessing."""
        return self.figure("balanced_accuracy")

    @property
    def auc(self) -> Figure:
        """Area under the ROC curve of the attack that is strongest in it; 0.5 is guessing."""
        return self.figure("auc")

    def tpr(self, fpr: float) -> Figure:
        """Return the share of the members found at `fpr`, in (0, 1], by the strongest attack.

        Raises:
            ConfigError: `fpr` outside (0, 1], or no attack was run.
        """
        return self.figure(tpr_metric(fpr))

    @property
    def epsilon(self) -> Figure | None:
        """The lower bound on epsilon that canaries prove; None where none were planted."""
        return self.figure(EPSILON) if self._has_canaries(list(self.attacks.values())) else None

    @cached_property
    def verdict(self) -> Verdict:
        """How much the audit shows: `.level` and `.reason` (`selena.auditing.verdict`)."""
        return verdict(list(self.attacks.values()))

    def figure(
        self, metric: str, family: Family | None = None, *, confidence: float = 0.95
    ) -> Figure:
        """Return one figure, of the attack that did best in it on known records.

        Args:
            metric: "balanced_accuracy", "advantage", "auc", "tpr@fpr=X", or "epsilon".
            family: of which the attack is; None for all.
            confidence: of the interval.

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

        Other figures have other best attacks: see `figure`.

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
        """Return the attack that did best on evaluation records: the paper's choice, biased up."""
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
        its 95 % interval under the name with "_low" and "_high"; a TPR has "_resolved" besides.
        Decisions are read with the threshold, global or per class, that did better on known
        records.

        Raises:
            ConfigError: pandas is not installed.
        """
        return presenter("to_frame")(self)

    def plot_roc(self, ax: Any = None) -> Any:
        """Draw the ROC curve of each family's strongest attack, on logarithmic axes.

        Strongest is the attack with the highest TPR at 1 % FPR on known records.

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
            command: the command that gave the audit, to be shown on the page.
        """
        page: Path = presenter("write_page")(self, path, title, command)
        return page

    def counts(self) -> dict[str, int]:
        """Return how many records thresholds were fitted on and how many were scored.

        A subject counts as one; "evaluation_records", where there are subjects, are all records.
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
