"""What the words of wg announce, and when it has ended."""

import os
import select
import subprocess
import sys
from dataclasses import replace

import pytest

from isosmoke.host.leases import Lease
from isosmoke.manifest.models import Scenario
from isosmoke.wg_bridge import scenario_shim, wg_call
from isosmoke.wg_bridge.wg_call import Announced

WORDS: list[tuple[str, Announced | None]] = [
    ("wg done fix-it", Announced("fix-it")),
    ("/opt/wg --dir /x/.wg done --converged fix-it", Announced("fix-it")),
    ("wg done fix-it --full-smoke", Announced("fix-it", everything=True)),
    ("wg done --full-smoke fix-it", Announced("fix-it", everything=True)),
    ("wg done", None),
    ("wg user archive", None),
    ("done fix-it", None),
    ("", None),
]


@pytest.mark.parametrize(("line", "announced"), WORDS)
def test_words_of_wg_announce_a_task(line: str, announced: Announced | None) -> None:
    """The task is the first word after `done`, and `--full-smoke` means everything."""
    assert wg_call.announced(line.split()) == announced


def test_announced_are_those_that_wg_will_ask_for() -> None:
    """The names owned by the task in manifest order, or all of them."""
    one = Scenario(name="one", script="x", owners=("a", "b"))
    two = Scenario(name="two", script="x", owners=("b",))

    assert Announced("a").owned((one, two)) == ("one",)
    assert Announced("c").owned((one, two)) == ()
    assert Announced("c", everything=True).owned((one, two)) == ("one", "two")


def test_words_of_a_process_are_its_own() -> None:
    """Arguments come as they were given; a process that is gone has none."""
    with subprocess.Popen(["true"]) as gone:
        pass

    assert wg_call.argv(os.getpid()) == tuple(sys.orig_argv)
    assert wg_call.argv(gone.pid) == ()


def test_shim_and_state_name_a_process_alike() -> None:
    """A folder that a shim made is one whose lease isosmoke can read, or a sweep would take it."""
    assert scenario_shim.lease(os.getpid()) == str(Lease.mine())


def test_end_of_a_process_can_be_waited_for() -> None:
    """The descriptor can be read when the process has ended, and not before."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        lease = Lease.parse(scenario_shim.lease(process.pid))
        assert lease is not None
        with wg_call.watched(lease) as ended:
            assert select.select([ended], [], [], 0)[0] == []
            process.kill()
            assert select.select([ended], [], [], 60)[0] == [ended]


def test_another_process_of_that_pid_is_not_watched() -> None:
    """A pid whose process started at another time is somebody else's."""
    with (
        pytest.raises(ProcessLookupError),
        wg_call.watched(replace(Lease.mine(), started="1")),
    ):
        pass
