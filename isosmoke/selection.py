"""Which scenarios of a manifest a command is about."""

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from isosmoke.errors import NothingSelectedError


class Selectable(Protocol):
    """What selecting reads of a scenario."""

    @property
    def name(self) -> str: ...
    @property
    def owners(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=Selectable)


def select(
    scenarios: Iterable[S], names: Collection[str] = (), owners: Collection[str] = ()
) -> tuple[S, ...]:
    """The scenarios that have any of `names` and any of `owners`, in their own order.

    A name is exact or a glob such as `daemon_*`; an owner is exact. None given means any.

    Raises:
        NothingSelectedError: if nothing is left, or a name, glob or owner matches nothing at all.
    """
    known = tuple(scenarios)
    if unmatched := [*_unnamed(known, names), *_unowned(known, owners)]:
        hint = "`isosmoke list` shows every scenario and its owners"
        raise NothingSelectedError("\n".join(unmatched), hint)
    chosen = tuple(one for one in known if _is_named(one, names) and _is_owned(one, owners))
    if not chosen:
        raise _nothing(names, owners)
    return chosen


def _is_named(scenario: Selectable, names: Collection[str]) -> bool:
    return not names or any(fnmatchcase(scenario.name, name) for name in names)


def _is_owned(scenario: Selectable, owners: Collection[str]) -> bool:
    return not owners or any(owner in owners for owner in scenario.owners)


def _unnamed(scenarios: Collection[Selectable], names: Collection[str]) -> Iterator[str]:
    known = [one.name for one in scenarios]
    for name in names:
        if not any(fnmatchcase(one, name) for one in known):
            yield f"no scenario is named {name!r}{meant(name, known)}"


def _unowned(scenarios: Collection[Selectable], owners: Collection[str]) -> Iterator[str]:
    known = {owner for one in scenarios for owner in one.owners}
    for owner in owners:
        if owner not in known:
            yield f"no scenario is owned by {owner!r}{meant(owner, sorted(known))}"


def meant(word: str, known: Collection[str]) -> str:
    """A question after the known word that is most like this one; empty where none is."""
    return "".join(f"; did you mean {one!r}?" for one in get_close_matches(word, known, n=1))


def _nothing(names: Collection[str], owners: Collection[str]) -> NothingSelectedError:
    if names and owners:
        asked = f"{', '.join(map(repr, names))} and is owned by {', '.join(map(repr, owners))}"
        return NothingSelectedError(
            f"no scenario both is named {asked}", "ask for one or the other"
        )
    return NothingSelectedError("there are no scenarios", "add a [[scenario]] to the manifest")
