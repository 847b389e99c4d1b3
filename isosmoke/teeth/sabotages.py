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
    another one. `succeeds` returns whether it exits with 0, given whether the real call does.
    """

    works: bool
    output: str
    succeeds: Callable[[bool], bool]


_SILENT = "silent"
_PREVIOUS = "previous"

_BEHAVIOURS = {
    Sabotage.ABSENT: Behaviour(works=False, output=_SILENT, succeeds=lambda _: False),
    Sabotage.FAIL: Behaviour(works=False, output=_SILENT, succeeds=lambda _: False),
    Sabotage.NOOP: Behaviour(works=False, output=_SILENT, succeeds=lambda _: True),
    Sabotage.REPLAY: Behaviour(works=False, output="", succeeds=lambda real: real),
    Sabotage.MUTE: Behaviour(works=True, output=_SILENT, succeeds=lambda real: real),
    Sabotage.LIE: Behaviour(works=True, output="", succeeds=lambda real: not real),
    Sabotage.STALE: Behaviour(works=True, output=_PREVIOUS, succeeds=lambda real: real),
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
    if behaviour.output == _SILENT and not call.is_silent:
        yield _SILENT
    if behaviour.output == _PREVIOUS and number and not _has_same_output(*calls[number - 1 :][:2]):
        yield _PREVIOUS
    if call.status is None or behaviour.succeeds(call.status == 0) != (call.status == 0):
        yield f"exits {call.status is None or behaviour.succeeds(call.status == 0)}"


def _has_same_output(first: Call, second: Call) -> bool:
    pair = [[(output.size, output.digest) for output in call.outputs] for call in (first, second)]
    return first.is_observed and second.is_observed and pair[0] == pair[1]
