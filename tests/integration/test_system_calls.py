"""System calls that a sandbox refuses, on every engine and for every user."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from support import available

MANIFEST = """
[defaults]
timeout_seconds = 60
settle_seconds = 0.3

[[scenario]]
name = "one"
script = "one.sh"
"""

CALLS = r'''
import ctypes, errno, json, mmap, os, platform, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def call(number, *arguments):
    ctypes.set_errno(0)
    numbers = [ctypes.c_ulong(argument & (1 << 64) - 1) for argument in arguments]
    libc.syscall(ctypes.c_long(number), *numbers)
    return errno.errorcode.get(ctypes.get_errno(), "")


def by_interrupt(number):
    """Make an i386 system call, whose result is in eax."""
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(b"\xb8" + struct.pack("<I", number) + b"\xcd\x80\xc3")
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return errno.errorcode.get(-ctypes.CFUNCTYPE(ctypes.c_int)(start)(), "")


limits = ctypes.addressof(ctypes.create_string_buffer(struct.pack("<2Q", 64, 64), 16))
read = ctypes.addressof(ctypes.create_string_buffer(16))
(clone3, prlimit, setpriority, ioprio, affinity, scheduler, param, attr, unshare) = (
    (435, 302, 141, 251, 203, 144, 142, 314, 272) if X86
    else (435, 261, 140, 30, 122, 119, 118, 274, 97)
)
errors = {
    "clone3": call(clone3, read, 64),
    "limits of PID 1": call(prlimit, 1, 7, limits, 0),
    "limits of PID 1, its upper half set": call(prlimit, 1 << 32 | 1, 7, limits, 0),
    "reading limits of PID 1": call(prlimit, 1, 7, 0, read),
    "own limits": call(prlimit, 0, 7, limits, 0),
    "priority of PID 1": call(setpriority, 0, 1, 5),
    "priority of its group": call(setpriority, 1, 1, 5),
    "priority of the user": call(setpriority, 2, os.getuid(), 5),
    "own priority": call(setpriority, 0, 0, min(19, os.getpriority(os.PRIO_PROCESS, 0) + 1)),
    "I/O priority of PID 1": call(ioprio, 1, 1, 0),
    "I/O priority of its group": call(ioprio, 2, 1, 0),
    "I/O priority of the user": call(ioprio, 3, os.getuid(), 0),
    "own I/O priority": call(ioprio, 1, 0, 2 << 13 | 7),
    "processors of PID 1": call(affinity, 1, 8, limits),
    "scheduler of PID 1": call(scheduler, 1, 0, read),
    "its parameters": call(param, 1, read),
    "its attributes": call(attr, 1, read, 0),
    "time namespace": call(unshare, 0x80),
    "cgroup namespace": call(unshare, 0x02000000),
}
if X86:
    errors["by i386"] = by_interrupt(20)
    errors["by x32"] = call(0x40000000 + 39)
print(json.dumps(errors))
'''

REFUSED = {
    "limits of PID 1",
    "limits of PID 1, its upper half set",
    "priority of PID 1",
    "priority of its group",
    "priority of the user",
    "I/O priority of PID 1",
    "I/O priority of its group",
    "I/O priority of the user",
    "processors of PID 1",
    "scheduler of PID 1",
    "its parameters",
    "its attributes",
    "time namespace",
    "cgroup namespace",
    "by i386",
    "by x32",
}
ALLOWED = {"reading limits of PID 1", "own limits", "own priority", "own I/O priority"}


@pytest.fixture
def project() -> Iterator[Path]:
    """Yield a directory that every user can read, with one scenario, whose script a test writes."""
    directory = Path(mkdtemp(prefix="isosmoke-calls-"))
    directory.chmod(0o755)
    (directory / "project").mkdir()
    (directory / "project/manifest.toml").write_text(MANIFEST)
    yield directory
    shutil.rmtree(directory)


def run_scenario(directory: Path, user: available.User, engine: str, script: str) -> dict[str, Any]:
    """Run a user's only scenario and return its JSON record."""
    user.require_engine(engine)
    user.create_directories(directory / "own")
    (directory / "project/one.sh").write_text(script)
    user.give_ownership(directory / "project")
    arguments = ("run", "--manifest", "manifest.toml", "--engine", engine, "--json")
    result = user.run(*arguments, folder=directory / "own", working=directory / "project")
    assert result.stdout, result.stderr
    (scenario,) = json.loads(result.stdout)["scenarios"]
    return dict(scenario)


@pytest.mark.parametrize("user", available.USERS)
@pytest.mark.parametrize("engine", available.ENGINE_NAMES)
def test_refused_calls_fail_and_others_work(engine: str, user: str, project: Path) -> None:
    """Calls that affect PID 1, the host or the filter fail with EPERM; calls on oneself work."""
    script = f"exec python3 - <<'END'\n{CALLS}\nEND\n"
    scenario = run_scenario(project, available.USERS[user](), engine, script)
    assert scenario["outcome"] == "PASS", scenario
    errors = json.loads(scenario["output"]["last_lines"][-1])

    assert errors.pop("clone3") == "ENOSYS"
    assert {name: errors[name] for name in errors if name in ALLOWED} == dict.fromkeys(ALLOWED, "")
    refused = {name: error for name, error in errors.items() if name not in ALLOWED}
    assert refused == dict.fromkeys(REFUSED & errors.keys(), "EPERM")
    assert errors.keys() <= REFUSED | ALLOWED


@pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
def test_oom_killed_keeper_is_error(engine: str, project: Path) -> None:
    """Root may make the keeper the OOM killer's first choice; the outcome is ERROR then."""
    manifest = project / "project/manifest.toml"
    manifest.write_text(f'{manifest.read_text()}limits.memory = "64M"\n')
    user = available.current_user()
    if user.uid != 0:
        pytest.skip("only root may write to the file")
    scenario = run_scenario(
        project,
        user,
        engine,
        "echo 1000 >/proc/1/oom_score_adj || exit 99\n"
        "for i in 1 2 3 4; do head -c 500M /dev/zero | tail >/dev/null & done\nwait\n",
    )

    assert scenario["outcome"] == "ERROR", scenario
    assert scenario["exit_code"] is None, scenario


WITHOUT_FILTERS = r"""
import ctypes, os, platform, struct, sys

SECCOMP, PRCTL = {"x86_64": (317, 157), "aarch64": (277, 167)}[platform.machine()]
LOAD, JUMP_IF, RETURN, EINVAL, ALLOW = 0x20, 0x15, 0x06, 0x50016, 0x7FFF0000
rules = [
    (LOAD, 0, 0, 0),  # the number
    (JUMP_IF, 4, 0, SECCOMP),
    (JUMP_IF, 0, 2, PRCTL),
    (LOAD, 0, 0, 16),  # the first argument
    (JUMP_IF, 1, 0, 22),  # PR_SET_SECCOMP
    (RETURN, 0, 0, ALLOW),
    (RETURN, 0, 0, EINVAL),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *rule) for rule in rules))
program = struct.pack("<HxxxxxxQ", len(rules), ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_script_is_not_run_without_seccomp_filters(project: Path) -> None:
    """A script that the filter cannot restrict is not started, and the reason is reported."""
    current_user = available.current_user()
    user = replace(current_user, prefix=(current_user.python, "-c", WITHOUT_FILTERS))

    scenario = run_scenario(project, user, "bubblewrap", "echo it runs\n")

    assert scenario["outcome"] == "ERROR", scenario
    assert "CONFIG_SECCOMP_FILTER" in scenario["reason"]
    assert not scenario["output"]["last_lines"]


NESTED = """
[[scenario]]
name = "inner"
script = "inner.sh"
"""

_NOT_NEEDED = shutil.ignore_patterns(
    *("__pycache__", ".*", "tests", "docs", "bench", "images", "requirements"),
    *("mypy", "mypyc", "pip", "setuptools", "hypothesis", "grimp", "ruff*", "_pytest", "pygments"),
)
"""Files that isosmoke does not need to run, in a checkout and among its developers' packages."""

INNER = {
    "a user namespace with its own /proc": "unshare -Urpf --mount-proc true",
    "bwrap with all namespaces": ("bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc true"),
    "isosmoke": (
        'cp inner.toml "$(mktemp -d /tmp/inner.XXXXXX)" && cd /tmp/inner.* && echo true >inner.sh '
        "&& $ISOSMOKE run --manifest inner.toml"
    ),
}


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
def test_sandboxes_can_be_nested(inner: str, project: Path) -> None:
    """An ordinary user's script may use namespaces as on the host, as bwrap and browsers do."""
    if inner.startswith("bwrap") and not shutil.which("bwrap", path=available.PATH):
        pytest.skip("there is no bwrap among the system's programs")
    user = available.ordinary_user()
    install_isosmoke(project, user)

    scenario = run_scenario(project, user, "bubblewrap", f"{inner}\n")

    assert scenario["outcome"] == "PASS", scenario


def test_nested_isosmoke_hints_at_copy(project: Path) -> None:
    """A mount hides the records of the workspace; a copy of the workspace has none."""
    user = available.ordinary_user()
    install_isosmoke(project, user)
    (project / "project/.isosmoke/runs").mkdir(parents=True)
    inner = """
        echo true >inner.sh
        $ISOSMOKE run --manifest inner.toml 2>&1 | grep 'in a copy: cp -r' || exit 3
        copy="$(mktemp -d)/copy"
        cp -r . "$copy" && cd "$copy" && exec $ISOSMOKE run --manifest inner.toml
    """

    scenario = run_scenario(project, user, "bubblewrap", inner)

    assert scenario["outcome"] == "PASS", scenario


def install_isosmoke(project: Path, user: available.User) -> None:
    """Copy isosmoke into the project, with a manifest for it."""
    directory = project / "project"
    for path in user.environment(project)["PYTHONPATH"].split(os.pathsep):
        shutil.copytree(path, directory / "libraries", ignore=_NOT_NEEDED, dirs_exist_ok=True)
    with (directory / "manifest.toml").open("a") as manifest:
        command = f"env PYTHONPATH={directory}/libraries {user.python} -m isosmoke"
        manifest.write(f'env = {{ ISOSMOKE = "{command}" }}\n')
    (directory / "inner.toml").write_text(NESTED)
