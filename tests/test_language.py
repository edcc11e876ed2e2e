"""The words of the project: habits that made sentences hard to read do not come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_TEST_NAME = 50
TEXTS = [
    *sorted(ROOT.glob("src/**/*.py")),
    *sorted(ROOT.glob("src/**/*.j2")),
    *sorted(ROOT.glob("examples/*.py")),
    *sorted(ROOT.glob("benchmarks/*.py")),
    *sorted(path for path in ROOT.glob("tests/**/*.py") if path != Path(__file__)),
    ROOT / "Makefile",
    *sorted(ROOT.glob("docs/**/*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "results" / "README.md",
]

_COUNTED = "one|rows?|records|bytes?|thresholds?|columns?|scores?|values?|tensors?|once|queries"
_UNIT = "record|row|class|seed|step|layer|candidate|person|side|defense|family|core|feature|network"
HABITS = {
    rf"\b({_COUNTED}) an? ({_UNIT})\b": "per",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bunless told otherwise\b": "by default",
    r"\bbut for (the|its|that|those|them|rounding|ties)\b": "except",
    r"\ball the same\b": "nevertheless",
    r"(?<!\")\b[Rr]eference runs?\b": "reference model",
    r"\bwhose an? (record|row)\b": "subject id of each row",
    r"\bshall\b": "the present tense",
    r"\bhardly\b|\bseldom\b": "rarely, next to no",
    r"\bsurer\b": "more confident",
    r"\b(gate|condition)s? holds?\b": "passes, fails",
}


ANY_HABIT = re.compile("|".join(f"(?:{pattern})" for pattern in HABITS))
NAME_OF_TEST = re.compile(r"^ *def (test_\w+)", re.MULTILINE)


def habits(text: str) -> Iterator[str]:
    """Yield each habit in `text` with its line and what to say instead."""
    if not ANY_HABIT.search(text):
        return
    for pattern, instead in HABITS.items():
        for found in re.finditer(pattern, text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"line {line}: {found[0]!r}; say {instead!r}"


def test_texts_are_free_of_habits() -> None:
    # One test for all: a test per file costs more than what it looks for.
    texts = {path: path.read_text(encoding="utf-8") for path in TEXTS}
    found = [f"{path.relative_to(ROOT)}, {each}" for path in texts for each in habits(texts[path])]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "one a record",
        "We mend it.",
        "50 unless told otherwise",
        "a reference run",
        "The gate holds",
    ],
)
def test_habits_are_found(text: str) -> None:
    assert len(list(habits(text))) == 1


def test_names_of_tests_are_short() -> None:
    names = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in NAME_OF_TEST.findall(path.read_text(encoding="utf-8"))
    }
    assert sorted(name for name in names if len(name) > LONGEST_TEST_NAME) == []
