"""A shell inside a sandbox: somebody types, the keeper passes on, and what is printed is shown."""

from collections.abc import Collection
from typing import Protocol

from isosmoke.keeper import protocol
from isosmoke.keeper.client import Conversation, RefusedError, StoppedError
from isosmoke.keeper.protocol import Left, Refused, ShellOutput, Size, Took
from isosmoke.sandbox.spec import Job

_WINDOW = 1 << 14
"""How much may be typed ahead, in bytes: less than what a pipe holds, so that no side ever waits
for the other while that one waits for it."""


class User(Protocol):
    """Whoever sits at the shell."""

    @property
    def size(self) -> Size | None:
        """How large the terminal is now; None for a user without one."""

    @property
    def keyboard(self) -> int:
        """The descriptor that can be read when there is something typed."""

    @property
    def resizes(self) -> int:
        """The descriptor that can be read when the terminal has another size."""

    def typed(self, most: int) -> bytes:
        """What was typed by now, at most so many bytes; nothing when no more will be."""

    def resized(self) -> Size:
        """The terminal's new size; `resizes` is quiet until it changes again."""

    def show(self, output: ShellOutput) -> None:
        """What the shell printed."""


def attend(keeper: Conversation, job: Job, user: User) -> int:
    """Let `user` sit at the shell that is `job`'s command, to its end: its raw wait status.

    Where the user has a terminal the shell gets one too, else pipes. `RefusedError` when it could
    not be started, `StoppedError` when the terminal is gone. The job's durations do not count.
    """
    limits = job.spec.limits
    size = user.size
    keeper.send(
        protocol.shell(
            job.argv,
            job.folder,
            job.environment,
            size=size,
            processes=limits.processes,
            open_files=limits.open_files,
        )
    )
    return _Session(keeper, user, has_terminal=size is not None).status()


class _Session:
    def __init__(self, keeper: Conversation, user: User, *, has_terminal: bool) -> None:
        self._keeper = keeper
        self._user = user
        self._has_terminal = has_terminal
        self._under_way = 0
        self._is_open = True

    def status(self) -> int:
        wanted = (ShellOutput, Took, Left, Refused)
        while True:
            event, ready = self._keeper.attend(wanted, self._sources())
            match event:
                case ShellOutput():
                    self._user.show(event)
                case Took(size):
                    self._under_way -= size
                case Left(status):
                    return status
                case Refused(message):
                    raise RefusedError(message)
                case _:
                    pass
            self._pass_on(ready)

    def _sources(self) -> tuple[int, ...]:
        keyboard = (self._user.keyboard,) if self._is_open and self._under_way < _WINDOW else ()
        return (*keyboard, self._user.resizes) if self._has_terminal else keyboard

    def _pass_on(self, ready: Collection[int]) -> None:
        if self._has_terminal and self._user.resizes in ready:
            self._keeper.send(protocol.resized(self._user.resized()))
        if self._user.keyboard in ready:
            self._type(self._user.typed(_WINDOW - self._under_way))

    def _type(self, content: bytes) -> None:
        if not content and self._has_terminal:
            raise StoppedError("the terminal is gone")
        self._is_open = bool(content)
        self._under_way += len(content)
        self._keeper.send(protocol.typed(content))
