"""The properties that decide whether this process can create sandboxes with a bwrap, as data."""

import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from isosmoke.host.learned import identities

_FILES = (
    "proc/sys/kernel/random/boot_id",
    "proc/sys/kernel/unprivileged_userns_clone",
    "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "proc/sys/kernel/apparmor_restrict_unprivileged_unconfined",
    "proc/sys/kernel/apparmor_restrict_unprivileged_io_uring",
    "proc/self/attr/current",
    "proc/self/uid_map",
    "proc/self/gid_map",
    "proc/filesystems",
    "sys/kernel/security/lsm",
    "sys/kernel/security/apparmor/revision",
    "sys/fs/selinux/enforce",
)
"""Settings and properties of the kernel and of this process (proc(5), LSM documentation)."""

_MAXIMUMS = "proc/sys/user"
_PROFILES = "sys/kernel/security/apparmor/policy/profiles"
_RIGHTS = ("Cap", "NoNewPrivs", "Seccomp")
_NAMESPACES = ("cgroup", "mnt", "net", "pid", "user")
_LIMITS = (
    *(resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE),
    *(resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_STACK),
)
_CODE = ("engines/bubblewrap/**/*.py", "sandbox/spec.py")
_MAX_BYTES = 1 << 16


def collect(programs: Iterable[str], state: Path, root: Path = Path("/")) -> Mapping[str, Any]:
    """Return what the result of a self-test of these bwraps in the directory `state` depends on.

    `root` contains the directories `proc` and `sys`.
    """
    return {
        "code": identities.identify_code(_CODE),
        "kernel": list(os.uname()),
        "files": {name: _read(root / name) for name in _FILES},
        "maximums": {path.name: _read(path) for path in _list(root / _MAXIMUMS)},
        "profiles": [path.name for path in _list(root / _PROFILES)],
        "rights": list(_read_rights(root)),
        "namespaces": [_read_link(root / "proc/self/ns" / name) for name in _NAMESPACES],
        "user": [*os.getresuid(), *os.getresgid(), *sorted(os.getgroups())],
        "limits": [resource.getrlimit(limit) for limit in _LIMITS],
        "mounts": list(_select_mounts(root, state)),
        "programs": [[program, *_identify(Path(program))] for program in programs],
    }


def _read(file: Path) -> str:
    """Return the beginning of a file; empty if this kernel does not have it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _MAX_BYTES).decode(errors="replace")
        finally:
            os.close(descriptor)
    except OSError:
        return ""


def _list(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _read_link(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _read_rights(root: Path) -> Iterator[str]:
    lines = _read(root / "proc/self/status").splitlines()
    return (line for line in lines if line.startswith(_RIGHTS))


def _select_mounts(root: Path, state: Path) -> Iterator[str]:
    """Yield the mounts that hold `state`, and those of /proc and /sys, which a self-test mounts."""
    holding = {str(path) for path in (state, *state.parents)}
    for line in _read_all(root / "proc/self/mountinfo").splitlines():
        point = line.split(" ")[4]
        if point in holding or point.startswith(("/proc", "/sys")):
            yield line


def _read_all(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _identify(program: Path) -> list[object]:
    try:
        return [str(program.resolve()), *identities.identify_file(program)]
    except OSError:
        return []
