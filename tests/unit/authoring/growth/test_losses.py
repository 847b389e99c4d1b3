"""Changes of a manifest that are refused, noted or allowed."""

from dataclasses import replace
from pathlib import Path
from posixpath import normpath

import pytest

from isosmoke.authoring.growth.editions import Edition, Script
from isosmoke.authoring.growth.losses import find_losses, is_empty
from isosmoke.authoring.new_scenario import render_skeleton
from isosmoke.errors import ManifestError
from isosmoke.manifest.parser import parse

PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2Vw\n-----END PUBLIC KEY-----\n"

BASE = """
[gate]
unowned = "refuse"
max_skips = 2
require_proof = true
require_teeth = true

[[scenario]]
name = "one"
script = "one.sh"
owners = ["a", "b"]
aliases = ["zero"]
assertion = "It holds."
timeout_seconds = 60
settle_seconds = 2
retries = 1
leaks = { allow = [{ command = "^tmux", reason = "issue 12", until = 2027-01-31 }] }

[[scenario]]
name = "two"
script = "two.sh"
"""

SCRIPTS = {"one": "wg one", "two": "wg two"}
ALLOWED = '[{ command = "^tmux", reason = "issue 12", until = 2027-01-31 }]'


def find_refused(text: str, scripts: dict[str, str] | None = None) -> list[str]:
    """Return the descriptions of the refused losses of a manifest relative to `BASE`."""
    now = build_edition(text, {**SCRIPTS, "deux": "wg two"} if scripts is None else scripts)
    return [str(loss) for loss in find_losses(build_edition(BASE, SCRIPTS), now) if loss.refused]


def build_edition(text: str, scripts: dict[str, str]) -> Edition:
    """Build the edition of a manifest text and its scripts."""
    manifest = parse(text, Path("manifest.toml"))
    paths = {scenario.name: normpath(scenario.script) for scenario in manifest.scenarios}
    built = {name: Script(paths.get(name, name), scripts[name]) for name in scripts}
    return Edition(manifest.scenarios, manifest.gate, manifest.check, built, "manifest")


REFUSED = {
    "an owner": ('["a", "b"]', '["a"]', "'one': lost owner 'b'"),
    "an old name": ('aliases = ["zero"]', "", "'one': lost alias 'zero'"),
    "the first try": ("retries = 1", "retries = 2", "'one': retries raised from 1 to 2"),
    "patience": (
        "settle_seconds = 2",
        "settle_seconds = 2.5",
        "'one': settle_seconds raised from 2 to 2.5",
    ),
    "the assertion": ('assertion = "It holds."', "", "'one': lost its assertion"),
    "the policy": (
        "leaks = { allow",
        'leaks = { policy = "report", allow',
        "'one': leak policy loosened from 'fail' to 'report'",
    ),
    "another leak": (
        ALLOWED,
        '[{ command = "sleep", reason = "r" }]',
        "'one': leak policy loosened: 'sleep' may now outlive the scenario",
    ),
    "a wider leak": (
        "^tmux",
        "tmux",
        "'one': leak policy loosened: 'tmux' may now outlive the scenario",
    ),
    "a longer leak": (
        "2027-01-31",
        "2027-02-01",
        "'^tmux' is allowed until 2027-02-01, previously until 2027-01-31",
    ),
    "a leak without end": (
        ", until = 2027-01-31",
        "",
        "'^tmux' is allowed without expiry, previously until 2027-01-31",
    ),
    "a program that is not there": (
        "retries = 1",
        'retries = 1\nrequires = { commands = ["no-such-program"] }',
        "'one': requires.commands extended by 'no-such-program': the scenario is skipped",
    ),
    "by default": ("[gate]", '[defaults]\nleaks = "report"\n[gate]', "loosened"),
    "the gate": ('"refuse"', '"allow"', "[gate]: unowned loosened from 'refuse' to 'allow'"),
    "skips": ("max_skips = 2", "max_skips = 3", "[gate]: max_skips raised from 2 to 3"),
    "all skips": ("max_skips = 2", "", "[gate]: max_skips raised from 2 to unlimited"),
    "proofs": ("require_proof = true", "", "[gate]: require_proof no longer applies"),
    "a place": (
        "max_skips = 2",
        f'places = [{{ address = "tls://a:1", certificates = ["{"e" * 64}"] }}]\nmax_skips = 2',
        "[gate]: places extended by tls://a:1 with certificate eeeeeeeeeeee",
    ),
    "a key": (
        "max_skips = 2",
        f'max_skips = 2\nshard_keys = ["""{PUBLIC_KEY}"""]',
        "[gate]: shard_keys: 1 added, whose owner can sign for a task",
    ),
    "teeth": ("require_teeth = true", "", "[gate]: require_teeth no longer applies"),
    "names of subcommands": (
        "max_skips = 2",
        'teeth_patterns = ["_ *"]\nmax_skips = 2',
        "[gate]: teeth_patterns changed, which gives the subcommands in `teeth` other calls",
    ),
    "its own script": (
        'script = "one.sh"',
        'script = "./two.sh"',
        "'one': lost script 'one.sh': './two.sh' belongs to another scenario",
    ),
    "a name": (
        'name = "two"',
        'name = "deux"',
        "'two': renamed to 'deux' without an alias: add aliases = ['two']",
    ),
    "a scenario": ('[[scenario]]\nname = "two"\nscript = "two.sh"', "", "scenario 'two': lost"),
}

ALLOWED_CHANGES = {
    "nothing": ("", ""),
    "another owner": ('["a", "b"]', '["b", "c", " a "]'),
    "another old name": ('["zero"]', '["zero", "nought"]'),
    "more seconds": ("timeout_seconds = 60", "timeout_seconds = 61"),
    "fewer seconds": ("timeout_seconds = 60", "timeout_seconds = 59"),
    "fewer retries": ("retries = 1", "retries = 0"),
    "less patience": ("settle_seconds = 2", "settle_seconds = 1"),
    "longer grace": ("retries = 1", "retries = 1\ngrace_seconds = 60"),
    "an assertion in other words": ("It holds.", "It holds well."),
    "no leak": (f"leaks = {{ allow = {ALLOWED} }}", ""),
    "a leak for less time": ("2027-01-31", "2027-01-30"),
    "another reason for a leak": ("issue 12", "issue 13"),
    "fewer skips": ("max_skips = 2", "max_skips = 1"),
    "another script": ('script = "one.sh"', 'script = "directory/one.sh"'),
    "the same script, written otherwise": ('script = "one.sh"', 'script = "./one.sh"'),
    "a new name with an alias": ('name = "two"', 'name = "deux"\naliases = ["two"]'),
    "a lock": ("retries = 1", 'retries = 1\nlocks = ["port"]'),
    "a tag": ("retries = 1", 'retries = 1\ntags = ["slow"]'),
    "a comment": ("[gate]", "# A comment.\n[gate]"),
    "a description": ("retries = 1", 'retries = 1\ndescription = "New."'),
    "a scenario more": (
        "[gate]",
        '[[scenario]]\nname = "three"\nscript = "3"\nleaks = "report"\n[gate]',
    ),
}


@pytest.mark.parametrize(("old", "new", "text"), REFUSED.values(), ids=REFUSED)
def test_weakening_is_refused(old: str, new: str, text: str) -> None:
    """Each weakening is one refused loss with a description."""
    assert old in BASE
    assert [text in loss for loss in find_refused(BASE.replace(old, new))] == [True]


@pytest.mark.parametrize(("old", "new"), ALLOWED_CHANGES.values(), ids=ALLOWED_CHANGES)
def test_equal_or_stronger_manifest_is_allowed(old: str, new: str) -> None:
    """A change that demands the same or more is not refused."""
    assert old in BASE
    scripts = {**SCRIPTS, "deux": "wg two", "three": "wg"}

    assert find_refused(BASE.replace(old, new, 1), scripts) == []


def test_allowance_under_report_policy_is_no_loss() -> None:
    """If the policy was `report`, an allowance is no loss."""
    was = build_edition('[[scenario]]\nname = "x"\nscript = "x"\nleaks = "report"', {})
    allowing = "leaks = { allow = [{ command = 'a', reason = 'b' }] }"
    now = build_edition(f'[[scenario]]\nname = "x"\nscript = "x"\n{allowing}', {})

    assert list(find_losses(was, now)) == []


def test_key_may_be_removed() -> None:
    """Fewer machines can sign then, which is no loss."""
    gate = f'[gate]\nshard_keys = ["""{PUBLIC_KEY}"""]\n'
    scenario = '[[scenario]]\nname = "x"\nscript = "x"\n'

    assert list(find_losses(build_edition(gate + scenario, {}), build_edition(scenario, {}))) == []


def test_alias_cannot_merge_scenarios() -> None:
    """An alias cannot let one existing scenario replace another."""
    merged = BASE.replace('["zero"]', '["zero", "two"]').split('[[scenario]]\nname = "two"')[0]

    assert find_refused(merged) == ["scenario 'two': lost"]


def test_new_scenario_cannot_replace_two() -> None:
    """If a new scenario has the names of two old ones as aliases, both are lost."""
    gate = '[gate]\nunowned = "refuse"\nmax_skips = 2\nrequire_proof = true\nrequire_teeth = true\n'
    text = f'{gate}[[scenario]]\nname = "new"\nscript = "n"\n'

    assert [
        loss.split(":")[0] for loss in find_refused(f'{text}aliases = ["zero", "one", "two"]')
    ] == [
        "scenario 'one'",
        "scenario 'two'",
    ]


def test_renamed_scenario_is_compared_with_original() -> None:
    """A loss of a renamed scenario is found."""
    text = BASE.replace('name = "one"', 'name = "uno"').replace('["zero"]', '["zero", "one"]')

    assert find_refused(text.replace('["a", "b"]', '["a"]'), {**SCRIPTS, "uno": "wg"}) == [
        "scenario 'one': lost owner 'b'"
    ]


def test_missing_script_is_a_loss() -> None:
    """A missing script is a loss, even if the entry exists."""
    assert find_refused(BASE, {"two": "wg two"}) == ["scenario 'one': lost script 'one.sh'"]


def test_emptied_script_is_a_loss() -> None:
    """A script that was emptied is a loss; one that was always empty is not."""
    emptied = {"one": "#!/bin/sh\nexit 0\nwg one", "two": "wg two"}

    assert find_refused(BASE, emptied) == [
        "scenario 'one': script 'one.sh' was emptied: it cannot fail"
    ]
    assert list(find_losses(build_edition(BASE, emptied), build_edition(BASE, emptied))) == []


def test_reworded_assertion_is_noted() -> None:
    """A reworded assertion is noted for a reviewer, but not refused."""
    now = build_edition(BASE.replace("It holds.", "It may hold."), SCRIPTS)

    assert [
        (str(loss), loss.refused) for loss in find_losses(build_edition(BASE, SCRIPTS), now)
    ] == [("scenario 'one': assertion reworded: review it", False)]


SANDBOX = {
    "image": 'image = "debian"',
    "network": 'network = "isolated"',
    "capabilities": 'capabilities = ["IPC_LOCK"]',
    "env": 'env = { A = "1" }',
    "pass_env": 'pass_env = ["A"]',
    "pass_files": 'pass_files = ["~/.netrc"]',
    "plain_env": 'plain_env = ["A"]',
    "plain_files": 'plain_files = ["~/.cache"]',
    "services": 'services = [{ name = "db", image = "postgres" }]',
    "new_namespaces": "new_namespaces = true",
    "settle_seconds": "settle_seconds = 7",
}


@pytest.mark.parametrize(("key", "line"), SANDBOX.items())
@pytest.mark.parametrize(
    ("position", "names"), [("retries = 1", {"one"}), ("[defaults]", {"one", "two"})]
)
def test_changed_sandbox_is_refused(key: str, line: str, position: str, names: set[str]) -> None:
    """A change that can hide a failure is refused for each scenario that it affects."""
    text = f"[defaults]\n{BASE}".replace("settle_seconds = 2\nretries = 1", "retries = 1")
    now = build_edition(text.replace(position, f"{position}\n{line}"), SCRIPTS)
    losses = list(find_losses(build_edition(text, SCRIPTS), now))

    assert {loss.refused for loss in losses} == {True}
    assert all(loss.text.startswith(key) for loss in losses)
    assert {loss.subject for loss in losses} == names


def find_notes(now: Edition, was: Edition | None = None) -> list[str]:
    """Return the notes on an edition relative to another, by default `BASE`; no loss is refused."""
    found = list(find_losses(was or build_edition(BASE, SCRIPTS), now))
    assert [str(loss) for loss in found if loss.refused] == []
    return [str(loss) for loss in found]


@pytest.mark.parametrize("seconds", [1, 59, 61, 600])
def test_changed_deadline_is_noted(seconds: int) -> None:
    """A deadline is noted in both directions: a failure can hide behind a longer wait too."""
    now = build_edition(BASE.replace("= 60", f"= {seconds}"), SCRIPTS)

    assert find_notes(now) == [
        f"scenario 'one': timeout_seconds changed from 60 to {seconds}: review it"
    ]


@pytest.mark.parametrize(
    ("was", "is_now", "refused"),
    [("64M", "32M", False), ("64M", "65M", True), ("64M", "", True), ("", "64M", False)],
)
def test_higher_limit_is_refused_and_lower_one_noted(
    was: str, is_now: str, *, refused: bool
) -> None:
    """A failure that a limit causes can hide behind a higher limit."""
    texts = (
        BASE.replace("retries = 1", f'retries = 1\nlimits = {{ memory = "{size}" }}')
        if size
        else BASE
        for size in (was, is_now)
    )
    before, after = (build_edition(text, SCRIPTS) for text in texts)

    assert [loss.refused for loss in find_losses(before, after)] == [refused]


WEAKENED = {
    "a trap": "trap 'exit 0' EXIT\nset -e\nwg one\nwg two\n",
    "a function in place of the binary": "wg() { :; }\nset -e\nwg one\nwg two\n",
    "an alias": "shopt -s expand_aliases\nalias wg=true\nset -e\nwg one\nwg two\n",
    "an early exit": "set -e\n[[ -n $HOME ]] && exit 0\nwg one\nwg two\n",
    "an early skip": "set -e\n[[ -e /never ]] || exit 77\nwg one\nwg two\n",
    "an ignored error": "set -e\nwg one || true\nwg two\n",
    "a step fewer": "set -e\nwg one\n",
    "a step in a comment": "set -e\nwg one\n# wg two\n",
    "no stop at an error": "wg one\nwg two\n",
    "another PATH": "PATH=/fake:$PATH\nset -e\nwg one\nwg two\n",
    "a space at the beginning of a line": "set -e\n wg one\nwg two\n",
    "a carriage return": "set -e\r\nwg one\nwg two\n",
}


@pytest.mark.parametrize("text", WEAKENED.values(), ids=WEAKENED)
def test_rewritten_script_is_noted(text: str) -> None:
    """A script that was weakened without being emptied is a note."""
    was = build_edition(BASE, {**SCRIPTS, "one": "set -e\nwg one\nwg two\n"})
    now = build_edition(BASE, {**SCRIPTS, "one": text})

    assert find_notes(now, was) == ["scenario 'one': script one.sh was rewritten: review it"]


PLAIN = "#!/bin/bash\n# Old.\nset -e\n\nwg one  # old\n"
COMMENTS = {
    "another comment": PLAIN.replace("# Old.", "# New, don't read `it`."),
    "no comment": PLAIN.replace("# Old.\n", ""),
    "an indented comment": PLAIN.replace("wg one", "  # New.\nwg one"),
    "an empty line": PLAIN.replace("set -e", "set -e\n\n"),
    "no blanks at the end of a line": PLAIN.replace("set -e", "set -e  "),
}


@pytest.mark.parametrize("text", COMMENTS.values(), ids=COMMENTS)
def test_changed_comment_in_a_script_is_silent(text: str) -> None:
    """A change of comments and empty lines is harmless."""
    was = build_edition(BASE, {**SCRIPTS, "one": PLAIN})

    assert find_notes(build_edition(BASE, {**SCRIPTS, "one": text}), was) == []


DATA = {
    "a here-document": "cat <<END\n# old\nEND\nwg one\n",
    "a string of several lines": "wg one | grep 'a\n# old\nb'\n",
    "a continued line": "wg one \\\n# old\n",
    "a script that reads itself": "wg one | diff - <(sed -n 's/^# //p' \"$0\")\n# old\n",
}


@pytest.mark.parametrize("text", DATA.values(), ids=DATA)
def test_line_that_only_looks_like_a_comment_is_noted(text: str) -> None:
    """A line that begins with `#` and may be data is not taken for a comment."""
    was = build_edition(BASE, {**SCRIPTS, "one": text})
    now = build_edition(BASE, {**SCRIPTS, "one": text.replace("# old", "# new")})

    assert len(find_notes(now, was)) == 1


def test_script_that_was_not_written_yet_may_be_rewritten() -> None:
    """The script that `isosmoke new` created is replaced by the real one without a note."""
    (one, _) = build_edition(BASE, SCRIPTS).scenarios
    was = build_edition(BASE, {**SCRIPTS, "one": render_skeleton(one)})

    assert find_notes(build_edition(BASE, SCRIPTS), was) == []


@pytest.mark.parametrize(
    ("was", "is_now", "verb"),
    [("check\n", ":\n", "rewritten"), ("check\n", None, "removed"), (None, ":\n", "added")],
)
def test_changed_sourced_file_is_noted(was: str | None, is_now: str | None, verb: str) -> None:
    """A file that a script reads is a part of it, also if it was emptied."""

    def build(text: str | None) -> Edition:
        edition = build_edition(BASE, SCRIPTS)
        inputs = {} if text is None else {"lib.sh": text}
        scripts = {**edition.scripts, "one": Script("one.sh", "wg one", inputs)}
        return replace(edition, scripts=scripts)

    assert find_notes(build(is_now), build(was)) == [
        f"scenario 'one': lib.sh, which its script reads, was {verb}: review it"
    ]


COMMENT_LIKE = {
    "a title of an expected output": ("expected.md", "# One\n", "# Two\n", 1),
    "an interpreter": ("check.sh", "#!/bin/sh\nfalse\n", "#!/bin/true\nfalse\n", 1),
    "an interpreter of a program": ("check", "#!/bin/sh\nfalse\n", "#!/bin/true\nfalse\n", 1),
    "a comment of a program": ("check", "#!/bin/sh\n# a\nfalse\n", "#!/bin/sh\n# b\nfalse\n", 0),
    "a comment of Python": ("check.py", "# a\nexit(1)\n", "# b\nexit(1)\n", 0),
}


@pytest.mark.parametrize(
    ("path", "was", "is_now", "count"), COMMENT_LIKE.values(), ids=COMMENT_LIKE
)
def test_line_of_an_input_is_a_comment_only_in_code(
    path: str, was: str, is_now: str, count: int
) -> None:
    """A line that begins with `#` decides in data, and the first one selects an interpreter."""
    edition = build_edition(BASE, SCRIPTS)
    before, after = (
        replace(
            edition, scripts={**edition.scripts, "one": Script("one.sh", "wg one", {path: text})}
        )
        for text in (was, is_now)
    )

    assert len(find_notes(after, before)) == count


def test_entry_that_points_at_another_script_is_refused() -> None:
    """A new path is harmless for the same script, and a loss for another one."""
    moved = BASE.replace('"one.sh"', '"new.sh"')

    assert find_refused(moved) == []
    assert find_refused(moved, {**SCRIPTS, "one": "wg less"}) == [
        "scenario 'one': points at another script, 'new.sh' in place of 'one.sh'"
    ]


@pytest.mark.parametrize("name", ["One", "one\u200b", "\u043ene", "one "])
def test_similar_name_is_another_scenario(name: str) -> None:
    """A scenario whose name or owner only looks the same is lost."""
    renamed = BASE.replace('name = "one"', f'name = "{name}"')

    try:
        found = find_refused(renamed, {**SCRIPTS, name: "wg other"})
    except ManifestError:
        return  # it is no valid name
    assert any("'one'" in loss for loss in found)


def test_losses_with_different_numbers_are_equal() -> None:
    """Losses are equal if they differ only in numbers, so that their commit can be found."""
    editions = [build_edition(BASE.replace("= 60", f"= {number}"), SCRIPTS) for number in (50, 40)]
    first, second = ([*find_losses(build_edition(BASE, SCRIPTS), edition)] for edition in editions)

    assert first == second
    assert str(first[0]) != str(second[0])


def test_empty_edition_loses_everything() -> None:
    """An empty edition has lost each scenario and the rules of the gate."""
    losses = [str(loss) for loss in find_losses(build_edition(BASE, SCRIPTS), Edition())]

    assert [loss.split(":")[0] for loss in losses] == [
        "scenario 'one'",
        "scenario 'two'",
        "[gate]",
        "[gate]",
        "[gate]",
        "[gate]",
    ]


@pytest.mark.parametrize(
    "script",
    [
        "",
        "\n  # nothing\n\n",
        "#!/usr/bin/env bash\nset -euo pipefail\n",
        "true",
        ":",
        "exit",
        "exit 0",
        "exit 77",
        "exit 0 # for now",
        "exit 0\nwg run",
        'echo "SKIP: not here; later" >&2; exit 77',
        "echo one && echo two\nprintf '%s' \"$x\"\nexit 77\nwg run",
        "set -e; true; exit 77",
    ],
)
def test_script_without_commands_is_empty(script: str) -> None:
    """Comments, printed text and an exit with success or skip do not count as commands."""
    assert is_empty(script)


@pytest.mark.parametrize(
    "script",
    [
        "wg run",
        "exit 1",
        "exit 771",
        "exit $?",
        "false",
        "truely",
        "echo hi | grep hi",
        'echo "$(wg run)"\nexit 0',
        "echo `wg run`\nexit 0",
        "echo one && wg run",
        'echo "; exit 0"\nwg run',
        "command -v wg || exit 77\nwg run",
        "if wg run; then\n  exit 0\nfi\nexit 1",
        "echo starting\nset -e\nwg run\nexit 0",
        "f() {\n  exit 0\n}\nwg run",
    ],
)
def test_script_with_command_is_not_empty(script: str) -> None:
    """A script that runs a command before its end, or fails, is not empty."""
    assert not is_empty(script)
