"""The directories on disk in which the mounts of a sandbox keep their changes, and its devices.

Creating and removing them can take longer than a short script. Within `ScratchPool.reusing`, the
directories that a sandbox left exactly as isosmoke had prepared them serve the next one.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import field
from itertools import islice
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TypeGuard

from isosmoke.dataclass import dataclass
from isosmoke.engines.bubblewrap import bwrap_args
from isosmoke.engines.bubblewrap.bwrap_args import BwrapLayer, BwrapLayers
from isosmoke.host import state
from isosmoke.host.files import trees
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, Mount, SandboxSpec

_State = tuple[object, ...]
"""The properties of all files in a directory, in the order in which the directory lists them."""

_Key = tuple[object, ...]


@dataclass(slots=True)
class Scratch:
    """The layers of one sandbox, and the directory of its device nodes, None if it has none.

    `stack` removes them. `states` has the state of each layer and of the devices (None) as
    prepared for a script; it is incomplete until `seal`.
    """

    directory: Path
    mounts: Mapping[PurePosixPath, CopyOnWrite | Fresh]
    layers: dict[PurePosixPath, BwrapLayer]
    devices: Path | None
    stack: ExitStack
    states: dict[PurePosixPath | None, _State] = field(default_factory=dict)

    def seal(self) -> None:
        """Note the state of the directories, which have all mount points but no script's files."""
        for target, directory in self._list_directories():
            if target not in self.states:
                self.states[target] = tuple(_list_entries(str(directory)))

    def restore(self) -> None:
        """Create the layers that a script changed anew.

        Raises:
            OSError: if a layer cannot be replaced, or the devices were changed.
        """
        for target, directory in self._list_directories():
            if not _has_state(directory, self.states.get(target)):
                if target is None:
                    raise OSError(f"the devices in {directory} were changed")
                layer = self.layers[target]
                trees.remove(layer.upper)
                trees.remove(layer.work)
                _create_layer(self.mounts[target], layer)
                self.states.pop(target, None)

    def _list_directories(self) -> Iterator[tuple[PurePosixPath | None, Path]]:
        for target, layer in self.layers.items():
            yield target, layer.upper
        if self.devices is not None:
            yield None, self.devices


def _has_state(directory: Path, expected: _State | None) -> bool:
    """Return whether a directory has a known state, without reading much more than that."""
    if expected is None:
        return False
    try:
        entries = _list_entries(str(directory))
        return tuple(islice(entries, len(expected) + 1)) == expected
    except OSError:
        return False


def _list_entries(path: str) -> Iterator[object]:
    """Yield the path and properties of a file and, recursively, of those in it.

    The time of change covers attributes that are not listed, but counts in ticks on older kernels.
    """
    status = os.lstat(path)
    yield (
        *(path, status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size),
        *(status.st_ino, status.st_rdev, status.st_mtime_ns, status.st_ctime_ns),
        *os.listxattr(path, follow_symlinks=False),
    )
    if stat.S_ISDIR(status.st_mode):
        for name in os.listdir(path):  # noqa: PTH208 - called for every sandbox
            yield from _list_entries(f"{path}/{name}")


class ScratchPool:
    """The directories that sandboxes use one after another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._free: list[tuple[_Key, Scratch]] = []

    @contextmanager
    def reusing(self) -> Iterator[None]:
        """Keep directories for later sandboxes during the block, and remove them at its end."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                unused = [] if self._users else self._free
                self._free = self._free if self._users else []
            for _, scratch in unused:
                scratch.stack.close()

    @contextmanager
    def take(self, spec: SandboxSpec, *, layers_on_disk: bool) -> Iterator[Scratch]:
        """Yield the directories of one sandbox, which must end within the block."""
        key = (spec.mounts, spec.uid, layers_on_disk)
        scratch = self._take_free(key) or _create(spec, layers_on_disk=layers_on_disk)
        try:
            yield scratch
        finally:
            if not self._put_back(key, scratch):
                scratch.stack.close()

    def _take_free(self, key: _Key) -> Scratch | None:
        """Return free directories for a key, if there are any.

        Keys are compared and not hashed: those of a run mostly consist of the same mounts.
        """
        with self._lock:
            for index in reversed(range(len(self._free))):
                if self._free[index][0] == key:
                    return self._free.pop(index)[1]
        return None

    def _put_back(self, key: _Key, scratch: Scratch) -> bool:
        """Keep the directories if they can serve another sandbox; return whether they are kept."""
        if not self._users or not scratch.states:
            return False
        try:
            scratch.restore()
        except OSError:
            return False
        with self._lock:
            if self._users:
                self._free.append((key, scratch))
            return bool(self._users)


def _create(spec: SandboxSpec, *, layers_on_disk: bool) -> Scratch:
    with ExitStack() as stack:
        directory = stack.enter_context(state.scratch())
        mounts = {mount.target: mount for mount in spec.mounts if _is_on_disk(mount)}
        created = _create_layers(directory, mounts if layers_on_disk else {})
        devices = _create_devices(directory) if spec.uid == 0 else None
        return Scratch(directory, mounts, created, devices, stack.pop_all())


@contextmanager
def layers(spec: SandboxSpec) -> Iterator[BwrapLayers]:
    """Yield a layer on disk for each mount that keeps changes there; remove them afterwards."""
    with state.scratch() as directory:
        yield _create_layers(
            directory, {mount.target: mount for mount in spec.mounts if _is_on_disk(mount)}
        )


def _is_on_disk(mount: Mount) -> TypeGuard[CopyOnWrite | Fresh]:
    return isinstance(mount, CopyOnWrite) or (isinstance(mount, Fresh) and mount.on_disk)


def _create_layers(
    directory: Path, mounts: Mapping[PurePosixPath, CopyOnWrite | Fresh]
) -> dict[PurePosixPath, BwrapLayer]:
    created = {}
    for number, (target, mount) in enumerate(mounts.items()):
        layer = BwrapLayer(directory / f"upper-{number}", directory / f"work-{number}")
        _create_layer(mount, layer)
        created[target] = layer
    return created


def _create_layer(mount: CopyOnWrite | Fresh, layer: BwrapLayer) -> None:
    layer.upper.mkdir()
    if isinstance(mount, Fresh):
        layer.upper.chmod(mount.mode)
        return
    layer.upper.chmod(0o755)
    layer.work.mkdir()
    if mount.copies is not None:
        trees.copy_tree(mount.copies, layer.upper)


def _create_devices(scratch: Path) -> Path | None:
    """Create a directory with a node for each of the host's devices, for one sandbox of root.

    Root owns the host's device nodes, and an owner can change the mode and the owner of a file
    without any capability. Return None if no usable node can be created: in a user namespace, where
    the host's nodes belong to another user, and in a container without CAP_MKNOD.
    """
    directory = scratch / "devices"
    directory.mkdir()
    try:
        for name in bwrap_args.DEVICES:
            number = Path("/dev", name).stat().st_rdev
            os.mknod(directory / name, stat.S_IFCHR | 0o666, number)
            (directory / name).chmod(0o666)
        with (directory / "null").open("wb"):  # a device on a `nodev` mount cannot be opened
            return directory
    except OSError:
        return None
