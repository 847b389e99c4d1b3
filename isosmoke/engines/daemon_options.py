"""The options that select a daemon: as variables of a process, and as arguments of a command."""

from collections.abc import Mapping

from isosmoke.errors import UsageError

HOST, CONTEXT = "ISOSMOKE_HOST", "ISOSMOKE_CONTEXT"
OPTIONS = {HOST: "--host", CONTEXT: "--context"}


def build_variables(host: str | None, context: str | None) -> Mapping[str, str]:
    """Return variables that pass these options to the whole process and its children."""
    if host and context:
        raise UsageError("--host and --context cannot be combined", hint="pass only one of them")
    return {HOST: host or "", CONTEXT: context or ""}


def build_arguments(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the arguments that select the same daemon on another command line."""
    values = ((option, environment.get(name)) for name, option in OPTIONS.items())
    return tuple(argument for option, value in values if value for argument in (option, value))
