"""The workspace of a scenario: a repository with its git directories, or one directory."""

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host import mount_table, state


@dataclass(frozen=True, slots=True)
class Workspace:
    """Copy-on-write directories, borrowed git objects (read-only) and the working directory.

    `mount_points` lists the mount points inside those directories, outer ones first. A copy of a
    directory does not contain the file systems mounted in it. `links` are paths outside of those
    directories that lead into them, each with the path that it leads to.
    """

    directories: tuple[Path, ...]
    borrowed_objects: tuple[Path, ...]
    working: Path
    mount_points: tuple[Path, ...] = ()
    links: tuple[tuple[Path, Path], ...] = ()

    def includes(self, path: Path) -> bool:
        """Return whether `path`, without links, is in one of the copy-on-write directories."""
        return any(path.is_relative_to(directory) for directory in self.directories)


def git_top(directory: Path) -> Path | None:
    """Return the top of the work tree around `directory`, as git finds it, without running git."""
    candidates = (directory, *directory.parents)
    return next((path for path in candidates if (path / ".git").exists()), None)


def find_project(path: Path) -> Path:
    """Return the directory of a manifest's project: its repository, or the manifest's directory.

    If the path leads through a symbolic link of one repository into another, the one with the link
    is the project.
    """
    tops = [parent for parent in path.absolute().parents if (parent / ".git").exists()]
    real = (top for top in tops if top == top.resolve())
    return next(real, tops[-1] if tops else path.absolute().parent)


def _find_git_directory(top: Path) -> Path:
    """Return the git directory of a work tree; in a linked one, the file `.git` names it."""
    link = top / ".git"
    if link.is_dir():
        return link.resolve()
    return (top / _read_path(link).removeprefix("gitdir:").strip()).resolve()


def _read_path(file: Path) -> str:
    """Return the path in one of git's files; paths are bytes in any encoding."""
    return os.fsdecode(file.read_bytes())


def has_repository(top: Path) -> bool:
    """Return whether `top` has a git directory; that of a linked work tree may be missing."""
    return (top / ".git").exists() and _find_git_directory(top).is_dir()


def find_missing_repositories(workspace: Workspace) -> Iterator[Path]:
    """Yield each work tree of the workspace whose git directory is missing."""
    for directory in workspace.directories:
        if (directory / ".git").exists() and not has_repository(directory):
            yield directory


def _find_common_directory(git_directory: Path) -> Path:
    """Return the git directory that all worktrees share (gitrepository-layout(5), `commondir`)."""
    pointer = git_directory / "commondir"
    if not pointer.exists():
        return git_directory
    return (git_directory / _read_path(pointer).strip()).resolve()


def _find_borrowed(common: Path) -> list[Path]:
    """Return the object directories of other repositories that this one reads.

    `git clone --shared` creates such repositories. Those may borrow in turn, and git follows all
    of them.
    """
    known = [(common / "objects").resolve()]
    for objects in known:
        others = [(objects / line).resolve() for line in _read_alternates(objects)]
        known += [path for path in dict.fromkeys(others) if path.is_dir() and path not in known]
    return known[1:]


def _read_alternates(objects: Path) -> list[str]:
    file = objects / "info/alternates"
    lines = _read_path(file).split("\n") if file.exists() else []
    return [line for line in lines if line.strip()]


def find_workspace(working: Path, manifest_folder: Path | None, *, home: Path) -> Workspace:
    """Return the workspace of a caller in the directory `working`.

    It consists of the repositories of the working directory and of the manifest. Outside a
    repository, it is the manifest's directory or, without a manifest, the working directory.

    Raises:
        UsageError: if the workspace would contain HOME.
    """
    working = working.resolve()
    manifest_folder = (manifest_folder or working).resolve()
    own = _find_repository(manifest_folder, home) or manifest_folder
    base = _find_repository(working, home) or own
    tops = [base] if manifest_folder.is_relative_to(base) else [base, own]
    for top in tops:
        _refuse_home(top, home)
    return _build(tops, working if working.is_relative_to(base) else base)


def add_mount_points(workspace: Workspace) -> Workspace:
    """Return a copy of the workspace with the current mount points inside its directories.

    Mounts at or below isosmoke's own records are not part of the content and are left out.

    Raises:
        UsageError: if a mount cannot be read, or is neither a directory nor a regular file.
    """
    mounts = mount_table.find_visible(mount_table.read_table())
    points = [
        mount.point
        for directory in workspace.directories
        for mount in mount_table.find_below(directory, mounts)
        if not mount.point.is_relative_to(directory / state.RECORDS_DIRECTORY)
    ]
    for point in points:
        if problem := _find_problem(point):
            raise UsageError(
                f"{point} is mounted inside the workspace but {problem}, so it would be missing in "
                "a sandbox",
                hint=f"sudo umount {shlex.quote(str(point))}, or mount it outside the workspace",
            )
    return replace(workspace, mount_points=tuple(points))


def add_links(workspace: Workspace, paths: Iterable[Path], home: Path) -> Workspace:
    """Return a copy of the workspace with the links through which `paths` lead into it.

    The caller may name a directory through a link, such as `/home -> /var/home`. The workspace is
    also found below `home` if that path is a link.
    """
    real_home = home.resolve()
    below_home = (
        home / directory.relative_to(real_home)
        for directory in workspace.directories
        if directory.is_relative_to(real_home)
    )
    links = dict(
        link for path in (*paths, *below_home) if (link := _find_link(_normalize(path), workspace))
    )
    return replace(workspace, links=tuple(sorted(links.items())))


def _normalize(path: Path) -> Path:
    """Return the same path without `..`; the parent of a link is that of its target."""
    normal = Path("/")
    for part in path.parts[1:]:
        normal = Path(os.path.realpath(normal)).parent if part == ".." else normal / part
    return normal


def _find_link(path: Path, workspace: Workspace) -> tuple[Path, Path] | None:
    """Return the outermost directory of `path` that leads into the workspace, and its target.

    Return None if it leads elsewhere, or if a copy of the workspace contains the link itself.
    """
    for step in (*reversed(path.parents), path):
        target = Path(os.path.realpath(step))
        if workspace.includes(target):
            is_copied = workspace.includes(Path(os.path.realpath(step.parent)))
            return None if target == step or is_copied else (step, target)
    return None


def _find_problem(point: Path) -> str:
    """Return the reason why a sandbox cannot show a mount; an empty string if it can."""
    try:
        mode = point.stat().st_mode
        if stat.S_ISDIR(mode):
            next(point.iterdir(), None)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else "is neither a directory nor a file"


def _find_repository(directory: Path, home: Path) -> Path | None:
    top = git_top(directory)
    return None if top is None or contains_home(top, home) else top


def contains_home(
    directory: Path, home: Path, resolve: Callable[[Path], Path] = Path.resolve
) -> bool:
    """Return whether `directory` is the home directory or a directory above it."""
    return home.is_relative_to(directory) or resolve(home).is_relative_to(resolve(directory))


def _refuse_home(top: Path, home: Path) -> None:
    if contains_home(top, home):
        raise UsageError(
            f"{top} cannot be a workspace because it contains your home directory",
            hint="change to a project's directory, or create one with `git init`",
        )


def _build(tops: list[Path], working: Path) -> Workspace:
    repositories = [top for top in tops if has_repository(top)]
    commons = [_find_common_directory(_find_git_directory(top)) for top in repositories]
    borrowed_objects = [objects for common in commons for objects in _find_borrowed(common)]
    return Workspace(find_outermost([*tops, *commons]), find_outermost(borrowed_objects), working)


def find_outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return each path once, sorted, without paths inside another of the paths."""
    outer: list[Path] = []
    for path in sorted(set(paths)):  # a directory sorts right before its contents
        if not (outer and path.is_relative_to(outer[-1])):
            outer.append(path)
    return tuple(outer)
