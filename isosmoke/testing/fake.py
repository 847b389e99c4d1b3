"""An engine without processes: each sandbox plays the act that a test defined for its scenario.

The fake keeper is a state machine that speaks the real protocol, so the runner, the conversation
and the schedule are the real ones. It waits only for the deadlines that a job itself sets.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path, PurePosixPath
from threading import Lock

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import EngineInfo
from isosmoke.errors import EngineError, EngineUnavailableError, ImageError, LeftBehindError
from isosmoke.keeper import protocol
from isosmoke.keeper.events import Output, Survivor
from isosmoke.keeper.protocol import Command, EventKind
from isosmoke.sandbox.spec import HOST_IMAGE, SandboxSpec
from isosmoke.sandbox.survivors import Usage

UPTIME = 1000.0
"""The uptime in every fake sandbox, in seconds."""

_TERMINATED, _KILLED = 15, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """The behaviour of one fake sandbox.

    `status` is the raw wait status of the script (`code << 8`, or a signal's number); None is a
    script that runs until it is ended. `survivors` are the processes that the keeper lists, with
    the texts of `/proc/net/*` in `sockets`. They end when the command `end_at` arrives; a keeper
    that `is_blind` lists none of them, ended or not.

    `refuses` makes the creation of the sandbox fail, `dies_at` closes the channel when that command
    (`Command.GO`, …) arrives, and `broken` is the keeper's error instead of starting the script.
    `on_go` is called when the script would start. `leaves` names something that cannot be removed
    at the end.

    `changes` are the directories with the sandbox's changes, `peaks` its peak usage, `usage`
    its total usage, and `reached_limits` the limits that it reached. `probes` maps the command line
    of each permitted probe to its raw wait status and output; a status of None never ends by
    itself, and any other probe is refused.
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
    reached_limits: frozenset[str] = frozenset()
    usage: Usage = field(default_factory=lambda: Usage(0.0, 0.0, 0))
    probes: Mapping[tuple[str, ...], tuple[int | None, bytes]] = field(default_factory=dict)


def survivor(
    pid: int, argv: Sequence[str], *, ppid: int = 1, age: float = 1.0, sockets: Sequence[str] = ()
) -> Survivor:
    """Return a sleeping process as a keeper would list it; `age` is in seconds."""
    started = round((UPTIME - age) * os.sysconf("SC_CLK_TCK"))
    unread = " ".join("0" * 17)
    return Survivor(
        stat=f"{pid} ({argv[0]}) S {ppid} {unread} {started} 0".encode(),
        cmdline=b"".join(argument.encode() + b"\0" for argument in argv),
        cwd=b"/",
        exe=f"/usr/bin/{argv[0]}".encode(),
        sockets=frozenset(sockets),
    )


class FakeChannel:
    """Both ends of a keeper's channel in one object: commands written to it queue the replies."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._ready = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._written = bytearray()
        self._replies = bytearray()
        self._ended = False
        self._is_empty = not act.survivors
        self.commands: list[bytes] = []
        self._reply(EventKind.READY, act.version.encode())

    def fileno(self) -> int:
        return self._ready

    def read(self) -> bytes:
        content = bytes(self._replies)
        self._replies.clear()
        if not self._ended:
            os.eventfd_read(self._ready)
        return content

    def write_fileno(self) -> int:
        return self._ready

    def write(self, content: bytes) -> int:
        if self._ended:
            raise EngineError("the sandbox ended before it received a command")
        self._written += content
        for kind, payload in protocol.take_frames(self._written):
            self.commands.append(kind)
            self._handle(kind, payload)
        return len(content)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._ready)

    def _handle(self, kind: bytes, payload: bytes) -> None:
        if kind == self._act.dies_at:
            self._ended = True
            os.eventfd_write(self._ready, 1)
            return
        if kind == self._act.end_at and not self._is_empty:
            self._is_empty = True
            self._reply(EventKind.EMPTY, b"")
        match kind:
            case Command.GO:
                self._start_script()
            case Command.TERM if not self._act.ignores_term:
                self._end_script(_TERMINATED)
            case Command.KILL:
                self._end_script(_KILLED)
            case Command.FREEZE:
                self._reply(EventKind.FROZEN, b"1" if self._act.can_be_frozen else b"0")
            case Command.LIST:
                self._reply_list()
            case _:
                self._handle_rest(kind, payload)

    def _handle_rest(self, kind: bytes, payload: bytes) -> None:
        match kind:
            case Command.THAW:
                self._reply(EventKind.THAWED, b"")
            case Command.USAGE:
                self._reply_usage(self._act.usage)
            case Command.PROBE:
                self._reply_probe(payload)
            case Command.END_PROBE:
                self._reply(EventKind.PROBED, struct.pack(">I", _KILLED))
            case _:
                pass

    def _reply_usage(self, usage: Usage) -> None:
        times = (usage.user_seconds, usage.system_seconds)
        numbers = (*(round(seconds * 1e6) for seconds in times), usage.largest // 1024)
        self._reply(EventKind.USED, " ".join(map(str, numbers)).encode())

    def _reply_probe(self, payload: bytes) -> None:
        _, _, _, _, count, *arguments = payload.decode().split("\0")
        probe = self._act.probes.get(tuple(arguments[: int(count)]))
        if probe is None:
            self._reply(EventKind.REFUSED, b"cannot start the probe: the act does not define it")
            return
        status, output = probe
        self._reply(EventKind.PROBE_OUTPUT, output)
        if status is not None:
            self._reply(EventKind.PROBED, struct.pack(">I", status))

    def _start_script(self) -> None:
        if self._act.on_go is not None:
            self._act.on_go()
        if self._act.broken:
            self._reply(EventKind.BROKEN, self._act.broken.encode())
            return
        for output in self._act.output:
            self._reply(
                EventKind.STDOUT if output.stream == "stdout" else EventKind.STDERR, output.content
            )
        if self._act.status is not None:
            self._end_script(self._act.status)

    def _end_script(self, status: int) -> None:
        self._reply(EventKind.EXITED, struct.pack(">I", status))
        if self._is_empty:
            self._reply(EventKind.EMPTY, b"")

    def _reply_list(self) -> None:
        for process in () if self._is_empty or self._act.is_blind else self._act.survivors:
            inodes = " ".join(sorted(process.sockets)).encode()
            parts = (process.stat, process.cmdline, process.cwd, process.exe, inodes)
            self._reply(
                EventKind.PROCESS, b"".join(struct.pack(">I", len(part)) + part for part in parts)
            )
        for table, text in self._act.sockets.items():
            self._reply(EventKind.SOCKETS, table.encode() + b"\0" + text)
        self._reply(EventKind.LISTED, f"{UPTIME} 0".encode())

    def _reply(self, kind: bytes, payload: bytes) -> None:
        self._replies += protocol.encode_frame(kind, payload)
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

    def find_reached_limits(self) -> frozenset[str]:
        return self.act.reached_limits


class FakeEngine:
    """An engine whose sandboxes play acts.

    `made` and `destroyed` are the specifications of its sandboxes in the order of the events.
    `acts` maps each label to its acts: the first sandbox plays the first, and so on; the last one
    is repeated. A label without acts passes. `unavailable` is the error that `preflight` raises.
    `images` maps each image of the engine to its digest, and may be changed at any time.
    """

    name = "fake"
    is_local = True
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

    def facts(self) -> EngineInfo:
        return EngineInfo(version="1", where="here", reason="a test", rootless=True, cgroup=None)

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
            self._record_end(spec, channel)
            if act.leaves:
                raise LeftBehindError(act.leaves, hint=f"remove {act.leaves}")

    def sweep(self) -> tuple[str, ...]:
        return ()

    def _next_act(self, spec: SandboxSpec) -> Act:
        with self._lock:
            number = sum(earlier.label == spec.label for earlier in self.made)
            self.made.append(spec)
        acts = self._acts.get(spec.label, Act())
        return acts if isinstance(acts, Act) else acts[min(number, len(acts) - 1)]

    def _record_end(self, spec: SandboxSpec, channel: FakeChannel) -> None:
        with self._lock:
            self.destroyed.append(spec)
            self.commands += [(spec.label, kind) for kind in channel.commands]
