"""A run whose host changes in the meantime: what a sandbox would only hide may be gone."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from support import available
from support.project import Project

MANIFEST = """
[[scenario]]
name = "first"
script = "first.sh"

[[scenario]]
name = "second"
script = "second.sh"
"""


@pytest.fixture
def private() -> Iterator[Path]:
    """Yield a directory that only root can list, in one that every sandbox shows."""
    if os.getuid() != 0:
        pytest.skip("only root's sandboxes hide directories, and only root can create one in /opt")
    top = Path(mkdtemp(prefix="isosmoke-test-", dir="/opt"))
    top.chmod(0o755)
    (top / "private").mkdir(mode=0o700)
    (top / "private/key").touch()
    yield top / "private"
    shutil.rmtree(top, ignore_errors=True)


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_directory_removed_during_a_run_stops_no_scenario(
    name: str, private: Path, tmp_path: Path
) -> None:
    """A private directory is hidden while it exists, and nothing is missed when it is removed."""
    available.require_engine(name)
    project = Project.within(tmp_path, MANIFEST)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        project.path("first.sh").write_text(
            f"test -d {private}\ntest ! -e {private}/key\n"
            f"exec 3<>/dev/tcp/127.0.0.1/{port}\nread -r -u 3\n"
        )
        project.path("second.sh").write_text(f"test ! -e {private}\n")
        run = subprocess.Popen(
            project.command("run", "--engine", name, "--jobs", "1", "--json", "first", "second"),
            cwd=project.top,
            env=project.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        with run:
            try:
                connection, _ = server.accept()
                with connection:
                    shutil.rmtree(private)
                    connection.sendall(b"removed\n")
                output, _ = run.communicate(timeout=120)
            finally:
                run.kill()

    scenarios = json.loads(output)["scenarios"]
    assert {scenario["name"]: scenario["outcome"] for scenario in scenarios} == {
        "first": "PASS",
        "second": "PASS",
    }, output
