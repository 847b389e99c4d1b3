"""Conversion of a sandbox specification to the body of Docker's `POST /containers/create` (pure).

Docker itself sorts mounts by depth, so their order here has no effect, but each target may occur
only once. Documentation: https://docs.docker.com/reference/api/engine/, `ContainerCreate`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from isosmoke.dataclass import dataclass
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
"""The image without files on which the mounts of the host image are made."""

PREFIX = "isosmoke-"
LEASE = "isosmoke.lease"
LABEL = "isosmoke.label"
SANDBOX = "isosmoke.sandbox"
"""The labels of a container and its volumes: its owner, its purpose, and the container's name."""

IMAGE = "isosmoke.image"
"""The label of an image that isosmoke built; its value is the tag."""

SCRATCH = PurePosixPath("/scratch")
ETC = PurePosixPath("/etc")

_SHARED_MEMORY = 1 << 30
"""Docker's default of 64 MB is too small for browsers and databases; bubblewrap sets no limit."""

_SECURITY = ("no-new-privileges", "label=disable")
"""SELinux is disabled, as it would require relabelling every mounted file of the host."""

_FORBIDDEN_IN_OPTIONS = frozenset(',:\\"')

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DockerLayer:
    """An overlay on the host: the directory that it shows, and those in which it keeps its changes.

    A fresh directory on disk uses only `upper`. What is in `above` covers `lower`.
    """

    lower: Path
    upper: Path
    work: Path
    above: Path | None = None


DockerLayers = Mapping[PurePosixPath, DockerLayer]
"""The layer of each target that is kept on disk."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The way to ask a kind of daemon for a sandbox.

    `users` is the mode of the user namespace that preserves the caller's UID. `limits` are the
    limits of `getrlimit` that must be named, each with its soft and hard value.
    """

    name: str
    users: str = "host"
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_podman(self) -> bool:
        """True for Podman.

        Its tmpfs has no owner, and its volumes cannot be overlays for ordinary users.
        """
        return self.name == PODMAN


KEEP_ID = "keep-id"
DOCKER = "Docker"
PODMAN = "Podman"


def adapt_spec(spec: SandboxSpec, dialect: Dialect) -> SandboxSpec:
    """Return `spec` with the changes that Podman needs; for Docker, return it unchanged.

    A fresh directory in memory would belong to root, so it is moved to disk. Podman mounts its own
    passwd and group files unless something else is mounted there. The control groups of a rootless
    Podman belong to the user.
    """
    if not dialect.is_podman:
        return spec
    mounts = [
        replace(mount, on_disk=True) if isinstance(mount, Fresh) else mount for mount in spec.mounts
    ]
    targets = {mount.target for mount in mounts}
    users = [
        ReadOnly(mount.source / name, mount.target / name)
        for mount in mounts
        for name in ("passwd", "group")
        if isinstance(mount, ReadOnly) and mount.target == ETC and ETC / name not in targets
    ]
    return replace(
        spec,
        mounts=(*mounts, *users),
        writes_to_cgroup=spec.writes_to_cgroup or dialect.users == KEEP_ID,
    )


def build_body(
    spec: SandboxSpec, dialect: Dialect, *, layers: DockerLayers, labels: Mapping[str, str]
) -> Body:
    """Return the container for `spec`, with the keeper as its only process."""
    return {
        "Image": EMPTY_IMAGE if spec.image == HOST_IMAGE else spec.image,
        "Entrypoint": list(spec.keeper()),
        "User": f"{spec.uid}:{spec.gid}",
        "WorkingDir": "/",
        "Labels": dict(labels),
        **({} if spec.image == HOST_IMAGE else {"Healthcheck": {"Test": ["NONE"]}}),
        **_build_streams(),
        "HostConfig": _build_host_config(spec, dialect, layers, labels),
    }


def build_probe_body(directory: Path, dialect: Dialect, labels: Mapping[str, str]) -> Body:
    """Return a container with a host directory in it; it is never started."""
    bind = {"Type": "bind", "Source": str(directory), "Target": str(SCRATCH)}
    return {
        "Image": EMPTY_IMAGE,
        "Entrypoint": [str(KEEPER)],
        "Labels": dict(labels),
        "HostConfig": {"NetworkMode": "none", "UsernsMode": dialect.users, "Mounts": [bind]},
    }


def _build_streams() -> Body:
    """Return the settings of the lifeline.

    When the only attached client disconnects, the keeper's stdin ends.
    """
    streams = {f"Attach{stream}": True for stream in ("Stdin", "Stdout", "Stderr")}
    return {"Tty": False, "OpenStdin": True, "StdinOnce": True, **streams}


def _build_host_config(
    spec: SandboxSpec, dialect: Dialect, layers: DockerLayers, labels: Mapping[str, str]
) -> Body:
    mounts = list(_resolve_mounts(spec))
    copies = [mount for mount in mounts if isinstance(mount, CopyOnWrite)]
    return {
        "NetworkMode": "host" if spec.network == "host" else "none",
        "UsernsMode": dialect.users,
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.keeper_capabilities()),
        "SecurityOpt": list(_SECURITY),
        "ReadonlyRootfs": spec.image == HOST_IMAGE,
        "Init": False,
        "AutoRemove": False,
        "LogConfig": {"Type": "none"},
        "ShmSize": _SHARED_MEMORY,
        **_build_limits(spec),
        "Ulimits": build_ulimits(dialect),
        "Tmpfs": {
            str(mount.target): _build_tmpfs_options(mount, spec)
            for mount in mounts
            if is_in_memory(mount)
        },
        "Binds": [_build_overlay_bind(copy, layers) for copy in copies if dialect.is_podman],
        "Mounts": [
            *(_build_overlay(copy, layers, labels) for copy in copies if not dialect.is_podman),
            *(bind for mount in mounts for bind in _build_binds(mount, layers)),
        ],
    }


def build_ulimits(dialect: Dialect) -> list[Body]:
    """Return the limits that must be named for any container, including those of services."""
    return [
        {"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in dialect.limits.items()
    ]


def _build_limits(spec: SandboxSpec) -> Body:
    """Return the limits, without swap in addition to the memory, as with bubblewrap."""
    limits = spec.limits
    memory = {"Memory": limits.memory, "MemorySwap": limits.memory} if limits.memory else {}
    processes = {"PidsLimit": limits.processes} if limits.processes else {}
    return {**memory, **processes}


def _resolve_mounts(spec: SandboxSpec) -> Iterator[Mount]:
    """Yield the last mount for each target, and the directories that lead to the mounts."""
    mounts: dict[PurePosixPath, Mount] = {mount.target: mount for mount in spec.sort_mounts()}
    yield from mounts.values()
    for directory in dict.fromkeys(
        directory for target in mounts for directory in _find_directories_between(target, mounts)
    ):
        yield Fresh(directory, 0o755)


def _find_directories_between(
    target: PurePosixPath, mounts: Mapping[PurePosixPath, Mount]
) -> Iterator[PurePosixPath]:
    """Yield the directories from a fresh one in memory down to `target`.

    If runc created them, they would belong to root.
    """
    missing: list[PurePosixPath] = []
    for directory in target.parents:
        if directory in mounts:
            yield from missing if is_in_memory(mounts[directory]) else ()
            return
        missing.append(directory)


def _build_tmpfs_options(fresh: Fresh, spec: SandboxSpec) -> str:
    """Return the options of a tmpfs; Docker forbids execution in it by default."""
    return f"exec,nosuid,nodev,mode={fresh.mode:04o},uid={spec.uid},gid={spec.gid}"


def is_in_memory(mount: Mount) -> TypeGuard[Fresh]:
    """Return whether a mount is a fresh directory that need not be on disk."""
    return isinstance(mount, Fresh) and not mount.on_disk


def _build_binds(mount: Mount, layers: DockerLayers) -> Iterator[Body]:
    """Yield the bind of a mount that is neither a tmpfs nor an overlay."""
    match mount:
        case ReadOnly(source, target):
            yield _build_bind(source, target, read_only=True)
        case Fresh(target, on_disk=True):
            yield _build_bind(layers[target].upper, target, read_only=False)
        case _:
            return


def _build_bind(source: Path, target: PurePosixPath, *, read_only: bool) -> Body:
    return {"Type": "bind", "Source": str(source), "Target": str(target), "ReadOnly": read_only}


def _build_overlay(mount: CopyOnWrite, layers: DockerLayers, labels: Mapping[str, str]) -> Body:
    """Return an unnamed volume, which Docker removes with its container."""
    options = {
        "type": "overlay",
        "device": "overlay",
        "o": _build_overlay_options(layers[mount.target]),
    }
    return {
        "Type": "volume",
        "Target": str(mount.target),
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": dict(labels),
            "DriverConfig": {"Name": "local", "Options": options},
        },
    }


def _build_overlay_options(layer: DockerLayer) -> str:
    lower = ":".join(str(_check_option_path(path)) for path in (layer.above, layer.lower) if path)
    directories = {"upperdir": layer.upper, "workdir": layer.work}
    others = (f"{name}={_check_option_path(path)}" for name, path in directories.items())
    return ",".join((f"lowerdir={lower}", *others))


def _check_option_path(path: Path) -> Path:
    if _FORBIDDEN_IN_OPTIONS & set(str(path)):
        raise EngineError(
            f"docker cannot keep changes in {path}: overlay options cannot contain this path",
            hint="set ISOSMOKE_STATE to a path without commas, colons, backslashes and quotes",
        )
    return path


def _build_overlay_bind(mount: CopyOnWrite, layers: DockerLayers) -> str:
    """Return an overlay that Podman itself removes (podman-run(1), `--volume`, option `O`)."""
    layer = layers[mount.target]
    if ":" in str(mount.target):
        raise EngineError(
            f"podman cannot mount {mount.target}: its path contains a colon",
            hint="rename the directory, or use --engine bubblewrap",
        )
    options = (
        f"O,upperdir={_check_option_path(layer.upper)},workdir={_check_option_path(layer.work)}"
    )
    return f"{_check_option_path(layer.lower)}:{mount.target}:{options}"


def add_submounts(spec: SandboxSpec, text: str) -> SandboxSpec:
    """Return `spec` with a read-only mount for each writable mount below a read-only one.

    Docker makes a mount read-only, but not the mounts below it. `text` is a mountinfo.
    """
    mounts = mount_table.find_visible(text)
    submounts = [
        ReadOnly(submount.point, mount.target / submount.point.relative_to(mount.source))
        for mount in spec.mounts
        if isinstance(mount, ReadOnly)
        for submount in mount_table.find_below(mount.source, mounts)
        if not submount.read_only and _is_shown_by(mount, submount.point, spec)
    ]
    return replace(spec, mounts=(*spec.mounts, *submounts))


def _is_shown_by(mount: ReadOnly, point: Path, spec: SandboxSpec) -> bool:
    """Return whether no other mount of the sandbox covers the path of `point` in `mount`."""
    target = mount.target / point.relative_to(mount.source)
    others = (other for other in spec.mounts if mount.target in other.target.parents)
    return not any(target.is_relative_to(other.target) for other in others)
