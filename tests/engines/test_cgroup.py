"""Limits by control group: made, held and removed, where this machine lets us."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isosmoke.engines.bubblewrap import cgroup
from isosmoke.errors import LeftBehindError
from isosmoke.host.leases import Lease
from isosmoke.host.state import kept
from isosmoke.sandbox.spec import Limits

MANY = 1 << 30


def own() -> list[Path]:
    """The groups of this very process."""
    name = f"isosmoke-{Lease.mine()}.*"
    return sorted(folder for parent in cgroup.parents().values() for folder in parent.glob(name))


@pytest.fixture
def parent() -> Path:
    """A folder in which groups can be made."""
    if not cgroup.parents():
        pytest.skip("this process may not make control groups here")
    return next(iter(cgroup.parents().values()))


@pytest.fixture
def left(parent: Path) -> Iterator[Path]:
    """A group that a dead run left."""
    mine = Lease.mine()
    folder = parent / f"isosmoke-{Lease(mine.boot, mine.pid, '1')}.abcd"
    folder.mkdir()
    yield folder
    if folder.exists():
        folder.rmdir()


def test_no_limits_need_no_group() -> None:
    """A sandbox without limits makes no group, so it works where none can be made."""
    with cgroup.group(Limits(open_files=9)) as group:
        group.hold(0)
        assert own() == []


@pytest.mark.usefixtures("parent")
def test_group_has_its_limits_and_ends_with_its_block() -> None:
    """Each limit that can be kept here is set for the block, and nothing is left after it."""
    most = {
        "memory.max": str(MANY),
        "memory.limit_in_bytes": str(MANY),
        "pids.max": "50",
    }
    with cgroup.group(Limits(memory=MANY, processes=50)):
        files = [file for one in own() for file in one.iterdir() if file.name in most]

        assert {file.name.split(".")[0] for file in files} == set(cgroup.parents())
        assert all(file.read_text().strip() == most[file.name] for file in files)

    assert own() == []


@pytest.mark.usefixtures("parent")
def test_group_ends_although_its_block_fails() -> None:
    """An error in the block leaves no group behind."""
    with pytest.raises(KeyError), cgroup.group(Limits(processes=50)):
        raise KeyError

    assert own() == []


@pytest.mark.usefixtures("parent")
def test_held_process_is_in_every_group() -> None:
    """A process that is held counts against each limit, and lets the group go when it ends."""
    limits = Limits(memory=MANY, processes=50)
    with (
        cgroup.group(limits) as group,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process,
    ):
        group.hold(process.pid)
        for folder in own():
            assert str(process.pid) in (folder / "cgroup.procs").read_text().split()
        assert own()

    assert own() == []


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for the end of what lives in a group."""
    monkeypatch.setattr("isosmoke.engines.bubblewrap.cgroup._REMOVE_SECONDS", 0.01)


@pytest.mark.usefixtures("soon")
def test_sweep_names_only_what_is_gone(left: Path) -> None:
    """A group in which something lives is not told as removed; a later sweep finds it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (left / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(LeftBehindError, match=str(left)) as caught:
            cgroup.sweep()
        assert process.poll() is None
        process.communicate()

    assert str(left) in caught.value.hint
    assert str(left) in cgroup.sweep()


@pytest.mark.usefixtures("soon")
def test_sweep_removes_nested_groups_and_names_those_that_stay(left: Path) -> None:
    """The innermost go first; what holds a living process stays, with all that it is nested in."""
    busy, idle = left / "a/busy", left / "b/c/idle"
    for folder in (busy, idle):
        folder.mkdir(parents=True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (busy / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(LeftBehindError) as caught:
            cgroup.sweep()
        process.communicate()

    assert caught.value.hint == f"rmdir {busy} {busy.parent} {left}"
    assert set(caught.value.removed) == {str(one) for one in (idle, idle.parent, left / "b")}
    assert not (left / "b").exists()
    assert str(left) in cgroup.sweep()
    assert not left.exists()


@pytest.mark.usefixtures("soon")
def test_what_one_group_keeps_hinders_no_other(left: Path, parent: Path) -> None:
    """All other groups of dead runs are removed before the sweep tells of those that stay."""
    other = parent / f"{left.name}0"
    other.mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (left / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(LeftBehindError) as caught:
            cgroup.sweep()
        process.communicate()

    assert str(other) not in caught.value.hint.split()
    assert str(other) in caught.value.removed
    assert not other.exists()


def test_sweep_command_fails_where_something_stays(left: Path) -> None:
    """`isosmoke sweep` names the group and ends with 125; once it is empty, it is removed."""
    mine = Lease.mine()
    scratch = kept("scratch") / f"{Lease(mine.boot, mine.pid, '1')}.abc"
    scratch.mkdir()
    (left / "idle").mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (left / "cgroup.procs").write_text(str(process.pid))
        first = swept()
        process.communicate()
    second = swept()

    assert f"removed {left}/idle\n" in first.stdout
    assert f"removed {scratch}\n" in first.stdout
    assert first.returncode == 125
    assert f"{left} could not be removed" in first.stderr
    assert f"removed {left}\n" not in first.stdout
    assert second.returncode == 0
    assert not left.exists()


def swept() -> "subprocess.CompletedProcess[str]":
    """What `isosmoke sweep` prints, and how it ends."""
    command = [sys.executable, "-m", "isosmoke", "sweep"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("parent", "soon")
def test_group_that_cannot_be_removed_is_told() -> None:
    """What is left of a sandbox is never left in silence: it is named, with what removes it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        with (
            pytest.raises(LeftBehindError, match="could not be removed") as caught,
            cgroup.group(Limits(processes=50)) as group,
        ):
            group.hold(process.pid)
        (folder,) = own()
        process.communicate()

    assert str(folder) in caught.value.message
    assert caught.value.hint == f"rmdir {folder}"
    folder.rmdir()


@pytest.mark.usefixtures("parent")
def test_peaks_are_those_of_what_was_held() -> None:
    """Memory that was used and given back is still in the peak, where the kernel counts it."""
    grow = "import sys; sys.stdin.read(1); bytearray(64 << 20)"
    with cgroup.group(Limits(memory=MANY, processes=50)) as group:
        before = group.peaks()
        with subprocess.Popen(
            [sys.executable, "-c", grow], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            group.hold(process.pid)
            process.communicate(b"x")
        peaks = group.peaks()

    assert set(peaks) <= {"memory", "processes"}
    assert set(peaks) == set(before)
    if "memory" not in peaks:
        pytest.skip("this kernel counts no peak of memory")
    assert before["memory"] < 64 << 20 <= peaks["memory"]


def test_group_without_limits_has_no_peaks() -> None:
    """Where nothing is limited, nothing is counted."""
    with cgroup.group(Limits()) as group:
        assert group.peaks() == {}


def test_sweep_removes_dead_and_spares_live(left: Path) -> None:
    """A sweep removes and names the groups of dead runs; those of live ones stay."""
    with cgroup.group(Limits(memory=MANY, processes=50)):
        live = own()
        swept = cgroup.sweep()

        assert str(left) in swept
        assert not left.exists()
        assert own() == live
        assert not set(map(str, live)) & set(swept)


MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /slice /sys/fs/cgroup/pids ro,nosuid - cgroup cgroup rw,pids
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 master:1 - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("group", "folder"),
    [
        ("3:cpu,cpuacct:/a", "/sys/fs/cgroup/cpu,cpuacct/a"),
        ("8:pids:/slice/one", "/sys/fs/cgroup/pids/one"),
        ("8:pids:/elsewhere", None),
        ("9:name=systemd:/", "/sys/fs/cgroup/systemd"),
        ("4:memory:/", None),
        ("0::/user.slice/a:b", "/sys/fs/cgroup/unified/user.slice/a:b"),
        ("0::/../outside", None),
    ],
)
def test_own_group_is_found_in_what_is_mounted(group: str, folder: str | None) -> None:
    """Each hierarchy's group is where its mount shows it; outside of all mounts it is not known."""
    expected = None if folder is None else Path(folder)

    assert list(cgroup.own_groups(f"{group}\n", MOUNTS)) == [expected]


@pytest.mark.parametrize(
    ("owned", "uid", "writable"),
    [
        ((0o755, "group"), 1, True),
        ((0o755, "group"), 2, False),
        ((0o555, "group"), 1, True),
        ((0o757, "group/nested"), 2, True),
        ((0o646, "group/nested/cgroup.procs"), 2, True),
        ((0o222, "group/cgroup.event_control"), 2, False),
    ],
)
def test_who_may_write_in_a_group(
    tmp_path: Path, owned: tuple[int, str], uid: int, *, writable: bool
) -> None:
    """Owners may, and whoever a mode lets, in a nested group or to a file of it too."""
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    group = tmp_path / "group"
    (group / "nested").mkdir(parents=True)
    for file in (group / "nested/cgroup.procs", group / "cgroup.event_control"):
        file.touch(mode=0o644)
    mode, name = owned
    (tmp_path / name).chmod(mode)
    for one in (group, *group.rglob("*")):
        os.chown(one, 1, 1)

    assert cgroup.may_write_in(group, uid) == writable


def test_a_group_that_is_not_to_be_seen_may_be_written() -> None:
    """What is not known is taken for the worse."""
    assert cgroup.may_write_in(None, 1)
    assert cgroup.may_write_in(Path("/sys/fs/cgroup/no/such/group"), 1)


@pytest.mark.usefixtures("parent")
def test_only_usable_controllers_are_offered() -> None:
    """Each controller that is offered is one that limits something, in a folder that is there."""
    assert set(cgroup.parents()) <= {"memory", "pids"}
    assert all((folder / "cgroup.procs").exists() for folder in cgroup.parents().values())


def test_a_group_whose_process_cannot_be_looked_at_stays(left: Path) -> None:
    """In front of the /proc of another PID namespace nothing is removed, and it is named."""
    if os.getuid() != 0:
        pytest.skip("only root can make a PID namespace and keep its own name")
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from isosmoke.engines.bubblewrap import cgroup\n"
        "from isosmoke.errors import LeftBehindError\n"
        "from isosmoke.host.leases import Lease\n"
        "mine = Lease.mine()\n"
        f"folder = Path({str(left.parent)!r}, f'isosmoke-{{mine}}.abcd')\n"
        "folder.mkdir()\n"
        "try:\n"
        "    cgroup.sweep()\n"
        "except LeftBehindError as error:\n"
        "    print(folder.exists(), f'{folder} is kept' in error.message)\n"
        "folder.rmdir()\n"
    )
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout == "True True\n", done.stderr
