"""An interactive shell in a sandbox, connected to a user through the keeper."""

from collections.abc import Collection
from typing import Protocol

from isosmoke.keeper import protocol
from isosmoke.keeper.client import Conversation, RefusedError, StoppedError
from isosmoke.keeper.protocol import InputAccepted, Refused, ShellExited, ShellOutput, Size
from isosmoke.sandbox.spec import Job

_WINDOW = 1 << 14
"""The maximum input in transit, in bytes: less than a pipe holds, to prevent a deadlock."""


class User(Protocol):
    """The user of the shell."""

    @property
    def size(self) -> Size | None:
        """The current size of the terminal; None for a user without a terminal."""

    @property
    def keyboard(self) -> int:
        """The descriptor that is readable when input is available."""

    @property
    def resizes(self) -> int:
        """The descriptor that is readable when the terminal has been resized."""

    def typed(self, limit: int, /) -> bytes:
        """Return the available input, at most `limit` bytes; empty bytes at its end."""

    def read_size(self) -> Size:
        """Return the terminal's new size; `resizes` is then not readable until the next change."""

    def show(self, output: ShellOutput) -> None:
        """Show output of the shell."""


def run_shell(keeper: Conversation, job: Job, user: User) -> int:
    """Run the command of `job` as a shell for `user`, and return its raw wait status.

    The shell has a terminal if the user has one, otherwise pipes. The durations of the job do not
    apply.

    Raises:
        RefusedError: if the shell cannot be started.
        StoppedError: if the user's terminal is gone.
    """
    limits = job.spec.limits
    size = user.size
    keeper.send(
        protocol.encode_shell(
            job.argv,
            job.folder,
            job.environment,
            size=size,
            processes=limits.processes,
            open_files=limits.open_files,
        )
    )
    return _Session(keeper, user, has_terminal=size is not None).run()


class _Session:
    """One shell and its user."""

    def __init__(self, keeper: Conversation, user: User, *, has_terminal: bool) -> None:
        self._keeper = keeper
        self._user = user
        self._has_terminal = has_terminal
        self._in_transit = 0
        self._is_open = True

    def run(self) -> int:
        """Connect shell and user until the shell ends, and return its raw wait status."""
        wanted = (ShellOutput, InputAccepted, ShellExited, Refused)
        while True:
            event, readable = self._keeper.wait_for_event(wanted, self._list_sources())
            match event:
                case ShellOutput():
                    self._user.show(event)
                case InputAccepted(size):
                    self._in_transit -= size
                case ShellExited(status):
                    return status
                case Refused(message):
                    raise RefusedError(message)
                case _:
                    pass
            self._forward(readable)

    def _list_sources(self) -> tuple[int, ...]:
        keyboard = (self._user.keyboard,) if self._is_open and self._in_transit < _WINDOW else ()
        return (*keyboard, self._user.resizes) if self._has_terminal else keyboard

    def _forward(self, readable: Collection[int]) -> None:
        if self._has_terminal and self._user.resizes in readable:
            self._keeper.send(protocol.encode_resize(self._user.read_size()))
        if self._user.keyboard in readable:
            self._send_input(self._user.typed(_WINDOW - self._in_transit))

    def _send_input(self, content: bytes) -> None:
        if not content and self._has_terminal:
            raise StoppedError("the terminal is gone")
        self._is_open = bool(content)
        self._in_transit += len(content)
        self._keeper.send(protocol.encode_input(content))
