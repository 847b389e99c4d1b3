"""Sandboxes by a Docker daemon on this machine: the host's folders, or a named image.

A client of docker-py is not thread-safe (docker-py#3229), so every sandbox has its own. No time
limit of docker-py's decides anything but that the daemon itself does not answer.
"""

import math
import os
import resource
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from secrets import token_hex
from time import monotonic, sleep
from typing import Any, TypeGuard

from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import decode_json_header
from requests import RequestException, Response

from isosmoke.engines.base import DESTROY_SECONDS, START_SECONDS, Facts, mounted_in
from isosmoke.engines.docker import create_body, endpoint, nesting
from isosmoke.engines.docker.attach import AttachChannel, Printed
from isosmoke.engines.docker.create_body import Dialect
from isosmoke.engines.docker.endpoint import Endpoint, Place
from isosmoke.errors import (
    EngineError,
    EngineUnavailableError,
    ImageError,
    LeftBehindError,
    raise_left_behind,
)
from isosmoke.host import files, leases, mount_table, state
from isosmoke.rootfs_images import store
from isosmoke.rootfs_images.dockerfiles import Recipe
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite, Fresh, Mount, ReadOnly, SandboxSpec

PING_SECONDS = 5.0
"""How long a daemon may take to say that it is there."""

BUILD_SECONDS = 600.0
"""How long a step of a build may print nothing."""

_ENDING_SECONDS = 5
_RETRY_SECONDS = 0.05
_OVERMOUNTED = ("hostname", "hosts", "resolv.conf")
_FOREIGN = (DockerException, RequestException, OSError)
_EMPTY_TAR = bytes(10240)
_MOST_FILES = 524_288
"""What systemd lets a service have open at most (systemd.exec(5), `LimitNOFILE`)."""


@dataclass(frozen=True, slots=True)
class DockerSandbox:
    """One sandbox; `name` is its container's."""

    channel: AttachChannel
    name: str
    changes: Mapping[PurePosixPath, Path]

    def peaks(self) -> Mapping[str, int]:
        return {}  # the daemon tells none for every version of control groups


@dataclass(frozen=True, slots=True)
class Built:
    """An image by one of its tags; `size` in bytes, `created` in seconds since the epoch."""

    tag: str
    digest: str
    size: int
    created: float


class DockerEngine:
    """Makes sandboxes from containers whose only process is the keeper."""

    name = "docker"

    def __init__(self, find: Callable[[Place], Endpoint] = endpoint.docker) -> None:
        self._find = find
        self._seen: set[Path] = set()

    @property
    def description(self) -> str:
        return f"{self._dialect.name} {self._server['Version']} at {self._endpoint}"

    def preflight(self) -> None:
        endpoint.reach(self._endpoint, PING_SECONDS)
        with self._client(PING_SECONDS) as client, _told(client, "answer"):
            client.ping()
            if self._is_outside:
                with state.scratch() as folder:
                    _must_see(client, folder, state.state_folder(), self._dialect)

    def facts(self) -> Facts:
        with self._client() as client, _told(client, "describe itself"):
            said = client.info()
        found = said.get("CgroupVersion", "")
        return Facts(
            version=self._server["Version"],
            where=self._endpoint.url,
            reason=self._endpoint.reason,
            rootless=_is_rootless(said),
            cgroup=int(found) if found.isdecimal() else None,
        )

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[DockerSandbox]:
        _check(spec)
        shown = {one.target for one in spec.mounts if not create_body.in_memory(one)}
        spec = create_body.with_submounts(spec, mount_table.text())
        spec = create_body.adapted(spec, self._dialect)
        with ExitStack() as stack:
            client = stack.enter_context(self._client())
            if self._is_outside:
                nesting.check(spec)
                for mount in spec.mounts:
                    if isinstance(mount, CopyOnWrite):
                        _must_see(client, mount.source, mount.source, self._dialect)
            points = mounted_in(spec, mount_table.text())
            for point in sorted({one.source for one in spec.mounts if _shows(one, points)}):
                self._must_see_mounted(client, point)
            left = stack.enter_context(_nothing_left())
            layers = stack.enter_context(_layers(client, spec, self._dialect, left))
            made = stack.enter_context(_container(client, left))
            labels = _labels(made.name, spec.label)
            body = create_body.body(spec, self._dialect, layers=layers, labels=labels)
            with _naming(points):
                made.create(spec.image, body)
                channel = made.attach()
                stack.callback(channel.close)
                made.start()
            changes = {one: layer.upper for one, layer in layers.items() if one in shown}
            yield DockerSandbox(channel, made.name, changes)

    def _must_see_mounted(self, client: "_Client", point: Path) -> None:
        """Return when the daemon sees at `point` what is mounted there, looked at once for a run.

        In a mount namespace of its own it may see the folder below, which is empty.
        """
        is_askable = point.is_dir() or not self._dialect.is_podmans  # Podman stats no file
        if is_askable and point not in self._seen:
            _must_see_same(client, point, self._dialect)
            self._seen.add(point)

    def sweep(self) -> tuple[str, ...]:
        with self._client() as client:
            dead, unknown = _dead(client)
            folders, unknown_folders = state.find_dead_scratch()
            tries = {
                **{
                    f"{name} ({label})": _Container(client, name).destroy()
                    for name, label in dead.items()
                },
                **{str(folder): _clear(client, folder, self._dialect) for folder in folders},
            }
        removed = tuple(name for name, left in tries.items() if not left)
        left = [error for errors in tries.values() for error in errors]
        raise_left_behind((*left, *unknown, *unknown_folders), removed)
        return removed

    @contextmanager
    def reserved(self, label: str) -> Iterator[tuple[str, dict[str, str]]]:
        """A name and labels for a container that others make; it is gone after the block.

        As a sandbox's they say whose it is, so that a sweep removes what a dead run left.
        """
        with self._client() as client, _nothing_left() as left, _container(client, left) as made:
            yield made.name, _labels(made.name, label)

    @contextmanager
    def attached(self, name: str) -> Iterator[AttachChannel]:
        """The keeper's channel of a container that others made with one, before it is started."""
        with self._client() as client:
            channel = _Container(client, name).attach()
            try:
                yield channel
            finally:
                channel.close()

    @contextmanager
    def printing(self, name: str) -> Iterator[Printed]:
        """What a container that others made will print, from its start on."""
        with self._client() as client, closing(_Container(client, name).overhear()) as printed:
            yield printed

    @contextmanager
    def network(self, label: str) -> Iterator[str]:
        """The name of a new network, which is gone after the block, or with a sweep."""
        with self.reserved(label) as (name, labels), self._client() as client:
            with _told(client, "make a network"):
                client.create_network(name, labels=labels)
            yield name

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """What somebody else's client of the daemon raises in the block, as ours."""
        with self._client() as client, _told(client, doing):
            yield

    @property
    def for_testcontainers(self) -> dict[str, Any]:
        """What a client of testcontainers is made with, to talk to the same daemon."""
        return {
            "environment": dict(endpoint.testcontainers(self._endpoint)),
            "version": self._server["ApiVersion"],
            "timeout": math.ceil(START_SECONDS),
        }

    @property
    def ulimits(self) -> list[create_body.Body]:
        """The limits that have to be named for a container that others make."""
        return create_body.ulimits(self._dialect)

    def has_image(self, image: str) -> bool:
        """Whether an image is here; none is fetched."""
        with self._client() as client, _told(client, f"look for image '{image}'"):
            with suppress(ImageNotFound):
                client.inspect_image(image)  # type: ignore[no-untyped-call]
                return True
            return False

    def image_digest(self, image: str) -> str:
        """Return the sha256 of a local image's configuration, which names its layers by theirs."""
        if image == HOST_IMAGE:
            return ""
        with self._client() as client, _told(client, f"look at image '{image}'"):
            try:
                found = client.inspect_image(image)  # type: ignore[no-untyped-call]
            except ImageNotFound as error:
                raise _no_image(client, image) from error
            return _hexadecimal(found["Id"])

    def build(self, recipe: Recipe) -> Iterator[str]:
        """Build an image, and tell what the daemon prints meanwhile; the base must be here."""
        with self._client(BUILD_SECONDS) as client, _told(client, f"build {recipe.tags[0]}"):
            _must_have(client, recipe.base)
            yield from _built(client, recipe)
            for tag in recipe.tags[1:]:
                repository, _, name = tag.partition(":")
                client.tag(recipe.tags[0], repository, name)

    def images(self) -> tuple[Built, ...]:
        """Those that `build` has made and that are still here."""
        with self._client() as client, _told(client, "list images"):
            found = client.images(filters={"label": create_body.IMAGE})
        rows = ((tag, one) for one in found for tag in one["RepoTags"] or ())
        return tuple(
            Built(tag, _hexadecimal(one["Id"]), one["Size"], one["Created"]) for tag, one in rows
        )

    @cached_property
    def _endpoint(self) -> Endpoint:
        return self._find(Place.here())

    @cached_property
    def _is_outside(self) -> bool:
        """Whether isosmoke is in a container that the daemon is not in."""
        return nesting.nested(self._endpoint.path)

    @property
    def _spoken(self) -> str:
        """By what answers: a socket of Docker's name may be Podman's."""
        parts = [one["Name"] for one in self._server.get("Components", ())]
        return create_body.PODMAN if "Podman Engine" in parts else create_body.DOCKER

    @cached_property
    def _dialect(self) -> Dialect:
        if self._spoken == create_body.DOCKER:
            return Dialect(create_body.DOCKER)
        with self._client() as client, _told(client, "describe itself"):
            rootless = _is_rootless(client.info())
        return Dialect(create_body.PODMAN, create_body.KEEP_ID if rootless else "host", _limits())

    @cached_property
    def _server(self) -> dict[str, Any]:
        """What the daemon says of itself, asked once: a client that is not told asks again."""
        endpoint.reach(self._endpoint, PING_SECONDS)
        client = _Client(self._endpoint, None, PING_SECONDS, self.name)
        with closing(client), _told(client, "answer"):
            return client.version()

    def _client(self, seconds: float = START_SECONDS) -> "closing[_Client]":
        version = self._server["ApiVersion"]
        return closing(_Client(self._endpoint, version, seconds, self._spoken.lower()))


def _is_rootless(said: dict[str, Any]) -> bool:
    """By Podman's word for it, or by Docker's."""
    return bool(said.get("Rootless")) or "name=rootless" in said.get("SecurityOptions", ())


def _limits() -> dict[str, tuple[int, int]]:
    """The caller's own, as far as a service surely has them; Podman's defaults may be beyond."""
    processes = int(Path("/proc/sys/kernel/pid_max").read_text())
    return {
        "nofile": _within(resource.RLIMIT_NOFILE, _MOST_FILES),
        "nproc": _within(resource.RLIMIT_NPROC, processes),
    }


def _within(limit: int, most: int) -> tuple[int, int]:
    soft, hard = (
        most if one == resource.RLIM_INFINITY else min(one, most)
        for one in resource.getrlimit(limit)
    )
    return soft, hard


def _hexadecimal(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _check(spec: SandboxSpec) -> None:
    """Docker mounts three files of its own in `/etc`, and cannot make them in a read-only one."""
    folders = [
        one.source
        for one in spec.mounts
        if isinstance(one, ReadOnly) and one.target == create_body.ETC
    ]
    for file in (folder / name for folder in folders for name in _OVERMOUNTED):
        if not file.is_symlink() and not file.exists():
            raise EngineError(
                f"docker cannot do without {file}, which does not exist",
                hint=f"sudo touch {file}, or choose --engine bubblewrap",
            )


class _Client(APIClient):
    """A client that never waits for ever: docker-py forgets its time limit when it attaches.

    `program` is the command that a person would say the same with.
    """

    def __init__(self, found: Endpoint, version: str | None, seconds: float, program: str) -> None:
        self.endpoint, self.program = found, program
        try:
            super().__init__(found.url, version=version, timeout=math.ceil(seconds))
        except _FOREIGN as error:
            raise EngineUnavailableError(
                f"the daemon at {found} does not answer: {_words(error)}",
                hint="restart it, or choose --engine bubblewrap",
            ) from error

    def request(self, *args: Any, **options: Any) -> Response:
        return super().request(*args, **{"timeout": self.timeout, **options})

    def changed_at(self, name: str, path: PurePosixPath) -> int:
        """When a path in a container last changed, in microseconds since the epoch.

        It asks for the headers of an archive alone: the archive itself would lock the container.
        """
        url = f"{self.base_url}/v{self.api_version}/containers/{name}/archive"
        answer = self.head(url, params={"path": str(path)})
        answer.raise_for_status()
        found = decode_json_header(answer.headers["X-Docker-Container-Path-Stat"])
        since = datetime.fromisoformat(found["mtime"]) - datetime.fromtimestamp(0, UTC)
        return since // timedelta(microseconds=1)


def _must_have(client: _Client, base: str) -> None:
    try:
        client.inspect_image(base)  # type: ignore[no-untyped-call]
    except ImageNotFound as error:
        hint = f"{client.program} pull {base}, or --base with an image that is here"
        raise ImageError(f"{client.program} has no image '{base}' to build on", hint) from error


def _built(client: _Client, recipe: Recipe) -> Iterator[str]:
    """On the host's network, as sandboxes are; what failed leaves no container."""
    steps = client.build(
        path=str(recipe.folder),
        tag=recipe.tags[0],
        buildargs={"BASE": recipe.base},
        labels={create_body.IMAGE: recipe.tags[0]},
        network_mode="host",
        rm=True,
        forcerm=True,
        decode=True,
    )
    for step in steps:
        if "error" in step:
            raise ImageError(f"{client.program} could not build {recipe.tags[0]}: {step['error']}")
        yield str(step.get("stream", ""))


@contextmanager
def _told(client: _Client, doing: str) -> Iterator[None]:
    """What Docker raises, as ours; `EngineUnavailableError` where there is no daemon any more."""
    try:
        yield
    except _FOREIGN as error:
        endpoint.reach(client.endpoint, PING_SECONDS)
        words = _words(error)
        message = f"{client.program} could not {doing}: {words}"
        raise EngineError(message, hint=create_body.remedy(words)) from error


def _words(error: Exception) -> str:
    return str((isinstance(error, APIError) and error.explanation) or error)


class _Container:
    """The container of one sandbox, from before it exists until it is proved to be gone."""

    def __init__(self, client: _Client, name: str) -> None:
        self._client, self.name = client, name
        self._may_exist = True

    def create(self, image: str, body: create_body.Body) -> None:
        """Make it; without a daemon there is none."""
        try:
            self._made(image, body)
        except EngineUnavailableError:
            self._may_exist = False
            raise

    def _made(self, image: str, body: create_body.Body) -> None:
        with _told(self._client, f"create a sandbox from image '{image}'"):
            try:
                self._create(body)
            except ImageNotFound as error:
                _mend(self._client, image, error)
                self._create(body)

    def _create(self, body: create_body.Body) -> None:
        self._client.create_container_from_config(body, self.name)  # type: ignore[no-untyped-call]

    def attach(self) -> AttachChannel:
        """Before it starts: the daemon closes the stdin of a container that nobody holds."""
        return AttachChannel(self._attached("stdin", "stdout", "stderr"), self._ending)

    def overhear(self) -> Printed:
        """Before it starts, or its first words are missing."""
        return Printed(self._attached("stdout", "stderr"))

    def _attached(self, *streams: str) -> socket.socket:
        wanted = dict.fromkeys((*streams, "stream"), 1)
        with _told(self._client, f"attach to {self.name}"):
            answer = self._client.attach_socket(self.name, wanted)
            connection = socket.socket(fileno=os.dup(answer.fileno()))
            connection.settimeout(None)
            answer._response.close()  # noqa: SLF001 - nothing else ends its hold on the socket
        return connection

    def start(self) -> None:
        with _told(self._client, "start the sandbox"):
            self._client.start(self.name)

    def _ending(self) -> str:
        """What ended it, where Docker knows more than that it did, or is gone itself."""
        try:
            self._client.wait(self.name, timeout=_ENDING_SECONDS)
            found = self._client.inspect_container(self.name)["State"]
        except _FOREIGN:
            endpoint.reach(self._client.endpoint, PING_SECONDS)
            return ""
        return "the sandbox ran out of memory" if found["OOMKilled"] else str(found["Error"])

    def destroy(self) -> list[LeftBehindError]:
        """Remove it with volumes and networks, by force, until it is gone; what is not is told."""
        deadline = monotonic() + DESTROY_SECONDS
        self._client.timeout = math.ceil(DESTROY_SECONDS)
        try:
            while self._may_exist and (left := self._remove()) is not None:
                if monotonic() > deadline:
                    return [self._left_behind(left)]
                sleep(_RETRY_SECONDS)
        except EngineUnavailableError as gone:
            return [self._left_behind(str(gone))]
        return []

    def _left_behind(self, why: str) -> LeftBehindError:
        program = self._client.program
        return LeftBehindError(
            f"{program} could not remove sandbox {self.name}: {why}",
            hint=f"{program} rm --force --volumes {self.name}",
        )

    def _remove(self) -> str | None:
        """What is in the way; None once it is gone."""
        try:
            with suppress(NotFound):
                self._client.remove_container(self.name, v=True, force=True)
            label = f"{create_body.SANDBOX}={self.name}"
            for volume in _volumes(self._client, label):
                with suppress(NotFound):
                    self._client.remove_volume(volume["Name"])
            for network in self._client.networks(filters={"label": label}):
                with suppress(NotFound):
                    self._client.remove_network(network["Id"])
            self._client.inspect_container(self.name)
        except NotFound:
            return None
        except _FOREIGN as error:
            endpoint.reach(self._client.endpoint, PING_SECONDS)
            return _words(error)
        return "it is still there"


@contextmanager
def _nothing_left() -> Iterator[list[LeftBehindError]]:
    """Takes what could not be proved to be gone, and raises it at the end, over whatever else."""
    left: list[LeftBehindError] = []
    try:
        yield left
    finally:
        raise_left_behind(left)


@contextmanager
def _container(client: _Client, left: list[LeftBehindError]) -> Iterator[_Container]:
    made = _Container(client, f"{create_body.PREFIX}{token_hex(8)}")
    try:
        yield made
    finally:
        left += made.destroy()


def _must_see(client: _Client, folder: Path, named: Path, dialect: Dialect) -> None:
    """Return when the daemon knows `folder`, which is below `named`, by the name it has here."""
    with _nothing_left() as left, _container(client, left) as made:
        body = create_body.shell(folder, dialect, _labels(made.name, "look"))
        try:
            made.create(HOST_IMAGE, body)
        except EngineError as error:
            raise nesting.unseen(named, str(client.endpoint), error.message) from error


def _shows(mount: Mount, points: Collection[Path]) -> TypeGuard[CopyOnWrite | ReadOnly]:
    return not isinstance(mount, Fresh) and mount.source in points


def _must_see_same(client: _Client, point: Path, dialect: Dialect) -> None:
    """Return when the daemon has at `point` the folder that is there for this process.

    Two folders of one name are told apart by when they last changed.
    """
    with _nothing_left() as left, _container(client, left) as made:
        made.create(HOST_IMAGE, create_body.shell(point, dialect, _labels(made.name, "look")))
        before = point.stat().st_mtime_ns
        with _told(client, f"look at {point}"):
            found = client.changed_at(made.name, create_body.SCRATCH)
        times = {before // 1000, point.stat().st_mtime_ns // 1000}
    if found not in times:
        raise EngineError(
            f"the daemon at {client.endpoint} does not see what is mounted at {point}",
            hint="restart it, choose --engine bubblewrap, or mount that outside the workspace",
        )


@contextmanager
def _naming(points: Collection[Path]) -> Iterator[None]:
    """Name the mounts in the workspace where the block fails, as it may for their sake."""
    try:
        yield
    except EngineError as error:
        if not points or type(error) is not EngineError:
            raise
        raise create_body.unshown(error, points) from error


def _labels(name: str, label: str) -> dict[str, str]:
    return {
        create_body.LEASE: str(leases.Lease.mine()),
        create_body.LABEL: label,
        create_body.SANDBOX: name,
    }


def _no_image(client: _Client, image: str) -> ImageError:
    return ImageError(f"{client.program} has no image '{image}'", store.how_to_get(image))


def _mend(client: _Client, image: str, error: ImageNotFound) -> None:
    """The host's image is made here; no other is fetched behind anybody's back."""
    if image != HOST_IMAGE:
        raise _no_image(client, image) from error
    with files.lock(state.kept("locks") / "docker-image"):
        if not client.images(create_body.EMPTY_IMAGE):
            client.import_image_from_data(_EMPTY_TAR, create_body.EMPTY_IMAGE)


@contextmanager
def _layers(
    client: _Client, spec: SandboxSpec, dialect: Dialect, left: list[LeftBehindError]
) -> Iterator[create_body.Layers]:
    """A layer for each mount that keeps changes on disk, removed at the end."""
    with state.scratch() as folder:
        try:
            yield dict(_made_layers(folder, spec))
        finally:
            left += _clear(client, folder, dialect)


def _made_layers(
    folder: Path, spec: SandboxSpec
) -> Iterator[tuple[PurePosixPath, create_body.Layer]]:
    for number, mount in enumerate(spec.mounts):
        parts = (folder / f"{part}-{number}" for part in ("lower", "upper", "work"))
        match mount:
            case CopyOnWrite(source):
                yield mount.target, _overlaid(create_body.Layer(*parts), source)
            case Fresh(target, mode, on_disk=True):
                yield target, _emptied(create_body.Layer(*parts), mode, _points_below(target, spec))
            case _:
                pass


def _overlaid(layer: create_body.Layer, source: Path) -> create_body.Layer:
    """What it shows is named by a link, for a path may hold what overlay options cannot."""
    layer.lower.symlink_to(source)
    layer.upper.mkdir()
    layer.work.mkdir()
    return layer


def _emptied(
    layer: create_body.Layer, mode: int, points: Mapping[PurePosixPath, bool]
) -> create_body.Layer:
    """Empty but for the points where something is mounted: made by runc, they would be root's."""
    layer.upper.mkdir()
    layer.upper.chmod(mode)
    for point, is_folder in points.items():
        place = layer.upper / point
        (place if is_folder else place.parent).mkdir(parents=True, exist_ok=True)
        if not is_folder:
            place.touch()
    return layer


def _points_below(target: PurePosixPath, spec: SandboxSpec) -> Mapping[PurePosixPath, bool]:
    """Where in `target` something else is mounted, and whether that is a folder."""
    return {
        mount.target.relative_to(target): not isinstance(mount, ReadOnly) or mount.source.is_dir()
        for mount in spec.ordered()
        if target in mount.target.parents
    }


def _clear(client: _Client, folder: Path, dialect: Dialect) -> list[LeftBehindError]:
    """Remove a scratch folder, by the daemon where the overlay left what is root's; else say so."""
    for empty in folder.glob("work-*/work"):
        with suppress(OSError):
            empty.rmdir()
    try:
        files.remove(folder)
    except PermissionError:
        return _cleared_by_daemon(client, folder, dialect)
    except OSError as error:
        return [_folder_left(folder, str(error))]
    return []


def _cleared_by_daemon(client: _Client, folder: Path, dialect: Dialect) -> list[LeftBehindError]:
    """Nothing is run for that: what is unpacked into a container takes the place of folders."""
    left: list[LeftBehindError] = []
    try:
        with _container(client, left) as made, _told(client, f"remove {folder}"):
            labels = _labels(made.name, "clean-up")
            made.create(HOST_IMAGE, create_body.shell(folder, dialect, labels))
            names = create_body.empty_files(path.name for path in folder.iterdir())
            client.put_archive(made.name, str(create_body.SCRATCH), names)
            files.remove(folder)
    except EngineError as error:
        left.append(_folder_left(folder, str(error)))
    return left


def _folder_left(folder: Path, why: str) -> LeftBehindError:
    return LeftBehindError(f"{folder} could not be removed: {why}", hint=f"sudo rm -rf {folder}")


def _dead(client: _Client) -> tuple[dict[str, str], tuple[LeftBehindError, ...]]:
    """Return the sandboxes of dead runs with their labels, and errors that name doubtful ones.

    Docker may go on listing a container after its removal, until it is restarted: without a name.
    """
    with _told(client, "list what is left"):
        containers = client.containers(all=True, filters={"label": create_body.LEASE})
        found = [
            *(one for one in containers if one["Names"]),
            *_volumes(client, create_body.LEASE),
            *client.networks(filters={"label": create_body.LEASE}),
        ]
    labels = [one["Labels"] for one in found]
    named = {one.get(create_body.SANDBOX, ""): one for one in labels}
    sandboxes = {name: one for name, one in named.items() if name.startswith(create_body.PREFIX)}
    dead, unknown = leases.find_dead(
        (name, leases.Lease.parse(one[create_body.LEASE])) for name, one in sandboxes.items()
    )
    return {name: sandboxes[name].get(create_body.LABEL, "") for name in dead}, unknown


def _volumes(client: _Client, label: str) -> list[dict[str, Any]]:
    return client.volumes(filters={"label": label})["Volumes"] or []
