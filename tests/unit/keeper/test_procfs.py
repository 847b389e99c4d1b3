"""The parser of survivors' `/proc` data, with text as a kernel writes it."""

# ruff: noqa: E501, W291 - the kernel's tables are wide, and padded.

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.keeper.events import Survivor
from isosmoke.keeper.procfs import INVALID, parse_listeners, parse_pid_and_state, parse_process
from isosmoke.sandbox.survivors import Process

TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41001 1 0000000000000000 100 0 0 10 0                     
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41002 1 0000000000000000 100 0 0 10 0                     
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 41003 1 0000000000000000 20 4 30 10 -1                    
1000: 0A00A8C0:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41004 1 0000000000000000 100 0 0 10 0                     
"""

TCP6 = b"""\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 42001 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42002 1 0000000000000000 100 0 0 10 0
   2: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42003 1 0000000000000000 100 0 0 10 0
"""

UDP = b"""\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             
  512: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 43001 2 0000000000000000 0         
  513: 0100007F:9C40 0100007F:0035 01 00000000:00000000 00:00000000 00000000   101        0 43002 2 0000000000000000 0         
"""

UNIX = b"""\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 44001 /tmp/wg/daemon.sock
0000000000000000: 00000002 00000000 00010000 0001 01   512 @/tmp/.X11-unix/X0
0000000000000000: 00000003 00000000 00000000 0001 03 44003 /tmp/wg/daemon.sock
0000000000000000: 00000002 00000000 00010000 0005 01 44004
0000000000000000: 00000002 00000000 00010000 0001 01 44005 /tmp/a folder/with  spaces
0000000000000000: 00000002 00000000 00000000 0002 01 44006 /run/log
"""

LISTENERS = {
    "tcp": (
        TCP,
        {
            "41001": "tcp 127.0.0.1:8080",
            "41002": "tcp 0.0.0.0:22",
            "41004": "tcp 192.168.0.10:443",
        },
    ),
    "tcp6": (
        TCP6,
        {"42001": "tcp [::1]:8080", "42002": "tcp [::]:80", "42003": "tcp [2001:db8::1]:80"},
    ),
    "udp": (UDP, {"43001": "udp 127.0.0.1:53"}),
    "udp6": (
        TCP6.replace(b" 0A ", b" 07 "),
        {"42001": "udp [::1]:8080", "42002": "udp [::]:80", "42003": "udp [2001:db8::1]:80"},
    ),
    "unix": (
        UNIX,
        {
            "44001": "unix /tmp/wg/daemon.sock",
            "512": "unix @/tmp/.X11-unix/X0",
            "44004": "unix (unnamed)",
            "44005": "unix /tmp/a folder/with  spaces",
        },
    ),
}


@pytest.mark.parametrize("table", LISTENERS)
def test_listeners_are_the_accepting_sockets(table: str) -> None:
    """Only the accepting sockets of a table are returned, with readable addresses."""
    content, expected = LISTENERS[table]

    assert parse_listeners({table: content}) == expected


def test_listeners_of_all_tables_are_combined() -> None:
    """The result contains the inodes of all tables."""
    addresses = parse_listeners({table: content for table, (content, _) in LISTENERS.items()})

    assert {"41001", "42001", "43001", "44001"} <= set(addresses)


@pytest.mark.parametrize("table", ["tcp", "udp6", "unix"])
def test_table_without_sockets_has_no_listeners(table: str) -> None:
    """A table with only a header, and an empty table, are valid."""
    assert parse_listeners({table: b"  sl  local_address rem_address   st\n", "tcp6": b""}) == {}


@pytest.mark.parametrize(
    "name", [b"/tmp/a\nb", b"/tmp/a\n", b"\n\n", b"/tmp/\xff\x0b\x1c\x85", "/run/\u2028".encode()]
)
def test_socket_with_an_odd_name_hides_no_other(name: bytes) -> None:
    """A script may bind a name of arbitrary bytes; the rest of the table is still parsed."""
    line = b"0000000000000000: 00000002 00000000 00010000 0001 01 45001 %b\n" % name
    header, rest = UNIX.split(b"\n", 1)
    addresses = parse_listeners({"unix": header + b"\n" + line + rest})

    assert addresses.pop("45001").startswith("unix ")
    assert addresses == LISTENERS["unix"][1]


@given(st.binary(max_size=108).filter(lambda name: name[:1] != b"\0"))
def test_socket_with_any_name_is_a_listener(name: bytes) -> None:
    """A socket with any possible name is parsed."""
    line = b"0000000000000000: 00000002 00000000 00010000 0001 01 45001 %b\n" % name

    assert "45001" in parse_listeners({"unix": b"Num\n" + line})


def stat(pid: int, name: bytes, state: bytes = b"S", *, ppid: int = 1, started: int = 0) -> bytes:
    """Return a line of `/proc/PID/stat` as kernels since 3.5 write it."""
    head = b"%d (%b) %b %d %d %d" % (pid, name, state, ppid, pid, pid)
    counts = b"0 -1 4194304 95 0 0 0 0 0 0 0 20 0 1 0"
    rest = b"5783552 202 18446744073709551615 1 1 0 0 0 0 0 0 0 1 0 0 17 1 0 0 0 0 0"
    return b"%b %b %d %b\n" % (head, counts, started, rest)


def survivor(
    line: bytes, cmdline: bytes = b"sleep\x009\0", sockets: frozenset[str] = frozenset()
) -> Survivor:
    """Return the raw data of a process, as the keeper sends it."""
    return Survivor(line, cmdline, b"/work", b"/usr/bin/sleep", sockets)


def parse(raw: Survivor, *, uptime: float = 1000.0, state: str = "S") -> Process:
    """Parse a process, with 100 ticks per second and three known listeners."""
    accepting = {"1": "tcp 127.0.0.1:80", "2": "unix /s", "3": "tcp 127.0.0.1:22"}
    return parse_process(raw, uptime=uptime, ticks=100, state=state, accepting=accepting)


def test_process_of_this_kernel_is_parsed() -> None:
    """The data of this process, from this machine's kernel, is parsed correctly."""
    directory = Path("/proc/self")
    raw = survivor((directory / "stat").read_bytes(), (directory / "cmdline").read_bytes())
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    ticks = os.sysconf("SC_CLK_TCK")
    process = parse_process(raw, uptime=uptime, ticks=ticks, state="R", accepting={})

    assert (process.pid, process.ppid) == (os.getpid(), os.getppid())
    assert process.argv == tuple(sys.orig_argv)
    assert 0 <= process.age_seconds < uptime


def test_each_part_of_a_survivor_is_parsed() -> None:
    """Each raw part of a survivor is in the field of the process that reports use."""
    raw = survivor(stat(12, b"sleep", ppid=3, started=99_000), sockets=frozenset("21"))

    assert parse(raw, state="R") == Process(
        pid=12,
        ppid=3,
        argv=("sleep", "9"),
        cwd="/work",
        exe="/usr/bin/sleep",
        age_seconds=10.0,
        state="R",
        listens=("tcp 127.0.0.1:80", "unix /s"),
    )


NAMES = {
    "plain": b"sleep",
    "spaces": b"tmux: server",
    "brackets": b"(sd-pam)",
    "a fake state": b"a) R 99 (b c",
    "a line feed": b"a\nb",
    "invalid UTF-8": b"\xff)\xfe",
    "empty": b"",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_command_name_may_contain_any_bytes(name: bytes) -> None:
    """A command name with spaces and brackets does not shift the fields of the line."""
    line = stat(12, name, b"T", ppid=3, started=99_000)
    process = parse(survivor(line))

    assert parse_pid_and_state(line) == (12, "T")
    assert (process.pid, process.ppid, process.age_seconds) == (12, 3, 10.0)


@given(st.integers(2, 2**22), st.binary(max_size=15), st.sampled_from("RSDTtI"))
def test_pid_and_state_are_parsed_around_any_name(pid: int, name: bytes, state: str) -> None:
    """For any name, the PID comes before it and the state after its last bracket."""
    assert parse_pid_and_state(stat(pid, name, state.encode())) == (pid, state)


COMMAND_LINES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "arguments": (b"bash\0-c\0a b\0", ("bash", "-c", "a b")),
    "an empty last argument": (b"printf\0\0", ("printf", "")),
    "a title without its zero": (b"nginx: worker", ("nginx: worker",)),
    "invalid UTF-8": (b"x\0\xff\0", ("x", "\\xff")),
    "an empty first argument": (b"\0-c\0", ("", "-c")),
}


@pytest.mark.parametrize(("cmdline", "argv"), COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_command_line_is_split_at_zeros(cmdline: bytes, argv: tuple[str, ...]) -> None:
    """Each argument is returned, including empty ones; invalid UTF-8 is escaped."""
    assert parse(survivor(stat(12, b"x"), cmdline)).argv == argv


WIPED = {
    "no memory": b"",
    "an empty name": b"\0",
    "zeros": b"\0" * 40,
    "blanks": b"     \0",
    "a line feed": b"\n\0\0",
}


@pytest.mark.parametrize("cmdline", WIPED.values(), ids=WIPED)
def test_blank_command_line_shows_the_command_name(cmdline: bytes) -> None:
    """A process that wiped its arguments is shown by its command name in brackets, as in ps."""
    process = parse(survivor(stat(12, b"my (odd) name"), cmdline))

    assert process.argv == ("[my (odd) name]",)


@pytest.mark.parametrize("name", [b"", b"  "])
def test_process_without_a_command_name_shows_its_program(name: bytes) -> None:
    """A process that also wiped its command name is shown by the path of its program."""
    process = parse(survivor(stat(12, name), b"\0\0"))

    assert process.argv == ("[/usr/bin/sleep]",)


def test_age_is_never_negative() -> None:
    """A process that started after the clock was read has an age of zero."""
    assert parse(survivor(stat(12, b"x", started=100_050))).age_seconds == 0.0


@pytest.mark.parametrize("line", [b"x: 2 0 zz 1 01 5 /a", b"0: 2 0 1_0000 1 01 44001 /a"])
def test_socket_name_that_looks_like_an_invalid_line_is_no_error(line: bytes) -> None:
    """A name with a line feed can imitate the kernel's table, but not make it unreadable."""
    assert parse_listeners({"unix": UNIX + b"0: 2 0 00010000 1 01 5 /a\n" + line + b"\n"}) == {
        **parse_listeners({"unix": UNIX}),
        "5": "unix /a",
    }


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("tcp", b""),
        ("tcp", b"0: 0100007F:1F90 0:0 0A"),
        ("udp6", b"0: 00:0035 0:0 07 0 0 0 0 0 1"),
        ("udp", b"0: nowhere 0:0 07 0 0 0 0 0 1"),
    ],
)
def test_line_that_no_kernel_prints_is_invalid(table: str, line: bytes) -> None:
    """A table that no kernel prints raises one of the documented errors."""
    with pytest.raises(INVALID):
        parse_listeners({table: b"header\n" + line + b"\n"})
