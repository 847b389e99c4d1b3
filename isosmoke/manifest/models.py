"""What a manifest may say of a scenario: the models of its tables, and what each key may hold."""

import re
from collections.abc import Mapping
from datetime import date, time
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
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from isosmoke.sandbox.spec import CAPABILITIES

_SHOWN_LENGTH = 60
_WEEK = 7 * 24 * 60 * 60
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_SERVICE = r"[A-Za-z][A-Za-z0-9_-]*"
_SIZE = r"([0-9]{1,12})([KMGT]?)"
_NAME_LENGTH = 200  # leaves room for a suffix within the 255 bytes of a file name


def _wrong(text: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{text}", {"text": text, "hint": hint})


def shown(value: object) -> str:
    """`value` as a reader of TOML knows it, on one short line."""
    match value:
        case bool():
            text = str(value).lower()
        case dict() | list():
            text = "a table" if isinstance(value, dict) else "a list"
        case str():
            text = repr(value)
        case date() | time():
            text = value.isoformat()
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def _without_zero(text: str) -> str:
    if "\0" in text:
        raise _wrong("must not contain a zero byte", "no path, argument or variable can hold one")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _wrong("must not be blank", "say what is meant, or take it out")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text) or len(text) > _NAME_LENGTH:
        raise _wrong(
            f"must be letters, digits, '_', '.' and '-', not {shown(text)}",
            f"a name is also a file name: at most {_NAME_LENGTH} characters, not '.' or '-' first",
        )
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(_VARIABLE, text):
        raise _wrong(
            f"must be the name of a variable, not {shown(text)}",
            "a variable is letters, digits and '_', such as WG_LOG",
        )
    return text


def _service(text: str) -> str:
    if not re.fullmatch(_SERVICE, text):
        raise _wrong(
            f"must be letters, digits, '_' and '-', not {shown(text)}",
            "a service's name begins variables, such as DB_PORT: start it with a letter",
        )
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise _wrong(
            f"not a regular expression: {error}",
            r"it is one of Python's re: write \( for a bracket, and quote it as '...'",
        ) from error
    return text


def _bytes(value: object) -> object:
    """`"512M"` as the number of bytes it stands for."""
    if isinstance(value, str) and (size := re.fullmatch(_SIZE, value)):
        return int(size[1]) * 1024 ** " KMGT".index(size[2] or " ")
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(
            f"must be bytes or a size, not {shown(value)}",
            'write a size as 1048576, "512K", "512M" or "2G"',
        )
    return value


def _capability(text: str) -> str:
    if text not in CAPABILITIES:
        raise _wrong(
            f"must be a capability that opens neither keeper nor host, not {shown(text)}",
            f"there are {', '.join(CAPABILITIES)} (capabilities(7))",
        )
    return text


def _like(pattern: str, **more: object) -> WithJsonSchema:
    """What a validator of strings demands, as a schema can say it."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", **more})


_Text = Annotated[
    str, AfterValidator(_without_zero), AfterValidator(_not_blank), _like(r"[\s\S]*\S[\s\S]*")
]
_Name = Annotated[str, AfterValidator(_name), _like(_NAME, maxLength=_NAME_LENGTH)]
_Capability = Annotated[
    str, AfterValidator(_capability), WithJsonSchema({"enum": list(CAPABILITIES)})
]
_Variable = Annotated[str, AfterValidator(_variable), _like(_VARIABLE)]
_Seconds = Annotated[float, Field(ge=0, le=_WEEK, allow_inf_nan=False)]
_Count = Annotated[int, Field(gt=0, lt=2**63)]
_Port = Annotated[int, Field(ge=1, le=65535)]
_Size = Annotated[
    _Count,
    BeforeValidator(_bytes, json_schema_input_type=_Count | Annotated[str, _like(_SIZE)]),
]

# TOML knows lists only, so the outermost type alone may be converted.
_Texts = Annotated[tuple[_Text, ...], Field(strict=False)]
_Variables = Annotated[tuple[_Variable, ...], Field(strict=False)]


class Table(BaseModel):
    """What all tables have in common: no key too many, and no value of another kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Requires(Table):
    """What must be there, or the scenario is skipped: programs, variables, addresses."""

    commands: _Texts = ()
    env: _Variables = ()
    endpoints: _Texts = ()


class Limits(Table):
    """What a scenario may use; None is no limit."""

    memory: _Size | None = None
    """Bytes, of all its processes together."""

    processes: _Count | None = None

    output: _Size = 100 * 1024**2
    """Bytes, the most that is kept of a log on disk."""

    open_files: _Count | None = None


class Allowance(Table):
    """Processes that may outlive a scenario: those whose joined command line `command` finds."""

    command: Annotated[_Text, AfterValidator(_pattern)]
    reason: _Text

    until: date | None = None
    """The last day it holds; None is for ever."""


class Leaks(Table):
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
            raise _wrong(
                f"must be 'fail', 'report' or a table, not {shown(value)}",
                'write leaks = "report", or leaks = { policy = "fail", allow = [...] }',
            )


class Wait(Table):
    """What shows that a service is ready: one of the three."""

    port: _Port | None = None
    """Somebody accepts on it and stays."""

    log: Annotated[_Text, AfterValidator(_pattern)] | None = None
    """It is found in what the service printed."""

    health: Literal[True] | None = None
    """The health check of its image passes."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise _wrong(
                "must name one of 'port', 'log' and 'health'",
                'write wait = { port = 5432 }, { log = "ready" } or { health = true }',
            )
        return self


class Service(Table):
    """A container that runs beside a scenario's sandbox and ends with it."""

    name: Annotated[str, AfterValidator(_service), _like(_SERVICE)]
    image: _Text

    command: _Texts = ()
    """In place of the image's own; its entry point stays."""

    env: Mapping[_Variable, Annotated[str, AfterValidator(_without_zero)]] = Field(
        default_factory=dict
    )
    """`${NAME}` stands for what the scenario's `pass_env` names."""

    ports: Annotated[tuple[_Port, ...], Field(strict=False)] = ()
    """Those of the container that the scenario reaches."""

    wait: Wait | None = None
    """None: the first of its ports, or without any that it runs."""

    timeout_seconds: Annotated[int, Field(gt=0, le=_WEEK)] = 60
    """How long it may take to be ready."""

    @model_validator(mode="after")
    def _waits_for_a_port_of_its_own(self) -> Self:
        port = self.wait and self.wait.port
        if port and port not in self.ports:
            raise _wrong(f"waits for port {port}, which is not one of its ports", "add it to ports")
        return self

    @property
    def prefix(self) -> str:
        """What the variables begin with that tell the scenario where it is."""
        return self.name.upper().replace("-", "_")


def _apart(services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Unlike in what their variables begin with."""
    if len({one.prefix for one in services}) < len(services):
        raise _wrong(
            "has two services of one name", "rename one: upper case and '-' make no difference"
        )
    return services


class Settings(Table):
    """The keys of a scenario that `[defaults]` may set for all of them."""

    timeout_seconds: Annotated[int, Field(gt=0, le=_WEEK)] = 180

    image: _Text = "host"
    """The host's own system, `rootfs:` and a folder, or the name of a clean environment."""

    requires: Requires = Requires()
    leaks: Annotated[
        Leaks,
        BeforeValidator(_leaks, json_schema_input_type=Literal["fail", "report"] | Leaks),
    ] = Leaks()
    services: Annotated[tuple[Service, ...], Field(strict=False), AfterValidator(_apart)] = ()
    network: Literal["host", "isolated"] = "host"

    locks: _Texts = ()
    """Scenarios that share a lock never run at the same time."""

    env: Mapping[_Variable, Annotated[str, AfterValidator(_without_zero)]] = Field(
        default_factory=dict
    )
    pass_env: _Variables = ()
    pass_files: _Texts = ()
    tags: _Texts = ()
    retries: Annotated[int, Field(ge=0, le=100)] = 0

    settle_seconds: _Seconds = 2
    """How long processes may take to end after the script."""

    grace_seconds: _Seconds = 5
    """How long lies between SIGTERM and SIGKILL."""

    limits: Limits = Limits()

    capabilities: Annotated[tuple[_Capability, ...], Field(strict=False)] = ()
    """What a script may do beyond its user's rights; without any, nothing."""

    new_namespaces: bool = False
    """Whether root may make namespaces, as any other user may; never those of control groups."""

    @field_validator("capabilities")
    @classmethod
    def _harmless(cls, named: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if "NET_ADMIN" in named and others.data.get("network") != "isolated":
            raise _wrong(
                "cannot be NET_ADMIN on the host's network",
                'it would change the host: add network = "isolated"',
            )
        return named

    @field_validator("network")
    @classmethod
    def _reachable(cls, network: str, others: ValidationInfo) -> str:
        requires: Requires = others.data.get("requires", Requires())
        if network == "isolated" and requires.endpoints:
            raise _wrong(
                "cannot be 'isolated' while requires.endpoints names any",
                "an isolated scenario reaches nothing but itself: take out one of the two",
            )
        if network == "isolated" and others.data.get("services"):
            raise _wrong(
                "cannot be 'isolated' while there are services",
                "an isolated scenario reaches nothing but itself: take out one of the two",
            )
        return network


class Scenario(Settings):
    """One entry of a manifest: a script and what it needs. Durations are in seconds."""

    name: _Name
    script: _Text

    aliases: Annotated[tuple[_Name, ...], Field(strict=False)] = ()
    """The names that it had before."""

    owners: Annotated[
        tuple[Annotated[_Text, AfterValidator(str.strip)], ...], Field(strict=False)
    ] = ()
    """The tasks that it guards, trimmed."""

    description: str = ""

    assertion: str = ""
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


class Gate(Table):
    """What the gate does about a task that owns no scenario, and how many skips it bears."""

    unowned: Literal["allow", "refuse"] = "allow"

    max_skips: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """None is any number."""


class Retention(Table):
    """Which runs of the past are kept: forgotten is what any of these leaves out."""

    keep_runs: _Count = 20
    """How many, the one that starts included."""

    keep_days: Annotated[int, Field(gt=0, le=36500)] = 30
    keep_size: _Size = 2 * 1024**3
    """All of them together, in bytes."""


class Manifest(Table):
    """What one manifest says; the scenarios are in its order and have their defaults."""

    path: Path
    scenarios: tuple[Scenario, ...]
    gate: Gate = Gate()
    record: Retention = Retention()


def _with_scenarios(schema: dict[str, Any]) -> None:
    """Demand what `isosmoke.manifest.loader` demands beyond the models: at least one scenario."""
    schema["required"] = ["scenario"]
    schema["properties"]["scenario"]["minItems"] = 1


class Document(Table):
    """A manifest as it is written, its defaults still apart."""

    model_config = ConfigDict(json_schema_extra=_with_scenarios)

    scenario: Annotated[tuple[Scenario, ...], Field(strict=False)] = ()
    defaults: Settings = Settings()
    gate: Gate = Gate()
    record: Retention = Retention()
