"""The script of a scenario, made of the commands that a user typed in a shell (pure)."""

import re
from collections.abc import Iterator

from isosmoke.manifest.models import Scenario

_TIME = re.compile(r"^#\d+$", re.MULTILINE)
"""The line that bash writes before each command if HISTTIMEFORMAT is set (bash(1), HISTORY)."""

_EXIT = re.compile(r"(?:exit|logout)\s*")

_SCRIPT = """\
#!/usr/bin/env bash
# Protects: {assertion}
# Typed in `isosmoke repro`, in a single shell. As there, the script continues after a command that
# fails, and its exit code is the status of its last command.

"""


def parse_history(history: str) -> tuple[str, ...]:
    """Return the commands of a bash history with times, without a bare `exit` at the end."""
    commands = [command.strip("\n") for command in _TIME.split(history)]
    return tuple(_remove_exit([command for command in commands if command.strip()]))


def parse_piped(text: str) -> tuple[str, ...]:
    """Return piped input as a single command, because only the shell knows where a command ends."""
    return (text.rstrip("\n"),) if text.strip() else ()


def _remove_exit(commands: list[str]) -> Iterator[str]:
    last = len(commands) - 1
    for number, command in enumerate(commands):
        if number < last or not _EXIT.fullmatch(command):
            yield command


def render_script(scenario: Scenario, commands: tuple[str, ...]) -> str:
    """Return a script that repeats the typed commands."""
    head = _SCRIPT.format(assertion=scenario.assertion)
    return head + "".join(f"{command}\n" for command in commands)
