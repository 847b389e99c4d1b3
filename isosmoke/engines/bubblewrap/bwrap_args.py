"""A sandbox specification as a bubblewrap command line (pure)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import assert_never

from isosmoke.sandbox.spec import CopyOnWrite, Fresh, Mount, ReadOnly, SandboxSpec


@dataclass(frozen=True, slots=True)
class Layer:
    """Where an overlay keeps its changes: both folders on one file system of the host.

    A fresh folder on disk is its `upper` alone.
    """

    upper: Path
    work: Path


Layers = Mapping[PurePosixPath, Layer]
"""The layer of each target that has one; a target without keeps its changes in memory."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
"""The devices that bwrap shows in `/dev`: those of the host, unless others are mounted there."""


def _mount(mount: Mount, layers: Layers) -> list[str]:
    match mount:
        case ReadOnly(source, target):
            return ["--ro-bind", str(source), str(target)]
        case Fresh(target) if target in layers:
            return ["--bind", str(layers[target].upper), str(target)]
        case Fresh(target, mode):
            return ["--perms", f"{mode:04o}", "--tmpfs", str(target)]
        case CopyOnWrite(source):
            return ["--overlay-src", str(source), *_overlay(mount.target, layers)]
        case _:
            assert_never(mount)


def _overlay(target: PurePosixPath, layers: Layers) -> list[str]:
    layer = layers.get(target)
    if layer is None:
        return ["--tmp-overlay", str(target)]
    return ["--overlay", str(layer.upper), str(layer.work), str(target)]


def _isolation(spec: SandboxSpec, *, own_cgroups: bool) -> Iterator[str]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts")
    if own_cgroups:
        yield "--unshare-cgroup-try"
    if spec.network == "isolated":
        yield "--unshare-net"
    if spec.uid != 0:
        yield "--unshare-user"
    yield from ("--cap-drop", "ALL")
    for one in spec.capabilities:
        yield from ("--cap-add", f"CAP_{one}")
    yield "--clearenv"


def _own_devices(devices: Path | None) -> list[str]:
    """Arguments that put the nodes in the directory `devices` over the host's; none for None."""
    if devices is None:
        return []
    return [
        word for name in DEVICES for word in ("--dev-bind", str(devices / name), f"/dev/{name}")
    ]


def _devices(spec: SandboxSpec) -> list[str]:
    """`/proc` and `/dev`; root, without any capability, could still write kernel settings.

    Nobody else could, and in a `/proc` without mounts in it another can be mounted: sandboxes in
    the sandbox need one of their own.
    """
    names = ("sys", "sysrq-trigger", "fs") if spec.uid == 0 else ()
    settings = (f"/proc/{name}" for name in names)
    closed = [word for one in settings for word in ("--ro-bind-try", one, one)]
    return ["--proc", "/proc", *closed, "--dev", "/dev"]


def _mounts(spec: SandboxSpec, layers: Layers) -> list[str]:
    return [word for mount in spec.ordered() for word in _mount(mount, layers)]


def bubblewrap(
    spec: SandboxSpec,
    *,
    layers: Layers,
    told: int,
    own_cgroups: bool = True,
    devices: Path | None = None,
) -> list[str]:
    """The arguments after `bwrap`; `told` is the descriptor that receives the keeper's pid.

    `own_cgroups` is whether the sandbox has a cgroup namespace of its own, and `devices` the
    directory of its own device nodes, None where it has those of the host.
    """
    return [
        *_isolation(spec, own_cgroups=own_cgroups),
        *("--as-pid-1", "--info-fd", str(told)),
        *_devices(spec),
        *_own_devices(devices),
        *_mounts(spec, layers),
        *("--remount-ro", "/", "--chdir", "/"),
        *("--", *spec.keeper()),
    ]


def trial(spec: SandboxSpec, *, layers: Layers, script: str, own_cgroups: bool) -> list[str]:
    """The arguments after `bwrap` that run a line of shell on top of the whole host, read-only."""
    host = ("--ro-bind", "/", "/")
    return [
        *_isolation(spec, own_cgroups=own_cgroups),
        *host,
        *_devices(spec),
        *_mounts(spec, layers),
        "--",
        "/bin/sh",
        "-ec",
        script,
    ]
