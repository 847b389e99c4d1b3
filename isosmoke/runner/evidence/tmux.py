"""The capture of tmux panes in a sandbox, by probes (tmux(1), `capture-pane`)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import PurePosixPath
from time import monotonic

from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineError
from isosmoke.keeper.client import Conversation
from isosmoke.results.evidence import Evidence, Pane, decode_text
from isosmoke.sandbox.survivors import Process

MAX_PANES = 16
"""The maximum number of panes, of all servers in total."""

LINES = 200
"""The maximum number of last lines that are captured of a pane."""

SECONDS = 3.0
"""The timeout for all servers in total, in seconds."""

_MAX_WIDTH = 2000
"""The maximum length of a line; longer lines are omitted, as part of a secret is not redacted."""

_FORMAT = "#{pane_id} #{pane_pid} #{session_name}:#{window_index}.#{pane_index}"
_PANE = re.compile(r"(?P<id>%\d+) (?P<pid>\d+) (?P<name>.*)")


class _IncompleteError(Exception):
    """A server whose panes are incomplete, with the reason."""


@dataclass(frozen=True, slots=True)
class Server:
    """A tmux server: its program and its socket, as the sandbox names them."""

    program: str
    socket: str
    stopped: bool = False


def find_servers(processes: Iterable[Process]) -> tuple[Server, ...]:
    """Return the tmux servers among these processes."""
    return tuple(
        Server(process.exe, address.removeprefix("unix "), process.state in "Tt")
        for process in processes
        if PurePosixPath(process.exe).name == "tmux"
        for address in process.listens
        if address.startswith("unix /")
    )


def capture_panes(
    keeper: Conversation,
    servers: Iterable[Server],
    environment: Mapping[str, str],
    *,
    seconds: float = SECONDS,
) -> Evidence:
    """Return the panes of these servers, whose processes must not be frozen."""
    reader = _PaneReader(keeper, environment, monotonic() + seconds)
    missing = []
    for server in servers:
        try:
            reader.read(server)
        except _IncompleteError as error:
            missing.append(f"the panes of tmux at {server.socket}: {error}")
    return Evidence(panes=tuple(reader.panes), missing=tuple(missing))


@dataclass(slots=True)
class _PaneReader:
    """A reader of the panes of servers, until a deadline."""

    keeper: Conversation
    environment: Mapping[str, str]
    deadline: float
    panes: list[Pane] = field(default_factory=list)

    def read(self, server: Server) -> None:
        """Add the panes of a server.

        Raises:
            _IncompleteError: if a pane is missing.
        """
        if server.stopped:
            raise _IncompleteError("it is stopped")
        listed = self._run(server, "list-panes", "-a", "-F", _FORMAT).splitlines()
        remaining = MAX_PANES - len(self.panes)
        for pane in filter(None, map(_PANE.fullmatch, listed[:remaining])):
            self.panes.append(self._capture(server, pane))
        if len(listed) > remaining:
            raise _IncompleteError(f"{len(listed) - remaining} more than {MAX_PANES} were omitted")

    def _capture(self, server: Server, pane: re.Match[str]) -> Pane:
        """Return the screen and the scrollback; `-J` joins the parts of a wrapped line."""
        scrolled = ("-J", "-S", f"-{LINES}")
        content = self._run(server, "capture-pane", "-p", *scrolled, "-t", pane["id"])
        lines = tuple(map(_limit_width, content.rstrip().split("\n")[-LINES:]))
        return Pane(server=server.socket, name=pane["name"], pid=int(pane["pid"]), lines=lines)

    def _run(self, server: Server, *args: str) -> str:
        command = (server.program, "-u", "-S", server.socket, *args)
        remaining = max(0.0, self.deadline - monotonic())
        try:
            status, content = self.keeper.probe(
                command, PurePosixPath("/"), self.environment, remaining
            )
        except EngineError as error:
            raise _IncompleteError(str(error)) from error
        output = decode_text(content) or ""
        if status is None:
            raise _IncompleteError("it did not respond in time")
        if status:
            raise _IncompleteError(" ".join(output.split()) or "it printed no error")
        return output


def _limit_width(line: str) -> str:
    return line if len(line) <= _MAX_WIDTH else f"[line of {len(line)} characters omitted]"
