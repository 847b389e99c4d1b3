"""The inputs that a verdict is bound to, as they are now."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

from pydantic import BaseModel

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError, ImageError, IsosmokeError, ManifestError
from isosmoke.gate import receipt
from isosmoke.gate.receipt import Resource, Statement
from isosmoke.gate.script_inputs import find_script_inputs
from isosmoke.host import files
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results import repeat_command
from isosmoke.rootfs_images import store
from isosmoke.runner import bash_finder
from isosmoke.sandbox.interpreter_data import Interpreter
from isosmoke.sandbox.spec import HOST_IMAGE
from isosmoke.text import restore_bytes

_INTERPRETER = "interpreter"


class Engines(Protocol):
    """The engines of a run, selected by scenario."""

    def __call__(self, scenario: Scenario, /) -> Engine:
        """Return the engine that creates the scenario's sandbox."""

    def select_service_engine(self, scenario: Scenario, /) -> Engine:
        """Return the engine that runs the scenario's services."""


def collect_inputs(
    loaded: Manifest, scenarios: Iterable[Scenario], engines: Engines
) -> tuple[Resource, ...]:
    """Return the resources that a verdict on `scenarios` is bound to.

    They are the scenarios' manifest entries, scripts, the files that these read, images,
    interpreters, and the gate's policy. The manifest as a whole is not among them, because adding
    a scenario must not invalidate every receipt. Engines can have different content under the
    same image name, so each image is looked up on the engine that runs it.
    """
    selected = tuple(scenarios)
    directory = loaded.path.absolute().parent
    scripts = dict.fromkeys(scenario.script_path.absolute() for scenario in selected)
    files = find_script_inputs(scripts, directory, exclude=(*scripts, loaded.path))
    by_image = {scenario.image: scenario for scenario in selected}
    return (
        *(
            receipt.create_hashed_resource("scenario", scenario.name, _digest_table(scenario))
            for scenario in selected
        ),
        receipt.create_hashed_resource("policy", "[gate]", _digest_table(loaded.gate)),
        *(
            receipt.create_hashed_resource(
                "script", _shorten(path, directory), compute_digest(path)
            )
            for path in scripts
        ),
        *(
            receipt.create_hashed_resource("file", _shorten(path, directory), compute_digest(path))
            for path in files
        ),
        *(_describe_image(scenario, engines) for scenario in by_image.values()),
        *(
            _describe_service(image, engine)
            for image, engine in _map_services(selected, engines).items()
        ),
        *describe_interpreters(
            dict.fromkeys(_find_interpreters(selected, git_top(directory) or directory))
        ),
    )


def find_changed_interpreters(
    resources: Iterable[Resource], interpreters: Iterable[Interpreter]
) -> tuple[str, ...]:
    """Describe each interpreter that ran scripts and differs from its entry in `resources`."""
    used = describe_interpreters(interpreters)
    names = {resource.name for resource in used}
    before = [
        resource for resource in resources if _is_interpreter(resource) and resource.name in names
    ]
    return receipt.list_differences(before, used)


def describe_interpreters(interpreters: Iterable[Interpreter]) -> tuple[Resource, ...]:
    """Return a resource for each interpreter.

    An interpreter that is inside an engine's image is identified by name only.
    """
    return tuple(
        receipt.create_hashed_resource(_INTERPRETER, interpreter.name, interpreter.sha256)
        if interpreter.sha256
        else receipt.create_named_resource(_INTERPRETER, interpreter.name)
        for interpreter in interpreters
    )


def _find_interpreters(scenarios: Iterable[Scenario], excluded: Path) -> Iterator[Interpreter]:
    """Yield the interpreters that would run these scripts now; images without one are skipped."""
    unique = {(scenario.image, scenario.folder): scenario for scenario in scenarios}
    for scenario in unique.values():
        with suppress(EngineError, ImageError):
            yield bash_finder.find(scenario.image, scenario.folder, (PurePosixPath(excluded),))


def _describe_image(scenario: Scenario, engines: Engines) -> Resource:
    image = scenario.image
    sha256 = store.digest(image, scenario.folder) or _read_engine_digest(scenario, engines)
    return (
        receipt.create_hashed_resource("image", image, sha256)
        if sha256
        else receipt.create_named_resource("image", image)
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
        return receipt.create_hashed_resource("service", image, engine.image_digest(image))
    except EngineError:
        return receipt.create_named_resource("service", image)


def create_subject(binary: tuple[Path, str] | None, path: Path) -> Resource:
    """Return the subject of a receipt: the tested binary, or the manifest at `path` if None."""
    if binary is None:
        return receipt.create_hashed_resource("manifest", path.name, compute_digest(path))
    return receipt.create_hashed_resource("binary", binary[0].name, binary[1])


def find_changes(statement: Statement, path: Path | None, binary: Path | None) -> tuple[str, ...]:
    """Describe each difference between a receipt and the present state.

    The manifest at `path` and `binary` replace the receipt's own; None keeps these.
    """
    path = path or Path(statement.manifest_path)
    return (*_find_subject_changes(statement, path, binary), *find_changed_inputs(statement, path))


def find_changed_inputs(statement: Statement, path: Path) -> tuple[str, ...]:
    """Describe each difference between a receipt and the present state, except in its subject."""
    try:
        loaded = loader.load(path)
        outcomes = statement.circumstances.outcomes
        tested = [scenario for scenario in loaded.scenarios if scenario.name in outcomes]
        current = collect_inputs(loaded, tested, select_engines(statement))
    except (ManifestError, ImageError) as error:
        return tuple(error.message.splitlines())
    configuration = statement.predicate.configuration
    before = [resource for resource in configuration if resource.digest]
    if not any(map(_is_interpreter, configuration)):  # an older receipt has no interpreters
        current = tuple(resource for resource in current if not _is_interpreter(resource))
    return receipt.list_differences(before, [resource for resource in current if resource.digest])


def select_engines(statement: Statement) -> EngineChoice:
    """Return the engines of the run that a receipt describes.

    Several engines mean that the run let isosmoke choose.
    """
    return EngineChoice(repeat_command.parse_engine(statement.circumstances.engine) or AUTO)


def _is_interpreter(resource: Resource) -> bool:
    return resource.name.startswith(f"{_INTERPRETER} ")


def compute_digest(path: Path) -> str:
    """Return the SHA-256 hash of a file's content.

    Raises:
        IsosmokeError: if it cannot be read.
    """
    try:
        return files.sha256(path)
    except OSError as error:
        raise IsosmokeError(f"cannot read {path}: {error.strerror}") from error


def _find_subject_changes(statement: Statement, path: Path, binary: Path | None) -> Iterator[str]:
    tested = statement.circumstances.binary
    current = binary or (Path(restore_bytes(tested)) if tested else path)
    if binary and not tested:
        yield f"binary {binary}: the receipt was written without a binary"
    elif not current.is_file():
        yield f"{statement.subject[0].name} was removed: no file at {current}"
    elif compute_digest(current) != statement.subject[0].sha256:
        yield f"{statement.subject[0].name} changed: {current} has a different hash"


def _shorten(path: Path, directory: Path) -> str:
    return str(path.relative_to(directory) if path.is_relative_to(directory) else path)


def _digest_table(table: BaseModel) -> str:
    """Hash a table as canonical JSON, which ignores comments, order and layout of its TOML."""
    # Defaults are excluded, so that a key added in a later isosmoke invalidates no receipt.
    values = table.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
