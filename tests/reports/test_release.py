"""The release report: one document that names what was found, what was not, and what is asked."""

from __future__ import annotations

import csv
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selena import find_stored_records, model_card_section, write_release_report
from selena.auditing.report import AuditReport
from selena.auditing.stored_records import StoredPart, StoredRecords
from selena.cli.main import load
from selena.errors import ConfigError, DataError, StoreError
from selena.files.escaping import printable
from selena.reports.release import pdf
from selena.reports.release.document import render_release_report
from selena.reports.release.facts import overfitting, pseudonyms, small_classes
from selena.reports.release.worst import members_per_class, worst_records
from tests.auditing.synthetic import attack, levels, report, scored
from tests.reports.made import HOSTILE, TODAY, folder
from tests.reports.made import report as audited
from tests.reports.test_page import read, shape, words

LEAK = levels([400, 400, 200], [550, 450, 0])


def stored(passes: bool) -> StoredRecords:
    part = StoredPart("_fit_X", "KNeighborsClassifier", 40, 40, by_kind=True)
    return StoredRecords(model="KNN", parts=() if passes else (part,), records=40, found=0)


def from_yaml(text: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML to read the model card")
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def found() -> AuditReport:
    return audited(1.5)


def test_the_document_has_every_part(found: AuditReport) -> None:
    reader = read(render_release_report(found, title="T", written=TODAY))
    assert [attrs["id"] for tag, attrs in reader.tags if tag == "h2"] == [
        "verdict",
        "figures",
        "worst",
        "small",
        "overfitting",
        "stored",
        "untested",
        "asked",
        "identity",
        "card",
    ]
    text = words(reader)
    assert "Severe leak" in text
    assert found.inputs["records"] in text
    assert found.inputs["model"] in text
    assert "Stored records: not tested" in text
    assert "Reference-model (LiRA, RMIA) attacks." in text
    assert "2026-01-31" in text


def test_the_document_runs_and_loads_nothing(found: AuditReport) -> None:
    reader = read(render_release_report(found, title="T"))
    assert reader.scripts == []
    for tag, attrs in reader.tags:
        assert tag not in ("link", "img", "iframe", "script")
        assert not {"src", "href", "srcset", "action"} & set(attrs)


def test_names_are_text_in_the_document() -> None:
    def named(name: str) -> Any:
        return read(render_release_report(report(attack(name, LEAK)), title=name))

    assert shape(named(HOSTILE)) == shape(named("name"))
    assert printable(HOSTILE) in "".join(named(HOSTILE).text)


def test_a_stored_record_is_in_the_document(found: AuditReport) -> None:
    text = words(
        read(render_release_report(replace(found, stored_records=stored(False)), title="T"))
    )
    assert "KNN fails: it contains training records." in text
    assert "Stored records: found, see above" in text
    assert "Training records stored inside of the model." not in text


def test_a_model_that_keeps_records_is_named(found: AuditReport) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    x = np.arange(20.0)[:, None]
    model = KNeighborsClassifier(1).fit(x, np.arange(20) % 2)
    check = find_stored_records(model, x)
    found = replace(found, stored_records=check)
    text = words(read(render_release_report(found, title="T")))
    assert "KNeighborsClassifier fails: it contains training records." in text
    card = from_yaml(model_card_section(found))
    assert card["membership_privacy"]["stored_records"] == {"passes": False}


def test_a_report_without_attacks_has_a_document() -> None:
    text = words(read(render_release_report(report(), title="T")))
    assert "Not tested: no attack was run." in text


def test_worst_records_pay_for_the_number_of_attacks() -> None:
    """Two attacks of noise: a member is no worse off than the non-members are by chance."""
    rng = np.random.default_rng(0)
    truth = np.arange(2000) % 2 == 0
    made = report(*(attack(str(i), scored(rng.normal(size=2000), truth)) for i in range(5)))
    found = worst_records(made)
    # Picking the best of five would find 5 %. Six standard deviations of a share of 1 %.
    assert found.found(0.01) <= 1000 * (0.01 + 6 * np.sqrt(2 * 0.01 / 1000))
    # One attack finds what its own curve says.
    alone = worst_records(report(attack("a", LEAK)))
    assert alone.found(0.01) == 200


def test_a_record_is_worst_by_any_attack() -> None:
    truth = np.arange(200) % 2 == 0
    quiet = np.linspace(0, 1, 200)
    loud = quiet.copy()
    loud[40] = 9.0
    for both in ([loud, quiet], [quiet, loud]):
        made = report(*(attack(str(i), scored(each, truth)) for i, each in enumerate(both)))
        found = worst_records(made)
        row = int(np.flatnonzero(found.ids == 40)[0])
        assert found.found_by[row] == 1
        assert found.fpr[row] == min(found.fpr)
        assert found.attacks == 2


def test_attacks_on_other_records_are_refused() -> None:
    made = report(attack("a", levels([5, 5], [5, 5])), attack("b", levels([6, 6], [6, 6])))
    with pytest.raises(DataError, match="different records"):
        worst_records(made)


def test_overfitting_is_a_gap_with_an_interval(found: AuditReport) -> None:
    gap = overfitting(found)
    assert gap.gap == found.train_accuracy.value - found.test_accuracy.value
    assert gap.interval[0] < gap.gap < gap.interval[1]


def test_small_classes_come_first(found: AuditReport) -> None:
    sizes = [each.members for each in small_classes(found)]
    assert sizes == sorted(sizes)
    assert sum(sizes) == sum(members_per_class(found).values())
    counts = found.counts()
    assert sum(sizes) == counts["known_members"] + counts["evaluation_members"]


def test_the_key_names_the_rows(found: AuditReport, tmp_path: Path) -> None:
    page, key = tmp_path / "r.html", tmp_path / "key.csv"
    assert write_release_report(found, page, records_key=key) == page
    rows = list(csv.DictReader(key.read_text().splitlines()))
    _, named = pseudonyms(found)
    assert [int(row["row"]) for row in rows] == [each.row for each in named]
    text = words(read(page.read_text(encoding="utf-8")))
    assert all(row["pseudonym"] in text for row in rows)
    with pytest.raises(ConfigError, match=r"\.html or \.pdf"):
        write_release_report(found, tmp_path / "r.txt")


def test_the_model_card_is_yaml(found: AuditReport) -> None:
    card = from_yaml(model_card_section(replace(found, stored_records=stored(True))))
    section = card["membership_privacy"]
    assert section["verdict"] == "severe"
    assert section["figures"]["auc"]["value"] == found.auc.value
    assert section["stored_records"] == {"passes": True}
    assert section["records"] == found.counts()
    hostile = report(attack(HOSTILE, LEAK))
    names = from_yaml(model_card_section(hostile))["membership_privacy"]["attacks"]
    assert list(names) == [printable(HOSTILE)]


def test_no_browser_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="Chromium or Chrome"):
        pdf.as_pdf("<p>")


def test_a_browser_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], 1, b"", b"no display\n")

    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(StoreError, match=r"printed no PDF \(no display\)"):
        pdf.as_pdf("<p>")


def test_the_command_takes_a_file_or_a_run(tmp_path: Path, found: AuditReport) -> None:
    command = load("release-report")
    saved = found.save(tmp_path / "audit.selena")
    made = folder(tmp_path / "run")
    texts = []
    for source in (saved, made.path):
        out, card = tmp_path / "out.html", tmp_path / "card.yaml"
        command(source, output=out, title="T", records_key=None, model_card=card)
        texts.append(out.read_text(encoding="utf-8"))
        assert from_yaml(card.read_text())["membership_privacy"]["verdict"] == "severe"
    assert "record-01" in texts[0]
    assert words(read(texts[0])).count("record-") == words(read(texts[1])).count("record-")
