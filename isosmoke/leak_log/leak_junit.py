"""The summary of a log as JUnit XML: a test case for each test, a failure for its new leaks."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from isosmoke.leak_log.leak_summary import LeaksDocument, LeakSummary
from isosmoke.text import escape_controls


def render(document: LeaksDocument) -> str:
    """Return the report; an unwatched run is skipped with its reason, a known leak passes."""
    tests = {
        test: [leak for leak in document.leaks if leak.test == test] for test in document.tests
    }
    failed = sum(any(leak.is_new for leak in leaks) for leaks in tests.values())
    counts = {
        "tests": str(len(tests) + len(document.unwatched)),
        "failures": str(failed),
        "errors": "0",
    }
    root = Element("testsuites", {"name": "isosmoke leaks", **counts})
    suite = SubElement(root, "testsuite", {"name": "leaks", **counts})
    suite.set("skipped", str(len(document.unwatched)))
    for test, leaks in tests.items():
        case = SubElement(suite, "testcase", {"name": escape_controls(test), "classname": "leaks"})
        _add_failure(case, [leak for leak in leaks if leak.is_new])
    for run in document.unwatched:
        name = escape_controls(run.test or "a run without a line")
        case = SubElement(suite, "testcase", {"name": name, "classname": "leaks"})
        SubElement(case, "skipped", {"message": f"unwatched: {escape_controls(run.reason)}"})
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _add_failure(case: Element, leaks: Iterable[LeakSummary]) -> None:
    lines = [describe(leak) for leak in leaks]
    if lines:
        failure = SubElement(case, "failure", {"message": lines[0], "type": "LEAK"})
        failure.text = "\n".join(lines)


def describe(leak: LeakSummary) -> str:
    """Return one line about a leak: its process, how often, its age and its sockets."""
    several = f" ({leak.processes} at once)" if leak.processes > 1 else ""
    sockets = f", listens on {', '.join(leak.sockets)}" if leak.sockets else ""
    return escape_controls(
        f"{leak.process}{several}: in {leak.runs} of {leak.watched_runs} runs, "
        f"age up to {leak.age_seconds:.1f} s{sockets}"
    )
