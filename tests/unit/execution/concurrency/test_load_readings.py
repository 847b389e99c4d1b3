"""Readings of the machine: the formats of the kernel, and None for what cannot be read."""

import socket
from pathlib import Path

import pytest

from isosmoke.execution.concurrency import load_readings
from isosmoke.execution.concurrency.load_readings import SharedState, Stalls

SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm ActiveOpens PassiveOpens AttemptFails
Tcp: 1 144 17 3
"""


def test_formats_of_the_kernel_are_parsed() -> None:
    """Each text of `/proc` gives its number."""
    stall = "some avg10=82.05 avg60=63.45 avg300=34.81 total=1500000\nfull avg10=0 total=0\n"

    assert load_readings.parse_stall(stall) == 1.5
    assert load_readings.count_connections(SNMP) == 161
    assert load_readings.count_killed("nr_free_pages 5\noom_kill 2\n") == 2
    assert load_readings.parse_free_memory("MemTotal: 400 kB\nMemAvailable:  100 kB\n") == 0.25


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("-1 100000", None), ("150000 100000", 1.5)]
)
def test_quota_is_a_number_of_cpus(text: str, cores: float | None) -> None:
    """A quota of both versions of control groups is the share of its period."""
    assert load_readings.parse_quota(text) == cores


def test_nothing_is_known_without_proc(tmp_path: Path) -> None:
    """A kernel that does not account stalls, or hides `/proc`, gives None."""
    assert load_readings.read_stalls(tmp_path) == Stalls(cpu=None, memory=None, io=None)
    surroundings = load_readings.read_surroundings(tmp_path, tmp_path)
    assert surroundings.free_disk is not None
    assert surroundings == SharedState(
        sockets=None,
        connections=None,
        killed=None,
        free_memory=None,
        free_disk=surroundings.free_disk,
    )


def test_invalid_texts_are_unknown(tmp_path: Path) -> None:
    """A text of another format is not taken for a number."""
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text("full total=3\n")
    (tmp_path / "pressure/memory").write_text("some total=x\n")
    (tmp_path / "meminfo").write_text("MemTotal: 400 kB\n")

    assert load_readings.read_stalls(tmp_path).cpu is None
    assert load_readings.read_stalls(tmp_path).memory is None
    assert load_readings.read_surroundings(tmp_path, tmp_path).free_memory is None


def test_connection_is_counted(tmp_path: Path) -> None:
    """A connection counts on both sides, even if it is closed at once."""
    before = load_readings.read_surroundings(tmp_path).connections
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    after = load_readings.read_surroundings(tmp_path).connections

    assert before is not None
    assert after is not None
    assert after - before >= 2


def test_cores_are_limited_by_the_quota_of_any_group(tmp_path: Path) -> None:
    """Without a readable quota, all CPUs of the affinity count; there is at least part of one."""
    assert load_readings.count_cores(tmp_path) >= 1.0
    assert 0 < load_readings.count_cores() <= load_readings.count_cores(tmp_path)
