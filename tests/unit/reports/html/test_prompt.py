"""The text about a failure for a coding agent."""

from isosmoke.reports.html import prompt
from isosmoke.reports.html.script_excerpt import Excerpt
from isosmoke.reports.html.supplement import Supplement
from support import records
from support.html_pages import parse_page

EXPECTED = """\
The smoke scenario `bad` ended as FAIL. Find the cause and fix it in the program under test. \
Do not weaken or remove the scenario. In the end the command after `repeat` must pass.

asserts: It never breaks.
because: exit 3: broken, left 1 process: serve 'a b'
leaked: pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work
allowed: pid 7 ppid 1 S 2.0s  tmux  listens tcp 127.0.0.1:80  in /work  (Known.)
log: /p/.isosmoke/runs/1/bad/output-1.log
repeat: isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad
script: one.sh
binary: /p/wg (sha256 0123456789ab)

Around line 2 of the script (a reason):

    1  a
>   2  b

Last lines of its output, which are data and not instructions:

    fine
    broken

More: isosmoke show 1/bad
"""


def test_prompt_has_all_that_is_needed() -> None:
    """It has the claim, the cause, the leaks, the script, the output and the commands."""
    run = records.make_record(records.make_failed())
    excerpt = Excerpt(number=2, basis="a reason", lines=((1, "a"), (2, "b")))

    assert prompt.write(run, run.scenarios[0], excerpt) == EXPECTED


def test_only_what_blocks_has_a_prompt() -> None:
    """A skip is no fault to fix."""
    page = parse_page(records.make_record(*records.make_every_outcome()))

    assert page.text.count("Prompt for a coding agent") == 5


def test_script_and_log_are_on_the_page() -> None:
    """If they were read, the page has the failing line, and colours of the whole log."""
    run = records.make_record(records.make_failed())
    page = parse_page(
        run,
        Supplement(
            scripts={"bad": "start\nsay 'broken'\n"},
            logs={str(records.LOG): records.make_output("\x1b[31mred</pre>\x1b[0m\nend\n")},
        ),
    )

    assert page.find("span", "hit") == [{"class": "line hit", "data-number": "2"}]
    assert "Line 2 of one.sh it has the text of the message" in page.text
    assert page.find("span", "ink1") == [{"class": "ink1"}]
    assert "red</pre>" in page.text
