"""The runner's client for one keeper: it sends commands and waits for events."""

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineError
from isosmoke.keeper import events, procfs, protocol
from isosmoke.keeper.events import Output
from isosmoke.keeper.exchange import (
    ANSWER_SECONDS,
    BrokenError,
    Exchange,
    InputFeed,
    RefusedError,
    invalid_messages,
)
from isosmoke.keeper.running_time_deadline import SLICE_SECONDS, Deadline
from isosmoke.sandbox.survivors import Process, Usage, name_processes

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""The exit codes of a command that cannot be executed, as in a shell (POSIX.1-2024, 2.8.2)."""

PROBE_BYTES = 1 << 20
"""The maximum output of a probe that is returned."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """The living processes, the contents of `/proc/net/*` by table, and the uptime in seconds."""

    processes: Sequence[events.Survivor]
    tables: Mapping[str, bytes]
    uptime: float


class Conversation(Exchange):
    """A conversation with one keeper; the script's output is passed to `sink` meanwhile.

    Each method raises `EngineError` if the keeper breaks or does not answer, and `StoppedError`
    if `interrupt` is raised. Time in which isosmoke is stopped does not count as waiting.
    """

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until the keeper is ready; raise `EngineError` if it is not within `seconds`."""
        event = self.wait(events.Ready, seconds)
        if event is None:
            raise EngineError(f"the sandbox did not start within {seconds:g} s")
        if event.version != protocol.VERSION:
            raise EngineError(
                f"the keeper has protocol version {event.version}, but isosmoke has version "
                f"{protocol.VERSION}",
                hint="build isosmoke again",
            )

    def start_script(  # noqa: PLR0913 - a field of the frame each
        self,
        argv: Sequence[str],
        folder: PurePosixPath,
        environment: Mapping[str, str],
        *,
        processes: int | None,
        open_files: int | None,
        search: str = "",
        plan: protocol.StreamPlan = protocol.SEPARATE,
    ) -> None:
        """Start the script; if `search` is given, the program is looked up in its directories."""
        self.send(
            protocol.encode_go(
                argv,
                folder,
                environment,
                processes=processes,
                open_files=open_files,
                search=search,
                plan=plan,
            )
        )

    def wait_for_exit(self, seconds: float, source: InputFeed | None = None) -> int | None:
        """Wait for the script, and return its raw wait status; None if it runs after `seconds`.

        Input of the `source` is sent meanwhile.
        """
        if source is not None:
            return self._attend(source, Deadline(seconds, self.clock))
        event = self.wait(events.ScriptExited, seconds)
        return None if event is None else event.status

    def _attend(self, source: InputFeed, deadline: Deadline) -> int | None:
        wanted = (events.ScriptExited, events.InputAccepted, events.InputClosed)
        while True:
            remaining = deadline.look()
            sources = source.list_sources() if remaining else ()
            wait = min(remaining, SLICE_SECONDS)
            event, readable = self.wait_for_event(wanted, sources, wait)
            match event:
                case events.ScriptExited(status):
                    return status
                case events.InputAccepted() | events.InputClosed():
                    source.handle(event)
                case None if not remaining:
                    return None
            source.forward(readable)

    def wait_for_unexecuted(self, error: BrokenError) -> int:
        """Wait for the exit of a command after an error, and return its raw wait status.

        The status is that of a shell: 127 if there is no such program, and 126 if it cannot be
        executed. The reason becomes part of the command's stderr.

        Raises:
            BrokenError: the error itself, if it has another cause.
        """
        try:
            status = self.wait_for_exit(ANSWER_SECONDS)
        except EngineError:
            raise error from None
        if status is None or os.waitstatus_to_exitcode(status) not in (NOT_EXECUTABLE, NOT_FOUND):
            raise error
        self.sink(Output("stderr", f"{error.reason}\n".encode()))
        return status

    def terminate(self) -> None:
        """Send SIGTERM to the script's process group."""
        self.send(protocol.TERM)

    def kill(self) -> None:
        """Send SIGKILL to the script's process group."""
        self.send(protocol.KILL)

    def wait_until_empty(self, seconds: float) -> bool:
        """Return whether every process ends within `seconds`, as soon as the last one has."""
        return self.wait(events.Empty, seconds) is not None

    def list_processes(self) -> tuple[Process, ...]:
        """Return the living processes without freezing them."""
        listing = self._list()
        with invalid_messages():
            return _describe(listing, _parse_states(listing))

    def freeze_survivors(self) -> tuple[Process, ...]:
        """Freeze the living processes, and return them with the states from before the freeze."""
        earlier = self._list()
        self.send(protocol.FREEZE)
        if not self.wait_for_answer(events.Frozen).still:
            raise EngineError(
                "leftover processes of the scenario could not be stopped: "
                + name_processes(self.list_processes())
            )
        frozen = self._list()
        with invalid_messages():
            return _describe(frozen, _parse_states(earlier))

    def thaw(self) -> None:
        """Resume all frozen processes."""
        self.send(protocol.THAW)
        self.wait_for_answer(events.Thawed)

    def read_usage(self) -> Usage:
        """Return the resource usage of the script and of all other ended processes."""
        self.send(protocol.USAGE)
        return self.wait_for_answer(events.UsageReport).usage

    def probe(
        self,
        argv: Sequence[str],
        folder: PurePosixPath,
        environment: Mapping[str, str],
        seconds: float,
    ) -> tuple[int | None, bytes]:
        """Run a command alongside the script or after it; return its raw wait status and output.

        It is killed after `seconds`; its status is then None. At most `PROBE_BYTES` of its output
        are returned. When this method returns, all of its processes have ended. It never changes a
        verdict.

        Raises:
            RefusedError: if it cannot be started, for example because of a process limit.
        """
        self.send(protocol.encode_probe(argv, folder, environment))
        output = bytearray()
        status = self._wait_for_probe(output, seconds)
        if status is None:
            self.send(protocol.END_PROBE)
            if self._wait_for_probe(output, ANSWER_SECONDS) is None:
                raise EngineError("the probe outlived SIGKILL")
        return status, bytes(output)

    def _wait_for_probe(self, output: bytearray, seconds: float) -> int | None:
        deadline = Deadline(seconds, self.clock)
        wanted = (events.ProbeOutput, events.Probed, events.Refused)
        while deadline.look():  # even if its output never ends
            match self.wait_until(wanted, deadline):
                case events.ProbeOutput(content):
                    output += content[: PROBE_BYTES - len(output)]
                case events.Probed(status):
                    return status
                case events.Refused(message):
                    raise RefusedError(message)
                case _:
                    break
        return None

    def _list(self) -> "_Listing":
        self.send(protocol.LIST)
        survivors: list[events.Survivor] = []
        tables: dict[str, bytes] = {}
        while True:
            match self.wait_for_answer(events.Survivor, events.Sockets, events.Listed):
                case events.Survivor() as survivor if survivor.stat:
                    survivors.append(survivor)  # without a stat line, it ended while it was read
                case events.Sockets(table, content):
                    tables[table] = tables.get(table, b"") + content
                case events.Listed(uptime):
                    return _Listing(survivors, tables, uptime)
                case _:
                    pass


def _parse_states(listing: _Listing) -> Mapping[int, str]:
    return dict(procfs.parse_pid_and_state(process.stat) for process in listing.processes)


def _describe(listing: _Listing, states: Mapping[int, str]) -> tuple[Process, ...]:
    """Return the listed processes; a process without an earlier state counts as running."""
    accepting = procfs.parse_listeners(listing.tables)
    ticks = os.sysconf("SC_CLK_TCK")
    return tuple(
        procfs.parse_process(
            process,
            uptime=listing.uptime,
            ticks=ticks,
            state=states.get(procfs.parse_pid_and_state(process.stat)[0], "R"),
            accepting=accepting,
        )
        for process in listing.processes
    )
