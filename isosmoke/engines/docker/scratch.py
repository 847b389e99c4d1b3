"""The directories on this machine in which a sandbox's mounts keep their changes."""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from isosmoke.engines.docker import create_body
from isosmoke.engines.docker.client import Client, docker_errors
from isosmoke.engines.docker.container import labels, new_container
from isosmoke.engines.docker.create_body import Dialect, DockerLayer
from isosmoke.errors import EngineError, LeftBehindError
from isosmoke.host import state
from isosmoke.host.files import trees
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite, Fresh, Link, ReadOnly, SandboxSpec


@contextmanager
def layers(
    client: Client, spec: SandboxSpec, dialect: Dialect, failures: list[LeftBehindError]
) -> Iterator[create_body.DockerLayers]:
    """Yield a layer for each mount that keeps changes on disk; remove all of them afterwards."""
    with state.scratch() as directory:
        try:
            yield dict(_create_layers(directory, spec, dialect))
        finally:
            failures += remove(client, directory, dialect)


def _create_layers(
    directory: Path, spec: SandboxSpec, dialect: Dialect
) -> Iterator[tuple[PurePosixPath, DockerLayer]]:
    for number, mount in enumerate(spec.mounts):
        parts = (directory / f"{part}-{number}" for part in ("lower", "upper", "work"))
        match mount:
            case CopyOnWrite(source, copies, above=above):
                layer = _create_overlay(DockerLayer(*parts), source)
                if above is not None:
                    layer = _add_above(layer, above, directory / f"above-{number}", dialect)
                if copies is not None:
                    trees.copy_tree(copies, layer.upper)
                yield mount.target, layer
            case Fresh(target, mode, on_disk=True):
                points = _find_points_below(target, spec)
                layer = _create_empty(DockerLayer(*parts), mode, points)
                _create_links(layer, target, spec)
                yield target, layer
            case _:
                pass


def _create_overlay(layer: DockerLayer, source: Path) -> DockerLayer:
    """Create an overlay with a link to its source, as overlay options cannot contain every path."""
    layer.lower.symlink_to(source)
    layer.upper.mkdir()
    layer.work.mkdir()
    return layer


def _add_above(layer: DockerLayer, above: Path, link: Path, dialect: Dialect) -> DockerLayer:
    """Cover the source of an overlay with `above`; Podman's overlays have one lower directory."""
    if dialect.is_podman:
        trees.copy_tree(above, layer.upper)
        return layer
    link.symlink_to(above)
    return replace(layer, above=link)


def _create_empty(
    layer: DockerLayer, mode: int, points: Mapping[PurePosixPath, bool]
) -> DockerLayer:
    """Create an empty layer with its mount points, which would belong to root if runc made them."""
    layer.upper.mkdir()
    layer.upper.chmod(mode)
    for point, is_directory in points.items():
        path = layer.upper / point
        (path if is_directory else path.parent).mkdir(parents=True, exist_ok=True)
        if not is_directory:
            path.touch()
    return layer


def _create_links(layer: DockerLayer, target: PurePosixPath, spec: SandboxSpec) -> None:
    """Create the links below the fresh directory `target`, as a container cannot mount links."""
    for mount in spec.mounts:
        if isinstance(mount, Link) and target in mount.target.parents:
            path = layer.upper / mount.target.relative_to(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(mount.destination)


def _find_points_below(target: PurePosixPath, spec: SandboxSpec) -> Mapping[PurePosixPath, bool]:
    """Return the paths in `target` at which there are other mounts; true for a directory."""
    return {
        mount.target.relative_to(target): not isinstance(mount, ReadOnly) or mount.source.is_dir()
        for mount in spec.sort_mounts()
        if target in mount.target.parents and not isinstance(mount, Link)
    }


def remove(client: Client, directory: Path, dialect: Dialect) -> list[LeftBehindError]:
    """Remove a scratch directory; return an error if that failed.

    The daemon removes it if an overlay left files that belong to root.
    """
    for empty in directory.glob("work-*/work"):
        with suppress(OSError):
            empty.rmdir()
    try:
        trees.remove(directory)
    except PermissionError:
        return _remove_by_daemon(client, directory, dialect)
    except OSError as error:
        return [_removal_error(directory, str(error))]
    return []


def _remove_by_daemon(client: Client, directory: Path, dialect: Dialect) -> list[LeftBehindError]:
    """Remove a directory without starting a container: unpacked files replace its directories."""
    failures: list[LeftBehindError] = []
    try:
        with (
            new_container(client, failures) as container,
            docker_errors(client, f"remove {directory}"),
        ):
            own_labels = labels(container.name, "clean-up")
            container.create(
                HOST_IMAGE, create_body.build_probe_body(directory, dialect, own_labels)
            )
            archive = build_empty_files_archive(path.name for path in directory.iterdir())
            client.put_archive(container.name, str(create_body.SCRATCH), archive)
            trees.remove(directory)
    except EngineError as error:
        failures.append(_removal_error(directory, str(error)))
    return failures


def _removal_error(directory: Path, reason: str) -> LeftBehindError:
    message = f"{directory} could not be removed: {reason}"
    return LeftBehindError(message, hint=f"sudo rm -rf {directory}")


def build_empty_files_archive(names: Iterable[str]) -> bytes:
    """Return a tar archive of empty files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for name in names:
            writer.addfile(tarfile.TarInfo(name))
    return archive.getvalue()
