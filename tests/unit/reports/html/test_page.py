"""The HTML report as a whole."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings

from isosmoke.reports import html
from isosmoke.reports.html.supplement import Supplement
from isosmoke.results.evidence import Change, Evidence
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from support import html_pages, records, result_factories
from support.html_pages import Page, parse_page


def make_mixed() -> RunRecord:
    """Return a run with two passes and each other outcome."""
    return records.make_record(records.make_passed("first"), *records.make_every_outcome())


def test_failures_come_first_and_passes_are_collapsed() -> None:
    """Failures are on top, the most urgent first, and each pass is one line."""
    page = parse_page(make_mixed())

    assert page.scenarios() == [
        *("bad", "leaky", "slow", "broke", "flaky", "skipped", "never"),
        *("first", "good"),
    ]
    assert [row["class"] for row in page.find("details", "row")][-2:] == ["row PASS"] * 2


@pytest.mark.parametrize(("number", "opened"), [(1, 1), (3, 3), (4, 1)])
def test_few_failures_are_expanded(number: int, opened: int) -> None:
    """Of many failures only the first is expanded, so that all can be read at a glance."""
    failures = [records.make_failed(f"bad{at}") for at in range(number)]
    rows = parse_page(records.make_record(*failures, records.make_passed())).find("details", "row")

    assert [("open" in row) for row in rows] == [True] * opened + [False] * (number + 1 - opened)


def test_failure_has_all_facts() -> None:
    """They include the reason, leaked processes, log, output, phases and repeat command."""
    text = parse_page(records.make_record(records.make_failed())).text

    for fact in (
        "1 of 1 blocking",
        "1 of 1 scenario blocks: 1 FAIL.",
        "It never breaks.",
        "exit 3: broken, left 1 process: serve 'a b'",
        "serve 'a b' listens tcp 127.0.0.1:80",
        "pid 7 · re-parented to the keeper · sleeping · 2.0 s old · in /work · program /bin/x",
        "allowed: Known.",
        "/p/.isosmoke/runs/1/bad/output-1.log",
        "fine\nbroken",
        "create 0.25, start 0.05, run 1.00, settle 0.20, destroy 0.10",
        "isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad",
        "0123456789ab",
        "task-b",
    ):
        assert fact in text


def test_evidence_is_collapsed_below_its_failure() -> None:
    """It has used resources, changes and panes with their text, and missing items."""
    attempt = Attempt(ending=Exited(1), evidence=records.evidence("word"))
    page = parse_page(
        records.make_record(result_factories.make_result(attempt, Attempt(ending=Exited(1))))
    )

    assert [item.get("open", "closed") for item in page.find("details", "text")] == ["closed"] * 2
    for fact in (
        "1.50 s user, 0.25 s system, 4.2 MB in the largest process, 12.3 MB memory",
        "try 1: added word  file, 1 B, its end is kept",
        "try 1: changed word  link to word",
        "try 1: 3 more changes",
        "try 1: pane word of tmux at word",
        "try 1: missing word",
    ):
        assert fact in page.text


def test_many_texts_are_each_collapsed() -> None:
    """The names of many files can be read at a glance, and each can be expanded."""
    change = Change(path="/p/a", change="added", kind="file", size=1, text="a")
    attempt = Attempt(ending=Exited(1), evidence=Evidence(changes=(change,) * 9))
    page = parse_page(records.make_record(result_factories.make_result(attempt)))

    assert page.find("details", "text") == [{"class": "text"}] * 9


def test_each_attempt_is_a_row() -> None:
    """A flaky scenario shows its concurrent and its isolated attempt."""
    attempts = [
        Attempt(ending=Exited(1), alone=False, phases={"run": 1.0}),
        Attempt(ending=Exited(0), phases={"run": 0.5}, begun=2.0),
    ]
    text = parse_page(records.make_record(result_factories.make_result(*attempts))).text

    assert "FAIL alongside others" in text
    assert "PASS in isolation" in text


def test_phases_of_an_attempt_are_a_bar() -> None:
    """Its parts are percentages of the attempt, in order; that of the script is marked."""
    bar = parse_page(records.make_record(records.make_failed())).source.partition(
        'svg class="phases'
    )[2]
    parts = re.findall(
        r'rect class="(\w*)" x="([\d.]+)%" width="([\d.]+)%"', bar.partition("</svg>")[0]
    )

    assert [name for name, _, _ in parts] == ["", "", "run", "", ""]
    assert [x for _, x, _ in parts] == ["0.0", "15.6", "18.8", "81.2", "93.8"]
    assert sum(float(width) for _, _, width in parts) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(("number", "folded"), [(0, 0), (1, 0), (2, 1)])
def test_several_notes_are_folded(number: int, folded: int) -> None:
    """They do not push the failures off the first screen; a single one is shown."""
    page = parse_page(records.make_record(records.make_failed(), notes=["a note"] * number))

    assert page.text.count("a note") == number
    assert page.text.count(f"{number} notes about this run") == folded


def test_script_is_named_relative_to_the_working_directory() -> None:
    """The page is not wider than what a reader would type."""
    output = records.make_output("one.sh: line 2: lose: command not found\n")
    failed = result_factories.make_result(Attempt(ending=Exited(1), output=output))
    run = records.make_record(failed)
    page = html.render(run, Supplement(scripts={run.scenarios[0].name: "start\nlose\n"}))

    assert f"Line 2 of {run.scenarios[0].script} " in page


def test_everything_has_a_chip() -> None:
    """A reader without a keyboard can end a filter, which the chip of all scenarios does."""
    chips = parse_page(make_mixed()).find("a", "chip")

    assert [chip["data-outcome"] for chip in chips][:2] == ["", "FAIL"]


def test_leftovers_are_on_top() -> None:
    """A run that exits 125 because of a leftover is not shown as clean."""
    page = parse_page(records.make_dirty_record())

    title = "<title>Nothing blocking, but DIRTY · isosmoke</title>"
    leftover = "DIRTY: box (remove it: docker rm box)"
    assert title in page.source
    assert page.text.index(leftover) < page.text.index("1 passed")


def hash_source(content: str) -> str:
    """Return the source of a Content-Security-Policy that allows this content."""
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def test_policy_allows_only_the_style_sheet_and_the_script() -> None:
    """Each is allowed by its hash; nothing else can be loaded, run or sent."""
    page = parse_page(make_mixed())

    assert page.policy() == (
        f"default-src 'none'; style-src {hash_source(page.style)}; "
        f"script-src {hash_source(page.script)}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    first = [tag for tag, _ in page.tags].index("style")
    assert "meta" in [tag for tag, _ in page.tags][:first]


def test_page_loads_nothing() -> None:
    """There is no address of another file anywhere, and no attribute that a policy forbids."""
    page = parse_page(make_mixed())
    attributes = [(name, value) for _, tag in page.tags for name, value in tag.items()]

    assert len(page.find("style")) == len(page.find("script")) == 1
    assert not re.search(r"url\(|@import|https?:|//\w", page.style)
    assert not re.search(r"innerHTML|https?:|fetch|import|eval|XMLHttp", page.script)
    assert {value[:1] for name, value in attributes if name == "href" and value} == {"#"}
    assert not {"src", "style", "action", "srcset"} & {name for name, _ in attributes}
    assert not [name for name, _ in attributes if name.startswith("on")]


def test_ids_are_unique_and_links_lead_to_them() -> None:
    """Names of scenarios are ids, and cannot be those of sections."""
    names = ("timeline", "tools", "search", "keys", "passed", "slowest", "FAIL")
    page = parse_page(
        records.make_record(*map(records.make_failed, names), records.make_passed("leaks"))
    )
    ids = page.ids()

    assert len(ids) == len(set(ids))
    assert {(link["href"] or "")[1:] for link in page.find("a")} <= set(ids)
    assert {*names, "leaks", "~timeline", "~slowest", "~leaks", "~passed", "~FAIL"} <= set(ids)


def test_page_is_complete_without_its_script() -> None:
    """Only tools that need the script are hidden, and only the script shows them."""
    page = parse_page(make_mixed())
    hidden = [attributes.get("id") for _, attributes in page.tags if "hidden" in attributes]

    assert hidden == ["~tools"]
    assert 'byId("~tools").hidden = false' in page.script


def test_every_key_is_documented() -> None:
    """The list of keys on the page has each key that the script handles."""
    page = parse_page(make_mixed())
    handled = re.findall(r'^    "(\S+)": ', page.script, re.MULTILINE)
    listed = re.findall(r"<kbd>(.+?)</kbd>", page.source)

    assert len(handled) > 5
    assert {*handled} == {key.replace("Esc", "Escape") for key in listed} - {"Enter"}


def test_page_has_dark_and_light_colours() -> None:
    """The reader's setting decides, and paper is light."""
    style = parse_page(records.make_record()).style

    for outcome in Outcome:
        assert style.count(f"--{outcome}: {outcome.facts.page.light};") == 1
        assert style.count(f"--{outcome}: {outcome.facts.page.dark};") == 1


PLAIN = parse_page(records.make_hostile_record("x"))


@given(records.ANY_TEXT)
def test_foreign_text_is_text(text: str) -> None:
    """With any output, the page has the same tags and attributes as with a plain word.

    Only colours of the output, which add spans with known classes, and titles may differ.
    """
    page = parse_page(records.make_hostile_record(f"x{text}{records.HOSTILE}"))

    assert remove_spans(page) == remove_spans(PLAIN)
    assert page.policy() == PLAIN.policy()


def remove_spans(page: Page) -> list[tuple[str, dict[str, str | None]]]:
    """Return the tags of a page without the spans of styled output."""
    return [
        (tag, attributes)
        for tag, attributes in page.tags
        if not (tag == "span" and re.fullmatch(STYLES, attributes.get("class") or ""))
    ]


STYLES = r"((ink|paper)\d+ ?|bold ?|dim ?|italic ?|underline ?|inverse ?|strike ?)+"


@given(records.ANY_TEXT)
def test_page_has_no_control_characters(text: str) -> None:
    """Control and bidirectional characters are made visible."""
    rendered = html.render(records.make_hostile_record(text + records.HOSTILE))

    rendered.encode()
    assert all(
        character.isprintable() for character in rendered.replace("\n", "").replace("\t", "")
    )
    assert "\\u202e" in rendered


@settings(max_examples=1)
@given(records.ANY_TEXT)
def test_page_is_deterministic(text: str) -> None:
    """The same record gives the same page."""
    run = records.make_hostile_record(text)

    assert html.render(run) == html.render(run)


def test_attribute_cannot_be_closed() -> None:
    """Text in an attribute, such as the title of a bar, stays in it."""
    page = html_pages.parse_page(records.make_hostile_record("\"'><script>x</script>"))

    assert len(page.find("script")) == 1
