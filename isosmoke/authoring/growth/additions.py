"""The scenarios of a work tree that no reviewed manifest has (pure)."""

from collections.abc import Collection, Iterator, Mapping

from isosmoke.authoring.growth.archive import Catalog
from isosmoke.authoring.growth.editions import Edition
from isosmoke.host.repository.revisions import Revision
from isosmoke.manifest.models import Scenario


def list_added(
    past: Mapping[Revision, Catalog], reviewed: Collection[str], now: Catalog
) -> frozenset[str]:
    """Return the names of the scenarios in `now` that need a proof if their manifest requires one.

    A scenario is not new if a `reviewed` revision has it, or any other revision whose manifest did
    not require proofs. A commit on the main branch itself is no review.
    """
    editions = [
        edition
        for revision, catalog in past.items()
        for edition in catalog.values()
        if revision.identity in reviewed or not edition.gate.require_proof
    ]
    present = (scenario for edition in now.values() for scenario in edition.scenarios)
    return frozenset(
        scenario.name
        for scenario in present
        if not any(_has(edition, scenario) for edition in editions)
    )


def _has(edition: Edition, scenario: Scenario) -> bool:
    return any(edition.find(name) is not None for name in _list_names(scenario))


def _list_names(scenario: Scenario) -> Iterator[str]:
    yield scenario.name
    yield from scenario.aliases
