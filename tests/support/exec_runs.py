"""Runs of `isosmoke-exec`: the program, its environment, its records, and its refusal."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

EXEC = str(Path(sys.executable).with_name("isosmoke-exec"))
"""The program as an installation of isosmoke puts it on PATH."""

SECONDS = 120
"""A limit that only a hang reaches, even on a machine under heavy load."""

AWAIT_SLEEP = 'while [ "$(cat /proc/$!/comm)" != sleep ]; do :; done'
"""Shell code that waits until the last background process has become `sleep`."""

LEAVE_ONE = f"sleep 1000 >/dev/null 2>&1 & {AWAIT_SLEEP}"
"""A shell script that passes and leaves one process."""

_WITHOUT_NAMESPACES = 'echo 0 >/proc/sys/user/max_pid_namespaces && exec "$@"'


def build_environment(log: Path | None = None, **variables: str) -> dict[str, str]:
    """Return the environment of a run: without settings of the caller, with these ones."""
    own = {name: value for name, value in os.environ.items() if "ISOSMOKE_EXEC" not in name}
    settings = {f"ISOSMOKE_EXEC_{name}": value for name, value in variables.items()}
    return {**own, **settings, **({"ISOSMOKE_EXEC_LOG": str(log)} if log else {})}


def run_exec(
    *argv: object,
    log: Path | None = None,
    prefix: tuple[str, ...] = (),
    settings: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run `isosmoke-exec` with these arguments; `prefix` is a command that starts it."""
    options.setdefault("env", build_environment(log, **(settings or {})))
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [*prefix, EXEC, *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        **options,
    )


def read_records(log: Path) -> list[dict[str, Any]]:
    """Return the records of a log in which every line is complete."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def find_user_prefix(user: str) -> tuple[str, ...]:
    """Return a command that runs another one as root or as an ordinary user; skip without it."""
    if user == "ordinary" and os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv (util-linux) to become an ordinary user")
        return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if user == "root" and os.geteuid() != 0:
        pytest.skip("not root")
    return ()


def find_refusal_prefix() -> tuple[str, ...]:
    """Return a command that runs another one where new PID namespaces are refused; skip without."""
    prefix = ("unshare", "--user", "--map-root-user", "--", "sh", "-c", _WITHOUT_NAMESPACES, "sh")
    if shutil.which("unshare") is None:
        pytest.skip("no unshare (util-linux)")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not permit a user namespace with limits")
    return prefix
