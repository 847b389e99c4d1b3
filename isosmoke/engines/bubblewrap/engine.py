"""Sandboxes by bubblewrap: no daemon, no root, no image but what is made of folders.

However isosmoke dies, the keeper ends at the end of its stdin, and bwrap after it. A bwrap that
dies before it has set its child free would leave that waiting for ever (seen with 0.8 and 0.11): so
nothing ends one on purpose, no `--die-with-parent`, and what it tells goes to memory, where nobody
hangs up.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from isosmoke.engines.base import DESTROY_SECONDS, START_SECONDS, Facts
from isosmoke.engines.bubblewrap import bwrap_args, bwrap_program, cgroup
from isosmoke.engines.bubblewrap.bwrap_args import Layers
from isosmoke.errors import EngineError, ImageError, LeftBehindError, raise_left_behind
from isosmoke.host import state
from isosmoke.interrupt import readable
from isosmoke.rootfs_images import store
from isosmoke.sandbox.spec import HOST_IMAGE, SandboxSpec

CHUNK = 1 << 16


class PipeChannel:
    """The keeper's stdin and stdout as two pipes, and bwrap's own complaints."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - for mypy
        self._in, self._out, self._complaints = process.stdin, process.stdout, process.stderr
        os.set_blocking(self._in.fileno(), False)

    def fileno(self) -> int:
        return self._out.fileno()

    def read(self) -> bytes:
        content = os.read(self._out.fileno(), CHUNK)
        if not content:
            self._raise_complaint()
        return content

    def outlet(self) -> int:
        return self._in.fileno()

    def write(self, content: bytes) -> int:
        try:
            return os.write(self._in.fileno(), content)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._raise_complaint()
            raise EngineError("the sandbox ended before it could be spoken to") from error

    def close(self) -> None:
        """End the keeper, and everything in its sandbox."""
        for pipe in (self._in, self._out, self._complaints):
            with suppress(OSError):
                pipe.close()

    def _raise_complaint(self) -> None:
        os.set_blocking(self._complaints.fileno(), False)
        complaint = self._complaints.read() or b""
        if complaint:
            raise EngineError(complaint.decode(errors="replace").strip())


@dataclass(frozen=True, slots=True)
class BubblewrapSandbox:
    """One sandbox; `pid` is its keeper's on the host, `group` what limits it."""

    channel: PipeChannel
    pid: int
    changes: Mapping[PurePosixPath, Path]
    group: cgroup.Group

    def peaks(self) -> Mapping[str, int]:
        return self.group.peaks()


class BubblewrapEngine:
    """Makes sandboxes from namespaces, by the first bwrap that passes a self-test."""

    name = "bubblewrap"

    @property
    def description(self) -> str:
        program = bwrap_program.program()
        return (
            f"{program.path}, changes kept {'on disk' if program.layers_on_disk else 'in memory'}"
        )

    def preflight(self) -> None:
        bwrap_program.program()

    def facts(self) -> Facts:
        program = bwrap_program.program().path
        return Facts(
            version=bwrap_program.version(program),
            where=program,
            reason="the first that passes a self-test",
            rootless=os.getuid() != 0,
            cgroup=cgroup.version() if cgroup.parents() else None,
        )

    def image_digest(self, image: str) -> str:
        """Return the digest of an image that is a directory; it has no other images.

        A relative path is resolved against the working directory.
        """
        digest = store.digest(image, Path.cwd())
        if not digest and image != HOST_IMAGE:
            raise _no_image(image)
        return digest

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[BubblewrapSandbox]:
        if spec.image != HOST_IMAGE:
            raise _no_image(spec.image)
        program = bwrap_program.program()
        bwrap_program.must_show_mounts(program, spec)
        with ExitStack() as stack:
            layers = (
                stack.enter_context(bwrap_program.layers(spec)) if program.layers_on_disk else {}
            )
            group = stack.enter_context(cgroup.group(spec.limits))
            devices = stack.enter_context(bwrap_program.devices(spec.uid))
            channel, pid = stack.enter_context(_spawned(program, spec, layers, devices))
            _hold(group, pid, channel)
            changes = {target: layer.upper for target, layer in layers.items()}
            yield BubblewrapSandbox(channel, pid, changes, group)

    def sweep(self) -> tuple[str, ...]:
        removed: list[str] = []
        left: list[LeftBehindError] = []
        for sweep in (state.sweep_scratch, cgroup.sweep):
            try:
                removed += sweep()
            except LeftBehindError as error:
                left.append(error)
        raise_left_behind(left, removed)
        return tuple(removed)


def _no_image(image: str) -> ImageError:
    return ImageError(f"bubblewrap has no image '{image}'", store.how_to_get(image))


@contextmanager
def _spawned(
    program: bwrap_program.Program, spec: SandboxSpec, layers: Layers, devices: Path | None
) -> Iterator[tuple[PipeChannel, int]]:
    """The channel to a keeper, and its pid on the host."""
    with os.fdopen(os.memfd_create("isosmoke-told"), "rb") as told:
        options = bwrap_args.bubblewrap(
            spec,
            layers=layers,
            told=told.fileno(),
            own_cgroups=program.own_cgroups,
            devices=devices,
        )
        process = _spawn([program.path, *options], told)
        channel, last = PipeChannel(process), process.pid
        try:
            last = _keeper_pid(told, channel)
            yield channel, last
        finally:
            channel.close()
            _wait(process, last)


def _spawn(command: list[str], told: IO[bytes]) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C is for isosmoke, which then ends its sandboxes itself."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(told.fileno(),),
        start_new_session=True,
        env={"PATH": os.defpath},
    )


def _keeper_pid(told: IO[bytes], channel: PipeChannel) -> int:
    """Known once anything comes: the keeper's first word, or the end of bwrap's."""
    if not readable(channel.fileno(), START_SECONDS):
        raise EngineError(f"bwrap made no sandbox within {START_SECONDS:g} s")
    words = os.pread(told.fileno(), CHUNK, 0)
    if not words:
        channel.read()
        raise EngineError("bwrap made no sandbox and did not say why")
    return int(json.loads(words)["child-pid"])


def _hold(group: cgroup.Group, pid: int, channel: PipeChannel) -> None:
    try:
        group.hold(pid)
    except ProcessLookupError:
        channel.read()  # it says why, where it was bwrap that gave up
        raise


def _wait(process: subprocess.Popen[bytes], last: int) -> None:
    """A bwrap ends when its keeper has, and the keeper when its whole namespace is gone.

    So it is the keeper that is killed if need be, which is `last` once it is known: the end of a
    bwrap that was killed itself would prove nothing.
    """
    if _ends_within(process, DESTROY_SECONDS / 2):
        return
    with suppress(ProcessLookupError):
        os.kill(last, signal.SIGKILL)
    if not _ends_within(process, DESTROY_SECONDS / 2):
        message = f"the sandbox of bwrap {process.pid} could not be ended"
        raise LeftBehindError(message, hint=f"kill -KILL {last}")


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Known at once; `Popen.wait` with a timeout would ask every few milliseconds."""
    descriptor = os.pidfd_open(process.pid)
    try:
        ended = readable(descriptor, seconds)
    finally:
        os.close(descriptor)
    if ended:
        process.wait()
    return ended
