"""The construction of a scenario's job from its manifest entry and the context of the run."""

import os
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

from isosmoke.caches.kept import get_directory
from isosmoke.caches.visible import Caches, find_caches
from isosmoke.dataclass import dataclass
from isosmoke.engines.bubblewrap import group_places
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace, git_top
from isosmoke.manifest.models import Scenario
from isosmoke.redaction import Redactor
from isosmoke.runner import bash_finder, foreign_workspace, mounts
from isosmoke.runner.environment import build_environment
from isosmoke.runner.secret_reader import read_secrets
from isosmoke.sandbox import tool_homes
from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.sandbox.script_interpreter import Interpreter
from isosmoke.sandbox.spec import HOST_IMAGE, Job, Mount, ResourceLimits, SandboxSpec

_SPEC_KEYS = (
    *("image", "network", "limits", "capabilities", "new_namespaces"),
    *("cache", "pass_files", "plain_files"),
)
"""The keys of a scenario that change its sandbox, besides its name."""


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
    recalls: bool = False
    """True if facts about this machine may come from earlier runs."""

    copies: Path | None = None
    """A tree with copies of files at their own paths, which replace those of the workspace."""

    stand_ins: StandIns | None = None
    sources: Mapping[Path, Path] = field(default_factory=dict)
    """The paths on this machine with the content of paths of the caller's machine."""

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
            self._redactors[key] = Redactor(
                read_secrets(scenario, self.caller, sources=self.sources)
            )
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

    def locate(self, path: Path) -> Path:
        """Return where this machine has a file or directory of the caller's machine."""
        return mounts.locate(path, self.sources)

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
        replaced = self.list_stand_ins(scenario)
        added = mounts.list_added_mounts(
            scenario,
            self.caller,
            self.workspace,
            None if replaced else self.binary,
            copies=self.copies,
            sources=self.sources,
        )
        return (*added, *replaced)

    def list_stand_ins(self, scenario: Scenario) -> tuple[Mount, ...]:
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
        stand_ins = self.list_stand_ins(scenario)
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
        shown = build_host_mounts(
            path,
            home,
            masked=self.caller.uid == 0,
            variables=variables,
            sources=sources,
            recall=self.recalls,
        )
        return (*shown, *mounts.mask_keys(shown))

    @cached_property
    def owner_capabilities(self) -> tuple[str, ...]:
        """The capabilities that root needs because another user owns the workspace."""
        directories = map(self.locate, self.workspace.directories)
        return foreign_workspace.find_needed_capabilities(self.caller, directories)

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
    return _build_job(scenario, argv, context, services, spec=context.spec(scenario))


def _build_job(
    scenario: Scenario,
    argv: tuple[str, ...],
    context: RunContext,
    services: Mapping[str, str],
    *,
    spec: SandboxSpec,
) -> Job:
    return Job(
        spec=spec,
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
    spec, argv = context.script_spec(scenario, bash), (bash.path, str(scenario.script_path))
    return replace(_build_job(scenario, argv, context, services, spec=spec), search=bash.search)


def find_spec(scenario: Scenario, argv: tuple[str, ...], context: RunContext) -> SandboxSpec:
    """Return the sandbox of the job that runs `argv`, or if it is empty, the scenario's script.

    Raises:
        EngineError: if the image has no interpreter for a script.
    """
    if argv:
        return context.spec(scenario)
    return context.script_spec(scenario, context.interpreter(scenario))


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
