"""Which folders a scenario works in: a repository with its git folders, or one folder."""

import shlex
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from isosmoke.errors import UsageError
from isosmoke.host import mount_table, state


@dataclass(frozen=True, slots=True)
class Workspace:
    """Copy-on-write folders, read-only extras (borrowed git objects), and the working folder.

    `mounted` are the mount points inside those folders, outer ones first. A copy of a folder does
    not have what is mounted in it.
    """

    folders: tuple[Path, ...]
    borrowed: tuple[Path, ...]
    working: Path
    mounted: tuple[Path, ...] = ()


def git_top(folder: Path) -> Path | None:
    """The top of the work tree that `folder` lies in, as git finds it, without running git."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)


def _git_folder(top: Path) -> Path:
    """The work tree's own git folder; in a worktree or a submodule a file `.git` names it."""
    link = top / ".git"
    if link.is_dir():
        return link.resolve()
    return (top / link.read_text().removeprefix("gitdir:").strip()).resolve()


def _common_folder(git_folder: Path) -> Path:
    """The folder that all worktrees share (gitrepository-layout(5), `commondir`)."""
    pointer = git_folder / "commondir"
    return (git_folder / pointer.read_text().strip()).resolve() if pointer.exists() else git_folder


def _borrowed(common: Path) -> list[Path]:
    """Object folders of other repositories that this one reads (`git clone --shared`).

    Those may borrow in their turn, and git follows them all.
    """
    known = [(common / "objects").resolve()]
    for objects in known:
        others = [(objects / line).resolve() for line in _alternates(objects)]
        known += [one for one in dict.fromkeys(others) if one.is_dir() and one not in known]
    return known[1:]


def _alternates(objects: Path) -> list[str]:
    file = objects / "info/alternates"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in lines if line.strip()]


def find(working: Path, manifest_folder: Path | None, *, home: Path) -> Workspace:
    """The workspace of a caller who stands in `working`.

    It is the repositories of the working folder and of the manifest; outside a repository, the
    manifest's folder or, for a bare command, the working folder. `UsageError` for HOME and `/`.
    """
    working = working.resolve()
    manifest_folder = (manifest_folder or working).resolve()
    own = _repository(manifest_folder, home) or manifest_folder
    base = _repository(working, home) or own
    tops = [base] if manifest_folder.is_relative_to(base) else [base, own]
    for top in tops:
        _refuse_home(top, home)
    return _assembled(tops, working if working.is_relative_to(base) else base)


def with_mounts(found: Workspace) -> Workspace:
    """Return the workspace with the mount points that are inside its folders now.

    What is mounted in place of isosmoke's own records, or in them, is none of its content.

    Raises:
        UsageError: if one of them cannot be read, or is neither a directory nor a regular file.
    """
    mounts = mount_table.visible(mount_table.text())
    points = [
        one.point
        for folder in found.folders
        for one in mount_table.below(folder, mounts)
        if not one.point.is_relative_to(folder / state.IN_PROJECT)
    ]
    for point in points:
        if trouble := _trouble(point):
            raise UsageError(
                f"{point}, which is mounted inside the workspace, {trouble}, and a sandbox would "
                "be without it",
                hint=f"sudo umount {shlex.quote(str(point))}, or mount it outside the workspace",
            )
    return replace(found, mounted=tuple(points))


def _trouble(point: Path) -> str:
    """What keeps a mount from being shown in a sandbox; empty if nothing does."""
    try:
        mode = point.stat().st_mode
        if stat.S_ISDIR(mode):
            next(point.iterdir(), None)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else "is neither a directory nor a file"


def _repository(folder: Path, home: Path) -> Path | None:
    top = git_top(folder)
    return None if top is None or holds_home(top, home) else top


def holds_home(folder: Path, home: Path) -> bool:
    """Return whether `folder` is the home directory or a directory above it."""
    return home.is_relative_to(folder) or home.resolve().is_relative_to(folder.resolve())


def _refuse_home(top: Path, home: Path) -> None:
    if holds_home(top, home):
        raise UsageError(
            f"{top} cannot be a workspace: it holds your home folder",
            hint="change to a project's folder, or make one with `git init`",
        )


def _assembled(tops: list[Path], working: Path) -> Workspace:
    commons = [_common_folder(_git_folder(top)) for top in tops if (top / ".git").exists()]
    borrowed = [one for common in commons for one in _borrowed(common)]
    return Workspace(outermost([*tops, *commons]), outermost(borrowed), working)


def outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return each path once, sorted, without those inside another one of `paths`."""
    outer: list[Path] = []
    for path in sorted(set(paths)):  # a directory sorts right before what is inside it
        if not (outer and path.is_relative_to(outer[-1])):
            outer.append(path)
    return tuple(outer)
