"""The addresses on which processes listen in this network namespace.

TCP is read by sock_diag(7), which lists listening sockets only. To print `/proc/net/tcp`, the
kernel walks through the table of all connections, which takes milliseconds on a large machine.
"""

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from isosmoke.keeper import procfs

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_LISTEN = 1 << 10
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_SIZES = {socket.AF_INET: 4, socket.AF_INET6: 16}
_PORT_AT, _ADDRESS_AT = 4, 8
_ANSWER_SECONDS = 1.0
_BUFFER = 1 << 16
_UNIX_FIELDS = 8


def read_listeners(net: Path) -> frozenset[str]:
    """Return the TCP and UDP addresses that accept packets, and all abstract names.

    `net` is `/proc/net`. A name is `tcp 127.0.0.1:80`, `udp [::]:53` or `unix @name`.

    Raises:
        OSError, ValueError, LookupError: if they cannot be read.
    """
    names = ["udp", "udp6"]
    try:
        tcp = [address for family in _SIZES for address in _list_tcp(family)]
    except OSError:  # the kernel or a seccomp filter does not permit it
        tcp = []
        names += ["tcp", "tcp6"]
    tables = {name: (net / name).read_bytes() for name in names if (net / name).exists()}
    abstract = list_abstract_names((net / "unix").read_text(errors="replace"))
    return frozenset((*tcp, *procfs.parse_listeners(tables).values(), *abstract))


def list_abstract_names(text: str) -> Iterator[str]:
    """Yield the abstract names in the content of `net/unix`, where they begin with `@`."""
    for line in text.splitlines():
        fields = line.split(maxsplit=_UNIX_FIELDS - 1)
        if len(fields) == _UNIX_FIELDS and fields[-1].startswith("@"):
            yield f"unix {fields[-1]}"


def _list_tcp(family: int) -> Iterator[str]:
    """Yield the address of each listening TCP socket of an address family (sock_diag(7))."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _LISTEN)
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_ANSWER_SECONDS)
        netlink.send(header + body)
        while True:
            for message, content in _split(netlink.recv(_BUFFER)):
                if message == _DONE:
                    return
                yield parse_tcp(content)


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the content of each message.

    Raises:
        OSError: for a message about an error.
    """
    while data:
        length, message, *_ = _HEADER.unpack_from(data)
        content = data[_HEADER.size : length]
        if message == _ERROR:
            raise OSError(-struct.unpack_from("=i", content)[0], "sock_diag")
        yield message, content
        data = data[(length + 3) & ~3 :]


def parse_tcp(content: bytes) -> str:
    """Return the local address in a message of the kernel (`struct inet_diag_msg`)."""
    (port,) = struct.unpack_from(">H", content, _PORT_AT)
    size = _SIZES[socket.AddressFamily(content[0])]
    address = ip_address(content[_ADDRESS_AT : _ADDRESS_AT + size])
    host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
    return f"tcp {host}:{port}"
