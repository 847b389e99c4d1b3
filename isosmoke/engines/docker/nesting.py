"""isosmoke in a container of its own, while the daemon that makes sandboxes is outside of it.

The daemon mounts folders of its host, by their names there: so what a sandbox needs must have the
same name inside of isosmoke's container as outside.
"""

import socket
import struct
from pathlib import Path, PurePosixPath

from isosmoke.errors import EngineError, EngineUnavailableError
from isosmoke.sandbox.spec import ReadOnly, SandboxSpec

_MARKS = (".dockerenv", "run/.containerenv")
"""The files by which Docker's and Podman's containers can be told."""

_CREDENTIALS = struct.Struct("3i")
"""A process, its user and its group: `struct ucred`."""

_SYSTEM = ReadOnly(Path("/usr"), PurePosixPath("/usr"))


def nested(server: str, root: Path = Path("/")) -> bool:
    """Whether this process runs in a container, and what listens on the socket `server` does not.

    A process of another PID namespace has no pid here (unix(7), SO_PEERCRED).
    """
    return any((root / mark).exists() for mark in _MARKS) and _listener(server) == 0


def _listener(server: str) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(server)
        found = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(found)[0]
    return pid


def check(spec: SandboxSpec) -> None:
    """Refuse the host's own image: the host of the daemon is another, with other programs."""
    if _SYSTEM in spec.mounts:
        raise EngineError(
            "isosmoke is in a container, whose own system no other container can have",
            hint='name a clean environment: image = "NAME" in the manifest',
        )


def unseen(folder: Path, endpoint: str, why: str) -> EngineUnavailableError:
    """The error for a folder that the daemon does not know."""
    return EngineUnavailableError(
        f"isosmoke is in a container, and the daemon at {endpoint} does not see {folder}: {why}",
        hint=f"start that container with -v {folder}:{folder}, the same name on both sides",
    )
