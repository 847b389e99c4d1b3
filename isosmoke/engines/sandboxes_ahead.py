"""Sandboxes that are created ahead of need, so that a scenario does not wait for its own.

A sandbox runs nothing before the command `go`, and belongs to this process like any other: however
the process ends, its unused sandboxes end too.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from threading import Lock
from typing import Generic, TypeVar

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import Sandbox
from isosmoke.errors import EngineError, LeftBehindError, raise_left_behind
from isosmoke.sandbox import masks
from isosmoke.sandbox.spec import SandboxSpec
from isosmoke.worker_threads import Workers

S = TypeVar("S", bound=Sandbox)

Create = Callable[[SandboxSpec], AbstractContextManager[S]]
"""A function that creates a sandbox and destroys it at the end of the block."""


@dataclass(slots=True)
class _Spare(Generic[S]):
    """A sandbox that is or will be ready; the stack in its result destroys it."""

    spec: SandboxSpec
    created: Future[tuple[S, ExitStack]]


class SandboxSupply(Generic[S]):
    """A stock of sandboxes of one engine, which is only filled while some are expected."""

    def __init__(self, create: Create[S]) -> None:
        self._create = create
        self._lock = Lock()
        self._expected: deque[SandboxSpec] = deque()
        self._stock: list[_Spare[S]] = []
        self._size = 0
        self._workers: Workers | None = None

    @contextmanager
    def expecting(self, specs: Sequence[SandboxSpec], ahead: int) -> Iterator[None]:
        """Keep up to `ahead` sandboxes ready during the block, in the order of `specs`.

        Raises:
            LeftBehindError: at the end, if an unused sandbox could not be removed.
        """
        if not specs or ahead < 1:
            yield
            return
        with Workers(ahead, thread_name_prefix="supply") as workers:
            with self._lock:
                self._workers, self._size = workers, ahead
                self._expected = deque(specs)
                self._fill()
            try:
                yield
            finally:
                raise_left_behind(self._empty())

    @contextmanager
    def take(self, spec: SandboxSpec) -> Iterator[S]:
        """Yield a sandbox, ready or new, and destroy it at the end."""
        spare = self._claim(spec)
        if spare is None:
            sandbox, stack = self._make(spec)
        else:
            sandbox, stack = spare.created.result()
        with stack:
            yield sandbox

    def _claim(self, spec: SandboxSpec) -> _Spare[S] | None:
        """Remove a suitable sandbox from the stock, if possible the one with the same label."""
        with self._lock:
            if not self._workers:
                return None
            suitable = [spare for spare in self._stock if _is_same(spare.spec, spec)]
            claimed = min(suitable, key=lambda spare: spare.spec.label != spec.label, default=None)
            if claimed is not None:
                self._stock.remove(claimed)
            else:
                self._forget(spec)
            self._fill()
            return claimed

    def _forget(self, spec: SandboxSpec) -> None:
        """Expect a sandbox no more that is created at once instead; the lock is held."""
        for expected in self._expected:
            if _is_same(expected, spec):
                self._expected.remove(expected)
                return

    def _fill(self) -> None:
        """Start to create as many sandboxes as are missing; the lock is held."""
        while self._workers and self._expected and len(self._stock) < self._size:
            spec = self._expected.popleft()
            try:
                created = self._workers.submit(self._make, spec)
            except EngineError:  # no thread: each scenario creates its own
                self._expected.clear()
                return
            self._stock.append(_Spare(spec, created))

    def _make(self, spec: SandboxSpec) -> tuple[S, ExitStack]:
        """Create a sandbox; again with fewer masks if the host removed a file in the meantime."""
        masked = masks.drop_vain_masks(spec)
        stack = ExitStack()
        try:
            return stack.enter_context(self._create(masked)), stack
        except LeftBehindError:
            raise
        except EngineError:
            fewer = masks.drop_vain_masks(masked)
            if fewer == masked:
                raise
        return self._make(fewer)

    def _empty(self) -> list[LeftBehindError]:
        """Destroy all unused sandboxes, and return what could not be removed."""
        with self._lock:
            unused, self._stock, self._workers = self._stock, [], None
            self._expected.clear()
        return [error for spare in unused for error in _destroy(spare)]


def _is_same(spec: SandboxSpec, other: SandboxSpec) -> bool:
    """Return whether two sandboxes differ by their labels only."""
    return spec == replace(other, label=spec.label)


def _destroy(spare: _Spare[S]) -> Iterator[LeftBehindError]:
    if spare.created.cancel():
        return
    try:
        _, stack = spare.created.result()
        stack.close()
    except LeftBehindError as error:
        yield error
    except (EngineError, OSError):
        return  # it was not created
