"""Pages of the HTML report, parsed as a browser parses them."""

from dataclasses import dataclass
from html.parser import HTMLParser

from isosmoke.reports import html
from isosmoke.reports.html.supplement import NOTHING, Supplement
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import RunRecord

_VOID = {"meta", "input"}


@dataclass(frozen=True)
class Earlier:
    """The outcome of a scenario in an earlier run."""

    outcome: Outcome
    run: str = "20261121-000000-0000"
    seconds: float = 1.0
    inputs: tuple[str, str] = ("0123456789abcdef" * 4, "script")


class Page(HTMLParser):
    """A page: its tags with their attributes, its text, its style sheet and its script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.style = ""
        self.script = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        match self._open[-1:]:
            case ["style"]:
                self.style += data
            case ["script"]:
                self.script += data
            case _:
                self.text += data

    def find(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        """Return the attributes of each such tag, with a class if one is given."""
        return [
            attributes
            for name, attributes in self.tags
            if name == tag and class_ in ("", *(attributes.get("class") or "").split())
        ]

    def policy(self) -> str:
        """Return the content of the Content-Security-Policy."""
        policies = [meta for meta in self.find("meta") if "http-equiv" in meta]
        assert [meta["http-equiv"] for meta in policies] == ["Content-Security-Policy"]
        return policies[0]["content"] or ""

    def ids(self) -> list[str]:
        """Return every id in the order of the page."""
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]

    def scenarios(self) -> list[str]:
        """Return the names of the scenarios in the order of the page."""
        return [attributes["id"] or "" for attributes in self.find("div", "body")]


def parse_page(run: RunRecord, supplement: Supplement = NOTHING) -> Page:
    """Render the page of a run and parse it."""
    return Page(html.render(run, supplement))
