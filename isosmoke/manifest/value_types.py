"""What a value of a manifest may be: the types of fields, and the validators behind them."""

import re
from datetime import date, time
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from isosmoke.sandbox.spec import CAPABILITIES

_SHOWN_LENGTH = 60
_WEEK_SECONDS = 7 * 24 * 60 * 60
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_SERVICE = r"[A-Za-z][A-Za-z0-9_-]*"
_SIZE = r"([0-9]{1,12})([KMGT]?)"
_NAME_LENGTH = 200  # leaves room for a suffix within the 255 bytes of a file name


def wrong(text: str, hint: str) -> PydanticCustomError:
    """Return the error of a validator: what is wrong, and what to do about it."""
    return PydanticCustomError("wrong", "{text}", {"text": text, "hint": hint})


def shown(value: object) -> str:
    """Return `value` as a reader of TOML knows it, on one short line."""
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
        raise wrong("must not contain a zero byte", "no path, argument or variable can hold one")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise wrong("must not be blank", "say what is meant, or take it out")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text) or len(text) > _NAME_LENGTH:
        raise wrong(
            f"must be letters, digits, '_', '.' and '-', not {shown(text)}",
            f"a name is also a file name: at most {_NAME_LENGTH} characters, not '.' or '-' first",
        )
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(_VARIABLE, text):
        raise wrong(
            f"must be the name of a variable, not {shown(text)}",
            "a variable is letters, digits and '_', such as WG_LOG",
        )
    return text


def _service(text: str) -> str:
    if not re.fullmatch(_SERVICE, text):
        raise wrong(
            f"must be letters, digits, '_' and '-', not {shown(text)}",
            "a service's name begins variables, such as DB_PORT: start it with a letter",
        )
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise wrong(
            f"not a regular expression: {error}",
            r"it is one of Python's re: write \( for a bracket, and quote it as '...'",
        ) from error
    return text


def _bytes(value: object) -> object:
    """`"512M"` as the number of bytes it stands for."""
    if isinstance(value, str) and (size := re.fullmatch(_SIZE, value)):
        return int(size[1]) * 1024 ** " KMGT".index(size[2] or " ")
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(
            f"must be bytes or a size, not {shown(value)}",
            'write a size as 1048576, "512K", "512M" or "2G"',
        )
    return value


def _capability(text: str) -> str:
    if text not in CAPABILITIES:
        raise wrong(
            f"must be a capability that opens neither keeper nor host, not {shown(text)}",
            f"there are {', '.join(CAPABILITIES)} (capabilities(7))",
        )
    return text


def _like(pattern: str, **more: object) -> WithJsonSchema:
    """What a validator of strings demands, as a schema can say it."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", **more})


Text = Annotated[
    str, AfterValidator(_without_zero), AfterValidator(_not_blank), _like(r"[\s\S]*\S[\s\S]*")
]
Name = Annotated[str, AfterValidator(_name), _like(_NAME, maxLength=_NAME_LENGTH)]
Capability = Annotated[
    str, AfterValidator(_capability), WithJsonSchema({"enum": list(CAPABILITIES)})
]
Variable = Annotated[str, AfterValidator(_variable), _like(_VARIABLE)]
ServiceName = Annotated[str, AfterValidator(_service), _like(_SERVICE)]
Value = Annotated[str, AfterValidator(_without_zero)]
Pattern = Annotated[Text, AfterValidator(_pattern)]
Seconds = Annotated[float, Field(ge=0, le=_WEEK_SECONDS, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(gt=0, le=_WEEK_SECONDS)]
Count = Annotated[int, Field(gt=0, lt=2**63)]
Port = Annotated[int, Field(ge=1, le=65535)]
Size = Annotated[
    Count,
    BeforeValidator(_bytes, json_schema_input_type=Count | Annotated[str, _like(_SIZE)]),
]

# TOML knows lists only, so the outermost type alone may be converted.
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
Variables = Annotated[tuple[Variable, ...], Field(strict=False)]
