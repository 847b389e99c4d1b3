"""The option `--isosmoke-leaks` on a small suite: a verdict for each test, and no process left."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support import available
from support.exec_runs import SECONDS, build_environment, read_records

SUITE = """
import multiprocessing.shared_memory, os, subprocess, sys
import pytest

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]
DAEMON = "import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\ntime.sleep(2000)"

@pytest.fixture(scope="module")
def server():
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()

@pytest.fixture(scope="module")
def forgetful():
    return subprocess.Popen([*SLEEP[:2], "import time; time.sleep(3000)"])

def test_clean(): subprocess.run(["true"], check=True)
def test_child(): subprocess.Popen(SLEEP)
def test_daemon(): subprocess.run([sys.executable, "-c", DAEMON], check=True)
def test_server(server): assert server.poll() is None
def test_server_again(server): assert server.poll() is None
def test_tracker():
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=10)
    memory.close(); memory.unlink()
def test_last(forgetful): assert forgetful.poll() is None
"""


def list_processes(directory: Path) -> list[str]:
    """Return the processes that have this working directory."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            found += [str(link)] if link.readlink() == directory else []
    return found


def run_suite(directory: Path, *options: str) -> tuple[int, str, dict[str, Any]]:
    """Run the suite; return the exit code, the output, and the survivors of each test."""
    (directory / "test_suite.py").write_text(SUITE)
    (directory / "pytest.ini").write_text("[pytest]\n")
    log = directory / "log"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=directory,
        env=build_environment(log),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    records = {
        record["test"].rpartition(":")[2]: [
            survivor["argv"][-1] for survivor in record["survivors"]
        ]
        for record in read_records(log)
    }
    return done.returncode, done.stdout, records


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_every_leak_is_attributed_to_its_test(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A child and a daemon are leaks; a fixture in use and a helper of Python are not."""
    code, output, records = run_suite(tmp_path, "--isosmoke-leaks", *options)

    leaking = {test: argv for test, argv in records.items() if argv}
    assert set(leaking) == {"test_child", "test_daemon", "test_last"}
    assert len(records) == 7
    assert "sleep(1000)" in leaking["test_child"][0]
    assert "sleep(2000)" in leaking["test_daemon"][0]
    assert "sleep(3000)" in leaking["test_last"][0]
    assert code == 1
    assert output.count("Failed: isosmoke: LEAK: the test left") >= 3
    assert "7 passed, 3 errors" in output


def test_report_only(tmp_path: Path) -> None:
    """With `=report`, leaks are recorded and ended, and no test fails."""
    code, output, records = run_suite(tmp_path, "--isosmoke-leaks=report")

    assert code == 0, output
    assert sum(map(bool, records.values())) == 3
    assert available.wait_for(lambda: not list_processes(tmp_path), SECONDS)
