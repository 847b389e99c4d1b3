"""Tables of a manifest, with the meaning of each key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from isosmoke.dataclass import dataclass
from isosmoke.manifest.table_base import Table

if TYPE_CHECKING:  # see `isosmoke.manifest.table_base`
    from pydantic import AfterValidator, BeforeValidator, Field

    from isosmoke.manifest import key_meaning
    from isosmoke.manifest.key_meaning import Unjudged, entry_key, retention_key, sandbox_key
    from isosmoke.manifest.validation import checks
    from isosmoke.manifest.validation.value_types import (
        Cache,
        Capability,
        CommandPattern,
        Count,
        FilePaths,
        Fingerprints,
        Name,
        Pattern,
        Place,
        Port,
        PublicKeyText,
        Seconds,
        ServiceName,
        Size,
        Text,
        Texts,
        Value,
        Variable,
        Variables,
        WholeSeconds,
    )


@dataclass(frozen=True, kw_only=True)
class Requires(Table):
    """Programs, variables and addresses without which the scenario is skipped."""

    commands: Annotated[Texts, sandbox_key(key_meaning.refuse_additions)] = ()
    env: Annotated[Variables, sandbox_key(key_meaning.refuse_additions)] = ()
    endpoints: Annotated[Texts, sandbox_key(key_meaning.refuse_additions)] = ()


@dataclass(frozen=True, kw_only=True)
class Limits(Table):
    """Resource limits of a scenario; None is no limit."""

    memory: Annotated[Size | None, sandbox_key(key_meaning.judge_limit)] = None
    """The memory of all its processes together, in bytes."""

    processes: Annotated[Count | None, sandbox_key(key_meaning.judge_limit)] = None

    output: Annotated[
        Size, sandbox_key(Unjudged("an outcome does not depend on the size of the log"))
    ] = 100 * 1024**2
    """The maximum size of a log on disk, in bytes."""

    open_files: Annotated[Count | None, sandbox_key(key_meaning.judge_limit)] = None


@dataclass(frozen=True, kw_only=True)
class Allowance(Table):
    """Processes that may outlive a scenario: those whose command line matches `command`."""

    command: Pattern
    reason: Text

    until: date | None = None
    """The last day on which the allowance applies; None means no expiry."""


@dataclass(frozen=True, kw_only=True)
class Leaks(Table):
    """The policy for processes that outlive their scenario."""

    policy: Literal["fail", "report"] = "fail"
    allow: Annotated[tuple[Allowance, ...], Field(strict=False)] = ()


@dataclass(frozen=True, kw_only=True)
class Wait(Table):
    """The condition that shows that a service is ready: one of `port`, `log` and `health`."""

    port: Port | None = None
    """A process accepts connections on this port and keeps them open."""

    log: Pattern | None = None
    """The output of the service matches this pattern."""

    health: Literal[True] | None = None
    """The health check of the image passes."""


@dataclass(frozen=True, kw_only=True)
class Service(Table):
    """A container that runs alongside a scenario's sandbox and ends with it."""

    name: ServiceName
    image: Text

    command: Texts = ()
    """The command to run instead of the image's own; the entry point stays."""

    env: Mapping[Variable, Value] = field(default_factory=dict)
    """Environment variables. `${NAME}` expands to a variable that the scenario receives."""

    ports: Annotated[tuple[Port, ...], Field(strict=False)] = ()
    """The container ports that the scenario can reach."""

    wait: Annotated[Wait | None, AfterValidator(checks.check_single_condition)] = None
    """None waits for the first of `ports`, or without ports until the container runs."""

    timeout_seconds: WholeSeconds = 60
    """The maximum time until the service is ready, in seconds."""

    @property
    def prefix(self) -> str:
        """The prefix of the variables that pass the service's address to the scenario."""
        return self.name.upper().replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Settings(Table):
    """The keys of a scenario that `[defaults]` may set for all scenarios."""

    timeout_seconds: Annotated[WholeSeconds, sandbox_key(key_meaning.note_change)] = 180

    image: Annotated[Text, sandbox_key(key_meaning.refuse_change)] = "host"
    """`host`, `rootfs:` followed by a directory, or the name of a clean environment."""

    requires: Annotated[Requires, sandbox_key(key_meaning.judge_table)] = Requires()
    leaks: Annotated[
        Leaks,
        BeforeValidator(
            checks.expand_leaks, json_schema_input_type=Literal["fail", "report"] | Leaks
        ),
        entry_key(key_meaning.judge_leak_policy),
    ] = Leaks()
    services: Annotated[
        tuple[Annotated[Service, AfterValidator(checks.check_waited_port)], ...],
        Field(strict=False),
        AfterValidator(checks.check_unique_prefixes),
        sandbox_key(key_meaning.refuse_service_changes),
    ] = ()
    network: Annotated[
        Literal["host", "isolated"],
        AfterValidator(checks.check_isolation),
        sandbox_key(key_meaning.refuse_change),
    ] = "host"

    locks: Annotated[
        Texts, sandbox_key(Unjudged("concurrent scenarios do not change what a scenario asserts"))
    ] = ()
    """Scenarios that share a lock never run at the same time."""

    weight: Annotated[
        Count, sandbox_key(Unjudged("concurrent scenarios do not change what a scenario asserts"))
    ] = 1
    """The number of scenarios that it counts as among those that run at the same time."""

    env: Annotated[Mapping[Variable, Value], sandbox_key(key_meaning.refuse_member_changes)] = (
        field(default_factory=dict)
    )
    pass_env: Annotated[Variables, sandbox_key(key_meaning.refuse_member_changes)] = ()
    """The caller's variables that the script receives as secrets: their values are redacted."""

    pass_files: Annotated[FilePaths, sandbox_key(key_meaning.refuse_member_changes)] = ()
    """Files and directories that the script receives as secrets, read-only."""

    plain_env: Annotated[
        Variables,
        AfterValidator(checks.refuse_names_of("pass_env")),
        sandbox_key(key_meaning.refuse_member_changes),
    ] = ()
    """The caller's variables that the script receives and that are no secrets."""

    plain_files: Annotated[
        FilePaths,
        AfterValidator(checks.refuse_names_of("pass_files")),
        sandbox_key(key_meaning.refuse_member_changes),
    ] = ()
    """Files and directories that the script receives, read-only, and that are no secrets."""

    tags: Annotated[
        Texts, entry_key(Unjudged("a gate selects scenarios by owner, not by tag"))
    ] = ()
    retries: Annotated[int, Field(ge=0, le=100), entry_key(key_meaning.refuse_increase)] = 0

    settle_seconds: Annotated[Seconds, sandbox_key(key_meaning.refuse_increase)] = 2.0
    """The time that processes have to end after the script, in seconds."""

    grace_seconds: Annotated[
        Seconds, sandbox_key(Unjudged("it only starts when the outcome is TIMEOUT already"))
    ] = 5.0
    """The time between SIGTERM and SIGKILL, in seconds."""

    limits: Annotated[Limits, sandbox_key(key_meaning.judge_table)] = Limits()

    capabilities: Annotated[
        tuple[Capability, ...],
        Field(strict=False),
        AfterValidator(checks.check_network_admin),
        sandbox_key(key_meaning.refuse_member_changes),
    ] = ()
    """Capabilities of the script beyond the rights of its user; none by default."""

    cache: Annotated[
        tuple[Cache, ...], Field(strict=False), sandbox_key(key_meaning.refuse_member_changes)
    ] = ()
    """The tools whose caches on the host the script sees, copy-on-write; none by default."""

    new_namespaces: Annotated[bool, sandbox_key(key_meaning.refuse_change)] = False
    """Let root create namespaces, as any other user may, except control group namespaces."""


@dataclass(frozen=True, kw_only=True)
class Scenario(Settings):
    """A script and its settings, one entry of a manifest. Durations are in seconds."""

    name: Annotated[
        Name, entry_key(Unjudged("a scenario that is found by neither name nor alias is lost"))
    ]
    script: Annotated[
        Text, entry_key(Unjudged("the path and the content of the file are judged together"))
    ]

    aliases: Annotated[
        tuple[Name, ...], Field(strict=False), entry_key(key_meaning.RemovalJudge("alias"))
    ] = ()
    """Former names of the scenario."""

    owners: Annotated[
        tuple[Annotated[Text, AfterValidator(str.strip)], ...],
        Field(strict=False),
        entry_key(key_meaning.RemovalJudge("owner")),
    ] = ()
    """The tasks that own the scenario, without surrounding blanks."""

    teeth: Annotated[Texts, entry_key(key_meaning.RemovalJudge("teeth"))] = ()
    """The subcommands of the binary whose failure the scenario notices, such as `service stop`."""

    description: Annotated[str, entry_key(Unjudged("it is only documentation"))] = ""

    assertion: Annotated[str, entry_key(key_meaning.judge_rewording)] = ""
    """The fact that must hold, in one sentence."""

    folder: Path = field(init=False)
    """The directory of its manifest, which relative paths start from; it is not a key."""

    given_keys: frozenset[str] = field(init=False, compare=False, repr=False)
    """The keys that `validate` was given; empty for a scenario from another source."""

    def __post_init__(self) -> None:
        _set_origin(self, Path(), frozenset())

    @classmethod
    def validate(cls, values: Mapping[str, Any], *, strict: bool | None = None) -> Self:
        scenario = super().validate(values, strict=strict)
        return _set_origin(scenario, Path(), frozenset(values))

    def place(self, directory: Path) -> Self:
        """Return the scenario with another directory of its manifest."""
        return _set_origin(replace(self), directory, self.given_keys)

    def change(self, **keys: Any) -> Self:
        """Return the scenario with other values of some keys, in the same directory."""
        return _set_origin(replace(self, **keys), self.folder, self.given_keys)

    @property
    def script_path(self) -> Path:
        """The path of the script; symbolic links are not resolved."""
        return self.folder / self.script


_S = TypeVar("_S", bound=Scenario)


def _set_origin(scenario: _S, directory: Path, given_keys: frozenset[str]) -> _S:
    """Set what is no key of a scenario, right after its creation."""
    vars(scenario).update(folder=directory, given_keys=given_keys)  # despite `frozen`
    return scenario


@dataclass(frozen=True, kw_only=True)
class TrustedPlace(Table):
    """A cluster whose workers with these certificates (SHA-256) run gates and receive secrets."""

    address: Place
    certificates: Fingerprints


@dataclass(frozen=True, kw_only=True)
class Gate(Table):
    """Gate rules for tasks that own no scenario, skips, new and rewritten scenarios, and places."""

    unowned: Annotated[Literal["allow", "refuse"], entry_key(key_meaning.refuse_looser)] = "allow"

    max_skips: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | None, entry_key(key_meaning.refuse_higher_limit)
    ] = None
    """The maximum number of skipped scenarios; None is unlimited."""

    require_proof: Annotated[bool, entry_key(key_meaning.refuse_disabling)] = False
    """A new scenario needs a proof that it fails with a broken binary."""

    require_teeth: Annotated[bool, entry_key(key_meaning.refuse_disabling)] = False
    """A new or rewritten scenario needs a receipt that it notices the failures in its `teeth`."""

    teeth_patterns: Annotated[
        tuple[CommandPattern, ...],
        Field(strict=False, max_length=250),
        entry_key(key_meaning.refuse_renaming),
    ] = ()
    """The patterns that name the subcommands in receipts of teeth, once they were reviewed."""

    places: Annotated[
        tuple[TrustedPlace, ...], Field(strict=False), entry_key(key_meaning.refuse_new_places)
    ] = ()
    """The places that `isosmoke gate --place` accepts, once they were reviewed."""

    shard_keys: Annotated[
        tuple[PublicKeyText, ...], Field(strict=False), entry_key(key_meaning.refuse_new_keys)
    ] = ()
    """The public keys that may sign receipts of shards, in PEM format."""

    @property
    def pins(self) -> frozenset[tuple[str, str]]:
        """The addresses of places, each with the certificate of one of its workers."""
        return frozenset(
            (place.address, certificate)
            for place in self.places
            for certificate in place.certificates
        )


@dataclass(frozen=True, kw_only=True)
class Growth(Table):
    """Settings of `isosmoke check`, which lets a manifest only grow."""

    main_branch: Annotated[Text | None, entry_key(key_meaning.refuse_change)] = None
    """The name of the main branch; None is the default branch of `origin`, or main or master."""


@dataclass(frozen=True, kw_only=True)
class Retention(Table):
    """Retention of past runs: a run is deleted if it exceeds any of these limits."""

    keep_runs: Annotated[Count, retention_key()] = 20
    """The number of runs to keep, including the one that is starting."""

    keep_days: Annotated[int, Field(gt=0, le=36500), retention_key()] = 30
    keep_size: Annotated[Size, retention_key()] = 2 * 1024**3
    """The total size of the kept runs, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Manifest(Table):
    """A validated manifest, its scenarios in file order with the defaults applied."""

    path: Path
    scenarios: tuple[Scenario, ...]
    gate: Gate = Gate()
    check: Growth = Growth()
    record: Retention = Retention()
