"""Report as JUnit XML, valid for Jenkins' xUnit plugin (its junit-10.xsd) and readable by GitLab.

There is one suite per script, because that schema allows a file name on suites only. A leak and a
timeout are failures, and NOT_RUN is skipped with its reason. Attempts before a pass are
`flakyFailure`s, and attempts after a failure are `rerunFailure`s, as in Maven's Surefire.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, timedelta
from pathlib import PurePath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from isosmoke.reports import wording
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import AttemptRecord, RunRecord, ScenarioRecord
from isosmoke.text import escape_controls


def render(run: RunRecord) -> str:
    """Return the report as text that can be encoded in UTF-8, whatever bytes a script printed."""
    counts = _count_tests(run.scenarios)
    root = Element("testsuites", {"name": "isosmoke", **counts, "time": _format_time(run.seconds)})
    for script in dict.fromkeys(scenario.script for scenario in run.scenarios):
        scenarios = [scenario for scenario in run.scenarios if scenario.script == script]
        _add_suite(root, run, script, scenarios)
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _count_tests(scenarios: Iterable[ScenarioRecord]) -> dict[str, str]:
    kinds = [scenario.outcome.facts.junit for scenario in scenarios]
    return {
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
    }


def _add_suite(root: Element, run: RunRecord, script: str, scenarios: list[ScenarioRecord]) -> None:
    file = _sanitize(wording.shorten_path(run.working, script))
    attributes = {
        "name": file,
        "file": file,
        **_count_tests(scenarios),
        "skipped": str(sum(scenario.outcome.facts.junit == "skipped" for scenario in scenarios)),
        "time": _format_time(sum(scenario.seconds for scenario in scenarios)),
        "timestamp": _format_start(run, scenarios),
        "hostname": _sanitize(run.host or "localhost"),
    }
    suite = SubElement(root, "testsuite", attributes)
    properties = SubElement(suite, "properties")
    for name, value in _list_properties(run):
        SubElement(properties, "property", name=name, value=_sanitize(value))
    for scenario in scenarios:
        _add_case(suite, run, scenario)


def _format_start(run: RunRecord, scenarios: list[ScenarioRecord]) -> str:
    """Return the start of the first scenario in UTC; the schemas allow no time zone."""
    first = min(attempt.begun for scenario in scenarios for attempt in scenario.attempts)
    at = run.started_at.astimezone(UTC) + timedelta(seconds=first)
    return f"{at:%Y-%m-%dT%H:%M:%S}"


def _list_properties(run: RunRecord) -> Iterator[tuple[str, str]]:
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
    yield from (("dirty", item) for item in run.dirty)


def _add_case(suite: Element, run: RunRecord, scenario: ScenarioRecord) -> None:
    case = SubElement(
        suite,
        "testcase",
        name=scenario.name,
        classname=_sanitize(_format_classname(run)),
        time=_format_time(scenario.seconds),
    )
    kind = scenario.outcome.facts.junit
    if kind:
        element = SubElement(
            case, kind, type=scenario.outcome, message=_sanitize(wording.format_reason(scenario))
        )
        element.text = (
            _sanitize(wording.format_reason(scenario))
            if kind == "skipped"
            else _format_failure(run, scenario)
        )
    _add_tries(case, scenario)
    if scenario.output.last_lines:
        SubElement(case, "system-out").text = _join_lines(wording.list_last_lines(scenario.output))


def _format_classname(run: RunRecord) -> str:
    """Return the manifest's path separated by dots, which Jenkins shows as packages."""
    if not run.manifest:
        return "isosmoke.command"
    manifest = PurePath(wording.shorten_path(run.working, run.manifest)).with_suffix("")
    return ".".join(part for part in manifest.parts if part not in ("/", ".", ".."))


def _format_failure(run: RunRecord, scenario: ScenarioRecord) -> str:
    """Return all facts of a failure, because GitLab shows nothing else."""
    facts = [f"{name}: {value}" for name, value in wording.list_facts(run, scenario)]
    return _join_lines(
        [*facts, *(f"| {line}" for line in wording.list_last_lines(scenario.output))]
    )


def _add_tries(case: Element, scenario: ScenarioRecord) -> None:
    """Add the other attempts: those before a pass, or those after the first failure."""
    flaky = scenario.outcome is Outcome.FLAKY
    others = scenario.attempts if flaky else _list_later_attempts(scenario)
    for attempt in others:
        kind = attempt.outcome.facts.junit
        if kind in ("failure", "error"):
            _add_try(case, f"{'flaky' if flaky else 'rerun'}{kind.capitalize()}", attempt)


def _list_later_attempts(scenario: ScenarioRecord) -> Sequence[AttemptRecord]:
    """Return the attempts after the first that blocks, which is the failure itself."""
    blocks = [attempt.outcome.blocks for attempt in scenario.attempts]
    return scenario.attempts[blocks.index(True) + 1 :] if any(blocks) else ()


def _add_try(case: Element, tag: str, attempt: AttemptRecord) -> None:
    element = SubElement(
        case, tag, type=attempt.outcome, message=_sanitize(wording.format_reason(attempt))
    )
    SubElement(element, "stackTrace").text = _sanitize(
        f"{wording.describe_attempt(attempt)}: {wording.format_reason(attempt)}"
    )
    if attempt.output.last_lines:
        SubElement(element, "system-out").text = _join_lines(
            wording.list_last_lines(attempt.output)
        )


def _join_lines(lines: Iterable[str]) -> str:
    return "\n".join(map(_sanitize, lines))


def _sanitize(text: str) -> str:
    r"""Return text as one line without characters that XML 1.0 forbids, or attachment markers.

    Jenkins' JUnit Attachments plugin fetches the file that `[[ATTACHMENT|path]]` names.
    """
    return escape_controls(text).replace("[[ATTACHMENT|", "[[ATTACHMENT\\|")


def _format_time(seconds: float) -> str:
    return f"{seconds:.3f}"
