"""Selection of scenarios by name, owner and filter expression."""

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TypeVar

from isosmoke.errors import NothingSelectedError
from isosmoke.manifest import filters
from isosmoke.manifest.filters import Expression, Selectable
from isosmoke.text import escape_controls, suggest_match

S = TypeVar("S", bound=Selectable)


def select(
    scenarios: Iterable[S],
    names: Collection[str] = (),
    owners: Collection[str] = (),
    expression: Expression | None = None,
) -> tuple[S, ...]:
    """Return the scenarios with any of `names` and any of `owners` that match `expression`.

    A name is exact or a glob such as `daemon_*`; an owner is exact. An empty collection or None
    matches every scenario. The order of `scenarios` is kept.

    Raises:
        NothingSelectedError: No scenario is selected, or a name, owner or word of the expression
            matches no scenario at all.
    """
    known = tuple(scenarios)
    unmatched_predicates = filters.find_unmatched(expression, known) if expression else ()
    unmatched = [
        *_find_unmatched_names(known, names),
        *_find_unmatched_owners(known, owners),
        *unmatched_predicates,
    ]
    if unmatched:
        hint = "list every scenario and its owners with `isosmoke list`; put a command after --"
        raise NothingSelectedError("\n".join(unmatched), hint)
    selected = tuple(
        scenario
        for scenario in known
        if _has_name(scenario, names) and _has_owner(scenario, owners)
    )
    if not selected:
        raise _build_empty_error(names, owners)
    return _filter(selected, expression) if expression else selected


def _filter(scenarios: tuple[S, ...], expression: Expression) -> tuple[S, ...]:
    matching = tuple(scenario for scenario in scenarios if expression.matches(scenario))
    if not matching:
        hint = "list every scenario with its owners, tags and image with `isosmoke list --json`"
        raise NothingSelectedError(f"no scenario matches {escape_controls(str(expression))}", hint)
    return matching


def _has_name(scenario: Selectable, names: Collection[str]) -> bool:
    return not names or any(fnmatchcase(scenario.name, name) for name in names)


def _has_owner(scenario: Selectable, owners: Collection[str]) -> bool:
    return not owners or any(owner in owners for owner in scenario.owners)


def _join(values: Collection[str]) -> str:
    return " or ".join(map(repr, values))


def _find_unmatched_names(
    scenarios: Collection[Selectable], names: Collection[str]
) -> Iterator[str]:
    known = [scenario.name for scenario in scenarios]
    for name in names:
        if not any(fnmatchcase(known_name, name) for known_name in known):
            yield f"no scenario is named {name!r}{suggest_match(name, known)}"


def _find_unmatched_owners(
    scenarios: Collection[Selectable], owners: Collection[str]
) -> Iterator[str]:
    known = {owner for scenario in scenarios for owner in scenario.owners}
    for owner in owners:
        if owner not in known:
            yield f"no scenario is owned by {owner!r}{suggest_match(owner, sorted(known))}"


def _build_empty_error(names: Collection[str], owners: Collection[str]) -> NothingSelectedError:
    if names and owners:
        return NothingSelectedError(
            f"no scenario named {_join(names)} is owned by {_join(owners)}",
            "select by name or by owner, not by both",
        )
    return NothingSelectedError("there are no scenarios", "add a [[scenario]] to the manifest")
