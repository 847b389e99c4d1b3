"""The contract of every engine, as plain functions that take an engine and a bench.

A check returns, or raises `AssertionError` with a reason. It needs only bash and python3, among the
host's programs, which are the image of its sandboxes. To check a new engine, run `for check in
CONTRACT: check(engine, Bench(path))` with a new empty directory for each check. Each check is
also an attribute of this package, by its name.
"""

from isosmoke.testing.contract import (
    contents,
    endings,
    identity,
    keeper,
    lifecycle,
    limits,
    probe_commands,
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
    probe_commands,
    shells,
    keeper,
    limits,
    lifecycle,
)
"""The modules with checks; the cheap and most informative ones come first."""

CONTRACT: tuple[Check, ...] = tuple(
    check for subject in SUBJECTS for check in checks_of(subject.__name__)
)
"""Every check, by subject."""

_BY_NAME = {check.__name__: check for check in CONTRACT}


def __getattr__(name: str) -> Check:
    """Return the check of this name.

    Raises:
        AttributeError: If there is no such check.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise AttributeError(name) from None
