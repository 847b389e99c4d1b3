"""The cause of a refused sandbox and its remedy, for the text of bwrap and a machine's settings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isosmoke.engines.bubblewrap import refusals
from isosmoke.engines.bubblewrap.refusals import MachineFacts
from isosmoke.host.mount_table import MountPoint
from isosmoke.keeper.build import EXEC_SOURCE

RESTRICTION = "kernel/apparmor_restrict_unprivileged_userns"
CLONE = "kernel/unprivileged_userns_clone"

NO_PERMISSION = (
    "bwrap: No permissions to create new namespace, likely because the kernel does not allow "
    "non-privileged user namespaces. See <https://deb.li/bubblewrap> or <file:///usr/share/doc>."
)
LIMIT = (
    "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces "
    "exceeded (ENOSPC)"
)
SECOND_LIMIT = "bwrap: unshare user ns: No space left on device"
OVERLAY = "bwrap: Can't make overlay mount on /newroot/x with options userxattr: Invalid argument"


@pytest.fixture
def facts(tmp_path: Path) -> MachineFacts:
    """Return an ordinary user's machine that refuses nothing."""
    facts = MachineFacts(
        program="/usr/bin/bwrap", own_users=True, release="6.12.1-amd64", settings=tmp_path
    )
    change_setting(facts, RESTRICTION, "0")
    change_setting(facts, CLONE, "1")
    for kind in ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup"):
        change_setting(facts, f"user/max_{kind}_namespaces", "63000")
    return facts


def change_setting(facts: MachineFacts, name: str, value: str) -> None:
    """Set a file of `/proc/sys`."""
    file = facts.settings / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{value}\n")


@pytest.mark.parametrize("release", ["5.10.0-32-amd64", "4.14.355-amzn2.x86_64", "5.4"])
def test_old_kernel_is_named(facts: MachineFacts, release: str) -> None:
    """Nothing but a newer kernel helps, whatever else is forbidden."""
    change_setting(facts, CLONE, "0")

    refusal = refusals.explain(OVERLAY, replace(facts, release=release))

    assert refusal.cause == f"bubblewrap needs Linux 5.11 or later, this is {release}"
    assert refusal.remedy == "use --engine docker"


@pytest.mark.parametrize("release", ["5.11.0", "5.15.0-91-generic", "6.1", "10.0"])
def test_newer_kernel_is_no_cause(facts: MachineFacts, release: str) -> None:
    """A refusal on it has another cause."""
    assert "Linux" not in refusals.explain(OVERLAY, replace(facts, release=release)).cause


@pytest.mark.parametrize(
    ("error", "setting", "value"),
    [
        (LIMIT, "max_user_namespaces", "0"),
        (SECOND_LIMIT, "max_user_namespaces", "1"),
        (LIMIT, "max_mnt_namespaces", "0"),
    ],
)
def test_low_limit_on_namespaces_is_named(
    facts: MachineFacts, error: str, setting: str, value: str
) -> None:
    """The command raises only the limit that is too low."""
    change_setting(facts, f"user/{setting}", value)

    refusal = refusals.explain(error, facts)

    assert refusal.cause == f"user.{setting}={value} allows too few namespaces"
    assert refusal.remedy == f"sudo sysctl -w user.{setting}=15000"


def test_limit_that_others_exhaust_is_named(facts: MachineFacts) -> None:
    """No value is known to be too low."""
    refusal = refusals.explain(LIMIT, facts)

    assert "a limit on namespaces is reached" in refusal.cause
    assert "sysctl" in refusal.remedy


def test_limit_of_user_namespaces_is_none_for_root(facts: MachineFacts) -> None:
    """Root's sandboxes have no user namespace."""
    change_setting(facts, "user/max_user_namespaces", "0")
    change_setting(facts, "user/max_pid_namespaces", "3")

    assert refusals.explain(LIMIT, replace(facts, own_users=False)).cause.startswith(
        "user.max_pid_namespaces=3 allows"
    )


def test_full_disk_is_no_limit_on_namespaces(facts: MachineFacts) -> None:
    """The same error number of another call is reported as it is."""
    refusal = refusals.explain("bwrap: Can't mkdir /newroot: No space left on device", facts)

    assert "Can't mkdir /newroot: No space left on device" in refusal.cause


FORBIDDING = {
    (RESTRICTION, "1"): ("AppArmor forbids user namespaces", "isosmoke doctor --apparmor"),
    (CLONE, "0"): ("unprivileged_userns_clone=0 forbids", "sudo sysctl -w kernel.unpriv"),
}


@pytest.mark.parametrize("setting", FORBIDDING)
def test_forbidding_setting_is_named(facts: MachineFacts, setting: tuple[str, str]) -> None:
    """The remedy changes that setting only; for root, the setting has no effect."""
    cause, remedy = FORBIDDING[setting]
    change_setting(facts, *setting)

    refusal = refusals.explain(NO_PERMISSION, facts)

    assert cause in refusal.cause
    assert refusal.remedy.startswith(remedy)
    assert cause not in refusals.explain(NO_PERMISSION, replace(facts, own_users=False)).cause


def test_profile_of_bwrap_is_named(facts: MachineFacts) -> None:
    """The remedy names the file of the profile, and how to load it."""
    file = Path("/etc/apparmor.d/strict")
    refusal = refusals.explain(NO_PERMISSION, replace(facts, profile="strict", profile_file=file))

    assert refusal.cause.startswith("the AppArmor profile strict confines /usr/bin/bwrap (No perm")
    assert f"apparmor_parser -r {file}" in refusal.remedy
    assert "ISOSMOKE_BWRAP" in refusal.remedy


def test_profile_without_a_known_file_has_a_remedy(facts: MachineFacts) -> None:
    """A profile may be for a pattern of paths."""
    refusal = refusals.explain(NO_PERMISSION, replace(facts, profile="strict"))

    assert "/etc/apparmor.d" in refusal.remedy
    assert "None" not in refusal.remedy


def test_profile_of_this_process_is_named(facts: MachineFacts) -> None:
    """It confines bwrap too, as in a container; another bwrap would not help."""
    facts = replace(facts, profile="docker-default", own_profile="docker-default")
    refusal = refusals.explain(NO_PERMISSION, facts)

    assert "profile docker-default confines this process" in refusal.cause
    assert "apparmor=unconfined" in refusal.remedy
    assert "ISOSMOKE_BWRAP" not in refusal.remedy


ROOT_REFUSED = "bwrap: Creating new namespace failed: Operation not permitted"
NO_PROC = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted"
NO_MOUNT = "bwrap: Failed to make / slave: Permission denied"
NO_MAP = "bwrap: setting up uid map: Operation not permitted"
NO_CHANGES = "mkdir: cannot create directory 'old': Input/output error"


@pytest.fixture
def container(facts: MachineFacts) -> MachineFacts:
    """Return a container of Docker without privileges, on a Debian 12 with AppArmor."""
    return replace(
        facts,
        is_filtered=True,
        is_proc_masked=True,
        own_profile="docker-default",
        profile="docker-default",
        state_kind="overlay",
        release="6.1.0-40-amd64",
    )


@pytest.mark.parametrize("error", [NO_PERMISSION, ROOT_REFUSED])
def test_seccomp_filter_is_named(facts: MachineFacts, error: str) -> None:
    """In a container, the filter of its engine refuses namespaces, to root too."""
    refusal = refusals.explain(error, replace(facts, is_filtered=True))

    assert refusal.cause.startswith("a seccomp filter is in force, such as that of a container (")
    assert refusal.remedy == (
        "start the container with --security-opt seccomp=unconfined, or use --engine docker"
    )


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NO_PERMISSION, "a seccomp filter is in force"),
        (NO_MOUNT, "the AppArmor profile docker-default confines this process"),
        (NO_CHANGES, "the AppArmor profile docker-default confines this process"),
    ],
)
def test_remedy_in_a_container_has_all_options(
    container: MachineFacts, error: str, cause: str
) -> None:
    """After what refuses first, the next would refuse, so one remedy names all of it."""
    refusal = refusals.explain(error, container)

    assert refusal.cause.startswith(cause)
    assert (
        "--security-opt seccomp=unconfined --security-opt systempaths=unconfined "
        "--security-opt apparmor=unconfined --volume /var/tmp --env "
        "ISOSMOKE_STATE=/var/tmp/isosmoke, or use --engine docker"
    ) in refusal.remedy.replace("), or", ", or")  # one of them is in brackets


def test_remedy_for_masked_proc_has_no_option_for_what_was_permitted(
    container: MachineFacts,
) -> None:
    """Podman's filter permits namespaces, and the mount of /proc is the last step."""
    refusal = refusals.explain(NO_PROC, replace(container, state_kind="ext4"))

    assert refusal.cause.startswith("parts of /proc are hidden")
    assert refusal.remedy == (
        "start the container with --security-opt systempaths=unconfined, or use --engine docker"
    )


@pytest.mark.parametrize("error", [NO_PERMISSION, NO_PROC, NO_MOUNT])
def test_remedy_has_no_other_option(facts: MachineFacts, error: str) -> None:
    """A container keeps the restrictions that refuse no sandbox."""
    remedies = {
        refusals.explain(error, replace(facts, **found)).remedy
        for found in ({"is_filtered": True}, {"is_proc_masked": True}, {"own_profile": "strict"})
    }

    assert all(remedy.count("unconfined") <= 1 for remedy in remedies)
    assert not any("--volume" in remedy for remedy in remedies)


def test_state_that_keeps_no_changes_is_named(facts: MachineFacts) -> None:
    """The root of a container cannot keep them on disk; an older Linux not in memory either."""
    facts = replace(facts, state=Path("/root/state"), state_kind="overlay", release="6.1.0-40")

    for own_users in (True, False):
        refusal = refusals.explain(NO_CHANGES, replace(facts, own_users=own_users))
        assert refusal.cause.startswith(
            "/root/state is on a file system (overlay) that cannot keep"
        )
        assert "ISOSMOKE_STATE" in refusal.remedy
    for other in (replace(facts, release="6.6.0"), replace(facts, state_kind="ext4")):
        assert "/root/state" not in refusals.explain(NO_CHANGES, other).cause


def test_root_that_cannot_be_mapped_is_named(facts: MachineFacts) -> None:
    """Root has no user namespace without the capability that `--cap-drop ALL` takes from it."""
    refusal = refusals.explain(NO_MAP, replace(facts, is_root_unmapped=True))

    assert refusal.cause.startswith("root without the capability SETFCAP")
    assert "--cap-add SETFCAP" in refusal.remedy


def list_mounts(*lines: str) -> tuple[MountPoint, ...]:
    """Return mounts from their paths and types."""
    fields = (line.split(" ") for line in ("/ overlay", "/proc proc", *lines))
    return tuple(MountPoint(0, 0, Path(point), kind, False, False) for point, kind in fields)  # noqa: FBT003 - fields


@pytest.mark.parametrize(
    ("mount", "masked"),
    [
        ("/proc/kcore tmpfs", True),
        ("/proc/bus proc", True),
        ("/proc/sys/fs/binfmt_misc autofs", False),
        ("/process tmpfs", False),
    ],
)
def test_masked_proc_is_recognized(mount: str, masked: bool) -> None:  # noqa: FBT001 - a table
    """A mount on an empty directory hides nothing, so the kernel permits a new /proc."""
    assert refusals.is_proc_masked(list_mounts(mount)) is masked


def test_innermost_mount_holds_a_path() -> None:
    """The type is that of the mount below all others on the way."""
    mounts = list_mounts("/var ext4", "/var/tmp tmpfs")  # noqa: S108 - a mount point

    assert refusals.find_kind(Path("/var/lib/isosmoke"), mounts) == "ext4"
    assert refusals.find_kind(Path("/var/tmp"), mounts) == "tmpfs"  # noqa: S108 - as above
    assert refusals.find_kind(Path("/root"), mounts) == "overlay"
    assert refusals.find_kind(Path("/root"), ()) == ""


@pytest.mark.parametrize("missing", [RESTRICTION, CLONE])
def test_unknown_cause_is_reported_in_one_line(facts: MachineFacts, missing: str) -> None:
    """The last line of bwrap is shown, and something that the user can do."""
    (facts.settings / missing).unlink()
    refusal = refusals.explain(f"bwrap: first\n{'x' * 3000}\n", facts)

    assert refusal.cause.startswith("/usr/bin/bwrap cannot create a sandbox on this machine: xxx")
    assert len(refusal.cause) < 400
    assert refusal.remedy == "install bubblewrap 0.11 or later, or use --engine docker"


@pytest.mark.parametrize(
    ("label", "profile"),
    [
        ("docker-default (enforce)\n", "docker-default"),
        ("/usr/bin/bwrap (enforce)\0", "/usr/bin/bwrap"),
        ("bwrap (kill)\n", "bwrap"),
        ("unconfined\n", ""),
        ("bwrap (complain)\n", ""),
        ("bwrap (unconfined)\n", ""),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0", ""),
        ("", ""),
    ],
)
def test_only_an_enforced_profile_confines(label: str, profile: str) -> None:
    """Labels of SELinux and of profiles without effect are none."""
    assert refusals.parse_profile(label) == profile


def test_surroundings_are_those_of_this_machine() -> None:
    """A program that is no bwrap, or does not exist, is not an error."""
    for program in ("/bin/true", "/nonexistent/bwrap"):
        found = refusals.read_facts(program, own_users=True)
        assert found.program == program
        assert refusals.explain(NO_PERMISSION, found).remedy


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (NO_PERMISSION, {"is_filtered": True}),
        (NO_PROC, {"is_proc_masked": True}),
        (NO_MOUNT, {"own_profile": "strict"}),
        (NO_MAP, {"is_root_unmapped": True}),
        (NO_PERMISSION, {CLONE: "0"}),
        (NO_PERMISSION, {RESTRICTION: "1"}),
        (LIMIT, {"user/max_user_namespaces": "7"}),
        (LIMIT, {}),
    ],
)
def test_wrapper_names_each_cause_in_the_same_words(
    facts: MachineFacts, error: str, changes: dict[str, Any]
) -> None:
    """A user who knows the sentence of `isosmoke run` recognizes that of `isosmoke-exec`."""
    for name in changes.keys() - facts.__slots__:
        change_setting(facts, name, changes[name])
    known = {name: value for name, value in changes.items() if name in facts.__slots__}
    cause = refusals.explain(error, replace(facts, **known)).cause.partition(" (")[0]

    sentence = cause.replace("profile strict", "profile %s").replace("max_user_", "max_%s_")
    assert f'"{sentence.replace("=7", "=%ld")}"' in EXEC_SOURCE.read_text()
