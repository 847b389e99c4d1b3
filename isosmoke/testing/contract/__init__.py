"""The promises of every engine, as plain functions: each takes an engine and a bench.

A check returns, or raises `AssertionError` with a reason. It needs bash and python3 among the
host's own programs, which are the sandbox's image, and nothing else: run them all over a new engine
with `for check in CONTRACT: check(engine, Bench(folder))`, each with an empty folder of its own.
Each check is also an attribute of this package, by its name.
"""

from isosmoke.testing.contract import (
    contents,
    endings,
    identity,
    keeper,
    lifecycle,
    limits,
    probes,
    shells,
    survivors,
)
from isosmoke.testing.contract.checks import Check, checks_of

__all__ = ["CONTRACT", "SUBJECTS", "Check"]

SUBJECTS = (
    contents,
    identity,
    endings,
    survivors,
    probes,
    shells,
    keeper,
    limits,
    lifecycle,
)
"""The modules with checks, the cheap and telling ones first."""

CONTRACT: tuple[Check, ...] = tuple(
    check for subject in SUBJECTS for check in checks_of(subject.__name__)
)
"""Every check, by subject."""

_BY_NAME = {check.__name__: check for check in CONTRACT}


def __getattr__(name: str) -> Check:
    """Return the check of this name.

    Raises:
        AttributeError: if there is none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise AttributeError(name) from None
