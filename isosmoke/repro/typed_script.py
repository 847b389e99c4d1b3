"""What somebody typed in a shell, as the script of a scenario (pure)."""

import re
from collections.abc import Iterator

from isosmoke.manifest.models import Scenario

_TIME = re.compile(r"^#\d+$", re.MULTILINE)
"""The line that bash writes before each command where HISTTIMEFORMAT is set (bash(1), HISTORY)."""

_LEAVING = re.compile(r"(?:exit|logout)\s*")

_SCRIPT = """\
#!/usr/bin/env bash
# Protects: {assertion}
# Typed in `isosmoke repro`, in one shell: like there it goes on after a command that fails, and its
# last command's status is its own.

"""


def commands(history: str) -> tuple[str, ...]:
    """The commands of a bash history with times, in order, without the bare `exit` at its end."""
    typed = [one.strip("\n") for one in _TIME.split(history)]
    return tuple(_without_exit([one for one in typed if one.strip()]))


def lines(text: str) -> tuple[str, ...]:
    """What came from a pipe, whole: only the shell knows where a command ends."""
    return (text.rstrip("\n"),) if text.strip() else ()


def _without_exit(typed: list[str]) -> Iterator[str]:
    last = len(typed) - 1
    yield from (one for at, one in enumerate(typed) if at < last or not _LEAVING.fullmatch(one))


def script(scenario: Scenario, typed: tuple[str, ...]) -> str:
    """A script that does again what was typed."""
    head = _SCRIPT.format(assertion=scenario.assertion)
    return head + "".join(f"{one}\n" for one in typed)
