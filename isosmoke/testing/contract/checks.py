"""The decorator that registers a check, and assertions that checks share."""

from collections.abc import Callable
from typing import TypeVar

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Ending, Exited
from isosmoke.sandbox.spec import Job
from isosmoke.testing.bench import Bench, JobResult, run

Check = Callable[[Engine, Bench], None]

DEATH_SECONDS = 60.0

PROMPT_SECONDS = 60.0
"""Longer than any operation without a wait takes, shorter than the waits in the checks."""

_Check = TypeVar("_Check", bound=Check)
_registered: dict[str, list[Check]] = {}


def check(function: _Check) -> _Check:
    """Add a function to the contract, after the earlier checks of its module."""
    _registered.setdefault(function.__module__, []).append(function)
    return function


def checks_of(module: str) -> tuple[Check, ...]:
    """Return the checks of an imported module, in the order of their definition."""
    return tuple(_registered[module])


def expect(*, that: object, message: str) -> None:
    """Raise `AssertionError` with this message unless `that` is true."""
    if not that:
        raise AssertionError(message)


def expect_ending(result: JobResult, expected: Ending, message: str = "") -> None:
    """Raise `AssertionError` unless a job ended as expected; `message` describes the job."""
    if result.ending != expected:
        printed = result.output.decode(errors="replace")
        raise AssertionError(f"{message}: {result.ending}, not {expected}; it printed: {printed}")


def expect_pass(engine: Engine, job: Job, message: str) -> JobResult:
    """Run a job that must exit 0 and leave no process; `message` describes a failure."""
    result = run(engine, job)
    expect_ending(result, Exited(0), message)
    expect(that=not result.survivors, message=f"{message}: it left {result.survivors}")
    return result
