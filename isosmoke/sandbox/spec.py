"""What a sandbox contains and what is run in it: plain data that engines and the runner read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

HOST_IMAGE = "host"
"""The image that is made of mounts alone: of the host's system folders or a root filesystem."""

PRIVATE = PurePosixPath("/run/isosmoke")
"""Where a sandbox keeps what isosmoke itself brings."""

KEEPER = PRIVATE / "keeper"
BINARIES = PRIVATE / "bin"


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """A file or folder of the host, unwritable."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True, slots=True)
class CopyOnWrite:
    """A folder of the host whose changes end with the sandbox, at its own path."""

    source: Path

    @property
    def target(self) -> PurePosixPath:
        return PurePosixPath(self.source)


@dataclass(frozen=True, slots=True)
class Fresh:
    """An empty folder that belongs to the script's user; `mode` as in chmod.

    On disk it has as much room as the host, where the engine can; else it is in memory, which has
    half of that at most, and programs that look for free space see no more.
    """

    target: PurePosixPath
    mode: int
    on_disk: bool = False


Mount = ReadOnly | CopyOnWrite | Fresh

CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "IPC_LOCK": 14,
    "SYS_CHROOT": 18,
    "SYS_NICE": 23,
    "AUDIT_WRITE": 29,
}
"""What a script may be given, by its bit (capabilities(7)).

None of them opens the keeper or the host, as SYS_PTRACE and SYS_ADMIN would.
"""


NAMESPACES = {
    "NEWTIME": 0x80,
    "NEWNS": 0x20000,
    "NEWCGROUP": 0x2000000,
    "NEWUTS": 0x4000000,
    "NEWIPC": 0x8000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
"""The flags of clone(2) and unshare(2) that make namespaces, without their prefix `CLONE_`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sandbox may use; `memory` in bytes, None is no limit."""

    memory: int | None = None
    processes: int | None = None
    open_files: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """All that an engine needs to make one sandbox; it reads nothing else.

    `new_namespaces` is whether root may make namespaces in it, as any other user may, and
    `writes_to_cgroup` whether the user may write to a control group that a new cgroup namespace
    would show. Not known is yes.
    """

    label: str
    image: str
    mounts: tuple[Mount, ...]
    uid: int
    gid: int
    network: Literal["host", "isolated"]
    limits: Limits = field(default_factory=Limits)
    capabilities: tuple[str, ...] = ()
    new_namespaces: bool = False
    writes_to_cgroup: bool = True

    def keeper(self) -> tuple[str, ...]:
        """Return the keeper's command line: the capabilities to keep, the namespaces to refuse."""
        kept = sum(1 << CAPABILITIES[one] for one in set(self.capabilities))
        refused = sum(NAMESPACES[one] for one in self.refused_namespaces())
        return (str(KEEPER), str(kept), str(refused))

    def refused_namespaces(self) -> frozenset[str]:
        """Return the names of the `NAMESPACES` that nothing in the sandbox may make.

        In a user and cgroup namespace of its own a process may mount control groups, and write to
        those that its user owns: root owns all of them. A capability can make up for ownership.
        """
        if self.uid == 0 and not self.new_namespaces:
            return frozenset(NAMESPACES)
        may_write = self.uid == 0 or self.writes_to_cgroup or self.capabilities
        return frozenset({"NEWCGROUP"} if may_write else ())

    def inner(self) -> tuple[CopyOnWrite, ...]:
        """The copies that lie in another one: what is mounted in a folder of the workspace."""
        copies = [one for one in self.mounts if isinstance(one, CopyOnWrite)]
        targets = {one.target for one in copies}
        return tuple(one for one in copies if not targets.isdisjoint(one.target.parents))

    def ordered(self) -> tuple[Mount, ...]:
        """The mounts, each after the folders it lies in."""
        return tuple(sorted(self.mounts, key=lambda mount: len(mount.target.parts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One command in one sandbox; all durations in seconds.

    `timeout` bounds the command, `grace` lies between SIGTERM and SIGKILL once it is over, and
    `settle` is how long processes may take to end after the command before they count as left.
    The command's program is looked for in the directories of `search`, separated by colons, or
    where that is empty in those of the environment's PATH.
    """

    spec: SandboxSpec
    argv: tuple[str, ...]
    folder: PurePosixPath
    environment: Mapping[str, str]
    timeout: float
    grace: float
    settle: float
    search: str = ""
