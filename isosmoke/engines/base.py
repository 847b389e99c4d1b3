"""The seam every engine fills: two protocols, and what a keeper's channel must do."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from isosmoke.errors import EngineError
from isosmoke.host import mount_table, state
from isosmoke.keeper.client import Channel
from isosmoke.sandbox.spec import CopyOnWrite, SandboxSpec

START_SECONDS = 60.0
"""How long an engine may take to have a keeper up."""

DESTROY_SECONDS = 20.0
"""How long an engine may take to prove that a sandbox is gone; a deadline of its own."""


def mounted_in(spec: SandboxSpec, text: str) -> tuple[Path, ...]:
    """Return what is mounted in the folders that `spec` copies, by the text of a mountinfo."""
    mounts = mount_table.visible(text)
    copies = (one for one in spec.mounts if isinstance(one, CopyOnWrite))
    points = (one.point for copy in copies for one in mount_table.below(copy.source, mounts))
    return tuple(dict.fromkeys(points))


def refused_copies(points: Iterable[Path]) -> EngineError:
    """The error for a kernel that refuses a copy of the workspace for the mounts in it.

    It lets no ordinary user see a folder without what is mounted in it, as an overlay would.
    """
    points = tuple(points)
    names = ", ".join(map(str, points))
    if points and all(point.name == state.IN_PROJECT for point in points):
        return EngineError(
            f"the kernel refuses a copy of the workspace with a mount at {names}, by which a "
            "scenario hides isosmoke's records",
            hint='in a scenario, run isosmoke in a copy: cp -r . "$(mktemp -d)/copy"; else unmount '
            "it, or choose --engine docker",
        )
    return EngineError(
        f"the kernel refuses a copy of the workspace with what is mounted in it: {names}",
        hint="an ordinary user needs --engine docker for that; else unmount it, or mount it "
        "outside the workspace",
    )


class Sandbox(Protocol):
    """One fresh environment, alive until it is destroyed."""

    @property
    def channel(self) -> Channel:
        """The keeper's stdin and stdout; closing it ends everything inside."""

    @property
    def changes(self) -> Mapping[PurePosixPath, Path]:
        """The folder of this host that holds what changed in a mount, by the mount's target.

        For a copy it is laid out as the upper layer of an overlay. A mount whose changes are kept
        in memory, or on another machine, is not there.
        """

    def peaks(self) -> Mapping[str, int]:
        """The most that all processes together had at a time so far, where the kernel counted it.

        That is bytes of `memory`, the page cache included, and a number of `processes`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What makes the sandboxes: its version, where it is (a program or a socket), and why that one.

    `cgroup` is the version of the control groups by which it limits, None where it has none.
    """

    version: str
    where: str
    reason: str
    rootless: bool
    cgroup: int | None

    @property
    def limits(self) -> frozenset[str]:
        """What it can limit, going by this: control groups of version 1 are root's alone.

        An ordinary user's processes are limited without any, by the keeper.
        """
        if self.cgroup is None or (self.rootless and self.cgroup == 1):
            return frozenset({"processes"} if self.rootless else ())
        return frozenset({"memory", "processes"})


class Engine(Protocol):
    """Makes fresh sandboxes."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str:
        """What makes the sandboxes, in a few words; known after `preflight`."""

    def preflight(self) -> None:
        """Return when sandboxes can be made, else raise `EngineUnavailableError` with a hint."""

    def facts(self) -> Facts:
        """What it is on this machine; `EngineUnavailableError` where it cannot be asked."""

    def image_digest(self, image: str) -> str:
        """Return the sha256, in hex, of the content that this engine has under the name `image`.

        It is empty for the host's image, which has no digest.

        Raises:
            ImageError: if the engine has no such image.
            EngineUnavailableError: if the engine cannot be asked.
        """

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        """Entering makes it, leaving destroys it on every path and proves that it is gone."""

    def sweep(self) -> tuple[str, ...]:
        """Remove what dead runs left and say what that was; live runs are never touched.

        `LeftBehindError` names what could not be removed, once all else is, and that in `removed`.
        """
