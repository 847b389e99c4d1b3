"""The workers of a cluster, and which of them may receive the orders of this client."""

from dataclasses import field
from threading import Lock

from distributed import Client

from isosmoke.cluster import dask_settings, tasks
from isosmoke.cluster.identity.sealing import WorkerCertificate
from isosmoke.dataclass import dataclass

_MARK = "isosmoke:"


@dataclass(slots=True, kw_only=True)
class ClusterMember:
    """A worker that fits this client; `used` slots of it have an order of this client.

    `sent` has the digests of content that it received. A `lost` worker receives nothing more.
    """

    address: str
    slots: int
    certificate: WorkerCertificate
    used: int = 0
    lost: bool = False
    sent: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


def list_addresses(client: Client) -> set[str]:
    """Return the addresses of the workers that the scheduler has now; none if it is lost."""
    if client.status != "running":
        return set()
    return set(client.scheduler_info(n_workers=-1)["workers"])


def find_members(client: Client) -> tuple[list[ClusterMember], list[str]]:
    """Return the workers that fit this client, and a description of each that does not."""
    fence = dask_settings.get_fence()
    slots: dict[str, int] = {}
    others = []
    for address, facts in sorted(client.scheduler_info(n_workers=-1)["workers"].items()):
        resources = facts.get("resources", {})
        if resources.get(fence, 0) >= 1:
            slots[address] = int(resources[fence])
        else:
            others.append(f"{address} {_describe(resources)}")
    certificates = _read_certificates(client, [*slots])
    members = [
        ClusterMember(address=address, slots=number, certificate=certificates[address])
        for address, number in slots.items()
        if address in certificates
    ]
    silent = slots.keys() - certificates.keys()
    others += [f"{address} shows no certificate" for address in sorted(silent)]
    return members, others


def _read_certificates(client: Client, addresses: list[str]) -> dict[str, WorkerCertificate]:
    """Return the certificates of those workers that answer with one."""
    if not addresses:
        return {}
    answers = client.run(tasks.read_certificate, workers=addresses, on_error="ignore")
    certificates = {}
    for address, content in answers.items():
        try:
            certificates[address] = WorkerCertificate.parse(content)
        except (ValueError, TypeError):
            continue
    return certificates


def _describe(resources: dict[str, float]) -> str:
    """Return the versions that the resources of another worker declare."""
    for name in resources:
        if name.startswith(_MARK):
            protocol, version, library = f"{name}:?:?".removeprefix(_MARK).split(":")[:3]
            return f"is isosmoke {version} with protocol {protocol} and distributed {library}"
    return "is no worker of isosmoke"
