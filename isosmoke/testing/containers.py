"""Containers for tests that use testcontainers, with the live binary and a check for leaks.

Only this module of `isosmoke.testing` imports testcontainers.
"""

import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from threading import Event
from types import TracebackType
from typing import Any, Self

from docker.types import LogConfig
from testcontainers.core.container import DockerContainer

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import START_SECONDS
from isosmoke.engines.docker.engine import DockerEngine
from isosmoke.errors import EngineError, UsageError
from isosmoke.host import binary
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import Output
from isosmoke.keeper.exchange import ANSWER_SECONDS
from isosmoke.keeper.running_time_deadline import Deadline
from isosmoke.rootfs_images.image_kinds import suggest_commands
from isosmoke.sandbox.spec import BINARIES, KEEPER, SandboxSpec
from isosmoke.sandbox.survivors import Process

HOME = "/home/isosmoke"
"""The only directory, apart from temporary ones, that commands may write to; initially empty."""

_PATH = f"{BINARIES}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLL_SECONDS = 0.05


class LeakError(AssertionError):
    """Processes that outlived the commands of a test in a container, as `processes`."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self.processes = tuple(processes)
        lines = "".join(f"\n  pid {process.pid}: {process.command_line}" for process in processes)
        super().__init__(f"{len(processes)} leaked in the container:{lines}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The result of a command; a negative exit code is the number of a signal."""

    exit_code: int
    stdout: str
    stderr: str


class WgContainer(DockerContainer):
    """A container of a local image whose first process is isosmoke's keeper.

    It has the live binary on PATH, under its own name and as `wg`, the host's network, and the
    caller's user without any capability. It ends with the process that created it, even if that is
    killed. When it stops, processes that still run in it `settle_seconds` later raise a
    `LeakError`.
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
        self.with_volume_mapping(_stage_binary(wg), str(BINARIES))
        self.with_tmpfs_mount(HOME, f"exec,mode=0700,uid={os.getuid()},gid={os.getgid()}")

    def start(self) -> Self:
        """Create the container and wait for its keeper; start no reaper and pull no image.

        Raises:
            EngineError: If the image is not present, or the container cannot be started.
        """
        if not self._engine.images.has(self.image):
            raise EngineError(
                f"image '{self.image}' is not present", hint=suggest_commands(self.image)
            )
        try:
            self._launch()
        except BaseException:
            self._end()
            raise
        return self

    def _launch(self) -> None:
        name, labels = self._live.enter_context(
            self._engine.companions.reserved_container("a test container")
        )
        with self._engine.companions.errors("create a test container"):
            self._container = self.get_docker_client().client.containers.create(
                self.image, name=name, labels=labels, **self._body()
            )
        channel = self._live.enter_context(self._engine.companions.attached_keeper(name))
        with self._engine.companions.errors("start a test container"):
            self._container.start()
        keeper = Conversation(channel, sink=self._record_output, interrupt=Interrupt())
        keeper.wait_until_ready(START_SECONDS)
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
        """Return the parts of a sandbox specification that the keeper needs."""
        return SandboxSpec(
            label="a test container",
            image=self.image,
            mounts=(),
            uid=os.getuid(),
            gid=os.getgid(),
            network="host",
        )

    def run(self, argv: Sequence[str], *, seconds: float = 60.0) -> Done:
        """Run a command through the keeper, which also sees the processes that it leaves.

        Raises:
            TimeoutError: After `seconds`; the command's process group is killed.
            EngineError: If the command cannot be started, or the container is not running.
        """
        environment = {"PATH": _PATH, "HOME": HOME, "LANG": "C.UTF-8", **self.env}
        environment["WG_BIN"] = str(BINARIES / binary.COMMAND_NAME)
        keeper = self._require_keeper()
        self._printed = {"stdout": bytearray(), "stderr": bytearray()}
        keeper.start_script(argv, PurePosixPath(HOME), environment, processes=None, open_files=None)
        status = self._wait_for_status(keeper, seconds)
        if status is None:
            keeper.kill()
            keeper.wait_for_exit(ANSWER_SECONDS)
            raise TimeoutError(f"{argv[0]} took more than {seconds:g} s")
        return Done(
            exit_code=os.waitstatus_to_exitcode(status),
            stdout=self._printed["stdout"].decode(errors="replace"),
            stderr=self._printed["stderr"].decode(errors="replace"),
        )

    def _wait_for_status(self, keeper: Conversation, seconds: float) -> int | None:
        try:
            return keeper.wait_for_exit(seconds)
        except EngineError:
            with suppress(EngineError):
                keeper.wait_for_exit(ANSWER_SECONDS)  # discard the status of the failed start
            raise

    def _record_output(self, output: Output) -> None:
        """Record output of the current command, and of processes left by earlier ones."""
        self._printed[output.stream] += output.content

    def get_container_host_ip(self) -> str:
        """Return the loopback address: the container uses the host's network."""
        return "127.0.0.1"

    def get_exposed_port(self, port: int) -> int:
        """Return the same port: none is mapped on the host's network."""
        return port

    def get_logs(self) -> tuple[bytes, bytes]:
        """Return the last command's stdout and stderr."""
        return bytes(self._printed["stdout"]), bytes(self._printed["stderr"])

    def left(self) -> tuple[Process, ...]:
        """Return the processes that still run after the settle time, the keeper excluded."""
        deadline, never = Deadline(self._settle), Event()
        while (living := self._require_keeper().list_processes()) and deadline.look():
            never.wait(_POLL_SECONDS)
        return living

    def assert_no_leaks(self) -> None:
        """Raise a `LeakError` if any process is left; the container keeps running."""
        survivors = self.left()
        if survivors:
            raise LeakError(survivors)

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:  # noqa: FBT001, FBT002 - testcontainers' own signature
        """End the container and verify that it is gone.

        Raises:
            LeakError: If processes were left in it.
        """
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
        """Stop the container; a failure of the test takes precedence over a leak."""
        if error is None:
            self.stop()
        else:
            self._end()

    def _require_keeper(self) -> Conversation:
        if self._keeper is None:
            raise EngineError("the container is not running", hint="call start() or use `with`")
        return self._keeper

    def _end(self) -> None:
        self._keeper = None
        self._live.close()
        self.get_docker_client().client.close()


def _stage_binary(name: str | None) -> Path:
    path = binary.find(name, os.environ)
    if path is None:
        raise UsageError("no wg found", hint="put wg on PATH, set ISOSMOKE_WG, or pass wg=PATH")
    binary.check_format(path, platform.machine())
    return binary.take(path).folder
