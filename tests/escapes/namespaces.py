"""Run a command in new namespaces, created by each suitable system call.

    python3 namespaces.py EXPECTATION NAMES COMMAND...

`NAMES` are names of clone(2) flags without `CLONE_`, joined by commas. `COMMAND` is run by `sh` in
the namespaces, once for each system call: it exits 0 if it succeeds, 3 if it is refused, else 99. A
line is printed for each call: "refused: ...", "escaped: ...", or "unreached: ..." with the reason.
`EXPECTATION` is "may-be-refused" if the system may refuse the namespaces themselves, else
"can-be-made".

The exit code is 1 if any call succeeded, else 99 if any did not reach the target, else 0. A user
namespace without a map of users gives the same capabilities as one with a map, and root without
CAP_SETFCAP can create no other (user_namespaces(7)).
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from typing import NoReturn

FLAGS = {
    "NEWNS": 0x20000,
    "NEWCGROUP": 0x2000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
CLONE, UNSHARE, CAPGET, CAPSET = {
    "x86_64": (56, 272, 125, 126),
    "aarch64": (220, 97, 90, 91),
}[platform.machine()]
CLONE3 = 435
_CAPABILITY_VERSION = 0x20080522
_AMBIENT, _RAISE = 47, 2
_BUFFERS: list["ctypes.Array[ctypes.c_char]"] = []
CALLS = ("unshare", "clone", "clone3")

THROUGH, REFUSED, UNREACHED = 0, 3, 99
LABELS = {THROUGH: "escaped", REFUSED: "refused", UNREACHED: "unreached"}

LIBC = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> int:
    """Make a system call.

    Raises:
        OSError: If it fails.
    """
    result: int = LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def make(name: str, flags: int) -> None:
    """Continue in new namespaces, in a child if the system call creates one."""
    if name == "unshare":
        call(UNSHARE, flags)
        follow(os.fork())  # the first process of a new PID namespace
    elif name == "clone":
        follow(call(CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0))
    else:
        arguments = struct.pack("<8Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
        follow(call(CLONE3, address(arguments), len(arguments)))


def follow(pid: int) -> None:
    """Return in the child; in the parent, exit with the child's exit code."""
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256)


def map_user(uid: int, gid: int) -> None:
    """Become root in the new user namespace."""
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - one write, unbuffered names
            file.write(line)


def keep_capabilities() -> None:
    """Pass every capability on to programs: exec drops them where no user is mapped."""
    header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    call(CAPGET, address(header), ctypes.addressof(data))
    effective, permitted, _, effective_2, permitted_2, _ = struct.unpack("<6I", data.raw)
    fields = (effective, permitted, permitted, effective_2, permitted_2, permitted_2)
    call(CAPSET, address(header), address(struct.pack("<6I", *fields)))
    for number in range(64):
        if (permitted | permitted_2 << 32) >> number & 1:
            LIBC.prctl(_AMBIENT, _RAISE, number, 0, 0)


def address(content: bytes) -> int:
    """Return the address of a permanent copy of these bytes."""
    _BUFFERS.append(ctypes.create_string_buffer(content, len(content)))
    return ctypes.addressof(_BUFFERS[-1])


def attempt(name: str, flags: int, command: list[str], *, mapped: bool, expectation: str) -> int:
    """Make one attempt in a new child, and return its exit code."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        become(name, flags, command, mapped=mapped, expectation=expectation)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def become(
    name: str, flags: int, command: list[str], *, mapped: bool, expectation: str
) -> NoReturn:
    """Become the command in new namespaces, or print why they could not be created."""
    uid, gid = os.getuid(), os.getgid()
    try:
        make(name, flags)
    except OSError as error:
        is_refusal = error.errno == (errno.ENOSYS if name == "clone3" else errno.EPERM)
        sys.stderr.write(f"  {name}: {error.strerror}\n")
        may_be_refused = expectation == "may-be-refused" or name == "clone3"
        os._exit(REFUSED if is_refusal and may_be_refused else UNREACHED)
    if mapped:
        map_user(uid, gid)
    else:
        keep_capabilities()
    os.execvp("sh", ["sh", *command])  # noqa: S606 - without another child


def can_map_users() -> bool:
    """Return whether a user namespace with a map of users can be created."""
    capability = 1 << 31
    with open("/proc/self/status") as status:  # noqa: PTH123 - one read
        effective = next(line.split()[1] for line in status if line.startswith("CapEff"))
    return os.getuid() != 0 or bool(int(effective, 16) & capability)


def main(expectation: str, names: str, *command: str) -> int:
    """Make every attempt and print its result."""
    flags = sum(FLAGS[name] for name in names.split(","))
    codes = set()
    for mapped in (False, True) if can_map_users() else (False,):
        for call_name in CALLS:
            code = attempt(call_name, flags, list(command), mapped=mapped, expectation=expectation)
            code = code if code in LABELS else UNREACHED
            description = (
                f"{' '.join(command)} by {call_name} of {names}{', mapped' if mapped else ''}"
            )
            print(
                f"{LABELS[code]}: {description}", file=sys.stderr if code == THROUGH else sys.stdout
            )
            codes.add(code)
    sys.stdout.flush()
    return 1 if THROUGH in codes else UNREACHED if UNREACHED in codes else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
