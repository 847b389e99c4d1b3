"""The construction of a scenario's job from its manifest entry and the context of the run."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

from isosmoke.caches.kept import get_directory
from isosmoke.caches.visible import Caches, find_caches
from isosmoke.engines.bubblewrap import group_places
from isosmoke.host.binary import COMMAND_NAME, Binary
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace, git_top
from isosmoke.manifest.models import Scenario
from isosmoke.redaction import Redactor, format_placeholder
from isosmoke.runner import bash_finder, mounts, ownership
from isosmoke.runner.secret_reader import read_secrets
from isosmoke.sandbox import rootfs_mounts, tool_homes
from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.sandbox.interpreter_data import Interpreter
from isosmoke.sandbox.spec import BINARIES, HOST_IMAGE, Job, Mount, ResourceLimits, SandboxSpec

_ALWAYS_PASSED = ("COLORTERM", "TZ", *tool_homes.VERSION_VARIABLES)
"""The caller's variables that every sandbox gets; `pass_env` and `plain_env` name further ones."""

_SPEC_KEYS = (
    *("image", "network", "limits", "capabilities", "new_namespaces"),
    *("cache", "pass_files", "plain_files"),
)
"""The keys of a scenario that change its sandbox, besides its name."""

_REFERENCE = re.compile(r"\$\{(\w+)\}")


class StandIns(Protocol):
    """Programs that take the place of the live binary in the sandboxes of some scenarios."""

    def list_mounts(self, scenario: Scenario, binary: Binary) -> tuple[Mount, ...]:
        """Return the mounts that replace that of the binary; none if the binary itself runs."""

    def collect(self, scenario: Scenario, changes: Mapping[PurePosixPath, Path]) -> None:
        """Read what the programs wrote in a sandbox, from the directories with its changes."""


@dataclass(frozen=True)
class RunContext:
    """The data that all scenarios of a run share; `command` replaces their scripts."""

    caller: Caller
    workspace: Workspace
    binary: Binary | None
    command: tuple[str, ...] = ()
    keeps_caches: bool = False
    copies: Path | None = None
    """A tree with copies of files at their own paths, which replace those of the workspace."""

    stand_ins: StandIns | None = None
    _redactors: dict[tuple[tuple[str, ...], ...], Redactor] = field(
        default_factory=dict, repr=False
    )
    _interpreters: dict[tuple[object, ...], Interpreter] = field(default_factory=dict, repr=False)
    _caches: dict[tuple[str, ...], Caches] = field(default_factory=dict, repr=False)
    _specs: dict[tuple[object, ...], SandboxSpec] = field(default_factory=dict, repr=False)

    def redactor(self, scenario: Scenario) -> Redactor:
        """Return the redactor of all secrets that are passed to a scenario.

        Raises:
            ManifestError: if a directory of secrets has far too many files.
        """
        key = (scenario.pass_env, scenario.pass_files, scenario.plain_files)
        if key not in self._redactors:
            self._redactors[key] = Redactor(read_secrets(scenario, self.caller))
        return self._redactors[key]

    def interpreter(self, scenario: Scenario) -> Interpreter:
        """Return the interpreter of a scenario's script, which is found and copied once.

        Raises:
            EngineError: if the scenario's image has no bash.
        """
        key = (scenario.image, scenario.folder, scenario.pass_files, scenario.plain_files)
        if key not in self._interpreters:
            hidden = tuple(mount.target for mount in self.list_added_mounts(scenario))
            bash = bash_finder.find(scenario.image, scenario.folder, hidden)
            self._interpreters[key] = bash_finder.copy(bash)
        return self._interpreters[key]

    def caches(self, scenario: Scenario) -> Caches:
        """Return the caches that a scenario sees, which are found once.

        Only a command sees what former commands in the same project added.
        """
        if not scenario.cache:
            return Caches()
        if scenario.cache not in self._caches:
            kept = get_directory(self.project) if self.command else None
            self._caches[scenario.cache] = find_caches(
                scenario.cache, self.caller, self.workspace, kept, creates=self.keeps_caches
            )
        return self._caches[scenario.cache]

    @property
    def project(self) -> Path:
        """The repository of the working directory, or that directory itself."""
        return git_top(self.workspace.working) or self.workspace.working

    @property
    def interpreters(self) -> tuple[Interpreter, ...]:
        """The interpreters that ran scripts so far, without duplicates."""
        return tuple(dict.fromkeys(self._interpreters.values()))

    def list_added_mounts(self, scenario: Scenario) -> tuple[Mount, ...]:
        """Return the mounts that a scenario's sandbox has in addition to its system."""
        replaced = self._list_stand_ins(scenario)
        added = mounts.list_added_mounts(
            scenario,
            self.caller,
            self.workspace,
            None if replaced else self.binary,
            copies=self.copies,
        )
        return (*added, *replaced)

    def _list_stand_ins(self, scenario: Scenario) -> tuple[Mount, ...]:
        """Return the mounts that replace that of the binary; none if the binary itself runs."""
        if self.stand_ins is None or self.binary is None:
            return ()
        return self.stand_ins.list_mounts(scenario, self.binary)

    def spec(self, scenario: Scenario) -> SandboxSpec:
        """Return the sandbox of a scenario, which is put together once for all that have the same.

        A label and a script change nothing else in a sandbox; stand-ins do.
        """
        return self._find_spec(scenario, (), _build_spec)

    def script_spec(self, scenario: Scenario, bash: Interpreter) -> SandboxSpec:
        """Return the sandbox of a scenario with its interpreter and the copies of its files."""
        return self._find_spec(scenario, (bash,), partial(_build_script_spec, bash))

    def _find_spec(
        self,
        scenario: Scenario,
        others: tuple[object, ...],
        build: Callable[[Scenario, "RunContext"], SandboxSpec],
    ) -> SandboxSpec:
        private = mounts.list_private_directories(self.workspace)  # a run creates its records
        keys = (getattr(scenario, name) for name in _SPEC_KEYS)
        stand_ins = self._list_stand_ins(scenario)
        key = (scenario.folder, *keys, *others, *private, *stand_ins)
        if key not in self._specs:
            self._specs[key] = build(scenario, self)
        return replace(self._specs[key], label=scenario.name)

    @cached_property
    def host(self) -> tuple[Mount, ...]:
        """The mounts of the host's image."""
        variables, home = self.caller.environment, self.caller.home
        path, sources = variables.get("PATH", os.defpath), set[Path]()
        if self.command:
            directories = (self.workspace.working, *self.workspace.directories)
            own = tool_homes.list_environments(self.command, directories)
            path = ":".join([*map(str, own), path])
            sources.update(tool_homes.list_python_roots(variables, home))
            sources.update(tool_homes.list_python_paths(variables, directories[0], home))
        return build_host_mounts(
            path,
            home,
            masked=self.caller.uid == 0,
            variables=variables,
            sources=sources,
        )

    @cached_property
    def owner_capabilities(self) -> tuple[str, ...]:
        """The capabilities that root needs because another user owns the workspace."""
        return ownership.find_needed_capabilities(self.caller, self.workspace.directories)

    @cached_property
    def writes_to_cgroup(self) -> bool:
        """True if the caller may write to its own control groups."""
        return group_places.is_writable_by(self.caller.uid)


def build_job(
    scenario: Scenario,
    argv: tuple[str, ...],
    context: RunContext,
    services: Mapping[str, str] = MappingProxyType({}),
) -> Job:
    """Return the job that runs `argv` in the sandbox of a scenario.

    `services` are the variables with the addresses of its services. In the scenario's own variables
    only the names in `services` are expanded from `${NAME}`.
    """
    return Job(
        spec=context.spec(scenario),
        argv=argv,
        folder=PurePosixPath(context.workspace.working),
        environment=build_environment(scenario, context, services),
        timeout=scenario.timeout_seconds,
        grace=scenario.grace_seconds,
        settle=scenario.settle_seconds,
    )


def build_command_job(
    scenario: Scenario,
    argv: tuple[str, ...],
    context: RunContext,
    services: Mapping[str, str] = MappingProxyType({}),
) -> Job:
    """Return the job that runs the user's command `argv` in place of a scenario's script."""
    return replace(build_job(scenario, argv, context, services), is_command=True)


def build_script_job(
    scenario: Scenario,
    context: RunContext,
    services: Mapping[str, str] = MappingProxyType({}),
) -> Job:
    """Return the job that runs a scenario's script with the interpreter of its image.

    Raises:
        EngineError: if the image has no interpreter.
    """
    bash = context.interpreter(scenario)
    job = build_job(scenario, (bash.path, str(scenario.script_path)), context, services)
    return replace(job, spec=context.script_spec(scenario, bash), search=bash.search)


def _build_script_spec(bash: Interpreter, scenario: Scenario, context: RunContext) -> SandboxSpec:
    spec = context.spec(scenario)
    copied = context.copies and mounts.list_copied_files(context.copies, spec.mounts)
    return replace(spec, mounts=(*spec.mounts, *(copied or ()), *bash.mounts))


def _build_spec(scenario: Scenario, context: RunContext) -> SandboxSpec:
    limits = scenario.limits
    added = (*context.list_added_mounts(scenario), *context.caches(scenario).mounts)
    host = context.host if scenario.image == HOST_IMAGE else ()
    added = (*added, *dict.fromkeys(mounts.list_links(context.workspace, (*host, *added))))
    targets = {mount.target for mount in added}
    system = mounts.list_system_mounts(scenario, context.workspace, host, targets)
    return SandboxSpec(
        label=scenario.name,
        image=scenario.image if mounts.find_image_root(scenario) is None else HOST_IMAGE,
        mounts=(*system, *added),
        uid=context.caller.uid,
        gid=context.caller.gid,
        network=scenario.network,
        limits=ResourceLimits(
            memory=limits.memory, processes=limits.processes, open_files=limits.open_files
        ),
        capabilities=tuple(dict.fromkeys((*scenario.capabilities, *context.owner_capabilities))),
        new_namespaces=scenario.new_namespaces,
        writes_to_cgroup=context.writes_to_cgroup,
    )


def build_environment(
    scenario: Scenario,
    context: RunContext,
    services: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, str]:
    """Return all environment variables of a scenario's script."""
    caller, given = context.caller, context.caller.environment
    return {
        **{name: given[name] for name in _list_passed(scenario, context) if name in given},
        **context.caches(scenario).variables,
        "HOME": str(caller.home),
        "USER": caller.user,
        "LOGNAME": caller.user,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": _choose_terminal(given.get("TERM", "")),
        "GIT_CONFIG_SYSTEM": str(mounts.GITCONFIG),
        "WG_SMOKE_SCENARIO": scenario.name,
        "WG_SMOKE_TIMEOUT_SECS": str(scenario.timeout_seconds),
        **services,
        **{name: _expand(value, services) for name, value in scenario.env.items()},
        **select_passed_variables(scenario, given),
        **_build_program_variables(scenario, context),
    }


def _list_passed(scenario: Scenario, context: RunContext) -> tuple[str, ...]:
    """Return the caller's variables that a sandbox gets: with the host's tools, their homes."""
    if scenario.image != HOST_IMAGE:
        return _ALWAYS_PASSED
    python = tool_homes.PYTHON_VARIABLES if context.command else ()
    return (*_ALWAYS_PASSED, *tool_homes.VARIABLES, *python)


def select_passed_variables(
    scenario: Scenario, environment: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the caller's variables that a scenario names, secret or not."""
    names = (*scenario.pass_env, *scenario.plain_env)
    return {name: environment[name] for name in names if name in environment}


def redact_environment(scenario: Scenario, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with a placeholder for each secret value."""
    return {
        name: format_placeholder(name) if name in scenario.pass_env else value
        for name, value in environment.items()
    }


def _expand(text: str, services: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda reference: services.get(reference[1], reference[0]), text)


def _choose_terminal(name: str) -> str:
    """Return a capable terminal type, as a script's own terminals differ from the caller's."""
    return name if name not in ("", "dumb") else "xterm-256color"


def _build_program_variables(scenario: Scenario, context: RunContext) -> Mapping[str, str]:
    """Return PATH, with the live binary first in any case, and the variable with its location."""
    given = context.caller.environment.get("PATH", os.defpath)
    path = scenario.env.get("PATH") or (
        given if scenario.image == HOST_IMAGE else rootfs_mounts.DEFAULT_PATH
    )
    if context.binary is None:
        return {"PATH": path}
    return {"PATH": f"{BINARIES}:{path}", "WG_BIN": str(BINARIES / COMMAND_NAME)}
