"""Which bwrap works, what is said where none does, and where overlays keep their changes."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.errors import EngineUnavailableError
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, SandboxSpec

APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"
DEBIAN = "kernel/unprivileged_userns_clone"
MOST = "user/max_user_namespaces"

REMEDIES: dict[str, tuple[Mapping[str, str], str]] = {
    "AppArmor forbids it": (
        {APPARMOR: "1", DEBIAN: "1", MOST: "63000"},
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "Debian's setting forbids it": (
        {APPARMOR: "0", DEBIAN: "0", MOST: "63000"},
        "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    "there may be none": (
        {MOST: "0"},
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
    "nothing known forbids it": ({APPARMOR: "0", DEBIAN: "1", MOST: "63000"}, "install bubblewrap"),
    "nothing is known": ({}, "install bubblewrap"),
}


@pytest.fixture
def fresh_search() -> Iterator[None]:
    """The search for a bwrap starts anew, and so it does for whoever comes after."""
    bwrap_program.program.cache_clear()
    yield
    bwrap_program.program.cache_clear()


@pytest.mark.parametrize(("settings", "command"), REMEDIES.values(), ids=REMEDIES)
def test_remedy_is_the_one_command_that_mends_it(
    tmp_path: Path, settings: Mapping[str, str], command: str
) -> None:
    """The setting that forbids user namespaces is named in the command that allows them."""
    for name, value in settings.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")

    assert bwrap_program.remedy(tmp_path).startswith(command)


def test_remedy_without_a_known_cause_names_another_engine(tmp_path: Path) -> None:
    """Where nothing is known, the hint is still something that can be done."""
    assert "--engine docker" in bwrap_program.remedy(tmp_path)


@pytest.mark.usefixtures("fresh_search")
def test_state_folder_with_any_name_passes_the_self_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where bubblewrap works at all, it does so in a state folder with quotes in its name."""
    try:
        expected = bwrap_program.program()
    except EngineUnavailableError as error:
        pytest.skip(f"{error} - {error.hint}")
    bwrap_program.program.cache_clear()
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / 'it\'s $HOME "here"'))

    assert bwrap_program.program() == expected


@pytest.mark.usefixtures("fresh_search")
def test_broken_bwrap_is_passed_over_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bwrap that fails its self-test is not used: another is, or its own words are told."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        assert bwrap_program.program().path != str(broken)
    except EngineUnavailableError as error:
        told = (error.message, error.hint)
        assert f"{broken}: it is broken" in told[0]
        assert told[1]


@pytest.mark.usefixtures("fresh_search")
def test_bwrap_that_can_make_no_cgroup_namespace_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where cgroup namespaces are refused, as in a sandbox of isosmoke's, all else works."""
    try:
        path = bwrap_program.program().path
    except EngineUnavailableError as error:
        pytest.skip(f"{error} - {error.hint}")
    bwrap_program.program.cache_clear()
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        f"""#!/bin/sh
        case " $* " in *" --unshare-cgroup-try "*) echo refused >&2; exit 1 ;; esac
        exec {path} "$@"
        """
    )
    refusing.chmod(0o755)
    monkeypatch.setenv(bwrap_program.NAMED_BY, str(refusing))

    assert bwrap_program.program().path == str(refusing)
    assert not bwrap_program.program().own_cgroups


def test_each_copy_on_write_folder_has_a_layer_of_its_own(tmp_path: Path) -> None:
    """Two folders on one file system for each overlay, there for the block and gone after it."""
    folders = (tmp_path / "a", tmp_path / "b")
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(*map(CopyOnWrite, folders), Fresh(PurePosixPath("/run"), 0o755)),
        uid=0,
        gid=0,
        network="host",
    )
    with bwrap_program.layers(spec) as layers:
        made = [one for layer in layers.values() for one in (layer.upper, layer.work)]

        assert set(layers) == {PurePosixPath(one) for one in folders}
        assert len(set(made)) == 4
        assert all(one.is_dir() and not list(one.iterdir()) for one in made)
        assert len({one.stat().st_dev for one in made}) == 1

    assert not any(one.exists() for one in made)
