"""The bridge driven by an unmodified wg, from a stand-in for wg to the sandboxes and back."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from isosmoke.testing.bench import Witness
from support import bridged_wg
from support.bridged_wg import Project

WAITS = "read -r word <&3; test $word = enough"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project in its own directory, with a space in every path."""
    return bridged_wg.create_project(tmp_path / "with a space", monkeypatch)


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Yield a witness to which a scenario connects and from which it waits for a line."""
    with Witness() as witness:
        yield witness


def test_task_is_done_when_its_scenarios_pass(project: Project) -> None:
    """A pass has no text, the task is done, and no process remains."""
    for name in ("one", "two", "three"):
        project.add(name, "exit 0")
    project.add("foreign", "exit 1", owner="another")
    project.bridge()

    seen = project.gate()

    assert {name: (code, *lines) for name, (code, lines) in seen.items()} == {
        "one": (0,),
        "two": (0,),
        "three": (0,),
    }
    assert project.done
    assert bridged_wg.is_cleaned_up()


def test_failure_blocks_with_its_reason(project: Project) -> None:
    """The reply has the assertion, the reason, the last output and the repeat command."""
    project.add("passes", "exit 0")
    project.add("fails", "echo some output; exit 3", keys="assertion = 'It never breaks.'")
    project.bridge()

    code, lines = project.gate()["fails"]

    assert code == 1
    assert lines[0] == "FAIL fails: exit 3"
    assert "asserts: It never breaks." in lines
    assert "| some output" in lines
    assert lines[-1].startswith("repeat: isosmoke run --manifest ")
    assert not project.done


def test_leak_blocks_and_is_named(project: Project) -> None:
    """A scenario that passes but leaks a process blocks, and the process is named."""
    project.add("leaks", "setsid sleep 654 & exit 0")
    project.bridge()

    code, lines = project.gate()["leaks"]

    assert code == 1
    assert lines[0] == "LEAK leaks: left 1 process: sleep 654"
    assert not project.done
    assert bridged_wg.is_cleaned_up()


def test_skip_does_not_block_and_is_displayed(project: Project) -> None:
    """An unreachable endpoint is a skip with wg's code 77, and wg displays the reason."""
    project.add("skips", "exit 0", keys="requires.endpoints = ['http://127.0.0.1:9/models']")
    project.bridge()

    code, lines = project.gate()["skips"]

    assert code == 77
    assert "http://127.0.0.1:9/models unreachable" in lines[0]
    assert project.done


def test_error_is_not_a_skip(project: Project) -> None:
    """An error that prevents the run is 125, whatever the scenario would return."""
    project.add("skips", "exit 77")
    project.bridge()

    code, lines = project.gate(variables={"ISOSMOKE_WG": "/nowhere/wg"})["skips"]

    assert code == 125
    assert lines[0] == "ERROR skips: ISOSMOKE_WG: no file at /nowhere/wg"
    assert not project.done


def test_engine_error_is_not_a_skip(project: Project) -> None:
    """An unavailable engine is 125 as well, with its own message."""
    project.add("skips", "exit 77", keys="image = 'nowhere'")
    project.bridge()

    code, lines = project.gate(variables={"DOCKER_HOST": "unix:///nowhere.sock"})["skips"]

    assert code == 125
    assert lines[0].startswith("ERROR skips: ")


def test_scenarios_of_one_call_run_concurrently(project: Project, witness: Witness) -> None:
    """The scenarios of a task run at the same time, although wg requests them in sequence."""
    for name in ("one", "two", "three"):
        project.add(name, f"{witness.connect} {WAITS}")
    project.bridge()

    with project.running() as process:
        lines = [witness.accept() for _ in range(3)]
        for line in lines:
            line.send_line("enough")
        assert [code for code, _ in bridged_wg.read_replies(process).values()] == [0, 0, 0]


def test_full_smoke_runs_all_scenarios(project: Project) -> None:
    """Each scenario gets its own verdict."""
    project.add("own", "exit 0")
    project.add("foreign", "exit 4", owner="another")
    project.bridge()

    assert [code for code, _ in project.gate("task", "--full-smoke").values()] == [0, 1]


def test_concurrent_calls_do_not_mix(project: Project, witness: Witness) -> None:
    """Two calls through one mirror each get the verdict of their own directory."""
    project.add("depends", f"{witness.connect} read -r _ <&3; exit $(cat code)")
    project.bridge()
    for name, code in (("left", 0), ("right", 5)):
        (project.top / name).mkdir()
        (project.top / name / "code").write_text(f"{code}\n")

    with (
        project.start(working=project.top / "left") as left,
        project.start(working=project.top / "right") as right,
    ):
        lines = [witness.accept(), witness.accept()]
        assert len(bridged_wg.list_leaders()) == 2
        for line in lines:
            line.send_line("continue")
        assert bridged_wg.read_replies(left)["depends"][0] == 0
        assert bridged_wg.read_replies(right)["depends"][0] == 1
    assert bridged_wg.is_cleaned_up()


def test_verdict_is_never_reused(project: Project) -> None:
    """A repeated call runs the scenario again."""
    project.add("one", "exit 0")
    project.bridge()
    assert project.gate()["one"][0] == 0

    (project.top / "one.sh").write_text("exit 1\n")

    assert project.gate()["one"][0] == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_run_ends_with_wg(project: Project, witness: Witness, number: signal.Signals) -> None:
    """A signal that ends wg also ends its run, and nothing remains on the host."""
    project.add("waits", f"setsid sleep 600 & {witness.connect} {WAITS}")
    project.bridge()

    with project.running() as process:
        line = witness.accept()
        os.killpg(process.pid, number)
        assert process.wait(20) == -number
        assert line.wait_closed()
    assert bridged_wg.is_cleaned_up()
    assert not project.done


def test_dead_leader_is_replaced(project: Project, witness: Witness) -> None:
    """The sandboxes of a leader end with it, and the waiting shim starts another leader."""
    project.add("waits", f"{witness.connect} {WAITS}")
    project.bridge()

    with project.running() as process:
        line = witness.accept()
        (leader,) = bridged_wg.list_leaders()
        os.kill(leader, signal.SIGKILL)
        assert line.wait_closed()
        witness.accept().send_line("enough")
        assert bridged_wg.read_replies(process)["waits"][0] == 0
    assert project.done
    assert bridged_wg.is_cleaned_up()


def test_deadline_of_wg_is_an_error(project: Project, witness: Witness) -> None:
    """A shim that wg's `timeout` ends reports it, is not a skip, and leaves nothing running."""
    project.add("waits", f"{witness.connect} {WAITS}")
    project.bridge()

    with project.running() as process:
        witness.accept()
        os.kill(bridged_wg.find_child(process.pid), signal.SIGTERM)
        code, lines = bridged_wg.read_replies(process)["waits"]
    assert code == 125
    assert "deadline" in lines[-1]
    assert bridged_wg.is_cleaned_up()


def test_outdated_mirror_is_refused(project: Project) -> None:
    """After a change of the manifest, the shim names the command that updates the mirror."""
    project.add("one", "exit 0")
    project.bridge()
    project.add("two", "exit 0")

    code, lines = project.gate()["one"]

    assert code == 125
    assert "no longer mirrors" in lines[0]
    assert lines[1].startswith("try: isosmoke bridge --manifest ")
