"""isosmoke in a container: how it knows, and what it refuses there."""

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
print(nesting.nested(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A socket on which this process listens."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        made.listen()
        yield str(tmp_path / "socket")


def nested(server: str, root: Path) -> bool:
    """What a process of another PID namespace than this one finds."""
    available.engine("bubblewrap")
    walls = ("--dev-bind", "/", "/", "--unshare-pid")
    command = [bwrap_program.program().path, *walls, sys.executable, "-c", CODE, server, str(root)]
    return subprocess.run(command, capture_output=True, check=True).stdout == b"True\n"


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_container_is_told_by_its_mark(mark: str, server: str, tmp_path: Path) -> None:
    """Docker's and Podman's; a folder without any is no container's root."""
    assert not nested(server, tmp_path)
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert nested(server, tmp_path)


def test_daemon_in_the_same_container_is_not_outside(server: str, tmp_path: Path) -> None:
    """What it mounts is what isosmoke sees."""
    (tmp_path / ".dockerenv").touch()
    assert not nesting.nested(server, tmp_path)


def test_system_of_another_host_is_refused(tmp_path: Path) -> None:
    """A root filesystem is not: it lies where both sides see it."""
    spec = Bench(tmp_path).shell("true").spec
    kept = ReadOnly(tmp_path / "usr", PurePosixPath("/usr"))
    nesting.check(replace(spec, mounts=(kept, CopyOnWrite(tmp_path))))
    with pytest.raises(EngineError, match="whose own system no other container can have") as caught:
        nesting.check(spec)
    assert "image =" in caught.value.hint


def test_unseen_folder_is_named_with_the_option_that_shows_it() -> None:
    """As an argument for whoever starts the container."""
    error = nesting.unseen(Path("/home/me/state"), "unix:///docker.sock", "does not exist")
    assert "/home/me/state" in error.message
    assert "-v /home/me/state:/home/me/state" in error.hint
