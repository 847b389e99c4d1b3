"""The HTML report."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given

from isosmoke.reports import html
from isosmoke.results.evidence import Change, Evidence
from isosmoke.results.outcome import Exited
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from support import records, result_factories

VOID = {"meta"}


class Page(HTMLParser):
    """A page as a browser parses it: its tags with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data

    def policy(self) -> str:
        """Return the content of the Content-Security-Policy."""
        policies = [
            attributes
            for tag, attributes in self.tags
            if tag == "meta" and "http-equiv" in attributes
        ]
        assert [attributes["http-equiv"] for attributes in policies] == ["Content-Security-Policy"]
        return policies[0]["content"] or ""

    def headings(self) -> list[str]:
        """Return the scenarios in the order of the page."""
        return [tag["id"] or "" for _, tag in self.tags if "id" in tag]


def parse_page(run: RunRecord) -> Page:
    """Render the page of a run and parse it."""
    return Page(html.render(run))


def test_failures_come_first_and_passes_are_collapsed() -> None:
    """Failures are expanded and on top; each pass is one line."""
    parsed = parse_page(
        records.make_record(records.make_passed("first"), *records.make_every_outcome())
    )

    assert parsed.headings() == [
        *("bad", "leaky", "slow", "broke", "flaky", "skipped", "never"),
        *("first", "good"),
    ]
    details = [attributes for tag, attributes in parsed.tags if tag == "details"]
    assert [detail["id"] for detail in details] == ["first", "good"]
    assert all("open" not in detail for detail in details)


def test_failure_has_all_facts() -> None:
    """They include the reason, leaked processes, log, output, phases and repeat command."""
    text = parse_page(records.make_record(records.make_failed())).text

    for fact in (
        "1 of 1 blocking",
        "It never breaks.",
        "exit 3: broken, left 1 process: serve 'a b'",
        "pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work",
        "tmux  listens tcp 127.0.0.1:80  in /work  (Known.)",
        "/p/.isosmoke/runs/1/bad/output-1.log",
        "fine\nbroken",
        "create 0.25, start 0.05, run 1.00, settle 0.20, destroy 0.10",
        "isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad",
        "sha256 0123456789ab",
    ):
        assert fact in text


def test_evidence_is_collapsed_below_its_failure() -> None:
    """It has used resources, changes and panes with their text, and missing items."""
    attempt = Attempt(ending=Exited(1), evidence=records.evidence("word"))
    parsed = parse_page(
        records.make_record(result_factories.make_result(attempt, Attempt(ending=Exited(1))))
    )

    details = [attributes for tag, attributes in parsed.tags if tag == "details"]
    assert details == [{"class": "evidence"}, *[{"class": "text", "open": None}] * 2]
    for fact in (
        "try 1: used 1.50 s user, 0.25 s system, 4.2 MB in the largest process, 12.3 MB memory",
        "try 1: added word  file, 1 B, its end is kept",
        "try 1: changed word  link to word",
        "try 1: 3 more changes",
        "try 1: pane word of tmux at word",
        "try 1: missing word",
    ):
        assert fact in parsed.text
    assert [tag for tag, _ in parsed.tags].count("pre") == 2


def test_many_texts_are_each_collapsed() -> None:
    """The names of many files can be read at a glance, and each can be expanded."""
    change = Change(path="/p/a", change="added", kind="file", size=1, text="a")
    attempt = Attempt(ending=Exited(1), evidence=Evidence(changes=(change,) * 9))
    parsed = parse_page(records.make_record(result_factories.make_result(attempt)))

    texts = [
        attributes
        for tag, attributes in parsed.tags
        if tag == "details" and attributes["class"] == "text"
    ]
    assert texts == [{"class": "text"}] * 9


def test_each_attempt_is_a_row() -> None:
    """A flaky scenario shows its concurrent and its isolated attempt."""
    attempts = [
        Attempt(ending=Exited(1), alone=False, phases={"run": 1.0}),
        Attempt(ending=Exited(0), phases={"run": 0.5}, begun=2.0),
    ]
    text = parse_page(records.make_record(result_factories.make_result(*attempts))).text

    assert "FAIL alongside others" in text
    assert "PASS in isolation" in text


@pytest.mark.parametrize(
    ("run", "headline"),
    [
        (records.make_record(records.make_passed()), "Nothing blocking"),
        (records.make_record(), "Nothing was run"),
        (records.make_record(records.make_failed(), records.make_passed()), "1 of 2 blocking"),
        (records.make_record(records.make_passed(), stopped="SIGINT"), "Stopped by SIGINT"),
        (
            records.make_record(records.make_passed()).model_copy(update={"finished": False}),
            "Not finished",
        ),
    ],
)
def test_title_is_the_verdict(run: RunRecord, headline: str) -> None:
    """The title of a browser tab shows the result of the run."""
    assert f"<title>{headline} · isosmoke</title>" in html.render(run)


def test_leftovers_are_on_top() -> None:
    """A run that exits 125 because of a leftover is not shown as clean."""
    parsed = parse_page(records.make_dirty_record())

    title = "<title>Nothing blocking, but DIRTY · isosmoke</title>"
    leftover = "DIRTY: box (remove it: docker rm box)"
    assert title in html.render(records.make_dirty_record())
    assert parsed.text.index(leftover) < parsed.text.index("1 passed")


def test_policy_allows_only_the_style_sheet() -> None:
    """The hash is that of the style sheet; nothing else can be loaded."""
    parsed = parse_page(records.make_record(records.make_failed()))
    digest = b64encode(sha256(parsed.style.encode()).digest()).decode()

    assert parsed.policy() == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    first = [tag for tag, _ in parsed.tags].index("style")
    assert "meta" in [tag for tag, _ in parsed.tags][:first]
    assert not re.search(r"url\(|@import|https?:", parsed.style)


def test_page_has_dark_and_light_colours() -> None:
    """The reader's setting decides."""
    assert "prefers-color-scheme: dark" in parse_page(records.make_record()).style


PLAIN = parse_page(records.make_hostile_record("x"))


@given(records.ANY_TEXT)
def test_foreign_text_is_text(text: str) -> None:
    """With any output, the page has the same tags and attributes as with a plain word."""
    parsed = parse_page(records.make_hostile_record(f"x{text}{records.HOSTILE}"))

    assert parsed.tags == PLAIN.tags
    assert parsed.policy() == PLAIN.policy()


@given(records.ANY_TEXT)
def test_page_has_no_control_characters(text: str) -> None:
    """Control and bidirectional characters are made visible."""
    rendered = html.render(records.make_hostile_record(text + records.HOSTILE))

    rendered.encode()
    assert all(
        character.isprintable() for character in rendered.replace("\n", "").replace("\t", "")
    )
    assert "\\u202e" in rendered
