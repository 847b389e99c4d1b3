"""Sandboxes by a Docker daemon on this machine: the host's directories, or a named image."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from isosmoke.engines.base import Facts, mounted_in
from isosmoke.engines.docker import container, create_body, endpoint, layers, nesting
from isosmoke.engines.docker.attach import AttachChannel
from isosmoke.engines.docker.client import (
    PING_SECONDS,
    Client,
    Daemon,
    docker_errors,
    is_rootless,
)
from isosmoke.engines.docker.companions import DockerCompanions
from isosmoke.engines.docker.container import Container, cleanup_failures, new_container
from isosmoke.engines.docker.create_body import Dialect
from isosmoke.engines.docker.endpoint import Endpoint, Place
from isosmoke.engines.docker.images import DockerImages
from isosmoke.errors import EngineError, raise_left_behind
from isosmoke.host import mount_table, state
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite, Fresh, Mount, ReadOnly, SandboxSpec

_OVERMOUNTED = ("hostname", "hosts", "resolv.conf")


@dataclass(frozen=True, slots=True)
class DockerSandbox:
    """One sandbox; `name` is its container's."""

    channel: AttachChannel
    name: str
    changes: Mapping[PurePosixPath, Path]

    def peaks(self) -> Mapping[str, int]:
        return {}  # the daemon reports none for every version of control groups


class DockerEngine:
    """Makes sandboxes from containers whose only process is the keeper.

    `images` are those of its daemon, `companions` the containers beside the sandboxes.
    """

    name = "docker"

    def __init__(self, find: Callable[[Place], Endpoint] = endpoint.docker) -> None:
        self._daemon = Daemon(find, self.name)
        self._seen: set[Path] = set()
        self.images = DockerImages(self._daemon)
        self.companions = DockerCompanions(self._daemon)

    @property
    def description(self) -> str:
        daemon = self._daemon
        return f"{daemon.dialect.name} {daemon.server['Version']} at {daemon.endpoint}"

    def preflight(self) -> None:
        endpoint.reach(self._daemon.endpoint, PING_SECONDS)
        with self._daemon.client(PING_SECONDS) as client, docker_errors(client, "answer"):
            client.ping()
            if self._daemon.is_outside:
                with state.scratch() as directory:
                    _must_see(client, directory, state.state_folder(), self._daemon.dialect)

    def facts(self) -> Facts:
        info = self._daemon.info()
        cgroup = info.get("CgroupVersion", "")
        return Facts(
            version=self._daemon.server["Version"],
            where=self._daemon.endpoint.url,
            reason=self._daemon.endpoint.reason,
            rootless=is_rootless(info),
            cgroup=int(cgroup) if cgroup.isdecimal() else None,
        )

    def image_digest(self, image: str) -> str:
        return "" if image == HOST_IMAGE else self.images.digest(image)

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[DockerSandbox]:
        _require_overmounted_files(spec)
        shown = {mount.target for mount in spec.mounts if not create_body.in_memory(mount)}
        dialect = self._daemon.dialect
        spec = create_body.adapted(create_body.with_submounts(spec, mount_table.text()), dialect)
        with ExitStack() as stack:
            client = stack.enter_context(self._daemon.client())
            points = self._must_see_sources(client, spec)
            failures = stack.enter_context(cleanup_failures())
            kept = stack.enter_context(layers.layers(client, spec, dialect, failures))
            made = stack.enter_context(new_container(client, failures))
            labels = container.labels(made.name, spec.label)
            body = create_body.body(spec, dialect, layers=kept, labels=labels)
            with _naming_mounts(points):
                made.create(spec.image, body)
                channel = made.attach()
                stack.callback(channel.close)
                made.start()
            changes = {target: layer.upper for target, layer in kept.items() if target in shown}
            yield DockerSandbox(channel, made.name, changes)

    def sweep(self) -> tuple[str, ...]:
        with self._daemon.client() as client:
            dead, unknown = container.find_dead(client)
            directories, unknown_directories = state.find_dead_scratch()
            tries = {
                **{
                    f"{name} ({label})": Container(client, name).destroy()
                    for name, label in dead.items()
                },
                **{
                    str(directory): layers.remove(client, directory, self._daemon.dialect)
                    for directory in directories
                },
            }
        removed = tuple(name for name, failures in tries.items() if not failures)
        failures = [error for errors in tries.values() for error in errors]
        raise_left_behind((*failures, *unknown, *unknown_directories), removed)
        return removed

    def _must_see_sources(self, client: Client, spec: SandboxSpec) -> Collection[Path]:
        """Return what is mounted in the workspace, once the daemon is known to see it all."""
        if self._daemon.is_outside:
            nesting.check(spec)
            for mount in spec.mounts:
                if isinstance(mount, CopyOnWrite):
                    _must_see(client, mount.source, mount.source, self._daemon.dialect)
        points = mounted_in(spec, mount_table.text())
        for point in sorted({mount.source for mount in spec.mounts if _shows(mount, points)}):
            self._must_see_mounted(client, point)
        return points

    def _must_see_mounted(self, client: Client, point: Path) -> None:
        """Return when the daemon sees at `point` what is mounted there, looked at once for a run.

        In a mount namespace of its own it may see the directory below, which is empty.
        """
        # Podman reports no times of a file.
        is_askable = point.is_dir() or not self._daemon.dialect.is_podmans
        if is_askable and point not in self._seen:
            _must_see_same(client, point, self._daemon.dialect)
            self._seen.add(point)


def _require_overmounted_files(spec: SandboxSpec) -> None:
    """Docker mounts three files of its own in `/etc`, and cannot make them in a read-only one."""
    directories = [
        mount.source
        for mount in spec.mounts
        if isinstance(mount, ReadOnly) and mount.target == create_body.ETC
    ]
    for file in (directory / name for directory in directories for name in _OVERMOUNTED):
        if not file.is_symlink() and not file.exists():
            raise EngineError(
                f"docker cannot do without {file}, which does not exist",
                hint=f"sudo touch {file}, or choose --engine bubblewrap",
            )


def _must_see(client: Client, directory: Path, named: Path, dialect: Dialect) -> None:
    """Return when the daemon knows `directory`, which is below `named`, by its name here."""
    with cleanup_failures() as failures, new_container(client, failures) as made:
        labels = container.labels(made.name, "look")
        try:
            made.create(HOST_IMAGE, create_body.shell(directory, dialect, labels))
        except EngineError as error:
            raise nesting.unseen(named, str(client.endpoint), error.message) from error


def _shows(mount: Mount, points: Collection[Path]) -> TypeGuard[CopyOnWrite | ReadOnly]:
    return not isinstance(mount, Fresh) and mount.source in points


def _must_see_same(client: Client, point: Path, dialect: Dialect) -> None:
    """Return when the daemon has at `point` the directory that is there for this process.

    Two directories of one name are told apart by when they last changed.
    """
    with cleanup_failures() as failures, new_container(client, failures) as made:
        labels = container.labels(made.name, "look")
        made.create(HOST_IMAGE, create_body.shell(point, dialect, labels))
        before = point.stat().st_mtime_ns
        with docker_errors(client, f"look at {point}"):
            changed_at = client.changed_at(made.name, create_body.SCRATCH)
        times = {before // 1000, point.stat().st_mtime_ns // 1000}
    if changed_at not in times:
        raise EngineError(
            f"the daemon at {client.endpoint} does not see what is mounted at {point}",
            hint="restart it, choose --engine bubblewrap, or mount that outside the workspace",
        )


@contextmanager
def _naming_mounts(points: Collection[Path]) -> Iterator[None]:
    """Name the mounts in the workspace where the block fails, as it may because of them."""
    try:
        yield
    except EngineError as error:
        if not points or type(error) is not EngineError:
            raise
        raise create_body.unshown(error, points) from error
