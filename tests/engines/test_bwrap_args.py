"""A sandbox specification as a bubblewrap command line."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.engines.bubblewrap.bwrap_args import Layer, Layers, bubblewrap, trial
from isosmoke.sandbox.spec import (
    KEEPER,
    NAMESPACES,
    CopyOnWrite,
    Fresh,
    Mount,
    ReadOnly,
    SandboxSpec,
)

SPEC = SandboxSpec(
    label="one",
    image="host",
    mounts=(
        CopyOnWrite(Path("/home/u/repo")),
        ReadOnly(Path("/usr"), PurePosixPath("/usr")),
        Fresh(PurePosixPath("/home/u"), 0o700),
        Fresh(PurePosixPath("/tmp"), 0o1777),  # noqa: S108 - in the sandbox
        ReadOnly(Path("/srv/keeper"), KEEPER),
        Fresh(PurePosixPath("/run"), 0o755),
    ),
    uid=1000,
    gid=1000,
    network="host",
)

LAYERS: Layers = {PurePosixPath("/home/u/repo"): Layer(Path("/state/upper"), Path("/state/work"))}


def pairs(words: list[str], option: str) -> list[str]:
    """What follows each occurrence of an option."""
    return [words[at + 1] for at, word in enumerate(words) if word == option]


def test_command_line_is_exactly_the_published_one() -> None:
    """A specification becomes these arguments, in this order, and no other."""
    assert bubblewrap(SPEC, layers=LAYERS, told=7) == [
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--unshare-user", "--cap-drop", "ALL", "--clearenv"),
        *("--as-pid-1", "--info-fd", "7"),
        *("--proc", "/proc"),
        *("--dev", "/dev"),
        *("--ro-bind", "/usr", "/usr"),
        *("--perms", "1777", "--tmpfs", "/tmp"),  # noqa: S108 - in the sandbox
        *("--perms", "0755", "--tmpfs", "/run"),
        *("--perms", "0700", "--tmpfs", "/home/u"),
        *("--overlay-src", "/home/u/repo"),
        *("--overlay", "/state/upper", "/state/work", "/home/u/repo"),
        *("--ro-bind", "/srv/keeper", "/run/isosmoke/keeper"),
        *("--remount-ro", "/", "--chdir", "/"),
        *("--", "/run/isosmoke/keeper", "0", str(NAMESPACES["NEWCGROUP"])),
    ]


def test_kernel_settings_are_read_only_for_root() -> None:
    """Their files are root's, so for root alone they need a mount of their own."""
    words = bubblewrap(replace(SPEC, uid=0, gid=0), layers=LAYERS, told=7)

    assert pairs(words, "--ro-bind-try") == ["/proc/sys", "/proc/sysrq-trigger", "/proc/fs"]
    assert "--ro-bind-try" not in bubblewrap(SPEC, layers=LAYERS, told=7)


def test_own_devices_lie_over_those_of_the_host() -> None:
    """Each device that bwrap shows of the host is replaced, after it is shown."""
    words = bubblewrap(SPEC, layers=LAYERS, told=7, devices=Path("/state/nodes"))
    names = ["null", "zero", "full", "random", "urandom", "tty"]

    assert pairs(words, "--dev-bind") == [f"/state/nodes/{one}" for one in names]
    assert words.index("--dev") < words.index("--dev-bind")
    assert "--dev-bind" not in bubblewrap(SPEC, layers=LAYERS, told=7)


def test_change_without_a_layer_is_kept_in_memory() -> None:
    """A copy-on-write folder that has no layer on disk keeps its changes in memory."""
    words = bubblewrap(SPEC, layers={}, told=7)
    at = words.index("--overlay-src")

    assert words[at : at + 4] == ["--overlay-src", "/home/u/repo", "--tmp-overlay", "/home/u/repo"]
    assert "--overlay" not in words


def test_fresh_folder_with_a_layer_is_on_disk() -> None:
    """It is the layer's upper folder, bound; without a layer it is in memory."""
    home = PurePosixPath("/home/u")
    layers = {**LAYERS, home: Layer(Path("/state/home"), Path("/state/unused"))}
    words = bubblewrap(SPEC, layers=layers, told=7)
    at = words.index("--bind")

    assert words[at : at + 3] == ["--bind", "/state/home", "/home/u"]
    assert pairs(words, "--tmpfs") == ["/tmp", "/run"]  # noqa: S108 - in the sandbox


@pytest.mark.parametrize(("network", "unshared"), [("host", False), ("isolated", True)])
def test_isolated_network_is_a_namespace_of_its_own(network: str, unshared: bool) -> None:  # noqa: FBT001 - a table
    """The host's network is shared unless the scenario is isolated."""
    spec = replace(SPEC, network="isolated" if network == "isolated" else "host")

    assert ("--unshare-net" in bubblewrap(spec, layers={}, told=7)) is unshared


@pytest.mark.parametrize(("uid", "unshared"), [(0, False), (1000, True)])
def test_ordinary_user_needs_a_user_namespace(uid: int, unshared: bool) -> None:  # noqa: FBT001 - a table
    """Root makes the namespaces itself; anybody else needs a user namespace for it."""
    words = bubblewrap(replace(SPEC, uid=uid), layers={}, told=7)

    assert ("--unshare-user" in words) is unshared


def test_named_capabilities_alone_are_kept() -> None:
    """They are added to none, and the keeper's argument is their mask."""
    words = bubblewrap(replace(SPEC, capabilities=("CHOWN", "NET_RAW")), layers={}, told=7)

    assert pairs(words, "--cap-drop") == ["ALL"]
    assert pairs(words, "--cap-add") == ["CAP_CHOWN", "CAP_NET_RAW"]
    assert words[-3:-1] == [str(KEEPER), str(1 << 0 | 1 << 13)]


def test_cgroup_namespace_is_left_out_where_it_cannot_be_made() -> None:
    """Nothing else of the command line changes by it."""
    words = bubblewrap(SPEC, layers=LAYERS, told=7)
    without = bubblewrap(SPEC, layers=LAYERS, told=7, own_cgroups=False)

    assert without == [one for one in words if one != "--unshare-cgroup-try"]
    assert "--unshare-cgroup-try" in words


def test_trial_runs_a_line_of_shell_on_the_whole_host() -> None:
    """The self-test uses the same namespaces and mounts, over the host itself, read-only."""
    words = trial(SPEC, layers=LAYERS, own_cgroups=True, script="true")

    assert words[-4:] == ["--", "/bin/sh", "-ec", "true"]
    assert words[8:13] == ["--ro-bind", "/", "/", "--proc", "/proc"]
    assert "--overlay" in words
    assert "--as-pid-1" not in words


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=6)
FOLDERS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4)
PATHS = FOLDERS.map(lambda names: Path("/", *names))
MOUNTS: st.SearchStrategy[Mount] = st.one_of(
    st.builds(ReadOnly, PATHS, PATHS.map(PurePosixPath)),
    st.builds(CopyOnWrite, PATHS),
    st.builds(Fresh, PATHS.map(PurePosixPath), st.integers(0, 0o7777)),
)
SPECS = st.builds(
    SandboxSpec,
    label=st.text(),
    image=st.just("host"),
    mounts=st.lists(MOUNTS, max_size=8).map(tuple),
    uid=st.integers(0, 2000),
    gid=st.integers(0, 2000),
    network=st.sampled_from(["host", "isolated"]),
)


def sources(mount: Mount) -> set[str]:
    """What of the host a mount shows."""
    return set() if isinstance(mount, Fresh) else {str(mount.source)}


def read(words: list[str]) -> tuple[list[str], list[str]]:
    """The host's paths and the targets of a command line's mounts, as bwrap reads them."""
    shown, made = list[str](), list[str]()
    rest = iter(words)
    for word in rest:
        match word:
            case "--ro-bind":
                shown.append(next(rest))
                made.append(next(rest))
            case "--overlay-src":
                shown.append(next(rest))
            case "--tmpfs" | "--tmp-overlay" | "--proc" | "--dev":
                made.append(next(rest))
            case "--ro-bind-try":
                assert next(rest).startswith("/proc/")
                assert next(rest).startswith("/proc/")
            case "--perms" | "--info-fd" | "--cap-drop" | "--remount-ro" | "--chdir":
                next(rest)
            case "--":
                assert next(rest) == str(KEEPER)
                assert len(list(rest)) == 2
            case _:
                assert word.startswith(("--unshare-", "--clearenv", "--as-pid-1"))
    return shown, made


@given(SPECS)
def test_nothing_of_the_host_is_shown_but_what_the_specification_names(spec: SandboxSpec) -> None:
    """Whatever the mounts are, no host path appears that is not in them, and none is left out."""
    shown, made = read(bubblewrap(spec, layers={}, told=7))

    assert set(shown) == {one for mount in spec.mounts for one in sources(mount)}
    assert sorted(made) == sorted(["/proc", "/dev", *(str(one.target) for one in spec.mounts)])


@given(SPECS)
def test_folders_are_mounted_before_what_lies_in_them(spec: SandboxSpec) -> None:
    """No mount hides one that was made earlier below it."""
    _, made = read(bubblewrap(spec, layers={}, told=7))
    targets = [PurePosixPath(one) for one in made]

    for number, target in enumerate(targets):
        assert not any(later in target.parents for later in targets[number + 1 :])


@given(SPECS)
def test_root_is_sealed_after_every_mount(spec: SandboxSpec) -> None:
    """Nothing is mounted once the root is read-only, and privileges are always dropped."""
    words = bubblewrap(spec, layers={}, told=7)

    assert words[-8:-2] == ["--remount-ro", "/", "--chdir", "/", "--", str(KEEPER)]
    assert pairs(words[:14], "--cap-drop") == ["ALL"]
    assert {"--unshare-pid", "--clearenv"} <= set(words[:12])
    assert "--die-with-parent" not in words
