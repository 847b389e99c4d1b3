"""The `Engine` and `Sandbox` protocols, and what all engines share."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineError
from isosmoke.host import mount_table, state
from isosmoke.keeper.exchange import Channel
from isosmoke.sandbox.spec import CopyOnWrite, SandboxSpec

START_SECONDS = 60.0
"""The time limit for starting a keeper, in seconds."""

DESTROY_SECONDS = 20.0
"""The time limit for destroying a sandbox and proving that it is gone, in seconds."""


def find_mounts_in(spec: SandboxSpec, text: str) -> tuple[Path, ...]:
    """Return the mount points inside the directories that `spec` copies; `text` is a mountinfo."""
    copied = (mount.source for mount in spec.mounts if isinstance(mount, CopyOnWrite))
    return _find_points(tuple(copied), text)


@lru_cache(maxsize=4)
def _find_points(directories: tuple[Path, ...], text: str) -> tuple[Path, ...]:
    """Return the mount points inside directories; the sandboxes of a run ask for the same ones."""
    mounts = mount_table.find_visible(text)
    points = (
        mount.point
        for directory in directories
        for mount in mount_table.find_below(directory, mounts)
    )
    return tuple(dict.fromkeys(points))


def copies_refused_error(points: Iterable[Path]) -> EngineError:
    """Return the error for a workspace that the kernel refuses to copy because of the mounts in it.

    An overlay shows a directory without the mounts in it, and the kernel does not let an ordinary
    user see a directory in that way.
    """
    points = tuple(points)
    names = ", ".join(map(str, points))
    if points and all(point.name == state.RECORDS_DIRECTORY for point in points):
        return EngineError(
            f"the kernel refuses to copy a workspace with a mount at {names}, which hides "
            "isosmoke's records from a scenario",
            hint='in a scenario, run isosmoke in a copy: cp -r . "$(mktemp -d)/copy"; elsewhere, '
            "unmount it or use --engine docker",
        )
    return EngineError(
        f"the kernel refuses to copy a workspace that contains mounts: {names}",
        hint="use --engine docker, or unmount them, or mount them outside the workspace",
    )


class Sandbox(Protocol):
    """One fresh environment, which exists until it is destroyed."""

    @property
    def channel(self) -> Channel:
        """The keeper's stdin and stdout; closing it ends every process in the sandbox."""

    @property
    def changes(self) -> Mapping[PurePosixPath, Path]:
        """The host directory that holds the changes made in a mount, by the mount's target.

        For a copy it has the layout of an overlay's upper layer. A mount is missing from the
        mapping if its changes are kept in memory or on another machine.
        """

    def peaks(self) -> Mapping[str, int]:
        """Return the peak usage of all processes together so far, as far as the kernel counts it.

        The keys are those of `isosmoke.results.evidence.Evidence`.
        """

    def find_reached_limits(self) -> frozenset[str]:
        """Return the limits that were reached, as far as they are known; this may end the sandbox.

        They are `memory`, if a process was killed because of it, and `processes`, if one could not
        be created.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """An engine on this machine: its version, its location, and the reason for choosing it.

    `where` is a program or the URL of a socket. `cgroup` is the version of the control groups that
    enforce its limits, None if it has none. `unlimited` has the resources, of memory and processes,
    that these groups do not limit, as where a controller is not delegated.
    """

    version: str
    where: str
    reason: str
    rootless: bool
    cgroup: int | None
    unlimited: frozenset[str] = frozenset()

    @property
    def limits(self) -> frozenset[str]:
        """The resources that the engine can limit.

        Only root can use control groups of version 1. Without control groups, the keeper limits the
        processes of an ordinary user.
        """
        if self.cgroup is None or (self.rootless and self.cgroup == 1):
            return frozenset({"processes"} if self.rootless else ())
        return frozenset({"memory", "processes"}) - self.unlimited


class Engine(Protocol):
    """A factory of fresh sandboxes."""

    @property
    def name(self) -> str: ...

    @property
    def is_local(self) -> bool:
        """True if its sandboxes certainly use this machine's kernel and host network.

        Only then does the load of this machine say anything about them.
        """

    @property
    def description(self) -> str:
        """A short description of the sandbox program; known after `preflight`."""

    def preflight(self) -> None:
        """Check that sandboxes can be created.

        Raises:
            EngineUnavailableError: if they cannot; its hint says what to do.
        """

    def facts(self) -> EngineInfo:
        """Return information about the engine on this machine.

        Raises:
            EngineUnavailableError: if the engine cannot be asked.
        """

    def image_digest(self, image: str) -> str:
        """Return the SHA-256, in hex, of the content of this engine's image `image`.

        The host's image has no digest; for it the result is empty.

        Raises:
            ImageError: if the engine has no such image.
            EngineUnavailableError: if the engine cannot be asked.
        """

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        """Yield a new sandbox; afterwards, always destroy it and prove that it is gone."""

    def sweep(self) -> tuple[str, ...]:
        """Remove the remains of dead runs and return their names; live runs are never touched.

        Raises:
            LeftBehindError: if some could not be removed. It names them, and those that were
                removed in `removed`.
        """


@runtime_checkable
class AnticipatingEngine(Protocol):
    """An engine that can create sandboxes before they are needed; an engine need not."""

    def expecting(self, specs: Sequence[SandboxSpec], ahead: int) -> AbstractContextManager[None]:
        """Keep up to `ahead` sandboxes ready during a block, for these `specs` in this order.

        `sandbox` then returns a ready one if it has one. What the block leaves is destroyed.

        Raises:
            LeftBehindError: at the end of the block, if that failed.
        """
