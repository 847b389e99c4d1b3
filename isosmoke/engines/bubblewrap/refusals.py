"""The cause of a refusal to create a sandbox, and the narrowest remedy.

A kernel reports a refusal only as an error number, and bwrap adds a guess. The causes here are read
from the machine: its kernel, its settings, and the AppArmor profiles of bwrap and of this process.
"""

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.engines.bubblewrap import apparmor
from isosmoke.host import mount_table, state
from isosmoke.host.caller_process import read_effective_capabilities
from isosmoke.host.mount_table import MountPoint

_OTHER_ENGINE = "use --engine docker"

_KERNEL = (5, 11)
"""The first Linux whose overlays work in a user namespace, and have the option `userxattr`."""

_KERNEL_IN_MEMORY = (6, 6)
"""The first Linux that can keep the changes of such an overlay in memory (tmpfs), even for root."""

_NO_NAMESPACE_LEFT = re.compile(
    r"max_\*_namespaces|(namespace|user ?ns|unshare).*No space left on device"
)
"""Messages of bwrap about a limit on namespaces that was reached."""

_KINDS = ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup")
_FEW, _ENOUGH = 128, 15000
"""A maximum of namespaces that refuses sandboxes on an idle machine, and one that does not."""

_CLONE = "kernel/unprivileged_userns_clone"
_CONFINED = re.compile(r"(.+) \((?:enforce|kill)\)")
_REASON_SIZE = 200

_NOT_PERMITTED = re.compile(r"No permissions to|Operation not permitted")
"""Messages of bwrap about EPERM, the error of a seccomp filter; that of AppArmor is EACCES."""

_SETFCAP = 31
"""The bit of the capability to map root into a user namespace (user_namespaces(7))."""

_PROC = Path("/proc")
_EMPTY_IN_PROC = frozenset({_PROC / "sys/fs/binfmt_misc", _PROC / "fs/nfsd"})
"""Empty directories of `/proc`, on which a mount hides nothing."""

_WITHOUT_CHANGES = frozenset({"overlay", "tmpfs"})
"""File systems that cannot keep the changes of an overlay, the second only before that Linux."""

_VOLUME = "--volume /var/tmp --env ISOSMOKE_STATE=/var/tmp/isosmoke"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The cause of a refusal, in one line, and its remedy."""

    cause: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """Facts about a machine that can refuse a sandbox to a bwrap.

    `own_users` is true if only a user namespace permits the others. `release` is that of the
    kernel. `settings` is `/proc/sys`. `profile` is the name of the AppArmor profile that confines
    this bwrap, `own_profile` that of this process; empty if there is none. `profile_file` is the
    file of the first, None if it is unknown. `is_filtered` is true if this process has a seccomp
    filter, `is_proc_masked` if parts of its `/proc` are hidden, `is_root_unmapped` if it is root
    and may not be so in a new user namespace. `state` is the state directory, and `state_kind` the
    type of its file system.
    """

    program: str
    own_users: bool
    release: str
    settings: Path
    profile: str = ""
    own_profile: str = ""
    profile_file: Path | None = None
    is_filtered: bool = False
    is_proc_masked: bool = False
    is_root_unmapped: bool = False
    state: Path = Path("/var/tmp/isosmoke")  # noqa: S108 - a default
    state_kind: str = ""


def read_facts(program: str, *, own_users: bool) -> MachineFacts:
    """Return what can refuse a sandbox to `program` on this machine."""
    mounts = mount_table.find_visible(mount_table.read_table())
    directory = state.get_state_directory().resolve()
    return MachineFacts(
        program=program,
        own_users=own_users,
        release=platform.release(),
        settings=Path("/proc/sys"),
        profile=parse_profile(_read_label_of(program)),
        own_profile=parse_profile(_read_label("self")),
        profile_file=apparmor.find_profile(Path(program).resolve(), apparmor.DIRECTORY),
        is_filtered="\nSeccomp:\t2" in _read(Path("/proc/self/status")),
        is_proc_masked=is_proc_masked(mounts),
        is_root_unmapped=os.getuid() == 0 and not read_effective_capabilities() >> _SETFCAP & 1,
        state=directory,
        state_kind=find_kind(directory, mounts),
    )


def is_proc_masked(mounts: Sequence[MountPoint]) -> bool:
    """Return whether mounts hide parts of `/proc`; then no user namespace may have its own."""
    return any(mount.point not in _EMPTY_IN_PROC for mount in mount_table.find_below(_PROC, mounts))


def find_kind(path: Path, mounts: Sequence[MountPoint]) -> str:
    """Return the type of the file system that holds `path`."""
    holding = [mount for mount in mounts if path == mount.point or mount.point in path.parents]
    return max(holding, key=lambda mount: len(mount.point.parts)).kind if holding else ""


def explain(error: str, facts: MachineFacts) -> Refusal:
    """Return the cause of the error that a bwrap printed; if none is known, the error itself."""
    return next(_find_causes(error, facts))


def _find_causes(error: str, facts: MachineFacts) -> Iterator[Refusal]:
    """Yield every possible cause, the most certain first, and at last the error itself."""
    reason = shorten(error)
    if _parse_release(facts.release) < _KERNEL:
        needed = ".".join(map(str, _KERNEL))
        yield Refusal(
            f"bubblewrap needs Linux {needed} or later, this is {facts.release}", _OTHER_ENGINE
        )
    if _NO_NAMESPACE_LEFT.search(error):
        yield _explain_limit(facts)
    if facts.own_users and _read(facts.settings / _CLONE) == "0":
        name = _CLONE.replace("/", ".")
        yield Refusal(f"{name}=0 forbids user namespaces", f"sudo sysctl -w {name}=1")
    yield from _find_confinements(error, facts)
    if facts.profile:
        yield Refusal(
            f"the AppArmor profile {facts.profile} confines {facts.program} ({reason})",
            _suggest_profile(facts.profile_file),
        )
    if facts.own_users and _read(facts.settings / apparmor.RESTRICTION) == "1":
        yield Refusal(
            "AppArmor forbids user namespaces to programs without a profile "
            f"({apparmor.RESTRICTION.replace('/', '.')}=1)",
            f"isosmoke doctor --apparmor (prints a profile for bwrap), or {_OTHER_ENGINE}",
        )
    if "Input/output error" in error and _loses_changes(facts):
        yield Refusal(
            f"{facts.state} is on a file system ({facts.state_kind}) that cannot keep the changes "
            f"of a sandbox, nor can the memory before Linux 6.6 ({reason})",
            f"set ISOSMOKE_STATE to a directory on a disk (of a container: {_VOLUME}), or "
            f"{_OTHER_ENGINE}",
        )
    yield Refusal(
        f"{facts.program} cannot create a sandbox on this machine: {reason}",
        f"install bubblewrap 0.11 or later, or {_OTHER_ENGINE}",
    )


def _find_confinements(error: str, facts: MachineFacts) -> Iterator[Refusal]:
    """Yield what confines this process, as the engine of a container does.

    Each remedy has all options that are needed here: without the first, the next refuses. The mount
    of `/proc` comes last, so nothing else refuses where it is tried.
    """
    reason = shorten(error)
    if "mount proc" in error and facts.is_proc_masked:
        passed = replace(facts, is_filtered=False, own_profile="")
        options = " ".join(_list_container_options(passed))
        yield Refusal(
            f"parts of /proc are hidden, as in a container ({reason})",
            f"start the container with {options}, or {_OTHER_ENGINE}",
        )
    options = " ".join(_list_container_options(facts))
    if "uid map" in error and facts.is_root_unmapped:
        yield Refusal(
            f"root without the capability SETFCAP cannot have a user namespace ({reason})",
            f"start the container with --cap-add SETFCAP, or as another user, or {_OTHER_ENGINE}",
        )
    if _NOT_PERMITTED.search(error) and facts.is_filtered:
        yield Refusal(
            f"a seccomp filter is in force, such as that of a container ({reason})",
            f"start the container with {options}, or {_OTHER_ENGINE}",
        )
    if facts.own_profile:
        yield Refusal(
            f"the AppArmor profile {facts.own_profile} confines this process ({reason})",
            f"run isosmoke without this profile (of a container: {options}), or {_OTHER_ENGINE}",
        )


def _list_container_options(facts: MachineFacts) -> Iterator[str]:
    """Yield the options of docker with which a container like this one permits sandboxes."""
    refusing = {
        "seccomp": facts.is_filtered,
        "systempaths": facts.is_proc_masked and facts.own_users,
        "apparmor": bool(facts.own_profile),
    }
    for name, refuses in refusing.items():
        if refuses:
            yield f"--security-opt {name}=unconfined"
    if _loses_changes(facts):
        yield _VOLUME


def _loses_changes(facts: MachineFacts) -> bool:
    """Return whether the changes of a sandbox can be kept neither on disk nor in memory."""
    is_old = _parse_release(facts.release) < _KERNEL_IN_MEMORY
    return is_old and facts.state_kind in _WITHOUT_CHANGES


def _explain_limit(facts: MachineFacts) -> Refusal:
    """Return the limits on namespaces that are too low for any sandbox."""
    names = (f"max_{kind}_namespaces" for kind in _KINDS if facts.own_users or kind != "user")
    values = {f"user.{name}": _read(facts.settings / "user" / name) for name in names}
    low = {name: value for name, value in values.items() if value and int(value) < _FEW}
    if low:
        allowing = " ".join(f"{name}={_ENOUGH}" for name in low)
        found = " and ".join(f"{name}={value}" for name, value in low.items())
        return Refusal(f"{found} allows too few namespaces", f"sudo sysctl -w {allowing}")
    return Refusal(
        "a limit on namespaces is reached, on this machine or around this container",
        "end other sandboxes, or raise the limit that `sysctl -a --pattern namespaces` shows",
    )


def _suggest_profile(file: Path | None) -> str:
    where = str(file or apparmor.DIRECTORY)
    load = f", load it with `sudo apparmor_parser -r {file}`" if file else ""
    return (
        f"allow userns and mount in the profile in {where}{load}, or set ISOSMOKE_BWRAP to another "
        f"bwrap, or {_OTHER_ENGINE}"
    )


def shorten(error: str) -> str:
    """Return the last line of what a program printed, without its name and at a limited size."""
    lines = error.strip().splitlines()
    message = lines[-1].removeprefix("bwrap: ").removeprefix("launcher: ") if lines else ""
    return message[:_REASON_SIZE] or "no reason was given"


def _parse_release(release: str) -> tuple[int, ...]:
    """Return the first two numbers of a kernel's release."""
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])


def parse_profile(label: str) -> str:
    """Return the AppArmor profile in a label of `/proc/PID/attr/current` that confines a process.

    The result is empty for "unconfined", for a profile that only complains, and for a label of
    another security module.
    """
    confined = _CONFINED.fullmatch(label.strip().removesuffix("\0"))
    return confined[1] if confined else ""


def _read_label_of(program: str) -> str:
    """Return the label of a process of a bwrap, which waits for its arguments meanwhile."""
    reading, writing = os.pipe()
    try:
        with subprocess.Popen(
            [program, "--args", str(reading)],
            pass_fds=(reading,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            label = _read_label(str(process.pid))
            os.close(writing)
            writing = -1
            return label
    except OSError:
        return ""
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _read_label(process: str) -> str:
    directory = Path("/proc", process, "attr")
    return _read(directory / "apparmor/current") or _read(directory / "current")


def _read(file: Path) -> str:
    """Return the text of a file of the kernel; empty if this kernel does not have it."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
