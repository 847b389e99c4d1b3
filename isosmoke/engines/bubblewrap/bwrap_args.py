"""Conversion of a sandbox specification to a bubblewrap command line (pure)."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import assert_never

from isosmoke.dataclass import dataclass
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, Link, Mount, ReadOnly, SandboxSpec


@dataclass(frozen=True, slots=True)
class BwrapLayer:
    """The two directories in which an overlay keeps its changes, on one file system of the host.

    A fresh directory on disk uses only `upper`.
    """

    upper: Path
    work: Path


BwrapLayers = Mapping[PurePosixPath, BwrapLayer]
"""The layer of each target that has one; other targets keep their changes in memory."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
"""The host devices that bwrap shows in `/dev`, unless other files are mounted over them."""


def _build_mount(mount: Mount, layers: BwrapLayers) -> list[str]:
    match mount:
        case ReadOnly(source, target):
            return ["--ro-bind", str(source), str(target)]
        case Fresh(target) if target in layers:
            return ["--bind", str(layers[target].upper), str(target)]
        case Fresh(target, mode):
            return ["--perms", f"{mode:04o}", "--tmpfs", str(target)]
        case CopyOnWrite(source, copies, above=above):
            # A layer on disk has the copies. In front of a source is the source that follows it.
            front = [copies] if copies is not None and mount.target not in layers else []
            paths = (source, *([above] if above else []), *front)
            sources = [flag for path in paths for flag in ("--overlay-src", str(path))]
            return [*sources, *_build_overlay(mount.target, layers)]
        case Link(target, destination):
            return ["--symlink", str(destination), str(target)]
        case _:
            assert_never(mount)


def _build_overlay(target: PurePosixPath, layers: BwrapLayers) -> list[str]:
    layer = layers.get(target)
    if layer is None:
        return ["--tmp-overlay", str(target)]
    return ["--overlay", str(layer.upper), str(layer.work), str(target)]


def _build_isolation(spec: SandboxSpec, *, own_cgroups: bool, own_users: bool) -> Iterator[str]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts")
    if own_cgroups:
        yield "--unshare-cgroup-try"
    if spec.network == "isolated":
        yield "--unshare-net"
    if own_users:
        yield "--unshare-user"
    yield from ("--cap-drop", "ALL")
    for capability in spec.keeper_capabilities():
        yield from ("--cap-add", f"CAP_{capability}")
    yield "--clearenv"


def _build_own_devices(devices: Path | None) -> list[str]:
    """Return arguments that mount the nodes in `devices` over the host's; empty for None."""
    if devices is None:
        return []
    return [
        argument
        for name in DEVICES
        for argument in ("--dev-bind", str(devices / name), f"/dev/{name}")
    ]


def _build_devices(spec: SandboxSpec) -> list[str]:
    """Return the arguments for `/proc` and `/dev`.

    Root could write kernel settings even without capabilities, so they are read-only for root. For
    other users `/proc` has no mounts in it, because a nested sandbox can only mount its own `/proc`
    if the existing one is fully visible.
    """
    setting_names = ("sys", "sysrq-trigger", "fs") if spec.uid == 0 else ()
    paths = (f"/proc/{name}" for name in setting_names)
    read_only = [argument for path in paths for argument in ("--ro-bind-try", path, path)]
    return ["--proc", "/proc", *read_only, "--dev", "/dev"]


def _build_mounts(spec: SandboxSpec, layers: BwrapLayers) -> list[str]:
    return [argument for mount in spec.sort_mounts() for argument in _build_mount(mount, layers)]


def build_arguments(
    spec: SandboxSpec,
    *,
    layers: BwrapLayers,
    info_fd: int,
    own_cgroups: bool = True,
    own_users: bool = True,
    devices: Path | None = None,
) -> list[str]:
    """Return the arguments after `bwrap`.

    `info_fd` is the descriptor that receives the keeper's PID. `own_cgroups` is true if the sandbox
    gets its own cgroup namespace, `own_users` if it gets its own user namespace. `devices` is the
    directory of its own device nodes, None if it uses those of the host.
    """
    return [
        *_build_isolation(spec, own_cgroups=own_cgroups, own_users=own_users),
        *("--as-pid-1", "--info-fd", str(info_fd)),
        *_build_devices(spec),
        *_build_own_devices(devices),
        *_build_mounts(spec, layers),
        *("--remount-ro", "/", "--chdir", "/"),
        *("--", *spec.keeper()),
    ]


def build_trial_arguments(
    spec: SandboxSpec, *, layers: BwrapLayers, script: str, own_cgroups: bool, own_users: bool
) -> list[str]:
    """Return the arguments after `bwrap` that run `script` in a shell on the read-only host."""
    host = ("--ro-bind", "/", "/")
    return [
        *_build_isolation(spec, own_cgroups=own_cgroups, own_users=own_users),
        *host,
        *_build_devices(spec),
        *_build_mounts(spec, layers),
        "--",
        "/bin/sh",
        "-ec",
        script,
    ]
