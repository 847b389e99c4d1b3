"""The environment variables of a scenario's script."""

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from isosmoke.host.binary import COMMAND_NAME
from isosmoke.manifest.models import Scenario
from isosmoke.redaction import format_placeholder
from isosmoke.runner import mounts
from isosmoke.sandbox import rootfs_mounts, tool_homes
from isosmoke.sandbox.spec import BINARIES, HOST_IMAGE

if TYPE_CHECKING:
    from isosmoke.runner.job_builder import RunContext

_ALWAYS_PASSED = ("COLORTERM", "TZ", *tool_homes.VERSION_VARIABLES)
"""The caller's variables that every sandbox gets; `pass_env` and `plain_env` name further ones."""

_REFERENCE = re.compile(r"\$\{(\w+)\}")


def build_environment(
    scenario: Scenario,
    context: "RunContext",
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


def _list_passed(scenario: Scenario, context: "RunContext") -> tuple[str, ...]:
    """Return the caller's variables that a sandbox gets: with the host's tools, their homes."""
    if scenario.image != HOST_IMAGE:
        return _ALWAYS_PASSED
    python = tool_homes.PYTHON_VARIABLES if context.command else ()
    return (*_ALWAYS_PASSED, *tool_homes.VARIABLES, *python)


def list_passed_variables(scenario: Scenario, context: "RunContext") -> tuple[str, ...]:
    """Return the names of the caller's variables that a script receives."""
    return (*_list_passed(scenario, context), *scenario.pass_env, *scenario.plain_env)


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


def _build_program_variables(scenario: Scenario, context: "RunContext") -> Mapping[str, str]:
    """Return PATH, with the live binary first in any case, and the variable with its location."""
    given = context.caller.environment.get("PATH", os.defpath)
    path = scenario.env.get("PATH") or (
        given if scenario.image == HOST_IMAGE else rootfs_mounts.DEFAULT_PATH
    )
    if context.binary is None:
        return {"PATH": path}
    return {"PATH": f"{BINARIES}:{path}", "WG_BIN": str(BINARIES / COMMAND_NAME)}
