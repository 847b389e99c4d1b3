"""A real wg, as it is, in a scratch project: what it refuses, what it lets by, what the graph says.

wg is the one that `ISOSMOKE_WG` names, else that on PATH. What its revision cannot do is a loud
skip in its own words: today's `wg done` finishes no plain task, and asks no scenario at all.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import available

WAYS = {
    "isosmoke done": '"$PYTHON" -m isosmoke done "$0"',
    "wg done, bridged": 'eval "$("$PYTHON" -m isosmoke bridge)" && "$WG" done "$0"',
}


@dataclass(frozen=True, slots=True)
class Project:
    """A scratch project of a real wg."""

    top: Path
    wg: Path

    def shell(self, line: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a line of shell in the project, as a user who has nothing set up."""
        environment = {
            "PATH": f"{self.top.parent / 'bin'}:{available.PATH}",
            "HOME": str(self.top.parent / "home"),
            "ISOSMOKE_STATE": os.environ["ISOSMOKE_STATE"],
            "ISOSMOKE_WG": str(self.wg),
            "WG": str(self.wg),
            "PYTHON": sys.executable,
            "RUST_BACKTRACE": "0",
        }
        return subprocess.run(
            ["bash", "-c", line, *words],
            cwd=self.top,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def own(self, owner: str, **scripts: str) -> None:
        """Scenarios that guard a task, by name."""
        folder = self.top / "tests" / "smoke"
        folder.mkdir(parents=True)
        text = ""
        for name, script in scripts.items():
            (folder / f"{name}.sh").write_text(f"{script}\n")
            text += f"[[scenario]]\nname = '{name}'\nscript = '{name}.sh'\nowners = ['{owner}']\n"
        (folder / "manifest.toml").write_text(text)

    def status(self, task: str) -> str:
        """What the graph says of a task."""
        lines = (self.top / ".wg" / "graph.jsonl").read_text().splitlines()
        (found,) = [one for one in map(json.loads, lines) if one.get("id") == task]
        return str(found["status"])


REVIEWER = """#!/bin/sh
cat >/dev/null
printf '%s\\n' '{"type": "turn_end", "message": {"role": "assistant", "content": [{"type": "text",
"text": "{\\"verdict\\": \\"pass\\", \\"findings\\": []}"}], "provider": "test", "model": "fake",
"stopReason": "stop", "usage": {"input": 1, "output": 1}}}' | tr -d '\\n'
"""
"""A reviewer that today's wg calls as `pi`: it accepts every candidate."""

SUBMITTED = """
git -c user.name=test -c user.email=test@isosmoke.invalid commit -q --allow-empty -m base
for role in reviewer evaluator; do
    "$WG" config --local --set-model $role pi:test:fake --set-reasoning $role low --no-reload
done
"$WG" contract task report && "$WG" publish task --only && "$WG" claim task
echo report >report.txt
"$WG" completion-object report.txt --media-type text/plain >output.json
"$WG" completion-object report.txt --media-type text/plain --evidence-kind validation >proof.json
"$WG" completion-manifest task --summary report.txt \\
    --output-ref output.json --evidence-ref proof.json >candidate.json
"$WG" submit task --manifest candidate.json --summary report.txt
"""
"""What today's wg wants before `wg done`: a candidate, reviewed and accepted."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose task `task` wants nothing more than its gate to be done."""
    available.engine("bubblewrap")
    made = Project(tmp_path / "project", available.wg())
    for folder in (made.top, tmp_path / "home", tmp_path / "bin"):
        folder.mkdir()
    (tmp_path / "bin" / "pi").write_text(REVIEWER)
    (tmp_path / "bin" / "pi").chmod(0o755)
    begun = made.shell('git init -q -b main && "$WG" init && "$WG" add Task --id task')
    assert begun.returncode == 0, begun.stderr
    _make_finishable(made)
    return made


def _make_finishable(project: Project) -> None:
    """Nothing where a plain task can be finished; else all that comes before, or a loud skip."""
    plain = project.shell('"$WG" add Plain --id plain && "$WG" done plain')
    if plain.returncode == 0:
        return
    submitted = project.shell(f"set -e; {SUBMITTED}")
    if submitted.returncode != 0:
        told = f"{plain.stderr.strip()}; {submitted.stderr.strip()}"
        pytest.skip(f"{project.wg} cannot finish a task here: {told}")


@pytest.mark.parametrize("way", WAYS)
def test_done_blocks_when_smoke_scenario_fails(project: Project, way: str) -> None:
    """With one broken scenario it is refused by name, and the graph does not say done."""
    project.own("task", holds="exit 0", breaks="echo 'reason: it broke' >&2; exit 3")
    before = project.status("task")

    done = project.shell(WAYS[way], "task")

    _has_a_gate(project, way, done.stderr)
    assert done.returncode == 1
    assert "FAIL breaks: exit 3: it broke" in done.stderr
    assert project.status("task") == before != "done"


@pytest.mark.parametrize("way", WAYS)
def test_done_succeeds_when_all_owned_scenarios_pass(project: Project, way: str) -> None:
    """With all that it owns passing, in sandboxes, the task is done in the graph."""
    project.own("task", one="test ! -e ~/.local", two="exit 0", three="exit 0")

    done = project.shell(WAYS[way], "task")

    _has_a_gate(project, way, done.stderr)
    assert done.returncode == 0, done.stderr
    assert project.status("task") == "done"


@pytest.mark.parametrize("way", WAYS)
def test_done_blocks_when_a_process_is_left(project: Project, way: str) -> None:
    """A scenario that passes and leaves a supervisor is refused, and the process is named."""
    project.own("task", leaves="setsid sleep 987 & exit 0")

    done = project.shell(WAYS[way], "task")

    _has_a_gate(project, way, done.stderr)
    assert done.returncode == 1
    assert "left 1 process: sleep 987" in done.stderr
    assert project.status("task") != "done"


@pytest.mark.parametrize("code", [0, 3])
def test_gate_of_the_board_is_bridged(project: Project, code: int) -> None:
    """`wg user archive` goes through wg's own gate in every revision: it asks the bridge."""
    project.own(".user-tester-0", guards=f"exit {code}")
    line = (
        'eval "$("$PYTHON" -m isosmoke bridge)"; "$WG" user init tester; "$WG" user archive tester'
    )

    done = project.shell(line)

    assert "Smoke gate: running 1 scenario(s)" in done.stderr
    assert (done.returncode == 0) == (code == 0), done.stderr
    assert ("FAIL guards: exit 3" in done.stderr) == (code == 3)
    assert (project.status(".user-tester-0") == "done") == (code == 0)


def _has_a_gate(project: Project, way: str, told: str) -> None:
    """Today's `wg done` reads no smoke manifest, so nothing that one says can keep it from done."""
    if way != "isosmoke done" and "Smoke gate" not in told:
        pytest.skip(f"{project.wg}: its `wg done` asks no scenario; `isosmoke done` gates it")
