"""Control groups: creation, membership, limits and removal, on machines that allow them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import cgroup, group_places
from isosmoke.errors import LeftBehindError
from isosmoke.host.leases import Lease
from isosmoke.host.state import ensure_directory
from isosmoke.sandbox.spec import ResourceLimits

ONE_GIB = 1 << 30

PRESSURES = ("cpu_pressure", "memory_pressure", "io_pressure")


def list_own_groups() -> list[Path]:
    """Return the groups of this process."""
    name = f"isosmoke-{Lease.current()}.*"
    return sorted(
        directory
        for parent in set(group_places.find_parents().values())
        for directory in parent.glob(name)
    )


@pytest.fixture(autouse=True)
def parents(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """Create groups in a group of this test, where no other run looks for leftover groups."""
    group_places.prepare_parents()
    nested = {
        controller: directory / f"tests-of-isosmoke-{os.getpid()}"
        for controller, directory in group_places.find_parents().items()
    }
    for directory in set(nested.values()):
        directory.mkdir()
        if (directory / "cgroup.subtree_control").exists():
            (directory / "cgroup.subtree_control").write_text("+memory +pids")
    monkeypatch.setattr(group_places, "find_parents", lambda: nested)
    monkeypatch.setattr(group_places, "list_swept", lambda: tuple(set(nested.values())))
    yield nested
    for directory in set(nested.values()):
        remove_groups(directory)


def remove_groups(directory: Path) -> None:
    """Remove a group with those that a failed test left in it, which have no processes."""
    for path, _, _ in os.walk(directory, topdown=False):
        Path(path).rmdir()


@pytest.fixture
def parent(parents: dict[str, Path]) -> Path:
    """Return a directory in which groups can be created."""
    if not parents:
        pytest.skip("this process may not make control groups here")
    return next(iter(parents.values()))


@pytest.fixture
def leftover(parent: Path) -> Iterator[Path]:
    """Yield a leftover group of a dead run."""
    mine = Lease.current()
    directory = parent / f"isosmoke-{Lease(mine.boot, mine.pid, '1')}.abcd"
    directory.mkdir()
    yield directory
    if directory.exists():
        directory.rmdir()


def test_no_limits_create_no_group() -> None:
    """Sandboxes without limits also work if no groups can be created."""
    with cgroup.group(ResourceLimits(open_files=9)) as group:
        group.add_process(0)
        assert list_own_groups() == []


@pytest.mark.usefixtures("parent")
def test_group_has_its_limits_and_ends_with_its_block() -> None:
    """Each available limit is set during the block, and nothing remains after it."""
    expected = {
        "memory.max": str(ONE_GIB),
        "memory.limit_in_bytes": str(ONE_GIB),
        "pids.max": "50",
    }
    with cgroup.group(ResourceLimits(memory=ONE_GIB, processes=50)):
        files = [
            file
            for group_directory in list_own_groups()
            for file in group_directory.iterdir()
            if file.name in expected
        ]

        assert {file.name.split(".")[0] for file in files} == set(group_places.find_parents())
        assert all(file.read_text().strip() == expected[file.name] for file in files)

    assert list_own_groups() == []


@pytest.mark.usefixtures("parent")
def test_swap_does_not_extend_the_limit() -> None:
    """Memory and swap together are limited, where this kernel counts swap."""
    with cgroup.group(ResourceLimits(memory=ONE_GIB)):
        files = {
            file.name: file.read_text().strip()
            for directory in list_own_groups()
            for file in directory.glob("memory.*")
            if file.name in ("memory.swap.max", "memory.memsw.limit_in_bytes", "memory.oom.group")
        }

    expected = {
        "memory.swap.max": "0",
        "memory.memsw.limit_in_bytes": str(ONE_GIB),
        "memory.oom.group": "0",
    }
    assert files == {name: expected[name] for name in files}


@pytest.mark.parametrize(
    ("text", "stalled"),
    [
        (
            """\
some avg10=0.00 avg60=0.12 avg300=0.00 total=123456
full avg10=0.00 avg60=0.00 avg300=0.00 total=99
""",
            123456,
        ),
        ("", 0),
    ],
)
def test_pressure_is_the_time_that_some_process_waited(text: str, stalled: int) -> None:
    """A kernel without pressure measures none."""
    assert cgroup.parse_pressure(text) == stalled


@pytest.mark.usefixtures("parent")
def test_group_is_removed_if_its_block_fails() -> None:
    """An error in the block leaves no group behind."""
    with pytest.raises(KeyError), cgroup.group(ResourceLimits(processes=50)):
        raise KeyError

    assert list_own_groups() == []


@pytest.mark.usefixtures("parent")
def test_added_process_is_in_every_group() -> None:
    """A member counts against each limit, and the groups can be removed when it ends."""
    limits = ResourceLimits(memory=ONE_GIB, processes=50)
    with (
        cgroup.group(limits) as group,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process,
    ):
        group.add_process(process.pid)
        for directory in list_own_groups():
            assert str(process.pid) in (directory / "cgroup.procs").read_text().split()
        assert list_own_groups()

    assert list_own_groups() == []


@pytest.mark.usefixtures("parent")
def test_limits_are_mounted_where_programs_look_for_them() -> None:
    """Every group of a limited sandbox is shown read-only, and none remains after the block."""
    with cgroup.group(ResourceLimits(memory=ONE_GIB)) as group:
        mounts = group.list_mounts()

        assert any(
            (mount.source / name).exists() and mount.target == PurePosixPath(path)
            for mount in mounts
            for name, path in (
                ("memory.max", "/sys/fs/cgroup"),
                ("memory.limit_in_bytes", "/sys/fs/cgroup/memory"),
            )
        )
        assert len({mount.target for mount in mounts}) == len(mounts)

    assert not any(mount.source.exists() for mount in mounts)


@pytest.mark.usefixtures("parent")
def test_java_has_every_hierarchy_that_it_needs() -> None:
    """In version 1, a process can join the groups of all hierarchies that a Java runtime needs."""
    if group_places.get_version() != 1:
        pytest.skip("version 2 has one hierarchy")
    with (
        cgroup.group(ResourceLimits(memory=ONE_GIB)) as group,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process,
    ):
        group.add_process(process.pid)
        members = {
            mount.target.name: (mount.source / "cgroup.procs").read_text().split()
            for mount in group.list_mounts()
        }

    names = ("memory", "cpu", "cpuacct", "cpuset")
    assert members == {name: [str(process.pid)] for name in names}


@pytest.fixture
def short_removal_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time limit for the removal of groups."""
    monkeypatch.setattr("isosmoke.engines.bubblewrap.cgroup._REMOVE_SECONDS", 0.01)


@pytest.mark.usefixtures("short_removal_limit")
def test_sweep_reports_only_removed_groups(leftover: Path) -> None:
    """A group with a living process is not reported as removed; a later sweep removes it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (leftover / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(LeftBehindError, match=str(leftover)) as caught:
            cgroup.sweep()
        assert process.poll() is None
        process.communicate()

    assert str(leftover) in caught.value.hint
    assert str(leftover) in cgroup.sweep()


@pytest.mark.usefixtures("short_removal_limit")
def test_sweep_removes_nested_groups_inside_out(leftover: Path) -> None:
    """Groups are removed inside out; a group with a process remains, as do its parents."""
    busy, idle = leftover / "a/busy", leftover / "b/c/idle"
    for directory in (busy, idle):
        directory.mkdir(parents=True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (busy / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(LeftBehindError) as caught:
            cgroup.sweep()
        process.communicate()

    assert caught.value.hint == f"rmdir {busy} {busy.parent} {leftover}"
    assert set(caught.value.removed) == {
        str(group) for group in (idle, idle.parent, leftover / "b")
    }
    assert not (leftover / "b").exists()
    assert str(leftover) in cgroup.sweep()
    assert not leftover.exists()


@pytest.mark.usefixtures("short_removal_limit")
def test_busy_group_does_not_prevent_other_removals(leftover: Path, parent: Path) -> None:
    """A group that cannot be removed does not prevent the removal of others."""
    other = parent / f"{leftover.name}0"
    other.mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (leftover / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(LeftBehindError) as caught:
            cgroup.sweep()
        process.communicate()

    assert str(other) not in caught.value.hint.split()
    assert str(other) in caught.value.removed
    assert not other.exists()


def test_sweep_command_fails_if_a_group_remains(
    leftover: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`isosmoke sweep` names the group and exits with 125 until the group is empty."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path))
    mine = Lease.current()
    scratch = ensure_directory("scratch") / f"{Lease(mine.boot, mine.pid, '1')}.abc"
    scratch.mkdir()
    (leftover / "idle").mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (leftover / "cgroup.procs").write_text(str(process.pid))
        first = run_sweep(leftover.parent)
        process.communicate()
    second = run_sweep(leftover.parent)

    assert f"removed {leftover}/idle\n" in first.stdout
    assert f"removed {scratch}\n" in first.stdout
    assert first.returncode == 125
    assert f"{leftover} could not be removed" in first.stderr
    assert f"removed {leftover}\n" not in first.stdout
    assert second.returncode == 0
    assert not leftover.exists()


def run_sweep(parent: Path) -> "subprocess.CompletedProcess[str]":
    """Run `isosmoke sweep` where groups are created in `parent`."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from isosmoke.__main__ import main\n"
        "from isosmoke.engines.bubblewrap import cgroup, group_places\n"
        "parent = Path(sys.argv.pop())\n"
        "group_places.find_parents = lambda: {'pids': parent}\n"
        "group_places.list_swept = lambda: (parent,)\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, "sweep", str(parent)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("parent", "short_removal_limit")
def test_leftover_group_is_reported() -> None:
    """A leftover group is reported with the command that removes it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        with (
            pytest.raises(LeftBehindError, match="could not be removed") as caught,
            cgroup.group(ResourceLimits(processes=50)) as group,
        ):
            group.add_process(process.pid)
        (directory,) = list_own_groups()
        process.communicate()

    assert str(directory) in caught.value.message
    assert caught.value.hint == f"rmdir {directory}"
    directory.rmdir()


@pytest.mark.usefixtures("parent")
def test_peaks_include_released_memory() -> None:
    """Released memory still counts for the peak, if the kernel measures it."""
    grow = "import sys; sys.stdin.read(1); bytearray(64 << 20)"
    with cgroup.group(ResourceLimits(memory=ONE_GIB, processes=50)) as group:
        before = group.peaks()
        with subprocess.Popen(
            [sys.executable, "-c", grow], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            group.add_process(process.pid)
            process.communicate(b"x")
        peaks = group.peaks()

    assert set(peaks) <= {"memory", "processes", "cpu", *PRESSURES}
    assert set(peaks) == set(before)
    assert all(peaks[name] >= before[name] for name in before)
    if group_places.get_version() != 1:
        assert peaks["cpu"] > before["cpu"]
    if "memory" not in peaks:
        pytest.skip("this kernel counts no peak of memory")
    assert before["memory"] < 64 << 20 <= peaks["memory"]


FORK = "import os, sys; sys.stdin.read(1); os.fork() == 0 or os.fork()"
GROW = "import sys; sys.stdin.read(1); bytearray(256 << 20)"


@pytest.mark.usefixtures("parent")
@pytest.mark.parametrize(
    ("code", "reached"), [(GROW, {"memory"}), (FORK, {"processes"}), ("", set())]
)
def test_reached_limit_is_counted(code: str, reached: set[str]) -> None:
    """A limit is reached if the kernel killed a process for it or created none."""
    with cgroup.group(ResourceLimits(memory=64 << 20, processes=2)) as group:
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            group.add_process(process.pid)
            process.communicate(b"x")
        assert group.find_reached_limits() == reached


def test_group_without_limits_has_no_peaks() -> None:
    """Resources without limits are not measured."""
    with cgroup.group(ResourceLimits()) as group:
        assert group.peaks() == {}


def test_sweep_removes_dead_and_spares_live(leftover: Path) -> None:
    """A sweep removes the groups of dead runs and does not touch those of live ones."""
    with cgroup.group(ResourceLimits(memory=ONE_GIB, processes=50)):
        live = list_own_groups()
        removed = cgroup.sweep()

        assert str(leftover) in removed
        assert not leftover.exists()
        assert list_own_groups() == live
        assert not set(map(str, live)) & set(removed)


@pytest.mark.usefixtures("parent")
def test_available_controllers_are_usable() -> None:
    """Each available controller limits a resource, and its directory exists."""
    assert set(group_places.find_parents()) <= {"memory", "pids"}
    assert all(
        (directory / "cgroup.procs").exists() for directory in group_places.find_parents().values()
    )


def test_group_of_unknown_process_is_kept(leftover: Path) -> None:
    """With the /proc of another PID namespace, nothing is removed, and the group is reported."""
    if os.getuid() != 0:
        pytest.skip("only root can make a PID namespace and keep its own name")
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from isosmoke.engines.bubblewrap import cgroup, group_places\n"
        "from isosmoke.errors import LeftBehindError\n"
        "from isosmoke.host.leases import Lease\n"
        "mine = Lease.current()\n"
        f"parent = Path({str(leftover.parent)!r})\n"
        "group_places.find_parents = lambda: {'pids': parent}\n"
        "group_places.list_swept = lambda: (parent,)\n"
        "directory = parent / f'isosmoke-{mine}.abcd'\n"
        "directory.mkdir()\n"
        "try:\n"
        "    cgroup.sweep()\n"
        "except LeftBehindError as error:\n"
        "    print(directory.exists(), f'{directory} is kept' in error.message)\n"
        "directory.rmdir()\n"
    )
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.stdout == "True True\n", result.stderr
