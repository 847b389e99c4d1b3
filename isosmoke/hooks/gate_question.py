"""Questions to the gate, which a separate process answers.

A hook must block if the gate crashes, hangs or is killed. The gate therefore runs in a process that
the hook watches, and only a complete answer that says "open" is one.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.hooks import trust

_GRACE_SECONDS = 5.0
"""The time that the gate has to end its sandboxes after SIGTERM."""

_MAX_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class GateQuestion:
    """A request to gate a task in a directory; without a task, every scenario must hold.

    `label` names the hook in the records if there is no task.
    """

    directory: Path
    environment: Mapping[str, str]
    label: str
    task: str = ""

    @property
    def subject(self) -> str:
        """The name under which the records have the question."""
        return self.task or self.label


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """The answer of the gate with the lines of its verdict."""

    is_open: bool
    lines: tuple[str, ...]


def ask(question: GateQuestion) -> GateAnswer:
    """Run the gate and return its answer; anything but a complete verdict is shut.

    Raises:
        UsageError: if the user has not trusted the repository. Nothing of it has been run.
    """
    trust.require_trust(question.directory, question.environment)
    process = _start(question)
    try:
        output, errors = process.communicate()
    finally:
        _end(process)
    return _read_answer(process.returncode, output, errors)


def _start(question: GateQuestion) -> "subprocess.Popen[bytes]":
    # -P: do not import from the repository.
    command = [sys.executable, "-P", "-m", "isosmoke", "gate", "--json"]
    everything = [] if question.task else ["--full-smoke"]
    return subprocess.Popen(
        [*command, *everything, "--", question.subject],
        cwd=question.directory,
        env=_without_git_variables(question.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _without_git_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that git sets for a hook (githooks(5))."""
    return {name: value for name, value in environment.items() if not name.startswith("GIT_")}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the gate if it still runs, and its sandboxes with it."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read_answer(code: int, output: bytes, errors: bytes) -> GateAnswer:
    document = _parse(output)
    lines = document.get("lines") if document else None
    if document and isinstance(lines, list) and all(isinstance(line, str) for line in lines):
        is_open = code == 0 and document.get("open") is True
        return GateAnswer(is_open, tuple(lines))
    last = errors.decode(errors="replace").splitlines()[-_MAX_LINES:]
    return GateAnswer(is_open=False, lines=(f"the gate ended with {_describe(code)}", *last))


def _parse(output: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _describe(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code} and no verdict"


def explain(answer: GateAnswer) -> Sequence[str]:
    """Return the lines of an answer, which always say that the gate is shut if it is."""
    if answer.is_open or any(line.startswith("gate: SHUT") for line in answer.lines):
        return answer.lines
    return ("gate: SHUT", *answer.lines)
