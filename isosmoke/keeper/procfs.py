"""What `/proc` says of survivors, parsed: raw frames in, processes out (pure).

Formats: proc(5) for `stat`, `net/tcp` and `net/unix`; `Documentation/networking/proc_net_tcp.rst`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from isosmoke.keeper.protocol import Survivor
from isosmoke.sandbox.processes import Process

_TCP_LISTEN = "0A"
_UDP_UNCONNECTED = "07"
_UNIX_ACCEPTING = 1 << 16
_UNIX_LINE = re.compile(r"\S+: \S+ \S+ (?P<flags>\S+) \S+ \S+ +(?P<inode>\d+)(?: (?P<path>.*))?")


def _ip(text: str) -> IPv4Address | IPv6Address:
    """The kernel prints each 32-bit word of an address in the machine's order: little endian."""
    words = (bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    packed = b"".join(words)
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)  # noqa: PLR2004 - bytes


def _address(text: str) -> str:
    ip, port = text.split(":")
    address = _ip(ip)
    host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
    return f"{host}:{int(port, 16)}"


def _internet(table: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    listening = _TCP_LISTEN if table.startswith("tcp") else _UDP_UNCONNECTED
    for line in lines:
        fields = line.split()
        if fields[3] == listening:
            yield fields[9], f"{table[:3]} {_address(fields[1])}"


def _unix(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """A script may bind a name with line feeds in it: what continues such a name is no line."""
    for found in filter(None, map(_UNIX_LINE.fullmatch, lines)):
        if int(found["flags"], 16) & _UNIX_ACCEPTING:
            yield found["inode"], f"unix {found['path'] or '(unnamed)'}"


def listeners(tables: Mapping[str, bytes]) -> dict[str, str]:
    """Socket inode → the address it accepts on, from the text of `/proc/net/*` by table name."""
    found: dict[str, str] = {}
    for table, content in tables.items():
        lines = content.decode(errors="replace").removesuffix("\n").split("\n")[1:]
        found.update(_unix(lines) if table == "unix" else _internet(table, lines))
    return found


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _argv(survivor: Survivor, name: bytes) -> tuple[str, ...]:
    """Return the arguments, or the name in brackets where the process has wiped all of them.

    To wipe them is to fill them with zeros or blanks: the memory keeps its size (proc(5), cmdline).
    """
    if _is_blank(survivor.cmdline):
        return (f"[{_text(survivor.exe if _is_blank(name) else name)}]",)
    return tuple(map(_text, survivor.cmdline.removesuffix(b"\0").split(b"\0")))


def _is_blank(raw: bytes) -> bool:
    return not raw.strip(b"\0 \t\n")


def pid_and_state(stat: bytes) -> tuple[int, str]:
    """The pid and the state letter of one `stat` line."""
    return int(stat.split(b" ", 1)[0]), stat.rpartition(b")")[2].split()[0].decode()


def process(
    survivor: Survivor, *, uptime: float, ticks: int, state: str, accepting: Mapping[str, str]
) -> Process:
    """One survivor in words; `ticks` is `sysconf(_SC_CLK_TCK)`, `uptime` in seconds."""
    name, _, rest = survivor.stat.rpartition(b")")
    fields = rest.split()
    started = int(fields[19]) / ticks
    return Process(
        pid=int(name.split(b" ", 1)[0]),
        ppid=int(fields[1]),
        argv=_argv(survivor, name.partition(b"(")[2]),
        cwd=_text(survivor.cwd),
        exe=_text(survivor.exe),
        age_seconds=round(max(0.0, uptime - started), 2),
        state=state,
        listens=tuple(sorted(accepting[one] for one in survivor.sockets if one in accepting)),
    )
