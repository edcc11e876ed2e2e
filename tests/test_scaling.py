"""The scale study: its fits, its watch, what it claims about memory, and its page."""

from __future__ import annotations

import json
import mmap
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import QUESTIONS, best, fits, series, with_growth
from benchmarks.scale_figures import draw
from benchmarks.scale_fit import power_law, terms
from benchmarks.scale_point import Point, write_records
from benchmarks.scale_tables import Plan, fill, tables, units, weights
from benchmarks.scale_watch import measure, resident
from selena.content.keyed import ContentIndex, content_digests
from selena.defenses import split_ai
from selena.training.inference import predict, predict_rows
from tests.toys import NETWORK, toy_records

ROOT = Path(__file__).resolve().parents[1]
STUDY: dict[str, Any] = json.loads((ROOT / "results/scaling/scaling.json").read_text())
PAGE = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_a_power_law_is_found(exponent: float, factor: float) -> None:
    x = [1.0, 3.0, 20.0, 100.0]
    law = power_law(x, [factor * one**exponent for one in x])
    assert law.exponent == pytest.approx(exponent, abs=1e-9)
    assert law.last == pytest.approx(exponent, abs=1e-9)
    assert law(7.0) == pytest.approx(factor * 7**exponent)


def test_a_power_law_needs_positive_points() -> None:
    for x, y in (([1.0], [1.0]), ([1.0, 2.0], [0.0, 1.0])):
        with pytest.raises(ValueError, match="positive"):
            power_law(x, y)


def test_terms_are_found() -> None:
    ones, n = [1.0, 1.0, 1.0, 1.0], [10.0, 100.0, 1000.0, 5000.0]
    assert terms([ones, n], [7 + 3 * one for one in n]) == pytest.approx([7, 3])


def test_the_best_of_rounds_is_the_shortest_time_and_the_highest_peak() -> None:
    rounds = [
        with_growth({"draw": {"before": 10.0, "anonymous": a, "cpu_s": s}})
        for a, s in ((15.0, 2.0), (12.0, 1.0))
    ]
    assert best(rounds) == {"draw": {"before": 10, "anonymous": 15, "grown": 5, "cpu_s": 1}}


def test_memory_of_a_process_is_seen() -> None:
    before = resident(os.getpid())["anonymous"]
    # From the system: memory that was freed before is this process's already.
    fresh = mmap.mmap(-1, 1 << 26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held = np.frombuffer(fresh, dtype=np.uint8)
    held[:] = 1
    assert resident(os.getpid())["anonymous"] - before == pytest.approx(held.nbytes, rel=0.1)


@pytest.mark.deep
def test_a_point_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    point = Point(n=400, k=5, l=2, bits=16, hidden=(8,))
    write_records(tmp_path, point.n, point.bits)
    phases = measure(point, tmp_path)
    assert list(phases) == ["start", "draw", "training", "index", "soft labels"]
    for phase in phases.values():
        assert phase["wall_s"] > 0
        assert phase["anonymous"] >= phase["before"] > 0


def test_sets_drawn_in_chunks_are_those_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    records = toy_records(100)
    whole = split_ai.draw_non_model_sets(records, 7, 3, seed=1)
    monkeypatch.setattr(split_ai, "_CHUNK", 9)
    assert torch.equal(split_ai.draw_non_model_sets(records, 7, 3, seed=1).excluded, whole.excluded)


def test_rows_are_predicted_in_the_batches_of_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selena.training.inference._CPU_NUMBERS", 12 * 8)
    x, network, rows = toy_records(50).x, NETWORK(), torch.arange(49, 0, -2)
    parts = list(predict_rows(network, x, rows))
    assert [len(part) for part, _ in parts] == [8, 8, 8, 1]
    assert torch.equal(torch.cat([part for part, _ in parts]), rows)
    assert torch.equal(torch.cat([out for _, out in parts]), predict(network, x[rows]))


def test_the_index_answers_as_a_dictionary_would() -> None:
    x = torch.cat([toy_records(40, bits=True).x] * 2)
    queries = torch.cat([x[::3], toy_records(200, seed=5, bits=True).x])
    digests = content_digests(x, 4)
    known = {digest.tobytes(): row for row, digest in enumerate(digests.numpy())}
    expected = [
        known.get(d.tobytes(), int.from_bytes(d[:8].tobytes(), "big") % len(x))
        for d in content_digests(queries, 4).numpy()
    ]
    assert ContentIndex(digests, 4).answering_rows(queries).tolist() == expected
    assert ContentIndex(digests, 4).answering_rows(queries[:0]).tolist() == []


def test_the_exponents_are_those_of_the_points() -> None:
    assert STUDY["command"] in (ROOT / "benchmarks/scale.py").read_text()
    for name, question in QUESTIONS.items():
        measured = STUDY["measured"][name]
        assert [m["point"] for m in measured] == [p.as_json() for p in question.points]
        for m in measured:
            assert m["best"] == best(m["rounds"])
        for phase, fit in fits(question, measured).items():
            assert STUDY["fits"][name][phase] == pytest.approx(fit)
        assert (ROOT / f"results/scaling/{name}.png").stat().st_size > 10_000


def test_a_phase_seen_at_one_point_has_no_law() -> None:
    question = QUESTIONS["memory-records"]
    measured = [
        {"best": {phase: {"grown": grown * (1 + (phase != "draw"))} for phase in question.phases}}
        for grown in (3e6, 6e6, 2e7)
    ]
    found = fits(question, measured)
    assert set(found) == {"training", "soft labels"}
    assert series(question, measured)["draw"] == ([1e6], [2e7])
    figure = draw(series(question, measured), title="", x_label="", y_label="")
    (legend,) = [panel.get_legend() for panel in figure.axes]
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[0] == "draw: too little to fit"


def test_the_page_shows_what_the_json_holds() -> None:
    assert fill(PAGE, tables(STUDY)) == PAGE
    with pytest.raises(ValueError, match="exponents"):
        fill("nothing", tables(STUDY))


def test_the_run_on_paper_by_hand() -> None:
    plan, unit = Plan(), units(STUDY)
    widths = [600, 1024, 512, 256, 128, 100]
    products = [a * b for a, b in pairwise(widths)]
    assert weights(plan.network) == sum(products) + sum(widths[1:])
    a_record = 6 * sum(products) - 2 * products[0]
    split = a_record * 60 * 1e8 * 30
    assert plan.submodel_operations * plan.k == pytest.approx(split)
    assert plan.student_operations == pytest.approx(split / 30)
    core_hours = split / unit.training_rate / 3600
    assert f"| Split-AI | {split:.2e} | {core_hours:,.0f} | {split / 1e14 / 3600:,.1f} |" in PAGE
    assert "| features, one byte a bit (mapped file) | 60.00 |" in PAGE
    assert "| non-model sets, as bits | 1.25 |" in PAGE
