"""Threads, and what is said where there can be no more."""

import subprocess
import sys

import pytest

from isosmoke.errors import EngineError
from isosmoke.worker_threads import Workers


def test_work_is_done() -> None:
    """What is given to a worker comes back."""
    with Workers(1) as workers:
        assert workers.submit(pow, 2, 5).result() == 32
        assert list(workers.map(abs, [-1, -2])) == [1, 2]


CROWDED = """
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


def test_thread_that_cannot_start_is_an_error_with_a_way_out() -> None:
    """Where the system gives none it says so, and what allows more."""
    done = subprocess.run(
        [sys.executable, "-c", CROWDED], capture_output=True, text=True, check=True
    )
    assert "can't start new thread: the user has as many processes as are allowed" in done.stdout
    assert "ulimit -u" in done.stdout


def test_pool_that_is_over_says_so() -> None:
    """Another reason is told in its own words."""
    workers = Workers(1)
    workers.shutdown()
    with pytest.raises(EngineError, match="after shutdown"):
        workers.submit(int)
