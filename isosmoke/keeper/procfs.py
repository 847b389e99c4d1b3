"""A parser that turns the raw `/proc` data of survivors into processes (pure).

Formats: proc(5) for `stat`, `net/tcp` and `net/unix`; `Documentation/networking/proc_net_tcp.rst`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from isosmoke.keeper.events import Survivor
from isosmoke.sandbox.survivors import Process

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

INVALID = (ValueError, LookupError, OverflowError)
"""The errors of each function here for text that no kernel prints."""

_TCP_LISTEN = "0A"
_UDP_UNCONNECTED = "07"
_UNIX_ACCEPTING = 1 << 16
_UNIX_LINE = re.compile(
    r"\S+: \S+ \S+ (?P<flags>[0-9A-F]{8}) \S+ \S+ +(?P<inode>[0-9]+)(?: (?P<path>.*))?"
)


def _parse_ip(text: str) -> "IPv4Address | IPv6Address":
    """Parse an IP address, whose 32-bit groups the kernel prints in little endian order."""
    from ipaddress import IPv4Address, IPv6Address

    groups = (bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8))
    packed = b"".join(groups)
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)  # noqa: PLR2004 - bytes


def _parse_address(text: str) -> str:
    ip, port = text.split(":")
    address = _parse_ip(ip)
    host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
    return f"{host}:{int(port, 16)}"


def _parse_internet_sockets(table: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    listening = _TCP_LISTEN if table.startswith("tcp") else _UDP_UNCONNECTED
    for line in lines:
        fields = line.split()
        if fields[3] == listening:
            yield fields[9], f"{table[:3]} {_parse_address(fields[1])}"


def _parse_unix_sockets(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the inode and the address of each accepting socket.

    A script may bind a name that contains line feeds. Continuation lines of such a name do not
    match and are skipped.
    """
    for match in filter(None, map(_UNIX_LINE.fullmatch, lines)):
        if int(match["flags"], 16) & _UNIX_ACCEPTING:
            yield match["inode"], f"unix {match['path'] or '(unnamed)'}"


def parse_listeners(tables: Mapping[str, bytes]) -> dict[str, str]:
    """Return the address of each accepting socket, by inode.

    `tables` are the contents of `/proc/net/*`, by table name.
    """
    addresses: dict[str, str] = {}
    for table, content in tables.items():
        lines = content.decode(errors="replace").removesuffix("\n").split("\n")[1:]
        is_unix = table == "unix"
        addresses.update(
            _parse_unix_sockets(lines) if is_unix else _parse_internet_sockets(table, lines)
        )
    return addresses


def _decode(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _parse_argv(survivor: Survivor, name: bytes) -> tuple[str, ...]:
    """Return the arguments, or the name in brackets if the process has wiped all of them.

    Wiped arguments are filled with zeros or blanks: the memory keeps its size (proc(5), cmdline).
    """
    if _is_blank(survivor.cmdline):
        return (f"[{_decode(survivor.exe if _is_blank(name) else name)}]",)
    return tuple(map(_decode, survivor.cmdline.removesuffix(b"\0").split(b"\0")))


def _is_blank(raw: bytes) -> bool:
    return not raw.strip(b"\0 \t\n")


def parse_pid_and_state(stat: bytes) -> tuple[int, str]:
    """Return the PID and the state letter of one `stat` line."""
    return int(stat.split(b" ", 1)[0]), stat.rpartition(b")")[2].split()[0].decode()


def parse_process(
    survivor: Survivor, *, uptime: float, ticks: int, state: str, accepting: Mapping[str, str]
) -> Process:
    """Return a survivor as a process.

    `uptime` is in seconds, `ticks` is `sysconf(_SC_CLK_TCK)`, and `accepting` has the address of
    each accepting socket, by inode.
    """
    name, _, rest = survivor.stat.rpartition(b")")
    fields = rest.split()
    started = int(fields[19]) / ticks
    return Process(
        pid=int(name.split(b" ", 1)[0]),
        ppid=int(fields[1]),
        argv=_parse_argv(survivor, name.partition(b"(")[2]),
        cwd=_decode(survivor.cwd),
        exe=_decode(survivor.exe),
        age_seconds=round(max(0.0, uptime - started), 2),
        state=state,
        listens=tuple(sorted(accepting[key] for key in survivor.sockets if key in accepting)),
    )
