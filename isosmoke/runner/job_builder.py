"""Puts a job together: a manifest's entry and the caller's facts in, all a sandbox needs out."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from isosmoke.engines.bubblewrap import cgroup
from isosmoke.host import state
from isosmoke.host.binary import KNOWN_AS, Binary
from isosmoke.host.caller import Caller
from isosmoke.host.workspace import Workspace
from isosmoke.keeper import KEEPER_FILE
from isosmoke.manifest.models import Scenario
from isosmoke.redaction import LARGEST, Redactor, Secret, placeholder
from isosmoke.rootfs_images import store
from isosmoke.runner import interpreter
from isosmoke.sandbox import rootfs_mounts, user_files
from isosmoke.sandbox.host_mounts import host_mounts
from isosmoke.sandbox.interpreter import Interpreter
from isosmoke.sandbox.spec import (
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

_PASSED = ("COLORTERM", "RUSTUP_TOOLCHAIN", "TZ")
"""What every sandbox takes over from the caller; the rest is named by `pass_env`."""

_REFERENCE = re.compile(r"\$\{(\w+)\}")
_GITCONFIG = PRIVATE / "gitconfig"
_LOOKED_UP = ("resolv.conf", "hosts")
"""What finds names in `/etc`: on the host's network it must be the host's."""

_DATABASES = (PurePosixPath("/etc/passwd"), PurePosixPath("/etc/group"))

_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - in the sandbox


@dataclass(frozen=True)
class Surroundings:
    """What is the same for every scenario of a run."""

    caller: Caller
    workspace: Workspace
    binary: Binary | None
    _redactors: dict[tuple[tuple[str, ...], ...], Redactor] = field(
        default_factory=dict, repr=False
    )
    _interpreters: dict[tuple[object, ...], Interpreter] = field(default_factory=dict, repr=False)

    def redactor(self, scenario: Scenario) -> Redactor:
        """What keeps the secrets that a scenario is given out of everything that is told of it."""
        given = (scenario.pass_env, scenario.pass_files)
        if given not in self._redactors:
            self._redactors[given] = Redactor(_secrets(scenario, self.caller))
        return self._redactors[given]

    def interpreter(self, scenario: Scenario) -> Interpreter:
        """Return what runs a scenario's script, looked for and copied once.

        Raises:
            EngineError: if the scenario's image has no bash.
        """
        key = (scenario.image, scenario.folder, scenario.pass_files)
        if key not in self._interpreters:
            hidden = tuple(one.target for one in _added(scenario, self))
            found = interpreter.find(scenario.image, scenario.folder, hidden)
            self._interpreters[key] = interpreter.taken(found)
        return self._interpreters[key]

    @property
    def interpreters(self) -> tuple[Interpreter, ...]:
        """What ran scripts so far, each once."""
        return tuple(dict.fromkeys(self._interpreters.values()))

    @cached_property
    def host(self) -> tuple[Mount, ...]:
        """The mounts of the host's image, looked for once."""
        path = self.caller.environment.get("PATH", os.defpath)
        return host_mounts(path, self.caller.home, masked=self.caller.uid == 0)

    @cached_property
    def writes_to_cgroup(self) -> bool:
        """Whether the caller may write to its own control groups; looked at once."""
        return cgroup.is_writable_by(self.caller.uid)


def job(
    scenario: Scenario,
    argv: tuple[str, ...],
    around: Surroundings,
    services: Mapping[str, str] = MappingProxyType({}),
) -> Job:
    """The job that runs `argv` as a scenario would be run; `services` says where its services are.

    In the scenario's own variables `${NAME}` stands for what `services` has, and for nothing else.
    """
    return Job(
        spec=_spec(scenario, around),
        argv=argv,
        folder=PurePosixPath(around.workspace.working),
        environment=environment_of(scenario, around, services),
        timeout=scenario.timeout_seconds,
        grace=scenario.grace_seconds,
        settle=scenario.settle_seconds,
    )


def script_job(
    scenario: Scenario,
    around: Surroundings,
    services: Mapping[str, str] = MappingProxyType({}),
) -> Job:
    """The job that runs a scenario's script, by the interpreter of its image.

    Raises:
        EngineError: if the image has none.
    """
    found = around.interpreter(scenario)
    made = job(scenario, (found.path, str(scenario.script_path)), around, services)
    spec = replace(made.spec, mounts=(*made.spec.mounts, *found.mounts))
    return replace(made, spec=spec, search=found.search)


def told_environment(scenario: Scenario, environment: Mapping[str, str]) -> Mapping[str, str]:
    """An environment as it may be told: what is passed is there by its name only."""
    return {
        name: placeholder(name) if name in scenario.pass_env else value
        for name, value in environment.items()
    }


def _secrets(scenario: Scenario, caller: Caller) -> Iterator[Secret]:
    for name in scenario.pass_env:
        if caller.environment.get(name):
            yield Secret.of_variable(name, caller.environment[name])
    for named in scenario.pass_files:
        for file in _files(_at_home(Path(named), caller.home)):
            with suppress(OSError):  # what cannot be read here, the script cannot read either
                yield Secret.of_file(named, _beginning(file))


def _files(path: Path) -> Iterator[Path]:
    yield from (one for one in (path, *path.rglob("*")) if one.is_file())


def _beginning(file: Path) -> bytes:
    """A file's content, or so much of a large one that it counts as too large."""
    with file.open("rb") as content:
        return content.read(LARGEST + 1)


def _spec(scenario: Scenario, around: Surroundings) -> SandboxSpec:
    limits = scenario.limits
    return SandboxSpec(
        label=scenario.name,
        image=scenario.image if _root(scenario) is None else HOST_IMAGE,
        mounts=_mounts(scenario, around),
        uid=around.caller.uid,
        gid=around.caller.gid,
        network=scenario.network,
        limits=Limits(
            memory=limits.memory, processes=limits.processes, open_files=limits.open_files
        ),
        capabilities=scenario.capabilities,
        new_namespaces=scenario.new_namespaces,
        writes_to_cgroup=around.writes_to_cgroup,
    )


def _root(scenario: Scenario) -> Path | None:
    """Where the image's own root folder is on this machine; None where an engine has the image."""
    if scenario.image == HOST_IMAGE:
        return Path("/")
    return store.root(scenario.image, scenario.folder)


def _mounts(scenario: Scenario, around: Surroundings) -> tuple[Mount, ...]:
    added = _added(scenario, around)
    return (*_system(scenario, around, {one.target for one in added}), *added)


def _system(
    scenario: Scenario, around: Surroundings, others: Collection[PurePosixPath]
) -> Iterator[Mount]:
    """What a system is made of, where it is made of mounts; `others` are mounted besides."""
    if scenario.image == HOST_IMAGE:
        yield from _host(around)
    elif root := _root(scenario):
        lookup = tuple(_lookup()) if scenario.network == "host" else ()
        yield from rootfs_mounts.mounts(root, {*others, *(one.target for one in lookup)})
        yield from lookup


def _lookup() -> Iterator[Mount]:
    for name in _LOOKED_UP:
        file = Path("/etc", name).resolve()
        if file.is_file():
            yield ReadOnly(file, PurePosixPath("/etc", name))


def _added(scenario: Scenario, around: Surroundings) -> tuple[Mount, ...]:
    """What every sandbox has besides its system."""
    workspace = around.workspace
    fresh = (
        Fresh(PurePosixPath("/run"), 0o755),
        *(Fresh(PurePosixPath(target), 0o1777, on_disk=True) for target in _TEMPORARY),
        Fresh(PurePosixPath(around.caller.home), 0o700, on_disk=True),
    )
    private = [Fresh(PurePosixPath(folder), 0o755) for folder in _private(workspace)]
    return (
        *fresh,
        *_own(around),
        *_user_files(scenario, around.caller),
        *(CopyOnWrite(folder) for folder in workspace.folders),
        *_mounted(workspace, [one.target for one in (*fresh, *private)]),
        *private,
        *(ReadOnly(folder, PurePosixPath(folder)) for folder in workspace.borrowed),
        *_passed_files(scenario, around.caller),
    )


def _mounted(workspace: Workspace, emptied: Collection[PurePosixPath]) -> Iterator[Mount]:
    """What is mounted in the workspace, but for what is `emptied` there, or in that.

    A file cannot be the lower layer of an overlay: it is shown read-only.
    """
    hiding = [one for one in emptied if any(_is_inside(one, each) for each in workspace.folders)]
    for point in workspace.mounted:
        if not any(point.is_relative_to(one) for one in hiding):
            is_folder = point.is_dir()
            yield CopyOnWrite(point) if is_folder else ReadOnly(point, PurePosixPath(point))


def _is_inside(target: PurePosixPath, folder: Path) -> bool:
    return PurePosixPath(folder) in target.parents


def _private(workspace: Workspace) -> Iterator[Path]:
    """What isosmoke keeps in the workspace: the logs of other scenarios, receipts, its state."""
    kept = (state.in_project(one) for one in dict.fromkeys((*workspace.folders, workspace.working)))
    for folder in (*kept, state.state_folder().resolve()):
        if folder.is_dir() and any(folder.is_relative_to(one) for one in workspace.folders):
            yield folder


def _host(around: Surroundings) -> Iterator[Mount]:
    """A tool of the workspace comes with its copy: mounted by itself it could not be rebuilt."""
    for mount in around.host:
        if not any(mount.target.is_relative_to(one) for one in around.workspace.folders):
            yield mount


def _own(around: Surroundings) -> tuple[Mount, ...]:
    own = (
        ReadOnly(user_files.placed(KEEPER_FILE), KEEPER),
        ReadOnly(user_files.stored(user_files.gitconfig(around.caller.user)), _GITCONFIG),
    )
    return own if around.binary is None else (*own, ReadOnly(around.binary.folder, BINARIES))


def _user_files(scenario: Scenario, caller: Caller) -> tuple[Mount, ...]:
    """Where the caller is not in the image's user database, one that has the caller."""
    root = _root(scenario)
    users, groups = (root and rootfs_mounts.inside(root, one) for one in _DATABASES)
    if users and user_files.knows(users, caller.uid):
        return ()
    texts = {"passwd": user_files.passwd(caller, users), "group": user_files.group(caller, groups)}
    return tuple(
        ReadOnly(user_files.stored(text), PurePosixPath("/etc", name))
        for name, text in texts.items()
    )


def _passed_files(scenario: Scenario, caller: Caller) -> tuple[Mount, ...]:
    paths = (_at_home(Path(one), caller.home) for one in scenario.pass_files)
    return tuple(ReadOnly(path, PurePosixPath(path)) for path in paths)


def _at_home(path: Path, home: Path) -> Path:
    return home.joinpath(*path.parts[1:]) if path.parts[0] == "~" else path


def environment_of(
    scenario: Scenario,
    around: Surroundings,
    services: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, str]:
    """Return all the variables that a scenario's script has."""
    given = around.caller.environment
    return {
        **{name: given[name] for name in _PASSED if name in given},
        **_identity(around.caller),
        "LANG": "C.UTF-8",
        "TERM": _terminal(given.get("TERM", "")),
        "GIT_CONFIG_SYSTEM": str(_GITCONFIG),
        "WG_SMOKE_SCENARIO": scenario.name,
        "WG_SMOKE_TIMEOUT_SECS": str(scenario.timeout_seconds),
        **services,
        **{name: _filled(value, services) for name, value in scenario.env.items()},
        **{name: given[name] for name in scenario.pass_env if name in given},
        **_finding_programs(scenario, around),
    }


def _filled(text: str, services: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda found: services.get(found[1], found[0]), text)


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
    path = scenario.env.get("PATH") or (
        given if scenario.image == HOST_IMAGE else rootfs_mounts.SEARCHED
    )
    if around.binary is None:
        return {"PATH": path}
    return {"PATH": f"{BINARIES}:{path}", "WG_BIN": str(BINARIES / KNOWN_AS)}


def _terminal(name: str) -> str:
    """A scenario's terminal is one it makes itself; it must be able to do something."""
    return name if name not in ("", "dumb") else "xterm-256color"
