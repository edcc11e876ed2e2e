"""A report as one file: it comes back equal, and nothing that a file says of a figure counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import selena
from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.errors import StoreError
from tests.auditing import test_canaries, test_subjects
from tests.auditing.synthetic import attack, levels, report
from tests.auditing.verdicts import audited
from tests.toys import Constant

SHARP = levels([450, 400, 150], [550, 450, 0])
COARSE = levels([300, 700], [700, 300])
KEY = "selena-report/1"


def two_families() -> AuditReport:
    return report(
        attack("lab/sharp:1", SHARP), attack("coarse", COARSE, family="label-only", access="label")
    )


def with_canaries() -> AuditReport:
    planted = test_canaries.split(kind="grouped-twins")
    return test_canaries.audit(test_canaries.Leak(planted.train), planted)


def of_subjects() -> AuditReport:
    attacks = [ThresholdAttack("confidence"), ThresholdAttack("correctness")]
    return run_audit(Constant(), test_subjects.split(), attacks, seed=3)


@pytest.mark.parametrize("made", [two_families, with_canaries, of_subjects, report])
def test_a_loaded_report_is_equal(made: Callable[[], AuditReport], tmp_path: Path) -> None:
    saved = made()
    path = saved.save(tmp_path / "new" / "report.safetensors")
    loaded = AuditReport.load(str(path))
    assert loaded == saved
    assert loaded.to_json() == saved.to_json()
    assert str(loaded) == str(saved)
    assert loaded.setup == saved.setup
    assert loaded.test_accuracy == saved.test_accuracy
    assert loaded.timings() == saved.timings()
    assert (loaded.epsilon is None) == (saved.epsilon is None)


def test_reports_of_other_scores_differ() -> None:
    assert report(attack("a", SHARP)) == report(attack("a", SHARP))
    assert report(attack("a", SHARP)) != report(attack("a", COARSE))


def test_a_page_is_written_from_loaded_reports(tmp_path: Path) -> None:
    saved = audited(400, 1.0)
    loaded = AuditReport.load(saved.save(tmp_path / "a.safetensors"))
    page = selena.compare({"bare": loaded}).write_page(tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert saved.inputs["records"] in text
    assert "Absent" not in text  # the scores are at hand


def test_loaded_reports_are_judged_alike(tmp_path: Path) -> None:
    saved = two_families()
    loaded = AuditReport.load(saved.save(tmp_path / "a"))
    assert loaded.tpr(0.02) == saved.tpr(0.02)
    assert loaded.verdict == saved.verdict


def rewrite(
    path: Path,
    change: Callable[[dict[str, Any]], object] = lambda described: None,
    tensors: Callable[[dict[str, Tensor]], object] = lambda found: None,
) -> None:
    """Change what a file says, and leave it whole."""
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()[KEY])
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(described)
    tensors(found)
    save_file(found, path, metadata={KEY: json.dumps(described)})


def test_figures_come_from_scores_alone(tmp_path: Path) -> None:
    saved = two_families()
    path = saved.save(tmp_path / "a")

    def boast(described: dict[str, Any]) -> None:
        described["figures"] = {"auc": {"value": 0.5}}
        described["verdict"] = {"level": "none shown", "reason": "", "figure": ""}
        described["test_accuracy"]["correct"] = 1
        described["test_accuracy"]["value"] = described["setup"]["auc"] = 0.99
        for about in described["attacks"].values():
            about |= {"auc": 0.5, "global": {"advantage": 0.0}}

    rewrite(path, boast)
    loaded = AuditReport.load(path)
    assert loaded.test_accuracy.value == 0.001
    assert loaded.figures() == saved.figures()
    assert loaded.verdict == saved.verdict


def test_other_scores_are_other_figures(tmp_path: Path) -> None:
    path = report(attack("a", SHARP)).save(tmp_path / "a")

    def flip(found: dict[str, Tensor]) -> None:
        found["a:evaluation/scores"] = -found["a:evaluation/scores"]

    rewrite(path, tensors=flip)
    assert AuditReport.load(path).auc.value == pytest.approx(
        1 - report(attack("a", SHARP)).auc.value
    )


@pytest.mark.parametrize("kept", [0, 7, 8, 200, 0.5, 0.99])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    path = two_families().save(tmp_path / "a.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(StoreError, match=r"a\.safetensors"):
        AuditReport.load(path)


def test_foreign_and_absent_files_are_refused(tmp_path: Path) -> None:
    for name, content in (("text", b"not a report"), ("json", b'{"schema": "selena-audit/2"}')):
        (tmp_path / name).write_bytes(content)
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights")
    save_file({"weight": torch.zeros(2)}, tmp_path / "list", metadata={KEY: "[]"})
    save_file({"weight": torch.zeros(2)}, tmp_path / "deep", metadata={KEY: "[" * 100_000})
    (tmp_path / "folder").mkdir()
    for name in ("text", "json", "weights", "list", "deep", "folder", "absent"):
        with pytest.raises(StoreError, match=str(tmp_path / name)):
            AuditReport.load(tmp_path / name)


def without(*places: str) -> Callable[[dict[str, Any]], object]:
    *way, last = places

    def change(described: dict[str, Any]) -> None:
        for place in way:
            described = described[place]
        del described[last]

    return change


def with_value(value: Any, *places: str) -> Callable[[dict[str, Any]], object]:
    *way, last = places

    def change(described: dict[str, Any]) -> None:
        for place in way:
            described = described[place]
        described[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("setup"),
        without("setup", "delta"),
        without("attacks", "coarse", "family"),
        with_value({"settings": {}}, "attacks", "coarse"),
        with_value([], "attacks"),
        with_value("direkt", "attacks", "coarse", "family"),
        with_value("root", "attacks", "coarse", "access"),
        with_value(True, "setup", "num_classes"),
        with_value(0, "setup", "num_classes"),
        with_value(2, "setup", "num_classes"),  # its labels go up to 3
        with_value(10**9, "setup", "num_classes"),
        with_value(-1, "setup", "copies"),
        with_value(2, "setup", "delta"),
        with_value(float("nan"), "setup", "delta"),
        with_value(2000, "test_accuracy", "correct"),
        with_value(-1, "test_accuracy", "correct"),
        with_value(0, "test_accuracy", "trials"),
        with_value("many", "test_accuracy", "n"),
        with_value(10**400, "test_accuracy", "n"),
        with_value(7, "inputs", "records"),
        with_value({"family": "direct", "access": "logits", "settings": {}}, "attacks", "third"),
        with_value([], "stored_records"),
        with_value({"model": "A", "parts": [{}], "records": 1, "found": 0}, "stored_records"),
        with_value({"model": "A", "parts": [], "records": "1", "found": 0}, "stored_records"),
    ],
)
def test_an_edited_description_is_refused(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    path = two_families().save(tmp_path / "a.safetensors")
    rewrite(path, change)
    with pytest.raises(StoreError, match=r"a\.safetensors"):
        AuditReport.load(path)


def nan(found: dict[str, Tensor]) -> None:
    found["coarse:evaluation/scores"][3] = float("nan")


def no_members(found: dict[str, Tensor]) -> None:
    found["coarse:evaluation/truth"][:] = False


def shorter(found: dict[str, Tensor]) -> None:
    found["coarse:calibration/labels"] = found["coarse:calibration/labels"][:-1].clone()


def lacking(found: dict[str, Tensor]) -> None:
    del found["coarse:evaluation/ids"]


def of_another_type(found: dict[str, Tensor]) -> None:
    found["coarse:evaluation/scores"] = found["coarse:evaluation/scores"].float()


def negative_label(found: dict[str, Tensor]) -> None:
    found["coarse:calibration/labels"][0] = -1


def high_label(found: dict[str, Tensor]) -> None:
    found["coarse:evaluation/labels"][0] = 99


def negative_count(found: dict[str, Tensor]) -> None:
    found["coarse:queries"] = torch.tensor(-1)


@pytest.mark.parametrize(
    "change",
    [
        nan,
        no_members,
        shorter,
        lacking,
        of_another_type,
        negative_label,
        high_label,
        negative_count,
    ],
)
def test_damaged_scores_are_refused(
    change: Callable[[dict[str, Tensor]], None], tmp_path: Path
) -> None:
    path = two_families().save(tmp_path / "a.safetensors")
    rewrite(path, tensors=change)
    with pytest.raises(StoreError, match=r"a\.safetensors"):
        AuditReport.load(path)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        two_families().save(tmp_path / "file" / "report")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = two_families().save(tmp_path / "a")
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("selena.auditing.saved.save", fail)
    with pytest.raises(StoreError, match="No space left"):
        report(attack("a", COARSE)).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_scores_of_one_memory_are_saved(tmp_path: Path) -> None:
    found = levels([2, 2], [2, 2])
    one, other = attack("a", found), attack("b", found)
    assert one.scores.evaluation.scores is other.scores.evaluation.scores
    assert AuditReport.load(report(one, other).save(tmp_path / "a")) == report(one, other)
