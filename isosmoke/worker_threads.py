"""A thread pool that reports an exhausted process limit with a hint."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from isosmoke.errors import EngineError

T = TypeVar("T")


class Workers(ThreadPoolExecutor):
    """A thread pool that raises `EngineError` if none can start (EAGAIN, pthread_create(3))."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        try:
            return super().submit(fn, *args, **options)
        except RuntimeError as error:
            raise EngineError(
                f"{error}: the user has reached the limit of processes",
                hint="end some processes, or raise the limit with `ulimit -u`",
            ) from error
