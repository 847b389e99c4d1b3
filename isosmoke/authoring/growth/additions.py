"""The scenarios and places of a work tree that no reviewed manifest has (pure).

A scenario that was reviewed with another script is one of them, if its teeth are required.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from isosmoke.authoring.growth import losses
from isosmoke.authoring.growth.earlier_manifests import Catalog
from isosmoke.authoring.growth.editions import Edition, Script
from isosmoke.dataclass import dataclass
from isosmoke.host.repository.revisions import Revision
from isosmoke.manifest import key_meaning
from isosmoke.manifest.key_meaning import format_pin
from isosmoke.manifest.models import Gate, Scenario

Rule = Callable[[Gate], bool]
"""A function that returns whether a rule about new scenarios applies."""


@dataclass(frozen=True, slots=True)
class Former:
    """The `reviewed` editions, and those of other revisions whose manifest had no rule."""

    reviewed: Sequence[Edition]
    older: Sequence[Edition]


def list_added(
    past: Mapping[Revision, Catalog], reviewed: Collection[str], now: Catalog
) -> frozenset[str]:
    """Return the names of the scenarios in `now` that need a proof if their manifest requires one.

    A scenario is not new if a `reviewed` revision has it, or any other revision whose manifest did
    not require proofs. A commit on the main branch itself is no review.
    """
    former = _divide(past, reviewed, lambda gate: gate.require_proof)
    return frozenset(
        scenario.name
        for edition in now.values()
        for scenario in edition.scenarios
        if not any(_find(each, scenario) for each in (*former.reviewed, *former.older))
    )


def list_rewritten(
    past: Mapping[Revision, Catalog], reviewed: Collection[str], now: Catalog
) -> frozenset[str]:
    """Return the names of the scenarios in `now` that need a receipt of teeth, by their manifest.

    Those are the new ones, and those with another script, another file that it runs, other `teeth`,
    or a key of the sandbox that hides a failure, compared with one of the `reviewed` revisions that
    have it. If none has it, any other revision whose manifest did not require teeth may have it
    unchanged.
    """
    former = _divide(past, reviewed, lambda gate: gate.require_teeth)
    return frozenset(
        scenario.name
        for edition in now.values()
        for scenario in edition.scenarios
        if edition.gate.require_teeth and not _is_unchanged(scenario, edition, former)
    )


def _divide(past: Mapping[Revision, Catalog], reviewed: Collection[str], rule: Rule) -> Former:
    items = [
        (revision.identity in reviewed, edition)
        for revision, catalog in past.items()
        for edition in catalog.values()
    ]
    return Former(
        [edition for is_reviewed, edition in items if is_reviewed],
        [edition for is_reviewed, edition in items if not (is_reviewed or rule(edition.gate))],
    )


def _is_unchanged(scenario: Scenario, edition: Edition, former: Former) -> bool:
    known = [each for each in former.reviewed if _find(each, scenario)]
    if known:
        return all(_has_same_teeth(each, edition, scenario) for each in known)
    return any(_has_same_teeth(each, edition, scenario) for each in former.older)


def _has_same_teeth(before: Edition, after: Edition, scenario: Scenario) -> bool:
    was = _find(before, scenario)
    if was is None or set(was.teeth) != set(scenario.teeth):
        return False
    if key_meaning.has_refused_sandbox(was, scenario):
        return False
    return _has_same_code(before.scripts.get(was.name), after.scripts.get(scenario.name))


def _has_same_code(was: Script | None, is_now: Script | None) -> bool:
    if was is None or is_now is None or losses.is_rewritten(was.text, is_now.text):
        return False
    return was.inputs.keys() == is_now.inputs.keys() and not any(
        losses.is_input_rewritten(path, text, is_now.inputs[path])
        for path, text in was.inputs.items()
    )


def _find(edition: Edition, scenario: Scenario) -> Scenario | None:
    """Return the scenario of an edition with this name or a former one; None if it has none."""
    return next(filter(None, map(edition.find, _list_names(scenario))), None)


def _list_names(scenario: Scenario) -> Iterator[str]:
    yield scenario.name
    yield from scenario.aliases


def list_known_pins(
    past: Iterable[Catalog], now: Catalog, lost: Collection[str]
) -> frozenset[tuple[str, str]]:
    """Return the pins of places in `now` that an edition in `past` has.

    `lost` are the identities of losses; one of them may be that a pin was added.
    """
    before = _list_pins(past)
    return frozenset(
        pin for pin in _list_pins([now]) & before if format_pin("places", *pin) not in lost
    )


def _list_pins(catalogs: Iterable[Catalog]) -> frozenset[tuple[str, str]]:
    editions = (edition for catalog in catalogs for edition in catalog.values())
    return frozenset(pin for edition in editions for pin in edition.gate.pins)
