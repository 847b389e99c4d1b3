"""The worker thread pool and its error at the process limit."""

import subprocess
import sys

import pytest

from isosmoke.errors import EngineError
from isosmoke.worker_threads import Workers


def test_pool_returns_results() -> None:
    """The pool returns the results of its tasks."""
    with Workers(1) as workers:
        assert workers.submit(pow, 2, 5).result() == 32
        assert list(workers.map(abs, [-1, -2])) == [1, 2]


EXHAUSTED = """
import resource, threading
from isosmoke.errors import EngineError
from isosmoke.worker_threads import Workers
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
threading.stack_size(1 << 31)
try:
    Workers(1).submit(int)
except EngineError as error:
    print(error, error.hint)
"""


def test_thread_that_cannot_start_is_an_error_with_hint() -> None:
    """If no thread can start, the error has a hint about the limit."""
    done = subprocess.run(
        [sys.executable, "-c", EXHAUSTED], capture_output=True, text=True, check=True
    )
    assert "can't start new thread: the user has reached the limit of processes" in done.stdout
    assert "ulimit -u" in done.stdout


def test_other_error_keeps_its_message() -> None:
    """An error with another cause keeps its message."""
    workers = Workers(1)
    workers.shutdown()
    with pytest.raises(EngineError, match="after shutdown"):
        workers.submit(int)
