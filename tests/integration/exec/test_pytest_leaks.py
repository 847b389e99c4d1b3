"""The option `--isosmoke-leaks` on a small suite: a verdict for each test, and no process left."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
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


def run_suite(
    directory: Path, *options: str, suite: str = SUITE, user: available.User | None = None
) -> tuple[int, str, dict[str, Any]]:
    """Run the suite; return the exit code, the output, and the survivors of each test.

    Without a `user`, the user of the tests runs it.
    """
    (directory / "test_suite.py").write_text(suite)
    (directory / "pytest.ini").write_text("[pytest]\n")
    log = directory / "log"
    python = [*user.prefix, user.python] if user else [sys.executable]
    if user:
        user.create_directories(directory)
    done = subprocess.run(
        [*python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=directory,
        env=build_environment(log) | dict(user.environment(directory) if user else {}),
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


HARD = """
import ctypes, os, resource, subprocess, sys, threading

ZOMBIE = (
    "import ctypes, threading, time\\n"
    "threading.Thread(target=time.sleep, args=(1000,)).start()\\n"
    "ctypes.CDLL(None).syscall(EXIT, 0)"
).replace("EXIT", {"x86_64": "60"}.get(os.uname().machine, "93"))
FORKING = "import os, time\\nwhile True:\\n    time.sleep(0.05)\\n    if os.fork(): os._exit(0)"

def test_living_thread():
    process = subprocess.Popen([sys.executable, "-c", ZOMBIE])
    while not open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].startswith(" Z"): pass
def test_forking(): subprocess.Popen([sys.executable, "-c", FORKING])
def test_many_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    for _ in range(1100): os.dup(0)
    subprocess.Popen(["sleep", "1000"])
"""


@pytest.mark.parametrize("test", ["living_thread", "forking", "many_descriptors"])
def test_leak_that_is_hard_to_see_fails_its_test(tmp_path: Path, test: str) -> None:
    """Neither a dead main thread, nor repeated forks, nor many open files hide a leak."""
    code, output, records = run_suite(
        tmp_path, "--isosmoke-leaks", "-k", f"test_{test}", suite=HARD
    )

    assert records[f"test_{test}"], output
    assert (code, "INTERNALERROR" in output) == (1, False), output
    assert "1 passed, 2 deselected, 1 error" in output
    assert available.wait_for(lambda: not list_processes(tmp_path), SECONDS)


PRIVILEGED = """
import subprocess

def test_privileged(): subprocess.Popen(["./setpriv", "--reuid=0", "sleep", "1000"])
def test_next(): pass
"""


def test_leak_of_another_user_is_an_error_of_its_test_only() -> None:
    """A process that may not be killed is reported once, and holds up no later test."""
    user = available.ordinary_user()
    with tempfile.TemporaryDirectory(prefix="isosmoke-test-") as name:
        directory = Path(name)
        shutil.copyfile("/usr/bin/setpriv", directory / "setpriv")
        (directory / "setpriv").chmod(0o4755)
        try:
            code, output, records = run_suite(
                directory, "--isosmoke-leaks", suite=PRIVILEGED, user=user
            )
        finally:
            for process in list_processes(directory):
                os.kill(int(Path(process).parent.name), signal.SIGKILL)

    assert records == {"test_privileged": ["1000"], "test_next": []}, output
    assert code == 1
    assert "2 passed, 1 error" in output


LOSING = """
import os, subprocess, sys
import pytest

def test_first(): pass
@pytest.mark.parametrize("lose", [os.unlink, lambda log: os.truncate(log, 0)])
def test_losing(lose): lose(os.environ["ISOSMOKE_EXEC_LOG"])
def test_next(): pass
"""


def test_log_that_a_test_loses_is_no_verdict(tmp_path: Path) -> None:
    """The verdicts on earlier tests are gone, so the log does not pass."""
    code, output, _ = run_suite(tmp_path, "--isosmoke-leaks", suite=LOSING)

    assert code == 0, output
    watched = {record["test"]: record["watched"] for record in read_records(tmp_path / "log")}
    assert list(watched.values()) == [False, True]
    assert [name.rpartition(":")[2] for name in watched] == ["test_losing[<lambda>]", "test_next"]


MODULE = """
import subprocess, sys
SERVER = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(4000)"])
def test_one(): assert SERVER.poll() is None
def test_two(): assert SERVER.poll() is None
"""
END = "def teardown_module(): SERVER.kill(); SERVER.wait()\n"


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_process_of_a_module_is_no_leak_of_its_first_test(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """It lives until the end of the session, which it fails if it is left then."""
    code, output, records = run_suite(tmp_path, "--isosmoke-leaks", *options, suite=MODULE)

    assert code == 1
    assert "2 passed" in output
    assert "isosmoke: LEAK: left by the collection of tests" in output
    (left,) = records.pop("collection")
    assert "sleep(4000)" in left
    assert records == {"test_one": [], "test_two": []}


def test_process_that_a_module_ends_is_no_leak(tmp_path: Path) -> None:
    """The session passes, with a verdict on the time before its first test as well."""
    code, output, records = run_suite(tmp_path, "--isosmoke-leaks", suite=MODULE + END)

    assert code == 0, output
    assert records["collection"] == []


FORKED = """
import os
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item):
    child = os.fork()
    if not child:
        os._exit(any(report.failed for report in runtestprotocol(item, log=False)))
    os.waitpid(child, 0)
    return True
"""
DAEMON = """
import subprocess, sys
def test_daemon():
    script = "import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\ntime.sleep(5000)"
    subprocess.run([sys.executable, "-c", script], check=True)
"""


def test_test_in_a_child_process_is_watched(tmp_path: Path) -> None:
    """A plugin that forks for each test, as pytest-forked does, hides no daemon."""
    (tmp_path / "conftest.py").write_text(FORKED)
    _, output, records = run_suite(tmp_path, "--isosmoke-leaks", suite=DAEMON)

    (left,) = records["test_daemon"]
    assert "sleep(5000)" in left, output
    assert available.wait_for(lambda: not list_processes(tmp_path), SECONDS)


MARKED = """
import subprocess
import pytest

@pytest.fixture
def skips():
    yield
    pytest.skip("too late")

@pytest.mark.xfail
def test_fails(): subprocess.Popen(["sleep", "1000"]); assert 0
@pytest.mark.xfail
def test_passes(): subprocess.Popen(["sleep", "1000"])
def test_skipped(skips): subprocess.Popen(["sleep", "1000"])
@pytest.mark.xfail
def test_clean(): assert 0
"""


def test_leak_of_a_test_that_may_fail_is_an_error(tmp_path: Path) -> None:
    """Neither the mark xfail nor a skip in a teardown hides a leak."""
    code, output, leaks = run_suite(tmp_path, "--isosmoke-leaks", suite=MARKED)

    assert code == 1, output
    assert "3 errors" in output
    assert output.count("\nisosmoke: LEAK: the test left\n") == 3, output
    assert sum(map(bool, leaks.values())) == 3


def test_path_after_the_option_is_explained(tmp_path: Path) -> None:
    """The error of a path that is taken for the value of the option has the remedy."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--isosmoke-leaks", "test_suite.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 4
    assert "before a path, write --isosmoke-leaks=fail" in done.stderr
