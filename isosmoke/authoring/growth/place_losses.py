"""Detection of manifests that no gate reads any more, by the places where they were."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain

from isosmoke.authoring.growth import losses
from isosmoke.authoring.growth.earlier_manifests import Catalog, Group
from isosmoke.authoring.growth.editions import Edition
from isosmoke.authoring.growth.losses import Loss
from isosmoke.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class PlacedLoss:
    """A loss of the manifest at `place`, a path relative to the top."""

    place: str
    loss: Loss


def find_losses(before: Catalog, after: Catalog, groups: Collection[Group]) -> Iterator[PlacedLoss]:
    """Yield the losses of each place from `before` to `after`.

    Each of the `groups` has the places of one project in the order in which wg looks for them.
    """
    for place, was in before.items():
        if was.scenarios:
            is_now = after.get(place, Edition())
            found = chain(
                _find_hidden(place, before, after, groups), _compare(place, was, is_now, after)
            )
            yield from (PlacedLoss(place, loss) for loss in found)


def _compare(place: str, was: Edition, is_now: Edition, after: Catalog) -> Iterator[Loss]:
    if is_now.state == "linked" != was.state:
        yield _describe(place, "linked", "is now a symbolic link, whose target can be swapped")
    elif is_now.state == "outside":
        yield _describe(place, "outside", "is no longer in this repository")
    elif is_now.state == "mirror":
        yield _describe(place, "superseded", "is now a bridge to another manifest")
    if is_now.scenarios:
        yield from losses.find_losses(was, is_now)
    elif successor := _find_successor(was, place, after):
        yield _describe(place, "moved", f"was moved to {successor}, where no review expects it")
        yield from losses.find_losses(was, after[successor])
    else:
        yield from losses.find_losses(was, replace(is_now, gate=was.gate, check=was.check))


def _find_successor(was: Edition, place: str, after: Catalog) -> str:
    """Return the place that has the most scenarios of an earlier one; empty if none has any."""
    names = {scenario.name for scenario in was.scenarios}
    shared = {
        other: len(names.intersection(scenario.name for scenario in edition.scenarios))
        for other, edition in after.items()
        if other != place
    }
    best = max(shared, key=shared.__getitem__, default="")
    return best if shared.get(best) else ""


def _find_hidden(
    place: str, before: Catalog, after: Catalog, groups: Collection[Group]
) -> Iterator[Loss]:
    """Yield a loss for each place that now hides this one from wg and did not before."""
    for group in groups:
        is_here = place in group and after.get(place, Edition()).exists
        earlier = group[: group.index(place)] if is_here else ()
        for other in earlier:
            was, is_now = (catalog.get(other, Edition()) for catalog in (before, after))
            if is_now.exists and not was.exists:
                yield _describe(place, f"hidden by {other}", f"is hidden by {other}, which is new")


def _describe(place: str, identity: str, text: str) -> Loss:
    kind = f"manifest-{identity.partition(' ')[0]}"
    return Loss(place, identity, text, kind, is_scenario=False)
