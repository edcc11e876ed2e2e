"""Verdicts as JUnit XML, which continuous integration systems show as tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

from selena.auditing.gate import ConditionResult
from selena.files.escaping import xml


def junit_xml(
    verdicts: Iterable[ConditionResult],
    *,
    suite: str = "selena gate",
    properties: Mapping[str, object] | None = None,
) -> str:
    """Return verdicts as JUnit XML: one test case per condition.

    A condition that fails becomes a `failure`. An unresolved one becomes an `error` and not a
    skipped test, which systems show as harmless. Times are left out, so equal verdicts give equal
    bytes. Names may hold any text; characters that XML cannot hold are written as Python escapes.

    Args:
        verdicts: from `judge`.
        suite: name of the test suite.
        properties: properties of the suite, such as seed and version.
    """
    verdicts = list(verdicts)
    outcomes = [verdict.outcome for verdict in verdicts]
    root = _element("testsuites", None)
    element = _element(
        "testsuite",
        root,
        name=suite,
        tests=len(verdicts),
        failures=outcomes.count("fails"),
        errors=outcomes.count("unresolved"),
        skipped=0,
    )
    _properties(element, properties or {})
    for verdict in verdicts:
        _case(element, verdict)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(suite: ElementTree.Element, verdict: ConditionResult) -> None:
    case = _element(
        "testcase", suite, classname=verdict.subject or "selena.gate", name=verdict.condition
    )
    figures = verdict.to_json()
    low, high = verdict.measured.interval
    counts = {f"n_{kind}": count for kind, count in verdict.measured.n.items()}
    shown = {key: figures[key] for key in ("outcome", "judged", "bound", "value")}
    inputs = {f"input_{name}": value for name, value in verdict.inputs.items()}
    _properties(case, {**shown, "interval_low": low, "interval_high": high, **counts, **inputs})
    tags = {"fails": "failure", "unresolved": "error"}
    if verdict.outcome in tags:
        tag = tags[verdict.outcome]
        found = _element(tag, case, type=verdict.outcome, message=verdict.reason)
        found.text = xml(
            f"{verdict.condition}: {verdict.reason}\n{verdict.measured.source}: "
            f"{verdict.measured.value:.4f}, interval {low:.4f} to {high:.4f}"
        )


def _properties(parent: ElementTree.Element, values: Mapping[str, object]) -> None:
    if values:
        subject = _element("properties", parent)
        for name, value in values.items():
            _element("property", subject, name=name, value=value)


def _element(
    tag: str, parent: ElementTree.Element | None, **attributes: object
) -> ElementTree.Element:
    values = {name: xml(str(value)) for name, value in attributes.items()}
    if parent is None:
        return ElementTree.Element(tag, values)
    return ElementTree.SubElement(parent, tag, values)
