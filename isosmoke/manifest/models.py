"""What a manifest may say of a scenario: the models of its tables, and what each key means."""

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
    Capability,
    Count,
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
    shown,
    wrong,
)


def _of_sandbox(change: Judge | Unjudged) -> Meaning:
    return Meaning(makes_sandbox=True, change=change)


def _of_entry(change: Judge | Unjudged) -> Meaning:
    return Meaning(makes_sandbox=False, change=change)


_OF_THE_PAST = _of_entry(Unjudged("what is kept of past runs decides nothing about the next"))


class StrictModel(BaseModel):
    """What all tables have in common: no key too many, and no value of another kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Requires(StrictModel):
    """What must be there, or the scenario is skipped: programs, variables, addresses."""

    commands: Annotated[Texts, _of_sandbox(key_meaning.demanded)] = ()
    env: Annotated[Variables, _of_sandbox(key_meaning.demanded)] = ()
    endpoints: Annotated[Texts, _of_sandbox(key_meaning.demanded)] = ()


class Limits(StrictModel):
    """What a scenario may use; None is no limit."""

    memory: Annotated[Size | None, _of_sandbox(key_meaning.noted)] = None
    """Bytes, of all its processes together."""

    processes: Annotated[Count | None, _of_sandbox(key_meaning.noted)] = None

    output: Annotated[Size, _of_sandbox(Unjudged("a verdict does not depend on what is kept"))] = (
        100 * 1024**2
    )
    """Bytes, the most that is kept of a log on disk."""

    open_files: Annotated[Count | None, _of_sandbox(key_meaning.noted)] = None


class Allowance(StrictModel):
    """Processes that may outlive a scenario: those whose joined command line `command` finds."""

    command: Pattern
    reason: Text

    until: date | None = None
    """The last day it holds; None is for ever."""


class Leaks(StrictModel):
    """What a process that outlives its scenario means."""

    policy: Literal["fail", "report"] = "fail"
    allow: Annotated[tuple[Allowance, ...], Field(strict=False)] = ()


def _leaks(value: object) -> object:
    """A policy alone as the table it stands for."""
    match value:
        case "fail" | "report":
            return {"policy": value}
        case dict() | Leaks():
            return value
        case _:
            raise wrong(
                f"must be 'fail', 'report' or a table, not {shown(value)}",
                'write leaks = "report", or leaks = { policy = "fail", allow = [...] }',
            )


class Wait(StrictModel):
    """What shows that a service is ready: one of the three."""

    port: Port | None = None
    """Somebody accepts on it and stays."""

    log: Pattern | None = None
    """It is found in what the service printed."""

    health: Literal[True] | None = None
    """The health check of its image passes."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise wrong(
                "must name one of 'port', 'log' and 'health'",
                'write wait = { port = 5432 }, { log = "ready" } or { health = true }',
            )
        return self


class Service(StrictModel):
    """A container that runs beside a scenario's sandbox and ends with it."""

    name: ServiceName
    image: Text

    command: Texts = ()
    """In place of the image's own; its entry point stays."""

    env: Mapping[Variable, Value] = Field(default_factory=dict)
    """`${NAME}` stands for what the scenario's `pass_env` names."""

    ports: Annotated[tuple[Port, ...], Field(strict=False)] = ()
    """Those of the container that the scenario reaches."""

    wait: Wait | None = None
    """None: the first of its ports, or without any that it runs."""

    timeout_seconds: WholeSeconds = 60
    """How long it may take to be ready."""

    @model_validator(mode="after")
    def _waits_for_a_port_of_its_own(self) -> Self:
        port = self.wait and self.wait.port
        if port and port not in self.ports:
            raise wrong(f"waits for port {port}, which is not one of its ports", "add it to ports")
        return self

    @property
    def prefix(self) -> str:
        """What the variables begin with that tell the scenario where it is."""
        return self.name.upper().replace("-", "_")


def _apart(services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Unlike in what their variables begin with."""
    if len({one.prefix for one in services}) < len(services):
        raise wrong(
            "has two services of one name", "rename one: upper case and '-' make no difference"
        )
    return services


class Settings(StrictModel):
    """The keys of a scenario that `[defaults]` may set for all of them."""

    timeout_seconds: Annotated[WholeSeconds, _of_sandbox(key_meaning.shortened)] = 180

    image: Annotated[Text, _of_sandbox(key_meaning.noted)] = "host"
    """The host's own system, `rootfs:` and a folder, or the name of a clean environment."""

    requires: Annotated[Requires, _of_sandbox(key_meaning.by_key)] = Requires()
    leaks: Annotated[
        Leaks,
        BeforeValidator(_leaks, json_schema_input_type=Literal["fail", "report"] | Leaks),
        _of_entry(key_meaning.allowed_leaks),
    ] = Leaks()
    services: Annotated[
        tuple[Service, ...],
        Field(strict=False),
        AfterValidator(_apart),
        _of_sandbox(key_meaning.noted_services),
    ] = ()
    network: Annotated[Literal["host", "isolated"], _of_sandbox(key_meaning.noted)] = "host"

    locks: Annotated[
        Texts, _of_sandbox(Unjudged("what runs beside a scenario changes nothing that it asks for"))
    ] = ()
    """Scenarios that share a lock never run at the same time."""

    env: Annotated[Mapping[Variable, Value], _of_sandbox(key_meaning.noted_each)] = Field(
        default_factory=dict
    )
    pass_env: Annotated[Variables, _of_sandbox(key_meaning.noted_each)] = ()
    pass_files: Annotated[Texts, _of_sandbox(key_meaning.noted_each)] = ()
    tags: Annotated[Texts, _of_entry(key_meaning.noted_each)] = ()
    retries: Annotated[int, Field(ge=0, le=100), _of_entry(key_meaning.raised)] = 0

    settle_seconds: Annotated[Seconds, _of_sandbox(key_meaning.raised)] = 2
    """How long processes may take to end after the script."""

    grace_seconds: Annotated[
        Seconds, _of_sandbox(Unjudged("it begins where the outcome is TIMEOUT already"))
    ] = 5
    """How long lies between SIGTERM and SIGKILL."""

    limits: Annotated[Limits, _of_sandbox(key_meaning.by_key)] = Limits()

    capabilities: Annotated[
        tuple[Capability, ...], Field(strict=False), _of_sandbox(key_meaning.noted_each)
    ] = ()
    """What a script may do beyond its user's rights; without any, nothing."""

    new_namespaces: Annotated[
        bool, _of_sandbox(Unjudged("it allows a script more, and asks for no less"))
    ] = False
    """Whether root may make namespaces, as any other user may; never those of control groups."""

    @field_validator("capabilities")
    @classmethod
    def _harmless(cls, named: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if "NET_ADMIN" in named and others.data.get("network") != "isolated":
            raise wrong(
                "cannot be NET_ADMIN on the host's network",
                'it would change the host: add network = "isolated"',
            )
        return named

    @field_validator("network")
    @classmethod
    def _reachable(cls, network: str, others: ValidationInfo) -> str:
        requires: Requires = others.data.get("requires", Requires())
        if network == "isolated" and requires.endpoints:
            raise wrong(
                "cannot be 'isolated' while requires.endpoints names any",
                "an isolated scenario reaches nothing but itself: take out one of the two",
            )
        if network == "isolated" and others.data.get("services"):
            raise wrong(
                "cannot be 'isolated' while there are services",
                "an isolated scenario reaches nothing but itself: take out one of the two",
            )
        return network


class Scenario(Settings):
    """One entry of a manifest: a script and what it needs. Durations are in seconds."""

    name: Annotated[
        Name, _of_entry(Unjudged("a scenario that neither name nor alias finds again is lost"))
    ]
    script: Annotated[Text, _of_entry(Unjudged("it may move; what is in the file then is judged"))]

    aliases: Annotated[
        tuple[Name, ...], Field(strict=False), _of_entry(key_meaning.Lost("alias"))
    ] = ()
    """The names that it had before."""

    owners: Annotated[
        tuple[Annotated[Text, AfterValidator(str.strip)], ...],
        Field(strict=False),
        _of_entry(key_meaning.Lost("owner")),
    ] = ()
    """The tasks that it guards, trimmed."""

    description: Annotated[str, _of_entry(Unjudged("nothing acts on it"))] = ""

    assertion: Annotated[str, _of_entry(key_meaning.reworded)] = ""
    """What must hold, in one sentence."""

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: object, /) -> None:
        """Keep the folder of the manifest, which is what `context` is while one is read."""
        if isinstance(context, Path):
            self._folder = context

    @property
    def folder(self) -> Path:
        """The folder of its manifest, which its relative paths start from."""
        return self._folder

    @property
    def script_path(self) -> Path:
        """The script from the folder of its manifest; symbolic links are not followed."""
        return self._folder / self.script


class Gate(StrictModel):
    """What the gate does about a task that owns no scenario, and how many skips it bears."""

    unowned: Annotated[Literal["allow", "refuse"], _of_entry(key_meaning.loosened)] = "allow"

    max_skips: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | None, _of_entry(key_meaning.raised_or_lifted)
    ] = None
    """None is any number."""


class Retention(StrictModel):
    """Which runs of the past are kept: forgotten is what any of these leaves out."""

    keep_runs: Annotated[Count, _OF_THE_PAST] = 20
    """How many, the one that starts included."""

    keep_days: Annotated[int, Field(gt=0, le=36500), _OF_THE_PAST] = 30
    keep_size: Annotated[Size, _OF_THE_PAST] = 2 * 1024**3
    """All of them together, in bytes."""


class Manifest(StrictModel):
    """What one manifest says; the scenarios are in its order and have their defaults."""

    path: Path
    scenarios: tuple[Scenario, ...]
    gate: Gate = Gate()
    record: Retention = Retention()


def _with_scenarios(schema: dict[str, Any]) -> None:
    """Demand what `isosmoke.manifest.parser` demands beyond the models: at least one scenario."""
    schema["required"] = ["scenario"]
    schema["properties"]["scenario"]["minItems"] = 1


class Document(StrictModel):
    """A manifest as it is written, its defaults still apart."""

    model_config = ConfigDict(json_schema_extra=_with_scenarios)

    scenario: Annotated[tuple[Scenario, ...], Field(strict=False)] = ()
    defaults: Settings = Settings()
    gate: Gate = Gate()
    record: Retention = Retention()
