"""Threads that say what to do where the user may have no more of them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from isosmoke.errors import EngineError

T = TypeVar("T")


class Workers(ThreadPoolExecutor):
    """A pool of threads; `EngineError` where none can be started (pthread_create(3), EAGAIN)."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        try:
            return super().submit(fn, *args, **options)
        except RuntimeError as error:
            raise EngineError(
                f"{error}: the user has as many processes as are allowed",
                hint="end some, or allow more with `ulimit -u`",
            ) from error
