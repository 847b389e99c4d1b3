"""The inputs that a verdict is bound to, as they are now."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError, ImageError, ManifestError
from isosmoke.gate import in_toto, script_inputs
from isosmoke.gate.in_toto import Resource
from isosmoke.gate.input_copies import MAX_SIZE, compute_digest
from isosmoke.gate.receipt import Statement
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.manifest.table_base import Table
from isosmoke.results import repeat_command
from isosmoke.rootfs_images import image_kinds
from isosmoke.runner import bash_finder
from isosmoke.sandbox.script_interpreter import Interpreter
from isosmoke.sandbox.spec import HOST_IMAGE
from isosmoke.text import restore_bytes

_INTERPRETER = "interpreter"


class Engines(Protocol):
    """The engines of a run, selected by scenario."""

    def __call__(self, scenario: Scenario, /) -> Engine:
        """Return the engine that creates the scenario's sandbox."""

    def select_service_engine(self, scenario: Scenario, /) -> Engine:
        """Return the engine that runs the scenario's services."""


def list_files(loaded: Manifest, scenarios: Iterable[Scenario]) -> tuple[Path, ...]:
    """Return the scripts and the files that they read, by every path under which they are read.

    A large file that is only named is left out, because copying it would take long.
    """
    scripts, inputs = _find_files(loaded, scenarios, find_base(loaded.path))
    small = (path for path, file in inputs.items() if _is_small(file))
    return (*scripts, *small)


def _find_files(
    loaded: Manifest, scenarios: Iterable[Scenario], base: Path
) -> tuple[Collection[Path], Mapping[Path, Path]]:
    """Return the scripts, and each path under which they read another file with the file."""
    scripts = dict.fromkeys(scenario.script_path.absolute() for scenario in scenarios)
    tops = (loaded.path.absolute().parent, base)
    return scripts, script_inputs.list_paths(scripts, tops, exclude=(*scripts, loaded.path))


def _is_small(file: Path) -> bool:
    try:
        return file.stat().st_size <= MAX_SIZE
    except OSError:
        return True  # copying it reports the error


def find_base(manifest: Path) -> Path:
    """Return the directory that the paths in a receipt start from: the top of the repository.

    Outside of a repository it is the directory of the manifest.
    """
    directory = manifest.absolute().parent
    return git_top(directory) or directory


def collect_inputs(
    loaded: Manifest,
    scenarios: Iterable[Scenario],
    engines: Engines,
    *,
    compute_digest: Callable[[Path], str] = compute_digest,
    base: Path | None = None,
) -> tuple[Resource, ...]:
    """Return the resources that a verdict on `scenarios` is bound to.

    Paths are relative to `base`, by default that of `find_base`. `compute_digest` returns the hash
    of a script or file. The resources are the scenarios' manifest entries, scripts, the files that
    these read, images, interpreters, and the gate's policy. The manifest as a whole is not among
    them, because adding a scenario must not invalidate every receipt. Engines can have different
    content under the same image name, so each image is looked up on the engine that runs it.
    """
    selected = tuple(scenarios)
    directory = loaded.path.absolute().parent
    base = base or find_base(loaded.path)
    by_image = {scenario.image: scenario for scenario in selected}
    return (
        *describe_entries(loaded, selected),
        *_describe_files(loaded, selected, base, compute_digest),
        *(_describe_image(scenario, engines) for scenario in by_image.values()),
        *(
            _describe_service(image, engine)
            for image, engine in _map_services(selected, engines).items()
        ),
        *describe_interpreters(
            dict.fromkeys(_find_interpreters(selected, git_top(directory) or directory))
        ),
    )


def collect_own_inputs(loaded: Manifest, scenarios: Collection[Scenario]) -> tuple[Resource, ...]:
    """Return the resources of the scenarios alone: entries, scripts, and the files they read."""
    files = _describe_files(loaded, scenarios, find_base(loaded.path), compute_digest)
    return (*_describe_scenarios(scenarios), *files)


def _describe_files(
    loaded: Manifest,
    scenarios: Collection[Scenario],
    base: Path,
    compute_digest: Callable[[Path], str],
) -> Iterator[Resource]:
    """Yield a resource for each script, and then for each file that one of them reads."""
    scripts, inputs = _find_files(loaded, scenarios, base)
    for kind, paths in (("script", scripts), ("file", sorted(set(inputs.values())))):
        for path in paths:
            digest = compute_digest(path)
            yield in_toto.create_hashed_resource(kind, shorten_path(path, base), digest)


def describe_entries(loaded: Manifest, scenarios: Iterable[Scenario]) -> tuple[Resource, ...]:
    """Return a resource for each scenario's entry in the manifest, and one for the policy."""
    policy = in_toto.create_hashed_resource("policy", "[gate]", _digest_table(loaded.gate))
    return (*_describe_scenarios(scenarios), policy)


def _describe_scenarios(scenarios: Iterable[Scenario]) -> Iterator[Resource]:
    for scenario in scenarios:
        yield in_toto.create_hashed_resource("scenario", scenario.name, _digest_table(scenario))


def find_changed_interpreters(
    resources: Iterable[Resource], interpreters: Iterable[Interpreter]
) -> tuple[str, ...]:
    """Describe each interpreter that ran scripts and differs from its entry in `resources`."""
    used = describe_interpreters(interpreters)
    names = {resource.name for resource in used}
    before = [
        resource for resource in resources if _is_interpreter(resource) and resource.name in names
    ]
    return in_toto.list_differences(before, used)


def describe_interpreters(interpreters: Iterable[Interpreter]) -> tuple[Resource, ...]:
    """Return a resource for each interpreter.

    An interpreter that is inside an engine's image is identified by name only.
    """
    return tuple(
        in_toto.create_hashed_resource(_INTERPRETER, interpreter.name, interpreter.sha256)
        if interpreter.sha256
        else in_toto.create_named_resource(_INTERPRETER, interpreter.name)
        for interpreter in interpreters
    )


def drop_interpreters(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Return the resources that are no interpreters."""
    return tuple(resource for resource in resources if not _is_interpreter(resource))


def _find_interpreters(scenarios: Iterable[Scenario], excluded: Path) -> Iterator[Interpreter]:
    """Yield the interpreters that would run these scripts now; images without one are skipped."""
    unique = {(scenario.image, scenario.folder): scenario for scenario in scenarios}
    for scenario in unique.values():
        with suppress(EngineError, ImageError):
            yield bash_finder.find(scenario.image, scenario.folder, (PurePosixPath(excluded),))


def _describe_image(scenario: Scenario, engines: Engines) -> Resource:
    image = scenario.image
    sha256 = image_kinds.digest(image, scenario.folder) or _read_engine_digest(scenario, engines)
    return (
        in_toto.create_hashed_resource("image", image, sha256)
        if sha256
        else in_toto.create_named_resource("image", image)
    )


def _read_engine_digest(scenario: Scenario, engines: Engines) -> str:
    """Return the digest of an image that is not a directory; empty for the host image."""
    if scenario.image == HOST_IMAGE:
        return ""
    return engines(scenario).image_digest(scenario.image)


def _map_services(scenarios: Iterable[Scenario], engines: Engines) -> Mapping[str, Engine]:
    """Map each service image to the engine that runs it."""
    return {
        service.image: engines.select_service_engine(scenario)
        for scenario in scenarios
        for service in scenario.services
    }


def _describe_service(image: str, engine: Engine) -> Resource:
    """Return a resource for a service's image.

    An image that cannot be inspected is identified by name only; its scenario is skipped.
    """
    try:
        return in_toto.create_hashed_resource("service", image, engine.image_digest(image))
    except EngineError:
        return in_toto.create_named_resource("service", image)


def create_subject(binary: tuple[Path, str] | None, path: Path) -> Resource:
    """Return the subject of a receipt: the tested binary, or the manifest at `path` if None."""
    if binary is None:
        return in_toto.create_hashed_resource("manifest", path.name, compute_digest(path))
    return in_toto.create_hashed_resource("binary", binary[0].name, binary[1])


def find_changes(statement: Statement, path: Path, binary: Path | None) -> tuple[str, ...]:
    """Describe each difference between a receipt and the present state, by the manifest at `path`.

    `binary` replaces the receipt's own; None keeps it.
    """
    return (*_find_subject_changes(statement, path, binary), *find_changed_inputs(statement, path))


def find_changed_inputs(statement: Statement, path: Path) -> tuple[str, ...]:
    """Describe each difference between a receipt and the present state, except in its subject."""
    try:
        loaded = loader.load(path)
        outcomes = statement.circumstances.outcomes
        tested = [*_select_tested(loaded.scenarios, outcomes)]
        base = None if statement.has_relative_paths else loaded.path.absolute().parent
        current = collect_inputs(loaded, tested, select_engines(statement), base=base)
    except (ManifestError, ImageError) as error:
        return tuple(error.message.splitlines())
    configuration = statement.predicate.configuration
    before = [resource for resource in configuration if resource.sha256]
    if not any(map(_is_interpreter, configuration)):  # an older receipt has no interpreters
        current = drop_interpreters(current)
    return in_toto.list_differences(before, [resource for resource in current if resource.sha256])


def _select_tested(scenarios: Iterable[Scenario], names: Collection[str]) -> Iterator[Scenario]:
    """Yield each scenario that a receipt names, with the name and aliases that it had then."""
    for scenario in scenarios:
        name = next((name for name in (scenario.name, *scenario.aliases) if name in names), None)
        if name == scenario.name:
            yield scenario
        elif name is not None:
            former = tuple(alias for alias in scenario.aliases if alias != name)
            yield scenario.change(name=name, aliases=former)


def select_engines(statement: Statement) -> EngineChoice:
    """Return the engines of the run that a receipt describes.

    Several engines mean that the run let isosmoke choose.
    """
    return EngineChoice(repeat_command.parse_engine(statement.circumstances.engine) or AUTO)


def _is_interpreter(resource: Resource) -> bool:
    return resource.name.startswith(f"{_INTERPRETER} ")


def _find_subject_changes(statement: Statement, path: Path, binary: Path | None) -> Iterator[str]:
    tested = statement.circumstances.binary
    current = binary or (find_base(path) / restore_bytes(tested) if tested else path)
    if binary and not tested:
        yield f"binary {binary}: the receipt was written without a binary"
    elif not current.is_file():
        yield f"{statement.subject[0].name} was removed: no file at {current}"
    elif compute_digest(current) != statement.subject[0].sha256:
        yield f"{statement.subject[0].name} changed: {current} has a different hash"


def shorten_path(path: Path, base: Path) -> str:
    """Return a path as it is in a receipt: relative to `base` if it is below that."""
    for top in dict.fromkeys((base, base.resolve())):
        if path.is_relative_to(top):
            return str(path.relative_to(top))
    return str(path)


def _digest_table(table: Table) -> str:
    """Hash a table as canonical JSON, which ignores comments, order and layout of its TOML."""
    # Defaults are excluded, so that a key added in a later isosmoke invalidates no receipt.
    values = table.to_json(exclude_defaults=True)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
