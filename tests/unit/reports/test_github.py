"""The report for GitHub Actions."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.reports import github
from isosmoke.results.outcome import Exited, Stopped
from isosmoke.results.records.shard import MergedShardRecord
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import records, result_factories

COMMAND = re.compile(r"::(?P<kind>\w+) (?P<properties>[^:]*)::(?P<message>.*)")
"""A workflow command as the runner reads it: it ends its properties at the first two colons."""


def move_script(result: ScenarioResult, directory: str) -> ScenarioResult:
    """Return the same result, with its script in another directory."""
    placed = result.scenario.place(Path(directory))
    return ScenarioResult(scenario=placed, attempts=result.attempts)


def parse_annotations(run: RunRecord, top: str = "/p") -> list[tuple[str, dict[str, str], str]]:
    """Return the kind, properties and message of each command, as the runner parses them."""
    commands = []
    for line in github.render_annotations(run, top).splitlines():
        match = COMMAND.fullmatch(line)
        assert match is not None, line
        pairs = (pair.partition("=") for pair in match["properties"].split(","))
        properties = {name: unescape(value) for name, _, value in pairs}
        commands.append((match["kind"], properties, unescape(match["message"])))
    return commands


def unescape(text: str) -> str:
    """Return the text that the runner decodes from an escaped text."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ",")):
        text = text.replace(code, character)
    return text.replace("%25", "%")


def test_failure_is_an_error_on_the_line_of_its_script() -> None:
    """The title has the outcome and the name, and the message has all facts."""
    attempt = Attempt(ending=Exited(2), output=records.make_output("one.sh: line 7: oops\n"))
    run = records.make_record(
        move_script(
            result_factories.make_result(attempt, name="bad", assertion="100%, always"), "/p/a"
        )
    )

    assert github.render_annotations(run, "/p") == (
        "::error file=a/one.sh,line=7,title=FAIL bad::asserts: 100%25, always%0A"
        "because: exit 2%0Arepeat: isosmoke run --manifest /p/manifest.toml --binary /p/wg "
        "--engine bubblewrap bad\n"
    )


def test_path_cannot_end_the_properties() -> None:
    """A colon or a comma in a path is part of the path."""
    run = records.make_record(move_script(records.make_failed(), "/p/a,b::c"))

    ((kind, properties, _),) = parse_annotations(run)
    assert kind == "error"
    assert properties == {"file": "a,b::c/one.sh", "line": "1", "title": "FAIL bad"}


def test_script_outside_repository_has_no_location() -> None:
    """GitHub knows only files of the repository."""
    ((_, properties, _),) = parse_annotations(
        records.make_record(move_script(records.make_failed(), "/else"))
    )

    assert properties == {"title": "FAIL bad"}


def test_shard_that_does_not_count_is_an_error() -> None:
    """A missing shard has an annotation, also if all of its scenarios, or none, are known."""
    shards = (MergedShardRecord(number=1), MergedShardRecord(number=2, problem="it is missing"))
    run = replace(records.make_record(records.make_passed()), shards=shards)

    assert parse_annotations(run) == [("error", {"title": "SHARD"}, "it is missing")]


def test_kinds_follow_the_outcomes() -> None:
    """Blocking outcomes are errors, tried ones first; flaky and skipped are warnings."""
    never = result_factories.make_result(Attempt(ending=Stopped("SIGINT")), name="first")
    titles = [
        (kind, properties["title"])
        for kind, properties, _ in parse_annotations(
            records.make_record(never, *records.make_every_outcome())
        )
    ]

    assert titles == [
        ("error", "LEAK leaky"),
        ("error", "FAIL bad"),
        ("error", "TIMEOUT slow"),
        ("error", "ERROR broke"),
        ("error", "NOT_RUN first"),
        ("error", "NOT_RUN never"),
        ("warning", "FLAKY flaky"),
        ("warning", "SKIP skipped"),
    ]


def test_ten_annotations_of_each_kind_and_a_notice() -> None:
    """GitHub would discard the eleventh silently."""
    many = [records.make_failed(f"f{number}") for number in range(12)]
    skips = [
        result_factories.make_result(Attempt(ending=Exited(77)), name=f"s{number}")
        for number in range(11)
    ]
    commands = parse_annotations(records.make_record(*many, *skips))

    assert [kind for kind, *_ in commands] == ["error"] * 10 + ["warning"] * 10 + ["notice"]
    assert commands[-1][2] == "3 more without an annotation: FAIL f10, FAIL f11, SKIP s10"


def test_leftovers_are_one_of_the_ten_errors() -> None:
    """A leftover comes first, with the command that removes it."""
    run = records.make_dirty_record()
    many = records.make_record(*(records.make_failed(f"f{number}") for number in range(10)))
    (first, *others) = parse_annotations(replace(many, dirty=run.dirty))

    assert parse_annotations(run) == [first]
    assert first == ("error", {"title": "DIRTY"}, "box (remove it: docker rm box)")
    assert [kind for kind, *_ in others] == ["error"] * 9 + ["notice"]
    assert "DIRTY: ` box (remove it: docker rm box) `\n" in github.render_summary(run)


def test_passing_run_has_no_annotation() -> None:
    """A run without problems needs none."""
    assert github.render_annotations(records.make_record(records.make_passed()), "/p") == ""


def test_summary_explains_failures_and_names_passes() -> None:
    """The counts are the headline; each failure has its facts and the end of its output."""
    assert github.render_summary(
        records.make_record(records.make_passed(), records.make_failed())
    ) == (
        "## isosmoke: 1 PASS, 1 FAIL\n\n"
        "` 1 PASS, 1 FAIL in 2.5 s on bubblewrap of /p/wg (sha256 0123456789ab) `\n\n"
        "### ` FAIL bad `\n\n"
        "```text\n"
        "asserts  It never breaks.\n"
        "because  exit 3: broken, left 1 process: serve 'a b'\n"
        "leaked   pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work\n"
        "allowed  pid 7 ppid 1 S 2.0s  tmux  listens tcp 127.0.0.1:80  in /work  (Known.)\n"
        "log      /p/.isosmoke/runs/1/bad/output-1.log\n"
        "repeat   isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad\n"
        "| fine\n| broken\n```\n\n"
        "Passed: ` good `\n"
    )


@pytest.mark.parametrize("limit", [500, 2000, 5000])
def test_summary_counts_omitted_scenarios(limit: int) -> None:
    """Only whole scenarios are omitted."""
    text = github.render_summary(
        records.make_record(*(records.make_failed(f"f{number}") for number in range(99))), limit
    )
    shown = text.count("### ")

    assert len(text.encode()) <= limit
    assert text.endswith(
        f"\n{99 - shown} more did not pass; they are omitted because of GitHub's size limit.\n"
    )
    assert text.count("```") == 2 * shown


@given(st.integers(0, 3000))
def test_summary_never_exceeds_its_limit(limit: int) -> None:
    """GitHub discards a summary that is too long, with all earlier text."""
    run = records.make_record(*records.make_every_outcome())

    assert len(github.render_summary(run, limit).encode()) <= limit


@given(records.ANY_TEXT)
def test_foreign_text_stays_in_its_command(text: str) -> None:
    """Output of a script cannot add a workflow command or a property."""
    commands = parse_annotations(records.make_hostile_record(text + records.HOSTILE), "/")

    assert [kind for kind, *_ in commands] == ["error", "error"]
    assert all(properties.keys() <= {"file", "line", "title"} for _, properties, _ in commands)


def strip_code(markdown: str) -> str:
    """Return Markdown without its code, by the rules of CommonMark."""
    text, fence = [], ""
    for line in markdown.splitlines():
        opening = re.match("`{3,}", line)
        if fence:
            fence = "" if line.strip() == line and set(line) == {"`"} and line >= fence else fence
        elif opening:
            fence = opening[0]
        else:
            text.append(re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", line))
    assert not fence
    return "\n".join(text)


@given(records.ANY_TEXT)
def test_foreign_text_stays_in_code(text: str) -> None:
    """No tag, link or heading of a summary comes from a script's output."""
    markdown = github.render_summary(records.make_hostile_record(text + records.HOSTILE))

    assert set(strip_code(markdown).replace("\n", " ").split()) <= {
        *("##", "###", "isosmoke:", "1", "ERROR", "DIRTY:"),
    }


def test_strip_code_reveals_text_after_a_short_fence() -> None:
    """The check above detects text that escapes from its fence."""
    assert strip_code("``` x\n```\n<b>\n") == "<b>"
    assert strip_code("` a ` b `` c ` d ``") == " b "
