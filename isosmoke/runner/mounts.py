"""The mounts of a scenario's sandbox: its system, and everything that isosmoke adds to it."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from isosmoke.host import state
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.keeper import KEEPER_FILE
from isosmoke.manifest.models import Scenario
from isosmoke.rootfs_images import image_kinds
from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.added import name_lookup, user_files, var_directory
from isosmoke.sandbox.spec import (
    BINARIES,
    HOST_IMAGE,
    KEEPER,
    PRIVATE,
    CopyOnWrite,
    Fresh,
    Link,
    Mount,
    ReadOnly,
)

GITCONFIG = PRIVATE / "gitconfig"
"""The path of git's system configuration in every sandbox."""

_DATABASES = (PurePosixPath("/etc/passwd"), PurePosixPath("/etc/group"))

_PASSED_THROUGH = 0o100
"""The mode of a directory whose owner can use the paths in it, but cannot list them."""

_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - in the sandbox


def list_system_mounts(
    scenario: Scenario,
    workspace: Workspace,
    host: Collection[Mount],
    others: Collection[PurePosixPath],
) -> Iterator[Mount]:
    """Yield the mounts that make up the system; none if only an engine has the image.

    `host` are the mounts of the host's image, and `others` the targets of further mounts.
    """
    logs = Fresh(var_directory.LOGS, 0o755, on_disk=True)
    if scenario.image == HOST_IMAGE:
        shown = tuple(name_lookup.complete_host_mounts(_list_host_mounts(host, workspace, others)))
        points = (logs.target, *others, *(mount.target for mount in shown))
        yield from (var_directory.store(points), logs, *shown)
    elif root := find_image_root(scenario):
        hosts = rootfs_mounts.resolve_inside(root, name_lookup.HOSTS)
        own = (logs, *name_lookup.list_rootfs_mounts(hosts, scenario.network))
        yield from rootfs_mounts.build_mounts(root, {*others, *(mount.target for mount in own)})
        yield from own


def find_image_root(scenario: Scenario) -> Path | None:
    """Return the root directory of an image on this machine; None if only an engine has it."""
    if scenario.image == HOST_IMAGE:
        return Path("/")
    return image_kinds.find_root(scenario.image, scenario.folder)


def list_added_mounts(
    scenario: Scenario,
    caller: Caller,
    workspace: Workspace,
    binary: Binary | None,
    *,
    copies: Path | None = None,
    sources: Mapping[Path, Path] = MappingProxyType({}),
) -> tuple[Mount, ...]:
    """Return the mounts that every sandbox has in addition to its system.

    `copies` is a tree with copies of files at their own paths, which replace the workspace's.
    `sources` are the paths on this machine with the content of others.
    """
    fresh = (
        Fresh(PurePosixPath("/run"), 0o755),
        Fresh(PurePosixPath("/run/lock"), 0o1777),
        Fresh(PurePosixPath("/run/user", str(caller.uid)), 0o700),
        *(Fresh(PurePosixPath(target), 0o1777, on_disk=True) for target in _TEMPORARY),
        Fresh(PurePosixPath(caller.home), 0o700, on_disk=True),
    )
    passed = [
        ReadOnly(locate(path, sources), _follow_link(path, workspace))
        for path in list_passed_files(scenario, caller)
    ]
    private = [Fresh(PurePosixPath(path), 0o755) for path in list_private_directories(workspace)]
    return (
        *fresh,
        *_create_own_mounts(caller, binary),
        *_create_user_database_mounts(scenario, caller),
        *(
            _copy_on_write(directory, copies, sources.get(directory))
            for directory in workspace.directories
        ),
        *_list_nested_mounts(workspace, [mount.target for mount in (*fresh, *private)], copies),
        *private,
        *(
            ReadOnly(sources.get(directory, directory), PurePosixPath(directory))
            for directory in workspace.borrowed_objects
        ),
        *passed,
        *mask_keys(passed),
    )


def locate(path: Path, sources: Mapping[Path, Path]) -> Path:
    """Return where this machine has a file or directory of the caller's machine."""
    for directory, source in sources.items():
        if path.is_relative_to(directory):
            return source / path.relative_to(directory)
    return path


def list_links(workspace: Workspace, mounts: Collection[Mount]) -> Iterator[Mount]:
    """Yield the links into the workspace, and directories for those outside of all other `mounts`.

    A read-only mount of the host contains its links already. A container's root directory is
    read-only and gets no links.
    """
    for path, target in workspace.links:
        parent = PurePosixPath(path.parent)
        around = [mount for mount in mounts if parent.is_relative_to(mount.target)]
        if any(isinstance(mount, ReadOnly) for mount in around):
            continue
        if not around and parent != PurePosixPath("/"):
            yield Fresh(parent, 0o755, on_disk=True)
        yield Link(PurePosixPath(path), PurePosixPath(target))


def expand_home(path: Path, home: Path) -> Path:
    """Return `path` with a leading `~` replaced by the caller's home directory."""
    return home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path


def list_passed_files(scenario: Scenario, caller: Caller) -> Iterator[Path]:
    """Yield the paths that a scenario receives from its caller, secret or not."""
    for name in dict.fromkeys((*scenario.pass_files, *scenario.plain_files)):
        yield expand_home(Path(name), caller.home)


def _list_host_mounts(
    host: Collection[Mount], workspace: Workspace, others: Collection[PurePosixPath]
) -> Iterator[Mount]:
    """Yield the host's mounts outside the workspace.

    A tool in the workspace is part of its copy; as a separate mount it could not be rebuilt. A
    hidden directory that leads to another mount can be passed through, but not listed.
    """
    inside = (*workspace.directories, *(path for path, _ in workspace.links))
    for mount in host:
        if any(mount.target.is_relative_to(directory) for directory in inside):
            continue
        if isinstance(mount, Fresh) and any(mount.target in path.parents for path in others):
            yield replace(mount, mode=_PASSED_THROUGH)
        else:
            yield mount


def _list_nested_mounts(
    workspace: Workspace, emptied: Collection[PurePosixPath], copies: Path | None
) -> Iterator[Mount]:
    """Yield the mount points of the workspace, except those hidden by a directory in `emptied`.

    A file cannot be the lower layer of an overlay, so it is mounted read-only.
    """
    hiding = [
        target
        for target in emptied
        if any(PurePosixPath(directory) in target.parents for directory in workspace.directories)
    ]
    for point in workspace.mount_points:
        if not any(point.is_relative_to(target) for target in hiding):
            is_directory = point.is_dir()
            path = PurePosixPath(point)
            yield _copy_on_write(point, copies) if is_directory else ReadOnly(point, path)


def _copy_on_write(directory: Path, copies: Path | None, source: Path | None = None) -> CopyOnWrite:
    """Return the mount of a directory, whose content is in `source`, with the copies in it."""
    inside = copies and _find_in_tree(directory, copies)
    copied = inside if inside and inside.is_dir() else None
    at = None if source is None else PurePosixPath(directory)
    return CopyOnWrite(source or directory, copied, at)


def _find_in_tree(path: Path, tree: Path) -> Path:
    """Return the path that `path` has in a tree with copies."""
    return tree / path.relative_to("/")


def list_copied_files(copies: Path, mounts: Collection[Mount]) -> Iterator[ReadOnly]:
    """Yield a mount for each copy of a file that the sandbox would show as it is on the host.

    Other mounts have their own files, or contain the copy already.
    """
    for directory, _, names in os.walk(copies):
        for name in names:
            copy = Path(directory, name)
            target = PurePosixPath("/", copy.relative_to(copies))
            around = [mount for mount in mounts if target.is_relative_to(mount.target)]
            shown = max(around, key=lambda mount: len(mount.target.parts), default=None)
            if isinstance(shown, ReadOnly) and not copy.is_symlink():
                yield ReadOnly(copy, target)


def mask_keys(shown: Collection[Mount]) -> Iterator[Mount]:
    """Yield masks of the keys of a cluster where a mount would show them.

    They are in the state directory, which the user may have put anywhere.
    """
    keys = state.get_state_directory().resolve() / "cluster"
    if not keys.is_dir():
        return
    tops = (
        (mount.target, Path(os.path.realpath(mount.source)))
        for mount in shown
        if isinstance(mount, ReadOnly)
    )
    inside = (at / keys.relative_to(top) for at, top in tops if keys.is_relative_to(top))
    for target in dict.fromkeys(inside):
        yield Fresh(target, 0, is_mask=True)


def list_private_directories(workspace: Workspace) -> Iterator[Path]:
    """Yield isosmoke's own directories in the workspace: logs, receipts and state."""
    projects = dict.fromkeys((*workspace.directories, workspace.working))
    own = (state.get_records_directory(project) for project in projects)
    for path in (*own, state.get_state_directory().resolve()):
        if path.is_dir() and any(
            path.is_relative_to(directory) for directory in workspace.directories
        ):
            yield path


def _create_own_mounts(caller: Caller, binary: Binary | None) -> tuple[Mount, ...]:
    """Return the mounts of the keeper, the git configuration and the live binary."""
    own = (
        ReadOnly(user_files.store_program(KEEPER_FILE), KEEPER),
        ReadOnly(user_files.store_text(user_files.render_gitconfig(caller.user)), GITCONFIG),
    )
    return own if binary is None else (*own, ReadOnly(binary.folder, BINARIES))


def _create_user_database_mounts(scenario: Scenario, caller: Caller) -> tuple[Mount, ...]:
    """Return a user database that includes the caller; nothing if the image knows the caller."""
    root = find_image_root(scenario)
    users, groups = (
        root and rootfs_mounts.resolve_inside(root, database) for database in _DATABASES
    )
    if users and user_files.has_entry(users, caller.uid):
        return ()
    texts = {
        "passwd": user_files.render_passwd(caller, users),
        "group": user_files.render_group(caller, groups),
    }
    return tuple(
        ReadOnly(user_files.store_text(text), PurePosixPath("/etc", name))
        for name, text in texts.items()
    )


def _follow_link(path: Path, workspace: Workspace) -> PurePosixPath:
    """Return `path` as it is without the links into the workspace; nothing can be mounted there."""
    for link, target in workspace.links:
        if path.is_relative_to(link):
            return PurePosixPath(target, path.relative_to(link))
    return PurePosixPath(path)
