"""The effects of calls, as a traced run of the same scenario showed them (pure)."""

from collections.abc import Sequence
from dataclasses import replace

from isosmoke.teeth.calls.call_log import Call


def add_effects(calls: Sequence[Call], watched: Sequence[Call]) -> tuple[Call, ...]:
    """Return the calls with the effects of the traced calls that correspond to them.

    Those are the calls with the same arguments; arguments such as a temporary path differ in each
    run, and then those of the same subcommand. Without such a call the effects stay unknown.
    """
    return tuple(replace(call, effects=_find_effects(call, watched)) for call in calls)


def _find_effects(call: Call, watched: Sequence[Call]) -> str | None:
    """Return the first effect of the corresponding calls; None if one of them is unknown."""
    same = [other for other in watched if other.arguments == call.arguments]
    found = [other.effects for other in same or watched if other.name == call.name]
    if not found or None in found:
        return None
    return next(filter(None, found), "")
