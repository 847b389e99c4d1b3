"""Creation of a scenario: a manifest entry, and a script that fails until it is written.

The entry is appended to the manifest, whose existing bytes are copied unchanged.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from stat import S_IMODE

from isosmoke.errors import IsosmokeError, ManifestError, UsageError
from isosmoke.host import files, workspace_directories
from isosmoke.manifest import parser
from isosmoke.manifest.key_meaning import list_sandbox_keys
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.table_base import InvalidTableError
from isosmoke.text import format_toml

_SANDBOX_KEYS = list_sandbox_keys(Scenario)
_KEYS = ("name", "script", "owners", "assertion", *_SANDBOX_KEYS)

_SKELETON = """\
#!/usr/bin/env bash
# Protects: {assertion}
# Exit codes: 0 if it holds, 77 if it cannot be tested here (reason on stderr), else it is broken.
set -euo pipefail

echo "{name} is not written yet: make it fail without the fix and pass with it" >&2
exit 1
"""


def draft_scenario(
    name: str, *, owners: tuple[str, ...], assertion: str, **keys: object
) -> Scenario:
    """Create a scenario, validated by the rules of a manifest and two more.

    The script must be below the manifest's directory, by default `scenarios/NAME.sh`, and the
    assertion must not be blank.

    Raises:
        UsageError: The scenario breaks a rule.
    """
    keys = {"script": f"scenarios/{name}.sh", **keys, "name": name, "owners": owners}
    try:
        scenario = Scenario.validate({**keys, "assertion": " ".join(assertion.split())})
    except InvalidTableError as error:
        first = error.details[0]
        hint = first.get("ctx", {}).get("hint", "")
        raise UsageError(f"{first['loc'][0]}: {first['msg']}", hint) from error
    if not scenario.assertion:
        raise UsageError("assertion: must not be blank", "state in one sentence what must hold")
    if {"/", ".."}.intersection(Path(scenario.script).parts):
        raise UsageError(
            f"script: {scenario.script!r} is not below the directory of the manifest",
            "use a path relative to the manifest, such as scenarios/NAME.sh",
        )
    return scenario


def select_sandbox_settings(scenario: Scenario) -> dict[str, object]:
    """Return the keys of a scenario that affect its sandbox, with their values."""
    return {key: getattr(scenario, key) for key in _SANDBOX_KEYS}


def render_entry(scenario: Scenario, usual: Scenario | None = None) -> str:
    """Return the explicitly set keys of `scenario` as TOML.

    A key that affects the sandbox is omitted if `usual` has the same value. `usual` is a scenario
    with `[defaults]` and nothing but a name and a script; None if there are no defaults.
    """
    usual = usual or _reduce(scenario)
    keys = scenario.given_keys & set(_KEYS)
    given = scenario.to_json(include=keys, exclude_none=True)
    short = scenario.to_json(include=keys, exclude_none=True, exclude_defaults=True)
    common = usual.to_json(include=_SANDBOX_KEYS, exclude_none=True)
    entry = {
        # A table is merged with the defaults key by key; any other value replaces the default.
        key: _find_differences(given[key], common[key])
        if isinstance(given[key], dict)
        else short.get(key, given[key])
        for key in _KEYS
        if key in given and (key not in common or given[key] != common[key])
    }
    lines = (f"{key} = {format_toml(value)}\n" for key, value in entry.items() if value != {})
    return f"[[scenario]]\n{''.join(lines)}"


def _reduce(scenario: Scenario) -> Scenario:
    return Scenario.validate({"name": scenario.name, "script": scenario.script})


def _find_differences(
    table: Mapping[str, object], usual: Mapping[str, object]
) -> dict[str, object]:
    return {key: value for key, value in table.items() if value != usual.get(key)}


def append_entry(content: bytes, scenario: Scenario, path: Path) -> bytes:
    """Return the manifest `content` with the entry of `scenario` appended.

    Raises:
        ManifestError: The manifest `path` is invalid, or would be with the entry.
        UsageError: The name is the name or alias of another scenario, or `[defaults]` sets a value
            that an entry cannot undo.
    """
    before = parse_scenarios(content, path)
    if any(scenario.name in (existing.name, *existing.aliases) for existing in before):
        raise UsageError(
            f"{path}: scenario {scenario.name!r} already exists", "choose another name"
        )
    *_, usual = _parse(content + _build_addition(content, render_entry(_reduce(scenario))), path)
    extended = content + _build_addition(content, render_entry(scenario, usual))
    *unchanged, added = _parse(extended, path)
    if tuple(unchanged) != before or added.name != scenario.name:
        raise ManifestError(
            f"{path}: cannot be extended with a scenario",
            "write every existing scenario as a [[scenario]] table",
        )
    different = [
        key for key in _find_set_keys(scenario) if getattr(added, key) != getattr(scenario, key)
    ]
    if different:
        raise UsageError(
            f"{path}: [defaults] conflicts with this scenario in {', '.join(different)}",
            "move these keys from [defaults] to the scenarios that need them",
        )
    return extended


def _find_set_keys(scenario: Scenario) -> Iterator[str]:
    return (key for key in _SANDBOX_KEYS if key in scenario.given_keys)


def _parse(content: bytes, path: Path) -> tuple[Scenario, ...]:
    return parser.parse(content.decode("utf-8-sig"), path).scenarios


def parse_scenarios(content: bytes, path: Path) -> tuple[Scenario, ...]:
    """Return the scenarios of a manifest; empty if it declares none, which is valid here."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error
    is_bare = not re.search(r"^\s*\[?\[?\s*scenario\b", text, re.MULTILINE)
    return () if is_bare else parser.parse(text, path).scenarios


def _build_addition(content: bytes, text: str) -> bytes:
    """Return `text` after an empty line, with the line endings of `content`."""
    gap = "\n" * (2 - content.endswith(b"\n")) if content.strip(b"\xef\xbb\xbf") else ""
    return (gap + text).replace("\n", "\r\n" if b"\r\n" in content else "\n").encode()


def render_skeleton(scenario: Scenario) -> str:
    """Return a script that fails until it is written."""
    return _SKELETON.format(name=scenario.name, assertion=scenario.assertion)


def check(path: Path, scenario: Scenario) -> None:
    """Check that `add` could add `scenario` now; raise the same errors."""
    script = path.parent / scenario.script
    _refuse_outside(path, script)
    with file_errors():
        append_entry(files.read(path), scenario, path)
    if script.exists():
        raise UsageError(f"{script} already exists", "choose another name")


def add(path: Path, scenario: Scenario, text: str | None = None) -> Path:
    """Add `scenario` to the manifest `path` and create its script; undo both if either fails.

    The content of the script is `text`; by default, the script fails until it is written.

    Raises:
        IsosmokeError: A file cannot be written, already exists, or is outside the project.
    """
    script = path.parent / scenario.script
    _refuse_outside(path, script)
    # The lock keeps concurrent agents from overwriting each other's entries.
    with file_errors(), files.lock_directory(path.parent), ExitStack() as undo:
        content = append_entry(files.read(path), scenario, path)
        create_script(script, render_skeleton(scenario) if text is None else text, undo)
        replace(path, content)
        undo.pop_all()
    return script


def _refuse_outside(*paths: Path) -> None:
    for path in paths:
        files.resolve_in_project(path, workspace_directories.find_project(path))


def create_script(path: Path, text: str, undo: ExitStack) -> None:
    """Create an executable file and its directories; `undo` gets callbacks that remove them."""
    for directory in reversed([parent for parent in path.parents if not parent.exists()]):
        directory.mkdir()
        undo.callback(directory.rmdir)
    with path.open("x", encoding="utf-8") as file:
        undo.callback(path.unlink)
        file.write(text)
    path.chmod(0o755)


def replace(path: Path, content: bytes) -> None:
    """Replace the content of `path` atomically.

    The mode is kept. A symbolic link is kept too; its target is written.
    """
    path = path.resolve()
    mode = S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    files.write(path, content, mode=mode)


@contextmanager
def file_errors() -> Iterator[None]:
    """Convert `OSError` into errors with a readable message and a hint."""
    try:
        yield
    except FileExistsError as error:
        raise UsageError(f"{error.filename} already exists", "choose another name") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "make sure that it can be read and written"
        raise IsosmokeError(f"{error.filename}: {reason}", hint) from error
