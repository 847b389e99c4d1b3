"""The order of an attempt, as versioned JSON: everything that a place needs to make it."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Literal

from isosmoke import __version__
from isosmoke.dataclass import dataclass
from isosmoke.host.workspace_directories import Workspace
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.table_base import InvalidTableError
from isosmoke.runner.environment import list_passed_variables
from isosmoke.runner.job_builder import RunContext

PROTOCOL = 4
"""The version of orders and answers; it increases with every change of their meaning."""

_ALWAYS_SENT = ("PATH", "TERM")
_IS_SET = "set"
"""The value of a secret variable that only has to be set."""

_REFERENCE = re.compile(r"\$\{(\w+)")


class OrderError(ValueError):
    """The bytes are not an order of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerFacts:
    """The parts of an order that the scenarios of a run have in common.

    `run` identifies the run. `user`, `home`, `working` and `environment` are the caller's, and
    `workspace` has the paths of the caller's machine. `binary` is the path and the SHA-256 of the
    live binary. `trees` maps paths of the caller to digests of their content; a path that is
    missing there is on the machine of the place.
    """

    run: str
    engine: str
    user: str
    home: str
    working: str
    environment: Mapping[str, str]
    directories: tuple[str, ...]
    borrowed_objects: tuple[str, ...]
    workspace_working: str
    mount_points: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    binary: tuple[str, str] | None = None
    trees: Mapping[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        """The workspace, with the paths of the caller's machine."""
        return Workspace(
            directories=tuple(map(Path, self.directories)),
            borrowed_objects=tuple(map(Path, self.borrowed_objects)),
            working=Path(self.workspace_working),
            mount_points=tuple(map(Path, self.mount_points)),
            links=tuple((Path(path), Path(target)) for path, target in self.links),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt at a scenario: `entry` is its manifest entry, `folder` its manifest's directory.

    `nonce` is different in every order. With `alone`, nothing else may run on the same worker.
    `argv` replaces the script, and `leaks` overrides the leak policy. `stand_ins` maps paths of the
    sandbox to digests of the directories that take the place of the binary; the files that appear
    in the directories `returned`, which are empty before, are part of the answer. `root` is the
    digest of the root filesystem that the scenario has as its image; empty for any other image.
    """

    caller_facts: CallerFacts
    entry: Mapping[str, Any]
    folder: str
    number: int
    nonce: str
    alone: bool = False
    argv: tuple[str, ...] = ()
    leaks: Literal["fail", "report"] | None = None
    evidence: Literal["failed", "always", "never"] = "failed"
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    returned: tuple[str, ...] = ()
    root: str = ""

    @property
    def trees(self) -> tuple[str, ...]:
        """The digests of the directories and files that the place must have."""
        own = (self.root,) if self.root else ()
        return (*self.caller_facts.trees.values(), *own, *self.stand_ins.values())

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of everything that the place must have."""
        tested = self.caller_facts.binary
        return (*self.trees, *((tested[1],) if tested else ()))

    def encode(self) -> bytes:
        """Return the order as JSON; bytes of paths that are no text are kept."""
        values = {"protocol": PROTOCOL, "isosmoke": __version__, **asdict(self)}
        return json.dumps(values).encode("ascii")

    @property
    def scenario(self) -> Scenario:
        """The scenario.

        Raises:
            OrderError: if its entry is not valid here.
        """
        try:
            return Scenario.validate(self.entry, strict=False).place(Path(self.folder))
        except InvalidTableError as error:
            raise OrderError(f"the entry of the scenario is not valid here: {error}") from error


def decode(content: bytes) -> Order:
    """Return the order in these bytes.

    Raises:
        OrderError: if they are not an order of this version of isosmoke.
    """
    try:
        values = json.loads(content)
        protocol, version = values.pop("protocol"), values.pop("isosmoke")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise OrderError(f"an order is not readable: {error!r}") from error
    if (protocol, version) != (PROTOCOL, __version__):
        raise OrderError(
            f"the order is of isosmoke {version}, protocol {protocol}; this is isosmoke "
            f"{__version__}, protocol {PROTOCOL}"
        )
    try:
        caller_facts = CallerFacts(**_restore_tuples(values.pop("caller_facts")))
        return Order(caller_facts=caller_facts, **_restore_tuples(values))
    except (TypeError, AttributeError, KeyError) as error:
        raise OrderError(f"an order is incomplete: {error}") from error


def _restore_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _restore(value) for name, value in values.items()}


def _restore(value: Any) -> Any:
    return tuple(map(_restore, value)) if isinstance(value, list) else value


def describe_surroundings(
    context: RunContext,
    scenario: Scenario,
    *,
    engine: str,
    run: str,
    trees: Mapping[Path, str],
    secret: Collection[str] = (),
) -> CallerFacts:
    """Return what the order of a scenario says about the caller and the workspace of a run.

    Of the caller's environment, it has only what the scenario can use, and nothing secret. Of the
    `secret` variables of other scenarios, it only says whether a required one is set.
    """
    caller, workspace = context.caller, context.workspace
    tested = context.binary
    return CallerFacts(
        run=run,
        engine=engine,
        user=caller.user,
        home=str(caller.home),
        working=str(caller.working),
        environment=_select_variables(scenario, context, secret),
        directories=_format_all(workspace.directories),
        borrowed_objects=_format_all(workspace.borrowed_objects),
        workspace_working=str(workspace.working),
        # A tree has the content of what is mounted inside its directory.
        mount_points=_format_all(
            point
            for point in workspace.mount_points
            if not any(point.is_relative_to(directory) for directory in trees)
        ),
        links=tuple((str(path), str(target)) for path, target in workspace.links),
        binary=None if tested is None else (str(tested.source), tested.sha256),
        trees={str(path): digest for path, digest in trees.items()},
    )


def _format_all(paths: Collection[Path] | Iterator[Path]) -> tuple[str, ...]:
    return tuple(map(str, paths))


def list_open_variables(scenario: Scenario, context: RunContext) -> tuple[str, ...]:
    """Return the names of the variables whose values the order of a scenario may contain."""
    names = (
        *_ALWAYS_SENT,
        *list_passed_variables(scenario, context),
        *_list_references(scenario.requires.endpoints),
    )
    return tuple(name for name in names if name not in scenario.pass_env)


def _select_variables(
    scenario: Scenario, context: RunContext, secret: Collection[str]
) -> Mapping[str, str]:
    given = context.caller.environment
    shown = {name: given[name] for name in list_open_variables(scenario, context) if name in given}
    required = (name for name in scenario.requires.env if name not in scenario.pass_env)
    values = {
        name: _IS_SET if name in secret and given[name] else given[name]
        for name in required
        if name in given
    }
    return dict(sorted({**values, **shown}.items()))


def _list_references(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        yield from _REFERENCE.findall(text)
