"""A run as GitHub Actions shows it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.reports import github
from isosmoke.results.outcome import Exited, Stopped
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import records, result_factories

COMMAND = re.compile(r"::(?P<kind>\w+) (?P<properties>[^:]*)::(?P<message>.*)")
"""A workflow command as the runner reads it: it ends its properties at the first two colons."""


def in_folder(result: ScenarioResult, folder: str) -> ScenarioResult:
    """The same scenario, its script in another folder."""
    entry = result.scenario.model_dump()
    placed = type(result.scenario).model_validate(entry, context=Path(folder))
    return ScenarioResult(scenario=placed, attempts=result.attempts)


def told_of(run: RunRecord, top: str = "/p") -> list[tuple[str, dict[str, str], str]]:
    """Each command as the runner understands it: kind, properties, message."""
    found = []
    for line in github.annotations(run, top).splitlines():
        read = COMMAND.fullmatch(line)
        assert read is not None, line
        pairs = (one.partition("=") for one in read["properties"].split(","))
        properties = {name: meant(value) for name, _, value in pairs}
        found.append((read["kind"], properties, meant(read["message"])))
    return found


def meant(text: str) -> str:
    """What the runner makes of an escaped text."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ",")):
        text = text.replace(code, character)
    return text.replace("%25", "%")


def test_failure_is_an_error_on_the_line_of_its_script() -> None:
    """It has the outcome and the name as its title, and all that is known as its message."""
    attempt = Attempt(ending=Exited(2), output=records.words("one.sh: line 7: oops\n"))
    run = records.of(
        in_folder(result_factories.result(attempt, name="bad", assertion="100%, always"), "/p/a")
    )

    assert github.annotations(run, "/p") == (
        "::error file=a/one.sh,line=7,title=FAIL bad::asserts: 100%25, always%0A"
        "because: exit 2%0Arepeat: isosmoke run --manifest /p/manifest.toml --binary /p/wg "
        "--engine bubblewrap bad\n"
    )


def test_title_cannot_end_the_properties() -> None:
    """A colon or a comma in a path is part of the path."""
    run = records.of(in_folder(records.failed(), "/p/a,b::c"))

    ((kind, properties, _),) = told_of(run)
    assert kind == "error"
    assert properties == {"file": "a,b::c/one.sh", "line": "1", "title": "FAIL bad"}


def test_script_elsewhere_has_no_place() -> None:
    """GitHub knows files of the repository only."""
    ((_, properties, _),) = told_of(records.of(in_folder(records.failed(), "/else")))

    assert properties == {"title": "FAIL bad"}


def test_kinds_follow_the_outcomes() -> None:
    """What blocks is an error, the tried ones first; flaky and skipped are warnings."""
    never = result_factories.result(Attempt(ending=Stopped("SIGINT")), name="first")
    titles = [
        (kind, properties["title"])
        for kind, properties, _ in told_of(records.of(never, *records.every_outcome()))
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


def test_ten_of_a_kind_and_the_rest_by_name() -> None:
    """GitHub would drop the eleventh in silence."""
    many = [records.failed(f"f{number}") for number in range(12)]
    skips = [
        result_factories.result(Attempt(ending=Exited(77)), name=f"s{number}")
        for number in range(11)
    ]
    commands = told_of(records.of(*many, *skips))

    assert [kind for kind, *_ in commands] == ["error"] * 10 + ["warning"] * 10 + ["notice"]
    assert commands[-1][2] == "3 more without an annotation: FAIL f10, FAIL f11, SKIP s10"


def test_what_is_left_behind_is_an_error_within_the_ten() -> None:
    """A runner that is not as it was is told first, with what mends it."""
    run = records.dirty()
    many = records.of(*(records.failed(f"f{number}") for number in range(10)))
    (first, *others) = told_of(many.model_copy(update={"dirty": run.dirty}))

    assert told_of(run) == [first]
    assert first == ("error", {"title": "DIRTY"}, "box (remove it: docker rm box)")
    assert [kind for kind, *_ in others] == ["error"] * 9 + ["notice"]
    assert "DIRTY: ` box (remove it: docker rm box) `\n" in github.summary(run)


def test_all_that_passed_needs_no_annotation() -> None:
    """A green run says nothing."""
    assert github.annotations(records.of(records.passed()), "/p") == ""


def test_summary_tells_failures_whole_and_passes_by_name() -> None:
    """The counts are the headline; what did not pass has its facts and the end of its output."""
    assert github.summary(records.of(records.passed(), records.failed())) == (
        "## isosmoke: 1 PASS, 1 FAIL\n\n"
        "` 1 PASS, 1 FAIL in 2.5 s on bubblewrap of /p/wg (sha256 0123456789ab) `\n\n"
        "### ` FAIL bad `\n\n"
        "```text\n"
        "asserts  It never breaks.\n"
        "because  exit 3: broken, left 1 process: serve 'a b'\n"
        "left     pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work\n"
        "allowed  pid 7 ppid 1 S 2.0s  tmux  listens tcp 127.0.0.1:80  in /work  (Known.)\n"
        "log      /p/.isosmoke/runs/1/bad/output-1.log\n"
        "repeat   isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad\n"
        "| fine\n| broken\n```\n\n"
        "Passed: ` good `\n"
    )


@pytest.mark.parametrize("room", [500, 2000, 5000])
def test_summary_says_how_many_it_leaves_out(room: int) -> None:
    """Whole scenarios are left out, and counted."""
    text = github.summary(records.of(*(records.failed(f"f{one}") for one in range(99))), room)
    shown = text.count("### ")

    assert len(text.encode()) <= room
    assert text.endswith(f"\n{99 - shown} more did not pass; there is no room for them here.\n")
    assert text.count("```") == 2 * shown


@given(st.integers(0, 3000))
def test_summary_never_takes_more_room_than_there_is(room: int) -> None:
    """GitHub drops a summary that is too long, with all that earlier commands wrote to it."""
    run = records.of(*records.every_outcome())

    assert len(github.summary(run, room).encode()) <= room


@given(records.ANY_TEXT)
def test_text_of_others_stays_in_its_command(text: str) -> None:
    """A line that a script prints is no workflow command, and no property of one."""
    commands = told_of(records.hostile_run(text + records.HOSTILE), "/")

    assert [kind for kind, *_ in commands] == ["error", "error"]
    assert all(properties.keys() <= {"file", "line", "title"} for _, properties, _ in commands)


def outside_code(markdown: str) -> str:
    """What is left of Markdown without its code, by the rules of CommonMark."""
    kept, fence = [], ""
    for line in markdown.splitlines():
        opening = re.match("`{3,}", line)
        if fence:
            fence = "" if line.strip() == line and set(line) == {"`"} and line >= fence else fence
        elif opening:
            fence = opening[0]
        else:
            kept.append(re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", line))
    assert not fence
    return "\n".join(kept)


@given(records.ANY_TEXT)
def test_text_of_others_stays_in_code(text: str) -> None:
    """No tag, link or heading of a summary comes from what a script printed."""
    markdown = github.summary(records.hostile_run(text + records.HOSTILE))

    assert set(outside_code(markdown).replace("\n", " ").split()) <= {
        *("##", "###", "isosmoke:", "1", "ERROR", "DIRTY:"),
    }


def test_the_strip_of_code_would_show_what_gets_out() -> None:
    """The check above sees text that a shorter fence would let out."""
    assert outside_code("``` x\n```\n<b>\n") == "<b>"
    assert outside_code("` a ` b `` c ` d ``") == " b "
