"""A run as a page."""

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
    """A page as a browser reads it: its tags with their attributes, and its text outside them."""

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
        """What it lets a browser load and run."""
        found = [one for tag, one in self.tags if tag == "meta" and "http-equiv" in one]
        assert [one["http-equiv"] for one in found] == ["Content-Security-Policy"]
        return found[0]["content"] or ""

    def headings(self) -> list[str]:
        """The scenarios in the order of the page."""
        return [one["id"] or "" for _, one in self.tags if "id" in one]


def page(run: RunRecord) -> Page:
    """The page of a run, read."""
    return Page(html.render(run))


def test_failures_come_first_and_passes_are_folded() -> None:
    """What needs a look is open and on top; what passed is one line until it is clicked."""
    read = page(records.of(records.passed("first"), *records.every_outcome()))

    assert read.headings() == [
        *("bad", "leaky", "slow", "broke", "flaky", "skipped", "never"),
        *("first", "good"),
    ]
    folded = [one for tag, one in read.tags if tag == "details"]
    assert [one["id"] for one in folded] == ["first", "good"]
    assert all("open" not in one for one in folded)


def test_failure_has_all_that_is_known_of_it() -> None:
    """Why, what was left, the log, the end of the output, its steps, and how to repeat it."""
    text = page(records.of(records.failed())).text

    for words in (
        "1 of 1 block",
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
        assert words in text


def test_evidence_is_folded_below_its_failure() -> None:
    """What was used, each change with its text, each terminal, and what is missing."""
    left = Attempt(ending=Exited(1), evidence=records.evidence("word"))
    read = page(records.of(result_factories.result(left, Attempt(ending=Exited(1)))))

    folded = [one for tag, one in read.tags if tag == "details"]
    assert folded == [{"class": "evidence"}, *[{"class": "text", "open": None}] * 2]
    for words in (
        "try 1: used 1.50 s user, 0.25 s system, 4.2 MB the largest process, 12.3 MB memory",
        "try 1: added word  file, 1 B, its end is kept",
        "try 1: changed word  link to word",
        "try 1: 3 more changes",
        "try 1: pane word of tmux at word",
        "try 1: missing word",
    ):
        assert words in read.text
    assert [tag for tag, _ in read.tags].count("pre") == 2


def test_many_texts_are_folded_one_by_one() -> None:
    """Of a hundred files the names can be looked over, and any be opened."""
    change = Change(path="/p/a", change="added", kind="file", size=1, text="a")
    left = Attempt(ending=Exited(1), evidence=Evidence(changes=(change,) * 9))
    read = page(records.of(result_factories.result(left)))

    texts = [one for tag, one in read.tags if tag == "details" and one["class"] == "text"]
    assert texts == [{"class": "text"}] * 9


def test_each_try_is_a_row() -> None:
    """What failed beside others and passed alone says both."""
    tries = [
        Attempt(ending=Exited(1), alone=False, phases={"run": 1.0}),
        Attempt(ending=Exited(0), phases={"run": 0.5}, begun=2.0),
    ]
    text = page(records.of(result_factories.result(*tries))).text

    assert "FAIL beside others" in text
    assert "PASS alone" in text


@pytest.mark.parametrize(
    ("run", "headline"),
    [
        (records.of(records.passed()), "Nothing blocks"),
        (records.of(), "Nothing was run"),
        (records.of(records.failed(), records.passed()), "1 of 2 block"),
        (records.of(records.passed(), stopped="SIGINT"), "Stopped by SIGINT"),
        (records.of(records.passed()).model_copy(update={"finished": False}), "Not finished"),
    ],
)
def test_title_is_the_verdict(run: RunRecord, headline: str) -> None:
    """A tab of a browser tells how the run came out."""
    assert f"<title>{headline} · isosmoke</title>" in html.render(run)


def test_what_is_left_behind_is_on_top() -> None:
    """A run that exits 125 because the host is not as it was is no page on which nothing blocks."""
    read = page(records.dirty())

    assert "<title>Nothing blocks, but DIRTY · isosmoke</title>" in html.render(records.dirty())
    assert read.text.index("DIRTY: box (remove it: docker rm box)") < read.text.index("1 passed")


def test_policy_allows_the_one_style_sheet_and_nothing_else() -> None:
    """No script, image, frame, form or address: the hash is that of the style as it stands."""
    read = page(records.of(records.failed()))
    digest = b64encode(sha256(read.style.encode()).digest()).decode()

    assert read.policy() == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    first = [tag for tag, _ in read.tags].index("style")
    assert "meta" in [tag for tag, _ in read.tags][:first]
    assert not re.search(r"url\(|@import|https?:", read.style)


def test_page_is_both_dark_and_light() -> None:
    """The reader's setting decides."""
    assert "prefers-color-scheme: dark" in page(records.of()).style


PLAIN = page(records.hostile_run("x"))


@given(records.ANY_TEXT)
def test_text_of_others_is_text(text: str) -> None:
    """Whatever is printed, the page has the same tags and attributes as with a plain word."""
    read = page(records.hostile_run(f"x{text}{records.HOSTILE}"))

    assert read.tags == PLAIN.tags
    assert read.policy() == PLAIN.policy()


@given(records.ANY_TEXT)
def test_nothing_steers_the_reader(text: str) -> None:
    """No control or bidirectional character is left: what a page shows is what was written."""
    rendered = html.render(records.hostile_run(text + records.HOSTILE))

    rendered.encode()
    assert all(one.isprintable() for one in rendered.replace("\n", "").replace("\t", ""))
    assert "\\u202e" in rendered
