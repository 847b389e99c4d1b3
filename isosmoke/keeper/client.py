"""The runner's client for one keeper: it sends commands and waits for events."""

import os
import select
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from time import monotonic
from typing import Protocol, TypeVar

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import procfs, protocol
from isosmoke.keeper.deadline import SLICE_SECONDS, Deadline
from isosmoke.keeper.protocol import Event, Output
from isosmoke.sandbox.processes import Process, Usage, name_processes

ANSWER_SECONDS = 30.0
"""The time limit for answers that do not depend on the script."""

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""The exit codes of a command that cannot be executed, as in a shell (POSIX.1-2024, 2.8.2)."""

PROBE_BYTES = 1 << 20
"""The maximum output of a probe that is returned."""

Wanted = TypeVar("Wanted", bound=Event)


class Channel(Protocol):
    """A duplex byte stream to a keeper."""

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""

    def read(self) -> bytes:
        """Return the available bytes, at least one; empty bytes at the end of the stream."""

    def write_fileno(self) -> int:
        """Return the descriptor to poll for writing."""

    def write(self, content: bytes) -> int:
        """Send as much as possible without waiting, and return the number of bytes.

        Raises:
            EngineError: if the other end is closed.
        """


class InputFeed(Protocol):
    """Input for the script, which is sent while the script runs."""

    def list_sources(self) -> Collection[int]:
        """Return the descriptors to wait for."""

    def handle(self, event: "protocol.InputAccepted | protocol.InputClosed") -> None:
        """Note that the script accepted input, or that it accepts no more."""

    def forward(self, readable: Collection[int]) -> None:
        """Send what is available on the readable descriptors."""


class KeeperGoneError(EngineError):
    """The channel ended before the scenario did."""


class BrokenError(EngineError):
    """The keeper reported an error; `reason` is its text."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the sandbox could not continue: {reason}")
        self.reason = reason


class RefusedError(EngineError):
    """The keeper could not start a process; the sandbox is unchanged."""


class StoppedError(Exception):
    """The run was interrupted while it waited for a keeper."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """The living processes, the contents of `/proc/net/*` by table, and the uptime in seconds."""

    processes: Sequence[protocol.Survivor]
    tables: Mapping[str, bytes]
    uptime: float


class Conversation:
    """A conversation with one keeper; the script's output is passed to `sink` meanwhile.

    Each method raises `EngineError` if the keeper breaks or does not answer, and `StoppedError`
    if `interrupt` is raised. Time in which isosmoke is stopped does not count as waiting.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        sink: Callable[[Output], object],
        interrupt: Interrupt,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._channel = channel
        self._sink = sink
        self._interrupt = interrupt
        self._clock = clock
        self._decoder = protocol.Decoder()
        self._events: deque[Event] = deque()
        self._endings: list[Event] = []

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until the keeper is ready; raise `EngineError` if it is not within `seconds`."""
        event = self._wait(protocol.Ready, seconds)
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
            return self._attend(source, Deadline(seconds, self._clock))
        event = self._wait(protocol.ScriptExited, seconds)
        return None if event is None else event.status

    def _attend(self, source: InputFeed, deadline: Deadline) -> int | None:
        wanted = (protocol.ScriptExited, protocol.InputAccepted, protocol.InputClosed)
        while True:
            remaining = deadline.look()
            sources = source.list_sources() if remaining else ()
            wait = min(remaining, SLICE_SECONDS)
            event, readable = self.wait_for_event(wanted, sources, wait)
            match event:
                case protocol.ScriptExited(status):
                    return status
                case protocol.InputAccepted() | protocol.InputClosed():
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
        self._sink(Output("stderr", f"{error.reason}\n".encode()))
        return status

    def terminate(self) -> None:
        """Send SIGTERM to the script's process group."""
        self.send(protocol.TERM)

    def kill(self) -> None:
        """Send SIGKILL to the script's process group."""
        self.send(protocol.KILL)

    def wait_until_empty(self, seconds: float) -> bool:
        """Return whether every process ends within `seconds`, as soon as the last one has."""
        return self._wait(protocol.Empty, seconds) is not None

    def list_processes(self) -> tuple[Process, ...]:
        """Return the living processes without freezing them."""
        listing = self._list()
        with _invalid_messages():
            return _describe(listing, _parse_states(listing))

    def freeze_survivors(self) -> tuple[Process, ...]:
        """Freeze the living processes, and return them with the states from before the freeze."""
        earlier = self._list()
        self.send(protocol.FREEZE)
        if not self._wait_for_answer(protocol.Frozen).still:
            raise EngineError(
                "leftover processes of the scenario could not be stopped: "
                + name_processes(self.list_processes())
            )
        frozen = self._list()
        with _invalid_messages():
            return _describe(frozen, _parse_states(earlier))

    def thaw(self) -> None:
        """Resume all frozen processes."""
        self.send(protocol.THAW)
        self._wait_for_answer(protocol.Thawed)

    def read_usage(self) -> Usage:
        """Return the resource usage of the script and of all other ended processes."""
        self.send(protocol.USAGE)
        return self._wait_for_answer(protocol.UsageReport).usage

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
        deadline = Deadline(seconds, self._clock)
        wanted = (protocol.ProbeOutput, protocol.Probed, protocol.Refused)
        while deadline.look():  # even if its output never ends
            match self._wait_until(wanted, deadline):
                case protocol.ProbeOutput(content):
                    output += content[: PROBE_BYTES - len(output)]
                case protocol.Probed(status):
                    return status
                case protocol.Refused(message):
                    raise RefusedError(message)
                case _:
                    break
        return None

    def send(self, command: bytes) -> None:
        """Send a command, and receive events meanwhile so that neither end blocks forever.

        Raises:
            EngineError: if the keeper does not read it in time.
        """
        deadline = Deadline(ANSWER_SECONDS, self._clock)
        while command := command[self._channel.write(command) :]:
            self._wait_until_writable(deadline)

    def _wait_until_writable(self, deadline: Deadline) -> None:
        """Wait for at most a slice of time; return early if an event was received."""
        source, target = self._channel.fileno(), self._channel.write_fileno()
        wanted = {target: select.POLLOUT}
        wanted[source] = wanted.get(source, 0) | select.POLLIN
        remaining = deadline.look()
        polled = self._poll(min(remaining, SLICE_SECONDS), wanted)
        if not polled and not remaining:
            raise EngineError(f"the keeper read nothing within {ANSWER_SECONDS:g} s")
        if polled.get(source, 0) & ~select.POLLOUT:
            self._events.extend(self._receive())

    def wait_for_event(
        self,
        wanted: tuple[type[Wanted], ...],
        others: Collection[int],
        seconds: float | None = None,
    ) -> tuple[Wanted | None, Collection[int]]:
        """Wait for one of `wanted` or for a readable descriptor of `others`, and return both.

        It waits at most `seconds`; None is no limit.
        """
        event = self._pop(wanted)
        if event is not None:
            return event, ()
        readable = self._find_readable(seconds, others)
        if self._channel.fileno() in readable:
            self._events.extend(self._receive())
        return self._pop(wanted), readable & set(others)

    def _list(self) -> "_Listing":
        self.send(protocol.LIST)
        survivors: list[protocol.Survivor] = []
        tables: dict[str, bytes] = {}
        while True:
            match self._wait_for_answer(protocol.Survivor, protocol.Sockets, protocol.Listed):
                case protocol.Survivor() as survivor if survivor.stat:
                    survivors.append(survivor)  # without a stat line, it ended while it was read
                case protocol.Sockets(table, content):
                    tables[table] = tables.get(table, b"") + content
                case protocol.Listed(uptime):
                    return _Listing(survivors, tables, uptime)
                case _:
                    pass

    def _wait_for_answer(self, *wanted: type[Wanted]) -> Wanted:
        event = self._wait(wanted, ANSWER_SECONDS)
        if event is None:
            raise EngineError(f"the keeper did not answer within {ANSWER_SECONDS:g} s")
        return event

    def _wait(
        self, wanted: type[Wanted] | tuple[type[Wanted], ...], seconds: float
    ) -> Wanted | None:
        """Return the next of `wanted`; None if none arrives within `seconds`."""
        return self._wait_until(wanted, Deadline(seconds, self._clock))

    def _wait_until(
        self, wanted: type[Wanted] | tuple[type[Wanted], ...], deadline: Deadline
    ) -> Wanted | None:
        """Return the next of `wanted`; None if none arrives by the deadline.

        An event that arrived by the deadline counts, even if it is read later.
        """
        while True:
            event = self._pop(wanted)
            if event is not None:
                return event
            remaining = deadline.look()
            if self._find_readable(min(remaining, SLICE_SECONDS)):
                self._events.extend(self._receive())
            if not remaining:
                return self._pop(wanted)

    def _pop(self, wanted: type[Wanted] | tuple[type[Wanted], ...]) -> Wanted | None:
        """Return the next received event of `wanted`, and handle the events before it.

        The script may end during another request. Its ending is then kept for a later call.
        """
        for ending in self._endings:
            if isinstance(ending, wanted):
                self._endings.remove(ending)
                return ending
        while self._events:
            event = self._events.popleft()
            if isinstance(event, wanted):
                return event
            self._handle(event)
        return None

    def _handle(self, event: Event) -> None:
        match event:
            case Output():
                self._sink(event)
            case protocol.Broken(message):
                raise BrokenError(message)
            case protocol.ScriptExited() | protocol.Empty():
                self._endings.append(event)
            case _:
                pass

    def _find_readable(self, seconds: float | None, others: Collection[int] = ()) -> set[int]:
        """Return the readable descriptors among the channel and `others`; wait at most `seconds`.

        None means no time limit.
        """
        readable = dict.fromkeys((self._channel.fileno(), *others), select.POLLIN)
        return set(self._poll(seconds, readable))

    def _poll(self, seconds: float | None, wanted: Mapping[int, int]) -> Mapping[int, int]:
        """Return the poll events that occur within `seconds`, by descriptor."""
        poll = select.poll()
        for fd, events in {**wanted, self._interrupt.fileno(): select.POLLIN}.items():
            poll.register(fd, events)
        polled = dict(poll.poll(None if seconds is None else seconds * 1000))
        if self._interrupt.fileno() in polled:
            raise StoppedError(self._interrupt.reason)
        return polled

    def _receive(self) -> list[Event]:
        content = self._channel.read()
        if not content:
            raise KeeperGoneError("the sandbox ended before the scenario did")
        with _invalid_messages():
            return list(self._decoder.feed(content))


@contextmanager
def _invalid_messages() -> Iterator[None]:
    """Raise `EngineError` for what no keeper sends, and for text in it that no kernel prints."""
    try:
        yield
    except (protocol.ProtocolError, *procfs.INVALID) as error:
        raise EngineError(f"the keeper sent an invalid message: {error}") from error


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
