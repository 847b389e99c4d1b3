"""Where the contract checks get their sandboxes: small jobs over a throw-away folder."""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from isosmoke.engines.base import START_SECONDS, Engine, Sandbox
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.protocol import Output, ShellOutput, Size
from isosmoke.redaction import Redactor
from isosmoke.results.outcome import Ending
from isosmoke.runner.output import Capture
from isosmoke.runner.sandbox_run import run_job, start
from isosmoke.sandbox.host_mounts import host_mounts
from isosmoke.sandbox.processes import Process
from isosmoke.sandbox.spec import (
    HOST_IMAGE,
    KEEPER,
    CopyOnWrite,
    Fresh,
    Job,
    Limits,
    Mount,
    ReadOnly,
    SandboxSpec,
)

HOME = PurePosixPath("/home/contract")
PATH = "/usr/local/bin:/usr/bin:/bin"

_MEET_SECONDS = 60.0
_PART_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one job differs from a plain one; durations in seconds."""

    network: Literal["host", "isolated"] = "host"
    limits: Limits = field(default_factory=Limits)
    capabilities: tuple[str, ...] = ()
    timeout: float = 20.0
    grace: float = 0.3
    settle: float = 0.3


PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one job."""

    ending: Ending
    survivors: tuple[Process, ...]
    phases: Mapping[str, float]
    output: bytes
    size: int

    @property
    def words(self) -> list[str]:
        return self.output.decode(errors="replace").split()


class Bench:
    """Jobs over `folder`: `workspace` in it is copy-on-write, `fixed` read-only, no more is seen.

    `folder` must be a real folder of the host that the engine can mount, and empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.workspace = self.folder / "workspace"
        self.fixed = self.folder / "fixed"
        for one in (self.workspace, self.fixed):
            one.mkdir(parents=True, exist_ok=True)
            if not (one / "file").exists():
                (one / "file").write_text("from the host\n")

    @property
    def environment(self) -> dict[str, str]:
        """What every job gets, and nothing else."""
        return {"PATH": PATH, "HOME": str(HOME), "LANG": "C.UTF-8"}

    def shell(self, line: str, terms: Terms = PLAIN) -> Job:
        """A line of bash as a job."""
        return self.job(("bash", "-c", line), terms)

    def python(self, code: str, terms: Terms = PLAIN) -> Job:
        """A piece of Python as a job."""
        return self.job(("python3", "-c", code), terms)

    def job(self, argv: tuple[str, ...], terms: Terms = PLAIN) -> Job:
        """A command as a job that stands in the workspace."""
        return Job(
            spec=self._spec(terms),
            argv=argv,
            folder=PurePosixPath(self.workspace),
            environment=self.environment,
            timeout=terms.timeout,
            grace=terms.grace,
            settle=terms.settle,
        )

    def _spec(self, terms: Terms) -> SandboxSpec:
        return SandboxSpec(
            label="contract",
            image=HOST_IMAGE,
            mounts=tuple(self._mounts()),
            uid=os.getuid(),
            gid=os.getgid(),
            network=terms.network,
            limits=terms.limits,
            capabilities=terms.capabilities,
        )

    def _mounts(self) -> Iterator[Mount]:
        yield from host_mounts(PATH, Path.home(), masked=os.getuid() == 0)
        yield Fresh(PurePosixPath("/run"), 0o755)
        for target in ("/tmp", "/var/tmp"):  # noqa: S108 - in the sandbox
            yield Fresh(PurePosixPath(target), 0o1777, on_disk=True)
        yield Fresh(HOME, 0o700, on_disk=True)
        yield ReadOnly(KEEPER_FILE, KEEPER)
        yield CopyOnWrite(self.workspace)
        yield ReadOnly(self.fixed, PurePosixPath(self.fixed))


def run(engine: Engine, job: Job) -> Seen:
    """Run `job` as the runner does, from the making of its sandbox to its end."""
    with Capture(None, 0, redactor=Redactor()) as capture:
        run = run_job(job, engine, capture=capture, interrupt=Interrupt())
    output = capture.output
    kept = output.head + output.tail
    return Seen(run.ending, run.survivors, run.phases, kept, output.size)


@contextmanager
def going(
    engine: Engine, job: Job, sink: Callable[[Output], object] = lambda _: None
) -> Iterator[Conversation]:
    """A sandbox in which `job` was started, and its keeper, to which the block may say anything."""
    with engine.sandbox(job.spec) as sandbox:
        yield started(sandbox, job, sink)


def started(
    sandbox: Sandbox, job: Job, sink: Callable[[Output], object] = lambda _: None
) -> Conversation:
    """The keeper of a new sandbox, told to start `job`."""
    keeper = Conversation(sandbox.channel, sink=sink, interrupt=Interrupt())
    keeper.ready(START_SECONDS)
    start(job, keeper)
    return keeper


class Typist:
    """Somebody at a shell, who does the next thing once its words were printed.

    A thing is what is typed (nothing: the end of the input), or the new size of the terminal.
    """

    def __init__(self, *things: tuple[str, bytes | Size], size: Size | None) -> None:
        self.size = size
        self.keyboard, self._typing = os.pipe()
        self.resizes = os.eventfd(0)
        self._things = list(things)
        self.seen: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def __enter__(self) -> Self:
        self._go_on()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.keyboard)
        os.close(self.resizes)
        self._end()

    def typed(self, most: int) -> bytes:
        return os.read(self.keyboard, most)

    def resized(self) -> Size:
        os.eventfd_read(self.resizes)
        assert self.size is not None  # noqa: S101 - for mypy
        return self.size

    def show(self, output: ShellOutput) -> None:
        self.seen[output.stream] += output.content
        self._go_on()

    def _go_on(self) -> None:
        while self._things and self._things[0][0].encode() in self.seen["stdout"]:
            _, thing = self._things.pop(0)
            self._do(thing)

    def _do(self, thing: bytes | Size) -> None:
        if isinstance(thing, Size):
            self.size = thing
            os.eventfd_write(self.resizes, 1)
        elif thing:
            os.write(self._typing, thing)
        else:
            self._end()

    def _end(self) -> None:
        if self._typing >= 0:
            os.close(self._typing)
        self._typing = -1


class Witness:
    """A listener of the host: what a sandbox connects to it breaks when its last holder ends."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lines: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self._lines, self._server):
            one.close()

    @property
    def connect(self) -> str:
        """The line of bash that opens descriptor 3 to this witness."""
        return f"exec 3<>/dev/tcp/127.0.0.1/{self.port}; echo up >&3; "

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def met(self) -> "Line":
        """Wait until a sandbox has connected and said so."""
        self._server.settimeout(_MEET_SECONDS)
        connection, _ = self._server.accept()
        self._lines.append(connection)
        connection.settimeout(_MEET_SECONDS)
        connection.recv(len("up\n"))
        return Line(connection)


@dataclass(frozen=True, slots=True)
class Line:
    """What connects a witness with a sandbox."""

    connection: socket.socket

    def say(self, word: str) -> None:
        """Send a line to whoever reads descriptor 3 in the sandbox."""
        self.connection.sendall(word.encode() + b"\n")

    def hears(self, words: str) -> bool:
        """Whether these words come from the sandbox within a few seconds."""
        self.connection.settimeout(_PART_SECONDS)
        try:
            return self.connection.recv(len(words), socket.MSG_WAITALL) == words.encode()
        except OSError:
            return False

    def close(self) -> None:
        """End it from here: its reader in the sandbox comes to the end of the file."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def breaks(self) -> bool:
        """Whether its last holder in the sandbox ends within a few seconds."""
        self.connection.settimeout(_PART_SECONDS)
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


HOLD = """
import sys
from importlib import import_module
from pathlib import Path
from isosmoke.testing.bench import Bench, going
module, name, folder, line = sys.argv[1:]
engine = getattr(import_module(module), name)()
engine.preflight()
with going(engine, Bench(Path(folder)).shell(line)) as keeper:
    keeper.exited(600)
"""


def holder(engine: Engine, bench: Bench, line: str) -> tuple[str, ...]:
    """The command of a process that makes its own engine of the same kind and holds one sandbox."""
    kind = type(engine)
    return (sys.executable, "-c", HOLD, kind.__module__, kind.__qualname__, str(bench.folder), line)
