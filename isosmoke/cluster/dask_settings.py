"""The settings of Dask with which a lost worker is reported, and nothing else is done for it."""

import logging
from typing import Any

import dask

from isosmoke import __version__
from isosmoke.execution.places.order import PROTOCOL

WORKER_TTL_SECONDS = 30
"""The time without a sign of life after which a worker counts as lost."""

_COMM_SECONDS = 10
_TCP_SECONDS = 12
"""The least that Dask accepts, with its number of probes, is 11."""

_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": f"{WORKER_TTL_SECONDS}s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.no-workers-timeout": "10s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": f"{_COMM_SECONDS}s",
    "distributed.comm.timeouts.tcp": f"{_TCP_SECONDS}s",
    "distributed.comm.retry.count": 0,
    "distributed.admin.log-length": 100,
    "distributed.admin.system-monitor.gil.enabled": False,
}


def get_fence() -> str:
    """Return the resource that only workers of the same protocol and versions have."""
    import distributed

    return f"isosmoke:{PROTOCOL}:{__version__}:{distributed.__version__}"


def apply(**changes: Any) -> None:
    """Apply the settings to this process; `changes` are for tests of short waits."""
    dask.config.set({**_SETTINGS, **changes})
    logging.getLogger("distributed").setLevel(logging.ERROR)
