"""A machine that refuses sandboxes is named in the same words by every program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.errors import EngineUnavailableError

_BIN = Path(sys.executable).parent

_REFUSE_NAMESPACES = """\
import ctypes, os, struct, sys
clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
load, equal, any_bit, end = 0x20, 0x15, 0x45, 0x06
new_pid, refuse, allow = 0x20000000, 0x00050001, 0x7FFF0000  # clone(2), seccomp(2): EPERM
rules = [
    (load, 0, 0, 0), (equal, 0, 3, clone), (load, 0, 0, 16), (any_bit, 0, 1, new_pid),
    (end, 0, 0, refuse), (end, 0, 0, allow),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
for option, argument, filter in ((38, 1, None), (22, 2, program)):
    if libc.prctl(option, argument, filter, 0, 0) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A program that runs another one with a filter such as Docker's: no clone(2) with namespaces."""

COMMANDS = {
    "run": ("isosmoke", "run", "--engine", "bubblewrap", "--", "true"),
    "doctor": ("isosmoke", "doctor"),
    "isosmoke-exec": ("isosmoke-exec", "true"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_seccomp_filter_is_named(tmp_path: Path, name: str) -> None:
    """The sentence and the option of the remedy are the same, for root and other users."""
    try:
        bwrap_program.find_program()
    except EngineUnavailableError as error:
        pytest.skip(f"{error} - {error.hint}")
    program, *arguments = COMMANDS[name]
    done = subprocess.run(
        [sys.executable, "-c", _REFUSE_NAMESPACES, _BIN / program, *arguments],
        cwd=tmp_path,
        env={**os.environ, "DOCKER_HOST": "unix:///nonexistent", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr

    assert "a seccomp filter is in force, such as that of a container (" in printed
    assert "start the container with --security-opt seccomp=unconfined" in printed
    assert done.returncode == 125
