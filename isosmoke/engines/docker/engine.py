"""Docker engine, which creates sandboxes from the host's directories or from a named image."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import EngineInfo, copies_refused_error, find_mounts_in
from isosmoke.engines.docker import container, create_body, endpoint, nesting, scratch
from isosmoke.engines.docker.attach import AttachChannel
from isosmoke.engines.docker.client import (
    ANSWER_SECONDS,
    Client,
    Daemon,
    docker_errors,
    find_unlimited,
    is_rootless,
)
from isosmoke.engines.docker.companions import DockerCompanions
from isosmoke.engines.docker.container import Container, cleanup_failures, new_container
from isosmoke.engines.docker.create_body import Dialect
from isosmoke.engines.docker.endpoint import CallerEnvironment, Endpoint
from isosmoke.engines.docker.images import DockerImages
from isosmoke.engines.sandboxes_ahead import SandboxSupply
from isosmoke.errors import EngineError, raise_left_behind
from isosmoke.host import mount_table, state
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite, Mount, ReadOnly, SandboxSpec
from isosmoke.text import escape_bytes

_OVERMOUNTED = ("hostname", "hosts", "resolv.conf")


@dataclass(frozen=True, slots=True)
class DockerSandbox:
    """One sandbox in a container."""

    channel: AttachChannel
    container: Container
    changes: Mapping[PurePosixPath, Path]

    @property
    def name(self) -> str:
        """The name of its container."""
        return self.container.name

    def peaks(self) -> Mapping[str, int]:
        return {}  # the daemon does not report them for every version of control groups

    def find_reached_limits(self) -> frozenset[str]:
        self.channel.close()  # only of an ended container is it certain that the daemon knows
        return frozenset({"memory"} if self.container.ran_out_of_memory() else ())


class DockerEngine:
    """An engine that creates sandboxes from containers whose only process is the keeper.

    `images` are the images of its daemon, `companions` the containers alongside the sandboxes.
    """

    name = "docker"
    is_local = False

    def __init__(
        self, find: Callable[[CallerEnvironment], Endpoint] = endpoint.find_docker
    ) -> None:
        self._daemon = Daemon(find, self.name)
        self._visible_points: set[Path] = set()
        self.images = DockerImages(self._daemon)
        self._supply = SandboxSupply(self._create)
        self.companions = DockerCompanions(self._daemon)

    @property
    def description(self) -> str:
        daemon = self._daemon
        return f"{daemon.dialect.name} {daemon.server['Version']} at {daemon.endpoint}"

    def preflight(self) -> None:
        endpoint.check_connection(self._daemon.endpoint, ANSWER_SECONDS)
        with self._daemon.client(ANSWER_SECONDS) as client, docker_errors(client, "answer a ping"):
            client.ping()
            if self._daemon.is_outside:
                with state.scratch() as directory:
                    _require_visible(
                        client, directory, state.get_state_directory(), self._daemon.dialect
                    )

    def facts(self) -> EngineInfo:
        info = self._daemon.info()
        cgroup = info.get("CgroupVersion", "")
        return EngineInfo(
            version=self._daemon.server["Version"],
            where=self._daemon.endpoint.url,
            reason=self._daemon.endpoint.reason,
            rootless=is_rootless(info),
            cgroup=int(cgroup) if cgroup.isdecimal() else None,
            unlimited=find_unlimited(info),
        )

    def image_digest(self, image: str) -> str:
        return "" if image == HOST_IMAGE else self.images.digest(image)

    def expecting(self, specs: Sequence[SandboxSpec], ahead: int) -> AbstractContextManager[None]:
        return self._supply.expecting(specs, ahead)

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[DockerSandbox]:
        return self._supply.take(spec)

    @contextmanager
    def _create(self, spec: SandboxSpec) -> Iterator[DockerSandbox]:
        _require_utf8_paths(spec)
        _require_overmounted_files(spec)
        targets_on_disk = {
            mount.target for mount in spec.mounts if not create_body.is_in_memory(mount)
        }
        dialect = self._daemon.dialect
        spec = create_body.adapt_spec(
            create_body.add_submounts(spec, mount_table.read_table()), dialect
        )
        with ExitStack() as stack:
            client = stack.enter_context(self._daemon.client())
            points = self._require_visible_sources(client, spec)
            failures = stack.enter_context(cleanup_failures())
            disk_layers = stack.enter_context(scratch.layers(client, spec, dialect, failures))
            sandbox_container = stack.enter_context(new_container(client, failures))
            labels = container.labels(sandbox_container.name, spec.label)
            body = create_body.build_body(spec, dialect, layers=disk_layers, labels=labels)
            with _mounts_named_in_errors(points):
                sandbox_container.create(spec.image, body)
                channel = sandbox_container.attach()
                stack.callback(channel.close)
                sandbox_container.start()
            changes = {
                target: layer.upper
                for target, layer in disk_layers.items()
                if target in targets_on_disk
            }
            yield DockerSandbox(channel, sandbox_container, changes)

    def sweep(self) -> tuple[str, ...]:
        with self._daemon.client() as client:
            dead, unknown = container.find_dead(client)
            directories, unknown_directories = state.find_dead_scratch()
            results = {
                **{
                    f"{name} ({label})": Container(client, name).destroy()
                    for name, label in dead.items()
                },
                **{
                    str(directory): scratch.remove(client, directory, self._daemon.dialect)
                    for directory in directories
                },
            }
        removed = tuple(name for name, failures in results.items() if not failures)
        failures = [error for errors in results.values() for error in errors]
        raise_left_behind((*failures, *unknown, *unknown_directories), removed)
        return removed

    def _require_visible_sources(self, client: Client, spec: SandboxSpec) -> Collection[Path]:
        """Return the mount points in the workspace, all of which the daemon sees."""
        if self._daemon.is_outside:
            nesting.refuse_host_system(spec)
            for mount in spec.mounts:
                if isinstance(mount, CopyOnWrite):
                    _require_visible(client, mount.source, mount.source, self._daemon.dialect)
        points = find_mounts_in(spec, mount_table.read_table())
        for point in sorted(
            {mount.source for mount in spec.mounts if _has_source_in(mount, points)}
        ):
            self._require_visible_mount(client, point)
        return points

    def _require_visible_mount(self, client: Client, point: Path) -> None:
        """Check, once per run, that the daemon sees the file system mounted at `point`.

        In its own mount namespace it may see the empty directory below the mount instead.
        """
        # Podman does not report the times of files.
        is_comparable = point.is_dir() or not self._daemon.dialect.is_podman
        if is_comparable and point not in self._visible_points:
            _require_same_content(client, point, self._daemon.dialect)
            self._visible_points.add(point)


def _require_utf8_paths(spec: SandboxSpec) -> None:
    """Check that all paths are UTF-8, as JSON, the daemon's format, has no others."""
    for mount in spec.mounts:
        path = str(mount.target)
        if escape_bytes(path) != path:
            raise EngineError(
                f"a daemon cannot mount {path}, which is not UTF-8",
                hint="rename the directory, or use --engine bubblewrap",
            )


def _require_overmounted_files(spec: SandboxSpec) -> None:
    """Check that the files that Docker mounts in `/etc` exist in a read-only `/etc`.

    Docker mounts its own versions of three files there, and cannot create them.
    """
    directories = [
        mount.source
        for mount in spec.mounts
        if isinstance(mount, ReadOnly) and mount.target == create_body.ETC
    ]
    for file in (directory / name for directory in directories for name in _OVERMOUNTED):
        if not file.is_symlink() and not file.exists():
            raise EngineError(
                f"docker needs {file}, which does not exist",
                hint=f"sudo touch {file}, or use --engine bubblewrap",
            )


def _require_visible(client: Client, directory: Path, named: Path, dialect: Dialect) -> None:
    """Check that the daemon knows `directory` by its path here; an error names `named`."""
    with cleanup_failures() as failures, new_container(client, failures) as probe:
        labels = container.labels(probe.name, "probe")
        try:
            probe.create(HOST_IMAGE, create_body.build_probe_body(directory, dialect, labels))
        except EngineError as error:
            raise nesting.invisible_directory_error(
                named, str(client.endpoint), error.message
            ) from error


def _has_source_in(mount: Mount, points: Collection[Path]) -> TypeGuard[CopyOnWrite | ReadOnly]:
    return isinstance(mount, CopyOnWrite | ReadOnly) and mount.source in points


def _require_same_content(client: Client, point: Path, dialect: Dialect) -> None:
    """Check that the daemon sees the same directory at `point` as this process.

    Two directories with the same path are distinguished by their times of change.
    """
    with cleanup_failures() as failures, new_container(client, failures) as probe:
        labels = container.labels(probe.name, "probe")
        probe.create(HOST_IMAGE, create_body.build_probe_body(point, dialect, labels))
        before = point.stat().st_mtime_ns
        with docker_errors(client, f"inspect {point}"):
            change_time = client.get_change_time(probe.name, create_body.SCRATCH)
        times = {before // 1000, point.stat().st_mtime_ns // 1000}
    if change_time not in times:
        raise EngineError(
            f"the daemon at {client.endpoint} does not see what is mounted at {point}",
            hint="restart it, use --engine bubblewrap, or mount it outside the workspace",
        )


@contextmanager
def _mounts_named_in_errors(points: Collection[Path]) -> Iterator[None]:
    """Name the mounts in the workspace in errors of the block, as they may be the cause."""
    try:
        yield
    except EngineError as error:
        if not points or type(error) is not EngineError:
            raise
        raise workspace_mounts_error(error, points) from error


def workspace_mounts_error(error: EngineError, points: Iterable[Path]) -> EngineError:
    """Return the error for a sandbox that failed and whose workspace contains mounts.

    A runtime reports an overlay that the kernel refuses as an invalid argument.
    """
    if "invalid argument" in error.message:
        return copies_refused_error(points)
    names = ", ".join(map(str, points))
    hint = error.hint or "unmount them, or mount them outside the workspace"
    return EngineError(f"{error.message} (mounted in the workspace: {names})", hint)
