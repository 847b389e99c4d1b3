"""The part of a selection that a shard runs, with hashes by which the shards of one run agree."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.gate import receipt_inputs
from isosmoke.host import files, git
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import partition
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.manifest.partition import Shard
from isosmoke.results.records.shard import ShardRecord, digest_names, digest_partition
from isosmoke.results.run_results import ShardPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """A shard to run, and the durations in seconds by which to balance all shards, if any."""

    shard: Shard
    seconds: Mapping[str, float] | None = None


def limit_request(
    request: Request, division: Division, manifest: Manifest, caller: Caller
) -> Request:
    """Return a request for only those of its scenarios that are in a shard, which may be none.

    Raises:
        IsosmokeError: if git refuses to read the repository.
    """
    shard = division.shard
    numbers = partition.divide(
        (scenario.name for scenario in request.scenarios), shard.total, division.seconds
    )
    selection = tuple((scenario, numbers[scenario.name]) for scenario in request.scenarios)
    record = ShardRecord(
        number=shard.number,
        total=shard.total,
        commit=_read_commit(manifest.path, caller),
        manifest=files.sha256(manifest.path),
        selection=digest_names(numbers),
        partition=digest_partition(numbers),
        inputs=_digest_inputs(manifest, request.scenarios),
        options=describe_options(request.policy, request.engine),
    )
    own = tuple(scenario for scenario, number in selection if number == shard.number)
    return replace(request, scenarios=own, shard=ShardPlan(record, selection))


def describe_options(policy: Policy, engine: str) -> str:
    """Return the options of a run that can change an outcome."""
    given = {
        "--engine": engine,
        "--confirm": policy.confirm,
        "--leaks": policy.leaks,
        "--retries": policy.retries,
        "--repeat": policy.repeat,
    }
    return " ".join(f"{name} {value}" for name, value in given.items() if value is not None)


def _read_commit(manifest: Path, caller: Caller) -> str:
    checkout = git.read_checkout(manifest.absolute().parent, caller.environment)
    return checkout.commit if checkout else ""


def _digest_inputs(manifest: Manifest, scenarios: tuple[Scenario, ...]) -> str:
    """Return a hash of the scenarios' entries, their scripts, and the files that these read."""
    resources = receipt_inputs.collect_own_inputs(manifest, scenarios)
    pairs = sorted((resource.name, resource.sha256) for resource in resources)
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
