"""The JUnit XML report."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from xmlschema import XMLSchema

from isosmoke.reports import junit
from isosmoke.results.outcome import Broke, Exited
from isosmoke.results.records.shard import MergedShardRecord
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import records, result_factories

SCHEMA = XMLSchema(str(Path(__file__).with_name("junit.xsd")))


def parse(run: RunRecord) -> Element:
    """Validate the report against the schema, and return its root element."""
    text = junit.render(run)
    SCHEMA.validate(text)
    return fromstring(text.encode())  # noqa: S314 - our own


def render_case(*attempts: Attempt, **entry: Any) -> Element:
    """Return the test case of a scenario with these attempts."""
    root = parse(records.make_record(result_factories.make_result(*attempts, **entry)))
    case = root.find("testsuite/testcase")
    assert case is not None
    return case


def find_text(element: Element, path: str) -> str:
    """Return the text of an element."""
    child = element.find(path)
    assert child is not None, path
    return child.text or ""


def test_failure_has_all_facts() -> None:
    """The suite is its script; the failure has its reason, leaks, log and repeat command."""
    suite = parse(records.make_record(records.make_failed())).find("testsuite")

    assert suite is not None
    assert suite.attrib == {
        "name": "one.sh",
        "file": "one.sh",
        "tests": "1",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
        "time": "1.600",
        "timestamp": "2026-11-22T12:30:00",
        "hostname": "box",
    }
    properties = {element.get("name"): element.get("value") for element in suite.iter("property")}
    assert properties["binary.sha256"] == "0123456789abcdef" * 4
    assert properties["engine"] == "bubblewrap"
    case = suite.find("testcase")
    assert case is not None
    assert case.attrib == {
        "name": "bad",
        "classname": "one",
        "file": "one.sh",
        "time": "1.600",
    }
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib == {
        "type": "FAIL",
        "message": "exit 3: broken, left 1 process: serve 'a b'",
    }
    process = "pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work"
    tmux = process.replace("serve 'a b'", "tmux")
    assert (failure.text or "").splitlines() == [
        "asserts: It never breaks.",
        "because: exit 3: broken, left 1 process: serve 'a b'",
        f"leaked: {process}",
        f"allowed: {tmux}  (Known.)",
        "log: /p/.isosmoke/runs/1/bad/output-1.log",
        "repeat: isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad",
        "| fine",
        "| broken",
    ]
    assert find_text(case, "system-out") == "fine\nbroken"


def test_each_outcome_has_its_element() -> None:
    """A blocking scenario is a failure or an error, and one that was not run is skipped."""
    root = parse(records.make_record(*records.make_every_outcome()))
    kinds = {
        element.get("name"): [child.tag for child in element] for element in root.iter("testcase")
    }

    assert {name: [tag for tag in tags if tag != "system-out"] for name, tags in kinds.items()} == {
        "good": [],
        "flaky": ["flakyFailure"],
        "skipped": ["skipped"],
        "leaky": ["failure"],
        "bad": ["failure"],
        "slow": ["failure", "rerunFailure"],
        "broke": ["error"],
        "never": ["skipped"],
    }
    assert [root.get(key) for key in ("tests", "failures", "errors")] == ["8", "3", "1"]
    suite = root.find("testsuite")
    assert suite is not None
    assert suite.get("skipped") == "2"


def test_skip_has_its_reason_in_message_and_text() -> None:
    """Jenkins shows the message, and GitLab the text."""
    skipped = render_case(
        Attempt(ending=Exited(77), stderr=records.make_output("reason: no tmux\n"))
    )[0]

    assert skipped.get("message") == skipped.text == "exit 77: no tmux"


def test_flaky_pass_includes_failed_attempt() -> None:
    """It is not a failure, and includes the output of the first attempt."""
    broken = Attempt(ending=Broke("no daemon"), output=records.make_output("first\n"), alone=False)
    case = render_case(broken, Attempt(ending=Exited(0)))

    assert case.find("failure") is None
    assert case.find("error") is None
    assert find_text(case, "flakyError/stackTrace") == "ERROR alongside others: no daemon"
    assert find_text(case, "flakyError/system-out") == "first"


def create_result(directory: Path, name: str) -> ScenarioResult:
    """Return a passing result whose script is in a directory."""
    scenario = result_factories.make_result(Attempt(ending=Exited(0)), name=name).scenario
    placed = scenario.place(directory)
    return ScenarioResult(scenario=placed, attempts=(Attempt(ending=Exited(0)),))


def test_each_script_is_a_suite() -> None:
    """Scenarios of one script share a suite; a script elsewhere has its full path."""
    inside, outside = Path("/p/tests/smoke"), Path("/elsewhere")
    run = records.make_record(
        create_result(inside, "a"),
        create_result(outside, "b"),
        create_result(inside, "c"),
        manifest=Path("/p/tests/smoke/manifest.toml"),
    )
    suites = {suite.get("file"): suite for suite in parse(run)}

    assert list(suites) == ["tests/smoke/one.sh", "/elsewhere/one.sh"]
    assert [element.get("name") for element in suites["tests/smoke/one.sh"].iter("testcase")] == [
        "a",
        "c",
    ]
    for suite in suites.values():
        assert {case.get("file") for case in suite.iter("testcase")} == {suite.get("file")}


@pytest.mark.parametrize(
    ("directory", "classname"),
    [
        ("/p", "one"),
        ("/p/tests/smoke/v1.2", "tests.smoke.v1_2.one"),
        ("/p/../x", "x.one"),
        ("/else/where", "else.where.one"),
    ],
)
def test_classname_is_the_path_of_the_script(directory: str, classname: str) -> None:
    """Dots separate its directories, so that Jenkins shows a tree."""
    run = records.make_record(create_result(Path(directory), "a"), manifest=Path("/p/m.toml"))

    assert [case.get("classname") for case in parse(run).iter("testcase")] == [classname]


def test_classname_of_a_command_is_its_own() -> None:
    """A command has no manifest, and no place in a tree."""
    root = parse(records.make_record(records.make_passed(), manifest=None))

    assert [case.get("classname") for case in root.iter("testcase")] == ["isosmoke.command"]


def test_leftover_is_a_property() -> None:
    """The property names the leftover and the command that removes it."""
    leftovers = parse(records.make_dirty_record()).iterfind(
        "testsuite/properties/property[@name='dirty']"
    )

    assert {element.get("value") for element in leftovers} == {"box (remove it: docker rm box)"}


def list_errors(root: Element) -> dict[str, str]:
    """Return the type and message of the error of each case that has one."""
    cases = {case.get("name", ""): case.find("error") for case in root.iter("testcase")}
    return {
        name: f"{error.get('type')} {error.get('message')}"
        for name, error in cases.items()
        if error is not None
    }


MISSING = MergedShardRecord(number=2, problem="shard 2 of 2 is missing")
ODD = MergedShardRecord(number=None, problem="/odd cannot be used: run.json is invalid")


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"shards": (MISSING,)}, {"shard 2": "SHARD shard 2 of 2 is missing"}),
        (
            {"shards": (MISSING, ODD)},
            {
                "shard 2": "SHARD shard 2 of 2 is missing",
                "other record 1": "SHARD /odd cannot be used: run.json is invalid",
            },
        ),
        ({"dirty": ("box",)}, {"cleanup 1": "DIRTY box"}),
        ({"stopped": "SIGINT"}, {"end of the run": "STOPPED SIGINT"}),
        ({"finished": False}, {"end of the run": "STOPPED the run did not come to its end"}),
    ],
    ids=str,
)
def test_run_that_is_no_pass_is_not_green(fields: dict[str, Any], errors: dict[str, str]) -> None:
    """A reason that no scenario has, such as a missing shard, is an error in a separate suite."""
    run = replace(records.make_record(records.make_passed()), **fields)
    root = parse(run)

    assert not run.passed
    assert list_errors(root) == errors
    assert root.get("tests") == str(1 + len(errors))
    assert root.get("errors") == str(len(errors))
    assert [suite.get("name") for suite in root] == ["one.sh", "isosmoke"]


def test_run_that_passed_has_no_suite_of_its_own() -> None:
    """A merged run of which every shard counts has the suites of its scripts only."""
    run = replace(records.make_record(records.make_passed()), shards=(MergedShardRecord(number=1),))

    assert [suite.get("name") for suite in parse(run)] == ["one.sh"]


def test_run_without_scenarios_is_valid() -> None:
    """A run that was stopped before its first scenario has no suite of a script."""
    assert [suite.get("name") for suite in parse(records.make_record(stopped="SIGINT"))] == [
        "isosmoke"
    ]


def test_output_cannot_name_an_attachment() -> None:
    """Output of a script cannot make a CI server fetch a file."""
    output = records.make_output("[[ATTACHMENT|/etc/passwd]]\n")
    rendered = junit.render(
        records.make_record(result_factories.make_result(Attempt(ending=Exited(1), output=output)))
    )

    assert "[[ATTACHMENT|" not in rendered
    assert "/etc/passwd" in rendered


@given(records.ANY_TEXT)
def test_any_text_is_valid_xml(text: str) -> None:
    """With any output and paths, the report is valid and parses."""
    root = parse(records.make_hostile_record(text + records.HOSTILE))

    assert [element.get("name") for element in root.iter("testcase")] == [
        "odd",
        "cleanup 1",
        "end of the run",
    ]
    assert "\\x1b[2J\\x00" in "".join(root.itertext())
