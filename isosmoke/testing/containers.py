"""For tests that use testcontainers: a container with the live binary; nothing may be left in it.

This module alone of `isosmoke.testing` imports testcontainers.
"""

import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from time import monotonic
from types import TracebackType
from typing import Any, Self

from docker.types import LogConfig
from testcontainers.core.container import DockerContainer

from isosmoke.engines.base import START_SECONDS
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import EngineError, UsageError
from isosmoke.host import binary
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.client import ANSWER_SECONDS, Conversation
from isosmoke.keeper.protocol import Output
from isosmoke.rootfs_images.store import how_to_get
from isosmoke.sandbox.processes import Process
from isosmoke.sandbox.spec import BINARIES, KEEPER, SandboxSpec

HOME = "/home/isosmoke"
"""The only folder, besides the temporary ones, that commands may write to; it is empty at first."""

_PATH = f"{BINARIES}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ASK_SECONDS = 0.05


class LeakError(AssertionError):
    """Processes outlived what a test did in a container; `processes` are they."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self.processes = tuple(processes)
        told = "".join(f"\n  pid {one.pid}: {one.command_line}" for one in processes)
        super().__init__(f"{len(processes)} left in the container:{told}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended: an exit code, negative for the number of a signal; what it printed."""

    exit_code: int
    stdout: str
    stderr: str


class WgContainer(DockerContainer):
    """A container of a local image whose first process is isosmoke's keeper.

    It has the live binary on PATH, under its own name and as `wg`, the host's network, and the
    caller's user without any capability. It ends with the process that made it, `kill -9` included.
    When it stops, whatever still runs in it `settle_seconds` later is a `LeakError`.
    """

    def __init__(
        self, image: str, *, wg: str | None = None, settle_seconds: float = 2.0, **options: Any
    ) -> None:
        self._engine = DockerEngine()
        self._engine.preflight()
        super().__init__(
            image, docker_client_kw=self._engine.companions.for_testcontainers, **options
        )
        self.image = image
        self._settle = settle_seconds
        self._live = ExitStack()
        self._keeper: Conversation | None = None
        self._printed = {"stdout": bytearray(), "stderr": bytearray()}
        self.with_volume_mapping(KEEPER_FILE, str(KEEPER))
        self.with_volume_mapping(_binary(wg), str(BINARIES))
        self.with_tmpfs_mount(HOME, f"exec,mode=0700,uid={os.getuid()},gid={os.getgid()}")

    def start(self) -> Self:
        """Make it and wait for its keeper; no reaper is started and no image is pulled."""
        if not self._engine.images.has(self.image):
            raise EngineError(f"no image '{self.image}' here", hint=how_to_get(self.image))
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def _begin(self) -> None:
        name, labels = self._live.enter_context(
            self._engine.companions.reserved("a test's container")
        )
        with self._engine.companions.errors("make a test's container"):
            self._container = self.get_docker_client().client.containers.create(
                self.image, name=name, labels=labels, **self._body()
            )
        channel = self._live.enter_context(self._engine.companions.attached(name))
        with self._engine.companions.errors("start a test's container"):
            self._container.start()
        keeper = Conversation(channel, sink=self._keep, interrupt=Interrupt())
        keeper.ready(START_SECONDS)
        self._keeper = keeper
        if self._wait_strategy is not None:
            self._wait_strategy.wait_until_ready(self)

    def _body(self) -> dict[str, Any]:
        return {
            "entrypoint": list(self._spec().keeper()),
            "environment": self.env,
            "user": f"{os.getuid()}:{os.getgid()}",
            "network_mode": "host",
            "userns_mode": "host",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges", "label=disable"],
            "stdin_open": True,
            "log_config": LogConfig(type="none"),
            "volumes": {host: dict(mount) for host, mount in self.volumes.items()},
            "tmpfs": self.tmpfs,
            **self._kwargs,
        }

    def _spec(self) -> SandboxSpec:
        """As much of a sandbox as its keeper needs to know."""
        return SandboxSpec(
            label="a test's container",
            image=self.image,
            mounts=(),
            uid=os.getuid(),
            gid=os.getgid(),
            network="host",
        )

    def run(self, argv: Sequence[str], *, seconds: float = 60.0) -> Done:
        """Run a command in it, not by `docker exec` but by the keeper, which sees what it leaves.

        Raises:
            TimeoutError: after so many seconds; the command's process group is killed.
            EngineError: if it cannot be started, or the container is not there.
        """
        environment = {"PATH": _PATH, "HOME": HOME, "LANG": "C.UTF-8", **self.env}
        environment["WG_BIN"] = str(BINARIES / binary.KNOWN_AS)
        keeper = self._asked()
        self._printed = {"stdout": bytearray(), "stderr": bytearray()}
        keeper.go(argv, PurePosixPath(HOME), environment, processes=None, open_files=None)
        status = self._status(keeper, seconds)
        if status is None:
            keeper.kill()
            keeper.exited(ANSWER_SECONDS)
            raise TimeoutError(f"{argv[0]} took more than {seconds:g} s")
        return Done(
            exit_code=os.waitstatus_to_exitcode(status),
            stdout=self._printed["stdout"].decode(errors="replace"),
            stderr=self._printed["stderr"].decode(errors="replace"),
        )

    def _status(self, keeper: Conversation, seconds: float) -> int | None:
        try:
            return keeper.exited(seconds)
        except EngineError:
            with suppress(EngineError):
                keeper.exited(ANSWER_SECONDS)  # of what could not be started: not the next one's
            raise

    def _keep(self, output: Output) -> None:
        """What the command prints, and what an earlier one has left."""
        self._printed[output.stream] += output.content

    def get_container_host_ip(self) -> str:
        """The network is the host's."""
        return "127.0.0.1"

    def get_exposed_port(self, port: int) -> int:
        """The same: on the host's network none is mapped."""
        return port

    def get_logs(self) -> tuple[bytes, bytes]:
        """What the last command printed, to stdout and to stderr."""
        return bytes(self._printed["stdout"]), bytes(self._printed["stderr"])

    def left(self) -> tuple[Process, ...]:
        """What runs in it now besides the keeper, once it had the time to settle."""
        deadline, never = monotonic() + self._settle, Event()
        while (living := self._asked().living()) and monotonic() < deadline:
            never.wait(_ASK_SECONDS)
        return living

    def assert_no_leaks(self) -> None:
        """Raise a `LeakError` if something is left; the container goes on."""
        left = self.left()
        if left:
            raise LeakError(left)

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:  # noqa: FBT001, FBT002 - testcontainers' own signature
        """End it and prove that it is gone; `LeakError` if something was left in it."""
        try:
            if self._keeper is not None:
                self.assert_no_leaks()
        finally:
            self._end()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; what a test failed with is not hidden by what it left."""
        if error is None:
            self.stop()
        else:
            self._end()

    def _asked(self) -> Conversation:
        if self._keeper is None:
            raise EngineError("the container is not running", hint="start it, or use `with`")
        return self._keeper

    def _end(self) -> None:
        self._keeper = None
        self._live.close()
        self.get_docker_client().client.close()


def _binary(named: str | None) -> Path:
    found = binary.find(named, os.environ)
    if found is None:
        raise UsageError("no wg found", hint="put it on PATH, set ISOSMOKE_WG, or name it")
    binary.check_format(found, platform.machine())
    return binary.take(found).folder
