"""The survivors that `isosmoke-exec` lists, and what becomes of them and of the exit code."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.exec_runs import (
    AWAIT_SLEEP,
    EXEC,
    LEAVE_ONE,
    SECONDS,
    build_environment,
    find_user_prefix,
    read_records,
    run_exec,
)

LISTENS = """
import os, socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
sockets[1].bind(sys.argv[1] + "/a b.sock")
sockets[1].listen()
sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
sockets[2].bind(("127.0.0.1", 0))
if socket.has_ipv6:
    sockets.append(socket.create_server(("::1", 0), family=socket.AF_INET6))
sockets.append(socket.create_connection(sockets[0].getsockname()))
if os.fork():
    os._exit(0)
os.setsid()
with open(sys.argv[1] + "/ready", "w") as file:
    file.write("%d %d" % (sockets[0].getsockname()[1], sockets[2].getsockname()[1]))
os.close(1); os.close(2)
import signal
while True:
    signal.pause()
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Create a directory in which every user may write."""
    with TemporaryDirectory() as path:
        Path(path).chmod(0o777)
        yield Path(path)


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_survivor_is_listed_and_ended(user: str, open_to_all: Path) -> None:
    """The record has its arguments and age; both hold the output open, which ends."""
    log = open_to_all / "log"
    script = f"sleep 1000 & {AWAIT_SLEEP}; sleep 2000 & {AWAIT_SLEEP}; exit 7"
    done = run_exec("--settle", "0", "sh", "-c", script, log=log, prefix=find_user_prefix(user))

    assert done.returncode == 7
    assert done.stderr == ""
    (record,) = read_records(log)
    survivors = {tuple(survivor["argv"]): survivor for survivor in record["survivors"]}
    assert set(survivors) == {("sleep", "1000"), ("sleep", "2000")}
    assert all(0 <= survivor["age_seconds"] < SECONDS for survivor in survivors.values())
    assert all(survivor["pid"] > 2 for survivor in survivors.values())
    assert record["watched"] is True
    assert record["argv"] == ["sh", "-c", script]
    assert record["exit_code"] == 7


def test_sockets_of_a_daemon_are_listed(tmp_path: Path) -> None:
    """A daemon in its own session is found, with every socket that accepts and no other."""
    log = tmp_path / "log"
    wait = f"while ! [ -s {tmp_path}/ready ]; do :; done"
    script = f'"{sys.executable}" -c "$0" {tmp_path}; {wait}'
    run_exec("--settle=0", "sh", "-c", script, LISTENS, log=log)

    (record,) = read_records(log)
    (survivor,) = record["survivors"]
    tcp, udp = (tmp_path / "ready").read_text().split()
    sockets = set(survivor["sockets"])
    assert sockets >= {f"tcp 127.0.0.1:{tcp}", f"udp 127.0.0.1:{udp}", f"unix {tmp_path}/a b.sock"}
    assert len(sockets) == 3 + socket.has_ipv6
    assert survivor["argv"][:2] == [sys.executable, "-c"]


def test_process_that_ends_in_the_settle_time_is_no_leak(tmp_path: Path) -> None:
    """The run ends as soon as no process is left, without waiting for the whole settle time."""
    log, fifo = tmp_path / "log", tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [EXEC, "--settle", "86400", "sh", "-c", f"(echo x >{fifo}) & exit 0"],
        env=build_environment(log),
    ) as wrapper:
        assert fifo.read_text() == "x\n"  # only then can the child end
        assert wrapper.wait(SECONDS) == 0

    assert read_records(log)[0]["survivors"] == []


def test_leak_fails_a_pass_if_asked(tmp_path: Path) -> None:
    """One line on stderr names the test, the process, its age and its socket."""
    script = f'"{sys.executable}" -c "$0" {tmp_path}; while ! [ -s {tmp_path}/ready ]; do :; done'
    done = run_exec(
        *("--settle=0", "--name", "the test", "sh", "-c", script, LISTENS),
        log=tmp_path / "log",
        settings={"LEAKS": "fail"},
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("isosmoke-exec: LEAK: the test left ")
    assert sys.executable in line
    assert ", age " in line
    assert f"tcp 127.0.0.1:{(tmp_path / 'ready').read_text().split()[0]}" in line


@pytest.mark.parametrize(
    ("script", "code"),
    [(LEAVE_ONE, 1), ("exit 0", 0), (f"{LEAVE_ONE}; exit 9", 9)],
)
def test_failure_keeps_its_exit_code(script: str, code: int, tmp_path: Path) -> None:
    """Only a pass turns into a failure, and only by a leak."""
    settings = {"LEAKS": "fail", "SETTLE": "0"}
    done = run_exec("sh", "-c", script, log=tmp_path / "log", settings=settings)

    assert done.returncode == code
    assert ("LEAK: sh -c" in done.stderr) == ("sleep" in script)


def test_leak_without_a_log_is_printed() -> None:
    """Without a log and without `ISOSMOKE_EXEC_LEAKS`, a leak is still not lost."""
    done = run_exec("--settle=0", "sh", "-c", LEAVE_ONE)

    assert done.returncode == 0
    assert "isosmoke-exec: LEAK: sh -c" in done.stderr
    assert "left sleep 1000 (PID " in done.stderr


def test_names_of_tests(tmp_path: Path) -> None:
    """The option wins over the variable, which wins over the names of cargo-nextest."""
    log = tmp_path / "log"
    nextest = {"NEXTEST_BINARY_ID": "crate::bin", "NEXTEST_TEST_NAME": "module::test"}
    for arguments, settings in (((), {}), ((), {"NAME": "b"}), (("--name", "a"), {"NAME": "b"})):
        environment = {**build_environment(log, **settings), **nextest}
        run_exec(*arguments, "true", env=environment)
    run_exec("true", log=log)

    tests = [record["test"] for record in read_records(log)]
    assert tests == ["crate::bin module::test", "b", "a", None]


def test_any_bytes_are_valid_json(tmp_path: Path) -> None:
    """Arguments that are not UTF-8, control characters and quotes end up in one valid line."""
    log = tmp_path / "log"
    argv = [
        os.fsencode(EXEC),
        b"--settle=0",
        b"sh",
        b"-c",
        b'(exec -a "$0" sleep 1000) & until grep -qx sleep /proc/$!/comm; do :; done',
        b'\xff"\\\n\t\x7f\xc3\xa9\xed\xa0\x80',
    ]
    argv[2:4] = [b"bash", b"-c"]
    subprocess.run(argv, env=build_environment(log), check=False, stdout=subprocess.DEVNULL)

    (record,) = read_records(log)
    assert record["argv"][-1] == '\\xff"\\\n\t\x7fé\\xed\\xa0\\x80'
    assert record["survivors"][0]["argv"][0] == record["argv"][-1]


def test_wiped_arguments_are_replaced_by_the_name(tmp_path: Path) -> None:
    """A process without arguments is named in brackets, as by `ps`."""
    log = tmp_path / "log"
    code = (
        "import ctypes, os, time\nif os.fork(): os._exit(0)\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.prctl(15, b'a (b) c', 0, 0, 0)\n"
        "stat = open('/proc/self/stat').read().rpartition(')')[2].split()\n"
        "start, end = int(stat[45]), int(stat[46])\n"
        "ctypes.memset(start, 0, end - start)\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').write('x'); time.sleep(1000)\n"
    )
    script = f'"{sys.executable}" -c "$0"; while ! [ -s {tmp_path}/ready ]; do :; done'
    subprocess.run(
        [EXEC, "--settle=0", "sh", "-c", script, code],
        env=build_environment(log),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=SECONDS,
    )

    assert [s["argv"] for s in read_records(log)[0]["survivors"]] == [["[a (b) c]"]]


def test_concurrent_runs_do_not_mix(tmp_path: Path) -> None:
    """Every run has one complete line, and one mark of its start."""
    log = tmp_path / "log"
    argv = [EXEC, "--settle=0", "sh", "-c", LEAVE_ONE, "x" * 5000]
    environment = build_environment(log)
    runs = [subprocess.Popen(argv, env=environment) for _ in range(20)]
    for run in runs:
        assert run.wait(SECONDS) == 0

    records = read_records(log)
    assert len(records) == 20
    assert all(len(record["survivors"]) == 1 for record in records)
    lines = log.read_text().splitlines()
    assert sum(len(line) - len(line.lstrip(" ")) for line in lines) == 20


def test_nested_run_lists_what_it_ends(tmp_path: Path) -> None:
    """The inner run reports its own leak, and the outer one does not see it again."""
    log = tmp_path / "log"
    inner = f'"{EXEC}" --settle=0 sh -c "$0"'
    done = run_exec("sh", "-c", inner, LEAVE_ONE, log=log)

    assert "LEAK" in done.stderr  # the inner run has no log
    (record,) = read_records(log)
    assert record["survivors"] == []


def test_nested_run_of_an_ordinary_user() -> None:
    """User namespaces nest."""
    prefix = find_user_prefix("ordinary")
    done = run_exec(EXEC, EXEC, "sh", "-c", "exit 5", prefix=prefix)

    assert (done.returncode, done.stderr) == (5, "")


def test_command_line_of_pid_1_is_hidden() -> None:
    """`pgrep -f` inside finds the command once, not also its wrapper."""
    code = (
        "import os\nfor pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    print(pid, 'unlikely-word' in open(f'/proc/{pid}/cmdline').read())"
    )
    done = run_exec(sys.executable, "-c", code, "unlikely-word")

    assert done.stdout.split("\n")[:2] == ["1 False", "2 True"]
