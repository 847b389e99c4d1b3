"""Command lines that repeat a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from isosmoke.results.run_record import RunRecord
from isosmoke.text import restore_bytes

Repeat = Callable[[str], tuple[str, ...]]
"""A function that takes the name of a scenario and returns the command line that repeats it."""

COMMAND_TIMEOUT_SECONDS = 3600
"""The timeout of a command, or of another scenario without a manifest, in seconds."""

_SEPARATOR = "+"
"""The separator between engine names, if scenarios ran in different engines."""


def build_run_command(
    *arguments: str,
    manifest: str = "",
    binary: str = "",
    engine: str = "",
    daemon: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return an `isosmoke run` command line with the given options.

    `arguments` are names of scenarios, or `--` and a command. Empty options are omitted.
    """
    options = {"--manifest": manifest, "--binary": binary, "--engine": engine}
    option_arguments = [part for name, value in options.items() if value for part in (name, value)]
    return ("isosmoke", *daemon, "run", *option_arguments, *arguments)


def get_engine(run: RunRecord) -> str:
    """Return the engine of all scenarios of `run`; empty if there were several."""
    return parse_engine(run.engine)


def parse_engine(text: str) -> str:
    """Return the engine named in a record or receipt; empty if there are several."""
    return "" if _SEPARATOR in text else text


def build_repeat_command(run: RunRecord, name: str) -> tuple[str, ...]:
    """Return the command line that repeats scenario `name` in the working directory of `run`."""
    if not run.command:
        return _build_command(run, name)
    entry = next((scenario.entry for scenario in run.scenarios if scenario.name == name), {})
    return _build_command(run, *list_command_options(entry), "--", *run.argv)


def list_command_options(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of `isosmoke run` that a command has, from its manifest entry as JSON."""
    limits = entry.get("limits", {})
    single = {
        "--timeout": (entry.get("timeout_seconds"), COMMAND_TIMEOUT_SECONDS),
        "--image": (entry.get("image"), "host"),
        "--network": (entry.get("network"), "host"),
        "--memory": (limits.get("memory"), None),
        "--processes": (limits.get("processes"), None),
    }
    for option, (value, default) in single.items():
        if value is not None and value != default:
            yield from (option, str(value))
    if entry.get("image") == "host" and entry.get("cache", True) in ([], ()):
        yield "--no-cache"
    for name, value in entry.get("env", {}).items():
        yield from ("--env", f"{name}={value}")
    for option, key in (("--pass-env", "pass_env"), ("--pass-file", "pass_files")):
        for value in entry.get(key, ()):
            yield from (option, value)


def _build_command(run: RunRecord, *arguments: str) -> tuple[str, ...]:
    """Return an `isosmoke run` command line with the options of `run`."""
    return build_run_command(
        *arguments,
        manifest=str(run.manifest_path or ""),
        binary=restore_bytes(run.binary.path) if run.binary else "",
        engine=get_engine(run),
        daemon=run.daemon,
    )


def build_rerun_command(run: RunRecord) -> tuple[str, ...]:
    """Return the command line that runs the scenarios of `run` that failed or did not run."""
    command = _build_command(run)
    options = len(run.daemon) + 2
    return (*command[:options], "--rerun", run.id, *command[options:])
