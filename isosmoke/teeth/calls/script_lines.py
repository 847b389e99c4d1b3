"""The line of a script that makes a call (pure).

bash runs `TRACE` before a script (BASH_ENV). Before each command, its trap stores in a variable
the line numbers and the files of the command and of the functions around it. The stand-in records
the variable, and the binary does not see it.
"""

from isosmoke.dataclass import dataclass

_STORE = 'printf -v ISOSMOKE_PLACE "%s\\n" "$LINENO" "${BASH_LINENO[@]}" "${BASH_SOURCE[@]}"'

TRACE = f"""\
unset BASH_ENV
export ISOSMOKE_PLACE
set -o functrace
trap '_isosmoke_last=$_; {_STORE}; : "$_isosmoke_last"' DEBUG
"""
"""The commands that bash runs before a script; they keep `$_`, and are one line for `$LINENO`."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A command: its file, as bash was given it, and its line number from 1."""

    file: str
    line: int


def parse(place: str) -> tuple[Frame, ...]:
    """Return the command of a call, and then the calls of the functions around it.

    It is empty if the place is not known. The script is last.
    """
    fields = place.splitlines()
    count = len(fields) // 2
    lines, files = fields[:count], fields[count + 1 :]
    if len(fields) != 2 * count + 1 or not all(line.isdecimal() for line in lines):
        return ()
    return tuple(Frame(file, int(line)) for file, line in zip(files, lines, strict=True))


@dataclass(frozen=True, slots=True)
class CommandPlace:
    """A command of a script: its line, and the commands on the way to the call.

    `inner` are commands of sourced files, from the call outwards, and `outer` those of the script
    that called its own functions.
    """

    line: int
    inner: tuple[Frame, ...] = ()
    outer: tuple[Frame, ...] = ()


def locate(frames: tuple[Frame, ...]) -> CommandPlace | None:
    """Return the command of the script that makes a call; None if it is not known.

    bash gives line 1 for the caller of a trap, which has none; no function is called there.
    """
    if not frames:
        return None
    at = next(number for number, frame in enumerate(frames) if frame.file == frames[-1].file)
    outer = tuple(frame for frame in frames[at + 1 :] if frame.line > 1)
    return CommandPlace(frames[at].line, frames[:at], outer)
