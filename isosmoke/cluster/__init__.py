"""Workers on this and other machines, as a place for attempts; Dask is imported only here.

This module itself imports nothing of it, as the packages are optional.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from isosmoke.errors import UsageError
from isosmoke.interrupt import Interrupt
from isosmoke.text import shorten

if TYPE_CHECKING:
    from isosmoke.cluster.pool import Pool

_LOCAL = "local:"
_REMOTE = "tls://"
_NUMBERS = frozenset(map(str, range(1, 65)))


def require_cluster() -> None:
    """Check that the packages of the extra are installed.

    Raises:
        UsageError: if they are not.
    """
    if find_spec("distributed") is None or find_spec("cryptography") is None:
        raise UsageError(
            "the packages for a cluster are not installed", "pip install 'isosmoke[cluster]'"
        )


@contextmanager
def opened_place(
    name: str | None,
    interrupt: Interrupt,
    show: Callable[[Iterable[str]], object],
    pins: Collection[str] = (),
    *,
    only_pinned: bool = False,
) -> "Iterator[Pool | None]":
    """Yield the place that `--place` names; None without the option.

    Workers with a certificate in `pins`, or with that of this machine, may receive secrets. With
    `only_pinned`, those in `pins` make all attempts, and no other worker does. At the end, `show`
    receives notes about workers that were not used.

    Raises:
        UsageError: if it is neither `local:N` nor `tls://HOST:PORT`.
    """
    if name is None:
        yield None
        return
    workers = _parse(name)
    require_cluster()
    from isosmoke.cluster import connection, local_workers

    if workers is None:
        with connection.connected(name, interrupt, pins, only_pinned=only_pinned) as place:
            yield place
            show(place.notes)
        return
    with (
        local_workers.running(workers) as cluster,
        connection.connected(cluster.address, interrupt, pins, only_pinned=only_pinned) as place,
    ):
        yield place
        show(place.notes)


def _parse(name: str) -> int | None:
    """Return the number of workers on this machine; None for the address of a scheduler."""
    number = name.removeprefix(_LOCAL)
    if name.startswith(_LOCAL) and number in _NUMBERS:
        return int(number)
    if name.startswith(_REMOTE) and ":" in name.removeprefix(_REMOTE):
        return None
    hint = "--place local:4 starts four workers here; --place tls://HOST:PORT uses a cluster"
    raise UsageError(f"--place {shorten(name, 80)} names no place", hint)
