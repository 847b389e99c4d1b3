"""Report as JUnit XML, for the JUnit step of Jenkins, for GitLab and for others.

There is one suite per script. Each case has the file too: GitLab links to that of a case, and of a
suite to none. Class names are the paths of scripts, which Jenkins shows as a tree. A leak and a
timeout are failures, and NOT_RUN is skipped with its reason. Attempts before a pass are
`flakyFailure`s, and attempts after a failure are `rerunFailure`s, as in Maven's Surefire. What
keeps a run from passing, and is of no scenario, is an error in a separate suite.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, timedelta
from pathlib import PurePath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from isosmoke.reports import wording
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import escape_controls


def render(run: RunRecord) -> str:
    """Return the report as text that can be encoded in UTF-8, whatever bytes a script printed."""
    incidents = [*_list_incidents(run)]
    counts = _count_tests(run.scenarios, len(incidents))
    root = Element("testsuites", {"name": "isosmoke", **counts, "time": _format_time(run.seconds)})
    for script in dict.fromkeys(scenario.script for scenario in run.scenarios):
        scenarios = [scenario for scenario in run.scenarios if scenario.script == script]
        _add_suite(root, run, script, scenarios)
    if incidents:
        _add_incidents(root, run, incidents)
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _list_incidents(run: RunRecord) -> Iterator[tuple[str, str, str]]:
    """Yield the name, type and text of what keeps a run from passing, and is of no scenario."""
    for name, problem in wording.list_shard_problems(run):
        yield name, "SHARD", problem
    for number, leftover in enumerate(wording.list_leftovers(run), start=1):
        yield f"cleanup {number}", "DIRTY", leftover
    if run.stopped or not run.finished:
        yield "end of the run", "STOPPED", run.stopped or "the run did not come to its end"


def _count_tests(scenarios: Iterable[ScenarioRecord], incidents: int = 0) -> dict[str, str]:
    kinds = [*(scenario.outcome.facts.junit for scenario in scenarios), *(["error"] * incidents)]
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
    }
    suite = _create_suite(root, run, attributes)
    for scenario in scenarios:
        _add_case(suite, run, scenario)


def _add_incidents(root: Element, run: RunRecord, incidents: list[tuple[str, str, str]]) -> None:
    file = _sanitize(wording.shorten_path(run.working, run.manifest or "isosmoke"))
    attributes = {
        "name": "isosmoke",
        "file": file,
        **_count_tests((), len(incidents)),
        "skipped": "0",
        "time": _format_time(0.0),
        "timestamp": _format_start(run, []),
    }
    suite = _create_suite(root, run, attributes)
    for name, kind, text in incidents:
        case = SubElement(
            suite, "testcase", name=name, classname="isosmoke", file=file, time=_format_time(0.0)
        )
        error = SubElement(case, "error", type=kind, message=_sanitize(text))
        error.text = _sanitize(text)


def _create_suite(root: Element, run: RunRecord, attributes: dict[str, str]) -> Element:
    host = _sanitize(run.host or "localhost")
    suite = SubElement(root, "testsuite", {**attributes, "hostname": host})
    properties = SubElement(suite, "properties")
    for name, value in _list_properties(run):
        SubElement(properties, "property", name=name, value=_sanitize(value))
    return suite


def _format_start(run: RunRecord, scenarios: list[ScenarioRecord]) -> str:
    """Return the start of the first scenario in UTC; the schemas allow no time zone."""
    begun = (attempt.begun for scenario in scenarios for attempt in scenario.attempts)
    first = min(begun, default=0.0)
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
        if run.binary.version:
            yield "binary.version", run.binary.version
    if run.repository:
        yield "commit", wording.describe_repository(run.repository)
    if run.stopped:
        yield "stopped", run.stopped
    yield from (("note", note) for note in run.notes)
    yield from (("dirty", item) for item in run.dirty)


def _add_case(suite: Element, run: RunRecord, scenario: ScenarioRecord) -> None:
    case = SubElement(
        suite,
        "testcase",
        name=scenario.name,
        classname=_sanitize(_format_classname(run, scenario)),
        file=_sanitize(wording.shorten_path(run.working, scenario.script)),
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


def _format_classname(run: RunRecord, scenario: ScenarioRecord) -> str:
    """Return the script's path without its suffix, separated by dots, as Jenkins names packages."""
    if not run.manifest:
        return "isosmoke.command"
    script = PurePath(wording.shorten_path(run.working, scenario.script)).with_suffix("")
    parts = (part.replace(".", "_") for part in script.parts if part not in ("/", ".", ".."))
    return ".".join(parts) or "isosmoke"


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
