"""The listeners of this machine, by either interface of the kernel."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

import pytest

from isosmoke.execution.concurrency import listening_addresses

NET = Path("/proc/net")
UNIX = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/dbus/socket
0000000000000000: 00000002 00000000 00010000 0001 01 12346 @/tmp/.X11-unix/X0
0000000000000000: 00000002 00000000 00000000 0002 01 12347 @a name
0000000000000000: 00000003 00000000 00000000 0001 03 12348
"""


@pytest.fixture
def addresses() -> Iterator[set[str]]:
    """Yield the addresses of a server, of a datagram port, and of an abstract datagram socket."""
    name = f"isosmoke-test-{token_hex(8)}"
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{name}")
        yield {
            f"tcp 127.0.0.1:{server.getsockname()[1]}",
            f"udp 127.0.0.1:{datagrams.getsockname()[1]}",
            f"unix @{name}",
        }


def test_listeners_and_abstract_names_are_seen_while_they_exist(addresses: set[str]) -> None:
    """A port, a datagram port and an abstract socket of any type are visible."""
    assert addresses <= listening_addresses.read_listeners(NET)


def test_without_netlink_the_tables_are_read(
    addresses: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter of system calls that refuses sock_diag does not hide a listener."""
    monkeypatch.setattr(listening_addresses, "_NETLINK_SOCK_DIAG", 31)

    assert addresses <= listening_addresses.read_listeners(NET)


def test_listener_of_version_6_has_brackets() -> None:
    """The address is written as in a URL."""
    if not socket.has_ipv6:
        pytest.skip("Python has no IPv6")
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("the machine has no IPv6")
    with server:
        assert f"tcp [::1]:{server.getsockname()[1]}" in listening_addresses.read_listeners(NET)


def test_ended_listener_is_gone() -> None:
    """A closed socket is no listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp 127.0.0.1:{server.getsockname()[1]}"

    assert address not in listening_addresses.read_listeners(NET)


def test_abstract_names_are_those_with_an_at_sign() -> None:
    """Sockets in a file system are separate in each sandbox, and do not count."""
    names = list(listening_addresses.list_abstract_names(UNIX))

    assert names == ["unix @/tmp/.X11-unix/X0", "unix @a name"]
