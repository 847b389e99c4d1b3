"""The rule `[gate] require_proof`: a new scenario needs a proof that it notices."""

from collections.abc import Collection, Iterable, Iterator

from isosmoke.authoring.growth import comparison
from isosmoke.authoring.growth.comparison import BlamedLoss, CheckRequest, Comparison
from isosmoke.authoring.growth.losses import Loss
from isosmoke.errors import IsosmokeError, ManifestError, RecordError, UsageError
from isosmoke.gate import receipt_inputs
from isosmoke.gate.proofs import proof
from isosmoke.gate.proofs.proof import ProofStatement
from isosmoke.history import gate_records, record_homes
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.outcome import Outcome

COMMITTED = "proofs"
"""The directory next to a manifest for proofs that are committed."""

UNPROVEN = "scenario-unproven"
"""The kind of the loss of a new scenario without a proof."""

_TEXT = "is new and has no proof that it fails with a broken binary ([gate] require_proof)"


def find_unproven(
    manifest: Manifest, scenarios: Iterable[Scenario], caller: Caller
) -> tuple[str, ...]:
    """Return the new ones of these scenarios without a valid proof, if the manifest requires one.

    Without a repository, or without anything to compare with, every scenario is new.

    Raises:
        IsosmokeError: if the proofs or the history cannot be read.
    """
    if not manifest.gate.require_proof:
        return ()
    added = _find_added(manifest, caller)
    new = [scenario for scenario in scenarios if added is None or scenario.name in added]
    return list_unproven(manifest, new, caller)


def list_unproven(
    manifest: Manifest, scenarios: Collection[Scenario], caller: Caller
) -> tuple[str, ...]:
    """Return the names of those scenarios that have no valid proof."""
    proofs = [*_load_proofs(manifest, caller)] if scenarios else []
    return tuple(
        scenario.name
        for scenario in scenarios
        if not any(_is_valid(item, manifest, scenario) for item in proofs)
    )


def require(manifest: Manifest, scenarios: Iterable[Scenario], caller: Caller) -> None:
    """Raise an error if one of these scenarios needs a proof and has none."""
    if unproven := find_unproven(manifest, scenarios, caller):
        raise IsosmokeError(
            f"{describe(unproven)}: {', '.join(unproven)}",
            hint=f"isosmoke prove {unproven[0]} --broken BIN --fixed BIN",
        )


def describe(unproven: Collection[str]) -> str:
    """Return what these scenarios lack."""
    verb = "scenario has" if len(unproven) == 1 else "scenarios have"
    return f"{len(unproven)} new {verb} no proof ([gate] require_proof)"


def _find_added(manifest: Manifest, caller: Caller) -> frozenset[str] | None:
    request = CheckRequest(
        working=caller.working, environment=caller.environment, manifest=manifest.path
    )
    try:
        return comparison.compare(request).added
    except UsageError:
        return None


def _load_proofs(manifest: Manifest, caller: Caller) -> Iterator[ProofStatement]:
    """Yield all readable proofs; one that cannot be read proves nothing."""
    homes = record_homes.list_homes(caller, manifest.path)
    committed = manifest.path.absolute().parent / COMMITTED
    for path in (*gate_records.list_proofs(homes), *sorted(committed.glob("*.json"))):
        try:
            yield proof.parse(files.read(path, follow=False), str(path))
        except (OSError, RecordError):
            continue


def _is_valid(item: ProofStatement, manifest: Manifest, scenario: Scenario) -> bool:
    """Return whether a proof is of this scenario, of different binaries, and still holds."""
    about = item.circumstances
    is_proof = (
        about.scenario == scenario.name
        and about.fixed.outcome is Outcome.PASS
        and about.broken.outcome.blocks
        and about.fixed.sha256 != about.broken.sha256
    )
    if not is_proof:
        return False
    try:
        current = receipt_inputs.collect_own_inputs(manifest, [scenario])
    except IsosmokeError:
        return False  # its script or a file that this reads is missing
    return not proof.find_differences(item, current)


def find_losses(result: Comparison, caller: Caller) -> Iterator[BlamedLoss]:
    """Yield a loss for each new scenario without a proof, in each manifest that requires one."""
    for place in result.places:
        try:
            manifest = loader.load(result.top / place)
        except ManifestError:
            continue  # the comparison has reported what was lost instead
        if manifest.gate.require_proof:
            new = [item for item in manifest.scenarios if item.name in result.added]
            for name in list_unproven(manifest, new, caller):
                yield BlamedLoss(place, Loss(name, UNPROVEN, _TEXT, UNPROVEN))
