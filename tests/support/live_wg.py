"""A real, unmodified wg in a scratch project, whose task needs only its gate to be completed."""

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
    "isosmoke done --dir": 'cd / && "$PYTHON" -m isosmoke done --dir "$OLDPWD" "$0"',
    "wg done, shim": (
        'mkdir -p ../real && ln -sf "$WG" ../real/wg && PATH=$PWD/../real:$PATH'
        ' && eval "$("$PYTHON" -m isosmoke shim install)" && wg done "$0"'
    ),
    "wg done, bridged": 'eval "$("$PYTHON" -m isosmoke bridge)" && "$WG" done "$0"',
}


@dataclass(frozen=True, slots=True)
class Project:
    """A scratch project of a real wg."""

    top: Path
    wg: Path

    def shell(self, line: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a line of shell in the project, as a user without any configuration."""
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
            ["bash", "-c", line, *arguments],
            cwd=self.top,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def add_scenarios(self, owner: str, **scripts: str) -> None:
        """Add scenarios that cover a task, by name."""
        directory = self.top / "tests" / "smoke"
        directory.mkdir(parents=True)
        text = ""
        for name, script in scripts.items():
            (directory / f"{name}.sh").write_text(f"{script}\n")
            text += f"[[scenario]]\nname = '{name}'\nscript = '{name}.sh'\nowners = ['{owner}']\n"
        (directory / "manifest.toml").write_text(text)

    def status(self, task: str) -> str:
        """Return the status of a task in the graph."""
        lines = (self.top / ".wg" / "graph.jsonl").read_text().splitlines()
        (row,) = [row for row in map(json.loads, lines) if row.get("id") == task]
        return str(row["status"])


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
"""A shell script that does what wg wants before `wg done`: a reviewed and accepted candidate."""


def create_project(directory: Path) -> Project:
    """Create a project with the task `task` in an empty directory, or skip the test without wg."""
    project = Project(directory / "project", available.require_wg())
    for path in (project.top, directory / "home", directory / "bin"):
        path.mkdir()
    (directory / "bin" / "pi").write_text(REVIEWER)
    (directory / "bin" / "pi").chmod(0o755)
    process = project.shell('git init -q -b main && "$WG" init && "$WG" add Task --id task')
    assert process.returncode == 0, process.stderr
    return project


def make_finishable(project: Project) -> None:
    """Take the steps before `wg done` that this revision requires, or skip the test."""
    plain = project.shell('"$WG" add Plain --id plain && "$WG" done plain')
    if plain.returncode == 0:
        return
    submitted = project.shell(f"set -e; {SUBMITTED}")
    if submitted.returncode != 0:
        reason = f"{plain.stderr.strip()}; {submitted.stderr.strip()}"
        pytest.skip(f"{project.wg} cannot finish a task here: {reason}")


def require_gate(project: Project, way: str, stderr: str) -> None:
    """Skip the test if this `wg done` requests no smoke scenario."""
    if way == "wg done, bridged" and "Smoke gate" not in stderr:
        pytest.skip(f"{project.wg}: its `wg done` requests no scenario; use `isosmoke done`")
