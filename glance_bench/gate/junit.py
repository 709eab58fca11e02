"""The gate as JUnit XML: a suite a board, a case a check, so that any CI lists them.

A regression is a ``failure``; what could not be judged is an ``error`` where it ends the gate, else ``skipped``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as xml

from .words import headline, numbers

__all__ = ["junit"]

# What XML 1.0 allows, section 2.2, without the discouraged controls.
_ILLEGAL = re.compile(
    "[^\t\n\r\u0020-\u007e\u0085\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010fffd]"
)


def junit(gate: Mapping[str, Any]) -> bytes:
    """The document of ``gate.document`` as UTF-8 XML with its declaration."""
    root = xml.Element("testsuites", name=clean(headline(gate)))
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for check in gate["checks"]:
        name = " on ".join(part for part in (check["model"], check["prompt_set"]) if part)
        groups.setdefault(name, []).append(check)
    for name, checks in groups.items():
        suite = xml.SubElement(root, "testsuite", name=clean(name))
        for check in checks:
            _case(suite, check, gate["on_inconclusive"])
    if not groups:
        suite = xml.SubElement(root, "testsuite", name="gate")
        case = xml.SubElement(suite, "testcase", classname="gate", name=clean(str(gate["verdict"])))
        error = xml.SubElement(case, "error", type=clean(gate["verdict"]), message=clean(headline(gate)))
        error.text = clean("\n".join(difference["text"] for difference in gate["differences"]))
    for element in [root, *root.iter("testsuite")]:
        element.set("tests", str(len(list(element.iter("testcase")))))
        element.set("failures", str(len(list(element.iter("failure")))))
        element.set("errors", str(len(list(element.iter("error")))))
        if element is not root:
            element.set("skipped", str(len(list(element.iter("skipped")))))
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(suite: xml.Element, check: Mapping[str, Any], on_inconclusive: str) -> None:
    case = xml.SubElement(
        suite, "testcase", classname=clean(f"{check['model']}.{check['sampler']}"), name=clean(_name(check))
    )
    message = clean(numbers(check))
    if check["verdict"] == "fail":
        failure = xml.SubElement(case, "failure", type="regression", message=message)
        failure.text = clean("\n".join(f"{m['prompt_id']}: {m['text']}" for m in check["moved"]))
    elif check["verdict"] == "inconclusive" and on_inconclusive == "fail":
        xml.SubElement(case, "error", type="inconclusive", message=message)
    elif check["verdict"] in ("inconclusive", "informational"):
        xml.SubElement(case, "skipped", message=f"{check['verdict']}: {message}")
    else:
        xml.SubElement(case, "system-out").text = message


def _name(check: Mapping[str, Any]) -> str:
    return f"{check['column']} on {check['prompt_set']}" if check["prompt_set"] else str(check["column"])


def clean(text: str) -> str:
    """``text`` without the characters that no XML document may hold."""
    return _ILLEGAL.sub("\ufffd", text)
