"""Conversion of a sandbox specification to a bubblewrap command line."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.engines.bubblewrap.bwrap_args import (
    BwrapLayer,
    BwrapLayers,
    build_arguments,
    build_trial_arguments,
)
from isosmoke.sandbox.spec import (
    KEEPER,
    NAMESPACES,
    CopyOnWrite,
    Fresh,
    Link,
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

LAYERS: BwrapLayers = {
    PurePosixPath("/home/u/repo"): BwrapLayer(Path("/state/upper"), Path("/state/work"))
}


def find_values(arguments: list[str], option: str) -> list[str]:
    """Return the argument after each occurrence of an option."""
    return [arguments[index + 1] for index, argument in enumerate(arguments) if argument == option]


def test_command_line_is_exact() -> None:
    """A specification becomes exactly these arguments, in this order."""
    assert build_arguments(SPEC, layers=LAYERS, info_fd=7) == [
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


def test_copies_are_in_front_of_a_workspace_in_memory() -> None:
    """Without a layer on disk, which has the copies, they are a second source of the overlay."""
    repository, copies = Path("/home/u/repo"), Path("/state/copies")
    spec = replace(SPEC, mounts=(CopyOnWrite(repository, copies),))

    in_memory = build_arguments(spec, layers={}, info_fd=7)
    on_disk = build_arguments(spec, layers=LAYERS, info_fd=7)

    assert find_values(in_memory, "--overlay-src") == [str(repository), str(copies)]
    assert find_values(on_disk, "--overlay-src") == [str(repository)]


def test_kernel_settings_are_read_only_for_root() -> None:
    """The settings belong to root, so only root needs a read-only mount of them."""
    arguments = build_arguments(replace(SPEC, uid=0, gid=0), layers=LAYERS, info_fd=7)

    assert find_values(arguments, "--ro-bind-try") == [
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/proc/fs",
    ]
    assert "--ro-bind-try" not in build_arguments(SPEC, layers=LAYERS, info_fd=7)


def test_own_devices_replace_those_of_the_host() -> None:
    """Each device that bwrap shows is replaced after `--dev`."""
    arguments = build_arguments(SPEC, layers=LAYERS, info_fd=7, devices=Path("/state/nodes"))
    names = ["null", "zero", "full", "random", "urandom", "tty"]

    assert find_values(arguments, "--dev-bind") == [f"/state/nodes/{name}" for name in names]
    assert arguments.index("--dev") < arguments.index("--dev-bind")
    assert "--dev-bind" not in build_arguments(SPEC, layers=LAYERS, info_fd=7)


def test_changes_without_a_layer_are_kept_in_memory() -> None:
    """A copied directory without a layer on disk keeps its changes in memory."""
    arguments = build_arguments(SPEC, layers={}, info_fd=7)
    index = arguments.index("--overlay-src")

    assert arguments[index : index + 4] == [
        "--overlay-src",
        "/home/u/repo",
        "--tmp-overlay",
        "/home/u/repo",
    ]
    assert "--overlay" not in arguments


def test_fresh_directory_with_a_layer_is_on_disk() -> None:
    """The layer's upper directory is mounted; without a layer a tmpfs is used."""
    home = PurePosixPath("/home/u")
    layers = {**LAYERS, home: BwrapLayer(Path("/state/home"), Path("/state/unused"))}
    arguments = build_arguments(SPEC, layers=layers, info_fd=7)
    index = arguments.index("--bind")

    assert arguments[index : index + 3] == ["--bind", "/state/home", "/home/u"]
    assert find_values(arguments, "--tmpfs") == ["/tmp", "/run"]  # noqa: S108 - in the sandbox


@pytest.mark.parametrize(("network", "unshared"), [("host", False), ("isolated", True)])
def test_isolated_network_has_its_own_namespace(network: str, unshared: bool) -> None:  # noqa: FBT001 - a table
    """The host's network is shared unless the scenario is isolated."""
    spec = replace(SPEC, network="isolated" if network == "isolated" else "host")

    assert ("--unshare-net" in build_arguments(spec, layers={}, info_fd=7)) is unshared


def test_user_namespace_can_be_omitted() -> None:
    """The rest of the command line is unchanged."""
    arguments = build_arguments(SPEC, layers=LAYERS, info_fd=7)
    without = build_arguments(SPEC, layers=LAYERS, info_fd=7, own_users=False)

    assert without == [argument for argument in arguments if argument != "--unshare-user"]
    assert "--unshare-user" in arguments


def test_root_can_have_a_user_namespace() -> None:
    """In a container, root may lack the capability to create other namespaces."""
    spec = replace(SPEC, uid=0, gid=0)

    assert "--unshare-user" in build_arguments(spec, layers={}, info_fd=7)


def test_only_named_capabilities_are_kept() -> None:
    """Any other capability is dropped, and the keeper's argument is the mask of the named ones."""
    arguments = build_arguments(
        replace(SPEC, capabilities=("CHOWN", "NET_RAW")), layers={}, info_fd=7
    )

    assert find_values(arguments, "--cap-drop") == ["ALL"]
    assert find_values(arguments, "--cap-add") == ["CAP_CHOWN", "CAP_NET_RAW"]
    assert arguments[-3:-1] == [str(KEEPER), str(1 << 0 | 1 << 13)]


def test_cgroup_namespace_can_be_omitted() -> None:
    """The rest of the command line is unchanged."""
    arguments = build_arguments(SPEC, layers=LAYERS, info_fd=7)
    without = build_arguments(SPEC, layers=LAYERS, info_fd=7, own_cgroups=False)

    assert without == [argument for argument in arguments if argument != "--unshare-cgroup-try"]
    assert "--unshare-cgroup-try" in arguments


def test_trial_runs_a_shell_on_the_read_only_host() -> None:
    """The self-test uses the same namespaces and mounts on top of the read-only host."""
    arguments = build_trial_arguments(
        SPEC, layers=LAYERS, own_cgroups=True, own_users=True, script="true"
    )

    assert arguments[-4:] == ["--", "/bin/sh", "-ec", "true"]
    assert arguments[8:13] == ["--ro-bind", "/", "/", "--proc", "/proc"]
    assert "--overlay" in arguments
    assert "--as-pid-1" not in arguments


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=6)
DIRECTORIES = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4)
PATHS = DIRECTORIES.map(lambda names: Path("/", *names))
MOUNTS: st.SearchStrategy[Mount] = st.one_of(
    st.builds(ReadOnly, PATHS, PATHS.map(PurePosixPath)),
    st.builds(CopyOnWrite, PATHS),
    st.builds(Fresh, PATHS.map(PurePosixPath), st.integers(0, 0o7777)),
    st.builds(Link, PATHS.map(PurePosixPath), PATHS.map(PurePosixPath)),
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


def list_sources(mount: Mount) -> set[str]:
    """Return the host paths that a mount shows."""
    return set() if isinstance(mount, Fresh | Link) else {str(mount.source)}


def parse_mounts(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the host paths and mount targets of a command line, parsed as bwrap does."""
    host_paths, targets, links = list[str](), list[str](), list[str]()
    remaining = iter(arguments)
    for argument in remaining:
        match argument:
            case "--ro-bind" | "--symlink":
                (links if argument == "--symlink" else host_paths).append(next(remaining))
                targets.append(next(remaining))
            case "--overlay-src":
                host_paths.append(next(remaining))
            case "--tmpfs" | "--tmp-overlay" | "--proc" | "--dev":
                targets.append(next(remaining))
            case "--ro-bind-try":
                assert next(remaining).startswith("/proc/")
                assert next(remaining).startswith("/proc/")
            case "--perms" | "--info-fd" | "--cap-drop" | "--remount-ro" | "--chdir":
                next(remaining)
            case "--":
                assert next(remaining) == str(KEEPER)
                assert len(list(remaining)) == 2
            case _:
                assert argument.startswith(("--unshare-", "--clearenv", "--as-pid-1"))
    return host_paths, targets


@given(SPECS)
def test_only_specified_host_paths_are_shown(spec: SandboxSpec) -> None:
    """The host paths on the command line are exactly those in the specification."""
    host_paths, targets = parse_mounts(build_arguments(spec, layers={}, info_fd=7))

    assert set(host_paths) == {path for mount in spec.mounts for path in list_sources(mount)}
    assert sorted(targets) == sorted(
        ["/proc", "/dev", *(str(mount.target) for mount in spec.mounts)]
    )


@given(SPECS)
def test_parent_directories_are_mounted_first(spec: SandboxSpec) -> None:
    """No mount hides an earlier one below it."""
    _, target_paths = parse_mounts(build_arguments(spec, layers={}, info_fd=7))
    targets = [PurePosixPath(path) for path in target_paths]

    for number, target in enumerate(targets):
        assert not any(later in target.parents for later in targets[number + 1 :])


@given(SPECS)
def test_root_becomes_read_only_after_all_mounts(spec: SandboxSpec) -> None:
    """Nothing is mounted after the root is read-only, and capabilities are always dropped."""
    arguments = build_arguments(spec, layers={}, info_fd=7)

    assert arguments[-8:-2] == ["--remount-ro", "/", "--chdir", "/", "--", str(KEEPER)]
    assert find_values(arguments[:14], "--cap-drop") == ["ALL"]
    assert {"--unshare-pid", "--clearenv"} <= set(arguments[:12])
    assert "--die-with-parent" not in arguments
