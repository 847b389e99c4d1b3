"""Puts a job together: a manifest's entry and the caller's facts in, all a sandbox needs out."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from isosmoke import files, state
from isosmoke.binary import KNOWN_AS, Binary
from isosmoke.caller import Caller
from isosmoke.host_image import host_mounts
from isosmoke.keeper import KEEPER_FILE
from isosmoke.scenario import Scenario
from isosmoke.spec import (
    BINARIES,
    HOST_IMAGE,
    KEEPER,
    PRIVATE,
    CopyOnWrite,
    Fresh,
    Job,
    Limits,
    Mount,
    ReadOnly,
    SandboxSpec,
)
from isosmoke.workspace import Workspace

_IMAGE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED = ("COLORTERM", "RUSTUP_TOOLCHAIN", "TZ")
"""What every sandbox takes over from the caller; the rest is named by `pass_env`."""

_GITCONFIG = PRIVATE / "gitconfig"
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - in the sandbox


@dataclass(frozen=True)
class Surroundings:
    """What is the same for every scenario of a run."""

    caller: Caller
    workspace: Workspace
    binary: Binary | None

    @cached_property
    def host(self) -> tuple[Mount, ...]:
        """The mounts of the host's image, looked for once."""
        path = self.caller.environment.get("PATH", os.defpath)
        return host_mounts(path, self.caller.home, masked=self.caller.uid == 0)


def job(scenario: Scenario, argv: tuple[str, ...], around: Surroundings) -> Job:
    """The job that runs `argv` as a scenario would be run."""
    return Job(
        spec=_spec(scenario, around),
        argv=argv,
        folder=PurePosixPath(around.workspace.working),
        environment=_environment(scenario, around),
        timeout=scenario.timeout_seconds,
        grace=scenario.grace_seconds,
        settle=scenario.settle_seconds,
    )


def _spec(scenario: Scenario, around: Surroundings) -> SandboxSpec:
    limits = scenario.limits
    return SandboxSpec(
        label=scenario.name,
        image=scenario.image,
        mounts=_mounts(scenario, around),
        uid=around.caller.uid,
        gid=around.caller.gid,
        network=scenario.network,
        limits=Limits(
            memory=limits.memory, processes=limits.processes, open_files=limits.open_files
        ),
    )


def _mounts(scenario: Scenario, around: Surroundings) -> tuple[Mount, ...]:
    home = PurePosixPath(around.caller.home)
    return (
        *(_host(around) if scenario.image == HOST_IMAGE else ()),
        Fresh(PurePosixPath("/run"), 0o755),
        *(Fresh(PurePosixPath(target), 0o1777, on_disk=True) for target in _TEMPORARY),
        Fresh(home, 0o700, on_disk=True),
        *_own(around),
        *_user_files(scenario, around.caller),
        *(CopyOnWrite(folder) for folder in around.workspace.folders),
        *(Fresh(PurePosixPath(folder), 0o755) for folder in _private(around.workspace)),
        *(ReadOnly(folder, PurePosixPath(folder)) for folder in around.workspace.borrowed),
        *_passed_files(scenario, around.caller),
    )


def _private(workspace: Workspace) -> Iterator[Path]:
    """What isosmoke keeps in the workspace: the logs of other scenarios, receipts, its state."""
    kept = (
        one / state.IN_PROJECT for one in dict.fromkeys((*workspace.folders, workspace.working))
    )
    for folder in (*kept, state.state_folder()):
        if folder.is_dir() and any(folder.is_relative_to(one) for one in workspace.folders):
            yield folder


def _host(around: Surroundings) -> Iterator[Mount]:
    """A tool of the workspace comes with its copy: mounted by itself it could not be rebuilt."""
    for mount in around.host:
        if not any(mount.target.is_relative_to(one) for one in around.workspace.folders):
            yield mount


def _own(around: Surroundings) -> tuple[Mount, ...]:
    own = (
        ReadOnly(KEEPER_FILE, KEEPER),
        ReadOnly(files.stored(files.gitconfig(around.caller.user)), _GITCONFIG),
    )
    return own if around.binary is None else (*own, ReadOnly(around.binary.folder, BINARIES))


def _user_files(scenario: Scenario, caller: Caller) -> tuple[Mount, ...]:
    """Where the caller is not in the image's user database, one that has the caller."""
    if scenario.image == HOST_IMAGE and files.knows(Path("/etc/passwd"), caller.uid):
        return ()
    etc = Path("/etc") if scenario.image == HOST_IMAGE else None
    texts = {
        "passwd": files.passwd(caller, etc and etc / "passwd"),
        "group": files.group(caller, etc and etc / "group"),
    }
    return tuple(
        ReadOnly(files.stored(text), PurePosixPath("/etc", name)) for name, text in texts.items()
    )


def _passed_files(scenario: Scenario, caller: Caller) -> tuple[Mount, ...]:
    paths = (_at_home(Path(one), caller.home) for one in scenario.pass_files)
    return tuple(ReadOnly(path, PurePosixPath(path)) for path in paths)


def _at_home(path: Path, home: Path) -> Path:
    return home.joinpath(*path.parts[1:]) if path.parts[0] == "~" else path


def _environment(scenario: Scenario, around: Surroundings) -> Mapping[str, str]:
    given = around.caller.environment
    return {
        **{name: given[name] for name in _PASSED if name in given},
        **_identity(around.caller),
        "LANG": "C.UTF-8",
        "TERM": _terminal(given.get("TERM", "")),
        "GIT_CONFIG_SYSTEM": str(_GITCONFIG),
        "WG_SMOKE_SCENARIO": scenario.name,
        "WG_SMOKE_TIMEOUT_SECS": str(scenario.timeout_seconds),
        **scenario.env,
        **{name: given[name] for name in scenario.pass_env if name in given},
        **_finding_programs(scenario, around),
    }


def _identity(caller: Caller) -> Mapping[str, str]:
    return {
        "HOME": str(caller.home),
        "USER": caller.user,
        "LOGNAME": caller.user,
        "SHELL": "/bin/bash",
    }


def _finding_programs(scenario: Scenario, around: Surroundings) -> Mapping[str, str]:
    """PATH, on which the live binary comes first whatever the scenario sets."""
    given = around.caller.environment.get("PATH", os.defpath)
    path = scenario.env.get("PATH") or (given if scenario.image == HOST_IMAGE else _IMAGE_PATH)
    if around.binary is None:
        return {"PATH": path}
    return {"PATH": f"{BINARIES}:{path}", "WG_BIN": str(BINARIES / KNOWN_AS)}


def _terminal(name: str) -> str:
    """A scenario's terminal is one it makes itself; it must be able to do something."""
    return name if name not in ("", "dumb") else "xterm-256color"
