"""Selection of bwrap, the hints if none works, and the layers of overlays."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.errors import EngineUnavailableError
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, SandboxSpec

APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"
DEBIAN = "kernel/unprivileged_userns_clone"
MAXIMUM = "user/max_user_namespaces"

REMEDIES: dict[str, tuple[Mapping[str, str], str]] = {
    "AppArmor forbids it": (
        {APPARMOR: "1", DEBIAN: "1", MAXIMUM: "63000"},
        "isosmoke doctor --apparmor",
    ),
    "Debian's setting forbids it": (
        {APPARMOR: "0", DEBIAN: "0", MAXIMUM: "63000"},
        "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    "the maximum is zero": (
        {MAXIMUM: "0"},
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
    "no known setting forbids it": (
        {APPARMOR: "0", DEBIAN: "1", MAXIMUM: "63000"},
        "install bubblewrap",
    ),
    "no setting is known": ({}, "install bubblewrap"),
}


@pytest.fixture
def fresh_search() -> Iterator[None]:
    """Clear the cached result of the search for bwrap before and after the test."""
    bwrap_program.find_program.cache_clear()
    yield
    bwrap_program.find_program.cache_clear()


@pytest.mark.parametrize(("settings", "command"), REMEDIES.values(), ids=REMEDIES)
def test_remedy_changes_the_forbidding_setting(
    tmp_path: Path, settings: Mapping[str, str], command: str
) -> None:
    """The command changes the setting that forbids user namespaces."""
    for name, value in settings.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")

    assert bwrap_program.find_remedy(tmp_path).startswith(command)


def test_remedy_for_unknown_cause_names_another_engine(tmp_path: Path) -> None:
    """The hint still names something that the user can do."""
    assert "--engine docker" in bwrap_program.find_remedy(tmp_path)


@pytest.mark.usefixtures("fresh_search")
def test_self_test_passes_with_quotes_in_the_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state directory with quotes in its name does not break the self-test."""
    try:
        expected = bwrap_program.find_program()
    except EngineUnavailableError as error:
        pytest.skip(f"{error} - {error.hint}")
    bwrap_program.find_program.cache_clear()
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / 'it\'s $HOME "here"'))

    assert bwrap_program.find_program() == expected


@pytest.mark.usefixtures("fresh_search")
def test_broken_bwrap_is_skipped_or_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bwrap that fails its self-test is not used; if no other works, its error is reported."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        assert bwrap_program.find_program().path != str(broken)
    except EngineUnavailableError as error:
        error_and_hint = (error.message, error.hint)
        assert f"{broken}: it is broken" in error_and_hint[0]
        assert error_and_hint[1]


@pytest.mark.usefixtures("fresh_search")
def test_bwrap_without_cgroup_namespaces_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the cgroup namespace is omitted if it is refused, as inside a sandbox of isosmoke."""
    try:
        path = bwrap_program.find_program().path
    except EngineUnavailableError as error:
        pytest.skip(f"{error} - {error.hint}")
    bwrap_program.find_program.cache_clear()
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        f"""#!/bin/sh
        case " $* " in *" --unshare-cgroup-try "*) echo refused >&2; exit 1 ;; esac
        exec {path} "$@"
        """
    )
    refusing.chmod(0o755)
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(refusing))

    assert bwrap_program.find_program().path == str(refusing)
    assert not bwrap_program.find_program().own_cgroups


def test_each_copied_directory_has_its_own_layer(tmp_path: Path) -> None:
    """Each overlay has two directories on one file system, which are removed after the block."""
    directories = (tmp_path / "a", tmp_path / "b")
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(*map(CopyOnWrite, directories), Fresh(PurePosixPath("/run"), 0o755)),
        uid=0,
        gid=0,
        network="host",
    )
    with bwrap_program.layers(spec) as layers:
        layer_directories = [
            directory for layer in layers.values() for directory in (layer.upper, layer.work)
        ]

        assert set(layers) == {PurePosixPath(directory) for directory in directories}
        assert len(set(layer_directories)) == 4
        assert all(
            directory.is_dir() and not list(directory.iterdir()) for directory in layer_directories
        )
        assert len({directory.stat().st_dev for directory in layer_directories}) == 1

    assert not any(directory.exists() for directory in layer_directories)
