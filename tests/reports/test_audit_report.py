"""What an `AuditReport` answers: a frame, a curve, a page, a table in a notebook."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from selena.auditing.figure import METRICS, tpr_metric
from selena.auditing.report import AuditReport
from selena.errors import ConfigError
from tests.auditing.synthetic import attack, levels, report
from tests.names import HOSTILE

LEAK = levels([0, 400, 550, 50], [0, 600, 395, 5])
STRONGER = levels([0, 100, 850, 50], [0, 900, 95, 5])
FEW_RECORDS = levels([0, 40, 55, 5], [0, 60, 39, 1])


def two_families() -> AuditReport:
    return report(
        attack("entropy", LEAK),
        attack("modified_entropy", STRONGER),
        attack("boundary", LEAK, family="label-only", access="label"),
    )


def frame_of(audit: AuditReport) -> Any:
    pytest.importorskip("pandas", reason="pandas is not installed")
    return audit.to_frame()


class Cells(HTMLParser):
    """The texts of the cells of a table, and the names of all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data


def test_frame_has_a_row_per_attack() -> None:
    audit = two_families()
    frame = frame_of(audit)
    assert frame["attack"].tolist() == ["entropy", "modified_entropy", "boundary"]
    assert frame["family"].tolist() == ["direct", "direct", "label-only"]
    assert frame["access"].tolist() == ["logits", "logits", "label"]
    assert "epsilon" not in frame


@pytest.mark.parametrize("metric", METRICS)
def test_frame_holds_each_figure_and_its_ends(metric: str) -> None:
    audit = two_families()
    frame = frame_of(audit).set_index("attack")
    figure = audit.figure(metric, "label-only")
    columns = [metric, f"{metric}_low", f"{metric}_high"]
    assert frame.loc["boundary", columns].tolist() == [figure.value, *figure.interval]


def test_frame_says_which_rates_are_resolved() -> None:
    frame = frame_of(report(attack("entropy", FEW_RECORDS)))
    resolved = [frame[f"{tpr_metric(fpr)}_resolved"].item() for fpr in (0.001, 0.01, 0.1)]
    assert resolved == [False, False, True]


def test_frame_holds_epsilon_where_there_are_canaries() -> None:
    audit = report(attack("entropy", LEAK, canaries=STRONGER))
    assert audit.epsilon is not None
    assert frame_of(audit)["epsilon"].tolist() == [audit.epsilon.value]


def test_frame_without_attacks_is_empty() -> None:
    assert frame_of(report()).empty


def test_frame_without_pandas_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        two_families().to_frame()


def test_plot_draws_a_curve_per_family() -> None:
    audit, ax = two_families(), Figure().subplots()
    assert audit.plot_roc(ax) is ax
    labels = ax.get_legend_handles_labels()[1]
    # Of the direct attacks the one that finds most members at 1 % FPR.
    assert [label.partition(" (")[0] for label in labels] == [
        audit.strongest(tpr_metric(0.01), "direct").name.replace("_", " "),
        "boundary",
        "random guess",
    ]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_plot_shows_the_curve_of_the_attack() -> None:
    audit, ax = report(attack("entropy", LEAK)), Figure().subplots()
    audit.plot_roc(ax)
    fpr, tpr = audit.attacks["entropy"].curve.thinned()
    drawn: Any = ax.lines[0].get_xydata()
    np.testing.assert_allclose(drawn, np.maximum(np.stack([fpr, tpr], axis=1), 1e-9))


def test_plot_makes_its_own_axes() -> None:
    before = pyplot.get_fignums()
    ax = two_families().plot_roc()
    try:
        assert pyplot.get_fignums() != before
        assert ax.get_title() == "ROC of the strongest attack per family"
    finally:
        pyplot.close(ax.figure)


def test_plot_without_attacks_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no attack"):
        report().plot_roc()


def test_page_is_written_and_its_path_returned(tmp_path: Path) -> None:
    path = two_families().write_page(str(tmp_path / "new" / "page.html"), title="My title")
    assert path == tmp_path / "new" / "page.html"
    assert "<title>My title</title>" in path.read_text(encoding="utf-8")


def test_notebook_shows_verdict_and_figures() -> None:
    audit = two_families()
    shown = Cells(audit._repr_html_())
    assert f"Leak: {audit.verdict.level}." in shown.texts
    assert "AUC" in shown.texts
    assert f"{100 * audit.auc.value:.1f} %" in shown.texts
    low, high = (f"{100 * end:.1f}" for end in audit.auc.interval)
    assert f"{low}–{high} %" in shown.texts
    assert len(audit._repr_html_()) < 2_000


def test_notebook_shows_epsilon() -> None:
    audit = report(attack("entropy", LEAK, canaries=STRONGER))
    assert audit.epsilon is not None
    assert f"{audit.epsilon.value:.2f}" in Cells(audit._repr_html_()).texts


def test_notebook_shows_a_report_without_attacks() -> None:
    shown = Cells(report()._repr_html_())
    assert "table" not in shown.tags
    assert "Leak: not attacked." in shown.texts


@pytest.mark.parametrize("name", HOSTILE)
def test_notebook_escapes_names(name: str) -> None:
    plain, hostile = (Cells(report(attack(n, LEAK))._repr_html_()) for n in ("plain", name))
    assert hostile.tags == plain.tags
    assert len(hostile.texts) == len(plain.texts)
