"""Division of scenarios into shards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.errors import UsageError
from isosmoke.manifest.partition import Shard, divide, parse_shard

NAMES = st.lists(st.text(min_size=1, max_size=9), max_size=40, unique=True)
SECONDS = st.dictionaries(st.text(min_size=1, max_size=9), st.floats(0, 1e6), max_size=40)


def load(shards: dict[str, int], seconds: dict[str, float], total: int) -> list[float]:
    """Return the time of each shard."""
    return [
        sum(seconds[name] for name, number in shards.items() if number == shard)
        for shard in range(1, total + 1)
    ]


@pytest.mark.parametrize(("text", "shard"), [("1/1", Shard(1, 1)), ("2/5", Shard(2, 5))])
def test_shard_is_parsed(text: str, shard: Shard) -> None:
    """A shard is a number and a total, and is written the same way."""
    assert parse_shard(text) == shard
    assert str(shard) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("0/5", "--shard 1/5 to --shard 5/5"),
        ("6/5", "--shard 1/5 to --shard 5/5"),
        ("1/0", "--shard 1/1 to --shard 1/1"),
        ("2of5", "second of five"),
        ("2/", "second of five"),
        ("-1/5", "second of five"),
        ("+1/5", "second of five"),
        ("1/99999", "second of five"),
        ("1/5\n", "second of five"),
        ("\uff11/5", "second of five"),
        ("", "second of five"),
    ],
)
def test_bad_shard_is_an_error_with_a_hint(text: str, hint: str) -> None:
    """A value that is no shard is refused, and the error says how to write one."""
    with pytest.raises(UsageError, match="--shard") as caught:
        parse_shard(text)

    assert hint in caught.value.hint


@given(NAMES, st.integers(1, 12), st.none() | SECONDS, st.randoms())
def test_every_name_is_in_one_shard_in_any_order(
    names: list[str], total: int, seconds: dict[str, float] | None, random: st.DataObject
) -> None:
    """Each name has one shard from 1 to the total, whatever the order of the names."""
    shards = divide(names, total, seconds)
    shuffled = [*names]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert shards.keys() == {*names}
    assert all(1 <= number <= total for number in shards.values())
    assert divide(shuffled, total, seconds) == shards


@given(NAMES, st.integers(1, 12))
def test_shards_have_equal_numbers_without_durations(names: list[str], total: int) -> None:
    """Without durations, the sizes of shards differ by one at most."""
    shards = [*divide(names, total).values()]
    sizes = [shards.count(number) for number in range(1, total + 1)]

    assert max(sizes) - min(sizes) <= 1


@given(st.dictionaries(st.text(max_size=9), st.integers(0, 999), min_size=1), st.integers(1, 6))
def test_shards_take_equally_long_with_durations(seconds: dict[str, float], total: int) -> None:
    """With durations, no shard takes longer than another by more than one scenario."""
    loads = load(dict(divide(seconds, total, seconds)), seconds, total)

    assert max(loads) - min(loads) <= max(seconds.values())


def test_long_scenarios_are_alone() -> None:
    """A scenario that takes as long as all others is in a shard without them."""
    seconds = {"long": 60.0, **{f"short{number}": 1.0 for number in range(60)}}

    shards = divide(seconds, 2, seconds)

    assert [name for name, number in shards.items() if number == shards["long"]] == ["long"]


def test_unknown_scenario_counts_as_the_median() -> None:
    """A scenario without a duration is as long as usual, and not as if it took no time."""
    known = {"a": 10.0, "b": 10.0, "c": 10.0}

    shards = divide(("a", "b", "c", "new"), 2, known)

    assert sorted(shards.values()) == [1, 1, 2, 2]


def test_scenarios_without_duration_are_spread() -> None:
    """Scenarios that take no time are divided by number."""
    names = [f"name{number}" for number in range(9)]

    shards = divide(names, 3, dict.fromkeys(names, 0.0))

    assert sorted(shards.values()) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_division_is_that_of_every_version() -> None:
    """The division of these names is fixed: shards of two versions would not fit together."""
    names = ("alpha", "beta", "gamma", "delta", "epsilon")

    assert divide(names, 2) == {"alpha": 1, "beta": 1, "delta": 1, "epsilon": 2, "gamma": 2}
    assert divide(names, 2, {"alpha": 3, "beta": 1}) == {
        "alpha": 1,
        "beta": 2,
        "delta": 2,
        "epsilon": 2,
        "gamma": 1,
    }
