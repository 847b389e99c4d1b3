"""The events that a keeper sends, as data (pure); `protocol` decodes them."""

from typing import Literal

from isosmoke.dataclass import dataclass
from isosmoke.sandbox.survivors import Usage


@dataclass(frozen=True, slots=True)
class Ready:
    """The keeper is PID 1 and hardened, and waits for a GO command."""

    version: str


@dataclass(frozen=True, slots=True)
class Output:
    """Output of the script or of its leftover processes."""

    stream: Literal["stdout", "stderr"]
    content: bytes


@dataclass(frozen=True, slots=True)
class ScriptExited:
    """The script ended; `status` is the raw wait status (see `os.waitstatus_to_exitcode`)."""

    status: int


@dataclass(frozen=True, slots=True)
class Empty:
    """The script ended, and the keeper is the only remaining process."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """Every survivor was sent SIGSTOP; `still` is true if all of them have stopped."""

    still: bool


@dataclass(frozen=True, slots=True)
class Thawed:
    """Every process was sent SIGCONT."""


@dataclass(frozen=True, slots=True)
class ProbeOutput:
    """Output of the probe, from either stream."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Probed:
    """The probe and all of its processes have ended; `status` is its raw wait status."""

    status: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The keeper could not carry out a command; the sandbox is unchanged."""

    message: str


@dataclass(frozen=True, slots=True)
class ShellOutput:
    """Output of the shell; with a terminal, all of it is stdout."""

    stream: Literal["stdout", "stderr"]
    content: bytes


@dataclass(frozen=True, slots=True)
class InputAccepted:
    """The shell or the script accepted `size` bytes of the input."""

    size: int


@dataclass(frozen=True, slots=True)
class InputClosed:
    """No process reads the script's input any more; the rest of it is dropped."""


@dataclass(frozen=True, slots=True)
class ShellExited:
    """The shell ended; `status` is its raw wait status."""

    status: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The resource usage of the script and of all other ended processes."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Survivor:
    """One living process, with the raw contents of `/proc`; `sockets` are inodes."""

    stat: bytes
    cmdline: bytes
    cwd: bytes
    exe: bytes
    sockets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sockets:
    """A piece of `/proc/net/<table>`."""

    table: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """The list is complete; `uptime` of the sandbox is in seconds, to compute ages."""

    uptime: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The script could not be started, or the keeper cannot continue."""

    message: str


_ScriptEvent = Ready | Output | ScriptExited | Empty | Frozen | Survivor | Sockets | Listed | Broken
_ShellEvent = ShellOutput | InputAccepted | InputClosed | ShellExited
Event = _ScriptEvent | _ShellEvent | Thawed | ProbeOutput | Probed | Refused | UsageReport
