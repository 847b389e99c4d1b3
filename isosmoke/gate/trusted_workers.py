"""The workers that a reviewed manifest trusts with gates and secrets: `[gate] places`."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isosmoke.authoring.growth import comparison
from isosmoke.authoring.growth.comparison import CheckRequest
from isosmoke.errors import UsageError
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.rootfs_images import image_kinds
from isosmoke.sandbox.spec import HOST_IMAGE

if TYPE_CHECKING:
    from isosmoke.cluster.pool import Pool


def find_pins(manifest: Manifest, address: str, caller: Caller) -> frozenset[str]:
    """Return the certificates of the place at `address` that a reviewed manifest has as well.

    A place that only the work tree or its last commit has counts for nothing, and so does one in
    a manifest without a history.

    Raises:
        IsosmokeError: if the history cannot be read.
    """
    listed = frozenset(pin for pin in manifest.gate.pins if pin[0] == address)
    if not listed:
        return frozenset()
    request = CheckRequest(
        working=caller.working, environment=caller.environment, manifest=manifest.path
    )
    try:
        reviewed = comparison.compare(request).pins
    except UsageError:  # there is nothing to compare with
        return frozenset()
    return frozenset(certificate for _, certificate in listed & reviewed)


def require_pins(manifest: Manifest, address: str | None, caller: Caller) -> frozenset[str]:
    """Return the certificates of the place of a gate; none if it runs on this machine.

    Raises:
        IsosmokeError: if no reviewed manifest lists the place.
    """
    if address is None:
        return frozenset()
    pins = find_pins(manifest, address, caller)
    if pins:
        return pins
    listed = any(place == address for place, _ in manifest.gate.pins)
    reason = "its entry in [gate] places was not reviewed" if listed else "[gate] places lacks it"
    raise UsageError(
        f"a gate does not accept --place {address}: {reason}",
        "list it with the certificates of its workers in a manifest on the main branch, "
        "or run the gate on this machine",
    )


@contextmanager
def opened(
    address: str | None, pins: Collection[str], scenarios: Iterable[Scenario], interrupt: Interrupt
) -> "Iterator[Pool | None]":
    """Yield the place of a gate, which uses only workers with these certificates.

    None is this machine.

    Raises:
        IsosmokeError: if there is no such worker, or a receipt could not say what ran.
    """
    if address is None:
        yield None
        return
    for scenario in scenarios:
        _check_images(scenario)
    from isosmoke.cluster import opened_place

    with opened_place(address, interrupt, lambda _: None, pins, only_pinned=True) as place:
        yield place


def _check_images(scenario: Scenario) -> None:
    """Raise an error for an image that is not sent with the order, and so not the hashed one."""
    is_sent = scenario.image == HOST_IMAGE or image_kinds.find_root(scenario.image, scenario.folder)
    own = () if is_sent else (scenario.image,)
    for image in (*own, *(service.image for service in scenario.services)):
        if image != HOST_IMAGE:
            raise UsageError(
                f"scenario '{scenario.name}' cannot be gated in a place: the image '{image}' is "
                "the one of that name on the worker, and the receipt could not name its content",
                "run the gate on this machine",
            )
