"""Sandboxes for the contract checks: small jobs in a temporary directory."""

import os
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import START_SECONDS, Engine, Sandbox
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import Output, ShellOutput
from isosmoke.keeper.protocol import SEPARATE, Size, StreamPlan
from isosmoke.redaction import Redactor
from isosmoke.results.outcome import Ending
from isosmoke.runner.output import Capture
from isosmoke.runner.sandbox_run import run_job, start
from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.sandbox.spec import (
    HOST_IMAGE,
    KEEPER,
    CopyOnWrite,
    Fresh,
    Job,
    Mount,
    ReadOnly,
    ResourceLimits,
    SandboxSpec,
)
from isosmoke.sandbox.survivors import Process

HOME = PurePosixPath("/home/contract")
PATH = "/usr/local/bin:/usr/bin:/bin"

_CONNECT_SECONDS = 60.0
_REPLY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Options in which a job differs from the default; durations are in seconds."""

    network: Literal["host", "isolated"] = "host"
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    capabilities: tuple[str, ...] = ()
    timeout: float = 60.0
    grace: float = 0.3
    settle: float = 0.3


DEFAULT_OPTIONS = JobOptions()


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of one job."""

    ending: Ending
    survivors: tuple[Process, ...]
    phases: Mapping[str, float]
    output: bytes
    size: int

    @property
    def words(self) -> list[str]:
        """The output, split at whitespace."""
        return self.output.decode(errors="replace").split()


class Bench:
    """A factory of jobs that run in `folder`.

    Its directory `workspace` is mounted copy-on-write and `fixed` read-only; a job sees nothing
    else of it. `folder` must be an empty directory of the host that the engine can mount.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.workspace = self.folder / "workspace"
        self.fixed = self.folder / "fixed"
        for directory in (self.workspace, self.fixed):
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / "file").exists():
                (directory / "file").write_text("from the host\n")

    @property
    def environment(self) -> dict[str, str]:
        """The complete environment of every job."""
        return {"PATH": PATH, "HOME": str(HOME), "LANG": "C.UTF-8"}

    def shell(self, line: str, options: JobOptions = DEFAULT_OPTIONS) -> Job:
        """Return a job that runs a line of bash."""
        return self.job(("bash", "-c", line), options)

    def python(self, code: str, options: JobOptions = DEFAULT_OPTIONS) -> Job:
        """Return a job that runs a piece of Python."""
        return self.job(("python3", "-c", code), options)

    def job(self, argv: tuple[str, ...], options: JobOptions = DEFAULT_OPTIONS) -> Job:
        """Return a job that runs a command in the workspace."""
        return Job(
            spec=self._spec(options),
            argv=argv,
            folder=PurePosixPath(self.workspace),
            environment=self.environment,
            timeout=options.timeout,
            grace=options.grace,
            settle=options.settle,
        )

    def _spec(self, options: JobOptions) -> SandboxSpec:
        return SandboxSpec(
            label="contract",
            image=HOST_IMAGE,
            mounts=tuple(self._mounts()),
            uid=os.getuid(),
            gid=os.getgid(),
            network=options.network,
            limits=options.limits,
            capabilities=options.capabilities,
        )

    def _mounts(self) -> Iterator[Mount]:
        yield from build_host_mounts(PATH, Path.home(), masked=os.getuid() == 0)
        yield Fresh(PurePosixPath("/run"), 0o755)
        for target in ("/tmp", "/var/tmp"):  # noqa: S108 - in the sandbox
            yield Fresh(PurePosixPath(target), 0o1777, on_disk=True)
        yield Fresh(HOME, 0o700, on_disk=True)
        yield ReadOnly(KEEPER_FILE, KEEPER)
        yield CopyOnWrite(self.workspace)
        yield ReadOnly(self.fixed, PurePosixPath(self.fixed))


def run(engine: Engine, job: Job, user: "CommandUser | None" = None) -> JobResult:
    """Run `job` as the runner does, from the creation of its sandbox to its end.

    If there is a `user`, the job has the user's streams.
    """
    show, kind = (user.show, user.plan.output) if user else (None, SEPARATE.output)
    with Capture(None, 0, redactor=Redactor(), on_output=show, output=kind) as capture:
        run = run_job(job, engine, capture=capture, interrupt=Interrupt(), streams=user)
    output = capture.output
    printed = output.head + output.tail
    return JobResult(run.ending, run.survivors, run.phases, printed, output.size)


@contextmanager
def running_job(
    engine: Engine, job: Job, sink: Callable[[Output], object] = lambda _: None
) -> Iterator[Conversation]:
    """Start `job` in a new sandbox and yield its keeper, to which the block may send commands."""
    with engine.sandbox(job.spec) as sandbox:
        yield start_job(sandbox, job, sink)


def start_job(
    sandbox: Sandbox, job: Job, sink: Callable[[Output], object] = lambda _: None
) -> Conversation:
    """Start `job` in a new sandbox and return its keeper."""
    keeper = Conversation(sandbox.channel, sink=sink, interrupt=Interrupt())
    keeper.wait_until_ready(START_SECONDS)
    start(job, keeper)
    return keeper


class Typist:
    """A user at a shell, who performs each action as soon as a given text has been printed.

    An action is bytes to type (none of them ends the input) or a new size of the terminal.
    """

    def __init__(self, *actions: tuple[str, bytes | Size], size: Size | None) -> None:
        self.size = size
        self.keyboard, self._typing = os.pipe()
        self.resizes = os.eventfd(0)
        self._actions = list(actions)
        self.printed: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def __enter__(self) -> Self:
        self._act()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.keyboard)
        os.close(self.resizes)
        self._end()

    def typed(self, maximum: int) -> bytes:
        return os.read(self.keyboard, maximum)

    def read_size(self) -> Size:
        os.eventfd_read(self.resizes)
        assert self.size is not None  # noqa: S101 - for mypy
        return self.size

    def show(self, output: ShellOutput | Output) -> None:
        self.printed[output.stream] += output.content
        self._act()

    def _act(self) -> None:
        while self._actions and self._actions[0][0].encode() in self.printed["stdout"]:
            _, action = self._actions.pop(0)
            self._perform(action)

    def _perform(self, action: bytes | Size) -> None:
        if isinstance(action, Size):
            self.size = action
            os.eventfd_write(self.resizes, 1)
        elif action:
            os.write(self._typing, action)
        else:
            self._end()

    def _end(self) -> None:
        if self._typing >= 0:
            os.close(self._typing)
        self._typing = -1


class CommandUser(Typist):
    """A user whose standard streams a command takes over; use it as a context manager.

    The readers of the streams `left` go after the first output.
    """

    def __init__(
        self,
        plan: StreamPlan,
        *actions: tuple[str, bytes | Size],
        left: Collection[Literal["stdout", "stderr"]] = (),
    ) -> None:
        super().__init__(*actions, size=plan.size)
        self.plan = plan
        self.has_interrupted = False
        self._left = left

    def take_broken(self) -> Collection[Literal["stdout", "stderr"]]:
        if not any(self.printed.values()):
            return ()
        left, self._left = self._left, ()
        return left

    def attached(self) -> AbstractContextManager[None]:
        return nullcontext()


class Witness:
    """A listener on the host; a connection from a sandbox ends with its last holder there."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in (*self._connections, self._server):
            end.close()

    @property
    def connect(self) -> str:
        """A line of bash that opens descriptor 3 to this listener and announces itself."""
        return f"exec 3<>/dev/tcp/127.0.0.1/{self.port}; echo up >&3; "

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def accept(self) -> "SandboxConnection":
        """Wait for the next sandbox that connects and announces itself."""
        self._server.settimeout(_CONNECT_SECONDS)
        connection, _ = self._server.accept()
        self._connections.append(connection)
        connection.settimeout(_CONNECT_SECONDS)
        connection.recv(len("up\n"))
        return SandboxConnection(connection)


@dataclass(frozen=True, slots=True)
class SandboxConnection:
    """A connection between a witness and a sandbox."""

    connection: socket.socket

    def send_line(self, text: str) -> None:
        """Send a line to the reader of descriptor 3 in the sandbox."""
        self.connection.sendall(text.encode() + b"\n")

    def receives(self, text: str) -> bool:
        """Return whether this text arrives from the sandbox within a minute."""
        self.connection.settimeout(_REPLY_SECONDS)
        try:
            return self.connection.recv(len(text), socket.MSG_WAITALL) == text.encode()
        except OSError:
            return False

    def close(self) -> None:
        """Close it on the host's side; its reader in the sandbox gets an end of file."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def wait_closed(self) -> bool:
        """Return whether its last holder in the sandbox ends within a minute."""
        self.connection.settimeout(_REPLY_SECONDS)
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


HOLDER = """
import sys
from importlib import import_module
from pathlib import Path
from isosmoke.testing.bench import Bench, running_job
module, name, directory, line = sys.argv[1:]
engine = getattr(import_module(module), name)()
engine.preflight()
with running_job(engine, Bench(Path(directory)).shell(line)) as keeper:
    keeper.wait_for_exit(600)
"""


def build_holder_command(engine: Engine, bench: Bench, line: str) -> tuple[str, ...]:
    """Return the command of a process that holds one sandbox of a new engine of the same kind."""
    kind = type(engine)
    return (
        sys.executable,
        "-c",
        HOLDER,
        kind.__module__,
        kind.__qualname__,
        str(bench.folder),
        line,
    )
