"""The exchange with one keeper: commands are sent, and its events are waited for."""

import select
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Protocol, TypeVar

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import events, procfs, protocol
from isosmoke.keeper.events import Event, Output
from isosmoke.keeper.running_time_deadline import SLICE_SECONDS, Deadline

ANSWER_SECONDS = 30.0
"""The time limit for answers that do not depend on the script."""

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

    def handle(self, event: "events.InputAccepted | events.InputClosed") -> None:
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


class Exchange:
    """The channel to a keeper and the events from it; the script's output goes to `sink`.

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
        self.sink = sink
        self._interrupt = interrupt
        self.clock = clock
        self._decoder = protocol.Decoder()
        self._events: deque[Event] = deque()
        self._endings: list[Event] = []

    def send(self, command: bytes) -> None:
        """Send a command, and receive events meanwhile so that neither end blocks forever.

        Raises:
            EngineError: if the keeper does not read it in time.
        """
        deadline = Deadline(ANSWER_SECONDS, self.clock)
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

    def wait_for_answer(self, *wanted: type[Wanted]) -> Wanted:
        event = self.wait(wanted, ANSWER_SECONDS)
        if event is None:
            raise EngineError(f"the keeper did not answer within {ANSWER_SECONDS:g} s")
        return event

    def wait(
        self, wanted: type[Wanted] | tuple[type[Wanted], ...], seconds: float
    ) -> Wanted | None:
        """Return the next of `wanted`; None if none arrives within `seconds`."""
        return self.wait_until(wanted, Deadline(seconds, self.clock))

    def wait_until(
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
                self.sink(event)
            case events.Broken(message):
                raise BrokenError(message)
            case events.ScriptExited() | events.Empty():
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
        for fd, mask in {**wanted, self._interrupt.fileno(): select.POLLIN}.items():
            poll.register(fd, mask)
        polled = dict(poll.poll(None if seconds is None else seconds * 1000))
        if self._interrupt.fileno() in polled:
            raise StoppedError(self._interrupt.reason)
        return polled

    def _receive(self) -> list[Event]:
        content = self._channel.read()
        if not content:
            raise KeeperGoneError("the sandbox ended before the scenario did")
        with invalid_messages():
            return list(self._decoder.feed(content))


@contextmanager
def invalid_messages() -> Iterator[None]:
    """Raise `EngineError` for what no keeper sends, and for text in it that no kernel prints."""
    try:
        yield
    except (protocol.ProtocolError, *procfs.INVALID) as error:
        raise EngineError(f"the keeper sent an invalid message: {error}") from error
