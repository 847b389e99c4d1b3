"""A new scenario: its entry at the end of a manifest, and a script that fails until it is written.

The manifest's own bytes are never written anew: they are copied, and the entry is put after them.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from stat import S_IMODE

from pydantic import ValidationError

from isosmoke.errors import IsosmokeError, ManifestError, UsageError
from isosmoke.host import files
from isosmoke.manifest import parser
from isosmoke.manifest.key_meaning import sandbox_keys
from isosmoke.manifest.models import Scenario
from isosmoke.text import toml

_SANDBOX = sandbox_keys(Scenario)
_KEYS = ("name", "script", "owners", "assertion", *_SANDBOX)

_SKELETON = """\
#!/usr/bin/env bash
# Protects: {assertion}
# Exit 0: it holds. Exit 77: it cannot be tried here, with the reason on stderr. Else: it is broken.
set -euo pipefail

echo "{name} is not written yet: make it fail without the fix, and pass with it" >&2
exit 1
"""


def drafted(name: str, *, owners: tuple[str, ...], assertion: str, **keys: object) -> Scenario:
    """The scenario that was asked for, held to the rules of every manifest and to two more.

    Its script lies below the manifest, by default `scenarios/NAME.sh`, and it asserts something.

    Raises:
        UsageError: if it breaks one of them.
    """
    keys = {"script": f"scenarios/{name}.sh", **keys, "name": name, "owners": owners}
    try:
        scenario = Scenario.model_validate({**keys, "assertion": " ".join(assertion.split())})
    except ValidationError as error:
        first = error.errors()[0]
        hint = first.get("ctx", {}).get("hint", "")
        raise UsageError(f"{first['loc'][0]}: {first['msg']}", hint) from error
    if not scenario.assertion:
        raise UsageError("assertion: must not be blank", "say in one sentence what must hold")
    if {"/", ".."}.intersection(Path(scenario.script).parts):
        raise UsageError(
            f"script: {scenario.script!r} does not lie below the manifest",
            "name it from the manifest's folder, such as scenarios/NAME.sh",
        )
    return scenario


def surroundings(scenario: Scenario) -> dict[str, object]:
    """Return the keys that make a scenario's sandbox, with their values."""
    return {key: getattr(scenario, key) for key in _SANDBOX}


def entry(scenario: Scenario, usual: Scenario | None = None) -> str:
    """Return the keys of `scenario` that were given, as TOML.

    A key that makes the sandbox is left out where it is the same in `usual`, which is the scenario
    of an entry with a name and a script only: `[defaults]`, or None where there are none.
    """
    usual = usual or _bare(scenario)
    keys = scenario.model_fields_set & set(_KEYS)
    given = scenario.model_dump(mode="json", include=keys, exclude_none=True)
    short = scenario.model_dump(mode="json", include=keys, exclude_none=True, exclude_defaults=True)
    common = usual.model_dump(mode="json", include=set(_SANDBOX), exclude_none=True)
    told = {
        # A table merges with that of the defaults, key by key; anything else replaces it.
        key: _unlike(given[key], common[key])
        if isinstance(given[key], dict)
        else short.get(key, given[key])
        for key in _KEYS
        if key in given and (key not in common or given[key] != common[key])
    }
    lines = (f"{key} = {toml(value)}\n" for key, value in told.items() if value != {})
    return f"[[scenario]]\n{''.join(lines)}"


def _bare(scenario: Scenario) -> Scenario:
    return Scenario(name=scenario.name, script=scenario.script)


def _unlike(table: Mapping[str, object], usual: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in table.items() if value != usual.get(key)}


def grown(old: bytes, scenario: Scenario, path: Path) -> bytes:
    """Return `old`, byte for byte, and after it the entry of `scenario`.

    Raises:
        ManifestError: if the manifest `path` was wrong, or would be now.
        UsageError: if the name is taken, by a scenario of today or of before, or if `[defaults]`
            sets what no entry can take back.
    """
    before = scenarios(old, path)
    if any(scenario.name in (one.name, *one.aliases) for one in before):
        raise UsageError(
            f"{path}: scenario {scenario.name!r} is there already", "take another name"
        )
    *_, usual = _parsed(old + _addition(old, entry(_bare(scenario))), path)
    new = old + _addition(old, entry(scenario, usual))
    *kept, added = _parsed(new, path)
    if tuple(kept) != before or added.name != scenario.name:
        raise ManifestError(f"{path}: does not end so that an entry can follow", "end it otherwise")
    if lost := [key for key in _given(scenario) if getattr(added, key) != getattr(scenario, key)]:
        raise UsageError(
            f"{path}: [defaults] sets {', '.join(lost)} as this scenario does not have it",
            "an entry cannot take that back: move it from [defaults] to the scenarios that need it",
        )
    return new


def _given(scenario: Scenario) -> Iterator[str]:
    return (key for key in _SANDBOX if key in scenario.model_fields_set)


def _parsed(content: bytes, path: Path) -> tuple[Scenario, ...]:
    return parser.parse(content.decode("utf-8-sig"), path).scenarios


def scenarios(old: bytes, path: Path) -> tuple[Scenario, ...]:
    """None in a manifest that is new and has but comments, which is no mistake here."""
    try:
        text = old.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error
    is_bare = not re.search(r"^\s*\[?\[?\s*scenario\b", text, re.MULTILINE)
    return () if is_bare else parser.parse(text, path).scenarios


def _addition(old: bytes, text: str) -> bytes:
    """`text` after an empty line, with the line endings of `old`."""
    gap = "\n" * (2 - old.endswith(b"\n")) if old.strip(b"\xef\xbb\xbf") else ""
    return (gap + text).replace("\n", "\r\n" if b"\r\n" in old else "\n").encode()


def skeleton(scenario: Scenario) -> str:
    """A script that says what is to be written, and fails: one that passed would be theater."""
    return _SKELETON.format(name=scenario.name, assertion=scenario.assertion)


def check(path: Path, scenario: Scenario) -> None:
    """Return when `add` could put `scenario` there now, else raise what it would."""
    script = path.parent / scenario.script
    _refuse_outside(path, script)
    with told():
        grown(path.read_bytes(), scenario, path)
    if script.exists():
        raise UsageError(f"{script} is there already", "take another name")


def add(path: Path, scenario: Scenario, text: str | None = None) -> Path:
    """Put `scenario` into the manifest `path` and make its script: both, or neither.

    The script is `text`, else one that fails until it is written.

    Raises:
        IsosmokeError: if one cannot be written, is there already, or leads out of the project.
    """
    script = path.parent / scenario.script
    _refuse_outside(path, script)
    # Agents work at the same time: of two manifests written at once, one would lose an entry.
    with told(), files.lock_directory(path.parent), ExitStack() as undo:
        content = grown(path.read_bytes(), scenario, path)
        make(script, skeleton(scenario) if text is None else text, undo)
        replace(path, content)
        undo.pop_all()
    return script


def _refuse_outside(*paths: Path) -> None:
    for path in paths:
        files.resolve_in_project(path, project(path))


def project(path: Path) -> Path:
    """The project that a manifest belongs to: its repository, or the manifest's directory.

    A repository that is reached through a link of another one is not meant, but that other one.
    """
    tops = [one for one in path.absolute().parents if (one / ".git").exists()]
    real = (one for one in tops if one == one.resolve())
    return next(real, tops[-1] if tops else path.absolute().parent)


def make(path: Path, text: str, undo: ExitStack) -> None:
    """A new executable file with its folders; `undo` learns how to take all of it back."""
    for folder in reversed([one for one in path.parents if not one.exists()]):
        folder.mkdir()
        undo.callback(folder.rmdir)
    with path.open("x", encoding="utf-8") as file:
        undo.callback(path.unlink)
        file.write(text)
    path.chmod(0o755)


def replace(path: Path, content: bytes) -> None:
    """Write `path` so that a reader finds the old content or the new one, never a part.

    Its mode stays, and so does a symbolic link: what it leads to is written.
    """
    path = path.resolve()
    mode = S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    files.write(path, content, mode=mode)


@contextmanager
def told() -> Iterator[None]:
    """What the file system refuses, as an error that a user can read."""
    try:
        yield
    except FileExistsError as error:
        raise UsageError(f"{error.filename} is there already", "take another name") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "see that it can be read and written"
        raise IsosmokeError(f"{error.filename}: {reason}", hint) from error
