"""Bubblewrap engine: no daemon, no root, and no images other than directories.

However isosmoke ends, the keeper ends at the end of its stdin, and bwrap or the launcher after it.
A bwrap that dies before it has released its child would leave that child waiting forever (seen with
0.8 and 0.11). Therefore nothing kills a bwrap whose child is known, `--die-with-parent` is not
used, and its `--info-fd` is a file in memory, which never breaks like a pipe. A child of the
launcher ends with it.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import DESTROY_SECONDS, START_SECONDS, EngineInfo
from isosmoke.engines.bubblewrap import bwrap_args, bwrap_program, cgroup, group_places
from isosmoke.engines.bubblewrap.scratch import Scratch, ScratchPool
from isosmoke.engines.sandboxes_ahead import SandboxSupply
from isosmoke.errors import EngineError, ImageError, LeftBehindError, raise_left_behind
from isosmoke.host import state
from isosmoke.interrupt import wait_readable
from isosmoke.rootfs_images import image_kinds
from isosmoke.sandbox.spec import HOST_IMAGE, ReadOnly, SandboxSpec

CHUNK_SIZE = 1 << 16

_KERNEL_FACTS = (
    *(Path("/sys/devices/system/cpu"), Path("/sys/devices/system/node")),
    Path("/sys/kernel/mm/transparent_hugepage"),
)
"""Directories that runtimes read: processors, memory nodes and page sizes; they hold no secrets."""

_EXIT_SECONDS = 20.0
"""The timeout for the end of a program whose keeper has closed its stdout."""

_SIGNALED = 128
"""The status with which a program reports a signal that ended its child, less its number."""


class PipeChannel:
    """The keeper's stdin and stdout as two pipes, with the stderr of the program that started it.

    `program` is the name of that program.
    """

    def __init__(self, process: subprocess.Popen[bytes], program: str) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - for mypy
        self._process, self._program = process, program
        self._in, self._out, self._stderr = process.stdin, process.stdout, process.stderr
        os.set_blocking(self._in.fileno(), False)

    def fileno(self) -> int:
        return self._out.fileno()

    def read(self) -> bytes:
        content = os.read(self._out.fileno(), CHUNK_SIZE)
        if not content:
            self._raise_program_error()
        return content

    def raise_unless_written(self) -> None:
        """Raise the error of the program if the pipe is readable only because it has ended."""
        pending = fcntl.ioctl(self._out.fileno(), termios.FIONREAD, bytes(4))
        if not int.from_bytes(pending, sys.byteorder):
            self._raise_program_error()

    def write_fileno(self) -> int:
        return self._in.fileno()

    def write(self, content: bytes) -> int:
        try:
            return os.write(self._in.fileno(), content)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._raise_program_error()
            raise EngineError("the sandbox ended before the command could be sent") from error

    def close(self) -> None:
        """End the keeper and every other process in its sandbox."""
        for pipe in (self._in, self._out, self._stderr):
            with suppress(OSError):
                pipe.close()

    def _raise_program_error(self) -> None:
        """Raise what the program printed, or how it ended; return if it still runs."""
        os.set_blocking(self._stderr.fileno(), False)
        error = self._stderr.read() or b""
        if error:
            raise EngineError(error.decode(errors="replace").strip())
        if _ends_within(self._process, _EXIT_SECONDS):
            raise EngineError(_describe_end(self._process.returncode, self._program))


@dataclass(frozen=True, slots=True)
class BubblewrapSandbox:
    """One sandbox; `pid` is its keeper's PID on the host, `group` enforces its limits."""

    channel: PipeChannel
    pid: int
    changes: Mapping[PurePosixPath, Path]
    group: cgroup.ControlGroup

    def peaks(self) -> Mapping[str, int]:
        return self.group.peaks()

    def find_reached_limits(self) -> frozenset[str]:
        return self.group.find_reached_limits()


class BubblewrapEngine:
    """An engine that creates sandboxes with the first bwrap that passes a self-test."""

    name = "bubblewrap"
    is_local = True

    def __init__(self) -> None:
        self._scratch = ScratchPool()
        self._supply = SandboxSupply(self._create)

    @property
    def description(self) -> str:
        program = bwrap_program.find_program()
        refusal = program.network_refusal
        return (
            f"{program.path}, changes kept {'on disk' if program.layers_on_disk else 'in memory'}"
            + (f", no isolated network ({refusal})" if refusal else "")
        )

    def preflight(self) -> None:
        bwrap_program.find_program()

    def facts(self) -> EngineInfo:
        program = bwrap_program.find_program().path
        parents = group_places.find_parents()
        return EngineInfo(
            version=bwrap_program.get_version(program),
            where=program,
            reason="the first that passes a self-test",
            rootless=os.getuid() != 0,
            cgroup=group_places.get_version() if parents else None,
            unlimited=find_unlimited(parents, uid=os.getuid()),
        )

    def image_digest(self, image: str) -> str:
        """Return the digest of an image that is a directory; this engine has no other images.

        A relative path is resolved against the working directory.
        """
        digest = image_kinds.digest(image, Path.cwd())
        if not digest and image != HOST_IMAGE:
            raise _missing_image_error(image)
        return digest

    @contextmanager
    def expecting(self, specs: Sequence[SandboxSpec], ahead: int) -> Iterator[None]:
        with self._scratch.reusing(), self._supply.expecting(specs, ahead):
            yield

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[BubblewrapSandbox]:
        return self._supply.take(spec)

    @contextmanager
    def _create(self, spec: SandboxSpec) -> Iterator[BubblewrapSandbox]:
        if spec.image != HOST_IMAGE:
            raise _missing_image_error(spec.image)
        program = bwrap_program.find_program()
        program.require_network(spec)
        bwrap_program.require_visible_mounts(program, spec)
        with ExitStack() as stack:
            scratch = stack.enter_context(
                self._scratch.take(spec, layers_on_disk=program.layers_on_disk)
            )
            group = stack.enter_context(cgroup.group(spec.limits))
            shown = replace(spec, mounts=(*spec.mounts, *_list_kernel_mounts(group)))
            channel, pid = stack.enter_context(_keeper_process(program, shown, scratch))
            _add_to_group(group, pid, channel)
            scratch.seal()
            changes = {target: layer.upper for target, layer in scratch.layers.items()}
            yield BubblewrapSandbox(channel, pid, changes, group)

    def sweep(self) -> tuple[str, ...]:
        removed: list[str] = []
        errors: list[LeftBehindError] = []
        for sweep in (state.sweep_scratch, cgroup.sweep):
            try:
                removed += sweep()
            except LeftBehindError as error:
                errors.append(error)
        raise_left_behind(errors, removed)
        return tuple(removed)


def find_unlimited(controllers: Collection[str], *, uid: int) -> frozenset[str]:
    """Return the resources that nothing limits if there are groups with only these controllers.

    The keeper limits the processes of users other than root.
    """
    unlimited = {cgroup.RESOURCES[name] for name in cgroup.RESOURCES.keys() - controllers}
    return frozenset(unlimited - ({"processes"} if uid != 0 else set()))


def _list_kernel_mounts(group: cgroup.ControlGroup) -> Iterator[ReadOnly]:
    """Yield the mounts in `/sys`, of which bwrap shows nothing: the rest describes the host."""
    for directory in _KERNEL_FACTS:
        if directory.is_dir():
            yield ReadOnly(directory, PurePosixPath(directory))
    yield from group.list_mounts()


def _missing_image_error(image: str) -> ImageError:
    return ImageError(f"bubblewrap has no image '{image}'", image_kinds.suggest_commands(image))


@contextmanager
def _keeper_process(
    program: bwrap_program.Program, spec: SandboxSpec, scratch: Scratch
) -> Iterator[tuple[PipeChannel, int]]:
    """Yield the channel to a keeper and its PID on the host; end the program afterwards."""
    with os.fdopen(os.memfd_create("isosmoke-bwrap-info"), "rb") as info_file:
        arguments = bwrap_args.build_arguments(
            spec,
            layers=scratch.layers,
            info_fd=info_file.fileno(),
            own_cgroups=program.own_cgroups,
            own_users=program.own_users,
            devices=scratch.devices,
        )
        process = _spawn([program.path, *arguments], info_file)
        channel = PipeChannel(process, program.name)
        try:
            _wait_for_start(program.name, info_file, channel)
            pid = _read_keeper_pid(info_file)
            if pid is None:
                raise EngineError(f"{program.name} created no sandbox and gave no reason")
            yield channel, pid
        finally:
            channel.close()
            _wait_for_end(process, program.name, info_file)


def _spawn(command: list[str], info_file: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program in its own session: Ctrl-C reaches only isosmoke, which ends sandboxes."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(info_file.fileno(),),
        start_new_session=True,
        env={"PATH": os.defpath},
    )


def _wait_for_start(program: str, info_file: IO[bytes], channel: PipeChannel) -> None:
    """Wait until the keeper writes or the program ends; kill a keeper that is late."""
    if not wait_readable(channel.fileno(), START_SECONDS):
        _kill(_read_keeper_pid(info_file))
        raise EngineError(f"{program} created no sandbox within {START_SECONDS:g} s")
    channel.raise_unless_written()


def _read_keeper_pid(info_file: IO[bytes]) -> int | None:
    """Return the PID of the keeper, or of the process that is to become it; None if unknown."""
    info = os.pread(info_file.fileno(), CHUNK_SIZE, 0)
    with suppress(ValueError):  # half of it is written
        return int(json.loads(info)["child-pid"])
    return None


def _add_to_group(group: cgroup.ControlGroup, pid: int, channel: PipeChannel) -> None:
    try:
        group.add_process(pid)
    except ProcessLookupError:
        channel.read()  # raises the program's own error if it failed
        raise


def _wait_for_end(process: subprocess.Popen[bytes], program: str, info_file: IO[bytes]) -> None:
    """Wait until a program ends, which it does after its keeper and the whole PID namespace.

    If it does not end in time, kill the keeper. Killing the program would not prove that the
    sandbox is gone, so that is left for one that has not even reported the PID of its child.
    """
    if _ends_within(process, DESTROY_SECONDS / 2):
        return
    last_pid = _read_keeper_pid(info_file) or process.pid
    _kill(last_pid)
    if not _ends_within(process, DESTROY_SECONDS / 2):
        message = f"cannot end the sandbox of {program}, PID {process.pid}"
        raise LeftBehindError(message, hint=f"kill -KILL {last_pid}")


def _kill(pid: int | None) -> None:
    with suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


def _describe_end(status: int, program: str) -> str:
    """Return how a sandbox ended by itself; `status` is negative if a signal ended the program."""
    number = -status if status < 0 else status - _SIGNALED
    is_signal = number in signal.valid_signals()
    how = f"was killed by {signal.Signals(number).name}" if is_signal else f"exited with {status}"
    ended = program if status < 0 else "its keeper"
    return f"the sandbox ended before the scenario did: {ended} {how}"


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether a process ends in time, without polling.

    `Popen.wait` with a timeout would ask every few milliseconds.
    """
    if process.poll() is not None:
        return True
    descriptor = os.pidfd_open(process.pid)
    try:
        ended = wait_readable(descriptor, seconds)
    finally:
        os.close(descriptor)
    if ended:
        process.wait()
    return ended
