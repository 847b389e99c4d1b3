"""An engine without processes: each sandbox acts out what a test wrote down for its scenario.

Its keeper is a state machine that speaks the real protocol, so the runner, the conversation and the
schedule are exercised as they are. Nothing waits but for the deadlines that the job itself sets.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from threading import Lock

from isosmoke.engines.base import Facts
from isosmoke.errors import EngineError, EngineUnavailableError, ImageError, LeftBehindError
from isosmoke.keeper import protocol
from isosmoke.keeper.protocol import Command, EventKind, Output, Survivor
from isosmoke.sandbox.processes import Usage
from isosmoke.sandbox.spec import HOST_IMAGE, SandboxSpec

UPTIME = 1000.0
"""What the clock of every fake sandbox shows, in seconds."""

_TERMINATED, _KILLED = 15, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What one fake sandbox does.

    `status` is the raw wait status of the script (`code << 8`, or a signal's number); None is a
    script that runs until it is ended. `survivors` are what the keeper lists, with the texts of
    `/proc/net/*` in `sockets`. They end when the command `end_at` arrives; a keeper that `is_blind`
    lists none of them, ended or not. `refuses` breaks the sandbox before it is made, `dies_at`
    closes the channel when that command (`Command.GO`, …) arrives, `broken` is what the
    keeper complains of instead of starting the script. `on_go` is called when the script would
    start. `leaves` is what cannot be removed at the end.
    `changes` are the folders in which it lets its changes be found, `peaks` the most it had.
    `usage` is what it took. `probes` have the raw wait status and the output of each command line
    that may be probed; a status of None never ends by itself, and any other probe is refused.
    """

    status: int | None = 0
    output: Sequence[Output] = ()
    survivors: Sequence[Survivor] = ()
    sockets: Mapping[str, bytes] = field(default_factory=dict)
    end_at: bytes = b""
    is_blind: bool = False
    version: str = protocol.VERSION
    ignores_term: bool = False
    can_be_frozen: bool = True
    refuses: str = ""
    dies_at: bytes = b""
    broken: str = ""
    leaves: str = ""
    on_go: Callable[[], object] | None = None
    changes: Mapping[PurePosixPath, Path] = field(default_factory=dict)
    peaks: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=lambda: Usage(0.0, 0.0, 0))
    probes: Mapping[tuple[str, ...], tuple[int | None, bytes]] = field(default_factory=dict)


def survivor(
    pid: int, argv: Sequence[str], *, ppid: int = 1, age: float = 1.0, sockets: Sequence[str] = ()
) -> Survivor:
    """A sleeping process as a keeper would list it."""
    started = round((UPTIME - age) * os.sysconf("SC_CLK_TCK"))
    unread = " ".join("0" * 17)
    return Survivor(
        stat=f"{pid} ({argv[0]}) S {ppid} {unread} {started} 0".encode(),
        cmdline=b"".join(word.encode() + b"\0" for word in argv),
        cwd=b"/",
        exe=f"/usr/bin/{argv[0]}".encode(),
        sockets=frozenset(sockets),
    )


class FakeChannel:
    """The keeper's two ends in one object: what is written to it decides what can be read."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._ready = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._written = bytearray()
        self._told = bytearray()
        self._ended = False
        self._is_empty = not act.survivors
        self.commands: list[bytes] = []
        self._tell(EventKind.READY, act.version.encode())

    def fileno(self) -> int:
        return self._ready

    def read(self) -> bytes:
        content = bytes(self._told)
        self._told.clear()
        if not self._ended:
            os.eventfd_read(self._ready)
        return content

    def outlet(self) -> int:
        return self._ready

    def write(self, content: bytes) -> int:
        if self._ended:
            raise EngineError("the sandbox ended before it could be spoken to")
        self._written += content
        for kind, payload in protocol.take_frames(self._written):
            self.commands.append(kind)
            self._obey(kind, payload)
        return len(content)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._ready)

    def _obey(self, kind: bytes, payload: bytes) -> None:
        if kind == self._act.dies_at:
            self._ended = True
            os.eventfd_write(self._ready, 1)
            return
        if kind == self._act.end_at and not self._is_empty:
            self._is_empty = True
            self._tell(EventKind.EMPTY, b"")
        match kind:
            case Command.GO:
                self._go()
            case Command.TERM if not self._act.ignores_term:
                self._exit(_TERMINATED)
            case Command.KILL:
                self._exit(_KILLED)
            case Command.FREEZE:
                self._tell(EventKind.FROZEN, b"1" if self._act.can_be_frozen else b"0")
            case Command.LIST:
                self._list()
            case _:
                self._obey_further(kind, payload)

    def _obey_further(self, kind: bytes, payload: bytes) -> None:
        match kind:
            case Command.THAW:
                self._tell(EventKind.THAWED, b"")
            case Command.USAGE:
                self._use(self._act.usage)
            case Command.PROBE:
                self._probe(payload)
            case Command.END_PROBE:
                self._tell(EventKind.PROBED, struct.pack(">I", _KILLED))
            case _:
                pass

    def _use(self, usage: Usage) -> None:
        micros = (round(one * 1e6) for one in (usage.user_seconds, usage.system_seconds))
        words = (*micros, usage.largest // 1024)
        self._tell(EventKind.USED, " ".join(map(str, words)).encode())

    def _probe(self, payload: bytes) -> None:
        _, _, _, _, count, *words = payload.decode().split("\0")
        found = self._act.probes.get(tuple(words[: int(count)]))
        if found is None:
            self._tell(EventKind.REFUSED, b"starting the probe: no act has it")
            return
        status, printed = found
        self._tell(EventKind.PROBE_OUTPUT, printed)
        if status is not None:
            self._tell(EventKind.PROBED, struct.pack(">I", status))

    def _go(self) -> None:
        if self._act.on_go is not None:
            self._act.on_go()
        if self._act.broken:
            self._tell(EventKind.BROKEN, self._act.broken.encode())
            return
        for output in self._act.output:
            self._tell(
                EventKind.STDOUT if output.stream == "stdout" else EventKind.STDERR, output.content
            )
        if self._act.status is not None:
            self._exit(self._act.status)

    def _exit(self, status: int) -> None:
        self._tell(EventKind.EXITED, struct.pack(">I", status))
        if self._is_empty:
            self._tell(EventKind.EMPTY, b"")

    def _list(self) -> None:
        for one in () if self._is_empty or self._act.is_blind else self._act.survivors:
            inodes = " ".join(sorted(one.sockets)).encode()
            parts = (one.stat, one.cmdline, one.cwd, one.exe, inodes)
            self._tell(
                EventKind.PROCESS, b"".join(struct.pack(">I", len(part)) + part for part in parts)
            )
        for table, text in self._act.sockets.items():
            self._tell(EventKind.SOCKETS, table.encode() + b"\0" + text)
        self._tell(EventKind.LISTED, f"{UPTIME} 0".encode())

    def _tell(self, kind: bytes, payload: bytes) -> None:
        self._told += protocol.frame(kind, payload)
        os.eventfd_write(self._ready, 1)


@dataclass(frozen=True, slots=True)
class FakeSandbox:
    """One fake sandbox."""

    channel: FakeChannel
    act: Act

    @property
    def changes(self) -> Mapping[PurePosixPath, Path]:
        return self.act.changes

    def peaks(self) -> Mapping[str, int]:
        return self.act.peaks


class FakeEngine:
    """Makes sandboxes that act; `made` and `destroyed` are labels in the order of the events.

    `acts` has the acts of each label: the first sandbox plays the first, and so on; the last one is
    repeated. A label that is not there passes. `unavailable` is what `preflight` raises. `images`
    has the digest of each image that the engine has, and may be changed at any time.
    """

    name = "fake"
    description = "no process, no sandbox"

    def __init__(
        self,
        acts: Mapping[str, Act | Sequence[Act]] | None = None,
        *,
        unavailable: str = "",
        images: Mapping[str, str] | None = None,
    ) -> None:
        self.images = dict(images or {})
        self._acts = dict(acts or {})
        self._unavailable = unavailable
        self._lock = Lock()
        self.made: list[SandboxSpec] = []
        self.destroyed: list[SandboxSpec] = []
        self.commands: list[tuple[str, bytes]] = []

    def preflight(self) -> None:
        if self._unavailable:
            raise EngineUnavailableError(self._unavailable)

    def facts(self) -> Facts:
        return Facts(version="1", where="here", reason="a test", rootless=True, cgroup=None)

    def image_digest(self, image: str) -> str:
        if image == HOST_IMAGE:
            return ""
        if image not in self.images:
            raise ImageError(f"{self.name} has no image '{image}'")
        return self.images[image]

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[FakeSandbox]:
        act = self._next_act(spec)
        if act.refuses:
            raise EngineError(act.refuses)
        channel = FakeChannel(act)
        try:
            yield FakeSandbox(channel, act)
        finally:
            channel.close()
            self._note_end(spec, channel)
            if act.leaves:
                raise LeftBehindError(act.leaves, hint=f"remove {act.leaves}")

    def sweep(self) -> tuple[str, ...]:
        return ()

    def _next_act(self, spec: SandboxSpec) -> Act:
        with self._lock:
            number = sum(one.label == spec.label for one in self.made)
            self.made.append(spec)
        acts = self._acts.get(spec.label, Act())
        return acts if isinstance(acts, Act) else acts[min(number, len(acts) - 1)]

    def _note_end(self, spec: SandboxSpec, channel: FakeChannel) -> None:
        with self._lock:
            self.destroyed.append(spec)
            self.commands += [(spec.label, kind) for kind in channel.commands]
