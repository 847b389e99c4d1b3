"""Calls of wg: announced scenarios, and the end of the process."""

import os
import select
import subprocess
import sys
from dataclasses import replace

import pytest

from isosmoke.host.leases import Lease
from isosmoke.manifest.models import Scenario
from isosmoke.wg_bridge import calling_wg, scenario_shim
from isosmoke.wg_bridge.calling_wg import Announcement

CALLS: list[tuple[str, Announcement | None]] = [
    ("wg done fix-it", Announcement("fix-it")),
    (
        "/opt/wg --dir /x/.wg done --converged fix-it",
        Announcement("fix-it", directory="/x/.wg"),
    ),
    ("wg done fix-it --full-smoke", Announcement("fix-it", everything=True)),
    ("wg done --full-smoke fix-it", Announcement("fix-it", everything=True)),
    ("wg done", None),
    ("wg user archive", None),
    ("done fix-it", None),
    ("", None),
]


@pytest.mark.parametrize(("line", "announced"), CALLS)
def test_arguments_of_wg_announce_a_task(line: str, announced: Announcement | None) -> None:
    """The task is the first argument after `done`, and `--full-smoke` selects all scenarios."""
    assert calling_wg.parse_announcement(line.split()) == announced


def test_announced_scenarios_are_those_of_the_task() -> None:
    """They are in manifest order, or all scenarios if so requested."""
    first = Scenario(name="one", script="x", owners=("a", "b"))
    second = Scenario(name="two", script="x", owners=("b",))

    assert Announcement("a").select_names((first, second)) == ("one",)
    assert Announcement("c").select_names((first, second)) == ()
    assert Announcement("c", everything=True).select_names((first, second)) == ("one", "two")


def test_argv_of_a_process_is_read() -> None:
    """Arguments are returned unchanged; a process that has ended has none."""
    with subprocess.Popen(["true"]) as gone:
        pass

    assert calling_wg.read_argv(os.getpid()) == tuple(sys.orig_argv)
    assert calling_wg.read_argv(gone.pid) == ()


def test_lease_of_shim_equals_lease_of_host() -> None:
    """A sweep would remove a directory whose lease it cannot parse."""
    assert scenario_shim.format_lease(os.getpid()) == str(Lease.current())


def test_descriptor_is_readable_when_process_ends() -> None:
    """It is not readable before."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        lease = Lease.parse(scenario_shim.format_lease(process.pid))
        assert lease is not None
        with calling_wg.watch_process(lease) as ended:
            assert select.select([ended], [], [], 0)[0] == []
            process.kill()
            assert select.select([ended], [], [], 60)[0] == [ended]


def test_another_process_with_same_pid_is_not_watched() -> None:
    """A process with another start time is not the one of the lease."""
    with (
        pytest.raises(ProcessLookupError),
        calling_wg.watch_process(replace(Lease.current(), started="1")),
    ):
        pass
