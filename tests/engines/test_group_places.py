"""Places for control groups: found in fake hierarchies, and prepared in them."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from isosmoke.engines.bubblewrap import group_places
from isosmoke.engines.bubblewrap.group_places import Place
from isosmoke.errors import EngineError
from support import available

BOTH = frozenset({"memory", "pids"})
LIMITED = {"memory.max": "1000000"}
OWN, FOREIGN = 10, 99
"""PIDs of a process of isosmoke, and of another program."""


def add_group(
    directory: Path,
    *,
    processes: tuple[int, ...] = (),
    enabled: str = "",
    available: str = "cpuset cpu io memory pids",
    is_read_only: bool = False,
    limits: Mapping[str, str] = {},
) -> Path:
    """Create a fake group of version 2; `limits` maps files to values."""
    directory.mkdir(parents=True)
    texts = {
        "cgroup.procs": "".join(f"{pid}\n" for pid in processes),
        "cgroup.subtree_control": f"{enabled}\n",
        "cgroup.controllers": f"{available}\n",
        "memory.max": "max\n",
        "cpu.max": "max 100000\n",
        "pids.max": "max\n",
    }
    texts |= {name: f"{value}\n" for name, value in limits.items()}
    for name, text in texts.items():
        (directory / name).write_text(text)
    if is_read_only:
        (directory / "read-only").touch()
    return directory


def find(own: Path) -> Place | None:
    """Return the place for groups of a process in `own`."""
    return group_places.find_place(
        own,
        is_own=lambda pid: pid == OWN,
        is_writable=lambda directory: not (directory / "read-only").exists(),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a hierarchy as systemd sets it up."""
    return add_group(tmp_path / "cgroup", enabled="cpu io memory pids")


def test_root_in_the_root_group_uses_it(root: Path) -> None:
    """The root group may have processes and limited groups."""
    (root / "cgroup.procs").write_text(f"1\n{FOREIGN}\n{OWN}\n")

    assert find(root) == Place(root, BOTH)


def test_unit_with_only_own_processes_gets_a_leaf(root: Path) -> None:
    """Its limits hold for the sandboxes, because their groups are inside it."""
    add_group(root / "system.slice", enabled="memory pids")
    own = add_group(
        root / "system.slice/a.service", processes=(OWN,), limits={"memory.max": "1000000"}
    )

    assert find(own) == Place(own, BOTH, needs_leaf=True)


def test_shared_session_uses_the_slice_around_it(root: Path) -> None:
    """A login shell stays where it is; its limit on processes is kept."""
    add_group(root / "user.slice", enabled="memory pids", limits={"pids.max": "200"})
    add_group(root / "user.slice/user-0.slice", enabled="memory pids", limits={"pids.max": "500"})
    own = add_group(
        root / "user.slice/user-0.slice/session-1.scope",
        processes=(FOREIGN, OWN),
        limits={"pids.max": "100"},
    )

    assert find(own) == Place(own.parent, BOTH, max_processes=100)


@pytest.mark.parametrize(
    "limits",
    [
        {"memory.max": "100000000"},
        {"memory.high": "100000000"},
        {"memory.swap.max": "0"},
        {"cpu.max": "50000 100000"},
        {"io.max": "8:0 rbps=1048576"},
        {"cpuset.cpus": "0-1"},
    ],
)
def test_limits_of_a_shared_group_are_not_escaped(root: Path, limits: dict[str, str]) -> None:
    """There is no place, since a group outside would not have the limits."""
    own = add_group(root / "a.service", processes=(FOREIGN, OWN), limits=limits)

    assert find(own) is None


def test_limits_of_a_slice_are_kept(root: Path) -> None:
    """A group below a limited slice may be used, one above may not."""
    middle = add_group(
        root / "limited.slice", enabled="memory pids", limits={"memory.max": "1000000"}
    )
    own = add_group(middle / "a.service", processes=(FOREIGN, OWN))

    assert find(own) == Place(middle, BOTH)
    (middle / "cgroup.subtree_control").write_text("\n")
    assert find(own) is None


def test_ordinary_user_uses_the_delegated_subtree(root: Path) -> None:
    """Under the user's own systemd, a group with limited groups belongs to the user."""
    add_group(root / "user.slice", enabled="memory pids", is_read_only=True)
    service = add_group(root / "user.slice/user@7.service", enabled="memory pids")
    slice_ = add_group(service / "app.slice", enabled="memory pids")
    own = add_group(slice_ / "terminal.scope", processes=(FOREIGN, OWN))

    assert find(own) == Place(slice_, BOTH)


def test_ordinary_user_in_a_session_has_none(root: Path) -> None:
    """All groups around a login session belong to root."""
    for name in (".", "user.slice", "user.slice/user-7.slice"):
        if name != ".":
            add_group(root / name, enabled="memory pids")
        (root / name / "read-only").touch()
    own = add_group(
        root / "user.slice/user-7.slice/session-1.scope", processes=(OWN,), is_read_only=True
    )

    assert find(own) is None


def test_delegated_scope_of_an_ordinary_user_gets_a_leaf(root: Path) -> None:
    """Only available controllers are used."""
    own = add_group(root / "run-1.scope", processes=(OWN,), available="cpu pids")
    (root / "read-only").touch()

    assert find(own) == Place(own, frozenset({"pids"}), needs_leaf=True)


def test_place_with_both_controllers_is_preferred(root: Path) -> None:
    """A closer group that limits only processes is passed over."""
    middle = add_group(root / "a.slice", enabled="pids")
    own = add_group(middle / "b.scope", processes=(FOREIGN, OWN))

    assert find(own) == Place(root, BOTH)


def test_container_with_other_processes_has_none(tmp_path: Path) -> None:
    """The root of a cgroup namespace is an ordinary group, which has processes here."""
    own = add_group(tmp_path / "cgroup", processes=(1, OWN))

    assert find(own) is None


DIVIDED = "divide the group of this container first, with `cd {} && mkdir init && xargs"
UNDIVIDED = "limit the whole container, as `docker run --memory` and `--pids-limit` do"


def suggest(own: Path | None, uid: int = 0) -> str:
    """Return how a process in `own` gets a place for groups."""
    return group_places.suggest_group_instead(
        own, is_writable=lambda directory: not (directory / "read-only").exists(), uid=uid
    )


def test_container_is_divided_or_limited_as_a_whole(tmp_path: Path) -> None:
    """There is no systemd in it, and its first process is often a shell."""
    own = add_group(tmp_path / "cgroup", processes=(1, OWN))
    (own / "cgroup.type").write_text("domain\n")

    assert suggest(own).startswith(DIVIDED.format(own))
    (own / "read-only").touch()
    assert suggest(own) == UNDIVIDED


def test_divided_container_has_a_place(tmp_path: Path) -> None:
    """After the suggested commands, isosmoke uses the group around its own."""
    around = add_group(tmp_path / "cgroup", enabled="memory pids")
    own = add_group(around / "init", processes=(1, OWN))

    assert find(own) == Place(around, BOTH)


def test_machine_starts_isosmoke_in_a_unit(root: Path) -> None:
    """The root of the machine is no container, nor is a session, nor version 1."""
    session = add_group(root / "session-1.scope", processes=(1, OWN))
    (session / "cgroup.type").write_text("domain\n")

    for own in (root, session, None):
        assert (
            suggest(own) == "start isosmoke with `systemd-run --scope -p Delegate=yes isosmoke ...`"
        )
    assert "systemd-run --user --scope" in suggest(session, uid=1000)


def test_leaf_of_another_isosmoke_uses_the_group_around_it(root: Path) -> None:
    """A command that isosmoke starts, such as isosmoke in a test, creates groups next to it."""
    unit = add_group(root / "a.scope", enabled="memory pids")
    own = add_group(unit / "isosmoke-x.leaf", processes=(FOREIGN, OWN))

    assert find(own) == Place(unit, BOTH)


def test_own_processes_are_moved_before_controllers_are_enabled(root: Path) -> None:
    """In a fake hierarchy, the last written values remain."""
    own = add_group(root / "a.scope", processes=(OWN,))
    group_places.move_to_leaf(Place(own, BOTH, needs_leaf=True), is_own=lambda pid: pid == OWN)
    (leaf,) = own.glob("isosmoke-*.leaf")

    assert (leaf / "cgroup.procs").read_text() == str(OWN)
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_prepared_group_is_left_as_it_is(root: Path) -> None:
    """The second sandbox of a run moves nothing."""
    own = add_group(root / "a.scope", processes=(OWN,), enabled="memory pids")
    group_places.move_to_leaf(Place(own, BOTH, needs_leaf=True), is_own=lambda pid: pid == OWN)

    assert not list(own.glob("isosmoke-*"))


def test_other_programs_are_not_moved(root: Path) -> None:
    """A process that came into the group later is an error, with the command that avoids it."""
    own = add_group(root / "a.scope", processes=(FOREIGN,))

    with pytest.raises(EngineError, match=f"process {FOREIGN} of another program") as caught:
        group_places.move_to_leaf(Place(own, BOTH, needs_leaf=True), is_own=lambda _: False)

    assert "systemd-run" in caught.value.hint
    assert "Delegate=yes" in caught.value.hint


def test_swept_directories_include_those_around(root: Path) -> None:
    """A run from elsewhere may have left a group in a group around this one."""
    own = add_group(root / "a.scope")

    assert list(group_places.list_upwards(own)) == [own, root]


MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /slice /sys/fs/cgroup/pids ro,nosuid - cgroup cgroup rw,pids
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 master:1 - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("group", "directory"),
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
def test_own_group_is_found_by_its_mount(group: str, directory: str | None) -> None:
    """A group is found where a mount shows it; outside all mounts it is unknown."""
    expected = None if directory is None else Path(directory)

    assert list(group_places.find_own_groups(f"{group}\n", MOUNTS)) == [expected]


@pytest.mark.parametrize(
    ("changed", "uid", "writable"),
    [
        ((0o755, "group"), 1, True),
        ((0o755, "group"), 2, False),
        ((0o555, "group"), 1, True),
        ((0o757, "group/nested"), 2, True),
        ((0o646, "group/nested/cgroup.procs"), 2, True),
        ((0o222, "group/cgroup.event_control"), 2, False),
    ],
)
def test_write_access_depends_on_owner_and_mode(
    tmp_path: Path, changed: tuple[int, str], uid: int, *, writable: bool
) -> None:
    """The owner may write, and any user whom the mode of a group or of its files allows."""
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    group = tmp_path / "group"
    (group / "nested").mkdir(parents=True)
    for file in (group / "nested/cgroup.procs", group / "cgroup.event_control"):
        file.touch(mode=0o644)
    mode, name = changed
    (tmp_path / name).chmod(mode)
    for path in (group, *group.rglob("*")):
        os.chown(path, 1, 1)

    assert group_places.can_write_in(group, uid) == writable


def test_unknown_group_counts_as_writable() -> None:
    """An unknown group is assumed to be writable."""
    assert group_places.can_write_in(None, 1)
    assert group_places.can_write_in(Path("/sys/fs/cgroup/no/such/group"), 1)


@pytest.fixture
def unit() -> Iterator[tuple[Path, int]]:
    """Yield a group of this kernel, and the PID of the only process in it."""
    parents = group_places.find_parents()
    if group_places.get_version() == 1 or not parents:
        pytest.skip("no group of version 2 can be created here")
    group_places.prepare_parents()
    directory = next(iter(parents.values())) / f"unit-of-isosmoke-{os.getpid()}"
    directory.mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        (directory / "cgroup.procs").write_text(str(process.pid))
        yield directory, process.pid
        process.communicate()
    for path, _, _ in os.walk(directory, topdown=False):
        assert available.wait_for(partial(_is_removed, Path(path)))


def _is_removed(directory: Path) -> bool:
    with suppress(OSError):  # a group counts its last process for a moment
        directory.rmdir()
    return not directory.exists()


def test_kernel_accepts_the_groups_of_a_divided_unit(unit: tuple[Path, int]) -> None:
    """It refuses to divide a group with processes, and divides it once they are in a leaf."""
    directory, pid = unit
    place = group_places.find_place(
        directory, is_own=lambda member: member == pid, is_writable=is_there
    )
    assert place is not None
    assert (place.directory, place.needs_leaf) == (directory, True)
    if "memory" in place.controllers:
        with pytest.raises(OSError, match="busy"):
            (directory / "cgroup.subtree_control").write_text("+memory")

    group_places.move_to_leaf(place, is_own=lambda member: member == pid)

    (leaf,) = directory.glob("isosmoke-*.leaf")
    sandbox = directory / "isosmoke-sandbox"
    sandbox.mkdir()
    assert (leaf / "cgroup.procs").read_text().split() == [str(pid)]
    assert set((directory / "cgroup.subtree_control").read_text().split()) == place.controllers
    assert all((sandbox / f"{name}.max").exists() for name in place.controllers)
    (sandbox / "cgroup.procs").write_text(str(pid))
    assert (sandbox / "cgroup.procs").read_text().split() == [str(pid)]


def is_there(directory: Path) -> bool:
    """Return whether a group exists; all of them may be written to."""
    return directory.is_dir()
