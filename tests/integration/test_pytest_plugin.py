"""Scenarios as pytest items and the fixture `sandbox`, run by a real pytest."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from isosmoke.history import reader
from support import available
from support.paths import ROOT

pytest_plugins = ("pytester",)

Pytest = Callable[..., pytest.RunResult]

MANIFEST = """
[defaults]
settle_seconds = 0.5
grace_seconds = 0.2

[[scenario]]
name = "good"
script = "good.sh"
owners = ["fix-a", "fix-b"]
tags = ["fast-one", "skip", "2nd"]

[[scenario]]
name = "bad"
script = "bad.sh"
assertion = "It never breaks."

[[scenario]]
name = "leaky"
script = "leaky.sh"
tags = ["slow"]

[[scenario]]
name = "skips"
script = "skips.sh"

[[scenario]]
name = "unmet"
script = "good.sh"
requires = { commands = ["no-such-program"] }
"""

SCRIPTS = {
    "good.sh": "echo fine",
    "bad.sh": "echo out; echo broken >&2; exit 3",
    "leaky.sh": "sleep 60 &",
    "skips.sh": "echo 'reason: no network' >&2; exit 77",
    "hangs.sh": "sleep 60",
    "unprepared.sh": "exit 99",
}


@pytest.fixture(autouse=True)
def _require_engine() -> None:
    available.require_engine("bubblewrap")


@pytest.fixture(autouse=True)
def directory(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a strict project with a manifest, scripts and a program `wg`; return its directory."""
    home = pytester.mkdir("home")
    monkeypatch.setenv("PATH", available.PATH)
    monkeypatch.setenv("HOME", str(home))
    directory = pytester.mkdir("project")
    (directory / "manifest.toml").write_text(MANIFEST)
    for name, text in SCRIPTS.items():
        (directory / name).write_text(text)
    (directory / "wg").write_text("#!/bin/sh\necho wg of the test\n")
    (directory / "wg").chmod(0o755)
    monkeypatch.setenv("ISOSMOKE_WG", str(directory / "wg"))
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def run(pytester: pytest.Pytester) -> Pytest:
    """Return a function that runs pytest in the directory, in a new process."""

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*arguments, timeout=120)

    return run


def format_manifest(name: str, **keys: object) -> str:
    """Return a manifest with one scenario, whose script is `name`.sh."""
    entry = {"name": name, "script": f"{name}.sh", "settle_seconds": 0.5, **keys}
    lines = (f"{key} = {json.dumps(value)}" for key, value in entry.items())
    return "\n".join(["[[scenario]]", *lines, ""])


def test_each_outcome_is_reported(run: Pytest, directory: Path) -> None:
    """Each scenario is an item, and a failure is reported with its evidence."""
    result = run("-v", "-ra", "manifest.toml")

    result.assert_outcomes(passed=1, failed=2, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "manifest.toml::good PASSED*",
            "manifest.toml::bad FAILED*",
            "manifest.toml::leaky LEAK*",
            "manifest.toml::skips SKIPPED*no network*",
            "manifest.toml::unmet SKIPPED*",
            "FAIL: exit 3: broken",
            "  asserts It never breaks.",
            f"  log     {directory}/.isosmoke/runs/*/bad/output-1.log",
            f"  repeat  isosmoke run --manifest {directory}/manifest.toml *bad",
            "  │ out",
            "  │ broken",
            "LEAK: left 1 process: sleep 60",
            "  leaked  pid * sleep 60  in *",
            f"record: {directory}/.isosmoke/runs/*",
            "SKIPPED [[]1[]] manifest.toml:23: exit 77: no network",
            "SKIPPED [[]1[]] manifest.toml:27: command 'no-such-program' not found",
            "FAILED manifest.toml::bad - Failed: FAIL: exit 3: broken",
            "LEAK manifest.toml::leaky - Failed: LEAK: left 1 process: sleep 60",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_timeout_is_failure(run: Pytest, directory: Path) -> None:
    """A scenario that does not end is reported as TIMEOUT, and fails."""
    (directory / "manifest.toml").write_text(
        format_manifest("hangs", timeout_seconds=1, grace_seconds=0.1)
    )

    result = run("-v", "manifest.toml")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["manifest.toml::hangs TIMEOUT*", "TIMEOUT: still running after 1 s"]
    )


def test_failed_preparation_is_error(run: Pytest, directory: Path) -> None:
    """A failed preparation is an error, as in a fixture of pytest, and is explained."""
    (directory / "manifest.toml").write_text(format_manifest("unprepared"))

    result = run("manifest.toml")

    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR: exit 99", "  means   *has no verdict"])


def test_unusable_engine_is_error_of_each_scenario(
    run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has a reason and a remedy, and no scenario is reported as failed."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/no.sock")

    result = run("--isosmoke-engine", "docker", "-k", "good or bad", "manifest.toml")

    result.assert_outcomes(errors=2, deselected=3)
    result.stdout.fnmatch_lines(["isosmoke: *no.sock*", "  try: *"])
    result.stdout.no_fnmatch_line("*During handling*")


def test_unknown_engine_is_named(run: Pytest) -> None:
    """The error names the unknown engine and lists the known ones."""
    result = run("--isosmoke-engine", "vmware", "manifest.toml::good")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["isosmoke: unknown engine 'vmware'", "*auto, bubblewrap, docker*"])
    result.stdout.no_fnmatch_line("*During handling*")


def test_binary_option_selects_binary(run: Pytest, directory: Path) -> None:
    """`--isosmoke-binary` names the program that scenarios find as wg."""
    other = directory / "other"
    other.write_text("#!/bin/sh\necho another one\n")
    other.chmod(0o755)
    (directory / "good.sh").write_text("wg | grep 'another one'")

    run("--isosmoke-binary", str(other), "manifest.toml::good").assert_outcomes(passed=1)
    run("manifest.toml::good").assert_outcomes(failed=1)


def count_visitors(server: socket.socket) -> None:
    """Send each visitor its number, from 1, until the server is shut down."""
    with suppress(OSError):
        for number in count(1):
            visitor, _ = server.accept()
            with visitor:
                visitor.sendall(b"%d\n" % number)


@pytest.fixture
def serving() -> Callable[[socket.socket], None]:
    """Return the function that serves the visitors of `port`."""
    return count_visitors


@pytest.fixture
def port(serving: Callable[[socket.socket], None]) -> Iterator[int]:
    """Yield the port of a server on this host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serving, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_flaky_pass_is_noted(run: Pytest, directory: Path, port: int) -> None:
    """FLAKY passes, and the summary has the reason of the first failure, without a warning."""
    (directory / "manifest.toml").write_text(format_manifest("flaky", retries=1))
    (directory / "flaky.sh").write_text(
        f"exec 3<> /dev/tcp/127.0.0.1/{port}; read -r number <&3; exit $((2 - number))"
    )

    result = run("-v", "-W", "error", "manifest.toml")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["manifest.toml::flaky FLAKY*", "FLAKY manifest.toml::flaky: exit 1"]
    )


def test_only_requested_manifest_is_collected(run: Pytest, directory: Path) -> None:
    """A manifest in a collected directory is ignored unless the ini file names it."""
    (directory / "inner").mkdir()
    (directory / "inner/manifest.toml").write_text("this is no manifest")
    (directory / "test_one.py").write_text("def test_one(): pass\n")

    unnamed = run("--collect-only", "-q", ".")
    with (directory / "pytest.ini").open("a") as ini:
        ini.write("isosmoke_manifests = manifest.toml\n")
    named = run("--collect-only", "-q", ".")

    assert [line for line in unnamed.outlines if "::" in line] == ["test_one.py::test_one"]
    assert sorted(line for line in named.outlines if "::" in line) == [
        *(f"manifest.toml::{name}" for name in ("bad", "good", "leaky", "skips", "unmet")),
        "test_one.py::test_one",
    ]


def test_invalid_manifest_is_error_without_traceback(run: Pytest, directory: Path) -> None:
    """Mistakes are reported by file, line, scenario and key."""
    (directory / "manifest.toml").write_text(format_manifest("good", timeout_secs=3))

    result = run("manifest.toml")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["isosmoke: *manifest.toml:5: scenario 'good': key 'timeout_secs'*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


SELECTIONS = {
    ("-k", "oo"): ["good"],
    ("-k", "fix-b"): ["good"],
    ("-m", "owner(task='fix-b')"): ["good"],
    ("-m", "tag(name='slow') or fast_one"): ["good", "leaky"],
    ("-m", "not slow and not fast_one"): ["bad", "skips", "unmet"],
    ("-m", "tag_2nd"): ["good"],
}


@pytest.mark.parametrize(
    ("options", "expected"), SELECTIONS.items(), ids=[" ".join(options) for options in SELECTIONS]
)
def test_owners_and_tags_select(run: Pytest, options: tuple[str, str], expected: list[str]) -> None:
    """Owners and tags are markers with arguments; a tag is also a plain marker."""
    result = run("--collect-only", "-q", *options, "manifest.toml")

    names = [line.rpartition("::")[2] for line in result.outlines if "::" in line]
    assert names == expected


def test_tag_named_like_a_marker_has_no_effect(run: Pytest) -> None:
    """A scenario with the tag `skip` runs."""
    run("manifest.toml::good").assert_outcomes(passed=1)


def test_last_failures_can_be_rerun(run: Pytest) -> None:
    """The options `--lf` and `-x` of pytest work as usual."""
    run("-x", "manifest.toml").assert_outcomes(passed=1, failed=1)
    run("-x", "--lf", "manifest.toml").assert_outcomes(failed=1, deselected=4)


def test_junit_report_has_outcome_and_evidence(run: Pytest, directory: Path) -> None:
    """The outcome and its reason are properties, and the failure has the evidence."""
    run("--junitxml=report.xml", "manifest.toml")

    cases = ET.parse(directory / "report.xml").iter("testcase")  # noqa: S314 - our own
    bad = next(case for case in cases if case.get("name") == "bad")
    properties = {entry.get("name"): entry.get("value") for entry in bad.iter("property")}
    assert properties["isosmoke_outcome"] == "FAIL"
    assert properties["isosmoke_reason"] == "exit 3: broken"
    failure = bad.find("failure")
    assert failure is not None
    assert "│ broken" in (failure.text or "")


def test_session_is_recorded(run: Pytest, directory: Path) -> None:
    """A manifest has one record, with every scenario that ran and no others."""
    run("-k", "good or bad", "manifest.toml")

    (run_record,) = reader.load_runs(directory, reader.fail)
    assert {scenario.name: scenario.outcome for scenario in run_record.scenarios} == {
        "good": "PASS",
        "bad": "FAIL",
    }
    assert run_record.finished
    assert run_record.manifest == str(directory / "manifest.toml")


def format_locked(**locks: list[str]) -> str:
    """Return a manifest of scenarios by name, with their locks."""
    return "".join(
        format_manifest(name, script="good.sh", locks=held) for name, held in locks.items()
    )


GROUPS = """
import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in items:
        print(item.name, *(mark.args[0] for mark in item.iter_markers("xdist_group")))
"""


def test_scenarios_that_share_lock_are_one_group(run: Pytest, directory: Path) -> None:
    """A chain of shared locks is one group; without locks, or without xdist, there is none."""
    (directory / "manifest.toml").write_text(
        format_locked(a=["x"], b=["y"], c=["x", "z"], d=["z"], e=[])
    )
    (directory / "conftest.py").write_text(GROUPS)

    grouped = run("--collect-only", "-q", "-s", "manifest.toml")
    without = run("--collect-only", "-q", "-s", "-p", "no:xdist", "manifest.toml")

    chain = "isosmoke-x+z"
    assert grouped.outlines[:5] == [f"a {chain}", "b isosmoke-y", f"c {chain}", f"d {chain}", "e"]
    assert without.outlines[:5] == ["a", "b", "c", "d", "e"]


def introduce_visitors(server: socket.socket) -> None:
    """Tell each visitor once another is connected; close the connection after two seconds."""
    meeting = threading.Barrier(2)

    def answer(visitor: socket.socket) -> None:
        with visitor, suppress(threading.BrokenBarrierError):
            meeting.wait(2)
            visitor.sendall(b"met\n")

    with suppress(OSError):
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],)).start()


@pytest.mark.parametrize("serving", [introduce_visitors])
def test_lock_holds_between_workers(run: Pytest, directory: Path, port: int) -> None:
    """Two scenarios with the same lock never run concurrently, whichever workers have them."""
    (directory / "manifest.toml").write_text(format_locked(a=["x"], b=["y", "x"]))
    (directory / "good.sh").write_text(
        f"exec 3<> /dev/tcp/127.0.0.1/{port}; read -r answer <&3; test -z $answer"
    )

    run("-n2", "manifest.toml").assert_outcomes(passed=2)


@pytest.mark.parametrize("serving", [introduce_visitors])
def test_workers_run_concurrently_without_lock(run: Pytest, directory: Path, port: int) -> None:
    """Scenarios without a common lock do not wait for each other."""
    (directory / "manifest.toml").write_text(format_locked(a=["x"], b=["y"]))
    (directory / "good.sh").write_text(
        f"exec 3<> /dev/tcp/127.0.0.1/{port}; read -r answer <&3; test $answer = met"
    )

    run("-n2", "manifest.toml").assert_outcomes(passed=2)


def test_workers_report_outcomes_and_evidence(run: Pytest) -> None:
    """Outcomes, reasons and evidence pass from the workers to the summary."""
    result = run("-n2", "-v", "manifest.toml")

    result.assert_outcomes(passed=1, failed=2, skipped=2)
    result.stdout.fnmatch_lines_random(
        ["*LEAK*manifest.toml::leaky*", "FAIL: exit 3: broken", "record: */.isosmoke/runs/*"]
    )


def test_interrupt_ends_session(directory: Path) -> None:
    """The scenario is NOT_RUN, pytest exits with its own code, and the record is complete."""
    (directory / "manifest.toml").write_text(format_manifest("hangs") + format_manifest("good"))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "manifest.toml"], stdout=subprocess.PIPE, text=True
    )
    assert available.wait_for(
        lambda: list(directory.glob(".isosmoke/runs/*/hangs/output-1.log")), 60
    )

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    (run_record,) = reader.load_runs(directory, reader.fail)
    assert (run_record.finished, run_record.stopped) == (True, "SIGINT")
    assert [(scenario.name, scenario.outcome) for scenario in run_record.scenarios] == [
        ("hangs", "NOT_RUN")
    ]


def test_fixture_runs_commands_in_fresh_sandboxes(run: Pytest, directory: Path) -> None:
    """Each call has a fresh sandbox with the live binary, accepts options, and returns a result."""
    (directory / "test_it.py").write_text(TESTS)

    result = run("-v", "test_it.py")

    result.assert_outcomes(passed=6)


TESTS = """
import pytest


def test_the_binary_is_there(sandbox):
    ran = sandbox("bash", "-c", "wg; echo oops >&2; exit 5")
    assert (ran.outcome, ran.exit_code) == ("FAIL", 5)
    assert ran.output == "wg of the test\\noops\\n"
    assert ran.reason == "exit 5: oops"
    assert ran.log.read_text() == ran.output


def test_each_call_is_fresh(sandbox):
    assert sandbox("touch", "/tmp/here", "written").outcome == "PASS"
    assert sandbox("ls", "/tmp/here", "written").outcome == "FAIL"


@pytest.mark.isosmoke(env={"X": "marked"}, network="isolated")
def test_options_of_marker_apply_to_all_calls(sandbox):
    ran = sandbox("sh", "-c", "echo $X; wc -l < /proc/net/dev")
    assert ran.output == "marked\\n3\\n", "two header lines, and lo"
    assert sandbox("sh", "-c", "echo $X", env={"X": "own"}).output == "own\\n"


def test_a_deadline(sandbox):
    ran = sandbox("sleep", "60", timeout=1)
    assert (ran.outcome, ran.exit_code) == ("TIMEOUT", None)


@pytest.mark.isosmoke(limits={"open_files": 77}, locks=["one"])
def test_any_key_of_a_sandbox(sandbox):
    ran = sandbox("sh", "-c", "ulimit -n", settle_seconds=1, requires={"commands": ["sh"]})
    assert (ran.outcome, ran.output) == ("PASS", "77\\n")
    assert sandbox("true", requires={"commands": ["no-such-program"]}).outcome == "SKIP"


def test_an_allowed_leak(sandbox):
    (process,) = sandbox("sh", "-c", "sleep 60 &", leaks="report").leaks
    assert process.argv == ("sleep", "60")
"""


def test_documentation_example_passes(run: Pytest, directory: Path) -> None:
    """The example in docs/pytest.md passes unchanged."""
    text = (ROOT / "docs/pytest.md").read_text()
    (directory / "test_example.py").write_text(text.split("```python\n")[1].split("```")[0])

    run("test_example.py").assert_outcomes(passed=3)


FAILING = """
def test_a_leak(sandbox):
    sandbox("sh", "-c", "sleep 60 &")


def test_invalid_value(sandbox):
    sandbox("true", network="isolatd")


def test_unknown_option(sandbox):
    sandbox("true", timeout_second=5)


def test_option_of_a_manifest_only(sandbox):
    sandbox("true", retries=5)


def test_no_command(sandbox):
    sandbox()


def test_missing_image(sandbox):
    sandbox("true", image="rootfs:/nowhere")
"""


def test_leak_or_invalid_call_fails_test(run: Pytest, directory: Path) -> None:
    """Each failure points at the call, without lines of isosmoke's own code."""
    (directory / "test_it.py").write_text(FAILING)

    result = run("test_it.py")

    result.assert_outcomes(failed=6)
    unknown = "Failed: isosmoke: sandbox: unknown option"
    result.stdout.fnmatch_lines(
        [
            '>       sandbox("sh", "-c", "sleep 60 &")',
            "E       Failed: LEAK: left 1 process: sleep 60",
            "E       Failed: isosmoke: sandbox: network must be 'host' or 'isolated'*",
            f"E       {unknown} 'timeout_second'; did you mean 'timeout'?",
            f"E       {unknown} 'retries'*",
            "E       Failed: isosmoke: sandbox: script must not be blank",
            "E       Failed: isosmoke: *nowhere*",
        ]
    )
    result.stdout.no_fnmatch_line("*session.py*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_plugin_imports_no_heavy_modules(pytester: pytest.Pytester) -> None:
    """A session without manifests and sandboxes does not import the libraries of isosmoke."""
    (Path.cwd() / "test_one.py").write_text(
        "import sys\n\n"
        "def test_one():\n"
        "    heavy = {'pydantic', 'docker', 'httpx', 'testcontainers', 'rich', 'click', 'tomli'}\n"
        "    assert 'isosmoke.pytest_plugin' in sys.modules\n"
        "    assert not heavy & set(sys.modules)\n"
        "    ours = {name for name in sys.modules if name.startswith('isosmoke')}\n"
        "    assert ours == {'isosmoke', 'isosmoke.pytest_plugin'}\n"
    )
    other_plugins = ("-p", "no:hypothesispytest", "-p", "no:anyio")

    pytester.runpytest_subprocess(*other_plugins, "test_one.py").assert_outcomes(passed=1)
