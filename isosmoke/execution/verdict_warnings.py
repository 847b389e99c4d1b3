"""What in the caller's surroundings or in a manifest may change a verdict: named, never silent."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from isosmoke.host import search_path, system_programs
from isosmoke.host.binary import KNOWN_AS
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox.spec import HOST_IMAGE
from isosmoke.text import shortened

_SHOWN = 3
_READ_BY_BASH = frozenset(("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND"))
_READ_BY_EVERYTHING = "LD_"
_FUNCTION = "BASH_FUNC_"


def warnings(
    context: RunContext, scenarios: Sequence[Scenario], named_binary: str | None
) -> tuple[str, ...]:
    """Return a line for each kind of influence on these scenarios; none where there is nothing.

    `named_binary` is the one that an option names, None where it is looked for.
    """
    return (
        *of_path(context, scenarios),
        *_of_binary(context, named_binary),
        *of_variables(scenarios),
    )


def of_path(context: RunContext, scenarios: Sequence[Scenario] = ()) -> Iterator[str]:
    """What is to be known of the caller's PATH, and of one that a scenario sets on the host."""
    caller, workspace = context.caller, context.workspace
    given = caller.environment.get("PATH", "")
    own = (one.env["PATH"] for one in scenarios if one.image == HOST_IMAGE and one.env.get("PATH"))
    folders = (*workspace.folders, workspace.working)
    seen: dict[str, None] = {}
    for path in dict.fromkeys((given, *own)):
        entries = system_programs.entries(path, caller.working, folders)
        seen.update(dict.fromkeys(search_path.warnings(entries)))
    yield from seen


def of_variables(scenarios: Sequence[Scenario]) -> Iterator[str]:
    """The variables by which a scenario makes bash, or the loader, run other code first."""
    found = [
        f"{one.name} ({', '.join(names)})"
        for one in scenarios
        if (names := [name for name in (*one.env, *one.pass_env) if _decides(name)])
    ]
    if found:
        more = len(found) - _SHOWN
        rest = f" (+{more} more)" if more > 0 else ""
        yield shortened(
            f"variables make other code run before the script of {', '.join(found[:_SHOWN])}{rest}"
        )


def _decides(name: str) -> bool:
    return name in _READ_BY_BASH or name.startswith((_READ_BY_EVERYTHING, _FUNCTION))


def _of_binary(context: RunContext, named: str | None) -> Iterator[str]:
    """A program that is tested by what PATH says must not be somebody's stand-in unseen."""
    tested = context.binary
    if tested is None or named or context.caller.environment.get("ISOSMOKE_WG"):
        return
    places = (tested.source, tested.source.resolve())
    if any(one.is_relative_to(folder) for one in places for folder in context.workspace.folders):
        yield (
            f"the {KNOWN_AS} that is tested comes from the workspace by PATH: "
            f"{shortened(str(tested.source), 160)} (sha256 {tested.sha256[:12]})"
        )


def of_gate_programs(environment: Mapping[str, str], working: Path) -> Iterator[str]:
    """The programs by which wg would run a shim, where PATH has others than the system's.

    Wg runs `timeout … bash SHIM`: a stand-in for either ends as it likes and asks for no verdict.
    """
    entries = system_programs.entries(environment.get("PATH", ""), working, ())
    for name in ("bash", "timeout"):
        first = next((one for one in entries if name in one.programs), None)
        if first is not None and not first.is_system:
            yield f"wg would run its scenarios by {name} of {first.shown}, not by the system's"
    set_here = [name for name in environment if name in ("BASH_ENV", "SHELLOPTS", "BASHOPTS")]
    set_here += [name for name in environment if name.startswith(_FUNCTION)]
    if set_here:
        yield f"wg would run its scenarios with {', '.join(sorted(set_here)[:_SHOWN])} set"
