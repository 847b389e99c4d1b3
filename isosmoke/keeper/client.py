"""The runner's side of a conversation with one keeper: commands out, the wanted events in."""

import os
import select
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from time import monotonic
from typing import Protocol, TypeVar

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import procfs, protocol
from isosmoke.keeper.protocol import Event, Output
from isosmoke.sandbox.processes import Process, Usage

ANSWER_SECONDS = 30.0
"""How long a keeper may take over anything that does not wait for the script."""

PROBE_BYTES = 1 << 20
"""How much of what a probe prints is kept."""

Wanted = TypeVar("Wanted", bound=Event)


class Channel(Protocol):
    """A duplex byte stream to a keeper."""

    def fileno(self) -> int:
        """What to poll for reading."""

    def read(self) -> bytes:
        """What is there now, at least one byte; nothing at the end."""

    def outlet(self) -> int:
        """What to poll for writing."""

    def write(self, content: bytes) -> int:
        """Send what can be sent now and say how much; `EngineError` when nobody listens."""


class KeeperGoneError(EngineError):
    """The channel ended although the scenario had not."""


class RefusedError(EngineError):
    """The keeper could not start what it was asked to; the sandbox is as it was."""


class StoppedError(Exception):
    """The run was interrupted while a keeper was being waited for."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """What is alive, with the text of `/proc/net/*` by table and the sandbox's clock."""

    processes: Sequence[protocol.Survivor]
    tables: Mapping[str, bytes]
    uptime: float


class Conversation:
    """One keeper, asked in order; whatever the script prints meanwhile goes to `sink`."""

    def __init__(
        self, channel: Channel, *, sink: Callable[[Output], object], interrupt: Interrupt
    ) -> None:
        self._channel = channel
        self._sink = sink
        self._interrupt = interrupt
        self._decoder = protocol.Decoder()
        self._events: deque[Event] = deque()
        self._endings: list[Event] = []

    def ready(self, seconds: float) -> None:
        """Wait for the keeper to be up; `EngineError` when it is not within `seconds`."""
        event = self._wait(protocol.Ready, seconds)
        if event is None:
            raise EngineError(f"the sandbox was not up within {seconds:g} s")
        if event.version != protocol.VERSION:
            raise EngineError(
                f"the keeper speaks version {event.version}, isosmoke {protocol.VERSION}",
                hint="build isosmoke again",
            )

    def go(
        self,
        argv: Sequence[str],
        folder: PurePosixPath,
        environment: Mapping[str, str],
        *,
        processes: int | None,
        open_files: int | None,
        search: str = "",
    ) -> None:
        """Start the script, by a program that is looked for in `search` if that is given."""
        self.send(
            protocol.go(
                argv,
                folder,
                environment,
                processes=processes,
                open_files=open_files,
                search=search,
            )
        )

    def exited(self, seconds: float) -> int | None:
        """The raw wait status of the script, or None when it still runs after `seconds`."""
        event = self._wait(protocol.Exited, seconds)
        return None if event is None else event.status

    def term(self) -> None:
        """Send SIGTERM to the script's process group."""
        self.send(protocol.TERM)

    def kill(self) -> None:
        """Send SIGKILL to the script's process group."""
        self.send(protocol.KILL)

    def empty(self, seconds: float) -> bool:
        """Whether every process is gone within `seconds`; known the moment the last one ends."""
        return self._wait(protocol.Empty, seconds) is not None

    def living(self) -> tuple[Process, ...]:
        """List what is alive, and let it go on."""
        listing = self._list()
        return _described(listing, _states(listing))

    def survivors(self) -> tuple[Process, ...]:
        """Freeze what is left and list it, each process with the state it had before."""
        states = _states(self._list())
        self.send(protocol.FREEZE)
        if not self._answer(protocol.Frozen).still:
            raise EngineError("what the scenario left behind could not be stopped")
        return _described(self._list(), states)

    def thaw(self) -> None:
        """Let everything that was frozen go on."""
        self.send(protocol.THAW)
        self._answer(protocol.Thawed)

    def usage(self) -> Usage:
        """What the script took, and all else that is over by now."""
        self.send(protocol.USAGE)
        return self._answer(protocol.Used).usage

    def probe(
        self,
        argv: Sequence[str],
        folder: PurePosixPath,
        environment: Mapping[str, str],
        seconds: float,
    ) -> tuple[int | None, bytes]:
        """Run a command beside the script or after it: its raw wait status and what it printed.

        It is killed after `seconds`, and its status is None then; of what it printed the first
        `PROBE_BYTES` are kept. Nothing of it is left when this returns, and no verdict changes by
        it. `RefusedError` when it could not be started, at a process limit for one.
        """
        self.send(protocol.probe(argv, folder, environment))
        printed = bytearray()
        status = self._probed(printed, seconds)
        if status is None:
            self.send(protocol.END_PROBE)
            if self._probed(printed, ANSWER_SECONDS) is None:
                raise EngineError("the probe outlived SIGKILL")
        return status, bytes(printed)

    def _probed(self, printed: bytearray, seconds: float) -> int | None:
        deadline = monotonic() + seconds
        wanted = (protocol.ProbeOutput, protocol.Probed, protocol.Refused)
        while (left := deadline - monotonic()) > 0:  # also when it never stops printing
            match self._wait(wanted, left):
                case protocol.ProbeOutput(content):
                    printed += content[: PROBE_BYTES - len(printed)]
                case protocol.Probed(status):
                    return status
                case protocol.Refused(message):
                    raise RefusedError(message)
                case _:
                    break
        return None

    def send(self, command: bytes) -> None:
        """Say something; what the keeper has to say meanwhile is heard, so neither waits for ever.

        `EngineError` when it takes too long to listen.
        """
        deadline = monotonic() + ANSWER_SECONDS
        while command := command[self._channel.write(command) :]:
            self._make_room(max(0.0, deadline - monotonic()))

    def _make_room(self, seconds: float) -> None:
        source, outlet = self._channel.fileno(), self._channel.outlet()
        wanted = {outlet: select.POLLOUT}
        wanted[source] = wanted.get(source, 0) | select.POLLIN
        came = self._polled(seconds, wanted)
        if not came:
            raise EngineError(f"the keeper did not listen within {ANSWER_SECONDS:g} s")
        if came.get(source, 0) & ~select.POLLOUT:
            self._events.extend(self._received())

    def attend(
        self, wanted: tuple[type[Wanted], ...], others: Collection[int]
    ) -> tuple[Wanted | None, Collection[int]]:
        """The next of `wanted`, or those of the descriptors `others` that can be read by now."""
        event = self._next(wanted)
        if event is not None:
            return event, ()
        ready = self._ready(None, others)
        if self._channel.fileno() in ready:
            self._events.extend(self._received())
        return self._next(wanted), ready & set(others)

    def _list(self) -> "_Listing":
        self.send(protocol.LIST)
        survivors: list[protocol.Survivor] = []
        tables: dict[str, bytes] = {}
        while True:
            match self._answer(protocol.Survivor, protocol.Sockets, protocol.Listed):
                case protocol.Survivor() as survivor if survivor.stat:
                    survivors.append(survivor)  # without, it ended while it was read
                case protocol.Sockets(table, content):
                    tables[table] = tables.get(table, b"") + content
                case protocol.Listed(uptime):
                    return _Listing(survivors, tables, uptime)
                case _:
                    pass

    def _answer(self, *wanted: type[Wanted]) -> Wanted:
        event = self._wait(wanted, ANSWER_SECONDS)
        if event is None:
            raise EngineError(f"the keeper did not answer within {ANSWER_SECONDS:g} s")
        return event

    def _wait(
        self, wanted: type[Wanted] | tuple[type[Wanted], ...], seconds: float
    ) -> Wanted | None:
        """What came by the deadline counts, even if it is read a moment later."""
        deadline = monotonic() + seconds
        while True:
            event = self._next(wanted)
            if event is not None:
                return event
            left = deadline - monotonic()
            if not self._ready(max(0.0, left)):
                return None
            self._events.extend(self._received())
            if left <= 0:
                return self._next(wanted)

    def _next(self, wanted: type[Wanted] | tuple[type[Wanted], ...]) -> Wanted | None:
        """The script may end while something else is asked: nothing of its end is lost by that."""
        for ending in self._endings:
            if isinstance(ending, wanted):
                self._endings.remove(ending)
                return ending
        while self._events:
            event = self._events.popleft()
            if isinstance(event, wanted):
                return event
            self._take(event)
        return None

    def _take(self, event: Event) -> None:
        match event:
            case Output():
                self._sink(event)
            case protocol.Broken(message):
                raise EngineError(f"the sandbox could not go on: {message}")
            case protocol.Exited() | protocol.Empty():
                self._endings.append(event)
            case _:
                pass

    def _ready(self, seconds: float | None, others: Collection[int] = ()) -> set[int]:
        """Which descriptors can be read in time, the channel's and `others`; None is for ever."""
        readable = dict.fromkeys((self._channel.fileno(), *others), select.POLLIN)
        return set(self._polled(seconds, readable))

    def _polled(self, seconds: float | None, wanted: Mapping[int, int]) -> Mapping[int, int]:
        """What came in time of the `wanted` events, by descriptor."""
        poll = select.poll()
        for fd, events in {**wanted, self._interrupt.fileno(): select.POLLIN}.items():
            poll.register(fd, events)
        came = dict(poll.poll(None if seconds is None else seconds * 1000))
        if self._interrupt.fileno() in came:
            raise StoppedError(self._interrupt.reason)
        return came

    def _received(self) -> list[Event]:
        content = self._channel.read()
        if not content:
            raise KeeperGoneError("the sandbox ended before the scenario did")
        try:
            return list(self._decoder.feed(content))
        except protocol.ProtocolError as error:
            raise EngineError(f"the keeper was not understood: {error}") from error


def _states(listing: _Listing) -> Mapping[int, str]:
    return dict(procfs.pid_and_state(one.stat) for one in listing.processes)


def _described(listing: _Listing, states: Mapping[int, str]) -> tuple[Process, ...]:
    """What was not yet there when `states` were seen was running."""
    accepting = procfs.listeners(listing.tables)
    ticks = os.sysconf("SC_CLK_TCK")
    return tuple(
        procfs.process(
            one,
            uptime=listing.uptime,
            ticks=ticks,
            state=states.get(procfs.pid_and_state(one.stat)[0], "R"),
            accepting=accepting,
        )
        for one in listing.processes
    )
