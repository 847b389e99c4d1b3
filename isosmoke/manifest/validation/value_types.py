"""Types of manifest values, with their validators and JSON schemas."""

import re
from collections.abc import Callable
from datetime import date, time
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from isosmoke import regular_expressions
from isosmoke.sandbox.spec import CACHES, CAPABILITIES

_MAX_FORMATTED_LENGTH = 60
_WEEK_SECONDS = 7 * 24 * 60 * 60
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_SERVICE = r"[A-Za-z][A-Za-z0-9_-]*"
_PATH = r"~|~?/[\s\S]*"
_SIZE = r"([0-9]{1,12})([KMGT]?)"
_PLACE = r"tls://\S+:[0-9]{1,5}|local:[1-9][0-9]?"
_FINGERPRINT = r"[0-9a-f]{64}"
_PUBLIC_KEY = r"\s*-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+\n-----END PUBLIC KEY-----\s*"
_COMMAND_PATTERN = r"(?!_(?: _)*$)[^\s\x00]+(?: [^\s\x00]+)*"
_MAX_PATTERN_LENGTH = 500  # the program that sabotages a binary compares no more
_MAX_NAME_LENGTH = 200  # leaves room for a suffix within the 255 bytes of a file name


def build_error(text: str, hint: str) -> PydanticCustomError:
    """Return the error for a validator to raise, with the problem and a hint."""
    return PydanticCustomError("wrong", "{text}", {"text": text, "hint": hint})


def format_value(value: object) -> str:
    """Return `value` in TOML notation, on one short line."""
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
    return text if len(text) <= _MAX_FORMATTED_LENGTH else f"{text[:_MAX_FORMATTED_LENGTH]}..."


def _check_zero_bytes(text: str) -> str:
    if "\0" in text:
        raise build_error(
            "must not contain a zero byte",
            "remove it; no path, argument or variable can contain one",
        )
    return text


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise build_error("must not be blank", "write a text, or remove the key")
    return text


def _check_name(text: str) -> str:
    if not re.fullmatch(_NAME, text) or len(text) > _MAX_NAME_LENGTH:
        raise build_error(
            f"must consist of letters, digits, '_', '.' and '-', not {format_value(text)}",
            f"use at most {_MAX_NAME_LENGTH} characters, and do not start with '.' or '-'",
        )
    return text


def _require(accepts: Callable[[str], object], problem: str, hint: str) -> AfterValidator:
    """Return a validator for texts that are accepted; its error has the problem and the hint."""

    def check(text: str) -> str:
        if not accepts(text):
            raise build_error(f"{problem}, not {format_value(text)}", hint)
        return text

    return AfterValidator(check)


def _check_pattern(text: str) -> str:
    try:
        regular_expressions.Pattern(text)
    except regular_expressions.PatternError as error:
        raise build_error(
            f"is not a regular expression: {error}",
            r"use the syntax of RE2 (no lookaround), write \( for a bracket, quote it as '...'",
        ) from error
    return text


def _parse_size(value: object) -> object:
    """Return the number of bytes of a size such as `"512M"`."""
    if isinstance(value, str) and (size := re.fullmatch(_SIZE, value)):
        return int(size[1]) * 1024 ** " KMGT".index(size[2] or " ")
    if isinstance(value, bool) or not isinstance(value, int):
        raise build_error(
            f"must be a size, not {format_value(value)}",
            'write a size as 1048576, "512K", "512M" or "2G"',
        )
    return value


def _matches(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def _build_schema(pattern: str, **extra: object) -> WithJsonSchema:
    """Return the JSON schema of a string that matches `pattern`."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", **extra})


Text = Annotated[
    str,
    AfterValidator(_check_zero_bytes),
    AfterValidator(_check_not_blank),
    _build_schema(r"[\s\S]*\S[\s\S]*"),
]
Name = Annotated[str, AfterValidator(_check_name), _build_schema(_NAME, maxLength=_MAX_NAME_LENGTH)]
Capability = Annotated[
    str,
    _require(
        CAPABILITIES.__contains__,
        "must be a capability that affects neither keeper nor host",
        f"use one of {', '.join(CAPABILITIES)} (capabilities(7))",
    ),
    WithJsonSchema({"enum": list(CAPABILITIES)}),
]
Cache = Annotated[
    str,
    _require(
        CACHES.__contains__,
        "must be a tool whose cache can be shown",
        f"use one of {', '.join(CACHES)}",
    ),
    WithJsonSchema({"enum": list(CACHES)}),
]
PublicKeyText = Annotated[
    str,
    _require(
        _matches(_PUBLIC_KEY),
        "must be a public key in PEM format",
        "copy what `openssl pkey -in KEY -pubout` prints into a text in triple quotes",
    ),
    AfterValidator(str.strip),
    _build_schema(_PUBLIC_KEY),
]
"""A public key in PEM format, without surrounding blanks."""


def is_command_pattern(text: str) -> bool:
    """Return whether a text is words with one blank between them, and not only `_`."""
    is_short = len(text.encode(errors="replace")) <= _MAX_PATTERN_LENGTH
    return is_short and re.fullmatch(_COMMAND_PATTERN, text) is not None


COMMAND_PATTERN_HINT = "write words with one blank between them, such as 'at _ *'"
CommandPattern = Annotated[
    str,
    _require(is_command_pattern, "must be a pattern of words", COMMAND_PATTERN_HINT),
    _build_schema(_COMMAND_PATTERN, maxLength=_MAX_PATTERN_LENGTH),
]
"""A pattern that names a subcommand; see `isosmoke.teeth.calls.grammar`."""

Variable = Annotated[
    str,
    _require(
        _matches(_VARIABLE),
        "must be a variable name",
        "use letters, digits and '_', such as WG_LOG",
    ),
    _build_schema(_VARIABLE),
]
FilePath = Annotated[
    Text,
    _require(
        _matches(_PATH),
        "must be an absolute path, or one in ~",
        "write /PATH or ~/PATH; the files of the workspace are in every sandbox",
    ),
    _build_schema(_PATH),
]
ServiceName = Annotated[
    str,
    _require(
        _matches(_SERVICE),
        "must consist of letters, digits, '_' and '-'",
        "start it with a letter, since it is a prefix of variables such as DB_PORT",
    ),
    _build_schema(_SERVICE),
]
Place = Annotated[
    str,
    _require(
        _matches(_PLACE),
        "must be the address of a scheduler",
        "write it as --place does: tls://HOST:PORT",
    ),
    _build_schema(_PLACE),
]
Fingerprint = Annotated[
    str,
    _require(
        _matches(_FINGERPRINT),
        "must be the SHA-256 of a certificate",
        "copy it from isosmoke cluster certificates, or isosmoke doctor --place",
    ),
    _build_schema(_FINGERPRINT),
]
Value = Annotated[str, AfterValidator(_check_zero_bytes)]
Pattern = Annotated[Text, AfterValidator(_check_pattern)]
Seconds = Annotated[float, Field(ge=0, le=_WEEK_SECONDS, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(gt=0, le=_WEEK_SECONDS)]
Count = Annotated[int, Field(gt=0, lt=2**63)]
Port = Annotated[int, Field(ge=1, le=65535)]
Size = Annotated[
    Count,
    BeforeValidator(
        _parse_size, json_schema_input_type=Count | Annotated[str, _build_schema(_SIZE)]
    ),
]

# TOML has lists but no tuples, so only the outermost type is converted.
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
Variables = Annotated[tuple[Variable, ...], Field(strict=False)]
FilePaths = Annotated[tuple[FilePath, ...], Field(strict=False)]
Fingerprints = Annotated[tuple[Fingerprint, ...], Field(strict=False)]
