"""The things that a verdict is bound to, as they are on disk now."""

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
from isosmoke.gate.script_inputs import sources
from isosmoke.host import files
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results import repeat_command
from isosmoke.rootfs_images import store
from isosmoke.runner import bash_finder
from isosmoke.sandbox.interpreter_data import Interpreter
from isosmoke.sandbox.spec import HOST_IMAGE

_INTERPRETER = "interpreter"


class Engines(Protocol):
    """The engines of a run, by scenario."""

    def __call__(self, scenario: Scenario, /) -> Engine:
        """Return the engine that makes the scenario's sandbox."""

    def for_services(self, scenario: Scenario, /) -> Engine:
        """Return the engine that runs the scenario's services."""


def inputs(
    loaded: Manifest, scenarios: Iterable[Scenario], engines: Engines
) -> tuple[Resource, ...]:
    """The entries, scripts, files that these read, images, interpreters, and the gate's own policy.

    The manifest as a whole is none of them: adding a scenario must not void every receipt. The
    same image name means different content to different engines, so each image is looked up on
    the engine that runs it.
    """
    chosen = tuple(scenarios)
    folder = loaded.path.absolute().parent
    scripts = dict.fromkeys(one.script_path.absolute() for one in chosen)
    files = sources(scripts, folder, apart=(*scripts, loaded.path))
    return (
        *(receipt.hashed("scenario", one.name, _of_table(one)) for one in chosen),
        receipt.hashed("policy", "[gate]", _of_table(loaded.gate)),
        *(receipt.hashed("script", _short(one, folder), digest(one)) for one in scripts),
        *(receipt.hashed("file", _short(one, folder), digest(one)) for one in files),
        *(_image(one, engines) for one in {one.image: one for one in chosen}.values()),
        *(_service(image, engine) for image, engine in _of_services(chosen, engines).items()),
        *ran(dict.fromkeys(_interpreters(chosen, git_top(folder) or folder))),
    )


def others_ran(inputs: Iterable[Resource], interpreters: Iterable[Interpreter]) -> tuple[str, ...]:
    """What ran scripts and is not as it was hashed before the run, by name."""
    before = [one for one in inputs if _is_interpreter(one)]
    names = {one.name for one in ran(interpreters)}
    return receipt.differences([one for one in before if one.name in names], ran(interpreters))


def ran(interpreters: Iterable[Interpreter]) -> tuple[Resource, ...]:
    """The interpreters that ran scripts; one whose image an engine has is known by name."""
    return tuple(
        receipt.hashed(_INTERPRETER, one.name, one.sha256)
        if one.sha256
        else receipt.named(_INTERPRETER, one.name)
        for one in interpreters
    )


def _interpreters(scenarios: Iterable[Scenario], apart: Path) -> Iterator[Interpreter]:
    """What would run these scripts now; an image without an interpreter has none to name."""
    for one in {(one.image, one.folder): one for one in scenarios}.values():
        with suppress(EngineError, ImageError):
            yield bash_finder.find(one.image, one.folder, (PurePosixPath(apart),))


def _image(scenario: Scenario, engines: Engines) -> Resource:
    image = scenario.image
    found = store.digest(image, scenario.folder) or _engine_digest(scenario, engines)
    return receipt.hashed("image", image, found) if found else receipt.named("image", image)


def _engine_digest(scenario: Scenario, engines: Engines) -> str:
    """Return the digest of an image that is no directory; empty for the host's."""
    if scenario.image == HOST_IMAGE:
        return ""
    return engines(scenario).image_digest(scenario.image)


def _of_services(scenarios: Iterable[Scenario], engines: Engines) -> Mapping[str, Engine]:
    """Return the engine that runs each image of a service."""
    return {
        service.image: engines.for_services(scenario)
        for scenario in scenarios
        for service in scenario.services
    }


def _service(image: str, engine: Engine) -> Resource:
    """A service's image; one that cannot be looked at is known by name, and its scenario skips."""
    try:
        return receipt.hashed("service", image, engine.image_digest(image))
    except EngineError:
        return receipt.named("service", image)


def subject(binary: tuple[Path, str] | None, path: Path) -> Resource:
    """What was tested: the binary that ran, or without one the manifest in `path`."""
    if binary is None:
        return receipt.hashed("manifest", path.name, digest(path))
    return receipt.hashed("binary", binary[0].name, binary[1])


def changes(then: Statement, path: Path | None, binary: Path | None) -> tuple[str, ...]:
    """What is not as the receipt says, by name.

    The manifest in `path` and `binary` stand in for those that it was made with.
    """
    path = path or Path(then.circumstances.manifest)
    return (*_changed_subject(then, path, binary), *changed_inputs(then, path))


def changed_inputs(then: Statement, path: Path) -> tuple[str, ...]:
    """The same, whatever became of the binary."""
    try:
        loaded = loader.load(path)
        kept = [one for one in loaded.scenarios if one.name in then.circumstances.outcomes]
        now = inputs(loaded, kept, engines_of(then))
    except (ManifestError, ImageError) as error:
        return tuple(error.message.splitlines())
    before = [one for one in then.predicate.configuration if one.digest]
    if not any(map(_is_interpreter, then.predicate.configuration)):
        now = tuple(one for one in now if not _is_interpreter(one))  # an older receipt has none
    return receipt.differences(before, [one for one in now if one.digest])


def engines_of(then: Statement) -> EngineChoice:
    """Return the engines of the run that a receipt was written after.

    Only a run that left the choice to isosmoke can have used several.
    """
    return EngineChoice(repeat_command.only_engine(then.circumstances.engine) or AUTO)


def _is_interpreter(one: Resource) -> bool:
    return one.name.startswith(f"{_INTERPRETER} ")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; `IsosmokeError` if it cannot be read."""
    try:
        return files.sha256(path)
    except OSError as error:
        raise IsosmokeError(f"cannot read {path}: {error.strerror}") from error


def _changed_subject(then: Statement, path: Path, binary: Path | None) -> Iterator[str]:
    tested = then.circumstances.binary
    place = binary or (Path(tested) if tested else path)
    if binary and not tested:
        yield f"binary {binary}: the receipt was made without one"
    elif not place.is_file():
        yield f"{then.subject[0].name} is gone: no file at {place}"
    elif digest(place) != then.subject[0].sha256:
        yield f"{then.subject[0].name} changed: {place} has another hash"


def _short(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _of_table(table: BaseModel) -> str:
    """A table as canonical JSON, so that comments, order and layout of its TOML do not count."""
    # Defaults are left out, so that a key that isosmoke learns later voids no receipt.
    plain = table.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
