"""A sandbox specification as the body of Docker's `POST /containers/create` (pure).

Docker mounts by depth itself, so the order of mounts here means nothing, but a target may be named
only once. Documentation: https://docs.docker.com/reference/api/engine/, `ContainerCreate`.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from isosmoke.engines.base import refused_copies
from isosmoke.errors import EngineError
from isosmoke.host import mount_table
from isosmoke.sandbox.spec import (
    HOST_IMAGE,
    KEEPER,
    CopyOnWrite,
    Fresh,
    Mount,
    ReadOnly,
    SandboxSpec,
)

EMPTY_IMAGE = "isosmoke/empty:1"
"""What the host image is mounted on: an image without a file."""

PREFIX = "isosmoke-"
LEASE = "isosmoke.lease"
LABEL = "isosmoke.label"
SANDBOX = "isosmoke.sandbox"
"""The labels of a container and its volumes: whose they are, for what, and the container's name."""

IMAGE = "isosmoke.image"
"""The label of an image that isosmoke built: its tag."""

SCRATCH = PurePosixPath("/scratch")
ETC = PurePosixPath("/etc")

_SHARED_MEMORY = 1 << 30
"""Docker gives /dev/shm 64 MB, where browsers and databases fail; bubblewrap sets no limit."""

_SECURITY = ("no-new-privileges", "label=disable")
"""SELinux would need every file of the host that is mounted to be labelled anew."""

_NOT_IN_OPTIONS = frozenset(',:\\"')

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """An overlay on the host: what it shows unchanged, and where it keeps its changes.

    A fresh folder on disk is its `upper` alone.
    """

    lower: Path
    upper: Path
    work: Path


Layers = Mapping[PurePosixPath, Layer]
"""The layer of each target that is kept on disk."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a kind of daemon is asked for the same sandbox.

    `users` is the mode of the user namespace in which the caller has the caller's own uid; `limits`
    are those of `getrlimit` that have to be named, each with its soft and hard value.
    """

    name: str
    users: str = "host"
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_podmans(self) -> bool:
        """Its tmpfs has no owner, and its volumes cannot be overlays for ordinary users."""
        return self.name == PODMAN


KEEP_ID = "keep-id"
DOCKER = "Docker"
PODMAN = "Podman"


def adapted(spec: SandboxSpec, dialect: Dialect) -> SandboxSpec:
    """Where a folder in memory would be root's, it is on disk; nor are the user's files replaced.

    Podman mounts a passwd and a group of its own unless something is mounted there. Where it is
    rootless, so are its control groups: the user's own.
    """
    if not dialect.is_podmans:
        return spec
    mounts = [replace(one, on_disk=True) if isinstance(one, Fresh) else one for one in spec.mounts]
    taken = {one.target for one in mounts}
    users = [
        ReadOnly(one.source / name, one.target / name)
        for one in mounts
        for name in ("passwd", "group")
        if isinstance(one, ReadOnly) and one.target == ETC and ETC / name not in taken
    ]
    return replace(
        spec,
        mounts=(*mounts, *users),
        writes_to_cgroup=spec.writes_to_cgroup or dialect.users == KEEP_ID,
    )


def body(spec: SandboxSpec, dialect: Dialect, *, layers: Layers, labels: Mapping[str, str]) -> Body:
    """The container that is `spec`, with the keeper as its only process."""
    return {
        "Image": EMPTY_IMAGE if spec.image == HOST_IMAGE else spec.image,
        "Entrypoint": list(spec.keeper()),
        "User": f"{spec.uid}:{spec.gid}",
        "WorkingDir": "/",
        "Labels": dict(labels),
        **({} if spec.image == HOST_IMAGE else {"Healthcheck": {"Test": ["NONE"]}}),
        **_streams(),
        "HostConfig": _host_config(spec, dialect, layers, labels),
    }


def shell(folder: Path, dialect: Dialect, labels: Mapping[str, str]) -> Body:
    """A container that is never started, with a folder of the host in it."""
    bind = {"Type": "bind", "Source": str(folder), "Target": str(SCRATCH)}
    return {
        "Image": EMPTY_IMAGE,
        "Entrypoint": [str(KEEPER)],
        "Labels": dict(labels),
        "HostConfig": {"NetworkMode": "none", "UsernsMode": dialect.users, "Mounts": [bind]},
    }


def _streams() -> Body:
    """The lifeline: the end of the only attachment is the end of the keeper's stdin."""
    attached = {f"Attach{stream}": True for stream in ("Stdin", "Stdout", "Stderr")}
    return {"Tty": False, "OpenStdin": True, "StdinOnce": True, **attached}


def _host_config(
    spec: SandboxSpec, dialect: Dialect, layers: Layers, labels: Mapping[str, str]
) -> Body:
    mounts = list(_mounts(spec))
    volumes = [one for one in mounts if isinstance(one, CopyOnWrite)]
    return {
        "NetworkMode": "host" if spec.network == "host" else "none",
        "UsernsMode": dialect.users,
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.capabilities),
        "SecurityOpt": list(_SECURITY),
        "ReadonlyRootfs": spec.image == HOST_IMAGE,
        "Init": False,
        "AutoRemove": False,
        "LogConfig": {"Type": "none"},
        "ShmSize": _SHARED_MEMORY,
        **_limits(spec),
        "Ulimits": ulimits(dialect),
        "Tmpfs": {str(one.target): _tmpfs(one, spec) for one in mounts if in_memory(one)},
        "Binds": [_overlay_bind(one, layers) for one in volumes if dialect.is_podmans],
        "Mounts": [
            *(_overlay(one, layers, labels) for one in volumes if not dialect.is_podmans),
            *(one for mount in mounts for one in _mounted(mount, layers)),
        ],
    }


def ulimits(dialect: Dialect) -> list[Body]:
    """The limits that must be named for any container, be it a sandbox or not."""
    return [
        {"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in dialect.limits.items()
    ]


def _limits(spec: SandboxSpec) -> Body:
    """No swap beyond the memory, as with bubblewrap."""
    limits = spec.limits
    memory = {"Memory": limits.memory, "MemorySwap": limits.memory} if limits.memory else {}
    processes = {"PidsLimit": limits.processes} if limits.processes else {}
    return {**memory, **processes}


def _mounts(spec: SandboxSpec) -> Iterator[Mount]:
    """One mount for each target, the later where there are two."""
    mounts: dict[PurePosixPath, Mount] = {mount.target: mount for mount in spec.ordered()}
    yield from mounts.values()
    for folder in dict.fromkeys(one for target in mounts for one in _between(target, mounts)):
        yield Fresh(folder, 0o755)


def _between(
    target: PurePosixPath, mounts: Mapping[PurePosixPath, Mount]
) -> Iterator[PurePosixPath]:
    """The folders from a fresh one down to `target`: made by runc, they would be root's."""
    missing: list[PurePosixPath] = []
    for folder in target.parents:
        if folder in mounts:
            yield from missing if in_memory(mounts[folder]) else ()
            return
        missing.append(folder)


def _tmpfs(fresh: Fresh, spec: SandboxSpec) -> str:
    """Docker forbids execution in a tmpfs unless told otherwise."""
    return f"exec,nosuid,nodev,mode={fresh.mode:04o},uid={spec.uid},gid={spec.gid}"


def in_memory(mount: Mount) -> TypeGuard[Fresh]:
    """Whether it is a folder that need not be on disk."""
    return isinstance(mount, Fresh) and not mount.on_disk


def _mounted(mount: Mount, layers: Layers) -> Iterator[Body]:
    """What is neither a tmpfs nor an overlay."""
    match mount:
        case ReadOnly(source, target):
            yield _bind(source, target, read_only=True)
        case Fresh(target, on_disk=True):
            yield _bind(layers[target].upper, target, read_only=False)
        case _:
            return


def _bind(source: Path, target: PurePosixPath, *, read_only: bool) -> Body:
    return {"Type": "bind", "Source": str(source), "Target": str(target), "ReadOnly": read_only}


def _overlay(mount: CopyOnWrite, layers: Layers, labels: Mapping[str, str]) -> Body:
    """A volume without a name, which Docker removes with its container."""
    options = {"type": "overlay", "device": "overlay", "o": _overlay_options(layers[mount.target])}
    return {
        "Type": "volume",
        "Target": str(mount.target),
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": dict(labels),
            "DriverConfig": {"Name": "local", "Options": options},
        },
    }


def _overlay_options(layer: Layer) -> str:
    folders = {"lowerdir": layer.lower, "upperdir": layer.upper, "workdir": layer.work}
    return ",".join(f"{name}={_in_option(folder)}" for name, folder in folders.items())


def _in_option(folder: Path) -> Path:
    if _NOT_IN_OPTIONS & set(str(folder)):
        raise EngineError(
            f"docker cannot keep changes in {folder}: overlay options cannot carry its name",
            hint="set ISOSMOKE_STATE to a folder without any of , : \\ and quotes in its name",
        )
    return folder


def _overlay_bind(mount: CopyOnWrite, layers: Layers) -> str:
    """Podman's own overlay (podman-run(1), `--volume`, option `O`), which it removes itself."""
    layer = layers[mount.target]
    if ":" in str(mount.target):
        raise EngineError(
            f"podman cannot mount {mount.target}: its name has a colon",
            hint="rename the folder, or choose --engine bubblewrap",
        )
    options = f"O,upperdir={_in_option(layer.upper)},workdir={_in_option(layer.work)}"
    return f"{_in_option(layer.lower)}:{mount.target}:{options}"


def with_submounts(spec: SandboxSpec, text: str) -> SandboxSpec:
    """Docker makes a mount read-only, not the mounts below it: those get their own."""
    mounts = mount_table.visible(text)
    below = [
        ReadOnly(one.point, mount.target / one.point.relative_to(mount.source))
        for mount in spec.mounts
        if isinstance(mount, ReadOnly)
        for one in mount_table.below(mount.source, mounts)
        if not one.read_only and _shown_by(mount, one.point, spec)
    ]
    return replace(spec, mounts=(*spec.mounts, *below))


def _shown_by(mount: ReadOnly, point: Path, spec: SandboxSpec) -> bool:
    """Whether no other mount of the sandbox lies over the place of `point` in `mount`."""
    target = mount.target / point.relative_to(mount.source)
    others = (one for one in spec.mounts if mount.target in one.target.parents)
    return not any(target.is_relative_to(one.target) for one in others)


_REMEDIES = (
    (
        "cgroups in hybrid mode not supported",
        'set runtime = "runc" below [engine] in /etc/containers/containers.conf, restart Podman',
    ),
    ("error setting rlimit", "raise LimitNOFILE and LimitNPROC of podman.service, restart Podman"),
    ("newuidmap", "sudo apt-get install uidmap, and give yourself a line in /etc/subuid"),
)
"""What a daemon's runtime complains of, and what mends it."""


def remedy(words: str) -> str:
    """What mends what a daemon complains of in `words`; empty where that is not known."""
    return next((mending for known, mending in _REMEDIES if known in words), "")


def unshown(error: EngineError, points: Iterable[Path]) -> EngineError:
    """The error for a sandbox of a workspace that has mounts in it, and that could not be made.

    A runtime calls an overlay that the kernel refuses an invalid argument.
    """
    if "invalid argument" in error.message:
        return refused_copies(points)
    names = ", ".join(map(str, points))
    hint = error.hint or "unmount that, or mount it outside the workspace"
    return EngineError(f"{error.message} (mounted in the workspace: {names})", hint)


def empty_files(names: Iterable[str]) -> bytes:
    """A tar archive of empty files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for name in names:
            writer.addfile(tarfile.TarInfo(name))
    return archive.getvalue()
