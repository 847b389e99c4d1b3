"""The description of a sandbox and of the command in it, as data for engines and the runner."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Literal

from isosmoke.dataclass import dataclass

HOST_IMAGE = "host"
"""The image that consists only of mounts: the host's system directories or a root filesystem."""

PRIVATE = PurePosixPath("/run/isosmoke")
"""The directory of isosmoke's own files in a sandbox."""

KEEPER = PRIVATE / "keeper"
BINARIES = PRIVATE / "bin"


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """A read-only file or directory of the host; `is_mask` as in `Fresh`."""

    source: Path
    target: PurePosixPath
    is_mask: bool = False


@dataclass(frozen=True, slots=True)
class CopyOnWrite:
    """A directory of the host at its own path or `at`; changes are discarded with the sandbox.

    The files and links in the directory `copies`, if there is one, replace those of `source`; so do
    those of the layer `above`, which is not copied where the engine can stack directories.
    """

    source: Path
    copies: Path | None = None
    at: PurePosixPath | None = None
    above: Path | None = None
    is_cache: bool = False

    @property
    def target(self) -> PurePosixPath:
        return self.at or PurePosixPath(self.source)


@dataclass(frozen=True, slots=True)
class Fresh:
    """An empty directory owned by the script's user; `mode` as in chmod.

    With `on_disk`, and if the engine can, it has the host's free disk space. Otherwise it is in
    memory, is limited to half of the memory, and programs see only that much free space. A mask
    only hides what a mount of the host shows at its path, and is left out when that is gone.
    """

    target: PurePosixPath
    mode: int
    on_disk: bool = False
    is_mask: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link to another path of the sandbox; its parent directory is not on the host."""

    target: PurePosixPath
    destination: PurePosixPath


Mount = ReadOnly | CopyOnWrite | Fresh | Link

CACHES = (
    *("cargo", "go", "npm", "pnpm", "yarn", "pip", "uv"),
    *("gradle", "maven", "ccache", "sccache"),
)
"""The tools whose caches a sandbox can show."""

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
"""The capabilities that a script may be granted, with their bits (capabilities(7)).

None of them gives access to the keeper or the host, as SYS_PTRACE and SYS_ADMIN would.
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
"""The flags of clone(2) and unshare(2) that create namespaces, without the prefix `CLONE_`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """The resource limits of a sandbox; `memory` in bytes, None for no limit."""

    memory: int | None = None
    processes: int | None = None
    open_files: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """Everything that an engine needs to create one sandbox; it reads nothing else.

    `new_namespaces` permits root to create namespaces in it, as any other user may.
    `writes_to_cgroup` means that the user may write to a control group that a new cgroup namespace
    would show; it is also true if that is unknown.
    """

    label: str
    image: str
    mounts: tuple[Mount, ...]
    uid: int
    gid: int
    network: Literal["host", "isolated"]
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    capabilities: tuple[str, ...] = ()
    new_namespaces: bool = False
    writes_to_cgroup: bool = True

    def keeper_capabilities(self) -> tuple[str, ...]:
        """Return the capabilities with which an engine starts the keeper: the script's and its own.

        With SETUID, a script can leave processes of other users. The keeper then needs KILL to stop
        and end them, and does not pass it on.
        """
        own = ("KILL",) if "SETUID" in self.capabilities else ()
        return tuple(dict.fromkeys((*self.capabilities, *own)))

    def keeper(self) -> tuple[str, ...]:
        """Return the keeper's command line: the capabilities to keep, the namespaces to refuse."""
        capabilities = sum(1 << CAPABILITIES[name] for name in set(self.capabilities))
        namespaces = sum(NAMESPACES[name] for name in self.refused_namespaces())
        return (str(KEEPER), str(capabilities), str(namespaces))

    def refused_namespaces(self) -> frozenset[str]:
        """Return the names of the `NAMESPACES` that no process in the sandbox may create.

        In its own user and cgroup namespaces, a process may mount control groups and write to those
        that its user owns. Root owns all of them. A capability can replace ownership.
        """
        if self.uid == 0 and not self.new_namespaces:
            return frozenset(NAMESPACES)
        may_write = self.uid == 0 or self.writes_to_cgroup or self.capabilities
        return frozenset({"NEWCGROUP"} if may_write else ())

    def list_nested_copies(self) -> tuple[CopyOnWrite, ...]:
        """Return the copies inside another copy: file systems mounted inside the workspace."""
        copies = [mount for mount in self.mounts if isinstance(mount, CopyOnWrite)]
        targets = {copy.target for copy in copies}
        return tuple(copy for copy in copies if not targets.isdisjoint(copy.target.parents))

    def sort_mounts(self) -> tuple[Mount, ...]:
        """Return the mounts, each after the directories that contain it."""
        return tuple(sorted(self.mounts, key=lambda mount: len(mount.target.parts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One command in one sandbox; durations in seconds.

    `timeout` limits the command. `grace` is the time between SIGTERM and SIGKILL after the timeout.
    `settle` is the time that processes have to end after the command before they count as
    survivors. The program is looked up in the colon-separated directories of `search`, or if that
    is empty, in those of the environment's PATH. If `is_command` is true, the scenario names the
    program, so that a missing program is a failure of the scenario, as in a shell.
    """

    spec: SandboxSpec
    argv: tuple[str, ...]
    folder: PurePosixPath
    environment: Mapping[str, str]
    timeout: float
    grace: float
    settle: float
    search: str = ""
    is_command: bool = False
