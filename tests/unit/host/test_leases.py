"""Which of what is left belongs to a process that still runs."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.host.leases import Lease


@pytest.fixture
def dead() -> Lease:
    """The lease of a process that ran here and has ended."""
    code = "from isosmoke.host.leases import Lease; print(Lease.mine())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lease = Lease.parse(done.stdout.strip())
    assert lease is not None
    return lease


def test_own_lease_is_alive() -> None:
    """A lease of this process is alive, also after it was written down and read back."""
    mine = Lease.mine()

    assert mine.alive
    assert Lease.parse(str(mine)) == mine
    assert Lease.parse(f"{mine}.and.more") == mine


def test_lease_of_an_ended_process_is_dead(dead: Lease) -> None:
    """Nothing belongs to a process that has ended."""
    assert not dead.alive


def test_lease_of_another_boot_is_dead() -> None:
    """After a reboot the same pid with the same start time is another process."""
    mine = Lease.mine()

    assert not Lease("00000000-0000-0000-0000-000000000000", mine.pid, mine.started).alive


def test_lease_of_a_reused_pid_is_dead() -> None:
    """A pid that runs again belongs to another process, as its start time shows."""
    mine = Lease.mine()

    assert not Lease(mine.boot, mine.pid, str(int(mine.started) - 1)).alive


def test_lease_without_a_start_is_dead(dead: Lease) -> None:
    """A lease that names a free pid and no start time holds nothing for ever."""
    assert not Lease(dead.boot, dead.pid, "").alive


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "boot.12", "boot.-1.5", "boot.1_0.5"])
def test_text_that_is_no_lease_is_none(text: str) -> None:
    """A name that no isosmoke wrote is not taken for a lease."""
    assert Lease.parse(text) is None


@given(st.text())
def test_any_text_is_a_lease_or_none(text: str) -> None:
    """No name of a folder breaks the reading, and what is read never lives by accident."""
    lease = Lease.parse(text)

    assert lease is None or not lease.alive
