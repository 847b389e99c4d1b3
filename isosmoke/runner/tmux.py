"""What the terminals of tmux servers show, asked of each by a probe: tmux(1), `capture-pane`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from time import monotonic

from isosmoke.errors import EngineError
from isosmoke.keeper.client import Conversation
from isosmoke.results.evidence import Evidence, Pane, text
from isosmoke.sandbox.processes import Process

MOST = 16
"""How many panes are looked at, of all servers together."""

LINES = 200
"""How many of a pane's last lines are kept."""

SECONDS = 3.0
"""How long all of that may take."""

_WIDEST = 2000
"""How many characters a line may have; it is kept or left out, for half a secret is not known."""

_FORMAT = "#{pane_id} #{pane_pid} #{session_name}:#{window_index}.#{pane_index}"
_PANE = re.compile(r"(?P<id>%\d+) (?P<pid>\d+) (?P<name>.*)")


class _NotToldError(Exception):
    """A server did not tell all, and why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A tmux server: its program and its socket, as the sandbox names them."""

    program: str
    socket: str
    stopped: bool = False


def servers(processes: Iterable[Process]) -> tuple[Server, ...]:
    """The tmux servers among these processes."""
    return tuple(
        Server(one.exe, address.removeprefix("unix "), one.state in "Tt")
        for one in processes
        if PurePosixPath(one.exe).name == "tmux"
        for address in one.listens
        if address.startswith("unix /")
    )


def shown(
    keeper: Conversation,
    found: Iterable[Server],
    environment: Mapping[str, str],
    *,
    seconds: float = SECONDS,
) -> Evidence:
    """The panes of these servers, while their sandbox is still alive."""
    look = _Look(keeper, environment, monotonic() + seconds)
    missing = []
    for server in found:
        try:
            look.at(server)
        except _NotToldError as error:
            missing.append(f"the panes of tmux at {server.socket}: {error}")
    return Evidence(panes=tuple(look.panes), missing=tuple(missing))


@dataclass(slots=True)
class _Look:
    """One look at the panes of some servers."""

    keeper: Conversation
    environment: Mapping[str, str]
    deadline: float
    panes: list[Pane] = field(default_factory=list)

    def at(self, server: Server) -> None:
        """Take over what its panes show; `_NotToldError` where that is not all."""
        if server.stopped:
            raise _NotToldError("it is stopped")
        listed = self._told(server, "list-panes", "-a", "-F", _FORMAT).splitlines()
        room = MOST - len(self.panes)
        for pane in filter(None, map(_PANE.fullmatch, listed[:room])):
            self.panes.append(self._pane(server, pane))
        if len(listed) > room:
            raise _NotToldError(f"{len(listed) - room} more than {MOST} are left out")

    def _pane(self, server: Server, pane: re.Match[str]) -> Pane:
        """Its screen and what scrolled out of it: `-J` joins the parts of a wrapped line."""
        scrolled = ("-J", "-S", f"-{LINES}")
        content = self._told(server, "capture-pane", "-p", *scrolled, "-t", pane["id"])
        lines = tuple(_fitting(one) for one in content.rstrip().split("\n")[-LINES:])
        return Pane(server=server.socket, name=pane["name"], pid=int(pane["pid"]), lines=lines)

    def _told(self, server: Server, *words: str) -> str:
        command = (server.program, "-u", "-S", server.socket, *words)
        left = max(0.0, self.deadline - monotonic())
        try:
            status, printed = self.keeper.probe(command, PurePosixPath("/"), self.environment, left)
        except EngineError as error:
            raise _NotToldError(str(error)) from error
        told = text(printed) or ""
        if status is None:
            raise _NotToldError("it did not answer in time")
        if status:
            raise _NotToldError(" ".join(told.split()) or "it told nothing")
        return told


def _fitting(line: str) -> str:
    return line if len(line) <= _WIDEST else f"[a line of {len(line)} characters]"
