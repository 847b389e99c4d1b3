"""An interactive shell in a sandbox, connected to a user through the keeper."""

from typing import Protocol

from isosmoke.keeper import protocol
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import InputAccepted, InputClosed, Refused, ShellExited, ShellOutput
from isosmoke.keeper.exchange import RefusedError
from isosmoke.keeper.input_forwarding import InputForwarder, InputSource
from isosmoke.keeper.protocol import Size
from isosmoke.sandbox.spec import Job


class User(InputSource, Protocol):
    """The user of the shell."""

    @property
    def size(self) -> Size | None:
        """The current size of the terminal; None for a user without a terminal."""

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
    has_terminal = size is not None
    forwarder = InputForwarder(user, keeper.send, "shell", types=has_terminal, resizes=has_terminal)
    return _attend(keeper, user, forwarder)


def _attend(keeper: Conversation, user: User, forwarder: InputForwarder) -> int:
    """Connect shell and user until the shell ends, and return its raw wait status."""
    wanted = (ShellOutput, InputAccepted, InputClosed, ShellExited, Refused)
    while True:
        event, readable = keeper.wait_for_event(wanted, forwarder.list_sources())
        match event:
            case ShellOutput():
                user.show(event)
            case InputAccepted() | InputClosed():
                forwarder.handle(event)
            case ShellExited(status):
                return status
            case Refused(message):
                raise RefusedError(message)
            case _:
                pass
        forwarder.forward(readable)
