"""The sabotages of a subcommand, and which of them a scenario's calls cannot tell apart."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from isosmoke.dataclass import dataclass
from isosmoke.gate.proofs.teeth_cells import Sabotage
from isosmoke.teeth.calls.call_log import Call


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The behaviour of a sabotaged call, compared with the real one.

    `works` is true if it does the work. `output` is empty for the real output, else a word for
    another one. `exits` returns its exit code, given that of the real call.
    """

    works: bool
    output: str
    exits: Callable[[int], int]


_SILENT = "silent"
_PREVIOUS = "previous"

_MESSAGE = "message"

_BEHAVIOURS = {
    Sabotage.ABSENT: Behaviour(works=False, output=_MESSAGE, exits=lambda _: 127),
    Sabotage.FAIL: Behaviour(works=False, output=_SILENT, exits=lambda _: 1),
    Sabotage.NOOP: Behaviour(works=False, output=_SILENT, exits=lambda _: 0),
    Sabotage.REPLAY: Behaviour(works=False, output="", exits=lambda code: code),
    Sabotage.MUTE: Behaviour(works=True, output=_SILENT, exits=lambda code: code),
    Sabotage.LIE: Behaviour(works=True, output="", exits=lambda code: int(code == 0)),
    Sabotage.STALE: Behaviour(works=True, output=_PREVIOUS, exits=lambda code: code),
}
"""The sabotages that differ from the real binary in these three respects and in no other."""

STAGES: Sequence[Sequence[Sabotage]] = (
    (Sabotage.ABSENT, Sabotage.AGAINST, Sabotage.ORPHAN),
    (Sabotage.FAIL,),
    (Sabotage.NOOP,),
    (Sabotage.REPLAY, Sabotage.MUTE, Sabotage.LIE, Sabotage.STALE),
    (Sabotage.HANG,),
)
"""All sabotages; a survivor of a stage can imply those of later ones."""


def find_unusable(sabotage: Sabotage, calls: Sequence[Call]) -> str:
    """Return why a sabotage cannot be applied to these calls; empty if it can."""
    if sabotage is Sabotage.REPLAY and not all(_is_replayable(call) for call in calls):
        return "its calls have no recorded answer: a terminal, a large output, or no end"
    return ""


def _is_replayable(call: Call) -> bool:
    return call.is_observed and call.status is not None


def is_equivalent(sabotage: Sabotage, calls: Sequence[Call]) -> bool:
    """Return whether a sabotage changes nothing that a scenario with these calls can observe.

    An effect that is unknown is possible, so it counts as one.
    """
    behaviour = _BEHAVIOURS.get(sabotage)
    return behaviour is not None and not any(_list_differences(behaviour, calls))


def list_changed_calls(sabotage: Sabotage, calls: Sequence[Call]) -> AbstractSet[int]:
    """Return the numbers of the calls, from 0, whose sabotage a scenario may observe."""
    behaviour = _BEHAVIOURS.get(sabotage)
    if behaviour is None:
        return set(range(len(calls)))
    return {number for number, _ in _list_differences(behaviour, calls)}


def is_implied(sabotage: Sabotage, survivor: Sabotage, calls: Sequence[Call]) -> bool:
    """Return whether a scenario that did not notice `survivor` cannot notice `sabotage`.

    That is so if each respect in which the calls differ from the real ones is the same in both.
    """
    behaviour, stronger = _BEHAVIOURS.get(sabotage), _BEHAVIOURS.get(survivor)
    if behaviour is None or stronger is None:
        return False
    return _list_differences(behaviour, calls) <= _list_differences(stronger, calls)


def _list_differences(behaviour: Behaviour, calls: Sequence[Call]) -> AbstractSet[tuple[int, str]]:
    """Return the observable differences from the real calls: the number of a call and a word."""
    return {
        (number, difference)
        for number, call in enumerate(calls)
        for difference in _compare(behaviour, call, number, calls)
    }


def _compare(behaviour: Behaviour, call: Call, number: int, calls: Sequence[Call]) -> Iterator[str]:
    if not behaviour.works and not call.has_no_effects:
        yield "work"
    if behaviour.output in (_SILENT, _MESSAGE) and not call.is_silent:
        yield _SILENT
    if behaviour.output == _MESSAGE and call.kinds[2] not in ("null", "closed"):
        yield _MESSAGE
    if behaviour.output == _PREVIOUS and number and not _has_same_output(*calls[number - 1 :][:2]):
        yield _PREVIOUS
    yield from _compare_codes(behaviour, call.status)


def _compare_codes(behaviour: Behaviour, code: int | None) -> Iterator[str]:
    """Yield the difference of the exit codes; most scripts only distinguish 0 from others."""
    exits = None if code is None else behaviour.exits(code)
    if exits is None:
        yield "exits True"
    elif (exits == 0) != (code == 0):
        yield f"exits {exits == 0}"
    elif exits != code:
        yield "exits with another code"


def _has_same_output(first: Call, second: Call) -> bool:
    pair = [[(output.size, output.digest) for output in call.outputs] for call in (first, second)]
    return first.is_observed and second.is_observed and pair[0] == pair[1]
