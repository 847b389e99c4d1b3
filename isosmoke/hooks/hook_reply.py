"""The reply of a hook, and the rule that everything but an open gate blocks."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.interrupt import Interrupt, exit_on_signal
from isosmoke.text import escape_controls

MAX_INPUT = 16 << 20
"""The largest input of a hook, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookReply:
    """An exit code with the texts for stdout and stderr."""

    code: int
    stdout: str = ""
    stderr: str = ""


class HookDeadlineError(Exception):
    """The hook did not finish within its deadline."""


def decide(
    decide_reply: Callable[[], HookReply], *, block: int, seconds: float | None
) -> HookReply:
    """Return the reply of a hook; one that blocks if it fails, is interrupted or takes too long.

    `block` is the exit code that blocks; `seconds` is None without a deadline.
    """
    try:
        with _deadline(seconds), exit_on_signal(Interrupt()):
            return decide_reply()
    except HookDeadlineError:
        how = "try: raise --deadline, and the timeout of the hook above it"
        return refuse(block, [f"no verdict within {seconds:g} s", how])
    except IsosmokeError as error:
        hint = [f"try: {error.hint}"] if error.hint else []
        return refuse(block, [*error.message.splitlines(), *hint])
    except (KeyboardInterrupt, SystemExit):
        return refuse(block, ["the hook was interrupted before there was a verdict"])
    except BaseException as error:  # noqa: BLE001 - whatever happened, the gate did not open
        return refuse(block, [f"the hook failed: {type(error).__name__}: {error}"])


def refuse(code: int, lines: Sequence[str]) -> HookReply:
    """Return a reply that blocks and says why on stderr."""
    text = "\n".join(map(escape_controls, lines))
    return HookReply(code=code, stderr=f"isosmoke: blocked: {text}\n")


@contextmanager
def _deadline(seconds: float | None) -> Iterator[None]:
    """Raise `HookDeadlineError` in the block after this time, wherever it is."""

    def stop(_number: int, _frame: object) -> None:
        raise HookDeadlineError

    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def read_input() -> str:
    """Return all of stdin.

    Raises:
        IsosmokeError: if it is too long, or not UTF-8.
    """
    content = sys.stdin.buffer.read(MAX_INPUT + 1)
    if len(content) > MAX_INPUT:
        raise IsosmokeError(f"the input of the hook is longer than {MAX_INPUT} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise IsosmokeError("the input of the hook is not UTF-8") from error
