"""A run whose verdict is bound to its inputs: copies of them run, and a later change is found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from isosmoke.dataclass import dataclass
from isosmoke.engines import EngineChoice
from isosmoke.errors import IsosmokeError, ManifestError
from isosmoke.execution.request import Request
from isosmoke.gate import in_toto, input_copies, receipt_inputs
from isosmoke.gate.in_toto import Resource
from isosmoke.host import binary, files, git
from isosmoke.host.git import Checkout
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest
from isosmoke.results.run_results import RunResult


@dataclass(frozen=True, slots=True)
class CommitState:
    """The commit of the repository of a manifest before a run; empty without a repository."""

    checkout: Checkout | None = None
    tree: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRun:
    """A run, the inputs that its verdict is bound to, and what changed while it ran."""

    result: RunResult
    inputs: tuple[Resource, ...]
    commit: CommitState
    changes: tuple[str, ...]


def execute(
    manifest: Manifest,
    request: Request,
    environment: Mapping[str, str],
    run: Callable[[Request], RunResult],
) -> BoundRun:
    """Run copies of the scripts of a request, and compare all inputs before and after the run.

    Raises:
        IsosmokeError: if an input cannot be read, or no scenario was started.
    """
    engines = EngineChoice(request.engine)
    commit = _read_commit(manifest, environment)
    with input_copies.copy_inputs(receipt_inputs.list_files(manifest, request.scenarios)) as copies:
        inputs = _select_inputs(
            request,
            receipt_inputs.collect_inputs(
                manifest, request.scenarios, engines, compute_digest=copies.compute_digest
            ),
        )
        result = run(replace(request, copies=copies.root))
    changes = (
        *in_toto.list_differences(inputs, _collect_again(manifest, request, engines)),
        *receipt_inputs.find_changed_interpreters(inputs, result.interpreters),
        *_find_changed_binary(result),
        *(
            ["the commit changed"]
            if _read_commit(manifest, environment).tree != commit.tree
            else []
        ),
    )
    return BoundRun(result=result, inputs=inputs, commit=commit, changes=changes)


def _collect_again(
    manifest: Manifest, request: Request, engines: EngineChoice
) -> tuple[Resource, ...]:
    """Return the inputs as they are now; those that can no longer be read are missing."""
    names = {scenario.name for scenario in request.scenarios}
    try:
        loaded = loader.load(manifest.path)
        scenarios = [scenario for scenario in loaded.scenarios if scenario.name in names]
        return _select_inputs(request, receipt_inputs.collect_inputs(loaded, scenarios, engines))
    except (IsosmokeError, ManifestError):
        return ()


def _select_inputs(request: Request, inputs: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """Return the inputs of a run: in a place, the interpreters of this machine are none."""
    return inputs if request.place is None else receipt_inputs.drop_interpreters(inputs)


def _find_changed_binary(result: RunResult) -> Iterator[str]:
    """Yield a description if the binary was rebuilt, or its copy was changed, during the run."""
    if result.binary is None:
        return
    path, sha256 = result.binary
    try:
        if files.sha256(path) != sha256:
            yield f"binary {path.name} changed"
    except OSError:
        yield f"binary {path.name} was removed"
    if not binary.is_stored(sha256, path.name):
        yield f"the stored copy of binary {path.name} changed"


def _read_commit(manifest: Manifest, environment: Mapping[str, str]) -> CommitState:
    """Return the commit of the manifest's repository.

    Raises:
        GitError: if git refuses to read the repository.
    """
    directory = manifest.path.absolute().parent
    checkout, top = git.read_checkout(directory, environment), git_top(directory)
    if checkout is None or top is None or not checkout.commit:
        return CommitState(checkout)
    arguments = ("rev-parse", "--verify", f"{checkout.commit}^{{tree}}")
    output = git.run(top, *arguments, environment=environment)
    return CommitState(checkout, output.decode().strip())
