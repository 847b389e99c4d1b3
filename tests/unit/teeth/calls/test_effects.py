"""The effects of calls, from the calls of another run."""

from isosmoke.teeth.calls import effects
from support.call_factories import create_call

WRITER = create_call(arguments=1, effects="wrote x")
READER = create_call(arguments=2, effects="")
CALLS = tuple(create_call(arguments=number, effects=None) for number in (1, 2, 3))


def test_effects_are_those_of_the_same_arguments() -> None:
    """A call has the effects of the calls with its arguments, else of those with its name."""
    found = effects.add_effects(CALLS, (WRITER, READER))

    assert [call.effects for call in found] == ["wrote x", "", "wrote x"]


def test_effects_stay_unknown() -> None:
    """Effects are unknown without a call of the same name, and if that call was not traced."""
    other = create_call(name="other", effects="")
    untraced = create_call(effects=None)

    assert [call.effects for call in effects.add_effects(CALLS, (other,))] == [None] * 3
    assert effects.add_effects(CALLS, (READER, untraced))[0].effects is None
