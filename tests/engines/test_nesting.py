"""Detection of a container around isosmoke, and the images that it refuses there."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.engines.docker import nesting
from isosmoke.errors import EngineError
from isosmoke.sandbox.spec import CopyOnWrite, ReadOnly
from isosmoke.testing.bench import Bench
from support import available

CODE = """
import sys
from pathlib import Path
from isosmoke.engines.docker import nesting
print(nesting.is_nested(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Yield a socket on which this process listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        yield str(tmp_path / "socket")


def is_nested(server: str, root: Path) -> bool:
    """Return whether a process in another PID namespace detects a container."""
    available.require_engine("bubblewrap")
    options = ("--dev-bind", "/", "/", "--unshare-pid")
    command = [
        str(bwrap_program.find_installed()),
        *options,
        sys.executable,
        "-c",
        CODE,
        server,
        str(root),
    ]
    return subprocess.run(command, capture_output=True, check=True).stdout == b"True\n"


@pytest.mark.parametrize("marker", [".dockerenv", "run/.containerenv"])
def test_container_is_detected_by_its_marker(marker: str, server: str, tmp_path: Path) -> None:
    """Docker and Podman have different markers; a directory without a marker is not a container."""
    assert not is_nested(server, tmp_path)
    (tmp_path / marker).parent.mkdir(exist_ok=True)
    (tmp_path / marker).touch()
    assert is_nested(server, tmp_path)


def test_daemon_in_the_same_container_is_inside(server: str, tmp_path: Path) -> None:
    """Such a daemon sees the same directories as isosmoke."""
    (tmp_path / ".dockerenv").touch()
    assert not nesting.is_nested(server, tmp_path)


def test_host_image_is_refused_in_a_container(tmp_path: Path) -> None:
    """A root filesystem is accepted, because it has the same path on both sides."""
    spec = Bench(tmp_path).shell("true").spec
    rootfs = ReadOnly(tmp_path / "usr", PurePosixPath("/usr"))
    nesting.refuse_host_system(replace(spec, mounts=(rootfs, CopyOnWrite(tmp_path))))
    with pytest.raises(EngineError, match="whose system other containers cannot use") as caught:
        nesting.refuse_host_system(spec)
    assert "image =" in caught.value.hint


def test_invisible_directory_has_a_hint_with_its_option() -> None:
    """The hint contains the option with which to start the container."""
    error = nesting.invisible_directory_error(
        Path("/home/me/state"), "unix:///docker.sock", "does not exist"
    )
    assert "/home/me/state" in error.message
    assert "-v /home/me/state:/home/me/state" in error.hint
