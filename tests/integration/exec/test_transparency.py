"""A command under `isosmoke-exec` sees and gets what it sees and gets without it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.exec_runs import (
    EXEC,
    SECONDS,
    build_environment,
    find_user_prefix,
    read_records,
    run_exec,
)

PROBE = """
import json, os, resource, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
umask = os.umask(0)
descriptors = {}
for number in os.listdir("/proc/self/fd"):
    try:
        descriptors[number] = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        pass
print(json.dumps({
    "argv": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ),
    "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()],
    "umask": umask, "input": sys.stdin.read() if "stdin" in sys.argv else "",
    "descriptors": {n: p for n, p in descriptors.items() if not p.startswith("/proc/")},
    "signals": [status[name] for name in ("SigBlk", "SigIgn", "SigCgt", "NoNewPrivs")],
    "limits": [resource.getrlimit(number) for number in range(16)],
    "nice": os.nice(0), "cpus": sorted(os.sched_getaffinity(0)),
}))
"""


def probe(argv: list[str], environment: Mapping[str, str], **options: Any) -> dict[str, Any]:
    """Run the probe as a command, and return what it sees."""
    done = subprocess.run(
        [*argv, "stdin", "", "a b", "\xe9"],
        env=environment,
        input="three\nlines\n",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=SECONDS,
        **options,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    for number in ("0", "1"):  # each run has its own pipes
        seen["descriptors"][number] = seen["descriptors"][number].partition(":")[0]
    return seen


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_command_sees_the_same(user: str) -> None:
    """Arguments, files, signals, limits and identity are those of a plain run, the log is not."""
    command = [*find_user_prefix(user), sys.executable, "-c", PROBE]
    if user == "ordinary" and os.geteuid() == 0:
        command[-3] = "/usr/bin/python3"  # one that every user may run
        if not Path("/usr/bin/python3").exists():
            pytest.skip("no python3 that every user may run")
    reader, writer = os.pipe()
    plain = build_environment()

    def set_up() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        os.umask(0o027)

    options: dict[str, Any] = {"pass_fds": (reader, writer), "cwd": "/usr", "preexec_fn": set_up}
    wrapped = [*command[:-3], EXEC, *command[-3:]]
    expected = probe(command, plain, **options)
    actual = probe(wrapped, {**plain, "ISOSMOKE_EXEC_LOG": os.devnull}, **options)
    os.close(reader)
    os.close(writer)

    assert actual == expected


@pytest.mark.parametrize("user", ["root", "ordinary"])
@pytest.mark.parametrize("code", [0, 1, 3, 77, 125, 255])
def test_exit_code_is_that_of_the_command(user: str, code: int) -> None:
    """No exit code has another meaning."""
    done = run_exec("sh", "-c", f"exit {code}", prefix=find_user_prefix(user))

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGINT", "SIGHUP", "SIGPIPE"])
def test_signal_that_ends_the_command_ends_the_wrapper(name: str, tmp_path: Path) -> None:
    """The parent sees the same signal, and the record has it."""
    log = tmp_path / "log"
    number = signal.Signals[name]
    done = run_exec("sh", "-c", f"ulimit -c 0; kill -{number} $$", log=log)

    assert done.returncode == -number
    assert read_records(log)[0]["signal"] == number
    assert read_records(log)[0]["exit_code"] is None


def test_missing_command_is_127() -> None:
    """The error names the command, as that of a shell does."""
    done = run_exec("isosmoke-no-such-command", "-x")

    assert done.returncode == 127
    assert "cannot run isosmoke-no-such-command: No such file" in done.stderr


def test_file_that_is_not_executable_is_126(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "file").write_text("x")
    done = run_exec(tmp_path / "file")

    assert done.returncode == 126
    assert f"cannot run {tmp_path}/file: Permission denied" in done.stderr


def test_closed_output_is_closed_while_the_command_runs() -> None:
    """A reader sees the end of the output as soon as the command closes it."""
    command = (EXEC, "sh", "-c", "echo first; exec >&-; read line; exit 5")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=build_environment()
    ) as wrapper:
        assert wrapper.stdout is not None
        assert wrapper.stdout.read() == b"first\n"
        assert wrapper.poll() is None
        wrapper.communicate(b"x\n", timeout=SECONDS)

    assert wrapper.returncode == 5


def test_closed_standard_streams_stay_closed(tmp_path: Path) -> None:
    """No file of the wrapper gets the number of a standard stream that the caller has closed."""
    script = f'exec "{EXEC}" sh -c "ls /proc/self/fd >{tmp_path}/seen" <&- 2>&-'
    log = tmp_path / "log"
    done = subprocess.run(["sh", "-c", script], env=build_environment(log), check=False)

    assert done.returncode == 0
    assert "2" not in (tmp_path / "seen").read_text().split()
    assert len(read_records(log)) == 1


def test_script_without_an_interpreter_line_runs(tmp_path: Path) -> None:
    """A shell script without `#!` runs, as from a shell."""
    (tmp_path / "script").write_text("exit 9\n")
    (tmp_path / "script").chmod(0o755)

    assert run_exec(tmp_path / "script").returncode == 9


def test_options_of_the_command_are_its_own() -> None:
    """Options end at the command, or after `--`."""
    assert run_exec("echo", "--help", "--name").stdout == "--help --name\n"
    assert run_exec("--", "echo", "--", "-x").stdout == "-- -x\n"
    assert run_exec("--name=x", "--settle", "1", "echo", "y").stdout == "y\n"


def test_help_names_every_variable() -> None:
    """The help is printed on stdout."""
    done = run_exec("--help")

    assert done.returncode == 0
    for name in ("LOG", "LEAKS=fail", "MISSING=run", "SETTLE", "NAME"):
        assert f"ISOSMOKE_EXEC_{name}" in done.stdout


@pytest.mark.parametrize(
    ("argv", "settings", "message"),
    [
        ((), {}, "no command"),
        (("--unknown", "true"), {}, "unknown option --unknown"),
        (("--name",), {}, "an option lacks its value"),
        (("--settle", "soon", "true"), {}, "not a number of seconds"),
        (("--settle", "nan", "true"), {}, "not a number of seconds"),
        (("true",), {"LEAKS": "maybe"}, "ISOSMOKE_EXEC_LEAKS has an unknown value: maybe"),
        (("true",), {"MISSING": "skip"}, "ISOSMOKE_EXEC_MISSING has an unknown value: skip"),
        (("true",), {"SETTLE": "-1"}, "not a number of seconds"),
    ],
)
def test_mistake_is_an_error_with_a_hint(
    argv: tuple[str, ...], settings: dict[str, str], message: str
) -> None:
    """A mistake never runs the command: a typing error must not turn the verdict off."""
    done = run_exec(*argv, settings=settings)

    assert done.returncode == 125
    assert message in done.stderr
    assert "\n  try: " in done.stderr
    assert done.stdout == ""


def test_log_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """The command does not run: its verdict would be lost."""
    done = run_exec("touch", tmp_path / "ran", log=tmp_path / "missing" / "log")

    assert done.returncode == 125
    assert f"cannot open ISOSMOKE_EXEC_LOG={tmp_path}/missing/log: No such file" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_log_on_a_full_disk_is_an_error() -> None:
    """A verdict that cannot be recorded is not a pass."""
    done = run_exec("true", log=Path("/dev/full"))

    assert done.returncode == 125
    assert "cannot write to the file that ISOSMOKE_EXEC_LOG names: No space left" in done.stderr


def test_too_few_descriptors_are_named_as_the_cause() -> None:
    """A low limit of open files is no refusal of namespaces, for which the remedy is another."""
    done = [
        run_exec("true", prefix=("sh", "-c", f'ulimit -n {n}; exec "$@"', "sh"))
        for n in range(4, 10)
    ]

    errors = [run.stderr for run in done if run.returncode]
    assert errors
    assert all(": Too many open files" in error for error in errors)
    assert all("ulimit -n" in error for error in errors if "try: " in error)
