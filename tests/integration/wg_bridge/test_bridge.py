"""The bridge as an unmodified wg drives it, from a stand-in for wg to the sandboxes and back."""

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
    """One whose every path has a space in it, in a place of its own."""
    return bridged_wg.within(tmp_path / "with a space", monkeypatch)


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Where a scenario says that it runs, and waits for a word."""
    with Witness() as made:
        yield made


def test_task_is_done_when_all_it_owns_passes(project: Project) -> None:
    """Every owned scenario passes, nothing is said of it, the task is done, and nothing is left."""
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
    assert bridged_wg.nothing_is_left()


def test_failure_blocks_and_says_why(project: Project) -> None:
    """A scenario that fails blocks, with its assertion, reason, last words and how to repeat it."""
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
    """A scenario that passes and leaves a process blocks, and the process is named."""
    project.add("leaks", "setsid sleep 654 & exit 0")
    project.bridge()

    code, lines = project.gate()["leaks"]

    assert code == 1
    assert lines[0] == "LEAK leaks: left 1 process: sleep 654"
    assert not project.done
    assert bridged_wg.nothing_is_left()


def test_skip_lets_by_and_is_shown(project: Project) -> None:
    """An endpoint out of reach is a skip by wg's own code, with the reason in what wg shows."""
    project.add("skips", "exit 0", keys="requires.endpoints = ['http://127.0.0.1:9/models']")
    project.bridge()

    code, lines = project.gate()["skips"]

    assert code == 77
    assert "http://127.0.0.1:9/models unreachable" in lines[0]
    assert project.done


def test_trouble_is_no_skip(project: Project) -> None:
    """What keeps a run from being tried is 125, in words, whatever the scenario would say."""
    project.add("skips", "exit 77")
    project.bridge()

    code, lines = project.gate(more={"ISOSMOKE_WG": "/nowhere/wg"})["skips"]

    assert code == 125
    assert lines[0] == "ERROR skips: ISOSMOKE_WG: no file at /nowhere/wg"
    assert not project.done


def test_broken_engine_is_no_skip(project: Project) -> None:
    """An engine that cannot work is 125 as well, with its own words."""
    project.add("skips", "exit 77", keys="image = 'nowhere'")
    project.bridge()

    code, lines = project.gate(more={"DOCKER_HOST": "unix:///nowhere.sock"})["skips"]

    assert code == 125
    assert lines[0].startswith("ERROR skips: ")


def test_scenarios_of_one_call_run_together(project: Project, witness: Witness) -> None:
    """All that the task owns is running at once, though wg asks for one after another."""
    for name in ("one", "two", "three"):
        project.add(name, f"{witness.connect} {WAITS}")
    project.bridge()

    with project.going() as process:
        lines = [witness.met() for _ in range(3)]
        for line in lines:
            line.say("enough")
        assert [code for code, _ in bridged_wg.seen(process).values()] == [0, 0, 0]


def test_full_smoke_is_everything(project: Project) -> None:
    """With `--full-smoke` every scenario is asked for, and each gets its own verdict."""
    project.add("own", "exit 0")
    project.add("foreign", "exit 4", owner="another")
    project.bridge()

    assert [code for code, _ in project.gate("task", "--full-smoke").values()] == [0, 1]


def test_two_at_once_do_not_mix(project: Project, witness: Witness) -> None:
    """Two calls through one mirror at the same time: each gets what came of its own folder."""
    project.add("depends", f"{witness.connect} read -r _ <&3; exit $(cat code)")
    project.bridge()
    for folder, code in (("left", 0), ("right", 5)):
        (project.top / folder).mkdir()
        (project.top / folder / "code").write_text(f"{code}\n")

    with (
        project.start(working=project.top / "left") as left,
        project.start(working=project.top / "right") as right,
    ):
        lines = [witness.met(), witness.met()]
        assert len(bridged_wg.leaders()) == 2
        for line in lines:
            line.say("go on")
        assert bridged_wg.seen(left)["depends"][0] == 0
        assert bridged_wg.seen(right)["depends"][0] == 1
    assert bridged_wg.nothing_is_left()


def test_verdict_is_never_reused(project: Project) -> None:
    """The same call again asks the scenario again: what it said before counts for nothing."""
    project.add("one", "exit 0")
    project.bridge()
    assert project.gate()["one"][0] == 0

    (project.top / "one.sh").write_text("exit 1\n")

    assert project.gate()["one"][0] == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_run_ends_with_wg(project: Project, witness: Witness, number: signal.Signals) -> None:
    """However wg ends in the middle, its run ends by itself and leaves nothing on the host."""
    project.add("waits", f"setsid sleep 600 & {witness.connect} {WAITS}")
    project.bridge()

    with project.going() as process:
        line = witness.met()
        os.killpg(process.pid, number)
        assert process.wait(20) == -number
        assert line.breaks()
    assert bridged_wg.nothing_is_left()
    assert not project.done


def test_dead_leader_is_replaced(project: Project, witness: Witness) -> None:
    """A leader that dies takes its sandboxes along; the shim that waits starts another."""
    project.add("waits", f"{witness.connect} {WAITS}")
    project.bridge()

    with project.going() as process:
        line = witness.met()
        (leader,) = bridged_wg.leaders()
        os.kill(leader, signal.SIGKILL)
        assert line.breaks()
        witness.met().say("enough")
        assert bridged_wg.seen(process)["waits"][0] == 0
    assert project.done
    assert bridged_wg.nothing_is_left()


def test_deadline_of_wg_leaves_nothing(project: Project, witness: Witness) -> None:
    """A shim that wg's `timeout` ends says so, is no skip, and leaves nothing."""
    project.add("waits", f"{witness.connect} {WAITS}")
    project.bridge()

    with project.going() as process:
        witness.met()
        os.kill(bridged_wg.child(process.pid), signal.SIGTERM)
        code, lines = bridged_wg.seen(process)["waits"]
    assert code == 125
    assert "deadline" in lines[-1]
    assert bridged_wg.nothing_is_left()


def test_mirror_that_is_old_is_refused(project: Project) -> None:
    """When the manifest has changed since, the shim refuses and names the command that mends it."""
    project.add("one", "exit 0")
    project.bridge()
    project.add("two", "exit 0")

    code, lines = project.gate()["one"]

    assert code == 125
    assert "no longer mirrors" in lines[0]
    assert lines[1].startswith("try: isosmoke bridge --manifest ")
