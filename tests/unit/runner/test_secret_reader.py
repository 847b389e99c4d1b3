"""The secrets of a scenario, read from variables, files and directories."""

import os
from pathlib import Path

import pytest

from isosmoke.errors import ManifestError
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Scenario
from isosmoke.redaction import Redactor
from isosmoke.runner.secret_reader import DEFAULT_LIMITS, ReadLimits, read_secrets


def create_redactor(
    home: Path,
    limits: ReadLimits = DEFAULT_LIMITS,
    variables: dict[str, str] | None = None,
    **keys: object,
) -> Redactor:
    """Return the redactor of a scenario with these keys."""
    caller = Caller(
        uid=1, gid=1, user="alice", home=home, working=home, environment=variables or {}
    )
    scenario = Scenario.validate({"name": "one", "script": "one.sh", **keys})
    return Redactor(read_secrets(scenario, caller, limits))


def write_files(directory: Path, contents: dict[str, str]) -> None:
    """Write files with these names, and the directories that contain them."""
    for name, content in contents.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)


def test_each_of_a_thousand_files_is_redacted(tmp_path: Path) -> None:
    """A directory of a thousand credentials is redacted completely, and without a note."""
    tokens = [f"{number:04}-token-of-a-user" for number in range(1000)]
    write_files(tmp_path, {f"keys/{token}": f"{token}\n" for token in tokens})
    redactor = create_redactor(tmp_path, pass_files=["~/keys"])

    redacted = redactor.text("\n".join(tokens))
    assert redacted.splitlines() == ["[redacted ~/keys]"] * 1000
    assert list(redactor.list_notes()) == []


def test_smallest_files_are_redacted_first(tmp_path: Path) -> None:
    """If the secrets exceed a limit, the largest are not redacted, and a note says how many."""
    write_files(tmp_path, {"keys/b": "b" * 60, "keys/a": "a" * 70, "token": "t" * 50})
    redactor = create_redactor(tmp_path, ReadLimits(size=115), pass_files=["~/keys", "~/token"])

    redacted = redactor.text(f"{'a' * 70} {'b' * 60} {'t' * 50}")
    assert redacted == f"{'a' * 70} [redacted ~/keys] [redacted ~/token]"
    assert [note.partition(":")[0] for note in redactor.list_notes()] == [
        "1 of 2 files of ~/keys are not redacted"
    ]


def test_number_of_parts_is_limited(tmp_path: Path) -> None:
    """A secret with too many lines is not redacted, and a smaller one is."""
    lines = "\n".join(f"line-{number}-of-a-file" for number in range(20))
    write_files(tmp_path, {"lines": lines, "token": "a-token"})
    redactor = create_redactor(tmp_path, ReadLimits(parts=10), pass_files=["~/lines", "~/token"])

    assert redactor.unredacted == ("~/lines",)


def test_variables_precede_files(tmp_path: Path) -> None:
    """Variables are redacted before any file uses up the limits."""
    write_files(tmp_path, {"token": "t" * 50})
    redactor = create_redactor(
        tmp_path,
        ReadLimits(size=55),
        {"TOKEN": "of-a-variable"},
        pass_env=["TOKEN"],
        pass_files=["~/token"],
    )

    assert redactor.text("of-a-variable") == "[redacted TOKEN]"
    assert redactor.unredacted == ("~/token",)


def test_far_too_large_directory_is_refused(tmp_path: Path) -> None:
    """A directory with more entries than the limit is an error that names it and the way out."""
    write_files(tmp_path, {f"cache/{number % 3}/{number}": "" for number in range(9)})

    with pytest.raises(
        ManifestError, match=r"'one'.*'pass_files': ~/cache has more than 10 files"
    ) as error:
        create_redactor(tmp_path, ReadLimits(entries=10), pass_files=["~/cache"])
    assert "secret" in error.value.hint
    assert (
        create_redactor(tmp_path, ReadLimits(entries=13), pass_files=["~/cache"]).unredacted == ()
    )


def test_links_are_read_but_not_followed_into_directories(tmp_path: Path) -> None:
    """A link to a file is read; a link to a directory, such as a cycle, is not followed."""
    write_files(tmp_path, {"elsewhere/token": "token-elsewhere", "keys/own": "own-token"})
    (tmp_path / "keys/link").symlink_to(tmp_path / "elsewhere/token")
    (tmp_path / "keys/cycle").symlink_to(tmp_path)
    (tmp_path / "keys/gone").symlink_to("gone")
    os.mkfifo(tmp_path / "keys/pipe")
    redactor = create_redactor(tmp_path, pass_files=["~/keys"])

    assert redactor.text("token-elsewhere own-token") == "[redacted ~/keys] [redacted ~/keys]"


def test_empty_file_is_no_secret(tmp_path: Path) -> None:
    """A file without content is not reported as a secret that is not redacted."""
    write_files(tmp_path, {"keys/empty": "", "keys/blank": " \n", "keys/token": "a-token"})

    assert create_redactor(tmp_path, pass_files=["~/keys"]).unredacted == ()
