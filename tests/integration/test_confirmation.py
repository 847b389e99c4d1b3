"""Planted failures next to others: each measurement of the real machine raises its doubt."""

import json
from pathlib import Path
from typing import Any

import pytest

from isosmoke.errors import ExitCode
from support import available
from support.project import Project

pytestmark = pytest.mark.skipif(
    not Path("/proc/pressure/cpu").exists(), reason="the kernel accounts no pressure"
)

HEAD = "from secrets import token_hex; import multiprocessing, os, socket, time\n"
PLANTED = {
    "cpu": """
def burn():
    while time.monotonic() < end: pass
end = time.monotonic() + 1
for _ in range(4 * os.cpu_count()): multiprocessing.Process(target=burn).start()
while time.monotonic() < end: pass
""",
    "disk": "file = os.open('/tmp/large', os.O_CREAT | os.O_RDWR); "
    "os.posix_fallocate(file, 0, 300 << 20); time.sleep(1)",
    "port": "server = socket.create_server(('127.0.0.1', 0)); time.sleep(1)",
    "abstract": "one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    "one.bind(chr(0) + token_hex(8)); time.sleep(1)",
    "brief": "server = socket.create_server(('127.0.0.1', 0)); "
    "socket.create_connection(server.getsockname())",
    "clock": "time.sleep(60)",
    "open": "raise OSError('Too many open files')",
}
"""The program of each planted scenario, which then fails."""

DOUBTS = {
    "cpu": "cpu",
    "disk": "space",
    "port": "network",
    "abstract": "network",
    "brief": "network",
    "clock": "deadline",
    "open": "exhausted",
}


@pytest.fixture
def planted(tmp_path: Path) -> Project:
    """Return a project with each planted scenario; all fail, alone too."""
    available.require_engine("bubblewrap")
    entry = "[[scenario]]\nname = '{0}'\nscript = 'scenarios/{0}.sh'\ntimeout_seconds = {1}\n"
    deadlines = {name: 2 if name == "clock" else 60 for name in PLANTED}
    manifest = "".join(entry.format(*item) for item in deadlines.items())
    project = Project.within(tmp_path, manifest)
    for name, program in PLANTED.items():
        text = f"python3 - <<'EOF'\n{HEAD}{program}\nEOF\nexit 1\n"
        (project.top / "scenarios" / f"{name}.sh").write_text(text)
    return project


def read_attempts(text: str) -> dict[str, list[dict[str, Any]]]:
    """Return the attempts of each scenario in a record."""
    return {item["name"]: item["attempts"] for item in json.loads(text)["scenarios"]}


def test_planted_failures_raise_their_doubts(planted: Project) -> None:
    """Each way in which a neighbour can interfere is noticed, and the failure confirmed alone."""
    attempts = read_attempts(planted.run("run", "-j", "7", "--json", "--timings").stdout)

    for name, kind in DOUBTS.items():
        first, *_, last = attempts[name]
        assert kind in [doubt["kind"] for doubt in first["doubts"]], (name, first["doubts"])
        assert (first["postponed"], first["alone"], first["basis"]) == (True, False, "")
        assert (last["alone"], last["basis"]) == (True, "alone")


def test_gate_confirms_failures(planted: Project) -> None:
    """A gate has no option to count a failure at once: it would refuse work for a neighbour."""
    refused = planted.run("gate", "task-a", "--confirm", "never")

    assert refused.returncode == ExitCode.USAGE
    assert "'never' is not one of 'always', 'auto'" in refused.stderr
