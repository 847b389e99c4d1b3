"""Leases, and the detection of resources whose process has ended."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.host import leases
from isosmoke.host.leases import Lease
from support import available


@pytest.fixture
def dead() -> Lease:
    """Return the lease of a process that ran here and has ended."""
    code = "from isosmoke.host.leases import Lease; print(Lease.current())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lease = Lease.parse(done.stdout.strip())
    assert lease is not None
    return lease


def test_own_lease_is_alive() -> None:
    """The lease of this process is alive, also after it was formatted and parsed."""
    own = Lease.current()

    assert own.is_alive()
    assert Lease.parse(str(own)) == own
    assert Lease.parse(f"{own}.and.more") == own


def test_lease_of_an_ended_process_is_dead(dead: Lease) -> None:
    """The lease of a process that has ended is dead."""
    assert not dead.is_alive()


def test_lease_of_another_boot_is_dead() -> None:
    """After a reboot, the same PID with the same start time is another process."""
    own = Lease.current()

    assert not Lease("00000000-0000-0000-0000-000000000000", own.pid, own.started).is_alive()


def test_lease_of_a_reused_pid_is_dead() -> None:
    """A reused PID belongs to another process, which has another start time."""
    own = Lease.current()

    assert not Lease(own.boot, own.pid, str(int(own.started) - 1)).is_alive()


def test_lease_without_a_start_time_is_dead(dead: Lease) -> None:
    """A lease with a free PID and no start time is dead."""
    assert not Lease(dead.boot, dead.pid, "").is_alive()


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "boot.12", "boot.-1.5", "boot.1_0.5"])
def test_text_that_is_no_lease_is_none(text: str) -> None:
    """A name that isosmoke did not create is not a lease."""
    assert Lease.parse(text) is None


@given(st.text())
def test_any_text_is_a_lease_or_none(text: str) -> None:
    """Any name of a directory can be parsed, and an arbitrary one is never a live lease."""
    lease = Lease.parse(text)

    assert lease is None or not lease.is_alive()


EXHAUSTED = """
import errno, os, resource, sys
from isosmoke.host import leases
from isosmoke.host.leases import Lease
lease = Lease.parse(sys.argv[1])
assert lease.is_alive()
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
files = []
try:
    while True:
        files.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for ask in (lease.is_alive, Lease.current):
    try:
        print(ask())
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_without_file_descriptors_a_live_process_is_not_dead() -> None:
    """An error while /proc is read is raised, by `is_alive` and by a new lease."""
    command = [sys.executable, "-c", EXHAUSTED, str(Lease.current())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["EMFILE", "EMFILE"]


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a directory that every user can access."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


HIDDEN = ("unshare", "--mount", "--propagation=private", "sh", "-ec")


@pytest.mark.parametrize("hidepid", ["noaccess", "invisible", "ptraceable"])
def test_process_that_proc_hides_is_not_dead(hidepid: str, dead: Lease, public: Path) -> None:
    """The directory of a hidden live process is kept and named; a dead one's is removed."""
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv to become another user with")
    user = available.ordinary_user()
    state = public / "state"
    for lease in (Lease.current(), dead):
        (state / f"scratch/{lease}.abc").mkdir(parents=True)
    for path in (state, *state.rglob("*")):
        os.chown(path, user.uid, user.gid)
    code = "from isosmoke.host import state; state.sweep_scratch()"
    script = f'mount -t proc -o hidepid={hidepid} proc /proc; exec "$@"'
    done = subprocess.run(
        [*HIDDEN, script, "sh", *user.prefix, user.python, "-c", code],
        env=user.environment(public),
        capture_output=True,
        text=True,
        check=False,
    )

    assert [path.name for path in (state / "scratch").iterdir()] == [f"{Lease.current()}.abc"]
    assert f"LeftBehindError: {state}/scratch/{Lease.current()}.abc is kept" in done.stderr


def test_proc_of_another_namespace_is_an_error() -> None:
    """If /proc shows the PIDs of another namespace, an error says so and nothing is dead."""
    if os.getuid() != 0:
        pytest.skip("only root can make a PID namespace and keep its own name")
    code = (
        "from dataclasses import replace\n"
        "from isosmoke.host.leases import Lease\n"
        "print(Lease.current().started.isdecimal())\n"
        "Lease.current().is_alive()\n"
    )
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout == "True\n"
    assert "/proc shows another PID namespace" in done.stderr


def test_process_with_any_name_is_alive() -> None:
    """A process's name may look like a field of its status, or be invalid UTF-8."""
    code = (
        "import os\nfrom isosmoke.host.leases import Lease\n"
        "open('/proc/self/comm', 'wb').write(b'\\xff) Z 1 (x')\n"
        "print(Lease.current().is_alive())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "True\n"


def test_zombie_is_dead() -> None:
    """A process that has ended is dead even if its parent has not waited for it."""
    code = "from isosmoke.host.leases import Lease; print(Lease.current(), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        lease = Lease.parse(process.stdout.read().decode().strip())
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert lease is not None
        assert not lease.is_alive()


def test_resources_without_a_live_lease_are_dead(dead: Lease) -> None:
    """A resource without a lease, or with a dead one, is dead; one with a live lease is not."""
    owned = [("none", None), ("dead", dead), ("live", Lease.current())]

    assert leases.find_dead(owned) == (("none", "dead"), ())
