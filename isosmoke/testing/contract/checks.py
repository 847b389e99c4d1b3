"""The decorator that makes a function a check, and what checks have in common."""

from collections.abc import Callable
from typing import TypeVar

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Ending, Exited
from isosmoke.sandbox.spec import Job
from isosmoke.testing.bench import Bench, Seen, run

Check = Callable[[Engine, Bench], None]

DEATH_SECONDS = 20.0

PROMPT_SECONDS = 10.0
"""More than anything takes that is not waited for, less than what it would wait for."""

_Check = TypeVar("_Check", bound=Check)
_registered: dict[str, list[Check]] = {}


def check(function: _Check) -> _Check:
    """Add a function to the contract, after those that its module has already added."""
    _registered.setdefault(function.__module__, []).append(function)
    return function


def checks_of(module: str) -> tuple[Check, ...]:
    """Return the checks of an imported module, in the order of their definition."""
    return tuple(_registered[module])


def expect(*, that: object, words: str) -> None:
    """Raise `AssertionError` with these words unless `that` is true."""
    if not that:
        raise AssertionError(words)


def expect_ending(seen: Seen, wanted: Ending, words: str = "") -> None:
    """Raise `AssertionError` unless a job ended as wanted; `words` name the job."""
    if seen.ending != wanted:
        printed = seen.output.decode(errors="replace")
        raise AssertionError(f"{words}: {seen.ending}, not {wanted}; it printed: {printed}")


def expect_pass(engine: Engine, job: Job, words: str) -> Seen:
    """Run a job that exits 0 and leaves no process; `words` say what is wrong if it does not."""
    seen = run(engine, job)
    expect_ending(seen, Exited(0), words)
    expect(that=not seen.survivors, words=f"{words}: it left {seen.survivors}")
    return seen
