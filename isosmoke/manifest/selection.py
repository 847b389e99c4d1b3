"""Which scenarios of a manifest a command is about."""

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TypeVar

from isosmoke.errors import NothingSelectedError
from isosmoke.manifest import filters
from isosmoke.manifest.filters import Described, Expression
from isosmoke.text import meant, printable

S = TypeVar("S", bound=Described)


def select(
    scenarios: Iterable[S],
    names: Collection[str] = (),
    owners: Collection[str] = (),
    meaning: Expression | None = None,
) -> tuple[S, ...]:
    """The scenarios of any of `names` and any of `owners` that `meaning` means, in their own order.

    A name is exact or a glob such as `daemon_*`; an owner is exact. None given means any.

    Raises:
        NothingSelectedError: if nothing is left, or a name, glob, owner or word of the expression
            fits nothing at all.
    """
    known = tuple(scenarios)
    unmeant = filters.unmatched(meaning, known) if meaning else ()
    if unmatched := [*_unnamed(known, names), *_unowned(known, owners), *unmeant]:
        hint = "`isosmoke list` shows every scenario and its owners; a command comes after --"
        raise NothingSelectedError("\n".join(unmatched), hint)
    chosen = tuple(one for one in known if _is_named(one, names) and _is_owned(one, owners))
    if not chosen:
        raise _nothing(names, owners)
    return _meant_of(chosen, meaning) if meaning else chosen


def _meant_of(chosen: tuple[S, ...], meaning: Expression) -> tuple[S, ...]:
    left = tuple(one for one in chosen if meaning.means(one))
    if not left:
        hint = "`isosmoke list --json` shows every scenario with its owners, tags and image"
        raise NothingSelectedError(f"nothing is meant by {printable(str(meaning))}", hint)
    return left


def _is_named(scenario: Described, names: Collection[str]) -> bool:
    return not names or any(fnmatchcase(scenario.name, name) for name in names)


def _is_owned(scenario: Described, owners: Collection[str]) -> bool:
    return not owners or any(owner in owners for owner in scenario.owners)


def _unnamed(scenarios: Collection[Described], names: Collection[str]) -> Iterator[str]:
    known = [one.name for one in scenarios]
    for name in names:
        if not any(fnmatchcase(one, name) for one in known):
            yield f"no scenario is named {name!r}{meant(name, known)}"


def _unowned(scenarios: Collection[Described], owners: Collection[str]) -> Iterator[str]:
    known = {owner for one in scenarios for owner in one.owners}
    for owner in owners:
        if owner not in known:
            yield f"no scenario is owned by {owner!r}{meant(owner, sorted(known))}"


def _nothing(names: Collection[str], owners: Collection[str]) -> NothingSelectedError:
    if names and owners:
        asked = f"{', '.join(map(repr, names))} and is owned by {', '.join(map(repr, owners))}"
        return NothingSelectedError(
            f"no scenario both is named {asked}", "ask for one or the other"
        )
    return NothingSelectedError("there are no scenarios", "add a [[scenario]] to the manifest")
