"""Tries something in new namespaces, made by each system call that can make them.

    python3 namespaces.py MADE NAMES COMMAND...

`NAMES` are those of clone(2) flags without `CLONE_`, joined by commas. `COMMAND` is run by `sh` in
the namespaces, once for each way: it exits 0 where it gets through, 3 where it is refused, else 99.
Each way prints a line: "refused: ...", "escaped: ...", or "unreached: ..." with the reason. `MADE`
is "may-be-refused" where the namespaces themselves may be, else "can-be-made".

The exit code is 1 where any way got through, else 99 where any did not get as far, else 0. A user
namespace without a map of users gives the same capabilities as one with a map, and root without
CAP_SETFCAP can make no other (user_namespaces(7)).
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
_KEPT: list["ctypes.Array[ctypes.c_char]"] = []
CALLS = ("unshare", "clone", "clone3")

THROUGH, REFUSED, UNREACHED = 0, 3, 99
WORDS = {THROUGH: "escaped", REFUSED: "refused", UNREACHED: "unreached"}

LIBC = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> int:
    """Make a system call; `OSError` when it fails."""
    result: int = LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def make(name: str, flags: int) -> None:
    """Go on in new namespaces, in a child where the system call makes one."""
    if name == "unshare":
        call(UNSHARE, flags)
        follow(os.fork())  # the first process of a new PID namespace
    elif name == "clone":
        follow(call(CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0))
    else:
        arguments = struct.pack("<8Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
        follow(call(CLONE3, address(arguments), len(arguments)))


def follow(pid: int) -> None:
    """Return in the child; the parent ends with the child's exit code."""
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256)


def map_user(uid: int, gid: int) -> None:
    """Be root in the new user namespace."""
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - one write, unbuffered names
            file.write(line)


def keep_capabilities() -> None:
    """Pass every capability on to programs: where no user is mapped, exec drops them."""
    header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    call(CAPGET, address(header), ctypes.addressof(data))
    effective, permitted, _, effective_2, permitted_2, _ = struct.unpack("<6I", data.raw)
    words = (effective, permitted, permitted, effective_2, permitted_2, permitted_2)
    call(CAPSET, address(header), address(struct.pack("<6I", *words)))
    for number in range(64):
        if (permitted | permitted_2 << 32) >> number & 1:
            LIBC.prctl(_AMBIENT, _RAISE, number, 0, 0)


def address(content: bytes) -> int:
    """Where these bytes are; they stay there."""
    _KEPT.append(ctypes.create_string_buffer(content, len(content)))
    return ctypes.addressof(_KEPT[-1])


def attempt(name: str, flags: int, command: list[str], *, mapped: bool, made: str) -> int:
    """Try it one way, in a child of its own; how that came out."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        become(name, flags, command, mapped=mapped, made=made)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def become(name: str, flags: int, command: list[str], *, mapped: bool, made: str) -> NoReturn:
    """Be the command, in new namespaces; else say why they could not be made."""
    uid, gid = os.getuid(), os.getgid()
    try:
        make(name, flags)
    except OSError as error:
        refusal = error.errno == (errno.ENOSYS if name == "clone3" else errno.EPERM)
        sys.stderr.write(f"  {name}: {error.strerror}\n")
        expected = made == "may-be-refused" or name == "clone3"
        os._exit(REFUSED if refusal and expected else UNREACHED)
    if mapped:
        map_user(uid, gid)
    else:
        keep_capabilities()
    os.execvp("sh", ["sh", *command])  # noqa: S606 - without another child


def maps_users() -> bool:
    """Whether a user namespace with a map of users can be made."""
    capability = 1 << 31
    with open("/proc/self/status") as status:  # noqa: PTH123 - as small as the others
        held = next(line.split()[1] for line in status if line.startswith("CapEff"))
    return os.getuid() != 0 or bool(int(held, 16) & capability)


def main(made: str, names: str, *command: str) -> int:
    """Try every way and print how it came out."""
    flags = sum(FLAGS[one] for one in names.split(","))
    came_out = set()
    for mapped in (False, True) if maps_users() else (False,):
        for name in CALLS:
            code = attempt(name, flags, list(command), mapped=mapped, made=made)
            code = code if code in WORDS else UNREACHED
            way = f"{' '.join(command)} by {name} of {names}{', mapped' if mapped else ''}"
            print(f"{WORDS[code]}: {way}", file=sys.stderr if code == THROUGH else sys.stdout)
            came_out.add(code)
    sys.stdout.flush()
    return 1 if THROUGH in came_out else UNREACHED if UNREACHED in came_out else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
