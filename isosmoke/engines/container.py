"""A sandbox specification as the body of Docker's `POST /containers/create` (pure).

Docker mounts by depth itself, so the order of mounts here means nothing, but a target may be named
only once. Documentation: https://docs.docker.com/reference/api/engine/, `ContainerCreate`.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from isosmoke.errors import EngineError
from isosmoke.spec import HOST_IMAGE, KEEPER, CopyOnWrite, Fresh, Mount, ReadOnly, SandboxSpec

EMPTY_IMAGE = "isosmoke/empty:1"
"""What the host image is mounted on: an image without a file."""

PREFIX = "isosmoke-"
LEASE = "isosmoke.lease"
LABEL = "isosmoke.label"
SANDBOX = "isosmoke.sandbox"
"""The labels of a container and its volumes: whose they are, for what, and the container's name."""

SCRATCH = PurePosixPath("/scratch")

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


def body(spec: SandboxSpec, *, layers: Layers, labels: Mapping[str, str]) -> Body:
    """The container that is `spec`, with the keeper as its only process."""
    return {
        "Image": EMPTY_IMAGE if spec.image == HOST_IMAGE else spec.image,
        "Entrypoint": list(spec.keeper()),
        "User": f"{spec.uid}:{spec.gid}",
        "WorkingDir": "/",
        "Labels": dict(labels),
        "Healthcheck": {"Test": ["NONE"]},
        **_streams(),
        "HostConfig": _host_config(spec, layers, labels),
    }


def shell(folder: Path, labels: Mapping[str, str]) -> Body:
    """A container that is never started, with a folder of the host in it."""
    bind = {"Type": "bind", "Source": str(folder), "Target": str(SCRATCH)}
    return {
        "Image": EMPTY_IMAGE,
        "Entrypoint": [str(KEEPER)],
        "Labels": dict(labels),
        "HostConfig": {"NetworkMode": "none", "UsernsMode": "host", "Mounts": [bind]},
    }


def _streams() -> Body:
    """The lifeline: the end of the only attachment is the end of the keeper's stdin."""
    attached = {f"Attach{stream}": True for stream in ("Stdin", "Stdout", "Stderr")}
    return {"Tty": False, "OpenStdin": True, "StdinOnce": True, **attached}


def _host_config(spec: SandboxSpec, layers: Layers, labels: Mapping[str, str]) -> Body:
    mounts = list(_mounts(spec))
    return {
        "NetworkMode": "host" if spec.network == "host" else "none",
        "UsernsMode": "host",
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.capabilities),
        "SecurityOpt": list(_SECURITY),
        "ReadonlyRootfs": spec.image == HOST_IMAGE,
        "Init": False,
        "AutoRemove": False,
        "LogConfig": {"Type": "none"},
        "ShmSize": _SHARED_MEMORY,
        **_limits(spec),
        "Tmpfs": {str(one.target): _tmpfs(one, spec) for one in mounts if _in_memory(one)},
        "Mounts": [one for mount in mounts for one in _mounted(mount, layers, labels)],
    }


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
            yield from missing if _in_memory(mounts[folder]) else ()
            return
        missing.append(folder)


def _tmpfs(fresh: Fresh, spec: SandboxSpec) -> str:
    """Docker forbids execution in a tmpfs unless told otherwise."""
    return f"exec,nosuid,nodev,mode={fresh.mode:04o},uid={spec.uid},gid={spec.gid}"


def _in_memory(mount: Mount) -> TypeGuard[Fresh]:
    return isinstance(mount, Fresh) and not mount.on_disk


def _mounted(mount: Mount, layers: Layers, labels: Mapping[str, str]) -> Iterator[Body]:
    """What is no tmpfs."""
    match mount:
        case ReadOnly(source, target):
            yield _bind(source, target, read_only=True)
        case Fresh(target, on_disk=True):
            yield _bind(layers[target].upper, target, read_only=False)
        case CopyOnWrite():
            yield _overlay(mount, layers, labels)
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
    for folder in folders.values():
        if _NOT_IN_OPTIONS & set(str(folder)):
            raise EngineError(
                f"docker cannot keep changes in {folder}: overlay options cannot carry its name",
                hint="set ISOSMOKE_STATE to a folder without any of , : \\ and quotes in its name",
            )
    return ",".join(f"{name}={folder}" for name, folder in folders.items())


def with_submounts(spec: SandboxSpec, mountinfo: str) -> SandboxSpec:
    """Docker makes a mount read-only, not the mounts below it: those get their own."""
    taken = {mount.target for mount in spec.mounts}
    below = [
        ReadOnly(point, mount.target / point.relative_to(mount.source))
        for mount in spec.mounts
        for point in _writable(mountinfo)
        if isinstance(mount, ReadOnly) and mount.source in point.parents
    ]
    return replace(spec, mounts=(*spec.mounts, *(one for one in below if one.target not in taken)))


def _writable(mountinfo: str) -> list[Path]:
    """The mount points of `/proc/self/mountinfo`, as proc(5) has it, that are not read-only."""
    rows = (line.split(" ") for line in mountinfo.splitlines())
    return [Path(_unescaped(row[4])) for row in rows if "ro" not in row[5].split(",")]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def empty_files(names: Iterable[str]) -> bytes:
    """A tar archive of empty files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for name in names:
            writer.addfile(tarfile.TarInfo(name))
    return archive.getvalue()
