"""Operation of isosmoke in a container while the daemon that creates sandboxes is outside it.

The daemon mounts its host's directories by their paths there. Everything that a sandbox needs
must therefore have the same path inside and outside isosmoke's container.
"""

import socket
import struct
from pathlib import Path, PurePosixPath

from isosmoke.errors import EngineError, EngineUnavailableError
from isosmoke.sandbox.spec import ReadOnly, SandboxSpec

_CONTAINER_MARKERS = (".dockerenv", "run/.containerenv")
"""The files that identify containers of Docker and Podman."""

_CREDENTIALS = struct.Struct("3i")
"""A process, its user and its group: `struct ucred`."""

_SYSTEM = ReadOnly(Path("/usr"), PurePosixPath("/usr"))


def is_nested(server: str, root: Path = Path("/")) -> bool:
    """Return whether this process is in a container, and the listener on `server` is outside it.

    A process of another PID namespace has no PID here (unix(7), SO_PEERCRED).
    """
    return (
        any((root / marker).exists() for marker in _CONTAINER_MARKERS)
        and _get_listener_pid(server) == 0
    )


def _get_listener_pid(server: str) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(server)
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid


def refuse_host_system(spec: SandboxSpec) -> None:
    """Refuse the host's own image: the daemon's host is another one, with other programs.

    Raises:
        EngineError: if `spec` uses that image.
    """
    if _SYSTEM in spec.mounts:
        raise EngineError(
            "isosmoke is in a container, whose system other containers cannot use",
            hint='set image = "NAME" in the manifest to the name of a clean environment',
        )


def invisible_directory_error(
    directory: Path, endpoint: str, reason: str
) -> EngineUnavailableError:
    """Return the error for a directory that the daemon does not see."""
    return EngineUnavailableError(
        f"isosmoke is in a container, and the daemon at {endpoint} does not see {directory}: "
        f"{reason}",
        hint=f"start that container with -v {directory}:{directory}, the same path on both sides",
    )
