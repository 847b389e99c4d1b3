"""Settings in the environment or in a manifest that may change a verdict, to warn or explain."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from isosmoke.host import path_warnings, system_programs, workspace_directories
from isosmoke.host.binary import COMMAND_NAME, HOW_TO_NAME
from isosmoke.host.workspace_directories import Workspace, contains_home
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox import tool_homes
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite, Mount, ReadOnly
from isosmoke.text import shorten

_SHOWN = 3
_READ_BY_BASH = frozenset(("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND"))
_READ_BY_EVERYTHING = "LD_"
_FUNCTION = "BASH_FUNC_"


def collect_warnings(
    context: RunContext,
    scenarios: Sequence[Scenario],
    named_binary: str | None,
    *,
    is_command: bool = False,
) -> tuple[str, ...]:
    """Return a warning for each kind of influence on these scenarios.

    `named_binary` is the value of the `--binary` option; None without that option. A command that
    the user typed (`is_command`) is meant to use the user's PATH as it is.
    """
    return (
        *(() if is_command else check_path(context, scenarios)),
        *_check_tool_homes(context, scenarios),
        *_check_binary(context, named_binary),
        *_check_repositories(context.workspace),
        *check_variables(scenarios),
    )


def check_path(context: RunContext, scenarios: Sequence[Scenario] = ()) -> Iterator[str]:
    """Yield warnings about the caller's PATH, and about the PATH of scenarios on the host."""
    caller, workspace = context.caller, context.workspace
    given = caller.environment.get("PATH", "")
    own = (
        scenario.env["PATH"]
        for scenario in scenarios
        if scenario.image == HOST_IMAGE and scenario.env.get("PATH")
    )
    directories = (*workspace.directories, workspace.working)
    seen: dict[str, None] = {}
    for path in dict.fromkeys((given, *own)):
        entries = system_programs.read_entries(path, caller.working, directories)
        seen.update(dict.fromkeys(path_warnings.find_warnings(entries)))
    yield from seen


def _check_tool_homes(context: RunContext, scenarios: Sequence[Scenario]) -> Iterator[str]:
    """Yield a warning about variables that name tools which no sandbox can show."""
    if any(scenario.image == HOST_IMAGE for scenario in scenarios):
        yield from _describe_hidden_homes(context)


def _describe_hidden_homes(context: RunContext) -> Iterator[str]:
    hidden = tuple(tool_homes.list_hidden(context.caller.environment, context.caller.home))
    if hidden:
        shown = shorten(", ".join(hidden), 160)
        yield f"the tools of {shown} are missing in a sandbox, because HOME is in that directory"


def explain_missing_program(program: str, scenario: Scenario, context: RunContext) -> str:
    """Return why a sandbox does not have a program; empty if this machine does not have it either.

    `program` is its name or path, as a script used it.
    """
    if program == COMMAND_NAME and context.binary is None:
        return f"no live {COMMAND_NAME} was found: {HOW_TO_NAME}"
    if scenario.image != HOST_IMAGE:
        return ""
    path = scenario.env.get("PATH") or context.caller.environment.get("PATH", "")
    found = shutil.which(program, path=path)
    if found is None or not Path(found).is_absolute():
        return next(_describe_hidden_homes(context), "")
    return _explain_hidden_file(Path(found), scenario, context)


def _explain_hidden_file(file: Path, scenario: Scenario, context: RunContext) -> str:
    """Return why a sandbox does not have a file of this machine; empty if it has it."""
    mounts = (*context.host, *context.list_added_mounts(scenario))
    for path in (file, file.resolve()):
        if not _is_shown(PurePosixPath(path), mounts):
            home = (
                " because HOME is in it" if contains_home(path.parent, context.caller.home) else ""
            )
            return f"{path} exists, but a sandbox does not have its directory{home}"
    return ""


def _is_shown(path: PurePosixPath, mounts: Sequence[Mount]) -> bool:
    """Return whether the innermost mount over a path has files of this machine."""
    over = [mount for mount in mounts if path.is_relative_to(mount.target)]
    innermost = max(over, key=lambda mount: len(mount.target.parts), default=None)
    return isinstance(innermost, ReadOnly | CopyOnWrite)


def check_variables(scenarios: Sequence[Scenario]) -> Iterator[str]:
    """Yield a warning about variables that make bash or the loader run other code first."""
    affected = [
        f"{scenario.name} ({', '.join(names)})"
        for scenario in scenarios
        if (names := [name for name in _list_variables(scenario) if _can_run_code(name)])
    ]
    if affected:
        more = len(affected) - _SHOWN
        rest = f" (+{more} more)" if more > 0 else ""
        shown = ", ".join(affected[:_SHOWN])
        yield shorten(f"variables make other code run before the script of {shown}{rest}")


def _list_variables(scenario: Scenario) -> Iterator[str]:
    yield from dict.fromkeys((*scenario.env, *scenario.pass_env, *scenario.plain_env))


def _can_run_code(name: str) -> bool:
    return name in _READ_BY_BASH or name.startswith((_READ_BY_EVERYTHING, _FUNCTION))


def _check_repositories(workspace: Workspace) -> Iterator[str]:
    """Yield a warning about each work tree whose git directory is missing."""
    for top in workspace_directories.find_missing_repositories(workspace):
        yield (
            f"{shorten(str(top), 160)} is a work tree of a git repository that is missing, and is "
            "used without git: run git worktree repair in the repository, or remove the file .git"
        )


def _check_binary(context: RunContext, named: str | None) -> Iterator[str]:
    """Yield a warning if PATH found the binary under test in the workspace."""
    tested = context.binary
    if tested is None or named or context.caller.environment.get("ISOSMOKE_WG"):
        return
    paths = (tested.source, tested.source.resolve())
    if any(
        path.is_relative_to(directory)
        for path in paths
        for directory in context.workspace.directories
    ):
        yield (
            f"the {COMMAND_NAME} under test was found in the workspace by PATH: "
            f"{shorten(str(tested.source), 160)} (sha256 {tested.sha256[:12]})"
        )


def check_gate_programs(environment: Mapping[str, str], working: Path) -> Iterator[str]:
    """Yield warnings if wg would run a shim with programs that are not the system's.

    Wg runs `timeout … bash SHIM`: a replacement of either can exit with any code without a verdict.
    """
    entries = system_programs.read_entries(environment.get("PATH", ""), working, ())
    for name in ("bash", "timeout"):
        first = next((entry for entry in entries if name in entry.programs), None)
        if first is not None and not first.is_system:
            yield f"wg would run its scenarios with {name} of {first.shown}, not the system's"
    variables = [name for name in environment if name in ("BASH_ENV", "SHELLOPTS", "BASHOPTS")]
    variables += [name for name in environment if name.startswith(_FUNCTION)]
    if variables:
        yield f"wg would run its scenarios with {', '.join(sorted(variables)[:_SHOWN])} set"
