"""Check the HTML report in a real Chromium: its script, its keys, its layout and its accessibility.

The page runs under its own policy, and keys are pressed as a reader presses them. Without Chromium
nothing is checked, and the last line says so. axe runs if `ISOSMOKE_AXE` names the file axe.min.js
of the npm package axe-core.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

sys.path.insert(0, "tests")

from isosmoke.reports import html
from support import records
from support.chromium import DESKTOP, PHONE, Page, View, find_chromium, start_chromium

_ALL = 8
"""The number of scenarios on the page."""

_FOCUSED = "document.activeElement.closest('details')?.querySelector('.body').id ?? ''"
_VISIBLE = (
    "[...document.querySelectorAll('details.row')].filter((row) => row.checkVisibility())"
    ".map((row) => row.querySelector('.body').id)"
)
_SHOWN = "document.getElementById('~shown').textContent"
_COPIED = "navigator.clipboard.readText()"
_PRESSED = (
    "[...document.querySelectorAll('.chip[aria-pressed=true]')].map((chip) => chip.dataset.outcome)"
)


class Check(NamedTuple):
    """The value that an expression must have after these keys on the page in this state."""

    name: str
    state: str
    keys: tuple[str, ...]
    expression: str
    value: object


def _is_open(name: str) -> str:
    return f"document.getElementById('{name}').closest('details').open"


def _copy_of(name: str, kind: str) -> str:
    source = f"document.getElementById('{name}').querySelector('[data-copy={kind}]').textContent"
    return f"{_COPIED}.then((text) => text === {source} && text.length > 9)"


CHECKS = (
    Check("the script runs", "", (), "document.documentElement.dataset.ready", "yes"),
    Check("the tools are shown", "", (), "document.getElementById('~tools').hidden", value=False),
    Check("nothing is hidden at first", "", (), f"{_VISIBLE}.length", _ALL),
    Check("a link opens a scenario", "good", (), _is_open("good"), value=True),
    Check("a link focuses its scenario", "good", (), _FOCUSED, "good"),
    Check("an outcome filters", "?outcome=FAIL,LEAK", (), f"{_VISIBLE}.sort()", ["bad", "leaky"]),
    Check("its chips are pressed", "?outcome=FAIL,LEAK", (), _PRESSED, ["FAIL", "LEAK"]),
    Check("a text filters", "?text=never+breaks", (), _VISIBLE, ["bad"]),
    Check("matches are counted", "?outcome=FAIL", (), _SHOWN, "1 of 8 shown"),
    Check("an unknown link changes nothing", "nowhere", (), f"{_VISIBLE}.length", _ALL),
    Check("j goes to the first scenario", "", ("j",), f"{_VISIBLE}[0] === {_FOCUSED}", value=True),
    Check("j j goes on", "", ("j", "j"), f"{_VISIBLE}[1] === {_FOCUSED}", value=True),
    Check("k goes back", "", ("j", "j", "k"), f"{_VISIBLE}[0] === {_FOCUSED}", value=True),
    Check("k goes to the last scenario", "", ("k",), f"{_VISIBLE}[7] === {_FOCUSED}", value=True),
    Check("Enter opens a scenario", "", ("k", "Enter"), f"{_is_open('good')}", value=True),
    Check("Enter closes it again", "good", ("Enter",), f"{_is_open('good')}", value=False),
    Check("f opens a failure", "", ("k", "f"), f"{_VISIBLE}[0] === {_FOCUSED}", value=True),
    Check("j stays within the filter", "?outcome=LEAK", ("j", "j", "j"), _FOCUSED, "leaky"),
    Check("/ and a word search", "", ("/", *"breaks"), _VISIBLE, ["bad"]),
    Check("a search is in the address", "", ("/", *"breaks"), "location.hash", "#?text=breaks"),
    Check("letters are typed, not keys", "", ("/", *"fjk"), "document.activeElement.value", "fjk"),
    Check("Escape ends a search", "", ("/", *"breaks", "Escape"), f"{_VISIBLE}.length", _ALL),
    Check("and clears the address", "", ("/", *"breaks", "Escape"), "location.hash", ""),
    Check("? lists the keys", "", ("?",), "document.getElementById('~keys').open", value=True),
    Check(
        "Escape closes the list",
        "",
        ("?", "Escape"),
        "document.getElementById('~keys').open",
        value=False,
    ),
    Check("keys do nothing behind it", "", ("?", "j", "Escape"), _FOCUSED, ""),
    Check("c copies the prompt", "bad", ("c",), _copy_of("bad", "prompt"), value=True),
    Check("c says so", "bad", ("c",), _SHOWN, "The prompt was copied"),
    Check("r copies the command", "bad", ("r",), _copy_of("bad", "repeat"), value=True),
)


def click_through(page: Page, address: str) -> Iterator[tuple[str, bool]]:
    """Yield what chips and buttons do, in the order of a reader."""
    page.open(address)
    for key in ("Tab",) * count_tabs_to(page, "FAIL"):
        page.press(key)
    page.press(" ")
    yield "Space presses a chip", page.becomes(_VISIBLE, ["bad"])
    yield "a chip is in the address", page.becomes("location.hash", "#?outcome=FAIL")
    page.press("Enter")
    yield "Enter releases it", page.becomes(f"{_VISIBLE}.length", _ALL)
    yield "then All is pressed", page.becomes(_PRESSED, [""])
    page.evaluate("document.querySelector('[data-outcome=LEAK]').click()")
    page.evaluate("document.querySelector('[data-outcome=\"\"]').click()")
    yield "All shows everything", page.becomes(f"{_VISIBLE}.length", _ALL)
    page.evaluate("location.hash = '#leaky'")
    yield "a new link is followed", page.becomes(_FOCUSED, "leaky")
    for label, kind in (("Copy prompt for an agent", "prompt"), ("Copy command", "repeat")):
        page.evaluate(_click_button("leaky", label))
        yield f"{label} copies it", page.becomes(_copy_of("leaky", kind), value=True)
    page.evaluate(_click_button("leaky", "Copy link"))
    yield "Copy link copies it", page.becomes(_COPIED, f"{address}leaky")


def count_tabs_to(page: Page, outcome: str) -> int:
    """Return how many times Tab is pressed from the start of the page to the chip of an outcome."""
    elements = "[...document.querySelectorAll('a[href], summary, button, input')]"
    chip = f"document.querySelector('[data-outcome={outcome}]')"
    number: int = page.evaluate(f"{elements}.indexOf({chip}) + 1")
    return number


def _click_button(name: str, label: str) -> str:
    buttons = f"[...document.getElementById('{name}').querySelectorAll('.buttons button')]"
    return f"{buttons}.find((button) => button.textContent === '{label}').click()"


VIEWS: Mapping[str, View] = {
    "desktop, light": DESKTOP,
    "desktop, dark": DESKTOP._replace(scheme="dark"),
    "tablet": View(768, 1024),
    "phone, light": PHONE,
    "phone, dark": PHONE._replace(scheme="dark"),
    "print": View(794, 1123, medium="print"),
}
_OPEN_ALL = "document.querySelectorAll('details').forEach((item) => { item.open = true; })"


def check_views(page: Page, address: str, axe: str | None) -> Iterator[tuple[str, bool]]:
    """Yield whether the page fits each view, and what axe says about it."""
    for name, view in VIEWS.items():
        page.show(view)
        page.open(address)
        page.evaluate(_OPEN_ALL)
        yield (
            f"nothing is wider than the page ({name})",
            page.evaluate("document.documentElement.scrollWidth <= innerWidth"),
        )
        if axe:
            page.evaluate(axe)
            found = page.evaluate(
                "axe.run().then((all) => all.violations.map((one) => one.id + ' '"
                " + one.nodes.map((node) => node.target).join(' ')))"
            )
            for violation in found:
                print(f"html report: axe: {name}: {violation}")
            yield f"axe reports nothing ({name})", not found


def check_all(page: Page, address: str) -> Iterator[tuple[str, bool]]:
    """Yield the name of each check, and whether it passed."""
    page.call(
        "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"]
    )
    page.show(DESKTOP)
    for check in CHECKS:
        page.open(f"{address}#{check.state}")
        page.press(*check.keys)
        passed = page.becomes(check.expression, check.value)
        if not passed:
            print(f"html report: {check.expression} is {page.evaluate(check.expression)!r}")
        yield check.name, passed
    yield from click_through(page, f"{address}#")
    file = os.environ.get("ISOSMOKE_AXE")
    if not file:
        print("html report: axe was SKIPPED: set ISOSMOKE_AXE to axe.min.js of the npm axe-core")
    yield from check_views(page, address, Path(file).read_text() if file else None)


def main() -> int:
    """Return 1 if a check failed, else 0."""
    chromium = find_chromium()
    if chromium is None:
        print("html report: SKIPPED: chromium is not installed (apt-get install chromium)")
        return 0
    with TemporaryDirectory() as directory, start_chromium(chromium, Path(directory)) as page:
        file = Path(directory) / "page.html"
        file.write_text(html.render(records.make_record(*records.make_every_outcome())))
        results = list(check_all(page, file.as_uri()))
    failed = [name for name, passed in results if not passed]
    for name in failed:
        print(f"html report: FAILED: {name}")
    print(f"html report: {len(results) - len(failed)} of {len(results)} checks passed in Chromium")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
