"""Verdicts as JUnit XML: well-formed whatever the names, red unless every condition passes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selena.reports.junit import junit_xml
from tests.auditing.verdicts import verdict

HOSTILE = [
    "]]></failure><testcase/>",
    "a\x00b\x1b[31m\x0b",
    "\ud800 lone",  # as Python reads a file name that is no UTF-8
    "\uffff",
    '<!DOCTYPE x [<!ENTITY e "&e;">]> & "quoted" \'too\'',
    "\n\t\r",
    "𝔘nicode ü 名",
]


def parse(text: str) -> ElementTree.Element:
    (suite,) = ElementTree.fromstring(text.encode("utf-8"))
    return suite


def properties(element: ElementTree.Element) -> dict[str, str]:
    return {p.attrib["name"]: p.attrib["value"] for p in element.findall("properties/property")}


def test_one_case_a_condition() -> None:
    suite = parse(
        junit_xml(
            [
                verdict(
                    "auc>0.6", 0.7, 0.8, 0.9, subject="selena, seed 1", inputs={"model": "abc"}
                ),
                verdict("auc>0.6", 0.5, 0.7, 0.9),
                verdict("auc>0.6", 0.4, 0.5, 0.6),
            ],
            properties={"seed": 7},
        )
    )
    assert suite.attrib == {
        "name": "selena gate",
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    assert properties(suite) == {"seed": "7"}
    cases = suite.findall("testcase")
    assert [case.attrib["classname"] for case in cases] == [
        "selena, seed 1",
        "selena.gate",
        "selena.gate",
    ]
    assert [case.attrib["name"] for case in cases] == ["auc>0.6"] * 3
    assert [[child.tag for child in case] for case in cases] == [
        ["properties", "failure"],
        ["properties", "error"],
        ["properties"],
    ]
    failure, error = cases[0].find("failure"), cases[1].find("error")
    assert failure is not None
    assert error is not None
    assert failure.attrib["message"] == "the lower end 0.7000 is above 0.6"
    assert "0.8000, interval 0.7000 to 0.9000" in (failure.text or "")
    assert error.attrib["type"] == "unresolved"
    assert properties(cases[0]) == {
        "outcome": "fails",
        "judged": "direct attack confidence/global",
        "bound": "both",
        "value": "0.8",
        "interval_low": "0.7",
        "interval_high": "0.9",
        "n_members": "100",
        "n_non_members": "100",
        "input_model": "abc",
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(name: str) -> None:
    check(name)


@given(st.text(st.characters(exclude_categories=())))
def test_any_name_stays_a_name(name: str) -> None:
    check(name)


def check(name: str) -> None:
    judged = verdict("auc>0.6", 0.7, 0.8, 0.9, subject=name, source=name)
    suite = parse(junit_xml([judged], suite=name, properties={name: name}))
    assert [child.tag for child in suite] == ["properties", "testcase"]
    assert [child.tag for child in suite[1]] == ["properties", "failure"]
    shown = suite[1].attrib["classname"]
    if name.isprintable() and name:
        assert shown == name == properties(suite)[name]


def test_what_xml_cannot_hold_is_shown_as_an_escape() -> None:
    suite = parse(junit_xml([], suite="a\x1b\ud800b"))
    assert suite.attrib["name"] == "a\\x1b\\ud800b"


def test_equal_verdicts_give_equal_bytes() -> None:
    judged = [verdict("auc>0.6", 0.7, 0.8, 0.9)]
    assert junit_xml(judged) == junit_xml(judged)
