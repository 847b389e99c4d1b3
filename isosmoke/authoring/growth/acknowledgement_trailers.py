"""Acknowledgements of changes by commit trailers.

`Isosmoke-Reviewed: NAME DIGEST` says that its author has reviewed the scenario NAME, or `[gate]`,
or the manifest of this path, in the state with this digest. It counts only if the digest is that
of the commit with the trailer.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping

from isosmoke.authoring.growth.editions import Edition
from isosmoke.authoring.growth.losses import GATE
from isosmoke.dataclass import dataclass
from isosmoke.manifest.key_meaning import list_reviewed_keys

TRAILER = "Isosmoke-Reviewed"

_DIGEST_LENGTH = 20
"""The number of hexadecimal digits of a digest: 80 bits."""


@dataclass(frozen=True, slots=True)
class Review:
    """An acknowledgement in `commit`."""

    commit: str
    subject: str
    digest: str


def parse_reviews(trailers: Iterable[tuple[str, str]]) -> Iterator[Review]:
    """Yield the acknowledgement in each trailer, given as a commit and a value.

    A value without a digest has an empty one, so that it is reported as invalid.
    """
    for commit, value in trailers:
        match = re.fullmatch(r"(.*\S)\s+([0-9a-f]+)", value)
        yield Review(commit, *(match.groups() if match else (value, "")))


def format_trailer(subject: str, digest: str) -> str:
    """Return the trailer that acknowledges the present state of a subject."""
    return f"{TRAILER}: {subject} {digest}"


def compute_digest(edition: Edition, subject: str) -> str:
    """Return the digest of what a reviewer of `subject` has seen in an edition.

    The subject is a scenario, `[gate]`, or the path of the edition. A harmless change, such as one
    more owner, leaves the digest unchanged. A lost scenario has a digest too.
    """
    scenario = edition.find(subject)
    script = edition.scripts.get(scenario.name) if scenario else None
    code = {} if script is None else {"": script.text, **script.inputs}
    seen = [subject, edition.state, [*_list_reviewed(edition, subject)], sorted(code.items())]
    text = json.dumps(seen, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]


def _list_reviewed(edition: Edition, subject: str) -> Iterator[Mapping[str, object]]:
    """Yield the values of the keys of `subject` that a reviewer has seen."""
    tables = [edition.gate, edition.check] if subject == GATE else [edition.find(subject)]
    for table in filter(None, tables):
        keys = set(list_reviewed_keys(type(table)))
        yield table.to_json(include=keys, exclude_defaults=True)
