"""Scenarios as pytest items and the fixture `sandbox`, as a user's pytest runs them: for real."""

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
def _engine() -> None:
    available.engine("bubblewrap")


@pytest.fixture(autouse=True)
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a manifest and its scripts, a program `wg`, and a strict pytest.ini."""
    home = pytester.mkdir("home")
    monkeypatch.setenv("PATH", available.PATH)
    monkeypatch.setenv("HOME", str(home))
    folder = pytester.mkdir("project")
    (folder / "manifest.toml").write_text(MANIFEST)
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text)
    (folder / "wg").write_text("#!/bin/sh\necho wg of the test\n")
    (folder / "wg").chmod(0o755)
    monkeypatch.setenv("ISOSMOKE_WG", str(folder / "wg"))
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(pytester: pytest.Pytester) -> Pytest:
    """Run pytest in the folder, in a process of its own."""

    def run(*words: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*words, timeout=120)

    return run


def scenario(name: str, **keys: object) -> str:
    """The text of a manifest with one scenario; its script is `name`.sh."""
    entry = {"name": name, "script": f"{name}.sh", "settle_seconds": 0.5, **keys}
    lines = (f"{key} = {json.dumps(value)}" for key, value in entry.items())
    return "\n".join(["[[scenario]]", *lines, ""])


def test_each_outcome_is_told_in_isosmokes_words(run: Pytest, folder: Path) -> None:
    """Pass, failure, leak and skip are items of their own; a failure comes with its evidence."""
    done = run("-v", "-ra", "manifest.toml")

    done.assert_outcomes(passed=1, failed=2, skipped=2)
    done.stdout.fnmatch_lines(
        [
            "manifest.toml::good PASSED*",
            "manifest.toml::bad FAILED*",
            "manifest.toml::leaky LEAK*",
            "manifest.toml::skips SKIPPED*no network*",
            "manifest.toml::unmet SKIPPED*",
            "FAIL: exit 3: broken",
            "  asserts It never breaks.",
            f"  log     {folder}/.isosmoke/runs/*/bad/output-1.log",
            f"  repeat  isosmoke run --manifest {folder}/manifest.toml *bad",
            "  │ out",
            "  │ broken",
            "LEAK: left 1 process: sleep 60",
            "  leaked  pid * sleep 60  in *",
            f"record: {folder}/.isosmoke/runs/*",
            "SKIPPED [[]1[]] manifest.toml:23: exit 77: no network",
            "SKIPPED [[]1[]] manifest.toml:27: command 'no-such-program' not found",
            "FAILED manifest.toml::bad - Failed: FAIL: exit 3: broken",
            "LEAK manifest.toml::leaky - Failed: LEAK: left 1 process: sleep 60",
        ]
    )
    done.stdout.no_fnmatch_line("*Traceback*")
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_deadline_is_a_failure_with_its_own_word(run: Pytest, folder: Path) -> None:
    """A scenario that does not end is TIMEOUT, and fails."""
    (folder / "manifest.toml").write_text(scenario("hangs", timeout_seconds=1, grace_seconds=0.1))

    done = run("-v", "manifest.toml")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["manifest.toml::hangs TIMEOUT*", "TIMEOUT: still running after 1 s"])


def test_what_says_nothing_of_the_scenario_is_an_error(run: Pytest, folder: Path) -> None:
    """A preparation that broke is counted as pytest counts trouble in a fixture, and says so."""
    (folder / "manifest.toml").write_text(scenario("unprepared"))

    done = run("manifest.toml")

    done.assert_outcomes(errors=1)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["ERROR: exit 99", "  means   *nothing is known of what*"])


def test_an_engine_that_cannot_work_is_an_error_of_each_scenario(
    run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what was tried and what would mend it, and no scenario is said to have failed."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/no.sock")

    done = run("--isosmoke-engine", "docker", "-k", "good or bad", "manifest.toml")

    done.assert_outcomes(errors=2, deselected=3)
    done.stdout.fnmatch_lines(["isosmoke: *no.sock*", "  try: *"])
    done.stdout.no_fnmatch_line("*During handling*")


def test_an_unknown_engine_is_named(run: Pytest) -> None:
    """The engines that there are, are told."""
    done = run("--isosmoke-engine", "vmware", "manifest.toml::good")

    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["isosmoke: no engine 'vmware'", "*auto, bubblewrap, docker*"])
    done.stdout.no_fnmatch_line("*During handling*")


def test_the_binary_is_the_one_asked_for(run: Pytest, folder: Path) -> None:
    """`--isosmoke-binary` is the program that scenarios find as wg."""
    other = folder / "other"
    other.write_text("#!/bin/sh\necho another one\n")
    other.chmod(0o755)
    (folder / "good.sh").write_text("wg | grep 'another one'")

    run("--isosmoke-binary", str(other), "manifest.toml::good").assert_outcomes(passed=1)
    run("manifest.toml::good").assert_outcomes(failed=1)


def number_visitors(server: socket.socket) -> None:
    """Tell each visitor how many there were, from 1, until the server is shut down."""
    with suppress(OSError):
        for number in count(1):
            visitor, _ = server.accept()
            with visitor:
                visitor.sendall(b"%d\n" % number)


@pytest.fixture
def serving() -> Callable[[socket.socket], None]:
    """What the server does that listens on `port`."""
    return number_visitors


@pytest.fixture
def port(serving: Callable[[socket.socket], None]) -> Iterator[int]:
    """Of a server on this host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serving, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_pass_at_a_second_try_is_noted(run: Pytest, folder: Path, port: int) -> None:
    """FLAKY passes, and the summary says why it is not plain, without a warning."""
    (folder / "manifest.toml").write_text(scenario("flaky", retries=1))
    (folder / "flaky.sh").write_text(
        f"exec 3<> /dev/tcp/127.0.0.1/{port}; read -r number <&3; exit $((2 - number))"
    )

    done = run("-v", "-W", "error", "manifest.toml")

    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["manifest.toml::flaky FLAKY*", "FLAKY manifest.toml::flaky: exit 1"])


def test_only_a_manifest_that_was_asked_for_is_collected(run: Pytest, folder: Path) -> None:
    """What lies in a folder that is collected is somebody else's, until the ini file names it."""
    (folder / "inner").mkdir()
    (folder / "inner/manifest.toml").write_text("this is no manifest")
    (folder / "test_one.py").write_text("def test_one(): pass\n")

    alone = run("--collect-only", "-q", ".")
    with (folder / "pytest.ini").open("a") as ini:
        ini.write("isosmoke_manifests = manifest.toml\n")
    named = run("--collect-only", "-q", ".")

    assert [line for line in alone.outlines if "::" in line] == ["test_one.py::test_one"]
    assert sorted(line for line in named.outlines if "::" in line) == [
        *(f"manifest.toml::{name}" for name in ("bad", "good", "leaky", "skips", "unmet")),
        "test_one.py::test_one",
    ]


def test_a_manifest_that_is_wrong_is_an_error_without_a_traceback(
    run: Pytest, folder: Path
) -> None:
    """Its mistakes are told by file, line, scenario and key."""
    (folder / "manifest.toml").write_text(scenario("good", timeout_secs=3))

    done = run("manifest.toml")

    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["isosmoke: *manifest.toml:5: scenario 'good': key 'timeout_secs'*"])
    done.stdout.no_fnmatch_line("*Traceback*")


CHOSEN = {
    ("-k", "oo"): ["good"],
    ("-k", "fix-b"): ["good"],
    ("-m", "owner(task='fix-b')"): ["good"],
    ("-m", "tag(name='slow') or fast_one"): ["good", "leaky"],
    ("-m", "not slow and not fast_one"): ["bad", "skips", "unmet"],
    ("-m", "tag_2nd"): ["good"],
}


@pytest.mark.parametrize(
    ("words", "expected"), CHOSEN.items(), ids=[" ".join(one) for one in CHOSEN]
)
def test_owners_and_tags_select(run: Pytest, words: tuple[str, str], expected: list[str]) -> None:
    """Both are markers with arguments, a tag is one by itself too, and -k finds owners."""
    done = run("--collect-only", "-q", *words, "manifest.toml")

    listed = [line.rpartition("::")[2] for line in done.outlines if "::" in line]
    assert listed == expected


def test_a_tag_that_would_do_something_is_no_marker_by_itself(run: Pytest) -> None:
    """A scenario that is tagged `skip` runs."""
    run("manifest.toml::good").assert_outcomes(passed=1)


def test_what_failed_last_can_be_run_alone(run: Pytest) -> None:
    """`--lf` and `-x` are pytest's own."""
    run("-x", "manifest.toml").assert_outcomes(passed=1, failed=1)
    run("-x", "--lf", "manifest.toml").assert_outcomes(failed=1, deselected=4)


def test_junit_says_what_isosmoke_says(run: Pytest, folder: Path) -> None:
    """The outcome and its reason are properties, and the failure has the evidence."""
    run("--junitxml=report.xml", "manifest.toml")

    cases = ET.parse(folder / "report.xml").iter("testcase")  # noqa: S314 - our own
    bad = next(one for one in cases if one.get("name") == "bad")
    told = {one.get("name"): one.get("value") for one in bad.iter("property")}
    assert told["isosmoke_outcome"] == "FAIL"
    assert told["isosmoke_reason"] == "exit 3: broken"
    failure = bad.find("failure")
    assert failure is not None
    assert "│ broken" in (failure.text or "")


def test_a_run_is_on_record_as_one_of_isosmoke_is(run: Pytest, folder: Path) -> None:
    """One record for the manifest, with every scenario that ran, and none of the others."""
    run("-k", "good or bad", "manifest.toml")

    (kept,) = reader.list_runs(folder)
    assert {one.name: one.outcome for one in kept.scenarios} == {"good": "PASS", "bad": "FAIL"}
    assert kept.finished
    assert kept.manifest == str(folder / "manifest.toml")


def locked(**locks: list[str]) -> str:
    """A manifest of scenarios by name, with their locks."""
    return "".join(scenario(name, script="good.sh", locks=has) for name, has in locks.items())


GROUPS = """
import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for one in items:
        print(one.name, *(mark.args[0] for mark in one.iter_markers("xdist_group")))
"""


def test_scenarios_that_share_a_lock_are_one_group(run: Pytest, folder: Path) -> None:
    """So is a chain of shared locks; whoever has no lock is in none, nor anybody without xdist."""
    (folder / "manifest.toml").write_text(locked(a=["x"], b=["y"], c=["x", "z"], d=["z"], e=[]))
    (folder / "conftest.py").write_text(GROUPS)

    grouped = run("--collect-only", "-q", "-s", "manifest.toml")
    without = run("--collect-only", "-q", "-s", "-p", "no:xdist", "manifest.toml")

    chain = "isosmoke-x+z"
    assert grouped.outlines[:5] == [f"a {chain}", "b isosmoke-y", f"c {chain}", f"d {chain}", "e"]
    assert without.outlines[:5] == ["a", "b", "c", "d", "e"]


def let_meet(server: socket.socket) -> None:
    """Tell each visitor whether it met another one, once it did or had time for it."""
    meeting = threading.Barrier(2)

    def answer(visitor: socket.socket) -> None:
        with visitor, suppress(threading.BrokenBarrierError):
            meeting.wait(2)
            visitor.sendall(b"met\n")

    with suppress(OSError):
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],)).start()


@pytest.mark.parametrize("serving", [let_meet])
def test_a_lock_holds_between_workers(run: Pytest, folder: Path, port: int) -> None:
    """Two scenarios that share it are never there at the same time, whatever xdist distributes."""
    (folder / "manifest.toml").write_text(locked(a=["x"], b=["y", "x"]))
    (folder / "good.sh").write_text(
        f"exec 3<> /dev/tcp/127.0.0.1/{port}; read -r answer <&3; test -z $answer"
    )

    run("-n2", "manifest.toml").assert_outcomes(passed=2)


@pytest.mark.parametrize("serving", [let_meet])
def test_without_a_lock_workers_run_side_by_side(run: Pytest, folder: Path, port: int) -> None:
    """What shares nothing need not wait."""
    (folder / "manifest.toml").write_text(locked(a=["x"], b=["y"]))
    (folder / "good.sh").write_text(
        f"exec 3<> /dev/tcp/127.0.0.1/{port}; read -r answer <&3; test $answer = met"
    )

    run("-n2", "manifest.toml").assert_outcomes(passed=2)


def test_workers_tell_all_that_one_process_does(run: Pytest) -> None:
    """Outcomes, words and evidence pass from the workers to the summary."""
    done = run("-n2", "-v", "manifest.toml")

    done.assert_outcomes(passed=1, failed=2, skipped=2)
    done.stdout.fnmatch_lines_random(
        ["*LEAK*manifest.toml::leaky*", "FAIL: exit 3: broken", "record: */.isosmoke/runs/*"]
    )


def test_an_interrupt_ends_the_scenario_and_the_session(folder: Path) -> None:
    """What runs is not run to its end, pytest says so with its code, and the record is whole."""
    (folder / "manifest.toml").write_text(scenario("hangs") + scenario("good"))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "manifest.toml"], stdout=subprocess.PIPE, text=True
    )
    assert available.eventually(
        lambda: list(folder.glob(".isosmoke/runs/*/hangs/output-1.log")), 60
    )

    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)

    assert process.returncode == pytest.ExitCode.INTERRUPTED, told
    (kept,) = reader.list_runs(folder)
    assert (kept.finished, kept.stopped) == (True, "SIGINT")
    assert [(one.name, one.outcome) for one in kept.scenarios] == [("hangs", "NOT_RUN")]


def test_a_test_runs_commands_in_sandboxes_of_their_own(run: Pytest, folder: Path) -> None:
    """Each call is fresh, has the live binary, takes terms, and tells what came of it."""
    (folder / "test_it.py").write_text(TESTS)

    done = run("-v", "test_it.py")

    done.assert_outcomes(passed=6)


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
def test_terms_of_a_marker_hold_for_all_calls(sandbox):
    ran = sandbox("sh", "-c", "echo $X; wc -l < /proc/net/dev")
    assert ran.output == "marked\\n3\\n", "two lines of head, and lo"
    assert sandbox("sh", "-c", "echo $X", env={"X": "own"}).output == "own\\n"


def test_a_deadline(sandbox):
    ran = sandbox("sleep", "60", timeout=1)
    assert (ran.outcome, ran.exit_code) == ("TIMEOUT", None)


@pytest.mark.isosmoke(limits={"open_files": 77}, locks=["one"])
def test_any_key_that_makes_a_sandbox(sandbox):
    ran = sandbox("sh", "-c", "ulimit -n", settle_seconds=1, requires={"commands": ["sh"]})
    assert (ran.outcome, ran.output) == ("PASS", "77\\n")
    assert sandbox("true", requires={"commands": ["no-such-program"]}).outcome == "SKIP"


def test_an_allowed_leak(sandbox):
    (left,) = sandbox("sh", "-c", "sleep 60 &", leaks="report").leaks
    assert left.argv == ("sleep", "60")
"""


def test_the_example_of_the_documentation_passes(run: Pytest, folder: Path) -> None:
    """What docs/pytest.md shows works as it stands there."""
    text = (ROOT / "docs/pytest.md").read_text()
    (folder / "test_example.py").write_text(text.split("```python\n")[1].split("```")[0])

    run("test_example.py").assert_outcomes(passed=3)


FAILING = """
def test_a_leak(sandbox):
    sandbox("sh", "-c", "sleep 60 &")


def test_a_wrong_term(sandbox):
    sandbox("true", network="isolatd")


def test_no_term(sandbox):
    sandbox("true", timeout_second=5)


def test_no_term_of_a_command(sandbox):
    sandbox("true", retries=5)


def test_no_command(sandbox):
    sandbox()


def test_an_image_that_is_not_there(sandbox):
    sandbox("true", image="rootfs:/nowhere")
"""


def test_what_a_command_leaves_fails_its_test(run: Pytest, folder: Path) -> None:
    """So does what cannot be tried; each points at the call, and at nothing of isosmoke's own."""
    (folder / "test_it.py").write_text(FAILING)

    done = run("test_it.py")

    done.assert_outcomes(failed=6)
    done.stdout.fnmatch_lines(
        [
            '>       sandbox("sh", "-c", "sleep 60 &")',
            "E       Failed: LEAK: left 1 process: sleep 60",
            "E       Failed: isosmoke: sandbox: network must be 'host' or 'isolated'*",
            "E       Failed: isosmoke: sandbox: no term 'timeout_second'; did you mean 'timeout'?",
            "E       Failed: isosmoke: sandbox: no term 'retries'*",
            "E       Failed: isosmoke: sandbox: script must not be blank",
            "E       Failed: isosmoke: *nowhere*",
        ]
    )
    done.stdout.no_fnmatch_line("*stage.py*")
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_who_only_has_it_installed_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    """A session without manifests and sandboxes does not wait for our libraries."""
    (Path.cwd() / "test_one.py").write_text(
        "import sys\n\n"
        "def test_one():\n"
        "    heavy = {'pydantic', 'docker', 'httpx', 'testcontainers', 'rich', 'click', 'tomli'}\n"
        "    assert 'isosmoke.pytest_plugin' in sys.modules\n"
        "    assert not heavy & set(sys.modules)\n"
        "    ours = {one for one in sys.modules if one.startswith('isosmoke')}\n"
        "    assert ours == {'isosmoke', 'isosmoke.pytest_plugin'}\n"
    )
    foreign = ("-p", "no:hypothesispytest", "-p", "no:anyio")

    pytester.runpytest_subprocess(*foreign, "test_one.py").assert_outcomes(passed=1)
