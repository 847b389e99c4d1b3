"""The text of a bisection, for people and coding agents (pure)."""

from collections.abc import Iterator

from isosmoke.investigation.bisection.bisection_record import BisectionDocument
from isosmoke.text import shorten

SUSPECTS_SHOWN = 20


def render(document: BisectionDocument) -> Iterator[str]:
    """Yield the lines of the result."""
    tested = len(document.tested)
    if document.stopped:
        yield f"stopped by {document.stopped} after {tested} commits; repeat the command to go on"
    elif document.first_bad:
        found = document.first_bad
        yield f"first bad: {found.commit}  {shorten(found.subject)}  ({tested} commits tested)"
    else:
        yield f"the first bad commit is one of these, which could not be tested ({tested} were):"
    if not document.first_bad and not document.stopped:
        shown = document.suspects[:SUSPECTS_SHOWN]
        yield from (f"  {item.commit}  {shorten(item.subject)}" for item in shown)
        if more := len(document.suspects) - len(shown):
            yield f"  and {more} more"
    if document.confirmed:
        yield "confirmed: it failed again alone, and the tested parents passed"
    yield from (f"note: {note}" for note in document.notes)
