"""Resolution of host names in a sandbox: as in its system, but `localhost` is always known.

A minimal system has no `/etc/hosts`, and that of an exported container is empty. There, a script
that waits until a service on `localhost` answers would wait until its timeout.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from isosmoke.host import files, state
from isosmoke.sandbox.spec import CopyOnWrite, Mount, ReadOnly

_ETC = PurePosixPath("/etc")
HOSTS = _ETC / "hosts"
_RESOLVER = _ETC / "resolv.conf"

_LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def list_rootfs_mounts(
    image_hosts: Path | None, network: str, etc: Path = Path(_ETC)
) -> Iterator[Mount]:
    """Yield the files for a root filesystem: those of the host, if it has the host's network.

    `image_hosts` is its own `/etc/hosts`, None if it has none, and `etc` the host's `/etc`.
    """
    hosts = image_hosts
    if network == "host":
        yield from (ReadOnly(file, _RESOLVER) for file in _find(etc / _RESOLVER.name))
        hosts = next(_find(etc / HOSTS.name), image_hosts)
    if hosts is None or not _has_names(hosts):
        yield ReadOnly(_store_hosts() / HOSTS.name, HOSTS)
    elif hosts != image_hosts:
        yield ReadOnly(hosts, HOSTS)


def complete_host_mounts(mounts: Iterable[Mount], etc: Path = Path(_ETC)) -> Iterator[Mount]:
    """Yield the mounts of the host image, with `localhost` if the host's own `etc` lacks it.

    Nothing can be mounted at a missing path of a read-only directory; a layer adds the file.
    """
    hosts = next(_find(etc / HOSTS.name), None)
    for mount in mounts:
        is_without_file = hosts is None and mount == ReadOnly(etc, _ETC)
        yield CopyOnWrite(etc, above=_store_hosts(), at=_ETC) if is_without_file else mount
    if hosts is not None and not _has_names(hosts):
        yield ReadOnly(_store_hosts() / HOSTS.name, HOSTS)


def _find(path: Path) -> Iterator[Path]:
    """Yield the file that a path leads to, often in /run, which a sandbox replaces."""
    file = path.resolve()
    if file.is_file():
        yield file


def _has_names(hosts: Path) -> bool:
    """Return whether a file maps any name; one that cannot be read counts as it is."""
    try:
        lines = hosts.read_text(errors="replace").splitlines()
    except OSError:
        return True
    return any(line.partition("#")[0].strip() for line in lines)


def _store_hosts() -> Path:
    """Return a directory with a file `hosts` that has nothing but `localhost`."""
    directory = state.ensure_directory("localhost")
    file = directory / HOSTS.name
    with suppress(FileNotFoundError):
        if file.read_text() == _LOCALHOST:
            return directory
    directory.chmod(0o755)
    files.write(file, _LOCALHOST)
    file.chmod(0o644)
    return directory
