"""A run as JUnit XML: valid for Jenkins' xUnit plugin (its junit-10.xsd), and read by GitLab.

A suite for each script, because that schema has a file for suites only. A leak and a missed
deadline are failures; NOT_RUN is skipped with its reason; tries before a pass are `flakyFailure`s
and tries after a failure `rerunFailure`s, as Maven's Surefire writes them.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, timedelta
from pathlib import PurePath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from isosmoke.reports import wording
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import AttemptRecord, RunRecord, ScenarioRecord
from isosmoke.text import printable


def render(run: RunRecord) -> str:
    """The report as text in UTF-8, whatever bytes a script printed."""
    counts = _counts(run.scenarios)
    root = Element("testsuites", {"name": "isosmoke", **counts, "time": _time(run.seconds)})
    for script in dict.fromkeys(one.script for one in run.scenarios):
        _add_suite(root, run, script, [one for one in run.scenarios if one.script == script])
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _counts(scenarios: Iterable[ScenarioRecord]) -> dict[str, str]:
    kinds = [one.outcome.facts.junit for one in scenarios]
    return {
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
    }


def _add_suite(root: Element, run: RunRecord, script: str, scenarios: list[ScenarioRecord]) -> None:
    file = _legal(wording.seen_from(run.working, script))
    told = {
        "name": file,
        "file": file,
        **_counts(scenarios),
        "skipped": str(sum(one.outcome.facts.junit == "skipped" for one in scenarios)),
        "time": _time(sum(one.seconds for one in scenarios)),
        "timestamp": _begun(run, scenarios),
        "hostname": _legal(run.host or "localhost"),
    }
    suite = SubElement(root, "testsuite", told)
    properties = SubElement(suite, "properties")
    for name, value in _properties(run):
        SubElement(properties, "property", name=name, value=_legal(value))
    for scenario in scenarios:
        _add_case(suite, run, scenario)


def _begun(run: RunRecord, scenarios: list[ScenarioRecord]) -> str:
    """When the first of them began, in UTC, which the schemas do not let one say."""
    first = min(one.begun for scenario in scenarios for one in scenario.attempts)
    at = run.started_at.astimezone(UTC) + timedelta(seconds=first)
    return f"{at:%Y-%m-%dT%H:%M:%S}"


def _properties(run: RunRecord) -> Iterator[tuple[str, str]]:
    yield "isosmoke", run.isosmoke
    yield "run", run.id
    yield "engine", run.engine
    if run.manifest:
        yield "manifest", run.manifest
    if run.binary:
        yield "binary", run.binary.path
        yield "binary.sha256", run.binary.sha256
    if run.stopped:
        yield "stopped", run.stopped
    yield from (("note", note) for note in run.notes)
    yield from (("dirty", left) for left in run.dirty)


def _add_case(suite: Element, run: RunRecord, scenario: ScenarioRecord) -> None:
    case = SubElement(
        suite,
        "testcase",
        name=scenario.name,
        classname=_legal(_classname(run)),
        time=_time(scenario.seconds),
    )
    kind = scenario.outcome.facts.junit
    if kind:
        element = SubElement(
            case, kind, type=scenario.outcome, message=_legal(wording.reason(scenario))
        )
        element.text = (
            _legal(wording.reason(scenario)) if kind == "skipped" else _story(run, scenario)
        )
    _add_tries(case, scenario)
    if scenario.output.last_lines:
        SubElement(case, "system-out").text = _lines(wording.last_lines(scenario.output))


def _classname(run: RunRecord) -> str:
    """The manifest's place, with dots, by which Jenkins makes packages of it."""
    if not run.manifest:
        return "isosmoke.command"
    manifest = PurePath(wording.seen_from(run.working, run.manifest)).with_suffix("")
    return ".".join(part for part in manifest.parts if part not in ("/", ".", ".."))


def _story(run: RunRecord, scenario: ScenarioRecord) -> str:
    """All that is to be known of a failure: GitLab shows nothing else of it."""
    told = [f"{name}: {value}" for name, value in wording.of(run, scenario)]
    return _lines([*told, *(f"| {line}" for line in wording.last_lines(scenario.output))])


def _add_tries(case: Element, scenario: ScenarioRecord) -> None:
    """The other attempts: those before a pass, or those after the one that tells of a failure."""
    flaky = scenario.outcome is Outcome.FLAKY
    others = scenario.attempts[:-1] if flaky else scenario.attempts[1:]
    for attempt in others:
        kind = attempt.outcome.facts.junit
        if kind in ("failure", "error"):
            _add_try(case, f"{'flaky' if flaky else 'rerun'}{kind.capitalize()}", attempt)


def _add_try(case: Element, tag: str, attempt: AttemptRecord) -> None:
    element = SubElement(case, tag, type=attempt.outcome, message=_legal(wording.reason(attempt)))
    SubElement(element, "stackTrace").text = _legal(
        f"{wording.tried(attempt)}: {wording.reason(attempt)}"
    )
    if attempt.output.last_lines:
        SubElement(element, "system-out").text = _lines(wording.last_lines(attempt.output))


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(map(_legal, lines))


def _legal(text: str) -> str:
    r"""On one line, without what XML 1.0 forbids, and without a file that Jenkins would fetch.

    Its JUnit Attachments plugin takes `[[ATTACHMENT|path]]` in an output for such a file.
    """
    return printable(text).replace("[[ATTACHMENT|", "[[ATTACHMENT\\|")


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
