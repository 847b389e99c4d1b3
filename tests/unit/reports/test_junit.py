"""A run as JUnit XML."""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from xmlschema import XMLSchema

from isosmoke.reports import junit
from isosmoke.results.outcome import Broke, Exited
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import records, result_factories

SCHEMA = XMLSchema(str(Path(__file__).with_name("junit.xsd")))


def read(run: RunRecord) -> Element:
    """The report as whoever reads its bytes gets it, once the schema let it pass."""
    text = junit.render(run)
    SCHEMA.validate(text)
    return fromstring(text.encode())  # noqa: S314 - our own


def case(*attempts: Attempt, **entry: Any) -> Element:
    """The test case of a scenario with these attempts."""
    found = read(records.of(result_factories.result(*attempts, **entry))).find("testsuite/testcase")
    assert found is not None
    return found


def text(element: Element, path: str) -> str:
    """What an element says."""
    found = element.find(path)
    assert found is not None, path
    return found.text or ""


def test_failure_is_told_whole() -> None:
    """The suite is its script; the failure has why, what was left, the log and how to repeat it."""
    suite = read(records.of(records.failed())).find("testsuite")

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
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert properties["binary.sha256"] == "0123456789abcdef" * 4
    assert properties["engine"] == "bubblewrap"
    found = suite.find("testcase")
    assert found is not None
    assert found.attrib == {"name": "bad", "classname": "manifest", "time": "1.600"}
    failure = found.find("failure")
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
        f"left: {process}",
        f"allowed: {tmux}  (Known.)",
        "log: /p/.isosmoke/runs/1/bad/output-1.log",
        "repeat: isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad",
        "| fine",
        "| broken",
    ]
    assert text(found, "system-out") == "fine\nbroken"


def test_each_outcome_has_its_element() -> None:
    """What blocks is a failure, or an error where nothing is known; what did not run is skipped."""
    root = read(records.of(*records.every_outcome()))
    kinds = {one.get("name"): [child.tag for child in one] for one in root.iter("testcase")}

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


def test_skip_says_why_in_both_places() -> None:
    """Jenkins reads the message, GitLab the text."""
    skipped = case(Attempt(ending=Exited(77), stderr=records.words("reason: no tmux\n")))[0]

    assert skipped.get("message") == skipped.text == "exit 77: no tmux"


def test_flaky_passes_and_keeps_the_try_that_failed() -> None:
    """It is no failure; what the first try printed is there."""
    broke = Attempt(ending=Broke("no daemon"), output=records.words("first\n"), alone=False)
    found = case(broke, Attempt(ending=Exited(0)))

    assert found.find("failure") is None
    assert found.find("error") is None
    assert text(found, "flakyError/stackTrace") == "ERROR beside others: no daemon"
    assert text(found, "flakyError/system-out") == "first"


def script_at(folder: Path, name: str) -> ScenarioResult:
    """A scenario whose script lies in a folder."""
    scenario = result_factories.result(Attempt(ending=Exited(0)), name=name).scenario
    placed = type(scenario).model_validate(scenario.model_dump(), context=folder)
    return ScenarioResult(scenario=placed, attempts=(Attempt(ending=Exited(0)),))


def test_suites_are_scripts_as_the_caller_sees_them() -> None:
    """Scenarios of one script are one suite; a script elsewhere has its full path."""
    inside, outside = Path("/p/tests/smoke"), Path("/elsewhere")
    run = records.of(
        script_at(inside, "a"),
        script_at(outside, "b"),
        script_at(inside, "c"),
        manifest=Path("/p/tests/smoke/manifest.toml"),
    )
    suites = {one.get("file"): one for one in read(run)}

    assert list(suites) == ["tests/smoke/one.sh", "/elsewhere/one.sh"]
    assert [one.get("name") for one in suites["tests/smoke/one.sh"].iter("testcase")] == ["a", "c"]
    assert {one.get("classname") for one in read(run).iter("testcase")} == {"tests.smoke.manifest"}


@pytest.mark.parametrize(
    ("manifest", "classname"),
    [
        (None, "isosmoke.command"),
        (Path("../x/m.toml"), "x.m"),
        (Path("/else/where/m.toml"), "else.where.m"),
    ],
)
def test_classname_is_the_manifests_place(manifest: Path | None, classname: str) -> None:
    """Dots part its folders; a command without a manifest has a name of its own."""
    root = read(records.of(records.passed(), manifest=manifest))

    assert {one.get("classname") for one in root.iter("testcase")} == {classname}


def test_what_is_left_behind_is_a_property() -> None:
    """Each thing that could not be proved to be gone, with what removes it."""
    found = read(records.dirty()).iterfind("testsuite/properties/property[@name='dirty']")

    assert [one.get("value") for one in found] == ["box (remove it: docker rm box)"]


def test_run_without_scenarios_is_valid() -> None:
    """A run that was stopped before its first scenario has no suite."""
    assert [*read(records.of(stopped="SIGINT"))] == []


def test_output_names_no_attachment() -> None:
    """What a script prints makes no CI server fetch a file."""
    asked = records.words("[[ATTACHMENT|/etc/passwd]]\n")
    rendered = junit.render(
        records.of(result_factories.result(Attempt(ending=Exited(1), output=asked)))
    )

    assert "[[ATTACHMENT|" not in rendered
    assert "/etc/passwd" in rendered


@given(records.ANY_TEXT)
def test_any_text_is_valid_xml(text: str) -> None:
    """Whatever a script prints and a path is of, the schema and a parser take it."""
    root = read(records.hostile_run(text + records.HOSTILE))

    assert [one.get("name") for one in root.iter("testcase")] == ["odd"]
    assert "\\x1b[2J\\x00" in "".join(root.itertext())
