"""A real, unmodified wg in a scratch project: refused and accepted tasks, and their status.

The wg is that of `ISOSMOKE_WG`, else the one on PATH. A test is skipped with a reason if this
revision lacks a feature: the current `wg done` completes no plain task and requests no scenario.
"""

from pathlib import Path

import pytest

from support import available, live_wg
from support.live_wg import WAYS, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose task `task` needs only its gate to be completed."""
    available.require_engine("bubblewrap")
    project = live_wg.create_project(tmp_path)
    live_wg.make_finishable(project)
    return project


@pytest.mark.parametrize("way", WAYS)
def test_done_blocks_when_smoke_scenario_fails(project: Project, way: str) -> None:
    """The failing scenario is named, and the task's status is unchanged."""
    project.add_scenarios("task", holds="exit 0", breaks="echo 'reason: it broke' >&2; exit 3")
    before = project.status("task")

    done = project.shell(WAYS[way], "task")

    live_wg.require_gate(project, way, done.stderr)
    assert done.returncode == 1
    assert "FAIL breaks: exit 3: it broke" in done.stderr
    assert project.status("task") == before != "done"


@pytest.mark.parametrize("way", WAYS)
def test_done_succeeds_when_all_owned_scenarios_pass(project: Project, way: str) -> None:
    """The scenarios run in sandboxes, and the task is done in the graph."""
    project.add_scenarios("task", one="test ! -e ~/.local", two="exit 0", three="exit 0")

    done = project.shell(WAYS[way], "task")

    live_wg.require_gate(project, way, done.stderr)
    assert done.returncode == 0, done.stderr
    assert project.status("task") == "done"


@pytest.mark.parametrize("way", WAYS)
def test_done_blocks_when_a_process_leaks(project: Project, way: str) -> None:
    """A scenario that passes but leaks a process is refused, and the process is named."""
    project.add_scenarios("task", leaves="setsid sleep 987 & exit 0")

    done = project.shell(WAYS[way], "task")

    live_wg.require_gate(project, way, done.stderr)
    assert done.returncode == 1
    assert "left 1 process: sleep 987" in done.stderr
    assert project.status("task") != "done"


@pytest.mark.parametrize("code", [0, 3])
def test_gate_of_the_board_is_bridged(project: Project, code: int) -> None:
    """`wg user archive` uses wg's own gate in every revision, and it uses the bridge."""
    project.add_scenarios(".user-tester-0", guards=f"exit {code}")
    line = (
        'eval "$("$PYTHON" -m isosmoke bridge)"; "$WG" user init tester; "$WG" user archive tester'
    )

    done = project.shell(line)

    assert "Smoke gate: running 1 scenario(s)" in done.stderr
    assert (done.returncode == 0) == (code == 0), done.stderr
    assert ("FAIL guards: exit 3" in done.stderr) == (code == 3)
    assert (project.status(".user-tester-0") == "done") == (code == 0)
