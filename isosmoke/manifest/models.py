"""Models of the tables in a manifest, with the meaning of each key."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from isosmoke.manifest import key_meaning
from isosmoke.manifest.key_meaning import Judge, Meaning, Unjudged
from isosmoke.manifest.value_types import (
    Cache,
    Capability,
    Count,
    FilePaths,
    Name,
    Pattern,
    Port,
    Seconds,
    ServiceName,
    Size,
    Text,
    Texts,
    Value,
    Variable,
    Variables,
    WholeSeconds,
    build_error,
    format_value,
    refuse_names_of,
)


def _sandbox_key(judge: Judge | Unjudged) -> Meaning:
    return Meaning(makes_sandbox=True, judge=judge)


def _entry_key(judge: Judge | Unjudged) -> Meaning:
    return Meaning(makes_sandbox=False, judge=judge)


_RETENTION_KEY = _entry_key(Unjudged("the retention of past runs does not affect later ones"))


class StrictModel(BaseModel):
    """A table that rejects unknown keys and does not convert values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Requires(StrictModel):
    """Programs, variables and addresses without which the scenario is skipped."""

    commands: Annotated[Texts, _sandbox_key(key_meaning.refuse_additions)] = ()
    env: Annotated[Variables, _sandbox_key(key_meaning.refuse_additions)] = ()
    endpoints: Annotated[Texts, _sandbox_key(key_meaning.refuse_additions)] = ()


class Limits(StrictModel):
    """Resource limits of a scenario; None is no limit."""

    memory: Annotated[Size | None, _sandbox_key(key_meaning.judge_limit)] = None
    """The memory of all its processes together, in bytes."""

    processes: Annotated[Count | None, _sandbox_key(key_meaning.judge_limit)] = None

    output: Annotated[
        Size, _sandbox_key(Unjudged("an outcome does not depend on the size of the log"))
    ] = 100 * 1024**2
    """The maximum size of a log on disk, in bytes."""

    open_files: Annotated[Count | None, _sandbox_key(key_meaning.judge_limit)] = None


class Allowance(StrictModel):
    """Processes that may outlive a scenario: those whose command line matches `command`."""

    command: Pattern
    reason: Text

    until: date | None = None
    """The last day on which the allowance applies; None means no expiry."""


class Leaks(StrictModel):
    """The policy for processes that outlive their scenario."""

    policy: Literal["fail", "report"] = "fail"
    allow: Annotated[tuple[Allowance, ...], Field(strict=False)] = ()


def _expand_leaks(value: object) -> object:
    """Return the table that a policy name is short for; return a table unchanged."""
    match value:
        case "fail" | "report":
            return {"policy": value}
        case dict() | Leaks():
            return value
        case _:
            raise build_error(
                f"must be 'fail', 'report' or a table, not {format_value(value)}",
                'write leaks = "report", or leaks = { policy = "fail", allow = [...] }',
            )


class Wait(StrictModel):
    """The condition that shows that a service is ready: one of `port`, `log` and `health`."""

    port: Port | None = None
    """A process accepts connections on this port and keeps them open."""

    log: Pattern | None = None
    """The output of the service matches this pattern."""

    health: Literal[True] | None = None
    """The health check of the image passes."""

    @model_validator(mode="after")
    def _check_single_condition(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise build_error(
                "must name one of 'port', 'log' and 'health'",
                'write wait = { port = 5432 }, { log = "ready" } or { health = true }',
            )
        return self


class Service(StrictModel):
    """A container that runs alongside a scenario's sandbox and ends with it."""

    name: ServiceName
    image: Text

    command: Texts = ()
    """The command to run instead of the image's own; the entry point stays."""

    env: Mapping[Variable, Value] = Field(default_factory=dict)
    """Environment variables. `${NAME}` expands to a variable that the scenario receives."""

    ports: Annotated[tuple[Port, ...], Field(strict=False)] = ()
    """The container ports that the scenario can reach."""

    wait: Wait | None = None
    """None waits for the first of `ports`, or without ports until the container runs."""

    timeout_seconds: WholeSeconds = 60
    """The maximum time until the service is ready, in seconds."""

    @model_validator(mode="after")
    def _check_waited_port(self) -> Self:
        port = self.wait and self.wait.port
        if port and port not in self.ports:
            raise build_error(
                f"waits for port {port}, which is not one of its ports", "add it to `ports`"
            )
        return self

    @property
    def prefix(self) -> str:
        """The prefix of the variables that pass the service's address to the scenario."""
        return self.name.upper().replace("-", "_")


def _check_unique_prefixes(services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Check that no two services share a prefix for their variables."""
    if len({service.prefix for service in services}) < len(services):
        raise build_error(
            "has two services with the same name",
            "rename one of them; names that differ only in case, '-' and '_' are the same",
        )
    return services


class Settings(StrictModel):
    """The keys of a scenario that `[defaults]` may set for all scenarios."""

    timeout_seconds: Annotated[WholeSeconds, _sandbox_key(key_meaning.note_change)] = 180

    image: Annotated[Text, _sandbox_key(key_meaning.refuse_change)] = "host"
    """`host`, `rootfs:` followed by a directory, or the name of a clean environment."""

    requires: Annotated[Requires, _sandbox_key(key_meaning.judge_table)] = Requires()
    leaks: Annotated[
        Leaks,
        BeforeValidator(_expand_leaks, json_schema_input_type=Literal["fail", "report"] | Leaks),
        _entry_key(key_meaning.judge_leak_policy),
    ] = Leaks()
    services: Annotated[
        tuple[Service, ...],
        Field(strict=False),
        AfterValidator(_check_unique_prefixes),
        _sandbox_key(key_meaning.refuse_service_changes),
    ] = ()
    network: Annotated[Literal["host", "isolated"], _sandbox_key(key_meaning.refuse_change)] = (
        "host"
    )

    locks: Annotated[
        Texts, _sandbox_key(Unjudged("concurrent scenarios do not change what a scenario asserts"))
    ] = ()
    """Scenarios that share a lock never run at the same time."""

    env: Annotated[Mapping[Variable, Value], _sandbox_key(key_meaning.refuse_member_changes)] = (
        Field(default_factory=dict)
    )
    pass_env: Annotated[Variables, _sandbox_key(key_meaning.refuse_member_changes)] = ()
    """The caller's variables that the script receives as secrets: their values are redacted."""

    pass_files: Annotated[FilePaths, _sandbox_key(key_meaning.refuse_member_changes)] = ()
    """Files and directories that the script receives as secrets, read-only."""

    plain_env: Annotated[
        Variables,
        AfterValidator(refuse_names_of("pass_env")),
        _sandbox_key(key_meaning.refuse_member_changes),
    ] = ()
    """The caller's variables that the script receives and that are no secrets."""

    plain_files: Annotated[
        FilePaths,
        AfterValidator(refuse_names_of("pass_files")),
        _sandbox_key(key_meaning.refuse_member_changes),
    ] = ()
    """Files and directories that the script receives, read-only, and that are no secrets."""

    tags: Annotated[
        Texts, _entry_key(Unjudged("a gate selects scenarios by owner, not by tag"))
    ] = ()
    retries: Annotated[int, Field(ge=0, le=100), _entry_key(key_meaning.refuse_increase)] = 0

    settle_seconds: Annotated[Seconds, _sandbox_key(key_meaning.refuse_increase)] = 2
    """The time that processes have to end after the script, in seconds."""

    grace_seconds: Annotated[
        Seconds, _sandbox_key(Unjudged("it only starts when the outcome is TIMEOUT already"))
    ] = 5
    """The time between SIGTERM and SIGKILL, in seconds."""

    limits: Annotated[Limits, _sandbox_key(key_meaning.judge_table)] = Limits()

    capabilities: Annotated[
        tuple[Capability, ...], Field(strict=False), _sandbox_key(key_meaning.refuse_member_changes)
    ] = ()
    """Capabilities of the script beyond the rights of its user; none by default."""

    cache: Annotated[
        tuple[Cache, ...], Field(strict=False), _sandbox_key(key_meaning.refuse_member_changes)
    ] = ()
    """The tools whose caches on the host the script sees, copy-on-write; none by default."""

    new_namespaces: Annotated[bool, _sandbox_key(key_meaning.refuse_change)] = False
    """Let root create namespaces, as any other user may, except control group namespaces."""

    @field_validator("capabilities")
    @classmethod
    def _check_network_admin(
        cls, capabilities: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if "NET_ADMIN" in capabilities and info.data.get("network") != "isolated":
            raise build_error(
                "cannot include NET_ADMIN on the host's network",
                'add network = "isolated", since it would change the host',
            )
        return capabilities

    @field_validator("network")
    @classmethod
    def _check_isolation(cls, network: str, info: ValidationInfo) -> str:
        requires: Requires = info.data.get("requires", Requires())
        if network == "isolated" and requires.endpoints:
            raise build_error(
                "cannot be 'isolated' if requires.endpoints is set",
                "remove one of the two; an isolated scenario can only reach itself",
            )
        if network == "isolated" and info.data.get("services"):
            raise build_error(
                "cannot be 'isolated' if there are services",
                "remove one of the two; an isolated scenario can only reach itself",
            )
        return network


class Scenario(Settings):
    """A script and its settings, one entry of a manifest. Durations are in seconds."""

    name: Annotated[
        Name, _entry_key(Unjudged("a scenario that is found by neither name nor alias is lost"))
    ]
    script: Annotated[
        Text, _entry_key(Unjudged("the path and the content of the file are judged together"))
    ]

    aliases: Annotated[
        tuple[Name, ...], Field(strict=False), _entry_key(key_meaning.RemovalJudge("alias"))
    ] = ()
    """Former names of the scenario."""

    owners: Annotated[
        tuple[Annotated[Text, AfterValidator(str.strip)], ...],
        Field(strict=False),
        _entry_key(key_meaning.RemovalJudge("owner")),
    ] = ()
    """The tasks that own the scenario, without surrounding blanks."""

    description: Annotated[str, _entry_key(Unjudged("it is only documentation"))] = ""

    assertion: Annotated[str, _entry_key(key_meaning.judge_rewording)] = ""
    """The fact that must hold, in one sentence."""

    _directory: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: object, /) -> None:
        """Store the manifest's directory, passed as `context` while a manifest is parsed."""
        if isinstance(context, Path):
            self._directory = context

    @property
    def folder(self) -> Path:
        """The directory of its manifest, which relative paths start from."""
        return self._directory

    @property
    def script_path(self) -> Path:
        """The path of the script; symbolic links are not resolved."""
        return self._directory / self.script


class Gate(StrictModel):
    """Gate rules for tasks that own no scenario, and for skipped scenarios."""

    unowned: Annotated[Literal["allow", "refuse"], _entry_key(key_meaning.refuse_looser)] = "allow"

    max_skips: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | None, _entry_key(key_meaning.refuse_higher_limit)
    ] = None
    """The maximum number of skipped scenarios; None is unlimited."""


class Growth(StrictModel):
    """Settings of `isosmoke check`, which lets a manifest only grow."""

    main_branch: Annotated[Text | None, _entry_key(key_meaning.refuse_change)] = None
    """The name of the main branch; None is the default branch of `origin`, or main or master."""


class Retention(StrictModel):
    """Retention of past runs: a run is deleted if it exceeds any of these limits."""

    keep_runs: Annotated[Count, _RETENTION_KEY] = 20
    """The number of runs to keep, including the one that is starting."""

    keep_days: Annotated[int, Field(gt=0, le=36500), _RETENTION_KEY] = 30
    keep_size: Annotated[Size, _RETENTION_KEY] = 2 * 1024**3
    """The total size of the kept runs, in bytes."""


class Manifest(StrictModel):
    """A validated manifest, its scenarios in file order with the defaults applied."""

    path: Path
    scenarios: tuple[Scenario, ...]
    gate: Gate = Gate()
    check: Growth = Growth()
    record: Retention = Retention()


def _require_scenarios(schema: dict[str, Any]) -> None:
    """Add the requirement of `isosmoke.manifest.parser` that there is at least one scenario."""
    schema["required"] = ["scenario"]
    schema["properties"]["scenario"]["minItems"] = 1


class ManifestDocument(StrictModel):
    """A manifest as it is written, before its defaults are applied."""

    model_config = ConfigDict(title="Document", json_schema_extra=_require_scenarios)

    scenario: Annotated[tuple[Scenario, ...], Field(strict=False)] = ()
    defaults: Settings = Settings()
    gate: Gate = Gate()
    check: Growth = Growth()
    record: Retention = Retention()
