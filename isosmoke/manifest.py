"""TOML text → scenarios, with every mistake named by file, line, scenario and key."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import tomli
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from isosmoke.errors import ManifestError

WG_MANIFEST = Path("tests/smoke/manifest.toml")
"""Where wg keeps its manifest, from the top of a project."""

GRAPH_NAMES = (".wg", ".workgraph")
"""What wg calls its graph folder, today's name first."""

_SHOWN_LENGTH = 60
_WEEK = 7 * 24 * 60 * 60
_NAME_LENGTH = 200  # leaves room for a suffix within the 255 bytes of a file name

_Loc = tuple[str | int, ...]


def _wrong(text: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{text}", {"text": text, "hint": hint})


def _shown(value: object) -> str:
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
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text) or len(text) > _NAME_LENGTH:
        raise _wrong(
            f"must be letters, digits, '_', '.' and '-', not {_shown(text)}",
            f"a name is also a file name: at most {_NAME_LENGTH} characters, not '.' or '-' first",
        )
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise _wrong(
            f"must be the name of a variable, not {_shown(text)}",
            "a variable is letters, digits and '_', such as WG_LOG",
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
    if isinstance(value, str) and (size := re.fullmatch("([0-9]{1,12})([KMGT]?)", value)):
        return int(size[1]) * 1024 ** " KMGT".index(size[2] or " ")
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(
            f"must be bytes or a size, not {_shown(value)}",
            'write a size as 1048576, "512K", "512M" or "2G"',
        )
    return value


_Text = Annotated[str, AfterValidator(_without_zero), AfterValidator(_not_blank)]
_Variable = Annotated[str, AfterValidator(_variable)]
_Seconds = Annotated[float, Field(ge=0, le=_WEEK, allow_inf_nan=False)]
_Count = Annotated[int, Field(gt=0, lt=2**63)]
_Size = Annotated[_Count, BeforeValidator(_bytes)]

# TOML knows lists only, so the outermost type alone may be converted.
_Texts = Annotated[tuple[_Text, ...], Field(strict=False)]
_Variables = Annotated[tuple[_Variable, ...], Field(strict=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Requires(_Table):
    """What must be there, or the scenario is skipped: programs, variables, addresses."""

    commands: _Texts = ()
    env: _Variables = ()
    endpoints: _Texts = ()


class Limits(_Table):
    """What a scenario may use; None is no limit."""

    memory: _Size | None = None
    """Bytes, of all its processes together."""

    processes: _Count | None = None

    output: _Size = 100 * 1024**2
    """Bytes, the most that is kept of a log on disk."""

    open_files: _Count | None = None


class Allowance(_Table):
    """Processes that may outlive a scenario: those whose joined command line `command` finds."""

    command: Annotated[_Text, AfterValidator(_pattern)]
    reason: _Text

    until: date | None = None
    """The last day it holds; None is for ever."""


class Leaks(_Table):
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
                f"must be 'fail', 'report' or a table, not {_shown(value)}",
                'write leaks = "report", or leaks = { policy = "fail", allow = [...] }',
            )


class Settings(_Table):
    """The keys of a scenario that `[defaults]` may set for all of them."""

    timeout_seconds: Annotated[int, Field(gt=0, le=_WEEK)] = 180

    image: _Text = "host"
    """The host's own system, or the name of a clean environment."""

    requires: Requires = Requires()
    leaks: Annotated[Leaks, BeforeValidator(_leaks)] = Leaks()
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

    @field_validator("network")
    @classmethod
    def _reachable(cls, network: str, others: ValidationInfo) -> str:
        requires: Requires = others.data.get("requires", Requires())
        if network == "isolated" and requires.endpoints:
            raise _wrong(
                "cannot be 'isolated' while requires.endpoints names any",
                "an isolated scenario reaches nothing but itself: take out one of the two",
            )
        return network


class Scenario(Settings):
    """One entry of a manifest: a script and what it needs. Durations are in seconds."""

    name: Annotated[str, AfterValidator(_name)]
    script: _Text

    aliases: Annotated[tuple[Annotated[str, AfterValidator(_name)], ...], Field(strict=False)] = ()
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
    def script_path(self) -> Path:
        """The script from the folder of its manifest; symbolic links are not followed."""
        return self._folder / self.script


class Gate(_Table):
    """What the gate does about a task that owns no scenario, and how many skips it bears."""

    unowned: Literal["allow", "refuse"] = "allow"

    max_skips: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """None is any number."""


class Manifest(_Table):
    """What one manifest says; the scenarios are in its order and have their defaults."""

    path: Path
    scenarios: tuple[Scenario, ...]
    gate: Gate = Gate()


class _Document(_Table):
    scenario: Annotated[tuple[Scenario, ...], Field(strict=False)] = ()
    defaults: Settings = Settings()
    gate: Gate = Gate()


def parse(text: str, path: Path) -> Manifest:
    """The manifest that `text` is; nothing is read from disk.

    `path` is where the text came from: mistakes name it, and scripts lie relative to its folder.

    A scenario's own value wins over `[defaults]`. Where both are tables they merge key by key, one
    level deep; anything else replaces, so `leaks = "fail"` also drops every default allowance.

    Raises:
        ManifestError: with all mistakes found, one on each line.
    """
    return _judged(_Source(path, text, _decoded(text, path)))


def load(path: Path) -> Manifest:
    """The manifest in the file `path`, whose scripts are all there.

    A mirror of one, which `isosmoke bridge` writes for wg, stands for the manifest that it mirrors.

    Raises:
        ManifestError: with all mistakes found, one on each line, or why it cannot be read.
    """
    source = _source(path)
    bridge = source.document.get("bridge")
    if isinstance(bridge, dict) and isinstance(bridge.get("source"), str):
        source = _source(Path(bridge["source"]))
    return _judged(source, _missing_scripts(source))


def _source(path: Path) -> "_Source":
    text = _text(path)
    return _Source(path, text, _decoded(text, path))


def _text(path: Path) -> str:
    try:
        # wg's reader takes a byte order mark, so a manifest may begin with one.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ManifestError(f"{path}: {reason}", "name a manifest that can be read") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}:{line}: is not UTF-8 text", "save it as UTF-8") from error


def _decoded(text: str, path: Path) -> Mapping[str, object]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        hint = "correct the syntax: isosmoke reads TOML 1.0, as wg does"
        raise ManifestError(f"{place}: {error.msg[:1].lower()}{error.msg[1:]}", hint) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or hundreds of brackets: tomli does not say where.
        raise ManifestError(f"{path}: {error}", "write it simpler") from error


@dataclass(frozen=True)
class _Mistake:
    loc: _Loc
    text: str
    hint: str


@dataclass(frozen=True)
class _Source:
    """A text that is TOML, and where in it things stand."""

    path: Path
    text: str
    document: Mapping[str, object]

    @cached_property
    def lines(self) -> "_Lines":
        return _Lines(self.text)

    @cached_property
    def entries(self) -> Mapping[int, Mapping[str, object]]:
        """The scenarios that are tables, by their place."""
        scenarios = self.document.get("scenario")
        numbered = enumerate(scenarios if isinstance(scenarios, list) else ())
        return {number: entry for number, entry in numbered if isinstance(entry, dict)}

    def error(self, mistakes: Iterable[_Mistake]) -> ManifestError:
        firsts: dict[_Loc, _Mistake] = {}
        for one in mistakes:
            firsts.setdefault(one.loc, one)  # the first mistake about a key causes the others
        told = sorted(firsts.values(), key=lambda one: self.lines.line(one.loc) or 0)
        message = "\n".join(self._sentence(one) for one in told)
        return ManifestError(message, "\n".join(dict.fromkeys(one.hint for one in told)))

    def _sentence(self, mistake: _Mistake) -> str:
        line = self.lines.line(mistake.loc)
        place = f"{self.path}:{line}" if line else str(self.path)
        keys = _within(mistake.loc)
        subject = (self._table(mistake.loc), f"key {_dotted(keys)!r}" if keys else "")
        return _printable(": ".join(part for part in (place, *subject, mistake.text) if part))

    def _table(self, loc: _Loc) -> str:
        match loc:
            case ("scenario", int(number), *_):
                name = self.entries.get(number, {}).get("name")
                return f"scenario {_shown(name) if isinstance(name, str) else number + 1}"
            case ("defaults" | "gate" as table, *_):
                return f"[{table}]"
            case _:
                return ""


def _printable(text: str) -> str:
    """`text` on one line, and harmless to a terminal whatever the manifest holds."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _within(loc: _Loc) -> _Loc:
    """`loc` as seen from the scenario or the table it lies in."""
    match loc:
        case ("scenario", int(), *keys) | ("defaults" | "gate", *keys):
            return tuple(keys)
        case _:
            return loc


def _dotted(keys: Iterable[str | int]) -> str:
    """`leaks.allow[0].until`."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


def _judged(source: _Source, further: Iterable[_Mistake] = ()) -> Manifest:
    document, mistakes = _validated(source)
    mistakes = [*_unlisted(source), *mistakes, *_twice_named(source), *further]
    if document is None or mistakes:
        raise source.error(mistakes)
    return Manifest(path=source.path, scenarios=document.scenario, gate=document.gate)


def _validated(source: _Source) -> tuple[_Document | None, list[_Mistake]]:
    folder = source.path.parent.absolute()
    try:
        return _Document.model_validate(_with_defaults(source), context=folder), []
    except ValidationError as error:
        return None, [_mistake(one) for one in error.errors()]


def _with_defaults(source: _Source) -> Mapping[str, object]:
    """The document with its defaults in each scenario, unless they are wrong themselves.

    Mistakes in the defaults are told once, where they stand, and not again for each scenario.
    """
    defaults, scenarios = source.document.get("defaults"), source.document.get("scenario")
    if not (isinstance(defaults, dict) and isinstance(scenarios, list) and _are_right(defaults)):
        return source.document
    return {**source.document, "scenario": [_merged(defaults, own) for own in scenarios]}


def _are_right(defaults: Mapping[str, object]) -> bool:
    try:
        Settings.model_validate(defaults)
    except ValidationError:
        return False
    return True


def _merged(defaults: Mapping[str, object], own: object) -> object:
    if not isinstance(own, dict):
        return own
    tables = {
        key: {**default, **own[key]}
        for key, default in defaults.items()
        if isinstance(default, dict) and isinstance(own.get(key), dict)
    }
    return {**defaults, **own, **tables}


def _unlisted(source: _Source) -> Iterator[_Mistake]:
    example = '[[scenario]], name = "..." and script = "..."'
    scenarios = source.document.get("scenario")
    if not scenarios:
        yield _Mistake(("scenario",), "names no scenario", f"add one: {example}")
    elif isinstance(scenarios, dict):
        yield _Mistake(("scenario",), "must be a list of tables", f"double its brackets: {example}")


def _twice_named(source: _Source) -> Iterator[_Mistake]:
    first: dict[str, _Loc] = {}
    for number, entry in source.entries.items():
        name, loc = entry.get("name"), ("scenario", number, "name")
        if isinstance(name, str) and first.setdefault(name, loc) != loc:
            line = source.lines.line(first[name])
            yield _Mistake(
                loc,
                f"the scenario on line {line} has this name already",
                "rename one of them: a name stands for one regression",
            )


def _missing_scripts(source: _Source) -> Iterator[_Mistake]:
    folder = source.path.parent.absolute()
    for number, entry in source.entries.items():
        script = entry.get("script")
        if isinstance(script, str) and (reason := _unrunnable(folder / script)):
            yield _Mistake(
                ("scenario", number, "script"),
                f"{reason}: {folder / script}",
                f"a script lies relative to the folder of its manifest, {folder}",
            )


def _unrunnable(script: Path) -> str:
    """Why `script` is not there to be run; empty if it is."""
    try:
        if script.is_file():
            return ""
        return "is not a file" if script.exists() else "no such file"
    except OSError as error:
        return (error.strerror or str(error)).lower()


_MODELS: Mapping[str, type[_Table]] = {
    "scenario": Scenario,
    "defaults": Settings,
    "gate": Gate,
    "requires": Requires,
    "limits": Limits,
    "leaks": Leaks,
    "allow": Allowance,
}

_KINDS = {
    "int_type": ("a whole number", "write a whole number without quotes, such as 30"),
    "float_type": ("a number", "write a number without quotes, such as 2.5"),
    "string_type": ("a string", 'write text in quotes, such as "text"'),
    "tuple_type": ("a list", 'write a list in brackets, such as ["a", "b"]'),
    "dict_type": ("a table", 'write a table in braces, such as { KEY = "value" }'),
    "model_type": ("a table", 'write a table in braces, such as { KEY = "value" }'),
    "date_type": ("a date", "write a date without quotes, such as 2027-01-31"),
}


def _mistake(error: ErrorDetails) -> _Mistake:
    # pydantic marks a mistake in a key, as opposed to its value, by one more step.
    loc = error["loc"][:-1] if error["loc"][-1] == "[key]" else error["loc"]
    return _Mistake(loc, *_told(error, loc))


def _told(error: ErrorDetails, loc: _Loc) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    match error["type"]:
        case "wrong":
            return error["ctx"]["text"], error["ctx"]["hint"]
        case "extra_forbidden":
            return _unknown(loc)
        case "missing":
            return "is missing", f"give it a {loc[-1]}"
        case kind:
            valid, hint = _KINDS.get(kind, ("", "nothing was started: correct it and run again"))
            must = f"must be {valid}" if valid else error["msg"].replace("Input should", "must", 1)
            return f"{must}, not {_shown(error['input'])}", hint


def _unknown(loc: _Loc) -> tuple[str, str]:
    *parents, key = loc
    if parents == ["defaults"] and key in Scenario.model_fields:
        return (
            "belongs to one scenario, so it cannot be a default",
            "move it to the scenarios it is meant for",
        )
    table = next((key for key in reversed(parents) if isinstance(key, str)), "")
    known = list(_MODELS.get(table, _Document).model_fields)
    for meant in get_close_matches(str(key), known, n=1):
        found = _dotted(_within((*parents, meant)))
        return f"unknown key; did you mean {found!r}?", "correct the spelling"
    return "unknown key", f"known here: {', '.join(known)}"


class _Lines:
    """Which line each key of a valid text stands on.

    The TOML reader itself tells statements apart: lines are added until it takes them, which for a
    valid text is just when a statement is whole. This takes longer than reading does, so it is for
    texts with a mistake only.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[_Loc, int] = {}
        self._lengths: Counter[_Loc] = Counter()
        self._table: _Loc = ()
        for first, statement in _statements(text):
            if statement[0].lstrip().startswith("["):
                self._open(first, _taken(statement))
            else:
                self._add(first, statement)

    def line(self, loc: _Loc) -> int | None:
        """The line of `loc`, else of what it lies in, counted from 1."""
        known = (loc[:end] for end in range(len(loc), 0, -1) if loc[:end] in self._lines)
        return next((self._lines[one] for one in known), None)

    def _open(self, first: int, header: object) -> None:
        loc: _Loc = ()
        while isinstance(header, dict) and header:
            ((key, header),) = header.items()
            loc = (*loc, key)
            self._lines.setdefault(loc, first)
            self._lengths[loc] += isinstance(header, list)
            if self._lengths[loc]:
                loc = (*loc, self._lengths[loc] - 1)
                self._lines.setdefault(loc, first)
        self._table = loc

    def _add(self, first: int, statement: list[str]) -> None:
        for loc, line in _places(statement):
            self._lines.setdefault((*self._table, *loc), first + line)


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each statement as its lines, with the number of the first."""
    lines: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        lines.append(line)
        # Beyond one line, only a bracket or three quotes can end it; long text costs one look.
        may_end = len(lines) == 1 or any(end in line for end in ("]", '"""', "'''"))
        if may_end and _taken(lines) is not None:
            yield number - len(lines) + 1, lines
            lines = []


def _places(statement: list[str]) -> Iterator[tuple[_Loc, int]]:
    """Each key and item in `statement`, with the line in it where it is whole; the first holds."""
    whole = list(_locs(_taken(statement)))
    items = {loc for loc in whole if any(isinstance(key, int) for key in loc)}
    yield from ((loc, 0) for loc in whole if loc not in items)
    for last in range(len(statement) - 1 if items else 0):
        for closed in ("]", "]}"):
            for loc in _locs(_taken([*statement[: last + 1], closed])):
                yield loc, last
    yield from ((loc, len(statement) - 1) for loc in items)


def _taken(lines: list[str]) -> Mapping[str, object] | None:
    try:
        return tomli.loads("\n".join(lines))
    except tomli.TOMLDecodeError:
        return None


def _locs(document: object) -> Iterator[_Loc]:
    """The way to everything in `document`; no recursion, since dotted keys nest without limit."""
    waiting: list[tuple[_Loc, object]] = [((), document)]
    while waiting:
        loc, node = waiting.pop()
        inside = enumerate(node) if isinstance(node, list) else ()
        for key, child in node.items() if isinstance(node, dict) else inside:
            yield (*loc, key)
            waiting.append(((*loc, key), child))


def graph_folder(cwd: Path, environ: Mapping[str, str]) -> Path:
    """The graph folder that wg would use in `cwd`, by wg's own rules; it need not exist."""
    if named := environ.get("WG_DIR"):
        return _graph_in(cwd / named).resolve()
    home = [Path(environ["HOME"])] if environ.get("HOME") else []
    folders = (cwd, *cwd.parents, *home)
    places = (folder / name for folder in folders for name in GRAPH_NAMES)
    return next((place for place in places if _answer(place.is_dir)), cwd / ".wg").resolve()


def _graph_in(folder: Path) -> Path:
    if folder.name in GRAPH_NAMES or _answer((folder / "graph.jsonl").is_file):
        return folder
    places = (folder / name for name in GRAPH_NAMES)
    return next((place for place in places if _answer(place.is_dir)), folder)


def find_manifest(cwd: Path, environ: Mapping[str, str], git_top: Path | None) -> Path:
    """The manifest that `wg done` would read, else `manifest.toml` in `cwd`.

    wg takes `WG_SMOKE_MANIFEST` (relative to its graph folder), else the manifest of the graph
    folder, of the project around that, or of the repository. `cwd` is absolute; `git_top` is the
    top level of the repository that `graph_folder` lies in, None if it lies in none.

    Raises:
        ManifestError: if there is none, with every place tried. wg would pass in silence.
    """
    graph = graph_folder(cwd, environ)
    if "WG_SMOKE_MANIFEST" in environ:
        return _named(graph / environ["WG_SMOKE_MANIFEST"])
    projects = (graph, graph.parent, *([git_top] if git_top else []))
    places = dict.fromkeys([*(one / WG_MANIFEST for one in projects), cwd / "manifest.toml"])
    for place in places:
        if _answer(place.exists):
            return place
    tried = "".join(f"\n  {place}" for place in places)
    raise ManifestError(f"no manifest in any of{tried}", "make one there, or name it")


def _named(path: Path) -> Path:
    if not _answer(path.is_file):
        raise ManifestError(
            f"WG_SMOKE_MANIFEST names {path}, which is not a file",
            "correct it, or unset it to look where wg would look",
        )
    return path


def _answer(question: Callable[[], bool]) -> bool:
    """No, where the file system will not say, as for wg."""
    try:
        return question()
    except OSError:
        return False
